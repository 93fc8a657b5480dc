#include "extensions/filters/listener/tls_inspector/client_hello.h"

#include <doctest/doctest.h>

#include <string>
#include <tuple>
#include <utility>

#include "core/random.h"
#include "extensions/filters/listener/tls_inspector/fingerprint.h"
#include "known_hellos.h"

using namespace sluice;
using namespace sluice::extensions::tls_inspector;
using namespace std::literals;

namespace {

using Result = HelloReader::Result;

std::string number(size_t value, size_t width) {
  std::string out;
  while (width-- > 0) out += static_cast<char>(value >> 8 * width & 255);
  return out;
}
std::string vector(const std::string& bytes, size_t width) {
  return number(bytes.size(), width) + bytes;
}
std::string record(const std::string& body, char type = 22, std::string version = "\x03\x01") {
  return type + std::move(version) + vector(body, 2);
}
std::string records(const std::string& message, size_t size) {
  std::string out;
  for (size_t i = 0; i < message.size(); i += size) out += record(message.substr(i, size));
  return out;
}
std::string extension(uint16_t type, const std::string& data) {
  return number(type, 2) + vector(data, 2);
}
struct Parts {
  std::string version = "\x03\x03", random = std::string(32, 'r'), session = {}, ciphers = "\x13\x01",
              compression = "\0"s;
  std::string extensions = {};
  char type = 1;
};
std::string message(const Parts& p) {
  return p.type + vector(p.version + p.random + vector(p.session, 1) + vector(p.ciphers, 2) +
                             vector(p.compression, 1) + vector(p.extensions, 2),
                         3);
}
std::string server_name(const std::string& name, char type = 0) {
  return extension(0, vector(type + vector(name, 2), 2));
}
std::string with(const std::string& extensions) {
  return message({.extensions = extensions});
}

// What is said of the bytes when they come at once, and that it is the same when they come one by one.
struct Answer {
  Result result;
  std::string reason, name;
  size_t consumed;
};
Answer ask(const std::string& bytes) {
  HelloReader at_once;
  const Answer a{at_once.read(bytes), std::string(at_once.refusal().name),
                 std::string(at_once.hello().server_name), at_once.consumed()};
  HelloReader by_bytes;
  for (size_t n = 1; n <= bytes.size(); ++n) {
    const Result r = by_bytes.read(std::string_view(bytes).substr(0, n));
    if (r == Result::need_more) continue;
    CHECK(r == a.result);
    CHECK(by_bytes.refusal().name == a.reason);
    CHECK(by_bytes.hello().server_name == a.name);
    CHECK(by_bytes.consumed() == a.consumed);
    CHECK(n >= a.consumed);
    return a;
  }
  CHECK(a.result == Result::need_more);
  return a;
}

}  // namespace

TEST_CASE("ClientHellos of clients: what they ask for, and the fingerprints that real Envoy makes of them") {
  for (const KnownHello& k : known_hellos()) {
    CAPTURE(k.what);
    const std::string bytes = from_hex(k.hex);
    HelloReader reader;
    REQUIRE(reader.read(bytes) == Result::hello);
    CHECK(reader.consumed() == bytes.size());
    const ClientHello& hello = reader.hello();
    CHECK(hello.version == k.version);
    CHECK(hello.server_name == k.server_name);
    CHECK(hello.application_protocols() == k.protocols);
    CAPTURE(ja3_text(hello));
    CHECK(ja3(hello) == k.ja3);
    CHECK(ja4(hello) == k.ja4);
  }
}

TEST_CASE(
    "ClientHellos cut off at every byte: more is needed, whatever came, and what follows is not looked at") {
  for (const KnownHello& k : known_hellos()) {
    CAPTURE(k.what);
    const std::string bytes = from_hex(k.hex);
    for (size_t n = 0; n < bytes.size(); ++n) {
      // Each on a copy of its own, so that the sanitizer sees a byte too far.
      const std::string cut = bytes.substr(0, n);
      HelloReader reader;
      CHECK(reader.read(cut) == Result::need_more);
      CHECK(reader.consumed() == n);
    }
    const Answer whole = ask(bytes + "what comes next");
    CHECK(whole.result == Result::hello);
    CHECK(whole.consumed == bytes.size());
  }
}

TEST_CASE("a ClientHello over records of every size") {
  for (const KnownHello& k : known_hellos()) {
    const std::string bytes = from_hex(k.hex);
    if (bytes[0] != 22) continue;  // SSLv2 has no records
    CAPTURE(k.what);
    const std::string hello = bytes.substr(5);
    for (size_t size : {1u, 2u, 3u, 4u, 5u, 39u, 100u, 400u}) {
      CAPTURE(size);
      const std::string split = records(hello, size);
      HelloReader reader;
      REQUIRE(reader.read(split) == Result::hello);
      CHECK(reader.consumed() == split.size());
      CHECK(reader.hello().server_name == k.server_name);
      CHECK(ja4(reader.hello()) == k.ja4);
    }
    const Answer a = ask(records(hello, 7));
    CHECK(a.result == Result::hello);
    CHECK(a.name == k.server_name);
  }
}

// The reasons and the bytes counted are real Envoy's.
TEST_CASE("what is no ClientHello, and how much it takes to know that") {
  const std::string name = server_name("a.example");
  const std::string good = with(name);
  constexpr size_t kAll = 0;
  const std::tuple<std::string, std::string, size_t> cases[] = {
      {"GET / HTTP/1.1\r\n", "HTTP_REQUEST", 5},
      {"POST ", "HTTP_REQUEST", 5},
      {"HEAD ", "HTTP_REQUEST", 5},
      {"PUT x", "HTTP_REQUEST", 5},
      {"CONNECT a:1 HTTP/1.1", "HTTPS_PROXY_REQUEST", 5},
      {"DELETE", "WRONG_VERSION_NUMBER", 5},
      {"hello", "WRONG_VERSION_NUMBER", 5},
      {record(good, 22, "\x04\x01"), "WRONG_VERSION_NUMBER", 5},
      {"\x16\x03\x01\x41\x41"s, "ENCRYPTED_LENGTH_TOO_LONG", 5},
      {record("\x02\x28", 21), "", 7},
      {record("\x03\x28", 21), "UNKNOWN_ALERT_TYPE", 7},
      {record("\x01", 21), "BAD_ALERT", 6},
      {record("\x01\x5a", 21) + record("\x01\x5a", 21) + record("\x01\x5a", 21) + record("\x01\x5a", 21) +
           record("\x01\x5a", 21) + record(good),
       "TOO_MANY_WARNING_ALERTS", 35},
      {record("\x01", 20) + record(good), "UNEXPECTED_RECORD", 6},
      {record(good.substr(0, 20)) + record("x", 23), "UNEXPECTED_RECORD", 31},
      {record(message({.type = 2})), "UNEXPECTED_MESSAGE", kAll},
      {record(good + "x"), "EXCESS_HANDSHAKE_DATA", kAll},
      {record("\x01\x00\x40\x01"s), "EXCESSIVE_MESSAGE_SIZE", 9},
      {record("\x01\x00"s) + record("\x40\x01xyz"s), "EXCESSIVE_MESSAGE_SIZE", 17},
      {record(message({.session = std::string(33, 's')})), "CLIENTHELLO_PARSE_FAILED", kAll},
      {record(message({.ciphers = ""})), "CLIENTHELLO_PARSE_FAILED", kAll},
      {record(message({.ciphers = "abc"})), "CLIENTHELLO_PARSE_FAILED", kAll},
      {record(message({.compression = ""})), "CLIENTHELLO_PARSE_FAILED", kAll},
      {record(with("\0\x01\0"s)), "CLIENTHELLO_PARSE_FAILED", kAll},
      {record(with(extension(99, "") + extension(99, ""))), "CLIENTHELLO_PARSE_FAILED", kAll},
      {record(with(extension(0xfe0d, ""))), "DECODE_ERROR", kAll},
      {record(with(extension(0xfe0d, "\0\1"s))), "DECODE_ERROR", kAll},
      {record(with(server_name(""))), "ERROR_PARSING_EXTENSION", kAll},
      {record(with(server_name("a\0b"s))), "ERROR_PARSING_EXTENSION", kAll},
      {record(with(server_name(std::string(256, 'a')))), "ERROR_PARSING_EXTENSION", kAll},
      {record(with(server_name("a", 1))), "ERROR_PARSING_EXTENSION", kAll},
      {record(with(extension(0, ""))), "ERROR_PARSING_EXTENSION", kAll},
      {record(with(extension(0, "\0\4\0\0\1ax"s))), "ERROR_PARSING_EXTENSION", kAll},
      // SSLv2
      {"\x80\x02\x01\x03\x01"s, "RECORD_LENGTH_MISMATCH", 5},
      {"\x90\x01\x01\x03\x01"s, "RECORD_TOO_LARGE", 5},
      {"\x80\x03\x01\x03\x01"s, "DECODE_ERROR", 5},
      {"\x80\x0a\x01\x03\x01\0\1\0\0\0\0x"s, "DECODE_ERROR", 12},
      {"\x80\x0c\x01\x03\x01\0\3\0\0\0\0\7\0\xc0"s, "CLIENTHELLO_PARSE_FAILED", kAll},
  };
  for (const auto& [bytes, reason, consumed] : cases) {
    CAPTURE(bytes.substr(0, 60));
    CAPTURE(reason);
    const Answer a = ask(bytes);
    CHECK(a.result == Result::refused);
    CHECK(a.reason == reason);
    CHECK(a.consumed == (consumed == kAll ? bytes.size() : consumed));
  }
  std::string empty_records;
  for (int i = 0; i < 32; ++i) empty_records += record("");
  CHECK(ask(empty_records + record(good)).result == Result::hello);
  CHECK(ask(empty_records + record("") + record(good)).reason == "TOO_MANY_EMPTY_FRAGMENTS");
  CHECK(ask(record("\1\0"s, 21)).result == Result::closed);
}

TEST_CASE("what looks odd, and is a ClientHello to BoringSSL, too") {
  const std::string name = server_name("a.example");
  for (const std::string& bytes :
       {record(with(name), 22, "\x03\xff"), record(message({.version = "\x04\x00"s, .extensions = name})),
        record("") + record(with(name)), record("\x01\x5a", 21) + record(with(name)),
        record(message({.session = std::string(32, 's'), .compression = "\1\2"s, .extensions = name})),
        record(with(name + extension(10, "") + extension(51, "\xff"))),
        record(with(name + extension(0xfe0d, "\1x"))),
        record(with(name + extension(0xfe0d, "\0\0\1\0\1\5\0\1e\0\2pp"s))),
        records(message({.ciphers = std::string(16000, 'c'), .extensions = name}), 9000)}) {
    CAPTURE(bytes.substr(0, 40));
    const Answer a = ask(bytes);
    CHECK(a.reason == "");
    CHECK(a.result == Result::hello);
    CHECK(a.name == "a.example");
  }
  CHECK(ask(record(with(server_name(std::string(255, 'a'))))).name == std::string(255, 'a'));
  // Not a name that anybody could have, but none that could be mistaken for another's: the filter chain will not match.
  CHECK(ask(record(with(server_name("\xff..")))).name == "\xff..");
}

TEST_CASE("application protocols: a broken list is none") {
  auto protocols = [](const std::string& data) {
    const std::string bytes = record(with(extension(16, data)));
    HelloReader reader;
    REQUIRE(reader.read(bytes) == Result::hello);
    return reader.hello().application_protocols();
  };
  using List = std::vector<std::string>;
  CHECK(protocols("\0\x0c\2h2\x08http/1.1"s) == List{"h2", "http/1.1"});
  CHECK(protocols("\0\2\1z"s) == List{"z"});
  CHECK(protocols("") == List{});
  CHECK(protocols("\0\0"s) == List{});
  CHECK(protocols("\0\3\2h2x"s) == List{});
  CHECK(protocols("\0\4\2h2\0"s) == List{});
  CHECK(protocols("\0\3\3h2"s) == List{});
  CHECK(protocols("\0\4\2h2"s) == List{});
}

TEST_CASE("JA4 of odd hellos is Envoy's") {
  auto fingerprint = [](const std::string& extensions, const std::string& ciphers = "\x13\x01\xc0\x2f") {
    const std::string bytes = record(message({.ciphers = ciphers, .extensions = extensions}));
    HelloReader reader;
    REQUIRE(reader.read(bytes) == Result::hello);
    return ja4(reader.hello());
  };
  CHECK(fingerprint(extension(16, "\0\3\2\1b"s)) == "t12i020102_c1929292aa6b_000000000000");
  CHECK(fingerprint(extension(16, "\0\3\2b~"s)) == "t12i02016e_c1929292aa6b_000000000000");
  CHECK(fingerprint(extension(16, "\0\2\1z"s)) == "t12i0201zz_c1929292aa6b_000000000000");
  CHECK(fingerprint(extension(16, "\0\1\0"s)) == "t12i020100_c1929292aa6b_000000000000");
  CHECK(fingerprint(extension(16, "\0\5\x09h2"s)) == "t12i020100_c1929292aa6b_000000000000");
  CHECK(fingerprint(extension(43, "")) == "t00i020100_c1929292aa6b_b9a491fefe05");
  CHECK(fingerprint(extension(43, "\3\3\4\3")) == "t13i020100_c1929292aa6b_b9a491fefe05");
  CHECK(fingerprint(extension(43, "\2\x1a\x1a")) == "t12i020100_c1929292aa6b_b9a491fefe05");
  CHECK(fingerprint(extension(13, "\0\5\4\3\x08"s) + extension(10, "\0\1\2"s) + extension(11, "")) ==
        "t12i020300_c1929292aa6b_2bbaf9536c97");
  CHECK(fingerprint("", "\x4a\x4a") == "t12i000000_000000000000_000000000000");
}

TEST_CASE(
    "mutations of ClientHellos: the pieces they come in do not matter, and nothing is read past the end") {
  Random random(20261122);
  for (const KnownHello& k : known_hellos()) {
    const std::string good = from_hex(k.hex);
    for (int round = 0; round < 300; ++round) {
      std::string bytes = good;
      for (uint64_t changes = 1 + random.below(4); changes > 0; --changes) {
        const size_t at =
            random.below(2) ? random.below(bytes.size()) : random.below(std::min<size_t>(60, bytes.size()));
        switch (random.below(3)) {
          case 0:
            bytes[at] = static_cast<char>(random.below(256));
            break;
          case 1:
            bytes.erase(at, 1 + random.below(3));
            break;
          default:
            bytes.insert(at, 1 + random.below(3), static_cast<char>(random.below(256)));
            break;
        }
        if (bytes.size() < 8) bytes = good;
      }
      ask(bytes);
    }
  }
}
