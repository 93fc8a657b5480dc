#include "core/xxhash.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace sluice {
namespace {

constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87, kPrime2 = 0xC2B2AE3D27D4EB4F, kPrime3 = 0x165667B19E3779F9,
                   kPrime4 = 0x85EBCA77C2B2AE63, kPrime5 = 0x27D4EB2F165667C5;
constexpr size_t kStripe = 32;

template <typename T>
uint64_t read(const unsigned char* at) {
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

uint64_t round(uint64_t lane, uint64_t input) {
  return std::rotl(lane + input * kPrime2, 31) * kPrime1;
}

void stripe(uint64_t (&lanes)[4], const unsigned char* at) {
  for (size_t i = 0; i < 4; ++i) lanes[i] = round(lanes[i], read<uint64_t>(at + 8 * i));
}

}  // namespace

XxHash64::XxHash64(uint64_t seed)
    : lanes_{seed + kPrime1 + kPrime2, seed + kPrime2, seed, seed - kPrime1}, seed_(seed) {}

void XxHash64::update(std::string_view bytes) {
  const auto* at = reinterpret_cast<const unsigned char*>(bytes.data());
  size_t left = bytes.size();
  const size_t have = total_ % kStripe;
  total_ += left;
  if (have > 0) {
    const size_t take = std::min(left, kStripe - have);
    if (take > 0) std::memcpy(rest_ + have, at, take);
    if (have + take < kStripe) return;
    stripe(lanes_, rest_);
    at += take;
    left -= take;
  }
  for (; left >= kStripe; at += kStripe, left -= kStripe) stripe(lanes_, at);
  if (left > 0) std::memcpy(rest_, at, left);
}

uint64_t XxHash64::digest() const {
  uint64_t h = seed_ + kPrime5;
  if (total_ >= kStripe) {
    h = std::rotl(lanes_[0], 1) + std::rotl(lanes_[1], 7) + std::rotl(lanes_[2], 12) +
        std::rotl(lanes_[3], 18);
    for (uint64_t lane : lanes_) h = (h ^ round(0, lane)) * kPrime1 + kPrime4;
  }
  h += total_;
  const unsigned char* at = rest_;
  size_t left = total_ % kStripe;
  for (; left >= 8; at += 8, left -= 8)
    h = std::rotl(h ^ round(0, read<uint64_t>(at)), 27) * kPrime1 + kPrime4;
  for (; left >= 4; at += 4, left -= 4)
    h = std::rotl(h ^ read<uint32_t>(at) * kPrime1, 23) * kPrime2 + kPrime3;
  for (; left > 0; ++at, --left) h = std::rotl(h ^ *at * kPrime5, 11) * kPrime1;
  h = (h ^ h >> 33) * kPrime2;
  h = (h ^ h >> 29) * kPrime3;
  return h ^ h >> 32;
}

}  // namespace sluice
