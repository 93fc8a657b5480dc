#include "config/validate.h"

#include <doctest/doctest.h>

#include <string>

#include "config/honoured.h"
#include "config/yaml_json.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "sluice/ext/registry.h"

namespace sluice::config {
namespace {

using envoy::config::bootstrap::v3::Bootstrap;

Bootstrap read(std::string_view text) {
  Bootstrap out;
  auto status = parse_text(text, "f.yaml", Syntax::yaml, out);
  REQUIRE_MESSAGE(status.ok(), status.error().message);
  return out;
}

std::string validated(std::string_view text) {
  auto status = validate(read(text), FieldPath());
  return status.ok() ? "" : status.error().message;
}

std::string cluster(std::string fields) {
  return "static_resources: {clusters: [{name: c, " + fields + "}]}";
}
std::string filter(std::string config) {
  return "static_resources: {listeners: [{address: {pipe: {path: /x}}, filter_chains: [{filters: [{name: f, "
         "typed_config: "
         "{\"@type\": type.googleapis.com/envoy.extensions.filters.network." +
         config + "}}]}]}]}";
}

TEST_CASE("Envoy's own rules, by reflection") {
  struct {
    std::string text;
    std::string error;
  } table[] = {
      {"stats_flush_interval: 5s", ""},
      {"stats_flush_interval: 400s", "stats_flush_interval: value must be inside range [0.001s, 300s)"},
      {"stats_flush_interval: 300s", "stats_flush_interval: value must be inside range [0.001s, 300s)"},
      {"stats_flush_interval: 0.001s", ""},
      {"static_resources: {clusters: [{}]}",
       "static_resources.clusters[0].name: value length must be at least 1 characters"},
      {cluster("connect_timeout: 0s"),
       "static_resources.clusters[0].connect_timeout: value must be greater than 0s"},
      {cluster("type: 77"),
       "static_resources.clusters[0].type: value must be one of the defined enum values"},
      {cluster("load_assignment: {}"),
       "static_resources.clusters[0].load_assignment.cluster_name: value length must be at least 1 "
       "characters"},
      {cluster("load_assignment: {cluster_name: c, endpoints: [{priority: 129}]}"),
       "static_resources.clusters[0].load_assignment.endpoints[0].priority: value must be less than or equal "
       "to 128"},
      {cluster(
           "load_assignment: {cluster_name: c, endpoints: [{lb_endpoints: [{load_balancing_weight: 0}]}]}"),
       "static_resources.clusters[0].load_assignment.endpoints[0].lb_endpoints[0].load_balancing_weight: "
       "value must be "
       "greater than or equal to 1"},
      {cluster("least_request_lb_config: {choice_count: 1}"),
       "static_resources.clusters[0].least_request_lb_config.choice_count: value must be greater than or "
       "equal to 2"},
      {cluster("common_lb_config: {healthy_panic_threshold: {value: 101}}"),
       "static_resources.clusters[0].common_lb_config.healthy_panic_threshold.value: value must be inside "
       "range [0, 100]"},
      {"admin: {address: {}}",
       "admin.address: address: value is required (one of socket_address, pipe, envoy_internal_address)"},
      {"admin: {address: {socket_address: {port_value: 1}}}",
       "admin.address.socket_address.address: value length must be at least 1 characters"},
      {"admin: {address: {socket_address: {address: a}}}",
       "admin.address.socket_address: port_specifier: value is required (one of port_value, named_port)"},
      {"admin: {address: {socket_address: {address: a, port_value: 65536}}}",
       "admin.address.socket_address.port_value: value must be less than or equal to 65535"},
      {"admin: {address: {pipe: {path: /x, mode: 512}}}",
       "admin.address.pipe.mode: value must be less than or equal to 511"},
      // What an Any holds, by the same rules.
      {filter("tcp_proxy.v3.TcpProxy, stat_prefix: p, cluster: c"), ""},
      {filter("tcp_proxy.v3.TcpProxy, cluster: c"),
       "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.stat_prefix: value length "
       "must be at least 1 "
       "characters"},
      {filter("tcp_proxy.v3.TcpProxy, stat_prefix: p"),
       "static_resources.listeners[0].filter_chains[0].filters[0].typed_config: cluster_specifier: value is "
       "required (one of "
       "cluster, weighted_clusters)"},
      {filter("tcp_proxy.v3.TcpProxy, stat_prefix: p, weighted_clusters: {clusters: []}"),
       "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.weighted_clusters.clusters: "
       "value must contain "
       "at least 1 item(s)"},
      {filter("tcp_proxy.v3.TcpProxy, stat_prefix: p, cluster: c, max_connect_attempts: 0"),
       "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.max_connect_attempts: value "
       "must be greater than "
       "or equal to 1"},
  };
  for (const auto& row : table)
    CHECK_MESSAGE(validated(row.text) == row.error, row.text << " -> " << validated(row.text));
}

std::string honoured(std::string_view text, const HonouredFields& lists) {
  auto status = lists.check(read(text), FieldPath());
  return status.ok() ? "" : status.error().message;
}

TEST_CASE("nothing is accepted and ignored") {
  ext::Registry registry;
  registry.add(ext::Extension<ext::NetworkFilterFactory>{
      .name = "envoy.filters.network.tcp_proxy",
      .type = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
      .create = nullptr,
      .honoured = {{.message = "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                    .fields = "stat_prefix cluster"}}});
  const HonouredFields lists(registry);
  CHECK(honoured("node: {id: a, metadata: {x: y}}", lists) == "");
  CHECK(honoured(filter("tcp_proxy.v3.TcpProxy, stat_prefix: p, cluster: c"), lists) == "");
  CHECK(honoured(cluster("metadata: {filter_metadata: {a: {b: c}}}, http2_protocol_options: {}"), lists) ==
        "");
  CHECK(honoured("overload_manager: {}", lists) ==
        "overload_manager: not supported by this version of Sluice; remove it");
  CHECK(honoured("static_resources: {listeners: [{}, {enable_mptcp: true}]}", lists) ==
        "static_resources.listeners[1].enable_mptcp: not supported by this version of Sluice; remove it");
  CHECK(honoured(filter("tcp_proxy.v3.TcpProxy, stat_prefix: p, cluster: c, idle_timeout: 1s"), lists) ==
        "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.idle_timeout: not supported "
        "by this version of "
        "Sluice; remove it");
  CHECK(honoured(filter("echo.v3.Echo"), lists) ==
        "static_resources.listeners[0].filter_chains[0].filters[0].typed_config: not supported by this "
        "version of Sluice "
        "(envoy.extensions.filters.network.echo.v3.Echo); remove it");
  // What a TypedStruct holds.
  CHECK(honoured("static_resources: {listeners: [{listener_filters: [{typed_config: {\"@type\": "
                 "type.googleapis.com/udpa.type.v1.TypedStruct, type_url: "
                 "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, value: "
                 "{idle_timeout: 1s}}}]}]}",
                 lists)
            .ends_with("typed_config.idle_timeout: not supported by this version of Sluice; remove it"));
  // A field from a newer API arrives as an unknown one.
  Bootstrap newer = read("node: {id: a}");
  newer.mutable_node()->GetReflection()->MutableUnknownFields(newer.mutable_node())->AddVarint(9999, 1);
  auto status = lists.check(newer, FieldPath());
  REQUIRE(!status.ok());
  CHECK(status.error().message.starts_with("node: field number 9999 is unknown"));
}

}  // namespace
}  // namespace sluice::config
