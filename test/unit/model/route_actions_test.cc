#include "model/route_actions.h"

#include <doctest/doctest.h>

#include "core/xxhash.h"
#include "model/request_hash.h"
#include "test/unit/model/route_rig.h"

namespace sluice::model {
namespace {

using http::Name;
using test::config, test::headers, test::host, test::text;
using Append = HeaderRules::Append;

// Says what the request's header was when it was asked.
class FromRequest final : public HeaderFormatter {
 public:
  void format(const ext::StreamInfo& info, std::string& out) const override {
    out += info.http->request_headers->get(std::string_view("a"));
  }
};

TEST_CASE("header rules: removes first, values as they were before, overwrites before additions") {
  const auto map = headers({{"a", "1"}, {"b", "2"}, {"gone", "x"}});
  ext::HttpInfo http;
  http.request_headers = map.get();
  ext::StreamInfo info;
  info.http = &http;
  HeaderRules rules;
  rules.remove = {"gone"};
  const auto formatter = std::make_shared<FromRequest>();
  rules.add.push_back({.name = "copy", .formatter = formatter});
  rules.add.push_back({.name = "a", .literal = "new", .append = Append::overwrite_if_exists_or_add});
  rules.add.push_back({.name = "copy2", .formatter = formatter});
  rules.add.push_back({.name = "gone", .literal = "again", .append = Append::overwrite_if_exists});
  rules.add.push_back({.name = "b", .literal = "no", .append = Append::add_if_absent});
  rules.add.push_back({.name = "gone", .literal = "there", .append = Append::add_if_absent});
  rules.apply(*map, info);
  CHECK(text(*map) == "a: new|b: 2|copy: 1|copy2: 1|gone: there");
}

TEST_CASE("header rules: fields that the proxy knows stay one field, others may come twice") {
  const auto map = headers({{"via", "a"}, {"cookie", "a=b"}, {"set-cookie", "c"}, {"x", "1"}});
  HeaderRules rules;
  for (const char* name : {"via", "cookie", "set-cookie", "x"})
    rules.add.push_back({.name = name, .literal = "z"});
  rules.apply(*map, {});
  CHECK(text(*map) == "via: a,z|cookie: a=b; z|set-cookie: c|x: 1|set-cookie: z|x: z");
}

TEST_CASE("a redirect's port goes where the scheme it belonged to goes") {
  struct {
    const char *scheme, *used, *host, *expected;
    bool https;
    uint32_t port;
  } table[] = {
      {"http", "http", "a:80", "https://a/", true, 0},
      {"http", "http", "a:8080", "https://a:8080/", true, 0},
      {"http", "http", "a:443", "https://a:443/", true, 0},
      {"https", "https", "a:443", "https://a:443/", false, 0},
      {"http", "https", "a:443", "http://a/", false, 0},
      {"http", "http", "a:80", "http://a:81/", false, 81},
      {"http", "http", "[::1]:80", "https://[::1]/", true, 0},
      {"http", "http", "[::1]", "https://[::1]:9/", true, 9},
  };
  for (const auto& row : table) {
    auto v = host("c", {"*"});
    RedirectAction action;
    action.https = row.https;
    action.port = row.port;
    v->routes[0].action = std::move(action);
    const auto routes = config(std::move(v));
    const auto request = headers(
        {{":authority", row.host}, {":path", "/"}, {":scheme", row.scheme}, {"x-forwarded-proto", row.used}});
    const auto match = routes->match({.headers = *request, .info = {}});
    CHECK(redirect_location(*match, *request) == std::string(row.expected));
  }
}

TEST_CASE("a path that a filter made shorter than what the route matched does no harm") {
  auto v = host("c", {"*"});
  v->routes[0].path.text = "/long/prefix";
  std::get<RouteAction>(v->routes[0].action).rewrites.edit().prefix_rewrite = "/x";
  const auto routes = config(std::move(v));
  const auto request = headers({{":authority", "a"}, {":path", "/long/prefix/y"}});
  const auto match = routes->match({.headers = *request, .info = {}});
  request->set(Name::path, "/l");
  finalize_path(*match, *request, false);
  CHECK(request->get(Name::path) == "/x");
}

TEST_CASE("automatic host rewriting waits for the host") {
  auto v = host("c", {"*"});
  auto& action = std::get<RouteAction>(v->routes[0].action);
  action.rewrites.edit().host_rewrite = RouteAction::HostRewrite::from_upstream;
  action.rewrites.edit().append_x_forwarded_host = true;
  const auto routes = config(std::move(v));
  const auto request = headers({{":authority", "a"}, {":path", "/"}});
  const auto match = routes->match({.headers = *request, .info = {}});
  finalize_request(*match, *request, {}, true);
  CHECK(text(*request) == ":authority: a|:path: /");
  rewrite_host(*match->action(), "b", *request, true);
  CHECK(text(*request) == ":authority: b|:path: /|x-forwarded-host: a|x-envoy-original-host: a");
}

struct Named final : ext::HttpRouteConfig {
  explicit Named(std::string n) : name(std::move(n)) {}
  std::string name;
};

TEST_CASE("configurations of filters, the most specific first; switches likewise") {
  auto v = host("c", {"*"});
  auto& action = std::get<RouteAction>(v->routes[0].action);
  auto& choice = action.choice.edit();
  choice.weighted_clusters.resize(1);
  choice.weighted_clusters[0].weight_end = choice.weight_total = 1;
  auto& filters = choice.weighted_clusters[0].filter_configs.edit().by_name;
  filters["f"].config = std::make_shared<Named>("cluster");
  filters["off"].disabled = false;
  v->filter_configs.edit().by_name["f"].config = std::make_shared<Named>("host");
  v->filter_configs.edit().by_name["off"].disabled = true;
  v->filter_configs.edit().by_name["g"].disabled = true;
  auto routes = std::make_shared<RouteConfig>();
  routes->filter_configs.edit().by_name["f"].config = std::make_shared<Named>("config");
  routes->filter_configs.edit().by_name["g"].config = std::make_shared<Named>("config");
  routes->virtual_hosts.push_back(std::move(v));
  REQUIRE(routes->index().ok());
  const auto request = headers({{":authority", "a"}, {":path", "/"}});
  const auto match = routes->match({.headers = *request, .info = {}});
  REQUIRE(match);
  auto name = [](const ext::HttpRouteConfig* c) { return c ? static_cast<const Named*>(c)->name : "none"; };
  CHECK(name(filter_config(*match, "f")) == "cluster");
  CHECK(name(filter_config(*match, "g")) == "config");
  CHECK(name(filter_config(*match, "h")) == "none");
  std::string all;
  each_filter_config(*match, "f", [&](const auto& c) { all += name(&c) + " "; });
  CHECK(all == "config host cluster ");
  CHECK(filter_disabled(*match, "off") == false);
  CHECK(filter_disabled(*match, "g") == true);
  CHECK(filter_disabled(*match, "f") == false);
  CHECK_FALSE(filter_disabled(*match, "h"));
}

TEST_CASE("what a route does not say, its virtual host or its configuration does") {
  auto v = host("c", {"*"});
  RetryPolicy retry;
  retry.num_retries = 7;
  v->retry_policy = std::make_shared<const RetryPolicy>(retry);
  v->request_body_limit = 5;
  auto routes = std::make_shared<RouteConfig>();
  routes->mirrors.edit().push_back({.cluster = "shadow"});
  v->virtual_clusters.push_back({.name = "posts"});
  HeaderMatcher method;
  method.name = ":method";
  method.kind = HeaderMatcher::Kind::string;
  method.string.text = "POST";
  v->virtual_clusters[0].headers.push_back(method);
  routes->virtual_hosts.push_back(std::move(v));
  REQUIRE(routes->index().ok());
  const auto request = headers({{":method", "POST"}, {":authority", "a"}, {":path", "/"}});
  const auto match = routes->match({.headers = *request, .info = {}});
  CHECK(retry_policy(*match)->num_retries == 7);
  CHECK(request_body_limit(*match) == 5);
  CHECK(mirror_policies(*match).at(0).cluster == "shadow");
  CHECK(virtual_cluster(*match->virtual_host, *request) == "posts");
  request->set(Name::method, "GET");
  CHECK(virtual_cluster(*match->virtual_host, *request) == "other");
}

TEST_CASE("request hashes are Envoy's") {
  using Kind = HashPolicy::Kind;
  ext::StreamInfo info;
  info.downstream_remote = *Address::parse("10.1.2.3:4567");
  const auto request =
      headers({{":path", "/?q=foo&q=no"}, {"h", "o"}, {"h", "fo"}, {"cookie", "x=1; c=\"foo\"; d=2"}});
  auto hash = [&](std::vector<HashPolicy> policies, const MakeCookie& make = {}) {
    return request_hash(policies, *request, info, make);
  };
  const uint64_t foo = xxhash64("foo");
  CHECK(hash({{.name = "h"}}) == xxhash64("foo"));  // sorted: "fo", "o"
  CHECK(hash({{.kind = Kind::cookie, .name = "c"}}) == foo);
  CHECK(hash({{.kind = Kind::query_parameter, .name = "q"}}) == foo);
  CHECK(hash({{.kind = Kind::source_ip}}) == xxhash64("10.1.2.3"));
  CHECK_FALSE(hash({{.name = "missing"}}));
  CHECK_FALSE(hash({{.kind = Kind::cookie, .name = "missing"}}));
  const uint64_t ip = xxhash64("10.1.2.3");
  CHECK(hash({{.name = "h"}, {.kind = Kind::source_ip}}) == ((foo << 1 | foo >> 63) ^ ip));
  CHECK(hash({{.name = "h"}, {.name = "h"}}) != 0);
  CHECK(hash({{.terminal = true, .name = "h"}, {.kind = Kind::source_ip}}) == foo);
  CHECK(hash({{.terminal = true, .name = "missing"}, {.kind = Kind::source_ip}}) == ip);

  HashPolicy made{.kind = Kind::cookie, .name = "new"};
  made.cookie_ttl = std::chrono::seconds(60);
  made.cookie_path = "/p";
  made.cookie_attributes = {{"SameSite", "Lax"}, {"Secure", ""}};
  CHECK(hash({made}, [](const HashPolicy&) { return "foo"; }) == foo);
  CHECK_FALSE(hash({made}));
  CHECK(set_cookie(made, "v") == "new=\"v\"; Max-Age=60; Path=/p; SameSite=Lax; Secure; HttpOnly");
  CHECK(made_cookie_value(info).size() == 16);

  HashPolicy rewritten{.name = "h"};
  rewritten.regex = *Regex::compile("o");
  rewritten.substitution = "x";
  CHECK(hash({rewritten}) == xxhash64("fxx"));
}

TEST_CASE("the words of retry_on") {
  const auto http = parse_retry_on("5xx, reset,,unknown");
  CHECK(http.has(RetryOn::server_error));
  CHECK(http.has(RetryOn::reset));
  CHECK_FALSE(http.has(RetryOn::connect_failure));
  CHECK_FALSE(http.all_known);
  CHECK(parse_retry_on("").all_known);
  CHECK_FALSE(parse_retry_on("cancelled").all_known);
  CHECK(parse_retry_grpc_on("cancelled,unavailable").has(RetryOn::grpc_unavailable));
}

}  // namespace
}  // namespace sluice::model
