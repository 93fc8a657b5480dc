#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "core/result.h"

namespace sluice {

// An RE2 expression (linear time, whatever the input). Immutable, thread-safe, cheap to copy.
// https://github.com/google/re2/wiki/Syntax
//
// A pattern that surely compiles (core/regex_syntax.h) is compiled by the first text that wants it: most of a
// control plane's thousands never see a request. Until then it is 136 bytes; its first match takes 7 to 16
// us, of which 6 to 10 are the compilation, and leaves 3 to 14 KB (two of usual make; the worst found, 255
// dots: 340 us and 150 KB).
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
  // Instructions: what memory and time of a match grow with. Compiles.
  size_t program_size() const;
  // Are there more of them than `limit`? Compiles only where the pattern's length leaves that open.
  bool program_exceeds(size_t limit) const;
  bool compiled() const;  // so far; for tests
  const std::string& pattern() const;

 private:
  Regex() = default;
  struct Impl;
  std::shared_ptr<const Impl> impl_;
};

}  // namespace sluice
