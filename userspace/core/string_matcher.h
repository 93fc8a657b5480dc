#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/regex.h"

namespace sluice {

// envoy.type.matcher.v3.StringMatcher.
struct StringMatcher {
  enum class Kind : uint8_t { exact, prefix, suffix, contains, regex };
  Kind kind = Kind::exact;
  std::string text;  // in lower case with ignore_case (which says nothing of a regex)
  bool ignore_case = false;
  std::optional<Regex> regex;
  bool matches(std::string_view value) const;
};

}  // namespace sluice
