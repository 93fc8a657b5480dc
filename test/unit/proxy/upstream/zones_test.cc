#include "proxy/upstream/zones.h"

#include <doctest/doctest.h>

#include <map>

#include "proxy/upstream/load_balancer.h"
#include "test/sim/sim_loop.h"

using namespace sluice;
using namespace sluice::upstream;
using model::HealthStatus;
using Outcome = ZoneRouting::Outcome;

namespace {

// The port: 100 for zone a, 200 for b ..., and a number.
HostPtr host(char zone, uint16_t number, HealthStatus health = HealthStatus::healthy, uint32_t weight = 1) {
  Host::Description d;
  d.address = Address(IpAddress::v4(0x0100007f), static_cast<uint16_t>((zone - 'a' + 1) * 100 + number));
  d.health = health;
  d.weight = weight;
  d.locality = std::make_shared<HostLocality>(HostLocality{"", std::string(1, zone), "", 0});
  return std::make_shared<Host>(d, 1);
}

// "aab": two in zone a, one in b. A capital letter: an unhealthy one.
HostVector hosts(std::string_view zones) {
  HostVector out;
  for (char zone : zones) {
    const bool well = zone >= 'a';
    out.push_back(host(static_cast<char>(zone | 0x20), static_cast<uint16_t>(out.size()),
                       well ? HealthStatus::healthy : HealthStatus::unhealthy));
  }
  return out;
}

struct World {
  World(std::string_view proxies, std::string_view members, const char* own = "a") : World(hosts(members)) {
    location.locality.zone = own;
    location.proxies = HostSet::make({}, hosts(proxies));
  }
  explicit World(HostVector m) : members(std::move(m)) {}

  const ZoneRouting& routing() {
    set = HostSet::make(config, members, &location);
    return *set->zones;
  }
  // Of a thousand requests, by zone; 0: nobody.
  std::map<char, int> take() {
    routing();
    LoadBalancer lb(config.lb, {random, stats});
    lb.update(set);
    std::map<char, int> out;
    for (int i = 0; i < 1000; ++i) {
      const HostPtr* h = lb.choose({});
      ++out[h ? static_cast<char>('a' + (*h)->address().port() / 100 - 1) : '0'];
    }
    return out;
  }

  HostVector members;
  model::Cluster config;
  ProxyLocation location;
  HostSetPtr set;
  Random random{5};
  stats::Store store{1};
  LbStats stats{store.root(0)};
};
using Shares = std::map<char, int>;

}  // namespace

TEST_CASE("zones: all stays where the zone has as many hosts as it has proxies") {
  World w("ab", "aaabbb");
  CHECK(w.routing().direct);
  CHECK(w.take() == Shares{{'a', 1000}});
  CHECK(w.stats.zone_routing_all_directly.slot_value() == 1000);
}

TEST_CASE("zones: what is too much goes where there is room") {
  // Two thirds of the requests come from zone a, which has a sixth of the hosts: a quarter of them may stay. Zone b has
  // just enough of its own.
  World w("aab", "abbccc");
  CHECK(w.routing().stays == 2499);
  CHECK(w.routing().residual == std::vector<uint64_t>{0, 0, 5000});
  Shares s = w.take();
  CHECK(s['a'] > 200);
  CHECK(s['a'] < 300);
  CHECK(s['b'] == 0);
  CHECK(w.stats.zone_routing_sampled.slot_value() == static_cast<uint64_t>(s['a']));
  CHECK(w.stats.zone_routing_cross_zone.slot_value() == 1000u - static_cast<unsigned>(s['a']));
}

TEST_CASE("zones: a zone without hosts sends all of it elsewhere") {
  World w("ab", "bbbccc");
  CHECK(w.routing().stays == 0);
  Shares s = w.take();
  CHECK(s['a'] == 0);
  CHECK(s['b'] == 0);  // has no more than its own share
  CHECK(s['c'] == 1000);
}

TEST_CASE("zones: only healthy hosts are room") {
  CHECK(World("ab", "aAAbbbb").routing().direct == false);
  World w("ab", "aaaaaBbb");
  w.config.healthy_panic_threshold = 0;
  CHECK(w.take() == Shares{{'a', 1000}});
}

TEST_CASE("zones: what keeps them out of it") {
  CHECK(World("ab", "aaaaaa").routing().outcome == Outcome::off);  // one zone of hosts
  CHECK(World("aa", "aaabbb").routing().outcome == Outcome::off);  // one zone of proxies
  CHECK(World("bc", "aaabbb").routing().outcome ==
        Outcome::local_cluster_not_ok);  // this one is not among them
  CHECK(World("ab", "aaabbb", "").routing().outcome == Outcome::local_cluster_not_ok);
  CHECK(World("ab", "aabbb").routing().outcome == Outcome::too_small);
  World w("ab", "aabbb");
  w.config.lb.zones.min_cluster_size = 5;
  CHECK(w.routing().outcome == Outcome::on);
  w.location.proxies = nullptr;
  CHECK(HostSet::make(w.config, w.members, &w.location)->zones == nullptr);
  w.config.lb.policy = model::LbPolicy::maglev;
  w.location.proxies = HostSet::make({}, hosts("ab"));
  CHECK(HostSet::make(w.config, w.members, &w.location)->zones == nullptr);
}

TEST_CASE("zones: routing_enabled is the share of requests that they decide") {
  World w("ab", "aaabbb");
  w.config.lb.zones.enabled_percent = 20;
  Shares s = w.take();
  CHECK(s['a'] > 540);  // 200 and half of 800
  CHECK(s['a'] < 660);
  w.config.lb.zones.enabled_percent = 0;
  CHECK(w.take()['b'] == doctest::Approx(500).epsilon(0.01));
}

TEST_CASE("zones: forced to stay") {
  World w("aab", "abbccc");
  w.config.lb.zones.force_local_min_size = 2;
  CHECK_FALSE(w.routing().direct);
  w.config.lb.zones.force_local_min_size = 1;
  CHECK(w.take() == Shares{{'a', 1000}});
  World alone("aa", "abbccc");  // a forced one needs no second zone of proxies
  alone.config.lb.zones.force_local_min_size = 1;
  CHECK(alone.take() == Shares{{'a', 1000}});
}

TEST_CASE("zones: by weight") {
  World w({host('a', 1, HealthStatus::healthy, 4), host('b', 2), host('b', 3), host('b', 4), host('b', 5)});
  w.location = {.locality = {"", "a", ""}, .proxies = HostSet::make({}, hosts("ab"))};
  w.config.lb.zones.min_cluster_size = 1;
  CHECK_FALSE(w.routing().direct);
  w.config.lb.zones.by_weight = true;
  CHECK(w.routing().direct);
}

TEST_CASE("zones: the proxies are in panic") {
  World w("aABBb", "aaabbb");
  CHECK(w.routing().local_panic);
  Shares s = w.take();
  CHECK(s['b'] == doctest::Approx(500).epsilon(0.01));
  CHECK(w.stats.local_cluster_not_ok.slot_value() == 1000);
  w.config.lb.fail_traffic_on_panic = true;
  CHECK(w.take() == Shares{{'0', 1000}});
}

TEST_CASE("slow start: a host's share grows with its age") {
  sim::SimNet net(1);
  sim::SimLoop loop(net);
  auto at = [&](Duration age) {
    net.advance_to(loop.now() + age);
    loop.run_once(Duration{});
  };
  Random random(5);
  stats::Store store(1);
  LbStats stats(store.root(0));
  for (const auto policy : {model::LbPolicy::round_robin, model::LbPolicy::least_request}) {
    const HostVector both{host('a', 1), host('b', 2)};
    model::Cluster config;
    config.lb.policy = policy;
    config.lb.slow_start.window = std::chrono::seconds(100);
    LoadBalancer lb(config.lb, {random, stats, &loop});
    auto share = [&] {  // of the younger one, in percent of the other's
      int n = 0;
      for (int i = 0; i < 10'000; ++i) n += (*lb.choose({}))->address().port() == 202;
      return 100.0 * n / (10'000 - n);
    };
    both[1]->monitor().healthy_since = loop.now();
    lb.update(HostSet::make(config, both));
    CHECK(share() == doctest::Approx(10).epsilon(0.1));  // min_weight_percent
    at(std::chrono::seconds(50));
    CHECK(share() == doctest::Approx(50).epsilon(0.05));
    at(std::chrono::seconds(60));
    CHECK(share() == doctest::Approx(100).epsilon(0.05));
  }
}

TEST_CASE("slow start: aggression bends the curve, the minimum cuts it") {
  sim::SimNet net(1);
  sim::SimLoop loop(net);
  Random random(5);
  stats::Store store(1);
  LbStats stats(store.root(0));
  const HostVector both{host('a', 1), host('b', 2)};
  both[1]->monitor().healthy_since = loop.now();
  net.advance_to(loop.now() + std::chrono::seconds(25));
  loop.run_once(Duration{});
  auto share = [&](double aggression, double minimum) {
    model::Cluster config;
    config.lb.slow_start = {
        .window = std::chrono::seconds(100), .aggression = aggression, .minimum = minimum};
    LoadBalancer lb(config.lb, {random, stats, &loop});
    lb.update(HostSet::make(config, both));
    int n = 0;
    for (int i = 0; i < 10'000; ++i) n += (*lb.choose({}))->address().port() == 202;
    return 100.0 * n / (10'000 - n);
  };
  CHECK(share(1, 0.1) == doctest::Approx(25).epsilon(0.05));
  CHECK(share(2, 0.1) == doctest::Approx(50).epsilon(0.05));
  CHECK(share(1, 0.4) == doctest::Approx(40).epsilon(0.05));
}
