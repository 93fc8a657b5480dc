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
      : random(seed),
        lb(policy, choices, false, random),
        scope(store.root(0)),
        panic(scope.counter("panic")) {
    lb.update(HostSet::make({}, hosts));
  }
  // The port stands for the host; 0: nobody.
  uint16_t next() {
    const HostPtr* h = lb.choose(panic);
    return h ? (*h)->address().port() : 0;
  }
  std::map<uint16_t, int> take(int n) {
    std::map<uint16_t, int> count;
    while (n-- > 0) ++count[next()];
    return count;
  }
  stats::Store store{1};
  Random random;
  LoadBalancer lb;
  stats::Scope scope;
  stats::Counter panic;
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
  CHECK(b.panic.slot_value() == 300);

  Random random(kSeed);
  LoadBalancer failing(LbPolicy::round_robin, 2, true, random);
  failing.update(HostSet::make({}, hosts));
  CHECK(failing.choose(b.panic) == nullptr);
}

TEST_CASE("nobody to choose") {
  Balancer b(LbPolicy::round_robin, {});
  CHECK(b.next() == 0);
  CHECK(b.panic.slot_value() == 1);   // as Envoy counts it
}
