#pragma once

#include <cstdint>
#include <string_view>

namespace sluice {

// wyhash, final version 4 with its default secret, in 64 bits: of texts that are compared within this process alone, where
// hashing them is most of the work. More than twice as fast as XXH64 at some hundred bytes, and with multiplications of
// registers alone: XXH3 is no faster there, and where it uses AVX-512 the processor takes longer to wake those units up
// than the hash saves. Not against somebody who looks for collisions.
// https://github.com/wangyi-fudan/wyhash
uint64_t wyhash(std::string_view bytes, uint64_t seed = 0);

}  // namespace sluice
