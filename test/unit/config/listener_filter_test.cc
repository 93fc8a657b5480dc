#include <doctest/doctest.h>
#include <google/protobuf/util/json_util.h>

#include <string>

#include "config/translate_listener_filter.h"
#include "envoy/config/listener/v3/listener_components.pb.h"

namespace sluice::config {
namespace {

PortSet parse(const std::string& json) {
  envoy::config::listener::v3::ListenerFilterChainMatchPredicate message;
  REQUIRE(google::protobuf::util::JsonStringToMessage(json, &message).ok());
  return to_port_set(message);
}

bool has(const PortSet& set, uint16_t port) {
  const bool v4 = set.contains(Address(*IpAddress::parse("10.0.0.1"), port));
  CHECK(set.contains(Address(*IpAddress::parse("::1"), port)) == v4);
  return v4;
}

#define RANGE(start, end) R"({"destination_port_range": {"start": )" #start R"(, "end": )" #end "}}"

TEST_CASE("filter_disabled: ranges are half open") {
  const PortSet set = parse(RANGE(80, 82));
  CHECK_FALSE(has(set, 79));
  CHECK(has(set, 80));
  CHECK(has(set, 81));
  CHECK_FALSE(has(set, 82));
  CHECK_FALSE(has(parse(RANGE(80, 80)), 80));
  CHECK_FALSE(has(parse(RANGE(82, 80)), 81));
  CHECK(has(parse(RANGE(0, 65536)), 0));
  CHECK(has(parse(RANGE(0, 65536)), 65535));
  CHECK_FALSE(has(parse(RANGE(0, 65535)), 65535));
}

TEST_CASE("filter_disabled: numbers that are no ports are what Envoy takes them for") {
  CHECK(has(parse(RANGE(65535, 2147483647)), 65535));
  CHECK(has(parse(RANGE(65535, -1)), 65535));
  CHECK_FALSE(has(parse(RANGE(-1, 10)), 5));
}

TEST_CASE("filter_disabled: and, or, not, any") {
  const PortSet either =
      parse(R"({"or_match": {"rules": [)" RANGE(3, 5) "," RANGE(10, 11) "," RANGE(4, 7) "]}}");
  for (const uint16_t port : {3, 4, 5, 6, 10}) CHECK(has(either, port));
  for (const uint16_t port : {0, 2, 7, 9, 11, 65535}) CHECK_FALSE(has(either, port));
  const PortSet both =
      parse(R"({"and_match": {"rules": [)" RANGE(3, 9) R"(, {"not_match": )" RANGE(5, 7) "}]}}");
  for (const uint16_t port : {3, 4, 7, 8}) CHECK(has(both, port));
  for (const uint16_t port : {2, 5, 6, 9}) CHECK_FALSE(has(both, port));
  const PortSet any = parse(R"({"any_match": true})");
  CHECK(has(any, 0));
  CHECK(has(any, 65535));
  CHECK_FALSE(has(parse(R"({"not_match": {"any_match": true}})"), 80));
}

TEST_CASE("filter_disabled: an address without a port is in every range") {
  const Address pipe = Address::pipe("/run/a.sock").value();
  CHECK(parse(RANGE(80, 81)).contains(pipe));
  CHECK_FALSE(parse(R"({"not_match": )" RANGE(80, 81) "}").contains(pipe));
  CHECK_FALSE(PortSet().contains(pipe));
}

}  // namespace
}  // namespace sluice::config
