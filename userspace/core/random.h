#pragma once

#include <cstdint>

namespace sluice {

// A seed from the system's entropy, for where no test has to repeat the run.
uint64_t random_seed();

// xoshiro256**: fast, seedable, not for secrets. One per worker; tests print the seed.
class Random {
 public:
  explicit Random(uint64_t seed);
  uint64_t next();
  uint64_t below(uint64_t bound);  // uniform in [0, bound), bound > 0
  bool chance(uint32_t numerator, uint32_t denominator) { return below(denominator) < numerator; }

  using result_type = uint64_t;    // UniformRandomBitGenerator
  static constexpr uint64_t min() { return 0; }
  static constexpr uint64_t max() { return ~0ull; }
  uint64_t operator()() { return next(); }

 private:
  uint64_t s_[4];
};

}  // namespace sluice
