#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/time.h"
#include "model/matchers.h"
#include "sluice/ext/upstream.h"

namespace sluice::model {

// The conditions of retry_on and x-envoy-retry-on (and their grpc twins), as bits.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter#x-envoy-retry-on
enum class RetryOn : uint32_t {
  server_error = 1 << 0,  // 5xx
  gateway_error = 1 << 1,
  connect_failure = 1 << 2,
  retriable_4xx = 1 << 3,
  refused_stream = 1 << 4,
  retriable_status_codes = 1 << 5,
  reset = 1 << 6,
  reset_before_request = 1 << 7,
  retriable_headers = 1 << 8,
  envoy_ratelimited = 1 << 9,
  http3_post_connect_failure = 1 << 10,
  grpc_cancelled = 1 << 11,
  grpc_deadline_exceeded = 1 << 12,
  grpc_internal = 1 << 13,
  grpc_resource_exhausted = 1 << 14,
  grpc_unavailable = 1 << 15,
};

// "5xx,reset": the bits, and whether every word was known (an unknown word is skipped, as Envoy does).
struct RetryOnSet {
  uint32_t bits = 0;
  bool all_known = true;
  bool has(RetryOn c) const { return bits & static_cast<uint32_t>(c); }
};
RetryOnSet parse_retry_on(std::string_view text);       // HTTP words: x-envoy-retry-on
RetryOnSet parse_retry_grpc_on(
    std::string_view text);  // gRPC words: x-envoy-retry-grpc-on; retry_on takes both

// envoy.config.route.v3.RetryPolicy.
struct RetryPolicy {
  uint32_t retry_on = 0;  // RetryOn bits
  uint32_t num_retries = 1;
  Duration per_try_timeout{};       // 0: the route's time-out is all there is
  Duration per_try_idle_timeout{};  // 0: none
  std::vector<uint16_t> retriable_status_codes;
  std::vector<HeaderMatcher> retriable_headers, retriable_request_headers;
  Duration backoff_base = std::chrono::milliseconds(25), backoff_max = std::chrono::milliseconds(250);
  struct ResetHeader {
    std::string name;
    bool unix_timestamp = false;  // else seconds
  };
  std::vector<ResetHeader> reset_headers;  // rate_limited_retry_back_off
  Duration rate_limited_max = std::chrono::seconds(300);
  bool previous_hosts = false;   // retry_host_predicate
  bool omit_canary_hosts = false;
  ext::MetadataMatch::Criteria omit_hosts_with;  // metadata; empty: none
  uint32_t previous_priorities = 0;  // retry_priority: its update_frequency; 0: none
  uint32_t host_selection_max_attempts = 1;
};

}  // namespace sluice::model
