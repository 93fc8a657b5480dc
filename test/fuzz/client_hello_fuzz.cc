#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "extensions/filters/listener/tls_inspector/client_hello.h"
#include "extensions/filters/listener/tls_inspector/fingerprint.h"

using namespace sluice::extensions::tls_inspector;

namespace {

void check(bool good, const char* what) {
  if (good) return;
  std::fprintf(stderr, "client_hello_fuzz: %s\n", what);
  std::abort();
}

// All that can be said of the bytes, from the first piece after which it could be.
std::string answer(std::string_view bytes, uint64_t seed) {
  HelloReader reader;
  size_t have = 0;
  for (;;) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    have = std::min<size_t>(bytes.size(), have + 1 + (seed >> 33) % 40);
    const std::string heard(bytes.substr(0, have));  // of its own, so that the sanitizer sees a byte too far
    const auto result = reader.read(heard);
    check(reader.consumed() <= have, "more was taken than came");
    if (result == HelloReader::Result::need_more && have < bytes.size()) continue;
    std::string out = std::to_string(static_cast<int>(result));
    if (result == HelloReader::Result::need_more) return out;
    out += ' ' + std::to_string(reader.consumed()) + ' ' + reader.refusal().text();
    if (result != HelloReader::Result::hello) return out;
    const ClientHello& hello = reader.hello();
    const std::string four = ja4(hello);
    check(four.size() == 36 && four[10] == '_' && four[23] == '_', "a JA4 of another form");
    check(hello.server_name.find('\0') == hello.server_name.npos, "a name with an end in it");
    out += ' ' + std::string(hello.server_name) + ' ' + ja3_text(hello) + ' ' + ja3(hello) + ' ' + four;
    for (const std::string& p : hello.application_protocols()) {
      check(!p.empty(), "an application protocol without a name");
      out += ' ' + p;
    }
    return out;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  HelloReader reader;
  const std::string whole(bytes);
  const auto result = reader.read(whole);
  std::string in_one = std::to_string(static_cast<int>(result));
  const std::string pieces = answer(bytes, data[0] + 1);
  check(pieces[0] == in_one[0], "pieces change what it is");
  if (result != HelloReader::Result::need_more) {
    check(pieces == answer(bytes, data[0] + 1000), "pieces change what is read");
    check(pieces.substr(2, pieces.find(' ', 2) - 2) == std::to_string(reader.consumed()),
          "pieces change how much is taken");
  }
  return 0;
}
