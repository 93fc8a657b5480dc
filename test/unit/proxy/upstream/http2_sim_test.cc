#include <algorithm>
#include <map>

#include "http/http2.h"
#include "test/sim/seeds.h"
#include "test/unit/proxy/upstream/http_world.h"

// HTTP/2 pools with everything at once: servers that answer, reset streams, say GOAWAY, hang up, send nonsense or nothing,
// allow few streams; callers that leave at any moment; every limit.
using namespace sluice;
using namespace sluice::upstream;
using std::chrono::milliseconds;

namespace {

// A server's end of one connection; it goes with its peer.
struct End final : http::Output, http::ServerCallbacks {
  struct Request final : http::StreamReceiver {
    void on_headers(http::HeaderMapPtr, bool) override { end->act(*this); }
    void on_data(Buffer&, bool) override {}
    void on_trailers(http::HeaderMapPtr) override {}
    void on_reset(http::ResetReason, std::string_view) override { stream = nullptr; }
    End* end = nullptr;
    http::Stream* stream = nullptr;
  };

  End(sim::Peer& p, Random& r, BlockPool& b, http::Http2Stats& stats) : peer(p), random(r), pool(b) {
    config.http2.max_concurrent_streams =
        1 + static_cast<uint32_t>(random.below(random.chance(1, 2) ? 3 : 100));
    codec = http::make_http2_server(config, stats, *this, *this);
  }
  void write(Buffer&& data) override {
    if (!closed) peer.write(data.to_string());
    data.clear();
  }
  BlockPool& blocks() override { return pool; }
  void pause_reading() override {}
  void resume_reading() override {}
  void receive_soon() override { soon = true; }
  http::StreamReceiver& on_new_stream(http::Stream& s) override {
    Request& r = *requests.emplace_back(std::make_unique<Request>());
    r.end = this;
    r.stream = &s;
    return r;
  }
  void act(Request& r) {
    what = static_cast<int>(random.below(14));
    if (what < 7) {
      http::HeaderMapPtr h = http::make_headers();
      h->add(http::Name::status, "200");
      http::Stream* s = r.stream;
      bool whole = what < 5;
      if (whole) r.stream = nullptr;
      s->send_headers(*h, whole);
    } else if (what < 9) {
      std::exchange(r.stream, nullptr)
          ->reset(what == 7 ? http::ResetReason::local_refused_stream : http::ResetReason::local_reset);
    }
  }
  // What may not come from inside the codec.
  void after() {
    switch (std::exchange(what, -1)) {
      case 9:
        return codec->goaway();
      case 10:
        codec->shutdown_notice();
        return;
      case 11:
        closed = true;
        return peer.close();
      case 12:
        closed = true;
        return peer.reset();
      case 13:
        if (!closed && random.chance(1, 2)) peer.write("\x01\x02 this is no frame of HTTP/2");
        return;
      default:
        return;
    }
  }
  void receive() {
    Buffer b;
    b.append(pool, std::exchange(peer.received, {}));
    (void)codec->receive(b);
    after();
    while (std::exchange(soon, false)) {
      Buffer nothing;
      (void)codec->receive(nothing);
    }
  }

  sim::Peer& peer;
  Random& random;
  BlockPool& pool;
  http::Http2Config config;
  std::vector<std::unique_ptr<Request>> requests;
  std::unique_ptr<http::ServerConnection> codec;
  int what = -1;
  bool closed = false, soon = false;
};

}  // namespace

TEST_CASE("HTTP/2: whatever happens, each try is told once and counted once, and nothing is left") {
  size_t answered = 0, reset = 0, failed = 0;  // that there is some of everything
  Status s = sim::for_each_seed(400, [&](sim::Sim& sim) {
    Random& random = sim.random;
    stats::Store server_store{1};
    http::Http2Stats server_stats(server_store.root(0));
    BlockPool pool;
    std::vector<std::unique_ptr<End>> ends;
    std::vector<Address> hosts;
    for (int i = 1; i <= 3; ++i) hosts.push_back(at("10.0.0." + std::to_string(i) + ":80"));
    for (int i = 0; i < 2; ++i) {
      sim.world.server(hosts[static_cast<size_t>(i)], [&](sim::Peer& p) {
        End* e = ends.emplace_back(std::make_unique<End>(p, random, pool, server_stats)).get();
        p.on_data = [e](sim::Peer&) { e->receive(); };
        p.on_end = [e](sim::Peer& q) { e->closed = true, q.close(); };
        p.on_reset = [e](sim::Peer&) { e->closed = true; };
      });
    }
    if (random.chance(1, 2)) sim.net.blackhole(hosts[2]);  // else it refuses

    stats::Store store{2};
    const stats::Lease kept =
        store.root(0).scope("cluster").scope("c").lease();  // they are looked at in the end
    model::ConfigSet config;
    ClusterDirectory directory(sim.loop, store, {.seed = sim.net.seed()});
    auto c = std::make_shared<model::Cluster>();
    c->name = "c";
    c->http.protocol = model::HttpUpstreamOptions::Protocol::http2;
    model::Locality& l = c->localities.emplace_back();
    for (const Address& a : hosts) l.endpoints.emplace_back().address = a;
    c->connect_timeout = milliseconds(1 + random.below(50));
    auto& breaker = c->circuit_breaker[0];
    breaker.track_remaining = true;
    if (random.chance(1, 3)) breaker.max_connections = 1 + static_cast<uint32_t>(random.below(4));
    if (random.chance(1, 3)) breaker.max_pending_requests = 1 + static_cast<uint32_t>(random.below(3));
    if (random.chance(1, 3)) breaker.max_requests = 1 + static_cast<uint32_t>(random.below(4));
    if (random.chance(1, 3)) c->http.max_requests_per_connection = 1 + static_cast<uint32_t>(random.below(4));
    if (random.chance(1, 3))
      c->http.http2.http2.max_concurrent_streams = 1 + static_cast<uint32_t>(random.below(4));
    if (random.chance(1, 3)) c->http.idle_timeout = milliseconds(1 + random.below(20));
    if (random.chance(1, 3)) c->http.max_connection_duration = milliseconds(1 + random.below(40));
    if (random.chance(1, 3)) {
      c->http.keep_alive.interval = milliseconds(1 + random.below(20));
      c->http.keep_alive.timeout = milliseconds(1 + random.below(20));
    }
    config.clusters.push_back(c);
    auto manager = directory.make_worker(sim.loop, 1, sim.net.seed());
    if (!sim.check(directory.apply(config).ok(), "apply")) return;
    sim.loop.run_once(Duration(0));

    std::vector<std::unique_ptr<Call>> calls;
    bool removed = false;
    for (int step = 0; step < 80; ++step) {
      Call* some = calls.empty() ? nullptr : calls[random.below(calls.size())].get();
      switch (random.below(7)) {
        case 0:
        case 1:
        case 2: {
          ext::Cluster* cluster = manager->find("c");
          if (!cluster) break;
          Call& call = *calls.emplace_back(std::make_unique<Call>());
          call.attempt = cluster->http()->make_try({}, {}, call, call);
          call.attempt->start();
          break;
        }
        case 3:
          if (some && random.chance(1, 3)) some->attempt.reset();
          break;
        case 4:
          if (some && some->over()) some->attempt.reset();
          break;
        case 5:
          if (!removed && random.chance(1, 60)) {
            removed = true;
            config.clusters.clear();
            (void)directory.apply(config);
          }
          break;
        default: {
          MonotonicTime wake = sim.loop.now() + milliseconds(random.below(20));
          while (sim.loop.now() < wake) sim.loop.run_once(wake - sim.loop.now());
        }
      }
    }
    MonotonicTime end = sim.loop.now() + milliseconds(200);
    while (sim.loop.now() < end) sim.loop.run_once(end - sim.loop.now());
    for (auto& k : calls) {
      answered += k->ended, reset += k->resets > 0, failed += k->failed > 0;
      sim.check(k->ready + k->failed <= 1, "told twice");
      sim.check(k->resets <= 1, "reset twice");
      sim.check(!(k->resets && k->ended), "reset after its end");
      k->attempt.reset();
    }
    manager->close();
    sim.loop.run_until([&] { return sim.loop.open_descriptors() == 0; }, std::chrono::seconds(10));
    sim.loop.run_once(Duration(0));
    manager.reset();
    sim.loop.run_once(Duration(0));

    std::map<std::string, uint64_t> v;
    for (const auto& m : store.snapshot()) v[m.name] = m.value;
    auto n = [&](const char* name) { return v[std::string("cluster.c.") + name]; };
    for (const char* gauge :
         {"upstream_cx_active", "upstream_rq_active", "upstream_rq_pending_active",
          "upstream_cx_rx_bytes_buffered", "upstream_cx_tx_bytes_buffered",
          "circuit_breakers.default.cx_open", "circuit_breakers.default.rq_open",
          "circuit_breakers.default.rq_pending_open", "http2.streams_active", "http2.pending_send_bytes",
          "http2.outbound_frames_active", "http2.outbound_control_frames_active"}) {
      sim.check(n(gauge) == 0, gauge);
    }
    if (!removed) {  // the statistics of a cluster that is gone are gone
      sim.check(n("circuit_breakers.default.remaining_cx") == breaker.max_connections, "remaining_cx");
      sim.check(n("circuit_breakers.default.remaining_rq") == breaker.max_requests, "remaining_rq");
      sim.check(n("circuit_breakers.default.remaining_pending") == breaker.max_pending_requests,
                "remaining_pending");
    }
    sim.check(n("upstream_cx_total") == n("upstream_cx_destroy"), "cx_total == cx_destroy");
    uint64_t ready = 0;
    for (auto& k : calls) ready += static_cast<uint64_t>(k->ready);
    sim.check(removed || n("upstream_rq_total") == ready, "rq_total");
    for (auto& e : ends) e->peer.on_data = e->peer.on_end = e->peer.on_reset = nullptr;
  });
  CHECK_MESSAGE(s.ok(), s.error().message);
  CHECK(std::min({answered, reset, failed}) > 0);
}
