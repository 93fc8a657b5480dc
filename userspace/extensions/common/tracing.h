#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "http/codec.h"
#include "http/header_map.h"
#include "model/tracing.h"
#include "sluice/ext/stream_info.h"
#include "sluice/ext/tracer.h"

// What the spans of requests and of their tries say.
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/observability/tracing#what-data-each-trace-contains
namespace sluice::extensions {

// What the route says on tracing; null: nothing, or there is none.
const model::RouteTracing* route_tracing(const ext::HttpInfo& http);
// What names the span of a request in the end, whatever it was called before: its route's operation, or else the connection
// manager's; null: neither has one.
const model::HeaderFormatter* request_operation(const model::TracingRules& rules, const ext::HttpInfo& http);

// The request is over: its record is complete.
void finish_request_span(ext::Span& span, const model::TracingRules& rules, const ext::StreamInfo& info);

// How one try ended.
struct TryOutcome {
  std::optional<http::Protocol> protocol = {};  // nothing: there was no stream
  uint16_t status = 0;  // of its response; 0: it had none
  ext::ResponseFlags flags = {};
  std::string_view reset = {};  // why there is no (whole) response; "": there is, or nobody wants it
  bool canceled = false;  // by this proxy
};
void finish_try_span(ext::Span& span, const model::TracingRules& rules, const ext::StreamInfo& info,
                     const TryOutcome& outcome);
// A head with grpc-status, or trailers.
void tag_grpc_status(ext::Span& span, const http::HeaderMap& headers);

}  // namespace sluice::extensions
