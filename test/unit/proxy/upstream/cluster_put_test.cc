// Clusters one by one: added, changed, warming, gone; endpoints that are discovered.
#include "proxy/upstream/endpoint_hosts.h"
#include "test/unit/proxy/upstream/fake_discovery.h"
#include "test/unit/proxy/upstream/harness.h"

namespace sluice::upstream {
namespace {

std::shared_ptr<model::Cluster> fixed(const std::string& name, uint64_t hash,
                                      std::vector<Address> hosts = {}) {
  auto c = std::make_shared<model::Cluster>();
  c->name = name;
  c->hash = hash;
  model::Locality& l = c->localities.emplace_back();
  for (Address& a : hosts) l.endpoints.emplace_back().address = a;
  return c;
}

std::shared_ptr<model::Assignment> assignment(
    const std::vector<std::pair<uint16_t, uint32_t>>& ports_weights) {
  auto a = std::make_shared<model::Assignment>();
  model::Locality& l = a->localities.emplace_back();
  for (auto [port, weight] : ports_weights) {
    model::Endpoint& e = l.endpoints.emplace_back();
    e.address = loopback(port);
    e.weight = weight;
  }
  return a;
}

// Outlives the directory, whose clusters have feeds of it.
struct Discovery {
  FakeDiscovery discovery;
};

struct Rig : Discovery, Harness {
  Rig() { directory.set_endpoint_discovery(&discovery); }
  bool put(const std::shared_ptr<const model::Cluster>& c, bool discovered = true) {
    auto done = directory.put(c, discovered);
    REQUIRE(done.ok());
    turns(2);
    return *done;
  }
  ext::Cluster* find(const std::string& name) { return managers[0]->find(name); }
  // Which version serves, by its hash.
  uint64_t version(const std::string& name) {
    auto* cluster = static_cast<WorkerCluster*>(find(name));
    return cluster ? cluster->config().hash : 0;
  }
};

TEST_CASE("put: added, the same again, changed, removed; each is counted") {
  Rig rig;
  rig.directory.set_initialized();
  CHECK(rig.put(fixed("a", 1, {loopback(1)})));
  CHECK(rig.find("a") != nullptr);
  CHECK_FALSE(rig.put(fixed("a", 1, {loopback(1)})));
  CHECK(rig.put(fixed("a", 2, {loopback(1), loopback(2)})));
  CHECK(rig.stat("cluster.a.membership_total") == 2);
  CHECK(rig.put(fixed("b", 1)));
  CHECK(rig.stat("cluster_manager.cluster_added") == 2);
  CHECK(rig.stat("cluster_manager.cluster_modified") == 1);
  CHECK(rig.stat("cluster_manager.active_clusters") == 2);
  CHECK(rig.directory.remove("a"));
  CHECK_FALSE(rig.directory.remove("a"));
  rig.turns(2);
  CHECK(rig.find("a") == nullptr);
  CHECK(rig.stat("cluster_manager.cluster_removed") == 1);
  CHECK(rig.stat("cluster_manager.active_clusters") == 1);
}

TEST_CASE("put: who is of the bootstrap") {
  Rig rig;
  rig.put(fixed("static", 1), false);
  rig.put(fixed("dynamic", 1), true);
  CHECK(rig.directory.is_static("static"));
  CHECK_FALSE(rig.directory.is_static("dynamic"));
  CHECK_FALSE(rig.directory.is_static("none"));
  CHECK(rig.directory.has("dynamic"));
  CHECK_FALSE(rig.directory.has("none"));
}

TEST_CASE("put: at the start an EDS cluster is there at once, and listeners wait for its endpoints") {
  Rig rig;
  rig.put(eds("a", 1));
  CHECK(rig.find("a") != nullptr);
  bool warm = false;
  rig.directory.when_warm([&] { warm = true; });
  rig.turns(2);
  CHECK_FALSE(warm);
  REQUIRE(rig.discovery.feeds.size() == 1);
  rig.discovery.feeds[0]->give(assignment({{1, 1}}));
  rig.turns(2);
  CHECK(warm);
  CHECK(rig.stat("cluster.a.membership_total") == 1);
}

TEST_CASE("put: later a new cluster is not there before it is warm, and a changed one serves as it was") {
  Rig rig;
  rig.directory.set_initialized();
  std::vector<std::string> active;
  rig.directory.when_active([&](const std::string& name) { active.push_back(name); });
  rig.put(eds("a", 1));
  CHECK(rig.find("a") == nullptr);
  CHECK(rig.directory.warming("a"));
  CHECK(rig.stat("cluster_manager.warming_clusters") == 1);
  CHECK(rig.stat("cluster_manager.active_clusters") == 0);
  rig.discovery.feeds.at(0)->give(assignment({{1, 1}}));
  rig.turns(2);
  CHECK(active == std::vector<std::string>{"a"});
  CHECK(rig.version("a") == 1);
  rig.put(eds("a", 2));
  CHECK(rig.version("a") == 1);
  CHECK(rig.discovery.feeds.size() == 2);
  CHECK(rig.stat("cluster.a.membership_total") == 1);
  // A third version takes the place of the second, which nobody has seen.
  rig.put(eds("a", 3));
  CHECK(rig.discovery.feeds.size() == 2);
  rig.discovery.feeds.at(1)->give(assignment({{1, 1}, {2, 1}}));
  rig.turns(2);
  CHECK(rig.version("a") == 3);
  CHECK(rig.discovery.feeds.size() == 1);
  CHECK(rig.stat("cluster.a.membership_total") == 2);
  CHECK(rig.stat("cluster_manager.warming_clusters") == 0);
  CHECK(rig.stat("cluster_manager.active_clusters") == 1);
  rig.directory.when_active(nullptr);
}

TEST_CASE("put: endpoints that are known make a new version serve at once") {
  Rig rig;
  rig.directory.set_initialized();
  rig.discovery.at_once = assignment({{1, 1}});
  rig.put(eds("a", 1));
  CHECK(rig.version("a") == 1);
  rig.put(eds("a", 2));
  CHECK(rig.version("a") == 2);
  CHECK_FALSE(rig.directory.warming("a"));
  CHECK(rig.discovery.feeds.size() == 1);
}

TEST_CASE("put: removed while it warms; a source that cannot be used changes nothing") {
  Rig rig;
  rig.directory.set_initialized();
  rig.put(eds("a", 1));
  CHECK(rig.directory.remove("a"));
  CHECK(rig.discovery.feeds.empty());
  CHECK(rig.stat("cluster_manager.warming_clusters") == 0);
  rig.put(fixed("b", 1, {loopback(1)}));
  rig.discovery.refuse = true;
  CHECK_FALSE(rig.directory.put(eds("b", 2), true).ok());
  CHECK_FALSE(rig.directory.put(eds("c", 1), true).ok());
  rig.turns(2);
  CHECK(rig.find("b") != nullptr);
  CHECK_FALSE(rig.directory.has("c"));
  CHECK(rig.stat("cluster.b.membership_total") == 1);
}

TEST_CASE("endpoints: the same again rebuilds nothing, a weight is no change of membership") {
  Rig rig;
  rig.put(eds("a", 1));
  auto* feed = rig.discovery.feeds.at(0);
  feed->give(assignment({{1, 1}, {2, 1}}));
  CHECK(rig.stat("cluster.a.membership_change") == 1);
  feed->give(assignment({{1, 1}, {2, 1}}));
  CHECK(rig.stat("cluster.a.update_no_rebuild") == 1);
  feed->give(assignment({{1, 1}, {2, 5}}));
  CHECK(rig.stat("cluster.a.membership_change") == 1);
  CHECK(rig.stat("cluster.a.max_host_weight") == 5);
  auto other = assignment({{1, 1}, {2, 5}});
  other->overprovisioning_factor = 200;
  feed->give(other);
  CHECK(rig.stat("cluster.a.update_no_rebuild") == 1);
  feed->give(assignment({}));
  CHECK(rig.stat("cluster.a.membership_total") == 0);
  CHECK(rig.stat("cluster.a.membership_change") == 2);
}

TEST_CASE("update_hosts: who stays, who changes, who comes and goes, and of two the first") {
  auto localities = [](const std::vector<std::pair<uint16_t, uint32_t>>& list) {
    return assignment(list)->localities;
  };
  HostUpdate first = update_hosts({}, localities({{1, 1}, {2, 1}}), 1);
  CHECK(first.membership);
  CHECK(first.hosts.size() == 2);
  HostUpdate same = update_hosts(first.hosts, localities({{1, 1}, {2, 1}}), 1);
  CHECK_FALSE(same.changed);
  CHECK(same.hosts == first.hosts);
  HostUpdate heavier = update_hosts(first.hosts, localities({{1, 1}, {2, 7}}), 1);
  CHECK(heavier.changed);
  CHECK_FALSE(heavier.membership);
  CHECK(heavier.hosts[0] == first.hosts[0]);
  CHECK(heavier.hosts[1] != first.hosts[1]);
  CHECK(heavier.hosts[1]->identity() == first.hosts[1]->identity());
  HostUpdate twice = update_hosts(first.hosts, localities({{1, 1}, {1, 9}, {3, 1}}), 1);
  CHECK(twice.membership);
  REQUIRE(twice.hosts.size() == 2);
  CHECK(twice.hosts[0] == first.hosts[0]);
}

}  // namespace
}  // namespace sluice::upstream
