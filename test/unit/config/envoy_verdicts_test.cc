// The tables of verdicts.h and its likes, put to a real Envoy.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "test/unit/config/envoy.h"
#include "test/unit/config/istiod_verdicts.h"
#include "test/unit/config/proxy_protocol_verdicts.h"
#include "test/unit/config/route_verdicts.h"
#include "test/unit/config/scoped_route_verdicts.h"
#include "test/unit/config/tls_verdicts.h"
#include "test/unit/config/verdicts.h"

namespace sluice::config::test {
namespace {

// `envoy --mode validate`: whether it accepts, and what it wrote.
bool accepts(const std::string& envoy, const std::string& yaml, std::string& output) {
  const std::string base = "/tmp/sluice-verdict-" + std::to_string(::getpid());
  const std::string config = base + ".yaml", log = base + ".log";
  std::ofstream(config, std::ios::trunc) << yaml << "\n";
  Envoy process(envoy, {"--mode", "validate", "-c", config, "-l", "error", "--concurrency", "1"}, log);
  const bool accepted = process.wait() == 0;
  output = read_file(log);
  std::remove(config.c_str());
  std::remove(log.c_str());
  return accepted;
}

TEST_CASE("a real Envoy says of every configuration what the table says") {
  const std::string envoy = find_envoy();
  if (envoy.empty()) return;
  const auto check = [&](const Row& row) {
    std::string output;
    const bool accepted = accepts(envoy, row.yaml, output);
    CHECK_MESSAGE(accepted == (row.verdict != Verdict::refused), std::string(row.name) << ": " << output);
  };
  for (const Row& row : kRows) check(row);
  for (const Row& row : kIstiodRows) check(row);
  for (const Row& row : kProxyProtocolRows) check(row);
  for (const Row& row : kScopedRouteRows) check(row);
}

TEST_CASE("a real Envoy says of every TLS context what the table says") {
  const std::string envoy = find_envoy();
  if (envoy.empty()) return;
  auto check = [&](const Row& row, const std::string& yaml) {
    std::string output;
    const bool accepted = accepts(envoy, yaml, output);
    CHECK_MESSAGE(accepted == (row.verdict != Verdict::refused), std::string(row.name) << ": " << output);
  };
  for (const Row& row : kServerRows) check(row, with_server(row.yaml));
  for (const Row& row : kClientRows) check(row, with_client(row.yaml));
  for (const Row& row : kAlpnRows) check(row, row.yaml);
}

TEST_CASE("a real Envoy says of every route configuration what the table says") {
  const std::string envoy = find_envoy();
  if (envoy.empty()) return;
  const std::string before =
      "static_resources: {clusters: [{name: c}], listeners: [{name: l, address: {pipe: {path: "
      "\"@sluice-verdict\"}}, filter_chains: [{filters: [{name: h, typed_config: {\"@type\": "
      "type.googleapis.com/"
      "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager, "
      "stat_prefix: p, http_filters: [{name: r, typed_config: {\"@type\": "
      "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}], route_config: ";
  for (const Row& row : kRouteRows) {
    std::string output;
    const bool accepted = accepts(envoy, before + row.yaml + "}}]}]}]}", output);
    CHECK_MESSAGE(accepted == (row.verdict != Verdict::refused), std::string(row.name) << ": " << output);
  }
}

}  // namespace
}  // namespace sluice::config::test
