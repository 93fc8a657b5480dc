#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sluice/ext/upstream.h"

namespace sluice::model {

// "envoy.lb" of an endpoint's metadata. Values are JSON, as in ext::MetadataMatch.
struct LbMetadata {
  struct Field {
    std::string key, value;
    bool list = false;
    std::vector<std::string> elements = {};  // of a list
    bool operator==(const Field&) const = default;
  };
  std::vector<Field> fields;  // sorted by key

  const Field* find(std::string_view key) const;  // null: not there
  bool operator==(const LbMetadata&) const = default;
};

// Whether `metadata` (may be null) has all criteria; with `list_as_any` a list has each of its elements, but not itself.
bool has_criteria(const LbMetadata* metadata, const ext::MetadataMatch::Criteria& criteria, bool list_as_any);

// Cluster.LbSubsetConfig. https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/subsets
struct SubsetConfig {
  // Where no subset matches. `unset` and `keys` are a selector's alone.
  enum class Fallback : uint8_t { none, any, default_subset, unset, keys };
  struct Selector {
    std::vector<std::string> keys = {};  // sorted, each once; never empty
    Fallback fallback = Fallback::unset;
    std::vector<std::string> fallback_keys = {};  // fewer than `keys`, and of them
    bool single_host = false;
  };

  std::vector<Selector> selectors = {};
  Fallback fallback = Fallback::none;
  ext::MetadataMatch::Criteria default_subset = {};
  bool locality_weight_aware = false, scale_locality_weight = false;
  bool panic_mode_any = false;
  bool list_as_any = false;
  bool fallback_list = false;  // metadata_fallback_policy
  // Only in load_balancing_policy: criteria that no selector has do not count. Selectors are then sorted by how many
  // keys they have, the most first.
  bool allow_redundant_keys = false;

  bool falls_back_on(Fallback f) const;
};

}  // namespace sluice::model
