#include "xds/delta_response.h"

#include <numeric>

#include "core/wyhash.h"
#include "test/unit/xds/mux_rig.h"

namespace sluice::xds {
namespace {

discovery::Resource resource(const std::string& name, const std::string& version) {
  discovery::Resource r;
  r.set_name(name);
  r.set_version(version);
  *r.mutable_resource() = any_of(kClusters, cluster_bytes(name, version));
  return r;
}

// It comes in parts of these sizes, then as a whole.
void check_agrees(std::string_view input, const std::vector<size_t>& parts = {}) {
  discovery::DeltaDiscoveryResponse whole, rest;
  const bool parsed = whole.ParseFromArray(input.data(), static_cast<int>(input.size()));
  TakenDelta taken;
  std::deque<std::string> given;
  const bool made = take_apart(taken, input, parts, given) && rest.ParseFromString(taken.rest);
  given.clear();  // nobody looks at it any more
  CHECK(made == parsed);
  if (!made || !parsed) return;
  CHECK(rest.resources().empty());
  REQUIRE(static_cast<int>(taken.size()) == whole.resources_size());
  for (int i = 0; i < whole.resources_size(); ++i) {
    const DeltaResource is = taken.resource(static_cast<size_t>(i));
    const discovery::Resource& wanted = whole.resources(i);
    CHECK(is.name == wanted.name());
    CHECK(is.version == wanted.version());
    CHECK(is.has_resource == wanted.has_resource());
    CHECK(is.has_aliases == (wanted.aliases_size() > 0));
    CHECK(is.url == wanted.resource().type_url());
    CHECK(is.value == wanted.resource().value());
    CHECK(is.hash == wyhash(wanted.resource().value()));
    CHECK(is.ttl.has_value() == wanted.has_ttl());
    if (is.ttl)
      CHECK(*is.ttl ==
            std::chrono::seconds(wanted.ttl().seconds()) + std::chrono::nanoseconds(wanted.ttl().nanos()));
  }
  whole.clear_resources();
  CHECK(rest.SerializeAsString() == whole.SerializeAsString());
}

// A response with this as one of its resources.
std::string around(std::string_view bytes) {
  discovery::DeltaDiscoveryResponse r;
  r.set_nonce("n");
  *r.add_resources() = resource("first", "1");
  std::string out = r.SerializeAsString();
  out += '\x12';
  REQUIRE(bytes.size() < 0x80);
  out += static_cast<char>(bytes.size());
  return out.append(bytes);
}

TEST_CASE("delta response: taken apart it is what protobuf makes of it, and no message is none to both") {
  discovery::DeltaDiscoveryResponse response;
  response.set_system_version_info("v1");
  *response.add_resources() = resource("a", "1");
  response.set_type_url(kClusters);
  *response.add_resources() = resource("", "");
  auto* lives = response.add_resources();
  *lives = resource("b", "2");
  lives->mutable_ttl()->set_seconds(3);
  lives->mutable_ttl()->set_nanos(4);
  auto* heartbeat = response.add_resources();
  heartbeat->set_name("c");
  heartbeat->set_version("3");
  auto* alias = response.add_resources();
  alias->set_name("d");
  alias->add_aliases("e");
  response.add_resources();
  response.add_removed_resources("gone");
  response.mutable_control_plane()->set_identifier("plane");
  response.set_nonce("n");
  *response.add_resources() = resource("z", "9");
  const std::string bytes = response.SerializeAsString();
  check_agrees(bytes);
  check_agrees(bytes + bytes);
  for (size_t i = 0; i < bytes.size(); ++i) {
    check_agrees(std::string_view(bytes).substr(0, i), {i / 3, i / 2, i / 2, i});
    check_agrees(bytes, {i});
    for (const int flip : {0x55, 0x80}) {
      std::string broken = bytes;
      broken[i] = static_cast<char>(broken[i] ^ flip);
      check_agrees(broken, {i / 2, i, i + 1});
    }
  }
  std::vector<size_t> each(bytes.size());
  std::iota(each.begin(), each.end(), 0);
  check_agrees(bytes, each);
}

// Of a field that stands there again the last counts; messages are merged.
TEST_CASE("delta response: fields given twice, in another order, of another kind, unknown") {
  const std::string a = resource("a", "1").SerializeAsString(), b = resource("b", "2").SerializeAsString();
  const std::string name = "\x1a\x01n", version = "\x0a\x01v", ttl = "\x32\x02\x08\x05", alias = "\x22\x01x";
  check_agrees(around(a));
  for (const std::string& again : {name, version, ttl, alias})
    for (const std::string& with : {again + a, a + again, again + again + a, a + again + again})
      check_agrees(around(with));
  discovery::Resource url, value;
  url.mutable_resource()->set_type_url("u");
  value.mutable_resource()->set_value("v");
  const std::string only_url = url.SerializeAsString(), only_value = value.SerializeAsString();
  check_agrees(around(only_url + only_value));
  check_agrees(around(only_value + only_url));
  check_agrees(around(a + only_value));
  check_agrees(around(a + std::string("\x12\x00", 2)));  // merges nothing
  check_agrees(around(name + std::string("\x12\x00", 2)));  // an Any without anything is one all the same
  const std::string any_twice = "\x0a\x01p\x0a\x01q\x12\x01r\x12\x01s";
  check_agrees(around("\x12\x0c" + any_twice));
  check_agrees(around("\x12\x04\x0a\x01p\x18" + name));  // an Any that ends in the middle of a field
  check_agrees(around(name + "\x08\x07"));  // the version's number with a varint
  check_agrees(around(name + "\x15"
                             "abcd"));  // the resource's with four bytes
  check_agrees(around(a + "\xa2\x06\x01x"));  // field 100
  check_agrees(around("\x1a\x02\xc3\xa9"));  // UTF-8
  check_agrees(around("\x1a\x02\xc3\xc3"));  // none
  check_agrees(around("\x12\x04\x0a\x02\xc3\xc3"));  // in the type URL
  check_agrees(around("\x13\x14"));  // a group
}

}  // namespace
}  // namespace sluice::xds
