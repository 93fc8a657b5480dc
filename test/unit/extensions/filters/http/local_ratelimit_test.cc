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
  s->shared = std::make_shared<Limiter>(s->bucket, s->descriptors, true);
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
  TokenBucket several(5, 1, 1s);
  CHECK(several.take(t, 3));
  CHECK_FALSE(several.take(t, 3));
  CHECK_FALSE(several.take(t, 0));
  CHECK(several.remaining(t) == 2);
  CHECK(several.take(t + 1s, 3));
  CHECK(several.remaining(t + 1s) == 0);
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

namespace {

using Descriptor = model::RateLimitDescriptor;

model::RateLimit one_action(model::RateLimitAction action) {
  return {.actions = {std::move(action)}};
}
model::RateLimit by_header(const char* key, const char* name, bool skip = false) {
  return one_action({.kind = model::RateLimitAction::Kind::request_header,
                     .key = key,
                     .name = name,
                     .skip_if_absent = skip});
}

struct Asked {
  http::HeaderMap headers;
  Address remote = *Address::parse("10.1.2.3:4");
  ext::Metadata metadata = {};
  Descriptor of(const model::RateLimit& limit, bool* made = nullptr) {
    Descriptor out;
    const bool ok = model::describe(limit,
                                    {.headers = headers,
                                     .remote = remote,
                                     .source_cluster = "me",
                                     .destination_cluster = "up",
                                     .metadata = &metadata},
                                    out);
    if (made != nullptr) *made = ok;
    return ok ? out : Descriptor{};
  }
};

}  // namespace

TEST_CASE("rate limits: what each action makes of a request") {
  using Kind = model::RateLimitAction::Kind;
  Asked a;
  test::fill(a.headers, {{":path", "/p?user=bo%62&x="}, {"x-a", "1"}});
  CHECK(a.of(one_action({.kind = Kind::source_cluster, .key = "source_cluster"})) ==
        Descriptor{{"source_cluster", "me"}});
  CHECK(a.of(one_action({.kind = Kind::destination_cluster, .key = "destination_cluster"})) ==
        Descriptor{{"destination_cluster", "up"}});
  CHECK(a.of(one_action({.kind = Kind::generic_key, .key = "k", .value = "v"})) == Descriptor{{"k", "v"}});
  CHECK(a.of(by_header("k", "x-a")) == Descriptor{{"k", "1"}});
  CHECK(a.of(one_action({.kind = Kind::query_parameter, .key = "k", .name = "user"})) ==
        Descriptor{{"k", "bob"}});
  CHECK(a.of(one_action({.kind = Kind::remote_address, .key = "remote_address"})) ==
        Descriptor{{"remote_address", "10.1.2.3"}});
  CHECK(a.of(one_action({.kind = Kind::masked_remote_address, .key = "m", .v4_prefix = 16})) ==
        Descriptor{{"m", "10.1.0.0/16"}});
  a.remote = *Address::parse("[2001:db8::5]:4");
  CHECK(a.of(one_action({.kind = Kind::masked_remote_address, .key = "m", .v6_prefix = 32})) ==
        Descriptor{{"m", "2001:db8::/32"}});
  model::HeaderMatcher there;
  there.name = "x-a";
  model::RateLimitAction match{
      .kind = Kind::header_value_match, .key = "k", .value = "v", .headers = {there}};
  bool made = false;
  a.of(one_action(match), &made);
  CHECK(made);
  match.expect_match = false;
  a.of(one_action(match), &made);
  CHECK_FALSE(made);
}

TEST_CASE("rate limits: an action without a value takes the descriptor with it, or itself alone") {
  Asked a;
  test::fill(a.headers, {{":path", "/"}, {"x-a", "1"}});
  bool made = true;
  a.of({.actions = {by_header("k", "x-a").actions[0], by_header("l", "x-b").actions[0]}}, &made);
  CHECK_FALSE(made);
  CHECK(a.of({.actions = {by_header("l", "x-b", true).actions[0], by_header("k", "x-a").actions[0]}}) ==
        Descriptor{{"k", "1"}});
}

TEST_CASE("rate limits: by dynamic metadata") {
  Asked a;
  a.metadata["ns"] = {{"text", "\"v\""}, {"empty", "\"\""}, {"number", "5"}, {"in", "{\"deep\": \"d\"}"}};
  auto by = [](std::vector<std::string> path, const char* otherwise = "", bool skip = false,
               const char* ns = "ns") {
    return one_action({.kind = model::RateLimitAction::Kind::metadata,
                       .key = "k",
                       .value = otherwise,
                       .name = ns,
                       .path = std::move(path),
                       .skip_if_absent = skip});
  };
  CHECK(a.of(by({"text"})) == Descriptor{{"k", "v"}});
  CHECK(a.of(by({"text"}, "d")) == Descriptor{{"k", "v"}});
  CHECK(a.of(by({"in", "deep"})) == Descriptor{{"k", "d"}});
  for (const auto& path : std::vector<std::vector<std::string>>{
           {"empty"}, {"number"}, {"in"}, {"in", "x"}, {"text", "x"}, {"x"}}) {
    bool made = true;
    a.of(by(path), &made);
    CHECK_FALSE(made);
    CHECK(a.of(by(path, "other")) == Descriptor{{"k", "other"}});
    CHECK(a.of(by(path, "", true), &made) == Descriptor{});
    CHECK(made);
  }
  bool made = true;
  a.of(by({"text"}, "", false, "elsewhere"), &made);
  CHECK_FALSE(made);
}

TEST_CASE("local_ratelimit: a descriptor has a bucket of its own, and the default one counts with it") {
  MonotonicTime now{1000s};
  const Limiter::Described described{{{{"k", "a"}}, {2, 1, 1s}}, {{{"k", "b"}}, {1, 1, 10s}}};
  const Bucket ten{10, 1, 1s};
  Limiter l(ten, described, true);
  using Asks = std::vector<Limiter::Asked>;
  const Asks a{{.descriptor = {{"k", "a"}}}}, b{{.descriptor = {{"k", "b"}}}},
      other{{.descriptor = {{"k", "c"}}}}, both{a[0], b[0]}, twice{{.descriptor = {{"k", "a"}}, .hits = 2}};
  CHECK(l.ask(a, now).allowed);
  CHECK(l.ask(a, now).bucket->max_tokens() == 2);
  Limiter::Answer third = l.ask(a, now);
  CHECK_FALSE(third.allowed);
  CHECK(third.bucket->max_tokens() == 2);
  CHECK(l.ask(other, now).bucket->max_tokens() == 10);
  CHECK(l.ask({}, now).bucket->remaining(now) == 6);  // of two of `a`, one of `c`, and this one
  // The slowest is asked first: it refuses before the other one has lost a token.
  Limiter m(ten, described, true);
  CHECK(m.ask(both, now).bucket->max_tokens() == 1);
  CHECK_FALSE(m.ask(both, now).allowed);
  CHECK(m.ask(a, now).allowed);
  Limiter in_twos(ten, described, true);
  CHECK(in_twos.ask(twice, now).bucket->remaining(now) == 0);
  CHECK_FALSE(in_twos.ask(a, now).allowed);
  CHECK(in_twos.ask({}, now).bucket->remaining(now) == 8);  // the default one counts one for each
  Limiter alone(Bucket{1, 1, 1s}, described, false);
  CHECK(alone.ask(a, now).allowed);
  CHECK(alone.ask({}, now).allowed);  // the default one is still full
  CHECK_FALSE(alone.ask({}, now).allowed);
  CHECK_FALSE(alone.full(now));
  CHECK(alone.full(now + 1h));
  Limiter none({}, described, true);
  CHECK(none.ask({}, now).allowed);
  CHECK(none.ask({}, now).bucket == nullptr);
}

TEST_CASE("local_ratelimit: descriptors of the filter, of the route, and of its host") {
  auto s = settings(100);
  s->descriptors = {{{{"k", "a"}}, {1, 1, 1s}}};
  s->shared = std::make_shared<Limiter>(s->bucket, s->descriptors, true);
  model::VirtualHost host;
  host.rate_limits.edit() = {by_header("k", "x-host")};
  auto refused = [&](const Headers& headers, std::vector<model::RateLimit> route_limits = {},
                     bool include = false) {
    s->shared = std::make_shared<Limiter>(s->bucket, s->descriptors, true);
    test::FakeWorker w(make_factory(s));
    bool out = false;
    for (int i = 0; i < 2; ++i) {
      test::FakeStream stream(w);
      model::RouteAction action;
      action.rate_limits = route_limits;
      action.include_host_rate_limits = include;
      stream.route_entry.action = action;
      stream.route_match.virtual_host = &host;
      out = stream.request(headers) == ext::HeadersStatus::stop;
    }
    return out;
  };
  const Headers both{{":path", "/"}, {"x-host", "a"}, {"x-route", "b"}};
  CHECK(refused(both));  // the route has none: the host's
  CHECK_FALSE(refused(both, {by_header("k", "x-route")}));
  CHECK(refused(both, {by_header("k", "x-route")}, true));
  CHECK(refused({{":path", "/"}, {"x-route", "a"}}, {by_header("k", "x-route")}));
  s->host_limits = Settings::HostLimits::ignore;
  CHECK_FALSE(refused(both));
  s->host_limits = Settings::HostLimits::include;
  CHECK(refused(both, {by_header("k", "x-route")}));
  s->stage = 1;
  CHECK_FALSE(refused(both));
  s->stage = 0;
  s->rate_limits = {by_header("k", "x-own")};
  CHECK_FALSE(refused(both));
  CHECK(refused({{":path", "/"}, {"x-own", "a"}}));
}
