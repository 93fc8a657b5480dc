#include <doctest/doctest.h>

#include "proxy/upstream/host.h"

using namespace sluice;
using namespace sluice::upstream;
using model::HealthStatus;

namespace {

// "hhud": healthy, healthy, unhealthy, degraded; one string a priority.
HostSetPtr make(const std::vector<std::string>& priorities, uint32_t panic_threshold = 50) {
  model::Cluster config;
  config.healthy_panic_threshold = panic_threshold;
  HostVector hosts;
  uint16_t port = 1;
  for (uint32_t p = 0; p < priorities.size(); ++p) {
    model::Locality locality;
    locality.priority = p;
    config.localities.push_back(locality);
    for (char c : priorities[p]) {
      HealthStatus health = c == 'h'   ? HealthStatus::healthy
                            : c == 'd' ? HealthStatus::degraded
                                       : HealthStatus::unhealthy;
      Host::Description d;
      d.address = Address(IpAddress::v4(0x0100007f), port++);
      d.priority = p;
      d.health = health;
      hosts.push_back(std::make_shared<Host>(d, 1));
    }
  }
  return HostSet::make(config, hosts);
}

struct Loads {
  std::vector<uint32_t> healthy, degraded;
  std::vector<bool> panic;
};
Loads loads(const HostSetPtr& set) {
  Loads l;
  for (auto& p : set->priorities) {
    l.healthy.push_back(p.healthy_load);
    l.degraded.push_back(p.degraded_load);
    l.panic.push_back(p.panic);
  }
  return l;
}
using V = std::vector<uint32_t>;
using B = std::vector<bool>;

}  // namespace

// The table of Envoy's "Priority levels" page: share of healthy hosts in P=0 → traffic to P=0 and P=1.
TEST_CASE("priorities: a level keeps all load while 72 % of it is healthy") {
  auto hosts = [](int healthy) { return std::string(healthy, 'h') + std::string(100 - healthy, 'u'); };
  auto at = [&](int p0, int p1) { return loads(make({hosts(p0), hosts(p1)})).healthy; };
  CHECK(at(100, 100) == V{100, 0});
  CHECK(at(72, 100) == V{100, 0});
  CHECK(at(71, 100) == V{99, 1});
  CHECK(at(50, 100) == V{70, 30});
  CHECK(at(25, 100) == V{35, 65});
  CHECK(at(0, 100) == V{0, 100});
  CHECK(at(25, 25) == V{50, 50});
  CHECK(at(5, 65) == V{8, 92});   // 7:91 scaled up; what rounding leaves goes to the first
}

TEST_CASE("degraded hosts take what healthy ones cannot") {
  auto l = loads(make({"hhhhd"}));
  CHECK(l.healthy == V{100});
  CHECK(l.degraded == V{0});
  l = loads(make({"hd"}));
  CHECK(l.healthy == V{70});
  CHECK(l.degraded == V{30});
  CHECK(l.panic == B{false});
  l = loads(make({"dd"}));
  CHECK(l.healthy == V{0});
  CHECK(l.degraded == V{100});
  // Healthy hosts of a lower priority come before degraded ones of a higher priority.
  l = loads(make({"d", "h"}));
  CHECK(l.healthy == V{0, 100});
  CHECK(l.degraded == V{0, 0});
}

TEST_CASE("panic: below the threshold everybody is used") {
  auto l = loads(make({"hhuu"}));
  CHECK(l.healthy == V{100});
  CHECK(l.panic == B{false});   // 50 % is not below 50 %
  l = loads(make({"huuu"}));
  CHECK(l.panic == B{true});
  CHECK(l.healthy == V{100});
  l = loads(make({"huuu"}, 25));
  CHECK(l.panic == B{false});
  l = loads(make({"huuu"}, 0));
  CHECK(l.panic == B{false});
  l = loads(make({"uuuu"}, 0));
  CHECK(l.panic == B{false});
  CHECK(l.healthy == V{100});
  // No panic where the other priorities can carry everything.
  l = loads(make({"huuu", "hhhh"}));
  CHECK(l.panic == B{false, false});
  // All in panic: by the number of hosts.
  l = loads(make({"uuu", "u"}));
  CHECK(l.panic == B{true, true});
  CHECK(l.healthy == V{75, 25});
}

TEST_CASE("an empty cluster is in panic and has nobody") {
  auto set = make({""});
  CHECK(set->size() == 0);
  CHECK(loads(set).panic == B{true});
  CHECK(loads(set).healthy == V{100});
}

TEST_CASE("loads always add up to 100") {
  const char kinds[] = {'h', 'd', 'u'};
  for (int a = 0; a < 81; ++a) {
    for (int b = 0; b < 81; ++b) {
      std::vector<std::string> p(2);
      for (int i = 0, x = a, y = b; i < 4; ++i, x /= 3, y /= 3) p[0] += kinds[x % 3], p[1] += kinds[y % 3];
      auto l = loads(make(p));
      CAPTURE(p[0]);
      CAPTURE(p[1]);
      CHECK(l.healthy[0] + l.healthy[1] + l.degraded[0] + l.degraded[1] == 100);
    }
  }
}

TEST_CASE("weighted_priority_health: a priority's health is that of its weights") {
  model::Cluster config;
  HostVector hosts;
  for (uint16_t i = 0; i < 3; ++i) {
    Host::Description d;
    d.address = Address(IpAddress::v4(0x0100007f), i + 1);
    d.weight = i == 0 ? 8 : 1;
    d.priority = i == 2 ? 1 : 0;
    d.health = i == 1 ? HealthStatus::unhealthy : HealthStatus::healthy;
    hosts.push_back(std::make_shared<Host>(d, 1));
  }
  CHECK(loads(HostSet::make(config, hosts)).healthy == V{70, 30});  // one of two
  config.weighted_priority_health = true;
  CHECK(loads(HostSet::make(config, hosts)).healthy == V{100, 0});  // eight ninths, times 1.4
}
