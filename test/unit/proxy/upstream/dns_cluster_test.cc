#include <doctest/doctest.h>

#include <set>

#include "harness.h"
#include "test/unit/net/dns_server.h"

using namespace sluice;
using namespace sluice::upstream;
using model::ClusterType;
using net::TestDnsServer;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

struct DnsHarness : Harness {
  model::Cluster& add_dns(const std::string& name, ClusterType type, std::vector<std::string> names,
                          uint16_t port = 80) {
    model::Cluster& c = add(name);
    c.type = type;
    c.dns_family = model::DnsFamily::v4_only;
    c.dns_resolvers = {server.at()};
    c.dns_no_search = true;
    c.dns_refresh_rate = milliseconds(20);
    model::Locality& l = c.localities.emplace_back();
    for (std::string& n : names) {
      model::Endpoint& e = l.endpoints.emplace_back();
      e.dns_name = std::move(n);
      e.dns_port = port;
    }
    return c;
  }
  std::vector<HostView> views(size_t cluster = 0) { return directory.view()[cluster].hosts; }
  std::set<std::string> hosts(size_t cluster = 0) {
    std::set<std::string> out;
    for (const HostView& h : views(cluster)) out.insert(h.host->address().to_string());
    return out;
  }
  TestDnsServer server;
};
using Hosts = std::set<std::string>;

}  // namespace

TEST_CASE("STRICT_DNS: every address is a host, and hosts follow the answers") {
  DnsHarness h;
  h.server.set("svc.test", {"10.0.0.1", "10.0.0.2"});
  h.server.set("more.test", {"10.0.1.1"});
  h.add_dns("c", ClusterType::strict_dns, {"svc.test", "more.test"});
  h.apply();
  REQUIRE(h.until([&] { return h.hosts().size() == 3; }));
  CHECK(h.hosts() == Hosts{"10.0.0.1:80", "10.0.0.2:80", "10.0.1.1:80"});
  CHECK(h.directory.view()[0].hosts[0].host->hostname() != "");
  HostPtr first;
  for (auto& v : h.views()) {
    if (v.host->address().to_string() == "10.0.0.2:80") first = v.host;
  }
  CHECK(h.stat("cluster.c.membership_total") == 3);
  CHECK(h.stat("cluster.c.max_host_weight") == 1);

  h.server.set("svc.test", {"10.0.0.3", "10.0.0.2"});
  REQUIRE(h.until([&] { return h.hosts() == Hosts{"10.0.0.2:80", "10.0.0.3:80", "10.0.1.1:80"}; }));
  bool kept = false;
  for (auto& v : h.views()) kept |= v.host == first;
  CHECK(kept);

  // The same addresses in another order are no change.
  uint64_t changes = h.stat("cluster.c.membership_change"), rebuilt = h.stat("cluster.c.update_no_rebuild");
  h.server.set("svc.test", {"10.0.0.2", "10.0.0.3"});
  REQUIRE(h.until([&] { return h.stat("cluster.c.update_no_rebuild") > rebuilt + 6; }));
  CHECK(h.stat("cluster.c.membership_change") == changes);
}

TEST_CASE("STRICT_DNS: a failure keeps the hosts, a name that is gone takes them away") {
  DnsHarness h;
  h.server.set("svc.test", {"10.0.0.1"});
  h.add_dns("c", ClusterType::strict_dns, {"svc.test"});
  h.apply();
  REQUIRE(h.until([&] { return h.hosts().size() == 1; }));
  h.server.set_mode(TestDnsServer::Mode::servfail);
  REQUIRE(h.until([&] { return h.stat("cluster.c.update_failure") >= 3; }));
  CHECK(h.hosts() == Hosts{"10.0.0.1:80"});
  h.server.set_mode(TestDnsServer::Mode::answer);
  h.server.erase("svc.test");
  REQUIRE(h.until([&] { return h.hosts().empty(); }));
  CHECK(h.stat("cluster.c.membership_total") == 0);
  h.server.set("svc.test", {"10.0.0.9"});
  REQUIRE(h.until([&] { return h.hosts() == Hosts{"10.0.0.9:80"}; }));
}

TEST_CASE("LOGICAL_DNS: one host, the first address; connections to earlier ones stay") {
  DnsHarness h;
  Listener a;
  h.server.set("svc.test", {"127.0.0.1", "127.0.0.2"});
  h.add_dns("c", ClusterType::logical_dns, {"svc.test"}, a.at().port());
  h.apply();
  REQUIRE(h.until([&] { return h.hosts().size() == 1; }));
  auto o = h.connect_wait("c");
  INFO(o->reason);
  INFO(*h.hosts().begin());
  REQUIRE(o->connected);
  CHECK(o->upstream->host_name() == "svc.test");
  h.server.set("svc.test", {"127.0.0.3"});
  REQUIRE(h.until([&] { return h.hosts() == Hosts{"127.0.0.3:" + std::to_string(a.at().port())}; }));
  CHECK(o->upstream->connection().open());
  CHECK(o->upstream->host_address().ip().to_string() == "127.0.0.1");
  // It never gives its host up for an empty answer.
  uint64_t failures = h.stat("cluster.c.update_failure");
  h.server.erase("svc.test");
  REQUIRE(h.until([&] { return h.stat("cluster.c.update_failure") > failures + 2; }));
  CHECK(h.hosts().size() == 1);
}

TEST_CASE("DNS clusters are warm when every name was asked for once") {
  DnsHarness h;
  h.server.set("svc.test", {"10.0.0.1"});
  h.add_dns("good", ClusterType::strict_dns, {"svc.test"});
  h.add_dns("gone", ClusterType::strict_dns, {"gone.test"});
  h.add_dns("lazy", ClusterType::strict_dns, {"svc.test"}).wait_for_warm_on_init = false;
  bool warm = false;
  REQUIRE(h.directory.apply(h.config).ok());
  h.directory.when_warm([&] { warm = true; });
  CHECK(h.stat("cluster_manager.warming_clusters") == 2);
  CHECK_FALSE(warm);
  REQUIRE(h.until([&] { return warm; }));
  CHECK(h.stat("cluster_manager.warming_clusters") == 0);
  CHECK(h.managers[0]->find("good") != nullptr);
}

TEST_CASE("warming waits no longer than its time-out") {
  TestDnsServer server;
  server.set_mode(TestDnsServer::Mode::silent);
  auto loop = new_loop();
  stats::Store store(1);
  auto owned = std::make_unique<ClusterDirectory>(
      *loop, store, ClusterDirectory::Options{.warming_timeout = milliseconds(80)});
  ClusterDirectory& directory = *owned;
  model::ConfigSet config;
  auto c = std::make_shared<model::Cluster>();
  c->name = "c";
  c->type = ClusterType::strict_dns;
  c->dns_resolvers = {server.at()};
  c->localities.emplace_back().endpoints.emplace_back().dns_name = "svc.test";
  config.clusters.push_back(c);
  REQUIRE(directory.apply(config).ok());
  bool warm = false;
  directory.when_warm([&] { warm = true; });
  MonotonicTime start = loop->now();
  while (!warm && loop->now() < start + seconds(20)) loop->run_once(milliseconds(20));
  CHECK(warm);
  CHECK(loop->now() - start >= milliseconds(80));
  CHECK_FALSE(directory.view()[0].warming);
  owned.reset();
  loop->run_once(Duration(0));
}

TEST_CASE("without DNS clusters everything is warm at once, in the same turn") {
  Harness h;
  h.add("c");
  h.apply();
  bool warm = false;
  h.directory.when_warm([&] { warm = true; });
  h.turns(1);
  CHECK(warm);
}

TEST_CASE("respect_dns_ttl asks again when the shortest record runs out, not earlier") {
  DnsHarness h;
  h.server.set("svc.test", {"10.0.0.1"}, 1);
  h.add_dns("c", ClusterType::strict_dns, {"svc.test"}).respect_dns_ttl = true;
  h.apply();
  REQUIRE(h.until([&] { return h.stat("cluster.c.update_success") == 1; }));
  MonotonicTime first = h.loop->now();
  REQUIRE(h.until([&] { return h.stat("cluster.c.update_success") == 2; }));
  CHECK(h.loop->now() - first >= milliseconds(990));
}

TEST_CASE("failures are asked again after a time that doubles up to its maximum") {
  DnsHarness h;
  h.server.set_mode(TestDnsServer::Mode::servfail);
  model::Cluster& c = h.add_dns("c", ClusterType::strict_dns, {"svc.test"});
  c.dns_refresh_rate = std::chrono::hours(1);   // not this one
  c.dns_failure_refresh_base = milliseconds(2);
  c.dns_failure_refresh_max = milliseconds(8);
  h.apply();
  REQUIRE(h.until([&] { return h.stat("cluster.c.update_failure") >= 20; }));
  h.server.set_mode(TestDnsServer::Mode::answer);
  h.server.set("svc.test", {"10.0.0.1"});
  REQUIRE(h.until([&] { return h.hosts().size() == 1; }));
}

TEST_CASE("a DNS cluster may be removed while it is being resolved") {
  DnsHarness h;
  h.server.set_mode(TestDnsServer::Mode::silent);
  h.add_dns("c", ClusterType::strict_dns, {"svc.test"});
  h.apply();
  CHECK(h.stat("cluster_manager.warming_clusters") == 1);
  h.config.clusters.clear();
  bool warm = false;
  h.directory.when_warm([&] { warm = true; });
  h.apply();
  CHECK(h.stat("cluster_manager.warming_clusters") == 0);
  CHECK(warm);
}
