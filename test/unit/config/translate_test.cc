#include "config/translate.h"

#include <doctest/doctest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

#include <chrono>

#include "config/honoured.h"
#include "config/validate.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "test/unit/config/registry.h"

namespace sluice::config {
namespace {

// check-allow: literals only
using namespace std::chrono_literals;
using test::NoLogs;

model::Bootstrap make(const std::string& yaml) {
  NoLogs logs;
  auto made = load_configuration({.yaml = yaml}, test::registry(), logs);
  REQUIRE_MESSAGE(made.ok(), made.error().message);
  return std::move(made->model);
}

std::string refused(const std::string& yaml) {
  NoLogs logs;
  auto made = load_configuration({.yaml = yaml}, test::registry(), logs);
  return made.ok() ? "" : made.error().message;
}

// virtualOutbound, a virtual listener, virtualInbound and their clusters, as a mesh configures them.
constexpr const char* kMesh = R"(
node: {id: sidecar, cluster: app, locality: {region: r, zone: z, sub_zone: s}}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 15000}}}
static_resources:
  listeners:
  - name: virtualOutbound
    trafficDirection: OUTBOUND
    useOriginalDst: true
    address: {socketAddress: {address: 0.0.0.0, portValue: 15001}}
    listenerFilters:
    - name: envoy.filters.listener.original_dst
      typedConfig: {"@type": type.googleapis.com/envoy.extensions.filters.listener.original_dst.v3.OriginalDst}
    filterChains:
    - filterChainMatch: {destinationPort: 15001}
      name: virtualOutbound-blackhole
      filters:
      - name: envoy.filters.network.tcp_proxy
        typedConfig:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          statPrefix: BlackHoleCluster
          cluster: BlackHoleCluster
    defaultFilterChain:
      name: PassthroughFilterChain
      filters:
      - name: envoy.filters.network.tcp_proxy
        typedConfig:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          statPrefix: PassthroughCluster
          weightedClusters: {clusters: [{name: a, weight: 6}, {name: b, weight: 4}]}
          accessLog:
          - name: envoy.access_loggers.file
            typedConfig:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: /dev/stdout
  - name: 10.0.0.1_80
    bindToPort: false
    address: {socketAddress: {address: 10.0.0.1, portValue: 80}}
    statPrefix: db
    perConnectionBufferLimitBytes: 32768
    listenerFiltersTimeout: 0s
    continueOnListenerFiltersTimeout: true
    maxConnectionsToAcceptPerSocketEvent: 3
    tcpBacklogSize: 7
    tcpFastOpenQueueLength: 5
    transparent: true
    freebind: true
    enableReusePort: false
    socketOptions: [{level: 1, name: 9, intValue: 1, description: keepalive}]
    filterChains:
    - transportSocketConnectTimeout: 2s
      filters: [{name: e, typedConfig: {"@type": type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo}}]
  - address: {socketAddress: {address: "::", portValue: 15006}}
    deprecatedV1: {bindToPort: false}
    trafficDirection: INBOUND
    additionalAddresses: [{address: {socketAddress: {address: 0.0.0.0, portValue: 15006}}}]
    filterChains: [{filters: []}]
  clusters:
  - name: BlackHoleCluster
    type: STATIC
  - name: InboundPassthroughClusterIpv4
    type: ORIGINAL_DST
    lbPolicy: CLUSTER_PROVIDED
    connectTimeout: 10s
    cleanupInterval: 7s
    circuitBreakers:
      thresholds:
      - {maxConnections: 4294967295, maxPendingRequests: 1, maxRequests: 2, maxRetries: 3, trackRemaining: true}
      - {priority: HIGH, maxConnections: 5, maxConnectionPools: 6}
    upstreamBindConfig: {sourceAddress: {address: 127.0.0.6, portValue: 0}, freebind: true}
    typedExtensionProtocolOptions:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        commonHttpProtocolOptions: {idleTimeout: 300s}
        useDownstreamProtocolConfig: {httpProtocolOptions: {}, http2ProtocolOptions: {}}
)";

TEST_CASE("a mesh's listeners") {
  const auto made = make(kMesh);
  CHECK(made.node.id == "sidecar");
  CHECK(made.node.sub_zone == "s");
  REQUIRE(made.admin);
  CHECK(made.admin->address.to_string() == "127.0.0.1:15000");
  REQUIRE(made.config->listeners.size() == 3);

  const auto& out = *made.config->listeners[0];
  CHECK(*out.name == "virtualOutbound");
  CHECK(out.address.to_string() == "0.0.0.0:15001");
  CHECK(out.direction == model::TrafficDirection::outbound);
  CHECK(out.use_original_dst);
  CHECK(out.bind_to_port);
  CHECK(out.buffer_limit == 1 << 20);
  CHECK(out.listener_filters_timeout == 15s);
  CHECK(out.listener_filters.size() == 2);  // the one listed, and what use_original_dst brings
  CHECK(out.socket_options.reuse_port);
  CHECK(out.tcp_backlog > 0);
  REQUIRE(out.filter_chains.size() == 1);
  REQUIRE(out.default_filter_chain);
  CHECK(*out.default_filter_chain->name == "PassthroughFilterChain");
  CHECK(out.default_filter_chain->filters.size() == 1);
  auto find = [&](const char* destination) {
    return out.matcher.find({.destination = *Address::parse(destination),
                             .source = *Address::parse("1.1.1.1:1"),
                             .direct_source = *Address::parse("1.1.1.1:1"),
                             .server_name = "",
                             .transport_protocol = "",
                             .application_protocols = {}});
  };
  CHECK(find("10.1.1.1:15001") == 0);
  CHECK(find("10.1.1.1:80") == model::FilterChainMatcher::kNone);

  const auto& db = *made.config->listeners[1];
  CHECK_FALSE(db.bind_to_port);
  CHECK(db.stat_prefix == "db");
  CHECK(db.buffer_limit == 32768);
  CHECK(db.listener_filters_timeout == 0s);
  CHECK(db.continue_on_listener_filters_timeout);
  CHECK(db.max_connections_per_event == 3);
  CHECK(db.tcp_backlog == 7);
  CHECK(db.socket_options.transparent);
  CHECK(db.socket_options.freebind);
  CHECK_FALSE(db.socket_options.reuse_port);
  REQUIRE(db.socket_options.raw.size() == 2);
  CHECK(db.socket_options.raw[0].level == IPPROTO_TCP);
  CHECK(db.socket_options.raw[0].name == TCP_FASTOPEN);
  CHECK(db.socket_options.raw[0].value == std::string("\5\0\0\0", 4));
  CHECK(db.socket_options.raw[1].name == 9);
  CHECK(db.filter_chains[0]->transport_socket_connect_timeout == 2s);
  CHECK(db.hash != out.hash);

  const auto& in = *made.config->listeners[2];
  CHECK(*in.name == "[::]:15006");
  CHECK_FALSE(in.bind_to_port);
  CHECK(in.socket_options.v6_only);
  CHECK(in.additional_addresses.size() == 1);
  CHECK(in.filter_chains[0]->filters.empty());
}

TEST_CASE("a mesh's clusters") {
  const auto made = make(kMesh);
  REQUIRE(made.config->clusters.size() == 2);
  const auto& hole = *made.config->clusters[0];
  CHECK(hole.type == model::ClusterType::static_);
  CHECK(hole.localities.empty());
  CHECK(hole.connect_timeout == 5s);
  CHECK(hole.circuit_breaker[0].max_connections == 1024);
  const auto& c = *made.config->clusters[1];
  CHECK(c.type == model::ClusterType::original_dst);
  CHECK(c.lb.policy == model::LbPolicy::cluster_provided);
  CHECK(c.connect_timeout == 10s);
  CHECK(c.cleanup_interval == 7s);
  CHECK(c.bind_address.to_string() == "127.0.0.6:0");
  CHECK(c.socket_options.freebind);
  CHECK(c.circuit_breaker[0].max_connections == 4294967295u);
  CHECK(c.circuit_breaker[0].max_pending_requests == 1);
  CHECK(c.circuit_breaker[0].max_requests == 2);
  CHECK(c.circuit_breaker[0].track_remaining);
  CHECK(c.circuit_breaker[1].max_connections == 5);
  CHECK(c.circuit_breaker[1].max_pending_requests == 1024);
  CHECK(c.circuit_breaker[1].max_connection_pools == 6);
}

TEST_CASE("endpoints, localities, balancers") {
  const auto made = make(R"(
static_resources:
  clusters:
  - name: c
    alt_stat_name: alt
    lb_policy: LEAST_REQUEST
    least_request_lb_config: {choice_count: 3}
    per_connection_buffer_limit_bytes: 100
    common_lb_config: {healthy_panic_threshold: {value: 0}, update_merge_window: 2.0015s, zone_aware_lb_config: {fail_traffic_on_panic: true}}
    upstream_connection_options: {tcp_keepalive: {keepalive_probes: 1, keepalive_time: 2, keepalive_interval: 3}}
    load_assignment:
      cluster_name: c
      policy: {overprovisioning_factor: 100}
      endpoints:
      - locality: {region: r, zone: z, sub_zone: s}
        priority: 1
        load_balancing_weight: 5
        lb_endpoints:
        - {load_balancing_weight: 4, health_status: DRAINING, endpoint: {hostname: h, address: {socket_address: {address: "::1", port_value: 1}}}}
        - {health_status: DEGRADED, endpoint: {address: {pipe: {path: /x}}}}
      - lb_endpoints: [{endpoint: {address: {socket_address: {address: 10.0.0.1, port_value: 2}}}}]
  - name: typed
    load_balancing_policy:
      policies:
      - typed_extension_config:
          name: lr
          typed_config: {"@type": type.googleapis.com/envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest, choice_count: 5}
)");
  const auto& c = *made.config->clusters[0];
  CHECK(c.alt_stat_name == "alt");
  CHECK(c.lb.policy == model::LbPolicy::least_request);
  CHECK(c.lb.choices == 3);
  CHECK(c.buffer_limit == 100);
  CHECK(c.healthy_panic_threshold == 0);
  CHECK(c.update_merge_window == std::chrono::milliseconds(2001));
  CHECK(c.lb.fail_traffic_on_panic);
  CHECK(c.overprovisioning_factor == 100);
  CHECK(c.socket_options.keep_alive.enabled);
  CHECK(c.socket_options.keep_alive.interval_s == 3);
  REQUIRE(c.localities.size() == 2);
  CHECK(c.localities[0].priority == 1);
  CHECK(c.localities[0].weight == 5);
  CHECK(c.localities[0].sub_zone == "s");
  const auto& e = c.localities[0].endpoints;
  REQUIRE(e.size() == 2);
  CHECK(e[0].address.to_string() == "[::1]:1");
  CHECK(e[0].hostname == "h");
  CHECK(e[0].weight == 4);
  CHECK(e[0].health == model::HealthStatus::unhealthy);
  CHECK(e[1].address.to_string() == "/x");
  CHECK(e[1].health == model::HealthStatus::degraded);
  CHECK(e[1].weight == 1);
  CHECK(made.config->clusters[1]->lb.policy == model::LbPolicy::least_request);
  CHECK(made.config->clusters[1]->lb.choices == 5);
}

TEST_CASE("load balancing: the cluster's own settings and the extensions'") {
  auto cluster = [](const std::string& fields) {
    const auto made = make("static_resources: {clusters: [{name: c, " + fields + "}]}");
    return made.config->clusters[0]->lb;
  };
  auto typed = [&](const std::string& name, const std::string& fields) {
    return cluster(
        "lb_policy: MAGLEV, common_lb_config: {locality_weighted_lb_config: {}}, load_balancing_policy: "
        "{policies: [{typed_extension_config: {name: x, typed_config: {\"@type\": "
        "type.googleapis.com/envoy.extensions.load_balancing_policies." +
        name + (fields.empty() ? "" : ", " + fields) + "}}}]}");
  };
  using model::LbPolicy;
  auto lb = cluster(
      "lb_policy: RING_HASH, ring_hash_lb_config: {minimum_ring_size: 5, maximum_ring_size: 7, "
      "hash_function: MURMUR_HASH_2}, common_lb_config: {locality_weighted_lb_config: {}, "
      "consistent_hashing_lb_config: {hash_balance_factor: 120}}");
  CHECK(lb.policy == LbPolicy::ring_hash);
  CHECK(lb.ring.minimum_size == 5);
  CHECK(lb.ring.maximum_size == 7);
  CHECK(lb.ring.murmur_hash_2);
  CHECK(lb.locality_weighted);
  CHECK(lb.hash_balance_factor == 120);
  lb = cluster("lb_policy: MAGLEV, maglev_lb_config: {table_size: 11}");
  CHECK(lb.policy == LbPolicy::maglev);
  CHECK(lb.maglev_table_size == 11);
  lb = cluster(
      "lb_policy: LEAST_REQUEST, least_request_lb_config: {active_request_bias: {default_value: 0.5, "
      "runtime_key: x}}");
  CHECK(lb.active_request_bias == 0.5);

  lb = typed("ring_hash.v3.RingHash", "use_hostname_for_hashing: true, hash_balance_factor: 130");
  CHECK(lb.policy == LbPolicy::ring_hash);
  CHECK(lb.use_hostname_for_hashing);
  CHECK(lb.hash_balance_factor == 130);
  CHECK_FALSE(lb.locality_weighted);  // the cluster's own settings do not count
  CHECK_FALSE(lb.ring.murmur_hash_2);
  lb = typed("ring_hash.v3.RingHash",
             "use_hostname_for_hashing: true, consistent_hashing_lb_config: {hash_balance_factor: 140}, "
             "hash_function: MURMUR_HASH_2, locality_weighted_lb_config: {}");
  CHECK_FALSE(lb.use_hostname_for_hashing);
  CHECK(lb.hash_balance_factor == 140);
  CHECK(lb.ring.murmur_hash_2);
  CHECK(lb.locality_weighted);
  lb = typed("maglev.v3.Maglev",
             "table_size: 13, consistent_hashing_lb_config: {use_hostname_for_hashing: true}");
  CHECK(lb.policy == LbPolicy::maglev);
  CHECK(lb.maglev_table_size == 13);
  CHECK(lb.use_hostname_for_hashing);
  lb = typed("random.v3.Random", "locality_lb_config: {zone_aware_lb_config: {fail_traffic_on_panic: true}}");
  CHECK(lb.policy == LbPolicy::random);
  CHECK(lb.fail_traffic_on_panic);
  lb = typed("least_request.v3.LeastRequest", "selection_method: FULL_SCAN");
  CHECK(lb.full_scan);
  lb = typed(
      "wrr_locality.v3.WrrLocality",
      "endpoint_picking_policy: {policies: [{typed_extension_config: {name: inner, typed_config: {\"@type\": "
      "type.googleapis.com/envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin}}}]}");
  CHECK(lb.policy == LbPolicy::round_robin);
  CHECK(lb.locality_weighted);
}

TEST_CASE("outlier detection: every field, and Envoy's defaults") {
  auto cluster = [](const std::string& fields) {
    const auto made = make("static_resources: {clusters: [{name: c, outlier_detection: {" + fields + "}}]}");
    return *made.config->clusters[0]->outlier_detection;
  };
  auto o = cluster("");
  CHECK(o.consecutive_5xx == 5);
  CHECK(o.enforcing_consecutive_gateway_failure == 0);
  CHECK(o.interval == 10s);
  CHECK(o.max_ejection_time == 300s);
  CHECK(o.max_ejection_percent == 10);
  o = cluster("base_ejection_time: 400s, interval: 1.5s, max_ejection_time_jitter: 2s");
  CHECK(o.max_ejection_time == 400s);
  CHECK(o.interval == 1500ms);
  CHECK(o.max_ejection_time_jitter == 2s);
  o = cluster(
      "consecutive_5xx: 1, enforcing_consecutive_5xx: 2, consecutive_gateway_failure: 3, "
      "enforcing_consecutive_gateway_failure: 4, consecutive_local_origin_failure: 5, "
      "enforcing_consecutive_local_origin_failure: 6, success_rate_minimum_hosts: 7, "
      "success_rate_request_volume: 8, "
      "success_rate_stdev_factor: 9, enforcing_success_rate: 10, enforcing_local_origin_success_rate: 11, "
      "failure_percentage_threshold: 12, failure_percentage_minimum_hosts: 13, "
      "failure_percentage_request_volume: 14, "
      "enforcing_failure_percentage: 15, enforcing_failure_percentage_local_origin: 16, "
      "max_ejection_percent: 17, "
      "always_eject_one_host: true, split_external_local_origin_errors: true");
  CHECK(o.consecutive_5xx == 1);
  CHECK(o.enforcing_consecutive_5xx == 2);
  CHECK(o.consecutive_gateway_failure == 3);
  CHECK(o.enforcing_consecutive_gateway_failure == 4);
  CHECK(o.consecutive_local_origin_failure == 5);
  CHECK(o.enforcing_consecutive_local_origin_failure == 6);
  CHECK(o.success_rate_minimum_hosts == 7);
  CHECK(o.success_rate_request_volume == 8);
  CHECK(o.success_rate_stdev_factor == 9);
  CHECK(o.enforcing_success_rate == 10);
  CHECK(o.enforcing_local_origin_success_rate == 11);
  CHECK(o.failure_percentage_threshold == 12);
  CHECK(o.failure_percentage_minimum_hosts == 13);
  CHECK(o.failure_percentage_request_volume == 14);
  CHECK(o.enforcing_failure_percentage == 15);
  CHECK(o.enforcing_failure_percentage_local_origin == 16);
  CHECK(o.max_ejection_percent == 17);
  CHECK(o.always_eject_one_host);
  CHECK(o.split_external_local_origin_errors);
}

TEST_CASE("a duration that means never leaves room for the present") {
  const auto made = make(
      "static_resources: {clusters: [{name: c, type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, "
      "cleanup_interval: 9223372035s}]}");
  CHECK(made.config->clusters[0]->cleanup_interval == 9'000'000'000s);
}

TEST_CASE("names: the cluster's own settings, a DnsCluster's, the bootstrap's") {
  const std::string names =
      "load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [{endpoint: {address: "
      "{socket_address: {address: a.b, port_value: 80}}}}]}]}";
  const auto made = make(R"(
typed_dns_resolver_config:
  name: envoy.network.dns_resolver.cares
  typed_config:
    "@type": type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig
    resolvers: [{socket_address: {address: 10.0.0.53, port_value: 0}}]
    dns_resolver_options: {use_tcp_for_dns_lookups: true, no_default_search_domain: true}
    udp_max_queries: 100
cluster_manager: {upstream_bind_config: {source_address: {address: 127.0.0.9, port_value: 0}}}
static_resources:
  clusters:
  - {name: a, type: STRICT_DNS, dns_lookup_family: V4_PREFERRED, dns_refresh_rate: 3s, dns_jitter: 1s, respect_dns_ttl: true,
     wait_for_warm_on_init: false, dns_failure_refresh_rate: {base_interval: 1s}, )" +
                         names + R"(}
  - {name: b, type: LOGICAL_DNS, use_tcp_for_dns_lookups: true,
     dns_resolvers: [{socket_address: {address: 10.0.0.1, port_value: 5353}}], )" +
                         names + R"(}
  - name: c
    cluster_type:
      name: dns
      typed_config:
        "@type": type.googleapis.com/envoy.extensions.clusters.dns.v3.DnsCluster
        all_addresses_in_single_endpoint: true
        dns_lookup_family: ALL
        dns_refresh_rate: 9s
        dns_failure_refresh_rate: {base_interval: 1s, max_interval: 2s}
    )" + names + "\n");
  const auto& a = *made.config->clusters[0];
  CHECK(a.type == model::ClusterType::strict_dns);
  CHECK(a.dns_family == model::DnsFamily::v4_preferred);
  CHECK(a.dns_refresh_rate == 3s);
  CHECK(a.dns_jitter == 1s);
  CHECK(a.respect_dns_ttl);
  CHECK_FALSE(a.wait_for_warm_on_init);
  CHECK(a.dns_failure_refresh_base == 1s);
  CHECK(a.dns_failure_refresh_max == 10s);
  REQUIRE(a.dns_resolvers.size() == 1);
  CHECK(a.dns_resolvers[0].to_string() == "10.0.0.53:53");
  CHECK(a.dns_use_tcp);
  CHECK(a.dns_no_search);
  CHECK(a.dns_udp_max_queries == 100);
  CHECK(a.bind_address.to_string() == "127.0.0.9:0");
  CHECK(a.localities[0].endpoints[0].dns_name == "a.b");
  CHECK(a.localities[0].endpoints[0].dns_port == 80);
  CHECK_FALSE(a.localities[0].endpoints[0].address.valid());
  const auto& b = *made.config->clusters[1];
  CHECK(b.type == model::ClusterType::logical_dns);
  CHECK(b.dns_resolvers[0].to_string() == "10.0.0.1:5353");
  CHECK(b.dns_use_tcp);
  CHECK_FALSE(b.dns_no_search);
  CHECK(b.dns_udp_max_queries == 0);
  const auto& c = *made.config->clusters[2];
  CHECK(c.type == model::ClusterType::logical_dns);
  CHECK(c.dns_family == model::DnsFamily::all);
  CHECK(c.dns_refresh_rate == 9s);
  CHECK(c.dns_failure_refresh_max == 2s);
  CHECK(c.dns_resolvers[0].to_string() == "10.0.0.53:53");
}

TEST_CASE("late errors say their line") {
  CHECK(refused("static_resources:\n  clusters:\n  - name: c\n    type: EDS\n")
            .starts_with("--config-yaml:3:5: static_resources.clusters[0].eds_cluster_config.eds_config: "));
  CHECK(refused("static_resources:\n  clusters:\n  - name: c\n  - name: c\n")
            .starts_with("--config-yaml:4:5: static_resources.clusters[1].name"));
  CHECK(refused("static_resources: {listeners: [{address: {socket_address: {address: 127.0.0.1, port_value: "
                "1}}, filter_chains: "
                "[{name: one, filters: []}, {name: two, filters: []}]}]}")
            .find("two") != std::string::npos);
}

TEST_CASE("equal resources have equal hashes") {
  const auto a = make(kMesh), b = make(kMesh);
  for (size_t i = 0; i < 3; ++i) CHECK(a.config->listeners[i]->hash == b.config->listeners[i]->hash);
  CHECK(a.config->clusters[0]->hash != a.config->clusters[1]->hash);
}

TEST_CASE("5,000 clusters are checked and translated in well under a second") {
  envoy::config::bootstrap::v3::Bootstrap bootstrap;
  const auto one = [] {
    envoy::config::bootstrap::v3::Bootstrap b;
    NoLogs logs;
    auto loaded = load_configuration({.yaml = kMesh}, test::registry(), logs);
    REQUIRE(loaded.ok());
    return *loaded->bootstrap.message();
  }();
  for (int i = 0; i < 5000; ++i) {
    auto* cluster = bootstrap.mutable_static_resources()->add_clusters();
    *cluster = one.static_resources().clusters(1);
    cluster->set_name("c" + std::to_string(i));
  }
  NoLogs logs;
  const HonouredFields honoured(test::registry());
  // check-allow: reports how long it took; nothing depends on it
  const auto start = std::chrono::steady_clock::now();
  REQUIRE(validate(bootstrap, FieldPath()).ok());
  // check-allow: reports how long it took; nothing depends on it
  const auto validated = std::chrono::steady_clock::now();
  REQUIRE(honoured.check(bootstrap, FieldPath()).ok());
  // check-allow: reports how long it took; nothing depends on it
  const auto checked = std::chrono::steady_clock::now();
  auto made = translate(bootstrap, test::registry(), logs);
  // check-allow: reports how long it took; nothing depends on it
  const auto translated = std::chrono::steady_clock::now();
  REQUIRE(made.ok());
  CHECK(made->config->clusters.size() == 5000);
  auto ms = [](auto d) { return std::chrono::duration<double, std::milli>(d).count(); };
  MESSAGE("5,000 clusters: validated in " << ms(validated - start) << " ms, fields checked in "
                                          << ms(checked - validated) << " ms, translated in "
                                          << ms(translated - checked) << " ms");
  // Generous: a sanitizer build on a busy machine passes, a walk that is quadratic does not.
  CHECK(translated - start < 20s);
}

}  // namespace
}  // namespace sluice::config
