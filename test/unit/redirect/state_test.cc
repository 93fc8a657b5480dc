#include "redirect/state.h"

#include <doctest/doctest.h>
#include <unistd.h>

#include <fstream>

#include "core/log.h"
#include "redirect/host.h"

using namespace sluice;
using namespace sluice::redirect;

namespace {

WorkloadSpec full_spec() {
  WorkloadSpec s;
  s.name = "shop/cart-1";
  s.netns_path = "/run/netns/cart";
  s.identity = "spiffe://cluster.local/ns/shop/sa/cart";
  s.secrets = {SecretSource::Kind::files, "/run/secrets/cart"};
  s.fail_mode = FailMode::open;
  s.inbound = false;
  s.outbound_port = 16001;
  s.exclude_outbound_ports = {22, 5432};
  s.include_outbound_ports = {80};
  s.exclude_cidrs = {*Cidr::parse("10.0.0.0/8"), *Cidr::parse("fd00::/8")};
  s.include_cidrs = {*Cidr::parse("10.1.0.0/16")};
  s.exclude_uids = {0, 4294967295u};
  s.exclude_inbound_ports = {9090};
  s.include_inbound_ports = {8080};
  s.probe_sources = {*Cidr::parse("10.0.0.1/32")};
  return s;
}

}  // namespace

TEST_CASE("a workload spec survives JSON") {
  WorkloadSpec s = full_spec();
  auto back = spec_from_json(to_json(s));
  REQUIRE_MESSAGE(back.ok(), (back.ok() ? "" : back.error().message));
  CHECK(to_json(*back).dump() == to_json(s).dump());
  CHECK(back->exclude_uids == s.exclude_uids);
  CHECK(back->exclude_cidrs == s.exclude_cidrs);
  CHECK(back->fail_mode == FailMode::open);
  CHECK(!back->inbound);
}

TEST_CASE("a spec that is wrong is refused with the field's name") {
  struct {
    const char* json;
    const char* words;
  } cases[] = {
      {"[]", "must be a JSON object"},
      {R"({"netns": "/x"})", "name: must have"},
      {R"({"name": "a"})", "netns: is required"},
      {R"({"name": 1, "netns": "/x"})", "name: must be a string"},
      {R"({"name": "a b", "netns": "/x"})", "name: \"a b\" may hold"},
      {R"({"name": "../x", "netns": "/x"})", "name: must not begin with a dot"},
      {R"({"name": "123", "netns": "/x"})", "name: must not be a number"},
      {R"({"name": "a", "netns": "/x", "colour": 1})", "colour: unknown member"},
      {R"({"name": "a", "netns": "/x", "fail_mode": "ajar"})", "fail_mode: \"ajar\" is not a fail mode"},
      {R"({"name": "a", "netns": "/x", "inbound": 1})", "inbound: must be true or false"},
      {R"({"name": "a", "netns": "/x", "inbound": false, "outbound": false})", "at least one must be true"},
      {R"({"name": "a", "netns": "/x", "exclude_outbound_ports": [70000]})",
       "exclude_outbound_ports: must be a port"},
      {R"({"name": "a", "netns": "/x", "exclude_outbound_ports": 80})",
       "exclude_outbound_ports: must be a list"},
      {R"({"name": "a", "netns": "/x", "exclude_cidrs": ["10.0.0.0/99"]})", "exclude_cidrs: "},
      {R"({"name": "a", "netns": "/x", "exclude_uids": [-1]})", "exclude_uids: must be a list of numeric"},
      {R"({"name": "a", "netns": "/x", "outbound_port": 9, "inbound_port": 9})", "must differ"},
      {R"({"name": "a", "netns": "/x", "identity": "spiffe://td/x"})", "an identity needs a source"},
      {R"({"name": "a", "netns": "/x", "secrets": {"files": "/y"}})", "identity: is required"},
      {R"({"name": "a", "netns": "/x", "secrets": {"files": "/y"}, "identity": "cart"})",
       "identity: \"cart\" is no SPIFFE ID"},
      {R"({"name": "a", "netns": "/x", "secrets": {"files": "y"}, "identity": "spiffe://td/x"})",
       "secrets: \"y\" is no absolute path"},
      {R"({"name": "a", "netns": "/x", "secrets": {"files": "/y", "sds": "/z"}, "identity": "spiffe://td/x"})",
       "secrets: must be one of"},
      {R"({"name": "a", "netns": "/x", "secrets": "/y", "identity": "spiffe://td/x"})",
       "secrets: must be one of"},
  };
  for (const auto& c : cases) {
    INFO(std::string(c.json));
    auto json = Json::parse(c.json);
    REQUIRE(json.ok());
    auto spec = spec_from_json(*json);
    REQUIRE(!spec.ok());
    INFO(spec.error().message);
    CHECK(spec.error().message.find(c.words) != std::string::npos);
  }
}

TEST_CASE("state files: saved, found again, skipped when broken, removed") {
  std::string dir = "/tmp/sluice-state-test-" + std::to_string(::getpid());
  remove_tree(dir);
  StateDir state(dir);
  REQUIRE(state.prepare().ok());
  WorkloadState s{
      .spec = full_spec(), .netns_cookie = 42, .netns_inode = 4026531840, .id = 3, .netns_handle = ""};
  REQUIRE(state.save(s).ok());
  CHECK(state.workload_path("shop/cart-1") == dir + "/workloads/shop%2Fcart-1.json");
  std::ofstream(dir + "/workloads/broken.json") << "{";
  std::ofstream(dir + "/workloads/other.txt") << "not ours";
  log::set_level(log::Component::redirect, log::Level::off);
  auto found = state.load();
  log::set_level(log::Component::redirect, log::Level::info);
  REQUIRE(found.size() == 1);
  CHECK(found[0].netns_cookie == 42);
  CHECK(found[0].netns_inode == 4026531840);
  CHECK(found[0].id == 3);
  CHECK(to_json(found[0].spec).dump() == to_json(s.spec).dump());
  CHECK(!found[0].fwmark_accept_before);
  s.fwmark_accept_before = 0;
  REQUIRE(state.save(s).ok());
  log::set_level(log::Component::redirect, log::Level::off);
  CHECK(state.load().at(0).fwmark_accept_before == 0);
  log::set_level(log::Component::redirect, log::Level::info);
  state.remove("shop/cart-1");
  CHECK(list_dir(dir + "/workloads") == std::vector<std::string>{"broken.json", "other.txt"});
  remove_tree(dir);
  CHECK(list_dir(dir).empty());
}
