#pragma once

#include <charconv>
#include <optional>
#include <string>

#include "core/time.h"
#include "extensions/access_loggers/common/operators.h"

namespace sluice::access_loggers {

inline void append_uint(std::string& out, uint64_t value) {
  char text[24];
  out.append(text, std::to_chars(text, text + sizeof text, value).ptr);
}
inline void append_int(std::string& out, int64_t value) {
  char text[24];
  out.append(text, std::to_chars(text, text + sizeof text, value).ptr);
}
// False where a point is not set, or they are the wrong way round.
inline bool append_duration(std::string& out, MonotonicTime from, MonotonicTime to, int64_t unit) {
  if (from == MonotonicTime{} || to == MonotonicTime{} || to < from) return false;
  append_int(out, (to - from).count() / unit);
  return true;
}

// What HTTP alone can fill in: Operator::append for those kinds; `info.http` may be null.
bool append_http_value(const Operator& op, const ext::StreamInfo& info, ext::AccessLogType type,
                       std::string& out);
// The value of filter state as JSON, whose names differ from those in text.
bool append_filter_state_json(const Operator& op, const ext::StreamInfo& info, std::string& out);
// The host that a request asked for, by Source; null data: there is none.
std::string_view requested_host(const Operator& op, const ext::StreamInfo& info);

}  // namespace sluice::access_loggers
