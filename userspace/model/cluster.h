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
#include "model/config_source.h"
#include "model/dependency.h"
#include "model/health_check.h"
#include "model/matchers.h"
#include "model/outlier_detection.h"
#include "model/subsets.h"
#include "sluice/ext/transport_socket.h"

namespace sluice::model {

enum class ClusterType : uint8_t { static_, strict_dns, logical_dns, original_dst, eds };
enum class LbPolicy : uint8_t { round_robin, least_request, random, ring_hash, maglev, cluster_provided };
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
  std::string hash_key;            // metadata envoy.lb: hash_key; empty: the address or the hostname
  std::shared_ptr<const LbMetadata> lb_metadata;  // envoy.lb as a whole; null: none
  std::shared_ptr<const LbMetadata> transport_metadata;  // envoy.transport_socket_match; null: none
  // health_check_config
  Address health_address;          // unset: `address`, or what `dns_name` resolves to
  uint16_t health_port = 0;        // 0: that address's own
  std::string health_hostname;     // empty: what the check says
  bool health_check_disabled = false;
};

struct LocalityName {
  std::string region, zone, sub_zone;
  friend auto operator<=>(const LocalityName&, const LocalityName&) = default;
};

struct Locality {
  std::string region, zone, sub_zone;
  uint32_t priority = 0;
  uint32_t weight = 0;             // without locality weights: not looked at
  std::vector<Endpoint> endpoints;
};

// envoy.config.endpoint.v3.ClusterLoadAssignment: the endpoints of an EDS cluster, as they come and change.
struct Assignment {
  std::vector<Locality> localities;
  uint32_t overprovisioning_factor = 140;
  bool weighted_priority_health = false;
  std::optional<Fraction> drop_overload;
  Duration stale_after{};  // without another one by then there are no endpoints any more; 0: they stay
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
  enum class Protocol : uint8_t { http1, http2, as_downstream, by_alpn };
  Protocol protocol = Protocol::http1;
  http::Http1Config http1;
  http::Http2Config http2;
  Duration idle_timeout = std::chrono::hours(1);  // 0: none
  Duration max_connection_duration{};  // 0: none
  Duration max_stream_duration{};  // of each try; 0: none
  uint32_t max_requests_per_connection = 0;  // 0: no limit
  // upstream_http_protocol_options
  bool auto_sni = false, auto_san_validation = false;
  std::string server_name_header;  // what these two go by, in lower case; "": neither is set
  // HTTP/2 PING; interval 0: none.
  struct KeepAlive {
    Duration interval{}, timeout{};
    Duration idle_interval{};  // PING before a connection that was idle for so long is used; 0: no
    double jitter_percent = 15;
  } keep_alive;
};

// zone_aware_lb_config. Defaults are Envoy's.
struct ZoneAware {
  uint32_t enabled_percent = 100;
  uint64_t min_cluster_size = 6;
  std::optional<uint32_t> force_local_min_size;  // force_local_zone
  bool by_weight = false;  // locality_basis HEALTHY_HOSTS_WEIGHT
};

// How a host is chosen. Defaults are Envoy's.
struct LoadBalancing {
  LbPolicy policy = LbPolicy::round_robin;
  bool locality_weighted = false;  // first a locality by its weight, then a host
  uint32_t choices = 2;  // LEAST_REQUEST
  double active_request_bias = 1;  // LEAST_REQUEST with weights
  bool full_scan = false;  // LEAST_REQUEST: of all hosts
  struct {
    uint64_t minimum_size = 1024, maximum_size = 8 << 20;
    bool murmur_hash_2 = false;  // else xxHash64
  } ring;  // RING_HASH
  uint64_t maglev_table_size = 65537;  // MAGLEV; a prime
  bool use_hostname_for_hashing = false;  // RING_HASH, MAGLEV
  uint32_t hash_balance_factor = 0;  // RING_HASH, MAGLEV: percent, at least 100; 0: unbounded
  bool fail_traffic_on_panic = false;
  std::shared_ptr<const SubsetConfig> subsets;  // null: none
  ZoneAware zones;  // ROUND_ROBIN, LEAST_REQUEST, RANDOM, where there is a local cluster
  struct {
    Duration window{};  // 0: none
    double aggression = 1, minimum = 0.1;  // of the weight, at first
  } slow_start;  // ROUND_ROBIN, LEAST_REQUEST

  bool by_zones() const {
    return policy == LbPolicy::round_robin || policy == LbPolicy::least_request || policy == LbPolicy::random;
  }
};

// Cluster.TransportSocketMatch: how hosts with such metadata are spoken to.
struct TransportMatch {
  std::string name;
  ext::MetadataMatch::Criteria criteria;  // empty: every host
  ext::UpstreamTransportFactory transport;  // null: raw_buffer
};

// envoy.config.cluster.v3.Cluster, immutable.
struct Cluster {
  std::string name;
  std::string alt_stat_name;
  ClusterType type = ClusterType::static_;
  LoadBalancing lb;
  Duration connect_timeout = std::chrono::seconds(5);
  uint32_t buffer_limit = 1 << 20;
  std::vector<Locality> localities;  // not of EDS
  std::optional<ConfigSource> eds_source;  // EDS
  std::string eds_service_name;  // EDS; never empty
  CircuitBreaker circuit_breaker[2];  // RoutingPriority DEFAULT, HIGH

  HttpUpstreamOptions http;
  ext::UpstreamTransportFactory transport;  // of hosts that no match is for; null: none, bytes go as they are
  std::vector<TransportMatch> transport_matches;  // the first that a host's metadata fits
  std::vector<std::shared_ptr<const Dependency>> needs;  // it is warm when these are ready

  DnsFamily dns_family = DnsFamily::auto_;
  Duration dns_refresh_rate = std::chrono::seconds(5);
  Duration dns_failure_refresh_base{}, dns_failure_refresh_max{};  // 0: dns_refresh_rate
  Duration dns_jitter{};
  bool respect_dns_ttl = false;
  bool wait_for_warm_on_init = true;
  std::vector<Address> dns_resolvers;  // empty: /etc/resolv.conf
  bool dns_use_tcp = false, dns_no_search = false;
  uint32_t dns_udp_max_queries = 0;  // 0: no limit

  uint16_t original_dst_port_override = 0;  // 0: none
  Duration cleanup_interval = std::chrono::seconds(5);

  Address bind_address;  // upstream_bind_config.source_address; invalid: none
  io::SocketOptions socket_options;
  uint32_t overprovisioning_factor = 140;
  bool weighted_priority_health = false;  // a priority's health counts its hosts' weights
  uint32_t healthy_panic_threshold = 50;  // percent
  Duration update_merge_window{};  // 0: workers are told of everything at once
  std::optional<Fraction> drop_overload;
  std::optional<OutlierDetection> outlier_detection;
  std::optional<HealthCheck> health_check;
  bool ignore_health_on_host_removal = false;
  bool ignore_new_hosts_until_first_health_check = false;
  bool close_connections_on_health_failure = false;  // those of TCP; HTTP's drain in any case
  uint64_t hash = 0;  // of the resource it came from
};

}  // namespace sluice::model
