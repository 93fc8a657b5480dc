#include "test/unit/config/verdicts.h"

#include <doctest/doctest.h>

#include "config/translate.h"
#include "test/unit/config/registry.h"

namespace sluice::config::test {
namespace {

TEST_CASE("what Envoy refuses is refused, what it accepts is accepted or said to be unsupported") {
  NoLogs logs;
  for (const Row& row : kRows) {
    auto made = load_configuration({.yaml = row.yaml[0] != '\0' ? row.yaml : "\n"}, registry(), logs);
    const std::string error = made.ok() ? "" : made.error().message;
    CHECK_MESSAGE(made.ok() == (row.verdict == Verdict::accepted), row.name << ": " << error);
    CHECK_MESSAGE(error.find(row.part) != std::string::npos, row.name << ": " << error);
    if (!made.ok()) CHECK_MESSAGE(error.starts_with("--config-yaml"), row.name << ": " << error);
  }
}

}  // namespace
}  // namespace sluice::config::test
