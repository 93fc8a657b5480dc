#include "extensions/common/tracing.h"

#include <algorithm>
#include <string>

#include "http/codec.h"
#include "http/grpc.h"
#include "model/route.h"

namespace sluice::extensions {

using ext::Span;
using http::HeaderMap;
using http::Name;

namespace {

std::string_view or_dash(std::string_view text) {
  return text.empty() ? "-" : text;
}

// The URL as the client wrote it (Envoy: Http::Utility::buildOriginalUri).
std::string url(const HeaderMap& request, uint32_t max_path_bytes) {
  std::string_view path = request.get(Name::x_envoy_original_path);
  if (path.data() == nullptr) path = request.get(Name::path);
  if (path.data() == nullptr) return {};
  std::string out(request.get(Name::x_forwarded_proto));
  out += "://";
  out += request.get(Name::authority);
  out += path.substr(0, max_path_bytes);
  return out;
}

// Statuses that say that the server failed, and not that the caller asked for something wrong.
bool failed(int64_t grpc_status) {
  switch (grpc_status) {
    case 2:  // UNKNOWN
    case 4:  // DEADLINE_EXCEEDED
    case 8:  // RESOURCE_EXHAUSTED
    case 12:  // UNIMPLEMENTED
    case 13:  // INTERNAL
    case 14:  // UNAVAILABLE
    case 15:  // DATA_LOSS
      return true;
    default:
      return false;
  }
}

// `downstream`: the connection to the client, too.
void log_times(Span& span, const ext::StreamInfo& info, bool downstream) {
  const ext::HttpInfo& h = *info.http;
  auto log = [&](MonotonicTime at, std::string_view event) {
    if (at != MonotonicTime{}) span.log(info.start_time + (at - info.start), event);
  };
  if (downstream) log(h.last_downstream_rx_byte, "last_downstream_rx_byte_received");
  log(h.first_upstream_tx_byte, "first_upstream_tx_byte_sent");
  log(h.last_upstream_tx_byte, "last_upstream_tx_byte_sent");
  log(h.first_upstream_rx_byte, "first_upstream_rx_byte_received");
  log(h.last_upstream_rx_byte, "last_upstream_rx_byte_received");
  if (!downstream) return;
  log(h.first_downstream_tx_byte, "first_downstream_tx_byte_sent");
  log(h.last_downstream_tx_byte, "last_downstream_tx_byte_sent");
}

void tag_common(Span& span, const model::TracingRules& rules, const ext::StreamInfo& info, uint16_t status,
                const ext::ResponseFlags& flags, bool of_try) {
  span.set_tag("component", "proxy");
  if (!info.upstream_cluster.empty()) {
    span.set_tag("upstream_cluster",
                 info.upstream_cluster_raw.empty() ? info.upstream_cluster : info.upstream_cluster_raw);
    span.set_tag("upstream_cluster.name", info.upstream_cluster);
  }
  span.set_tag("http.status_code", std::to_string(status));
  span.set_tag("response_flags", flags.to_short_string());
  if (rules.verbose) log_times(span, info, !of_try);
  if (status == 0 || status / 100 == 5) span.set_tag("error", "true");
  for (const model::CustomTag& tag : rules.tags) span.set_tag(tag.tag, tag.value(info));
  if (const model::RouteTracing* route = route_tracing(*info.http))
    for (const model::CustomTag& tag : route->tags) span.set_tag(tag.tag, tag.value(info));
}

void set_operation(Span& span, const model::HeaderFormatter* format, const ext::StreamInfo& info) {
  if (!format) return;
  std::string operation;
  format->format(info, operation);
  span.set_operation(operation);
}

std::string without_port(const Address& address) {
  return address.is_ip() ? address.ip().to_string() : address.to_string();
}

}  // namespace

const model::RouteTracing* route_tracing(const ext::HttpInfo& http) {
  return http.route ? http.route->tracing.get() : nullptr;
}

const model::HeaderFormatter* request_operation(const model::TracingRules& rules, const ext::HttpInfo& http) {
  const model::RouteTracing* route = route_tracing(http);
  return (route && route->operation ? route->operation : rules.operation).get();
}

void tag_grpc_status(Span& span, const HeaderMap& headers) {
  if (!headers.has(Name::grpc_status)) return;
  const std::string_view text = headers.get(Name::grpc_status);
  span.set_tag("grpc.status_code", text);
  span.set_tag("grpc.message", headers.get(Name::grpc_message));
  if (failed(http::parse_grpc_status(text, false))) span.set_tag("error", "true");
}

void finish_request_span(Span& span, const model::TracingRules& rules, const ext::StreamInfo& info) {
  if (!span.sampled()) return span.finish();
  const ext::HttpInfo& h = *info.http;
  set_operation(span, request_operation(rules, h), info);
  span.set_tag("node_id", rules.node_id);
  span.set_tag("zone", rules.zone);
  if (const HeaderMap* request = h.request_headers) {
    span.set_tag("guid:x-request-id", request->get(Name::x_request_id));
    span.set_tag("http.url", url(*request, rules.max_path_bytes));
    span.set_tag("http.method", request->get(Name::method));
    span.set_tag("downstream_cluster", or_dash(request->get(Name::x_envoy_downstream_service_cluster)));
    span.set_tag("user_agent", or_dash(request->get(Name::user_agent)));
    span.set_tag("http.protocol", h.protocol ? http::to_string(*h.protocol) : "-");
    span.set_tag("peer.address", without_port(info.downstream_direct_remote));
    span.set_tag("guid:x-client-trace-id", request->get(Name::x_client_trace_id));
    if (http::is_grpc_request(*request)) {
      span.set_tag("grpc.path", request->get(Name::path));
      span.set_tag("grpc.authority", request->get(Name::authority));
      span.set_tag("grpc.content_type", request->get(Name::content_type));
      span.set_tag("grpc.timeout", request->get(Name::grpc_timeout));
    }
  }
  span.set_tag("request_size", std::to_string(info.bytes_received));
  span.set_tag("response_size", std::to_string(info.bytes_sent));
  tag_common(span, rules, info, h.response_code, info.flags, false);
  if (h.response_headers) tag_grpc_status(span, *h.response_headers);
  if (h.response_trailers) tag_grpc_status(span, *h.response_trailers);
  span.finish();
}

void finish_try_span(Span& span, const model::TracingRules& rules, const ext::StreamInfo& info,
                     const TryOutcome& outcome) {
  if (!span.sampled()) return span.finish();
  const model::RouteTracing* route = route_tracing(*info.http);
  set_operation(
      span, (route && route->upstream_operation ? route->upstream_operation : rules.upstream_operation).get(),
      info);
  span.set_tag("http.protocol", outcome.protocol ? http::to_string(*outcome.protocol) : "-");
  const std::string host = info.upstream_remote.to_string();
  span.set_tag("upstream_address", host);
  span.set_tag("peer.address", host);
  tag_common(span, rules, info, outcome.status, outcome.flags, true);
  if (!outcome.reset.empty()) {
    span.set_tag("error", "true");
    span.set_tag("error.reason", outcome.reset);
  }
  if (outcome.canceled) span.set_tag("canceled", "true");
  span.finish();
}

}  // namespace sluice::extensions
