#include "extensions/filters/listener/tls_inspector/tls_inspector.h"

#include <doctest/doctest.h>

#include <string>

#include "fake_context.h"
#include "known_hellos.h"

using namespace sluice;
using namespace sluice::extensions::tls_inspector;
using namespace std::literals;
using Verdict = ext::ListenerFilterStatus;

namespace {

struct Rig {
  explicit Rig(Settings settings = {})
      : make(make_factory(settings)(store.root(0).scope("listener").scope("x"))), filter(make()) {
    REQUIRE(filter->on_accept(context) == Verdict::need_data);
  }
  Verdict give(std::string_view bytes) { return filter->on_data(context, bytes, false); }
  // Counters that are not zero.
  std::string counted() {
    std::string out;
    for (auto& m : store.snapshot())
      if (m.kind == stats::Kind::counter && m.value != 0)
        out += m.name.substr("tls_inspector."s.size()) + "=" + std::to_string(m.value) + " ";
    return out;
  }
  std::pair<uint64_t, uint64_t> processed() {  // how often, bytes in all
    for (auto& m : store.snapshot())
      if (m.name == "tls_inspector.bytes_processed" && m.histogram)
        return {m.histogram->count, m.histogram->sum};
    return {0, 0};
  }
  std::string failure() {
    const auto& all = context.info.dynamic_metadata;
    return all ? all->at("envoy.filters.listener.tls_inspector").at("failure_reason") : "";
  }

  stats::Store store{1};
  ListenerFilterFakeContext context;
  ext::ListenerFilterMaker make;
  std::unique_ptr<ext::ListenerFilter> filter;
};

const KnownHello& istio() {
  return known_hellos()[0];
}

}  // namespace

TEST_CASE("tls_inspector: what a client asks for is there for filter chains to match") {
  Rig r;
  const std::string bytes = from_hex(istio().hex);
  CHECK(r.give(bytes.substr(0, 100)) == Verdict::need_data);
  CHECK(r.give(bytes) == Verdict::proceed);
  const auto& info = r.context.info;
  CHECK(info.transport_protocol == "tls");
  CHECK(info.requested_server_name == "reviews.default.svc.cluster.local");
  CHECK(info.application_protocols == std::vector<std::string>{"istio-peer-exchange", "istio", "h2"});
  CHECK(info.ja3_hash == "");
  CHECK(info.ja4 == "");
  CHECK(r.failure() == "");
  CHECK(r.filter->taken() == 0);
  CHECK(r.counted() == "alpn_found=1 sni_found=1 tls_found=1 ");
  CHECK(r.processed() == std::pair<uint64_t, uint64_t>{1, bytes.size()});
}

TEST_CASE("tls_inspector: fingerprints where they are asked for; names in lower case") {
  Rig r({.ja3 = true, .ja4 = true});
  std::string bytes = from_hex(istio().hex);
  bytes[bytes.find("reviews")] = 'R';
  CHECK(r.give(bytes) == Verdict::proceed);
  CHECK(r.context.info.requested_server_name == "reviews.default.svc.cluster.local");
  CHECK(r.context.info.ja3_hash == istio().ja3);
  CHECK(r.context.info.ja4 == istio().ja4);
}

TEST_CASE("tls_inspector: plain text goes on, unless errors are to close") {
  for (bool close : {false, true}) {
    Rig r({.close_on_errors = close});
    CHECK(r.give("GET ") == Verdict::need_data);
    CHECK(r.give("GET / HTTP/1.1\r\n") == (close ? Verdict::reject : Verdict::proceed));
    CHECK(r.context.info.transport_protocol == "");
    CHECK(r.context.info.downstream_transport_failure_reason ==
          "TLS_error|error:1000009c:SSL routines:OPENSSL_internal:HTTP_REQUEST:TLS_error_end");
    CHECK(r.failure() == "\"ClientHelloNotDetected\"");
    CHECK(r.counted() == "tls_not_found=1 ");
    CHECK(r.processed() == std::pair<uint64_t, uint64_t>{1, 5});
  }
}

TEST_CASE("tls_inspector: SSL 3.0 is neither served nor passed on") {
  Rig r({.ja4 = true});
  std::string bytes = from_hex(known_hellos()[1].hex);
  bytes[10] = 0;  // legacy_version 3.0
  CHECK(r.give(bytes) == Verdict::reject);
  CHECK(r.context.info.transport_protocol == "");
  CHECK(r.context.info.requested_server_name == "example.com");
  CHECK(r.failure() == "\"ClientHelloInvalidTlsVersion\"");
  CHECK(r.counted() == "sni_found=1 tls_not_found=1 ");
}

TEST_CASE("tls_inspector: no more than max_client_hello_size") {
  const std::string bytes = from_hex(istio().hex);  // 517
  const auto max = static_cast<uint32_t>(bytes.size());
  {
    Rig r({.max_client_hello_size = max, .initial_read_buffer_size = 256});
    CHECK(r.filter->max_bytes() == max);
    CHECK(r.give(bytes + "more") == Verdict::proceed);
    CHECK(r.counted() == "alpn_found=1 sni_found=1 tls_found=1 ");
  }
  {
    Rig r({.max_client_hello_size = max - 1, .initial_read_buffer_size = 256});
    CHECK(r.give(bytes) == Verdict::reject);
    CHECK(r.failure() == "\"ClientHelloTooLarge\"");
    CHECK(r.counted() == "client_hello_too_large=1 ");
    CHECK(r.processed() == std::pair<uint64_t, uint64_t>{1, max - 1});
  }
}

TEST_CASE("tls_inspector: what errors count as depends on how much was looked at, as with Envoy") {
  const std::string plain(5000, 'x');
  {
    Rig r({.close_on_errors = true, .max_client_hello_size = 1024, .initial_read_buffer_size = 1024});
    CHECK(r.give(plain) == Verdict::reject);
    CHECK(r.failure() == "\"ClientHelloTooLarge\"");
    CHECK(r.counted() == "client_hello_too_large=1 ");
  }
  {
    Rig r({.close_on_errors = true, .max_client_hello_size = 1024, .initial_read_buffer_size = 256});
    CHECK(r.give(plain) == Verdict::reject);
    CHECK(r.failure() == "\"ClientHelloNotDetected\"");
    CHECK(r.counted() == "tls_not_found=1 ");
  }
  {
    Rig r({.max_client_hello_size = 1024, .initial_read_buffer_size = 256});
    CHECK(r.give(plain) == Verdict::proceed);
    CHECK(r.counted() == "tls_not_found=1 ");
  }
}

TEST_CASE("tls_inspector: a client that ends TLS before it began") {
  Rig r;
  CHECK(r.give("\x15\x03\x01\x00\x02\x01\x00"sv) == Verdict::reject);
  CHECK(r.counted() == "");
  CHECK(r.failure() == "");
}
