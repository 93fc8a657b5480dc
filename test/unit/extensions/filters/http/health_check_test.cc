#include "extensions/filters/http/health_check/health_check.h"

#include <doctest/doctest.h>

#include "test/unit/extensions/filters/http/fake_context.h"

using namespace sluice;
using namespace sluice::extensions::health_check;
using namespace std::chrono_literals;
using test::Headers;

namespace {

Settings settings(bool pass_through) {
  Settings s;
  s.pass_through = pass_through;
  model::HeaderMatcher m;
  m.name = ":path";
  m.kind = model::HeaderMatcher::Kind::string;
  m.string.text = "/hz";
  s.headers = {m};
  s.cluster_name = "mycluster";
  return s;
}

const Headers kCheck = {{":method", "GET"}, {":path", "/hz"}};

}  // namespace

TEST_CASE("health_check: answered here") {
  test::FakeWorker w(make_factory(settings(false)));
  test::FakeStream s(w);
  CHECK(s.request(kCheck) == ext::HeadersStatus::stop);
  CHECK(s.http_info.health_check);
  CHECK(s.replies.at(0).status == 200);
  CHECK(s.replies[0].details == "health_check_ok");
  CHECK(s.replies[0].headers ==
        Headers{{":status", "200"}, {"x-envoy-upstream-healthchecked-cluster", "mycluster"}});
  CHECK(w.stat("http.test.health_check.request_total") == 1);
  CHECK(w.stat("http.test.health_check.ok") == 1);
  CHECK(w.stat("http.test.health_check.failed") == 0);

  test::FakeStream other(w);
  CHECK(other.request({{":path", "/x"}}) == ext::HeadersStatus::proceed);
  CHECK_FALSE(other.http_info.health_check);
  other.response({{":status", "200"}});
  CHECK(other.response_headers_map.size() == 1);
}

TEST_CASE("health_check: the body is read first, and thrown away") {
  test::FakeWorker w(make_factory(settings(false)));
  test::FakeStream s(w);
  CHECK(s.request(kCheck, false) == ext::HeadersStatus::stop);
  CHECK(s.request_data("abc", false) == ext::DataStatus::stop_no_buffer);
  CHECK(s.replies.empty());
  CHECK(s.request_data("d", true) == ext::DataStatus::stop_no_buffer);
  CHECK(s.replies.size() == 1);
}

TEST_CASE("health_check: passed through and remembered") {
  auto with_cache = settings(true);
  with_cache.cache_time = 2s;
  test::FakeWorker w(make_factory(with_cache));
  {
    test::FakeStream s(w);
    CHECK(s.request(kCheck) == ext::HeadersStatus::proceed);
    s.response({{":status", "503"}, {"x-envoy-degraded", ""}});
    CHECK(s.response_headers_map.get("x-envoy-upstream-healthchecked-cluster") == "mycluster");
  }
  w.loop.advance(1999ms);
  {
    test::FakeStream s(w);
    CHECK(s.request(kCheck) == ext::HeadersStatus::stop);
    CHECK(s.replies.at(0).status == 503);
    CHECK(s.replies[0].details == "health_check_cached");
    CHECK(s.replies[0].headers == Headers{{":status", "503"},
                                          {"x-envoy-degraded", ""},
                                          {"x-envoy-upstream-healthchecked-cluster", "mycluster"}});
    CHECK(s.info.flags.to_short_string() == "LH");
  }
  CHECK(w.stat("http.test.health_check.cached_response") == 1);
  CHECK(w.stat("http.test.health_check.failed") == 1);
  CHECK(w.stat("http.test.health_check.degraded") == 1);
  w.loop.advance(1ms);  // an answer of ours makes it no younger
  test::FakeStream s(w);
  CHECK(s.request(kCheck) == ext::HeadersStatus::proceed);
}

TEST_CASE("health_check: as healthy as the clusters are") {
  Settings s = settings(false);
  s.cluster_min_healthy = {{"a", 50}, {"b", 0}};
  test::FakeWorker w(make_factory(s));
  auto ask = [&](uint16_t status, const std::string& details, const char* flags) {
    test::FakeStream stream(w);
    stream.request(kCheck);
    CHECK(stream.replies.at(0).status == status);
    CHECK(stream.replies[0].details == details);
    CHECK(stream.info.flags.to_short_string() == flags);
  };
  ask(503, "health_check_failed_no_cluster_found", "LH");
  auto& a = w.clusters.add("a");
  w.clusters.add("b");  // nobody is needed there
  ask(503, "health_check_failed_cluster_empty", "LH");
  a.members = {.total = 4, .healthy = 1, .degraded = 1};
  ask(200, "health_check_ok_cluster_healthy", "-");
  a.members = {.total = 5, .healthy = 2};
  ask(503, "health_check_failed_cluster_unhealthy", "LH");
  for (const char* name : {"not_found", "empty", "unhealthy"})
    CHECK(w.stat(std::string("http.test.health_check.failed_cluster_") + name) == 1);
  CHECK(w.stat("http.test.health_check.failed") == 3);
}

TEST_CASE("health_check: failing on purpose") {
  test::FakeWorker w(make_factory(settings(true)));
  test::FakeStream s(w);
  s.failed = true;
  CHECK(s.request(kCheck) == ext::HeadersStatus::stop);
  CHECK(s.replies.at(0).status == 503);
  CHECK(s.replies[0].details == "health_check_failed");
  test::FakeStream other(w);
  other.failed = true;
  other.request({{":path", "/x"}});
  other.response({{":status", "200"}});
  CHECK(other.response_headers_map.get("x-envoy-immediate-health-check-fail") == "true");
}
