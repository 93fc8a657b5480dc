#pragma once

#include <cstdint>
#include <string_view>

namespace sluice {

// XXH64, streaming or at once: the hash of Envoy's hash policies, rings and tables.
// https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md
class XxHash64 {
 public:
  explicit XxHash64(uint64_t seed = 0);
  void update(std::string_view bytes);
  uint64_t digest() const;

 private:
  uint64_t lanes_[4];
  uint64_t seed_;
  uint64_t total_ = 0;
  unsigned char rest_[32];  // bytes that make no whole stripe yet: total_ % 32
};

uint64_t xxhash64(std::string_view bytes, uint64_t seed = 0);

}  // namespace sluice
