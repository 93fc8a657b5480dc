#include "core/wyhash.h"

#include <doctest/doctest.h>

#include <bit>
#include <string>
#include <unordered_set>
#include <vector>

namespace sluice {
namespace {

TEST_CASE("wyhash has the values of its author's implementation") {
  CHECK(wyhash("", 0) == 0x0409638EE2BDE459);
  CHECK(wyhash("a", 1) == 0xA8412D091B5FE0A9);
  CHECK(wyhash("abc", 2) == 0x32DD92E4B2915153);
  CHECK(wyhash("message digest", 3) == 0x8619124089A3A16B);
  CHECK(wyhash("abcdefghijklmnopqrstuvwxyz", 4) == 0x7A43AFB61D7F5F40);
  CHECK(wyhash("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", 5) == 0xFF42329B90E50D58);
  std::string digits;
  for (int i = 0; i < 8; ++i) digits += "1234567890";
  CHECK(wyhash(digits, 6) == 0xC39CAB13B115AAD3);
}

TEST_CASE("wyhash: every bit counts, the length too, and nothing beside it") {
  std::unordered_set<uint64_t> seen;
  size_t hashes = 0, changed = 0, flips = 0;
  for (size_t length = 0; length <= 200; ++length) {
    // On the heap, without a byte behind it: a sanitizer sees what reads past its end.
    std::vector<char> bytes(length, '\0');
    const auto hash = [&] { return wyhash({bytes.data(), bytes.size()}); };
    const uint64_t before = hash();
    seen.insert(before);
    ++hashes;
    for (size_t bit = 0; bit < length * 8; ++bit) {
      bytes[bit / 8] = static_cast<char>(1 << bit % 8);
      const uint64_t after = hash();
      bytes[bit / 8] = 0;
      seen.insert(after);
      ++hashes;
      changed += static_cast<size_t>(std::popcount(before ^ after));
      ++flips;
    }
    REQUIRE(hash() == before);
  }
  CHECK(seen.size() == hashes);
  const double mean = static_cast<double>(changed) / static_cast<double>(flips);
  CHECK(mean > 31.9);
  CHECK(mean < 32.1);
}

}  // namespace
}  // namespace sluice
