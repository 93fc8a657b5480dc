// What the core honours of envoy.config.route.v3 and of the matchers that it shares with filters.
#include "config/honoured.h"

namespace sluice::config {
namespace {

constexpr std::string_view kShown = "for people and control planes: shown in config_dump, read by nothing";
constexpr std::string_view kRuntime = "layered_runtime is refused, so nothing overrides the default";

const ext::Honoured kRoutes[] = {
    {.message = "envoy.config.route.v3.RouteConfiguration",
     .fields = "name virtual_hosts internal_only_headers request_headers_to_add request_headers_to_remove "
               "response_headers_to_add response_headers_to_remove most_specific_header_mutations_wins "
               "validate_clusters max_direct_response_body_size_bytes request_mirror_policies "
               "ignore_port_in_host_matching vhost_header ignore_path_parameters_in_path_matching "
               "typed_per_filter_config",
     .meaningless = {{"metadata", kShown}}},
    {.message = "envoy.config.route.v3.ScopedRouteConfiguration",
     .fields = "name route_configuration_name route_configuration key on_demand"},
    {.message = "envoy.config.route.v3.ScopedRouteConfiguration.Key", .fields = "fragments"},
    {.message = "envoy.config.route.v3.ScopedRouteConfiguration.Key.Fragment", .fields = "string_key"},
    {.message = "envoy.config.route.v3.VirtualHost",
     .fields = "name domains routes require_tls virtual_clusters request_headers_to_add "
               "request_headers_to_remove response_headers_to_add response_headers_to_remove "
               "typed_per_filter_config include_request_attempt_count include_attempt_count_in_response "
               "retry_policy include_is_timeout_retry_header per_request_buffer_limit_bytes "
               "request_body_buffer_limit request_mirror_policies rate_limits metadata"},
    {.message = "envoy.config.route.v3.VirtualCluster", .fields = "headers name"},
    {.message = "envoy.config.route.v3.FilterConfig", .fields = "*"},
    {.message = "envoy.config.route.v3.Route",
     .fields = "name match route redirect direct_response non_forwarding_action metadata "
               "typed_per_filter_config request_headers_to_add request_headers_to_remove "
               "response_headers_to_add response_headers_to_remove per_request_buffer_limit_bytes "
               "stat_prefix request_body_buffer_limit decorator tracing"},
    {.message = "envoy.config.route.v3.Decorator", .fields = "*"},
    {.message = "envoy.config.route.v3.Tracing", .fields = "*"},
    {.message = "envoy.type.tracing.v3.CustomTag",
     .fields = "tag literal environment request_header metadata value"},
    {.message = "envoy.type.tracing.v3.CustomTag.Literal", .fields = "*"},
    {.message = "envoy.type.tracing.v3.CustomTag.Environment", .fields = "*"},
    {.message = "envoy.type.tracing.v3.CustomTag.Header", .fields = "*"},
    {.message = "envoy.type.tracing.v3.CustomTag.Metadata", .fields = "*"},
    {.message = "envoy.type.metadata.v3.MetadataKind", .fields = "request route"},
    {.message = "envoy.type.metadata.v3.MetadataKind.Request", .fields = ""},
    {.message = "envoy.type.metadata.v3.MetadataKind.Route", .fields = ""},
    {.message = "envoy.config.core.v3.Metadata", .fields = "filter_metadata"},

    {.message = "envoy.config.route.v3.RouteMatch",
     .fields = "prefix path safe_regex connect_matcher path_separated_prefix case_sensitive runtime_fraction "
               "headers query_parameters grpc tls_context path_match_policy"},
    {.message = "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig",
     .fields = "path_template"},
    {.message = "envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig",
     .fields = "path_template_rewrite"},
    {.message = "envoy.config.route.v3.RouteMatch.ConnectMatcher", .fields = ""},
    {.message = "envoy.config.route.v3.RouteMatch.GrpcRouteMatchOptions", .fields = ""},
    {.message = "envoy.config.route.v3.RouteMatch.TlsContextMatchOptions", .fields = "presented validated"},
    {.message = "envoy.config.core.v3.RuntimeFractionalPercent",
     .fields = "default_value",
     .meaningless = {{"runtime_key", kRuntime}}},

    {.message = "envoy.config.route.v3.RouteAction",
     .fields =
         "cluster cluster_header weighted_clusters cluster_not_found_response_code metadata_match "
         "prefix_rewrite regex_rewrite path_rewrite_policy host_rewrite_literal auto_host_rewrite "
         "host_rewrite_header "
         "host_rewrite_path_regex append_x_forwarded_host timeout idle_timeout retry_policy "
         "request_mirror_policies priority hash_policy max_grpc_timeout grpc_timeout_offset upgrade_configs "
         "internal_redirect_policy internal_redirect_action max_internal_redirects max_stream_duration "
         "rate_limits include_vh_rate_limits"},
    {.message = "envoy.config.route.v3.RateLimit", .fields = "stage disable_key actions hits_addend"},
    {.message = "envoy.config.route.v3.RateLimit.HitsAddend", .fields = "*"},
    {.message = "envoy.config.route.v3.RateLimit.Action",
     .fields = "source_cluster destination_cluster request_headers query_parameters remote_address "
               "masked_remote_address generic_key header_value_match query_parameter_value_match metadata"},
    {.message = "envoy.config.route.v3.RateLimit.Action.MetaData", .fields = "*"},
    {.message = "envoy.config.route.v3.RateLimit.Action.SourceCluster", .fields = ""},
    {.message = "envoy.config.route.v3.RateLimit.Action.DestinationCluster", .fields = ""},
    {.message = "envoy.config.route.v3.RateLimit.Action.RequestHeaders", .fields = "*"},
    {.message = "envoy.config.route.v3.RateLimit.Action.QueryParameters", .fields = "*"},
    {.message = "envoy.config.route.v3.RateLimit.Action.RemoteAddress", .fields = ""},
    {.message = "envoy.config.route.v3.RateLimit.Action.MaskedRemoteAddress", .fields = "*"},
    {.message = "envoy.config.route.v3.RateLimit.Action.GenericKey", .fields = "*"},
    {.message = "envoy.config.route.v3.RateLimit.Action.HeaderValueMatch", .fields = "*"},
    {.message = "envoy.config.route.v3.RateLimit.Action.QueryParameterValueMatch", .fields = "*"},
    {.message = "envoy.config.route.v3.WeightedCluster",
     .fields = "clusters header_name use_hash_policy",
     .meaningless = {{"total_weight", "deprecated: the total is the sum of the weights, whatever it says"},
                     {"runtime_key_prefix", kRuntime}}},
    {.message = "envoy.config.route.v3.WeightedCluster.ClusterWeight",
     .fields = "name cluster_header weight metadata_match request_headers_to_add request_headers_to_remove "
               "response_headers_to_add response_headers_to_remove typed_per_filter_config "
               "host_rewrite_literal"},
    {.message = "envoy.config.route.v3.RouteAction.RequestMirrorPolicy",
     .fields = "cluster cluster_header runtime_fraction disable_shadow_host_suffix_append trace_sampled"},
    {.message = "envoy.config.route.v3.RouteAction.HashPolicy",
     .fields = "header cookie connection_properties query_parameter terminal"},
    {.message = "envoy.config.route.v3.RouteAction.HashPolicy.Header", .fields = "*"},
    {.message = "envoy.config.route.v3.RouteAction.HashPolicy.Cookie", .fields = "*"},
    {.message = "envoy.config.route.v3.RouteAction.HashPolicy.CookieAttribute", .fields = "*"},
    {.message = "envoy.config.route.v3.RouteAction.HashPolicy.ConnectionProperties", .fields = "*"},
    {.message = "envoy.config.route.v3.RouteAction.HashPolicy.QueryParameter", .fields = "*"},
    {.message = "envoy.config.route.v3.RouteAction.UpgradeConfig",
     .fields = "upgrade_type enabled connect_config"},
    {.message = "envoy.config.route.v3.RouteAction.UpgradeConfig.ConnectConfig",
     .fields = "allow_post proxy_protocol_config"},
    {.message = "envoy.config.core.v3.ProxyProtocolConfig", .fields = "version"},
    {.message = "envoy.config.route.v3.RouteAction.MaxStreamDuration", .fields = "*"},
    {.message = "envoy.config.route.v3.InternalRedirectPolicy",
     .fields = "max_internal_redirects redirect_response_codes allow_cross_scheme_redirect "
               "response_headers_to_copy predicates"},
    {.message = "envoy.extensions.internal_redirect.allow_listed_routes.v3.AllowListedRoutesConfig",
     .fields = "*"},
    {.message = "envoy.extensions.internal_redirect.safe_cross_scheme.v3.SafeCrossSchemeConfig",
     .fields = ""},
    {.message = "envoy.extensions.internal_redirect.previous_routes.v3.PreviousRoutesConfig", .fields = ""},

    {.message = "envoy.config.route.v3.RetryPolicy",
     .fields =
         "retry_on num_retries per_try_timeout per_try_idle_timeout retry_priority retry_host_predicate "
         "host_selection_retry_max_attempts retriable_status_codes retry_back_off "
         "rate_limited_retry_back_off retriable_headers retriable_request_headers"},
    {.message = "envoy.config.route.v3.RetryPolicy.RetryPriority", .fields = "name typed_config"},
    {.message = "envoy.config.route.v3.RetryPolicy.RetryHostPredicate", .fields = "name typed_config"},
    {.message = "envoy.config.route.v3.RetryPolicy.RetryBackOff", .fields = "*"},
    {.message = "envoy.config.route.v3.RetryPolicy.RateLimitedRetryBackOff", .fields = "*"},
    {.message = "envoy.config.route.v3.RetryPolicy.ResetHeader", .fields = "*"},
    {.message = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate", .fields = ""},
    {.message = "envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate", .fields = ""},
    {.message = "envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig", .fields = "*"},
    {.message = "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
     .fields = "*"},

    {.message = "envoy.config.route.v3.RedirectAction", .fields = "*"},
    {.message = "envoy.config.route.v3.DirectResponseAction", .fields = "status body body_format"},
    {.message = "envoy.config.route.v3.NonForwardingAction", .fields = ""},
    {.message = "envoy.config.core.v3.DataSource",
     .fields = "filename inline_bytes inline_string environment_variable"},
    {.message = "envoy.config.core.v3.SubstitutionFormatString",
     .fields =
         "text_format json_format text_format_source omit_empty_values content_type json_format_options"},
};

const ext::Honoured kShared[] = {
    {.message = "envoy.config.core.v3.HeaderValueOption",
     .fields = "header append append_action keep_empty_value"},
    {.message = "envoy.config.core.v3.HeaderValue", .fields = "key value"},
    {.message = "envoy.config.route.v3.HeaderMatcher", .fields = "*"},
    {.message = "envoy.config.route.v3.QueryParameterMatcher", .fields = "*"},
    {.message = "envoy.type.matcher.v3.StringMatcher",
     .fields = "exact prefix suffix safe_regex contains ignore_case"},
    {.message = "envoy.type.matcher.v3.RegexMatcher", .fields = "*"},
    {.message = "envoy.type.matcher.v3.RegexMatcher.GoogleRE2", .fields = "max_program_size"},
    {.message = "envoy.type.matcher.v3.RegexMatchAndSubstitute", .fields = "*"},
    {.message = "envoy.type.v3.Int64Range", .fields = "*"},
    {.message = "envoy.type.metadata.v3.MetadataKey", .fields = "*"},
    {.message = "envoy.type.metadata.v3.MetadataKey.PathSegment", .fields = "*"},
};

}  // namespace

void add_route_lists(HonouredFields& lists) {
  for (const auto& list : kRoutes) lists.add(list);
  for (const auto& list : kShared) lists.add(list);
}

}  // namespace sluice::config
