#include "server/heap_trim.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "core/log.h"

namespace sluice::server {
namespace {

constexpr Duration kInterval = std::chrono::seconds(4), kLongest = std::chrono::seconds(64);

size_t resident_bytes() {
  size_t pages = 0;
  if (std::FILE* f = std::fopen("/proc/self/statm", "re")) {
    if (std::fscanf(f, "%*u %zu", &pages) != 1) pages = 0;
    std::fclose(f);
  }
  return pages * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

}  // namespace

HeapTrim::HeapTrim(io::Loop& loop)
    : loop_(loop), floor_bytes_(resident_bytes()), wait_(kInterval), timer_(loop.timers(), &look, this) {
  timer_.arm(loop_.now() + kInterval);
}

// The resident size is asked for first: counting what is free locks each arena for as long as it takes, and with tens of
// thousands of endpoints that is 20 ms.
bool HeapTrim::much_is_free() {
  const size_t resident = resident_bytes();
  if (resident < floor_bytes_ + kMuch) {
    wait_ = kInterval;
    return false;
  }
  const struct mallinfo2 heap = mallinfo2();
  const bool worth = worth_it(heap.fordblks, resident);
  wait_ = worth ? kInterval : std::min(wait_ * 2, kLongest);
  return worth;
}

void HeapTrim::look(io::Timer& timer) {
  HeapTrim& self = *timer.owner<HeapTrim>();
  const bool worth = self.much_is_free();
  timer.arm(self.loop_.now() + self.wait_);
  if (!worth || !self.seen_) {
    self.seen_ = worth;
    return;
  }
  self.seen_ = false;
  const size_t before = resident_bytes();
  malloc_trim(0);
  self.floor_bytes_ = resident_bytes();
  SLUICE_LOG(main, debug, "heap: {} KiB resident, {} KiB after what was free went back", before >> 10,
             self.floor_bytes_ >> 10);
}

}  // namespace sluice::server
