#include "test/unit/config/verdicts.h"

#include <doctest/doctest.h>

#include "config/translate.h"
#include "test/unit/config/istiod_verdicts.h"
#include "test/unit/config/proxy_protocol_verdicts.h"
#include "test/unit/config/registry.h"
#include "test/unit/config/scoped_route_verdicts.h"
#include "test/unit/config/tls_verdicts.h"

namespace sluice::config::test {
namespace {

TEST_CASE("what Envoy refuses is refused, what it accepts is accepted or said to be unsupported") {
  NoLogs logs;
  const auto check = [&](const Row& row) {
    auto made = load_configuration({.yaml = row.yaml[0] != '\0' ? row.yaml : "\n"}, registry(), logs);
    const std::string error = made.ok() ? "" : made.error().message;
    CHECK_MESSAGE(made.ok() == (row.verdict == Verdict::accepted), std::string(row.name) << ": " << error);
    CHECK_MESSAGE(error.find(row.part) != std::string::npos, std::string(row.name) << ": " << error);
    if (!made.ok()) CHECK_MESSAGE(error.starts_with("--config-yaml"), std::string(row.name) << ": " << error);
  };
  for (const Row& row : kRows) check(row);
  for (const Row& row : kIstiodRows) check(row);
  for (const Row& row : kProxyProtocolRows) check(row);
  for (const Row& row : kScopedRouteRows) check(row);
}

void check_tls(const Row& row, const std::string& yaml) {
  NoLogs logs;
  auto made = load_configuration({.yaml = yaml}, registry(), logs);
  const std::string error = made.ok() ? "" : made.error().message;
  CHECK_MESSAGE(made.ok() == (row.verdict == Verdict::accepted), std::string(row.name) << ": " << error);
  CHECK_MESSAGE(error.find(row.part) != std::string::npos, std::string(row.name) << ": " << error);
  CHECK_MESSAGE(error.find("BEGIN") == std::string::npos, std::string(row.name) << " shows a secret");
}

TEST_CASE("TLS contexts: what Envoy refuses is refused, in its words and with the field's path") {
  for (const Row& row : kServerRows) check_tls(row, with_server(row.yaml));
  for (const Row& row : kClientRows) check_tls(row, with_client(row.yaml));
  for (const Row& row : kAlpnRows) check_tls(row, row.yaml);
}

}  // namespace
}  // namespace sluice::config::test
