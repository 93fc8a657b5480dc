#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/address.h"
#include "core/time.h"
#include "sluice/ext/tls_info.h"

namespace sluice::http {
class HeaderMap;
enum class Protocol : uint8_t;
}  // namespace sluice::http

namespace sluice::model {
struct Route;
struct VirtualHost;
}  // namespace sluice::model

namespace sluice::ext {

// Envoy's response flags (docs: access log, %RESPONSE_FLAGS%); the short names are Envoy's.
enum class ResponseFlag : uint8_t {
  no_healthy_upstream,            // UH
  upstream_connection_failure,    // UF
  upstream_overflow,              // UO
  no_route_found,                 // NR
  upstream_retry_limit_exceeded,  // URX
  no_cluster_found,               // NC
  duration_timeout,               // DT
  downstream_connection_termination,  // DC
  upstream_connection_termination,    // UC
  upstream_remote_reset,          // UR
  local_reset,                    // LR
  stream_idle_timeout,            // SI
  overload_manager,               // OM
  // HTTP alone
  downstream_protocol_error,      // DPE
  upstream_protocol_error,        // UPE
  upstream_max_stream_duration,   // UMSDR
  upstream_request_timeout,       // UT
  response_from_cache,            // RFCF
  no_filter_config,               // NFCF
  rate_limited,                   // RL
  rate_limit_service_error,       // RLSE
  unauthorized,                   // UAEX
  invalid_envoy_request_headers,  // IH
  delay_injected,                 // DI
  fault_injected,                 // FI
  failed_local_health_check,      // LH
  downstream_remote_reset,        // DR
  drop_overload,                  // DO
  dns_resolution_failed,          // DF
  unconditional_drop_overload,    // UDO
  count
};
std::string_view short_name(ResponseFlag flag);
std::string_view long_name(ResponseFlag flag);

class ResponseFlags {
 public:
  void set(ResponseFlag f) {
    if (has(f)) return;
    bits_ |= 1u << static_cast<unsigned>(f);
    if (count_ < kOrdered) order_[count_++] = f;
  }
  bool has(ResponseFlag f) const { return bits_ >> static_cast<unsigned>(f) & 1; }
  bool any() const { return bits_ != 0; }
  void clear() { bits_ = 0, count_ = 0; }
  std::string to_short_string() const;  // "UF,URX", in the order in which they were set; "-" when none
  std::string to_long_string() const;
  void append_short(std::string& out) const;
  void append_long(std::string& out) const;

 private:
  friend struct ResponseFlagNames;
  static constexpr size_t kOrdered = 7;  // more of them at once have no meaning: those are not written
  uint32_t bits_ = 0;
  ResponseFlag order_[kOrdered] = {};
  uint8_t count_ = 0;
};

// How a connection ended (%DOWNSTREAM_DETECTED_CLOSE_TYPE%, %UPSTREAM_DETECTED_CLOSE_TYPE%).
enum class CloseType : uint8_t { normal, local_reset, remote_reset };

struct StreamInfo;
struct StreamTracing;

// What an HTTP stream adds. The maps are those that are sent: after every filter, with what the proxy adds; they belong
// to the stream and are there as far as it got (null: not yet, or never). Unset times are MonotonicTime{}.
struct HttpInfo {
  // Of the downstream connection, for who asks about that and not about the request (a PROXY header); null: nobody is to.
  const StreamInfo* connection = nullptr;
  uint64_t stream_id = 0;  // random, as Envoy's: log lines say [S...]
  std::optional<http::Protocol> protocol;  // nothing: no request line was understood
  std::optional<http::Protocol> upstream_protocol;
  const http::HeaderMap* request_headers = nullptr;
  const http::HeaderMap* request_trailers = nullptr;
  const http::HeaderMap* response_headers = nullptr;
  const http::HeaderMap* response_trailers = nullptr;
  std::string_view
      local_reply_body;  // as made by whoever refused; local_reply_config may put it into another
  uint16_t response_code = 0;  // 0: none was sent
  bool health_check = false;  // by the health_check filter: access logs and statistics may leave it out
  bool scheme_matches_upstream = false;  // scheme_header_transformation.match_upstream: of the router
  const model::Route* route = nullptr;  // kept by the stream
  const model::VirtualHost* virtual_host = nullptr;
  StreamTracing* tracing = nullptr;  // tracer.h; null: the connection manager does not trace
  std::string virtual_cluster_name;
  uint64_t request_header_bytes = 0, response_header_bytes = 0, response_trailer_bytes = 0;
  uint64_t downstream_wire_bytes_received = 0, downstream_wire_bytes_sent = 0;
  uint64_t downstream_header_bytes_received = 0, downstream_header_bytes_sent = 0;
  uint64_t upstream_wire_bytes_received = 0, upstream_wire_bytes_sent = 0;
  uint64_t upstream_header_bytes_received = 0, upstream_header_bytes_sent = 0;
  uint32_t internal_redirects = 0;  // that the router has followed for this request
  // By route that redirects, where that asks (previous_routes): the routes led to, by name.
  std::vector<std::pair<std::string, std::string>> redirect_targets;
  uint64_t retry_attempts = 0;  // upstream_attempts - 1
  // Hosts that tries before the last one had a connection to, in order, each once (%UPSTREAM_HOSTS_ATTEMPTED%): nothing
  // to write down for a request that is tried once.
  struct AttemptedHost {
    Address address;
    std::string name;  // "": it has none
  };
  std::vector<AttemptedHost> earlier_hosts;
  // Length-prefixed messages that passed, counted by grpc_stats with emit_filter_state; nothing: not one has.
  struct GrpcMessages {
    uint64_t request = 0, response = 0;
  };
  std::optional<GrpcMessages> grpc_messages;
  MonotonicTime connection_start{};  // of the downstream connection
  MonotonicTime upstream_request_start{};  // the last try begins to wait for a stream of the pool
  MonotonicTime upstream_pool_ready{};  // and has one, or will get none
  MonotonicTime last_downstream_rx_byte{}, first_upstream_tx_byte{}, last_upstream_tx_byte{},
      first_upstream_rx_byte{}, first_upstream_rx_body_byte{}, last_upstream_rx_byte{},
      first_downstream_tx_byte{}, last_downstream_tx_byte{};
};

// Dynamic metadata: by filter namespace ("envoy.filters.http.rbac") a Struct's fields, their values as JSON.
using Metadata = std::map<std::string, std::map<std::string, std::string, std::less<>>, std::less<>>;

// What the access log, the statistics and sluicectl can know of one stream (for TCP: one downstream connection; for
// HTTP: one request and its response). Written by the worker that owns the connection, read there only.
struct StreamInfo {
  HttpInfo* http = nullptr;  // of the stream that owns this; null: TCP
  uint64_t connection_id = 0;
  WallTime start_time{};
  MonotonicTime start{};
  MonotonicTime end{};  // set when the stream is over; before that, when a record is written

  Address downstream_local;  // after original_dst: the original destination
  Address downstream_remote;
  Address downstream_direct_local;  // the accepted socket's own
  Address downstream_direct_remote;
  bool local_address_restored = false;

  std::string transport_protocol;  // "raw_buffer", "tls"; detected by listener filters
  std::vector<std::string> application_protocols;
  std::string requested_server_name;
  std::string ja3_hash, ja4;  // of the ClientHello, where tls_inspector is asked for them
  TlsInfoPtr downstream_tls, upstream_tls;  // null: not TLS, or no handshake has been finished
  std::string downstream_transport_failure_reason;

  std::shared_ptr<const std::string> listener_name, filter_chain_name, workload;
  // Set by original_src: the upstream socket binds to this address (IP_TRANSPARENT) with this SO_MARK.
  Address upstream_source;
  uint32_t upstream_mark = 0;

  std::string route_name;
  std::string upstream_cluster;  // its observability name
  std::string upstream_cluster_raw;  // its name, where that differs
  Address upstream_remote, upstream_local;  // remote: the chosen host, also if connecting to it failed
  uint64_t upstream_connection_id = 0;  // 0: there was none
  CloseType downstream_close = CloseType::normal, upstream_close = CloseType::normal;
  std::string upstream_host_name;
  std::string upstream_transport_failure_reason;
  uint32_t upstream_attempts = 0;
  MonotonicTime upstream_connect_start{}, upstream_connect_done{};

  uint64_t bytes_received = 0;  // from downstream
  uint64_t bytes_sent = 0;  // to downstream
  uint64_t upstream_bytes_sent = 0;  // on the upstream connection
  uint64_t upstream_bytes_received = 0;

  std::shared_ptr<Metadata> dynamic_metadata;  // null: none was set

  ResponseFlags flags;
  std::string response_code_details;  // %RESPONSE_CODE_DETAILS%
  std::string termination_details;  // %CONNECTION_TERMINATION_DETAILS%
};

// Where a log record is written from (%ACCESS_LOG_TYPE%).
enum class AccessLogType : uint8_t {
  not_set,
  tcp_upstream_connected,
  tcp_periodic,
  tcp_connection_end,
  downstream_start,
  downstream_periodic,
  downstream_end,
  upstream_poolready,
  upstream_periodic,
  upstream_end,
  downstream_tunnel_successfully_established,
  upstream_tunnel_successfully_established,
};

}  // namespace sluice::ext
