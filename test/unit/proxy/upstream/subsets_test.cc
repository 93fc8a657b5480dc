#include "proxy/upstream/subsets.h"

#include <doctest/doctest.h>

#include <map>
#include <set>

#include "proxy/upstream/cluster_stats.h"

using namespace sluice;
using namespace sluice::upstream;
using model::SubsetConfig;
using Fallback = SubsetConfig::Fallback;
using Criteria = ext::MetadataMatch::Criteria;

namespace {

using Fields = std::vector<model::LbMetadata::Field>;

HostPtr host(uint16_t port, Fields fields, uint32_t priority = 0,
             model::HealthStatus health = model::HealthStatus::healthy) {
  Host::Description d;
  d.address = Address(IpAddress::v4(0x0100007f), port);
  d.priority = priority;
  d.health = health;
  if (!fields.empty()) d.lb_metadata = std::make_shared<model::LbMetadata>(model::LbMetadata{fields});
  return std::make_shared<Host>(d, 1);
}

model::LbMetadata::Field text(const char* key, const char* value) {
  return {.key = key, .value = '"' + std::string(value) + '"'};
}
Criteria want(std::initializer_list<std::pair<const char*, const char*>> pairs) {
  Criteria out;
  for (const auto& [key, value] : pairs) out.emplace_back(key, '"' + std::string(value) + '"');
  return out;
}
SubsetConfig::Selector by(std::vector<std::string> keys, Fallback fallback = Fallback::unset,
                          std::vector<std::string> fallback_keys = {}) {
  return {.keys = std::move(keys), .fallback = fallback, .fallback_keys = std::move(fallback_keys)};
}

using Ports = std::set<uint16_t>;

struct World {
  explicit World(SubsetConfig subsets, HostVector hosts) { configure(std::move(subsets), std::move(hosts)); }
  void configure(SubsetConfig subsets, HostVector hosts) {
    config.lb.subsets = std::make_shared<SubsetConfig>(std::move(subsets));
    balancer.emplace(config.lb, LbEnvironment{random, lb_stats}, scope);
    update(std::move(hosts));
  }
  void update(HostVector hosts) {
    set = HostSet::make(config, hosts);
    balancer->update(set);
    stats.set(set->subsets);
  }
  uint16_t next(const ext::MetadataMatch& match) {
    const HostPtr* h = balancer->choose({.hash = {}, .metadata_match = &match});
    return h ? (*h)->address().port() : 0;
  }
  uint16_t next(const Criteria& criteria) { return next(ext::MetadataMatch{criteria, {}}); }
  // Whom some requests reach; 0: nobody.
  template <typename T>
  Ports all(const T& match) {
    Ports out;
    for (int i = 0; i < 30; ++i) out.insert(next(match));
    return out;
  }
  uint64_t stat(const char* name) { return store.root(0).scope("c").counter(name).slot_value(); }
  uint64_t gauge(const char* name) { return store.root(0).scope("c").gauge(name).slot_value(); }

  model::Cluster config;
  Random random{7};
  stats::Store store{1};
  stats::Scope scope = store.root(0).scope("c");
  LbStats lb_stats{scope};
  SubsetStats stats{scope};
  HostSetPtr set;
  std::optional<SubsetBalancer> balancer;
};

HostVector some_hosts() {
  return {host(1, {text("stage", "prod"), text("version", "v1")}),
          host(2, {text("stage", "prod"), text("version", "v1")}),
          host(3, {text("stage", "prod"), text("version", "v2")}), host(4, {text("version", "v2")}),
          host(5, {})};
}

}  // namespace

TEST_CASE("subsets: all hosts that have the values, and nobody else") {
  World w({.selectors = {by({"version"}), by({"stage", "version"})}}, some_hosts());
  CHECK(w.all(want({{"version", "v1"}})) == Ports{1, 2});
  CHECK(w.all(want({{"version", "v2"}})) == Ports{3, 4});
  CHECK(w.all(want({{"stage", "prod"}, {"version", "v2"}})) == Ports{3});
  CHECK(w.stat("lb_subsets_selected") == 90);
  // No subset, no selector, too many keys, nothing asked for: NO_FALLBACK.
  CHECK(w.all(want({{"version", "v3"}})) == Ports{0});
  CHECK(w.all(want({{"stage", "prod"}})) == Ports{0});
  CHECK(w.all(want({{"a", "b"}, {"version", "v1"}})) == Ports{0});
  CHECK(w.all(Criteria{}) == Ports{0});
  CHECK(w.stat("lb_subsets_selected") == 90);
  CHECK(w.stat("lb_subsets_fallback") == 0);
  CHECK(w.gauge("lb_subsets_active") == 4);
}

TEST_CASE("subsets: a text is not a number that looks the same") {
  World w({.selectors = {by({"v"})}}, {host(1, {text("v", "1")}), host(2, {{.key = "v", .value = "1"}})});
  CHECK(w.all(want({{"v", "1"}})) == Ports{1});
  CHECK(w.all(Criteria{{"v", "1"}}) == Ports{2});
}

TEST_CASE("subsets: fallback policies") {
  SubsetConfig config{.selectors = {by({"version"})}, .fallback = Fallback::any};
  World w(config, some_hosts());
  CHECK(w.all(want({{"version", "v3"}})) == Ports{1, 2, 3, 4, 5});
  CHECK(w.all(Criteria{}) == Ports{1, 2, 3, 4, 5});
  CHECK(w.stat("lb_subsets_fallback") == 60);

  config.fallback = Fallback::default_subset;
  config.default_subset = want({{"stage", "prod"}});
  w.configure(config, some_hosts());
  CHECK(w.all(want({{"version", "v3"}})) == Ports{1, 2, 3});

  config.default_subset = want({{"stage", "dev"}});
  w.configure(config, some_hosts());
  CHECK(w.all(want({{"version", "v3"}})) == Ports{0});
  CHECK(w.stat("lb_subsets_fallback") == 90);

  config.panic_mode_any = true;
  w.configure(config, some_hosts());
  CHECK(w.all(want({{"version", "v3"}})) == Ports{1, 2, 3, 4, 5});
  CHECK(w.stat("lb_subsets_fallback") == 90);
  CHECK(w.stat("lb_subsets_fallback_panic") == 30);

  config.default_subset = {};  // everybody matches
  w.configure(config, some_hosts());
  CHECK(w.all(Criteria{}) == Ports{1, 2, 3, 4, 5});
}

TEST_CASE("subsets: a selector's own fallback goes before the cluster's") {
  SubsetConfig config{.fallback = Fallback::any, .default_subset = want({{"version", "v2"}})};
  config.selectors = {by({"a"}, Fallback::none), by({"b"}, Fallback::any),
                      by({"c"}, Fallback::default_subset),
                      by({"stage", "version"}, Fallback::keys, {"version"}), by({"version"}, Fallback::none)};
  World w(config, some_hosts());
  CHECK(w.all(want({{"a", "x"}})) == Ports{0});
  CHECK(w.all(want({{"b", "x"}})) == Ports{1, 2, 3, 4, 5});
  CHECK(w.all(want({{"c", "x"}})) == Ports{3, 4});
  CHECK(w.all(want({{"stage", "dev"}, {"version", "v1"}})) == Ports{1, 2});
  CHECK(w.all(want({{"stage", "dev"}, {"version", "v9"}})) == Ports{0});
  CHECK(w.stat("lb_subsets_fallback") == 0);  // the cluster's alone
  CHECK(w.all(want({{"d", "x"}})) == Ports{1, 2, 3, 4, 5});
  CHECK(w.stat("lb_subsets_fallback") == 30);
}

TEST_CASE("subsets: the hosts of a subset have health and panic of their own") {
  using model::HealthStatus;
  World w({.selectors = {by({"v"})}, .fallback = Fallback::any},
          {host(1, {text("v", "a")}, 0, HealthStatus::unhealthy), host(2, {text("v", "a")}),
           host(3, {text("v", "a")}), host(4, {text("v", "b")}, 0, HealthStatus::unhealthy),
           host(5, {text("v", "c")}, 1)});
  CHECK(w.all(want({{"v", "a"}})) == Ports{2, 3});
  CHECK(w.lb_stats.healthy_panic.slot_value() == 0);
  CHECK(w.all(want({{"v", "b"}})) == Ports{4});
  CHECK(w.lb_stats.healthy_panic.slot_value() == 30);
  CHECK(w.all(want({{"v", "c"}})) == Ports{5});
  CHECK(w.lb_stats.healthy_panic.slot_value() == 30);
}

TEST_CASE("subsets: a list stands for each of its elements with list_as_any alone") {
  const model::LbMetadata::Field list{
      .key = "v", .value = "[\"a\",\"b\"]", .list = true, .elements = {"\"a\"", "\"b\""}};
  const HostVector hosts{host(1, {list, text("w", "x")}), host(2, {text("v", "a"), text("w", "x")})};
  SubsetConfig config{.selectors = {by({"v"}), by({"v", "w"})}, .fallback = Fallback::default_subset};
  config.default_subset = want({{"v", "b"}});
  World w(config, hosts);
  CHECK(w.all(want({{"v", "a"}})) == Ports{2});
  CHECK(w.all(Criteria{{"v", list.value}}) == Ports{1});
  CHECK(w.all(Criteria{}) == Ports{0});

  config.list_as_any = true;
  w.configure(config, hosts);
  CHECK(w.all(want({{"v", "a"}})) == Ports{1, 2});
  CHECK(w.all(want({{"v", "b"}, {"w", "x"}})) == Ports{1});
  CHECK(w.all(Criteria{}) == Ports{1});  // of the default subset
  CHECK(w.gauge("lb_subsets_active") == 4);
}

TEST_CASE("subsets: a list that has a value twice, or none") {
  SubsetConfig config{.selectors = {by({"v"})}, .list_as_any = true};
  const model::LbMetadata::Field twice{.key = "v", .value = "[1,1]", .list = true, .elements = {"1", "1"}};
  const model::LbMetadata::Field none{.key = "v", .value = "[]", .list = true};
  World w(config, {host(1, {twice}), host(2, {{.key = "v", .value = "1"}}), host(3, {none})});
  REQUIRE(w.set->subsets->subsets().size() == 1);
  CHECK(w.set->subsets->subsets()[0].hosts->size() == 2);
}

TEST_CASE("subsets: fallback_list is tried in its order") {
  ext::MetadataMatch match{
      want({{"version", "v9"}}),
      std::vector<Criteria>{want({{"version", "v8"}}), want({{"version", "v2"}}), want({{"version", "v1"}})}};
  match.criteria.insert(match.criteria.begin(), {"fallback_list", "[]"});
  SubsetConfig config{.selectors = {by({"version"})}, .fallback_list = true};
  World w(config, some_hosts());
  CHECK(w.all(match) == Ports{3, 4});
  config.fallback_list = false;  // then it is a key like any other
  w.configure(config, some_hosts());
  CHECK(w.all(match) == Ports{0});
}

TEST_CASE("subsets: keys that no selector has count unless allow_redundant_keys says so") {
  SubsetConfig config{.selectors = {by({"stage", "version"}), by({"version"})}, .allow_redundant_keys = true};
  World w(config, some_hosts());
  CHECK(w.all(want({{"a", "x"}, {"stage", "prod"}, {"version", "v2"}})) == Ports{3});
  CHECK(w.all(want({{"a", "x"}, {"version", "v2"}})) == Ports{3, 4});
  CHECK(w.all(want({{"a", "x"}, {"stage", "dev"}, {"version", "v2"}})) == Ports{0});
  CHECK(w.all(want({{"a", "x"}})) == Ports{0});
}

TEST_CASE("subsets: single_host_per_subset keeps one host, of the first priority, whatever its health") {
  SubsetConfig config{.selectors = {by({"v"})}};
  config.selectors[0].single_host = true;
  World w(config, {host(3, {text("v", "a")}, 1), host(1, {text("v", "a")}, 0, model::HealthStatus::unhealthy),
                   host(2, {text("v", "a")}), host(4, {text("v", "b")}, 1)});
  CHECK(w.all(want({{"v", "a"}})) == Ports{1});
  CHECK(w.all(want({{"v", "b"}})) == Ports{4});
  CHECK(w.lb_stats.healthy_panic.slot_value() == 0);
  CHECK(w.gauge("lb_subsets_single_host_per_subset_duplicate") == 1);
  w.update({host(4, {text("v", "b")}, 1)});
  CHECK(w.gauge("lb_subsets_single_host_per_subset_duplicate") == 0);
}

TEST_CASE("subsets: come and go with their hosts; those that stay go on where they were") {
  World w({.selectors = {by({"version"})}}, some_hosts());
  CHECK(w.gauge("lb_subsets_active") == 2);
  CHECK(w.stat("lb_subsets_created") == 2);
  HostVector hosts = some_hosts();
  const uint16_t first = w.next(want({{"version", "v1"}}));
  hosts.push_back(host(6, {text("version", "v3")}));
  w.update(hosts);
  CHECK(w.next(want({{"version", "v1"}})) != first);
  CHECK(w.next(want({{"version", "v1"}})) == first);
  CHECK(w.all(want({{"version", "v3"}})) == Ports{6});
  CHECK(w.stat("lb_subsets_created") == 3);
  w.update({hosts[0], hosts[5]});
  CHECK(w.all(want({{"version", "v1"}})) == Ports{1});
  CHECK(w.all(want({{"version", "v2"}})) == Ports{0});
  CHECK(w.gauge("lb_subsets_active") == 2);
  CHECK(w.stat("lb_subsets_removed") == 1);
  w.stats.set(nullptr);
  CHECK(w.gauge("lb_subsets_active") == 0);
  CHECK(w.stat("lb_subsets_removed") == 3);
}

TEST_CASE("subsets: locality weights only where they are asked for, and scaled where that is") {
  auto at = [](uint16_t port, const char* zone, uint32_t weight, const char* v) {
    Host::Description d;
    d.address = Address(IpAddress::v4(0x0100007f), port);
    d.locality = std::make_shared<HostLocality>(HostLocality{"", zone, "", weight});
    d.lb_metadata = std::make_shared<model::LbMetadata>(model::LbMetadata{{text("v", v)}});
    return std::make_shared<Host>(d, 1);
  };
  // Zone x has half of the weight, and one of its four hosts is in the subset; zone y's are all in it.
  const HostVector hosts{at(1, "x", 100, "a"), at(2, "x", 100, "b"), at(3, "x", 100, "b"),
                         at(4, "x", 100, "b"), at(5, "y", 100, "a"), at(6, "y", 100, "a")};
  auto share_of_1 = [&](World& w) {
    int n = 0;
    for (int i = 0; i < 1000; ++i) n += w.next(want({{"v", "a"}})) == 1;
    return n;
  };
  SubsetConfig config{.selectors = {by({"v"})}};
  World w(config, {});
  w.config.lb.locality_weighted = true;
  w.configure(config, hosts);
  CHECK(share_of_1(w) / 10 == 33);
  config.locality_weight_aware = true;
  w.configure(config, hosts);
  CHECK(share_of_1(w) == 500);
  config.scale_locality_weight = true;
  w.configure(config, hosts);
  CHECK(share_of_1(w) == 200);  // 25 : 100
}

TEST_CASE("subsets: each has a table of its own for RING_HASH and MAGLEV") {
  for (const auto policy : {model::LbPolicy::ring_hash, model::LbPolicy::maglev}) {
    World w({}, {});
    w.config.lb.policy = policy;
    w.configure({.selectors = {by({"version"})}, .fallback = Fallback::any}, some_hosts());
    const ext::MetadataMatch v1{want({{"version", "v1"}}), {}};
    std::set<uint16_t> seen;
    for (uint64_t hash = 0; hash < 60; ++hash) {
      const ext::LbContext context{.hash = hash * 0x9e3779b97f4a7c15ull, .metadata_match = &v1};
      const uint16_t port = (*w.balancer->choose(context))->address().port();
      CHECK((*w.balancer->choose(context))->address().port() == port);
      seen.insert(port);
    }
    CHECK(seen == Ports{1, 2});
  }
}
