#pragma once

#include <cstdint>

#include "core/stats.h"

namespace sluice::stats {

// What one connection adds to a gauge that counts for many, such as the bytes that it has buffered. Goes back with it. The
// gauge's handle must be good until then.
class GaugeShare {
 public:
  explicit GaugeShare(Gauge gauge) : gauge_(gauge) {}
  GaugeShare(const GaugeShare&) = delete;
  GaugeShare& operator=(const GaugeShare&) = delete;
  ~GaugeShare() { set(0); }

  // In place of what it was. A share that has always been 0 does not make the gauge one that is used.
  void set(uint64_t value) {
    if (value == value_) return;
    gauge_.add(value - value_);
    value_ = value;
  }
  uint64_t value() const { return value_; }

 private:
  Gauge gauge_;
  uint64_t value_ = 0;
};

}  // namespace sluice::stats
