#include "extensions/filters/network/http_connection_manager/tracing.h"

#include <doctest/doctest.h>

#include <cstdio>
#include <string>

using namespace sluice;
using namespace extensions::http_connection_manager;
using ext::TraceReason;
using http::Name;

namespace {

model::TraceSampling shares(uint32_t client, uint32_t hundredths, uint32_t overall) {
  return {{client, 100}, {hundredths, 10'000}, {overall, 100}};
}

std::string id(uint32_t number, char reason = '4') {
  char text[40];
  std::snprintf(text, sizeof(text), "%08x-1234-%c234-8234-1234567890ab", number, reason);
  return text;
}

struct Decision {
  TraceReason reason;
  std::string id;
};

struct Bench {
  Settings settings;
  Random random{1};
  http::HeaderMap request;
  const model::RouteTracing* route = nullptr;

  explicit Bench(model::TraceSampling sampling) {
    auto tracing = std::make_shared<Tracing>();
    tracing->rules.sampling = sampling;
    settings.tracing = std::move(tracing);
  }
  Decision decide(const std::string& request_id) {
    request.set(Name::x_request_id, request_id);
    const TraceReason reason = decide_trace(settings, route, random, request);
    return {reason, std::string(request.get(Name::x_request_id))};
  }
};

}  // namespace

TEST_CASE("tracing: the request's id decides, the same at every hop") {
  Bench bench(shares(100, 5000, 100));
  CHECK(bench.decide(id(4999)).reason == TraceReason::sampled);
  CHECK(bench.decide(id(4999)).id == id(4999, '9'));
  CHECK(bench.decide(id(14999)).id == id(14999, '9'));
  CHECK(bench.decide(id(5000)).reason == TraceReason::not_traceable);
  CHECK(bench.decide(id(5000)).id == id(5000));
}

TEST_CASE("tracing: what an earlier hop has decided") {
  Bench bench(shares(100, 0, 100));
  CHECK(bench.decide(id(1, '9')).reason == TraceReason::sampled);
  CHECK(bench.decide(id(1, 'a')).reason == TraceReason::service_forced);
  CHECK(bench.decide(id(1, 'b')).reason == TraceReason::client_forced);
  CHECK(bench.decide(id(1, 'A')).reason == TraceReason::not_traceable);
  CHECK(bench.decide(id(1, '1')).id == id(1, '1'));
}

TEST_CASE("tracing: asked for") {
  Bench bench(shares(100, 0, 100));
  bench.request.set(Name::x_envoy_force_trace, "1");
  CHECK(bench.decide(id(1)).id == id(1, 'a'));
  bench.request.set(Name::x_client_trace_id, "c");
  CHECK(bench.decide(id(1)).id == id(1, 'b'));
  bench.route = nullptr;
  model::RouteTracing route;
  route.sampling = shares(0, 0, 100);
  bench.route = &route;
  CHECK(bench.decide(id(1)).id == id(1, 'a'));
}

TEST_CASE("tracing: the overall share takes back") {
  Bench bench(shares(100, 10'000, 60));
  CHECK(bench.decide(id(10'059)).id == id(10'059, '9'));
  CHECK(bench.decide(id(10'060)).reason == TraceReason::not_traceable);
  CHECK(bench.decide(id(10'060, 'a')).id == id(10'060));
}

TEST_CASE("tracing: ids that say nothing") {
  Bench bench(shares(100, 10'000, 100));
  CHECK(decide_trace(bench.settings, nullptr, bench.random, bench.request) == TraceReason::not_traceable);
  for (const char* bad : {"", "1234567", "abcdefgh", "-1234567"}) {
    CAPTURE(bad);
    CHECK(bench.decide(bad).reason == TraceReason::not_traceable);
  }
  // Enough for a decision, not for a reason.
  CHECK(bench.decide("12345678").reason == TraceReason::sampled);
  CHECK(bench.decide("12345678").id == "12345678");
}

TEST_CASE("tracing: ids that are left alone") {
  Bench bench(shares(100, 10'000, 100));
  bench.settings.pack_trace_reason = false;
  CHECK(bench.decide(id(1)).reason == TraceReason::sampled);
  CHECK(bench.decide(id(1)).id == id(1));
  bench.settings.trace_by_request_id = false;
  CHECK(bench.decide("").reason == TraceReason::sampled);
}
