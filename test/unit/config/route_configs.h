#pragma once

// The route configurations of route_cases.h.
namespace sluice::config::test {

struct RouteText {
  const char* name;
  const char* yaml;
};

// What a forwarded request shows beside host and path.
inline constexpr const char* kEchoed[] = {"x-envoy-original-host", "x-envoy-original-path",
                                          "x-forwarded-host", "one", "two"};

#define SAYS(text) "direct_response: {status: 200, body: {inline_string: \"" text "\"}}"
#define ALL(text) "{match: {prefix: \"/\"}, " SAYS(text) "}"
#define ON(match, text) "{match: {" match "}, " SAYS(text) "}"
#define HOST(domain, routes) "{name: \"" domain "\", domains: [\"" domain "\"], routes: [" routes "]}"
#define HEADER(matcher, text) "{match: {prefix: \"/\", headers: [{name: h, " matcher "}]}, " SAYS(text) "}"
#define QUERY(matcher, text) \
  "{match: {prefix: \"/\", query_parameters: [{name: q" matcher "}]}, " SAYS(text) "}"
#define REDIRECT(domain, match, fields) HOST(domain, "{match: {" match "}, redirect: {" fields "}}")
#define TO(domain, match, fields) HOST(domain, "{match: {" match "}, route: {cluster: echo, " fields "}}")
#define REGEX(pattern, with) "{pattern: {regex: \"" pattern "\"}, substitution: \"" with "\"}"
#define ADD(name, value, more) "{header: {key: " name ", value: \"" value "\"}" more "}"

#define RULE(domain, add)                                                    \
  "{name: " domain ", domains: [" domain "], response_headers_to_add: [" add \
  "], routes: [{match: "                                                     \
  "{prefix: \"/\"}, route: {cluster: echo}}]}, "

// clang-format off: one host a line
inline constexpr RouteText kRouteConfigs[] = {
    {"hosts", "{virtual_hosts: ["
     HOST("a.com", ALL("exact")) ", "
     HOST("b.com:8080", ALL("port")) ", "
     HOST("*.a.com", ALL("suffix")) ", "
     HOST("*-x.a.com", ALL("longer suffix")) ", "
     HOST("p.*", ALL("prefix")) ", "
     HOST("p.q.*", ALL("longer prefix")) ", "
     HOST("UP.org", ALL("upper")) ", "
     HOST("[::1]", ALL("v6")) ", "
     HOST("a*b", ALL("star inside")) ", "
     HOST("*", ALL("any")) "]}"},
    {"hosts without any", "{virtual_hosts: ["
     HOST("a.com", ALL("exact")) "]}"},
    {"hosts without port", "{ignore_port_in_host_matching: true, virtual_hosts: ["
     HOST("a.com", ALL("exact")) ", "
     HOST("b.com:8080", ALL("port")) ", "
     HOST("*.a.com", ALL("suffix")) ", "
     HOST("[::1]", ALL("v6")) ", "
     HOST("*", ALL("any")) "]}"},
    {"hosts by header", "{vhost_header: X-Vhost, virtual_hosts: ["
     HOST("a.com", ALL("exact")) ", "
     HOST("*", ALL("any")) "]}"},
    {"hosts by header without any", "{vhost_header: X-Vhost, virtual_hosts: ["
     HOST("a.com", ALL("exact")) "]}"},
    {"paths", "{virtual_hosts: ["
     HOST("prefix", ON("prefix: \"/a\"", "a") ", " ON("prefix: \"/B\", case_sensitive: false", "b") ", "
       ON("prefix: \"\"", "rest")) ", "
     HOST("exact", ON("path: \"/a\"", "a") ", " ON("path: \"/B\", case_sensitive: false", "b")) ", "
     HOST("separated", ON("path_separated_prefix: \"/a/b\"", "ab") ", " ON("path_separated_prefix: \"/C\", "
       "case_sensitive: false", "c")) ", "
     HOST("regex", ON("safe_regex: {regex: \"/a[0-9]+\"}", "a") ", " ON("safe_regex: {regex: \"/[bc]/.*\"}", "bc"))
       ", "
     HOST("connect", ON("connect_matcher: {}", "connect") ", " ON("prefix: \"/\"", "other")) "]}"},
    {"path parameters", "{ignore_path_parameters_in_path_matching: true, virtual_hosts: ["
     HOST("exact", ON("path: \"/a\"", "a") ", " ON("path_separated_prefix: \"/b\"", "b") ", " ON("safe_regex: "
       "{regex: \"/c\"}", "c")) ", "
     TO("rewrite", "path: \"/a\"", "prefix_rewrite: \"/b\"") "]}"},
    {"headers", "{virtual_hosts: ["
     HOST("name", HEADER("treat_missing_header_as_empty: false", "yes")) ", "
     HOST("present", HEADER("present_match: true", "yes")) ", "
     HOST("present-inverted", HEADER("present_match: true, invert_match: true", "yes")) ", "
     HOST("absent", HEADER("present_match: false", "yes")) ", "
     HOST("absent-inverted", HEADER("present_match: false, invert_match: true", "yes")) ", "
     HOST("present-empty", HEADER("present_match: true, treat_missing_header_as_empty: true", "yes")) ", "
     HOST("absent-empty", HEADER("present_match: false, treat_missing_header_as_empty: true", "yes")) ", "
     HOST("old-exact", HEADER("exact_match: v", "yes")) ", "
     HOST("old-exact-empty", HEADER("exact_match: \"\"", "yes")) ", "
     HOST("old-prefix", HEADER("prefix_match: v", "yes")) ", "
     HOST("old-suffix", HEADER("suffix_match: v", "yes")) ", "
     HOST("old-contains", HEADER("contains_match: v", "yes")) ", "
     HOST("old-regex", HEADER("safe_regex_match: {regex: \"v+\"}", "yes")) ", "
     HOST("range", HEADER("range_match: {start: -5, end: 10}", "yes")) ", "
     HOST("exact", HEADER("string_match: {exact: v}", "yes")) ", "
     HOST("exact-empty", HEADER("string_match: {exact: \"\"}", "yes")) ", "
     HOST("exact-inverted", HEADER("string_match: {exact: v}, invert_match: true", "yes")) ", "
     HOST("exact-inverted-empty", HEADER("string_match: {exact: v}, invert_match: true, "
       "treat_missing_header_as_empty: true", "yes")) ", "
     HOST("exact-missing-empty", HEADER("string_match: {exact: \"\"}, treat_missing_header_as_empty: true", "yes"))
       ", "
     HOST("exact-case", HEADER("string_match: {exact: Vv, ignore_case: true}", "yes")) ", "
     HOST("prefix-case", HEADER("string_match: {prefix: Vv, ignore_case: true}", "yes")) ", "
     HOST("suffix-case", HEADER("string_match: {suffix: Vv, ignore_case: true}", "yes")) ", "
     HOST("contains-case", HEADER("string_match: {contains: Vv, ignore_case: true}", "yes")) ", "
     HOST("regex", HEADER("string_match: {safe_regex: {regex: \"v+\"}}", "yes")) ", "
     HOST("method", "{match: {prefix: \"/\", headers: [{name: \":method\", string_match: {exact: POST}}]}, "
       SAYS("yes") "}") ", "
     HOST("two", "{match: {prefix: \"/\", headers: [{name: h, present_match: true}, {name: i, present_match: "
       "true}]}, " SAYS("yes") "}") ", "
     HOST("grpc", ON("prefix: \"/\", grpc: {}", "yes")) ", "
     HOST("tls-presented", ON("prefix: \"/\", tls_context: {presented: true}", "yes")) ", "
     HOST("tls-not-presented", ON("prefix: \"/\", tls_context: {presented: false}", "yes")) ", "
     HOST("tls-not-validated", ON("prefix: \"/\", tls_context: {validated: false}", "yes")) ", "
     HOST("never", ON("prefix: \"/\", runtime_fraction: {default_value: {numerator: 0}}", "yes")) ", "
     HOST("always", ON("prefix: \"/\", runtime_fraction: {default_value: {numerator: 1000000, denominator: "
       "MILLION}}", "yes")) "]}"},
    {"queries", "{virtual_hosts: ["
     HOST("name", QUERY("", "yes")) ", "
     HOST("present", QUERY(", present_match: true", "yes")) ", "
     HOST("absent", QUERY(", present_match: false", "yes")) ", "
     HOST("exact", QUERY(", string_match: {exact: \"a b\"}", "yes")) ", "
     HOST("encoded", QUERY(", string_match: {exact: \"a%20b\"}", "yes")) ", "
     HOST("empty", QUERY(", string_match: {exact: \"\"}", "yes")) ", "
     HOST("regex", QUERY(", string_match: {safe_regex: {regex: \"[0-9]+\"}}", "yes")) "]}"},
    {"tls", "{virtual_hosts: [{name: all, domains: [all], require_tls: ALL, response_headers_to_add: [" ADD("r",
       "1", "") "], routes: [" ALL("yes")
     "]}, {name: ext, domains: [ext], require_tls: EXTERNAL_ONLY, routes: [" ALL("yes") "]}]}"},
    {"redirects", "{virtual_hosts: ["
     REDIRECT("nothing", "prefix: \"/\"", "") ", "
     REDIRECT("https", "prefix: \"/\"", "https_redirect: true") ", "
     REDIRECT("scheme", "prefix: \"/\"", "scheme_redirect: ftp") ", "
     REDIRECT("host", "prefix: \"/\"", "host_redirect: \"x.org\", response_code: FOUND") ", "
     REDIRECT("port", "prefix: \"/\"", "port_redirect: 8443, response_code: SEE_OTHER") ", "
     REDIRECT("path", "prefix: \"/\"", "path_redirect: \"/new\", response_code: TEMPORARY_REDIRECT") ", "
     REDIRECT("path-query", "prefix: \"/\"", "path_redirect: \"/new?own\", response_code: PERMANENT_REDIRECT") ", "
     REDIRECT("path-strip", "prefix: \"/\"", "path_redirect: \"/new\", strip_query: true") ", "
     REDIRECT("path-query-strip", "prefix: \"/\"", "path_redirect: \"/new?own\", strip_query: true") ", "
     REDIRECT("strip", "prefix: \"/\"", "strip_query: true") ", "
     REDIRECT("prefix", "prefix: \"/a\"", "prefix_rewrite: \"/b\"") ", "
     REDIRECT("prefix-slash", "prefix: \"/a/\"", "prefix_rewrite: \"/\"") ", "
     REDIRECT("prefix-strip", "prefix: \"/a\"", "prefix_rewrite: \"/b?c\", strip_query: true") ", "
     REDIRECT("prefix-of-path", "path: \"/a\"", "prefix_rewrite: \"/b\"") ", "
     REDIRECT("prefix-of-regex", "safe_regex: {regex: \"/a.*\"}", "prefix_rewrite: \"/b\"") ", "
     REDIRECT("regex", "prefix: \"/a\"", "regex_rewrite: " REGEX("/a/([a-z]+)", "/\\\\1/a")) ", "
     REDIRECT("regex-empty", "prefix: \"/a\"", "regex_rewrite: " REGEX(".*", "")) ", "
     HOST("direct", "{match: {prefix: \"/\"}, direct_response: {status: 302}}") "]}"},
    {"rewrites", "{virtual_hosts: ["
     TO("none", "prefix: \"/\"", "") ", "
     TO("prefix", "prefix: \"/a\"", "prefix_rewrite: \"/b\"") ", "
     TO("prefix-to-root", "prefix: \"/a\"", "prefix_rewrite: \"/\"") ", "
     TO("slash-to-root", "prefix: \"/a/\"", "prefix_rewrite: \"/\"") ", "
     TO("prefix-case", "prefix: \"/A\", case_sensitive: false", "prefix_rewrite: \"/b\"") ", "
     TO("path", "path: \"/a\"", "prefix_rewrite: \"/b/c\"") ", "
     TO("separated", "path_separated_prefix: \"/a\"", "prefix_rewrite: \"/b\"") ", "
     TO("separated-root", "path_separated_prefix: \"/a\"", "prefix_rewrite: \"/\"") ", "
     TO("of-regex", "safe_regex: {regex: \"/a.*\"}", "prefix_rewrite: \"/b\"") ", "
     TO("regex", "prefix: \"/\"", "regex_rewrite: " REGEX("^/([^/]+)/([^/]+)", "/\\\\2/\\\\1")) ", "
     TO("regex-all", "prefix: \"/\"", "regex_rewrite: " REGEX("a", "bb")) ", "
     TO("literal", "prefix: \"/\"", "host_rewrite_literal: new.org") ", "
     TO("literal-xfh", "prefix: \"/\"", "host_rewrite_literal: new.org, append_x_forwarded_host: true") ", "
     TO("header", "prefix: \"/\"", "host_rewrite_header: One") ", "
     TO("path-regex", "prefix: \"/\"", "host_rewrite_path_regex: " REGEX("^/([^/]*).*$", "\\\\1.org")) ", "
     TO("xfh-alone", "prefix: \"/\"", "append_x_forwarded_host: true") ", "
     TO("both", "prefix: \"/a\"", "prefix_rewrite: \"/b\", host_rewrite_literal: new.org") ", "
     HOST("weighted", "{match: {prefix: \"/\"}, route: {weighted_clusters: {clusters: [{name: echo, weight: 1, "
       "host_rewrite_literal: w.org}]}, append_x_forwarded_host: true}}") ", "
     HOST("weighted-route", "{match: {prefix: \"/\"}, route: {weighted_clusters: {clusters: [{name: echo, weight: "
       "1, host_rewrite_literal: w.org}]}, host_rewrite_literal: r.org}}") ", "
     HOST("by-header", "{match: {prefix: \"/\"}, route: {cluster_header: C}}") ", "
     HOST("drawn", "{match: {prefix: \"/\"}, route: {weighted_clusters: {header_name: Draw, clusters: [{name: echo, "
       "weight: 3, host_rewrite_literal: first}, {name: echo, weight: 0, host_rewrite_literal: never}, {name: echo, "
       "weight: 1, host_rewrite_literal: last}]}}}") "]}"},
    {"rules", "{request_headers_to_add: [" ADD("one", "config", ", append_action: OVERWRITE_IF_EXISTS_OR_ADD") "], "
       "response_headers_to_add: [" ADD("r", "config", "")
     "], virtual_hosts: [{name: v, domains: [\"*\"], request_headers_to_add: [" ADD("one", "vhost", ", "
       "append_action: OVERWRITE_IF_EXISTS_OR_ADD") "], response_headers_to_add: [" ADD("r", "vhost", "")
     "], routes: [{match: {prefix: \"/\"}, request_headers_to_add: [" ADD("one", "route", ", append_action: "
       "OVERWRITE_IF_EXISTS_OR_ADD") "], response_headers_to_add: [" ADD("r", "route", "")
     "], route: {weighted_clusters: {clusters: [{name: echo, weight: 1, request_headers_to_add: [" ADD("one",
       "cluster", ", append_action: OVERWRITE_IF_EXISTS_OR_ADD") "], response_headers_to_add: [" ADD("r",
       "cluster", "") "]}]}}}]}]}"},
    {"rules, most specific", "{most_specific_header_mutations_wins: true, request_headers_to_add: [" ADD("one",
       "config", ", append_action: OVERWRITE_IF_EXISTS_OR_ADD") "], response_headers_to_add: [" ADD("r", "config", "")
     "], virtual_hosts: [{name: v, domains: [\"*\"], request_headers_to_add: [" ADD("one", "vhost", ", "
       "append_action: OVERWRITE_IF_EXISTS_OR_ADD") "], response_headers_to_add: [" ADD("r", "vhost", "")
     "], routes: [{match: {prefix: \"/\"}, request_headers_to_add: [" ADD("one", "route", ", append_action: "
       "OVERWRITE_IF_EXISTS_OR_ADD") "], response_headers_to_add: [" ADD("r", "route", "")
     "], route: {weighted_clusters: {clusters: [{name: echo, weight: 1, request_headers_to_add: [" ADD("one",
       "cluster", ", append_action: OVERWRITE_IF_EXISTS_OR_ADD") "], response_headers_to_add: [" ADD("r",
       "cluster", "") "]}]}}}]}]}"},
    {"actions", "{virtual_hosts: ["
     RULE("append", ADD("r", "x", ""))
     RULE("append-true", ADD("R", "x", ", append: true"))
     RULE("append-false", ADD("r", "x", ", append: false"))
     RULE("absent", ADD("r", "x", ", append_action: ADD_IF_ABSENT"))
     RULE("absent-new", ADD("r", "x", ", append_action: ADD_IF_ABSENT") ", " ADD("q", "y", "") ", " ADD("q", "z",
       ", append_action: ADD_IF_ABSENT"))
     RULE("overwrite", ADD("r", "x", ", append_action: OVERWRITE_IF_EXISTS_OR_ADD"))
     RULE("overwrite-existing", ADD("r", "x", ", append_action: OVERWRITE_IF_EXISTS"))
     RULE("percent", ADD("r", "100%%", ""))
     RULE("empty", ADD("r", "", ""))
     RULE("kept-empty", ADD("r", "", ", keep_empty_value: true"))
     RULE("order", ADD("r", "added", "") ", " ADD("r", "over", ", append_action: OVERWRITE_IF_EXISTS_OR_ADD"))
     "{name: remove, domains: [remove], response_headers_to_remove: [R], response_headers_to_add: [" ADD("r", "x", "")
     "], routes: [{match: {prefix: \"/\"}, route: {cluster: echo}}]}, {name: remove-request, domains: "
       "[remove-request], request_headers_to_remove: [One], request_headers_to_add: [" ADD("two", "x", "") ", "
       ADD("x-forwarded-host", "more", "")
     "], routes: [{match: {prefix: \"/\"}, route: {cluster: echo}}]}]}"},
};
// clang-format on

#undef SAYS
#undef ALL
#undef ON
#undef HOST
#undef HEADER
#undef QUERY
#undef REDIRECT
#undef TO
#undef REGEX
#undef ADD
#undef RULE

}  // namespace sluice::config::test
