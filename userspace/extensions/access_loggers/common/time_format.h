#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "core/time.h"

namespace sluice::access_loggers {

// A date format as Envoy's %START_TIME(...)% takes it: strftime's, and "%s" (seconds since the epoch), "%f",
// "%3f" (nanoseconds, milliseconds: the first N digits of the second's fraction), "%E3S", "%E*S", "%E4Y",
// "%Ez". Parsed once; rendering allocates nothing.
class TimeFormat {
 public:
  // Empty: Envoy's default, "2026-01-31T23:59:59.123Z" (local: "2026-01-31T23:59:59.123+0000").
  static Result<TimeFormat> parse(std::string_view format, bool local);
  void append(WallTime time, std::string& out) const;

 private:
  enum class Kind : uint8_t {
    literal,
    strftime,
    epoch_seconds,
    fraction,
    seconds_fraction,
    offset,
    default_utc
  };
  struct Part {
    Kind kind;
    uint8_t digits = 0;  // fraction, seconds_fraction; 0: as many as it takes ("*")
    std::string text;    // literal, strftime
  };
  void append_run(Kind kind, std::string_view text);
  std::vector<Part> parts_;
  bool local_ = false;
};

}  // namespace sluice::access_loggers
