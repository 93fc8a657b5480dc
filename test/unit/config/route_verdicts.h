#pragma once

#include "test/unit/config/verdicts.h"

// RouteConfigurations and what Envoy and Sluice say of them, as in verdicts.h. There is a cluster "c".
namespace sluice::config::test {

#define ROUTE(fields) "{virtual_hosts: [{name: v, domains: [\"*\"], routes: [{" fields "}]}]}"
#define MATCHING(fields) ROUTE("match: {" fields "}, route: {cluster: c}")
#define GOING(fields) ROUTE("match: {prefix: \"/\"}, route: {" fields "}")
#define WITH(fields) ROUTE("match: {prefix: \"/\"}, route: {cluster: c}, " fields)
#define ANSWERING(fields) ROUTE("match: {prefix: \"/\"}, direct_response: {" fields "}")
#define REDIRECTING(fields) ROUTE("match: {prefix: \"/\"}, redirect: {" fields "}")
#define RETRYING(fields) GOING("cluster: c, retry_policy: {" fields "}")
#define DOMAINS(list) "{virtual_hosts: [{name: v, domains: [" list "]}]}"
#define HOSTWITH(fields) "{virtual_hosts: [{name: v, domains: [a], " fields "}]}"
#define TEMPLATE(text)                                                                                     \
  "path_match_policy: {name: t, typed_config: {\"@type\": type.googleapis.com/envoy.extensions.path.match" \
  ".uri_template.v3.UriTemplateMatchConfig, path_template: \"" text "\"}}"
#define REWRITTEN(text)                                       \
  "path_rewrite_policy: {name: t, typed_config: {\"@type\": " \
  "type.googleapis.com/envoy.extensions.path.rewrite"         \
  ".uri_template.v3.UriTemplateRewriteConfig, path_template_rewrite: \"" text "\"}}"
#define TEMPLATED(match, to, fields) \
  ROUTE("match: {" TEMPLATE(match) "}, route: {cluster: c, " REWRITTEN(to) fields "}")
#define FILTER(config) WITH("typed_per_filter_config: {f: {" config "}}")
#define SWITCH(fields) FILTER("\"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig" fields)

inline constexpr Row kRouteRows[] = {
    {"nothing at all", Verdict::accepted, "{}"},
    {"an unknown field", Verdict::refused, "{foo: 1}", "no such field"},

    // ---- virtual hosts ----
    {"a domain twice, by case", Verdict::refused, DOMAINS("a, A"), "Duplicate entry of domain a"},
    {"a suffix twice", Verdict::refused, DOMAINS("\"*.a\", \"*.A\""), "Duplicate entry of domain *.a"},
    {"a prefix twice", Verdict::refused, DOMAINS("\"a.*\", \"a.*\""), "Duplicate entry of domain a.*"},
    {"any twice", Verdict::refused,
     "{virtual_hosts: [{name: v, domains: [\"*\"]}, {name: w, domains: [\"*\"]}]}",
     "Only a single wildcard domain"},
    {"a name twice", Verdict::accepted,
     "{virtual_hosts: [{name: v, domains: [a]}, {name: v, domains: [b]}]}"},
    {"no domains", Verdict::refused, DOMAINS(""), "domains"},
    {"an empty domain", Verdict::accepted, DOMAINS("\"\"")},
    {"a star inside", Verdict::accepted, DOMAINS("\"a*b\"")},
    {"a port and a star", Verdict::accepted, DOMAINS("\"a:80*\"")},
    {"a star at both ends", Verdict::accepted, DOMAINS("\"*a*\"")},
    {"no name", Verdict::refused, "{virtual_hosts: [{domains: [a]}]}", "virtual_hosts[0].name"},
    {"a virtual cluster", Verdict::accepted,
     HOSTWITH("virtual_clusters: [{name: a, headers: [{name: \":method\", string_match: {exact: GET}}]}]")},
    {"a virtual cluster without headers", Verdict::refused, HOSTWITH("virtual_clusters: [{name: a}]"),
     "virtual_clusters[0].headers: virtual clusters must define 'headers'"},
    {"cors of old", Verdict::stricter, HOSTWITH("cors: {}"),
     "virtual_hosts[0].cors: not supported: write \"typed_per_filter_config\""},
    {"rate limits of a host", Verdict::accepted,
     HOSTWITH("rate_limits: [{actions: [{remote_address: {}}]}]")},
    {"hedging of a host", Verdict::stricter, HOSTWITH("hedge_policy: {}"), "hedge_policy: not supported"},
    {"vhds", Verdict::refused, "{vhds: {config_source: {ads: {}}}}", "vhds: not supported"},
    {"clusters that are not there, allowed", Verdict::accepted,
     "{validate_clusters: false, virtual_hosts: [{name: v, domains: [a], routes: [{match: {prefix: \"/\"}, "
     "route: "
     "{cluster: zz}}]}]}"},
    {"metadata of each level", Verdict::accepted,
     "{metadata: {filter_metadata: {a: {b: c}}}, virtual_hosts: [{name: v, domains: [a], metadata: "
     "{filter_metadata: {a: {b: c}}}}]}"},

    // ---- matches ----
    {"no path", Verdict::refused, MATCHING(""), "path_specifier"},
    {"a prefix without slash", Verdict::accepted, MATCHING("prefix: a")},
    {"an empty path", Verdict::accepted, MATCHING("path: \"\"")},
    {"a separated prefix with slash", Verdict::refused, MATCHING("path_separated_prefix: \"/a/\""),
     "path_separated_prefix"},
    {"a separated prefix of one letter", Verdict::refused, MATCHING("path_separated_prefix: a"),
     "path_separated_prefix"},
    {"a broken regex", Verdict::refused, MATCHING("safe_regex: {regex: \"a(\"}"),
     "match.safe_regex.regex: 'a(' is no regular expression: missing ): a("},
    {"an empty regex", Verdict::refused, MATCHING("safe_regex: {regex: \"\"}"), "safe_regex.regex"},
    {"a regex with a limit", Verdict::refused,
     MATCHING("safe_regex: {google_re2: {max_program_size: 1}, regex: \"a{10}\"}"), "program size of 14"},
    {"a plain regex with a limit", Verdict::refused,
     MATCHING("safe_regex: {google_re2: {max_program_size: 1}, regex: \"/a\"}"), "program size of 6"},
    {"a regex with an engine", Verdict::accepted, MATCHING("safe_regex: {google_re2: {}, regex: \"a{10}\"}")},
    {"a template", Verdict::accepted, MATCHING(TEMPLATE("/a/{b}/**"))},
    {"a template, whatever the case", Verdict::accepted, MATCHING(TEMPLATE("/a") ", case_sensitive: false")},
    {"a template that is none", Verdict::refused, MATCHING(TEMPLATE("/a/**/*")),
     "match.path_match_policy.typed_config.path_template: '/a/**/*' is no URI template: nothing with * may "
     "follow **"},
    {"a template without text", Verdict::refused, MATCHING(TEMPLATE("")), "path_template"},
    {"an extension for the path that is none", Verdict::refused,
     MATCHING("path_match_policy: {name: t, typed_config: {\"@type\": type.googleapis.com/"
              "envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig, "
              "path_template_rewrite: \"/a\"}}"),
     "match.path_match_policy.typed_config: "
     "envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig is no path matcher"},
    {"old matchers", Verdict::accepted,
     MATCHING("prefix: \"/\", headers: [{name: a, exact_match: b}, {name: a, prefix_match: b}, {name: a, "
              "suffix_match: b}, {name: a, contains_match: b}, {name: a, safe_regex_match: {regex: b}}]")},
    {"a range the wrong way round", Verdict::accepted,
     MATCHING("prefix: \"/\", headers: [{name: a, range_match: {start: 5, end: 1}}]")},
    {"a header without name", Verdict::refused, MATCHING("prefix: \"/\", headers: [{present_match: true}]"),
     "headers[0].name"},
    {"an empty prefix for a header", Verdict::refused,
     MATCHING("prefix: \"/\", headers: [{name: a, string_match: {prefix: \"\"}}]"), "prefix"},
    {"an empty matcher", Verdict::refused, MATCHING("prefix: \"/\", headers: [{name: a, string_match: {}}]"),
     "match_pattern"},
    {"a regex without case", Verdict::refused,
     MATCHING(
         "prefix: \"/\", headers: [{name: a, string_match: {safe_regex: {regex: a}, ignore_case: true}}]"),
     "ignore_case has no effect for safe_regex"},
    {"a broken regex for a header", Verdict::refused,
     MATCHING("prefix: \"/\", headers: [{name: a}, {name: a, string_match: {safe_regex: {regex: \"a(\"}}}]"),
     "match.headers[1].string_match.safe_regex.regex"},
    {"a parameter that is absent", Verdict::accepted,
     MATCHING("prefix: \"/\", query_parameters: [{name: a, present_match: false}]")},
    {"a broken regex for a parameter", Verdict::refused,
     MATCHING("prefix: \"/\", query_parameters: [{name: a, string_match: {safe_regex: {regex: \"a(\"}}}]"),
     "match.query_parameters[0].string_match.safe_regex.regex"},
    {"a fraction", Verdict::accepted,
     MATCHING("prefix: \"/\", runtime_fraction: {default_value: {numerator: 5}, runtime_key: x}")},
    {"a fraction without value", Verdict::refused, MATCHING("prefix: \"/\", runtime_fraction: {}"),
     "default_value"},
    {"dynamic metadata", Verdict::stricter,
     MATCHING(
         "prefix: \"/\", dynamic_metadata: [{filter: a, path: [{key: b}], value: {present_match: true}}]"),
     "match.dynamic_metadata: not supported"},
    {"filter state", Verdict::stricter,
     MATCHING("prefix: \"/\", filter_state: [{key: a, string_match: {exact: b}}]"),
     "match.filter_state: not supported"},

    // ---- where it goes ----
    {"no action", Verdict::refused, ROUTE("match: {prefix: \"/\"}"), "action"},
    {"nowhere", Verdict::refused, GOING(""), "cluster_specifier"},
    {"an unknown cluster", Verdict::refused, GOING("cluster: d"), "route.cluster: unknown cluster 'd'"},
    {"an empty cluster", Verdict::refused, GOING("cluster: \"\""), "cluster"},
    {"an empty cluster header", Verdict::refused, GOING("cluster_header: \"\""), "cluster_header"},
    {"a cluster header", Verdict::accepted, GOING("cluster_header: x")},
    {"a plugin", Verdict::stricter,
     "{cluster_specifier_plugins: [{is_optional: true, extension: {name: p, typed_config: {\"@type\": "
     "type.googleapis.com/google.protobuf.Struct}}}]}",
     "cluster_specifier_plugins: not supported"},
    {"weighted clusters", Verdict::accepted,
     GOING("weighted_clusters: {clusters: [{name: c, weight: 1}, {cluster_header: x, weight: 0}]}")},
    {"weights of nothing", Verdict::refused, GOING("weighted_clusters: {clusters: [{name: c, weight: 0}]}"),
     "greater than 0"},
    {"no weight", Verdict::refused, GOING("weighted_clusters: {clusters: [{name: c}]}"),
     "clusters[0].weight"},
    {"too much weight", Verdict::refused,
     GOING("weighted_clusters: {clusters: [{name: c, weight: 4294967295}, {name: c, weight: 1}]}"),
     "exceeds 4294967295"},
    {"a total that is not the sum", Verdict::accepted,
     GOING("weighted_clusters: {clusters: [{name: c, weight: 10}], total_weight: 20}")},
    {"no clusters to weigh", Verdict::refused, GOING("weighted_clusters: {clusters: []}"), "clusters"},
    {"a weighted cluster twice named", Verdict::refused,
     GOING("weighted_clusters: {clusters: [{name: c, cluster_header: x, weight: 1}]}"), "Only one of name"},
    {"a nameless weighted cluster", Verdict::refused, GOING("weighted_clusters: {clusters: [{weight: 1}]}"),
     "At least one of name"},
    {"an unknown weighted cluster", Verdict::refused,
     GOING("weighted_clusters: {clusters: [{name: d, weight: 1}]}"), "unknown weighted cluster 'd'"},
    {"weights by hash", Verdict::accepted,
     GOING("weighted_clusters: {clusters: [{name: c, weight: 1}], use_hash_policy: true}, hash_policy: "
           "[{header: "
           "{header_name: a}}]")},
    {"two rewrites of a path", Verdict::refused,
     GOING("cluster: c, prefix_rewrite: \"/a\", regex_rewrite: {pattern: {regex: a}}"),
     "Specify only one of prefix_rewrite, regex_rewrite"},
    {"a substitution with a group too many", Verdict::stricter,
     GOING("cluster: c, regex_rewrite: {pattern: {regex: a}, substitution: \"\\\\1\"}"),
     "regex_rewrite.substitution"},
    {"a rewrite by template", Verdict::accepted, TEMPLATED("/a/{b}/{c=**}", "/{c}/b*={b}{b}", "")},
    {"a rewrite by template without variables", Verdict::accepted, TEMPLATED("/a", "/b", "")},
    {"a rewrite with a variable that is not there", Verdict::refused, TEMPLATED("/a/{b}", "/{c}", ""),
     "path_rewrite_policy.typed_config.path_template_rewrite: '/{c}' is no rewrite: {c} is no variable of"},
    {"a rewrite without slash", Verdict::refused, TEMPLATED("/{b}", "{b}", ""), "wants to begin with /"},
    {"a rewrite with an empty segment", Verdict::refused, TEMPLATED("/{b}", "//{b}", ""),
     "a segment is empty"},
    {"a rewrite with a query", Verdict::refused, TEMPLATED("/{b}", "/?b={b}", ""), "'?' cannot stand"},
    {"a rewrite that is not closed", Verdict::refused, TEMPLATED("/{b}", "/{b", ""), "a { is not closed"},
    {"a rewrite that was never opened", Verdict::refused, TEMPLATED("/{b}", "/b}", ""), "'}' cannot stand"},
    {"a rewrite of nothing", Verdict::refused, TEMPLATED("/{b}", "", ""), "path_template_rewrite"},
    {"a template and a prefix for it", Verdict::refused,
     ROUTE("match: {" TEMPLATE("/a/{b}") "}, route: {cluster: c, prefix_rewrite: \"/b\"}"),
     "route.prefix_rewrite: cannot be used with a match.path_match_policy"},
    {"a template and a prefix in its redirect", Verdict::refused,
     ROUTE("match: {" TEMPLATE("/a/{b}") "}, redirect: {prefix_rewrite: \"/b\"}"),
     "redirect.prefix_rewrite: cannot be used with a match.path_match_policy"},
    {"two rewrites, one of them by template", Verdict::refused,
     TEMPLATED("/{b}", "/{b}", ", regex_rewrite: {pattern: {regex: a}}"),
     "path_rewrite_policy: Specify only one of"},
    {"a rewrite by template of another match", Verdict::refused, GOING("cluster: c, " REWRITTEN("/a")),
     "path_rewrite_policy: its variables are those of"},
    {"a line break in a rewrite", Verdict::refused, GOING("cluster: c, prefix_rewrite: \"a\\nb\""),
     "prefix_rewrite"},
    {"a formatted path", Verdict::stricter, GOING("cluster: c, path_rewrite: \"/a\""),
     "route.path_rewrite: not supported"},
    {"a formatted host", Verdict::stricter, GOING("cluster: c, host_rewrite: a"),
     "route.host_rewrite: not supported"},
    {"a host's regex that is broken", Verdict::refused,
     GOING("cluster: c, host_rewrite_path_regex: {pattern: {regex: \"(\"}}"),
     "host_rewrite_path_regex.pattern"},
    {"an upgrade twice", Verdict::refused,
     GOING("cluster: c, upgrade_configs: [{upgrade_type: a}, {upgrade_type: A}]"), "Duplicate upgrade A"},
    {"CONNECT ends here", Verdict::accepted,
     GOING("cluster: c, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {}}]")},
    {"websocket ends here", Verdict::refused,
     GOING("cluster: c, upgrade_configs: [{upgrade_type: websocket, connect_config: {}}]"),
     "has ConnectConfig"},
    {"POST as CONNECT", Verdict::accepted,
     GOING("cluster: c, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {allow_post: true}}]")},
    {"CONNECT that says who is calling", Verdict::accepted,
     GOING("cluster: c, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {proxy_protocol_config: "
           "{version: V2}}}]")},
    {"CONNECT that passes on what the caller said of itself", Verdict::stricter,
     GOING("cluster: c, upgrade_configs: [{upgrade_type: CONNECT, connect_config: {proxy_protocol_config: "
           "{pass_through_tlvs: {match_type: INCLUDE_ALL}}}}]"),
     "pass_through_tlvs"},
    {"redirects by predicates", Verdict::accepted,
     GOING("cluster: c, internal_redirect_policy: {response_headers_to_copy: [x], predicates: [{name: a, "
           "typed_config: "
           "{\"@type\": type.googleapis.com/"
           "envoy.extensions.internal_redirect.safe_cross_scheme.v3.SafeCrossSchemeConfig}}, {name: b, "
           "typed_config: {\"@type\": type.googleapis.com/"
           "envoy.extensions.internal_redirect.allow_listed_routes.v3.AllowListedRoutesConfig, "
           "allowed_route_names: [r]}}]}")},
    {"redirects by routes that were tried", Verdict::accepted,
     GOING("cluster: c, internal_redirect_policy: {predicates: [{name: a, typed_config: {\"@type\": "
           "type.googleapis.com/"
           "envoy.extensions.internal_redirect.previous_routes.v3.PreviousRoutesConfig}}]}")},
    {"a mirror", Verdict::accepted, GOING("cluster: c, request_mirror_policies: [{cluster: c}]")},
    {"a mirror of nothing", Verdict::refused, GOING("cluster: c, request_mirror_policies: [{}]"),
     "Exactly one of cluster or cluster_header"},
    {"a mirror twice named", Verdict::refused,
     GOING("cluster: c, request_mirror_policies: [{cluster: c, cluster_header: a}]"),
     "request_mirror_policies[0]"},
    {"a mirror to an unknown cluster", Verdict::refused,
     GOING("cluster: c, request_mirror_policies: [{cluster: d}]"), "unknown shadow cluster 'd'"},
    {"a hash of nothing", Verdict::refused, GOING("cluster: c, hash_policy: [{}]"), "policy_specifier"},
    {"a hash of no property", Verdict::accepted,
     GOING("cluster: c, hash_policy: [{connection_properties: {}}]")},
    {"a hash of filter state", Verdict::stricter,
     GOING("cluster: c, hash_policy: [{filter_state: {key: a}}]"), "filter_state: not supported"},
    {"a hash with a broken regex", Verdict::refused,
     GOING(
         "cluster: c, hash_policy: [{header: {header_name: a, regex_rewrite: {pattern: {regex: \"(a\"}}}}]"),
     "hash_policy[0].header.regex_rewrite.pattern.regex"},
    {"internal redirects", Verdict::accepted,
     GOING("cluster: c, internal_redirect_policy: {redirect_response_codes: [200, 307]}")},
    {"more codes than there are", Verdict::refused,
     GOING("cluster: c, internal_redirect_policy: {redirect_response_codes: [301, 302, 303, 307, 308, 301]}"),
     "redirect_response_codes"},
    {"internal redirects of old", Verdict::accepted,
     GOING("cluster: c, internal_redirect_action: HANDLE_INTERNAL_REDIRECT, max_internal_redirects: 3")},
    {"time-outs", Verdict::accepted,
     GOING("cluster: c, timeout: 0s, idle_timeout: 1s, max_grpc_timeout: 0s, grpc_timeout_offset: 1s, "
           "max_stream_duration: {max_stream_duration: 1s, grpc_timeout_header_max: 0s, "
           "grpc_timeout_header_offset: "
           "0.1s}")},
    {"rate limits", Verdict::accepted,
     GOING("cluster: c, rate_limits: [{stage: 1, disable_key: k, actions: [{remote_address: {}}, "
           "{source_cluster: "
           "{}}, {generic_key: {descriptor_value: v}}, {masked_remote_address: {v4_prefix_mask_len: 8}}]}]")},
    {"rate limits without actions", Verdict::refused, GOING("cluster: c, rate_limits: [{}]"), "actions"},
    {"rate limits by what filters say", Verdict::refused,
     GOING("cluster: c, rate_limits: [{actions: [{dynamic_metadata: {descriptor_key: k, metadata_key: {key: "
           "f, path: [{key: a}]}}}]}]"),
     "dynamic_metadata"},
    {"rate limits by dynamic metadata", Verdict::accepted,
     GOING("cluster: c, rate_limits: [{actions: [{metadata: {descriptor_key: k, metadata_key: {key: f, path: "
           "[{key: a}]}, default_value: d, skip_if_absent: true}}]}]")},
    {"rate limits by the route's metadata", Verdict::stricter,
     GOING("cluster: c, rate_limits: [{actions: [{metadata: {descriptor_key: k, source: ROUTE_ENTRY, "
           "metadata_key: {key: f, path: [{key: a}]}}}]}]"),
     "actions[0].metadata.source"},
    {"rate limits with hits that Envoy ignores", Verdict::stricter,
     GOING("cluster: c, rate_limits: [{actions: [{remote_address: {}}], hits_addend: {number: 3}}]"),
     "rate_limits[0].hits_addend: has no effect"},
    {"a host's rate limits too", Verdict::accepted, GOING("cluster: c, include_vh_rate_limits: true")},
    {"hedging", Verdict::stricter, GOING("cluster: c, hedge_policy: {}"),
     "route.hedge_policy: not supported"},
    {"cors of old in a route", Verdict::stricter, GOING("cluster: c, cors: {}"),
     "route.cors: not supported: write"},
    {"tracing", Verdict::accepted,
     WITH("tracing: {random_sampling: {numerator: 1}, custom_tags: [{tag: a, literal: {value: b}}]}")},
    {"a tag without a name", Verdict::refused, WITH("tracing: {custom_tags: [{literal: {value: b}}]}"),
     "custom_tags[0].tag"},
    {"a tag of nothing", Verdict::refused, WITH("tracing: {custom_tags: [{tag: a}]}"), "custom_tags[0]"},
    {"a tag of a host's metadata", Verdict::stricter,
     WITH("tracing: {custom_tags: [{tag: a, metadata: {kind: {host: {}}, metadata_key: {key: f, path: "
          "[{key: k}]}}}]}"),
     "custom_tags[0].metadata.kind.host: not supported"},
    {"a tag of a request's metadata with a colon", Verdict::accepted,
     WITH("tracing: {custom_tags: [{tag: a, metadata: {kind: {request: {}}, metadata_key: {key: 'f:g', path: "
          "[{key: 'k:l'}]}}}]}")},
    {"a tag of a route's metadata with a colon", Verdict::stricter,
     WITH("tracing: {custom_tags: [{tag: a, metadata: {kind: {route: {}}, metadata_key: {key: f, path: "
          "[{key: 'k:l'}]}}}]}"),
     "custom_tags[0].metadata.metadata_key.path[0].key: a key with a colon is not supported"},
    {"a decorator", Verdict::accepted, WITH("decorator: {operation: a}")},
    {"buffer limits of both kinds", Verdict::accepted,
     WITH("per_request_buffer_limit_bytes: 5, request_body_buffer_limit: 5")},
    {"metadata to match", Verdict::accepted,
     GOING("cluster: c, metadata_match: {filter_metadata: {envoy.lb: {version: v1}}}")},

    // ---- retries ----
    {"a word that is no condition", Verdict::accepted, RETRYING("retry_on: \"foo,5xx\"")},
    {"a back-off the wrong way round", Verdict::refused,
     RETRYING("retry_back_off: {base_interval: 0.25s, max_interval: 0.1s}"), "retry_policy.retry_back_off"},
    {"a back-off without base", Verdict::refused, RETRYING("retry_back_off: {max_interval: 0.1s}"),
     "base_interval"},
    {"previous hosts", Verdict::accepted,
     RETRYING("retry_host_predicate: [{name: x, typed_config: {\"@type\": type.googleapis.com/"
              "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate}}]")},
    {"previous hosts by name", Verdict::refused,
     RETRYING("retry_host_predicate: [{name: envoy.retry_host_predicates.previous_hosts}]"),
     "retry_host_predicate[0].typed_config"},
    {"hosts without metadata", Verdict::accepted,
     RETRYING("retry_host_predicate: [{name: x, typed_config: {\"@type\": type.googleapis.com/"
              "envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig, metadata_match: "
              "{filter_metadata: {envoy.lb: {stage: dev}}}}}]")},
    {"previous priorities, never", Verdict::stricter,
     RETRYING("retry_priority: {name: x, typed_config: {\"@type\": type.googleapis.com/"
              "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig}}"),
     "update_frequency"},
    {"previous priorities", Verdict::accepted,
     RETRYING(
         "retry_priority: {name: x, typed_config: {\"@type\": type.googleapis.com/"
         "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig, update_frequency: "
         "2}}")},
    {"no reset headers", Verdict::refused, RETRYING("rate_limited_retry_back_off: {reset_headers: []}"),
     "reset_headers"},
    {"a status that is none", Verdict::accepted, RETRYING("retriable_status_codes: [99999]")},
    {"fewer attempts than none", Verdict::accepted, RETRYING("host_selection_retry_max_attempts: -3")},

    // ---- answers ----
    {"an empty redirect", Verdict::accepted, REDIRECTING("")},
    {"a redirect with a broken regex", Verdict::refused,
     REDIRECTING("regex_rewrite: {pattern: {regex: \"(a\"}}"), "redirect.regex_rewrite.pattern.regex"},
    {"a redirect to no port", Verdict::stricter, REDIRECTING("port_redirect: 70000"), "is no port"},
    {"a query that is kept and stripped", Verdict::accepted,
     REDIRECTING("path_redirect: \"/a?b\", strip_query: true")},
    {"an answer", Verdict::accepted, ANSWERING("status: 200, body: {inline_string: \"\"}")},
    {"an informational answer", Verdict::refused, ANSWERING("status: 100"), "status"},
    {"an answer beyond 599", Verdict::refused, ANSWERING("status: 700"), "status"},
    {"an answer's body of nothing", Verdict::refused, ANSWERING("status: 200, body: {}"), "specifier"},
    {"an answer's file that is not there", Verdict::refused,
     ANSWERING("status: 200, body: {filename: /nonexistent}"), "direct_response.body.filename"},
    {"an answer with a format", Verdict::accepted,
     ANSWERING(
         "status: 200, body_format: {text_format_source: {inline_string: \"%PROTOCOL%\"}, content_type: a}")},
    {"an answer with a broken format", Verdict::refused,
     ANSWERING("status: 200, body_format: {text_format_source: {inline_string: \"%FOO%\"}}"), "body_format"},
    {"too long an answer", Verdict::refused,
     "{max_direct_response_body_size_bytes: 4, virtual_hosts: [{name: v, domains: [a], routes: [{match: "
     "{prefix: "
     "\"/\"}, direct_response: {status: 200, body: {inline_string: xxxxx}}}]}]}",
     "response body size is 5 bytes; maximum is 4"},
    {"no forwarding", Verdict::accepted, ROUTE("match: {prefix: \"/\"}, non_forwarding_action: {}")},

    // ---- header rules ----
    {"a pseudo-header", Verdict::refused,
     WITH("request_headers_to_add: [{header: {key: \":path\", value: x}}]"),
     "request_headers_to_add[0].header.key: :-prefixed or host headers may not be modified"},
    {"host", Verdict::refused, WITH("request_headers_to_add: [{header: {key: Host, value: x}}]"),
     "may not be modified"},
    {"host of a response", Verdict::refused,
     WITH("response_headers_to_add: [{header: {key: host, value: x}}]"), "response_headers_to_add[0]"},
    {"removing host", Verdict::refused, WITH("request_headers_to_remove: [a, host]"),
     "request_headers_to_remove[1]: :-prefixed or host headers may not be removed"},
    {"removing a pseudo-header", Verdict::refused, WITH("response_headers_to_remove: [\":status\"]"),
     "response_headers_to_remove[0]"},
    {"removing nothing", Verdict::refused, WITH("request_headers_to_remove: [\"\"]"),
     "request_headers_to_remove[0]"},
    {"a header without name", Verdict::refused, WITH("request_headers_to_add: [{header: {value: x}}]"),
     "key"},
    {"a format that is none", Verdict::refused,
     WITH("request_headers_to_add: [{header: {key: a, value: \"%FOO%\"}}]"),
     "request_headers_to_add[0].header.value"},
    {"half a percent", Verdict::refused,
     WITH("request_headers_to_add: [{header: {key: a, value: \"100%\"}}]"),
     "request_headers_to_add[0].header.value"},
    {"a format of old", Verdict::accepted,
     WITH("request_headers_to_add: [{header: {key: a, value: \"%DYNAMIC_METADATA([\\\"a\\\", "
          "\\\"b\\\"])%\"}}]")},
    {"a format of old for what is not there", Verdict::stricter,
     WITH("request_headers_to_add: [{header: {key: a, value: \"%UPSTREAM_METADATA([\\\"a\\\", "
          "\\\"b\\\"])%\"}}]"),
     "%UPSTREAM_METADATA(a:b)%"},
    {"append in both words", Verdict::refused,
     WITH("request_headers_to_add: [{header: {key: a, value: b}, append: true, append_action: "
          "OVERWRITE_IF_EXISTS}]"),
     "append and append_action"},
    {"append of old", Verdict::accepted,
     WITH("request_headers_to_add: [{header: {key: a, value: b}, append: false}]")},
    {"bytes for a value", Verdict::stricter,
     WITH("request_headers_to_add: [{header: {key: a, raw_value: \"YQ==\"}}]"), "raw_value: not supported"},
    {"a bad header rule of the configuration", Verdict::refused,
     "{request_headers_to_add: [{header: {key: \":a\", value: b}}]}", "request_headers_to_add[0].header.key"},
    {"a bad header rule of a host", Verdict::refused, HOSTWITH("request_headers_to_remove: [\":a\"]"),
     "virtual_hosts[0].request_headers_to_remove[0]"},
    {"a bad header rule of a weighted cluster", Verdict::refused,
     GOING("weighted_clusters: {clusters: [{name: c, weight: 1, request_headers_to_remove: [\":a\"]}]}"),
     "clusters[0].request_headers_to_remove[0]"},

    // ---- configurations of filters ----
    {"a filter switched off", Verdict::accepted, SWITCH(", disabled: true")},
    {"a filter switched on", Verdict::accepted, SWITCH(", config: {}")},
    {"a switch that says nothing", Verdict::refused, SWITCH(""),
     "Empty route/virtual host per filter configuration"},
    {"a filter switched off, and configured", Verdict::accepted,
     SWITCH(", disabled: true, config: {\"@type\": "
            "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}")},
    {"an optional filter that takes none", Verdict::accepted,
     SWITCH(", is_optional: true, config: {\"@type\": "
            "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}")},
    {"an optional filter that is not there", Verdict::accepted,
     SWITCH(", is_optional: true, config: {\"@type\": type.googleapis.com/xds.type.v3.TypedStruct, type_url: "
            "type.googleapis.com/not.There}")},
    {"a configuration without type", Verdict::refused, FILTER(""),
     "typed_per_filter_config[\"f\"]: is empty"},
    {"a filter that takes none", Verdict::refused,
     FILTER("\"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"),
     "typed_per_filter_config[\"f\"]"},
};

#undef ROUTE
#undef MATCHING
#undef GOING
#undef WITH
#undef ANSWERING
#undef REDIRECTING
#undef RETRYING
#undef DOMAINS
#undef HOSTWITH
#undef FILTER
#undef SWITCH

}  // namespace sluice::config::test
