#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/address.h"
#include "core/time.h"
#include "extensions/common/header_mutations.h"
#include "extensions/filters/network/http_connection_manager/local_reply.h"
#include "http/http1.h"
#include "http/http2.h"
#include "model/route.h"
#include "model/scoped_routes.h"
#include "sluice/ext/access_log.h"
#include "sluice/ext/network_filter.h"
#include "sluice/ext/registry.h"

namespace sluice::extensions::http_connection_manager {

enum class CodecType : uint8_t { automatic, http1, http2 };
enum class ServerHeader : uint8_t { overwrite, append_if_absent, pass_through };
enum class EscapedSlashes : uint8_t { keep, reject, unescape_and_redirect, unescape_and_forward };
enum class StripPort : uint8_t { none, matching, any };
enum class ClientCert : uint8_t { sanitize, forward_only, append_forward, sanitize_set, always_forward_only };

// set_current_client_cert_details: what x-forwarded-client-cert says beside By and Hash.
struct ClientCertDetails {
  bool subject = false, cert = false, chain = false, dns = false, uri = false;
};

// Where the client's address is found if not on the connection (original_ip_detection_extensions), in order.
struct IpDetection {
  enum class Kind : uint8_t { xff, custom_header };
  Kind kind = Kind::xff;
  uint32_t trusted_hops = 0;  // xff
  std::vector<Cidr> trusted_cidrs;  // xff, instead of trusted_hops
  bool skip_append = true;  // xff
  std::string header;  // custom_header, in lower case
  bool trusted = false;  // custom_header: the address may count as internal
  uint16_t reject_status = 0;  // custom_header: without a valid address, refuse; 0: go on
};

struct Tracing;  // tracing.h

// One kind of upgrade ("websocket", "CONNECT"), in lower case.
struct Upgrade {
  std::string type;
  bool enabled = true;
  bool own_filters = false;
  std::vector<ext::ConfiguredHttpFilter> filters;
};

// envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, immutable. Durations: 0 is none.
struct Settings {
  CodecType codec = CodecType::automatic;
  std::string stat_prefix;
  std::shared_ptr<const model::RouteSource> routes;
  // Scoped routes, in place of `routes`: a request's key says which scope it belongs to.
  std::shared_ptr<const model::ScopeSource> scopes;
  std::vector<model::ScopeKeyFragment> scope_key;
  std::vector<ext::ConfiguredHttpFilter> filters;
  std::vector<Upgrade> upgrades;
  http::Http1Config http1;
  http::Http2Config http2;

  // ---- time ----
  Duration idle_timeout = std::chrono::hours(1);
  Duration max_connection_duration{};
  bool http1_safe_max_connection_duration = false;
  Duration max_stream_duration{};
  Duration stream_idle_timeout = std::chrono::minutes(5);
  Duration stream_flush_timeout = std::chrono::minutes(5);
  Duration request_timeout{};
  Duration request_headers_timeout{};
  Duration drain_timeout = std::chrono::seconds(5);
  Duration delayed_close_timeout = std::chrono::seconds(1);
  uint32_t max_requests_per_connection = 0;
  Duration keepalive_interval{}, keepalive_timeout{};  // HTTP/2 PING
  uint32_t keepalive_jitter_percent = 15;

  // ---- headers ----
  std::vector<Mutation> early_mutations;  // early_header_mutation_extensions
  std::string server_name = "envoy";
  ServerHeader server_header = ServerHeader::overwrite;
  std::string via;
  std::string own_address = "127.0.0.1";  // this host's, for x-forwarded-for where the peer is on it
  std::string user_agent;  // add_user_agent: the node's cluster; "": off
  std::string node_id;
  bool use_remote_address = false;
  uint32_t xff_num_trusted_hops = 0;
  bool skip_xff_append = false;
  bool append_x_forwarded_port = false;
  bool ipv4_as_mapped = false;  // represent_ipv4_remote_address_as_ipv4_mapped_ipv6
  std::vector<IpDetection> ip_detection;
  std::vector<Cidr> internal_cidrs;
  bool unix_sockets_internal = false;
  ClientCert client_cert = ClientCert::sanitize;
  ClientCertDetails client_cert_details;
  std::string scheme_to_overwrite;
  bool scheme_match_upstream = false;
  bool generate_request_id = true;
  bool preserve_external_request_id = false;
  bool always_set_request_id_in_response = false;
  bool pack_trace_reason = true;
  bool trace_by_request_id = true;  // use_request_id_for_trace_sampling
  std::shared_ptr<const Tracing> tracing;  // null: requests are not traced
  bool proxy_100_continue = false;
  bool tell_connection = true;  // add_proxy_protocol_connection_state: HttpInfo::connection is set

  // ---- path and host ----
  bool normalize_path = false;
  bool merge_slashes = false;
  EscapedSlashes escaped_slashes = EscapedSlashes::keep;
  StripPort strip_port = StripPort::none;
  bool strip_trailing_host_dot = false;

  bool stream_error_on_invalid_message = false;

  LocalReplies local_replies;
  std::vector<ext::AccessLoggerPtr> access_logs;
  Duration access_log_flush_interval{};
  bool access_log_on_request = false;
  bool access_log_on_tunnel = false;
};

ext::NetworkFilterFactory make_factory(std::shared_ptr<const Settings> settings);

}  // namespace sluice::extensions::http_connection_manager
