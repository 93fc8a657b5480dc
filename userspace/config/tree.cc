#include "config/tree.h"

namespace sluice::config {

std::string_view kind_name(Node::Kind kind) {
  switch (kind) {
    case Node::Kind::null:
      return "nothing";
    case Node::Kind::boolean:
      return "a boolean";
    case Node::Kind::number:
      return "a number";
    case Node::Kind::string:
      return "a string";
    case Node::Kind::list:
      return "a list";
    case Node::Kind::map:
      return "a map";
  }
  return "";
}

bool truth(const Node& boolean) {
  const char first = boolean.text[0];
  if (first == 'o' || first == 'O') return boolean.text[1] == 'n' || boolean.text[1] == 'N';
  return first == 't' || first == 'T' || first == 'y' || first == 'Y';
}

Error error_at(std::string_view source, int line, int column, std::string_view what) {
  std::string text(source);
  if (line > 0) text += ":" + std::to_string(line) + ":" + std::to_string(column);
  if (!text.empty()) text += ": ";
  text += what;
  return Error{std::move(text)};
}

namespace {

// Length of the UTF-8 sequence at text[i], 0 if it is not one (overlong forms and surrogates are not).
size_t utf8_length(std::string_view text, size_t i) {
  auto byte = [&](size_t k) -> unsigned {
    return i + k < text.size() ? static_cast<unsigned char>(text[i + k]) : 0;
  };
  auto follows = [&](size_t k) { return (byte(k) & 0xc0) == 0x80; };
  const unsigned b = byte(0);
  if (b < 0x80) return 1;
  if (b >= 0xc2 && b <= 0xdf) return follows(1) ? 2 : 0;
  if (b >= 0xe0 && b <= 0xef) {
    if (!follows(1) || !follows(2)) return 0;
    const bool overlong = b == 0xe0 && byte(1) < 0xa0, surrogate = b == 0xed && byte(1) > 0x9f;
    return overlong || surrogate ? 0 : 3;
  }
  if (b >= 0xf0 && b <= 0xf4) {
    if (!follows(1) || !follows(2) || !follows(3)) return 0;
    const bool overlong = b == 0xf0 && byte(1) < 0x90, beyond = b == 0xf4 && byte(1) > 0x8f;
    return overlong || beyond ? 0 : 4;
  }
  return 0;
}

}  // namespace

Result<std::string_view> checked_utf8(std::string_view text, std::string_view source) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  int line = 1;
  size_t line_start = 0;
  for (size_t i = 0; i < text.size();) {
    if (text[i] == '\n') {
      ++line;
      line_start = i + 1;
    }
    const size_t n = utf8_length(text, i);
    if (n == 0 || text[i] == '\0')
      return error_at(
          source, line, static_cast<int>(i - line_start) + 1,
          "this byte is not text; the file must be UTF-8 (is it a binary file, or in another encoding?)");
    i += n;
  }
  return text;
}

}  // namespace sluice::config
