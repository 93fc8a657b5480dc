#pragma once

// Configurations and what Envoy and Sluice say of them. The unit test asks Sluice, the test with label `envoy` asks a real
// Envoy: the table is the proof that both read the same.
namespace sluice::config::test {

enum class Verdict {
  accepted,  // by both
  refused,  // by both
  stricter,  // Envoy accepts, and ignores something or fails later; Sluice says so at once
};

struct Row {
  const char* name;
  Verdict verdict;
  const char* yaml;
  const char* part = "";  // of Sluice's error
};

#define ENDPOINT(address) "endpoints: [{lb_endpoints: [{endpoint: {address: " address "}}]}]"
#define ASSIGNED \
  "load_assignment: {cluster_name: c, " ENDPOINT("{socket_address: {address: 127.0.0.1, port_value: 80}}") "}"
#define NAMED \
  "load_assignment: {cluster_name: c, " ENDPOINT("{socket_address: {address: localhost, port_value: 80}}") "}"
#define CLUSTER(fields) "static_resources: {clusters: [{name: c, " fields "}]}"
#define CHECK_TIMES "timeout: 1s, interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, "
#define HEALTH(fields) "health_checks: [{" CHECK_TIMES fields "}], "
#define TYPE(name) "\"@type\": type.googleapis.com/envoy.extensions." name
#define ECHO "{name: envoy.filters.network.echo, typed_config: {" TYPE("filters.network.echo.v3.Echo") "}}"
#define TCP(fields) \
  "{name: t, typed_config: {" TYPE("filters.network.tcp_proxy.v3.TcpProxy") ", stat_prefix: p, " fields "}}"
#define AT "address: {socket_address: {address: 127.0.0.1, port_value: 18080}}"
#define LISTENER(fields) "static_resources: {listeners: [{name: l, " fields "}]}"
#define CHAIN "filter_chains: [{filters: [" ECHO "]}]"
#define TLS_INSPECTOR(fields)                                        \
  LISTENER(AT ", listener_filters: [{name: x, typed_config: {" TYPE( \
      "filters.listener.tls_inspector.v3.TlsInspector") ", " fields "}}], " CHAIN)
#define MATCH(match) LISTENER(AT ", filter_chains: [{filter_chain_match: {" match "}, filters: [" ECHO "]}]")
#define POLICY(name)                                                                            \
  "load_balancing_policy: {policies: [{typed_extension_config: {name: x, typed_config: {" TYPE( \
      "load_balancing_policies." name) "}}}]}"

#define NODE "node: {id: a, cluster: b}\n"
#define SERVICE(cluster) "grpc_services: [{envoy_grpc: {cluster_name: " cluster "}}]"
#define ADS(fields) "ads_config: {transport_api_version: V3, " fields "}"
#define DYNAMIC(ads) "dynamic_resources: {" ads ", cds_config: {ads: {}, resource_api_version: V3}}"

inline constexpr Row kRows[] = {
    // ---- reading ----
    {"nothing at all", Verdict::refused, "", "is empty"},
    {"a word", Verdict::refused, "abc", "must be a map"},
    {"a list", Verdict::refused, "[]", "must be a map"},
    {"an unknown field", Verdict::refused, "foo: 1", "no such field"},
    {"a number for a string", Verdict::refused, "node: {id: 123}", "in quotes"},
    {"a boolean for a string", Verdict::refused, "node: {id: yes}", "in quotes"},
    {"a decimal for a string", Verdict::accepted, "node: {id: 1.5}"},
    {"an octal port", Verdict::accepted,
     "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 010}}}"},
    {"a hexadecimal port", Verdict::accepted,
     "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0x10}}}"},
    {"a port in quotes", Verdict::accepted,
     "admin: {address: {socket_address: {address: 127.0.0.1, port_value: \"8080\"}}}"},
    {"a whole decimal port", Verdict::accepted,
     "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 1.0}}}"},
    {"half a port", Verdict::refused,
     "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 1.5}}}", "integer"},
    {"an enum in lower case", Verdict::accepted, CLUSTER("type: static, " ASSIGNED)},
    {"an enum by number", Verdict::accepted, CLUSTER("type: 0, " ASSIGNED)},
    {"an enum by quoted number", Verdict::accepted, CLUSTER("type: \"0\", " ASSIGNED)},
    {"an unknown enum", Verdict::refused, CLUSTER("type: STATIK"), "one of STATIC"},
    {"1 for true", Verdict::refused, CLUSTER("respect_dns_ttl: 1"), "true or false"},
    {"yes for true", Verdict::accepted, CLUSTER("respect_dns_ttl: yes, " ASSIGNED)},
    {"\"true\" for true", Verdict::accepted, CLUSTER("respect_dns_ttl: \"true\", " ASSIGNED)},
    {"two of a oneof", Verdict::refused,
     "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 1, named_port: x}}}", "excludes"},
    {"a key twice", Verdict::stricter, "node: {id: a}\nnode: {id: b}", "duplicate key"},
    {"a field in both spellings", Verdict::stricter, "stats_flush_interval: 1s\nstatsFlushInterval: 2s",
     "given twice"},
    {"two documents", Verdict::stricter, "node: {id: a}\n---\nnode: {id: b}", "second YAML document"},
    {"a merge key", Verdict::refused, "admin: {address: &a {pipe: {path: /x}}}\nnode: {<<: *a}",
     "merge keys"},
    {"a duration without unit", Verdict::refused, "stats_flush_interval: 5", "5s"},
    {"milliseconds", Verdict::refused, "stats_flush_interval: 500ms", "in seconds"},
    {"a fraction of a second", Verdict::accepted, "stats_flush_interval: 0.25s"},
    {"a negative duration", Verdict::refused, CLUSTER("connect_timeout: -1s"), "connect_timeout"},
    {"a duration out of its range", Verdict::refused, "stats_flush_interval: 400s", "inside range"},
    {"null for a list", Verdict::accepted, "static_resources: {listeners: null}"},
    {"null in a list", Verdict::refused, "static_resources: {listeners: [null]}", "empty"},
    {"null for a message", Verdict::accepted, "admin: null"},
    {"lowerCamelCase", Verdict::accepted, "staticResources: {listeners: []}"},
    {"one value for a list", Verdict::accepted, "static_resources: {clusters: {name: c, " ASSIGNED "}}"},

    // ---- clusters ----
    {"a static cluster", Verdict::accepted, CLUSTER(ASSIGNED)},
    {"no load assignment", Verdict::accepted, CLUSTER("type: STATIC")},
    {"a load assignment of another name", Verdict::accepted,
     CLUSTER("type: STATIC, load_assignment: {cluster_name: d}")},
    {"a load assignment without name", Verdict::refused, CLUSTER("type: STATIC, load_assignment: {}"),
     "cluster_name"},
    {"a host name in a static cluster", Verdict::refused, CLUSTER("type: STATIC, " NAMED), "'STRICT_DNS'"},
    {"an address in a DNS cluster", Verdict::accepted, CLUSTER("type: STRICT_DNS, " ASSIGNED)},
    {"a Unix socket in a static cluster", Verdict::accepted,
     CLUSTER("load_assignment: {cluster_name: c, " ENDPOINT("{pipe: {path: /x}}") "}")},
    {"a Unix socket in a DNS cluster", Verdict::stricter,
     CLUSTER("type: STRICT_DNS, load_assignment: {cluster_name: c, " ENDPOINT("{pipe: {path: /x}}") "}"),
     "name to resolve"},
    {"ORIGINAL_DST", Verdict::accepted, CLUSTER("type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED")},
    {"ORIGINAL_DST with a balancer", Verdict::refused, CLUSTER("type: ORIGINAL_DST"),
     "Only 'CLUSTER_PROVIDED' is allowed"},
    {"ORIGINAL_DST with endpoints", Verdict::refused,
     CLUSTER("type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, " ASSIGNED), "must have no load assignment"},
    {"ORIGINAL_DST with a typed policy alone", Verdict::refused,
     CLUSTER("type: ORIGINAL_DST, " POLICY("cluster_provided.v3.ClusterProvided")), "CLUSTER_PROVIDED"},
    {"a port over 65535", Verdict::refused,
     CLUSTER("type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, original_dst_lb_config: "
             "{upstream_port_override: 70000}"),
     "upstream_port_override"},
    {"CLUSTER_PROVIDED by a static cluster", Verdict::refused,
     CLUSTER("lb_policy: CLUSTER_PROVIDED, " ASSIGNED), "cluster provided LB specified"},
    {"a typed ClusterProvided in a static cluster", Verdict::refused,
     CLUSTER(POLICY("cluster_provided.v3.ClusterProvided") ", " ASSIGNED), "cluster provided LB specified"},
    {"a typed policy", Verdict::accepted, CLUSTER(POLICY("least_request.v3.LeastRequest") ", " ASSIGNED)},
    {"a policy by name alone", Verdict::refused,
     CLUSTER("load_balancing_policy: {policies: [{typed_extension_config: {name: x}}]}, " ASSIGNED),
     "load_balancing_policy"},
    {"LOGICAL_DNS", Verdict::accepted, CLUSTER("type: LOGICAL_DNS, " NAMED)},
    {"LOGICAL_DNS without a name", Verdict::refused,
     CLUSTER("type: LOGICAL_DNS, load_assignment: {cluster_name: c}"), "single lb_endpoint"},
    {"STRICT_DNS without a name", Verdict::accepted,
     CLUSTER("type: STRICT_DNS, load_assignment: {cluster_name: c}")},
    {"an endpoint without address", Verdict::refused,
     CLUSTER("load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [{}]}]}"), "Address must be set"},
    {"an endpoint with only a name", Verdict::refused,
     CLUSTER("load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [{endpoint: {hostname: x}}]}]}"),
     "Address must be set"},
    {"a gap between priorities", Verdict::accepted,
     CLUSTER("load_assignment: {cluster_name: c, endpoints: [{priority: 5}]}")},
    {"two clusters of one name", Verdict::refused, "static_resources: {clusters: [{name: c}, {name: c}]}",
     "duplicate cluster 'c'"},
    {"a cluster without name", Verdict::refused, "static_resources: {clusters: [{}]}", "clusters[0].name"},
    {"thresholds twice for a priority", Verdict::accepted,
     CLUSTER("circuit_breakers: {thresholds: [{max_connections: 1}, {max_connections: 2}]}")},
    {"a host name to bind to", Verdict::refused,
     CLUSTER("upstream_bind_config: {source_address: {address: foo, port_value: 0}}"),
     "malformed IP address: foo"},
    {"binding to an address", Verdict::accepted,
     CLUSTER("upstream_bind_config: {source_address: {address: 127.0.0.6, port_value: 0}}")},
    {"binding to nothing", Verdict::accepted, CLUSTER("upstream_bind_config: {}")},
    {"a resolver", Verdict::accepted,
     CLUSTER("type: STRICT_DNS, dns_resolution_config: {resolvers: [{socket_address: {address: 127.0.0.1, "
             "port_value: 53}}]}, " NAMED)},
    {"a resolver by name", Verdict::refused,
     CLUSTER("type: STRICT_DNS, dns_resolution_config: {resolvers: [{socket_address: {address: foo, "
             "port_value: 53}}]}, " NAMED),
     "malformed IP address: foo"},
    {"failure refresh the wrong way round", Verdict::refused,
     CLUSTER("type: STRICT_DNS, dns_failure_refresh_rate: {base_interval: 5s, max_interval: 1s}, " NAMED),
     "max_interval"},
    {"a DnsCluster", Verdict::accepted,
     CLUSTER("cluster_type: {name: envoy.clusters.dns, typed_config: {" TYPE(
         "clusters.dns.v3.DnsCluster") "}}, " NAMED)},
    {"raw_buffer by name alone", Verdict::refused,
     CLUSTER("transport_socket: {name: envoy.transport_sockets.raw_buffer}, " ASSIGNED),
     "typed_config is missing"},
    {"raw_buffer", Verdict::accepted,
     CLUSTER("transport_socket: {name: x, typed_config: {" TYPE(
         "transport_sockets.raw_buffer.v3.RawBuffer") "}}, " ASSIGNED)},
    {"MAGLEV", Verdict::accepted, CLUSTER("lb_policy: MAGLEV, " ASSIGNED)},
    {"a Maglev table of no prime size", Verdict::refused,
     CLUSTER("lb_policy: MAGLEV, maglev_lb_config: {table_size: 100}, " ASSIGNED), "must be prime"},
    {"RING_HASH", Verdict::accepted, CLUSTER("lb_policy: RING_HASH, " ASSIGNED)},
    {"a ring with its bounds crossed", Verdict::refused,
     CLUSTER("lb_policy: RING_HASH, ring_hash_lb_config: {minimum_ring_size: 9, maximum_ring_size: "
             "8}, " ASSIGNED),
     "minimum_ring_size (9) > maximum_ring_size (8)"},
    {"hashing by the hostname of a static cluster", Verdict::refused,
     CLUSTER("lb_policy: MAGLEV, common_lb_config: {consistent_hashing_lb_config: {use_hostname_for_hashing: "
             "true}}, " ASSIGNED),
     "Cannot use hostname for consistent hashing"},
    {"a hash balance factor below 100", Verdict::refused,
     CLUSTER("lb_policy: MAGLEV, common_lb_config: {consistent_hashing_lb_config: {hash_balance_factor: "
             "99}}, " ASSIGNED),
     "hash_balance_factor"},
    {"outlier detection", Verdict::accepted,
     CLUSTER("outlier_detection: {consecutive_5xx: 3, max_ejection_percent: 50}, " ASSIGNED)},
    {"ejections that may not last as long as they do at least", Verdict::refused,
     CLUSTER("outlier_detection: {base_ejection_time: 10s, max_ejection_time: 5s}, " ASSIGNED),
     "max_ejection_time cannot be smaller than base_ejection_time"},
    {"closing connections to ejected hosts", Verdict::accepted,
     CLUSTER("outlier_detection: {}, close_connections_on_host_health_failure: true, " ASSIGNED)},
    {"HTTP health checks", Verdict::accepted,
     CLUSTER(HEALTH("http_health_check: {path: /}, initial_jitter: 1s, interval_jitter_percent: 10")
                 ASSIGNED)},
    {"TCP health checks", Verdict::accepted,
     CLUSTER(HEALTH("tcp_health_check: {send: {text: \"0aFF\"}, receive: [{binary: YQ==}]}") ASSIGNED)},
    {"gRPC health checks", Verdict::accepted,
     CLUSTER(HEALTH("grpc_health_check: {}") "http2_protocol_options: {}, " ASSIGNED)},
    {"gRPC health checks over HTTP/1", Verdict::refused, CLUSTER(HEALTH("grpc_health_check: {}") ASSIGNED),
     "must support HTTP/2 for gRPC healthchecking"},
    {"two health checks without names", Verdict::refused,
     CLUSTER("health_checks: [{" CHECK_TIMES "tcp_health_check: {}}, {" CHECK_TIMES
             "tcp_health_check: {}}], " ASSIGNED),
     "health_checks"},
    {"a health check without time-out", Verdict::refused,
     CLUSTER("health_checks: [{interval: 1s, unhealthy_threshold: 1, healthy_threshold: 1, "
             "tcp_health_check: {}}], " ASSIGNED),
     "health_checks[0].timeout"},
    {"a health check of no kind", Verdict::refused, CLUSTER("health_checks: [{" CHECK_TIMES "}], " ASSIGNED),
     "health_checks[0]"},
    {"bytes that are no hex", Verdict::refused,
     CLUSTER(HEALTH("tcp_health_check: {receive: [{text: xyz}]}") ASSIGNED), "invalid hex string"},
    {"half a byte", Verdict::refused,
     CLUSTER(HEALTH("tcp_health_check: {receive: [{text: \"123\"}]}") ASSIGNED), "invalid hex string"},
    {"statuses the wrong way round", Verdict::refused,
     CLUSTER(HEALTH("http_health_check: {path: /, expected_statuses: [{start: 300, end: 200}]}") ASSIGNED),
     "expecting start < end"},
    {"statuses that are none", Verdict::refused,
     CLUSTER(HEALTH("http_health_check: {path: /, retriable_statuses: [{start: 500, end: 601}]}") ASSIGNED),
     "expecting end <= 600"},
    {"a body behind GET", Verdict::refused,
     CLUSTER(HEALTH("http_health_check: {path: /, send: {text: \"00\"}}") ASSIGNED),
     "cannot specify a request payload"},
    {"more expected than is looked at", Verdict::refused,
     CLUSTER(HEALTH("http_health_check: {path: /, response_buffer_size: 1, receive: [{text: \"0000\"}]}")
                 ASSIGNED),
     "response_buffer_size"},
    {"health checks over HTTP/3", Verdict::refused,
     CLUSTER(HEALTH("http_health_check: {path: /, codec_client_type: HTTP3}") ASSIGNED), "codec_client_type"},
    {"health checks of a kind to come", Verdict::stricter,
     CLUSTER(HEALTH("custom_health_check: {name: envoy.health_checkers.redis, typed_config: {" TYPE(
         "health_checkers.redis.v3.Redis") "}}") ASSIGNED),
     "custom_health_check"},
    {"health checks of an ORIGINAL_DST cluster", Verdict::stricter,
     CLUSTER(HEALTH("tcp_health_check: {}") "type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED"),
     "health_checks"},
    {"where and how to ask", Verdict::accepted,
     CLUSTER("load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [{endpoint: {address: "
             "{socket_address: {address: 1.2.3.4, port_value: 1}}, health_check_config: {port_value: 2, "
             "hostname: x, disable_active_health_check: true}}}]}]}")},
    {"slow start", Verdict::accepted,
     CLUSTER("round_robin_lb_config: {slow_start_config: {slow_start_window: 1s, min_weight_percent: {value: "
             "5}, aggression: {default_value: 2, runtime_key: x}}}, " ASSIGNED)},
    {"slow start that goes nowhere", Verdict::stricter,
     CLUSTER("lb_policy: LEAST_REQUEST, least_request_lb_config: {slow_start_config: {slow_start_window: 1s, "
             "aggression: {default_value: 0, runtime_key: x}}}, " ASSIGNED),
     "must be a number above 0"},
    {"zone aware routing", Verdict::accepted,
     "node: {id: me, cluster: c, locality: {zone: z}}\n"
     "cluster_manager: {local_cluster_name: c}\n" CLUSTER(
         "common_lb_config: {zone_aware_lb_config: {routing_enabled: {value: 50}, min_cluster_size: "
         "3}}, " ASSIGNED)},
    {"a local cluster that is not there", Verdict::refused,
     "cluster_manager: {local_cluster_name: d}\n" CLUSTER(ASSIGNED), "local cluster 'd' must be defined"},
    {"a merge window", Verdict::accepted,
     CLUSTER("common_lb_config: {update_merge_window: 0.5s}, " ASSIGNED)},
    {"a negative merge window", Verdict::refused,
     CLUSTER("common_lb_config: {update_merge_window: -1s}, " ASSIGNED), "expected a positive duration"},
    {"load that is dropped", Verdict::accepted,
     CLUSTER("load_assignment: {cluster_name: c, policy: {drop_overloads: [{category: x, drop_percentage: "
             "{numerator: 5}}]}}")},
    {"a millionth of the load is dropped", Verdict::accepted,
     CLUSTER("load_assignment: {cluster_name: c, policy: {drop_overloads: [{category: x, drop_percentage: "
             "{numerator: 1, denominator: MILLION}}]}}")},
    {"more load is dropped than comes", Verdict::refused,
     CLUSTER("load_assignment: {cluster_name: c, policy: {drop_overloads: [{category: x, drop_percentage: "
             "{numerator: 101}}]}}"),
     "drop_overloads[0].drop_percentage"},
    {"load that is dropped twice", Verdict::refused,
     CLUSTER("load_assignment: {cluster_name: c, policy: {drop_overloads: [{category: x}, {category: y}]}}"),
     "drop_overloads"},
    {"subsets", Verdict::accepted,
     CLUSTER("lb_subset_config: {fallback_policy: DEFAULT_SUBSET, default_subset: {a: 1, b: [x, y]}, "
             "subset_selectors: [{keys: [a]}, {keys: [a, b], fallback_policy: KEYS_SUBSET, "
             "fallback_keys_subset: [a], single_host_per_subset: true}], panic_mode_any: true, list_as_any: "
             "true, metadata_fallback_policy: FALLBACK_LIST}, " ASSIGNED)},
    {"no subset selectors", Verdict::stricter,
     CLUSTER("lb_subset_config: {fallback_policy: ANY_ENDPOINT}, " ASSIGNED),
     "makes no subsets without subset_selectors"},
    {"nothing of subsets", Verdict::accepted, CLUSTER("lb_subset_config: {}, " ASSIGNED)},
    {"fallback keys without their policy", Verdict::refused,
     CLUSTER("lb_subset_config: {subset_selectors: [{keys: [a, b], fallback_keys_subset: [a]}]}, " ASSIGNED),
     "can be set only for KEYS_SUBSET"},
    {"no fallback keys", Verdict::refused,
     CLUSTER("lb_subset_config: {subset_selectors: [{keys: [a], fallback_policy: KEYS_SUBSET}]}, " ASSIGNED),
     "fallback_keys_subset cannot be empty"},
    {"fallback keys of somebody else", Verdict::refused,
     CLUSTER("lb_subset_config: {subset_selectors: [{keys: [a], fallback_policy: KEYS_SUBSET, "
             "fallback_keys_subset: [b]}]}, " ASSIGNED),
     "must be a subset of selector keys"},
    {"all keys as fallback keys", Verdict::refused,
     CLUSTER("lb_subset_config: {subset_selectors: [{keys: [a, b], fallback_policy: KEYS_SUBSET, "
             "fallback_keys_subset: [b, a]}]}, " ASSIGNED),
     "cannot be equal to keys"},
    {"locality weights in subsets alone", Verdict::refused,
     CLUSTER("lb_subset_config: {subset_selectors: [{keys: [a]}], locality_weight_aware: true}, " ASSIGNED),
     "Locality weight aware"},
    {"locality weights in subsets", Verdict::accepted,
     CLUSTER("lb_subset_config: {subset_selectors: [{keys: [a]}], locality_weight_aware: true, "
             "scale_locality_weight: true}, common_lb_config: {locality_weighted_lb_config: {}}, " ASSIGNED)},
    {"subsets of an original destination", Verdict::refused,
     CLUSTER("type: ORIGINAL_DST, lb_policy: CLUSTER_PROVIDED, lb_subset_config: {subset_selectors: [{keys: "
             "[a]}]}"),
     "cannot be combined with lb_subset_config"},
    {"subsets beside a typed policy", Verdict::refused,
     CLUSTER("lb_subset_config: {subset_selectors: [{keys: [a]}]}, " POLICY(
         "least_request.v3.LeastRequest") ", " ASSIGNED),
     "cannot be combined with lb_subset_config"},
    {"subsets as a typed policy", Verdict::accepted,
     CLUSTER(POLICY("subset.v3.Subset, subset_selectors: [{keys: [a]}], allow_redundant_keys: true, "
                    "subset_lb_policy: {policies: [{typed_extension_config: {name: x, typed_config: {" TYPE(
                        "load_balancing_policies.random.v3.Random") "}}}]}") ", " ASSIGNED)},
    {"a typed policy for subsets without one inside", Verdict::refused,
     CLUSTER(POLICY("subset.v3.Subset, subset_selectors: [{keys: [a]}]") ", " ASSIGNED), "subset_lb_policy"},

    // ---- listeners ----
    {"a listener", Verdict::accepted, LISTENER(AT ", " CHAIN)},
    {"a cluster nobody has", Verdict::accepted,
     LISTENER(AT ", filter_chains: [{filters: [" TCP("cluster: nobody") "]}]")},
    {"no address", Verdict::refused, LISTENER(CHAIN), "address is necessary"},
    {"no filter chain", Verdict::refused, LISTENER(AT), "no filter chains specified"},
    {"a chain without filters", Verdict::accepted, LISTENER(AT ", filter_chains: [{filters: []}]")},
    {"only a default chain", Verdict::accepted, LISTENER(AT ", default_filter_chain: {filters: [" ECHO "]}")},
    {"two terminal filters", Verdict::refused,
     LISTENER(AT ", filter_chains: [{filters: [" ECHO ", " ECHO "]}]"), "must be the last filter"},
    {"no terminal filter", Verdict::refused,
     LISTENER(AT ", filter_chains: [{filters: [{name: x, typed_config: {" TYPE(
         "filters.listener.original_dst.v3.OriginalDst") "}}]}]"),
     "is not a network filter"},
    {"a filter without name", Verdict::refused,
     LISTENER(AT
              ", filter_chains: [{filters: [{typed_config: {" TYPE("filters.network.echo.v3.Echo") "}}]}]"),
     "filters[0].name"},
    {"a filter by name alone", Verdict::refused,
     LISTENER(AT ", filter_chains: [{filters: [{name: envoy.filters.network.echo}]}]"), "v3.Echo"},
    {"an unknown filter", Verdict::refused, LISTENER(AT ", filter_chains: [{filters: [{name: foo}]}]"),
     "typed_config is missing"},
    {"two chains that match the same", Verdict::refused,
     LISTENER(AT ", filter_chains: [{filters: [" ECHO "]}, {filters: [" ECHO "]}]"), "same matching rules"},
    {"two chains that differ", Verdict::accepted,
     LISTENER(AT ", filter_chains: [{name: a, filters: [" ECHO
                 "]}, {name: a, filter_chain_match: {destination_port: 80}, filters: [" ECHO "]}]")},
    {"address_suffix", Verdict::refused, MATCH("address_suffix: x"), "address_suffix"},
    {"a prefix that is none", Verdict::refused,
     MATCH("prefix_ranges: [{address_prefix: foo, prefix_len: 8}]"), "malformed IP address"},
    {"a prefix without length", Verdict::accepted, MATCH("prefix_ranges: [{address_prefix: 10.0.0.0}]")},
    {"a prefix longer than an address", Verdict::stricter,
     MATCH("prefix_ranges: [{address_prefix: 10.0.0.0, prefix_len: 40}]"), "prefix length 40"},
    {"a wildcard name", Verdict::accepted, MATCH("server_names: ['*.a.com']")},
    {"half a wildcard", Verdict::refused, MATCH("server_names: ['w*.a.com']"), "partial wildcards"},
    {"nothing but a wildcard", Verdict::refused, MATCH("server_names: ['*']"), "partial wildcards"},
    {"source port 0", Verdict::refused, MATCH("source_ports: [0]"), "source_ports"},
    {"any transport protocol", Verdict::accepted, MATCH("transport_protocol: foo")},
    {"a host name to listen on", Verdict::refused,
     LISTENER("address: {socket_address: {address: localhost, port_value: 1}}, " CHAIN),
     "malformed IP address: localhost"},
    {"a Unix socket", Verdict::accepted,
     LISTENER("address: {pipe: {path: /tmp/sluice-verdict.sock}}, " CHAIN)},
    {"a dual-stack address", Verdict::accepted,
     LISTENER("address: {socket_address: {address: '::', port_value: 18080, ipv4_compat: true}}, " CHAIN)},
    {"port 0", Verdict::accepted,
     LISTENER("address: {socket_address: {address: 127.0.0.1, port_value: 0}}, " CHAIN)},
    {"UDP with filter chains", Verdict::refused,
     LISTENER("address: {socket_address: {protocol: UDP, address: 127.0.0.1, port_value: 1}}, " CHAIN),
     "UDP is not supported"},
    {"original_dst", Verdict::accepted,
     LISTENER(AT ", listener_filters: [{name: x, typed_config: {" TYPE(
         "filters.listener.original_dst.v3.OriginalDst") "}}], " CHAIN)},
    {"original_dst by name alone", Verdict::refused,
     LISTENER(AT ", listener_filters: [{name: envoy.filters.listener.original_dst}], " CHAIN),
     "v3.OriginalDst"},
    {"a network filter as a listener filter", Verdict::refused,
     LISTENER(AT ", listener_filters: [{name: x, typed_config: {" TYPE(
         "filters.network.echo.v3.Echo") "}}], " CHAIN),
     "is not a listener filter"},
    {"tls_inspector", Verdict::accepted,
     TLS_INSPECTOR("enable_ja3_fingerprinting: true, enable_ja4_fingerprinting: false, "
                   "initial_read_buffer_size: 512, max_client_hello_size: 256, "
                   "close_connection_on_client_hello_parsing_errors: true")},
    {"a ClientHello of more than 16 KiB", Verdict::refused, TLS_INSPECTOR("max_client_hello_size: 16385"),
     "max_client_hello_size"},
    {"a ClientHello of less than 256 bytes", Verdict::refused, TLS_INSPECTOR("max_client_hello_size: 255"),
     "max_client_hello_size"},
    {"an inspector's buffer of 64 KiB", Verdict::accepted, TLS_INSPECTOR("initial_read_buffer_size: 65536")},
    {"an inspector's buffer of more than 64 KiB", Verdict::refused,
     TLS_INSPECTOR("initial_read_buffer_size: 65537"), "initial_read_buffer_size"},
    {"use_original_dst", Verdict::accepted, LISTENER(AT ", use_original_dst: true, " CHAIN)},
    {"a second address", Verdict::accepted,
     LISTENER(AT ", additional_addresses: [{address: {socket_address: {address: 127.0.0.1, port_value: "
                 "18081}}}], " CHAIN)},
    {"two listeners on one address", Verdict::refused,
     "static_resources: {listeners: [{name: l, " AT ", " CHAIN "}, {name: m, " AT ", " CHAIN "}]}",
     "'m' has duplicate address"},
    {"two virtual listeners on one address", Verdict::refused,
     "static_resources: {listeners: [{name: l, bind_to_port: false, " AT ", " CHAIN
     "}, {name: m, bind_to_port: false, " AT ", " CHAIN "}]}",
     "'m' has duplicate address"},
    {"two listeners of one name", Verdict::stricter,
     "static_resources: {listeners: [{name: l, " AT ", " CHAIN
     "}, {name: l, address: {socket_address: {address: 127.0.0.1, "
     "port_value: 18081}}, " CHAIN "}]}",
     "duplicate listener 'l'"},
    {"a listener without name", Verdict::accepted, "static_resources: {listeners: [{" AT ", " CHAIN "}]}"},
    {"no filter timeout", Verdict::accepted, LISTENER(AT ", listener_filters_timeout: 0s, " CHAIN)},
    {"a negative filter timeout", Verdict::refused, LISTENER(AT ", listener_filters_timeout: -1s, " CHAIN),
     "listener_filters_timeout"},
    {"an access log by name alone", Verdict::refused, LISTENER(AT ", access_log: [{name: foo}], " CHAIN),
     "access_log[0]"},
    {"an access log", Verdict::accepted,
     LISTENER(AT ", access_log: [{name: x, typed_config: {" TYPE(
         "access_loggers.stream.v3.StdoutAccessLog") "}}], " CHAIN)},
    {"an access log of an unknown flag", Verdict::refused,
     LISTENER(AT
              ", access_log: [{name: x, filter: {response_flag_filter: {flags: [ZZ]}}, typed_config: {" TYPE(
                  "access_loggers.stream.v3.StdoutAccessLog") "}}], " CHAIN),
     "flags"},
    {"a Struct in place of a type", Verdict::refused,
     LISTENER(
         AT
         ", filter_chains: [{filters: [{name: envoy.tcp_proxy, typed_config: {\"@type\": type.googleapis.com/"
         "google.protobuf.Struct, value: {stat_prefix: p, cluster: c}}}]}]"),
     "google.protobuf.Struct is not a network filter"},
    {"a TypedStruct", Verdict::accepted,
     LISTENER(AT ", filter_chains: [{filters: [{name: t, typed_config: {\"@type\": "
                 "type.googleapis.com/xds.type.v3.TypedStruct, "
                 "type_url: type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, "
                 "value: {stat_prefix: p, cluster: c, idleTimeout: 5s}}}]}]")},
    {"a TypedStruct with a wrong field", Verdict::refused,
     LISTENER(AT ", filter_chains: [{filters: [{name: t, typed_config: {\"@type\": "
                 "type.googleapis.com/udpa.type.v1.TypedStruct, "
                 "type_url: type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, "
                 "value: {stat_prefix: p, clustr: c}}}]}]"),
     "clustr"},
    {"weights", Verdict::accepted,
     LISTENER(AT ", filter_chains: [{filters: [" TCP(
         "weighted_clusters: {clusters: [{name: a, weight: 6}, {name: b, weight: 4}]}") "]}]")},
    {"a weight of 0", Verdict::refused,
     LISTENER(AT ", filter_chains: [{filters: [" TCP(
         "weighted_clusters: {clusters: [{name: a, weight: 0}]}") "]}]"),
     "weight"},
    {"weights beyond 32 bits", Verdict::stricter,
     LISTENER(AT ", filter_chains: [{filters: [" TCP(
         "weighted_clusters: {clusters: [{name: a, weight: 4294967295}, {name: b, "
         "weight: 4294967295}]}") "]}]"),
     "the weights add up"},
    {"a negative idle timeout", Verdict::refused,
     LISTENER(AT ", filter_chains: [{filters: [" TCP("cluster: c, idle_timeout: -1s") "]}]"), "idle_timeout"},

    // ---- admin ----
    {"admin without address", Verdict::accepted, "admin: {}"},
    {"admin on a host name", Verdict::refused,
     "admin: {address: {socket_address: {address: foo, port_value: 1}}}", "malformed IP address: foo"},
    {"admin on a Unix socket", Verdict::accepted,
     "admin: {address: {pipe: {path: /tmp/sluice-verdict-admin.sock}}}"},

    // ---- discovery ----
    {"EDS", Verdict::accepted,
     NODE CLUSTER("type: EDS, eds_cluster_config: {eds_config: {ads: {}, resource_api_version: V3}}")},
    {"EDS without a source", Verdict::refused, CLUSTER("type: EDS"), "without an EDS config"},
    {"a source without an API version is v3", Verdict::accepted,
     NODE CLUSTER("type: EDS, eds_cluster_config: {eds_config: {ads: {}}}")},
    {"a source of v2", Verdict::stricter,
     NODE CLUSTER("type: EDS, eds_cluster_config: {eds_config: {ads: {}, resource_api_version: V2}}"),
     "write V3"},
    {"EDS with endpoints beside", Verdict::stricter,
     NODE CLUSTER("type: EDS, eds_cluster_config: {eds_config: {ads: {}}}, " ASSIGNED), "load_assignment"},
    {"a source for a cluster that is not EDS", Verdict::refused,
     NODE CLUSTER("type: STATIC, eds_cluster_config: {eds_config: {ads: {}}}, " ASSIGNED), "non-EDS"},
    {"the source self", Verdict::refused,
     NODE CLUSTER("type: EDS, eds_cluster_config: {eds_config: {self: {}}}"), "self"},
    {"ADS", Verdict::accepted, NODE CLUSTER(ASSIGNED) "\n" DYNAMIC(ADS("api_type: GRPC, " SERVICE("c")))},
    {"ADS, delta", Verdict::accepted,
     NODE CLUSTER(ASSIGNED) "\n" DYNAMIC(ADS("api_type: DELTA_GRPC, " SERVICE("c")))},
    {"ADS that says it is aggregated", Verdict::refused,
     NODE CLUSTER(ASSIGNED) "\n" DYNAMIC(ADS("api_type: AGGREGATED_GRPC, " SERVICE("c"))),
     "dynamic_resources.ads_config.api_type"},
    {"ADS without a node", Verdict::refused,
     CLUSTER(ASSIGNED) "\n" DYNAMIC(ADS("api_type: GRPC, " SERVICE("c"))), "node 'id'"},
    {"ADS behind a cluster that is not there", Verdict::refused,
     NODE CLUSTER(ASSIGNED) "\n" DYNAMIC(ADS("api_type: GRPC, " SERVICE("d"))), "'d' does not exist"},
    {"ADS with two services", Verdict::refused,
     NODE CLUSTER(ASSIGNED) "\n" DYNAMIC(
         ADS("api_type: GRPC, grpc_services: [{envoy_grpc: {cluster_name: c}}, {envoy_grpc: {cluster_name: "
             "c}}]")),
     "no more than 1"},
    {"ADS with cluster names", Verdict::refused,
     NODE CLUSTER(ASSIGNED) "\n" DYNAMIC(ADS("api_type: GRPC, cluster_names: [c], " SERVICE("c"))),
     "cluster_names"},
    {"ADS with a back-off upside down", Verdict::refused,
     NODE CLUSTER(ASSIGNED) "\n" DYNAMIC(
         ADS("api_type: GRPC, grpc_services: [{envoy_grpc: {cluster_name: c, retry_policy: {retry_back_off: "
             "{base_interval: 1s, max_interval: 0.5s}}}}]")),
     "max_interval"},
    {"CDS by REST", Verdict::stricter,
     NODE CLUSTER(ASSIGNED) "\ndynamic_resources: {cds_config: {resource_api_version: V3, api_config_source: "
                            "{api_type: REST, "
                            "transport_api_version: V3, cluster_names: [c], refresh_delay: 1s}}}",
     "REST"},
};

}  // namespace sluice::config::test
