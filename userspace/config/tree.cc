#include "config/tree.h"

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "core/ascii.h"

namespace sluice::config {

std::string_view Tree::keep(std::string_view text) {
  if (text.empty()) return {};
  char* copy = static_cast<char*>(memory_.allocate(text.size(), 1));
  std::memcpy(copy, text.data(), text.size());
  return {copy, text.size()};
}

std::span<const Node* const> Tree::keep(std::span<const Node* const> items) {
  auto* copy = static_cast<const Node**>(allocate(items.size_bytes()));
  std::ranges::copy(items, copy);
  return {copy, items.size()};
}

std::span<const Node::Entry> Tree::keep(std::span<const Node::Entry> entries) {
  auto* copy = static_cast<Node::Entry*>(allocate(entries.size_bytes()));
  std::ranges::uninitialized_copy(entries, std::span(copy, entries.size()));
  return {copy, entries.size()};
}

bool KeySet::add(std::span<const Node::Entry> entries, std::string_view key) {
  constexpr size_t kFew = 16;
  if (entries.size() < kFew)
    return std::ranges::none_of(entries, [&](const Node::Entry& e) { return e.key == key; });
  if (many_.empty())
    for (const Node::Entry& e : entries) many_.insert(e.key);
  return many_.insert(key).second;
}

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

namespace {

// All lower case, Capitalised or UPPER case.
bool is_boolean(std::string_view text) {
  if (text.empty() || text.size() > 5) return false;
  char word[5];
  std::ranges::transform(text, word, [](char c) { return to_lower(c); });
  const std::string_view small(word, text.size());
  if (!(small == "y" || small == "yes" || small == "true" || small == "on" || small == "n" || small == "no" ||
        small == "false" || small == "off"))
    return false;
  const bool rest_lower = text.substr(1) == small.substr(1);
  return rest_lower || std::ranges::all_of(text, [](char c) { return c >= 'A' && c <= 'Z'; });
}

// Envoy's integers: decimal, 0x hexadecimal, 0 octal. Nothing when it is not one.
bool as_integer(std::string_view text, int64_t& value) {
  const size_t digits = text.find_first_not_of("+-");
  if (digits == std::string_view::npos || digits > 1 || text[digits] < '0' || text[digits] > '9')
    return false;
  const std::string copy(text);
  errno = 0;
  char* end = nullptr;
  value = std::strtoll(copy.c_str(), &end, 0);
  return errno == 0 && *end == '\0';
}

}  // namespace

void set_plain_scalar(Tree& tree, Node& node, std::string_view text) {
  node.kind = Node::Kind::string;
  node.text = text;
  int64_t number = 0;
  if (is_boolean(text)) {
    node.kind = Node::Kind::boolean;
  } else if (as_integer(text, number)) {
    if (const std::string plain = std::to_string(number); plain != text) node.text = tree.keep(plain);
    if (number >= std::numeric_limits<int32_t>::min() && number <= std::numeric_limits<int32_t>::max())
      node.kind = Node::Kind::number;
  }
}

bool is_yaml_null(std::string_view text) {
  return text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL";
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
  for (size_t i = 0; i < text.size();) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c > 0 && c < 0x80) {
      ++i;
      continue;
    }
    const size_t n = c == 0 ? 0 : utf8_length(text, i);
    if (n == 0) {
      const std::string_view before = text.substr(0, i);
      const auto line = 1 + std::ranges::count(before, '\n');
      const size_t column = i - (before.rfind('\n') + 1) + 1;  // npos + 1 is 0
      return error_at(
          source, static_cast<int>(line), static_cast<int>(column),
          "this byte is not text; the file must be UTF-8 (is it a binary file, or in another encoding?)");
    }
    i += n;
  }
  return text;
}

}  // namespace sluice::config
