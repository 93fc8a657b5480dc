#include "net/dns.h"

#include <doctest/doctest.h>

#include <map>
#include <optional>

#include "test/unit/net/dns_server.h"

using namespace sluice;
using namespace sluice::net;
using std::chrono::milliseconds;

namespace {

struct Rig {
  explicit Rig(io::LoopOptions::Backend backend = io::LoopOptions::Backend::epoll) : store(1) {
    auto made = io::make_loop({.backend = backend});
    REQUIRE_MESSAGE(made.ok(), made.error().message);
    loop = std::move(*made);
    options.servers = {server.at()};
    options.timeout = milliseconds(2000);
    options.tries = 2;
    options.no_search = true;
  }
  ~Rig() {
    resolver.reset();
    for (int i = 0; i < 3; ++i) loop->run_once(Duration(0));
    CHECK(loop->ops_in_flight() == 0);
    CHECK(loop->timers().size() == 0);
  }
  DnsResolver& dns() {
    if (!resolver) {
      auto made = make_dns_resolver(*loop, options, store.root(0).scope("dns").scope("cares"));
      REQUIRE_MESSAGE(made.ok(), made.error().message);
      resolver = std::move(*made);
    }
    return *resolver;
  }
  template <typename F>
  bool until(F done) {
    MonotonicTime deadline = loop->now() + std::chrono::seconds(20);
    while (!done()) {
      if (loop->now() > deadline) return false;
      loop->run_once(milliseconds(50));
    }
    return true;
  }
  // The addresses as text, in order, comma-separated; "failed" for an error.
  std::string resolve(const std::string& name, DnsFamily family = DnsFamily::v4_only) {
    std::optional<Result<std::vector<DnsAddress>>> got;
    auto query = dns().resolve(name, family, [&](auto answer) { got.emplace(std::move(answer)); });
    CHECK_FALSE(got);   // never from inside resolve()
    REQUIRE(until([&] { return got.has_value(); }));
    if (!got->ok()) {
      error = got->error().message;
      return "failed";
    }
    std::string out;
    last = **got;
    for (const DnsAddress& a : last) out += (out.empty() ? "" : ",") + a.ip.to_string();
    return out;
  }
  uint64_t stat(std::string_view name) const {
    for (const auto& m : store.snapshot()) {
      if (m.name == std::string("dns.cares.") + std::string(name)) return m.value;
    }
    return ~0ull;
  }

  TestDnsServer server;
  stats::Store store;
  std::unique_ptr<io::Loop> loop;
  DnsOptions options;
  std::unique_ptr<DnsResolver> resolver;
  std::vector<DnsAddress> last;
  std::string error;
};

}  // namespace

TEST_CASE("DNS: addresses with their time to live, on both loops") {
  for (auto backend : {io::LoopOptions::Backend::epoll, io::LoopOptions::Backend::io_uring}) {
    Rig rig(backend);
    rig.server.set("a.test", {"10.0.0.1", "10.0.0.2"}, 33);
    CHECK(rig.resolve("a.test") == "10.0.0.1,10.0.0.2");
    CHECK(rig.last[0].ttl == std::chrono::seconds(33));
    CHECK(rig.stat("resolve_total") == 1);
    CHECK(rig.stat("pending_resolutions") == 0);
  }
}

TEST_CASE("DNS: families") {
  Rig rig;
  rig.server.set("both.test", {"10.0.0.1", "2001:db8::1"});
  rig.server.set("v4.test", {"10.0.0.4"});
  rig.server.set("v6.test", {"2001:db8::6"});
  CHECK(rig.resolve("both.test", DnsFamily::v4_only) == "10.0.0.1");
  CHECK(rig.resolve("both.test", DnsFamily::v6_only) == "2001:db8::1");
  CHECK(rig.resolve("both.test", DnsFamily::auto_) == "2001:db8::1");
  CHECK(rig.resolve("v4.test", DnsFamily::auto_) == "10.0.0.4");
  CHECK(rig.resolve("v4.test", DnsFamily::v6_only) == "");
  CHECK(rig.resolve("both.test", DnsFamily::v4_preferred) == "10.0.0.1");
  CHECK(rig.resolve("v6.test", DnsFamily::v4_preferred) == "2001:db8::6");
  CHECK(rig.resolve("v6.test", DnsFamily::v4_only) == "");
  std::string all = rig.resolve("both.test", DnsFamily::all);
  CHECK((all == "10.0.0.1,2001:db8::1" || all == "2001:db8::1,10.0.0.1"));
}

TEST_CASE("DNS: no such name is an answer, a failing server is an error") {
  Rig rig;
  CHECK(rig.resolve("missing.test") == "");
  CHECK(rig.stat("not_found") == 1);
  rig.server.set_mode(TestDnsServer::Mode::servfail);
  CHECK(rig.resolve("broken.test") == "failed");
  CHECK(rig.error.find("broken.test") != std::string::npos);
  CHECK(rig.stat("get_addr_failure") == 1);
}

TEST_CASE("DNS: a server that says nothing is given up on") {
  Rig rig;
  rig.options.timeout = milliseconds(100);
  rig.options.tries = 2;
  rig.server.set_mode(TestDnsServer::Mode::silent);
  CHECK(rig.resolve("slow.test") == "failed");
  CHECK(rig.error.find("imeout") != std::string::npos);
  CHECK(rig.server.asked("A slow.test") == 2);
  CHECK(rig.stat("timeouts") >= 1);
}

TEST_CASE("DNS: a server that is not there is an error; the next one is asked") {
  Rig rig;
  rig.server.set("a.test", {"10.0.0.1"});
  rig.options.servers = {*Address::parse("127.0.0.1:9")};
  rig.options.tries = 1;
  CHECK(rig.resolve("a.test") == "failed");
  rig.resolver.reset();
  rig.options.servers.push_back(rig.server.at());
  CHECK(rig.resolve("a.test") == "10.0.0.1");
}

TEST_CASE("DNS: literals and /etc/hosts need no server") {
  Rig rig;
  rig.server.set_mode(TestDnsServer::Mode::silent);
  CHECK(rig.resolve("192.0.2.7") == "192.0.2.7");
  CHECK(rig.resolve("2001:db8::7") == "2001:db8::7");
  CHECK(rig.resolve("localhost", DnsFamily::v4_only) == "127.0.0.1");
  CHECK(rig.server.queries().empty());
}

TEST_CASE("DNS: over TCP where that is asked") {
  Rig rig;
  rig.options.use_tcp = true;
  rig.server.set("a.test", {"10.0.0.1"});
  CHECK(rig.resolve("a.test") == "10.0.0.1");
  CHECK(rig.server.asked("A a.test/tcp") == 1);
}

TEST_CASE("DNS: a cancelled query calls nobody") {
  Rig rig;
  rig.server.set_mode(TestDnsServer::Mode::silent);
  rig.options.timeout = milliseconds(50);
  rig.options.tries = 1;
  bool called = false;
  auto cancelled = rig.dns().resolve("a.test", DnsFamily::auto_, [&](auto) { called = true; });
  cancelled.reset();
  REQUIRE(rig.until([&] { return rig.stat("pending_resolutions") == 0; }));
  CHECK_FALSE(called);
}

TEST_CASE("DNS: the resolver may go with queries under way") {
  Rig rig;  // whose queries do not time out before that, however slow the machine is
  rig.server.set_mode(TestDnsServer::Mode::silent);
  bool called = false;
  auto left = rig.dns().resolve("b.test", DnsFamily::v4_only, [&](auto) { called = true; });
  REQUIRE(rig.until([&] { return rig.server.asked("A b.test") == 1; }));
  rig.resolver.reset();
  left.reset();
  CHECK_FALSE(called);
}

TEST_CASE("DNS: a callback may destroy its query and the resolver") {
  Rig rig;
  rig.server.set("a.test", {"10.0.0.1"});
  std::unique_ptr<DnsQuery> query;
  bool called = false;
  query = rig.dns().resolve("a.test", DnsFamily::v4_only, [&](auto) {
    query.reset();
    rig.resolver.reset();
    called = true;
  });
  REQUIRE(rig.until([&] { return called; }));
}

TEST_CASE("DNS: many names at once") {
  Rig rig;
  int done = 0, right = 0;
  std::vector<std::unique_ptr<DnsQuery>> queries;
  for (int i = 0; i < 200; ++i) {
    std::string ip = "10.1.0." + std::to_string(i), name = "n" + std::to_string(i) + ".test";
    rig.server.set(name, {ip});
    queries.push_back(rig.dns().resolve(name, DnsFamily::v4_only, [&, ip](Result<std::vector<DnsAddress>> a) {
      ++done;
      right += a.ok() && a->size() == 1 && (*a)[0].ip.to_string() == ip;
    }));
  }
  REQUIRE(rig.until([&] { return done == 200; }));
  CHECK(right == 200);
}

TEST_CASE("DNS: a limit for ports says nothing of TCP") {
  Rig rig;
  rig.options.use_tcp = true;
  rig.options.udp_max_queries = 1;
  rig.server.set_mode(TestDnsServer::Mode::silent);
  std::vector<std::unique_ptr<DnsQuery>> queries;
  for (size_t i = 0; i < 3; ++i) {
    queries.push_back(rig.dns().resolve("n" + std::to_string(i) + ".test", DnsFamily::v4_only, [](auto) {}));
    REQUIRE(rig.until([&] { return rig.server.queries().size() > i; }));
  }
  CHECK(rig.server.connections() == 1);
}

TEST_CASE("DNS: a port is used for so many questions, then another one, while all of them are under way") {
  constexpr size_t kNames = 35;
  for (const uint32_t most : {1, 10, 0}) {
    CAPTURE(most);
    Rig rig;
    rig.options.udp_max_queries = most;
    rig.options.timeout = milliseconds(300);
    rig.server.set_mode(TestDnsServer::Mode::silent);
    std::vector<std::unique_ptr<DnsQuery>> queries;
    size_t done = 0;
    for (size_t i = 0; i < kNames; ++i)
      queries.push_back(rig.dns().resolve("n" + std::to_string(i) + ".test", DnsFamily::v4_only,
                                          [&](Result<std::vector<DnsAddress>> a) { done += !a.ok(); }));
    REQUIRE(rig.until([&] { return rig.server.ports().size() >= kNames; }));
    std::map<uint16_t, size_t> used;
    const auto ports = rig.server.ports();
    for (size_t i = 0; i < kNames; ++i)
      ++used[ports[i]];  // the first tries, which come before any second one
    CHECK(used.size() == (most == 0 ? 1 : (kNames + most - 1) / most));
    for (const auto& [port, count] : used) CHECK(count <= (most == 0 ? kNames : most));
    CHECK(rig.stat("pending_resolutions") == kNames);
    REQUIRE(rig.until([&] { return done == kNames; }));  // those of ports that are used up, too
    CHECK(rig.stat("pending_resolutions") == 0);
    rig.server.set_mode(TestDnsServer::Mode::answer);
    rig.server.set("a.test", {"10.0.0.1"});
    CHECK(rig.resolve("a.test") == "10.0.0.1");
  }
}
