// What a cluster costs, and that what goes leaves nothing behind.
#include <malloc.h>

#include <set>

#include "test/unit/proxy/upstream/harness.h"

namespace sluice::upstream {
namespace {

std::set<std::string> names(const stats::Store& store, std::string_view prefix) {
  std::set<std::string> out;
  for (const auto& m : store.snapshot())
    if (m.name.starts_with(prefix)) out.insert(m.name);
  return out;
}

TEST_CASE("a cluster that nobody has used shows all that a used one shows") {
  Listener listener;
  Harness h(2);
  h.add("used", {listener.at()});
  h.add("idle", {listener.at()});
  h.apply();
  const size_t before = names(h.store, "cluster.used.").size();
  h.connect_wait("used");
  const auto used = names(h.store, "cluster.used."), idle = names(h.store, "cluster.idle.");
  CHECK(used.size() == before);
  CHECK(used.size() == idle.size());
  CHECK(used.size() > 90);
  CHECK(h.stat("cluster.used.upstream_cx_total") == 1);
  CHECK(h.stat("cluster.idle.upstream_cx_total") == 0);
  CHECK(h.stat("cluster.idle.membership_total") == 1);
}

TEST_CASE("the hosts of a cluster are those of the moment when it is first asked for") {
  Listener first, second;
  Harness h;
  h.add("c", {first.at()});
  h.apply();
  h.config.clusters.clear();
  h.add("c", {second.at()}).hash = 2;
  h.apply();
  const auto o = h.connect_wait("c");
  CHECK(o->connected);
  CHECK(second.accept().valid());
  CHECK_FALSE(first.accept().valid());
}

// Sanitizers have allocators of their own, which this cannot see.
TEST_CASE("thousands of clusters take a few kilobytes each, workers' parts included") {
  constexpr size_t kClusters = 2000, kWorkers = 4, kMostEach = 8 << 10;
  Harness h(kWorkers);
  for (size_t i = 0; i < kClusters; ++i) h.add("cluster-" + std::to_string(i), {loopback(9)});
  const size_t before = ::mallinfo2().uordblks, cells = h.store.memory();
  h.apply();
  const size_t after = ::mallinfo2().uordblks;
  const size_t each = (after - before) / kClusters;
  CHECK(each < kMostEach);
  CHECK(h.store.memory() - cells < kClusters * 256);  // of what the control thread writes, no more
}

TEST_CASE("clusters that come and go leave no statistics behind") {
  Listener listener;
  Harness h(2);
  h.add("stays", {listener.at()});
  h.apply();
  size_t most = 0, names_before = 0;
  for (int round = 0; round < 60; ++round) {
    const std::string name = "c" + std::to_string(round);
    h.add(name, {listener.at()});
    h.apply();
    auto connection = h.connect_wait(name, {}, round % 2);
    h.config.clusters.pop_back();
    h.apply();
    h.turns(2);
    // A connection keeps its cluster, and its counters.
    CHECK(h.stat("cluster." + name + ".upstream_cx_active") == 1);
    connection.reset();
    h.turns(3);
    CHECK(names(h.store, "cluster." + name + ".").empty());
    if (round == 1) most = h.store.memory(), names_before = h.store.snapshot().size();
  }
  CHECK(h.store.memory() == most);
  CHECK(h.store.snapshot().size() == names_before);
  CHECK(h.stat("cluster_manager.cluster_removed") == 60);
}

TEST_CASE("a cluster that is replaced counts on") {
  Listener listener;
  Harness h;
  h.add("c", {listener.at()}).hash = 1;
  h.apply();
  h.connect_wait("c");
  h.config.clusters.clear();
  h.add("c", {listener.at()}).hash = 2;
  h.apply();
  h.turns(3);
  CHECK(h.stat("cluster.c.upstream_cx_total") == 1);
  h.connect_wait("c");
  CHECK(h.stat("cluster.c.upstream_cx_total") == 2);
}

}  // namespace
}  // namespace sluice::upstream
