#pragma once

#include <chrono>
#include <cstdint>

namespace sluice {

using Duration = std::chrono::nanoseconds;

// A point on the injected monotonic clock. Only io backends read the real one.
struct MonotonicTag {
  using duration = Duration;
  using rep = duration::rep;
  using period = duration::period;
  using time_point = std::chrono::time_point<MonotonicTag>;
  static constexpr bool is_steady = true;
};
using MonotonicTime = std::chrono::time_point<MonotonicTag, Duration>;

// Nanoseconds since the Unix epoch.
using WallTime = std::chrono::time_point<std::chrono::system_clock, Duration>;

}  // namespace sluice
