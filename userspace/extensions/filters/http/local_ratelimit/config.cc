#include "extensions/filters/http/local_ratelimit/config.h"

#include "envoy/extensions/filters/http/local_ratelimit/v3/local_rate_limit.pb.h"
#include "extensions/common/proto_headers.h"
#include "extensions/common/proto_matchers.h"
#include "extensions/common/proto_util.h"
#include "extensions/filters/http/local_ratelimit/local_ratelimit.h"

namespace sluice::extensions::local_ratelimit {
namespace {

using Proto = envoy::extensions::filters::http::local_ratelimit::v3::LocalRateLimit;

Result<std::shared_ptr<const Settings>> to_settings(const google::protobuf::Message& message,
                                                    std::string_view path) {
  const auto& in = static_cast<const Proto&>(message);
  const std::string base(path);
  auto out = std::make_shared<Settings>();
  out->stat_prefix = in.stat_prefix();
  // Envoy: what is no error status becomes 429.
  if (in.status().code() >= 400) out->status = static_cast<uint16_t>(in.status().code());
  out->per_connection = in.local_rate_limit_per_downstream_connection();
  if (in.has_token_bucket()) {
    Settings::Bucket bucket;
    bucket.max_tokens = in.token_bucket().max_tokens();
    if (in.token_bucket().has_tokens_per_fill())
      bucket.per_fill = in.token_bucket().tokens_per_fill().value();
    bucket.interval = to_duration(in.token_bucket().fill_interval());
    if (bucket.interval < std::chrono::milliseconds(50))
      return Error{base +
                   ".token_bucket.fill_interval: local rate limit token bucket fill timer must be >= 50ms"};
    if (!out->per_connection)
      out->shared = std::make_shared<TokenBucket>(bucket.max_tokens, bucket.per_fill, bucket.interval);
    out->bucket = bucket;
  }
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

Result<ext::HttpFilterFactory> create(const google::protobuf::Message& message, ext::FactoryContext&,
                                      std::string_view path) {
  SLUICE_ASSIGN(auto settings, to_settings(message, path));
  return make_factory(std::move(settings));
}

Result<ext::HttpRouteConfigPtr> create_route(const google::protobuf::Message& message, ext::FactoryContext&,
                                             std::string_view path) {
  SLUICE_ASSIGN(auto settings, to_settings(message, path));
  if (!settings->bucket)
    return Error{std::string(path) +
                 ".token_bucket: local rate limit token bucket must be set for per filter configs"};
  return ext::HttpRouteConfigPtr(std::move(settings));
}

}  // namespace

ext::HttpFilterExtension extension() {
  constexpr std::string_view kType = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit";
  constexpr std::string_view kNoDescriptors = "says how descriptors are made or used, and these are refused";
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
                 "rate_limited_as_resource_exhausted",
       .meaningless = {{"stage", kNoDescriptors},
                       {"vh_rate_limits", kNoDescriptors},
                       {"always_consume_default_token_bucket", kNoDescriptors},
                       {"max_dynamic_descriptors", kNoDescriptors}}},
      {.message = "envoy.type.v3.HttpStatus", .fields = "code"},
      {.message = "envoy.type.v3.TokenBucket", .fields = "max_tokens tokens_per_fill fill_interval"}};
  return e;
}

}  // namespace sluice::extensions::local_ratelimit
