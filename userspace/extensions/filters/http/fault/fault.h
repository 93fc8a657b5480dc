#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/time.h"
#include "model/matchers.h"
#include "sluice/ext/http_filter.h"

namespace sluice::extensions::fault {

// A share of requests; with `from_header` a request may ask for less of it.
struct Share {
  model::Fraction fraction{.numerator = 0};
  bool from_header = false;
};

struct Delay : Share {
  Duration fixed{};  // without from_header
};

struct Abort : Share {
  std::optional<uint16_t> http_status;  // one of the two, without from_header
  std::optional<uint32_t> grpc_status;
};

struct RateLimit : Share {
  uint64_t kilobytes = 0;  // a second; without from_header
};

// envoy.extensions.filters.http.fault.v3.HTTPFault, of the filter or of a route.
struct Settings final : ext::HttpRouteConfig {
  std::optional<Delay> delay;
  std::optional<Abort> abort;
  std::optional<RateLimit> response_rate_limit;
  std::string upstream_cluster;  // "": any
  std::vector<model::HeaderMatcher> headers;
  std::vector<std::string> downstream_nodes;  // x-envoy-downstream-service-node; empty: any
  std::optional<uint32_t> max_active_faults;
  bool downstream_cluster_stats = true;
};

// Delays requests, answers them with errors and slows responses down, so that one can see how callers bear it.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/fault_filter
ext::HttpFilterFactory make_factory(std::shared_ptr<const Settings> settings);

}  // namespace sluice::extensions::fault
