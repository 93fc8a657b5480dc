// What of a route configuration's fields lands where in the model.
#include <doctest/doctest.h>

#include <chrono>

#include "model/route_actions.h"
#include "test/unit/config/routes.h"

namespace sluice::config::test {
namespace {

// check-allow: literals only
using namespace std::chrono_literals;

RouteConfigPtr make(const std::string& yaml, const ext::Registry& registry = test::registry()) {
  auto made = load_routes(yaml, {"c"}, registry);
  REQUIRE_MESSAGE(made.ok(), made.error().message);
  return std::move(made).value();
}

const model::Route& only_route(const RouteConfigPtr& config) {
  return config->virtual_hosts.at(0)->routes.at(0);
}

constexpr const char* kRoute = R"(
name: r
internal_only_headers: [X-Internal]
request_mirror_policies: [{cluster_header: Shadow, runtime_fraction: {default_value: {numerator: 5, denominator: MILLION}}}]
virtual_hosts:
- name: v
  domains: [a]
  include_request_attempt_count: true
  include_attempt_count_in_response: true
  include_is_timeout_retry_header: true
  request_body_buffer_limit: 10000000000
  retry_policy: {retry_on: "5xx,cancelled,no-word", num_retries: 3}
  metadata: {filter_metadata: {f: {k: {deep: 1}}}}
  routes:
  - name: first
    match: {prefix: /}
    stat_prefix: s
    decorator: {operation: op, propagate: false}
    per_request_buffer_limit_bytes: 77
    metadata: {filter_metadata: {istio: {config: /apis, n: 1}}}
    route:
      weighted_clusters:
        clusters:
        - {name: c, weight: 2, metadata_match: {filter_metadata: {envoy.lb: {version: v2}}}}
        - {cluster_header: X-C, weight: 3}
      metadata_match: {filter_metadata: {envoy.lb: {version: v1, stage: prod, n: 1, fallback_list: [{version: v0}, {n: 2, x: 3}]}, other: {a: b}}}
      cluster_not_found_response_code: NOT_FOUND
      timeout: 1.5009s
      idle_timeout: 0s
      max_stream_duration: {max_stream_duration: 2s, grpc_timeout_header_max: 0s, grpc_timeout_header_offset: 0.1s}
      max_grpc_timeout: 3s
      grpc_timeout_offset: 0.5s
      priority: HIGH
      upgrade_configs: [{upgrade_type: WebSocket}, {upgrade_type: CONNECT, enabled: false}]
      internal_redirect_policy: {max_internal_redirects: 4, redirect_response_codes: [200, 307, 308], allow_cross_scheme_redirect: true}
      hash_policy:
      - {header: {header_name: X-User}, terminal: true}
      - {cookie: {name: sid, ttl: 90.9s, path: /p, attributes: [{name: SameSite, value: Lax}]}}
      - {connection_properties: {source_ip: true}}
      - {connection_properties: {}}
      - {query_parameter: {name: q}}
      retry_policy:
        retry_on: reset
        per_try_timeout: 2s
        per_try_idle_timeout: 1s
        retriable_status_codes: [503, 99999]
        retriable_headers: [{name: X-Retry}]
        host_selection_retry_max_attempts: 5
        retry_back_off: {base_interval: 0.0001s}
        rate_limited_retry_back_off: {reset_headers: [{name: Retry-After, format: SECONDS}, {name: X-Reset, format: UNIX_TIMESTAMP}], max_interval: 9s}
        retry_host_predicate:
        - {name: x, typed_config: {"@type": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate}}
        - {name: z, typed_config: {"@type": type.googleapis.com/envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate}}
)";

TEST_CASE("a configuration and its virtual host") {
  const auto config = make(kRoute);
  CHECK(config->name == "r");
  CHECK(config->internal_only_headers == std::vector<std::string>{"x-internal"});
  const auto& mirror = config->mirrors->at(0);
  CHECK(mirror.cluster_header == "shadow");
  CHECK(mirror.fraction.numerator == 5);
  CHECK(mirror.fraction.denominator == 1'000'000);
  const auto& host = *config->virtual_hosts.at(0);
  CHECK(host.include_request_attempt_count);
  CHECK(host.include_attempt_count_in_response);
  CHECK(host.include_is_timeout_retry_header);
  CHECK(host.request_body_limit == 0xffffffff);
  CHECK(host.retry_policy->num_retries == 3);
  CHECK(host.retry_policy->retry_on == (static_cast<uint32_t>(model::RetryOn::server_error) |
                                        static_cast<uint32_t>(model::RetryOn::grpc_cancelled)));
  const TextPairs metadata = {{"f", R"({"k":{"deep":1}})"}, {"f:k", R"({"deep":1})"}, {"f:k:deep", "1"}};
  CHECK(*host.metadata_text == metadata);
}

TEST_CASE("equal retry policies are one") {
  const auto config = make(R"(
name: r
virtual_hosts:
- name: a
  domains: [a]
  retry_policy: {retry_on: reset, num_retries: 2}
  routes:
  - {match: {prefix: /a}, route: {cluster: c, retry_policy: {num_retries: 2, retry_on: reset}}}
  - {match: {prefix: /b}, route: {cluster: c, retry_policy: {num_retries: 3, retry_on: reset}}}
  - {match: {prefix: /c}, route: {cluster: c}}
- name: b
  domains: [b]
  routes: [{match: {prefix: /}, route: {cluster: c, retry_policy: {num_retries: 3, retry_on: reset}}}]
)");
  const auto policy = [&](size_t host, size_t route) {
    return std::get<model::RouteAction>(config->virtual_hosts.at(host)->routes.at(route).action).retry_policy;
  };
  CHECK(policy(0, 0)->num_retries == 2);
  CHECK(policy(0, 0) == config->virtual_hosts.at(0)->retry_policy);
  CHECK(policy(0, 1)->num_retries == 3);
  CHECK(policy(1, 0) == policy(0, 1));
  CHECK(policy(0, 2) == nullptr);
}

TEST_CASE("a route and its action") {
  const auto config = make(kRoute);
  const auto& route = only_route(config);
  CHECK(route.name == "first");
  CHECK(*route.stat_prefix == "s");
  CHECK(route.decorator_operation == "op");
  CHECK_FALSE(route.decorator_propagate);
  CHECK(route.request_body_limit == 77);
  CHECK(route.metadata_text->at(1) == std::pair<std::string, std::string>("istio:config", "/apis"));
  const auto& action = std::get<model::RouteAction>(route.action);
  CHECK(action.choice->weight_total == 5);
  CHECK(action.choice->weighted_clusters.at(0).weight_end == 2);
  CHECK(action.choice->weighted_clusters.at(1).weight_end == 5);
  CHECK(action.choice->weighted_clusters.at(1).cluster_header == "x-c");
  const std::string list = R"([{"version":"v0"},{"n":2,"x":3}])";
  const auto& own = *action.metadata_match;
  CHECK(own.criteria ==
        TextPairs{{"fallback_list", list}, {"n", "1"}, {"stage", "\"prod\""}, {"version", "\"v1\""}});
  REQUIRE(own.fallbacks);
  CHECK(own.fallbacks->at(0) == TextPairs{{"n", "1"}, {"stage", "\"prod\""}, {"version", "\"v0\""}});
  CHECK(own.fallbacks->at(1) ==
        TextPairs{{"n", "2"}, {"stage", "\"prod\""}, {"version", "\"v1\""}, {"x", "3"}});
  const auto& inner = action.choice->weighted_clusters.at(0).metadata_match;
  CHECK(inner.criteria ==
        TextPairs{{"fallback_list", list}, {"n", "1"}, {"stage", "\"prod\""}, {"version", "\"v2\""}});
  CHECK(inner.fallbacks->at(1) ==
        TextPairs{{"n", "2"}, {"stage", "\"prod\""}, {"version", "\"v2\""}, {"x", "3"}});
  CHECK(action.choice->weighted_clusters.at(1).metadata_match.criteria == own.criteria);
  CHECK(action.cluster_not_found_status == 404);
  CHECK(action.timeout == 1500ms);
  CHECK(action.limits->idle_timeout == 0s);
  CHECK(action.limits->max_stream_duration == 2s);
  CHECK(action.limits->grpc_timeout_header_max == 0s);
  CHECK(action.limits->grpc_timeout_header_offset == 100ms);
  CHECK(action.max_grpc_timeout == 3s);
  CHECK(action.limits->grpc_timeout_offset == 500ms);
  CHECK(action.priority == ext::RoutingPriority::high);
  CHECK(action.upgrades->at(0).type == "websocket");
  CHECK(action.upgrades->at(0).enabled);
  CHECK_FALSE(action.upgrades->at(1).enabled);
  CHECK(action.internal_redirect->max == 4);
  CHECK(action.internal_redirect->codes == std::vector<uint16_t>{307, 308});
  CHECK(action.internal_redirect->allow_cross_scheme);
  REQUIRE(action.hash_policies->size() == 4);
  CHECK(action.hash_policies->at(0).name == "x-user");
  CHECK(action.hash_policies->at(0).terminal);
  CHECK(action.hash_policies->at(1).cookie_ttl == 90s);
  CHECK(action.hash_policies->at(1).cookie_attributes.at(0).second == "Lax");
  CHECK(action.hash_policies->at(2).kind == model::HashPolicy::Kind::source_ip);
  CHECK(action.hash_policies->at(3).kind == model::HashPolicy::Kind::query_parameter);
}

TEST_CASE("a retry policy") {
  const auto config = make(kRoute);
  const auto& retry = *std::get<model::RouteAction>(only_route(config).action).retry_policy;
  CHECK(retry.retry_on == static_cast<uint32_t>(model::RetryOn::reset));
  CHECK(retry.num_retries == 1);
  CHECK(retry.per_try_timeout == 2s);
  CHECK(retry.per_try_idle_timeout == 1s);
  CHECK(retry.retriable_status_codes == std::vector<uint16_t>{503});
  CHECK(retry.retriable_headers.at(0).name == "x-retry");
  CHECK(retry.host_selection_max_attempts == 5);
  CHECK(retry.backoff_base == 1ms);  // at least
  CHECK(retry.backoff_max == 10ms);
  CHECK(retry.reset_headers.at(0).name == "retry-after");
  CHECK(retry.reset_headers.at(1).unix_timestamp);
  CHECK(retry.rate_limited_max == 9s);
  CHECK(retry.previous_hosts);
  CHECK(retry.omit_canary_hosts);
}

TEST_CASE("5,000 virtual hosts are checked and translated in well under a second") {
  std::string yaml = "{virtual_hosts: [";
  for (int i = 0; i < 5000; ++i) {
    const std::string n = std::to_string(i);
    yaml += "{name: \"v" + n + "\", domains: [\"svc" + n + ".ns.svc.cluster.local\", \"svc" + n +
            "\", \"10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250) +
            "\"], routes: [{match: {prefix: /a, headers: [{name: x, string_match: {exact: v}}]}, route: "
            "{cluster: "
            "c}}, {match: {safe_regex: {regex: \"/b" +
            n +
            "/.*\"}}, route: {cluster: c, retry_policy: {retry_on: "
            "5xx}}, response_headers_to_add: [{header: {key: a, value: b}}]}]},";
  }
  yaml += "]}";
  envoy::config::route::v3::RouteConfiguration message;
  REQUIRE(parse_text(yaml, "routes", Syntax::yaml, message).ok());
  NoLogs logs;
  const ClusterNames clusters = {"c"};
  FactoryContext context(test::registry(), logs, {.has_cluster = has_cluster(clusters)});
  const HonouredFields honoured(test::registry());
  // check-allow: reports how long it took; nothing depends on it
  const auto start = std::chrono::steady_clock::now();
  REQUIRE(validate(message, FieldPath()).ok());
  // check-allow: reports how long it took; nothing depends on it
  const auto validated = std::chrono::steady_clock::now();
  REQUIRE(honoured.check(message, FieldPath()).ok());
  // check-allow: reports how long it took; nothing depends on it
  const auto checked = std::chrono::steady_clock::now();
  auto made = context.make_route_config(message, "");
  // check-allow: reports how long it took; nothing depends on it
  const auto translated = std::chrono::steady_clock::now();
  REQUIRE_MESSAGE(made.ok(), made.error().message);
  CHECK((*made)->find_virtual_host("svc4999.ns.svc.cluster.local")->name == "v4999");
  auto ms = [](auto d) { return std::chrono::duration<double, std::milli>(d).count(); };
  MESSAGE("5,000 virtual hosts: validated in " << ms(validated - start) << " ms, fields checked in "
                                               << ms(checked - validated) << " ms, translated in "
                                               << ms(translated - checked) << " ms");
  // Generous: a sanitizer build on a busy machine passes, a walk that is quadratic does not.
  CHECK(translated - start < 20s);
}

}  // namespace
}  // namespace sluice::config::test
