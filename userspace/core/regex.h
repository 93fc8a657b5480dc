#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/result.h"

namespace sluice {

// A compiled RE2 expression (linear time, whatever the input). Immutable, thread-safe, cheap to copy.
// https://github.com/google/re2/wiki/Syntax
class Regex {
 public:
  // Errors are RE2's: "missing ): a(".
  static Result<Regex> compile(std::string_view pattern);
  bool full_match(std::string_view text) const;
  bool partial_match(std::string_view text) const;  // anywhere in the text
  // Replaces every match by `substitution`, where \1 to \9 are groups and \0 is the match; appends the result to `out`.
  // False: nothing matched, `out` has the text unchanged.
  bool replace_all(std::string_view text, std::string_view substitution, std::string& out) const;
  // The remedy where a substitution names a group that the pattern does not have.
  Status check_substitution(std::string_view substitution) const;
  size_t program_size() const;  // instructions: what memory and time of a match grow with
  const std::string& pattern() const;

 private:
  Regex() = default;
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace sluice
