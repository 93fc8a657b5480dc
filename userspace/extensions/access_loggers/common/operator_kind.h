#pragma once

#include <cstdint>

namespace sluice::access_loggers {

// What an operator looks up; shared by the parser (operators.cc) and the values (values.cc).
enum class OperatorKind : uint8_t {
  literal,
  absent,
  zero,
  empty,
  start_time,
  emit_time,
  duration,
  common_duration,
  pool_ready_duration,
  bytes_received,
  bytes_sent,
  upstream_sent,
  upstream_received,
  connection_id,
  upstream_connection_id,
  attempts,
  flags,
  flags_long,
  downstream_close_type,
  upstream_close_type,
  upstream_host,
  upstream_host_name,
  upstream_cluster,
  upstream_cluster_raw,
  upstream_local,
  upstream_remote,
  upstream_endpoint_id,
  downstream_local,
  downstream_remote,
  downstream_direct_local,
  downstream_direct_remote,
  route_name,
  filter_chain_name,
  server_name,
  response_code_details,
  termination_details,
  transport_failure,
  access_log_type,
  stream_id,
  unique_id,
  workload,
};

// COMMON_DURATION's time points that a TCP stream has; Envoy leaves the others unset there, too.
enum TimePoint : uint8_t { unset, stream_begin, connect_begin, connect_end };

}  // namespace sluice::access_loggers
