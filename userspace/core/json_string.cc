#include "core/json_string.h"

namespace sluice {
namespace {

bool plain(unsigned char c) {
  return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

// Length of the valid UTF-8 sequence that starts at `i` (RFC 3629); 0: not valid.
size_t utf8_length(std::string_view s, size_t i) {
  auto byte = [&](size_t k) { return i + k < s.size() ? static_cast<unsigned char>(s[i + k]) : 0u; };
  auto follows = [&](size_t k, unsigned low = 0x80, unsigned high = 0xbf) {
    return byte(k) >= low && byte(k) <= high;
  };
  unsigned c = byte(0);
  if (c < 0x80) return 1;
  if (c >= 0xc2 && c <= 0xdf) return follows(1) ? 2 : 0;
  if (c >= 0xe0 && c <= 0xef) {
    return follows(1, c == 0xe0 ? 0xa0 : 0x80, c == 0xed ? 0x9f : 0xbf) && follows(2) ? 3 : 0;
  }
  if (c >= 0xf0 && c <= 0xf4) {
    return follows(1, c == 0xf0 ? 0x90 : 0x80, c == 0xf4 ? 0x8f : 0xbf) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

bool valid_utf8(std::string_view s) {
  for (size_t i = 0; i < s.size();) {
    size_t n = utf8_length(s, i);
    if (n == 0) return false;
    i += n;
  }
  return true;
}

void append_u00(unsigned char c, std::string& out) {
  out += "\\u00";
  out += "0123456789abcdef"[c >> 4];
  out += "0123456789abcdef"[c & 15];
}

void append_escaped(std::string_view text, std::string& out) {
  // What is not UTF-8 cannot stand in JSON: each odd byte is written by its number, as Envoy does.
  if (!valid_utf8(text)) {
    for (char c : text) {
      if (plain(static_cast<unsigned char>(c)))
        out += c;
      else
        append_u00(static_cast<unsigned char>(c), out);
    }
    return;
  }
  for (char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      case '\b':
        out += "\\b";
        break;
      case '\f':
        out += "\\f";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20)
          append_u00(static_cast<unsigned char>(c), out);
        else
          out += c;
    }
  }
}

}  // namespace

void append_json_string(std::string_view text, std::string& out) {
  out += '"';
  append_escaped(text, out);
  out += '"';
}

void escape_json_tail(std::string& out, size_t from) {
  bool clean = true;
  for (size_t i = from; i < out.size() && clean; ++i) clean = plain(static_cast<unsigned char>(out[i]));
  if (clean) return;
  thread_local std::string raw;
  raw.assign(out, from);
  out.resize(from);
  append_escaped(raw, out);
}

}  // namespace sluice
