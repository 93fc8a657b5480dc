#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

#include "http/header_map.h"

namespace sluice::http {

// Which fields earn a place in HPACK's table: those whose value was sent before. A value that never comes twice
// (x-request-id, traceparent) would only push out others that do, and be searched past by both ends.
class Http2Index {
 public:
  bool worth(const HeaderMap::Field& field) {
    uint32_t name = field.id != Name::other ? static_cast<uint32_t>(field.id) : hash(field.name);
    uint32_t value = hash(field.value) | 1;
    uint32_t(&seen)[2] = seen_[name % kNames];
    if (value == seen[0] || value == seen[1]) return true;
    seen[1] = seen[0];
    seen[0] = value;
    return false;
  }

 private:
  static constexpr uint32_t kNames = 64;

  // Length and both ends: enough to tell the values of one name apart. A mistake costs a place in the table.
  static uint32_t hash(std::string_view s) {
    uint64_t first = 0, last = 0;
    if (s.size() >= 8) {
      std::memcpy(&first, s.data(), 8);
      std::memcpy(&last, s.data() + s.size() - 8, 8);
    } else {
      for (char c : s) first = first << 8 | static_cast<uint8_t>(c);
    }
    uint64_t h = (first * 0x9e3779b97f4a7c15ull ^ last) * 0xd6e8feb86659fd93ull + s.size();
    return static_cast<uint32_t>((h ^ h >> 29) >> 3);
  }

  uint32_t seen_[kNames][2] = {};
};

}  // namespace sluice::http
