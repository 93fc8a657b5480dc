#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/random.h"
#include "core/string_matcher.h"
#include "http/header_map.h"

namespace sluice::model {

using sluice::StringMatcher;

// envoy.config.route.v3.HeaderMatcher.
struct HeaderMatcher {
  enum class Kind : uint8_t { present, range, string };
  std::string name;  // in lower case
  Kind kind = Kind::present;
  bool invert = false;
  bool treat_missing_as_empty = false;
  bool present = true;                   // present
  int64_t range_start = 0, range_end = 0;  // range: [start, end)
  StringMatcher string;
  bool matches(const http::HeaderMap& headers) const;

 private:
  bool matches_value(std::string_view value) const;
};

// envoy.config.route.v3.QueryParameterMatcher.
struct QueryParameterMatcher {
  std::string name;
  std::optional<StringMatcher> value;  // nothing: present is enough
  bool present = true;  // without `value`
  bool matches(std::string_view query) const;  // what stands behind "?"
};

// The first value of a parameter, as it stands in the request (not decoded); nothing: it is not there. "a" is "a=".
std::optional<std::string_view> query_parameter(std::string_view query, std::string_view name);

// envoy.type.v3.FractionalPercent with the runtime key's default.
struct Fraction {
  uint32_t numerator = 100, denominator = 100;  // denominator: 100, 10,000 or 1,000,000
  bool hit(uint64_t random) const { return random % denominator < numerator; }
};

}  // namespace sluice::model
