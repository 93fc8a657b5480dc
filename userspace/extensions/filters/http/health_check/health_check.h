#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "core/time.h"
#include "model/matchers.h"
#include "sluice/ext/http_filter.h"

namespace sluice::extensions::health_check {

// envoy.extensions.filters.http.health_check.v3.HealthCheck.
struct Settings {
  bool pass_through = false;
  std::optional<Duration> cache_time;  // pass_through alone
  std::vector<model::HeaderMatcher> headers;  // what makes a request a health check; all of them
  // Answers 503 unless that percentage of each of these clusters' hosts is healthy or degraded.
  std::vector<std::pair<std::string, double>> cluster_min_healthy;
  std::string cluster_name;  // node.cluster: the value of x-envoy-upstream-healthchecked-cluster
};

// Answers health checks, or passes them on and remembers the answer. While the listener drains, and after
// /healthcheck/fail, it says 503.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/health_check_filter
ext::HttpFilterFactory make_factory(Settings settings);

}  // namespace sluice::extensions::health_check
