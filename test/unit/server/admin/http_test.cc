#include "server/admin/http.h"

#include <doctest/doctest.h>

using namespace sluice::admin;
using Status = RequestParser::Status;

namespace {

int refused(std::string_view bytes) {
  RequestParser p;
  return p.parse(bytes) == Status::bad ? p.error().status : 0;
}

}  // namespace

TEST_CASE("a request, whole and in every possible part") {
  const std::string bytes =
      "POST /logging/a%20b?level=debug&x=1+2%26&flag HTTP/1.1\r\nHost: x\r\nContent-Length: "
      "5\r\n\r\nhelloGET /next";
  const size_t end = bytes.find("GET /next");
  RequestParser p;
  for (size_t n = 0; n < end; ++n)
    REQUIRE(p.parse(std::string_view(bytes).substr(0, n)) == Status::need_more);
  REQUIRE(p.parse(bytes) == Status::complete);
  CHECK(p.consumed() == end);
  const Request& r = p.request();
  CHECK(r.method == "POST");
  CHECK(r.path == "/logging/a b");
  CHECK(r.get("level") == "debug");
  CHECK(r.get("x") == "1 2&");
  CHECK(r.has("flag"));
  CHECK(r.get("flag") == "");
  CHECK_FALSE(r.has("level2"));
  CHECK(r.body == "hello");
  CHECK(r.keep_alive);
}

TEST_CASE("what ends a connection") {
  RequestParser p;
  REQUIRE(p.parse("GET / HTTP/1.1\r\nhost: x\r\nConnection: Close\r\n\r\n") == Status::complete);
  CHECK_FALSE(p.request().keep_alive);
  REQUIRE(p.parse("GET / HTTP/1.0\r\n\r\n") == Status::complete);
  CHECK_FALSE(p.request().keep_alive);
  REQUIRE(p.parse("\r\nGET http://a:1/ready HTTP/1.1\r\nhost: x\r\n\r\n") == Status::complete);
  CHECK(p.request().path == "/ready");
}

TEST_CASE("what is refused, and how") {
  CHECK(refused("GET /\r\n\r\n") == 400);
  CHECK(refused("GET / HTTP/2.0\r\nhost: a\r\n\r\n") == 505);
  CHECK(refused("GET / SSH/1\r\nhost: a\r\n\r\n") == 400);
  CHECK(refused("GET ready HTTP/1.1\r\nhost: a\r\n\r\n") == 400);
  CHECK(refused("GET /%zz HTTP/1.1\r\nhost: a\r\n\r\n") == 400);
  CHECK(refused("GET /a b HTTP/1.1\r\nhost: a\r\n\r\n") == 400);
  CHECK(refused("G(T / HTTP/1.1\r\nhost: a\r\n\r\n") == 400);
  CHECK(refused("GET / HTTP/1.1\r\n\r\n") == 400);
  CHECK(refused("GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n") == 400);
  CHECK(refused("GET / HTTP/1.1\r\nhost : a\r\n\r\n") == 400);
  CHECK(refused("GET / HTTP/1.1\r\nhost: a\r\n folded\r\n\r\n") == 400);
  CHECK(refused("GET / HTTP/1.1\r\nhost: a\x01\r\n\r\n") == 400);
  CHECK(refused("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n") == 501);
  CHECK(refused("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 1\r\n\r\nx") == 400);
  CHECK(refused("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n") == 400);
  CHECK(refused("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999999\r\n\r\n") == 413);
  CHECK(refused("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1048577\r\n\r\n") == 413);
  CHECK(refused(std::string_view("\x16\x03\x01\x02", 4)) == 400);  // a TLS client
  CHECK(refused("GET /" + std::string(20000, 'a')) == 431);
}

TEST_CASE("responses") {
  std::string r = serialize(Response::text(503, "DRAINING\n"), "Sun, 22 Nov 2026 03:58:19 GMT", true, false);
  CHECK(r ==
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: text/plain; charset=UTF-8\r\ncache-control: "
        "no-cache, max-age=0\r\n"
        "x-content-type-options: nosniff\r\ndate: Sun, 22 Nov 2026 03:58:19 GMT\r\nserver: "
        "sluice\r\ncontent-length: 9\r\n\r\nDRAINING\n");
  r = serialize(Response::json("{}"), "d", false, true);
  CHECK(r.ends_with("content-length: 2\r\nconnection: close\r\n\r\n"));
  CHECK(r.find("application/json") != r.npos);
}
