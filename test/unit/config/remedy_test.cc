// Configurations of Envoy's v2 days, as they still go round: refused with the words of v3.
#include <doctest/doctest.h>

#include <string>

#include "config/translate.h"
#include "test/unit/config/registry.h"

namespace sluice::config::test {
namespace {

std::string refused(const std::string& yaml) {
  NoLogs logs;
  const auto made = load_configuration({.yaml = yaml}, registry(), logs);
  return made.ok() ? "" : made.error().message;
}

std::string filter(const std::string& fields) {
  return "static_resources: {listeners: [{name: l, address: {pipe: {path: /x}}, filter_chains: [{filters: "
         "[{" +
         fields + "}]}]}]}";
}

TEST_CASE("v2 configurations are told the v3 field, name and type") {
  const struct {
    std::string yaml, path, remedy;
  } table[] = {
      {"admin: {access_log_path: /dev/null, address: {pipe: {path: /x}}}", "admin.access_log_path",
       "v3 made \"access_log\""},
      {filter("name: envoy.http_connection_manager, config: {stat_prefix: p}"), "filters[0].config",
       "write typed_config: {\"@type\": "
       "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager."
       "v3.HttpConnectionManager}"},
      {filter("config: {}, name: envoy.filters.network.tcp_proxy"), "filters[0].config",
       "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"},
      {filter("name: other, config: {}"), "filters[0].config", "write \"typed_config\" with the \"@type\""},
      {filter("name: envoy.tcp_proxy"), "filters[0]",
       "\"envoy.tcp_proxy\" is v2's name of envoy.filters.network.tcp_proxy"},
      {"static_resources: {listeners: [{address: {pipe: {path: /x}}, access_log: [{name: "
       "envoy.file_access_log, "
       "config: {path: /dev/stdout}}]}]}",
       "access_log[0].config", "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"},
      {"static_resources: {clusters: [{name: c, hosts: [{socket_address: {address: 10.0.0.1, port_value: "
       "80}}]}]}",
       "clusters[0].hosts", "write \"load_assignment\" with \"endpoints\""},
      {filter("name: t, typed_config: {\"@type\": type.googleapis.com/"
              "envoy.config.filter.network.http_connection_manager.v2.HttpConnectionManager}"),
       "typed_config.@type",
       "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"},
      {filter("name: t, typed_config: {}"), "filters[0].typed_config", "\"@type\" is missing"},
  };
  for (const auto& row : table) {
    const std::string error = refused(row.yaml);
    CHECK_MESSAGE(error.find(row.path + ": ") != std::string::npos, error);
    CHECK_MESSAGE(error.find(row.remedy) != std::string::npos, error);
  }
}

}  // namespace
}  // namespace sluice::config::test
