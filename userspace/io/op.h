#pragma once

#include <sys/socket.h>
#include <sys/uio.h>

#include <cassert>
#include <cstdint>

#include "core/address.h"
#include "core/buffer.h"

namespace sluice::io {

class Loop;

// What an operation came to. Valid during the callback; a callback may move `data` out.
struct Completion {
  int32_t result = 0;     // bytes, a descriptor, poll events; or -errno
  bool more = false;      // multishot: the operation stays armed
  bool nonempty = false;  // receive: the socket had more to give (a hint)
  Chunk data;             // receive: what arrived; empty with result 0 is end of stream
};

// One operation in flight. Its owner embeds it; it does not move, allocates nothing and must not be destroyed while
// the kernel may still touch it: cancel() and wait for the completion. Callbacks run from Loop::run only, never from
// inside a submitting call, so nothing recurses.
class Op {
 public:
  using Callback = void (*)(Op& op, Completion& completion);

  Op(Callback callback, void* owner) : callback_(callback), owner_(owner) {}
  Op(const Op&) = delete;
  Op& operator=(const Op&) = delete;
  ~Op() { assert(!in_flight_); }

  bool in_flight() const { return in_flight_; }
  template <typename T>
  T* owner() const {
    return static_cast<T*>(owner_);
  }

  // For backends.
  enum class Kind : uint8_t { none, accept, connect, recv, send, poll };
  // Who has it: the kernel; a backend's list of operations that wait for something; the list of those worth a try now;
  // the batch of completions whose callbacks run next.
  enum class Phase : uint8_t { kernel, waiting, ready, collected };
  struct State {
    Kind kind = Kind::none;
    Phase phase = Phase::kernel;
    bool cancelled = false;
    bool bulk = false;
    bool drained = false;  // receive: the last one on `fd` left the socket empty
    int fd = -1;
    uint32_t events = 0;  // poll
    const iovec* iov = nullptr;  // send: the owner's array, alive until completion
    uint32_t iov_count = 0;
    int send_flags = 0;
    Block* block = nullptr;  // receive into a block of the pool
    Op* next = nullptr;  // ready, waiting or per-descriptor lists of a backend
    Op* prev = nullptr;
    msghdr msg{};  // send by more than one iovec
    int32_t result = 0;  // so far: bytes sent, or what a backend completes with later
  } state;

  void begin(Kind kind, int fd) {
    assert(!in_flight_);
    in_flight_ = true;
    if (state.fd != fd || kind != Kind::recv) state.drained = false;
    state.kind = kind;
    state.phase = Phase::kernel;
    state.cancelled = false;
    state.result = 0;
    state.fd = fd;
  }
  void complete(Completion& c) {
    assert(in_flight_);
    in_flight_ = c.more;
    callback_(*this, c);  // may destroy *this, unless c.more
  }

 private:
  Callback callback_;
  void* owner_;
  bool in_flight_ = false;
};

// A list of operations through State::next and prev.
class OpList {
 public:
  bool empty() const { return head_ == nullptr; }
  Op* front() const { return head_; }
  void push_back(Op& op) {
    op.state.next = nullptr;
    op.state.prev = tail_;
    (tail_ ? tail_->state.next : head_) = &op;
    tail_ = &op;
  }
  void remove(Op& op) {
    (op.state.prev ? op.state.prev->state.next : head_) = op.state.next;
    (op.state.next ? op.state.next->state.prev : tail_) = op.state.prev;
    op.state.next = op.state.prev = nullptr;
  }
  Op* pop_front() {
    Op* op = head_;
    if (op) remove(*op);
    return op;
  }

 private:
  Op* head_ = nullptr;
  Op* tail_ = nullptr;
};

}  // namespace sluice::io
