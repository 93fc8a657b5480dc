#include "extensions/filters/network/http_connection_manager/stats.h"

#include <string>

namespace sluice::extensions::http_connection_manager {

Stats::Stats(const ext::NetworkFilterScope& scope, std::string_view prefix)
    : lease(scope.root.scope("http").scope(prefix).lease()),
      listener_lease(scope.listener.lease()),
      http1(scope.root),
      http2(scope.root) {
  const stats::Scope s = scope.root.scope("http").scope(prefix);
#define SLUICE_COUNTER(name) name = s.counter(#name)
  SLUICE_COUNTER(downstream_cx_delayed_close_timeout);
  SLUICE_COUNTER(downstream_cx_destroy);
  SLUICE_COUNTER(downstream_cx_destroy_active_rq);
  SLUICE_COUNTER(downstream_cx_destroy_local);
  SLUICE_COUNTER(downstream_cx_destroy_local_active_rq);
  SLUICE_COUNTER(downstream_cx_destroy_remote);
  SLUICE_COUNTER(downstream_cx_destroy_remote_active_rq);
  SLUICE_COUNTER(downstream_cx_drain_close);
  SLUICE_COUNTER(downstream_cx_http1_soft_drain);
  SLUICE_COUNTER(downstream_cx_http1_total);
  SLUICE_COUNTER(downstream_cx_http2_total);
  SLUICE_COUNTER(downstream_cx_http3_total);
  SLUICE_COUNTER(downstream_cx_idle_timeout);
  SLUICE_COUNTER(downstream_cx_max_duration_reached);
  SLUICE_COUNTER(downstream_cx_max_requests_reached);
  SLUICE_COUNTER(downstream_cx_overload_disable_keepalive);
  SLUICE_COUNTER(downstream_cx_protocol_error);
  SLUICE_COUNTER(downstream_cx_rx_bytes_total);
  SLUICE_COUNTER(downstream_cx_ssl_total);
  SLUICE_COUNTER(downstream_cx_total);
  SLUICE_COUNTER(downstream_cx_tx_bytes_total);
  SLUICE_COUNTER(downstream_cx_upgrades_total);
  SLUICE_COUNTER(downstream_flow_control_paused_reading_total);
  SLUICE_COUNTER(downstream_flow_control_resumed_reading_total);
  SLUICE_COUNTER(downstream_rq_completed);
  SLUICE_COUNTER(downstream_rq_failed_path_normalization);
  SLUICE_COUNTER(downstream_rq_header_timeout);
  SLUICE_COUNTER(downstream_rq_http1_total);
  SLUICE_COUNTER(downstream_rq_http2_total);
  SLUICE_COUNTER(downstream_rq_http3_total);
  SLUICE_COUNTER(downstream_rq_idle_timeout);
  SLUICE_COUNTER(downstream_rq_max_duration_reached);
  SLUICE_COUNTER(downstream_rq_non_relative_path);
  SLUICE_COUNTER(downstream_rq_overload_close);
  SLUICE_COUNTER(downstream_rq_redirected_with_normalized_path);
  SLUICE_COUNTER(downstream_rq_rejected_via_ip_detection);
  SLUICE_COUNTER(downstream_rq_response_before_rq_complete);
  SLUICE_COUNTER(downstream_rq_rx_reset);
  SLUICE_COUNTER(downstream_rq_timeout);
  SLUICE_COUNTER(downstream_rq_too_large);
  SLUICE_COUNTER(downstream_rq_too_many_premature_resets);
  SLUICE_COUNTER(downstream_rq_total);
  SLUICE_COUNTER(downstream_rq_tx_reset);
  SLUICE_COUNTER(downstream_rq_ws_on_non_ws_route);
  SLUICE_COUNTER(rs_too_large);
#undef SLUICE_COUNTER
  const stats::Scope tracing = s.scope("tracing");
  tracing_client_enabled = tracing.counter("client_enabled");
  tracing_health_check = tracing.counter("health_check");
  tracing_not_traceable = tracing.counter("not_traceable");
  tracing_random_sampling = tracing.counter("random_sampling");
  tracing_service_forced = tracing.counter("service_forced");
#define SLUICE_GAUGE(name) name = s.gauge(#name)
  SLUICE_GAUGE(downstream_cx_active);
  SLUICE_GAUGE(downstream_cx_http1_active);
  SLUICE_GAUGE(downstream_cx_http2_active);
  SLUICE_GAUGE(downstream_cx_http3_active);
  SLUICE_GAUGE(downstream_cx_rx_bytes_buffered);
  SLUICE_GAUGE(downstream_cx_ssl_active);
  SLUICE_GAUGE(downstream_cx_tx_bytes_buffered);
  SLUICE_GAUGE(downstream_cx_upgrades_active);
  SLUICE_GAUGE(downstream_rq_active);
#undef SLUICE_GAUGE
  downstream_cx_length_ms = s.histogram("downstream_cx_length_ms", stats::Unit::milliseconds);
  downstream_rq_time = s.histogram("downstream_rq_time", stats::Unit::milliseconds);
  const stats::Scope l = scope.listener.scope("http").scope(prefix);
  listener_rq_completed = l.counter("downstream_rq_completed");
  for (unsigned i = 0; i < 5; ++i) {
    const std::string name = "downstream_rq_" + std::to_string(i + 1) + "xx";
    downstream_rq_xx[i] = s.counter(name);
    listener_rq_xx[i] = l.counter(name);
  }
}

void Stats::count_response(uint16_t status) {
  downstream_rq_completed.add();
  listener_rq_completed.add();
  if (status < 100 || status >= 600) return;
  downstream_rq_xx[status / 100 - 1].add();
  listener_rq_xx[status / 100 - 1].add();
}

}  // namespace sluice::extensions::http_connection_manager
