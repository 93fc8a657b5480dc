#pragma once

#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <string>

namespace sluice::config::test {

inline constexpr const char* kBenchConfigs[] = {"http2/envoy.yaml", "mesh/envoy-inbound.yaml",
                                                "mesh/envoy-outbound.yaml", "tcp-passthrough/envoy.yaml"};

// What a lane of the benchmarks would give to the proxy.
inline std::string bench_config(const std::string& name) {
  std::ifstream file(std::string(SLUICE_BENCH_CONFIGS "/") + name);
  REQUIRE_MESSAGE(file.good(), name);
  std::string text(std::istreambuf_iterator<char>(file), {});
  const std::string hole = "@WINDOWS@";  // most scenarios have nothing there
  for (size_t at; (at = text.find(hole)) != std::string::npos;) text.erase(at, hole.size());
  return text;
}

}  // namespace sluice::config::test
