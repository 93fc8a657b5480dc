#include "server/listener_manager.h"

#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "core/stats.h"

using namespace sluice;
using namespace sluice::server;
using namespace std::chrono_literals;

namespace {

struct Routes final : model::Dependency {
  bool ready() const override { return there; }
  std::string what() const override { return "routes"; }
  bool there = false;
};

// A virtual listener (no socket) with one chain; `content` is what it differs by.
std::shared_ptr<model::Listener> listener(const std::string& name, const std::string& content,
                                          const std::string& address = "10.0.0.1:80") {
  auto l = std::make_shared<model::Listener>();
  l->name = std::make_shared<const std::string>(name);
  l->address = *Address::parse(address);
  l->bind_to_port = false;
  auto chain = std::make_shared<model::FilterChain>();
  chain->name = std::make_shared<const std::string>("c");
  chain->hash = std::hash<std::string>()(content) | 1;
  l->default_filter_chain = chain;
  l->hash = chain->hash;
  l->frame_hash = 1;
  return l;
}

struct Bed {
  explicit Bed(bool interception = false, Duration drain = 50ms)
      : loop(std::move(*io::make_loop({.receive_buffers = 8}))),
        store(1),
        manager(*loop, store.root(0), {.drain = {.time = drain}, .interception = interception}, workers) {}
  Status put(std::shared_ptr<const model::Listener> l, const std::string& version = "1") {
    Status s = manager.put(std::move(l), {true, version, {}, nullptr});
    turn();
    return s;
  }
  void turn() { loop->run_once(0ms); }
  uint64_t stat(const std::string& name) {
    for (const auto& m : store.snapshot())
      if (m.name == "listener_manager." + name) return m.value;
    return ~0ull;
  }
  const ListenerManager::Entry& entry(const std::string& name) { return manager.entries().at(name); }

  std::unique_ptr<io::Loop> loop;
  stats::Store store;
  std::vector<std::unique_ptr<WorkerThread>> workers;
  ListenerManager manager;
};

}  // namespace

TEST_CASE("A listener waits for what it needs, and the one it replaces serves meanwhile") {
  Bed bed;
  bed.manager.start();
  REQUIRE(bed.put(listener("l", "a")).ok());
  CHECK(bed.stat("total_listeners_active") == 1);

  auto routes = std::make_shared<Routes>();
  auto next = listener("l", "b");
  next->needs = {routes};
  REQUIRE(bed.put(next, "2").ok());
  CHECK(bed.entry("l").active.origin.version == "1");
  CHECK(bed.entry("l").warming.origin.version == "2");
  CHECK(bed.stat("total_listeners_warming") == 1);
  CHECK_FALSE(bed.manager.warm());

  bed.manager.check_warming();
  bed.turn();
  CHECK_FALSE(bed.manager.warm());
  routes->there = true;
  bed.manager.check_warming();
  bed.turn();
  CHECK(bed.manager.warm());
  CHECK(bed.entry("l").active.origin.version == "2");
  CHECK(bed.stat("total_listeners_warming") == 0);
  CHECK(bed.stat("listener_modified") == 1);
}

TEST_CASE("Nothing serves before start()") {
  Bed bed;
  REQUIRE(bed.put(listener("l", "a")).ok());
  CHECK(bed.stat("total_listeners_active") == 0);
  bed.manager.start();
  bed.turn();
  CHECK(bed.stat("total_listeners_active") == 1);
}

TEST_CASE("Equal listeners change nothing; going back while the successor warms drops that") {
  Bed bed;
  bed.manager.start();
  REQUIRE(bed.put(listener("l", "a")).ok());
  REQUIRE(bed.put(listener("l", "a"), "2").ok());
  CHECK(bed.stat("listener_modified") == 0);
  CHECK(bed.entry("l").active.origin.version == "1");

  auto next = listener("l", "b");
  next->needs = {std::make_shared<Routes>()};
  REQUIRE(bed.put(next, "3").ok());
  REQUIRE(bed.put(listener("l", "a"), "4").ok());
  CHECK_FALSE(bed.entry("l").warming.listener);
  CHECK(bed.manager.warm());
}

TEST_CASE(
    "A change of chains alone is made in place; any other drains the whole listener for the drain time") {
  Bed bed;
  bed.manager.start();
  REQUIRE(bed.put(listener("l", "a")).ok());
  REQUIRE(bed.put(listener("l", "b"), "2").ok());
  CHECK(bed.stat("listener_in_place_updated") == 1);
  CHECK(bed.stat("total_filter_chains_draining") == 1);
  CHECK(bed.stat("total_listeners_draining") == 0);
  auto other = listener("l", "c");
  other->frame_hash = 2;
  REQUIRE(bed.put(other, "3").ok());
  CHECK(bed.stat("listener_in_place_updated") == 1);
  CHECK(bed.stat("total_listeners_draining") == 1);
  for (int i = 0; i < 10'000 && !bed.manager.draining().empty(); ++i) bed.loop->run_once(10ms);
  CHECK(bed.stat("total_listeners_draining") == 0);
  CHECK(bed.stat("total_filter_chains_draining") == 0);
}

TEST_CASE("Removed; those of the bootstrap are neither removed nor replaced") {
  Bed bed;
  bed.manager.start();
  REQUIRE(bed.manager.put(listener("fixed", "a"), {false, "", {}, nullptr}).ok());
  REQUIRE(bed.put(listener("l", "a", "10.0.0.2:80")).ok());
  CHECK_FALSE(bed.manager.remove("fixed"));
  REQUIRE(bed.put(listener("fixed", "b")).ok());
  bed.turn();
  CHECK(bed.entry("fixed").active.listener->hash == listener("fixed", "a")->hash);
  CHECK(bed.manager.remove("l"));
  CHECK_FALSE(bed.manager.remove("l"));
  CHECK(bed.stat("listener_removed") == 1);
  CHECK(bed.stat("total_listeners_active") == 1);
  CHECK(bed.stat("total_listeners_draining") == 1);
}

TEST_CASE("An address that another listener has is refused, also while that one warms") {
  Bed bed;
  bed.manager.start();
  auto first = listener("first", "a");
  first->needs = {std::make_shared<Routes>()};
  REQUIRE(bed.put(first).ok());
  Status s = bed.put(listener("second", "b"));
  REQUIRE_FALSE(s.ok());
  CHECK(s.error().message ==
        "error adding listener: 'second' has duplicate address '10.0.0.1:80' as existing listener 'first'");
  CHECK_FALSE(bed.manager.entries().contains("second"));
}

TEST_CASE("An address that cannot be had: the listener is refused and the old one stays") {
  Bed bed;
  bed.manager.start();
  auto holder = listener("holder", "a", "127.0.0.1:0");
  holder->bind_to_port = true;
  REQUIRE(bed.put(holder).ok());
  const Address taken = bed.manager.active_versions().at(0)->sockets.at(0).bound;
  REQUIRE(taken.port() != 0);

  REQUIRE(bed.put(listener("l", "a", "10.0.0.9:1")).ok());
  auto next = listener("l", "b", taken.to_string());
  next->bind_to_port = true;
  Status s = bed.put(next, "2");
  REQUIRE_FALSE(s.ok());
  CHECK(s.error().message.find("cannot listen on " + taken.to_string()) != std::string::npos);
  CHECK(bed.stat("listener_create_failure") == 1);
  CHECK(bed.entry("l").active.origin.version == "1");
  CHECK_FALSE(bed.entry("l").warming.listener);
}

TEST_CASE("What was refused is remembered until a good update or a removal") {
  Bed bed;
  bed.manager.start();
  bed.manager.note_failure("l", "bad", {true, "1", {}, nullptr});
  REQUIRE(bed.entry("l").failure);
  CHECK(bed.entry("l").failure->details == "bad");
  CHECK(bed.manager.active().empty());
  REQUIRE(bed.put(listener("l", "a"), "2").ok());
  CHECK_FALSE(bed.entry("l").failure);
  bed.manager.note_failure("gone", "bad", {true, "1", {}, nullptr});
  CHECK_FALSE(bed.manager.remove("gone"));
  CHECK_FALSE(bed.manager.entries().contains("gone"));
}

TEST_CASE(
    "Once stopped, listeners neither come nor change nor begin to serve; those of other directions do") {
  Bed bed;
  bed.manager.start();
  auto inbound = [](const std::string& name, const std::string& content, const std::string& address) {
    auto l = listener(name, content, address);
    l->direction = model::TrafficDirection::inbound;
    return l;
  };
  REQUIRE(bed.put(inbound("in", "a", "10.0.0.1:80")).ok());
  auto routes = std::make_shared<Routes>();
  auto warms = inbound("warms", "a", "10.0.0.1:81");
  warms->needs = {routes};
  REQUIRE(bed.put(warms).ok());
  bed.manager.stop_accepting(true);
  CHECK(bed.manager.warm());
  routes->there = true;
  REQUIRE(bed.put(inbound("in", "b", "10.0.0.1:80"), "2").ok());
  REQUIRE(bed.put(inbound("late", "a", "10.0.0.1:82"), "2").ok());
  REQUIRE(bed.put(listener("out", "a", "10.0.0.1:83"), "2").ok());
  CHECK(bed.entry("in").active.origin.version == "1");
  CHECK(bed.manager.entries().count("late") == 0);
  CHECK_FALSE(bed.entry("warms").active.listener);
  CHECK(bed.entry("out").active.listener);
  CHECK(bed.stat("total_listeners_active") == 1);  // "in" is stopped
  bed.manager.stop_accepting(false);
  REQUIRE(bed.put(listener("out", "b", "10.0.0.1:83"), "3").ok());
  CHECK(bed.entry("out").active.origin.version == "2");
}

TEST_CASE("Workloads hear of listeners that want other sockets, and of nothing else") {
  Bed bed(true);
  int told = 0;
  bed.manager.when_workload_listeners_change([&] { ++told; });
  bed.manager.start();
  auto outbound = [](const std::string& content, const std::string& address) {
    auto l = listener("virtualOutbound", content, address);
    l->bind_to_port = true;
    l->use_original_dst = true;
    return l;
  };
  REQUIRE(bed.put(listener("plain", "a")).ok());
  CHECK(told == 0);
  REQUIRE(bed.put(outbound("a", "0.0.0.0:15001")).ok());
  CHECK(told == 1);
  REQUIRE(bed.put(outbound("b", "0.0.0.0:15001"), "2").ok());
  CHECK(told == 1);
  REQUIRE(bed.put(outbound("b2", "0.0.0.0:15002"), "3").ok());
  CHECK(told == 2);
  CHECK(bed.manager.remove("virtualOutbound"));
  CHECK(told == 3);
}
