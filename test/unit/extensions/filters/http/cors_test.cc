#include "extensions/filters/http/cors/cors.h"

#include <doctest/doctest.h>

#include "test/unit/extensions/filters/http/fake_context.h"

// The expectations are what real Envoy 1.40 answered.
using namespace sluice;
using namespace sluice::extensions::cors;
using test::Headers;

namespace {

std::shared_ptr<Policy> policy() {
  auto p = std::make_shared<Policy>();
  p->allow_origins = {test::exactly("http://a.com")};
  p->allow_methods = "GET,POST";
  p->allow_headers = "x-a";
  p->expose_headers = "x-e";
  p->max_age = "77";
  p->allow_credentials = true;
  p->allow_private_network_access = true;
  return p;
}

Headers preflight(const std::string& origin) {
  return {{":method", "OPTIONS"},
          {"origin", origin},
          {"access-control-request-method", "PUT"},
          {"access-control-request-headers", "x-q"},
          {"access-control-request-private-network", "true"}};
}

}  // namespace

TEST_CASE("cors: a simple request") {
  test::FakeWorker w(make_factory());
  test::FakeStream s(w);
  s.route_configs = {policy()};
  CHECK(s.request({{":method", "GET"}, {"origin", "http://a.com"}}) == ext::HeadersStatus::proceed);
  s.response({{":status", "200"}});
  CHECK(test::list(s.response_headers_map) == Headers{{":status", "200"},
                                                      {"access-control-allow-origin", "http://a.com"},
                                                      {"access-control-allow-credentials", "true"},
                                                      {"access-control-expose-headers", "x-e"}});
  test::FakeStream other(w);
  other.route_configs = {policy()};
  other.request({{":method", "GET"}, {"origin", "http://b.com"}});
  other.response({{":status", "200"}});
  CHECK(other.response_headers_map.size() == 1);
  CHECK(w.stat("http.test.cors.origin_valid") == 1);
  CHECK(w.stat("http.test.cors.origin_invalid") == 1);
}

TEST_CASE("cors: preflight") {
  test::FakeWorker w(make_factory());
  test::FakeStream s(w);
  s.route_configs = {policy()};
  CHECK(s.request(preflight("http://a.com")) == ext::HeadersStatus::stop);
  REQUIRE(s.replies.size() == 1);
  CHECK(s.replies[0].details == "cors_response");
  CHECK(s.replies[0].headers == Headers{{":status", "200"},
                                        {"access-control-allow-origin", "http://a.com"},
                                        {"access-control-allow-credentials", "true"},
                                        {"access-control-allow-methods", "GET,POST"},
                                        {"access-control-allow-headers", "x-a"},
                                        {"access-control-max-age", "77"},
                                        {"access-control-allow-private-network", "true"},
                                        {"access-control-expose-headers", "x-e"}});
  test::FakeStream passed(w);
  passed.route_configs = {policy()};
  CHECK(passed.request(preflight("http://b.com")) == ext::HeadersStatus::proceed);

  test::FakeStream refused(w);
  auto p = policy();
  p->forward_not_matching_preflights = false;
  p->allow_methods = p->allow_headers = "*";
  refused.route_configs = {p};
  CHECK(refused.request(preflight("http://b.com")) == ext::HeadersStatus::stop);
  CHECK(refused.replies.at(0).headers == Headers{{":status", "200"},
                                                 {"access-control-allow-credentials", "true"},
                                                 {"access-control-allow-methods", "PUT"},
                                                 {"access-control-allow-headers", "x-q"},
                                                 {"access-control-max-age", "77"},
                                                 {"access-control-allow-private-network", "true"}});
}

TEST_CASE("cors: what is no preflight, has no policy or no origin") {
  test::FakeWorker w(make_factory());
  for (int i = 0; i < 4; ++i) {
    test::FakeStream s(w);
    if (i != 1) s.route_configs = {policy()};
    if (i == 2) s.route_entry.action = model::DirectResponseAction{};
    Headers h = {{":method", "OPTIONS"}, {"origin", "http://a.com"}};
    if (i != 0) h = preflight(i == 3 ? "" : "http://a.com");
    CHECK(s.request(h) == ext::HeadersStatus::proceed);
    CHECK(s.replies.empty());
  }
  CHECK(w.stat("http.test.cors.origin_valid") == 1);
}

TEST_CASE(
    "cors: the more specific level fills in what the less specific leaves open, and decides on or off") {
  test::FakeWorker w(make_factory());
  auto host = policy(), route = std::make_shared<Policy>();
  route->max_age = "1";
  route->allow_credentials = false;
  test::FakeStream s(w);
  s.route_configs = {host, route};
  CHECK(s.request(preflight("http://a.com")) == ext::HeadersStatus::stop);
  http::HeaderMap got;
  test::fill(got, s.replies.at(0).headers);
  CHECK(got.get("access-control-max-age") == "1");
  CHECK(got.get("access-control-allow-methods") == "GET,POST");
  CHECK_FALSE(got.has("access-control-allow-credentials"));

  route->filter_enabled = model::Fraction{.numerator = 0};
  test::FakeStream off(w);
  off.route_configs = {host, route};
  CHECK(off.request(preflight("http://a.com")) == ext::HeadersStatus::proceed);
  CHECK(w.stat("http.test.cors.origin_valid") == 1);
  route->shadow_enabled = model::Fraction{.numerator = 100};
  test::FakeStream shadow(w);
  shadow.route_configs = {host, route};
  CHECK(shadow.request(preflight("http://a.com")) == ext::HeadersStatus::proceed);
  shadow.response({{":status", "200"}});
  CHECK(shadow.response_headers_map.size() == 1);
  CHECK(w.stat("http.test.cors.origin_valid") == 2);
}
