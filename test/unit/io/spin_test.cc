#include "io/spin.h"

#include <doctest/doctest.h>

using namespace sluice;
using namespace sluice::io;
using std::chrono::microseconds;

TEST_CASE("spinning starts when sleeps are short, and ends when they are not") {
  Spin s(microseconds(50));
  CHECK_FALSE(s.worthwhile());
  for (int i = 0; i < 3; ++i) s.slept(microseconds(20));
  CHECK(s.worthwhile());
  s.found();
  CHECK(s.worthwhile());
  s.slept(microseconds(400));
  CHECK_FALSE(s.worthwhile());
}

TEST_CASE("spinning in vain all the time is given up, nearly") {
  // The peer shares our core: it never answers while we spin, and at once when we sleep.
  Spin s(microseconds(50));
  int spins = 0;
  for (int i = 0; i < 100'000; ++i) {
    if (s.worthwhile()) {
      ++spins;
      s.in_vain();
    }
    s.slept(microseconds(10));
  }
  CHECK(spins > 0);
  CHECK(spins < 60);
}

TEST_CASE("spinning goes on through a rare failure, and stops where half of it fails") {
  auto spins_of_10000 = [](int fail_every) {
    Spin s(microseconds(50));
    int spins = 0;
    for (int i = 0; i < 10'000; ++i) {
      if (!s.worthwhile()) {
        s.slept(microseconds(10));
      } else if (++spins % fail_every == 0) {
        s.in_vain();
        s.slept(microseconds(10));
      } else {
        s.found();
      }
    }
    return spins;
  };
  CHECK(spins_of_10000(20) > 7'000);
  CHECK(spins_of_10000(2) < 200);
}

TEST_CASE("a window of zero never spins") {
  Spin s(Duration(0));
  for (int i = 0; i < 10; ++i) s.slept(Duration(0));
  CHECK_FALSE(s.worthwhile());
}
