#include "extensions/filters/listener/http_inspector/http_inspector.h"

#include <doctest/doctest.h>

#include <string>
#include <utility>

#include "fake_context.h"

using namespace sluice;
using namespace sluice::extensions::http_inspector;
using namespace std::literals;

namespace {

constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

struct Rig {
  stats::Store store{1};
  ext::ListenerFilterMaker make = make_factory()(store.root(0).scope("listener").scope("x"));
  ListenerFilterFakeContext context;

  uint64_t counter(const std::string& name) {
    for (auto& m : store.snapshot())
      if (m.name == "http_inspector." + name) return m.value;
    return ~0ull;
  }
};

}  // namespace

TEST_CASE("http_inspector: what real Envoy takes for HTTP") {
  const std::pair<std::string_view, Detected> cases[] = {
      {"GET / HTTP/1.1\r\n", Detected::http11},
      {"GET / HTTP/1.1\n", Detected::http11},
      {"GET / HTTP/1.1\r\nfoo", Detected::http11},
      {"GET / HTTP/1.1 \r\n", Detected::http11},
      {"GET / HTTP/1.1\r\r\n", Detected::http11},
      {"GET  / HTTP/1.1\r\n", Detected::http11},
      {"GET /  HTTP/1.1\r\n", Detected::http11},
      {"GET\t/\tHTTP/1.1\r\n", Detected::http11},
      {"GET /\x01 HTTP/1.1\r\n", Detected::http11},
      {"GET /\0 HTTP/1.1\r\n"sv, Detected::http11},
      {"FOO / HTTP/1.1\r\n", Detected::http11},
      {"get / HTTP/1.1\r\n", Detected::http11},
      {"M-SEARCH * HTTP/1.1\r\n", Detected::http11},
      {"OPTIONS * HTTP/1.1\r\n", Detected::http11},
      {"CONNECT a:80 HTTP/1.1\r\n", Detected::http11},
      {"GET http://a/ HTTP/1.1\r\n", Detected::http11},
      {"PRI * HTTP/1.1\r\n", Detected::http11},
      {"GET / HTTP/1.0\r\n", Detected::http10},
      {"GET / HTTP/1.2\r\n", Detected::http10},
      {"GET / HTTP/0.9\r\n", Detected::http10},
      {"GET / HTTP/2.0\r\n", Detected::http10},
      {"GET /\r\n", Detected::http10},
      {"PRI * HTTP/2.0\r\n\r\nXX", Detected::http10},
      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", Detected::http10},
      {kPreface, Detected::http2},
      {"GET\r\n", Detected::not_http},
      {"GET / http/1.1\r\n", Detected::not_http},
      {" GET / HTTP/1.1\r\n", Detected::not_http},
      {"G\0T / HTTP/1.1\r\n"sv, Detected::not_http},
      {"GET / HTTP/11.1\r\n", Detected::not_http},
      {"GET / HTTP/1.\r\n", Detected::not_http},
      {"GET / HTTP/1\r\n", Detected::not_http},
      {"GET / HTTP/1.x\r\n", Detected::not_http},
      {"GET / HTTX/1.1\r\n", Detected::not_http},
      {"GET / FOO\r\n", Detected::not_http},
      {"GET / a b HTTP/1.1\r\n", Detected::not_http},
      {"GET /\xff HTTP/1.1\r\n", Detected::not_http},
      {"GET foo HTTP/1.1\r\n", Detected::not_http},
      {"\r\nGET / HTTP/1.1\r\n", Detected::not_http},
      {"\n", Detected::not_http},
      {"\x16\x03\x01\0\0"sv, Detected::not_http},
      {"\x16", Detected::not_http},
      {"GE\xff", Detected::not_http},
      {"SSH-2.0-OpenSSH\r\n", Detected::not_http},
      {"HTTP/1.1 200 OK\r\n", Detected::not_http},
      {"{\"a\":1}\n", Detected::not_http},
      {"G(T / HTTP/1.1\r\n", Detected::not_http},
      {"*1\r\n$4\r\nPING\r\n", Detected::not_http},
      {"USER foo\r\n", Detected::not_http},
      {"hello\n", Detected::not_http},
      {"GET / HTTP/1.1", Detected::need_more},
      {"PRI * HTTP/2.0\r\n", Detected::need_more},
      {"P", Detected::need_more},
      {"hello", Detected::need_more},
  };
  for (auto& [bytes, want] : cases) {
    CAPTURE(bytes);
    CHECK(detect(bytes) == want);
  }
}

TEST_CASE("http_inspector: in fragments, one byte more at a time") {
  for (std::string_view whole : {"GET /x HTTP/1.1\r\n"sv, kPreface}) {
    Rig r;
    auto filter = r.make();
    CHECK(filter->on_accept(r.context) == ext::ListenerFilterStatus::need_data);
    for (size_t n = 1; n < whole.size(); ++n)
      REQUIRE(filter->on_data(r.context, whole.substr(0, n), false) == ext::ListenerFilterStatus::need_data);
    CHECK(filter->on_data(r.context, whole, false) == ext::ListenerFilterStatus::proceed);
    bool h2 = whole == kPreface;
    CHECK(r.context.info.application_protocols == std::vector<std::string>{h2 ? "h2c" : "http/1.1"});
    CHECK(r.counter("http2_found") == (h2 ? 1 : 0));
    CHECK(r.counter("http11_found") == (h2 ? 0 : 1));
    CHECK(r.counter("http_not_found") == 0);
  }
}

TEST_CASE("http_inspector: what it is not, is too long, ends early, or is TLS") {
  Rig r;
  auto filter = r.make();
  CHECK(filter->on_data(r.context, "\x16\x03", false) == ext::ListenerFilterStatus::proceed);
  CHECK(r.context.info.application_protocols.empty());
  CHECK(r.counter("http_not_found") == 1);
  std::string long_line = "GET /" + std::string(kMaxBytes - 5, 'a');
  CHECK(filter->on_data(r.context, std::string_view(long_line).substr(1), false) ==
        ext::ListenerFilterStatus::need_data);
  CHECK(filter->on_data(r.context, long_line, true) == ext::ListenerFilterStatus::reject);
  CHECK(r.counter("read_error") == 1);
  CHECK(filter->on_data(r.context, "GET / HTTP/1.0\r\n", true) == ext::ListenerFilterStatus::proceed);
  CHECK(r.counter("http10_found") == 1);
  CHECK(r.counter("read_error") == 1);
  r.context.info.transport_protocol = "tls";
  CHECK(filter->on_accept(r.context) == ext::ListenerFilterStatus::proceed);
}
