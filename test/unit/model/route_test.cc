#include "model/route.h"

#include <doctest/doctest.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "test/unit/model/route_rig.h"

// Counts what a piece of a test allocates.
namespace {
std::atomic<size_t> allocations{0};
}
void* operator new(size_t size) {
  ++allocations;
  if (void* p = std::malloc(size)) return p;
  std::abort();
}
void operator delete(void* p) noexcept {
  std::free(p);
}
void operator delete(void* p, size_t) noexcept {
  std::free(p);
}

namespace sluice::model {
namespace {

using test::config, test::headers, test::host;

std::shared_ptr<RouteConfig> hosts(size_t count) {
  auto out = std::make_shared<RouteConfig>();
  for (size_t i = 0; i < count; ++i) {
    const std::string n = std::to_string(i);
    out->virtual_hosts.push_back(host("c" + n, {"svc" + n + ".example.com", "*.svc" + n + ".example.com"}));
  }
  REQUIRE(out->index().ok());
  return out;
}

TEST_CASE("among 5,000 virtual hosts a request asks as many tables as among 10, and allocates as little") {
  for (size_t count : {10, 5000}) {
    const auto routes = hosts(count);
    const auto request = headers({{":method", "GET"}, {":authority", "SVC7.example.com"}, {":path", "/a"}});
    const ext::StreamInfo info;
    size_t lookups = 0;
    CHECK(routes->find_virtual_host("svc7.example.com", &lookups)->name == "c7");
    CHECK(lookups == 1);
    lookups = 0;
    CHECK(routes->find_virtual_host("a.svc7.example.com", &lookups)->name == "c7");
    CHECK(lookups <= 1 + 4);  // one for each length of suffix: svc7 to svc4999
    const size_t before = allocations;
    const auto match = routes->match({.headers = *request, .info = info});
    const size_t after = allocations;
    REQUIRE(match);
    CHECK(match->cluster == "c7");
    CHECK(after == before);
  }
}

TEST_CASE("a host name that is too long for a name finds its way too") {
  const std::string name = std::string(300, 'A') + ".com";
  const auto routes = config(host("c", {std::string(300, 'a') + ".com"}));
  CHECK(routes->find_virtual_host(name) != nullptr);
  CHECK(routes->find_virtual_host(name + "x") == nullptr);
}

TEST_CASE("a request without :authority finds only the host that takes any") {
  const auto request = headers({{":method", "GET"}, {":path", "/"}});
  const ext::StreamInfo info;
  CHECK(config(host("c", {"*"}))->match({.headers = *request, .info = info}));
  CHECK_FALSE(config(host("c", {"a", "*"}))->match({.headers = *request, .info = info}));
}

TEST_CASE("a CONNECT has no path, and only a route that asks for it takes it") {
  auto v = host("c", {"*"});
  v->routes[0].path.text = "";
  v->routes.push_back(v->routes[0]);
  v->routes[1].path.kind = PathMatch::Kind::connect;
  v->routes[1].name = "connect";
  const auto routes = config(std::move(v));
  const ext::StreamInfo info;
  const auto connect = headers({{":method", "CONNECT"}, {":authority", "a:1"}});
  const auto udp =
      headers({{":method", "GET"}, {":authority", "a"}, {":path", "/x"}, {"upgrade", "connect-UDP"}});
  REQUIRE(routes->match({.headers = *connect, .info = info}));
  CHECK(routes->match({.headers = *connect, .info = info})->route->name == "connect");
  CHECK(routes->match({.headers = *udp, .info = info})->route->name == "");
}

TEST_CASE("grpc routes take application/grpc and its kinds") {
  auto v = host("c", {"*"});
  v->routes[0].conditions.edit().grpc_only = true;
  const auto routes = config(std::move(v));
  const ext::StreamInfo info;
  const std::pair<std::string, bool> types[] = {{"application/grpc", true},
                                                {"application/grpc+proto", true},
                                                {"application/grpc-web", false},
                                                {"application/json", false}};
  for (const auto& [type, expected] : types) {
    const auto request = headers({{":authority", "a"}, {":path", "/"}, {"content-type", type}});
    CHECK_MESSAGE(routes->match({.headers = *request, .info = info}).has_value() == expected, type);
  }
}

TEST_CASE("certificates that were shown, and that were found valid") {
  auto v = host("c", {"*"});
  v->routes[0].conditions.edit().tls_presented = true;
  v->routes[0].conditions.edit().tls_validated = false;
  const auto routes = config(std::move(v));
  const ext::StreamInfo info;
  const auto request = headers({{":authority", "a"}, {":path", "/"}});
  RouteInput in{.headers = *request, .info = info, .tls = true, .client_certificate_presented = true};
  CHECK(routes->match(in));
  in.client_certificate_validated = true;
  CHECK_FALSE(routes->match(in));
  in.client_certificate_presented = in.client_certificate_validated = false;
  CHECK_FALSE(routes->match(in));
}

TEST_CASE("a fraction of the requests, and clusters by weight, by the stream's random number") {
  auto v = host("c", {"*"});
  v->routes[0].conditions.edit().fraction = Fraction{.numerator = 30, .denominator = 100};
  RouteAction action;
  for (const auto& [name, weight] : {std::pair{"a", 1}, {"b", 0}, {"c", 2}}) {
    auto& choice = action.choice.edit();
    choice.weight_total += static_cast<uint64_t>(weight);
    WeightedCluster& cluster = choice.weighted_clusters.emplace_back();
    cluster.name = name;
    cluster.weight_end = choice.weight_total;
  }
  v->routes[0].action = std::move(action);
  const auto routes = config(std::move(v));
  const ext::StreamInfo info;
  const auto request = headers({{":authority", "a"}, {":path", "/"}});
  std::string drawn;
  for (uint64_t random = 0; random < 100; ++random) {
    const auto match = routes->match({.headers = *request, .info = info, .random = random});
    if (match) drawn += match->cluster;
  }
  CHECK(drawn.size() == 30);
  CHECK(drawn.substr(0, 6) == "accacc");
}

TEST_CASE(
    "weighted clusters by hash: what is hashed decides, the random number where there is nothing to hash") {
  auto v = host("c", {"*"});
  RouteAction action;
  auto& choice = action.choice.edit();
  choice.weight_by_hash = true;
  action.hash_policies.edit().push_back({.name = "user"});
  for (uint64_t i = 1; i <= 10; ++i) {
    WeightedCluster& cluster = choice.weighted_clusters.emplace_back();
    cluster.name = std::to_string(i);
    cluster.weight_end = choice.weight_total = i;
  }
  v->routes[0].action = std::move(action);
  const auto routes = config(std::move(v));
  const ext::StreamInfo info;
  const auto user = headers({{":authority", "a"}, {":path", "/"}, {"user", "foo"}});
  const auto nobody = headers({{":authority", "a"}, {":path", "/"}});
  for (uint64_t random = 0; random < 10; ++random) {
    // xxhash64("foo") % 10 == 9
    CHECK(routes->match({.headers = *user, .info = info, .random = random})->cluster == "10");
    CHECK(routes->match({.headers = *nobody, .info = info, .random = random})->cluster ==
          std::to_string(random + 1));
  }
}

TEST_CASE("TLS is asked of everybody, or of strangers") {
  auto v = host("c", {"*"});
  v->require_tls = VirtualHost::RequireTls::external_only;
  v->header_rules.edit().response.add.push_back({.name = "x", .literal = "y"});
  const auto routes = config(std::move(v));
  const ext::StreamInfo info;
  auto request = headers({{":authority", "a:80"}, {":path", "/p?q"}, {"x-forwarded-proto", "http"}});
  bool redirect = false;
  const auto match = routes->match({.headers = *request, .info = info}, &redirect);
  REQUIRE(match);
  CHECK(redirect);
  CHECK(match->action() == nullptr);
  CHECK(redirect_location(*match, *request) == "https://a:80/p?q");
  const auto response = headers({});
  apply_response_headers(*match, *response, info);
  CHECK(response->empty());
  request->set(http::Name::x_envoy_internal, "true");
  CHECK(routes->match({.headers = *request, .info = info}, &redirect)->action() != nullptr);
  CHECK_FALSE(redirect);
}

}  // namespace
}  // namespace sluice::model
