#include "extensions/access_loggers/common/filter.h"

#include <algorithm>
#include <charconv>
#include <functional>

#include "core/random.h"
#include "http/grpc.h"
#include "http/header_map.h"
#include "sluice/ext/tracer.h"

namespace sluice::access_loggers {
namespace {

using ext::AccessLogType;
using ext::StreamInfo;

template <typename F>
class FilterOf final : public Filter {
 public:
  explicit FilterOf(F f) : f_(std::move(f)) {}
  bool pass(const StreamInfo& info, AccessLogType type) const override { return f_(info, type); }

 private:
  const F f_;
};

template <typename F>
FilterPtr filter_of(F f) {
  return std::make_unique<FilterOf<F>>(std::move(f));
}

bool compare(Comparison comparison, uint64_t value, uint64_t with) {
  switch (comparison) {
    case Comparison::equal:
      return value == with;
    case Comparison::greater_or_equal:
      return value >= with;
    case Comparison::less_or_equal:
      return value <= with;
    case Comparison::not_equal:
      return value != with;
  }
  return false;
}

class FilteredLogger final : public ext::AccessLogger {
 public:
  FilteredLogger(FilterPtr filter, ext::AccessLoggerPtr logger)
      : filter_(std::move(filter)), logger_(std::move(logger)) {}
  void log(const StreamInfo& info, AccessLogType type) const override {
    if (filter_->pass(info, type)) logger_->log(info, type);
  }

 private:
  const FilterPtr filter_;
  const ext::AccessLoggerPtr logger_;
};

}  // namespace

FilterPtr duration_filter(Comparison comparison, uint64_t milliseconds) {
  return filter_of([=](const StreamInfo& info, AccessLogType) {
    int64_t ms = info.end == MonotonicTime{} ? 0 : (info.end - info.start).count() / 1'000'000;
    return compare(comparison, static_cast<uint64_t>(std::max<int64_t>(ms, 0)), milliseconds);
  });
}

FilterPtr status_code_filter(Comparison comparison, uint64_t code) {
  return filter_of([=](const StreamInfo& info, AccessLogType) {
    return compare(comparison, info.http ? info.http->response_code : 0, code);
  });
}

FilterPtr not_health_check_filter() {
  return filter_of(
      [](const StreamInfo& info, AccessLogType) { return !info.http || !info.http->health_check; });
}

FilterPtr traceable_filter() {
  return filter_of([](const StreamInfo& info, AccessLogType) {
    return info.http && info.http->tracing && !info.http->health_check &&
           info.http->tracing->reason == ext::TraceReason::service_forced;
  });
}

FilterPtr header_filter(model::HeaderMatcher matcher) {
  return filter_of([matcher = std::move(matcher)](const StreamInfo& info, AccessLogType) {
    static const http::HeaderMap kNone;
    const http::HeaderMap* headers = info.http ? info.http->request_headers : nullptr;
    return matcher.matches(headers ? *headers : kNone);
  });
}

FilterPtr grpc_status_filter(std::vector<int64_t> statuses, bool exclude) {
  return filter_of([statuses = std::move(statuses), exclude](const StreamInfo& info, AccessLogType) {
    constexpr int64_t kUnknown = 2;
    int64_t status = kUnknown;
    if (const ext::HttpInfo* h = info.http)
      status = http::grpc_status(h->response_trailers, h->response_headers, h->response_code, false)
                   .value_or(kUnknown);
    return (std::find(statuses.begin(), statuses.end(), status) != statuses.end()) != exclude;
  });
}

FilterPtr response_flag_filter(std::vector<ext::ResponseFlag> flags) {
  return filter_of([flags = std::move(flags)](const StreamInfo& info, AccessLogType) {
    if (flags.empty()) return info.flags.any();
    return std::any_of(flags.begin(), flags.end(), [&](ext::ResponseFlag f) { return info.flags.has(f); });
  });
}

FilterPtr log_type_filter(std::vector<AccessLogType> types, bool exclude) {
  return filter_of([types = std::move(types), exclude](const StreamInfo&, AccessLogType type) {
    return (std::find(types.begin(), types.end(), type) != types.end()) != exclude;
  });
}

FilterPtr random_filter(uint64_t numerator, uint64_t denominator, bool independent) {
  return filter_of([=](const StreamInfo& info, AccessLogType) {
    thread_local Random random(random_seed());
    if (!independent && info.http && info.http->request_headers) {
      // As Envoy: the first 32 bits of a UUID, modulo the denominator.
      constexpr size_t kUuid = 36, kDigits = 8;
      std::string_view id = info.http->request_headers->get(http::Name::x_request_id);
      uint32_t bits = 0;
      if (id.size() == kUuid) {
        auto [end, error] = std::from_chars(id.data(), id.data() + kDigits, bits, 16);
        if (error == std::errc{} && end == id.data() + kDigits) return bits % denominator < numerator;
      }
    }
    return random.below(denominator) < numerator;
  });
}

FilterPtr all_of(std::vector<FilterPtr> filters) {
  return filter_of([filters = std::move(filters)](const StreamInfo& info, AccessLogType type) {
    return std::all_of(filters.begin(), filters.end(),
                       [&](const FilterPtr& f) { return f->pass(info, type); });
  });
}

FilterPtr any_of(std::vector<FilterPtr> filters) {
  return filter_of([filters = std::move(filters)](const StreamInfo& info, AccessLogType type) {
    return std::any_of(filters.begin(), filters.end(),
                       [&](const FilterPtr& f) { return f->pass(info, type); });
  });
}

ext::AccessLoggerPtr filtered(FilterPtr filter, ext::AccessLoggerPtr logger) {
  return std::make_shared<FilteredLogger>(std::move(filter), std::move(logger));
}

}  // namespace sluice::access_loggers
