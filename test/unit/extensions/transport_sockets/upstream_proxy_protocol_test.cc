#include "extensions/transport_sockets/upstream_proxy_protocol/upstream_proxy_protocol.h"

#include <doctest/doctest.h>

#include <cctype>
#include <memory>
#include <string>
#include <utility>

#include "sluice/ext/stream_info.h"
#include "test/unit/extensions/filters/http/fake_context.h"

using namespace sluice;
using namespace sluice::extensions::upstream_proxy_protocol;
using namespace std::literals;
using Verdict = ext::TransportSocket::Status;

namespace {

constexpr std::string_view kSignature = "\r\n\r\n\0\r\nQUIT\n"sv;

ext::StreamInfo connection(const char* source = "1.2.3.4:111", const char* destination = "5.6.7.8:222") {
  ext::StreamInfo info;
  info.downstream_remote = Address::parse(source).value();
  info.downstream_local = Address::parse(destination).value();
  return info;
}

Settings v2(std::vector<Settings::Tlv> added = {}) {
  return {.v2 = true, .added = std::move(added), .inner = nullptr};
}

std::string text(Buffer& b) {
  std::string out = b.to_string();
  b.clear();
  return out;
}

// Answers in upper case, once it has been greeted.
class Shout final : public ext::TransportSocket {
 public:
  explicit Shout(std::string key) : key_(std::move(key)) {}
  void start(Buffer& out) override { out.append(pool, "HELO " + key_ + ";"); }
  Status receive(Buffer& in, bool end_stream, Buffer& plain, Buffer&) override {
    established_ = true;
    plain.append(std::move(in));
    return end_stream ? Status::failed : Status::ok;
  }
  bool established() const override { return established_; }
  void send(Buffer& plain, size_t n, Buffer& out) override {
    std::string scratch(plain.peek(n, scratch_));
    plain.drain(n);
    for (char& c : scratch) c = static_cast<char>(std::toupper(c));
    out.append(pool, scratch);
  }
  void end(Buffer& out) override { out.append(pool, ";BYE"); }
  const std::string& failure() const override { return failure_; }
  std::string_view application_protocol() const override { return "shout"; }
  static BlockPool pool;

 private:
  std::string key_, scratch_, failure_ = "cut off";
  bool established_ = false;
};
BlockPool Shout::pool;

struct ShoutTransport final : ext::UpstreamTransport {
  ext::TransportSocketPtr make(const Request& r, std::string& failure) override {
    if (r.workload == 13) {
      failure = "no certificate";
      return nullptr;
    }
    return std::make_unique<Shout>(std::string(r.sharing_key));
  }
  std::string sharing_key(const Request& r) const override { return "w" + std::to_string(r.workload); }
};

struct Rig {
  explicit Rig(Settings settings)
      : transport(make_factory(std::move(settings))(
            {.stats = store.root(0).scope("cluster").scope("c"), .loop = loop})) {}
  ext::TransportSocketPtr make(ext::UpstreamTransport::Request request) {
    const std::string key = transport->sharing_key(request);
    request.sharing_key = key;
    request.downstream = nullptr;  // may be gone by then
    return transport->make(request, failure);
  }
  uint64_t too_long() {
    for (auto& m : store.snapshot())
      if (m.name == "cluster.c.upstream.proxyprotocol.v2_tlvs_exceed_max_length") return m.value;
    return ~0ull;
  }
  stats::Store store{1};
  test::FakeLoop loop;
  std::unique_ptr<ext::UpstreamTransport> transport;
  std::string failure;
};

}  // namespace

TEST_CASE("upstream_proxy_protocol: headers, byte for byte as Envoy's") {
  const auto four = connection();
  const auto six = connection("[1:2::3]:111", "[::ffff:5.6.7.8]:222");
  const auto mixed = connection("1.2.3.4:111", "[4:5::6]:222");
  CHECK(header({}, &four) == "PROXY TCP4 1.2.3.4 5.6.7.8 111 222\r\n");
  CHECK(header({}, &six) == "PROXY TCP6 1:2::3 ::ffff:5.6.7.8 111 222\r\n");
  CHECK(header({}, nullptr) == "PROXY UNKNOWN\r\n");
  CHECK(header({}, &mixed) == "PROXY UNKNOWN\r\n");
  CHECK(header(v2(), &four) == std::string(kSignature) + "\x21\x11\0\x0c\1\2\3\4\5\6\7\x08\0\x6f\0\xde"s);
  CHECK(header(v2({{0xe0, "a"}, {0xe0, "b"}, {0xe1, "zz"}}), &four) ==
        std::string(kSignature) +
            "\x21\x11\0\x19\1\2\3\4\5\6\7\x08\0\x6f\0\xde\xe0\0\1a\xe0\0\1b\xe1\0\2zz"s);
  CHECK(header(v2(), &six).substr(12, 8) == "\x21\x21\0\x24\0\1\0\2"s);
  CHECK(header(v2(), &six).size() == 16 + 36);
  CHECK(header(v2({{0xe0, "a"}}), nullptr) == std::string(kSignature) + "\x20\0\0\0"s);
}

TEST_CASE("upstream_proxy_protocol: of a request the connection's addresses, unless nobody is to know them") {
  const auto of_connection = connection();
  auto of_request = connection("7.7.7.7:0", "5.6.7.8:222");  // as x-forwarded-for says
  ext::HttpInfo http;
  of_request.http = &http;
  CHECK(header({}, &of_request) == "PROXY UNKNOWN\r\n");
  http.connection = &of_connection;
  CHECK(header({}, &of_request) == "PROXY TCP4 1.2.3.4 5.6.7.8 111 222\r\n");
}

TEST_CASE("upstream_proxy_protocol: TLVs that do not fit are left out, and counted") {
  const auto four = connection();
  const std::vector<Settings::Tlv> big = {
      {1, std::string(40000, 'x')}, {2, std::string(40000, 'y')}, {3, "z"}};
  CHECK(header(v2(big), &four).size() == 16 + 12 + 3 + 40000 + 3 + 1);
  const std::vector<Settings::Tlv> full = {{1, std::string(65535 - 12 - 3, 'x')}};
  CHECK(header(v2(full), &four).size() == 16 + 65535);
  Rig r(v2(big)), fits(v2(full));
  CHECK(r.too_long() == 0);
  CHECK(r.make({.downstream = &four}));
  CHECK(r.too_long() == 1);
  CHECK(r.make({}));  // a LOCAL header has none
  CHECK(r.too_long() == 1);
  const auto longest = fits.make({.downstream = &four});
  REQUIRE(longest);
  Buffer out;
  longest->start(out);
  CHECK(out.size() == 16 + 65535);
  out.clear();
  CHECK(fits.too_long() == 0);
  const auto six = connection("[1:2::3]:111", "[4::5]:222");
  CHECK(fits.make({.downstream = &six}));
  CHECK(fits.too_long() == 1);
}

TEST_CASE("upstream_proxy_protocol: before plain bytes") {
  Rig r({});
  const auto who = connection();
  auto socket = r.make({.downstream = &who});
  REQUIRE(socket);
  CHECK(socket->established());
  CHECK_FALSE(r.transport->secure());
  BlockPool pool;
  Buffer in, plain, out;
  socket->start(out);
  CHECK(text(out) == "PROXY TCP4 1.2.3.4 5.6.7.8 111 222\r\n");
  plain.append(pool, "hello world");
  socket->send(plain, 5, out);
  CHECK(text(out) == "hello");
  CHECK(text(plain) == " world");
  in.append(pool, "answer");
  CHECK(socket->receive(in, false, plain, out) == Verdict::ok);
  CHECK(text(plain) == "answer");
  CHECK(socket->receive(in, true, plain, out) == Verdict::ended);
  socket->end(out);
  CHECK(out.empty());
  CHECK(socket->failure().empty());
  CHECK(socket->application_protocol().empty());
}

TEST_CASE("upstream_proxy_protocol: before what another transport socket makes of them") {
  Settings settings;
  settings.inner = [](const ext::TransportScope&) { return std::make_unique<ShoutTransport>(); };
  Rig r(std::move(settings));
  const auto who = connection();
  auto socket = r.make({.workload = 5, .downstream = &who});
  REQUIRE(socket);
  CHECK(r.transport->secure());
  CHECK_FALSE(socket->established());
  BlockPool pool;
  Buffer in, plain, out;
  socket->start(out);
  CHECK(text(out) == "PROXY TCP4 1.2.3.4 5.6.7.8 111 222\r\nHELO w5;");
  in.append(pool, "go");
  CHECK(socket->receive(in, false, plain, out) == Verdict::ok);
  CHECK(socket->established());
  CHECK(socket->application_protocol() == "shout");
  plain.clear();
  plain.append(pool, "hello");
  socket->send(plain, 5, out);
  socket->end(out);
  CHECK(text(out) == "HELLO;BYE");
  CHECK(socket->receive(in, true, plain, out) == Verdict::failed);
  CHECK(socket->failure() == "cut off");
  CHECK(r.make({.workload = 13, .downstream = &who}) == nullptr);
  CHECK(r.failure == "no certificate");
}

TEST_CASE(
    "upstream_proxy_protocol: connections are shared where headers and the inner socket's wants are the "
    "same") {
  Settings settings;
  settings.inner = [](const ext::TransportScope&) { return std::make_unique<ShoutTransport>(); };
  Rig r(std::move(settings));
  const auto one = connection(), again = connection(), other = connection("1.2.3.4:112");
  const auto key = [&](uint64_t workload, const ext::StreamInfo* info) {
    return r.transport->sharing_key({.workload = workload, .downstream = info});
  };
  CHECK(key(1, &one) == key(1, &again));
  CHECK(key(1, &one) != key(1, &other));
  CHECK(key(1, &one) != key(2, &one));
  CHECK(key(1, nullptr) == key(1, nullptr));
  CHECK(key(1, nullptr) != key(1, &one));
}
