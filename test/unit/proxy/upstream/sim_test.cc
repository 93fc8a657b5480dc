#include <doctest/doctest.h>

#include <map>

#include "net/connection.h"
#include "proxy/upstream/cluster_manager.h"
#include "test/sim/seeds.h"

// Upstream connections on the simulated network: exact times, what reaches the socket, and everything at once.
using namespace sluice;
using namespace sluice::upstream;
using Failure = ext::Upstream::Failure;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

struct Caller final : ext::Upstream::Callbacks {
  void on_connected(ext::Upstream&) override { ++connected; }
  void on_connect_failed(ext::Upstream&, Failure f, std::string_view) override {
    ++failed;
    failure = f;
  }
  void on_upstream_data(Buffer& data, bool end_stream) override {
    received += data.to_string();
    data.clear();
    ended |= end_stream;
  }
  void on_closed(ext::Connection&, const ext::CloseEvent&) override { ++closed; }

  std::unique_ptr<ext::Upstream> upstream;
  int connected = 0, failed = 0, closed = 0;
  bool ended = false;
  Failure failure{};
  std::string received;
};

struct Clusters {
  Clusters(io::Loop& loop, uint64_t seed) : directory(loop, store, {.seed = seed}) {}
  model::Cluster& add(std::string name, const std::vector<Address>& hosts) {
    auto c = std::make_shared<model::Cluster>();
    c->name = std::move(name);
    model::Locality& l = c->localities.emplace_back();
    for (const Address& a : hosts) l.endpoints.emplace_back().address = a;
    config.clusters.push_back(c);
    return *c;
  }
  uint64_t stat(const std::string& name) const {
    for (const auto& m : store.snapshot()) {
      if (m.name == name) return m.value;
    }
    return ~0ull;
  }
  stats::Store store{2};
  model::ConfigSet config;
  ClusterDirectory directory;
};

Address address(const std::string& text) {
  return *Address::parse(text);
}

}  // namespace

TEST_CASE("connect_timeout is kept to the millisecond") {
  sim::SimNet net(1);
  sim::SimLoop loop(net);
  net.blackhole(address("10.0.0.1:80"));
  {
    Clusters c(loop, 1);
    c.add("c", {address("10.0.0.1:80")}).connect_timeout = milliseconds(250);
    auto manager = c.directory.make_worker(loop, 1, 1);
    REQUIRE(c.directory.apply(c.config).ok());
    loop.run_once(Duration(0));
    Caller caller;
    MonotonicTime start = loop.now();
    caller.upstream = manager->find("c")->connect({}, caller);
    REQUIRE(loop.run_until([&] { return caller.failed > 0; }));
    CHECK(caller.failure == Failure::timeout);
    CHECK(loop.now() - start >= milliseconds(250));
    CHECK(loop.now() - start < milliseconds(252));
    CHECK(c.stat("cluster.c.upstream_cx_connect_timeout") == 1);
    CHECK(c.stat("cluster.c.upstream_cx_connect_fail") == 1);
    CHECK(c.stat("cluster.c.upstream_cx_destroy_local") == 1);
    CHECK(c.stat("cluster.c.upstream_rq_pending_failure_eject") == 1);
  }
  loop.run_until([&] { return loop.open_descriptors() == 0; });
  loop.run_once(Duration(0));
  CHECK(loop.leftovers() == "");
}

TEST_CASE(
    "the socket is opened in the workload's network namespace, marked, and bound to the caller's address") {
  sim::SimNet net(2);
  sim::World world(net);
  sim::SimLoop loop(net);
  world.server(address("10.0.0.1:80"), [](sim::Peer&) {});
  {
    Clusters c(loop, 1);
    c.add("c", {address("10.0.0.1:80")});
    auto manager = c.directory.make_worker(loop, 1, 1);
    REQUIRE(c.directory.apply(c.config).ok());
    loop.run_once(Duration(0));
    Caller plain, asked;
    plain.upstream = manager->find("c")->connect({}, plain);
    asked.upstream = manager->find("c")->connect(
        {.netns_fd = 77, .mark = 0x539, .source = address("[::ffff:192.0.2.9]:0"), .transparent = true},
        asked);
    REQUIRE(loop.run_until([&] { return plain.connected && asked.connected; }));
    int fd = dynamic_cast<net::Connection&>(plain.upstream->connection()).fd();
    CHECK(loop.netns_of(fd) == -1);
    CHECK(loop.options_of(fd).mark == 0);
    CHECK_FALSE(loop.options_of(fd).transparent);
    fd = dynamic_cast<net::Connection&>(asked.upstream->connection()).fd();
    CHECK(loop.netns_of(fd) == 77);
    CHECK(loop.options_of(fd).mark == 0x539);
    CHECK(loop.options_of(fd).transparent);
    CHECK(loop.options_of(fd).bind_address_no_port);
    CHECK(asked.upstream->local_address().ip().to_string() == "192.0.2.9");
  }
  loop.run_until([&] { return loop.open_descriptors() == 0; });
  loop.run_once(Duration(0));
}

// Servers that serve, refuse, hang, reset and speak first; callers that write, leave at any moment and hit every limit.
TEST_CASE("whatever happens, each connection is told and counted once, and nothing is left") {
  Status s = sim::for_each_seed(1500, [](sim::Sim& sim) {
    Random& random = sim.random;
    std::vector<Address> hosts;
    for (int i = 1; i <= 4; ++i) hosts.push_back(address("10.0.0." + std::to_string(i) + ":80"));
    sim.world.server(hosts[0], [](sim::Peer& p) {
      p.on_data = [](sim::Peer& q) { q.write(std::exchange(q.received, {})); };
      p.on_end = [](sim::Peer& q) { q.close(); };
    });
    sim.world.server(hosts[1], [&random](sim::Peer& p) {
      p.write("hello");
      if (random.chance(1, 2)) p.finish();
      p.on_data = [](sim::Peer& q) { q.reset(); };
      p.on_end = [](sim::Peer& q) { q.close(); };
    });
    sim.net.blackhole(hosts[2]);
    if (random.chance(1, 2)) sim.net.unreachable(hosts[3]);  // else it refuses

    Clusters clusters(sim.loop, sim.net.seed());
    model::Cluster& config = clusters.add("c", hosts);
    config.connect_timeout = milliseconds(1 + random.below(100));
    config.lb.policy = static_cast<model::LbPolicy>(random.below(3));
    for (auto& e : config.localities[0].endpoints) e.weight = 1 + static_cast<uint32_t>(random.below(3));
    if (random.chance(1, 3))
      config.circuit_breaker[0].max_connections = 1 + static_cast<uint32_t>(random.below(4));
    if (random.chance(1, 3))
      config.circuit_breaker[0].max_pending_requests = 1 + static_cast<uint32_t>(random.below(3));
    config.circuit_breaker[0].track_remaining = true;
    auto manager = clusters.directory.make_worker(sim.loop, 1, sim.net.seed());
    if (!sim.check(clusters.directory.apply(clusters.config).ok(), "apply")) return;
    sim.loop.run_once(Duration(0));

    std::vector<std::unique_ptr<Caller>> callers;
    for (int step = 0; step < 60; ++step) {
      Caller* some = callers.empty() ? nullptr : callers[random.below(callers.size())].get();
      switch (random.below(5)) {
        case 0:
        case 1: {
          auto caller = std::make_unique<Caller>();
          caller->upstream = manager->find("c")->connect({}, *caller);
          callers.push_back(std::move(caller));
          break;
        }
        case 2:
          if (some && some->upstream && some->connected && !some->closed) {
            Buffer b;
            b.append(sim.loop.blocks(), std::string(1 + random.below(20000), 'x'));
            some->upstream->connection().write(std::move(b), random.chance(1, 3));
          }
          break;
        case 3:
          if (some && some->upstream && random.chance(1, 2)) some->upstream.reset();
          break;
        default: {
          MonotonicTime wake = sim.loop.now() + milliseconds(random.below(40));
          sim.loop.run_until([&] { return sim.loop.now() >= wake; }, milliseconds(50));
        }
      }
    }
    // Everybody is told in the end: connected, or failed by the time-out at the latest.
    sim.loop.run_until([&] { return false; }, milliseconds(300));
    for (auto& c : callers) {
      sim.check(c->connected + c->failed <= 1, "told twice");
      sim.check(!c->upstream || c->connected + c->failed == 1, "not told");
      sim.check(c->closed <= c->connected, "closed twice, or without having been connected");
      c->upstream.reset();
    }
    sim.loop.run_until([&] { return sim.loop.open_descriptors() == 0; }, seconds(10));
    sim.loop.run_once(Duration(0));  // what ended in the last turn goes in the next

    std::map<std::string, uint64_t> v;
    for (const auto& m : clusters.store.snapshot()) v[m.name] = m.value;
    auto n = [&](const char* name) {
      auto it = v.find(std::string("cluster.c.") + name);
      sim.check(it != v.end(), name);
      return it == v.end() ? 0 : it->second;
    };
    for (const char* gauge : {"upstream_cx_active", "upstream_rq_active", "upstream_rq_pending_active",
                              "upstream_cx_rx_bytes_buffered", "upstream_cx_tx_bytes_buffered",
                              "circuit_breakers.default.cx_open", "circuit_breakers.default.rq_open",
                              "circuit_breakers.default.rq_pending_open"}) {
      sim.check(n(gauge) == 0, gauge);
    }
    sim.check(n("circuit_breakers.default.remaining_cx") == config.circuit_breaker[0].max_connections,
              "remaining_cx");
    sim.check(
        n("circuit_breakers.default.remaining_pending") == config.circuit_breaker[0].max_pending_requests,
        "remaining_pending");
    sim.check(n("upstream_cx_total") == n("upstream_cx_destroy"), "cx_total == cx_destroy");
    sim.check(n("upstream_cx_destroy") == n("upstream_cx_destroy_local") + n("upstream_cx_destroy_remote"),
              "destroy");
    sim.check(n("upstream_cx_total") ==
                  n("upstream_rq_total") + n("upstream_cx_connect_fail") + n("upstream_rq_cancelled"),
              "each connection came, failed or was given up");
    sim.check(n("upstream_rq_total") == n("upstream_cx_destroy_with_active_rq"), "with_active_rq");
    uint64_t refused = n("upstream_cx_overflow") + n("upstream_rq_pending_overflow");
    sim.check(n("upstream_cx_total") + refused == callers.size(), "every call is counted once");
    manager.reset();
  });
  CHECK_MESSAGE(s.ok(), s.error().message);
}
