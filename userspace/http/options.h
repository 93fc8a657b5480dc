#pragma once

#include <cstdint>
#include <string>

#include "core/stats.h"

namespace sluice::http {

enum class UnderscoreAction : uint8_t { allow, reject_request, drop_header };

// envoy.config.core.v3.Http1ProtocolOptions and what goes for both protocols. Defaults are Envoy's.
struct CommonOptions {
  uint32_t max_headers_bytes = 60 * 1024;  // max_request_headers_kb, max_response_headers_kb
  uint32_t max_headers_count = 100;
  UnderscoreAction underscores = UnderscoreAction::allow;
};

struct Http1Options {
  enum class KeyFormat : uint8_t { lower, proper_case };
  bool allow_absolute_url = true;
  bool accept_http_10 = false;
  std::string default_host_for_http_10;
  bool enable_trailers = false;
  bool allow_chunked_length = false;  // both Content-Length and chunked: drop the length instead of refusing
  bool override_stream_error = false;  // answer 400 and keep the connection where that is possible
  bool send_fully_qualified_url = false;  // client
  KeyFormat key_format = KeyFormat::lower;
};

// envoy.config.core.v3.Http2ProtocolOptions.
struct Http2Options {
  uint32_t hpack_table_size = 4096;
  uint32_t max_concurrent_streams = 1024;
  uint32_t initial_stream_window = 16 * 1024 * 1024;
  uint32_t initial_connection_window = 24 * 1024 * 1024;
  bool allow_connect = false;  // extended CONNECT (RFC 8441)
  uint32_t max_outbound_frames = 10000;
  uint32_t max_outbound_control_frames = 1000;
  uint32_t max_consecutive_inbound_frames_with_empty_payload = 1;
  uint32_t max_inbound_priority_frames_per_stream = 100;
  uint32_t max_inbound_window_update_frames_per_data_frame_sent = 10;
  bool override_stream_error = false;
};

// "http1." of a scope; Envoy: configuration/http/http_conn_man/stats (codec statistics). One a worker and scope.
struct Http1Stats {
  explicit Http1Stats(const stats::Scope& scope);
  stats::Counter dropped_headers_with_underscores, metadata_not_supported_error,
      requests_rejected_with_underscores_in_headers, response_flood;
};

// "http2." of a scope.
struct Http2Stats {
  explicit Http2Stats(const stats::Scope& scope);
  stats::Counter dropped_headers_with_underscores, goaway_sent, header_overflow, headers_cb_no_stream,
      inbound_empty_frames_flood, inbound_priority_frames_flood, inbound_window_update_frames_flood,
      keepalive_timeout, metadata_empty_frames, outbound_control_flood, outbound_flood,
      requests_rejected_with_underscores_in_headers, rx_messaging_error, rx_reset, stream_refused_errors,
      trailers, tx_flush_timeout, tx_reset;
  stats::Gauge streams_active, pending_send_bytes, deferred_stream_close, outbound_frames_active,
      outbound_control_frames_active;
};

}  // namespace sluice::http
