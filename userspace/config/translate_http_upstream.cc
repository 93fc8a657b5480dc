#include "config/translate_http_upstream.h"

#include <algorithm>
#include <memory>

#include "config/any.h"
#include "config/convert.h"
#include "core/ascii.h"
#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/core/v3/protocol.pb.h"
#include "envoy/extensions/upstreams/http/v3/http_protocol_options.pb.h"

namespace sluice::config {

namespace core = envoy::config::core::v3;
using model::HttpUpstreamOptions;
using Options = envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
using Protocol = HttpUpstreamOptions::Protocol;

namespace {

constexpr const char* kKey = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";

void add_common(const core::HttpProtocolOptions& in, HttpUpstreamOptions& out) {
  if (in.has_idle_timeout()) out.idle_timeout = to_duration(in.idle_timeout());
  if (in.has_max_connection_duration())
    out.max_connection_duration = to_duration(in.max_connection_duration());
  if (in.has_max_stream_duration()) out.max_stream_duration = to_duration(in.max_stream_duration());
  out.max_requests_per_connection =
      value_or(in.has_max_requests_per_connection(), in.max_requests_per_connection(),
               out.max_requests_per_connection);
  http::CommonOptions common;
  common.max_headers_count =
      value_or(in.has_max_headers_count(), in.max_headers_count(), common.max_headers_count);
  if (in.has_max_response_headers_kb())
    common.max_headers_bytes = in.max_response_headers_kb().value() * 1024;
  switch (in.headers_with_underscores_action()) {
    case core::HttpProtocolOptions::REJECT_REQUEST:
      common.underscores = http::UnderscoreAction::reject_request;
      break;
    case core::HttpProtocolOptions::DROP_HEADER:
      common.underscores = http::UnderscoreAction::drop_header;
      break;
    default:
      break;
  }
  out.http1.common = out.http2.common = common;
}

// What only a server reads (allow_absolute_url, accept_http_10) has no effect here, as in Envoy.
Status add_http1(const core::Http1ProtocolOptions& in, const FieldPath& path, HttpUpstreamOptions& out) {
  http::Http1Options& o = out.http1.http1;
  o.enable_trailers = in.enable_trailers();
  o.allow_chunked_length = in.allow_chunked_length();
  o.send_fully_qualified_url = in.send_fully_qualified_url();
  o.override_stream_error = in.override_stream_error_on_invalid_http_message().value();
  if (in.header_key_format().has_proper_case_words())
    o.key_format = http::Http1Options::KeyFormat::proper_case;
  if (in.header_key_format().has_stateful_formatter()) {
    const FieldPath format = path.field("header_key_format");
    return refuse(format.field("stateful_formatter"),
                  "is not supported by this version of Sluice; it has proper_case_words");
  }
  return {};
}

void add_http2(const core::Http2ProtocolOptions& in, HttpUpstreamOptions& out) {
  http::Http2Options& o = out.http2.http2;
  o.hpack_table_size = value_or(in.has_hpack_table_size(), in.hpack_table_size(), o.hpack_table_size);
  o.max_concurrent_streams =
      value_or(in.has_max_concurrent_streams(), in.max_concurrent_streams(), o.max_concurrent_streams);
  o.initial_stream_window =
      value_or(in.has_initial_stream_window_size(), in.initial_stream_window_size(), o.initial_stream_window);
  o.initial_connection_window = value_or(in.has_initial_connection_window_size(),
                                         in.initial_connection_window_size(), o.initial_connection_window);
  o.allow_connect = in.allow_connect();
  o.max_outbound_frames =
      value_or(in.has_max_outbound_frames(), in.max_outbound_frames(), o.max_outbound_frames);
  o.max_outbound_control_frames = value_or(in.has_max_outbound_control_frames(),
                                           in.max_outbound_control_frames(), o.max_outbound_control_frames);
  o.max_consecutive_inbound_frames_with_empty_payload =
      value_or(in.has_max_consecutive_inbound_frames_with_empty_payload(),
               in.max_consecutive_inbound_frames_with_empty_payload(),
               o.max_consecutive_inbound_frames_with_empty_payload);
  o.max_inbound_priority_frames_per_stream =
      value_or(in.has_max_inbound_priority_frames_per_stream(), in.max_inbound_priority_frames_per_stream(),
               o.max_inbound_priority_frames_per_stream);
  o.max_inbound_window_update_frames_per_data_frame_sent =
      value_or(in.has_max_inbound_window_update_frames_per_data_frame_sent(),
               in.max_inbound_window_update_frames_per_data_frame_sent(),
               o.max_inbound_window_update_frames_per_data_frame_sent);
  o.override_stream_error = in.has_override_stream_error_on_invalid_http_message()
                                ? in.override_stream_error_on_invalid_http_message().value()
                                : in.stream_error_on_invalid_http_messaging();
  if (!in.has_connection_keepalive()) return;
  const auto& k = in.connection_keepalive();
  out.keep_alive.interval = to_duration(k.interval());
  out.keep_alive.timeout = to_duration(k.timeout());
  out.keep_alive.idle_interval = to_duration(k.connection_idle_interval());
  if (k.has_interval_jitter()) out.keep_alive.jitter_percent = k.interval_jitter().value();
}

// Envoy asks every transport socket of the cluster whether it can do ALPN (allMatchesSupportAlpn): raw_buffer cannot.
bool all_secured(const model::Cluster& cluster) {
  return cluster.transport &&
         std::ranges::all_of(cluster.transport_matches, [](const auto& m) { return bool(m.transport); });
}

// auto_sni and auto_san_validation.
void add_server_name(const core::UpstreamHttpProtocolOptions& in, HttpUpstreamOptions& out) {
  out.auto_sni = in.auto_sni();
  out.auto_san_validation = in.auto_san_validation();
  if (!out.auto_sni && !out.auto_san_validation) return;
  out.server_name_header = ":authority";
  if (in.override_auto_sni_header().empty()) return;
  out.server_name_header = to_lower(in.override_auto_sni_header());
}

Status add_typed(const Options& in, const std::string& cluster, bool with_alpn, const FieldPath& path,
                 HttpUpstreamOptions& out) {
  add_common(in.common_http_protocol_options(), out);
  add_server_name(in.upstream_http_protocol_options(), out);
  if (in.has_explicit_http_config()) {
    const FieldPath at = path.field("explicit_http_config");
    const auto& c = in.explicit_http_config();
    if (c.has_http2_protocol_options()) {
      out.protocol = Protocol::http2;
      add_http2(c.http2_protocol_options(), out);
      return {};
    }
    return add_http1(c.http_protocol_options(), at.field("http_protocol_options"), out);
  }
  if (in.has_use_downstream_protocol_config()) {
    const FieldPath at = path.field("use_downstream_protocol_config");
    const auto& c = in.use_downstream_protocol_config();
    // A protocol that is not named is spoken with the default options, as in Envoy.
    out.protocol = Protocol::as_downstream;
    add_http2(c.http2_protocol_options(), out);
    return add_http1(c.http_protocol_options(), at.field("http_protocol_options"), out);
  }
  const FieldPath at = path.field("auto_config");
  if (!with_alpn)
    return refuse(at, "ALPN configured for cluster " + cluster +
                          " which has a non-ALPN transport socket: without TLS the protocol cannot be "
                          "negotiated; name it with explicit_http_config");
  out.protocol = Protocol::by_alpn;
  add_http2(in.auto_config().http2_protocol_options(), out);
  return add_http1(in.auto_config().http_protocol_options(), at.field("http_protocol_options"), out);
}

// The fields of Cluster that typed_extension_protocol_options took the place of.
Status add_deprecated(const envoy::config::cluster::v3::Cluster& in, const FieldPath& path,
                      HttpUpstreamOptions& out) {
  if (in.has_common_http_protocol_options()) add_common(in.common_http_protocol_options(), out);
  if (in.has_http_protocol_options())
    SLUICE_TRY(add_http1(in.http_protocol_options(), path.field("http_protocol_options"), out));
  if (in.has_http2_protocol_options()) {
    out.protocol = Protocol::http2;
    add_http2(in.http2_protocol_options(), out);
  }
  if (in.protocol_selection() == envoy::config::cluster::v3::Cluster::USE_DOWNSTREAM_PROTOCOL)
    out.protocol = Protocol::as_downstream;
  return {};
}

}  // namespace

Status add_http_options(const envoy::config::cluster::v3::Cluster& in, const FieldPath& path,
                        model::Cluster& out) {
  out.http.max_requests_per_connection = in.max_requests_per_connection().value();
  const FieldPath map = path.field("typed_extension_protocol_options");
  bool typed = false;
  for (const auto& [key, any] : in.typed_extension_protocol_options()) {
    const FieldPath at = map.key(key);
    if (key != kKey)
      return refuse(at, std::string("is not supported by this version of Sluice; it has ") + kKey);
    SLUICE_ASSIGN(const auto message, unpack(any, at));
    if (message->GetDescriptor() != Options::descriptor())
      return refuse(at, std::string("must hold a ") + kKey);
    typed = true;
    SLUICE_TRY(add_typed(static_cast<const Options&>(*message), in.name(), all_secured(out), at, out.http));
  }
  if (typed) return {};
  add_server_name(in.upstream_http_protocol_options(), out.http);
  return add_deprecated(in, path, out.http);
}

}  // namespace sluice::config
