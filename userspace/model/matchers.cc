#include "model/matchers.h"

#include <charconv>

namespace sluice::model {
namespace {

// A whole number with nothing but blanks around it (absl::SimpleAtoi).
std::optional<int64_t> integer(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n\v\f");
  if (begin == std::string_view::npos) return {};
  text = text.substr(begin, text.find_last_not_of(" \t\r\n\v\f") + 1 - begin);
  if (text.starts_with('+')) text.remove_prefix(1);
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return {};
  return value;
}

}  // namespace

// Envoy: HeaderUtility::HeaderData. One of several values is enough, and inverted none may be. A header that is missing
// matches nothing but `present: false`, inverted or not, unless it is taken as empty.
bool HeaderMatcher::matches(const http::HeaderMap& headers) const {
  if (kind == Kind::present) {
    const bool there = treat_missing_as_empty || headers.has(std::string_view(name));
    return (there == present) != invert;
  }
  const http::Name id = http::find_name(name);
  bool there = false, hit = false;
  if (headers.has(id)) {
    for (const auto& field : headers) {
      if (id != http::Name::other ? field.id != id : field.name != name) continue;
      there = true;
      if ((hit = matches_value(field.value))) break;
    }
  }
  if (!there) {
    if (!treat_missing_as_empty) return false;
    hit = matches_value("");
  }
  return hit != invert;
}

bool HeaderMatcher::matches_value(std::string_view value) const {
  if (kind == Kind::string) return string.matches(value);
  const auto number = integer(value);
  return number && *number >= range_start && *number < range_end;
}

std::optional<std::string_view> query_parameter(std::string_view query, std::string_view name) {
  while (!query.empty()) {
    const size_t end = std::min(query.find('&'), query.size());
    const std::string_view pair = query.substr(0, end);
    query.remove_prefix(std::min(end + 1, query.size()));
    const size_t equals = std::min(pair.find('='), pair.size());
    if (pair.substr(0, equals) == name) return pair.substr(std::min(equals + 1, pair.size()));
  }
  return {};
}

bool QueryParameterMatcher::matches(std::string_view query) const {
  const auto found = query_parameter(query, name);
  if (!value) return found.has_value() == present;
  return found && value->matches(*found);
}

}  // namespace sluice::model
