#include "extensions/filters/http/local_ratelimit/local_ratelimit.h"

#include <doctest/doctest.h>

#include "test/unit/extensions/filters/http/fake_context.h"

using namespace sluice;
using namespace sluice::extensions::local_ratelimit;
using namespace std::chrono_literals;
using test::Headers;

namespace {

constexpr model::Fraction kAlways{.numerator = 100};

std::shared_ptr<Settings> settings(uint32_t max_tokens, Duration interval = 1s) {
  auto s = std::make_shared<Settings>();
  s->stat_prefix = "sp";
  s->bucket = {max_tokens, 1, interval};
  s->shared = std::make_shared<TokenBucket>(max_tokens, 1, interval);
  s->enabled = s->enforced = kAlways;
  return s;
}

model::HeaderRules one_header(const std::string& name) {
  model::HeaderRules r;
  model::HeaderRules::Add a;
  a.name = name;
  a.literal = "true";
  r.add.push_back(a);
  return r;
}

bool passes(test::FakeWorker& w, uint64_t connection = 1) {
  test::FakeStream s(w);
  s.info.connection_id = connection;
  return s.request({{":path", "/"}}) == ext::HeadersStatus::proceed;
}

}  // namespace

TEST_CASE("local_ratelimit: a bucket fills evenly and no further than its brim") {
  MonotonicTime t{1000s};
  TokenBucket b(3, 2, 1s);
  for (int i = 0; i < 3; ++i) CHECK(b.take(t));
  CHECK_FALSE(b.take(t));
  CHECK(b.remaining(t) == 0);
  CHECK(b.next(t) == 500ms);
  CHECK_FALSE(b.take(t + 499ms));
  CHECK(b.take(t + 500ms));
  CHECK_FALSE(b.take(t + 500ms));
  CHECK_FALSE(b.full(t + 1999ms));
  CHECK(b.full(t + 2001ms));
  CHECK(b.remaining(t + 1h) == 3);
  CHECK(b.next(t + 1h) == 0s);
  TokenBucket none(0, 1, 1s);
  CHECK_FALSE(none.take(t));
}

TEST_CASE("local_ratelimit: so many, then 429") {
  auto s = settings(2);
  s->response_headers = one_header("x-l");
  test::FakeWorker w(make_factory(s));
  CHECK(passes(w));
  CHECK(passes(w));
  test::FakeStream third(w);
  CHECK(third.request({{":path", "/"}}) == ext::HeadersStatus::stop);
  REQUIRE(third.replies.size() == 1);
  CHECK(third.replies[0].status == 429);
  CHECK(third.replies[0].body == "local_rate_limited");
  CHECK(third.replies[0].details == "local_rate_limited");
  CHECK(third.replies[0].headers == Headers{{":status", "429"}, {"x-l", "true"}});
  CHECK_FALSE(third.replies[0].grpc_status);
  CHECK(third.info.flags.to_short_string() == "RL");
  CHECK(w.stat("sp.http_local_rate_limit.enabled") == 3);
  CHECK(w.stat("sp.http_local_rate_limit.ok") == 2);
  CHECK(w.stat("sp.http_local_rate_limit.rate_limited") == 1);
  CHECK(w.stat("sp.http_local_rate_limit.enforced") == 1);
  w.loop.advance(1s);
  CHECK(passes(w));
  CHECK_FALSE(passes(w));
}

TEST_CASE("local_ratelimit: status, and gRPC's RESOURCE_EXHAUSTED") {
  auto s = settings(0);
  s->status = 503;
  s->resource_exhausted = true;
  test::FakeWorker w(make_factory(s));
  test::FakeStream r(w);
  r.request({{":path", "/"}});
  CHECK(r.replies.at(0).status == 503);
  CHECK(r.replies.at(0).grpc_status == 8);
}

TEST_CASE("local_ratelimit: not enforced, not enabled, no bucket") {
  auto s = settings(0);
  s->enforced = model::Fraction{.numerator = 0};
  s->request_headers_when_not_enforced = one_header("x-n");
  test::FakeWorker w(make_factory(s));
  test::FakeStream r(w);
  CHECK(r.request({{":path", "/"}}) == ext::HeadersStatus::proceed);
  CHECK(r.request_headers_map.get("x-n") == "true");
  CHECK(w.stat("sp.http_local_rate_limit.rate_limited") == 1);
  CHECK(w.stat("sp.http_local_rate_limit.enforced") == 0);
  auto off = settings(0);
  off->enabled = model::Fraction{.numerator = 0};
  test::FakeWorker w2(make_factory(off));
  CHECK(passes(w2));
  CHECK(w2.stat("sp.http_local_rate_limit.enabled") == 0);
  auto empty = settings(0);
  empty->bucket.reset();
  empty->shared.reset();
  test::FakeWorker w3(make_factory(empty));
  CHECK(passes(w3));
  CHECK(w3.stat("sp.http_local_rate_limit.ok") == 1);
}

TEST_CASE("local_ratelimit: x-ratelimit headers") {
  auto s = settings(2);
  s->x_ratelimit_headers = true;
  test::FakeWorker w(make_factory(s));
  auto headers = [&] {
    test::FakeStream r(w);
    if (r.request({{":path", "/"}}) == ext::HeadersStatus::proceed) r.response({{":status", "200"}});
    return std::string(r.response_headers_map.get("x-ratelimit-limit")) + " " +
           std::string(r.response_headers_map.get("x-ratelimit-remaining")) + " " +
           std::string(r.response_headers_map.get("x-ratelimit-reset"));
  };
  CHECK(headers() == "2 1 0");
  CHECK(headers() == "2 0 1");
  CHECK(headers() == "2 0 1");
}

TEST_CASE("local_ratelimit: a bucket for each connection; those that are full again are forgotten") {
  auto s = settings(1);
  s->per_connection = true;
  s->shared.reset();
  test::FakeWorker w(make_factory(s));
  CHECK(passes(w, 1));
  CHECK_FALSE(passes(w, 1));
  CHECK(passes(w, 2));
  for (uint64_t c = 100; c < 1000; ++c) CHECK(passes(w, c));
  CHECK_FALSE(passes(w, 1));
  w.loop.advance(1s);
  for (uint64_t c = 2000; c < 4000; ++c) CHECK(passes(w, c));
  CHECK(passes(w, 1));
  CHECK_FALSE(passes(w, 1));
}

TEST_CASE("local_ratelimit: a route's own bucket and statistics") {
  test::FakeWorker w(make_factory(settings(0)));
  auto route = settings(1);
  route->stat_prefix = "rt";
  for (bool ok : {true, false}) {
    test::FakeStream s(w);
    s.route_configs = {route};
    CHECK((s.request({{":path", "/"}}) == ext::HeadersStatus::proceed) == ok);
  }
  CHECK(w.stat("rt.http_local_rate_limit.enabled") == 2);
  CHECK(w.stat("sp.http_local_rate_limit.enabled") == 0);
}
