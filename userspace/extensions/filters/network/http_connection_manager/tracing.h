#pragma once

#include "core/random.h"
#include "extensions/filters/network/http_connection_manager/settings.h"
#include "http/header_map.h"
#include "model/tracing.h"
#include "sluice/ext/tracer.h"

// Which requests are traced.
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/observability/tracing#how-to-initiate-a-trace
namespace sluice::extensions::http_connection_manager {

// HttpConnectionManager.Tracing.
struct Tracing {
  model::TracingRules rules;
  ext::TracerFactory tracer;  // empty: decisions are made and told, and nobody traces
};

// Decides, and writes the reason where the next hop finds it: into the character of x-request-id that says the version.
// `route`: null: it says nothing on tracing.
ext::TraceReason decide_trace(const Settings& settings, const model::RouteTracing* route, Random& random,
                              http::HeaderMap& request);

}  // namespace sluice::extensions::http_connection_manager
