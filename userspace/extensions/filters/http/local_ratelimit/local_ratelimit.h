#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "extensions/filters/http/local_ratelimit/limiter.h"
#include "model/matchers.h"
#include "model/route.h"
#include "sluice/ext/http_filter.h"

namespace sluice::extensions::local_ratelimit {

// envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit, of the filter or of a route.
struct Settings final : ext::HttpRouteConfig {
  enum class HostLimits : uint8_t { override, include, ignore };
  std::string stat_prefix;
  uint16_t status = 429;
  std::optional<Bucket> bucket;  // nothing: no limit
  Limiter::Described descriptors;
  bool always_default = true;  // always_consume_default_token_bucket
  std::shared_ptr<const Limiter> shared;  // made of them; null with per_connection
  std::vector<model::RateLimit> rate_limits;  // how descriptors are made; empty: the route says it
  uint32_t stage = 0;
  HostLimits host_limits =
      HostLimits::override;  // of the virtual host's rate_limits, where the route has its own
  std::string node_cluster;
  model::Fraction enabled{.numerator = 0}, enforced{.numerator = 0};
  model::HeaderRules response_headers, request_headers_when_not_enforced;
  bool per_connection = false;
  bool x_ratelimit_headers = false;
  bool resource_exhausted = false;  // gRPC: RESOURCE_EXHAUSTED, not UNAVAILABLE
};

// Lets through so many requests as the bucket has tokens; the others get `status`.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/local_rate_limit_filter
ext::HttpFilterFactory make_factory(std::shared_ptr<const Settings> settings);

}  // namespace sluice::extensions::local_ratelimit
