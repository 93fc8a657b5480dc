#include "core/memory.h"

#include <doctest/doctest.h>
#include <sys/mman.h>

#include <cstdio>
#include <cstring>

using namespace sluice;

namespace {

// Not written by the program as it is on disk: in its read-only segment.
alignas(4096) const volatile unsigned char constants[2][4096] = {{1}, {1}};

size_t resident_file_kib() {
  size_t kib = 0;
  if (std::FILE* f = std::fopen("/proc/self/status", "re")) {
    char line[256];
    while (std::fgets(line, sizeof line, f))
      if (std::sscanf(line, "RssFile: %zu", &kib) == 1) break;
    std::fclose(f);
  }
  return kib;
}

}  // namespace

TEST_CASE("Code and constants are unmapped, and come back as they were") {
  REQUIRE(constants[1][0] == 1);
  const size_t before = resident_file_kib();
  const size_t released = release_code_pages();
  const size_t after = resident_file_kib();
  CHECK(released >= (64 << 10));
  CHECK(after < before);
  CHECK(constants[1][0] == 1);
  CHECK(constants[1][4095] == 0);
}

TEST_CASE("A page of code with something of the process's own in it stays, as a tracer's breakpoint must") {
  void* volatile page =
      const_cast<unsigned char*>(&constants[0][0]);  // the compiler is not to know where this goes
  REQUIRE(mprotect(page, 4096, PROT_READ | PROT_WRITE) == 0);
  std::memset(page, 7, 16);
  REQUIRE(mprotect(page, 4096, PROT_READ) == 0);
  CHECK(release_code_pages() > 0);
  CHECK(constants[0][0] == 7);
  CHECK(constants[0][16] == 0);
}
