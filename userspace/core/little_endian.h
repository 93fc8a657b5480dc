#pragma once

#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>

namespace sluice {

// The number whose bytes, the low one first, stand at `at`, which need not be aligned.
template <std::unsigned_integral T>
T read_little_endian(const void* at) {
  T value;
  std::memcpy(&value, at, sizeof(value));
  if constexpr (std::endian::native == std::endian::big) {
    if constexpr (sizeof(T) == 8)
      value = __builtin_bswap64(value);
    else
      value = __builtin_bswap32(value);
  }
  return value;
}

}  // namespace sluice
