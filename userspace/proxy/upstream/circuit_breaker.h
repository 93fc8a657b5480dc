#pragma once

#include <atomic>
#include <cstdint>
#include <limits>

#include "core/stats.h"

namespace sluice::upstream {

// A count over all workers with a limit. Without a limit (2^32-1) nothing shared is touched, unless somebody wants the
// count itself (`counted`).
class alignas(64) SharedLimit {
 public:
  explicit SharedLimit(uint32_t max, bool counted = false) : max_(max), counted_(counted) {}
  bool limited() const { return counted_ || max_ != std::numeric_limits<uint32_t>::max(); }
  uint32_t max() const { return max_; }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  friend class LimitHandle;
  const uint32_t max_;
  const bool counted_;
  std::atomic<uint64_t> value_{0};
};

// One thread's access to a limit, with its gauges: `open` is 1 while the limit is reached, `remaining` what is left.
// Each crossing is seen by exactly one thread, so the sum over the threads is right.
class LimitHandle {
 public:
  LimitHandle(SharedLimit& limit, stats::Gauge open) : limit_(limit), open_(open) {}
  LimitHandle(SharedLimit& limit, stats::Gauge open, stats::Gauge remaining)
      : limit_(limit), open_(open), remaining_(remaining), track_remaining_(true) {}

  // False: the limit is reached. Each true is paired with a release().
  bool acquire() { return acquire_below(limit_.max_); }
  // The same with a limit of the moment.
  bool acquire_below(uint64_t max) {
    if (!limit_.limited()) return true;
    uint64_t v = limit_.value_.load(std::memory_order_relaxed);
    do {
      if (v >= max) return false;
    } while (!limit_.value_.compare_exchange_weak(v, v + 1, std::memory_order_relaxed));
    went_up(v + 1);
    return true;
  }
  // Counts without a limit being enforced (Envoy counts TCP connections as requests, but refuses none).
  void count() {
    if (limit_.limited()) went_up(limit_.value_.fetch_add(1, std::memory_order_relaxed) + 1);
  }
  void release() {
    if (!limit_.limited()) return;
    uint64_t old = limit_.value_.fetch_sub(1, std::memory_order_relaxed);
    if (old == limit_.max_) open_.sub();
    if (track_remaining_ && old <= limit_.max_) remaining_.add();
  }

 private:
  void went_up(uint64_t now) {
    if (now == limit_.max_) open_.add();
    if (track_remaining_ && now <= limit_.max_) remaining_.sub();
  }
  SharedLimit& limit_;
  stats::Gauge open_, remaining_;
  bool track_remaining_ = false;
};

}  // namespace sluice::upstream
