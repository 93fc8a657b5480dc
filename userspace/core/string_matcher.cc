#include "core/string_matcher.h"

#include "core/ascii.h"

namespace sluice {
namespace {

// `b` is in lower case already where `ignore_case`.
bool equal(std::string_view a, std::string_view b, bool ignore_case) {
  if (a.size() != b.size()) return false;
  if (!ignore_case) return a == b;
  for (size_t i = 0; i < a.size(); ++i)
    if (to_lower(a[i]) != b[i]) return false;
  return true;
}

bool contains(std::string_view text, std::string_view part, bool ignore_case) {
  if (!ignore_case) return text.find(part) != std::string_view::npos;
  for (size_t i = 0; i + part.size() <= text.size(); ++i)
    if (equal(text.substr(i, part.size()), part, true)) return true;
  return false;
}

}  // namespace

bool StringMatcher::matches(std::string_view value) const {
  switch (kind) {
    case Kind::exact:
      return equal(value, text, ignore_case);
    case Kind::prefix:
      return value.size() >= text.size() && equal(value.substr(0, text.size()), text, ignore_case);
    case Kind::suffix:
      return value.size() >= text.size() &&
             equal(value.substr(value.size() - text.size()), text, ignore_case);
    case Kind::contains:
      return contains(value, text, ignore_case);
    case Kind::regex:
      return regex->full_match(value);
  }
  return false;
}

}  // namespace sluice
