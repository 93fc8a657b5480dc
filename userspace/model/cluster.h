#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/address.h"
#include "core/time.h"
#include "http/http1.h"
#include "http/http2.h"
#include "io/loop.h"

namespace sluice::model {

enum class ClusterType : uint8_t { static_, strict_dns, logical_dns, original_dst };
enum class LbPolicy : uint8_t { round_robin, least_request, random, cluster_provided };
enum class DnsFamily : uint8_t { auto_, v4_only, v6_only, v4_preferred, all };
enum class HealthStatus : uint8_t { healthy, unhealthy, degraded };

// An LbEndpoint. For DNS clusters `address` is unset and `hostname`/`port` are resolved.
struct Endpoint {
  Address address;
  std::string dns_name;
  uint16_t dns_port = 0;
  std::string hostname;            // Endpoint.hostname: shown, and used as the host name of requests
  uint32_t weight = 1;             // load_balancing_weight
  HealthStatus health = HealthStatus::healthy;
  bool canary = false;             // metadata envoy.lb: canary
};

struct Locality {
  std::string region, zone, sub_zone;
  uint32_t priority = 0;
  std::optional<uint32_t> weight;
  std::vector<Endpoint> endpoints;
};

// envoy.config.cluster.v3.CircuitBreakers.Thresholds of one routing priority; Envoy's defaults.
struct CircuitBreaker {
  uint32_t max_connections = 1024;
  uint32_t max_pending_requests = 1024;
  uint32_t max_requests = 1024;
  uint32_t max_retries = 3;
  bool track_remaining = false;
  uint32_t max_connection_pools = ~0u;
  // Instead of max_retries: that share of the active and waiting requests, at least `min_concurrency`.
  struct RetryBudget {
    double percent = 20;
    uint32_t min_concurrency = 3;
  };
  std::optional<RetryBudget> retry_budget;
};

// envoy.extensions.upstreams.http.v3.HttpProtocolOptions: how HTTP reaches a cluster's hosts. Defaults are Envoy's.
struct HttpUpstreamOptions {
  enum class Protocol : uint8_t { http1, http2, as_downstream };
  Protocol protocol = Protocol::http1;
  http::Http1Config http1;
  http::Http2Config http2;
  Duration idle_timeout = std::chrono::hours(1);  // 0: none
  Duration max_connection_duration{};  // 0: none
  Duration max_stream_duration{};  // of each try; 0: none
  uint32_t max_requests_per_connection = 0;  // 0: no limit
  // HTTP/2 PING; interval 0: none.
  struct KeepAlive {
    Duration interval{}, timeout{};
    Duration idle_interval{};  // PING before a connection that was idle for so long is used; 0: no
    double jitter_percent = 15;
  } keep_alive;
};

// envoy.config.cluster.v3.Cluster, immutable.
struct Cluster {
  std::string name;
  std::string alt_stat_name;
  ClusterType type = ClusterType::static_;
  LbPolicy lb_policy = LbPolicy::round_robin;
  uint32_t least_request_choices = 2;
  Duration connect_timeout = std::chrono::seconds(5);
  uint32_t buffer_limit = 1 << 20;
  std::vector<Locality> localities;
  CircuitBreaker circuit_breaker[2];  // RoutingPriority DEFAULT, HIGH

  HttpUpstreamOptions http;

  DnsFamily dns_family = DnsFamily::auto_;
  Duration dns_refresh_rate = std::chrono::seconds(5);
  Duration dns_failure_refresh_base{}, dns_failure_refresh_max{};  // 0: dns_refresh_rate
  Duration dns_jitter{};
  bool respect_dns_ttl = false;
  bool wait_for_warm_on_init = true;
  std::vector<Address> dns_resolvers;  // empty: /etc/resolv.conf
  bool dns_use_tcp = false, dns_no_search = false;

  uint16_t original_dst_port_override = 0;  // 0: none
  Duration cleanup_interval = std::chrono::seconds(5);

  Address bind_address;  // upstream_bind_config.source_address; invalid: none
  io::SocketOptions socket_options;
  uint32_t overprovisioning_factor = 140;
  double healthy_panic_threshold = 50;  // percent
  bool fail_traffic_on_panic = false;
  bool close_connections_on_host_health_failure = false;
  uint64_t hash = 0;  // of the resource it came from
};

}  // namespace sluice::model
