#pragma once

#include <cstdint>

namespace sluice::access_loggers {

// What an operator looks up; shared by the parser (operators.cc) and the values (values.cc).
enum class OperatorKind : uint8_t {
  literal,
  absent,
  zero,
  empty,
  coalesce,
  start_time,
  emit_time,
  duration,
  common_duration,
  pool_ready_duration,
  bytes_received,
  bytes_sent,
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
  downstream_wire_received,
  downstream_wire_sent,
  upstream_wire_received,
  upstream_wire_sent,
  hosts_attempted,
  host_names_attempted,
  dynamic_metadata,
  // HTTP alone (values_http.cc)
  protocol,
  upstream_protocol,
  response_code,
  virtual_cluster_name,
  request_header,
  response_header,
  response_trailer,
  query_param,
  query_params,
  path,
  metadata,
  filter_state,
  grpc_status,
  local_reply_body,
  request_headers_bytes,
  response_headers_bytes,
  response_trailers_bytes,
  request_duration,
  request_tx_duration,
  response_duration,
  response_tx_duration,
  upstream_header_sent,
  upstream_header_received,
  upstream_plain_header_sent,
  upstream_plain_header_received,
  downstream_header_sent,
  downstream_header_received,
  downstream_plain_header_sent,
  downstream_plain_header_received,
};

// COMMON_DURATION's time points. A TCP stream has those of connections only; Envoy leaves the others unset there, too.
enum class TimePoint : uint8_t {
  unset,
  connection_begin,
  connection_end,
  stream_begin,
  request_received,
  connect_begin,
  connect_end,
  upstream_send_begin,
  upstream_send_end,
  upstream_receive_begin,
  upstream_receive_body_begin,
  upstream_receive_end,
  downstream_send_begin,
  downstream_send_end,
};

// Choice, as a parameter names it.
enum class GrpcFormat : uint8_t { camel, snake, number };
enum class FilterStateFormat : uint8_t { typed, plain, field };
enum class Source : uint8_t { original_or_current, original, current };  // PATH, REQUESTED_SERVER_NAME
enum class ServerName : uint8_t { sni_only, sni_first, host_first };

}  // namespace sluice::access_loggers
