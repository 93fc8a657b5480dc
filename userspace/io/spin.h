#pragma once

#include <algorithm>
#include <cstdint>

#include "core/time.h"

namespace sluice::io {

// Tells the core that we wait in a loop.
inline void cpu_relax() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");  // as long as a pause; `yield` is a no-operation on most
#endif
}

// Whether to look for completions for a moment before sleeping. To sleep and be woken costs more than what we do for a
// small message (on a virtual machine tens of microseconds, on both sides), so where the next completion is likely to be
// near it pays to wait awake. It does not pay where the peer needs our core: then spins are in vain, or end only because
// the scheduler took the core from us, and soon we stop.
class Spin {
 public:
  explicit Spin(Duration window) : window_(window) {}
  Duration window() const { return window_; }

  // Asked once before each sleep.
  bool worthwhile() {
    if (window_ <= Duration(0) || short_sleeps_ < kShortSleeps) return false;
    if (skip_ == 0) return true;
    --skip_;
    return false;
  }
  // A sleep without (or after) a spin.
  void slept(Duration time) {
    short_sleeps_ = time <= window_ ? std::min(short_sleeps_ + 1, kShortSleeps) : 0;
  }
  // Looks until something is there, true, or time is over. `clock` returns MonotonicTime, `look` true when there is.
  template <typename Clock, typename Look>
  bool run(Duration most, Clock clock, Look look) {
    const long before = watched_ ? preemptions() : 0;
    MonotonicTime now = clock();
    const MonotonicTime until = now + most;
    bool ready = false, gap = false;
    do {
      ready = look();
      if (!ready) cpu_relax();
      const MonotonicTime next = clock();
      gap |= next - now > kGap;
      now = next;
    } while (!ready && now < until);
    const bool preempted = watched_ && preemptions() != before;
    if (preempted) penalty_ = std::max(penalty_, kPreempted);
    if (ready && !preempted) {
      found();
    } else {
      in_vain();
    }
    // A gap: the kernel was busy for us, or an interrupt or another thread ran. Which of them costs a system call to
    // know, so it is asked now and then, and on as long as the answer is bad.
    watched_ = gap && (preempted || ++gaps_ % kWatchEvery == 0);
    return ready;
  }
  // A spin found something. One failure outweighs two successes: it breaks even where two in three succeed.
  void found() { penalty_ /= 2; }
  void in_vain() {
    penalty_ = std::clamp(penalty_ * 4, 4u, kPenaltyMax);
    skip_ = penalty_;
    short_sleeps_ = 0;
  }

 private:
  static constexpr Duration kGap = std::chrono::microseconds(4);
  static constexpr uint32_t kWatchEvery = 8;
  static long preemptions();  // of this thread
  static constexpr uint32_t kShortSleeps = 3;  // in a row, before the first try
  static constexpr uint32_t kPreempted = 64;  // a shared core stays one for a while
  static constexpr uint32_t kPenaltyMax = 4096;  // sleeps without a try: 50 us in 4096 sleeps is nothing

  const Duration window_;
  uint32_t short_sleeps_ = 0;
  uint32_t penalty_ = 0;
  uint32_t skip_ = 0;
  uint32_t gaps_ = 0;
  bool watched_ = false;
};

}  // namespace sluice::io
