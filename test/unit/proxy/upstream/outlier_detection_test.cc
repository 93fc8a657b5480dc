#include "proxy/upstream/outlier_detection.h"

#include <doctest/doctest.h>

#include <map>

#include "proxy/upstream/cluster_manager.h"
#include "test/sim/peer.h"
#include "test/sim/sim_loop.h"

using namespace sluice;
using namespace sluice::upstream;
using ext::TryResult;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

// A detector, its hosts, and what workers report of them, in simulated time.
struct Detection {
  explicit Detection(size_t n, const model::OutlierDetection& c = {}) : config(c) {
    for (size_t i = 0; i < n; ++i) {
      Host::Description d;
      d.address = Address(IpAddress::v4(0x0100000a), static_cast<uint16_t>(i + 1));
      hosts.push_back(std::make_shared<Host>(d, 2));
    }
    detector = std::make_shared<OutlierDetector>(config, loop, random, store.root(0),
                                                 [this](const HostVector&) { ++changes; });
    detector->set_hosts(hosts);
    reporter = OutlierReporter(config, loop, detector);
  }
  ~Detection() {
    detector.reset();
    settle();
  }
  void settle() {
    for (int i = 0; i < 3; ++i) loop.run_once(Duration(0));
  }
  void answers(size_t host, uint16_t status, int n = 1) {
    while (n-- > 0) reporter.status(hosts[host], static_cast<unsigned>(n % 2), status);
    settle();
  }
  void transport(size_t host, TryResult result, int n = 1, bool final = true) {
    while (n-- > 0) reporter.transport(hosts[host], 0, result, final);
    settle();
  }
  void wait(Duration d) {
    const MonotonicTime until = loop.now() + d;
    loop.run_until([&] { return loop.now() >= until; });
  }
  bool out(size_t host) const { return hosts[host]->health() == model::HealthStatus::unhealthy; }
  uint64_t stat(const std::string& name) const {
    for (const auto& m : store.snapshot()) {
      if (m.name == "outlier_detection." + name) return m.value;
    }
    FAIL("no metric " << name);
    return 0;
  }

  sim::SimNet net{1};
  sim::SimLoop loop{net};
  stats::Store store{2};
  Random random{1};
  model::OutlierDetection config;
  HostVector hosts;
  std::shared_ptr<OutlierDetector> detector;
  OutlierReporter reporter;
  int changes = 0;
};

model::OutlierDetection half() {
  model::OutlierDetection c;
  c.max_ejection_percent = 50;
  return c;
}

}  // namespace

TEST_CASE("outlier: five 5xx in a row eject, whoever saw them; any other answer begins anew") {
  Detection d(4, half());
  d.answers(0, 500, 4);
  d.answers(0, 404);
  d.answers(0, 500, 4);
  CHECK_FALSE(d.out(0));
  d.answers(0, 500);
  CHECK(d.out(0));
  CHECK(d.changes == 1);
  CHECK(d.stat("ejections_active") == 1);
  CHECK(d.stat("ejections_detected_consecutive_5xx") == 1);
  CHECK(d.stat("ejections_enforced_consecutive_5xx") == 1);
  CHECK(d.stat("ejections_enforced_total") == 1);
  CHECK(d.stat("ejections_consecutive_5xx") == 1);
  CHECK(d.stat("ejections_total") == 1);
  // Requests that were under way when it was ejected say nothing new.
  d.answers(0, 500, 5);
  CHECK(d.stat("ejections_detected_consecutive_5xx") == 1);
}

TEST_CASE(
    "outlier: back at the first interval after base_ejection_time, which grows with every ejection up to the "
    "most") {
  model::OutlierDetection c = half();
  c.base_ejection_time = seconds(30);
  c.max_ejection_time = seconds(75);
  Detection d(2, c);
  auto lasts = [&] {
    d.answers(0, 503, 5);
    REQUIRE(d.out(0));
    const MonotonicTime from = d.loop.now();
    REQUIRE(d.loop.run_until([&] { return !d.out(0); }));
    CHECK(d.stat("ejections_active") == 0);
    return std::chrono::duration_cast<seconds>(d.loop.now() - from + milliseconds(500)).count();
  };
  CHECK(lasts() == 30);  // it began with an interval
  CHECK(lasts() == 60);
  CHECK(lasts() == 80);  // 75, until the next interval
  // Intervals in peace make it shorter again.
  d.wait(seconds(200));
  CHECK(lasts() <= 40);
}

TEST_CASE("outlier: max_ejection_percent, and always_eject_one_host") {
  Detection none(4);  // 10 %: not even one of four
  none.answers(0, 500, 5);
  CHECK_FALSE(none.out(0));
  CHECK(none.stat("ejections_overflow") == 1);
  CHECK(none.stat("ejections_enforced_total") == 0);

  model::OutlierDetection c;
  c.always_eject_one_host = true;
  Detection one(4, c);
  one.answers(0, 500, 5);
  one.answers(1, 500, 5);
  CHECK(one.out(0));
  CHECK_FALSE(one.out(1));
  CHECK(one.stat("ejections_overflow") == 1);
}

TEST_CASE("outlier: gateway failures are detected by default, and enforced where asked") {
  Detection seen(4, half());
  seen.answers(0, 502, 4);
  seen.answers(0, 500);  // ends the row of gateway failures, not that of 5xx
  CHECK(seen.stat("ejections_detected_consecutive_gateway_failure") == 0);
  CHECK(seen.out(0));
  seen.answers(1, 504, 4);
  CHECK_FALSE(seen.out(1));

  model::OutlierDetection c = half();
  c.consecutive_gateway_failure = 2;
  Detection detected(4, c);
  detected.answers(0, 503, 2);
  CHECK(detected.stat("ejections_detected_consecutive_gateway_failure") == 1);
  CHECK_FALSE(detected.out(0));
  c.enforcing_consecutive_gateway_failure = 100;
  Detection enforced(4, c);
  enforced.answers(0, 503, 2);
  CHECK(enforced.out(0));
  CHECK(enforced.stat("ejections_enforced_consecutive_gateway_failure") == 1);
}

TEST_CASE("outlier: what the transport says counts as 503 and 504, or on its own where errors are split") {
  Detection joined(4, half());
  joined.transport(0, TryResult::connect_failed, 4);
  joined.transport(0, TryResult::success, 1, false);  // an HTTP connection: its answer is still to come
  joined.transport(0, TryResult::timeout);
  CHECK(joined.out(0));
  CHECK(joined.stat("ejections_enforced_consecutive_5xx") == 1);
  joined.transport(1, TryResult::connect_failed, 4);
  joined.transport(1, TryResult::success);  // a TCP connection: all there is
  joined.transport(1, TryResult::connect_failed, 4);
  CHECK_FALSE(joined.out(1));

  model::OutlierDetection c = half();
  c.split_external_local_origin_errors = true;
  Detection split(4, c);
  split.transport(0, TryResult::connect_failed, 4);
  split.answers(0, 200);  // says nothing of connecting
  split.transport(0, TryResult::reset);
  CHECK(split.out(0));
  CHECK(split.stat("ejections_enforced_consecutive_local_origin_failure") == 1);
  split.transport(1, TryResult::connect_failed, 4);
  split.transport(1, TryResult::success, 1, false);
  split.transport(1, TryResult::connect_failed, 4);
  CHECK_FALSE(split.out(1));
}

TEST_CASE("outlier: success rate below the mean by so many standard deviations") {
  // Envoy's own example: 50, 100, 100, 100, 100: mean 90, deviation 20, threshold 90 - 1.9 * 20 = 52.
  model::OutlierDetection c = half();
  c.consecutive_5xx = 1000;
  Detection d(5, c);
  for (size_t i = 0; i < 5; ++i) d.answers(i, 200, i == 0 ? 50 : 100);
  d.answers(0, 500, 50);
  CHECK(d.detector->rates(false).average == -1);
  d.wait(seconds(10) + milliseconds(10));
  CHECK(d.detector->rates(false).average == doctest::Approx(90));
  CHECK(d.detector->rates(false).ejection_threshold == doctest::Approx(52));
  CHECK(d.detector->rates(true).average == -1);
  CHECK(d.out(0));
  CHECK_FALSE(d.out(1));
  CHECK(d.hosts[0]->monitor().success_rate[0] == 50);
  CHECK(d.hosts[1]->monitor().success_rate[0] == 100);
  CHECK(d.stat("ejections_detected_success_rate") == 1);
  CHECK(d.stat("ejections_enforced_success_rate") == 1);
  // An interval without requests: nothing is known.
  d.wait(seconds(10));
  CHECK(d.detector->rates(false).average == -1);
  CHECK(d.hosts[1]->monitor().success_rate[0] == -1);
}

TEST_CASE("outlier: a success rate needs enough hosts with enough requests") {
  model::OutlierDetection c = half();
  c.consecutive_5xx = 1000;
  Detection d(5, c);
  for (size_t i = 0; i < 5; ++i) d.answers(i, 200, i == 4 ? 99 : 100);
  d.wait(seconds(10) + milliseconds(10));
  CHECK(d.detector->rates(false).average == -1);
}

TEST_CASE("outlier: failure percentage is enforced where asked") {
  for (uint32_t enforcing : {0u, 100u}) {
    model::OutlierDetection c = half();
    c.consecutive_5xx = 1000;
    c.enforcing_success_rate = 0;
    c.enforcing_failure_percentage = enforcing;
    Detection d(5, c);
    for (size_t i = 1; i < 5; ++i) d.answers(i, 500, 84), d.answers(i, 200, 16);
    d.answers(0, 500, 85);
    d.answers(0, 200, 15);
    d.wait(seconds(10) + milliseconds(10));
    CHECK(d.stat("ejections_detected_failure_percentage") == 1);
    CHECK(d.out(0) == (enforcing > 0));
    CHECK_FALSE(d.out(1));
  }
}

TEST_CASE("outlier: a host that leaves while it is ejected is not counted any more") {
  Detection d(4, half());
  d.answers(0, 500, 5);
  d.answers(1, 500, 4);
  CHECK(d.stat("ejections_active") == 1);
  HostVector rest(d.hosts.begin() + 1, d.hosts.end());
  d.detector->set_hosts(rest);
  CHECK(d.stat("ejections_active") == 0);
  d.answers(0, 500, 50);  // somebody still has it
  CHECK(d.stat("ejections_detected_consecutive_5xx") == 1);
  d.answers(1, 500);
  CHECK(d.out(1));
}

namespace {

struct Caller final : ext::Upstream::Callbacks {
  void on_connected(ext::Upstream& u) override { to = u.host_address().to_string(); }
  void on_connect_failed(ext::Upstream& u, ext::Upstream::Failure, std::string_view) override {
    to = u.host_address().to_string();
    failed = true;
  }
  void on_upstream_data(Buffer& data, bool) override { data.clear(); }
  void on_closed(ext::Connection&, const ext::CloseEvent&) override {}
  std::unique_ptr<ext::Upstream> upstream;
  std::string to;
  bool failed = false;
};

}  // namespace

TEST_CASE("outlier: a host that refuses connections is left alone for a while") {
  sim::SimNet net(3);
  sim::World world(net);
  sim::SimLoop loop(net);
  const Address good = *Address::parse("10.0.0.1:80"), bad = *Address::parse("10.0.0.2:80");
  world.server(good, [](sim::Peer&) {});
  stats::Store store(2);
  {
    ClusterDirectory directory(loop, store, {.seed = 1});
    model::ConfigSet config;
    auto c = std::make_shared<model::Cluster>();
    c->name = "c";
    c->healthy_panic_threshold = 0;
    c->outlier_detection = half();
    auto& locality = c->localities.emplace_back();
    locality.endpoints.emplace_back().address = good;
    locality.endpoints.emplace_back().address = bad;
    config.clusters.push_back(c);
    auto manager = directory.make_worker(loop, 1, 1);
    REQUIRE(directory.apply(config).ok());
    loop.run_once(Duration(0));
    auto call = [&] {
      Caller caller;
      caller.upstream = manager->find("c")->connect({}, caller);
      REQUIRE(loop.run_until([&] { return !caller.to.empty(); }));
      CHECK(caller.failed == (caller.to == bad.to_string()));
      return caller.to;
    };
    std::map<std::string, int> seen;
    for (int i = 0; i < 10; ++i) ++seen[call()];
    CHECK(seen[bad.to_string()] == 5);
    loop.run_once(Duration(0));
    loop.run_once(Duration(0));
    const ClusterView view = directory.view().at(0);
    CHECK(view.outlier.has_value());
    CHECK(view.hosts[1].host->monitor().has(HostMonitor::failed_outlier_check));
    auto stat = [&](const std::string& name) {
      for (const auto& m : store.snapshot()) {
        if (m.name == "cluster.c." + name) return m.value;
      }
      return ~uint64_t{0};
    };
    CHECK(stat("membership_healthy") == 1);
    CHECK(stat("outlier_detection.ejections_active") == 1);
    CHECK(stat("membership_change") == 1);  // nobody came or went
    for (int i = 0; i < 20; ++i) CHECK(call() == good.to_string());
    world.server(bad, [](sim::Peer&) {});
    REQUIRE(loop.run_until([&] { return stat("membership_healthy") == 2; }));
    CHECK(stat("outlier_detection.ejections_active") == 0);
  }
  loop.run_until([&] { return loop.open_descriptors() == 0; });
}
