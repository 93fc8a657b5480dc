#pragma once

#include <cstdint>
#include <vector>

#include "core/time.h"

namespace sluice::io {

class Timers;

// Fires once at its deadline unless cancelled or re-armed before. Embedded in its owner, does not move; destroying it
// cancels it.
class Timer {
 public:
  using Callback = void (*)(Timer& timer);

  Timer(Timers& timers, Callback callback, void* owner)
      : timers_(timers), callback_(callback), owner_(owner) {}
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;
  ~Timer() { cancel(); }

  void arm(MonotonicTime deadline);
  void cancel();
  bool armed() const { return index_ != kIdle; }
  MonotonicTime deadline() const { return deadline_; }
  template <typename T>
  T* owner() const {
    return static_cast<T*>(owner_);
  }

 private:
  friend class Timers;
  static constexpr uint32_t kIdle = ~0u;
  Timers& timers_;
  Callback callback_;
  void* owner_;
  MonotonicTime deadline_{};
  uint32_t index_ = kIdle;
};

// A heap of timers ordered by deadline. A timer that would move on every byte (idle time-outs) is not moved: its owner
// notes the time and re-arms when it fires early.
class Timers {
 public:
  // Runs what is due at `now`, in order of deadline; timers armed by callbacks wait for the next call (one armed for
  // `now` or earlier is moved to just after `now`).
  void run(MonotonicTime now);
  // MonotonicTime::max() when none is armed.
  MonotonicTime next() const;
  size_t size() const { return heap_.size(); }

 private:
  friend class Timer;
  // The deadline lies beside the pointer: sifting touches no timer but those that move.
  struct Entry {
    MonotonicTime deadline;
    Timer* timer;
  };
  void place(uint32_t i, Entry e);
  void sift_up(uint32_t i, Entry e);
  void sift_down(uint32_t i, Entry e);
  void remove(uint32_t i);
  std::vector<Entry> heap_;  // 4-ary
  MonotonicTime running_ = MonotonicTime::min();  // inside run(): its `now`
};

}  // namespace sluice::io
