#pragma once

#include <cassert>

namespace sluice::upstream {

// A member of at most one list at a time, embedded by inheritance; leaves it when destroyed. `Tag` tells several apart.
template <typename Tag>
class ListNode {
 public:
  ListNode() = default;
  ListNode(const ListNode&) = delete;
  ListNode& operator=(const ListNode&) = delete;
  ~ListNode() { unlink(); }
  bool linked() const { return next_ != this; }
  void unlink() {
    prev_->next_ = next_;
    next_->prev_ = prev_;
    next_ = prev_ = this;
  }

 private:
  template <typename T, typename U>
  friend class List;
  void insert_before(ListNode& at) {
    assert(!linked());
    prev_ = at.prev_;
    next_ = &at;
    prev_->next_ = this;
    at.prev_ = this;
  }
  ListNode* next_ = this;
  ListNode* prev_ = this;
};

// A list of objects that embed a ListNode<Tag>; owns nothing.
template <typename T, typename Tag = T>
class List {
 public:
  List() = default;
  ~List() { assert(empty()); }
  bool empty() const { return !head_.linked(); }
  T& front() { return static_cast<T&>(*head_.next_); }
  T& back() { return static_cast<T&>(*head_.prev_); }
  // Moves it here from wherever it was.
  void push_front(T& x) { move(x, *head_.next_); }
  void push_back(T& x) { move(x, head_); }
  void take_all(List& from) {
    while (!from.empty()) push_back(from.front());
  }
  template <typename F>  // F may unlink the object it is given, and no other
  void each(F f) {
    for (ListNode<Tag>* n = head_.next_; n != &head_;) {
      T& x = static_cast<T&>(*n);
      n = n->next_;
      f(x);
    }
  }

 private:
  void move(T& x, ListNode<Tag>& before) {
    ListNode<Tag>& n = x;
    ListNode<Tag>* at = &before;
    if (at == &n) at = n.next_;
    n.unlink();
    n.insert_before(*at);
  }
  ListNode<Tag> head_;
};

}  // namespace sluice::upstream
