// What the core honours of Envoy's API: one entry a message. Extensions have their lists beside themselves.
// Values that a listed field may not have (Cluster.type EDS) are refused where they are translated.
#include "config/honoured.h"

namespace sluice::config {
namespace {

constexpr std::string_view kServerOnly = "read by servers alone, as in Envoy";
constexpr std::string_view kPolled = "for REST, which is polled; gRPC is pushed";
constexpr std::string_view kShown = "for people and control planes: shown in config_dump, read by nothing";

const ext::Honoured kBootstrap[] = {
    {.message = "envoy.config.bootstrap.v3.Bootstrap",
     .fields = "node static_resources dynamic_resources cluster_manager admin use_tcp_for_dns_lookups "
               "dns_resolution_config "
               "typed_dns_resolver_config tracing",
     .meaningless = {{"stats_flush_interval",
                      "statistics are pulled from the admin endpoint; there is no sink to flush to"}}},
    {.message = "envoy.config.bootstrap.v3.Bootstrap.StaticResources",
     .fields = "listeners clusters secrets"},
    {.message = "envoy.config.trace.v3.Tracing", .fields = "http"},
    {.message = "envoy.config.trace.v3.Tracing.Http", .fields = "name typed_config"},
    {.message = "envoy.config.bootstrap.v3.ClusterManager",
     .fields = "local_cluster_name upstream_bind_config"},
    {.message = "envoy.config.bootstrap.v3.Admin",
     .fields = "address socket_options",
     .meaningless = {{"profile_path", "where a CPU profile would be written; this build has no profiler"},
                     {"ignore_global_conn_limit", "there is no global connection limit"}}},
    {.message = "envoy.config.core.v3.Node",
     .fields = "id cluster locality metadata user_agent_name user_agent_version user_agent_build_version "
               "extensions "
               "client_features listening_addresses dynamic_parameters"},
    {.message = "envoy.config.core.v3.BuildVersion", .fields = "*"},
    {.message = "envoy.type.v3.SemanticVersion", .fields = "*"},
    {.message = "envoy.config.core.v3.Extension", .fields = "*"},
    {.message = "envoy.config.core.v3.Locality", .fields = "*"},
};

const ext::Honoured kListener[] = {
    {.message = "envoy.config.listener.v3.Listener",
     .fields =
         "name address additional_addresses stat_prefix filter_chains use_original_dst default_filter_chain "
         "per_connection_buffer_limit_bytes deprecated_v1 listener_filters listener_filters_timeout "
         "continue_on_listener_filters_timeout transparent freebind socket_options "
         "tcp_fast_open_queue_length "
         "traffic_direction drain_type enable_reuse_port access_log tcp_backlog_size "
         "max_connections_to_accept_per_socket_event bind_to_port",
     .meaningless = {{"metadata", kShown},
                     {"ignore_global_conn_limit", "there is no global connection limit"},
                     {"bypass_overload_manager",
                      "overload_manager is refused, so there is nothing to bypass"}}},
    {.message = "envoy.config.listener.v3.Listener.DeprecatedV1", .fields = "bind_to_port"},
    {.message = "envoy.config.listener.v3.AdditionalAddress", .fields = "address"},
    {.message = "envoy.config.listener.v3.ListenerFilter", .fields = "name typed_config filter_disabled"},
    {.message = "envoy.config.listener.v3.ListenerFilterChainMatchPredicate", .fields = "*"},
    {.message = "envoy.config.listener.v3.ListenerFilterChainMatchPredicate.MatchSet", .fields = "*"},
    {.message = "envoy.type.v3.Int32Range", .fields = "*"},
    {.message = "envoy.config.listener.v3.FilterChain",
     .fields = "filter_chain_match filters transport_socket transport_socket_connect_timeout name",
     .meaningless = {{"metadata", kShown}}},
    {.message = "envoy.config.listener.v3.FilterChainMatch",
     .fields = "destination_port prefix_ranges direct_source_prefix_ranges source_type source_prefix_ranges "
               "source_ports "
               "server_names transport_protocol application_protocols"},
    {.message = "envoy.config.listener.v3.Filter", .fields = "name typed_config"},
    {.message = "envoy.config.core.v3.CidrRange", .fields = "*"},
};

const ext::Honoured kCluster[] = {
    {.message = "envoy.config.cluster.v3.Cluster",
     .fields =
         "name alt_stat_name type cluster_type eds_cluster_config connect_timeout "
         "per_connection_buffer_limit_bytes lb_policy "
         "load_balancing_policy load_assignment circuit_breakers dns_refresh_rate dns_jitter "
         "dns_failure_refresh_rate respect_dns_ttl dns_lookup_family dns_resolvers use_tcp_for_dns_lookups "
         "dns_resolution_config typed_dns_resolver_config wait_for_warm_on_init cleanup_interval "
         "upstream_bind_config original_dst_lb_config least_request_lb_config round_robin_lb_config "
         "ring_hash_lb_config maglev_lb_config lb_subset_config outlier_detection common_lb_config "
         "transport_socket transport_socket_matches "
         "upstream_connection_options "
         "max_requests_per_connection "
         "common_http_protocol_options http_protocol_options http2_protocol_options protocol_selection "
         "typed_extension_protocol_options upstream_http_protocol_options health_checks "
         "close_connections_on_host_health_failure "
         "ignore_health_on_host_removal",
     .meaningless = {{"metadata", kShown}}},
    {.message = "envoy.config.cluster.v3.OutlierDetection",
     .fields =
         "interval base_ejection_time max_ejection_time max_ejection_time_jitter "
         "split_external_local_origin_errors max_ejection_percent consecutive_5xx enforcing_consecutive_5xx "
         "consecutive_gateway_failure enforcing_consecutive_gateway_failure consecutive_local_origin_failure "
         "enforcing_consecutive_local_origin_failure success_rate_minimum_hosts success_rate_request_volume "
         "success_rate_stdev_factor enforcing_success_rate enforcing_local_origin_success_rate "
         "failure_percentage_threshold failure_percentage_minimum_hosts failure_percentage_request_volume "
         "enforcing_failure_percentage enforcing_failure_percentage_local_origin always_eject_one_host "
         "successful_active_health_check_uneject_host"},
    {.message = "envoy.config.core.v3.HealthCheck",
     .fields = "timeout interval initial_jitter interval_jitter interval_jitter_percent unhealthy_threshold "
               "healthy_threshold reuse_connection http_health_check tcp_health_check grpc_health_check "
               "no_traffic_interval no_traffic_healthy_interval unhealthy_interval unhealthy_edge_interval "
               "healthy_edge_interval event_log_path event_logger always_log_health_check_failures "
               "always_log_health_check_success tls_options transport_socket_match_criteria"},
    {.message = "envoy.config.core.v3.HealthCheck.TlsOptions", .fields = "alpn_protocols"},
    {.message = "envoy.config.core.v3.HealthCheck.Payload", .fields = "text binary"},
    {.message = "envoy.config.core.v3.HealthCheck.HttpHealthCheck",
     .fields = "host path send receive response_buffer_size request_headers_to_add "
               "request_headers_to_remove expected_statuses retriable_statuses codec_client_type "
               "service_name_matcher method"},
    {.message = "envoy.config.core.v3.HealthCheck.TcpHealthCheck", .fields = "send receive"},
    {.message = "envoy.config.core.v3.HealthCheck.GrpcHealthCheck",
     .fields = "service_name authority initial_metadata"},
    {.message = "envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink",
     .fields = "event_log_path"},
    {.message = "envoy.config.cluster.v3.Cluster.TransportSocketMatch", .fields = "*"},
    {.message = "envoy.config.cluster.v3.Cluster.EdsClusterConfig", .fields = "*"},
    {.message = "envoy.config.cluster.v3.Cluster.CustomClusterType", .fields = "name typed_config"},
    {.message = "envoy.config.cluster.v3.Cluster.RefreshRate", .fields = "*"},
    {.message = "envoy.config.cluster.v3.Cluster.OriginalDstLbConfig", .fields = "upstream_port_override"},
    {.message = "envoy.config.cluster.v3.Cluster.LeastRequestLbConfig",
     .fields = "choice_count active_request_bias slow_start_config"},
    {.message = "envoy.config.cluster.v3.Cluster.LbSubsetConfig", .fields = "*"},
    {.message = "envoy.config.cluster.v3.Cluster.LbSubsetConfig.LbSubsetSelector", .fields = "*"},
    {.message = "envoy.extensions.load_balancing_policies.subset.v3.Subset", .fields = "*"},
    {.message = "envoy.extensions.load_balancing_policies.subset.v3.Subset.LbSubsetSelector", .fields = "*"},
    {.message = "envoy.config.cluster.v3.Cluster.RingHashLbConfig", .fields = "*"},
    {.message = "envoy.config.cluster.v3.Cluster.MaglevLbConfig", .fields = "*"},
    {.message = "envoy.config.cluster.v3.Cluster.RoundRobinLbConfig", .fields = "*"},
    {.message = "envoy.config.cluster.v3.Cluster.CommonLbConfig",
     .fields = "healthy_panic_threshold zone_aware_lb_config locality_weighted_lb_config "
               "consistent_hashing_lb_config ignore_new_hosts_until_first_hc update_merge_window"},
    {.message = "envoy.config.cluster.v3.Cluster.CommonLbConfig.LocalityWeightedLbConfig", .fields = ""},
    {.message = "envoy.config.cluster.v3.Cluster.CommonLbConfig.ConsistentHashingLbConfig", .fields = "*"},
    {.message = "envoy.config.core.v3.RuntimeDouble",
     .fields = "default_value",
     .meaningless = {{"runtime_key", "layered_runtime is refused, so nothing overrides the default"}}},
    {.message = "envoy.config.cluster.v3.Cluster.CommonLbConfig.ZoneAwareLbConfig", .fields = "*"},
    {.message = "envoy.config.cluster.v3.Cluster.SlowStartConfig", .fields = "*"},
    {.message = "envoy.config.cluster.v3.LoadBalancingPolicy", .fields = "policies"},
    {.message = "envoy.config.cluster.v3.LoadBalancingPolicy.Policy", .fields = "typed_extension_config"},
    {.message = "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig", .fields = "*"},
    {.message =
         "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.LocalityWeightedLbConfig",
     .fields = ""},
    {.message = "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.ZoneAwareLbConfig",
     .fields = "*"},
    {.message = "envoy.extensions.load_balancing_policies.common.v3.LocalityLbConfig.ZoneAwareLbConfig."
                "ForceLocalZone",
     .fields = "*"},
    {.message = "envoy.extensions.load_balancing_policies.common.v3.SlowStartConfig", .fields = "*"},
    {.message = "envoy.extensions.load_balancing_policies.common.v3.ConsistentHashingLbConfig",
     .fields = "use_hostname_for_hashing hash_balance_factor"},
    {.message = "envoy.extensions.load_balancing_policies.round_robin.v3.RoundRobin",
     .fields = "locality_lb_config slow_start_config"},
    {.message = "envoy.extensions.load_balancing_policies.random.v3.Random", .fields = "locality_lb_config"},
    {.message = "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest",
     .fields = "choice_count active_request_bias locality_lb_config selection_method slow_start_config"},
    {.message = "envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash", .fields = "*"},
    {.message = "envoy.extensions.load_balancing_policies.maglev.v3.Maglev", .fields = "*"},
    {.message = "envoy.extensions.load_balancing_policies.wrr_locality.v3.WrrLocality", .fields = "*"},
    {.message = "envoy.extensions.load_balancing_policies.cluster_provided.v3.ClusterProvided", .fields = ""},
    {.message = "envoy.extensions.clusters.dns.v3.DnsCluster", .fields = "*"},
    {.message = "envoy.extensions.clusters.dns.v3.DnsCluster.RefreshRate", .fields = "*"},
    {.message = "envoy.config.cluster.v3.CircuitBreakers", .fields = "thresholds"},
    {.message = "envoy.config.cluster.v3.CircuitBreakers.Thresholds",
     .fields = "priority max_connections max_pending_requests max_requests max_retries track_remaining "
               "max_connection_pools retry_budget"},
    {.message = "envoy.config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget", .fields = "*"},
    {.message = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
     .fields = "common_http_protocol_options explicit_http_config use_downstream_protocol_config auto_config "
               "upstream_http_protocol_options"},
    {.message = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.AutoHttpConfig",
     .fields = "http_protocol_options http2_protocol_options"},
    {.message = "envoy.config.core.v3.UpstreamHttpProtocolOptions",
     .fields = "auto_sni auto_san_validation override_auto_sni_header"},
    {.message = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig",
     .fields = "http_protocol_options http2_protocol_options"},
    {.message = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.UseDownstreamHttpConfig",
     .fields = "http_protocol_options http2_protocol_options"},
    {.message = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.AutoHttpConfig",
     .fields = "http_protocol_options http2_protocol_options"},
    {.message = "envoy.config.core.v3.HttpProtocolOptions",
     .fields = "idle_timeout max_connection_duration max_stream_duration max_headers_count "
               "max_requests_per_connection max_response_headers_kb headers_with_underscores_action"},
    {.message = "envoy.config.core.v3.Http1ProtocolOptions",
     .fields = "header_key_format enable_trailers allow_chunked_length send_fully_qualified_url "
               "override_stream_error_on_invalid_http_message",
     .meaningless = {{"allow_absolute_url", kServerOnly},
                     {"accept_http_10", kServerOnly},
                     {"default_host_for_http_10", kServerOnly}}},
    {.message = "envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat", .fields = "proper_case_words"},
    {.message = "envoy.config.core.v3.Http1ProtocolOptions.HeaderKeyFormat.ProperCaseWords", .fields = ""},
    {.message = "envoy.config.core.v3.Http2ProtocolOptions",
     .fields = "hpack_table_size max_concurrent_streams initial_stream_window_size "
               "initial_connection_window_size allow_connect max_outbound_frames max_outbound_control_frames "
               "max_consecutive_inbound_frames_with_empty_payload max_inbound_priority_frames_per_stream "
               "max_inbound_window_update_frames_per_data_frame_sent stream_error_on_invalid_http_messaging "
               "override_stream_error_on_invalid_http_message connection_keepalive"},
    {.message = "envoy.config.core.v3.KeepaliveSettings", .fields = "*"},
    {.message = "envoy.config.cluster.v3.UpstreamConnectionOptions", .fields = "tcp_keepalive"},
    {.message = "envoy.config.endpoint.v3.ClusterLoadAssignment", .fields = "cluster_name endpoints policy"},
    {.message = "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy",
     .fields = "overprovisioning_factor weighted_priority_health drop_overloads endpoint_stale_after"},
    {.message = "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy.DropOverload",
     .fields = "drop_percentage",
     .meaningless = {{"category", "named in load reports alone, and there are none"}}},
    {.message = "envoy.config.endpoint.v3.LocalityLbEndpoints",
     .fields = "locality lb_endpoints priority load_balancing_weight",
     .meaningless = {{"metadata", kShown}}},
    {.message = "envoy.config.endpoint.v3.LbEndpoint",
     .fields = "endpoint health_status load_balancing_weight metadata"},
    {.message = "envoy.config.endpoint.v3.Endpoint", .fields = "address hostname health_check_config"},
    {.message = "envoy.config.endpoint.v3.Endpoint.HealthCheckConfig", .fields = "*"},
};

const ext::Honoured kDiscovery[] = {
    {.message = "envoy.config.bootstrap.v3.Bootstrap.DynamicResources",
     .fields = "lds_config cds_config ads_config"},
    {.message = "envoy.config.core.v3.ConfigSource",
     .fields =
         "path path_config_source api_config_source ads self initial_fetch_timeout resource_api_version"},
    {.message = "envoy.config.core.v3.AggregatedConfigSource", .fields = ""},
    {.message = "envoy.config.core.v3.SelfConfigSource", .fields = "*"},
    {.message = "envoy.config.core.v3.ExtensionConfigSource",
     .fields = "config_source default_config apply_default_config_without_warming type_urls"},
    {.message = "envoy.config.core.v3.PathConfigSource", .fields = "path watched_directory"},
    {.message = "envoy.config.core.v3.WatchedDirectory", .fields = "*"},
    {.message = "envoy.config.core.v3.ApiConfigSource",
     .fields = "api_type transport_api_version cluster_names grpc_services rate_limit_settings "
               "set_node_on_first_message_only",
     .meaningless = {{"refresh_delay", kPolled}, {"request_timeout", kPolled}}},
    {.message = "envoy.config.core.v3.RateLimitSettings", .fields = "*"},
    {.message = "envoy.config.core.v3.GrpcService",
     .fields = "envoy_grpc google_grpc initial_metadata",
     .meaningless = {{"timeout", "of calls with one answer; a stream to a control plane has no end"}}},
    {.message = "envoy.config.core.v3.GrpcService.GoogleGrpc", .fields = "*"},
    {.message = "envoy.config.core.v3.GrpcService.EnvoyGrpc",
     .fields = "cluster_name authority retry_policy max_receive_message_length",
     .meaningless = {{"skip_envoy_headers", "none are sent"}}},
    {.message = "envoy.config.core.v3.RetryPolicy",
     .fields = "retry_back_off",
     .meaningless = {{"num_retries", "a stream to a control plane is tried for ever, as in Envoy"}}},
    {.message = "envoy.config.core.v3.BackoffStrategy", .fields = "*"},
    {.message = "envoy.config.core.v3.HeaderValue", .fields = "key value"},
    {.message = "xds.core.v3.ContextParams", .fields = "*"},
};

// For TLS contexts too, which hold the same messages.
const ext::Honoured kSecrets[] = {
    {.message = "envoy.extensions.transport_sockets.tls.v3.Secret",
     .fields = "name tls_certificate session_ticket_keys validation_context"},
    {.message = "envoy.extensions.transport_sockets.tls.v3.TlsCertificate",
     .fields = "certificate_chain private_key pkcs12 password ocsp_staple watched_directory"},
    {.message = "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext",
     .fields = "trusted_ca watched_directory verify_certificate_hash verify_certificate_spki "
               "match_typed_subject_alt_names match_subject_alt_names crl allow_expired_certificate "
               "trust_chain_verification only_verify_leaf_cert_crl max_verify_depth custom_validator_config"},
    {.message = "envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig",
     .fields = "trust_domains"},
    {.message = "envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig.TrustDomain",
     .fields = "name trust_bundle"},
    {.message = "envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher",
     .fields = "san_type matcher oid"},
    {.message = "envoy.extensions.transport_sockets.tls.v3.TlsSessionTicketKeys", .fields = "keys"},
    {.message = "envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig", .fields = "name sds_config"},
    {.message = "envoy.config.core.v3.DataSource",
     .fields = "filename inline_bytes inline_string environment_variable"},
};

const ext::Honoured kShared[] = {
    {.message = "envoy.config.core.v3.Address", .fields = "socket_address pipe"},
    {.message = "envoy.config.core.v3.SocketAddress", .fields = "protocol address port_value ipv4_compat"},
    {.message = "envoy.config.core.v3.Pipe", .fields = "path"},
    {.message = "envoy.config.core.v3.SocketOption",
     .fields = "level name int_value buf_value state",
     .meaningless = {{"description", kShown}}},
    {.message = "envoy.config.core.v3.TcpKeepalive", .fields = "*"},
    {.message = "envoy.config.core.v3.BindConfig", .fields = "source_address freebind socket_options"},
    {.message = "envoy.config.core.v3.DnsResolutionConfig", .fields = "resolvers dns_resolver_options"},
    {.message = "envoy.config.core.v3.DnsResolverOptions", .fields = "*"},
    {.message = "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
     .fields = "resolvers dns_resolver_options udp_max_queries"},
    {.message = "envoy.config.core.v3.TypedExtensionConfig", .fields = "name typed_config"},
    {.message = "envoy.config.core.v3.TransportSocket", .fields = "name typed_config"},
    {.message = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer", .fields = ""},
    {.message = "envoy.type.v3.Percent", .fields = "*"},
    {.message = "envoy.config.accesslog.v3.AccessLog", .fields = "name filter typed_config"},
    {.message = "envoy.config.accesslog.v3.AccessLogFilter",
     .fields =
         "status_code_filter duration_filter not_health_check_filter runtime_filter and_filter or_filter "
         "header_filter response_flag_filter grpc_status_filter log_type_filter metadata_filter "
         "traceable_filter"},
    {.message = "envoy.config.accesslog.v3.TraceableFilter", .fields = ""},
    {.message = "envoy.config.accesslog.v3.MetadataFilter", .fields = "*"},
    {.message = "envoy.type.matcher.v3.MetadataMatcher", .fields = "*"},
    {.message = "envoy.type.matcher.v3.MetadataMatcher.PathSegment", .fields = "key"},
    {.message = "envoy.type.matcher.v3.ValueMatcher", .fields = "*"},
    {.message = "envoy.type.matcher.v3.ValueMatcher.NullMatch", .fields = ""},
    {.message = "envoy.type.matcher.v3.DoubleMatcher", .fields = "*"},
    {.message = "envoy.type.matcher.v3.ListMatcher", .fields = "*"},
    {.message = "envoy.type.matcher.v3.OrMatcher", .fields = "*"},
    {.message = "envoy.type.v3.DoubleRange", .fields = "*"},
    {.message = "envoy.config.accesslog.v3.HeaderFilter", .fields = "header"},
    {.message = "envoy.config.accesslog.v3.GrpcStatusFilter", .fields = "statuses exclude"},
    {.message = "envoy.config.accesslog.v3.StatusCodeFilter", .fields = "comparison"},
    {.message = "envoy.config.accesslog.v3.NotHealthCheckFilter", .fields = ""},
    {.message = "envoy.config.accesslog.v3.RuntimeFilter",
     .fields = "percent_sampled use_independent_randomness",
     .meaningless = {{"runtime_key", "layered_runtime is refused, so nothing overrides percent_sampled"}}},
    {.message = "envoy.type.v3.FractionalPercent", .fields = "*"},
    {.message = "envoy.config.accesslog.v3.DurationFilter", .fields = "comparison"},
    {.message = "envoy.config.accesslog.v3.ComparisonFilter", .fields = "op value"},
    {.message = "envoy.config.core.v3.RuntimeUInt32",
     .fields = "default_value",
     .meaningless = {{"runtime_key", "layered_runtime is refused, so nothing overrides the default"}}},
    {.message = "envoy.config.accesslog.v3.AndFilter", .fields = "filters"},
    {.message = "envoy.config.accesslog.v3.OrFilter", .fields = "filters"},
    {.message = "envoy.config.accesslog.v3.ResponseFlagFilter", .fields = "flags"},
    {.message = "envoy.config.accesslog.v3.LogTypeFilter", .fields = "types exclude"},
};

}  // namespace

void add_core_lists(HonouredFields& lists) {
  for (const auto& list : kBootstrap) lists.add(list);
  for (const auto& list : kListener) lists.add(list);
  for (const auto& list : kCluster) lists.add(list);
  for (const auto& list : kDiscovery) lists.add(list);
  for (const auto& list : kSecrets) lists.add(list);
  for (const auto& list : kShared) lists.add(list);
  add_route_lists(lists);
}

}  // namespace sluice::config
