#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "core/regex.h"
#include "core/regex_syntax.h"

namespace sluice::test {

// What recognise_plain_regex() says of `pattern` and RE2 denies; "" where nothing is, or it is not plain.
// `text` is what both match, as it is and behind the prefix.
inline std::string denied(std::string_view pattern, std::string_view text) {
  const auto plain = recognise_plain_regex(pattern);
  if (!plain) return "";
  // The same expression in flags that change nothing, which is not plain: RE2 compiles it at once.
  const auto now = Regex::compile("(?-s:" + std::string(pattern) + ")");
  if (!now.ok()) return "does not compile: " + now.error().message;
  if (!now->compiled()) return "flags are plain";
  const size_t size = now->program_size();
  if (size > plain_program_max(pattern.size())) return "has a program of " + std::to_string(size);
  // A substitution names one digit.
  const int groups = std::min<int>(plain->groups, 9);
  if (!now->check_substitution("\\" + std::to_string(groups)).ok()) return "has fewer groups";
  if (groups < 9 && now->check_substitution("\\" + std::to_string(groups + 1)).ok()) return "has more groups";

  const auto later = Regex::compile(pattern);
  if (!later.ok() || later->compiled()) return "was compiled at once";
  const std::string prefix(pattern.substr(plain->prefix_at, plain->prefix_size));
  for (const std::string& whole : {std::string(text), prefix + std::string(text)})
    if (later->full_match(whole) != now->full_match(whole)) return "matches otherwise: " + whole;
  if (later->partial_match(text) != now->partial_match(text)) return "matches a part otherwise";
  return "";
}

}  // namespace sluice::test
