#include "xds/delta_mux.h"

#include "test/unit/xds/mux_rig.h"

namespace sluice::xds {
namespace {

struct Rig {
  Rig() : mux(transport, options()) {}
  void open() {
    transport.is_open = true;
    mux.on_open();
  }
  std::vector<discovery::DeltaDiscoveryRequest> flush() {
    mux.flush();
    return transport.take();
  }
  discovery::DeltaDiscoveryResponse clusters(const std::string& nonce,
                                             const std::vector<std::pair<std::string, std::string>>& versions,
                                             const Names& removed = {}) {
    discovery::DeltaDiscoveryResponse r;
    r.set_type_url(kClusters);
    r.set_nonce(nonce);
    r.set_system_version_info("s-" + nonce);
    for (const auto& [name, version] : versions) {
      auto* one = r.add_resources();
      one->set_name(name);
      one->set_version(version);
      *one->mutable_resource() = any_of(kClusters, cluster_bytes(name, version));
    }
    for (const auto& name : removed) r.add_removed_resources(name);
    return r;
  }
  Status receive(const discovery::DeltaDiscoveryResponse& r, MonotonicTime now = {}) {
    return mux.on_message(r.SerializeAsString(), now);
  }
  FakeTransport<discovery::DeltaDiscoveryRequest> transport;
  DeltaMux mux;
};

std::map<std::string, std::string> initial(const discovery::DeltaDiscoveryRequest& r) {
  return {r.initial_resource_versions().begin(), r.initial_resource_versions().end()};
}

using Versions = std::map<std::string, std::string>;

TEST_CASE(
    "delta: a wildcard asks without names, again without names on the next stream, with what it holds") {
  Rig rig;
  FakeWatcher watcher;
  auto watch = rig.mux.watch(ResourceType::cluster, {}, watcher);
  rig.open();
  auto sent = rig.transport.take();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].resource_names_subscribe().empty());
  CHECK(sent[0].node().id() == "me");
  REQUIRE(rig.receive(rig.clusters("n1", {{"a", "1"}, {"b", "1"}})).ok());
  CHECK(watcher.names == Names{"a", "b"});
  CHECK(watcher.delta);
  sent = rig.transport.take();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].response_nonce() == "n1");
  CHECK(sent[0].resource_names_subscribe().empty());
  REQUIRE(rig.receive(rig.clusters("n2", {{"b", "2"}}, {"a"})).ok());
  CHECK(watcher.removed == Names{"a"});
  rig.transport.take();
  rig.open();
  sent = rig.transport.take();
  REQUIRE(sent.size() == 1);
  CHECK(initial(sent[0]) == Versions{{"b", "2"}});
  CHECK(sent[0].resource_names_subscribe().empty());
}

TEST_CASE(
    "delta: names are subscribed to once, unsubscribed from when the last watch goes, told again to a new "
    "stream") {
  Rig rig;
  FakeWatcher one, two;
  rig.open();
  auto first = rig.mux.watch(ResourceType::cluster, {"a", "b"}, one);
  auto second = rig.mux.watch(ResourceType::cluster, {"b"}, two);
  auto sent = rig.flush();
  REQUIRE(sent.size() == 1);
  CHECK(names_of(sent[0].resource_names_subscribe()) == Names{"a", "b"});
  REQUIRE(rig.receive(rig.clusters("n1", {{"a", "1"}, {"b", "1"}, {"unasked", "1"}})).ok());
  CHECK(one.names == Names{"a", "b"});
  CHECK(two.names == Names{"b"});
  rig.transport.take();
  first->set_names({"c"});
  sent = rig.flush();
  REQUIRE(sent.size() == 1);
  CHECK(names_of(sent[0].resource_names_subscribe()) == Names{"c"});
  CHECK(names_of(sent[0].resource_names_unsubscribe()) == Names{"a"});
  rig.open();
  sent = rig.transport.take();
  REQUIRE(sent.size() == 1);
  CHECK(names_of(sent[0].resource_names_subscribe()) == Names{"b", "c"});
  CHECK(initial(sent[0]) == Versions{{"b", "1"}});
  second.reset();
  first.reset();
  sent = rig.flush();
  REQUIRE(sent.size() == 1);
  CHECK(names_of(sent[0].resource_names_unsubscribe()) == Names{"b", "c"});
  rig.open();
  CHECK(rig.transport.take().empty());  // nothing is wanted, and that must not look like a wildcard
}

TEST_CASE("delta: a name given up and wanted again before anything was sent is asked for again") {
  Rig rig;
  FakeWatcher watcher;
  rig.open();
  auto watch = rig.mux.watch(ResourceType::cluster, {"a"}, watcher);
  rig.flush();
  watch.reset();
  watch = rig.mux.watch(ResourceType::cluster, {"a"}, watcher);
  auto sent = rig.flush();
  REQUIRE(sent.size() == 1);
  CHECK(names_of(sent[0].resource_names_subscribe()) == Names{"a"});
  CHECK(sent[0].resource_names_unsubscribe().empty());
}

TEST_CASE("delta: an explicit wildcard beside a name") {
  Rig rig;
  FakeWatcher all, one;
  rig.open();
  auto first = rig.mux.watch(ResourceType::cluster, {"*"}, all);
  auto second = rig.mux.watch(ResourceType::cluster, {"a"}, one);
  auto sent = rig.flush();
  CHECK(names_of(sent[0].resource_names_subscribe()) == Names{"*", "a"});
  REQUIRE(rig.receive(rig.clusters("n1", {{"a", "1"}, {"b", "1"}})).ok());
  CHECK(all.names == Names{"a", "b"});
  CHECK(one.names == Names{"a"});
  rig.transport.take();
  second.reset();
  CHECK(names_of(rig.flush()[0].resource_names_unsubscribe()) == Names{"a"});
  rig.open();
  sent = rig.transport.take();
  CHECK(initial(sent[0]) == Versions{{"a", "1"}, {"b", "1"}});  // "a" may be the wildcard's too
}

TEST_CASE("delta: a refused response names its nonce and its error, and is not held") {
  Rig rig;
  FakeWatcher watcher;
  auto watch = rig.mux.watch(ResourceType::cluster, {}, watcher);
  rig.open();
  rig.transport.take();
  watcher.refuse = "a: no good";
  REQUIRE(rig.receive(rig.clusters("n1", {{"a", "1"}})).ok());
  auto sent = rig.transport.take();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].response_nonce() == "n1");
  CHECK(sent[0].error_detail().message() == "a: no good");
  rig.open();
  CHECK(initial(rig.transport.take()[0]).empty());
}

TEST_CASE("delta: duplicates, other types and broken bytes are refused before anybody sees them") {
  Rig rig;
  FakeWatcher watcher;
  auto watch = rig.mux.watch(ResourceType::cluster, {}, watcher);
  rig.open();
  rig.transport.take();
  auto error = [&](const discovery::DeltaDiscoveryResponse& r) {
    REQUIRE(rig.receive(r).ok());
    auto sent = rig.transport.take();
    REQUIRE(sent.size() == 1);
    return sent[0].error_detail().message();
  };
  CHECK(error(rig.clusters("n1", {{"a", "1"}, {"a", "2"}})) ==
        "duplicate name a found among added/updated resources");
  CHECK(error(rig.clusters("n2", {{"a", "1"}}, {"a"})) ==
        "duplicate name a found in the union of added+removed resources");
  auto other = rig.clusters("n3", {{"a", "1"}});
  other.mutable_resources(0)->mutable_resource()->set_type_url(kEndpoints);
  CHECK(error(other).find("does not match the message-wide type URL") != std::string::npos);
  auto broken = rig.clusters("n4", {{"a", "1"}});
  broken.mutable_resources(0)->mutable_resource()->set_value("\xff");
  CHECK(error(broken).find("Unable to unpack as envoy.config.cluster.v3.Cluster") == 0);
  CHECK(watcher.updates == 0);
  CHECK(watcher.rejected == 4);
  CHECK(!rig.mux.on_message("\xff\xff\xff", {}).ok());
}

TEST_CASE("delta: every response is answered, held types later, answers before plain requests") {
  Rig rig;
  FakeWatcher clusters, routes;
  auto first = rig.mux.watch(ResourceType::cluster, {}, clusters);
  rig.open();
  rig.transport.take();
  rig.mux.pause(ResourceType::cluster);
  REQUIRE(rig.receive(rig.clusters("n1", {{"a", "1"}})).ok());
  REQUIRE(rig.receive(rig.clusters("n2", {{"b", "1"}})).ok());
  auto second = rig.mux.watch(ResourceType::route, {"r"}, routes);
  auto sent = rig.flush();
  REQUIRE(sent.size() == 1);
  CHECK(sent[0].type_url() == type_url(ResourceType::route));
  rig.mux.resume(ResourceType::cluster);
  second->set_names({"s"});
  sent = rig.flush();
  REQUIRE(sent.size() == 3);
  CHECK(sent[0].response_nonce() == "n1");
  CHECK(sent[1].response_nonce() == "n2");
  CHECK(sent[2].type_url() == type_url(ResourceType::route));
}

TEST_CASE("delta: times to live and heartbeats") {
  Rig rig;
  FakeWatcher watcher;
  auto watch = rig.mux.watch(ResourceType::cluster, {"a"}, watcher);
  rig.open();
  const MonotonicTime start{};
  auto response = rig.clusters("n1", {{"a", "1"}});
  response.mutable_resources(0)->mutable_ttl()->set_seconds(2);
  REQUIRE(rig.receive(response, start).ok());
  auto heartbeat = response;
  heartbeat.mutable_resources(0)->clear_resource();
  REQUIRE(rig.receive(heartbeat, start + std::chrono::seconds(1)).ok());
  CHECK(watcher.updates == 1);
  rig.mux.on_time(start + std::chrono::seconds(2));
  CHECK(watcher.updates == 1);
  rig.mux.on_time(start + std::chrono::seconds(3));
  CHECK(watcher.removed == Names{"a"});
  rig.transport.take();
  rig.open();
  auto sent = rig.transport.take();
  CHECK(initial(sent[0]).empty());
  CHECK(names_of(sent[0].resource_names_subscribe()) == Names{"a"});
}

TEST_CASE("delta: resources that nobody asked for are not held, nor is what was refused or has gone") {
  Rig rig;
  FakeWatcher watcher;
  rig.open();
  auto watch = rig.mux.watch(ResourceType::cluster, {"a"}, watcher);
  rig.flush();
  for (int round = 0; round < 3; ++round) {
    REQUIRE(rig.receive(rig.clusters("n1", {{"a", "1"}, {"other", "1"}}, {"third"})).ok());
    CHECK(watcher.names == Names{"a"});
    REQUIRE(rig.receive(rig.clusters("n2", {{"other", "1"}, {"other", "2"}})).ok());
    CHECK(!rig.transport.take().back().error_detail().message().empty());
  }
  // A heartbeat is one of what is held alone.
  auto heartbeat = rig.clusters("n3", {{"other", "1"}});
  heartbeat.mutable_resources(0)->clear_resource();
  REQUIRE(rig.receive(heartbeat).ok());
  CHECK(rig.transport.take().back().error_detail().message().find("type URL  embedded") == 0);
  rig.open();
  CHECK(initial(rig.transport.take()[0]) == Versions{{"a", "1"}});
  REQUIRE(rig.receive(rig.clusters("n4", {}, {"a"})).ok());
  rig.open();
  auto sent = rig.transport.take();
  CHECK(initial(sent.back()).empty());
  CHECK(names_of(sent.back().resource_names_subscribe()) == Names{"a"});
}

TEST_CASE("delta: without an explicit wildcard any more, what it brought is not held; names stay") {
  Rig rig;
  FakeWatcher all, one;
  rig.open();
  auto wildcard = rig.mux.watch(ResourceType::cluster, {"*"}, all);
  auto named = rig.mux.watch(ResourceType::cluster, {"a", "b"}, one);
  rig.flush();
  REQUIRE(rig.receive(rig.clusters("n1", {{"a", "1"}, {"b", "1"}, {"c", "1"}})).ok());
  named->set_names({"a"});  // "b" may be the wildcard's too
  wildcard.reset();
  rig.transport.take();
  auto sent = rig.flush();
  REQUIRE(sent.size() == 1);
  CHECK(names_of(sent[0].resource_names_unsubscribe()) == Names{"*", "b"});
  rig.open();
  sent = rig.transport.take();
  CHECK(initial(sent[0]) == Versions{{"a", "1"}});
  CHECK(names_of(sent[0].resource_names_subscribe()) == Names{"a"});
}

TEST_CASE("delta: a response that comes in parts, and one that a new stream cuts off") {
  Rig rig;
  FakeWatcher watcher;
  rig.open();
  auto watch = rig.mux.watch(ResourceType::cluster, {}, watcher);
  rig.flush();
  const std::string whole = rig.clusters("n1", {{"a", "1"}, {"b", "1"}}).SerializeAsString();
  REQUIRE(feed(rig.mux, whole, {}, 7).ok());
  CHECK(watcher.names == Names{"a", "b"});
  rig.mux.on_part(whole.substr(0, whole.size() - 9), whole.size());
  rig.open();
  REQUIRE(rig.receive(rig.clusters("n2", {{"c", "1"}})).ok());
  CHECK(watcher.names == Names{"c"});
}

}  // namespace
}  // namespace sluice::xds
