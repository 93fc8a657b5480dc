#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "sluice/ext/access_log.h"

// envoy.config.accesslog.v3.AccessLogFilter without protobuf: which records are written.
namespace sluice::access_loggers {

class Filter {
 public:
  virtual ~Filter() = default;
  virtual bool pass(const ext::StreamInfo& info, ext::AccessLogType type) const = 0;
};
using FilterPtr = std::unique_ptr<const Filter>;

enum class Comparison : uint8_t { equal, greater_or_equal, less_or_equal, not_equal };

FilterPtr duration_filter(Comparison comparison, uint64_t milliseconds);
// TCP has no status: Envoy compares with 0.
FilterPtr status_code_filter(Comparison comparison, uint64_t code);
// No flags given: any flag passes.
FilterPtr response_flag_filter(std::vector<ext::ResponseFlag> flags);
FilterPtr log_type_filter(std::vector<ext::AccessLogType> types, bool exclude);
FilterPtr random_filter(uint64_t numerator, uint64_t denominator);
FilterPtr all_of(std::vector<FilterPtr> filters);
FilterPtr any_of(std::vector<FilterPtr> filters);
FilterPtr everything();

// `logger` behind `filter`.
ext::AccessLoggerPtr filtered(FilterPtr filter, ext::AccessLoggerPtr logger);

}  // namespace sluice::access_loggers
