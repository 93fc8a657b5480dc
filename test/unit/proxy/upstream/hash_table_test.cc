#include "proxy/upstream/hash_table.h"

#include <doctest/doctest.h>

#include <functional>
#include <set>
#include <string>

#include "core/xxhash.h"
#include "proxy/upstream/load_balancer.h"

using namespace sluice;
using namespace sluice::upstream;
using model::LbPolicy;
using model::LoadBalancing;

namespace {

enum Hosts { kEqual, kWeights, kLocalities };

// Five hosts, as the configuration of the Envoy that gave the vectors had them.
HostVector make_hosts(Hosts kind) {
  const uint32_t weights[] = {1, 3, 2, 5, 4};
  auto zone = [](const char* name, uint32_t weight) {
    return std::make_shared<const HostLocality>(HostLocality{"", name, "", weight});
  };
  const auto b = zone("b", 3), a = zone("a", 1), c = zone("c", 0);
  const std::shared_ptr<const HostLocality> zones[] = {b, b, a, a, c};
  HostVector out;
  for (uint32_t i = 0; i < 5; ++i) {
    Host::Description d;
    d.address = Address(IpAddress::v4(0x0001007f + ((i + 1) << 24)), static_cast<uint16_t>(18081 + i));
    d.hostname = std::string("host-") + static_cast<char>('a' + i) + ".example";
    if (kind == kWeights || (kind == kLocalities && (i == 2 || i == 3))) d.weight = weights[i];
    if (kind == kLocalities) d.locality = zones[i];
    out.push_back(std::make_shared<Host>(d, 1));
  }
  return out;
}

struct Vector {
  const char* name;
  LbPolicy policy;
  Hosts hosts;
  void (*configure)(LoadBalancing&);
  HashTable::Size size;
  const char* chosen;  // the host of "key-0", "key-1", ...
};

// Answers of Envoy 1.40 to requests whose header "key-<n>" was the only hash policy, and its ring_hash_lb.* and
// maglev_lb.* statistics.
const Vector kVectors[] = {
    {"ring",
     LbPolicy::ring_hash,
     kEqual,
     [](LoadBalancing& c) { (void)c; },
     {1025, 205, 205},
     "0340210012022302421403431134233200124012230231313132100300114101"
     "4401311213023234233233103424002122104343404422112333112422433101"},
    {"ring_weights",
     LbPolicy::ring_hash,
     kWeights,
     [](LoadBalancing& c) { c.ring.minimum_size = 50; },
     {60, 4, 20},
     "1424431323331333334030110430241134313413334334333134421342213333"
     "2141144342114432211141312043433444314314311343332134200014213233"},
    {"ring_capped",
     LbPolicy::ring_hash,
     kWeights,
     [](LoadBalancing& c) { c.ring.minimum_size = 6, c.ring.maximum_size = 13; },
     {13, 1, 4},
     "4421114244321433321414444423231444444133241343442424121412314444"
     "2111433312111442341444444313442344443141444413144144240441211331"},
    {"ring_murmur",
     LbPolicy::ring_hash,
     kEqual,
     [](LoadBalancing& c) { c.ring.murmur_hash_2 = true; },
     {1025, 205, 205},
     "0100133133142403111010101331011440133142430340413330122242220412"
     "0341231024323243110002241243301012100104242144144434401212231230"},
    {"ring_hostname",
     LbPolicy::ring_hash,
     kWeights,
     [](LoadBalancing& c) { c.use_hostname_for_hashing = true; },
     {1035, 69, 345},
     "1240411214122343442401443031333223134440311422224134411441131441"
     "3413324344311223033213233043334122243441301203323310243133334314"},
    {"ring_localities",
     LbPolicy::ring_hash,
     kLocalities,
     [](LoadBalancing& c) { c.locality_weighted = true; },
     {1036, 74, 389},
     "0130111011120303001103010130233200123012130131303132100300110001"
     "0101311013013031233033100100000110001013201302110333110000031110"},
    {"maglev",
     LbPolicy::maglev,
     kEqual,
     [](LoadBalancing& c) { (void)c; },
     {65537, 13107, 13108},
     "1031243133403223300432341033424110340103443423313130240201220022"
     "0220011001304110332101101432442112432412312134301332010043324024"},
    {"maglev_weights",
     LbPolicy::maglev,
     kWeights,
     [](LoadBalancing& c) { (void)c; },
     {65537, 4370, 21845},
     "1031243133403223303432341233433314344103443433333130443201210142"
     "3223331003344114332121141432442114432412342134321332010443324134"},
    {"maglev_small",
     LbPolicy::maglev,
     kWeights,
     [](LoadBalancing& c) { c.maglev_table_size = 101; },
     {101, 7, 33},
     "1303144442142334414331443340412314303140341311331343433242431130"
     "3313141331424324341414113134142134132110033104431321323440414433"},
    {"maglev_hostname",
     LbPolicy::maglev,
     kWeights,
     [](LoadBalancing& c) { c.use_hostname_for_hashing = true; },
     {65537, 4370, 21845},
     "3343422131124431433234133333144314434322131330111332113341423333"
     "1440423332442113143214320244303133443140332033303432134343344032"},
    {"maglev_localities",
     LbPolicy::maglev,
     kLocalities,
     [](LoadBalancing& c) { c.locality_weighted = true; },
     {65537, 4682, 24576},
     "1011203131103203300130311031011110010103313111110110100201010020"
     "0220011001101110330101101010102110332011310113301310010010301030"},
};

struct Balancer {
  Balancer(const LoadBalancing& lb, HostVector h)
      : hosts(std::move(h)), random(1), balancer(lb, {random, stats}) {
    config.lb = lb;
    balancer.update(HostSet::make(config, hosts));
  }
  // The index of the host; -1: nobody.
  int next(const ext::LbContext& context) {
    const HostPtr* h = balancer.choose(context);
    return h == nullptr ? -1 : static_cast<int>(std::ranges::find(hosts, *h) - hosts.begin());
  }
  int of_key(const std::string& key) { return next({.hash = xxhash64(key)}); }

  HostVector hosts;
  model::Cluster config;
  Random random;
  stats::Store store{1};
  LbStats stats{store.root(0)};
  LoadBalancer balancer;
};

LoadBalancing with(LbPolicy policy) {
  LoadBalancing lb;
  lb.policy = policy;
  return lb;
}

}  // namespace

TEST_CASE("RING_HASH and MAGLEV choose the hosts that Envoy chooses") {
  for (const Vector& v : kVectors) {
    CAPTURE(v.name);
    LoadBalancing lb = with(v.policy);
    v.configure(lb);
    Balancer b(lb, make_hosts(v.hosts));
    std::string chosen;
    for (int i = 0; i < 128; ++i) chosen += static_cast<char>('0' + b.of_key("key-" + std::to_string(i)));
    CHECK(chosen == v.chosen);
    const HashTable::Size& size = b.balancer.hosts()->priorities[0].table->size();
    CHECK(size.size == v.size.size);
    CHECK(size.min_per_host == v.size.min_per_host);
    CHECK(size.max_per_host == v.size.max_per_host);
  }
}

TEST_CASE("MURMUR_HASH_2 is the hash of libstdc++") {
  std::string s;
  for (int i = 0; i < 40; ++i, s += static_cast<char>(200 + i))
    CHECK(murmur_hash2(s) == std::hash<std::string>()(s));
}

TEST_CASE("without a hash any host may be chosen") {
  for (LbPolicy policy : {LbPolicy::ring_hash, LbPolicy::maglev}) {
    Balancer b(with(policy), make_hosts(kEqual));
    std::set<int> seen;
    for (int i = 0; i < 200; ++i) seen.insert(b.next({}));
    CHECK(seen.size() == 5);
  }
}

TEST_CASE("a hash_key in the metadata takes the place of the address") {
  HostVector hosts = make_hosts(kEqual), moved;
  for (int i = 0; i < 5; ++i) {
    Host::Description d = hosts[i]->description();
    d.hash_key = hosts[4 - i]->address().to_string();
    moved.push_back(std::make_shared<Host>(d, 1));
  }
  Balancer plain(with(LbPolicy::maglev), hosts), keyed(with(LbPolicy::maglev), moved);
  for (int i = 0; i < 50; ++i) {
    const std::string key = "key-" + std::to_string(i);
    CHECK(keyed.of_key(key) == 4 - plain.of_key(key));
  }
}

TEST_CASE("a rejected host: the next point of the ring, another place of the table") {
  for (LbPolicy policy : {LbPolicy::ring_hash, LbPolicy::maglev}) {
    Balancer b(with(policy), make_hosts(kEqual));
    int others = 0;
    for (int i = 0; i < 100; ++i) {
      const uint64_t hash = xxhash64("key-" + std::to_string(i));
      const int first = b.next({.hash = hash});
      int asked = 0;
      const std::function<bool(const ext::UpstreamHost&)> reject = [&](const ext::UpstreamHost& h) {
        ++asked;
        return h.address() == b.hosts[first]->address();
      };
      const int second = b.next({.hash = hash, .reject = &reject, .max_attempts = 5});
      others += second != first;
      CHECK(asked >= 2);
      CHECK(asked <= 5);
    }
    CHECK(others >= 95);  // five points in a row may be of one host
  }
}

TEST_CASE(
    "of an unhealthy host's share every other host gets some, and little else moves; in panic all hosts are "
    "in the table") {
  HostVector all = make_hosts(kEqual), some;
  for (int i = 0; i < 5; ++i) {
    Host::Description d = all[i]->description();
    if (i == 2) d.health = model::HealthStatus::unhealthy;
    some.push_back(std::make_shared<Host>(d, 1));
  }
  Balancer before(with(LbPolicy::ring_hash), all), after(with(LbPolicy::ring_hash), some);
  int moved = 0;
  std::set<int> heirs;
  for (int i = 0; i < 500; ++i) {
    const std::string key = "key-" + std::to_string(i);
    const int was = before.of_key(key), is = after.of_key(key);
    CHECK(is != 2);
    if (was == 2)
      heirs.insert(is);
    else
      moved += is != was;  // the others have more points each now: 256 instead of 205
  }
  CHECK(moved < 100);
  CHECK(heirs.size() == 4);
  for (int i = 0; i < 3; ++i) {
    Host::Description d = all[i]->description();
    d.health = model::HealthStatus::unhealthy;
    some[i] = std::make_shared<Host>(d, 1);
  }
  Balancer panic(with(LbPolicy::ring_hash), some);
  for (int i = 0; i < 128; ++i) {
    const std::string key = "key-" + std::to_string(i);
    CHECK(panic.of_key(key) == before.of_key(key));
  }
  CHECK(panic.stats.healthy_panic.slot_value() == 128);
}

TEST_CASE("the hash chooses the priority: h mod 100") {
  HostVector hosts = make_hosts(kEqual);
  for (int i = 0; i < 5; ++i) {
    Host::Description d = hosts[i]->description();
    d.priority = i < 2 ? 0 : 1;
    if (i == 0) d.health = model::HealthStatus::unhealthy;
    hosts[i] = std::make_shared<Host>(d, 1);
  }
  Balancer b(with(LbPolicy::maglev), hosts);  // 70 : 30
  for (uint64_t h = 0; h < 300; ++h) CHECK((b.next({.hash = h}) >= 2) == (h % 100 >= 70));
}

TEST_CASE(
    "hash_balance_factor: a host with more than its share is passed over, the same way for the same hash") {
  for (LbPolicy policy : {LbPolicy::ring_hash, LbPolicy::maglev}) {
    LoadBalancing lb = with(policy);
    lb.hash_balance_factor = 150;
    Balancer b(lb, make_hosts(kEqual)), unbounded(with(policy), make_hosts(kEqual));
    const uint64_t hash = xxhash64("key");
    const int first = b.next({.hash = hash});
    CHECK(first == unbounded.next({.hash = hash}));
    // 11 slots of 7 requests in all, a fifth of them a host: 3. At 3 it is full but not over.
    auto& active = b.hosts[first]->counters(0).rq_active;
    HostCounters::add(active, 3);
    for (int i = 0; i < 5; ++i) {
      if (i != first) HostCounters::add(b.hosts[i]->counters(0).rq_active, 1);
    }
    CHECK(b.next({.hash = hash}) == first);
    HostCounters::add(active, 3);  // 10 in all: 17 slots, 4 a host
    const int second = b.next({.hash = hash});
    CHECK(second != first);
    for (int i = 0; i < 5; ++i) CHECK(b.next({.hash = hash}) == second);
    // Everybody is over: the least loaded one.
    HostCounters::add(active, 100);
    for (int i = 0; i < 5; ++i) HostCounters::add(b.hosts[i]->counters(0).rq_active, i == 3 ? 0 : 50);
    CHECK(b.next({.hash = hash}) != first);
  }
}

TEST_CASE("no hosts, no table") {
  Balancer b(with(LbPolicy::maglev), {});
  CHECK(b.next({.hash = 1}) == -1);
}
