#include <doctest/doctest.h>
#include <google/protobuf/text_format.h>

#include "envoy/config/rbac/v3/rbac.pb.h"
#include "extensions/common/rbac/config.h"
#include "extensions/common/rbac/intervals.h"
#include "http/header_map.h"

using namespace sluice;
using namespace sluice::extensions;

namespace {

struct FakeTls final : ext::TlsInfo {
  const std::string& version() const override { return text; }
  const std::string& cipher() const override { return text; }
  uint16_t cipher_id() const override { return 0; }
  const std::string& session_id() const override { return text; }
  const std::string& alpn() const override { return text; }
  const std::string& server_name() const override { return text; }
  bool resumed() const override { return false; }
  const ext::CertificateInfo* peer() const override { return certificate ? &*certificate : nullptr; }
  bool peer_validated() const override { return certificate.has_value(); }
  const std::vector<std::string>& peer_chain_pem() const override { return none; }
  const std::vector<std::string>& peer_chain_sha256() const override { return none; }
  const std::vector<std::string>& peer_chain_sha1() const override { return none; }
  const std::vector<std::string>& peer_chain_serials() const override { return none; }
  const ext::CertificateInfo* local() const override { return nullptr; }
  std::string text;
  std::vector<std::string> none;
  std::optional<ext::CertificateInfo> certificate;
};

// A request as rules see it.
struct Request {
  explicit Request(const std::vector<std::pair<std::string, std::string>>& headers = {}) {
    for (auto& [name, value] : headers) map.add(std::string_view(name), value);
    info.downstream_local = *Address::parse("10.0.0.1:8080");
    info.downstream_remote = *Address::parse("192.0.2.7:1000");
    info.downstream_direct_remote = *Address::parse("10.0.0.2:2000");
    connection_remote = *Address::parse("10.0.0.3:3000");
    info.requested_server_name = "www.example.com";
  }
  Request& peer(std::vector<std::string> uris, std::vector<std::string> dns = {}, std::string subject = {}) {
    auto tls = std::make_shared<FakeTls>();
    tls->certificate.emplace();
    tls->certificate->uri_sans = std::move(uris);
    tls->certificate->dns_sans = std::move(dns);
    tls->certificate->subject = std::move(subject);
    info.downstream_tls = tls;
    return *this;
  }
  rbac::Subject subject() const { return {info, http ? &map : nullptr, connection_remote}; }
  http::HeaderMap map;
  ext::StreamInfo info;
  Address connection_remote;
  bool http = true;
};

Result<rbac::EnginePtr> parse(const std::string& text, bool http = true) {
  envoy::config::rbac::v3::RBAC proto;
  REQUIRE(google::protobuf::TextFormat::ParseFromString(text, &proto));
  return rbac::to_engine(proto, http, "rules");
}

rbac::EnginePtr engine(const std::string& text) {
  auto made = parse(text);
  if (!made.ok()) FAIL(made.error().message);
  return std::move(made).value();
}

std::string policy(const std::string& name, const std::string& permissions, const std::string& principals) {
  return "policies { key: '" + name + "' value { " + permissions + " " + principals + " } } ";
}

bool permits(const std::string& permission, const Request& r) {
  return engine(policy("p", "permissions { " + permission + " }", "principals { any: true }"))
      ->decide(r.subject())
      .allowed;
}
bool admits(const std::string& principal, const Request& r) {
  return engine(policy("p", "permissions { any: true }", "principals { " + principal + " }"))
      ->decide(r.subject())
      .allowed;
}

std::string cidr(const std::string& address, int length) {
  return "{ address_prefix: '" + address + "' prefix_len { value: " + std::to_string(length) + " } }";
}

}  // namespace

TEST_CASE("rbac: permissions") {
  Request r({{":method", "GET"}, {":path", "/a/b?c=d"}, {"x-user", "bob"}});
  struct {
    std::string rule;
    bool expected;
  } const table[] = {
      {"any: true", true},
      {"header { name: ':method' string_match { exact: 'GET' } }", true},
      {"header { name: 'X-User' string_match { exact: 'eve' } }", false},
      {"header { name: 'x-user' string_match { exact: 'eve' } invert_match: true }", true},
      {"url_path { path { exact: '/a/b' } }", true},
      {"url_path { path { exact: '/a/b?c=d' } }", false},
      {"url_path { path { prefix: '/a/' } }", true},
      {"destination_ip " + cidr("10.0.0.0", 8), true},
      {"destination_ip " + cidr("10.0.0.2", 32), false},
      {"destination_port: 8080", true},
      {"destination_port: 80", false},
      {"destination_port_range { start: 8080 end: 8081 }", true},
      {"destination_port_range { start: 8000 end: 8080 }", false},
      {"requested_server_name { suffix: '.example.com' }", true},
      {"requested_server_name { exact: 'example.com' }", false},
      {"not_rule { destination_port: 80 }", true},
      {"and_rules { rules { destination_port: 8080 } rules { any: true } }", true},
      {"and_rules { rules { destination_port: 80 } rules { any: true } }", false},
      {"or_rules { rules { destination_port: 80 } rules { url_path { path { exact: '/a/b' } } } }", true},
      {"or_rules { rules { destination_port: 80 } rules { destination_port: 81 } }", false},
  };
  for (const auto& c : table) {
    CAPTURE(c.rule);
    CHECK(permits(c.rule, r) == c.expected);
    CHECK(permits("not_rule { " + c.rule + " }", r) != c.expected);
    CHECK(permits("or_rules { rules { and_rules { rules { " + c.rule + " } } } }", r) == c.expected);
  }
}

TEST_CASE("rbac: addresses") {
  Request r;
  CHECK(admits("remote_ip " + cidr("192.0.2.0", 24), r));
  CHECK_FALSE(admits("remote_ip " + cidr("10.0.0.0", 8), r));
  CHECK(admits("direct_remote_ip " + cidr("10.0.0.2", 32), r));
  CHECK_FALSE(admits("direct_remote_ip " + cidr("10.0.0.3", 32), r));
  CHECK(admits("source_ip " + cidr("10.0.0.3", 32), r));
  CHECK_FALSE(admits("remote_ip " + cidr("::", 0), r));
  r.info.downstream_remote = *Address::parse("[::ffff:192.0.2.9]:1");
  CHECK(admits("remote_ip " + cidr("192.0.2.0", 24), r));
  CHECK_FALSE(admits("remote_ip " + cidr("::", 0), r));
  r.info.downstream_remote = *Address::parse("[2001:db8::1]:1");
  CHECK(admits("remote_ip " + cidr("2001:db8::", 33), r));
  CHECK_FALSE(admits("remote_ip " + cidr("0.0.0.0", 0), r));
  r.info.downstream_remote = *Address::pipe("/run/x.sock");
  CHECK_FALSE(admits("remote_ip " + cidr("0.0.0.0", 0), r));
}

TEST_CASE("rbac: the peer is its URI SANs, its DNS SANs or its subject") {
  const std::string any_tls = "authenticated {}";
  auto named = [](const std::string& match) { return "authenticated { principal_name { " + match + " } }"; };
  Request plain;
  CHECK_FALSE(admits(any_tls, plain));
  CHECK_FALSE(admits(named("safe_regex { regex: '.*' }"), plain));
  CHECK(admits("not_id { " + named("exact: 'a'") + " }", plain));

  Request full;
  full.peer({"spiffe://a/ns/x/sa/y", "spiffe://b"}, {"one.example"}, "CN=me,O=us");
  CHECK(admits(any_tls, full));
  for (const char* name : {"spiffe://a/ns/x/sa/y", "spiffe://b", "one.example", "CN=me,O=us"}) {
    CAPTURE(name);
    CHECK(admits(named("exact: '" + std::string(name) + "'"), full));
    CHECK(admits("or_ids { ids { " + named("exact: 'x'") + " } ids { " +
                     named("exact: '" + std::string(name) + "'") + " } }",
                 full));
  }
  CHECK(admits(named("safe_regex { regex: '.*/ns/x/.*' }"), full));
  CHECK(admits(named("exact: 'ONE.example' ignore_case: true"), full));
  CHECK_FALSE(admits(named("exact: 'ONE.example'"), full));
  CHECK_FALSE(admits(named("exact: ''"), full));

  Request anonymous;  // TLS without a client certificate
  anonymous.info.downstream_tls = std::make_shared<FakeTls>();
  CHECK(admits(any_tls, anonymous));
  CHECK(admits(named("exact: ''"), anonymous));
  CHECK_FALSE(admits(named("prefix: 'spiffe://'"), anonymous));
}

TEST_CASE("rbac: thousands of alternatives are as good as one") {
  std::string ids, ranges, ports, values;
  for (int i = 0; i < 3000; ++i) {
    const std::string n = std::to_string(i);
    ids += "ids { authenticated { principal_name { exact: 'spiffe://t/sa/" + n + "' } } } ";
    ranges += "ids { remote_ip " +
              cidr("10." + std::to_string(i / 256) + "." + std::to_string(i % 256) + ".128", 25) + " } ";
    ports += "rules { destination_port: " + std::to_string(2 * i + 1) + " } ";
    values += "rules { header { name: 'x-user' string_match { exact: 'u" + n + "' } } } ";
  }
  Request r;
  for (int i : {0, 1, 1777, 2999}) {
    r.peer({"spiffe://t/sa/" + std::to_string(i)});
    CHECK(admits("or_ids { " + ids + "}", r));
  }
  r.peer({"spiffe://t/sa/3000"});
  CHECK_FALSE(admits("or_ids { " + ids + "}", r));
  auto from = [&](const char* address) {
    r.info.downstream_remote = *Address::parse(std::string(address) + ":1");
    return admits("or_ids { " + ranges + "}", r);
  };
  CHECK(from("10.0.0.128"));
  CHECK(from("10.5.17.255"));
  CHECK_FALSE(from("10.5.17.127"));
  CHECK_FALSE(from("9.255.255.255"));
  CHECK_FALSE(from("10.11.184.200"));
  for (uint16_t port : {1, 5999, 2, 6000, 6001}) {
    CAPTURE(port);
    r.info.downstream_local = Address(r.info.downstream_local.ip(), port);
    CHECK(permits("or_rules { " + ports + "}", r) == (port % 2 == 1 && port < 6000));
  }
  CHECK(permits("or_rules { " + values + "}", Request({{"x-user", "u2999"}})));
  CHECK(permits("or_rules { " + values + "}", Request({{"x-user", "no"}, {"x-user", "u5"}})));
  CHECK_FALSE(permits("or_rules { " + values + "}", Request({{"x-user", "u3000"}})));
  CHECK_FALSE(permits("or_rules { " + values + "}", Request()));
}

TEST_CASE("rbac: without a request rules about requests match nothing") {
  Request r({{":path", "/a"}});
  r.http = false;
  CHECK_FALSE(permits("url_path { path { prefix: '/' } }", r));
  CHECK(permits("not_rule { url_path { path { prefix: '/' } } }", r));
}

TEST_CASE("rbac: actions, and the first policy by name") {
  Request r;
  const std::string all = "permissions { any: true }", both = "principals { any: true }";
  const std::string none = "permissions { destination_port: 1 }";
  const std::string two = policy("b", all, both) + policy("a", all, both) + policy("A", none, both);
  auto decide = [&](const std::string& text) { return engine(text)->decide(r.subject()); };

  rbac::Engine::Verdict v = decide("");
  CHECK_FALSE(v.allowed);
  CHECK(v.policy == nullptr);
  CHECK(decide("action: DENY").allowed);
  auto allow = engine(two), deny = engine("action: DENY " + two), log = engine("action: LOG " + two);
  v = allow->decide(r.subject());
  CHECK(v.allowed);
  REQUIRE(v.policy);
  CHECK(*v.policy == "a");
  CHECK_FALSE(v.log);
  CHECK_FALSE(deny->decide(r.subject()).allowed);
  v = log->decide(r.subject());
  CHECK(v.allowed);
  CHECK(v.log == true);
  v = decide("action: LOG");
  CHECK(v.allowed);
  CHECK(v.log == false);
}

TEST_CASE("rbac: what is left behind") {
  CHECK(rbac::denial_details(nullptr) == "rbac_access_denied_matched_policy[none]");
  const std::string name = "a b\tc";
  CHECK(rbac::denial_details(&name) == "rbac_access_denied_matched_policy[a_b_c]");
  ext::StreamInfo info;
  rbac::set_metadata(info, "ns", "key", "say \"x\"");
  rbac::set_metadata(info, "ns", "other", "1");
  rbac::set_log_hint(info, true);
  rbac::set_log_hint(info, false);
  CHECK(*info.dynamic_metadata == ext::Metadata{{"ns", {{"key", R"("say \"x\"")"}, {"other", "\"1\""}}},
                                                {"envoy.common", {{"access_log_hint", "false"}}}});
}

TEST_CASE("rbac: mistakes are refused with their place") {
  auto error = [](const std::string& permission, bool http = true) {
    auto made = parse(policy("p", "permissions { " + permission + " }", "principals { any: true }"), http);
    return made.ok() ? "" : made.error().message;
  };
  const std::string at = "rules.policies[\"p\"].permissions[0]";
  CHECK(error("destination_ip { address_prefix: '10.0.0' }")
            .starts_with(at + ".destination_ip.address_prefix: "));
  CHECK(error("not_rule { destination_ip " + cidr("10.0.0.0", 33) + " }")
            .starts_with(at + ".not_rule.destination_ip.prefix_len: "));
  CHECK(error("destination_port_range { start: 2 end: 2 }").starts_with(at + ".destination_port_range: "));
  CHECK(error("destination_port_range { start: -1 end: 2 }")
            .starts_with(at + ".destination_port_range.start: "));
  CHECK(error("destination_port_range { start: 1 end: 65537 }")
            .starts_with(at + ".destination_port_range.end: "));
  CHECK(error("header { name: 'a' }", false).starts_with(at + ".header: "));
  CHECK(error("header { name: 'a' }").empty());
  CHECK(error("or_rules { rules { any: true } rules { url_path { path { safe_regex { regex: '(' } } } } }")
            .starts_with(at + ".or_rules.rules[1].url_path.path.safe_regex.regex: "));
  CHECK(error("sourced_metadata { metadata_source: ROUTE }")
            .starts_with(at + ".sourced_metadata.metadata_source: "));
  CHECK(error("uri_template { name: 'x' }").starts_with(at + ".uri_template.typed_config: "));
  CHECK(error("").starts_with(at + ": "));
}

TEST_CASE("rbac: intervals are joined") {
  rbac::Intervals<int> list;
  for (auto [first, last] : {std::pair{5, 9}, {1, 2}, {3, 4}, {8, 12}, {20, 20}, {6, 7}})
    list.add(first, last);
  list.finish();
  CHECK(list.size() == 4);
  for (int i = -1; i < 25; ++i) {
    CAPTURE(i);
    CHECK(list.contains(i) == ((i >= 1 && i <= 12) || i == 20));
  }
}
