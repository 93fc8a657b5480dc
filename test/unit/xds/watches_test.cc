#include "xds/watches.h"

#include <doctest/doctest.h>

#include <atomic>
#include <thread>

#include "core/wyhash.h"
#include "envoy/config/route/v3/route.pb.h"
#include "extensions/access_loggers/file/log_manager.h"
#include "sluice/ext/registry.h"
#include "test/unit/xds/fake_factory.h"
#include "xds/discoveries.h"

namespace sluice::xds {
namespace {

namespace proto = envoy::config::route::v3;

proto::RouteConfiguration routes(const std::vector<std::pair<std::string, std::string>>& hosts) {
  proto::RouteConfiguration out;
  out.set_name("r");
  for (const auto& [name, regex] : hosts) {
    auto& host = *out.add_virtual_hosts();
    host.set_name(name);
    host.add_domains(name);
    auto& route = *host.add_routes();
    route.mutable_match()->mutable_safe_regex()->set_regex(regex);
    route.mutable_non_forwarding_action();
  }
  return out;
}

struct Rig {
  Rig() : loop(std::move(*io::make_loop({}))), store(1), logs(store.root(0), {}), resources(registry, logs) {
    hooks.on_ready = [this] { ++ready; };
    hooks.before_change = [this] { ++changes; };
    auto got = watches.get(key);
    REQUIRE(got.ok());
    source = *got;
    REQUIRE(watches.start(factory, resources));
  }
  Status send(const std::string& bytes, const std::string& version) {
    const Resource r{
        .type = ResourceType::route, .name = "r", .version = version, .bytes = bytes, .hash = wyhash(bytes)};
    return factory.all.at(0)->subscriber.on_update({.resources = {r}, .version = version});
  }
  Status send(const proto::RouteConfiguration& message, const std::string& version) {
    return send(message.SerializeAsString(), version);
  }
  WatchView view() { return watches.view().at(0); }
  std::string shown(const WatchView::Bytes& bytes) {
    const auto message = view().message(bytes);
    return message ? message->SerializeAsString() : "none";
  }
  uint64_t stat(const std::string& name) {
    for (const auto& m : store.snapshot())
      if (m.name == "http.web.rds.r." + name) return m.value;
    return ~0ull;
  }

  std::unique_ptr<io::Loop> loop;
  stats::Store store;
  access_loggers::FileLogManager logs;
  ext::Registry registry;
  config::Resources resources;
  FakeFactory factory{ResourceType::route};
  WatchHooks hooks;
  Watches<RouteKey> watches{*loop, store.root(0), hooks};
  const RouteKey key{{}, "r", "web"};
  std::shared_ptr<const model::RouteSource> source;
  int ready = 0, changes = 0;
};

TEST_CASE("routes: what has not changed is the same object in the next version, and all of it is shown") {
  Rig rig;
  CHECK(rig.source->current() == nullptr);
  const auto one = routes({{"a", "/a"}, {"b", "/b"}}), two = routes({{"a", "/a"}, {"b", "/2"}});
  REQUIRE(rig.send(one, "1"));
  CHECK(rig.ready == 1);
  const auto first = rig.source->current();
  const uint64_t generation = rig.source->generation();
  REQUIRE(rig.send(two, "2"));
  CHECK(rig.source->generation() != generation);
  const auto second = rig.source->current();
  CHECK(second->virtual_hosts.at(0) == first->virtual_hosts.at(0));
  CHECK(second->virtual_hosts.at(1) != first->virtual_hosts.at(1));
  CHECK(rig.view().version == "2");
  CHECK(rig.shown(rig.view().bytes) == two.SerializeAsString());
  CHECK(rig.stat("config_reload") == 2);
  CHECK(rig.changes == 2);
}

TEST_CASE("routes: what is refused names its place in the whole message, and leaves what is in force") {
  Rig rig;
  const auto good = routes({{"a", "/a"}, {"b", "/b"}});
  REQUIRE(rig.send(good, "1"));
  const auto first = rig.source->current();
  const auto bad = routes({{"a", "/a"}, {"b", "/b"}, {"c", "("}});
  const Status refused = rig.send(bad, "2");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().message.starts_with("virtual_hosts[2].routes[0].match.safe_regex"));
  CHECK(refused.error().message == rig.resources.routes(bad).error().message);
  CHECK(rig.source->current() == first);
  CHECK(rig.view().version == "1");
  CHECK(rig.view().refused == refused.error().message);
  CHECK(rig.view().refused_version == "2");
  CHECK(rig.shown(rig.view().bytes) == good.SerializeAsString());
  CHECK(rig.shown(rig.view().refused_bytes) == bad.SerializeAsString());
  // The API's rules come before the translation, wherever they are broken.
  const Status both = rig.send(routes({{"a", "/a"}, {"b", "("}, {"", "/"}}), "3");
  REQUIRE_FALSE(both);
  CHECK(both.error().message.starts_with("virtual_hosts[2].name"));
  const Status twice = rig.send(routes({{"a", "/a"}, {"b", "/b"}, {"b", "/c"}}), "4");
  REQUIRE_FALSE(twice);
  CHECK(
      twice.error().message ==
      "virtual_hosts: Only unique values for domains are permitted. Duplicate entry of domain b in route r");

  // What was in force comes again: nothing is refused any more. What comes next goes on from there.
  REQUIRE(rig.send(good, "5"));
  CHECK(rig.source->current() == first);
  CHECK(rig.view().refused.empty());
  CHECK(rig.view().refused_bytes == nullptr);
  REQUIRE(rig.send(routes({{"c", "/c"}, {"a", "/a"}}), "6"));
  CHECK(rig.source->current()->virtual_hosts.at(1) == first->virtual_hosts.at(0));
}

TEST_CASE("routes: threads look up while versions come and go") {
  Rig rig;
  std::vector<std::pair<std::string, std::string>> hosts;
  for (int i = 0; i < 200; ++i) hosts.emplace_back("host" + std::to_string(i), "/0");
  REQUIRE(rig.send(routes(hosts), "0"));
  std::atomic<bool> over = false;
  std::atomic<int> wrong = 0, changes_seen = 0;
  auto look = [&, source = rig.source] {
    uint64_t generation = 0;
    std::shared_ptr<const model::RouteConfig> config;
    for (size_t i = 0; !over || config == nullptr; ++i) {
      if (const uint64_t now = source->generation(); now != generation) {
        generation = now;
        config = source->current();
        ++changes_seen;
      }
      const std::string name = "host" + std::to_string(i % 200);
      const model::VirtualHost* found = config->find_virtual_host(name);
      if (found == nullptr || found->name != name || !found->routes.at(0).path.regex->full_match("/0"))
        ++wrong;
    }
  };
  std::vector<std::thread> readers;
  for (int i = 0; i < 2; ++i) readers.emplace_back(look);
  for (int version = 1; version <= 300 || (changes_seen < 20 && version < 100'000); ++version) {
    hosts[static_cast<size_t>(version % 200)].second = "/0|/" + std::to_string(version);
    std::swap(hosts[0], hosts[static_cast<size_t>(version * 7 % 200)]);
    CHECK(rig.send(routes(hosts), std::to_string(version)));
  }
  over = true;
  for (auto& reader : readers) reader.join();
  CHECK(wrong == 0);
}

TEST_CASE("routes: bytes that are no message") {
  Rig rig;
  REQUIRE(rig.send(routes({{"a", "/a"}}), "1"));
  const auto first = rig.source->current();
  const Status broken = rig.send("\xff\xff", "2");
  REQUIRE_FALSE(broken);
  CHECK(broken.error().message ==
        "Unable to unpack as envoy.config.route.v3.RouteConfiguration: the 2 bytes of resource 'r' are not "
        "one");
  CHECK(rig.source->current() == first);
  CHECK(rig.view().refused.empty());
}

}  // namespace
}  // namespace sluice::xds
