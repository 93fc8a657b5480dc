#pragma once

#include <atomic>
#include <cstdint>

#include "core/time.h"

namespace sluice::extensions::local_ratelimit {

// A bucket that fills evenly, shared by all workers without a lock: all of its state is the moment at which it would
// have been empty. Time is the loops' monotonic clock.
class TokenBucket {
 public:
  // `per_fill` tokens each `interval`; full at first. A bucket of no tokens gives none.
  TokenBucket(uint32_t max_tokens, uint32_t per_fill, Duration interval)
      : max_(max_tokens), per_token_ns_(static_cast<double>(interval.count()) / per_fill) {}

  // Nothing to take is refused, as in Envoy.
  bool take(MonotonicTime now, uint32_t n = 1) {
    if (n == 0) return false;
    int64_t empty_at = empty_at_.load(std::memory_order_relaxed);
    for (;;) {
      double tokens = tokens_at(now, empty_at);
      if (tokens < n) return false;
      auto next = now.time_since_epoch().count() - static_cast<int64_t>((tokens - n) * per_token_ns_);
      if (empty_at_.compare_exchange_weak(empty_at, next, std::memory_order_relaxed)) return true;
    }
  }
  double fill_rate() const { return 1 / per_token_ns_; }  // tokens a nanosecond
  uint32_t max_tokens() const { return static_cast<uint32_t>(max_); }
  uint32_t remaining(MonotonicTime now) const { return static_cast<uint32_t>(tokens(now)); }
  // Until there is one to take; 0: there is.
  Duration next(MonotonicTime now) const {
    double have = tokens(now);
    return have >= 1 ? Duration{} : Duration(static_cast<int64_t>((1 - have) * per_token_ns_));
  }
  // Nothing tells a full bucket from a new one.
  bool full(MonotonicTime now) const { return tokens(now) >= max_; }

 private:
  static constexpr int64_t kNever = INT64_MIN;  // full since ever
  double tokens_at(MonotonicTime now, int64_t empty_at) const {
    if (empty_at == kNever) return max_;
    double t = static_cast<double>(now.time_since_epoch().count() - empty_at) / per_token_ns_;
    return t < 0 ? 0 : t > max_ ? max_ : t;
  }
  double tokens(MonotonicTime now) const { return tokens_at(now, empty_at_.load(std::memory_order_relaxed)); }

  const double max_;
  const double per_token_ns_;
  std::atomic<int64_t> empty_at_{kNever};
};

}  // namespace sluice::extensions::local_ratelimit
