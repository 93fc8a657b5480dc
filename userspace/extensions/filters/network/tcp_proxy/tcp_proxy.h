#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/time.h"
#include "sluice/ext/access_log.h"
#include "sluice/ext/network_filter.h"

namespace sluice::extensions::tcp_proxy {

// envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, immutable.
struct Config {
  struct Target {
    std::string cluster;
    uint64_t weight_end;   // cumulative: this target has [previous end, weight_end)
  };
  std::string stat_prefix;
  std::vector<Target> targets;                       // one, or weighted_clusters
  Duration idle_timeout = std::chrono::hours(1);     // 0: none
  Duration max_connection_duration{};                // 0: none
  uint32_t max_connect_attempts = 1;
  Duration backoff_base{}, backoff_max{};            // between connect attempts; 0: at once
  std::vector<ext::AccessLoggerPtr> access_logs;
  Duration access_log_flush_interval{};              // 0: none
  bool access_log_on_connected = false;              // flush_access_log_on_connected
};

// Statistics of one worker under "tcp.<stat_prefix>.".
struct Stats {
  explicit Stats(const stats::Scope& scope);
  stats::Counter downstream_cx_total, downstream_cx_no_route, downstream_cx_rx_bytes_total,
      downstream_cx_tx_bytes_total, downstream_flow_control_paused_reading_total,
      downstream_flow_control_resumed_reading_total, early_data_received_count_total, idle_timeout,
      max_downstream_connection_duration, upstream_flush_total;
  stats::Gauge downstream_cx_rx_bytes_buffered, downstream_cx_tx_bytes_buffered, upstream_flush_active;
};

ext::NetworkFilterFactory make_factory(std::shared_ptr<const Config> config);

}  // namespace sluice::extensions::tcp_proxy
