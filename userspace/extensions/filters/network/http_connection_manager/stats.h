#pragma once

#include <cstdint>

#include "core/stats.h"
#include "http/options.h"
#include "sluice/ext/network_filter.h"

namespace sluice::extensions::http_connection_manager {

// "http.<stat_prefix>." of one worker, what the listener counts of it, and the codecs'.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/stats
struct Stats {
  Stats(const ext::NetworkFilterScope& scope, std::string_view prefix);
  void count_response(uint16_t status);

  // What filters and routes count below these prefixes goes before them.
  const stats::Lease lease, listener_lease;
  stats::Counter downstream_cx_delayed_close_timeout, downstream_cx_destroy, downstream_cx_destroy_active_rq,
      downstream_cx_destroy_local, downstream_cx_destroy_local_active_rq, downstream_cx_destroy_remote,
      downstream_cx_destroy_remote_active_rq, downstream_cx_drain_close, downstream_cx_http1_soft_drain,
      downstream_cx_http1_total, downstream_cx_http2_total, downstream_cx_http3_total,
      downstream_cx_idle_timeout, downstream_cx_max_duration_reached, downstream_cx_max_requests_reached,
      downstream_cx_overload_disable_keepalive, downstream_cx_protocol_error, downstream_cx_rx_bytes_total,
      downstream_cx_ssl_total, downstream_cx_total, downstream_cx_tx_bytes_total,
      downstream_cx_upgrades_total, downstream_flow_control_paused_reading_total,
      downstream_flow_control_resumed_reading_total, downstream_rq_completed,
      downstream_rq_failed_path_normalization, downstream_rq_header_timeout, downstream_rq_http1_total,
      downstream_rq_http2_total, downstream_rq_http3_total, downstream_rq_idle_timeout,
      downstream_rq_max_duration_reached, downstream_rq_non_relative_path, downstream_rq_overload_close,
      downstream_rq_redirected_with_normalized_path, downstream_rq_rejected_via_ip_detection,
      downstream_rq_response_before_rq_complete, downstream_rq_rx_reset, downstream_rq_timeout,
      downstream_rq_too_large, downstream_rq_too_many_premature_resets, downstream_rq_total,
      downstream_rq_tx_reset, downstream_rq_ws_on_non_ws_route, rs_too_large, tracing_client_enabled,
      tracing_health_check, tracing_not_traceable, tracing_random_sampling, tracing_service_forced;
  stats::Counter downstream_rq_xx[5];  // 1xx to 5xx
  stats::Gauge downstream_cx_active, downstream_cx_http1_active, downstream_cx_http2_active,
      downstream_cx_http3_active, downstream_cx_rx_bytes_buffered, downstream_cx_ssl_active,
      downstream_cx_tx_bytes_buffered, downstream_cx_upgrades_active, downstream_rq_active;
  stats::Histogram downstream_cx_length_ms, downstream_rq_time;
  stats::Counter listener_rq_completed, listener_rq_xx[5];
  http::Http1Stats http1;
  http::Http2Stats http2;
};

}  // namespace sluice::extensions::http_connection_manager
