#include "proxy/upstream/members.h"

#include <doctest/doctest.h>

using namespace sluice;
using namespace sluice::upstream;
using Flag = HostMonitor;

namespace {

HostPtr host(uint16_t port, model::HealthStatus health = model::HealthStatus::healthy) {
  Host::Description d;
  d.address = Address(IpAddress::v4(0x0100000a), port);
  d.health = health;
  return std::make_shared<Host>(d, 1);
}

model::Cluster checked() {
  model::Cluster c;
  c.type = model::ClusterType::strict_dns;
  c.health_check.emplace();
  return c;
}

}  // namespace

TEST_CASE("members: without health checks discovery alone decides") {
  const HostVector before = {host(1), host(2)}, found = {host(1)};
  CHECK(merge_members(model::Cluster(), before, found) == found);
}

TEST_CASE("members: who is well stays, and is the same when found again") {
  const HostPtr a = host(1), b = host(2), ill = host(3), marked = host(4, model::HealthStatus::unhealthy);
  ill->monitor().set(Flag::failed_active_check, true);
  HostVector now = merge_members(checked(), {a, b, ill, marked}, {a});
  REQUIRE(now == HostVector{a, b});
  CHECK_FALSE(a->monitor().has(Flag::pending_removal));
  CHECK(b->monitor().has(Flag::pending_removal));
  // Discovery makes an object of its own of it.
  now = merge_members(checked(), now, {a, host(2)});
  REQUIRE(now.size() == 2);
  CHECK(now[1]->identity() == b->identity());
  CHECK_FALSE(b->monitor().has(Flag::pending_removal));
  now = merge_members(checked(), now, {a});
  CHECK_FALSE(drop_failed_removals(now));
  b->monitor().set(Flag::failed_active_check, true);
  CHECK(drop_failed_removals(now));
  CHECK(now == HostVector{a});
}

TEST_CASE("members: health may be ignored, and hosts that are not asked do not stay") {
  model::Cluster c = checked();
  c.ignore_health_on_host_removal = true;
  CHECK(merge_members(c, {host(1)}, {}).empty());
  Host::Description d = host(1)->description();
  d.health_check_disabled = true;
  CHECK(merge_members(checked(), {std::make_shared<Host>(d, 1)}, {}).empty());
}

TEST_CASE("members: two hosts of one address are two") {
  const HostPtr a = host(1), b = host(1);
  CHECK(merge_members(checked(), {a, b}, {a, b}) == HostVector{a, b});
  const HostVector now = merge_members(checked(), {a, b}, {a});
  CHECK(now == HostVector{a, b});
}

TEST_CASE("members: a LOGICAL_DNS host is as well at its new address as it was") {
  model::Cluster c = checked();
  c.type = model::ClusterType::logical_dns;
  const HostPtr a = host(1), b = host(2);
  a->monitor().set(Flag::degraded_active_check, true);
  CHECK(merge_members(c, {a}, {b}) == HostVector{b});
  CHECK(b->monitor().has(Flag::degraded_active_check));
}
