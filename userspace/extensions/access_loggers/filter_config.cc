#include "envoy/config/accesslog/v3/accesslog.pb.h"
#include "extensions/access_loggers/common/filter.h"
#include "extensions/access_loggers/config.h"
#include "extensions/common/proto_matchers.h"
#include "extensions/common/proto_metadata.h"
#include "model/metadata.h"

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

// The API accepts more flags than there are; those never match.
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
    // Records of UDP are never written.
    using Type = ext::AccessLogType;
    constexpr std::pair<int, Type> kTypes[] = {
        {envoy::data::accesslog::v3::NotSet, Type::not_set},
        {envoy::data::accesslog::v3::TcpUpstreamConnected, Type::tcp_upstream_connected},
        {envoy::data::accesslog::v3::TcpPeriodic, Type::tcp_periodic},
        {envoy::data::accesslog::v3::TcpConnectionEnd, Type::tcp_connection_end},
        {envoy::data::accesslog::v3::DownstreamStart, Type::downstream_start},
        {envoy::data::accesslog::v3::DownstreamPeriodic, Type::downstream_periodic},
        {envoy::data::accesslog::v3::DownstreamEnd, Type::downstream_end},
        {envoy::data::accesslog::v3::UpstreamPoolReady, Type::upstream_poolready},
        {envoy::data::accesslog::v3::UpstreamPeriodic, Type::upstream_periodic},
        {envoy::data::accesslog::v3::UpstreamEnd, Type::upstream_end},
        {envoy::data::accesslog::v3::DownstreamTunnelSuccessfullyEstablished,
         Type::downstream_tunnel_successfully_established},
    };
    for (auto [proto_type, ours] : kTypes)
      if (proto_type == type) types.push_back(ours);
  }
  return log_type_filter(std::move(types), f.exclude());
}

FilterPtr to_chance(const proto::RuntimeFilter& f) {
  using envoy::type::v3::FractionalPercent;
  uint64_t denominator = 100;
  if (f.percent_sampled().denominator() == FractionalPercent::TEN_THOUSAND) denominator = 10'000;
  if (f.percent_sampled().denominator() == FractionalPercent::MILLION) denominator = 1'000'000;
  return random_filter(f.percent_sampled().numerator(), denominator, f.use_independent_randomness());
}

// Dynamic metadata: what is not there passes or not, as the filter says.
class MetadataFilter final : public Filter {
 public:
  MetadataFilter(extensions::MetadataMatcher matcher, bool pass_if_absent)
      : matcher_(std::move(matcher)), pass_if_absent_(pass_if_absent) {}
  bool pass(const ext::StreamInfo& info, ext::AccessLogType) const override {
    if (matcher_.path.empty()) return pass_if_absent_;
    const auto found = model::metadata_value(info.dynamic_metadata.get(), matcher_.filter, matcher_.path);
    return found ? matcher_.value.matches(&*found) : pass_if_absent_;
  }

 private:
  const extensions::MetadataMatcher matcher_;  // without a path: there was none
  const bool pass_if_absent_;
};

Result<FilterPtr> to_metadata(const proto::MetadataFilter& f, const std::string& path) {
  const bool pass_if_absent = !f.has_match_if_key_not_found() || f.match_if_key_not_found().value();
  extensions::MetadataMatcher matcher;
  if (f.has_matcher()) {
    if (f.matcher().invert()) return Error{path + ".matcher.invert: has no effect in an access log's filter"};
    SLUICE_ASSIGN(matcher, extensions::to_metadata_matcher(f.matcher(), path + ".matcher"));
  }
  return FilterPtr(std::make_unique<MetadataFilter>(std::move(matcher), pass_if_absent));
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
      return not_health_check_filter();
    case proto::AccessLogFilter::kTraceableFilter:
      return traceable_filter();
    case proto::AccessLogFilter::kHeaderFilter: {
      SLUICE_ASSIGN(auto matcher, extensions::to_header_matcher(f.header_filter().header(),
                                                                path + ".header_filter.header"));
      return header_filter(std::move(matcher));
    }
    case proto::AccessLogFilter::kGrpcStatusFilter: {
      std::vector<int64_t> statuses(f.grpc_status_filter().statuses().begin(),
                                    f.grpc_status_filter().statuses().end());
      return grpc_status_filter(std::move(statuses), f.grpc_status_filter().exclude());
    }
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
    case proto::AccessLogFilter::kMetadataFilter:
      return to_metadata(f.metadata_filter(), path + ".metadata_filter");
    default:
      break;
  }
  return Error{path +
               ": this kind of filter is not supported: there is no extension (extension_filter) to ask"};
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
