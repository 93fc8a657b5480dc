#include <doctest/doctest.h>

#include <string>

#include "proxy/health/grpc_probe.h"

using namespace sluice::health;
using namespace std::string_literals;

TEST_CASE("grpc health: the request in its frame") {
  CHECK(health_check_request("") == "\0\0\0\0\0"s);
  CHECK(health_check_request("shop") == "\0\0\0\0\x06\x0a\x04shop"s);
  const std::string name(200, 'x');
  CHECK(health_check_request(name) == "\0\0\0\0\xcb\x0a\xc8\x01"s + name);
}

TEST_CASE("grpc health: the response, with fields that are not known") {
  CHECK(parse_health_check_response("\x08\x01") == 1);
  CHECK(parse_health_check_response("\x08\x02") == 2);
  CHECK(parse_health_check_response("") == 0);                                   // a message of defaults
  CHECK(parse_health_check_response("\x08\x02\x08\x01") == 1);                   // the last one counts
  CHECK(parse_health_check_response("\x12\x03xyz\x08\x01") == 1);                // bytes
  CHECK(parse_health_check_response("\x19\1\2\3\4\5\6\7\x08\x08\x01"s) == 1);     // fixed64
  CHECK(parse_health_check_response("\x1d\1\2\3\4\x08\x01"s) == 1);              // fixed32
  CHECK(parse_health_check_response("\x0a\x01\x01") == 0);                       // field 1 of another kind
  CHECK(parse_health_check_response("\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01") == ~0ull);
}

TEST_CASE("grpc health: what is no message") {
  for (const std::string& bad : {"\x08"s, "\x08\x80"s, "\x12\x05xyz"s, "\x19\1\2\3"s, "\x1d\1"s, "\x0b"s,
                                 "\x0f"s, "\x00\x01"s, "\x08"s + std::string(12, '\xff')}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_health_check_response(bad));
  }
}
