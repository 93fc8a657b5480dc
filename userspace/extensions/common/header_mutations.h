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

// What is to be set: `literal`, or what `formatter` makes of the stream; null: it is a literal.
std::string value_of(const std::string& literal, const model::HeaderFormatter* formatter,
                     const ext::StreamInfo& info);
// In order.
void apply(const std::vector<Mutation>& mutations, http::HeaderMap& headers, const ext::StreamInfo& info);

}  // namespace sluice::extensions
