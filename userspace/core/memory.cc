#include "core/memory.h"

#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>

namespace sluice {
namespace {

// linux/Documentation/admin-guide/mm/pagemap.rst
constexpr uint64_t kPresent = 1ull << 63, kOfFile = 1ull << 61;

struct Release {
  int pagemap;
  size_t page;
  size_t released = 0;
};

// Read-only pages of a file as it is on disk, in [begin, end).
void release(Release& r, uintptr_t begin, uintptr_t end) {
  std::array<uint64_t, 512> entries;
  while (begin < end) {
    const size_t want = std::min(entries.size(), (end - begin) / r.page);
    const ssize_t got = pread(r.pagemap, entries.data(), want * sizeof entries[0],
                              static_cast<off_t>(begin / r.page * sizeof entries[0]));
    if (got <= 0) return;
    const size_t count = static_cast<size_t>(got) / sizeof entries[0];
    auto clean = [&](size_t i) { return (entries[i] & kPresent) && (entries[i] & kOfFile); };
    for (size_t i = 0; i < count;) {
      size_t from = i;
      while (i < count && clean(i)) ++i;
      if (const size_t bytes = (i - from) * r.page; bytes > 0) {
        if (!madvise(reinterpret_cast<void*>(begin + from * r.page), bytes, MADV_DONTNEED))
          r.released += bytes;
      } else {
        ++i;
      }
    }
    begin += count * r.page;
  }
}

int release_object(dl_phdr_info* object, size_t, void* context) {
  auto& r = *static_cast<Release*>(context);
  for (size_t i = 0; i < object->dlpi_phnum; ++i) {
    const ElfW(Phdr)& segment = object->dlpi_phdr[i];
    // Of a writable segment parts are read-only once it is relocated: those are this process's own.
    if (segment.p_type != PT_LOAD || segment.p_flags & PF_W || object->dlpi_addr + segment.p_vaddr == 0)
      continue;
    const uintptr_t begin = object->dlpi_addr + segment.p_vaddr;
    release(r, begin / r.page * r.page, (begin + segment.p_memsz) / r.page * r.page);
  }
  return 0;
}

}  // namespace

void release_free_memory() {
#ifdef __GLIBC__
  ::malloc_trim(0);
#endif
}

size_t release_code_pages() {
  Release r{open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), static_cast<size_t>(sysconf(_SC_PAGESIZE))};
  if (r.pagemap < 0) return 0;
  dl_iterate_phdr(&release_object, &r);
  close(r.pagemap);
  return r.released;
}

}  // namespace sluice
