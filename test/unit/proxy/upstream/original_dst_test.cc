#include <doctest/doctest.h>

#include "harness.h"

using namespace sluice;
using namespace sluice::upstream;
using Failure = ext::Upstream::Failure;
using std::chrono::milliseconds;

namespace {

struct Stream {
  explicit Stream(const Address& destination, bool restored = true) {
    info.downstream_local = destination;
    info.local_address_restored = restored;
    origin.stream = &info;
  }
  ext::StreamInfo info;
  ext::Upstream::Origin origin;
};

model::Cluster& passthrough(Harness& h) {
  model::Cluster& c = h.add("PassthroughCluster");
  c.type = model::ClusterType::original_dst;
  c.lb.policy = model::LbPolicy::cluster_provided;
  c.cleanup_interval = milliseconds(50);
  return c;
}

}  // namespace

TEST_CASE("ORIGINAL_DST goes where the connection had wanted to go") {
  Harness h(2);
  Listener server;
  passthrough(h);
  h.apply();
  Stream s(server.at());
  auto a = h.connect_wait("PassthroughCluster", s.origin, 0);
  CHECK(a->connected);
  CHECK(a->upstream->host_address() == server.at());
  auto b = h.connect_wait("PassthroughCluster", s.origin, 1);
  CHECK(b->connected);
  // One host for both workers.
  CHECK(h.stat("cluster.PassthroughCluster.membership_total") == 1);
  CHECK(h.stat("cluster.PassthroughCluster.membership_change") == 1);
  auto view = h.directory.view();
  REQUIRE(view[0].hosts.size() == 1);
  CHECK(view[0].hosts[0].cx_active == 2);
  CHECK(view[0].hosts[0].host->address() == server.at());
}

TEST_CASE("ORIGINAL_DST has nobody when the address was not restored") {
  Harness h;
  Listener server;
  passthrough(h);
  h.apply();
  Stream s(server.at(), false);
  auto o = h.connect_wait("PassthroughCluster", s.origin);
  CHECK(o->failure == Failure::no_healthy_host);
  CHECK(h.stat("cluster.PassthroughCluster.upstream_cx_none_healthy") == 1);
  CHECK(h.connect_wait("PassthroughCluster")->failure == Failure::no_healthy_host);
}

TEST_CASE("ORIGINAL_DST with upstream_port_override") {
  Harness h;
  Listener server;
  passthrough(h).original_dst_port_override = server.at().port();
  h.apply();
  Stream s(server.at().with_port(1));
  auto o = h.connect_wait("PassthroughCluster", s.origin);
  CHECK(o->connected);
  CHECK(o->upstream->host_address() == server.at());
}

TEST_CASE("ORIGINAL_DST refuses the proxy's own listeners") {
  Listener server;
  struct Own final : ext::OwnListeners {
    Address at;
    bool refuses(const Address& destination, const ext::Upstream::Origin&) const override {
      return destination == at;
    }
  } own;
  own.at = server.at();
  Harness h;
  passthrough(h);
  h.apply();
  Stream s(server.at());
  s.origin.own_listeners = &own;
  auto o = h.connect_wait("PassthroughCluster", s.origin);
  CHECK(o->failure == Failure::no_healthy_host);
  CHECK(h.stat("cluster.PassthroughCluster.original_dst_host_invalid") == 1);
  CHECK(h.stat("cluster.PassthroughCluster.membership_total") == 0);
}

TEST_CASE("ORIGINAL_DST forgets hosts that nobody uses, and keeps those with connections") {
  Harness h(2);
  Listener kept, left;
  passthrough(h);
  h.apply();
  Stream to_kept(kept.at()), to_left(left.at());
  auto a = h.connect_wait("PassthroughCluster", to_kept.origin, 0);
  h.connect_wait("PassthroughCluster", to_left.origin, 0);
  h.connect_wait("PassthroughCluster", to_left.origin, 1);
  CHECK(h.stat("cluster.PassthroughCluster.membership_total") == 2);
  REQUIRE(h.until([&] { return h.stat("cluster.PassthroughCluster.membership_total") == 1; }));
  CHECK(h.directory.view()[0].hosts.size() == 1);
  CHECK(h.directory.view()[0].hosts[0].host->address() == kept.at());
  CHECK(h.stat("cluster.PassthroughCluster.membership_change") == 3);
  a.reset();
  REQUIRE(h.until([&] { return h.stat("cluster.PassthroughCluster.membership_total") == 0; }));
  // And back again.
  CHECK(h.connect_wait("PassthroughCluster", to_left.origin, 1)->connected);
}
