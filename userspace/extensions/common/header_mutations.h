#pragma once

#include <string>
#include <variant>
#include <vector>

#include "http/header_map.h"
#include "model/matchers.h"
#include "model/route.h"
#include "sluice/ext/stream_info.h"

namespace sluice::extensions {

// envoy.config.common.mutation_rules.v3.HeaderMutation.
struct Remove {
  std::string name;  // in lower case
};
struct RemoveOnMatch {
  model::StringMatcher name;
};
using Mutation = std::variant<model::HeaderRules::Add, Remove, RemoveOnMatch>;

// In order.
void apply(const std::vector<Mutation>& mutations, http::HeaderMap& headers, const ext::StreamInfo& info);

}  // namespace sluice::extensions
