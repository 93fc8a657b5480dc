#include "extensions/filters/http/router/retry_state.h"

#include <doctest/doctest.h>

#include "test/unit/extensions/filters/http/router/fake_cluster.h"

using namespace sluice;
using namespace sluice::extensions::router;
using http::Name;
using http::ResetReason;
using Verdict = RetryState::Verdict;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

struct World {
  std::shared_ptr<FakeCluster> fake = std::make_shared<FakeCluster>();
  std::shared_ptr<ext::HttpCluster> cluster = fake;
  Random random{1};
  model::RetryPolicy policy;
  http::HeaderMap request;
  WallTime wall{seconds(1000)};

  void on(std::string_view http, std::string_view grpc = "") {
    policy.retry_on = model::parse_retry_on(http).bits | model::parse_retry_grpc_on(grpc).bits;
  }
  std::optional<RetryState> make() { return RetryState::make(&policy, request); }
  Verdict response(RetryState& s, uint16_t status,
                   std::initializer_list<std::pair<Name, std::string_view>> fields = {}) {
    http::HeaderMap h;
    h.set_integer(Name::status, status);
    for (auto& [name, value] : fields) h.add(name, value);
    return s.on_response(h, status, cluster, ext::RoutingPriority::normal, random, wall);
  }
  Verdict reset(RetryState& s, ResetReason reason, bool sent = true) {
    return s.on_reset(reason, sent, cluster, ext::RoutingPriority::normal, random);
  }
  bool retries(std::string_view on_words, uint16_t status,
               std::initializer_list<std::pair<Name, std::string_view>> fields = {}) {
    on(on_words);
    auto s = make();
    return response(*s, status, fields) == Verdict::yes;
  }
  bool retries(std::string_view on_words, ResetReason reason, bool sent = true) {
    on(on_words);
    auto s = make();
    return reset(*s, reason, sent) == Verdict::yes;
  }
};

}  // namespace

TEST_CASE("which responses each condition tries again") {
  World w;
  struct {
    const char* on;
    uint16_t status;
    bool retried;
  } table[] = {
      {"5xx", 500, true},
      {"5xx", 504, true},
      {"5xx", 499, false},
      {"5xx", 600, false},
      {"gateway-error", 502, true},
      {"gateway-error", 504, true},
      {"gateway-error", 501, false},
      {"gateway-error", 505, false},
      {"retriable-4xx", 409, true},
      {"retriable-4xx", 404, false},
      {"connect-failure", 503, false},
      {"reset", 503, false},
      {"refused-stream", 503, false},
  };
  for (auto& row : table) {
    CAPTURE(row.on);
    CAPTURE(row.status);
    CHECK(w.retries(row.on, row.status) == row.retried);
  }
  w.policy.retriable_status_codes = {418};
  CHECK(w.retries("retriable-status-codes", 418));
  CHECK_FALSE(w.retries("retriable-status-codes", 503));
  CHECK_FALSE(w.retries("5xx", 418));
}

TEST_CASE("a rate-limited response is for envoy-ratelimited alone") {
  World w;
  CHECK_FALSE(w.retries("5xx", 503, {{Name::x_envoy_ratelimited, "true"}}));
  CHECK(w.retries("envoy-ratelimited", 429, {{Name::x_envoy_ratelimited, "true"}}));
  CHECK_FALSE(w.retries("envoy-ratelimited", 429));
}

TEST_CASE("gRPC statuses in the head") {
  World w;
  struct {
    const char* word;
    const char* status;
  } table[] = {{"cancelled", "1"},
               {"deadline-exceeded", "4"},
               {"resource-exhausted", "8"},
               {"internal", "13"},
               {"unavailable", "14"}};
  for (auto& row : table) {
    w.on("", row.word);
    for (auto& other : table) {
      auto s = w.make();
      CHECK((w.response(*s, 200, {{Name::grpc_status, other.status}}) == Verdict::yes) == (&row == &other));
    }
  }
}

TEST_CASE("which resets each condition tries again") {
  World w;
  using enum ResetReason;
  struct {
    const char* on;
    ResetReason reason;
    bool sent, retried;
  } table[] = {
      {"connect-failure", connection_failure, false, true},
      {"connect-failure", connection_timeout, false, true},
      {"connect-failure", connection_termination, true, false},
      {"refused-stream", remote_refused_stream, true, true},
      {"refused-stream", remote_reset, true, false},
      {"reset", remote_reset, true, true},
      {"reset", connection_termination, true, true},
      {"reset", connection_failure, false, true},
      {"reset-before-request", connection_failure, false, true},
      {"reset-before-request", connection_termination, true, false},
      {"5xx", remote_reset, true, true},
      {"gateway-error", connection_failure, false, true},
      {"5xx", overflow, false, false},
      {"reset", overflow, false, false},
      {"retriable-4xx", remote_reset, true, false},
  };
  for (auto& row : table) {
    CAPTURE(row.on);
    CAPTURE(http::to_string(row.reason));
    CHECK(w.retries(row.on, row.reason, row.sent) == row.retried);
  }
}

TEST_CASE("so many times and no more; the circuit breaker has a say") {
  World w;
  w.on("5xx");
  w.policy.num_retries = 2;
  auto s = w.make();
  CHECK(w.response(*s, 503) == Verdict::yes);
  CHECK(w.fake->free_retries == 2);  // held until the next decision
  CHECK(w.response(*s, 503) == Verdict::yes);
  CHECK(w.fake->free_retries == 2);
  CHECK(w.response(*s, 503) == Verdict::exhausted);
  CHECK(w.fake->free_retries == 3);
  CHECK(w.fake->value("upstream_rq_retry") == 2);
  CHECK(w.fake->value("upstream_rq_retry_limit_exceeded") == 1);

  w.fake->free_retries = 0;
  auto t = w.make();
  CHECK(w.response(*t, 503) == Verdict::overflow);
  CHECK(w.fake->value("upstream_rq_retry_overflow") == 1);

  w.fake->free_retries = 1;
  auto u = w.make();
  CHECK(w.response(*u, 503) == Verdict::yes);
  CHECK(w.response(*u, 200) == Verdict::no);
  CHECK(w.fake->value("upstream_rq_retry_success") == 1);
  CHECK(w.fake->free_retries == 1);
  auto v = w.make();
  CHECK(w.response(*v, 503) == Verdict::yes);
  v.reset();
  CHECK(w.fake->free_retries == 1);
}

TEST_CASE("the request's own headers, taken out of it") {
  World w;
  w.request.add(Name::x_envoy_retry_on, "5xx, retriable-status-codes,retriable-headers");
  w.request.add(Name::x_envoy_max_retries, "5");
  w.request.add(Name::x_envoy_retriable_status_codes, "418, 421,x");
  w.request.add(Name::x_envoy_retriable_header_names, "X-Again, y");
  w.request.add(Name::x_envoy_hedge_on_per_try_timeout, "true");
  auto s = RetryState::make(nullptr, w.request);
  REQUIRE(s);
  CHECK(w.request.empty());
  CHECK(s->remaining() == 5);
  CHECK(w.response(*s, 421) == Verdict::yes);
  http::HeaderMap again;
  again.add("x-again", "1");
  CHECK(s->on_response(again, 200, w.cluster, {}, w.random, w.wall) == Verdict::yes);
  CHECK(w.response(*s, 200) == Verdict::no);

  // Without a policy and without a wish there is no state, and the headers go all the same.
  http::HeaderMap other;
  other.add(Name::x_envoy_max_retries, "5");
  CHECK_FALSE(RetryState::make(nullptr, other));
  CHECK(other.empty());
}

TEST_CASE("retriable_request_headers: none matches, no retry") {
  World w;
  w.on("5xx");
  model::HeaderMatcher m;
  m.name = "x-idempotent";
  w.policy.retriable_request_headers.push_back(m);
  auto s = w.make();
  CHECK(s->bits() == 0);
  w.request.add("x-idempotent", "1");
  CHECK(w.make()->bits() != 0);
}

TEST_CASE("back-off: anything up to an interval that doubles to its maximum") {
  World w;
  w.on("5xx");
  w.policy.num_retries = 6;
  w.policy.backoff_base = milliseconds(25);
  w.policy.backoff_max = milliseconds(100);
  const milliseconds ceilings[] = {milliseconds(25), milliseconds(50), milliseconds(100), milliseconds(100)};
  Duration most[4] = {};
  for (int i = 0; i < 300; ++i) {
    auto s = w.make();
    w.fake->free_retries = 10;
    for (int k = 0; k < 4; ++k) {
      REQUIRE(w.response(*s, 503) == Verdict::yes);
      CHECK(s->backoff() < ceilings[k]);
      most[k] = std::max(most[k], s->backoff());
    }
  }
  for (int k = 0; k < 4; ++k) CHECK(most[k] > ceilings[k] / 2);
}

TEST_CASE("rate-limited back-off: what the response says, and up to half of it more") {
  World w;
  w.on("5xx");
  w.policy.num_retries = 9;
  w.policy.reset_headers = {{"retry-after", false}, {"x-until", true}};
  w.policy.rate_limited_max = seconds(300);
  w.fake->free_retries = 9;
  auto s = w.make();
  CHECK(w.response(*s, 503, {{Name::retry_after, "20"}}) == Verdict::yes);
  CHECK(s->backoff() >= seconds(20));
  CHECK(s->backoff() < seconds(30));
  CHECK(w.response(*s, 503, {{Name::retry_after, "301"}}) == Verdict::yes);  // too long: the ordinary one
  CHECK(s->backoff() < seconds(1));
  http::HeaderMap h;
  h.add("x-until", "1010");
  CHECK(s->on_response(h, 503, w.cluster, {}, w.random, w.wall) == Verdict::yes);
  CHECK(s->backoff() >= seconds(10));
  CHECK(s->backoff() < seconds(15));
  CHECK(w.fake->value("upstream_rq_retry_backoff_ratelimited") == 2);
  CHECK(w.fake->value("upstream_rq_retry_backoff_exponential") == 1);
}
