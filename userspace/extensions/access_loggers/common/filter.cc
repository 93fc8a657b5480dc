#include "extensions/access_loggers/common/filter.h"

#include <algorithm>
#include <functional>

#include "core/random.h"

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
  return filter_of([pass = compare(comparison, 0, code)](const StreamInfo&, AccessLogType) { return pass; });
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

FilterPtr random_filter(uint64_t numerator, uint64_t denominator) {
  return filter_of([=](const StreamInfo&, AccessLogType) {
    thread_local Random random(random_seed());
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

FilterPtr everything() {
  return filter_of([](const StreamInfo&, AccessLogType) { return true; });
}

ext::AccessLoggerPtr filtered(FilterPtr filter, ext::AccessLoggerPtr logger) {
  return std::make_shared<FilteredLogger>(std::move(filter), std::move(logger));
}

}  // namespace sluice::access_loggers
