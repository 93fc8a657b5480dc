#pragma once

#include <optional>
#include <string>
#include <vector>

#include "model/matchers.h"
#include "sluice/ext/http_filter.h"

namespace sluice::extensions::cors {

// envoy.extensions.filters.http.cors.v3.CorsPolicy of one level. What it leaves unset a less specific level may set.
struct Policy final : ext::HttpRouteConfig {
  std::vector<model::StringMatcher> allow_origins;
  std::string allow_methods, allow_headers, expose_headers, max_age;
  std::optional<bool> allow_credentials, allow_private_network_access, forward_not_matching_preflights;
  std::optional<model::Fraction> filter_enabled, shadow_enabled;
};

// Answers preflight requests and adds the access-control-* headers of allowed origins (Fetch, section 3.2).
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/cors_filter
ext::HttpFilterFactory make_factory();

}  // namespace sluice::extensions::cors
