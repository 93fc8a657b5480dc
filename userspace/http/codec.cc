#include "http/codec.h"

#include "http/options.h"

namespace sluice::http {

std::string_view to_string(Protocol protocol) {
  switch (protocol) {
    case Protocol::http10:
      return "HTTP/1.0";
    case Protocol::http11:
      return "HTTP/1.1";
    case Protocol::http2:
      return "HTTP/2";
  }
  return "";
}

std::string_view to_string(ResetReason reason) {
  switch (reason) {
    case ResetReason::local_reset:
      return "local reset";
    case ResetReason::local_refused_stream:
      return "local refused stream reset";
    case ResetReason::remote_reset:
      return "remote reset";
    case ResetReason::remote_refused_stream:
      return "remote refused stream reset";
    case ResetReason::connection_failure:
      return "remote connection failure";
    case ResetReason::connection_timeout:
      return "connection timeout";
    case ResetReason::connection_termination:
      return "connection termination";
    case ResetReason::overflow:
      return "overflow";
    case ResetReason::protocol_error:
      return "protocol error";
    case ResetReason::connect_error:
      return "remote error with CONNECT request";
    case ResetReason::overload:
      return "overload manager reset";
    case ResetReason::no_error:
      return "no error";
  }
  return "";
}

Http1Stats::Http1Stats(const stats::Scope& parent) {
  stats::Scope s = parent.scope("http1");
  dropped_headers_with_underscores = s.counter("dropped_headers_with_underscores");
  metadata_not_supported_error = s.counter("metadata_not_supported_error");
  requests_rejected_with_underscores_in_headers = s.counter("requests_rejected_with_underscores_in_headers");
  response_flood = s.counter("response_flood");
}

Http2Stats::Http2Stats(const stats::Scope& parent) {
  stats::Scope s = parent.scope("http2");
  dropped_headers_with_underscores = s.counter("dropped_headers_with_underscores");
  goaway_sent = s.counter("goaway_sent");
  header_overflow = s.counter("header_overflow");
  headers_cb_no_stream = s.counter("headers_cb_no_stream");
  inbound_empty_frames_flood = s.counter("inbound_empty_frames_flood");
  inbound_priority_frames_flood = s.counter("inbound_priority_frames_flood");
  inbound_window_update_frames_flood = s.counter("inbound_window_update_frames_flood");
  keepalive_timeout = s.counter("keepalive_timeout");
  metadata_empty_frames = s.counter("metadata_empty_frames");
  outbound_control_flood = s.counter("outbound_control_flood");
  outbound_flood = s.counter("outbound_flood");
  requests_rejected_with_underscores_in_headers = s.counter("requests_rejected_with_underscores_in_headers");
  rx_messaging_error = s.counter("rx_messaging_error");
  rx_reset = s.counter("rx_reset");
  stream_refused_errors = s.counter("stream_refused_errors");
  trailers = s.counter("trailers");
  tx_flush_timeout = s.counter("tx_flush_timeout");
  tx_reset = s.counter("tx_reset");
  streams_active = s.gauge("streams_active");
  pending_send_bytes = s.gauge("pending_send_bytes");
  deferred_stream_close = s.gauge("deferred_stream_close");
  outbound_frames_active = s.gauge("outbound_frames_active");
  outbound_control_frames_active = s.gauge("outbound_control_frames_active");
}

}  // namespace sluice::http
