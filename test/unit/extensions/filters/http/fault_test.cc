#include "extensions/filters/http/fault/fault.h"

#include <doctest/doctest.h>

#include "test/unit/extensions/filters/http/fake_context.h"

using namespace sluice;
using namespace sluice::extensions::fault;
using namespace std::chrono_literals;
using test::Headers;

namespace {

constexpr model::Fraction kAlways{.numerator = 100};

Abort abort_with(uint16_t status) {
  Abort a;
  a.fraction = kAlways;
  a.http_status = status;
  return a;
}

Delay delay_of(Duration d) {
  Delay out;
  out.fraction = kAlways;
  out.fixed = d;
  return out;
}

const Headers kGet = {{":method", "GET"}, {":path", "/"}};

Headers with(const std::string& name, const std::string& value) {
  Headers h = kGet;
  h.emplace_back(name, value);
  return h;
}

}  // namespace

TEST_CASE("fault: abort") {
  auto settings = std::make_shared<Settings>();
  settings->abort = abort_with(418);
  test::FakeWorker w(make_factory(settings));
  {
    test::FakeStream s(w);
    CHECK(s.request(with("x-envoy-downstream-service-cluster", "dsc")) == ext::HeadersStatus::stop);
    REQUIRE(s.replies.size() == 1);
    CHECK(s.replies[0].status == 418);
    CHECK(s.replies[0].body == "fault filter abort");
    CHECK(s.replies[0].details == "fault_filter_abort");
    CHECK(s.info.flags.to_short_string() == "FI");
    CHECK(w.stat("http.test.fault.active_faults") == 1);
  }
  CHECK(w.stat("http.test.fault.aborts_injected") == 1);
  CHECK(w.stat("http.test.fault.dsc.aborts_injected") == 1);
  CHECK(w.stat("http.test.fault.active_faults") == 0);
  CHECK(w.stat("http.test.fault.delays_injected") == 0);
}

TEST_CASE("fault: a gRPC status goes out with 200") {
  auto settings = std::make_shared<Settings>();
  settings->abort = Abort{};
  settings->abort->fraction = kAlways;
  settings->abort->grpc_status = 5;
  test::FakeWorker w(make_factory(settings));
  test::FakeStream s(w);
  s.request(kGet);
  CHECK(s.replies.at(0).status == 200);
  CHECK(s.replies.at(0).grpc_status == 5);
}

TEST_CASE("fault: delay, then abort") {
  auto settings = std::make_shared<Settings>();
  settings->delay = delay_of(300ms);
  settings->abort = abort_with(503);
  test::FakeWorker w(make_factory(settings));
  test::FakeStream s(w);
  CHECK(s.request(kGet, false) == ext::HeadersStatus::stop);
  CHECK(s.info.flags.to_short_string() == "DI");
  CHECK(s.request_data("abc", true) == ext::DataStatus::stop_and_watermark);
  w.loop.advance(299ms);
  CHECK(s.replies.empty());
  w.loop.advance(1ms);
  CHECK(s.replies.size() == 1);
  CHECK(s.continued_requests == 0);
  CHECK(s.info.flags.to_short_string() == "DI,FI");
  CHECK(w.stat("http.test.fault.active_faults") == 1);
}

TEST_CASE("fault: a delay alone lets the request go on; a stream that ends before takes its timer along") {
  auto settings = std::make_shared<Settings>();
  settings->delay = delay_of(300ms);
  test::FakeWorker w(make_factory(settings));
  test::FakeStream s(w), gone(w);
  CHECK(s.request(kGet) == ext::HeadersStatus::stop);
  CHECK(gone.request(kGet) == ext::HeadersStatus::stop);
  CHECK(w.stat("http.test.fault.active_faults") == 2);
  gone.end();
  CHECK(w.stat("http.test.fault.active_faults") == 1);
  w.loop.advance(300ms);
  CHECK(s.continued_requests == 1);
  CHECK(gone.continued_requests == 0);
  CHECK(s.request_data("x", true) == ext::DataStatus::proceed);
}

TEST_CASE("fault: headers choose") {
  auto settings = std::make_shared<Settings>();
  settings->delay = Delay{};
  settings->abort = Abort{};
  settings->delay->fraction = settings->abort->fraction = kAlways;
  settings->delay->from_header = settings->abort->from_header = true;
  test::FakeWorker w(make_factory(settings));
  auto reply = [&](const Headers& h) -> std::string {
    test::FakeStream s(w);
    ext::HeadersStatus status = s.request(h);
    w.loop.advance(100ms);
    if (!s.replies.empty())
      return std::to_string(s.replies[0].status) + (s.replies[0].grpc_status ? " grpc" : "");
    if (status == ext::HeadersStatus::proceed) return "none";
    return s.continued_requests ? "delayed" : "waiting";
  };
  CHECK(reply(kGet) == "none");
  CHECK(reply(with("x-envoy-fault-abort-request", "503")) == "503");
  CHECK(reply(with("x-envoy-fault-abort-request", "100")) == "none");
  CHECK(reply(with("x-envoy-fault-abort-request", "abc")) == "none");
  CHECK(reply(with("x-envoy-fault-abort-grpc-request", "5")) == "200 grpc");
  CHECK(reply(with("x-envoy-fault-delay-request", "100")) == "delayed");
  CHECK(reply(with("x-envoy-fault-delay-request", "101")) == "waiting");
  CHECK(reply(with("x-envoy-fault-delay-request", "-1")) == "none");
  Headers less = with("x-envoy-fault-abort-request", "503");
  less.emplace_back("x-envoy-fault-abort-request-percentage", "0");
  CHECK(reply(less) == "none");
  less.back().second = "1000";
  CHECK(reply(less) == "503");
  less = with("x-envoy-fault-delay-request", "100");
  less.emplace_back("x-envoy-fault-delay-request-percentage", "0");
  CHECK(reply(less) == "none");
}

TEST_CASE("fault: whom it concerns") {
  auto settings = std::make_shared<Settings>();
  settings->abort = abort_with(500);
  settings->upstream_cluster = "up";
  settings->downstream_nodes = {"n1"};
  settings->headers.emplace_back().name = "x-f";
  test::FakeWorker w(make_factory(settings));
  Headers all = with("x-envoy-downstream-service-node", "n1");
  all.emplace_back("x-f", "1");
  {
    test::FakeStream s(w);
    CHECK(s.request(all) == ext::HeadersStatus::stop);
  }
  test::FakeStream other(w);
  other.route_match.cluster = "down";
  CHECK(other.request(all) == ext::HeadersStatus::proceed);
  test::FakeStream node(w);
  CHECK(node.request({{"x-f", "1"}, {"x-envoy-downstream-service-node", "n2"}}) ==
        ext::HeadersStatus::proceed);
  test::FakeStream header(w);
  CHECK(header.request(with("x-envoy-downstream-service-node", "n1")) == ext::HeadersStatus::proceed);
}

TEST_CASE("fault: so many at once, and no more; a route's own settings") {
  auto settings = std::make_shared<Settings>();
  settings->delay = delay_of(1s);
  settings->max_active_faults = 1;
  test::FakeWorker w(make_factory(settings));
  test::FakeStream first(w), second(w);
  CHECK(first.request(kGet) == ext::HeadersStatus::stop);
  CHECK(second.request(kGet) == ext::HeadersStatus::proceed);
  CHECK(w.stat("http.test.fault.faults_overflow") == 1);
  auto route = std::make_shared<Settings>();
  route->abort = abort_with(500);
  test::FakeStream third(w);
  third.route_configs = {route};
  third.request(kGet);
  CHECK(third.replies.at(0).status == 500);
  first.end();
  test::FakeStream fourth(w);
  CHECK(fourth.request(kGet) == ext::HeadersStatus::proceed);  // the third is one still
  third.end();
  test::FakeStream fifth(w);
  CHECK(fifth.request(kGet) == ext::HeadersStatus::stop);
}

namespace {

std::shared_ptr<Settings> slow(uint64_t kilobytes) {
  auto settings = std::make_shared<Settings>();
  RateLimit limit;
  limit.fraction = kAlways;
  limit.kilobytes = kilobytes;
  limit.from_header = kilobytes == 0;
  settings->response_rate_limit = limit;
  return settings;
}

}  // namespace

TEST_CASE("fault: a response goes out at its rate, a portion every 50 ms") {
  test::FakeWorker w(make_factory(slow(1)));
  {
    test::FakeStream s(w);
    CHECK(s.request(kGet) == ext::HeadersStatus::proceed);
    CHECK(s.response({{":status", "200"}}, false) == ext::HeadersStatus::proceed);
    CHECK(s.response_data(std::string(1024, 'x'), false) == ext::DataStatus::stop_and_watermark);
    CHECK(s.released == 0);
    w.loop.advance(0ms);
    CHECK(s.released == 51);  // a twentieth of a second's bytes
    w.loop.advance(49ms);
    CHECK(s.released == 51);
    w.loop.advance(1ms);
    CHECK(s.released == 102);
    w.loop.advance(500ms);
    CHECK(s.released >= 612);
    CHECK(s.released <= 615);
    CHECK(s.continued_responses == 0);
    CHECK(s.response_data("end", true) == ext::DataStatus::stop_and_watermark);
    for (int i = 0; i < 9; ++i) w.loop.advance(50ms);
    CHECK(s.continued_responses == 1);
    CHECK(s.released == 1027);
    CHECK(w.stat("http.test.fault.active_faults") == 1);
    CHECK(w.stat("http.test.fault.response_rl_injected") == 1);
  }
  CHECK(w.stat("http.test.fault.active_faults") == 0);
}

TEST_CASE("fault: a response without a body, or with an empty end, is not held up") {
  test::FakeWorker w(make_factory(slow(1)));
  test::FakeStream s(w);
  s.request(kGet);
  s.response({{":status", "200"}}, false);
  CHECK(s.response_data("", true) == ext::DataStatus::stop_and_watermark);
  w.loop.advance(0ms);
  CHECK(s.continued_responses == 1);
  http::HeaderMap trailers;
  CHECK(s.filter->on_response_trailers(trailers) == ext::TrailersStatus::proceed);
}

TEST_CASE("fault: trailers wait for the body before them") {
  test::FakeWorker w(make_factory(slow(1)));
  test::FakeStream s(w);
  s.request(kGet);
  s.response({{":status", "200"}}, false);
  s.response_data(std::string(60, 'x'), false);
  http::HeaderMap trailers;
  CHECK(s.filter->on_response_trailers(trailers) == ext::TrailersStatus::stop);
  w.loop.advance(0ms);
  CHECK(s.continued_responses == 0);
  w.loop.advance(50ms);
  CHECK(s.continued_responses == 1);
}

TEST_CASE("fault: a rate from the header, and how often") {
  for (const auto& [value, slowed] : {std::pair{"1", true}, {"0", false}, {"x", false}, {"", false}}) {
    CAPTURE(value);
    test::FakeWorker w(make_factory(slow(0)));
    test::FakeStream s(w);
    s.request(with("x-envoy-fault-throughput-response", value));
    CHECK((s.response_data("abc", true) != ext::DataStatus::proceed) == slowed);
  }
  test::FakeWorker w(make_factory(slow(0)));
  test::FakeStream s(w);
  Headers headers = with("x-envoy-fault-throughput-response", "1");
  headers.emplace_back("x-envoy-fault-throughput-response-percentage", "0");
  s.request(headers);
  CHECK(s.response_data("abc", true) == ext::DataStatus::proceed);
}
