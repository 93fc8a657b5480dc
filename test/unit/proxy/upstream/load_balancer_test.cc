#include "proxy/upstream/load_balancer.h"

#include <doctest/doctest.h>

#include <map>

using namespace sluice;
using namespace sluice::upstream;
using model::LbPolicy;

namespace {

constexpr uint64_t kSeed = 42;

HostPtr host(uint16_t port, uint32_t weight = 1, uint32_t priority = 0,
             model::HealthStatus health = model::HealthStatus::healthy) {
  Host::Description d;
  d.address = Address(IpAddress::v4(0x0100007f), port);
  d.weight = weight;
  d.priority = priority;
  d.health = health;
  return std::make_shared<Host>(d, 2);
}

struct Balancer {
  explicit Balancer(LbPolicy policy, const HostVector& hosts, uint64_t seed = kSeed, uint32_t choices = 2)
      : random(seed), lb(config(policy, choices), {random, stats}) {
    lb.update(HostSet::make({}, hosts));
  }
  static model::LoadBalancing config(LbPolicy policy, uint32_t choices) {
    model::LoadBalancing lb;
    lb.policy = policy;
    lb.choices = choices;
    return lb;
  }
  // The port stands for the host; 0: nobody.
  uint16_t next(const ext::LbContext& context = {}) {
    const HostPtr* h = lb.choose(context);
    return h ? (*h)->address().port() : 0;
  }
  std::map<uint16_t, int> take(int n) {
    std::map<uint16_t, int> count;
    while (n-- > 0) ++count[next()];
    return count;
  }
  stats::Store store{1};
  LbStats stats{store.root(0)};
  Random random;
  LoadBalancer lb;
};
using Counts = std::map<uint16_t, int>;

std::string picks(EdfSchedule& s, int n) {
  std::string out;
  while (n-- > 0) out += static_cast<char>('a' + s.pick());
  return out;
}

}  // namespace

TEST_CASE("EDF: deadlines at multiples of 1/weight, ties in order of insertion") {
  EdfSchedule s;
  s.build({1, 2}, 0);
  // b at 0.5, then both at 1.0: a was put in first.
  CHECK(picks(s, 6) == "babbab");
  s.build({1, 1, 1}, 0);
  CHECK(picks(s, 6) == "abcabc");
  s.build({5, 1}, 0);
  CHECK(picks(s, 12) == "aaaabaaaaaba");
  s.build({1, 2, 3}, 0);
  CHECK(picks(s, 6) == "cbcabc");
}

TEST_CASE("EDF: skipping is the same as picking and not looking") {
  for (uint64_t skip : {0, 1, 2, 3, 7, 50, 99, 1000}) {
    CAPTURE(skip);
    EdfSchedule a, b;
    a.build({3, 7, 2}, 0);
    for (uint64_t i = 0; i < skip; ++i) a.pick();
    b.build({3, 7, 2}, skip);
    std::map<uint32_t, int> x, y;
    for (int i = 0; i < 24; ++i) ++x[a.pick()], ++y[b.pick()];
    CHECK(x == y);
  }
}

TEST_CASE("EDF: every run of sum(weights) picks is exact, wherever it starts") {
  for (uint64_t skip = 0; skip < 60; ++skip) {
    CAPTURE(skip);
    EdfSchedule s;
    s.build({6, 4}, skip);
    for (int cycle = 0; cycle < 5; ++cycle) {
      std::map<uint32_t, int> n;
      for (int i = 0; i < 10; ++i) ++n[s.pick()];
      CHECK(n == std::map<uint32_t, int>{{0, 6}, {1, 4}});
    }
  }
}

TEST_CASE("EDF: exact over every cycle, also after a million picks") {
  EdfSchedule s;
  s.build({6, 4, 3}, 1'000'000);
  for (int cycle = 0; cycle < 1000; ++cycle) {
    std::map<uint32_t, int> n;
    for (int i = 0; i < 13; ++i) ++n[s.pick()];
    REQUIRE(n == std::map<uint32_t, int>{{0, 6}, {1, 4}, {2, 3}});
  }
}

TEST_CASE("EDF: a weight that changes counts from its next turn") {
  EdfSchedule s;
  s.build({1, 1}, 0);
  auto weight = [](uint32_t i) { return i == 0 ? 1.0 : 3.0; };
  std::map<uint32_t, int> n;
  for (int i = 0; i < 4000; ++i) ++n[s.pick(weight)];
  CHECK(n[1] > 2990);
  CHECK(n[1] < 3010);
}

TEST_CASE("ROUND_ROBIN with equal weights is a rotation that starts anywhere") {
  std::map<uint16_t, int> first;
  for (uint64_t seed = 0; seed < 100; ++seed) {
    Balancer b(LbPolicy::round_robin, {host(1), host(2), host(3)}, seed);
    uint16_t a = b.next();
    ++first[a];
    for (int i = 1; i < 7; ++i) REQUIRE(b.next() == (a - 1 + i) % 3 + 1);
  }
  CHECK(first.size() == 3);
}

TEST_CASE("ROUND_ROBIN goes on where it was when a host is added") {
  HostVector hosts{host(1), host(2), host(3)};
  Balancer b(LbPolicy::round_robin, hosts);
  b.take(2);
  hosts.push_back(host(4));
  b.lb.update(HostSet::make({}, hosts));
  CHECK(b.take(400) == Counts{{1, 100}, {2, 100}, {3, 100}, {4, 100}});
}

TEST_CASE("ROUND_ROBIN with weights 6:4 gives 6:4 in every run of ten") {
  Balancer b(LbPolicy::round_robin, {host(1, 6), host(2, 4)});
  CAPTURE(kSeed);
  for (int i = 0; i < 100; ++i) REQUIRE(b.take(10) == Counts{{1, 6}, {2, 4}});
}

TEST_CASE("RANDOM spreads evenly and knows no weights, as in Envoy") {
  Balancer b(LbPolicy::random, {host(1, 1), host(2, 100)});
  CAPTURE(kSeed);
  auto n = b.take(10000);
  CHECK(n[1] > 4800);
  CHECK(n[1] < 5200);
}

TEST_CASE("LEAST_REQUEST prefers the host with fewer connections, over all threads") {
  HostVector hosts{host(1), host(2)};
  // Another thread's connections count too.
  for (int i = 0; i < 5; ++i) HostCounters::add(hosts[0]->counters(1).rq_active);
  Balancer b(LbPolicy::least_request, hosts);
  CAPTURE(kSeed);
  auto n = b.take(10000);
  // Host 1 is taken only when both samples are host 1: a quarter.
  CHECK(n[1] > 2300);
  CHECK(n[1] < 2700);
  Balancer many(LbPolicy::least_request, hosts, kSeed, 16);
  CHECK(many.take(1000)[1] < 5);
}

TEST_CASE("LEAST_REQUEST with weights divides them by the connections") {
  HostVector hosts{host(1, 1), host(2, 3)};
  Balancer b(LbPolicy::least_request, hosts);
  auto n = b.take(4000);
  CHECK(n[2] > 2980);
  CHECK(n[2] < 3020);
  for (int i = 0; i < 5; ++i) HostCounters::add(hosts[1]->counters(0).rq_active);   // 3/6 against 1
  n = b.take(3000);
  CHECK(n[1] > 1980);
  CHECK(n[1] < 2020);
}

TEST_CASE("load goes to priorities by their share") {
  HostVector hosts{host(1), host(2, 1, 0, model::HealthStatus::unhealthy), host(3, 1, 1)};
  Balancer b(LbPolicy::round_robin, hosts);
  CAPTURE(kSeed);
  auto n = b.take(10000);   // 70 : 30
  CHECK(n[1] > 6800);
  CHECK(n[1] < 7200);
  CHECK(n[2] == 0);
  CHECK(n[1] + n[3] == 10000);
}

TEST_CASE("panic uses unhealthy hosts and is counted; or fails where that is asked") {
  using model::HealthStatus;
  HostVector hosts{host(1), host(2, 1, 0, HealthStatus::unhealthy), host(3, 1, 0, HealthStatus::unhealthy)};
  Balancer b(LbPolicy::round_robin, hosts);
  CHECK(b.take(300) == Counts{{1, 100}, {2, 100}, {3, 100}});
  CHECK(b.stats.healthy_panic.slot_value() == 300);

  Random random(kSeed);
  model::LoadBalancing config;
  config.fail_traffic_on_panic = true;
  LoadBalancer failing(config, {random, b.stats});
  failing.update(HostSet::make({}, hosts));
  CHECK(failing.choose({}) == nullptr);
}

TEST_CASE("nobody to choose") {
  Balancer b(LbPolicy::round_robin, {});
  CHECK(b.next() == 0);
  CHECK(b.stats.healthy_panic.slot_value() == 1);   // as Envoy counts it
}

TEST_CASE("LEAST_REQUEST: a full scan finds the one with the fewest, equals in turn") {
  HostVector hosts;
  for (uint16_t i = 1; i <= 10; ++i) {
    hosts.push_back(host(i));
    if (i > 2) HostCounters::add(hosts.back()->counters(0).rq_active);
  }
  Random random(kSeed);
  model::LoadBalancing config;
  config.policy = LbPolicy::least_request;
  config.full_scan = true;
  stats::Store store(1);
  LbStats lb_stats(store.root(0));
  LoadBalancer lb(config, {random, lb_stats});
  lb.update(HostSet::make({}, hosts));
  Counts n;
  for (int i = 0; i < 1000; ++i) ++n[(*lb.choose({}))->address().port()];
  CHECK(n[1] + n[2] == 1000);
  CHECK(n[1] > 400);
  CHECK(n[2] > 400);
}

TEST_CASE("LEAST_REQUEST: active_request_bias is the power that the load has against the weights") {
  HostVector hosts{host(1, 1), host(2, 3)};
  for (int i = 0; i < 3; ++i) HostCounters::add(hosts[1]->counters(0).rq_active);
  auto share = [&](double bias) {  // of host 2, in thousandths
    Random random(kSeed);
    model::LoadBalancing config;
    config.policy = LbPolicy::least_request;
    config.active_request_bias = bias;
    stats::Store store(1);
    LbStats lb_stats(store.root(0));
    LoadBalancer lb(config, {random, lb_stats});
    lb.update(HostSet::make({}, hosts));
    int n = 0;
    for (int i = 0; i < 1000; ++i) n += (*lb.choose({}))->address().port() == 2;
    return n;
  };
  CHECK(share(0) == doctest::Approx(750).epsilon(0.02));  // 3 : 1
  CHECK(share(1) == doctest::Approx(429).epsilon(0.02));  // 3/4 : 1
  CHECK(share(2) == doctest::Approx(158).epsilon(0.04));  // 3/16 : 1
}

TEST_CASE("a retry asks again while its host is rejected, and takes the last one at the end") {
  Balancer b(LbPolicy::round_robin, {host(1), host(2), host(3)});
  int asked = 0;
  std::function<bool(const ext::UpstreamHost&)> reject = [&](const ext::UpstreamHost& h) {
    ++asked;
    return h.address().port() != 2;
  };
  CHECK(b.next({.hash = {}, .metadata_match = nullptr, .reject = &reject, .max_attempts = 3}) == 2);
  asked = 0;
  reject = [&](const ext::UpstreamHost&) { return ++asked > 0; };
  CHECK(b.next({.hash = {}, .metadata_match = nullptr, .reject = &reject, .max_attempts = 3}) != 0);
  CHECK(asked == 3);
}

TEST_CASE("a retry's own priority load") {
  using model::HealthStatus;
  struct Fixed final : ext::RetryPriority {
    const ext::PriorityShares* load(const ext::PriorityShares& available) override {
      seen = available;
      return own ? &shares : nullptr;
    }
    ext::PriorityShares shares{.healthy = {0, 25, 50}, .degraded = {0, 0, 25}}, seen;
    bool own = true;
  } fixed;
  HostVector hosts{host(1), host(2, 1, 1), host(3, 1, 2), host(4, 1, 2, HealthStatus::degraded)};
  for (uint16_t port = 5; port < 8; ++port) hosts.push_back(host(port, 1, 2, HealthStatus::unhealthy));
  Balancer b(LbPolicy::round_robin, hosts);
  auto take = [&](int n) {
    Counts count;
    while (n-- > 0) ++count[b.next({.hash = {}, .metadata_match = nullptr, .retry_priority = &fixed})];
    return count;
  };
  Counts n = take(4000);
  CHECK(n[1] == 0);
  for (uint16_t port : {2, 4}) {
    CHECK(n[port] > 900);
    CHECK(n[port] < 1100);
  }
  CHECK(n[2] + n[3] + n[4] == 4000);
  CHECK(fixed.seen.healthy == std::vector<uint32_t>{100, 100, 28});  // one of five, by 140 percent
  CHECK(fixed.seen.degraded == std::vector<uint32_t>{0, 0, 28});
  fixed.own = false;
  CHECK(take(30) == Counts{{1, 30}});
}

namespace {

HostPtr in_zone(uint16_t port, const char* zone, uint32_t zone_weight, uint32_t weight = 1,
                model::HealthStatus health = model::HealthStatus::healthy) {
  Host::Description d = host(port, weight, 0, health)->description();
  d.locality = std::make_shared<const HostLocality>(HostLocality{"", zone, "", zone_weight});
  return std::make_shared<Host>(d, 1);
}

Counts by_locality(const HostVector& hosts, LbPolicy policy = LbPolicy::round_robin, int n = 7000) {
  model::Cluster config;
  config.lb.policy = policy;
  config.lb.locality_weighted = true;
  Random random(kSeed);
  stats::Store store(1);
  LbStats lb_stats(store.root(0));
  LoadBalancer lb(config.lb, {random, lb_stats});
  lb.update(HostSet::make(config, hosts));
  Counts out;
  for (int i = 0; i < n; ++i) {
    const HostPtr* h = lb.choose({});
    ++out[h != nullptr ? (*h)->address().port() : 0];
  }
  return out;
}

}  // namespace

TEST_CASE("locality weights: first a locality by its weight, then a host of it by its own") {
  // Zone a has weight 1, b 2, c 4.
  CHECK(by_locality({in_zone(1, "a", 1), in_zone(2, "b", 2), in_zone(3, "c", 4)}) ==
        Counts{{1, 1000}, {2, 2000}, {3, 4000}});
  CHECK(by_locality({in_zone(1, "a", 1), in_zone(2, "b", 2), in_zone(3, "c", 4), in_zone(4, "c", 4, 3)}) ==
        Counts{{1, 1000}, {2, 2000}, {3, 1000}, {4, 3000}});
  // A locality without a weight gets nothing; without any weight all hosts are equal.
  CHECK(by_locality({in_zone(1, "a", 1), in_zone(2, "b", 0)})[2] == 0);
  CHECK(by_locality({in_zone(1, "a", 0), in_zone(2, "b", 0)}) == Counts{{1, 3500}, {2, 3500}});
  auto n = by_locality({in_zone(1, "a", 1), in_zone(2, "b", 6)}, LbPolicy::random);
  CHECK(n[1] == 1000);
}

TEST_CASE("locality weights: a locality gives way once its health times 1.4 is below 1") {
  using enum model::HealthStatus;
  // Half of b is unhealthy: it counts 0.7 of its weight, 1 : 0.7.
  auto n = by_locality({in_zone(1, "a", 1), in_zone(2, "b", 1), in_zone(3, "b", 1, 1, unhealthy)},
                       LbPolicy::round_robin, 17000);
  CHECK(n == Counts{{1, 10000}, {2, 7000}});
  // Three of four: enough.
  n = by_locality({in_zone(1, "a", 1), in_zone(2, "b", 1), in_zone(3, "b", 1), in_zone(4, "b", 1),
                   in_zone(5, "b", 1, 1, unhealthy)},
                  LbPolicy::round_robin, 6000);
  CHECK(n[1] == 3000);
}

TEST_CASE("locality weights do not count in panic") {
  using enum model::HealthStatus;
  auto n = by_locality(
      {in_zone(1, "a", 1), in_zone(2, "b", 100, 1, unhealthy), in_zone(3, "b", 100, 1, unhealthy)},
      LbPolicy::round_robin, 3000);
  CHECK(n == Counts{{1, 1000}, {2, 1000}, {3, 1000}});
}
