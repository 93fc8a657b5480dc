#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "model/matchers.h"
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
// Where there is no status (TCP, or a stream that ended before one) Envoy compares with 0.
FilterPtr status_code_filter(Comparison comparison, uint64_t code);
// No flags given: any flag passes.
FilterPtr response_flag_filter(std::vector<ext::ResponseFlag> flags);
FilterPtr log_type_filter(std::vector<ext::AccessLogType> types, bool exclude);
// Draws by the request's id, so that every hop that is set the same way chooses the same requests; without an id, or with
// `independent`, anew for every record.
FilterPtr random_filter(uint64_t numerator, uint64_t denominator, bool independent = false);
FilterPtr not_health_check_filter();
// Requests that are traced because a service asked for it (x-envoy-force-trace); in spite of its name no others.
FilterPtr traceable_filter();
// Of the request; a stream without one has no headers.
FilterPtr header_filter(model::HeaderMatcher matcher);
// gRPC's own statuses; what is none of them counts as UNKNOWN.
FilterPtr grpc_status_filter(std::vector<int64_t> statuses, bool exclude);
FilterPtr all_of(std::vector<FilterPtr> filters);
FilterPtr any_of(std::vector<FilterPtr> filters);

// `logger` behind `filter`.
ext::AccessLoggerPtr filtered(FilterPtr filter, ext::AccessLoggerPtr logger);

}  // namespace sluice::access_loggers
