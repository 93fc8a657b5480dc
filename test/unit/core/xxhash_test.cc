#include "core/xxhash.h"

#include <doctest/doctest.h>

#include <string>

namespace sluice {
namespace {

TEST_CASE("XXH64 has the values of its specification's implementation") {
  CHECK(xxhash64("") == 0xEF46DB3751D8E999);
  CHECK(xxhash64("a") == 0xD24EC4F1A98C6E5B);
  CHECK(xxhash64("abc") == 0x44BC2CF5AD770999);
  CHECK(xxhash64("foo") == 3728699739546630719);
  CHECK(xxhash64("bar") == 5234164152756840025);
}

TEST_CASE("in pieces as at once, whatever the length") {
  std::string text;
  for (int i = 0; i < 200; ++i) text += static_cast<char>('a' + i * 7 % 26);
  for (size_t length = 0; length <= text.size(); ++length) {
    const std::string_view whole = std::string_view(text).substr(0, length);
    for (size_t piece : {1, 5, 31, 32, 33, 64}) {
      XxHash64 h;
      for (size_t i = 0; i < length; i += piece) h.update(whole.substr(i, piece));
      CHECK_MESSAGE(h.digest() == xxhash64(whole), length << " by " << piece);
    }
  }
}

}  // namespace
}  // namespace sluice
