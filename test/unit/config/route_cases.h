#pragma once

#include <string>

// Route configurations, requests, and what becomes of them. The unit test asks Sluice's routes, the test with label `envoy`
// sends the same requests to a real Envoy: the table is the proof that both read the same.
namespace sluice::config::test {

struct RouteCase {
  const char* config;  // a RouteConfiguration of kRouteConfigs
  const char* host;
  const char* path;
  // "404"; "200 body" of a direct response; "301 -> location"; "to host path x-one=..." of a forwarded request, with
  // those headers of kEchoed that are there; then " r=" and the values of the response's "r" fields, if any.
  const char* expected;
  const char* headers = "";  // "name: value|name: value"
  const char* method = "GET";
};

inline std::string describe(const RouteCase& c) {
  return std::string(c.config) + ": " + c.method + " " + c.host + c.path + " {" + c.headers + "}";
}

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

inline constexpr RouteText kRouteConfigs[] = {
    {"hosts",
     "{virtual_hosts: [" HOST("a.com", ALL("exact")) ", " HOST("b.com:8080", ALL("port")) ", " HOST("*.a.com", ALL("suffix")) ", " HOST("*-x.a.com", ALL("longer suffix")) ", " HOST(
         "p.*",
         ALL("prefix")) ", " HOST("p.q.*",
                                  ALL("longer prefix")) ", " HOST("UP.org",
                                                                  ALL("upper")) ", " HOST("[::1]",
                                                                                          ALL("v6")) ","
                                                                                                     " " HOST("a*b", ALL("star inside")) ", " HOST(
                                                                                                         "*",
                                                                                                         ALL("any")) "]}"},
    {"hosts without any", "{virtual_hosts: [" HOST("a.com", ALL("exact")) "]}"},
    {"hosts without port",
     "{ignore_port_in_host_matching: true, virtual_hosts: [" HOST("a.com", ALL("exact")) ", " HOST(
         "b.com:8080",
         ALL("port")) ", " HOST("*.a.com",
                                ALL("suffix")) ", " HOST("[::1]", ALL("v6")) ", " HOST("*", ALL("any")) "]}"},
    {"hosts by header",
     "{vhost_header: X-Vhost, virtual_hosts: [" HOST("a.com", ALL("exact")) ", " HOST("*", ALL("any")) "]}"},
    {"hosts by header without any",
     "{vhost_header: X-Vhost, virtual_hosts: [" HOST("a.com", ALL("exact")) "]}"},
    {"paths",
     "{virtual_hosts: [" HOST(
         "prefix",
         ON("prefix: \"/a\"", "a") ", " ON("prefix: \"/B\", case_sensitive: false", "b") ", " ON(
             "prefix: \"\"",
             "rest")) ", " HOST("exact",
                                ON("path: \"/a\"", "a") ", " ON(
                                    "path: \"/B\", case_sensitive: false",
                                    "b")) ", " HOST("separated",
                                                    ON("path_separated_prefix: \"/a/b\"", "ab") ", " ON(
                                                        "path_separated_prefix: \"/C\", case_sensitive: "
                                                        "false",
                                                        "c")) ", " HOST("regex",
                                                                        ON("safe_regex: {regex: "
                                                                           "\"/a[0-9]+\"}",
                                                                           "a") ", " ON("safe_regex: {regex: "
                                                                                        "\"/[bc]/.*\"}",
                                                                                        "bc")) ", " HOST("con"
                                                                                                         "nec"
                                                                                                         "t",
                                                                                                         ON("connect_matcher: {}",
                                                                                                            "connect") ", " ON("prefix: \"/\"",
                                                                                                                               "other")) "]}"},
    {"path parameters",
     "{ignore_path_parameters_in_path_matching: true, virtual_hosts: [" HOST(
         "exact", ON("path: \"/a\"", "a") ", " ON("path_separated_prefix: \"/b\"", "b") ", " ON(
                      "safe_regex: {regex: \"/c\"}", "c")) ", " TO("rewrite", "path: \"/a\"",
                                                                   "prefix_rewrite: \"/b\"") "]}"},
    {"headers",
     "{virtual_hosts: [" HOST("name", HEADER(
                                          "treat_missing_header_as_empty: false",
                                          "yes")) ","
                                                  " " HOST("present", HEADER(
                                                                          "present_match: true", "yes")) ","
                                                                                                         " " HOST("present-inverted",
                                                                                                                  HEADER("present_match: true, invert_match: true",
                                                                                                                         "yes")) ", " HOST("absent", HEADER("present_match: false",
                                                                                                                                                            "yes")) ", " HOST("absent-inverted", HEADER("present_match: false, invert_match: true",
                                                                                                                                                                                                        "yes")) ", " HOST("present-empty", HEADER("present_match: true, treat_missing_header_as_empty: true",
                                                                                                                                                                                                                                                  "yes")) ", " HOST("absent-empty", HEADER("present_match: false, treat_missing_header_as_empty: true",
                                                                                                                                                                                                                                                                                           "yes")) ", " HOST("old-exact",
                                                                                                                                                                                                                                                                                                             HEADER(
                                                                                                                                                                                                                                                                                                                 "exact_match: v",
                                                                                                                                                                                                                                                                                                                 "yes")) ", " HOST("old-exact-empty",
                                                                                                                                                                                                                                                                                                                                   HEADER("exact_match: \"\"",
                                                                                                                                                                                                                                                                                                                                          "yes")) ", " HOST("old-prefix", HEADER("prefix_match: v",
                                                                                                                                                                                                                                                                                                                                                                                 "yes")) ", " HOST("old-suffix",
                                                                                                                                                                                                                                                                                                                                                                                                   HEADER(
                                                                                                                                                                                                                                                                                                                                                                                                       "suffix_match: v",
                                                                                                                                                                                                                                                                                                                                                                                                       "yes")) ", " HOST("old-contains",
                                                                                                                                                                                                                                                                                                                                                                                                                         HEADER("contains_match: v",
                                                                                                                                                                                                                                                                                                                                                                                                                                "yes")) ", " HOST("old-regex",
                                                                                                                                                                                                                                                                                                                                                                                                                                                  HEADER("safe_regex_match: {regex: \"v+\"}",
                                                                                                                                                                                                                                                                                                                                                                                                                                                         "yes")) ", " HOST("range",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                           HEADER("range_match: {start: -5, end: 10}",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                  "yes")) ", " HOST("exact",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                    HEADER("string_match: {exact: v}",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                           "yes")) ", " HOST("exact-empty",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                             HEADER(
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                 "string_match: {exact: \"\"}",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                 "yes")) ", " HOST("exact-inverted", HEADER("string_match: {exact: v}, invert_match: true",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                            "yes")) ", " HOST("exact-inverted-empty",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                              HEADER(
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                  "string_match: {exact: v}, invert_match: true, treat_missing_header_as_empty: true",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                  "yes")) ", " HOST("exact-missing-empty", HEADER("string_match: {exact: \"\"}, treat_missing_header_as_empty: true",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                  "yes")) ", " HOST("exact-case", HEADER("string_match: {exact: Vv, ignore_case: true}",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                         "yes")) ", " HOST("prefix-case", HEADER("string_match: {prefix: Vv, ignore_case: true}",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                 "yes")) ", " HOST("suffix-case",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                   HEADER(
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                       "string_match: {suffix: Vv, ignore_case: true}",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                       "yes")) ", " HOST("contains-case",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                         HEADER(
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                             "string_match: {contains: Vv, ignore_case: true}",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                             "yes")) ", " HOST("regex",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                               HEADER("string_match: {safe_regex: {regex: \"v+\"}}",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                      "yes")) ", " HOST("method",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                        "{match: {prefix: \"/\", headers: [{name: \":method\", string_match: {exact: POST}}]}, " SAYS(
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                            "yes") "}") ", " HOST("two",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                  "{match: {prefix: \"/\", headers: [{name: h, present_match: true}, {name: i, present_match: "
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                  "true}]}, " SAYS(
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                      "yes") "}") ", " HOST("grpc", ON("prefix: \"/\", grpc: {}",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                       "yes")) ", " HOST("tls-presented",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                         ON("prefix: \"/\", tls_context: {presented: true}",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                            "yes")) ", " HOST("tls-not-presented",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                              ON("prefix: \"/\", tls_context: {presented: false}",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                 "yes")) ", " HOST("tls-not-validated", ON("prefix: \"/\", tls_context: {validated: false}",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                           "yes")) ", " HOST("never",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                             ON("prefix: \"/\", runtime_fraction: {default_value: {numerator: 0}}",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                "yes")) ", " HOST("always",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                  ON("prefix: \"/\", runtime_fraction: {default_value: {numerator: 1000000, denominator: "
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                     "MILLION}}",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                     "yes")) "]}"},
    {"queries",
     "{virtual_hosts: [" HOST("name", QUERY("", "yes")) ", " HOST(
         "present",
         QUERY(
             ", present_match: true",
             "yes")) ", " HOST("absent",
                               QUERY(
                                   ", present_match: false",
                                   "yes")) ", " HOST("exact",
                                                     QUERY(
                                                         ", string_match: {exact: \"a b\"}",
                                                         "yes")) ", " HOST("encoded",
                                                                           QUERY(
                                                                               ", string_match: {exact: "
                                                                               "\"a%20b\"}",
                                                                               "yes")) ", " HOST("empty",
                                                                                                 QUERY(
                                                                                                     ", "
                                                                                                     "string_"
                                                                                                     "match: "
                                                                                                     "{exact:"
                                                                                                     " \"\"}",
                                                                                                     "yes")) ", " HOST("regex",
                                                                                                                       QUERY(
                                                                                                                           ", string_match: {safe_regex: {regex: \"[0-9]+\"}}",
                                                                                                                           "yes")) "]}"},
    {"tls", "{virtual_hosts: [{name: all, domains: [all], require_tls: ALL, response_headers_to_add: [" ADD(
                "r", "1", "") "], routes: [" ALL("yes") "]}, {name: ext, domains: [ext], require_tls: "
                                                        "EXTERNAL_ONLY, routes: [" ALL("yes") "]}]}"},
    {"redirects",
     "{virtual_hosts: [" REDIRECT("nothing", "prefix: \"/\"", "") ", " REDIRECT(
         "https", "prefix: \"/\"",
         "https_redirect: true") ", " REDIRECT("scheme", "prefix: \"/\"",
                                               "scheme_redirect: ftp") ","
                                                                       " " REDIRECT("host", "prefix: \"/\"",
                                                                                    "host_redirect: "
                                                                                    "\"x.org\", "
                                                                                    "response_code: FOUND") ", " REDIRECT("port",
                                                                                                                          "prefix: \"/\"",
                                                                                                                          "port_redirect: 8443, response_code: SEE_OTHER") ", " REDIRECT("path",
                                                                                                                                                                                         "prefix: \"/\"",
                                                                                                                                                                                         "path_redirect: \"/new\", response_code: TEMPORARY_REDIRECT") ", " REDIRECT("path-query",
                                                                                                                                                                                                                                                                     "prefix: \"/\"",
                                                                                                                                                                                                                                                                     "path_redirect: \"/new?own\", response_code: PERMANENT_REDIRECT") ", " REDIRECT("path-strip",
                                                                                                                                                                                                                                                                                                                                                     "prefix: \"/\"",
                                                                                                                                                                                                                                                                                                                                                     "path_redirect: \"/new\", strip_query: true") ", " REDIRECT("path-query-strip",
                                                                                                                                                                                                                                                                                                                                                                                                                 "prefix: \"/\"",
                                                                                                                                                                                                                                                                                                                                                                                                                 "path_redirect: \"/new?own\", strip_query: true") ", " REDIRECT("strip",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                 "prefix: \"/\"",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                 "strip_query: true") ", " REDIRECT("prefix",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                    "prefix: \"/a\"",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                    "prefix_rewrite: \"/b\"") ", " REDIRECT("prefix-slash",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                            "prefix: \"/a/\"",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                            "prefix_rewrite: \"/\"") ", " REDIRECT("prefix-strip",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                   "prefix: \"/a\"",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                   "prefix_rewrite: \"/b?c\", strip_query: true") ", " REDIRECT("prefix-of-path",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                "path: \"/a\"",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                "prefix_rewrite: \"/b\"") ", " REDIRECT("prefix-of-regex",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                        "safe_regex: {regex: \"/a.*\"}",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                        "prefix_rewrite: \"/b\"") ", " REDIRECT("regex",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                "prefix: \"/a\"",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                "regex_rewrite: " REGEX("/a/([a-z]+)",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                        "/\\\\1/a")) ", " REDIRECT("regex-empty",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                   "prefix: \"/a\"",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                   "regex_rewrite: " REGEX(".*",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                           "")) ", " HOST("direct",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                          "{match: {prefix: \"/\"}, direct_response: {status: 302}}") "]}"},
    {"rewrites",
     "{virtual_hosts: [" TO("none", "prefix: \"/\"", "") ", " TO(
         "prefix", "prefix: \"/a\"",
         "prefix_rewrite: \"/b\"") ", " TO("prefix-to-root", "prefix: \"/a\"",
                                           "prefix_rewrite: \"/\"") ", " TO("slash-to-root",
                                                                            "prefix: \"/a/\"",
                                                                            "prefix_rewrite: \"/\"") ", " TO("prefix-case",
                                                                                                             "prefix: \"/A\", case_sensitive: false",
                                                                                                             "prefix_rewrite: \"/b\"") ", " TO("path",
                                                                                                                                               "path: \"/a\"",
                                                                                                                                               "prefix_rewrite: \"/b/c\"") ", " TO("separated",
                                                                                                                                                                                   "path_separated_prefix: \"/a\"",
                                                                                                                                                                                   "prefix_rewrite: \"/b\"") ", " TO("separated-root",
                                                                                                                                                                                                                     "path_separated_prefix: \"/a\"",
                                                                                                                                                                                                                     "prefix_rewrite: \"/\"") ", " TO("of-regex",
                                                                                                                                                                                                                                                      "safe_regex: {regex: \"/a.*\"}",
                                                                                                                                                                                                                                                      "prefix_rewrite: \"/b\"") ", " TO("regex",
                                                                                                                                                                                                                                                                                        "prefix: \"/\"",
                                                                                                                                                                                                                                                                                        "regex_rewrite: " REGEX(
                                                                                                                                                                                                                                                                                            "^/([^/]+)/([^/]+)",
                                                                                                                                                                                                                                                                                            "/\\\\2/\\\\1")) ", " TO("regex-all",
                                                                                                                                                                                                                                                                                                                     "prefix: \"/\"",
                                                                                                                                                                                                                                                                                                                     "regex_rewrite: " REGEX("a",
                                                                                                                                                                                                                                                                                                                                             "bb")) ", " TO("literal",
                                                                                                                                                                                                                                                                                                                                                            "prefix: \"/\"",
                                                                                                                                                                                                                                                                                                                                                            "host_rewrite_literal: new.org") ", " TO("literal-xfh",
                                                                                                                                                                                                                                                                                                                                                                                                     "prefix: \"/\"",
                                                                                                                                                                                                                                                                                                                                                                                                     "host_rewrite_literal: new.org, append_x_forwarded_host: true") ", " TO("header",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                             "prefix: \"/\"",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                             "host_rewrite_header: One") ", " TO("path-regex",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                 "prefix: \"/\"",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                 "host_rewrite_path_regex: " REGEX("^/([^/]*).*$",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                   "\\\\1.org")) ", " TO("xfh-alone",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                         "prefix: \"/\"",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                         "append_x_forwarded_host: true") ", " TO("both",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                  "prefix: \"/a\"",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                  "prefix_rewrite: \"/b\", host_rewrite_literal: new.org") ", " HOST("weighted",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                     "{match: {prefix: \"/\"}, route: {weighted_clusters: {clusters: [{name: echo, weight: 1, "
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                     "host_rewrite_literal: w.org}]}, append_x_forwarded_host: true}}") ", " HOST("weighted-route",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                  "{match: {prefix: \"/\"}, route: {weighted_clusters: {clusters: [{name: echo, weight: "
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                  "1, host_rewrite_literal: w.org}]}, host_rewrite_literal: r.org}}") ", " HOST("by-header",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                "{match: {prefix: \"/\"}, route: {cluster_header: C}}") ", " HOST("drawn",
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                  "{match: {prefix: \"/\"}, route: {weighted_clusters: {header_name: Draw, clusters: [{name: echo, "
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                  "weight: 3, host_rewrite_literal: first}, {name: echo, weight: 0, host_rewrite_literal: never}, "
                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                                  "{name: echo, weight: 1, host_rewrite_literal: last}]}}}") "]}"},
    {"rules",
     "{request_headers_to_add: [" ADD(
         "one", "config",
         ", append_action: OVERWRITE_IF_EXISTS_OR_ADD") "], "
                                                        "response_headers_to_add: [" ADD(
                                                            "r", "config",
                                                            "") "], virtual_hosts: [{name: v, "
                                                                "domains: [\"*\"], "
                                                                "request_headers_to_add: "
                                                                "[" ADD(
                                                                    "one", "vhost",
                                                                    ", append_action: "
                                                                    "OVERWRITE_IF_EXISTS_OR_"
                                                                    "ADD") "], "
                                                                           "response_headers_"
                                                                           "to_add: [" ADD(
                                                                               "r", "vhost",
                                                                               "") "], "
                                                                                   "routes: "
                                                                                   "[{match: "
                                                                                   "{prefix: "
                                                                                   "\"/\"}, "
                                                                                   "request_"
                                                                                   "headers_"
                                                                                   "to_add: "
                                                                                   "[" ADD(
                                                                                       "one", "route",
                                                                                       ", "
                                                                                       "append"
                                                                                       "_actio"
                                                                                       "n: "
                                                                                       "OVERWR"
                                                                                       "ITE_"
                                                                                       "IF_"
                                                                                       "EXISTS"
                                                                                       "_OR_"
                                                                                       "ADD") "], "
                                                                                              "response_"
                                                                                              "headers_to_"
                                                                                              "add: [" ADD(
                                                                                                  "r",
                                                                                                  "route",
                                                                                                  "") "], "
                                                                                                      "route:"
                                                                                                      " {"
                                                                                                      "weight"
                                                                                                      "ed_"
                                                                                                      "cluste"
                                                                                                      "rs: "
                                                                                                      "{clust"
                                                                                                      "ers: "
                                                                                                      "[{"
                                                                                                      "name: "
                                                                                                      "echo, "
                                                                                                      "weight"
                                                                                                      ": 1, "
                                                                                                      "reques"
                                                                                                      "t_"
                                                                                                      "header"
                                                                                                      "s_to_"
                                                                                                      "add: "
                                                                                                      "[" ADD(
                                                                                                          "on"
                                                                                                          "e",
                                                                                                          "cl"
                                                                                                          "us"
                                                                                                          "te"
                                                                                                          "r",
                                                                                                          ", "
                                                                                                          "ap"
                                                                                                          "pe"
                                                                                                          "nd"
                                                                                                          "_a"
                                                                                                          "ct"
                                                                                                          "io"
                                                                                                          "n:"
                                                                                                          " O"
                                                                                                          "VE"
                                                                                                          "RW"
                                                                                                          "RI"
                                                                                                          "TE"
                                                                                                          "_I"
                                                                                                          "F_"
                                                                                                          "EX"
                                                                                                          "IS"
                                                                                                          "TS"
                                                                                                          "_O"
                                                                                                          "R_"
                                                                                                          "AD"
                                                                                                          "D") "], response_headers_to_add: [" ADD("r",
                                                                                                                                                   "cluster",
                                                                                                                                                   "") "]}]}}}]}]}"},
    {"rules, most specific",
     "{most_specific_header_mutations_wins: true, "
     "request_headers_to_add: [" ADD(
         "one", "config",
         ", append_action: OVERWRITE_IF_EXISTS_OR_ADD") "], "
                                                        "response_headers_to_add: [" ADD(
                                                            "r", "config",
                                                            "") "], virtual_hosts: [{name: v, "
                                                                "domains: [\"*\"], "
                                                                "request_headers_to_add: "
                                                                "[" ADD(
                                                                    "one", "vhost",
                                                                    ", append_action: "
                                                                    "OVERWRITE_IF_EXISTS_OR_"
                                                                    "ADD") "], "
                                                                           "response_headers_"
                                                                           "to_add: [" ADD(
                                                                               "r", "vhost",
                                                                               "") "], "
                                                                                   "routes: "
                                                                                   "[{match: "
                                                                                   "{prefix: "
                                                                                   "\"/\"}, "
                                                                                   "request_"
                                                                                   "headers_"
                                                                                   "to_add: "
                                                                                   "[" ADD(
                                                                                       "one", "route",
                                                                                       ", "
                                                                                       "append"
                                                                                       "_actio"
                                                                                       "n: "
                                                                                       "OVERWR"
                                                                                       "ITE_"
                                                                                       "IF_"
                                                                                       "EXISTS"
                                                                                       "_OR_"
                                                                                       "ADD") "], "
                                                                                              "response_"
                                                                                              "headers_to_"
                                                                                              "add: [" ADD(
                                                                                                  "r",
                                                                                                  "route",
                                                                                                  "") "], "
                                                                                                      "route:"
                                                                                                      " {"
                                                                                                      "weight"
                                                                                                      "ed_"
                                                                                                      "cluste"
                                                                                                      "rs: "
                                                                                                      "{clust"
                                                                                                      "ers: "
                                                                                                      "[{"
                                                                                                      "name: "
                                                                                                      "echo, "
                                                                                                      "weight"
                                                                                                      ": 1, "
                                                                                                      "reques"
                                                                                                      "t_"
                                                                                                      "header"
                                                                                                      "s_to_"
                                                                                                      "add: "
                                                                                                      "[" ADD(
                                                                                                          "on"
                                                                                                          "e",
                                                                                                          "cl"
                                                                                                          "us"
                                                                                                          "te"
                                                                                                          "r",
                                                                                                          ", "
                                                                                                          "ap"
                                                                                                          "pe"
                                                                                                          "nd"
                                                                                                          "_a"
                                                                                                          "ct"
                                                                                                          "io"
                                                                                                          "n:"
                                                                                                          " O"
                                                                                                          "VE"
                                                                                                          "RW"
                                                                                                          "RI"
                                                                                                          "TE"
                                                                                                          "_I"
                                                                                                          "F_"
                                                                                                          "EX"
                                                                                                          "IS"
                                                                                                          "TS"
                                                                                                          "_O"
                                                                                                          "R_"
                                                                                                          "AD"
                                                                                                          "D") "], response_headers_to_add: [" ADD("r",
                                                                                                                                                   "cluster",
                                                                                                                                                   "") "]}]}}}]}]}"},
    {"actions", "{virtual_hosts: ["
#define RULE(domain, add)                                                    \
  "{name: " domain ", domains: [" domain "], response_headers_to_add: [" add \
  "], routes: [{match: "                                                     \
  "{prefix: \"/\"}, route: {cluster: echo}}]}, "
     RULE("append", ADD("r", "x", "")) RULE("append-true", ADD("R", "x", ", append: true")) RULE(
         "append-false", ADD("r", "x", ", append: false"))
         RULE("absent", ADD("r", "x", ", append_action: ADD_IF_ABSENT")) RULE(
             "absent-new", ADD("r", "x", ", append_action: ADD_IF_ABSENT") ", " ADD("q", "y", "") ", " ADD(
                               "q", "z", ", append_action: ADD_IF_ABSENT"))
             RULE("overwrite", ADD("r", "x", ", append_action: OVERWRITE_IF_EXISTS_OR_ADD")) RULE(
                 "overwrite-existing",
                 ADD("r", "x", ", append_action: OVERWRITE_IF_EXISTS")) RULE("percent",
                                                                             ADD("r", "100%%",
                                                                                 "")) RULE("empty",
                                                                                           ADD("r", "", ""))
                 RULE("kept-empty", ADD("r", "", ", keep_empty_value: true")) RULE(
                     "order",
                     ADD("r", "added", "") ", " ADD(
                         "r",
                         "over",
                         ", append_action: OVERWRITE_IF_EXISTS_OR_ADD")) "{name: remove, domains: "
                                                                         "[remove], "
                                                                         "response_headers_to_remove: "
                                                                         "[R], response_headers_to_add: "
                                                                         "[" ADD(
                                                                             "r",
                                                                             "x",
                                                                             "") "], routes: "
                                                                                 "[{match: {prefix: "
                                                                                 "\"/\"}, route: "
                                                                                 "{cluster: "
                                                                                 "echo}}]}, "
                                                                                 "{name: "
                                                                                 "remove-request, "
                                                                                 "domains: "
                                                                                 "[remove-request], "
                                                                                 "request_headers_to_"
                                                                                 "remove: [One], "
                                                                                 "request_headers_to_"
                                                                                 "add: [" ADD(
                                                                                     "two", "x",
                                                                                     "") ", " ADD("x-"
                                                                                                  "fo"
                                                                                                  "rw"
                                                                                                  "ar"
                                                                                                  "de"
                                                                                                  "d-"
                                                                                                  "ho"
                                                                                                  "s"
                                                                                                  "t",
                                                                                                  "mo"
                                                                                                  "r"
                                                                                                  "e",
                                                                                                  "") "], "
                                                                                                      "routes"
                                                                                                      ": "
                                                                                                      "[{"
                                                                                                      "match:"
                                                                                                      " {"
                                                                                                      "prefix"
                                                                                                      ": "
                                                                                                      "\"/"
                                                                                                      "\"}, "
                                                                                                      "route:"
                                                                                                      " {"
                                                                                                      "cluste"
                                                                                                      "r: "
                                                                                                      "echo}}"
                                                                                                      "]}]}"},
};

inline constexpr RouteCase kRouteCases[] = {
    {"hosts", "a.com", "/", "200 exact"},
    {"hosts", "A.Com", "/", "200 exact"},
    {"hosts", "a.com:80", "/", "200 any"},
    {"hosts", "b.com:8080", "/", "200 port"},
    {"hosts", "b.com", "/", "200 any"},
    {"hosts", "www.a.com", "/", "200 suffix"},
    {"hosts", "w-x.a.com", "/", "200 longer suffix"},
    {"hosts", "-x.a.com", "/", "200 suffix"},
    {"hosts", ".a.com", "/", "200 any"},
    {"hosts", "p.org", "/", "200 prefix"},
    {"hosts", "p.", "/", "200 any"},
    {"hosts", "p.q.org", "/", "200 longer prefix"},
    {"hosts", "p.a.com", "/", "200 suffix"},
    {"hosts", "p.org:80", "/", "200 prefix"},
    {"hosts", "up.ORG", "/", "200 upper"},
    {"hosts", "[::1]", "/", "200 v6"},
    {"hosts", "[::1]:80", "/", "200 any"},
    {"hosts", "a*b", "/", "200 star inside"},
    {"hosts", "axb", "/", "200 any"},
    {"hosts without any", "a.com", "/", "200 exact"},
    {"hosts without any", "b.com", "/", "404"},
    {"hosts without port", "a.com:80", "/", "200 exact"},
    {"hosts without port", "a.com", "/", "200 exact"},
    {"hosts without port", "www.a.com:1", "/", "200 suffix"},
    {"hosts without port", "b.com:8080", "/", "200 any"},
    {"hosts without port", "[::1]:80", "/", "200 v6"},
    {"hosts without port", "[::1]", "/", "200 v6"},
    {"hosts by header", "a.com", "/", "200 exact", "x-vhost: A.com"},
    {"hosts by header", "x", "/", "200 exact", "x-vhost: a.com"},
    {"hosts by header", "a.com", "/", "200 any", "x-vhost: b.com"},
    {"hosts by header", "a.com", "/", "404"},
    {"hosts by header without any", "a.com", "/", "404"},

    {"paths", "prefix", "/a", "200 a"},
    {"paths", "prefix", "/abc?x", "200 a"},
    {"paths", "prefix", "/A", "200 rest"},
    {"paths", "prefix", "/b/c", "200 b"},
    {"paths", "prefix", "/?/a", "200 rest"},
    {"paths", "exact", "/a", "200 a"},
    {"paths", "exact", "/a?b=c", "200 a"},
    {"paths", "exact", "/a/", "404"},
    {"paths", "exact", "/A", "404"},
    {"paths", "exact", "/b", "200 b"},
    {"paths", "separated", "/a/b", "200 ab"},
    {"paths", "separated", "/a/b?c", "200 ab"},
    {"paths", "separated", "/a/b/", "200 ab"},
    {"paths", "separated", "/a/b/c", "200 ab"},
    {"paths", "separated", "/a/bc", "404"},
    {"paths", "separated", "/a", "404"},
    {"paths", "separated", "/c/d", "200 c"},
    {"paths", "regex", "/a12", "200 a"},
    {"paths", "regex", "/a12?x", "200 a"},
    {"paths", "regex", "/a12/", "404"},
    {"paths", "regex", "/xa12", "404"},
    {"paths", "regex", "/b/x?y/z", "200 bc"},
    {"paths", "regex", "/b?x/", "404"},
    {"paths", "connect", "/", "200 other"},
    {"path parameters", "exact", "/a;b=c", "200 a"},
    {"path parameters", "exact", "/a;b?c", "200 a"},
    {"path parameters", "exact", "/a?b;c", "200 a"},
    {"path parameters", "exact", "/b;x/c", "200 b"},
    {"path parameters", "exact", "/c;x", "200 c"},
    {"path parameters", "exact", "/d;x", "404"},
    {"path parameters", "rewrite", "/a;x?y", "to rewrite /b;x?y x-envoy-original-path=/a;x?y"},

    {"headers", "name", "/", "200 yes", "h: v"},
    {"headers", "name", "/", "200 yes", "h:"},
    {"headers", "name", "/", "404"},
    {"headers", "present", "/", "200 yes", "h: v"},
    {"headers", "present", "/", "404"},
    {"headers", "present-inverted", "/", "404", "h: v"},
    {"headers", "present-inverted", "/", "200 yes"},
    {"headers", "absent", "/", "404", "h: v"},
    {"headers", "absent", "/", "200 yes"},
    {"headers", "absent-inverted", "/", "200 yes", "h: v"},
    {"headers", "absent-inverted", "/", "404"},
    {"headers", "present-empty", "/", "200 yes"},
    {"headers", "present-empty", "/", "200 yes", "h: v"},
    {"headers", "absent-empty", "/", "404"},
    {"headers", "absent-empty", "/", "404", "h: v"},
    {"headers", "old-exact", "/", "200 yes", "h: v"},
    {"headers", "old-exact", "/", "404", "h: V"},
    {"headers", "old-exact", "/", "200 yes", "h: a|h: v"},
    {"headers", "old-exact", "/", "404", "h: a,v"},
    {"headers", "old-exact-empty", "/", "200 yes", "h: v"},
    {"headers", "old-exact-empty", "/", "404"},
    {"headers", "old-prefix", "/", "200 yes", "h: vx"},
    {"headers", "old-prefix", "/", "404", "h: xv"},
    {"headers", "old-suffix", "/", "200 yes", "h: xv"},
    {"headers", "old-suffix", "/", "404", "h: vx"},
    {"headers", "old-contains", "/", "200 yes", "h: xvx"},
    {"headers", "old-contains", "/", "404", "h: x"},
    {"headers", "old-regex", "/", "200 yes", "h: vvv"},
    {"headers", "old-regex", "/", "404", "h: vx"},
    {"headers", "range", "/", "200 yes", "h: -5"},
    {"headers", "range", "/", "200 yes", "h: 9"},
    {"headers", "range", "/", "200 yes", "h: +9"},
    {"headers", "range", "/", "404", "h: 10"},
    {"headers", "range", "/", "404", "h: 9a"},
    {"headers", "range", "/", "404", "h: 1.5"},
    {"headers", "range", "/", "404"},
    {"headers", "exact", "/", "200 yes", "h: v"},
    {"headers", "exact", "/", "200 yes", "h: a|h: v"},
    {"headers", "exact-inverted", "/", "404", "h: a|h: v"},
    {"headers", "exact-inverted", "/", "200 yes", "h: a|h: b"},
    {"headers", "range", "/", "200 yes", "h: 100|h: 3"},
    {"headers", "exact", "/", "404"},
    {"headers", "exact-empty", "/", "200 yes", "h:"},
    {"headers", "exact-empty", "/", "404", "h: v"},
    {"headers", "exact-empty", "/", "404"},
    {"headers", "exact-inverted", "/", "404", "h: v"},
    {"headers", "exact-inverted", "/", "200 yes", "h: w"},
    {"headers", "exact-inverted", "/", "404"},
    {"headers", "exact-inverted-empty", "/", "200 yes"},
    {"headers", "exact-inverted-empty", "/", "404", "h: v"},
    {"headers", "exact-missing-empty", "/", "200 yes"},
    {"headers", "exact-case", "/", "200 yes", "h: vV"},
    {"headers", "prefix-case", "/", "200 yes", "h: vVx"},
    {"headers", "suffix-case", "/", "200 yes", "h: xvV"},
    {"headers", "contains-case", "/", "200 yes", "h: xvVx"},
    {"headers", "contains-case", "/", "404", "h: xv"},
    {"headers", "regex", "/", "200 yes", "h: vv"},
    {"headers", "regex", "/", "404", "h: vv,vv"},
    {"headers", "method", "/", "404"},
    {"headers", "method", "/", "200 yes", "content-length: 0", "POST"},
    {"headers", "two", "/", "404", "h: 1"},
    {"headers", "two", "/", "200 yes", "h: 1|i: 2"},
    {"headers", "grpc", "/", "404", "content-type: application/json"},
    {"headers", "tls-presented", "/", "404"},
    {"headers", "tls-not-presented", "/", "200 yes"},
    {"headers", "tls-not-validated", "/", "200 yes"},
    {"headers", "never", "/", "404"},
    {"headers", "always", "/", "200 yes"},

    {"queries", "name", "/?q", "200 yes"},
    {"queries", "name", "/?a=b&q=c", "200 yes"},
    {"queries", "name", "/?a=q", "404"},
    {"queries", "name", "/q", "404"},
    {"queries", "present", "/?q", "200 yes"},
    {"queries", "present", "/", "404"},
    {"queries", "absent", "/", "200 yes"},
    {"queries", "absent", "/?q", "404"},
    {"queries", "exact", "/?q=a%20b", "404"},
    {"queries", "encoded", "/?q=a%20b", "200 yes"},
    {"queries", "encoded", "/?q=x&q=a%20b", "404"},
    {"queries", "empty", "/?q", "200 yes"},
    {"queries", "empty", "/?q=", "200 yes"},
    {"queries", "empty", "/?q=1", "404"},
    {"queries", "regex", "/?q=12&x", "200 yes"},
    {"queries", "regex", "/?q=12=", "404"},
    {"queries", "regex", "/?q=a12", "404"},

    {"tls", "all", "/a?b", "301 -> https://all/a?b"},
    {"tls", "all:80", "/a?b", "404"},
    {"tls", "all", "/a?b", "200 yes r=1", "x-forwarded-proto: https"},
    {"tls", "ext", "/", "301 -> https://ext/", "x-forwarded-for: 8.8.8.8"},

    {"redirects", "nothing", "/a?b", "301 -> http://nothing/a?b"},
    {"redirects", "https", "/a?b", "301 -> https://https/a?b"},
    {"redirects", "scheme", "/a?b", "301 -> ftp://scheme/a?b"},
    {"redirects", "host", "/a?b", "302 -> http://x.org/a?b"},
    {"redirects", "port", "/a?b", "303 -> http://port:8443/a?b"},
    {"redirects", "path", "/a?b", "307 -> http://path/new?b"},
    {"redirects", "path", "/a", "307 -> http://path/new"},
    {"redirects", "path-query", "/a?b", "308 -> http://path-query/new?own"},
    {"redirects", "path-strip", "/a?b", "301 -> http://path-strip/new"},
    {"redirects", "path-query-strip", "/a?b", "301 -> http://path-query-strip/new?own"},
    {"redirects", "strip", "/a?b", "301 -> http://strip/a"},
    {"redirects", "prefix", "/abc?d", "301 -> http://prefix/bbc?d"},
    {"redirects", "prefix-slash", "/a/b", "301 -> http://prefix-slash/b"},
    {"redirects", "prefix-strip", "/a/x?d", "301 -> http://prefix-strip/b"},
    {"redirects", "prefix-of-path", "/a?d", "301 -> http://prefix-of-path/b?d"},
    {"redirects", "prefix-of-regex", "/abc?d", "301 -> http://prefix-of-regex/b?d"},
    {"redirects", "regex", "/a/xy/z?d", "301 -> http://regex/xy/a/z?d"},
    {"redirects", "regex-empty", "/a/b?d", "301 -> http://regex-empty/a/b?d"},
    {"redirects", "direct", "/a?b", "302 -> http://direct/a?b"},

    {"rewrites", "none", "/a?b", "to none /a?b"},
    {"rewrites", "prefix", "/a", "to prefix /b x-envoy-original-path=/a"},
    {"rewrites", "prefix", "/a/c?d", "to prefix /b/c?d x-envoy-original-path=/a/c?d"},
    {"rewrites", "prefix", "/abc", "to prefix /bbc x-envoy-original-path=/abc"},
    {"rewrites", "prefix-to-root", "/a/b", "to prefix-to-root //b x-envoy-original-path=/a/b"},
    {"rewrites", "prefix-to-root", "/a", "to prefix-to-root / x-envoy-original-path=/a"},
    {"rewrites", "slash-to-root", "/a/b", "to slash-to-root /b x-envoy-original-path=/a/b"},
    {"rewrites", "prefix-case", "/a/c", "to prefix-case /b/c x-envoy-original-path=/a/c"},
    {"rewrites", "path", "/a?d", "to path /b/c?d x-envoy-original-path=/a?d"},
    {"rewrites", "separated", "/a/c", "to separated /b/c x-envoy-original-path=/a/c"},
    {"rewrites", "separated-root", "/a/c", "to separated-root //c x-envoy-original-path=/a/c"},
    {"rewrites", "of-regex", "/abc?d", "to of-regex /b?d x-envoy-original-path=/abc?d"},
    {"rewrites", "regex", "/x/y/z?d=/e", "to regex /y/x/z?d=/e x-envoy-original-path=/x/y/z?d=/e"},
    {"rewrites", "regex", "/x", "to regex /x x-envoy-original-path=/x"},
    {"rewrites", "regex-all", "/aca?a", "to regex-all /bbcbb?a x-envoy-original-path=/aca?a"},
    {"rewrites", "literal", "/", "to new.org / x-envoy-original-host=literal"},
    {"rewrites", "literal-xfh", "/",
     "to new.org / x-envoy-original-host=literal-xfh x-forwarded-host=literal-xfh"},
    {"rewrites", "literal-xfh", "/",
     "to new.org / x-envoy-original-host=literal-xfh x-forwarded-host=a,literal-xfh", "x-forwarded-host: a"},
    {"rewrites", "literal-xfh", "/",
     "to new.org / x-envoy-original-host=literal-xfh x-forwarded-host=a,literal-xfh",
     "x-forwarded-host: a,literal-xfh"},
    {"rewrites", "header", "/", "to x.org / x-envoy-original-host=header one=x.org", "one: x.org"},
    {"rewrites", "header", "/", "to header /"},
    {"rewrites", "path-regex", "/abc/d?e", "to abc.org /abc/d?e x-envoy-original-host=path-regex"},
    {"rewrites", "xfh-alone", "/", "to xfh-alone /"},
    {"rewrites", "both", "/a", "to new.org /b x-envoy-original-host=both x-envoy-original-path=/a"},
    {"rewrites", "weighted", "/", "to w.org /"},
    {"rewrites", "weighted-route", "/", "to r.org / x-envoy-original-host=w.org"},
    {"rewrites", "by-header", "/", "to by-header /", "c: echo"},
    {"rewrites", "by-header", "/", "503", "c: nobody"},
    {"rewrites", "by-header", "/", "503"},
    {"rewrites", "drawn", "/", "to first /", "draw: 0"},
    {"rewrites", "drawn", "/", "to first /", "draw: 2"},
    {"rewrites", "drawn", "/", "to last /", "draw: 3"},
    {"rewrites", "drawn", "/", "to last /", "draw: 7"},
    {"rewrites", "drawn", "/", "to first /", "draw: 4"},

    {"rules", "v", "/", "to v / one=config r=up|cluster|route|vhost|config"},
    {"rules, most specific", "v", "/", "to v / one=route r=up|cluster|config|vhost|route"},
    {"actions", "append", "/", "to append / r=up|x"},
    {"actions", "append-true", "/", "to append-true / r=up|x"},
    {"actions", "append-false", "/", "to append-false / r=x"},
    {"actions", "absent", "/", "to absent / r=up"},
    {"actions", "overwrite", "/", "to overwrite / r=x"},
    {"actions", "overwrite-existing", "/", "to overwrite-existing / r=x"},
    {"actions", "percent", "/", "to percent / r=up|100%"},
    {"actions", "empty", "/", "to empty / r=up"},
    {"actions", "kept-empty", "/", "to kept-empty / r=up|"},
    {"actions", "order", "/", "to order / r=over|added"},
    {"actions", "remove", "/", "to remove / r=x"},
    {"actions", "remove-request", "/", "to remove-request / x-forwarded-host=a,more two=b r=up",
     "one: 1|x-forwarded-host: a|two: b"},
};

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
