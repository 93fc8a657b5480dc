#pragma once

#include <optional>

#include "core/time.h"
#include "http/header_map.h"
#include "model/retry_policy.h"
#include "model/route.h"

namespace sluice::extensions::router {

// How long a request may take: the route's word, the request's own headers over it.
// https://www.envoyproxy.io/docs/envoy/latest/faq/configuration/timeouts
struct Timeouts {
  Duration global{};    // from the request's end to the response's; 0: none
  Duration per_try{};   // 0: none
  Duration per_try_idle{};
  bool rewrite_grpc = false;  // grpc-timeout says upstream what is left
};

struct TimeoutOptions {
  bool grpc = false;
  bool set_expected = true;  // x-envoy-expected-rq-timeout-ms, unless suppress_envoy_headers
  bool respect_expected = false;
};

// Takes the timeout headers that are for us out of the request and writes those that are for upstream.
Timeouts final_timeouts(const model::RouteAction& route, const model::RetryPolicy* policy,
                        http::HeaderMap& request, const TimeoutOptions& options);
// What is left for a try after `elapsed`, for upstream to read.
void set_timeout_headers(const Timeouts& timeouts, Duration elapsed, const TimeoutOptions& options,
                         http::HeaderMap& request);
// "5S" of grpc-timeout; nothing: not there, or none. https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
std::optional<Duration> grpc_timeout(const http::HeaderMap& request);
void set_grpc_timeout(Duration timeout, http::HeaderMap& request);

}  // namespace sluice::extensions::router
