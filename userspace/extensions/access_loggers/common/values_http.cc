#include "extensions/access_loggers/common/values_http.h"

#include "extensions/access_loggers/common/operator_kind.h"
#include "http/codec.h"
#include "http/grpc.h"
#include "http/header_map.h"
#include "http/query.h"
#include "model/route.h"
#include "sluice/ext/tracer.h"

namespace sluice::access_loggers {
namespace {

using ext::HttpInfo;
using ext::StreamInfo;
using http::HeaderMap;
using http::Name;
using K = OperatorKind;

bool append_header(const Operator& op, const HeaderMap* headers, std::string& out) {
  if (!headers) return false;
  const HeaderMap::Field* field = headers->find(op.text);
  if (!field && !op.alternative.empty()) field = headers->find(op.alternative);
  if (!field) return false;
  out += field->value;
  return true;
}

// x-envoy-original-<name>, or the name itself, by Source.
std::string_view by_source(const HeaderMap* headers, uint8_t source, Name original, Name current) {
  if (!headers) return {};
  auto which = static_cast<Source>(source);
  if (which != Source::current) {
    std::string_view value = headers->get(original);
    if (value.data() || which == Source::original) return value;
  }
  return headers->get(current);
}

bool append_path(const Operator& op, const HeaderMap* headers, std::string& out) {
  std::string_view path = by_source(headers, op.source, Name::x_envoy_original_path, Name::path);
  if (!path.data()) return false;
  out += op.no_query ? http::without_query(path) : path;
  return true;
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// QUERY_PARAMS(DECODED) as Envoy has it: an escape of a visible character becomes that character, of another one it
// stays, and the percent sign of what is no escape is dropped.
void append_visible_decoded(std::string_view text, std::string& out) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%' || i + 2 >= text.size()) {
      out += text[i];
      continue;
    }
    int high = hex_digit(text[i + 1]), low = hex_digit(text[i + 2]);
    if (high < 0 || low < 0) continue;
    char c = static_cast<char>(high << 4 | low);
    if (c > ' ' && c < 0x7f) {
      out += c;
      i += 2;
    } else {
      out += '%';
    }
  }
}

bool append_query(const Operator& op, const HeaderMap* headers, std::string& out) {
  if (!headers) return false;
  auto query = http::query_of(headers->get(Name::path));
  if (!query) return false;
  if (op.kind == K::query_param) return http::append_query_value(*query, op.text, out);
  if (op.decoded)
    append_visible_decoded(*query, out);
  else
    out += *query;
  return true;
}

bool append_grpc_status(const Operator& op, const HttpInfo* h, std::string& out) {
  if (!h || !h->request_headers || !http::is_grpc_request(*h->request_headers)) return false;
  auto status = http::grpc_status(h->response_trailers, h->response_headers, h->response_code, true);
  if (!status) return false;
  std::string_view name;
  if (op.choice == static_cast<uint8_t>(GrpcFormat::camel)) name = http::grpc_status_camel_name(*status);
  if (op.choice == static_cast<uint8_t>(GrpcFormat::snake)) name = http::grpc_status_snake_name(*status);
  if (name.empty())
    append_int(out, *status);
  else
    out += name;
  return true;
}

// The counts as the JSON of envoy.extensions.filters.http.grpc_stats.v3.FilterObject: 64-bit numbers are strings there
// and what is 0 is left out.
void append_counts(const HttpInfo::GrpcMessages& m, std::string_view request, std::string_view response,
                   std::string& out) {
  out += '{';
  auto member = [&](std::string_view name, uint64_t value, bool comma) {
    if (value == 0) return;
    if (comma) out += ',';
    out += '"';
    out += name;
    out += "\":\"";
    append_uint(out, value);
    out += '"';
  };
  member(request, m.request, false);
  member(response, m.response, m.request != 0);
  out += '}';
}

constexpr std::string_view kGrpcStatsKey = "envoy.filters.http.grpc_stats";

// The only one that any filter of ours leaves behind.
const HttpInfo::GrpcMessages* filter_state(const Operator& op, const HttpInfo* h) {
  return h && h->grpc_messages && op.text == kGrpcStatsKey ? &*h->grpc_messages : nullptr;
}

bool append_filter_state(const Operator& op, const HttpInfo* h, std::string& out) {
  const HttpInfo::GrpcMessages* m = filter_state(op, h);
  switch (static_cast<FilterStateFormat>(op.choice)) {
    case FilterStateFormat::typed:
      if (m) append_counts(*m, "requestMessageCount", "responseMessageCount", out);
      return m != nullptr;
    case FilterStateFormat::plain:
      if (!m) return false;
      append_uint(out, m->request);
      out += ',';
      append_uint(out, m->response);
      return true;
    case FilterStateFormat::field:
      return false;  // that object has no fields by name
  }
  return false;
}

bool append_metadata(const Operator& op, const HttpInfo* h, std::string& out) {
  if (!h || !h->route) return false;
  for (const auto& [key, text] : *h->route->metadata_text) {
    if (key != op.text) continue;
    out += text;
    return true;
  }
  return false;
}

bool append_protocol(const std::optional<http::Protocol>& protocol, std::string& out) {
  if (protocol) out += http::to_string(*protocol);
  return protocol.has_value();
}

// Header bytes before compression: HTTP/1 does not compress; for HTTP/2 names and values count.
uint64_t plain_bytes(const std::optional<http::Protocol>& protocol, uint64_t on_the_wire,
                     const HeaderMap* headers) {
  if (protocol != http::Protocol::http2) return on_the_wire;
  return headers ? headers->bytes() : 0;
}

uint64_t number(const Operator& op, const HttpInfo& h) {
  auto bytes = [](const HeaderMap* map) -> uint64_t { return map ? map->bytes() : 0; };
  switch (op.kind) {
    case K::response_code:
      return h.response_code;
    case K::request_headers_bytes:
      return bytes(h.request_headers);
    case K::response_headers_bytes:
      return bytes(h.response_headers);
    case K::response_trailers_bytes:
      return bytes(h.response_trailers);
    case K::upstream_header_sent:
      return h.upstream_header_bytes_sent;
    case K::upstream_header_received:
      return h.upstream_header_bytes_received;
    case K::downstream_header_sent:
      return h.downstream_header_bytes_sent;
    case K::downstream_header_received:
      return h.downstream_header_bytes_received;
    case K::upstream_plain_header_sent:
      return plain_bytes(h.upstream_protocol, h.upstream_header_bytes_sent, h.request_headers);
    case K::upstream_plain_header_received:
      return plain_bytes(h.upstream_protocol, h.upstream_header_bytes_received, h.response_headers);
    case K::downstream_plain_header_sent:
      return plain_bytes(h.protocol, h.downstream_header_bytes_sent, h.response_headers);
    case K::downstream_plain_header_received:
      return plain_bytes(h.protocol, h.downstream_header_bytes_received, h.request_headers);
    default:
      return 0;
  }
}

}  // namespace

std::string_view requested_host(const Operator& op, const StreamInfo& info) {
  if (!info.http) return {};
  return by_source(info.http->request_headers, op.source, Name::x_envoy_original_host, Name::authority);
}

bool append_filter_state_json(const Operator& op, const StreamInfo& info, std::string& out) {
  const HttpInfo::GrpcMessages* m = filter_state(op, info.http);
  if (m) append_counts(*m, "request_message_count", "response_message_count", out);
  return m != nullptr;
}

bool append_http_value(const Operator& op, const StreamInfo& info, ext::AccessLogType type,
                       std::string& out) {
  const HttpInfo* h = info.http;
  switch (op.kind) {
    case K::protocol:
      return h && append_protocol(h->protocol, out);
    case K::upstream_protocol:
      return h && append_protocol(h->upstream_protocol, out);
    case K::virtual_cluster_name:
      if (h) out += h->virtual_cluster_name;
      return h && !h->virtual_cluster_name.empty();
    case K::request_header:
      return h && append_header(op, h->request_headers, out);
    case K::response_header:
      return h && append_header(op, h->response_headers, out);
    case K::response_trailer:
      return h && append_header(op, h->response_trailers, out);
    case K::query_param:
    case K::query_params:
      return h && append_query(op, h->request_headers, out);
    case K::path:
      return h && append_path(op, h->request_headers, out);
    case K::metadata:
      return append_metadata(op, h, out);
    case K::filter_state:
      return append_filter_state(op, h, out);
    case K::grpc_status:
      return append_grpc_status(op, h, out);
    case K::trace_id:
      if (!h || !h->tracing || !h->tracing->span) return false;
      out += h->tracing->span->trace_id();
      return true;
    case K::local_reply_body:
      // There while the reply is being made (local_reply_config), as in Envoy; not for the record of the stream.
      if (h && type == ext::AccessLogType::not_set) out += h->local_reply_body;
      return true;
    case K::request_duration:
      return h && append_duration(out, info.start, h->last_downstream_rx_byte, op.unit);
    case K::request_tx_duration:
      return h && append_duration(out, info.start, h->last_upstream_tx_byte, op.unit);
    case K::response_duration:
      return h && append_duration(out, info.start, h->first_upstream_rx_byte, op.unit);
    case K::response_tx_duration:
      return h && append_duration(out, h->first_upstream_rx_byte, h->last_downstream_tx_byte, op.unit);
    default:
      append_uint(out, h ? number(op, *h) : 0);
      return true;
  }
}

}  // namespace sluice::access_loggers
