#include "core/random.h"

#include <doctest/doctest.h>

#include <array>

using namespace sluice;

TEST_CASE("the same seed gives the same stream, near seeds different ones") {
  Random a(7), b(7), c(8);
  for (int i = 0; i < 100; ++i) {
    uint64_t x = a.next();
    CHECK(x == b.next());
    CHECK(x != c.next());
  }
}

TEST_CASE("below() covers its range evenly") {
  Random r(1);
  std::array<int, 10> seen{};
  for (int i = 0; i < 100000; ++i) ++seen[r.below(10)];
  for (int n : seen) CHECK((n > 9500 && n < 10500));
}
