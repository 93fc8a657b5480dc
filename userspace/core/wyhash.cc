#include "core/wyhash.h"

#include <utility>

#include "core/little_endian.h"

namespace sluice {
namespace {

constexpr uint64_t kSecret[] = {0xA0761D6478BD642F, 0xE7037ED1A0B428DB, 0x8EBC6AF09C88C6E3,
                                0x589965CC75374CC3};
constexpr size_t kPair = 16, kStripe = 3 * kPair;

// To be shifted beyond its 32 bits.
uint64_t wide(const char* at) {
  return read_little_endian<uint32_t>(at);
}

// The halves of the product, the low one first.
std::pair<uint64_t, uint64_t> multiply(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return {static_cast<uint64_t>(product), static_cast<uint64_t>(product >> 64)};
}

uint64_t mix(uint64_t a, uint64_t b) {
  const auto [low, high] = multiply(a, b);
  return low ^ high;
}

// Goes on from `state` with 16 bytes.
uint64_t mix_pair(const char* at, uint64_t secret, uint64_t state) {
  return mix(read_little_endian<uint64_t>(at) ^ secret, read_little_endian<uint64_t>(at + 8) ^ state);
}

// At most 16 bytes, as two words.
std::pair<uint64_t, uint64_t> words_of(std::string_view bytes) {
  const char* const at = bytes.data();
  const size_t size = bytes.size();
  if (size >= 4) {
    // Four pieces, which overlap in the middle: two from either end.
    const size_t inner = size / 8 * 4;
    return {wide(at) << 32 | wide(at + inner), wide(at + size - 4) << 32 | wide(at + size - 4 - inner)};
  }
  if (size == 0) return {0, 0};
  const auto byte = [&](size_t i) { return uint64_t{static_cast<unsigned char>(bytes[i])}; };
  return {byte(0) << 16 | byte(size / 2) << 8 | byte(size - 1), 0};
}

}  // namespace

uint64_t wyhash(std::string_view bytes, uint64_t seed) {
  seed ^= mix(seed ^ kSecret[0], kSecret[1]);
  std::pair<uint64_t, uint64_t> last;
  if (bytes.size() <= kPair) {
    last = words_of(bytes);
  } else {
    const char *at = bytes.data(), *const end = at + bytes.size();
    const auto left = [&] { return static_cast<size_t>(end - at); };
    if (left() > kStripe) {
      // Three that do not wait for one another.
      uint64_t second = seed, third = seed;
      for (; left() > kStripe; at += kStripe) {
        seed = mix_pair(at, kSecret[1], seed);
        second = mix_pair(at + kPair, kSecret[2], second);
        third = mix_pair(at + 2 * kPair, kSecret[3], third);
      }
      seed ^= second ^ third;
    }
    for (; left() > kPair; at += kPair) seed = mix_pair(at, kSecret[1], seed);
    last = {read_little_endian<uint64_t>(end - 16), read_little_endian<uint64_t>(end - 8)};
  }
  const auto [low, high] = multiply(last.first ^ kSecret[1], last.second ^ seed);
  return mix(low ^ kSecret[0] ^ bytes.size(), high ^ kSecret[1]);
}

}  // namespace sluice
