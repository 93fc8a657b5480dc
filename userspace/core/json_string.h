#pragma once

#include <string>
#include <string_view>

namespace sluice {

// Appends `text` as a JSON string with its quotes (RFC 8259 section 7). Text that is not UTF-8 cannot stand in JSON: then
// every byte outside of plain ASCII is written by its number, as \u00XX; Envoy's access log does the same.
void append_json_string(std::string_view text, std::string& out);

// Escapes what was appended to `out` since `from`, for text that was written in place; nearly always there is nothing to
// do. The quotes are the caller's.
void escape_json_tail(std::string& out, size_t from);

}  // namespace sluice
