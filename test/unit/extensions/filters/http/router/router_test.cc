#include "extensions/filters/http/router/router.h"

#include <doctest/doctest.h>

#include <chrono>

#include "test/unit/extensions/filters/http/fake_context.h"
#include "test/unit/extensions/filters/http/fake_try.h"

// The router between a stream that nobody else is on and tries that do what the test says.
using namespace sluice;
using namespace sluice::test;
using namespace std::chrono_literals;
using http::ResetReason;

namespace {

struct Bench {
  Bench() : worker(extensions::router::make_factory(std::make_shared<extensions::router::Config>())) {
    worker.clusters.add("up").tries = [this](http::StreamReceiver& r, ext::HttpTry::Callbacks& c) {
      return std::make_unique<FakeTry>(tries.emplace_back(), r, c);
    };
  }
  FakeStream& stream() {
    made = std::make_unique<FakeStream>(worker);
    return *made;
  }
  static Headers request(const char* method = "GET") {
    return {{":method", method}, {":scheme", "http"}, {":authority", "a"}, {":path", "/"}};
  }

  FakeWorker worker;
  std::deque<Seen> tries;
  std::unique_ptr<FakeStream> made;
};

}  // namespace

TEST_CASE("A request goes out, its answer comes back") {
  Bench b;
  FakeStream& s = b.stream();
  CHECK(s.request(Bench::request("POST"), false) == ext::HeadersStatus::stop);
  REQUIRE(b.tries.size() == 1);
  s.request_data("before there is a stream,", false);
  CHECK(b.tries[0].head.empty());
  b.tries[0].ready();
  s.request_data(" and after", true);
  CHECK(b.tries[0].body == "before there is a stream, and after");
  CHECK(b.tries[0].ended);
  CHECK(b.tries[0].field("x-envoy-expected-rq-timeout-ms") == "15000");
  b.tries[0].answer("200", false);
  Buffer body;
  body.append(b.worker.loop.blocks(), "hello");
  b.tries[0].receiver->on_data(body, true);
  CHECK(s.responded[0].second == "200");
  CHECK(s.responded_body == "hello");
  CHECK(s.response_ended);
  CHECK(b.tries[0].gone);
  CHECK(b.worker.stat("cluster.up.upstream_rq_200") == 1);
}

TEST_CASE(
    "A kept-alive connection that the server closed as the request came: what may be done twice goes out "
    "again") {
  Bench b;
  SUBCASE("each idempotent method, on to a connection that lasts") {
    for (const char* method : {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"}) {
      CAPTURE(method);
      b.tries.clear();
      FakeStream& s = b.stream();
      s.request(Bench::request(method));
      for (size_t i = 0; i < 3; ++i) {
        b.tries[i].ready();
        b.tries[i].unseen = true;
        b.tries[i].receiver->on_reset(ResetReason::connection_termination, "");
        REQUIRE(b.tries.size() == i + 2);
        CHECK(b.tries[i].gone);
        CHECK_FALSE(b.tries[i].result);  // nothing that the host is to blame for
      }
      b.tries[3].ready();
      b.tries[3].answer("200");
      CHECK(s.responded[0].second == "200");
      CHECK(s.info.upstream_attempts == 1);
    }
    CHECK(b.worker.stat("cluster.up.upstream_rq_503") == ~0ull);
  }
  SUBCASE("others are not") {
    FakeStream& s = b.stream();
    s.request(Bench::request("POST"));
    b.tries[0].ready();
    b.tries[0].unseen = true;
    b.tries[0].receiver->on_reset(ResetReason::connection_termination, "");
    CHECK(b.tries.size() == 1);
    REQUIRE(s.replies.size() == 1);
    CHECK(s.replies[0].status == 503);
    CHECK(b.tries[0].result == ext::TryResult::reset);
  }
  SUBCASE("a fresh connection is not to blame") {
    FakeStream& s = b.stream();
    s.request(Bench::request());
    b.tries[0].ready();
    b.tries[0].receiver->on_reset(ResetReason::connection_termination, "");
    CHECK(s.replies.at(0).status == 503);
  }
  SUBCASE("a body that nobody has kept cannot") {
    FakeStream& s = b.stream();
    s.request(Bench::request("PUT"), false);
    b.tries[0].ready();
    s.request_data("gone", false);
    b.tries[0].unseen = true;
    b.tries[0].receiver->on_reset(ResetReason::connection_termination, "");
    CHECK(s.replies.at(0).status == 503);
  }
  SUBCASE("nor an answer that has begun") {
    FakeStream& s = b.stream();
    s.request(Bench::request());
    b.tries[0].ready();
    b.tries[0].answer("200", false);
    b.tries[0].unseen = true;
    b.tries[0].receiver->on_reset(ResetReason::connection_termination, "");
    CHECK(b.tries.size() == 1);
    CHECK(s.replies.size() == 1);
  }
  SUBCASE("and not for ever") {
    FakeStream& s = b.stream();
    s.request(Bench::request());
    while (s.replies.empty() && b.tries.size() < 100) {
      Seen& last = b.tries.back();
      last.ready();
      last.unseen = true;
      last.receiver->on_reset(ResetReason::connection_termination, "");
    }
    CHECK(b.tries.size() == 6);
    CHECK(s.replies.at(0).status == 503);
  }
}

TEST_CASE("What was never sent goes out again, whatever the method") {
  Bench b;
  FakeStream& s = b.stream();
  s.request(Bench::request("POST"));
  b.tries[0].ready();
  b.tries[0].receiver->on_reset(ResetReason::local_refused_stream, "");
  REQUIRE(b.tries.size() == 2);
  b.tries[1].ready();
  b.tries[1].answer("200");
  CHECK(s.responded[0].second == "200");
}

TEST_CASE("A policy that covers a reset has its way: back-off, attempts, statistics") {
  Bench b;
  FakeStream& s = b.stream();
  Headers h = Bench::request();
  h.emplace_back("x-envoy-retry-on", "reset");
  s.request(h);
  b.tries[0].ready();
  b.tries[0].unseen = true;
  b.tries[0].receiver->on_reset(ResetReason::connection_termination, "");
  CHECK(b.tries.size() == 1);  // it waits
  CHECK(b.tries[0].result == ext::TryResult::reset);
  b.worker.loop.advance(1s);
  REQUIRE(b.tries.size() == 2);
  b.tries[1].ready();
  b.tries[1].answer("200");
  CHECK(s.info.upstream_attempts == 2);
  CHECK(b.worker.stat("cluster.up.upstream_rq_retry") == 1);
  CHECK(b.worker.stat("cluster.up.upstream_rq_retry_success") == 1);
}

TEST_CASE("The time-out is the request's: it ends the try and answers") {
  Bench b;
  FakeStream& s = b.stream();
  s.request(Bench::request());
  b.tries[0].ready();
  b.worker.loop.advance(14s);
  CHECK(s.replies.empty());
  b.worker.loop.advance(2s);
  REQUIRE(s.replies.size() == 1);
  CHECK(s.replies[0].status == 504);
  CHECK(s.replies[0].details == "response_timeout");
  CHECK(b.tries[0].gone);
  CHECK(b.tries[0].result == ext::TryResult::timeout);
  CHECK(b.worker.stat("cluster.up.upstream_rq_timeout") == 1);
}

TEST_CASE("Back-pressure passes both ways and is undone when the try ends") {
  Bench b;
  FakeStream& s = b.stream();
  s.request(Bench::request("POST"), false);
  b.tries[0].ready();
  b.tries[0].receiver->on_above_write_high_watermark();
  CHECK(s.request_paused == 1);
  s.filter->on_downstream_above_high_watermark();
  s.filter->on_downstream_above_high_watermark();
  CHECK(b.tries[0].paused == 1);
  s.filter->on_downstream_below_low_watermark();
  CHECK(b.tries[0].paused == 1);
  s.filter->on_downstream_below_low_watermark();
  CHECK(b.tries[0].paused == 0);
  b.tries[0].answer("200");  // before the request's end: nobody wants the rest
  CHECK(s.request_paused == 0);
}

TEST_CASE("A client that leaves takes its try along") {
  Bench b;
  FakeStream& s = b.stream();
  s.request(Bench::request());
  SUBCASE("that waits for a connection") {}
  SUBCASE("that is under way") {
    b.tries[0].ready();
  }
  s.end();
  CHECK(b.tries[0].gone);
  b.worker.loop.advance(60s);
  CHECK(s.replies.empty());
  CHECK(b.tries.size() == 1);
}

TEST_CASE("No route, no cluster") {
  Bench b;
  FakeStream& s = b.stream();
  SUBCASE("no route") {
    s.has_route = false;
    s.request(Bench::request());
    CHECK(s.replies.at(0).status == 404);
    CHECK(b.worker.stat("http.test.no_route") == 1);
  }
  SUBCASE("no cluster") {
    s.route_match.cluster = "nowhere";
    s.request(Bench::request());
    CHECK(s.replies.at(0).status == 503);
    CHECK(s.replies.at(0).details == "cluster_not_found");
    CHECK(b.worker.stat("http.test.no_cluster") == 1);
  }
  CHECK(b.tries.empty());
}
