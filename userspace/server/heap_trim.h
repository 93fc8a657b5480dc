#pragma once

#include <cstddef>

#include "io/loop.h"

namespace sluice::server {

// Gives memory back to the kernel that a peak of load has left behind: the C library keeps what was freed for the next
// time, and would for ever. Looks now and then; acts when much is free in two looks running, which a lull of milliseconds
// is not. Control thread.
class HeapTrim {
 public:
  explicit HeapTrim(io::Loop& loop);  // outlives this

 private:
  static void look(io::Timer& timer);
  bool worth_it();

  io::Loop& loop_;
  size_t floor_bytes_ = 0;  // resident after the last time
  Duration wait_;  // until the next look; grows while looking is for nothing
  bool seen_ = false;  // much was free the last time that was looked
  io::Timer timer_;
};

}  // namespace sluice::server
