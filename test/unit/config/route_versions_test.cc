#include "config/route_versions.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <set>

#include "core/random.h"
#include "envoy/config/route/v3/route.pb.h"
#include "envoy/extensions/filters/http/local_ratelimit/v3/local_rate_limit.pb.h"
#include "extensions/filters/http/local_ratelimit/config.h"
#include "model/route_actions.h"
#include "test/unit/config/routes.h"
#include "validate/validate.pb.h"

namespace sluice::config::test {
namespace {

namespace proto = envoy::config::route::v3;

const ext::Registry& with_rate_limits() {
  static const ext::Registry instance = [] {
    ext::Registry r;
    r.add(extensions::local_ratelimit::extension());
    return r;
  }();
  return instance;
}

// One RouteConfiguration, version after version.
struct Rig {
  RouteConfigPtr next(const proto::RouteConfiguration& message) {
    return next_bytes(message.SerializeAsString());
  }
  RouteConfigPtr next_bytes(std::string bytes) {
    FactoryContext around = context();
    return versions.next(std::make_shared<const std::string>(std::move(bytes)), honoured, around);
  }
  Result<RouteConfigPtr> from_nothing(const proto::RouteConfiguration& message) {
    SLUICE_TRY(validate(message, FieldPath()));
    SLUICE_TRY(honoured.check(message, FieldPath()));
    FactoryContext around = context();
    return translate(message, around, false, FieldPath());
  }
  FactoryContext context() {
    return FactoryContext(with_rate_limits(), logs, {.has_cluster = has_cluster(clusters)});
  }
  const HonouredFields honoured{with_rate_limits()};
  NoLogs logs;
  ClusterNames clusters = {"c"};
  RouteVersions versions;
};

proto::VirtualHost host(const std::string& name, const std::string& text = "x") {
  proto::VirtualHost out;
  out.set_name(name);
  out.add_domains(name + ".example");
  auto& route = *out.add_routes();
  route.mutable_match()->set_prefix("/");
  route.mutable_direct_response()->set_status(200);
  route.mutable_direct_response()->mutable_body()->set_inline_string(text);
  return out;
}

proto::RouteConfiguration of(const std::vector<proto::VirtualHost>& hosts) {
  proto::RouteConfiguration out;
  out.set_name("r");
  for (const auto& h : hosts) *out.add_virtual_hosts() = h;
  return out;
}

const model::VirtualHost* find(const RouteConfigPtr& config, const std::string& name) {
  return config->find_virtual_host(name + ".example");
}

const std::string& body(const RouteConfigPtr& config, const std::string& name) {
  return std::get<model::DirectResponseAction>(find(config, name)->routes.at(0).action).body;
}

void limit_rate(google::protobuf::Map<std::string, google::protobuf::Any>& filters) {
  envoy::extensions::filters::http::local_ratelimit::v3::LocalRateLimit limit;
  limit.set_stat_prefix("x");
  limit.mutable_token_bucket()->set_max_tokens(3);
  limit.mutable_token_bucket()->mutable_fill_interval()->set_seconds(3600);
  filters["limit"].PackFrom(limit);
}

TEST_CASE("virtual hosts whose bytes have not changed are those of the version before, wherever they stand") {
  Rig rig;
  const auto first = rig.next(of({host("a"), host("b"), host("c"), host("d")}));
  REQUIRE(first);
  const auto same = rig.next(of({host("a"), host("b"), host("c"), host("d")}));
  REQUIRE(same);
  CHECK(same != first);
  CHECK(same->virtual_hosts == first->virtual_hosts);

  // b is another one, d has moved, e is new, c is gone.
  const auto second = rig.next(of({host("d"), host("a"), host("b", "y"), host("e")}));
  REQUIRE(second);
  CHECK(second->virtual_hosts.at(0) == first->virtual_hosts.at(3));
  CHECK(second->virtual_hosts.at(1) == first->virtual_hosts.at(0));
  CHECK(second->virtual_hosts.at(2) != first->virtual_hosts.at(1));
  CHECK(body(second, "b") == "y");
  CHECK(body(second, "e") == "x");
  CHECK(find(second, "c") == nullptr);
  // Who still holds the first one sees nothing of it.
  CHECK(body(first, "b") == "x");
  CHECK(find(first, "c") == first->virtual_hosts.at(2).get());
  CHECK(find(first, "e") == nullptr);
}

TEST_CASE("one of many that changes, comes or goes: all others stay, and most of the domains' memory") {
  std::vector<proto::VirtualHost> hosts;
  for (int i = 0; i < 1000; ++i) hosts.push_back(host("svc" + std::to_string(i)));
  Rig rig;
  auto before = rig.next(of(hosts));
  REQUIRE(before);
  size_t new_pages = 0;
  auto shared_with_next = [&] {
    const auto next = rig.next(of(hosts));
    REQUIRE(next);
    std::set<std::shared_ptr<const model::VirtualHost>> old(before->virtual_hosts.begin(),
                                                            before->virtual_hosts.end());
    const auto shared =
        std::ranges::count_if(next->virtual_hosts, [&](const auto& h) { return old.contains(h); });
    new_pages = next->domains.pages() - next->domains.pages_shared_with(before->domains);
    before = next;
    return shared;
  };
  hosts[400] = host("svc400", "changed");
  CHECK(shared_with_next() == 999);
  CHECK(body(before, "svc400") == "changed");
  CHECK(new_pages <= 4);
  hosts.insert(hosts.begin() + 7, host("new"));
  CHECK(shared_with_next() == 1000);
  CHECK(new_pages <= 4);
  CHECK(before->domains.pages() >= 16);
  auto twice = hosts;
  twice.insert(twice.begin(), {hosts[500], hosts[500]});
  twice.erase(twice.begin() + 502);
  CHECK(rig.next(of(twice)) == nullptr);
  hosts.erase(hosts.begin() + 500, hosts.begin() + 520);  // further than it looks ahead
  CHECK(shared_with_next() == 981);
  std::ranges::reverse(hosts);
  CHECK(shared_with_next() == 981);
}

TEST_CASE("where something changes beside the virtual hosts that they could depend on, all are made anew") {
  Rig rig;
  auto message = of({host("a", "12345"), host("b")});
  const auto first = rig.next(message);
  REQUIRE(first);
  message.mutable_max_direct_response_body_size_bytes()->set_value(5);
  const auto second = rig.next(message);
  REQUIRE(second);
  CHECK(second->virtual_hosts.at(0) != first->virtual_hosts.at(0));
  CHECK(second->virtual_hosts.at(1) != first->virtual_hosts.at(1));
  message.mutable_max_direct_response_body_size_bytes()->set_value(4);
  CHECK(rig.next(message) == nullptr);  // for a, which has not changed
}

TEST_CASE("clusters that routes have to find are looked for each time") {
  Rig rig;
  rig.clusters = {"c", "d"};
  auto to = [](const std::string& name, const std::string& cluster) {
    auto out = host(name);
    out.mutable_routes(0)->mutable_route()->set_cluster(cluster);
    return out;
  };
  auto message = of({to("a", "c"), to("b", "d"), host("other", "1")});
  message.mutable_validate_clusters()->set_value(true);
  const auto first = rig.next(message);
  REQUIRE(first);
  *message.mutable_virtual_hosts(2) = host("other", "2");
  rig.clusters.erase("c");
  CHECK(rig.next(message) == nullptr);
  rig.clusters.insert("c");
  const auto second = rig.next(message);
  REQUIRE(second);
  CHECK(second->virtual_hosts.at(0) == first->virtual_hosts.at(0));
  CHECK(second->virtual_hosts.at(1) == first->virtual_hosts.at(1));
  CHECK(body(second, "other") == "2");
}

TEST_CASE("what stands in files is read each time") {
  char name[] = "/tmp/sluice-routes-XXXXXX";
  const int made = mkstemp(name);
  REQUIRE(made >= 0);
  auto write = [&](const char* text) { std::ofstream(name) << text; };
  auto from_file = host("file");
  from_file.mutable_routes(0)->mutable_direct_response()->mutable_body()->set_filename(name);
  auto format = host("format");
  auto& response = *format.mutable_routes(0)->mutable_direct_response();
  response.mutable_body_format()->mutable_text_format_source()->set_filename(name);
  Rig rig;
  write("one");
  const auto first = rig.next(of({from_file, format, host("a")}));
  REQUIRE(first);
  CHECK(body(first, "file") == "one");
  write("two");
  const auto second = rig.next(of({from_file, format, host("a"), host("b")}));
  REQUIRE(second);
  CHECK(body(second, "file") == "two");
  CHECK(second->virtual_hosts.at(1) != first->virtual_hosts.at(1));
  CHECK(second->virtual_hosts.at(2) == first->virtual_hosts.at(2));
  REQUIRE(std::remove(name) == 0);
  CHECK(rig.next(of({from_file, format, host("a")})) == nullptr);
}

TEST_CASE("what is refused changes nothing, and is left to those who say why") {
  Rig rig;
  const auto first = rig.next(of({host("a"), host("b")}));
  REQUIRE(first);
  auto bad = host("c");
  bad.mutable_routes(0)->mutable_match()->mutable_safe_regex()->set_regex("(");
  CHECK(rig.next(of({host("a"), host("b"), bad})) == nullptr);  // the translation
  CHECK(rig.next(of({host("a"), host("b"), host("")})) == nullptr);  // the API's rules
  bad = host("c");
  bad.mutable_cors();
  CHECK(rig.next(of({host("a"), host("b"), bad})) == nullptr);  // not honoured
  CHECK(rig.next(of({host("a"), host("b"), host("a")})) == nullptr);  // the same twice
  CHECK(rig.next(of({host("a"), host("b"), host("a", "y")})) == nullptr);  // its domain twice
  const std::string good = of({host("a"), host("b")}).SerializeAsString();
  CHECK(rig.next_bytes(good.substr(0, good.size() - 1)) == nullptr);
  CHECK(rig.next_bytes(good + "\x0b\x0c") == nullptr);  // a group
  CHECK(rig.next_bytes(good + "\x12\x02\xff\xff") == nullptr);  // a virtual host that is none
  const auto second = rig.next(of({host("c"), host("b"), host("a")}));
  REQUIRE(second);
  CHECK(second->virtual_hosts.at(1) == first->virtual_hosts.at(1));
  CHECK(second->virtual_hosts.at(2) == first->virtual_hosts.at(0));
}

TEST_CASE(
    "thousands of virtual hosts, and large ones, are read in parts: all of them, in order, and what is wrong "
    "in any") {
  // A rule for the list as a whole would have to be looked at beside its parts.
  const auto* list = proto::RouteConfiguration::descriptor()->FindFieldByName("virtual_hosts");
  CHECK_FALSE(list->options().HasExtension(validate::rules));

  std::vector<proto::VirtualHost> hosts;
  for (int i = 0; i < 2000; ++i) hosts.push_back(host("svc" + std::to_string(i), std::to_string(i)));
  hosts[1000] = host("svc1000", std::string(4000, 'a'));  // and many routes: larger than a part
  for (int i = 0; i < 20; ++i) *hosts[1000].add_routes() = hosts[1000].routes(0);
  Rig rig;
  const auto first = rig.next(of(hosts));
  REQUIRE(first);
  REQUIRE(first->virtual_hosts.size() == hosts.size());
  for (size_t i = 0; i < hosts.size(); ++i) CHECK(first->virtual_hosts[i]->name == hosts[i].name());
  CHECK(body(first, "svc1999") == "1999");
  CHECK(first->virtual_hosts[1000]->routes.size() == 21);

  // New ones apart from each other, and side by side.
  for (const size_t i : {0, 3, 4, 5, 1000, 1001, 1999}) hosts[i] = host("new" + std::to_string(i), "new");
  const auto second = rig.next(of(hosts));
  REQUIRE(second);
  for (size_t i = 0; i < hosts.size(); ++i) {
    CHECK(second->virtual_hosts[i]->name == hosts[i].name());
    CHECK((second->virtual_hosts[i] == first->virtual_hosts[i]) == hosts[i].name().starts_with("svc"));
  }

  for (const size_t wrong : {0, 999, 1999}) {
    CAPTURE(wrong);
    for (const bool fresh : {false, true}) {
      auto message = of(hosts);
      message.mutable_virtual_hosts(static_cast<int>(wrong))->mutable_cors();
      Rig other;
      CHECK((fresh ? other : rig).next(message) == nullptr);
    }
  }
}

TEST_CASE("what filters keep goes on: of virtual hosts, and of the configuration around them") {
  Rig rig;
  auto limited = host("a");
  limit_rate(*limited.mutable_typed_per_filter_config());
  auto message = of({limited, host("b", "1")});
  limit_rate(*message.mutable_typed_per_filter_config());
  const auto first = rig.next(message);
  REQUIRE(first);
  *message.mutable_virtual_hosts(1) = host("b", "2");
  const auto second = rig.next(message);
  REQUIRE(second);
  auto settings = [](const model::FilterConfigs& all) { return all.by_name.at("limit").config.get(); };
  CHECK(settings(*second->filter_configs) == settings(*first->filter_configs));
  CHECK(settings(*find(second, "a")->filter_configs) == settings(*find(first, "a")->filter_configs));
  *message.mutable_virtual_hosts(0)->add_domains() = "more.example";
  const auto third = rig.next(message);
  REQUIRE(third);
  CHECK(settings(*find(third, "a")->filter_configs) != settings(*find(first, "a")->filter_configs));
}

// Random versions, each a few edits from the one before: some of them wrong.
struct Maker {
  explicit Maker(uint64_t seed) : random(seed) {}

  std::string word(uint64_t of) { return std::to_string(random.below(of)); }
  proto::VirtualHost make() {
    auto out = host(word(200), word(50));
    for (uint64_t n = random.below(3); n > 0; --n) {
      static const char* const shapes[] = {"", "*.", "*"};
      out.add_domains(shapes[random.below(3)] + word(2000) + ".Example");
    }
    if (random.chance(1, 30)) out.add_domains("*");
    if (random.chance(1, 3)) {
      auto& route = *out.add_routes();
      route.mutable_match()->mutable_safe_regex()->set_regex(random.chance(1, 60) ? "("
                                                                                  : "/" + word(9) + ".*");
      route.mutable_route()->set_cluster("c" + word(4));
    }
    if (random.chance(1, 150)) out.set_name("");
    if (random.chance(1, 150)) out.mutable_cors();
    return out;
  }
  void edit() {
    auto& hosts = *message.mutable_virtual_hosts();
    const int size = hosts.size();
    auto any = [&] { return static_cast<int>(random.below(static_cast<uint64_t>(size))); };
    switch (size == 0 ? 0 : random.below(12)) {
      case 0:
      case 1:
      case 2: {  // one comes, anywhere
        *hosts.Add() = make();
        for (int at = size, to = static_cast<int>(random.below(static_cast<uint64_t>(size) + 1)); at > to;
             --at)
          hosts.SwapElements(at, at - 1);
        break;
      }
      case 3:
      case 4:
        hosts.DeleteSubrange(any(), 1);
        break;
      case 5:
      case 6:
      case 7:
        *hosts.Mutable(any()) = make();
        break;
      case 8:
        hosts.SwapElements(any(), any());
        break;
      case 9:
        if (random.chance(1, 4)) *hosts.Add() = proto::VirtualHost(hosts.Get(any()));
        break;
      case 10:
        if (random.chance(1, 4))
          message.mutable_max_direct_response_body_size_bytes()->set_value(
              static_cast<uint32_t>(1 + random.below(3)));
        if (random.chance(1, 4)) message.set_ignore_port_in_host_matching(random.chance(1, 2));
        if (random.chance(1, 4)) message.mutable_validate_clusters()->set_value(random.chance(1, 2));
        break;
      default:
        if (random.chance(1, 4)) std::shuffle(hosts.begin(), hosts.end(), random);
    }
  }
  Random random;
  proto::RouteConfiguration message = of({});
};

std::string text(const model::Route& route) {
  if (const auto* action = std::get_if<model::RouteAction>(&route.action))
    return std::to_string(static_cast<int>(route.path.kind)) + " to " + action->cluster;
  return std::get<model::DirectResponseAction>(route.action).body;
}

// All that requests can see of it.
std::string text(const model::RouteConfig& config) {
  std::string out = config.name + " " + std::to_string(config.ignore_port_in_host_matching) + "\n";
  std::map<const model::VirtualHost*, std::string> places = {{nullptr, "-"}};
  for (const auto& h : config.virtual_hosts) {
    places[h.get()] = std::to_string(places.size());
    out += h->name + ":";
    for (const auto& domain : h->domains) out += " " + domain;
    for (const auto& route : h->routes) out += ", " + text(route);
    out += "\n";
  }
  out += places.at(config.find_virtual_host("no.such.host"));
  for (int i = 0; i < 2000; ++i)
    for (const char* before : {"", "a.", "9"})
      out += " " + places.at(config.find_virtual_host(before + std::to_string(i) + ".example"));
  return out;
}

TEST_CASE("random edits one after the other give what each version gives from nothing") {
  const char* given = std::getenv("SLUICE_SEED");
  const uint64_t seed = given ? std::strtoull(given, nullptr, 0) : random_seed();
  CAPTURE(seed);
  Maker maker(seed);
  Rig rig;
  proto::RouteConfiguration accepted = maker.message;
  RouteConfigPtr before;
  std::string text_before;
  int taken = 0, refused = 0, shared = 0;
  for (int i = 0; i < 60; ++i) *maker.message.add_virtual_hosts() = maker.make();
  for (int step = 0; step < 600; ++step) {
    for (uint64_t n = 1 + maker.random.below(3); n > 0; --n) maker.edit();
    if (maker.random.chance(1, 10)) {
      static const std::string names[] = {"c0", "c1", "c2", "c3"};
      rig.clusters = {"c"};
      for (const auto& name : names)
        if (maker.random.chance(5, 6)) rig.clusters.insert(name);
    }
    CAPTURE(step);
    const auto whole = rig.from_nothing(maker.message);
    const auto made = rig.next(maker.message);
    REQUIRE((made != nullptr) == whole.ok());
    if (before) REQUIRE(text(*before) == text_before);
    if (!made) {
      ++refused;
      maker.message = accepted;  // most versions are right
      continue;
    }
    ++taken;
    text_before = text(*made);
    REQUIRE(text_before == text(**whole));
    if (before)
      shared += static_cast<int>(std::ranges::count_if(made->virtual_hosts, [&](const auto& h) {
        return std::ranges::find(before->virtual_hosts, h) != before->virtual_hosts.end();
      }));
    before = made;
    accepted = maker.message;
  }
  // The test would be none without these.
  CHECK(taken > 100);
  CHECK(refused > 10);
  CHECK(shared > taken);
}

}  // namespace
}  // namespace sluice::config::test
