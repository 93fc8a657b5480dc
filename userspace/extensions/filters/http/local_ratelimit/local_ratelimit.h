#pragma once

#include <memory>
#include <optional>
#include <string>

#include "extensions/filters/http/local_ratelimit/token_bucket.h"
#include "model/matchers.h"
#include "model/route.h"
#include "sluice/ext/http_filter.h"

namespace sluice::extensions::local_ratelimit {

// envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit, of the filter or of a route.
struct Settings final : ext::HttpRouteConfig {
  struct Bucket {
    uint32_t max_tokens = 0, per_fill = 1;
    Duration interval{};
  };
  std::string stat_prefix;
  uint16_t status = 429;
  std::optional<Bucket> bucket;  // nothing: no limit
  std::shared_ptr<TokenBucket> shared;  // made of it; null with per_connection
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
