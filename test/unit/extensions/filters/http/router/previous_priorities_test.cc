#include "extensions/filters/http/router/previous_priorities.h"

#include <doctest/doctest.h>

using namespace sluice;
using extensions::router::PreviousPriorities;
using Shares = std::vector<uint32_t>;

namespace {

Shares healthy(PreviousPriorities& p, Shares available) {
  const ext::PriorityShares in{.healthy = available, .degraded = Shares(available.size())};
  const ext::PriorityShares* out = p.load(in);
  return out ? out->healthy : Shares{};
}

}  // namespace

TEST_CASE("previous priorities: those that were tried are left out, until all were") {
  PreviousPriorities p(1);
  CHECK(healthy(p, {100, 100}).empty());
  p.tried(0);
  CHECK(healthy(p, {100, 100}) == Shares{0, 100});
  p.tried(1);
  CHECK(healthy(p, {100, 100}) == Shares{100, 0});  // from the beginning
  p.tried(0);
  CHECK(healthy(p, {100, 100}) == Shares{0, 100});
}

TEST_CASE("previous priorities: update_frequency tries go by before anything changes") {
  PreviousPriorities p(2);
  p.tried(0);
  CHECK(healthy(p, {100, 100, 100}).empty());
  p.tried(0);
  CHECK(healthy(p, {100, 100, 100}) == Shares{0, 100, 0});
  p.tried(1);
  CHECK(healthy(p, {100, 100, 100}) == Shares{0, 100, 0});
  p.tried(1);
  CHECK(healthy(p, {100, 100, 100}) == Shares{0, 0, 100});
}

TEST_CASE("previous priorities: load follows what is available, and gives 100 in all") {
  PreviousPriorities p(1);
  p.tried(0);
  CHECK(healthy(p, {100, 30, 60}) == Shares{0, 34, 66});  // 33 and 66, then the rest to the first
  CHECK(healthy(p, {100, 0, 20}) == Shares{0, 0, 100});
  // Nobody is left: all are considered again. Nobody is there at all: the cluster's own idea.
  CHECK(healthy(p, {50, 0, 0}) == Shares{100, 0, 0});
  p.tried(0);
  CHECK(healthy(p, {0, 0, 0}).empty());
}

TEST_CASE("previous priorities: degraded hosts of what is left count") {
  PreviousPriorities p(1);
  p.tried(0);
  const ext::PriorityShares* load = p.load({.healthy = {100, 0}, .degraded = {0, 70}});
  REQUIRE(load != nullptr);
  CHECK(load->healthy == Shares{0, 0});
  CHECK(load->degraded == Shares{0, 100});
}

TEST_CASE("previous priorities: priorities come and go between two tries") {
  PreviousPriorities p(2);
  p.tried(2);
  p.tried(0);
  CHECK(healthy(p, {100, 100}) == Shares{0, 100});
  p.tried(1);
  CHECK(healthy(p, {100, 100, 100}) == Shares{100, 0, 0});
}
