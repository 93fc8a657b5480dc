#include "server/heap_trim.h"

#include <doctest/doctest.h>

namespace sluice::server {
namespace {

constexpr size_t kMiB = 1 << 20;

TEST_CASE("what one version of two leaves is given back, what is little or a small part is not") {
  struct Row {
    size_t free, resident;  // MiB
    bool expected;
  };
  const Row rows[] = {{62, 135, true},   // of 5,000 virtual hosts, after a push that changed all of them
                      {100, 110, true},  // after a peak of load
                      {40, 120, true},  {39, 120, false},
                      {32, 90, true},   {31, 40, false},  // not worth the page faults
                      {200, 900, false}};
  for (const Row& row : rows) {
    CAPTURE(row.free);
    CAPTURE(row.resident);
    CHECK(HeapTrim::worth_it(row.free * kMiB, row.resident * kMiB) == row.expected);
  }
}

}  // namespace
}  // namespace sluice::server
