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

  // Whether so much of what is resident, in bytes, is worth giving back. What a new version of a configuration leaves of
  // the one before is never half of it, since the new one is as large: a third is, if they are most of what there is.
  static bool worth_it(size_t free, size_t resident) { return free >= kMuch && free >= resident / 3; }

 private:
  static constexpr size_t kMuch = 32 << 20;  // bytes; less is not worth the page faults of the next peak
  static void look(io::Timer& timer);
  bool much_is_free();

  io::Loop& loop_;
  size_t floor_bytes_ = 0;  // resident after the last time
  Duration wait_;  // until the next look; grows while looking is for nothing
  bool seen_ = false;  // much was free the last time that was looked
  io::Timer timer_;
};

}  // namespace sluice::server
