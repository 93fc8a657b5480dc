#include "core/xxhash.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "core/little_endian.h"

namespace sluice {
namespace {

constexpr uint64_t kPrime1 = 0x9E3779B185EBCA87, kPrime2 = 0xC2B2AE3D27D4EB4F, kPrime3 = 0x165667B19E3779F9,
                   kPrime4 = 0x85EBCA77C2B2AE63, kPrime5 = 0x27D4EB2F165667C5;
constexpr size_t kStripe = 32;

uint64_t round(uint64_t lane, uint64_t input) {
  return std::rotl(lane + input * kPrime2, 31) * kPrime1;
}

void stripe(uint64_t (&lanes)[4], const unsigned char* at) {
  for (size_t i = 0; i < 4; ++i) lanes[i] = round(lanes[i], read_little_endian<uint64_t>(at + 8 * i));
}

// `rest`: what is left of `total` bytes behind whole stripes.
uint64_t finish(const uint64_t (&lanes)[4], uint64_t seed, uint64_t total, const unsigned char* rest) {
  uint64_t h = seed + kPrime5;
  if (total >= kStripe) {
    h = std::rotl(lanes[0], 1) + std::rotl(lanes[1], 7) + std::rotl(lanes[2], 12) + std::rotl(lanes[3], 18);
    for (const uint64_t lane : lanes) h = (h ^ round(0, lane)) * kPrime1 + kPrime4;
  }
  h += total;
  size_t left = total % kStripe;
  for (; left >= 8; rest += 8, left -= 8)
    h = std::rotl(h ^ round(0, read_little_endian<uint64_t>(rest)), 27) * kPrime1 + kPrime4;
  for (; left >= 4; rest += 4, left -= 4)
    h = std::rotl(h ^ read_little_endian<uint32_t>(rest) * kPrime1, 23) * kPrime2 + kPrime3;
  for (; left > 0; ++rest, --left) h = std::rotl(h ^ *rest * kPrime5, 11) * kPrime1;
  h = (h ^ h >> 33) * kPrime2;
  h = (h ^ h >> 29) * kPrime3;
  return h ^ h >> 32;
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
  return finish(lanes_, seed_, total_, rest_);
}

// Without an object's lanes in memory: of short texts that is most of the time.
uint64_t xxhash64(std::string_view bytes, uint64_t seed) {
  uint64_t lanes[4] = {seed + kPrime1 + kPrime2, seed + kPrime2, seed, seed - kPrime1};
  const auto* at = reinterpret_cast<const unsigned char*>(bytes.data());
  const auto* const end = at + bytes.size() / kStripe * kStripe;
  for (; at != end; at += kStripe) stripe(lanes, at);
  return finish(lanes, seed, bytes.size(), at);
}

}  // namespace sluice
