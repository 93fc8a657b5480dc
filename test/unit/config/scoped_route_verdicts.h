#pragma once

#include "test/unit/config/verdicts.h"

// Connection managers with scoped routes, and what Envoy and Sluice say of them, as in verdicts.h.
namespace sluice::config::test {

#define HTTP_MANAGER(fields) \
  LISTENER(AT ", filter_chains: [{filters: [{name: h, typed_config: {" TYPE(                      \
      "filters.network.http_connection_manager.v3.HttpConnectionManager") ", stat_prefix: p, http_filters: " \
      "[{name: r, typed_config: {" TYPE("filters.http.router.v3.Router") "}}], " fields "}}]}]")
#define SCOPED(fields) HTTP_MANAGER("scoped_routes: {name: s, " fields "}")
#define EXTRACTOR(fields) "scope_key_builder: {fragments: [{header_value_extractor: {" fields "}}]}, "
#define BY_HEADER EXTRACTOR("name: x, index: 0")
#define SCOPES(list) "scoped_route_configurations_list: {scoped_route_configurations: [" list "]}"
#define KEY(value) "key: {fragments: [{string_key: " value "}]}, "
#define ROUTES "route_configuration: {virtual_hosts: [{name: v, domains: ['*'], routes: []}]}"
#define SCOPE(name, value) "{name: " name ", " KEY(value) ROUTES "}"
#define FROM_FILE "{path_config_source: {path: /dev/null}, resource_api_version: V3}"
#define SCOPED_RDS "scoped_rds: {scoped_rds_config_source: " FROM_FILE "}"

inline constexpr Row kScopedRouteRows[] = {
    {"inline scopes", Verdict::accepted, SCOPED(BY_HEADER SCOPES(SCOPE("a", "a") ", " SCOPE("b", "b")))},
    {"no scopes", Verdict::refused, SCOPED(BY_HEADER "rds_config_source: " FROM_FILE), "is required"},
    {"an empty list of scopes", Verdict::refused, SCOPED(BY_HEADER SCOPES("")), "at least 1"},
    {"scopes both inline and discovered", Verdict::refused,
     SCOPED(BY_HEADER SCOPES(SCOPE("a", "a")) ", " SCOPED_RDS ", rds_config_source: " FROM_FILE), "excludes"},
    {"scopes without a name", Verdict::refused,
     HTTP_MANAGER("scoped_routes: {" BY_HEADER SCOPES(SCOPE("a", "a")) "}"), "name"},

    // ---- a scope's key ----
    {"a scope without key", Verdict::refused, SCOPED(BY_HEADER SCOPES("{name: a, " ROUTES "}")), "key"},
    {"a key without fragments", Verdict::refused, SCOPED(BY_HEADER SCOPES("{name: a, key: {}, " ROUTES "}")),
     "fragments"},
    {"an empty fragment", Verdict::refused,
     SCOPED(BY_HEADER SCOPES("{name: a, key: {fragments: [{}]}, " ROUTES "}")), "fragments[0]"},
    {"a fragment that is an empty string", Verdict::accepted, SCOPED(BY_HEADER SCOPES(SCOPE("a", "''")))},
    {"fewer fragments than the builder makes", Verdict::accepted,
     SCOPED("scope_key_builder: {fragments: [{header_value_extractor: {name: x, index: 0}}, "
            "{header_value_extractor: {name: z, index: 0}}]}, " SCOPES(SCOPE("a", "a")))},
    {"a scope without name", Verdict::refused, SCOPED(BY_HEADER SCOPES("{" KEY("a") ROUTES "}")), "name"},
    {"two scopes of one name", Verdict::stricter,
     SCOPED(BY_HEADER SCOPES(SCOPE("a", "a") ", " SCOPE("a", "b"))),
     "duplicate scoped route configuration 'a'"},
    {"two scopes of one key", Verdict::stricter,
     SCOPED(BY_HEADER SCOPES(SCOPE("a", "a") ", " SCOPE("b", "a"))), "scope key conflict"},

    // ---- its routes ----
    {"an inline scope with a name and routes", Verdict::refused,
     SCOPED(BY_HEADER SCOPES("{name: a, route_configuration_name: r, " KEY("a") ROUTES "}")),
     "route_configuration_name"},
    {"an inline scope whose routes are discovered", Verdict::refused,
     SCOPED(BY_HEADER SCOPES("{name: a, " KEY("a") "route_configuration_name: r}")),
     "is not supported with inline scoped routes"},
    {"an inline scope without routes", Verdict::refused, SCOPED(BY_HEADER SCOPES("{name: a, " KEY("a") "}")),
     "must specify a route_configuration"},
    {"an inline scope on demand", Verdict::accepted,
     SCOPED(BY_HEADER SCOPES("{name: a, on_demand: true, " KEY("a") ROUTES "}"))},
    {"a scope's routes that are wrong", Verdict::refused,
     SCOPED(BY_HEADER SCOPES(
         "{name: a, " KEY("a") "route_configuration: {virtual_hosts: [{name: v, domains: []}]}}")),
     "domains"},

    // ---- discovered ----
    {"discovered scopes", Verdict::accepted,
     NODE SCOPED(BY_HEADER SCOPED_RDS ", rds_config_source: " FROM_FILE)},
    {"discovered scopes without rds_config_source", Verdict::accepted, NODE SCOPED(BY_HEADER SCOPED_RDS)},
    {"discovered scopes without a source", Verdict::refused,
     SCOPED(BY_HEADER "scoped_rds: {}, rds_config_source: " FROM_FILE), "scoped_rds_config_source"},
    {"discovered scopes from nowhere", Verdict::refused,
     SCOPED(BY_HEADER "scoped_rds: {scoped_rds_config_source: {}}, rds_config_source: " FROM_FILE),
     "scoped_rds_config_source"},

    // ---- scope_key_builder ----
    {"no scope_key_builder", Verdict::refused, SCOPED(SCOPES(SCOPE("a", "a"))), "scope_key_builder"},
    {"a builder without fragments", Verdict::refused,
     SCOPED("scope_key_builder: {}, " SCOPES(SCOPE("a", "a"))), "fragments"},
    {"a builder of an empty fragment", Verdict::refused,
     SCOPED("scope_key_builder: {fragments: [{}]}, " SCOPES(SCOPE("a", "a"))), "fragments[0]"},
    {"an extractor without header", Verdict::refused, SCOPED(EXTRACTOR("index: 0") SCOPES(SCOPE("a", "a"))),
     "name"},
    {"an extractor that takes nothing", Verdict::refused,
     SCOPED(EXTRACTOR("name: x") SCOPES(SCOPE("a", "a"))), "extract_type not set"},
    {"an element of many", Verdict::accepted,
     SCOPED(EXTRACTOR("name: x, element_separator: ',', index: 3") SCOPES(SCOPE("a", "a")))},
    {"a later element without separator", Verdict::refused,
     SCOPED(EXTRACTOR("name: x, index: 3") SCOPES(SCOPE("a", "a"))),
     "Index > 0 for empty string element separator"},
    {"an element by its key", Verdict::accepted,
     SCOPED(EXTRACTOR("name: x, element_separator: ';', element: {separator: '=', key: k}")
                SCOPES(SCOPE("a", "a")))},
    {"an element by its key without separator", Verdict::refused,
     SCOPED(EXTRACTOR("name: x, element: {key: k}") SCOPES(SCOPE("a", "a"))), "separator"},
    {"an element without key", Verdict::refused,
     SCOPED(EXTRACTOR("name: x, element: {separator: '='}") SCOPES(SCOPE("a", "a"))), "key"},
    {"an element by its key and its place", Verdict::refused,
     SCOPED(EXTRACTOR("name: x, index: 0, element: {separator: '=', key: k}") SCOPES(SCOPE("a", "a"))),
     "excludes"},
    {"a header that cannot come", Verdict::accepted,
     SCOPED(EXTRACTOR("name: 'a b', index: 0") SCOPES(SCOPE("a", "a")))},
};

}  // namespace sluice::config::test
