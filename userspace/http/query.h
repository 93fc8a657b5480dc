#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

// The query of a :path. Names and values are taken apart and decoded as Envoy's QueryParamsMulti does it: "+" stays "+".
namespace sluice::http {

// What stands behind "?"; nothing: there is none.
std::optional<std::string_view> query_of(std::string_view path);
std::string_view without_query(std::string_view path);

// "%41" → "A". What is no escape stays as it is. Appends.
void percent_decode(std::string_view text, std::string& out);
// Escapes all but RFC 3986's unreserved characters. Appends.
void percent_encode(std::string_view text, std::string& out);

// The parameters, decoded, in order; several of one name stay several. A name without "=" has the value "".
using QueryParameters = std::vector<std::pair<std::string, std::string>>;
QueryParameters parse_query(std::string_view query);
// The first value of that name, decoded, appended to `out`; false: no such name.
bool append_query_value(std::string_view query, std::string_view name, std::string& out);
// `path` with these parameters, encoded, in place of its query.
std::string replace_query(std::string_view path, const QueryParameters& parameters);

}  // namespace sluice::http
