#include <doctest/doctest.h>

#include <functional>
#include <string>

#include "test/unit/extensions/filters/network/http_connection_manager/bed.h"
#include "test/unit/http/http2_frames.h"

// What the connection manager itself does on an HTTP/2 connection: draining, PINGs, clients that reset what they ask for.
using namespace sluice;
using namespace sluice::extensions::http_connection_manager;
using namespace sluice::http::test;
using namespace std::chrono_literals;

namespace {

void each(const std::function<void(sim::Sim&)>& f) {
  Status s = sim::for_each_seed(25, f);
  REQUIRE_MESSAGE(s.ok(), s.error().message);
}

// The frames that have arrived whole.
std::vector<Frame> arrived(const sim::Peer& peer) {
  size_t at = 0;
  auto byte = [&](size_t i) { return static_cast<uint8_t>(peer.received[at + i]); };
  while (peer.received.size() - at >= 9) {
    size_t size = 9 + (static_cast<size_t>(byte(0)) << 16 | static_cast<size_t>(byte(1)) << 8 | byte(2));
    if (peer.received.size() - at < size) break;
    at += size;
  }
  return parse_frames(std::string_view(peer.received).substr(0, at));
}

std::vector<Frame> of(const sim::Peer& peer, uint8_t type) {
  std::vector<Frame> frames = arrived(peer);
  std::erase_if(frames, [&](const Frame& f) { return f.type != type; });
  return frames;
}

bool answered(const sim::Peer& peer, uint32_t stream) {
  for (const Frame& f : arrived(peer))
    if (f.stream == stream && f.type == kData && f.flags & kEndStream) return true;
  return false;
}

sim::Peer& client(Bed& bed) {
  sim::Peer& c = bed.client();
  c.write(kPreface + frame(kSettings, 0, 0) + frame(kSettings, kAck, 0));
  return c;
}

std::shared_ptr<Settings> with_drain(Duration drain) {
  auto settings = std::make_shared<Settings>();
  settings->drain_timeout = drain;
  return settings;
}

}  // namespace

TEST_CASE("Draining waits until the client has seen the notice, and then for the time to drain") {
  each([](sim::Sim& sim) {
    Bed bed(sim, with_drain(100ms));
    sim::Peer& c = client(bed);
    c.write(get_frame(1, "/hello"));
    REQUIRE(bed.until([&] { return answered(c, 1); }));
    bed.worker->set_draining();
    REQUIRE(bed.until([&] { return of(c, kGoaway).size() == 1 && of(c, kPing).size() == 1; }));
    CHECK(of(c, kGoaway)[0].number() == 0x7fffffff);
    // Long after the time to drain a request comes that was sent before the notice was seen.
    MonotonicTime late = sim.loop.now() + 2s;
    REQUIRE(bed.until([&] { return sim.loop.now() >= late; }));
    c.write(get_frame(3, "/hello"));
    REQUIRE(bed.until([&] { return answered(c, 3); }));
    CHECK(of(c, kGoaway).size() == 1);
    CHECK_FALSE(c.ended);
    c.write(frame(kPing, kAck, 0, of(c, kPing)[0].payload));
    REQUIRE(bed.until([&] { return c.ended; }));
    REQUIRE(of(c, kGoaway).size() == 2);
    CHECK(of(c, kGoaway)[1].number() == 3);
    CHECK_FALSE(c.was_reset);
  });
}

TEST_CASE("Draining does not wait for ever for a client that answers no PING") {
  each([](sim::Sim& sim) {
    Bed bed(sim, with_drain(100ms));
    sim::Peer& c = client(bed);
    c.write(get_frame(1, "/hello"));
    REQUIRE(bed.until([&] { return answered(c, 1); }));
    bed.worker->set_draining();
    REQUIRE(bed.until([&] { return c.ended; }, 10s));
    CHECK(of(c, kGoaway).size() == 2);
  });
}

TEST_CASE("Draining ends connections that have said nothing, or half of what a request begins with") {
  each([](sim::Sim& sim) {
    Bed bed(sim, with_drain(100ms));
    sim::Peer& silent = bed.client();
    sim::Peer& half = bed.client();
    half.write("PRI * HT");
    REQUIRE(bed.until([&] { return bed.stat("http.t.downstream_cx_active") == 2; }));
    bed.worker->set_draining();
    REQUIRE(bed.until([&] { return silent.ended && half.ended; }, 10s));
  });
}

TEST_CASE("A connection that begins while the worker drains is told so and answered") {
  each([](sim::Sim& sim) {
    Bed bed(sim, with_drain(1s));
    sim::Peer& c = bed.client();
    REQUIRE(bed.until([&] { return bed.stat("http.t.downstream_cx_active") == 1; }));
    bed.worker->set_draining();
    bed.until([&] { return false; }, 50ms);
    c.write(kPreface + frame(kSettings, 0, 0) + frame(kSettings, kAck, 0) + get_frame(1, "/hello"));
    REQUIRE(bed.until([&] { return answered(c, 1) && of(c, kPing).size() == 1; }));
    CHECK(of(c, kGoaway)[0].number() == 0x7fffffff);
    c.write(frame(kPing, kAck, 0, of(c, kPing)[0].payload));
    REQUIRE(bed.until([&] { return c.ended; }));
    CHECK(of(c, kGoaway).back().number() == 1);
  });
}

TEST_CASE("Keep-alive PINGs: answered, and not") {
  each([](sim::Sim& sim) {
    auto settings = std::make_shared<Settings>();
    settings->keepalive_interval = 1s;
    settings->keepalive_timeout = 300ms;
    Bed bed(sim, settings);
    sim::Peer& c = client(bed);
    c.write(get_frame(1, "/wait"));
    for (size_t i = 1; i <= 3; ++i) {
      REQUIRE(bed.until([&] { return of(c, kPing).size() == i; }, 3s));
      c.write(frame(kPing, kAck, 0, of(c, kPing).back().payload));
    }
    CHECK_FALSE(c.ended);
    REQUIRE(bed.until([&] { return c.ended || c.was_reset; }, 3s));
    CHECK(of(c, kPing).size() == 4);
    CHECK(bed.stat("http2.keepalive_timeout") == 1);
    REQUIRE(bed.until([&] { return bed.recorder->records.size() == 1; }));
  });
}

TEST_CASE("Answers to PINGs that were not sent change nothing") {
  each([](sim::Sim& sim) {
    for (Duration interval : {Duration{}, Duration{1s}}) {
      auto settings = std::make_shared<Settings>();
      settings->keepalive_interval = interval;
      settings->keepalive_timeout = 300ms;
      Bed bed(sim, settings);
      sim::Peer& c = client(bed);
      const MonotonicTime begin = sim.loop.now();
      c.write(get_frame(1, "/wait"));
      const std::string zero(8, '\0'), one = '\1' + std::string(7, '\0'), notice(8, '\xff');
      for (const std::string& opaque : {zero, one, notice, std::string("h2spec  ")})
        c.write(frame(kPing, kAck, 0, opaque));
      if (interval.count() == 0) {
        bed.until([&] { return false; }, 500ms);
        CHECK(of(c, kPing).empty());
      } else {
        REQUIRE(bed.until([&] { return of(c, kPing).size() == 1; }, 3s));
        CHECK(sim.loop.now() - begin >= 1s);
        // The wrong answer does not count as one.
        c.write(frame(kPing, kAck, 0, zero));
        REQUIRE(bed.until([&] { return c.ended || c.was_reset; }, 3s));
        CHECK(bed.stat("http2.keepalive_timeout") == 1);
      }
    }
  });
}

TEST_CASE("Keep-alive PINGs go on while a connection drains") {
  each([](sim::Sim& sim) {
    auto settings = with_drain(100ms);
    settings->keepalive_interval = 1s;
    settings->keepalive_timeout = 300ms;
    Bed bed(sim, settings);
    sim::Peer& c = client(bed);
    c.write(get_frame(1, "/wait"));
    REQUIRE(bed.until([&] { return bed.stat("http.t.downstream_rq_active") == 1; }));
    bed.worker->set_draining();
    size_t seen = 0;
    REQUIRE(bed.until(
        [&] {
          std::vector<Frame> pings = of(c, kPing);
          for (; seen < pings.size(); ++seen) c.write(frame(kPing, kAck, 0, pings[seen].payload));
          return seen == 4;
        },
        10s));
    CHECK_FALSE(c.ended);
    c.write(rst_frame(1, kCancel));
    REQUIRE(bed.until([&] { return c.ended; }, 10s));
  });
}

TEST_CASE("A client that resets what it has just asked for is shut out") {
  each([](sim::Sim& sim) {
    Bed bed(sim);
    sim::Peer& c = client(bed);
    for (uint32_t id = 1; id < 2 * 250 - 1; id += 2) c.write(get_frame(id, "/wait") + rst_frame(id, kCancel));
    REQUIRE(bed.until([&] { return bed.stat("http.t.downstream_rq_rx_reset") == 249; }));
    CHECK_FALSE((c.ended || c.was_reset));
    CHECK(bed.stat("http.t.downstream_rq_too_many_premature_resets") == 0);
    c.write(get_frame(499, "/wait") + rst_frame(499, kCancel));
    REQUIRE(bed.until([&] { return c.ended || c.was_reset; }));
    CHECK(bed.stat("http.t.downstream_rq_too_many_premature_resets") == 1);
  });
}

TEST_CASE("A client whose requests are mostly answered, or reset late, is not") {
  each([](sim::Sim& sim) {
    Bed bed(sim);
    sim::Peer& c = client(bed);
    uint32_t id = 1;
    auto in_rounds = [&](auto send, size_t rounds) {
      for (size_t i = 0; i < rounds; ++i) {
        uint64_t before = bed.stat("http.t.downstream_rq_total");
        for (int n = 0; n < 50; ++n) send();
        REQUIRE(bed.until([&] { return bed.stat("http.t.downstream_rq_total") == before + 50; }));
        REQUIRE(bed.until([&] { return bed.stat("http.t.downstream_rq_active") == 0; }));
      }
    };
    // Three answered for each that is reset.
    in_rounds(
        [&, n = 0]() mutable {
          bool reset = ++n % 4 == 0;
          c.write(get_frame(id, reset ? "/wait" : "/hello") + (reset ? rst_frame(id, kCancel) : ""));
          id += 2;
        },
        40);
    CHECK(bed.stat("http.t.downstream_rq_rx_reset") == 500);
    CHECK_FALSE((c.ended || c.was_reset));

    // A connection of its own whose requests all have had more than a second.
    sim::Peer& patient = client(bed);
    for (uint32_t n = 0; n < 600; n += 60) {
      for (uint32_t k = n; k < n + 60; ++k) patient.write(get_frame(2 * k + 1, "/wait"));
      REQUIRE(bed.until([&] { return bed.stat("http.t.downstream_rq_active") == 60; }));
      MonotonicTime later = sim.loop.now() + 2s;
      REQUIRE(bed.until([&] { return sim.loop.now() >= later; }));
      for (uint32_t k = n; k < n + 60; ++k) patient.write(rst_frame(2 * k + 1, kCancel));
      REQUIRE(bed.until([&] { return bed.stat("http.t.downstream_rq_active") == 0; }));
    }
    CHECK_FALSE((patient.ended || patient.was_reset));
    CHECK(bed.stat("http.t.downstream_rq_too_many_premature_resets") == 0);
  });
}
