#include "proxy/upstream/health_checker.h"

#include <doctest/doctest.h>

#include <map>

#include "core/random.h"
#include "proxy/upstream/cluster_manager.h"
#include "test/sim/peer.h"
#include "test/sim/seeds.h"
#include "test/sim/sim_loop.h"

using namespace sluice;
using namespace sluice::upstream;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

using Flag = HostMonitor;

model::HealthCheck http_check() {
  model::HealthCheck c;
  c.timeout = seconds(1);
  c.interval = c.unhealthy_interval = c.unhealthy_edge_interval = c.healthy_edge_interval = seconds(10);
  c.no_traffic_interval = c.no_traffic_healthy_interval = seconds(60);
  c.unhealthy_threshold = 3;
  c.healthy_threshold = 2;
  model::HttpHealthCheck http;
  http.path = "/";
  http.retriable = {{429, 430}};
  c.kind = http;
  return c;
}

// A checker, its hosts and their servers, in simulated time.
struct Checks final : HealthChecker::Owner {
  explicit Checks(size_t n, model::HealthCheck c = http_check(), uint64_t seed = 1)
      : net(seed), random(seed) {
    auto made = std::make_shared<model::Cluster>();
    made->name = "c";
    made->health_check = std::move(c);
    cluster = made;
    for (size_t i = 0; i < n; ++i) serve(static_cast<uint16_t>(i + 1));
    checker = std::make_shared<HealthChecker>(
        loop, random, cluster, store.root(0), [this] { return traffic; }, *this);
  }
  ~Checks() {
    checker.reset();
    loop.run_until([&] { return loop.open_descriptors() == 0; });
    for (int i = 0; i < 3; ++i) loop.run_once(Duration(0));
    CHECK(loop.leftovers() == "");
    CHECK(stat("healthy") == 0);
    CHECK(stat("degraded") == 0);
  }
  static Address address(uint16_t port) { return Address(IpAddress::v4(0x0100000a), port); }
  void serve(uint16_t port) {
    replies[port] = "200";
    world.server(address(port), [this, port](sim::Peer& p) {
      ++connections;
      p.on_data = [this, port](sim::Peer& peer) {
        if (peer.received.find("\r\n\r\n") == std::string::npos) return;
        peer.received.clear();
        ++asked[port];
        if (!replies[port].empty())
          peer.write("HTTP/1.1 " + replies[port] + " X\r\n" + extra + "content-length: 0\r\n\r\n");
      };
    });
    hosts.push_back(make(port));
  }
  HostPtr make(uint16_t port) {
    Host::Description d;
    d.address = address(port);
    return std::make_shared<Host>(d, 2);
  }
  void begin(bool pending = false) {
    checker->set_hosts(hosts, pending, false);
    checker->await_first_round();
    REQUIRE(loop.run_until([&] { return rounds == 1; }));
  }
  // Until the host has been asked `n` more times and the answers are there.
  void rounds_of(uint16_t port, int n) {
    const int until = asked[port] + n;
    REQUIRE(loop.run_until([&] { return asked[port] >= until; }));
    loop.run_until([&, end = loop.now() + milliseconds(100)] { return loop.now() >= end; });
  }
  void wait(Duration d) {
    loop.run_until([&, end = loop.now() + d] { return loop.now() >= end; });
  }
  // Time until it is asked again.
  int64_t gap(uint16_t port) {
    rounds_of(port, 1);
    const MonotonicTime from = loop.now() - milliseconds(100);
    const int n = asked[port];
    REQUIRE(loop.run_until([&] { return asked[port] > n; }));
    return std::chrono::round<seconds>(loop.now() - from).count();
  }
  bool has(size_t host, HostMonitor::Flag f) const { return hosts[host]->monitor().has(f); }
  bool failed(size_t host) const { return has(host, Flag::failed_active_check); }
  uint64_t stat(const std::string& name) const {
    for (const auto& m : store.snapshot()) {
      if (m.name == "health_check." + name) return m.value;
    }
    return 0;
  }

  void on_well(const HostPtr&) override { ++wells; }
  void on_health_changed(const HostVector& now) override {
    ++changes;
    lost.insert(lost.end(), now.begin(), now.end());
  }
  void on_first_round() override { ++rounds; }

  sim::SimNet net;
  sim::World world{net};
  sim::SimLoop loop{net};
  stats::Store store{2};
  Random random;
  std::shared_ptr<const model::Cluster> cluster;
  HostVector hosts, lost;
  bool traffic = true;
  std::string extra;
  std::map<uint16_t, std::string> replies;  // "": none
  std::map<uint16_t, int> asked;
  int connections = 0, changes = 0, rounds = 0, wells = 0;
  std::shared_ptr<HealthChecker> checker;
};

}  // namespace

TEST_CASE("health checks: the first answer decides, and the first round ends with the last of them") {
  Checks c(3);
  c.replies[2] = "503";
  c.world.stop_server(Checks::address(3));
  c.checker->set_hosts(c.hosts, false, false);
  for (size_t i : {0, 1, 2}) CHECK(c.failed(i));
  CHECK(c.stat("healthy") == 0);
  c.checker->await_first_round();
  REQUIRE(c.loop.run_until([&] { return c.rounds == 1; }));
  CHECK_FALSE(c.failed(0));
  CHECK(c.failed(1));
  CHECK(c.failed(2));
  CHECK(c.stat("attempt") == 3);
  CHECK(c.stat("success") == 1);
  CHECK(c.stat("failure") == 2);
  CHECK(c.stat("network_failure") == 1);
  CHECK(c.stat("healthy") == 1);
  CHECK(c.wells == 1);
  CHECK(c.lost.empty());  // they were not well before
}

TEST_CASE("health checks: nobody to ask") {
  Checks c(0);
  c.begin();
  c.hosts.push_back(c.make(9));
  Host::Description d = c.hosts[0]->description();
  d.health_check_disabled = true;
  c.hosts[0] = std::make_shared<Host>(d, 2);
  c.checker->set_hosts(c.hosts, false, false);
  CHECK_FALSE(c.failed(0));
  c.wait(seconds(100));
  CHECK(c.stat("attempt") == 0);
}

TEST_CASE("health checks: a host that says so is believed at once, good answers take their number") {
  Checks c(1);
  c.begin();
  c.changes = 0;
  c.replies[1] = "500";
  c.rounds_of(1, 1);
  CHECK(c.failed(0));
  CHECK(c.changes == 1);
  REQUIRE(c.lost.size() == 1);
  CHECK(c.lost[0] == c.hosts[0]);
  CHECK(c.stat("healthy") == 0);
  c.replies[1] = "200";
  c.rounds_of(1, 1);
  CHECK(c.failed(0));
  c.replies[1] = "500";  // begins anew
  c.rounds_of(1, 1);
  c.replies[1] = "200";
  c.rounds_of(1, 1);
  CHECK(c.failed(0));
  c.rounds_of(1, 1);
  CHECK_FALSE(c.failed(0));
  CHECK(c.changes == 2);
  CHECK(c.stat("passive_failure") == 0);
}

TEST_CASE("health checks: retriable statuses and time-outs take unhealthy_threshold in a row") {
  Checks c(1);
  c.begin();
  for (const char* reply : {"429", ""}) {
    c.replies[1] = reply;
    c.rounds_of(1, 2);
    c.replies[1] = "200";
    c.rounds_of(1, 1);
    c.replies[1] = reply;
    c.rounds_of(1, 2);
    CHECK_FALSE(c.failed(0));
    c.rounds_of(1, 1);
    c.wait(seconds(2));
    CHECK(c.failed(0));
    CHECK(c.has(0, Flag::active_check_timeout) == (reply[0] == 0));
    c.replies[1] = "200";
    c.rounds_of(1, 2);
    CHECK_FALSE(c.failed(0));
    CHECK_FALSE(c.has(0, Flag::active_check_timeout));
  }
}

TEST_CASE("health checks: intervals") {
  model::HealthCheck config = http_check();
  config.interval = seconds(10);
  config.unhealthy_interval = seconds(20);
  config.unhealthy_edge_interval = seconds(5);
  config.healthy_edge_interval = seconds(3);
  config.no_traffic_interval = seconds(60);
  config.no_traffic_healthy_interval = seconds(120);
  Checks c(1, config);
  c.traffic = false;
  c.begin();
  CHECK(c.gap(1) == 120);
  c.traffic = true;
  CHECK(c.gap(1) == 10);
  c.replies[1] = "429";
  CHECK(c.gap(1) == 5);   // may be on its way down
  c.rounds_of(1, 1);      // the third
  CHECK(c.failed(0));
  CHECK(c.gap(1) == 20);
  c.replies[1] = "200";
  CHECK(c.gap(1) == 3);   // and up
  CHECK(c.gap(1) == 10);
  c.traffic = false;
  c.replies[1] = "503";
  CHECK(c.gap(1) == 60);
}

TEST_CASE("health checks: jitter adds to the interval, and spreads the first checks") {
  model::HealthCheck config = http_check();
  config.interval_jitter = seconds(5);
  config.interval_jitter_percent = 50;
  config.initial_jitter = seconds(30);
  Checks c(20, config);
  c.begin();
  CHECK(c.loop.now() - MonotonicTime{} > seconds(5));
  int64_t low = 100, high = 0;
  for (uint16_t host = 1; host <= 20; ++host) {
    const int64_t g = c.gap(host);
    low = std::min(low, g), high = std::max(high, g);
  }
  CHECK(low >= 10);
  CHECK(high <= 20);
  CHECK(high > low);
}

TEST_CASE("health checks: connections are used again, or not") {
  for (bool reuse : {true, false}) {
    model::HealthCheck config = http_check();
    config.reuse_connection = reuse;
    Checks c(1, config);
    c.begin();
    c.rounds_of(1, 4);
    CHECK(c.connections == (reuse ? 1 : 5));
  }
}

TEST_CASE("health checks: degraded, excluded, told by a response") {
  Checks c(1);
  c.extra = "x-envoy-degraded: 1\r\n";
  c.begin();
  CHECK(c.hosts[0]->health() == model::HealthStatus::degraded);
  CHECK(c.stat("degraded") == 1);
  CHECK(c.stat("healthy") == 1);
  c.extra = "";
  c.changes = 0;
  c.rounds_of(1, 1);
  CHECK(c.hosts[0]->health() == model::HealthStatus::healthy);
  CHECK(c.changes == 1);
  CHECK(c.stat("degraded") == 0);
  // In an answer to a check it matters where the check fails.
  c.extra = "x-envoy-immediate-health-check-fail: 1\r\n";
  c.rounds_of(1, 1);
  CHECK_FALSE(c.hosts[0]->excluded());
  c.replies[1] = "503";
  c.rounds_of(1, 1);
  CHECK(c.hosts[0]->excluded());
  c.extra = "", c.replies[1] = "200";
  c.rounds_of(1, 2);
  CHECK_FALSE(c.hosts[0]->excluded());
  // A worker saw it in an ordinary answer.
  HealthReporter(c.loop, c.checker).failed_by_response(c.hosts[0]);
  HealthReporter().failed_by_response(c.hosts[0]);
  c.wait(milliseconds(1));
  CHECK(c.failed(0));
  CHECK(c.hosts[0]->excluded());
  CHECK(c.stat("passive_failure") == 1);
  CHECK(c.lost.size() == 2);
}

TEST_CASE("health checks: hosts come, go, and stay the same with another weight") {
  Checks c(2);
  c.begin();
  const int before = c.asked[1];
  Host::Description heavier = c.hosts[0]->description();
  heavier.weight = 5;
  c.hosts[0] = std::make_shared<Host>(heavier, *c.hosts[0]);
  c.serve(3);
  c.hosts.erase(c.hosts.begin() + 1);
  c.checker->set_hosts(c.hosts, true, false);
  CHECK_FALSE(c.failed(0));
  CHECK(c.failed(1));
  CHECK(c.hosts[1]->excluded());
  CHECK(c.asked[1] == before);
  CHECK(c.stat("healthy") == 1);
  c.rounds_of(3, 1);
  CHECK_FALSE(c.hosts[1]->excluded());
  CHECK(c.stat("healthy") == 2);
  const int second = c.asked[2];
  c.wait(seconds(60));
  CHECK(c.asked[2] == second);
  // Whoever waits for the first round does not wait for one that has gone.
  c.serve(4);
  c.replies[4] = "";
  c.checker->set_hosts(c.hosts, false, false);
  c.checker->await_first_round();
  c.loop.run_once(Duration(0));
  CHECK(c.rounds == 1);
  c.hosts.pop_back();
  c.checker->set_hosts(c.hosts, false, false);
  c.loop.run_once(Duration(0));
  CHECK(c.rounds == 2);
}

TEST_CASE("health checks, simulated: whatever servers do, flags and gauges agree and nothing is left") {
  uint64_t successes = 0, failures = 0;
  Status s = sim::for_each_seed(300, [&](sim::Sim& sim) {
    auto cluster = std::make_shared<model::Cluster>();
    cluster->name = "c";
    model::HealthCheck check = http_check();
    check.interval = check.unhealthy_interval = milliseconds(1 + sim.random.below(500));
    check.timeout = milliseconds(1 + sim.random.below(300));
    check.reuse_connection = sim.random.chance(1, 2);
    check.unhealthy_threshold = 1 + static_cast<uint32_t>(sim.random.below(3));
    switch (sim.random.below(3)) {
      case 0:
        check.kind = model::TcpHealthCheck{.send = "ping", .receive = {"HTTP"}};
        break;
      case 1:
        check.kind = model::GrpcHealthCheck{.service_name = "s", .authority = "", .metadata = {}};
        break;
      default:
        break;
    }
    cluster->health_check = check;
    struct Owner final : HealthChecker::Owner {
      void on_well(const HostPtr& h) override { well &= !h->monitor().has(Flag::failed_active_check); }
      void on_health_changed(const HostVector&) override {}
      void on_first_round() override { ++rounds; }
      bool well = true;
      int rounds = 0;
    } owner;
    stats::Store store(1);
    auto stat = [&](const std::string& name) -> uint64_t {
      for (const auto& m : store.snapshot())
        if (m.name == "health_check." + name) return m.value;
      return 0;
    };
    auto checker = std::make_unique<HealthChecker>(
        sim.loop, sim.random, cluster, store.root(0), [] { return true; }, owner);
    HostVector all;
    for (uint16_t port = 1; port <= 4; ++port) {
      const Address at = Checks::address(port);
      if (port < 4)
        sim.world.server(at, [&sim](sim::Peer& p) {
          auto act = [&sim](sim::Peer& peer) {
            peer.received.clear();
            if (!peer.may_write()) return;  // closed, and asked once more
            switch (sim.random.below(8)) {
              case 0:
                return peer.reset();
              case 1:
                return peer.close();
              case 2:
                return;
              case 3:
                return peer.write("HTTP/1.1 200 X\r\n");
              case 4:
                return peer.write("\x00\x00\x00\x04\x00garbage");
              case 5:
                return peer.write("HTTP/1.1 503 X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
              default:
                return peer.write("HTTP/1.1 200 X\r\ncontent-length: 0\r\n\r\n");
            }
          };
          p.on_data = act;
          if (sim.random.chance(1, 5)) act(p);
        });
      Host::Description d;
      d.address = at;
      all.push_back(std::make_shared<Host>(d, 1));
    }
    checker->set_hosts(all, false, false);
    checker->await_first_round();
    HostVector now = all;
    for (int step = 0; step < 30 && sim.failure.empty(); ++step) {
      const MonotonicTime until = sim.loop.now() + milliseconds(sim.random.below(200));
      sim.loop.run_until([&] { return sim.loop.now() >= until; });
      if (sim.random.chance(1, 4)) {
        now.clear();
        for (const HostPtr& h : all)
          if (sim.random.chance(2, 3)) now.push_back(h);
        checker->set_hosts(now, sim.random.chance(1, 2), false);
      }
      uint64_t healthy = 0;
      for (const HostPtr& h : now) healthy += !h->monitor().has(Flag::failed_active_check);
      sim.check(stat("healthy") == healthy, "the gauge counts those that have not failed");
      sim.check(stat("attempt") + 4 >= stat("success") + stat("failure"), "more answers than questions");
      sim.check(owner.well, "told to be well while it is not");
    }
    checker->set_hosts({}, false, false);
    sim.loop.run_once(Duration(0));
    sim.check(owner.rounds == 1, "the first round ends");
    successes += stat("success"), failures += stat("failure");
    checker.reset();
    sim.check(stat("healthy") == 0, "nobody is left");
    sim.loop.run_until([&] { return sim.loop.open_descriptors() == 0; });
    for (int i = 0; i < 3; ++i) sim.loop.run_once(Duration(0));
  });
  CHECK_MESSAGE(s.ok(), s.error().message);
  CHECK(successes > 0);
  CHECK(failures > 0);
}
