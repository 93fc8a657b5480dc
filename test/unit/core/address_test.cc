#include "core/address.h"

#include <doctest/doctest.h>

using namespace sluice;

TEST_CASE("addresses parse and print as users write them") {
  for (const char* text : {"1.2.3.4:80", "[::1]:15001", "[2001:db8::5]:65535", "0.0.0.0:0"})
    CHECK(Address::parse(text)->to_string() == text);
  for (const char* text :
       {"", "1.2.3.4", "1.2.3.4:", "1.2.3.4:65536", "::1:80", "[::1:80", "host:80", "1.2.3:80"})
    CHECK_FALSE(Address::parse(text).ok());
}

TEST_CASE("v4-mapped addresses fold") {
  auto a = *Address::parse("[::ffff:10.1.2.3]:80");
  CHECK(a.unmapped().to_string() == "10.1.2.3:80");
  CHECK_FALSE(a == a.unmapped());
  CHECK(a.unmapped() == *Address::parse("10.1.2.3:80"));
  CHECK(IpAddress::parse("::ffff:127.0.0.1")->is_loopback());
}

TEST_CASE("pipes, abstract ones included") {
  CHECK(Address::pipe("/run/x.sock")->to_string() == "/run/x.sock");
  CHECK(Address::pipe("@x")->to_string() == "@x");
  CHECK_FALSE(Address::pipe(std::string(108, 'x')).ok());
  CHECK_FALSE(Address::pipe("").ok());
}

TEST_CASE("prefixes contain what they should, at every length") {
  auto ip = *IpAddress::parse("10.1.255.7");
  for (unsigned len = 0; len <= 32; ++len) {
    auto c = *Cidr::make(ip, len);
    CHECK(c.contains(ip));
    if (len > 0) {
      uint32_t flipped = htonl(ntohl(ip.v4_be()) ^ (1u << (32 - len)));
      CHECK_FALSE(c.contains(IpAddress::v4(flipped)));
    }
  }
  CHECK(Cidr::parse("10.0.0.0/8")->contains(*IpAddress::parse("::ffff:10.9.9.9")));
  CHECK_FALSE(Cidr::parse("::/0")->contains(ip));
  CHECK(Cidr::parse("fd00::/9")->contains(*IpAddress::parse("fd7f::1")));
  CHECK_FALSE(Cidr::parse("fd00::/9")->contains(*IpAddress::parse("fd80::1")));
  CHECK_FALSE(Cidr::parse("10.0.0.0/33").ok());
  CHECK_FALSE(Cidr::parse("10.0.0.0/").ok());
  CHECK(Cidr::parse("10.1.2.3/8")->to_string() == "10.0.0.0/8");
}
