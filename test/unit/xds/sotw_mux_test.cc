#include "xds/sotw_mux.h"

#include "test/unit/xds/mux_rig.h"

namespace sluice::xds {
namespace {

struct Rig {
  explicit Rig(bool node_once = false) : mux(transport, options(node_once)) {}
  void open() {
    transport.is_open = true;
    mux.on_open();
  }
  void close() {
    transport.is_open = false;
    mux.on_closed();
  }
  std::vector<discovery::DiscoveryRequest> flush() {
    mux.flush();
    return transport.take();
  }
  Status receive(const std::string& url, const std::string& version, const std::string& nonce,
                 const std::vector<google::protobuf::Any>& resources, MonotonicTime now = {}) {
    discovery::DiscoveryResponse r;
    r.set_type_url(url);
    r.set_version_info(version);
    r.set_nonce(nonce);
    r.mutable_control_plane()->set_identifier("plane");
    for (const auto& any : resources) *r.add_resources() = any;
    return feed(mux, r.SerializeAsString(), now, step);
  }
  Status clusters(const std::string& version, const std::string& nonce, const Names& names) {
    std::vector<google::protobuf::Any> all;
    for (const auto& name : names) all.push_back(any_of(kClusters, cluster_bytes(name)));
    return receive(kClusters, version, nonce, all);
  }
  FakeTransport<discovery::DiscoveryRequest> transport;
  SotwMux mux;
  const size_t step = any_step();
};

google::protobuf::Any wrapped(const std::string& name, const std::string& version, int ttl_seconds,
                              bool content) {
  discovery::Resource r;
  r.set_name(name);
  r.set_version(version);
  if (ttl_seconds > 0) r.mutable_ttl()->set_seconds(ttl_seconds);
  if (content) *r.mutable_resource() = any_of(kClusters, cluster_bytes(name));
  return any_of("type.googleapis.com/envoy.service.discovery.v3.Resource", r.SerializeAsString());
}

TEST_CASE("sotw: a wildcard's first request, its update, its acknowledgement") {
  Rig rig;
  FakeWatcher watcher;
  auto watch = rig.mux.watch(ResourceType::cluster, {}, watcher);
  CHECK(rig.flush().empty());  // no stream yet
  rig.open();
  auto sent = rig.transport.take();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].type_url() == kClusters);
  CHECK(sent[0].resource_names().empty());
  CHECK(sent[0].version_info().empty());
  CHECK(sent[0].node().id() == "me");

  REQUIRE(rig.clusters("v1", "n1", {"a", "b"}).ok());
  CHECK(watcher.names == Names{"a", "b"});
  CHECK(watcher.version == "v1");
  CHECK(!watcher.delta);
  CHECK(rig.transport.identifier == "plane");
  sent = rig.transport.take();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].version_info() == "v1");
  CHECK(sent[0].response_nonce() == "n1");
  CHECK(!sent[0].has_error_detail());
}

TEST_CASE(
    "sotw: what is refused keeps the version, says why once, and what was accepted is not unpacked again") {
  Rig rig;
  FakeWatcher watcher;
  auto watch = rig.mux.watch(ResourceType::cluster, {}, watcher);
  rig.open();
  REQUIRE(rig.clusters("v1", "n1", {"a"}).ok());
  CHECK(watcher.unpacked == 1);
  rig.transport.take();
  watcher.refuse = "bad: no good";
  REQUIRE(rig.clusters("v2", "n2", {"a", "bad"}).ok());
  CHECK(watcher.unpacked == 2);  // "a" has the bytes of v1
  auto sent = rig.transport.take();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].version_info() == "v1");
  CHECK(sent[0].response_nonce() == "n2");
  CHECK(sent[0].error_detail().message() == "bad: no good");
  CHECK(sent[0].error_detail().code() == 13);
  watcher.refuse.clear();
  REQUIRE(rig.clusters("v3", "n3", {"a"}).ok());
  sent = rig.transport.take();
  CHECK(sent[0].version_info() == "v3");
  CHECK(!sent[0].has_error_detail());
}

TEST_CASE(
    "sotw: broken bytes and other types are refused before anybody sees them; unknown types are passed "
    "over") {
  Rig rig;
  FakeWatcher watcher;
  auto watch = rig.mux.watch(ResourceType::cluster, {}, watcher);
  rig.open();
  rig.transport.take();
  REQUIRE(rig.receive(kClusters, "v1", "n1", {any_of(kClusters, "\xff\xff")}).ok());
  CHECK(watcher.updates == 0);
  CHECK(watcher.rejected == 1);
  auto sent = rig.transport.take();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].error_detail().message() == "Unable to unpack as envoy.config.cluster.v3.Cluster");
  CHECK(sent[0].version_info().empty());

  REQUIRE(rig.receive(kClusters, "v1", "n2", {any_of(kEndpoints, "")}).ok());
  CHECK(watcher.reason.find("does not match the message-wide type URL") != std::string::npos);
  rig.transport.take();

  CHECK(rig.receive("type.googleapis.com/what.Is.That", "v1", "n3", {}).ok());
  CHECK(rig.receive(kEndpoints, "v1", "n4", {}).ok());
  CHECK(rig.transport.take().empty());
  CHECK(!rig.mux.on_message("\xff\xff\xff", {}).ok());
}

TEST_CASE("sotw: names of several watches make one request a turn; each gets what it asked for") {
  Rig rig(true);
  FakeWatcher one, two;
  rig.open();
  auto first = rig.mux.watch(ResourceType::endpoints, {"a"}, one);
  auto second = rig.mux.watch(ResourceType::endpoints, {"b", "a"}, two);
  CHECK(rig.transport.flush_wanted);
  auto sent = rig.flush();
  REQUIRE(sent.size() == 1);
  CHECK(names_of(sent[0].resource_names()) == Names{"a", "b"});
  CHECK(sent[0].has_node());
  auto assignment = [](const std::string& name) {
    envoy::config::endpoint::v3::ClusterLoadAssignment a;
    a.set_cluster_name(name);
    return any_of(kEndpoints, a.SerializeAsString());
  };
  REQUIRE(rig.receive(kEndpoints, "v1", "n1", {assignment("b"), assignment("other")}).ok());
  CHECK(one.updates == 0);  // its name was not there: nothing is said
  CHECK(two.names == Names{"b"});
  sent = rig.transport.take();
  REQUIRE(sent.size() == 1);
  CHECK(!sent[0].has_node());  // on the first message only
  second.reset();
  sent = rig.flush();
  REQUIRE(sent.size() == 1);
  CHECK(names_of(sent[0].resource_names()) == Names{"a"});
  CHECK(sent[0].version_info() == "v1");
}

TEST_CASE("sotw: a held type sends nothing until it is let go, then one request for all") {
  Rig rig;
  FakeWatcher watcher;
  rig.open();
  rig.mux.pause(ResourceType::endpoints);
  rig.mux.pause(ResourceType::endpoints);
  auto first = rig.mux.watch(ResourceType::endpoints, {"a"}, watcher);
  auto second = rig.mux.watch(ResourceType::endpoints, {"b"}, watcher);
  CHECK(rig.flush().empty());
  rig.mux.resume(ResourceType::endpoints);
  CHECK(rig.flush().empty());
  rig.mux.resume(ResourceType::endpoints);
  CHECK(rig.flush().size() == 1);
}

TEST_CASE("sotw: a new stream begins with every type in order, with the version and no nonce") {
  Rig rig;
  FakeWatcher clusters, endpoints, gone;
  auto first = rig.mux.watch(ResourceType::cluster, {}, clusters);
  rig.open();
  REQUIRE(rig.clusters("v1", "n1", {"a"}).ok());
  auto second = rig.mux.watch(ResourceType::endpoints, {"a"}, endpoints);
  auto third = rig.mux.watch(ResourceType::route, {"r"}, gone);
  rig.flush();
  third.reset();
  rig.flush();
  rig.close();
  CHECK(clusters.disconnected == 1);
  CHECK(endpoints.disconnected == 1);
  rig.transport.take();
  rig.open();
  auto sent = rig.transport.take();
  REQUIRE(sent.size() == 2);  // routes, which nobody wants now, are not asked for: no name would mean all
  CHECK(sent[0].type_url() == kClusters);
  CHECK(sent[0].version_info() == "v1");
  CHECK(sent[0].response_nonce().empty());
  CHECK(sent[1].type_url() == kEndpoints);
}

TEST_CASE("sotw: the rate limit holds requests back, and they are counted") {
  Rig rig;
  FakeWatcher watcher;
  rig.transport.tokens = 1;
  auto first = rig.mux.watch(ResourceType::cluster, {}, watcher);
  auto second = rig.mux.watch(ResourceType::listener, {}, watcher);
  rig.open();
  CHECK(rig.transport.take().size() == 1);
  CHECK(rig.transport.pending == 1);
  rig.transport.tokens = 5;
  CHECK(rig.flush().size() == 1);
  CHECK(rig.transport.pending == 0);
}

TEST_CASE("sotw: a resource with a time to live goes when its heartbeats stay away") {
  Rig rig;
  FakeWatcher watcher;
  auto watch = rig.mux.watch(ResourceType::cluster, {}, watcher);
  rig.open();
  const MonotonicTime start{};
  REQUIRE(rig.receive(kClusters, "v1", "n1", {wrapped("a", "v1", 2, true)}, start).ok());
  CHECK(watcher.names == Names{"a"});
  CHECK(rig.transport.wake == start + std::chrono::seconds(2));
  // A heartbeat has no content; it is no update, and acknowledged.
  rig.transport.take();
  REQUIRE(rig.receive(kClusters, "v1", "n2", {wrapped("a", "v1", 2, false)}, start + std::chrono::seconds(1))
              .ok());
  CHECK(watcher.updates == 1);
  CHECK(rig.transport.take().size() == 1);
  rig.mux.on_time(start + std::chrono::seconds(2));
  CHECK(watcher.updates == 1);
  rig.mux.on_time(start + std::chrono::seconds(3));
  CHECK(watcher.updates == 2);
  CHECK(watcher.delta);
  CHECK(watcher.removed == Names{"a"});
}

TEST_CASE("sotw: subscriptions may begin and end inside an update") {
  Rig rig;
  FakeWatcher clusters, a, b;
  std::unique_ptr<Watch> watch_a, watch_b;
  auto watch = rig.mux.watch(ResourceType::cluster, {}, clusters);
  watch_a = rig.mux.watch(ResourceType::endpoints, {"a"}, a);
  clusters.during = [&] {
    watch_a.reset();
    watch_b = rig.mux.watch(ResourceType::endpoints, {"b"}, b);
  };
  rig.open();
  rig.transport.take();
  REQUIRE(rig.clusters("v1", "n1", {"x"}).ok());
  auto sent = rig.transport.take();
  REQUIRE(sent.size() == 1);  // the acknowledgement at once
  sent = rig.flush();
  REQUIRE(sent.size() == 1);
  CHECK(names_of(sent[0].resource_names()) == Names{"b"});
}

TEST_CASE("sotw: a response for what nobody wants any more is accepted only if it is empty") {
  Rig rig;
  FakeWatcher watcher;
  auto watch = rig.mux.watch(ResourceType::cluster, {}, watcher);
  rig.open();
  watch.reset();
  rig.flush();
  REQUIRE(rig.clusters("v1", "n1", {"a"}).ok());
  auto sent = rig.flush();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].version_info().empty());
  CHECK(sent[0].response_nonce() == "n1");
  REQUIRE(rig.clusters("v2", "n2", {}).ok());
  CHECK(rig.flush().empty());
}

TEST_CASE("a NACK's text is cut") {
  CHECK(nack_text(std::string(10000, 'x')).size() < 4000);
  CHECK(nack_text("short") == "short");
}

}  // namespace
}  // namespace sluice::xds
