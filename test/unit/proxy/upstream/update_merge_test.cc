// update_merge_window: what workers are told of hosts, and when, in simulated time.
#include "proxy/upstream/update_merge.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "proxy/upstream/cluster_manager.h"
#include "test/sim/sim_loop.h"
#include "test/unit/proxy/upstream/fake_discovery.h"

using namespace sluice;
using namespace sluice::upstream;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

// Endpoints by priority, a letter each: whose they are, and in capitals that they are unhealthy.
std::shared_ptr<model::Assignment> endpoints(const std::vector<std::string>& priorities) {
  auto a = std::make_shared<model::Assignment>();
  for (size_t i = 0; i < priorities.size(); ++i) {
    model::Locality& l = a->localities.emplace_back();
    l.priority = static_cast<uint32_t>(i);
    for (char c : priorities[i]) {
      model::Endpoint& e = l.endpoints.emplace_back();
      e.address = Address(IpAddress::v4(0x0100000a), static_cast<uint16_t>(c | 0x20));
      if (c < 'a') e.health = model::HealthStatus::unhealthy;
    }
  }
  return a;
}

struct Rig {
  explicit Rig(Duration w = seconds(1), const std::string& local_cluster = {})
      : window(w), directory(loop, store, {.seed = 1, .local_cluster = local_cluster}) {
    directory.set_endpoint_discovery(&discovery);
    directory.set_initialized();
    worker = directory.make_worker(loop, 1, 1);
    put(1);
    give({"ab"});
    told = worker->find("c")->membership();
  }
  void put(uint64_t version, const std::string& name = "c") {
    auto c = eds(name, version);
    c->update_merge_window = window;
    REQUIRE(directory.put(c).ok());
    turns();
  }
  void turns() {
    for (int i = 0; i < 3; ++i) loop.run_once(Duration(0));
  }
  void give(const std::vector<std::string>& priorities) { give(endpoints(priorities)); }
  void give(const std::shared_ptr<const model::Assignment>& assignment) {
    discovery.feeds.back()->give(assignment);
    turns();
  }
  // From here on.
  void wait(Duration d) {
    const MonotonicTime until = loop.now() + d;
    loop.run_until([&] { return loop.now() >= until; });
    turns();
  }
  // What the worker knows.
  size_t healthy() { return worker->find("c")->membership().healthy; }
  size_t total() { return worker->find("c")->membership().total; }
  uint64_t stat(const std::string& name) const {
    for (const auto& m : store.snapshot()) {
      if (m.name == name) return m.value;
    }
    FAIL("no metric " << name);
    return 0;
  }
  // updated, by a merge, cancelled, out of the window
  std::vector<uint64_t> counts() const {
    std::vector<uint64_t> out;
    for (const char* name : {"cluster_updated", "cluster_updated_via_merge", "update_merge_cancelled",
                             "update_out_of_merge_window"})
      out.push_back(stat(std::string("cluster_manager.") + name));
    return out;
  }

  sim::SimNet net{1};
  sim::SimLoop loop{net};
  stats::Store store{2};
  const Duration window;
  FakeDiscovery discovery;
  ClusterDirectory directory;
  std::unique_ptr<ext::ClusterManager> worker;
  ext::Cluster::Membership told;
};
using Counts = std::vector<uint64_t>;

}  // namespace

TEST_CASE("merge: the first at once, those that follow together when the window is over") {
  Rig rig;
  CHECK(rig.counts() == Counts{0, 0, 0, 0});  // what it begins with is no update
  CHECK(rig.told.healthy == 2);
  rig.give({"aB"});
  CHECK(rig.healthy() == 1);
  CHECK(rig.counts() == Counts{1, 0, 0, 1});
  rig.wait(milliseconds(300));
  rig.give({"AB"});
  CHECK(rig.healthy() == 1);
  CHECK(rig.stat("cluster.c.membership_healthy") == 0);  // the control thread knows
  rig.wait(milliseconds(600));
  rig.give({"ab"});
  rig.wait(milliseconds(300));
  CHECK(rig.healthy() == 1);
  rig.wait(milliseconds(120));
  CHECK(rig.healthy() == 2);
  CHECK(rig.counts() == Counts{1, 1, 0, 1});
  // The merged one begins a window too.
  rig.wait(milliseconds(900));
  rig.give({"Ab"});
  CHECK(rig.healthy() == 2);
  rig.wait(milliseconds(1010));
  CHECK(rig.healthy() == 1);
  CHECK(rig.counts() == Counts{1, 2, 0, 1});
  rig.wait(milliseconds(1010));
  rig.give({"ab"});
  CHECK(rig.healthy() == 2);
  CHECK(rig.counts() == Counts{2, 2, 0, 2});
}

TEST_CASE("merge: who comes or goes does so at once, and what waited with him") {
  Rig rig;
  rig.give({"aB"});
  rig.give({"AB"});
  CHECK(rig.healthy() == 1);
  rig.give({"ABc"});
  CHECK(rig.total() == 3);
  CHECK(rig.healthy() == 1);
  CHECK(rig.counts() == Counts{2, 0, 1, 1});
  rig.wait(seconds(2));
  CHECK(rig.counts() == Counts{2, 0, 1, 1});
  // That began a window as well.
  rig.give({"ABcd"});
  rig.give({"abcd"});
  CHECK(rig.healthy() == 2);
  rig.wait(seconds(2));
  CHECK(rig.healthy() == 4);
  CHECK(rig.counts() == Counts{3, 1, 1, 1});
}

TEST_CASE("merge: not without a window") {
  Rig rig{Duration(0)};
  for (const char* hosts : {"aB", "AB", "ab"}) {
    rig.give({hosts});
    CHECK(rig.healthy() == rig.stat("cluster.c.membership_healthy"));
  }
  CHECK(rig.counts() == Counts{3, 0, 0, 0});
}

TEST_CASE("merge: each priority has its window") {
  Rig rig;
  rig.give({"ab", "c"});
  CHECK(rig.counts() == Counts{1, 0, 0, 0});  // priority 0 is as it was
  CHECK(rig.stat("cluster.c.membership_change") == 2);
  rig.give({"aB", "c"});
  CHECK(rig.counts() == Counts{2, 0, 0, 1});
  rig.give({"AB", "C"});
  CHECK(rig.healthy() == 2);
  rig.wait(seconds(2));
  CHECK(rig.healthy() == 0);
  CHECK(rig.counts() == Counts{2, 2, 0, 1});
  // One moves: gone here, come there, in one update.
  rig.give({"a", "bc"});
  CHECK(rig.counts() == Counts{3, 2, 0, 1});
  CHECK(rig.stat("cluster.c.membership_change") == 4);
  // What is said of all priorities.
  rig.wait(seconds(2));
  auto other = endpoints({"a", "bc"});
  other->overprovisioning_factor = 200;
  rig.give(other);
  CHECK(rig.counts() == Counts{4, 2, 0, 3});
}

TEST_CASE("merge: what is found out about a host is an update of each priority, one at a time") {
  sim::SimNet net{1};
  sim::SimLoop loop{net};
  stats::Store store{1};
  UpdateStats counted(store.root(0));
  UpdateMerge merge(loop, Duration(0), counted, [] {});
  CHECK(merge.update({HostChange::same_hosts, HostChange::same_hosts}, false));
  CHECK(counted.cluster_updated.slot_value() == 2);
  CHECK(merge.update({HostChange::same_hosts, HostChange::same_hosts}, true));
  CHECK(counted.cluster_updated.slot_value() == 3);
  CHECK_FALSE(merge.update({HostChange::none, HostChange::none}, true));
  CHECK(counted.cluster_updated.slot_value() == 3);
}

TEST_CASE("merge: a cluster that is replaced or removed takes what waits with it") {
  Rig rig;
  rig.give({"aB"});
  rig.give({"AB"});
  rig.put(2);
  rig.give({"ab"});
  CHECK(rig.healthy() == 2);
  rig.wait(seconds(2));
  CHECK(rig.counts() == Counts{1, 0, 0, 1});
  rig.give({"aB"});
  rig.give({"AB"});
  CHECK(rig.counts() == Counts{2, 0, 0, 2});
  CHECK(rig.directory.remove("c"));
  rig.wait(seconds(2));
  CHECK(rig.counts() == Counts{2, 0, 0, 2});
}

TEST_CASE("merge: other proxies do not end a window") {
  Rig rig(seconds(1), "proxies");
  auto* hosts = rig.discovery.feeds.at(0);
  rig.give({"aB"});
  rig.give({"AB"});
  rig.put(1, "proxies");
  rig.give({"x"});
  rig.give({"xy"});
  CHECK(rig.counts() == Counts{2, 0, 0, 1});
  CHECK(rig.healthy() == 1);
  rig.wait(seconds(3));
  CHECK(rig.healthy() == 0);
  hosts->give(endpoints({"ab"}));
  rig.turns();
  CHECK(rig.healthy() == 2);
}
