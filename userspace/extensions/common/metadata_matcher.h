#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/json.h"
#include "core/string_matcher.h"
#include "sluice/ext/stream_info.h"

namespace sluice::extensions {

// envoy.type.matcher.v3.ValueMatcher.
struct ValueMatcher {
  enum class Kind : uint8_t { null, number, string, boolean, present, list, any_of };
  Kind kind = Kind::present;
  bool expected = true;  // boolean, present
  bool exact = false;  // number: `begin`, else [begin, end)
  double begin = 0, end = 0;
  StringMatcher string = {};
  std::vector<ValueMatcher> values = {};  // list: one for its elements, or none; any_of: all of them
  // Null: there is no value, which nothing matches.
  bool matches(const Json* value) const;
};

// envoy.type.matcher.v3.MetadataMatcher.
struct MetadataMatcher {
  std::string filter;
  std::vector<std::string> path;  // not empty
  ValueMatcher value;
  bool invert = false;
  // `metadata` may be null: nothing was set.
  bool matches(const ext::Metadata* metadata) const;
};

}  // namespace sluice::extensions
