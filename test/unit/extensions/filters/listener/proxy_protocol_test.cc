#include "extensions/filters/listener/proxy_protocol/proxy_protocol.h"

#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "core/random.h"
#include "extensions/filters/listener/proxy_protocol/header.h"
#include "fake_context.h"

using namespace sluice;
using namespace sluice::extensions::proxy_protocol;
using namespace std::literals;
using Verdict = ext::ListenerFilterStatus;
using State = Header::State;

namespace {

constexpr std::string_view kSignature = "\r\n\r\n\0\r\nQUIT\n"sv;
const std::string kFour = "\x01\x02\x03\x04\x05\x06\x07\x08\x00\x6f\x00\xde"s;  // 1.2.3.4:111 to 5.6.7.8:222

std::string number(size_t v) {
  return {static_cast<char>(v >> 8 & 255), static_cast<char>(v & 255)};
}
std::string v2(const std::string& body, char command = 0x21, char family = 0x11) {
  return std::string(kSignature) + command + family + number(body.size()) + body;
}
std::string tlv(char type, const std::string& value) {
  return type + number(value.size()) + value;
}
std::string line(const std::string& text) {
  return "PROXY " + text + "\r\n";
}

// What is said of the header when it comes at once, with more behind it; and that it is the same byte by byte.
std::string ask(const std::string& bytes) {
  const Header h = parse(bytes + "hello world, with more");
  for (size_t n = 1; n < bytes.size(); ++n) {
    const std::string cut = bytes.substr(0, n);
    const Header part = parse(cut);
    if (part.state == State::need_more) {
      CHECK((part.size == 0 || part.size == h.size));
      continue;
    }
    // Earlier than at its end only if it is refused.
    CHECK(part.state != State::present);
    CHECK(h.state == part.state);
    CHECK(h.version == part.version);
  }
  switch (h.state) {
    case State::need_more:
      return "need more";
    case State::absent:
      return "absent";
    case State::malformed:
      return "malformed";
    case State::present:
      break;
  }
  CHECK(h.size == bytes.size());
  return h.local ? "local" : h.source.to_string() + " " + h.destination.to_string();
}

struct Rig {
  explicit Rig(Settings s = {})
      : settings(std::make_shared<const Settings>(std::move(s))),
        make(make_factory(settings)(store.root(0).scope("listener").scope("x"))),
        filter(make()) {
    context.info.downstream_remote = Address::parse("9.9.9.9:9").value();
    context.info.downstream_local = Address::parse("8.8.8.8:8").value();
  }
  Verdict give(const std::string& bytes) { return filter->on_data(context, bytes, false); }
  std::string addresses() const {
    return context.info.downstream_remote.to_string() + " " + context.info.downstream_local.to_string();
  }
  std::string counted() {
    std::string out;
    for (auto& m : store.snapshot())
      if (m.value != 0) out += m.name + "=" + std::to_string(m.value) + " ";
    return out;
  }
  stats::Store store{1};
  ListenerFilterFakeContext context;
  std::shared_ptr<const Settings> settings;
  ext::ListenerFilterMaker make;
  std::unique_ptr<ext::ListenerFilter> filter;
};

Settings with(bool allow_without, bool v1, bool v2, std::string prefix = "") {
  Settings s;
  s.allow_without = allow_without, s.allow_v1 = v1, s.allow_v2 = v2;
  s.stat_prefix = std::move(prefix);
  return s;
}

}  // namespace

TEST_CASE("PROXY v1: what real Envoy takes") {
  const std::string four = "1.2.3.4:111 5.6.7.8:222";
  const std::pair<std::string, std::string> cases[] = {
      {line("TCP4 1.2.3.4 5.6.7.8 111 222"), four},
      {line("TCP4 1.2.3.4 5.6.7.8 0111 +222"), four},
      {line("TCP4 1.2.3.4 5.6.7.8 111 222 "), four},
      {line("TCP4 1.2.3.4 5.6.7.8 \t111\t 222\t"), four},
      {line("TCP4 1.2.3.4 5.6.7.8 0 00000000065535"), "1.2.3.4:0 5.6.7.8:65535"},
      {line("TCP6 1:2::3 4:5::6 111 222"), "[1:2::3]:111 [4:5::6]:222"},
      {line("TCP6 ABCD::1 abcd::2 111 222"), "[abcd::1]:111 [abcd::2]:222"},
      {line("TCP6 ::ffff:1.2.3.4 ::ffff:5.6.7.8 111 222"), "[::ffff:1.2.3.4]:111 [::ffff:5.6.7.8]:222"},
      {line("UNKNOWN"), "local"},
      {line("UNKNOWN\r"), "local"},
      {line("UNKNOWN ffff::1 ffff::2 1 2"), "local"},
      {line("UNKNOWN " + std::string(108 - 16, 'x')), "local"},
  };
  for (const auto& [bytes, want] : cases) {
    CAPTURE(bytes);
    CHECK(ask(bytes) == want);
  }
}

TEST_CASE("PROXY v1: what it refuses") {
  for (const char* text : {"TCP4 1.2.3 5.6.7.8 111 222",
                           "TCP4 1.2.3.4 5.6.7.8 65536 222",
                           "TCP4 1.2.3.4 5.6.7.8 -1 222",
                           "TCP4 1.2.3.4 5.6.7.8  222",
                           "TCP4 1.2.3.4 5.6.7.8 111",
                           "TCP4 1.2.3.4 5.6.7.8 111 222 3",
                           "TCP4 01.2.3.4 5.6.7.8 111 222",
                           "TCP4 1.2.3.4\t 5.6.7.8 111 222",
                           " TCP4 1.2.3.4 5.6.7.8 111 222",
                           "TCP4  1.2.3.4 5.6.7.8 111 222",
                           "TCP5 1.2.3.4 5.6.7.8 111 222",
                           "TCP4 1:2::3 4:5::6 111 222",
                           "TCP6 1.2.3.4 5.6.7.8 111 222",
                           "TCP6 [1::2] 4:5::6 111 222",
                           "TCP4 224.0.0.1 5.6.7.8 111 222",
                           "TCP4 0.0.0.0 5.6.7.8 111 222",
                           "TCP4 1.2.3.4 255.255.255.255 111 222",
                           "TCP6 ff02::1 4:5::6 111 222",
                           "TCP6 :: 4:5::6 111 222",
                           "unknown",
                           "UNKNOWNx",
                           "",
                           "TCP4",
                           "TCP4 1.2.3.4\r\n5.6.7.8 111 222"}) {
    CAPTURE(text);
    CHECK(parse(line(text)).state == State::malformed);
    CHECK(parse(line(text)).version == Version::v1);
  }
  CHECK(parse(line("UNKNOWN " + std::string(109 - 16, 'x'))).state == State::malformed);
  // A zone means something on its sender's host alone. (Envoy takes it where an interface here has that name.)
  CHECK(parse(line("TCP6 fe80::1%eth0 4:5::6 111 222")).state == State::malformed);
  CHECK(parse("PROXY UNKNOWN " + std::string(108 - 14, 'x')).state == State::need_more);
  CHECK(parse("PROXY UNKNOWN " + std::string(109 - 14, 'x')).state == State::absent);
  CHECK(parse("proxy TCP4 1.2.3.4").state == State::absent);
  CHECK(parse("GET / HTTP/1.1  ").state == State::absent);
  CHECK(parse("GET / HTTP/1.1 ").state == State::need_more);
  CHECK(parse("GET / HTTP\r\n").state == State::malformed);
  CHECK(parse("\r\n" + std::string(13, 'x')).state == State::need_more);
  CHECK(parse("\r\n" + std::string(14, 'x')).state == State::absent);
}

TEST_CASE("PROXY v2: what real Envoy takes") {
  const std::string four = "1.2.3.4:111 5.6.7.8:222";
  std::string six(36, '\0');
  six[0] = 0x20, six[15] = 1, six[16] = 0x20, six[31] = 2, six[33] = 80, six[34] = 1;
  const std::pair<std::string, std::string> cases[] = {
      {v2(kFour), four},
      {v2(kFour, 0x21, 0x12), four},
      {v2(six, 0x21, 0x21), "[2000::1]:80 [2000::2]:256"},
      {v2(six, 0x21, 0x22), "[2000::1]:80 [2000::2]:256"},
      {v2(kFour + tlv(2, "abc") + tlv('\xe0', "")), four},
      {v2(kFour + tlv(3, "wrong")), four},  // a CRC, which is not checked
      {v2(kFour + tlv(2, std::string(65535 - 12 - 3, 'x'))), four},
      {v2("", 0x20, 0), "local"},
      {v2(kFour, 0x20), "local"},
      {v2(std::string(300, 'x'), 0x20, 0x31), "local"},
  };
  for (const auto& [bytes, want] : cases) {
    CAPTURE(bytes.size());
    if (bytes.size() < 1000)
      CHECK(ask(bytes) == want);
    else
      CHECK(parse(bytes).size == bytes.size());
  }
}

TEST_CASE("PROXY v2: what it refuses") {
  const std::string all[] = {v2(kFour, 0x21, 0x00),
                             v2("", 0x21, 0x00),  // UNSPEC
                             v2(kFour, 0x21, 0x10),
                             v2(kFour, 0x21, 0x13),
                             v2(std::string(216, 'x'), 0x21, 0x31),  // Unix
                             v2(kFour, 0x22),
                             v2(kFour, 0x11),
                             v2(kFour, 0x31),
                             v2(kFour, 0x01),
                             v2(kFour, 0x10),
                             v2(kFour.substr(0, 11)),
                             v2(kFour, 0x21, 0x21),
                             v2(kFour + "\2"),
                             v2(kFour + "\2\0"s),
                             v2(kFour + "\2\0\5ab"s),
                             v2(kFour + tlv(1, "h2") + "\2\0\1"s),
                             v2("\xe0\0\0\1\5\6\7\x08\0\1\0\2"s),
                             v2(std::string(12, '\0'))};
  for (const std::string& bytes : all) {
    CAPTURE(bytes.substr(12));
    CHECK(ask(bytes) == "malformed");
    CHECK(parse(bytes).version == Version::v2);
  }
  CHECK(parse(kSignature).state == State::need_more);
  CHECK(parse(std::string(kSignature.substr(0, 11)) + "xxxxx").state == State::absent);
}

TEST_CASE("PROXY headers with bytes changed: never past the end, and the same in pieces") {
  Random random(7);
  for (const std::string& good : {line("TCP4 1.2.3.4 5.6.7.8 111 222"), v2(kFour + tlv(2, "abc")),
                                  v2(std::string(36, '\x33'), 0x21, 0x21)})
    for (int round = 0; round < 2000; ++round) {
      std::string bytes = good;
      for (uint64_t n = 1 + random.below(3); n > 0; --n)
        bytes[random.below(bytes.size())] = static_cast<char>(random.below(256));
      const std::string own(bytes);
      const Header h = parse(own);
      if (h.state == State::present) {
        CHECK(h.size <= own.size());
        for (size_t n = 0; n < h.size; ++n)
          CHECK(parse(std::string_view(own).substr(0, n)).state != State::present);
      }
    }
}

TEST_CASE("proxy_protocol: takes the header off, and the addresses from it") {
  Rig r;
  CHECK(r.filter->on_accept(r.context) == Verdict::need_data);
  const std::string header = line("TCP4 1.2.3.4 5.6.7.8 111 222");
  CHECK(r.give(header.substr(0, 20)) == Verdict::need_data);
  CHECK(r.give(header + "hello") == Verdict::proceed);
  CHECK(r.filter->taken() == header.size());
  CHECK(r.addresses() == "1.2.3.4:111 5.6.7.8:222");
  CHECK(r.context.info.local_address_restored);
  CHECK(r.counted() == "proxy_proto.versions.v1.found=1 ");
}

TEST_CASE(
    "proxy_protocol: LOCAL and UNKNOWN leave the addresses; the same destination is not a restored one") {
  for (const std::string& header : {line("UNKNOWN 1.2.3.4 5.6.7.8 111 222"), v2(kFour, 0x20)}) {
    Rig r;
    CHECK(r.give(header + "hello") == Verdict::proceed);
    CHECK(r.filter->taken() == header.size());
    CHECK(r.addresses() == "9.9.9.9:9 8.8.8.8:8");
    CHECK_FALSE(r.context.info.local_address_restored);
  }
  Rig r;
  CHECK(r.give(line("TCP4 1.2.3.4 8.8.8.8 111 8")) == Verdict::proceed);
  CHECK(r.addresses() == "1.2.3.4:111 8.8.8.8:8");
  CHECK_FALSE(r.context.info.local_address_restored);
}

TEST_CASE("proxy_protocol: a long header makes the filter ask for more, and for no more than that") {
  Rig r;
  const size_t before = r.filter->max_bytes();
  const std::string header = v2(kFour + tlv(2, std::string(60000, 'x')));
  CHECK(r.give(header.substr(0, before)) == Verdict::need_data);
  CHECK(r.filter->max_bytes() == header.size());
  CHECK(r.give(header.substr(0, header.size() - 1)) == Verdict::need_data);
  CHECK(r.give(header) == Verdict::proceed);
  CHECK(r.filter->taken() == header.size());
}

TEST_CASE("proxy_protocol: errors and their statistics") {
  const auto count = [](Settings s, const std::string& bytes, Verdict verdict) {
    Rig r(std::move(s));
    CHECK(r.give(bytes) == verdict);
    if (verdict == Verdict::proceed && r.filter->taken() == 0) CHECK(r.addresses() == "9.9.9.9:9 8.8.8.8:8");
    return r.counted();
  };
  const std::string http = "GET / HTTP/1.1\r\n\r\n", good1 = line("TCP4 1.2.3.4 5.6.7.8 1 2"),
                    bad1 = line("TCP5"), good2 = v2(kFour), bad2 = v2(kFour, 0x22);
  const auto all = [] { return with(false, true, true); };
  CHECK(count(all(), http, Verdict::reject) ==
        "downstream_cx_proxy_proto_error=1 proxy_proto.not_found_disallowed=1 ");
  CHECK(count(all(), bad1, Verdict::reject) ==
        "downstream_cx_proxy_proto_error=1 proxy_proto.versions.v1.error=1 ");
  CHECK(count(all(), bad2, Verdict::reject) ==
        "downstream_cx_proxy_proto_error=1 proxy_proto.versions.v2.error=1 ");
  // Without one, where that is allowed: as soon as it can be none.
  const auto without = [] { return with(true, true, true, "abc"); };
  CHECK(count(without(), http, Verdict::proceed) == "proxy_proto.abc.not_found_allowed=1 ");
  CHECK(count(without(), "GE", Verdict::proceed) == "proxy_proto.abc.not_found_allowed=1 ");
  CHECK(count(without(), "PROXY_x", Verdict::proceed) == "proxy_proto.abc.not_found_allowed=1 ");
  CHECK(count(without(), "P", Verdict::need_data) == "");
  CHECK(count(without(), "\r\n", Verdict::need_data) == "");
  CHECK(count(without(), bad1, Verdict::reject) ==
        "downstream_cx_proxy_proto_error=1 proxy_proto.abc.versions.v1.error=1 ");
  CHECK(count(without(), good2, Verdict::proceed) == "proxy_proto.abc.versions.v2.found=1 ");
  // A version that is not allowed is found all the same, unless one may do without.
  CHECK(count(with(false, false, true), good1, Verdict::reject) ==
        "proxy_proto.versions.v1.disallowed=1 proxy_proto.versions.v1.found=1 ");
  CHECK(count(with(false, false, true), bad1, Verdict::reject) ==
        "proxy_proto.versions.v1.disallowed=1 proxy_proto.versions.v1.found=1 ");
  CHECK(count(with(false, false, true), good1.substr(0, 20), Verdict::need_data) == "");
  CHECK(count(with(false, false, true), line("UNKNOWN " + std::string(200, 'x')), Verdict::reject) ==
        "downstream_cx_proxy_proto_error=1 proxy_proto.versions.v1.error=1 ");
  CHECK(count(with(false, true, false), good2.substr(0, 16), Verdict::reject) ==
        "proxy_proto.versions.v2.disallowed=1 proxy_proto.versions.v2.found=1 ");
  CHECK(count(with(true, true, false), good2, Verdict::proceed) == "proxy_proto.not_found_allowed=1 ");
}

TEST_CASE("proxy_protocol: TLVs into dynamic metadata, where rules say so") {
  Settings s;
  using Key = Settings::MetadataKey;
  s.rules[2] = std::make_shared<const Key>(Key{"ns", "authority"});
  s.rules[0xea] = std::make_shared<const Key>(Key{"ns", "vpc"});
  Rig r(std::move(s));
  CHECK(r.give(v2(kFour + tlv(1, "h2") + tlv(2, "one") + tlv('\xea', "a\xff\"\xc3\xa9\xed\xa0\x80") +
                  tlv(2, "two"))) == Verdict::proceed);
  REQUIRE(r.context.info.dynamic_metadata);
  const auto& ns = r.context.info.dynamic_metadata->at("ns");
  CHECK(ns.size() == 2);
  CHECK(ns.at("authority") == "\"one\"");
  CHECK(ns.at("vpc") == "\"a!\\\"\xc3\xa9!!!\"");
}
