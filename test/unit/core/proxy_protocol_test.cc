#include "core/proxy_protocol.h"

#include <doctest/doctest.h>

using namespace sluice;
using namespace std::string_literals;

namespace {

Address address(const char* text, uint16_t port) {
  auto ip = IpAddress::parse(text);
  REQUIRE(ip.ok());
  return Address(ip.value(), port);
}

}  // namespace

TEST_CASE("PROXY protocol, version 1") {
  CHECK(proxy_protocol_header(1, address("10.1.2.3", 1000), address("10.0.0.1", 80)) ==
        "PROXY TCP4 10.1.2.3 10.0.0.1 1000 80\r\n");
  CHECK(proxy_protocol_header(1, address("fd00::1", 65535), address("::1", 1)) ==
        "PROXY TCP6 fd00::1 ::1 65535 1\r\n");
  CHECK(proxy_protocol_header(1, address("::ffff:10.1.2.3", 1000), address("10.0.0.1", 80)) ==
        "PROXY TCP4 10.1.2.3 10.0.0.1 1000 80\r\n");
  CHECK(proxy_protocol_header(1, address("10.1.2.3", 1000), address("::1", 80)) == "PROXY UNKNOWN\r\n");
  CHECK(proxy_protocol_header(1, Address(), Address()) == "PROXY UNKNOWN\r\n");
}

TEST_CASE("PROXY protocol, version 2") {
  const std::string signature = "\r\n\r\n\0\r\nQUIT\n"s;
  CHECK(proxy_protocol_header(2, address("10.1.2.3", 0x1234), address("10.0.0.1", 80)) ==
        signature + "\x21\x11\0\x0c\x0a\1\2\3\x0a\0\0\1\x12\x34\0\x50"s);
  CHECK(proxy_protocol_header(2, address("fd00::1", 1), address("::1", 2)) ==
        signature + "\x21\x21\0\x24\xfd\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1"s +
            "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\1\0\2"s);
  CHECK(proxy_protocol_header(2, Address(), address("::1", 2)) == signature + "\x20\0\0\0"s);
}
