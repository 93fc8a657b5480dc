#include "extensions/filters/http/local_ratelimit/config.h"

#include "envoy/extensions/filters/http/local_ratelimit/v3/local_rate_limit.pb.h"
#include "extensions/common/proto_headers.h"
#include "extensions/common/proto_matchers.h"
#include "extensions/common/proto_rate_limit.h"
#include "extensions/common/proto_util.h"
#include "extensions/filters/http/local_ratelimit/local_ratelimit.h"

namespace sluice::extensions::local_ratelimit {
namespace {

using Proto = envoy::extensions::filters::http::local_ratelimit::v3::LocalRateLimit;

Result<Bucket> to_bucket(const envoy::type::v3::TokenBucket& in, const std::string& path, const char* whose) {
  Bucket out;
  out.max_tokens = in.max_tokens();
  if (in.has_tokens_per_fill()) out.per_fill = in.tokens_per_fill().value();
  out.interval = to_duration(in.fill_interval());
  if (out.interval < std::chrono::milliseconds(50))
    return Error{path + ".fill_interval: " + whose + " fill timer must be >= 50ms"};
  return out;
}

Result<Limiter::Described::value_type> to_descriptor(
    const envoy::extensions::common::ratelimit::v3::LocalRateLimitDescriptor& in, const std::string& path) {
  Limiter::Described::value_type out;
  for (int i = 0; i < in.entries_size(); ++i) {
    if (in.entries(i).value().empty())
      return Error{
          path + ".entries[" + std::to_string(i) +
          "].value: an entry without a value has a bucket for each that comes, which is not supported "
          "by this version of Sluice; name the values"};
    out.first.emplace_back(in.entries(i).key(), in.entries(i).value());
  }
  SLUICE_ASSIGN(out.second, to_bucket(in.token_bucket(), path + ".token_bucket",
                                      "local rate limit descriptor token bucket"));
  return out;
}

Result<std::shared_ptr<const Settings>> to_settings(const google::protobuf::Message& message,
                                                    const ext::FactoryContext& context,
                                                    std::string_view path) {
  const auto& in = static_cast<const Proto&>(message);
  const std::string base(path);
  auto out = std::make_shared<Settings>();
  out->stat_prefix = in.stat_prefix();
  // Envoy: what is no error status becomes 429.
  if (in.status().code() >= 400) out->status = static_cast<uint16_t>(in.status().code());
  out->per_connection = in.local_rate_limit_per_downstream_connection();
  if (in.has_token_bucket()) {
    SLUICE_ASSIGN(out->bucket,
                  to_bucket(in.token_bucket(), base + ".token_bucket", "local rate limit token bucket"));
  }
  for (int i = 0; i < in.descriptors_size(); ++i) {
    const std::string at = base + ".descriptors[" + std::to_string(i) + "]";
    SLUICE_ASSIGN(auto made, to_descriptor(in.descriptors(i), at));
    for (const auto& other : out->descriptors) {
      if (other.first == made.first)
        return Error{at +
                     ": duplicate descriptor in the local rate descriptor: another one has these entries"};
    }
    out->descriptors.push_back(std::move(made));
  }
  SLUICE_ASSIGN(out->rate_limits, to_own_rate_limits(in.rate_limits(), base + ".rate_limits"));
  out->stage = in.stage();
  for (model::RateLimit& own : out->rate_limits)
    own.stage = out->stage;  // the stage chooses among the routes'
  out->always_default =
      !in.has_always_consume_default_token_bucket() || in.always_consume_default_token_bucket().value();
  if (in.vh_rate_limits() == envoy::extensions::common::ratelimit::v3::INCLUDE)
    out->host_limits = Settings::HostLimits::include;
  if (in.vh_rate_limits() == envoy::extensions::common::ratelimit::v3::IGNORE)
    out->host_limits = Settings::HostLimits::ignore;
  out->node_cluster = context.node_cluster();
  if (!out->per_connection)
    out->shared = std::make_shared<Limiter>(out->bucket, out->descriptors, out->always_default);
  out->enabled = to_fraction(in.filter_enabled().default_value());
  out->enforced = to_fraction(in.filter_enforced().default_value());
  SLUICE_TRY(
      add_headers(in.response_headers_to_add(), base + ".response_headers_to_add", out->response_headers));
  SLUICE_TRY(add_headers(in.request_headers_to_add_when_not_enforced(),
                         base + ".request_headers_to_add_when_not_enforced",
                         out->request_headers_when_not_enforced));
  out->x_ratelimit_headers =
      in.enable_x_ratelimit_headers() == envoy::extensions::common::ratelimit::v3::DRAFT_VERSION_03;
  out->resource_exhausted = in.rate_limited_as_resource_exhausted();
  return std::shared_ptr<const Settings>(std::move(out));
}

Result<ext::HttpFilterFactory> create(const google::protobuf::Message& message, ext::FactoryContext& context,
                                      std::string_view path) {
  SLUICE_ASSIGN(auto settings, to_settings(message, context, path));
  return make_factory(std::move(settings));
}

Result<ext::HttpRouteConfigPtr> create_route(const google::protobuf::Message& message,
                                             ext::FactoryContext& context, std::string_view path) {
  SLUICE_ASSIGN(auto settings, to_settings(message, context, path));
  if (!settings->bucket)
    return Error{std::string(path) +
                 ".token_bucket: local rate limit token bucket must be set for per filter configs"};
  return ext::HttpRouteConfigPtr(std::move(settings));
}

}  // namespace

ext::HttpFilterExtension extension() {
  constexpr std::string_view kType = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit";
  ext::HttpFilterExtension e;
  e.name = "envoy.filters.http.local_ratelimit";
  e.type = kType;
  e.create = &create;
  e.route_type = kType;
  e.create_route = &create_route;
  e.honoured = {
      {.message = kType,
       .fields = "stat_prefix status token_bucket filter_enabled filter_enforced "
                 "request_headers_to_add_when_not_enforced response_headers_to_add "
                 "local_rate_limit_per_downstream_connection enable_x_ratelimit_headers "
                 "rate_limited_as_resource_exhausted descriptors rate_limits stage vh_rate_limits "
                 "always_consume_default_token_bucket",
       .meaningless =
           {{"max_dynamic_descriptors",
             "descriptors with entries that have no value are refused, so none is made of requests"}}},
      {.message = "envoy.extensions.common.ratelimit.v3.LocalRateLimitDescriptor",
       .fields = "entries token_bucket"},
      {.message = "envoy.extensions.common.ratelimit.v3.RateLimitDescriptor.Entry", .fields = "*"},
      {.message = "envoy.type.v3.HttpStatus", .fields = "code"},
      {.message = "envoy.type.v3.TokenBucket", .fields = "max_tokens tokens_per_fill fill_interval"}};
  return e;
}

}  // namespace sluice::extensions::local_ratelimit
