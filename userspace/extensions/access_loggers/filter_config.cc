#include "envoy/config/accesslog/v3/accesslog.pb.h"
#include "extensions/access_loggers/common/filter.h"
#include "extensions/access_loggers/config.h"

namespace sluice::access_loggers {
namespace {

namespace proto = envoy::config::accesslog::v3;

Result<Comparison> to_comparison(const proto::ComparisonFilter& c, const std::string& path) {
  switch (c.op()) {
    case proto::ComparisonFilter::EQ:
      return Comparison::equal;
    case proto::ComparisonFilter::GE:
      return Comparison::greater_or_equal;
    case proto::ComparisonFilter::LE:
      return Comparison::less_or_equal;
    case proto::ComparisonFilter::NE:
      return Comparison::not_equal;
    default:
      return Error{path + ".op: unknown comparison " + std::to_string(c.op())};
  }
}

// The API accepts more flags than a TCP stream can have; those never match.
FilterPtr to_flags(const proto::ResponseFlagFilter& f) {
  std::vector<ext::ResponseFlag> flags;
  for (unsigned i = 0; i < static_cast<unsigned>(ext::ResponseFlag::count); ++i) {
    auto flag = static_cast<ext::ResponseFlag>(i);
    for (const std::string& name : f.flags()) {
      if (name == ext::short_name(flag)) flags.push_back(flag);
    }
  }
  if (f.flags_size() > 0 && flags.empty()) return any_of({});
  return response_flag_filter(std::move(flags));
}

FilterPtr to_types(const proto::LogTypeFilter& f) {
  std::vector<ext::AccessLogType> types;
  for (int type : f.types()) {
    switch (type) {
      case envoy::data::accesslog::v3::NotSet:
        types.push_back(ext::AccessLogType::not_set);
        break;
      case envoy::data::accesslog::v3::TcpUpstreamConnected:
        types.push_back(ext::AccessLogType::tcp_upstream_connected);
        break;
      case envoy::data::accesslog::v3::TcpPeriodic:
        types.push_back(ext::AccessLogType::tcp_periodic);
        break;
      case envoy::data::accesslog::v3::TcpConnectionEnd:
        types.push_back(ext::AccessLogType::tcp_connection_end);
        break;
      default:
        break;  // records of HTTP and UDP, which are never written here
    }
  }
  return log_type_filter(std::move(types), f.exclude());
}

FilterPtr to_chance(const proto::RuntimeFilter& f) {
  using envoy::type::v3::FractionalPercent;
  uint64_t denominator = 100;
  if (f.percent_sampled().denominator() == FractionalPercent::TEN_THOUSAND) denominator = 10'000;
  if (f.percent_sampled().denominator() == FractionalPercent::MILLION) denominator = 1'000'000;
  return random_filter(f.percent_sampled().numerator(), denominator);
}

Result<FilterPtr> to_filter(const proto::AccessLogFilter& f, const std::string& path);

template <typename List>
Result<std::vector<FilterPtr>> to_filters(const List& list, const std::string& path) {
  std::vector<FilterPtr> out;
  for (int i = 0; i < list.size(); ++i) {
    SLUICE_ASSIGN(FilterPtr filter, to_filter(list[i], path + ".filters[" + std::to_string(i) + "]"));
    out.push_back(std::move(filter));
  }
  return out;
}

Result<FilterPtr> to_filter(const proto::AccessLogFilter& f, const std::string& path) {
  switch (f.filter_specifier_case()) {
    case proto::AccessLogFilter::kStatusCodeFilter: {
      const auto& c = f.status_code_filter().comparison();
      SLUICE_ASSIGN(Comparison op, to_comparison(c, path + ".status_code_filter.comparison"));
      return status_code_filter(op, c.value().default_value());
    }
    case proto::AccessLogFilter::kDurationFilter: {
      const auto& c = f.duration_filter().comparison();
      SLUICE_ASSIGN(Comparison op, to_comparison(c, path + ".duration_filter.comparison"));
      return duration_filter(op, c.value().default_value());
    }
    case proto::AccessLogFilter::kNotHealthCheckFilter:
      return everything();  // no TCP stream is one
    case proto::AccessLogFilter::kRuntimeFilter:
      return to_chance(f.runtime_filter());
    case proto::AccessLogFilter::kAndFilter: {
      SLUICE_ASSIGN(auto filters, to_filters(f.and_filter().filters(), path + ".and_filter"));
      return all_of(std::move(filters));
    }
    case proto::AccessLogFilter::kOrFilter: {
      SLUICE_ASSIGN(auto filters, to_filters(f.or_filter().filters(), path + ".or_filter"));
      return any_of(std::move(filters));
    }
    case proto::AccessLogFilter::kResponseFlagFilter:
      return to_flags(f.response_flag_filter());
    case proto::AccessLogFilter::kLogTypeFilter:
      return to_types(f.log_type_filter());
    default:
      break;
  }
  return Error{
      path +
      ": this filter judges HTTP requests, which a TCP stream has none of; TCP knows status_code_filter, "
      "duration_filter, response_flag_filter, log_type_filter, not_health_check_filter, runtime_filter, "
      "and_filter, or_filter"};
}

}  // namespace

Result<FilterPtr> make_filter(const proto::AccessLogFilter& filter, const std::string& path) {
  return to_filter(filter, path);
}

Result<ext::AccessLoggerPtr> apply_filter(const proto::AccessLog& entry, ext::AccessLoggerPtr logger,
                                          std::string_view path) {
  if (!entry.has_filter()) return logger;
  SLUICE_ASSIGN(FilterPtr filter, to_filter(entry.filter(), std::string(path) + ".filter"));
  return filtered(std::move(filter), std::move(logger));
}

}  // namespace sluice::access_loggers
