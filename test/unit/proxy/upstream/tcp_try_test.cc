#include "proxy/upstream/tcp_try.h"

#include "test/unit/proxy/upstream/http_world.h"

// A CONNECT that ends here: the try is a TCP connection.
using namespace sluice;
using namespace sluice::upstream;
using http::ResetReason;

namespace {

const Address kHost = at("10.0.0.1:80");

struct Tunnel {
  explicit Tunnel(uint64_t seed = 1) : w(seed) {
    w.world.server(kHost, [this](sim::Peer& p) {
      far = &p;
      if (closes) p.on_end = [](sim::Peer& q) { q.close(); };
    });
    w.cluster({kHost});
    w.apply();
  }
  ~Tunnel() { w.world.stop_server(kHost); }

  Call& start() {
    Call& c = w.prepare("/", {}, {.raw = true});
    c.hold = true;
    c.attempt->start();
    return c;
  }
  Call& open() {
    Call& c = start();
    REQUIRE(w.loop.run_until([&] { return c.ready == 1; }));
    c.send(false);
    CHECK(c.status == "200");
    return c;
  }
  void say(Call& c, std::string_view text, bool end = false) {
    Buffer b;
    b.append(w.loop.blocks(), text);
    c.stream->send_data(std::move(b), end);
  }
  HttpWorld w;
  sim::Peer* far = nullptr;
  bool closes = true;  // the far side, when it sees our end
};

}  // namespace

TEST_CASE("raw tries: bytes go both ways, and each side ends on its own") {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    CAPTURE(seed);
    Tunnel t(seed);
    Call& c = t.open();
    t.say(c, "abc");
    REQUIRE(t.w.loop.run_until([&] { return t.far && t.far->received == "abc"; }));
    t.far->write("hello");
    REQUIRE(t.w.loop.run_until([&] { return c.body == "hello"; }));
    t.far->on_end = nullptr;
    t.say(c, "end", true);
    REQUIRE(t.w.loop.run_until([&] { return t.far->ended; }));
    CHECK(t.far->received == "abcend");
    CHECK_FALSE(c.ended);
    t.far->write("bye");
    t.far->finish();
    REQUIRE(t.w.loop.run_until([&] { return c.ended; }));
    CHECK(c.body == "hellobye");
    CHECK(c.resets == 0);
    c.attempt.reset();
    t.w.settle();
    CHECK(t.w.stat("upstream_cx_active") == 0);
    CHECK(t.w.stat("upstream_rq_active") == 0);
    CHECK(t.w.stat("upstream_cx_total") == 1);
  }
}

TEST_CASE("raw tries: nobody listens, nobody is there") {
  Tunnel t;
  t.w.world.stop_server(kHost);
  Call& c = t.start();
  CHECK(c.attempt->host() != nullptr);
  REQUIRE(t.w.loop.run_until([&] { return c.failed == 1; }));
  CHECK(c.failure == Call::Failure::connect_failed);
  CHECK(t.w.stat("upstream_cx_connect_fail") == 1);
  CHECK(t.w.stat("upstream_cx_active") == 0);

  HttpWorld empty;
  empty.cluster({});
  empty.apply();
  CHECK(empty.prepare("/", {}, {.raw = true}).attempt->host() == nullptr);
}

TEST_CASE("raw tries: the far side's RST, and ours when the tunnel is cut off") {
  Tunnel t;
  Call& c = t.open();
  REQUIRE(t.w.loop.run_until([&] { return t.far != nullptr; }));
  t.far->reset();
  REQUIRE(t.w.loop.run_until([&] { return c.resets == 1; }));
  CHECK(c.reset == ResetReason::remote_reset);

  t.far = nullptr;
  Call& d = t.open();
  REQUIRE(t.w.loop.run_until([&] { return t.far != nullptr; }));
  d.attempt.reset();
  REQUIRE(t.w.loop.run_until([&] { return t.far->was_reset; }));
  CHECK(t.w.stat("upstream_cx_active") == 0);
}

TEST_CASE("raw tries: given up while they connect") {
  Tunnel t;
  t.start().attempt.reset();
  t.w.settle();
  CHECK(t.w.stat("upstream_cx_active") == 0);
  CHECK(t.w.stat("upstream_rq_pending_active") == 0);
  CHECK(t.w.stat("upstream_rq_cancelled") == 1);
}

TEST_CASE("raw tries: what is queued still leaves when the far side has ended and nobody waits any more") {
  Tunnel t;
  Call& c = t.open();
  REQUIRE(t.w.loop.run_until([&] { return t.far != nullptr; }));
  t.far->on_end = nullptr;
  t.far->pause_reading();
  const std::string much(200'000, 'x');
  t.say(c, much);
  t.far->finish();
  REQUIRE(t.w.loop.run_until([&] { return c.ended; }));
  c.attempt.reset();
  t.far->resume_reading();
  REQUIRE(t.w.loop.run_until([&] { return t.far->ended || t.far->was_reset; }));
  CHECK_FALSE(t.far->was_reset);
  CHECK(t.far->received.size() == much.size());
}

namespace {

// Lets go of its try with the end of the response, from inside, as the router does.
struct LetsGo final : ext::HttpTry::Callbacks, http::StreamReceiver {
  void on_ready(http::Stream& s) override {
    http::HeaderMapPtr head = http::make_headers();
    s.send_headers(*head, false);
    if (ends) s.send_data(Buffer(), true);
  }
  void on_failure(ext::Upstream::Failure, std::string_view) override {}
  void on_headers(http::HeaderMapPtr, bool) override {}
  void on_data(Buffer&, bool end) override {
    if (end) attempt.reset();
  }
  void on_trailers(http::HeaderMapPtr) override {}
  void on_reset(http::ResetReason, std::string_view) override {}
  std::unique_ptr<ext::HttpTry> attempt;
  bool ends = false;
};

}  // namespace

TEST_CASE("raw tries: let go of from inside, with the far side's end") {
  for (const bool ends : {false, true}) {
    for (uint64_t seed = 1; seed <= 20; ++seed) {
      CAPTURE(ends);
      CAPTURE(seed);
      Tunnel t(seed);
      t.closes = false;
      LetsGo call;
      call.ends = ends;
      call.attempt = t.w.http().make_try({}, {.raw = true}, call, call);
      call.attempt->start();
      REQUIRE(t.w.loop.run_until([&] { return t.far != nullptr; }));
      t.far->write("bye");
      t.far->finish();
      REQUIRE(t.w.loop.run_until([&] { return !call.attempt; }));
      REQUIRE(t.w.loop.run_until([&] { return t.far->ended; }, std::chrono::seconds(5)));
      CHECK_FALSE(t.far->was_reset);
      CHECK(t.w.stat("upstream_cx_active") == 0);
    }
  }
}
