#include "xds/resource.h"

#include <numeric>

#include "core/wyhash.h"
#include "envoy/config/core/v3/extension.pb.h"
#include "envoy/config/listener/v3/listener.pb.h"
#include "envoy/config/route/v3/route.pb.h"
#include "envoy/extensions/transport_sockets/tls/v3/secret.pb.h"
#include "test/unit/xds/mux_rig.h"

namespace sluice::xds {
namespace {

TEST_CASE("resource: type URLs lead to their types and back") {
  for (size_t i = 0; i < kResourceTypes; ++i) {
    const auto type = static_cast<ResourceType>(i);
    CHECK(type_of(type_url(type)) == type);
    CHECK(method_of(type, false).find("/Stream") != std::string_view::npos);
    CHECK(method_of(type, true).find("/Delta") != std::string_view::npos);
    Resource r{.type = type, .name = "x"};
    CHECK(r.unpack().ok());  // every type is in this build; no bytes are an empty message
  }
  CHECK(!type_of("type.googleapis.com/envoy.config.cluster.v3.Cluste"));
  CHECK(!type_of(""));
}

TEST_CASE("resource: the name is the first field of every type") {
  Cluster c;
  c.set_name("the-name");
  c.mutable_connect_timeout()->set_seconds(3);
  c.set_alt_stat_name("other");
  CHECK(name_of(c.SerializeAsString()) == "the-name");
  envoy::config::endpoint::v3::ClusterLoadAssignment a;
  a.set_cluster_name("the-name");
  a.add_endpoints()->set_priority(3);
  CHECK(name_of(a.SerializeAsString()) == "the-name");
  envoy::config::listener::v3::Listener l;
  l.set_name("the-name");
  CHECK(name_of(l.SerializeAsString()) == "the-name");
  envoy::config::route::v3::RouteConfiguration r;
  r.set_name("the-name");
  CHECK(name_of(r.SerializeAsString()) == "the-name");
  envoy::extensions::transport_sockets::tls::v3::Secret s;
  s.set_name("the-name");
  CHECK(name_of(s.SerializeAsString()) == "the-name");
  envoy::config::core::v3::TypedExtensionConfig e;
  e.set_name("the-name");
  CHECK(name_of(e.SerializeAsString()) == "the-name");
}

// A push of megabytes is taken apart by hand: that must agree with protobuf about every input.
TEST_CASE("resource: a response taken apart is what protobuf makes of it, and no message is none to both") {
  discovery::DiscoveryResponse response;
  response.set_version_info("v1");
  *response.add_resources() = any_of(kClusters, cluster_bytes("a"));
  response.set_type_url(kClusters);
  response.set_nonce("n");
  *response.add_resources() = any_of(kEndpoints, std::string(300, 'x'));
  response.add_resources();
  response.mutable_control_plane()->set_identifier("plane");
  const std::string bytes = response.SerializeAsString();
  // `parts`: up to where it has come each time.
  auto agrees = [](std::string_view input, std::vector<size_t> parts = {}) {
    discovery::DiscoveryResponse whole, rest;
    const bool parsed = whole.ParseFromArray(input.data(), static_cast<int>(input.size()));
    TakenApart taken;
    std::deque<std::string> given;
    const bool made = take_apart(taken, input, parts, given) && rest.ParseFromString(taken.rest);
    CHECK(made == parsed);
    if (!made || !parsed) return;
    CHECK(rest.resources().empty());
    REQUIRE(static_cast<int>(taken.resources.size()) == whole.resources_size());
    for (int i = 0; i < whole.resources_size(); ++i) {
      const auto& item = taken.resources[static_cast<size_t>(i)];
      REQUIRE(item.url < taken.urls.size());
      CHECK(taken.urls[item.url] == whole.resources(i).type_url());
      CHECK(item.value == whole.resources(i).value());
      CHECK(item.hash == wyhash(whole.resources(i).value()));
    }
    whole.clear_resources();
    CHECK(rest.SerializeAsString() == whole.SerializeAsString());
  };
  agrees(bytes);
  for (size_t i = 0; i < bytes.size(); ++i) agrees(std::string_view(bytes).substr(0, i));
  agrees(bytes + bytes);
  // However it comes.
  for (size_t i = 0; i < bytes.size(); ++i) agrees(bytes, {i});
  std::vector<size_t> each(bytes.size());
  std::iota(each.begin(), each.end(), 0);
  agrees(bytes, each);
  for (size_t i = 0; i < bytes.size(); ++i)
    agrees(std::string_view(bytes).substr(0, i), {i / 3, i / 2, i / 2, i});
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string broken = bytes;
    broken[i] = static_cast<char>(broken[i] ^ 0x55);
    agrees(broken);
    agrees(broken, {i / 2, i, i + 1});
  }
  agrees(bytes + "\x12\x00");  // an empty Any more
  agrees(bytes + "\x10\x07");  // the resources' number with another kind of value: an unknown field
}

TEST_CASE("resource: bytes that are no message have no name, whatever they are") {
  CHECK(name_of("") == "");
  CHECK(!name_of("\xff\xff"));
  CHECK(
      !name_of(std::string("\x0a\x05"
                           "abc",
                           5)));  // a length beyond the end
  CHECK(!name_of("\x0b"));                            // a group
  CHECK(name_of(std::string("\x0a\x01"
                            "a\x0a\x01"
                            "b",
                            6)) == "b");  // given twice: the last counts
  const std::string whole = cluster_bytes("name", "alt");
  for (size_t n = 0; n < whole.size(); ++n) name_of(whole.substr(0, n));
}

TEST_CASE("resource: broken bytes are said with their name") {
  Resource r{.type = ResourceType::cluster, .name = "x", .bytes = "\xff"};
  auto unpacked = r.unpack();
  REQUIRE(!unpacked.ok());
  CHECK(unpacked.error().message.find("Unable to unpack as envoy.config.cluster.v3.Cluster") == 0);
  CHECK(unpacked.error().message.find("'x'") != std::string::npos);
}

}  // namespace
}  // namespace sluice::xds
