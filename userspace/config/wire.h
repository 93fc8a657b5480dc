#pragma once

#include <cstdint>
#include <string>
#include <string_view>

// A message's bytes, field by field: for who need not make a message of them.
// https://protobuf.dev/programming-guides/encoding/
namespace sluice::config::wire {

enum class Kind : uint8_t { varint = 0, fixed64 = 1, bytes = 2, fixed32 = 5 };

// Takes a varint off the front; false: the bytes end in it.
[[gnu::always_inline]] inline bool take_varint(std::string_view& bytes, uint64_t& value) {
  if (!bytes.empty() && static_cast<unsigned char>(bytes[0]) < 0x80) {  // nearly all
    value = static_cast<unsigned char>(bytes[0]);
    bytes.remove_prefix(1);
    return true;
  }
  value = 0;
  for (unsigned shift = 0, i = 0; shift < 64 && i < bytes.size(); shift += 7, ++i) {
    const auto byte = static_cast<unsigned char>(bytes[i]);
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if ((byte & 0x80) != 0) continue;
    bytes.remove_prefix(i + 1);
    return true;
  }
  return false;
}

struct Field {
  uint64_t number = 0;
  Kind kind{};
  uint64_t value = 0;        // of a varint
  std::string_view content;  // of a length-delimited one
  std::string_view whole;    // tag and all
};

// Takes a field off the front; false: the bytes are no message's.
[[gnu::always_inline]] inline bool take_field(std::string_view& bytes, Field& out) {
  constexpr size_t kMost = 5;  // bytes of a tag or a length, as protobuf's parser has it
  const std::string_view from = bytes;
  uint64_t tag = 0, length = 0;
  if (!take_varint(bytes, tag) || tag > UINT32_MAX || from.size() - bytes.size() > kMost) return false;
  out.number = tag >> 3;
  out.kind = static_cast<Kind>(tag & 7);
  out.content = {};
  switch (out.kind) {
    case Kind::varint:
      if (!take_varint(bytes, out.value)) return false;
      break;
    case Kind::fixed64:
      length = 8;
      break;
    case Kind::bytes: {
      const size_t before = bytes.size();
      if (!take_varint(bytes, length) || length > bytes.size() || before - bytes.size() > kMost) return false;
      out.content = bytes.substr(0, length);
      break;
    }
    case Kind::fixed32:
      length = 4;
      break;
    default:  // groups, which proto3 does not have
      return false;
  }
  if (length > bytes.size()) return false;
  bytes.remove_prefix(length);
  out.whole = from.substr(0, from.size() - bytes.size());
  return true;
}

inline void append_varint(std::string& out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  out += static_cast<char>(value);
}

// A length-delimited field.
inline void append_field(std::string& out, uint64_t number, std::string_view content) {
  append_varint(out, number << 3 | static_cast<uint64_t>(Kind::bytes));
  append_varint(out, content.size());
  out += content;
}

}  // namespace sluice::config::wire
