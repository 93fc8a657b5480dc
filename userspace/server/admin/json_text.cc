#include "server/admin/json_text.h"

#include <cstdint>

namespace sluice::admin {
namespace {

// Bytes of the UTF-8 sequence at the start of `s` (RFC 3629); 0: none.
size_t sequence(std::string_view s) {
  auto byte = [&](size_t i) { return i < s.size() ? static_cast<uint8_t>(s[i]) : uint8_t{0}; };
  uint8_t c = byte(0);
  size_t n = c < 0x80                 ? 1
             : c >= 0xc2 && c <= 0xdf ? 2
             : c >= 0xe0 && c <= 0xef ? 3
             : c >= 0xf0 && c <= 0xf4 ? 4
                                      : 0;
  for (size_t i = 1; i < n; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  if ((c == 0xe0 && byte(1) < 0xa0) || (c == 0xed && byte(1) > 0x9f)) return 0;  // overlong, surrogates
  if ((c == 0xf0 && byte(1) < 0x90) || (c == 0xf4 && byte(1) > 0x8f)) return 0;  // overlong, beyond U+10FFFF
  return n;
}

}  // namespace

std::string json_string(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    size_t n = sequence(text);
    char c = text.front();
    if (n == 0) {
      out += "\xef\xbf\xbd";
      n = 1;
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<uint8_t>(c) < 0x20) {
      out += "\\u00";
      out += "0123456789abcdef"[c >> 4];
      out += "0123456789abcdef"[c & 15];
    } else {
      out += text.substr(0, n);
    }
    text.remove_prefix(n);
  }
  return out += '"';
}

}  // namespace sluice::admin
