#include <doctest/doctest.h>

#include "harness.h"

using namespace sluice;
using namespace sluice::upstream;
using Failure = ext::Upstream::Failure;

namespace {

// An address that refuses: a port that was free a moment ago.
Address refusing() {
  Listener gone;
  return gone.at();
}

void write(ext::Upstream& u, io::Loop& loop, std::string_view text, bool end = false) {
  Buffer b;
  b.append(loop.blocks(), text);
  u.connection().write(std::move(b), end);
}

}  // namespace

TEST_CASE("a static cluster connects, carries bytes and counts as Envoy does") {
  Harness h;
  Listener server;
  h.add("c1", {server.at()});
  h.apply();
  auto o = h.connect("c1");
  CHECK(h.stat("cluster.c1.upstream_rq_pending_active") == 1);
  REQUIRE(h.until([&] { return o->connected; }));
  CHECK(o->upstream->host_address() == server.at());
  CHECK(o->upstream->local_address().ip().is_loopback());
  Fd peer = server.accept();
  REQUIRE(peer.valid());
  write(*o->upstream, *h.loop, "hello");
  REQUIRE(h.until([&] { return h.stat("cluster.c1.upstream_cx_tx_bytes_total") == 5; }));
  char buf[16];
  CHECK(::recv(peer.get(), buf, sizeof buf, 0) == 5);
  REQUIRE(::send(peer.get(), "bye", 3, 0) == 3);
  REQUIRE(h.until([&] { return o->received == "bye"; }));
  CHECK(h.stat("cluster.c1.upstream_cx_rx_bytes_total") == 3);
  CHECK(h.stat("cluster.c1.upstream_cx_total") == 1);
  CHECK(h.stat("cluster.c1.upstream_cx_active") == 1);
  CHECK(h.stat("cluster.c1.upstream_rq_total") == 1);
  CHECK(h.stat("cluster.c1.upstream_rq_active") == 1);
  CHECK(h.stat("cluster.c1.upstream_rq_pending_total") == 1);
  CHECK(h.stat("cluster.c1.upstream_rq_pending_active") == 0);
  CHECK(h.stat("cluster.c1.membership_total") == 1);
  CHECK(h.stat("cluster.c1.membership_healthy") == 1);
  CHECK(h.stat("cluster.c1.membership_change") == 1);
  CHECK(h.stat("cluster_manager.active_clusters") == 1);

  SUBCASE("the far side ends") {
    peer.reset();
    REQUIRE(h.until([&] { return o->ended; }));
    write(*o->upstream, *h.loop, "", true);
    REQUIRE(h.until([&] { return o->closed; }));
    CHECK(h.stat("cluster.c1.upstream_cx_destroy_remote") == 1);
    CHECK(h.stat("cluster.c1.upstream_cx_destroy_remote_with_active_rq") == 1);
  }
  SUBCASE("we end") {
    o->upstream.reset();
    CHECK(h.stat("cluster.c1.upstream_cx_destroy_local") == 1);
    CHECK(h.stat("cluster.c1.upstream_cx_destroy_local_with_active_rq") == 1);
  }
  CHECK(h.stat("cluster.c1.upstream_cx_destroy") == 1);
  CHECK(h.stat("cluster.c1.upstream_cx_destroy_with_active_rq") == 1);
  CHECK(h.stat("cluster.c1.upstream_cx_active") == 0);
  CHECK(h.stat("cluster.c1.upstream_rq_active") == 0);
  auto view = h.directory.view();
  REQUIRE(view.size() == 1);
  REQUIRE(view[0].hosts.size() == 1);
  CHECK(view[0].hosts[0].cx_total == 1);
  CHECK(view[0].hosts[0].cx_active == 0);
  CHECK(view[0].hosts[0].rq_total == 1);
}

TEST_CASE("a refused connection says why and counts on the far side") {
  Harness h;
  h.add("c", {refusing()});
  h.apply();
  auto o = h.connect_wait("c");
  CHECK(o->failure == Failure::connect_failed);
  CHECK(o->reason == "delayed_connect_error: Connection refused");
  CHECK(o->upstream->host_address().valid());
  CHECK(h.stat("cluster.c.upstream_cx_total") == 1);
  CHECK(h.stat("cluster.c.upstream_cx_connect_fail") == 1);
  CHECK(h.stat("cluster.c.upstream_cx_destroy") == 1);
  CHECK(h.stat("cluster.c.upstream_cx_destroy_remote") == 1);
  CHECK(h.stat("cluster.c.upstream_cx_destroy_with_active_rq") == 0);
  CHECK(h.stat("cluster.c.upstream_rq_pending_failure_eject") == 1);
  CHECK(h.stat("cluster.c.upstream_rq_total") == 0);
  CHECK(h.stat("cluster.c.upstream_cx_active") == 0);
  o.reset();
  CHECK(h.stat("cluster.c.upstream_cx_destroy") == 1);
  CHECK(h.directory.view()[0].hosts[0].cx_connect_fail == 1);
}

TEST_CASE("an upstream may be destroyed while it fails, while it connects and before it has failed") {
  Harness h;
  h.add("refused", {refusing()});
  h.add("empty");
  h.apply();
  auto o = h.connect("refused");
  o->destroy = true;
  REQUIRE(h.until([&] { return o->over(); }));
  CHECK(o->upstream == nullptr);

  auto connecting = h.connect("refused");
  connecting->upstream.reset();
  auto failing = h.connect("empty");
  failing->upstream.reset();
  h.turns(5);
  CHECK_FALSE(connecting->over());
  CHECK_FALSE(failing->over());
  CHECK(h.stat("cluster.refused.upstream_rq_cancelled") == 1);
  CHECK(h.stat("cluster.refused.upstream_cx_active") == 0);
  CHECK(h.stat("cluster.refused.upstream_rq_pending_active") == 0);
}

TEST_CASE("an empty cluster has nobody: BlackHoleCluster") {
  Harness h;
  h.add("BlackHoleCluster");
  h.apply();
  auto o = h.connect_wait("BlackHoleCluster");
  CHECK(o->failure == Failure::no_healthy_host);
  CHECK_FALSE(o->upstream->host_address().valid());
  CHECK(h.stat("cluster.BlackHoleCluster.upstream_cx_none_healthy") == 1);
  CHECK(h.stat("cluster.BlackHoleCluster.lb_healthy_panic") == 1);
  CHECK(h.stat("cluster.BlackHoleCluster.upstream_cx_total") == 0);
  CHECK(h.stat("cluster.BlackHoleCluster.membership_change") == 0);
}

TEST_CASE("max_connections holds over two workers") {
  Harness h(2);
  Listener server;
  model::Cluster& c = h.add("c", {server.at()});
  c.circuit_breaker[0].max_connections = 2;
  c.circuit_breaker[0].track_remaining = true;
  h.apply();
  CHECK(h.stat("cluster.c.circuit_breakers.default.remaining_cx") == 2);
  auto a = h.connect_wait("c", {}, 0), b = h.connect_wait("c", {}, 1);
  CHECK(a->connected);
  CHECK(b->connected);
  CHECK(h.stat("cluster.c.circuit_breakers.default.cx_open") == 1);
  CHECK(h.stat("cluster.c.circuit_breakers.default.remaining_cx") == 0);
  for (int worker : {0, 1}) {
    auto o = h.connect_wait("c", {}, worker);
    CHECK(o->failure == Failure::overflow);
  }
  CHECK(h.stat("cluster.c.upstream_cx_overflow") == 2);
  CHECK(h.stat("cluster.c.upstream_cx_total") == 2);
  a.reset();
  CHECK(h.stat("cluster.c.circuit_breakers.default.cx_open") == 0);
  CHECK(h.connect_wait("c", {}, 1)->connected);
}

TEST_CASE("max_pending_requests limits those that are connecting") {
  Harness h;
  Listener server;
  model::Cluster& c = h.add("c", {server.at()});
  c.circuit_breaker[0].max_pending_requests = 1;
  h.apply();
  auto a = h.connect("c"), b = h.connect("c");
  REQUIRE(h.until([&] { return a->over() && b->over(); }));
  CHECK(a->connected);
  CHECK(b->failure == Failure::overflow);
  CHECK(h.stat("cluster.c.upstream_rq_pending_overflow") == 1);
  CHECK(h.stat("cluster.c.upstream_cx_active") == 1);
  CHECK(h.connect_wait("c")->connected);
}

TEST_CASE("upstream_bind_config: the connection comes from that address; one that is not ours fails") {
  Harness h;
  Listener server;
  h.add("c", {server.at()}).bind_address = *Address::parse("127.0.0.6:0");
  h.add("bad", {server.at()}).bind_address = *Address::parse("192.0.2.1:0");
  h.apply();
  auto o = h.connect_wait("c");
  REQUIRE(o->connected);
  CHECK(o->upstream->local_address().ip().to_string() == "127.0.0.6");
  // What the stream asks for goes before what the cluster says.
  auto asked = h.connect_wait("c", {.source = *Address::parse("127.0.0.9:0")});
  REQUIRE(asked->connected);
  CHECK(asked->upstream->local_address().ip().to_string() == "127.0.0.9");
  auto bad = h.connect_wait("bad");
  CHECK(bad->failure == Failure::connect_failed);
  CHECK(bad->reason == "failed to bind to 192.0.2.1:0: Cannot assign requested address");
  CHECK(h.stat("cluster.bad.bind_errors") == 1);
  CHECK(h.stat("cluster.bad.upstream_cx_connect_fail") == 1);
  CHECK(h.stat("cluster.bad.upstream_cx_destroy_local") == 1);
}

TEST_CASE("hosts rotate, and unhealthy ones get nothing") {
  Harness h;
  Listener a, b, c;
  h.add("c", {a.at(), b.at(), c.at()}).localities[0].endpoints[1].health = model::HealthStatus::unhealthy;
  h.apply();
  std::map<uint16_t, int> seen;
  for (int i = 0; i < 10; ++i) ++seen[h.connect_wait("c")->upstream->host_address().port()];
  CHECK(seen == std::map<uint16_t, int>{{a.at().port(), 5}, {c.at().port(), 5}});
  CHECK(h.stat("cluster.c.membership_total") == 3);
  CHECK(h.stat("cluster.c.membership_healthy") == 2);
}

TEST_CASE("clusters are added, replaced and removed; connections outlive them") {
  Harness h;
  Listener old_server, new_server;
  h.add("c", {old_server.at()}).hash = 1;
  h.apply();
  auto before = h.connect_wait("c");
  REQUIRE(before->connected);
  h.apply();   // nothing changed
  CHECK(h.stat("cluster_manager.cluster_modified") == 0);

  h.config.clusters.clear();
  h.add("c", {new_server.at()}).hash = 2;
  h.add("other");
  h.apply();
  CHECK(h.stat("cluster_manager.cluster_added") == 2);
  CHECK(h.stat("cluster_manager.cluster_modified") == 1);
  CHECK(h.stat("cluster.c.membership_total") == 1);
  CHECK(h.connect_wait("c")->upstream->host_address() == new_server.at());

  h.config.clusters.clear();
  h.apply();
  CHECK(h.managers[0]->find("c") == nullptr);
  CHECK(h.stat("cluster_manager.cluster_removed") == 2);
  CHECK(h.stat("cluster_manager.active_clusters") == 0);
  CHECK(h.stat("cluster.c.membership_total") == 0);
  Fd peer = old_server.accept();
  write(*before->upstream, *h.loop, "still here");
  REQUIRE(h.until([&] { return h.stat("cluster.c.upstream_cx_tx_bytes_total") == 10; }));
  CHECK(h.stat("cluster.c.upstream_cx_active") == 1);
  before.reset();
  h.turns(2);
  for (const auto& m : h.store.snapshot()) CHECK_FALSE(m.name.starts_with("cluster.c."));
}

TEST_CASE("two clusters of one name are refused") {
  Harness h;
  h.add("twice");
  h.add("twice");
  Status s = h.directory.apply(h.config);
  REQUIRE_FALSE(s.ok());
  CHECK(s.error().message.find("'twice'") != std::string::npos);
}

TEST_CASE("alt_stat_name names the statistics, and Envoy's zeros are there") {
  Harness h;
  h.add("outbound|80||svc").alt_stat_name = "svc";
  h.apply();
  CHECK(h.stat("cluster.svc.upstream_cx_http2_total") == 0);
  CHECK(h.stat("cluster.svc.circuit_breakers.high.rq_retry_open") == 0);
  CHECK(h.managers[0]->find("outbound|80||svc")->observability_name() == "svc");
}

TEST_CASE("a worker that comes later knows all clusters") {
  Harness h;
  Listener server;
  h.add("c", {server.at()});
  h.apply();
  h.managers.clear();
  h.managers.push_back(h.directory.make_worker(*h.loop, 1, 5));
  CHECK(h.connect_wait("c")->connected);
}
