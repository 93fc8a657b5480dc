#pragma once

#include <cstdint>
#include <string_view>

namespace sluice::http {

// Header names that the proxy itself asks for: a lookup compares one byte instead of a string. Order: as in
// SLUICE_HTTP_NAMES. Pseudo-headers first (RFC 9113 section 8.3).
#define SLUICE_HTTP_NAMES(X)                                                              \
  X(authority, ":authority")                                                              \
  X(method, ":method")                                                                    \
  X(path, ":path")                                                                        \
  X(scheme, ":scheme")                                                                    \
  X(status, ":status")                                                                    \
  X(protocol, ":protocol")                                                                \
  X(accept_encoding, "accept-encoding")                                                   \
  X(access_control_allow_credentials, "access-control-allow-credentials")                 \
  X(access_control_allow_headers, "access-control-allow-headers")                         \
  X(access_control_allow_methods, "access-control-allow-methods")                         \
  X(access_control_allow_origin, "access-control-allow-origin")                           \
  X(access_control_expose_headers, "access-control-expose-headers")                       \
  X(access_control_max_age, "access-control-max-age")                                     \
  X(access_control_request_headers, "access-control-request-headers")                     \
  X(access_control_request_method, "access-control-request-method")                       \
  X(authorization, "authorization")                                                       \
  X(connection, "connection")                                                             \
  X(content_length, "content-length")                                                     \
  X(content_type, "content-type")                                                         \
  X(cookie, "cookie")                                                                     \
  X(date, "date")                                                                         \
  X(expect, "expect")                                                                     \
  X(grpc_message, "grpc-message")                                                         \
  X(grpc_status, "grpc-status")                                                           \
  X(grpc_timeout, "grpc-timeout")                                                         \
  X(host, "host")                                                                         \
  X(http2_settings, "http2-settings")                                                     \
  X(keep_alive, "keep-alive")                                                             \
  X(location, "location")                                                                 \
  X(origin, "origin")                                                                     \
  X(proxy_connection, "proxy-connection")                                                 \
  X(referer, "referer")                                                                   \
  X(retry_after, "retry-after")                                                           \
  X(server, "server")                                                                     \
  X(set_cookie, "set-cookie")                                                             \
  X(te, "te")                                                                             \
  X(trailer, "trailer")                                                                   \
  X(transfer_encoding, "transfer-encoding")                                               \
  X(upgrade, "upgrade")                                                                   \
  X(user_agent, "user-agent")                                                             \
  X(vary, "vary")                                                                         \
  X(via, "via")                                                                           \
  X(x_client_trace_id, "x-client-trace-id")                                               \
  X(x_envoy_attempt_count, "x-envoy-attempt-count")                                       \
  X(x_envoy_cluster, "x-envoy-cluster")                                                   \
  X(x_envoy_decorator_operation, "x-envoy-decorator-operation")                           \
  X(x_envoy_degraded, "x-envoy-degraded")                                                 \
  X(x_envoy_downstream_service_cluster, "x-envoy-downstream-service-cluster")             \
  X(x_envoy_downstream_service_node, "x-envoy-downstream-service-node")                   \
  X(x_envoy_expected_rq_timeout_ms, "x-envoy-expected-rq-timeout-ms")                     \
  X(x_envoy_external_address, "x-envoy-external-address")                                 \
  X(x_envoy_force_trace, "x-envoy-force-trace")                                           \
  X(x_envoy_hedge_on_per_try_timeout, "x-envoy-hedge-on-per-try-timeout")                 \
  X(x_envoy_immediate_health_check_fail, "x-envoy-immediate-health-check-fail")           \
  X(x_envoy_internal, "x-envoy-internal")                                                 \
  X(x_envoy_ip_tags, "x-envoy-ip-tags")                                                   \
  X(x_envoy_is_timeout_retry, "x-envoy-is-timeout-retry")                                 \
  X(x_envoy_max_retries, "x-envoy-max-retries")                                           \
  X(x_envoy_original_host, "x-envoy-original-host")                                       \
  X(x_envoy_original_path, "x-envoy-original-path")                                       \
  X(x_envoy_drop_overload, "x-envoy-drop-overload")                                       \
  X(x_envoy_overloaded, "x-envoy-overloaded")                                             \
  X(x_envoy_unconditional_drop_overload, "x-envoy-unconditional-drop-overload")           \
  X(x_envoy_ratelimited, "x-envoy-ratelimited")                                           \
  X(x_envoy_retriable_header_names, "x-envoy-retriable-header-names")                     \
  X(x_envoy_retriable_status_codes, "x-envoy-retriable-status-codes")                     \
  X(x_envoy_retry_grpc_on, "x-envoy-retry-grpc-on")                                       \
  X(x_envoy_retry_on, "x-envoy-retry-on")                                                 \
  X(x_envoy_upstream_alt_stat_name, "x-envoy-upstream-alt-stat-name")                     \
  X(x_envoy_upstream_canary, "x-envoy-upstream-canary")                                   \
  X(x_envoy_upstream_healthchecked_cluster, "x-envoy-upstream-healthchecked-cluster")     \
  X(x_envoy_upstream_rq_per_try_timeout_ms, "x-envoy-upstream-rq-per-try-timeout-ms")     \
  X(x_envoy_upstream_rq_timeout_alt_response, "x-envoy-upstream-rq-timeout-alt-response") \
  X(x_envoy_upstream_rq_timeout_ms, "x-envoy-upstream-rq-timeout-ms")                     \
  X(x_envoy_upstream_service_time, "x-envoy-upstream-service-time")                       \
  X(x_envoy_upstream_stream_duration_ms, "x-envoy-upstream-stream-duration-ms")           \
  X(x_forwarded_client_cert, "x-forwarded-client-cert")                                   \
  X(x_forwarded_for, "x-forwarded-for")                                                   \
  X(x_forwarded_host, "x-forwarded-host")                                                 \
  X(x_forwarded_port, "x-forwarded-port")                                                 \
  X(x_forwarded_proto, "x-forwarded-proto")                                               \
  X(x_request_id, "x-request-id")

enum class Name : uint8_t {
  other,  // any other name
#define SLUICE_HTTP_NAME_ENUM(id, text) id,
  SLUICE_HTTP_NAMES(SLUICE_HTTP_NAME_ENUM)
#undef SLUICE_HTTP_NAME_ENUM
      count
};

// The name in lower case; "" for `other`.
std::string_view to_string(Name name);
// `lower`: in lower case; `other` if it is none of the above.
Name find_name(std::string_view lower);

}  // namespace sluice::http
