#include "io/loop.h"

#include <algorithm>
#include <mutex>

#include "io/kernel_tls.h"

namespace sluice::io {

namespace {

constexpr int kSlowHooksPerTurn = 2;

}  // namespace

struct Loop::Inbox {
  std::mutex mutex;
  std::vector<std::function<void()>> functions;
  std::atomic<bool> any{false};
};

TurnEnd::~TurnEnd() {
  if (loop_) loop_->unlink(*this);
}

Loop::Loop() : inbox_(std::make_unique<Inbox>()) {}

Loop::~Loop() {
  // Owners may outlive the loop; what they scheduled will not run any more.
  while (hooks_.head) unlink(*hooks_.head);
  while (next_turn_.head) unlink(*next_turn_.head);
  while (slow_.head) unlink(*slow_.head);
}

void Loop::set_kernel_tls(std::unique_ptr<KernelTls> kernel_tls) {
  kernel_tls_ = std::move(kernel_tls);
}

void Loop::drop_work() {
  while (!deferred_.empty()) {
    auto objects = std::move(deferred_);
    deferred_.clear();
  }
  std::vector<std::function<void()>> functions;
  {
    std::lock_guard lock(inbox_->mutex);
    functions.swap(inbox_->functions);
    inbox_->any = false;
  }
}

void Loop::link(Hooks& list, TurnEnd& hook) {
  hook.next_ = nullptr;
  hook.prev_ = list.tail;
  (list.tail ? list.tail->next_ : list.head) = &hook;
  list.tail = &hook;
}

void Loop::unlink(TurnEnd& hook) {
  // Only a list's first hook has no predecessor, only its last no successor: the ends say which list it is.
  if (hook.prev_) {
    hook.prev_->next_ = hook.next_;
  } else {
    (hooks_.head == &hook ? hooks_ : slow_.head == &hook ? slow_ : next_turn_).head = hook.next_;
  }
  if (hook.next_) {
    hook.next_->prev_ = hook.prev_;
  } else {
    (hooks_.tail == &hook ? hooks_ : slow_.tail == &hook ? slow_ : next_turn_).tail = hook.prev_;
  }
  hook.next_ = hook.prev_ = nullptr;
  hook.loop_ = nullptr;
}

void Loop::schedule(TurnEnd& hook) {
  if (hook.loop_) return;
  hook.loop_ = this;
  link(running_hooks_ && hook.ran_ == hook_phase_ ? next_turn_ : hooks_, hook);
}

void Loop::schedule_slow(TurnEnd& hook) {
  if (hook.loop_) return;
  hook.loop_ = this;
  link(slow_, hook);
}

void Loop::run_slow_hooks() {
  for (int i = 0; i < kSlowHooksPerTurn && slow_.head; ++i) {
    TurnEnd* hook = slow_.head;
    unlink(*hook);
    hook->callback_(*hook);  // may destroy it
  }
}

void Loop::run_hooks() {
  ++hook_phase_;
  running_hooks_ = true;
  while (TurnEnd* hook = hooks_.head) {
    unlink(*hook);
    hook->ran_ = hook_phase_;
    hook->callback_(*hook);  // may destroy it
  }
  running_hooks_ = false;
}

void Loop::defer_delete(std::unique_ptr<Deferred> object) {
  deferred_.push_back(std::move(object));
}

void Loop::post(std::function<void()> fn) {
  {
    std::lock_guard lock(inbox_->mutex);
    inbox_->functions.push_back(std::move(fn));
    inbox_->any.store(true, std::memory_order_seq_cst);
  }
  // Pairs with begin_wait(): either it sees `any`, or we see `asleep_`.
  if (asleep_.load(std::memory_order_seq_cst) && asleep_.exchange(false)) wake();
}

void Loop::stop() {
  stopping_.store(true, std::memory_order_seq_cst);
  if (asleep_.load(std::memory_order_seq_cst) && asleep_.exchange(false)) wake();
}

void Loop::run() {
  // A stop() that came before is honoured: the thread that starts a loop cannot know that it is in run() already.
  while (!stopping_.load(std::memory_order_relaxed)) run_once(Duration::max());
  stopping_ = false;
  leave();
}

Duration Loop::begin_wait(Duration max_wait) {
  if (max_wait <= Duration(0) || hooks_.head || slow_.head || !deferred_.empty()) return Duration(0);
  asleep_.store(true, std::memory_order_seq_cst);
  if (inbox_->any.load(std::memory_order_seq_cst) || stopping_.load(std::memory_order_seq_cst))
    return Duration(0);
  if (MonotonicTime next = timers_.next(); next != MonotonicTime::max()) {
    read_clock();
    max_wait = std::min(max_wait, std::max(next - now_, Duration(0)));
  }
  return max_wait;
}

void Loop::end_turn() {
  timers_.run(now_);
  run_slow_hooks();
  run_hooks();
  if (inbox_->any.load(std::memory_order_acquire)) {
    std::vector<std::function<void()>> functions;
    {
      std::lock_guard lock(inbox_->mutex);
      functions.swap(inbox_->functions);
      inbox_->any.store(false, std::memory_order_relaxed);
    }
    for (auto& fn : functions) {
      fn();
      fn = nullptr;  // what it captured goes with it, not after all the others
    }
    run_hooks();
  }
  // Only now: the hooks after the inbox must not run again those that asked for the next turn.
  while (TurnEnd* hook = next_turn_.head) {
    unlink(*hook);
    hook->loop_ = this;
    link(hooks_, *hook);
  }
  while (!deferred_.empty()) {
    auto objects = std::move(deferred_);
    deferred_.clear();  // a destructor may defer more
  }
}

}  // namespace sluice::io
