#include <cerrno>

#include "test/unit/proxy/upstream/http_world.h"

// HTTP/1 pools: reuse, queues, limits, and every way a pooled connection can die.
using namespace sluice;
using namespace sluice::upstream;
using Failure = ext::Upstream::Failure;
using http::ResetReason;
using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {

const Address kHost = at("10.0.0.1:80");
constexpr std::string_view kOk = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

// Answers each request head with `answer`.
struct Server {
  explicit Server(HttpWorld& w, std::string_view answer = kOk) : world(w.world) {
    w.world.server(kHost, [this, answer](sim::Peer& p) {
      connections.push_back(&p);
      p.on_data = [this, answer](sim::Peer& q) {
        while (q.received.find("\r\n\r\n") != std::string::npos) {
          q.received.erase(0, q.received.find("\r\n\r\n") + 4);
          ++requests;
          if (!silent) q.write(answer);
        }
      };
      p.on_end = [](sim::Peer& q) { q.close(); };
    });
  }
  // The world is there for longer: connections end on their own then.
  ~Server() {
    world.stop_server(kHost);
    for (sim::Peer* p : connections) {
      p->on_data = nullptr;
      p->on_end = [](sim::Peer& q) { q.close(); };
    }
  }
  sim::World& world;
  std::vector<sim::Peer*> connections;
  int requests = 0;
  bool silent = false;
};

}  // namespace

TEST_CASE("a connection is used again, the last one first") {
  HttpWorld w;
  Server server(w);
  w.cluster({kHost});
  w.apply();
  CHECK(w.finish(w.call()).status == "200");
  CHECK(w.finish(w.call()).body == "ok");
  CHECK(server.connections.size() == 1);
  server.silent = true;
  Call& a = w.call();
  Call& b = w.call();
  REQUIRE(w.loop.run_until([&] { return server.requests == 4; }));
  CHECK(server.connections.size() == 2);
  CHECK(a.connection_id != b.connection_id);
  server.connections[0]->write(kOk);
  w.finish(a);
  server.connections[1]->write(kOk);
  w.finish(b);
  server.silent = false;
  Call& c = w.finish(w.call());
  CHECK(server.connections.size() == 2);
  CHECK(c.connection_id == b.connection_id);
  CHECK(c.streams == 2);
  CHECK(w.stat("upstream_cx_http1_total") == 2);
  CHECK(w.stat("upstream_rq_total") == 5);
  CHECK(w.stat("upstream_rq_active") == 0);
  CHECK(w.stat("upstream_cx_active") == 2);
}

TEST_CASE("workloads and priorities have connections of their own") {
  HttpWorld w;
  Server server(w);
  w.cluster({kHost});
  w.apply();
  auto id = [&](const ext::Upstream::Origin& o, const ext::HttpRequestTraits& t = {}) {
    return w.finish(w.call("/", o, t)).connection_id;
  };
  uint64_t plain = id({});
  uint64_t red = id({.netns_fd = 7, .netns_cookie = 1});
  CHECK(red != plain);
  CHECK(id({.netns_fd = 7, .netns_cookie = 2}) != red);  // the same number, another namespace
  CHECK(id({.netns_fd = 9, .netns_cookie = 1}) == red);  // another descriptor of the same
  CHECK(id({.mark = 5}) != plain);
  CHECK(id({}, {.priority = ext::RoutingPriority::high}) != plain);
  CHECK(id({.source = at("192.0.2.1:0"), .transparent = true}) != plain);
  CHECK(id({}) == plain);
}

TEST_CASE("a connection that dies idle is dropped quietly") {
  HttpWorld w;
  Server server(w);
  w.cluster({kHost});
  w.apply();
  w.finish(w.call());
  SUBCASE("by a FIN") {
    server.connections[0]->close();
  }
  SUBCASE("by a RST") {
    server.connections[0]->reset();
  }
  SUBCASE("with a word") {
    server.connections[0]->write(
        "HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    server.connections[0]->close();
  }
  w.wait(milliseconds(5));
  CHECK(w.stat("upstream_cx_active") == 0);
  CHECK(w.stat("upstream_cx_destroy_with_active_rq") == 0);
  CHECK(w.stat("upstream_cx_protocol_error") == 0);
  Call& next = w.finish(w.call());
  CHECK(next.status == "200");
  CHECK(server.connections.size() == 2);
}

TEST_CASE("a server that hangs up just as a request is about to go costs nothing") {
  // The FIN is here, and the request comes in the same turn of the loop, before it was looked at or after.
  for (int turns = 0; turns < 40; ++turns) {
    CAPTURE(turns);
    HttpWorld w(static_cast<uint64_t>(turns) + 1);
    Server server(w);
    w.cluster({kHost});
    w.apply();
    w.finish(w.call());
    server.connections[0]->close();
    for (int i = 0; i < turns; ++i) w.loop.run_once(std::chrono::microseconds(10));
    Call& c = w.call();
    REQUIRE(w.loop.run_until([&] { return c.over(); }));
    // It never met the dying connection; or nothing of it had left (the router sends it again); or it was sent, and the
    // server may have seen it.
    if (c.resets > 0)
      CHECK((c.reset == ResetReason::connection_termination || c.reset == ResetReason::local_refused_stream));
    else
      CHECK(c.status == "200");
    if (turns > 30) CHECK(c.status == "200");
  }
}

TEST_CASE("a connection that ends in the middle of a response resets it") {
  HttpWorld w;
  Server server(w, "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
  w.cluster({kHost});
  w.apply();
  Call& c = w.call();
  REQUIRE(w.loop.run_until([&] { return c.body == "half"; }));
  SUBCASE("FIN") {
    server.connections[0]->close();
  }
  SUBCASE("RST") {
    server.connections[0]->reset();
  }
  w.finish(c);
  CHECK(c.resets == 1);
  CHECK(w.stat("upstream_cx_destroy_remote_with_active_rq") +
            w.stat("upstream_cx_destroy_local_with_active_rq") <=
        1);
  CHECK(w.stat("upstream_cx_active") == 0);
  CHECK(w.stat("upstream_rq_active") == 0);
}

TEST_CASE("everybody who waits is told of a failed connect") {
  HttpWorld w;
  w.cluster({kHost}).connect_timeout = milliseconds(250);
  SUBCASE("refused") {
    w.apply();
    Call& c = w.finish(w.call());
    CHECK(c.failure == Failure::connect_failed);
    CHECK(c.reason == "delayed_connect_error: Connection refused");
    CHECK(w.stat("upstream_cx_connect_fail") == 1);
  }
  SUBCASE("timeout") {
    w.net.blackhole(kHost);
    w.apply();
    Call& a = w.call();
    Call& b = w.call();
    w.finish(a), w.finish(b);
    CHECK(a.failure == Failure::timeout);
    CHECK(b.failure == Failure::timeout);
    CHECK(w.stat("upstream_cx_connect_timeout") <= 2);
    CHECK(w.stat("upstream_rq_pending_failure_eject") == 2);
  }
  CHECK(w.stat("upstream_rq_pending_active") == 0);
  CHECK(w.stat("upstream_rq_active") == 0);
}

TEST_CASE("limits: requests that wait, connections, requests") {
  HttpWorld w;
  Server server(w);
  server.silent = true;
  model::Cluster& c = w.cluster({kHost});
  auto& breaker = c.circuit_breaker[0];
  breaker.max_connections = 2;
  breaker.max_pending_requests = 3;
  breaker.track_remaining = true;
  w.apply();
  std::vector<Call*> calls;
  for (int i = 0; i < 6; ++i) calls.push_back(&w.call());
  // Three wait, and the others found no place.
  CHECK(calls[2]->failed == 0);
  CHECK(calls[3]->failed == 1);
  CHECK(calls[3]->failure == Failure::overflow);
  CHECK(w.stat("upstream_rq_pending_overflow") == 3);
  CHECK(w.stat("circuit_breakers.default.rq_pending_open") == 1);
  REQUIRE(w.loop.run_until([&] { return server.requests == 2; }));
  CHECK(server.connections.size() == 2);
  CHECK(w.stat("circuit_breakers.default.cx_open") == 1);
  CHECK(w.stat("upstream_cx_overflow") >= 1);
  CHECK(w.stat("upstream_rq_pending_active") == 1);
  for (auto* p : server.connections) p->write(kOk);
  server.silent = false;
  REQUIRE(w.loop.run_until([&] { return calls[2]->over(); }));
  CHECK(calls[2]->status == "200");
  w.calls.clear();
  w.settle();
  CHECK(w.stat("circuit_breakers.default.rq_pending_open") == 0);
  CHECK(w.stat("circuit_breakers.default.remaining_pending") == 3);
  CHECK(w.stat("upstream_cx_total") == 2);
}

TEST_CASE("max_requests: what is over the limit fails at once") {
  HttpWorld w;
  Server server(w);
  server.silent = true;
  w.cluster({kHost}).circuit_breaker[1].max_requests = 1;
  w.apply();
  const ext::HttpRequestTraits high{.priority = ext::RoutingPriority::high};
  Call& a = w.call("/", {}, high);
  REQUIRE(w.loop.run_until([&] { return a.ready == 1; }));
  Call& b = w.call("/", {}, high);
  REQUIRE(w.loop.run_until([&] { return b.over(); }));
  CHECK(b.failure == Failure::overflow);
  CHECK(w.stat("upstream_rq_active_overflow") == 1);
  CHECK(w.stat("circuit_breakers.high.rq_open") == 1);
  Call& other = w.call();  // the other priority
  REQUIRE(w.loop.run_until([&] { return other.ready == 1; }));
}

TEST_CASE("a connection has its age: requests, idle time, duration, connection: close") {
  HttpWorld w;
  SUBCASE("max_requests_per_connection") {
    Server server(w);
    w.cluster({kHost}).http.max_requests_per_connection = 2;
    w.apply();
    for (int i = 0; i < 4; ++i) CHECK(w.finish(w.call()).status == "200");
    CHECK(server.connections.size() == 2);
    CHECK(w.stat("upstream_cx_max_requests") == 2);
    CHECK(w.stat("upstream_cx_active") == 0);
  }
  SUBCASE("idle_timeout") {
    Server server(w);
    w.cluster({kHost}).http.idle_timeout = milliseconds(100);
    w.apply();
    w.finish(w.call());
    w.wait(milliseconds(60));
    w.finish(w.call());
    w.wait(milliseconds(60));
    CHECK(w.stat("upstream_cx_idle_timeout") == 0);
    w.wait(milliseconds(60));
    CHECK(w.stat("upstream_cx_idle_timeout") == 1);
    CHECK(w.stat("upstream_cx_active") == 0);
  }
  SUBCASE("max_connection_duration lets the request under way end") {
    Server server(w);
    server.silent = true;
    w.cluster({kHost}).http.max_connection_duration = milliseconds(50);
    w.apply();
    Call& c = w.call();
    w.wait(milliseconds(80));
    CHECK(w.stat("upstream_cx_max_duration_reached") == 1);
    CHECK(w.stat("upstream_cx_active") == 1);
    server.connections[0]->write(kOk);
    CHECK(w.finish(c).status == "200");
    CHECK(w.stat("upstream_cx_active") == 0);
  }
  SUBCASE("connection: close") {
    Server server(w, "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
    w.cluster({kHost});
    w.apply();
    w.finish(w.call());
    CHECK(w.stat("upstream_cx_active") == 0);
    CHECK(w.finish(w.call()).status == "200");
    CHECK(server.connections.size() == 2);
  }
}

TEST_CASE("a cluster that is removed cuts nothing that is under way") {
  HttpWorld w;
  Server server(w);
  w.cluster({kHost});
  w.apply();
  Call& done = w.finish(w.call());
  (void)done;
  server.silent = true;
  Call& c = w.call();
  Call& d = w.call();
  REQUIRE(w.loop.run_until([&] { return server.requests == 3; }));
  w.owned->config.clusters.clear();
  REQUIRE(w.owned->directory.apply(w.owned->config).ok());
  w.settle();
  CHECK(w.manager->find("c") == nullptr);
  for (auto* p : server.connections) p->write(kOk);
  CHECK(w.finish(c).status == "200");
  CHECK(w.finish(d).status == "200");
  CHECK(w.stat("upstream_cx_active") == 0);
}

TEST_CASE("giving up: while waiting, before the stream, in the middle") {
  HttpWorld w;
  Server server(w);
  server.silent = true;
  w.cluster({kHost});
  w.apply();
  Call& waiting = w.call();
  waiting.attempt.reset();
  CHECK(w.stat("upstream_rq_cancelled") == 1);
  CHECK(w.stat("upstream_rq_pending_active") == 0);
  Call& c = w.call();  // takes the connection made for the other
  REQUIRE(w.loop.run_until([&] { return server.requests == 1; }));
  CHECK(w.stat("upstream_cx_total") == 1);
  c.attempt.reset();
  w.settle();
  CHECK(w.stat("upstream_cx_destroy_local") == 1);
  CHECK(w.stat("upstream_cx_destroy_local_with_active_rq") == 1);
  CHECK(w.stat("upstream_cx_active") == 0);
}
