#include "extensions/filters/http/router/timeouts.h"

#include <doctest/doctest.h>

#include "extensions/filters/http/router/redirect_target.h"

using namespace sluice;
using namespace sluice::extensions::router;
using http::Name;
using std::chrono::milliseconds;
using std::chrono::seconds;

TEST_CASE("the route's time-out, and what upstream is told") {
  model::RouteAction route;
  http::HeaderMap request;
  Timeouts t = final_timeouts(route, nullptr, request, {});
  CHECK(t.global == seconds(15));
  CHECK(t.per_try == Duration{});
  CHECK(request.get(Name::x_envoy_expected_rq_timeout_ms) == "15000");
  http::HeaderMap quiet;
  final_timeouts(route, nullptr, quiet, {.set_expected = false});
  CHECK(quiet.empty());
  route.timeout = {};
  http::HeaderMap none;
  CHECK(final_timeouts(route, nullptr, none, {}).global == Duration{});
  CHECK(none.empty());
}

TEST_CASE("the request's headers win and are taken out") {
  model::RouteAction route;
  model::RetryPolicy policy;
  policy.per_try_timeout = milliseconds(500);
  http::HeaderMap request;
  request.add(Name::x_envoy_upstream_rq_timeout_ms, "1000");
  request.add(Name::x_envoy_upstream_rq_per_try_timeout_ms, "200");
  Timeouts t = final_timeouts(route, &policy, request, {});
  CHECK(t.global == seconds(1));
  CHECK(t.per_try == milliseconds(200));
  CHECK_FALSE(request.has(Name::x_envoy_upstream_rq_timeout_ms));
  CHECK_FALSE(request.has(Name::x_envoy_upstream_rq_per_try_timeout_ms));
  CHECK(request.get(Name::x_envoy_expected_rq_timeout_ms) == "200");

  request.add(Name::x_envoy_upstream_rq_per_try_timeout_ms, "1000");
  request.add(Name::x_envoy_upstream_rq_timeout_ms, "1000");
  CHECK(final_timeouts(route, &policy, request, {}).per_try == Duration{});  // it would never come
  request.add(Name::x_envoy_upstream_rq_timeout_ms, "soon");
  CHECK(final_timeouts(route, nullptr, request, {}).global == seconds(15));
}

TEST_CASE("respect_expected_rq_timeout") {
  model::RouteAction route;
  http::HeaderMap request;
  request.add(Name::x_envoy_expected_rq_timeout_ms, "300");
  request.add(Name::x_envoy_upstream_rq_timeout_ms, "900");
  CHECK(final_timeouts(route, nullptr, request, {.respect_expected = true}).global == milliseconds(300));
  CHECK(final_timeouts(route, nullptr, request, {.respect_expected = false}).global == milliseconds(900));
}

TEST_CASE("gRPC: the caller's time-out, capped and shortened, is upstream's") {
  model::RouteAction route;
  route.max_grpc_timeout = seconds(10);
  route.limits.edit().grpc_timeout_offset = milliseconds(100);
  auto ask = [&](std::string_view text) {
    http::HeaderMap request;
    if (!text.empty()) request.add(Name::grpc_timeout, text);
    Timeouts t = final_timeouts(route, nullptr, request, {.grpc = true});
    return std::pair{t.global, std::string(request.get(Name::grpc_timeout))};
  };
  CHECK(ask("1S") == std::pair<Duration, std::string>{milliseconds(900), "900m"});
  CHECK(ask("50m").first == milliseconds(50));  // the offset would leave nothing
  CHECK(ask("1M") == std::pair<Duration, std::string>{seconds(10), "10000m"});
  CHECK(ask("").first == seconds(10));
  CHECK(ask("nonsense").first == seconds(10));
}

TEST_CASE("a later try has what is left") {
  Timeouts t{.global = seconds(1), .per_try = milliseconds(400)};
  http::HeaderMap request;
  set_timeout_headers(t, milliseconds(300), {}, request);
  CHECK(request.get(Name::x_envoy_expected_rq_timeout_ms) == "400");
  set_timeout_headers(t, milliseconds(700), {}, request);
  CHECK(request.get(Name::x_envoy_expected_rq_timeout_ms) == "300");
  set_timeout_headers(t, milliseconds(1000), {}, request);
  CHECK(request.get(Name::x_envoy_expected_rq_timeout_ms) == "1");
}

TEST_CASE("redirect targets") {
  auto t = parse_redirect_target("http://other:81/p/q?x=1#frag");
  REQUIRE(t);
  CHECK(t->scheme == "http");
  CHECK(t->host == "other:81");
  CHECK(t->path == "/p/q?x=1");
  CHECK(parse_redirect_target("https://h")->path == "/");
  CHECK(parse_redirect_target("http://h?x")->path == "/?x");
  for (const char* bad : {"", "/p", "ftp://h/", "http://", "http:///p"})
    CHECK_FALSE(parse_redirect_target(bad));
}
