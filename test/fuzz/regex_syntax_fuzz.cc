#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "test/support/regex_check.h"

// A pattern, and behind the first line's end a text.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const size_t end = bytes.find('\n');
  const std::string_view pattern = bytes.substr(0, end);
  const std::string_view text = end == bytes.npos ? "" : bytes.substr(end + 1);
  const std::string what = sluice::test::denied(pattern, text);
  if (what.empty()) return 0;
  std::fprintf(stderr, "regex_syntax_fuzz: '%s' %s\n", std::string(pattern).c_str(), what.c_str());
  std::abort();
}
