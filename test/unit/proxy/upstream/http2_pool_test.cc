#include "core/buffer.h"
#include "http/http2.h"
#include "test/unit/proxy/upstream/http_world.h"

// HTTP/2 pools, against servers with a codec of their own.
using namespace sluice;
using namespace sluice::upstream;
using http::ResetReason;
using std::chrono::milliseconds;

namespace {

const Address kHost = at("10.0.0.1:80");

// A server's end: answers 200 without a body, unless it is silent.
struct Server2 {
  struct End final : http::Output, http::ServerCallbacks {
    struct Request final : http::StreamReceiver {
      void on_headers(http::HeaderMapPtr, bool end) override {
        ++end_->server.requests;
        if (end) finish();
      }
      void on_data(Buffer&, bool end) override {
        if (end) finish();
      }
      void on_trailers(http::HeaderMapPtr) override { finish(); }
      void on_reset(ResetReason, std::string_view) override { stream = nullptr; }
      void finish() {
        if (!end_->server.silent) answer();
      }
      void answer() {
        http::HeaderMapPtr h = http::make_headers();
        h->add(http::Name::status, "200");
        std::exchange(stream, nullptr)->send_headers(*h, true);
      }
      End* end_ = nullptr;
      http::Stream* stream = nullptr;
    };
    End(Server2& s, sim::Peer& p) : server(s), peer(p) {
      config.http2.max_concurrent_streams = s.max_streams;
      codec = http::make_http2_server(config, *s.stats, *this, *this);
    }
    void write(Buffer&& data) override { peer.write(data.to_string()), data.clear(); }
    BlockPool& blocks() override { return server.pool; }
    void pause_reading() override {}
    void resume_reading() override {}
    void receive_soon() override {}
    http::StreamReceiver& on_new_stream(http::Stream& s) override {
      Request& r = *requests.emplace_back(std::make_unique<Request>());
      r.end_ = this;
      r.stream = &s;
      return r;
    }
    void receive() {
      Buffer b;
      b.append(server.pool, std::exchange(peer.received, {}));
      (void)codec->receive(b);
    }
    void answer_all() {
      for (auto& r : requests)
        if (r->stream) r->answer();
    }
    Server2& server;
    sim::Peer& peer;
    http::Http2Config config;
    std::unique_ptr<http::ServerConnection> codec;
    std::vector<std::unique_ptr<Request>> requests;
  };
  ~Server2() {
    world.stop_server(kHost);
    for (auto& e : ends) e->peer.on_data = nullptr;
  }
  explicit Server2(HttpWorld& w)
      : world(w.world), stats(std::make_unique<http::Http2Stats>(store.root(0).scope("server"))) {
    w.world.server(kHost, [this](sim::Peer& p) {
      End* e = ends.emplace_back(std::make_unique<End>(*this, p)).get();
      p.on_data = [e](sim::Peer&) { e->receive(); };
      p.on_end = [](sim::Peer& q) { q.close(); };
    });
  }
  sim::World& world;
  stats::Store store{1};
  std::unique_ptr<http::Http2Stats> stats;
  BlockPool pool;
  std::vector<std::unique_ptr<End>> ends;
  uint32_t max_streams = 100;
  int requests = 0;
  bool silent = false;
};

}  // namespace

TEST_CASE("HTTP/2: requests share a connection, up to what the server allows") {
  HttpWorld w;
  Server2 server(w);
  model::Cluster& c = w.cluster({kHost});
  c.http.protocol = model::HttpUpstreamOptions::Protocol::http2;
  server.silent = true;
  SUBCASE("one for all") {
    w.apply();
    for (int i = 0; i < 20; ++i) w.call();
    REQUIRE(w.loop.run_until([&] { return server.requests == 20; }));
    CHECK(server.ends.size() == 1);
    CHECK(w.stat("upstream_cx_http2_total") == 1);
    CHECK(w.calls[7]->protocol == http::Protocol::http2);
  }
  SUBCASE("more connections where a connection is full") {
    c.http.http2.http2.max_concurrent_streams = 4;
    w.apply();
    for (int i = 0; i < 10; ++i) w.call();
    REQUIRE(w.loop.run_until([&] { return server.requests == 10; }));
    CHECK(server.ends.size() == 3);
  }
  for (auto& e : server.ends) e->answer_all();
  REQUIRE(w.loop.run_until([&] { return std::ranges::all_of(w.calls, [](auto& k) { return k->over(); }); }));
  for (auto& k : w.calls) CHECK(k->status == "200");
  w.calls.clear();
  w.settle();
  CHECK(w.stat("upstream_rq_active") == 0);
}

TEST_CASE("HTTP/2: a GOAWAY ends no request that it covers, and the next one goes elsewhere") {
  HttpWorld w;
  Server2 server(w);
  w.cluster({kHost}).http.protocol = model::HttpUpstreamOptions::Protocol::http2;
  w.apply();
  server.silent = true;
  Call& first = w.call();
  REQUIRE(w.loop.run_until([&] { return server.requests == 1; }));
  server.ends[0]->codec->goaway();
  w.wait(milliseconds(5));
  CHECK(w.stat("upstream_cx_close_notify") == 1);
  Call& second = w.call();
  REQUIRE(w.loop.run_until([&] { return server.requests == 2; }));
  CHECK(server.ends.size() == 2);
  CHECK(first.resets == 0);
  for (auto& e : server.ends) e->answer_all();
  CHECK(w.finish(first).status == "200");
  CHECK(w.finish(second).status == "200");
  CHECK(w.stat("upstream_cx_active") == 1);  // the first went with its last stream
}

TEST_CASE("HTTP/2: a request beyond the last stream of a GOAWAY was not seen: it may go again") {
  HttpWorld w;
  Server2 server(w);
  w.cluster({kHost}).http.protocol = model::HttpUpstreamOptions::Protocol::http2;
  w.apply();
  w.finish(w.call());
  server.ends[0]->codec->goaway();  // says so while the next request is on its way
  Call& c = w.call();
  REQUIRE(w.loop.run_until([&] { return c.over(); }));
  if (c.resets > 0)
    CHECK(c.reset == ResetReason::local_refused_stream);
  else
    CHECK(c.status == "200");
}

TEST_CASE("HTTP/2: a connection that dies resets every stream; a reset stream leaves the others") {
  HttpWorld w;
  Server2 server(w);
  w.cluster({kHost}).http.protocol = model::HttpUpstreamOptions::Protocol::http2;
  w.apply();
  server.silent = true;
  Call& a = w.call();
  Call& b = w.call();
  Call& c = w.call();
  REQUIRE(w.loop.run_until([&] { return server.requests == 3; }));
  a.attempt.reset();
  w.wait(milliseconds(5));
  CHECK(b.resets + c.resets == 0);
  CHECK(w.stat("upstream_rq_tx_reset") == 1);
  server.ends[0]->peer.reset();
  REQUIRE(w.loop.run_until([&] { return b.over() && c.over(); }));
  CHECK(b.reset == ResetReason::connection_termination);
  CHECK(c.reset == ResetReason::connection_termination);
  CHECK(w.stat("upstream_cx_destroy_remote_with_active_rq") == 1);
}

TEST_CASE("HTTP/2 is what downstream speaks, where the cluster says so") {
  HttpWorld w;
  Server2 server(w);
  w.cluster({kHost}).http.protocol = model::HttpUpstreamOptions::Protocol::as_downstream;
  w.apply();
  Call& c = w.finish(w.call("/", {}, {.downstream_protocol = http::Protocol::http2}));
  CHECK(c.protocol == http::Protocol::http2);
  CHECK(c.status == "200");
}
