#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::admin {

// A statistic's name without the parts that became tags, as Prometheus wants it.
struct TaggedName {
  std::string name;                                       // "cluster.upstream_cx_total"
  std::vector<std::pair<std::string, std::string>> tags;  // {"envoy.cluster_name", "web"}
};

// Envoy's default tag extraction (source/common/config/well_known_names.cc), for the names that Sluice makes.
TaggedName extract_tags(std::string_view name);

}  // namespace sluice::admin
