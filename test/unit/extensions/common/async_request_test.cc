#include "extensions/common/async_request.h"

#include <doctest/doctest.h>

#include <chrono>
#include <string>

#include "test/unit/extensions/filters/http/fake_try.h"

using namespace sluice;
using namespace sluice::test;
using namespace std::chrono_literals;
using ext::ResponseFlag;

namespace {

struct Bench {
  Bench() {
    cluster.tries = [this](http::StreamReceiver& r, ext::HttpTry::Callbacks& c) {
      return std::make_unique<FakeTry>(seen, r, c);
    };
  }
  uint64_t stat(std::string_view name) const {
    for (auto& m : store.snapshot())
      if (m.name == name) return m.value;
    return 0;
  }
  void start(Duration timeout = 0s, bool body = true, bool trailers = false);

  stats::Store store{1};
  FakeLoop loop;
  FakeCluster cluster{"c", store.root(0)};
  Seen seen;
  std::string outcome;  // what the request's owner was told
};

class Request final : public extensions::AsyncRequest {
 public:
  Request(Bench& bench, Message&& message)
      : AsyncRequest(bench.loop, bench.cluster.hold(), std::move(message)), bench_(bench) {}

 private:
  void on_complete() override { bench_.outcome += "complete " + std::to_string(status()) + at(); }
  void on_broken(uint16_t local, ResponseFlag flag, std::string_view reason) override {
    ext::ResponseFlags flags;
    flags.set(flag);
    bench_.outcome += "broken " + std::to_string(status()) + ' ' + std::to_string(local) + ' ' +
                      flags.to_short_string() + ' ' + std::string(reason) + at();
  }
  std::string at() const { return host() ? " at " + host()->address().to_string() : " at nobody"; }
  Bench& bench_;
};

void Bench::start(Duration timeout, bool body, bool trailers) {
  extensions::AsyncRequest::Message message;
  message.headers = http::make_headers();
  message.headers->add(http::Name::method, "POST");
  if (body) message.body.append(loop.blocks(), "body");
  if (trailers) message.trailers = http::make_headers();
  (new Request(*this, std::move(message)))->start({}, timeout);
}

}  // namespace

TEST_CASE("A request of the proxy's own: what is sent") {
  for (const bool body : {false, true}) {
    for (const bool trailers : {false, true}) {
      CAPTURE(body);
      CAPTURE(trailers);
      Bench b;
      b.start(0s, body, trailers);
      CHECK(b.seen.head.empty());
      b.seen.ready();
      CHECK(b.seen.field(":method") == "POST");
      CHECK(b.seen.body == (body ? "body" : ""));
      CHECK(b.seen.ended);
      b.seen.answer("200");
      CHECK(b.outcome == "complete 200 at 10.0.0.1:80");
      CHECK(b.seen.gone);
    }
  }
}

TEST_CASE(
    "A request of the proxy's own: an answer is complete with its last byte, and counts with its first") {
  Bench b;
  b.start(5s);
  b.seen.ready();
  b.seen.answer("202", false);
  CHECK(b.stat("cluster.c.internal.upstream_rq_202") == 1);
  CHECK(b.stat("cluster.c.upstream_rq_202") == 1);
  Buffer data;
  data.append(b.loop.blocks(), "dropped");
  b.seen.receiver->on_data(data, false);
  CHECK(data.empty());
  CHECK(b.outcome.empty());
  SUBCASE("of its body") {
    b.seen.receiver->on_data(data, true);
  }
  SUBCASE("of its trailers") {
    b.seen.receiver->on_trailers(http::make_headers());
  }
  CHECK(b.outcome == "complete 202 at 10.0.0.1:80");
  b.loop.advance(6s);
  CHECK(b.outcome == "complete 202 at 10.0.0.1:80");
  CHECK(b.stat("cluster.c.upstream_rq_timeout") == 0);
}

TEST_CASE("A request of the proxy's own: no answer, and half a one") {
  Bench b;
  b.start(5s);
  std::string head = "0";
  SUBCASE("no host") {
    b.seen.callbacks->on_failure(ext::Upstream::Failure::no_healthy_host, "");
    CHECK(b.outcome == "broken 0 503 UH  at 10.0.0.1:80");
  }
  SUBCASE("no room") {
    b.seen.callbacks->on_failure(ext::Upstream::Failure::overflow, "");
    CHECK(b.outcome == "broken 0 503 UO  at 10.0.0.1:80");
  }
  SUBCASE("no connection") {
    b.seen.callbacks->on_failure(ext::Upstream::Failure::connect_failed, "refused");
    CHECK(b.outcome == "broken 0 503 UF refused at 10.0.0.1:80");
  }
  SUBCASE("a reset") {
    b.seen.ready();
    SUBCASE("before the head") {}
    SUBCASE("behind the head") {
      b.seen.answer("200", false);
      head = "200";
    }
    b.seen.receiver->on_reset(http::ResetReason::remote_reset, "");
    CHECK(b.outcome == "broken " + head + " 503 UC  at 10.0.0.1:80");
  }
  SUBCASE("too late") {
    b.seen.ready();
    SUBCASE("before the head") {}
    SUBCASE("behind the head") {
      b.seen.answer("200", false);
      head = "200";
    }
    b.loop.advance(4s);
    CHECK(b.outcome.empty());
    b.loop.advance(2s);
    CHECK(b.outcome == "broken " + head + " 504 UT  at 10.0.0.1:80");
    CHECK(b.stat("cluster.c.upstream_rq_timeout") == 1);
  }
  CHECK(b.seen.gone);
}

TEST_CASE("A request of the proxy's own may take as long as it likes") {
  Bench b;
  b.start(0s);
  b.seen.ready();
  b.loop.advance(std::chrono::hours(24));
  CHECK(b.outcome.empty());
  b.seen.answer("200");
  CHECK(b.outcome == "complete 200 at 10.0.0.1:80");
}
