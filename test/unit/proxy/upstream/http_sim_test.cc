#include <map>

#include "test/sim/seeds.h"
#include "test/unit/proxy/upstream/http_world.h"

// HTTP/1 pools with everything at once: servers that answer, hang up, reset, answer in halves and close in between; callers
// that leave at any moment; every limit.
using namespace sluice;
using namespace sluice::upstream;
using std::chrono::milliseconds;

TEST_CASE("whatever happens, each try is told once and counted once, and nothing is left") {
  Status s = sim::for_each_seed(400, [](sim::Sim& sim) {
    Random& random = sim.random;
    std::vector<Address> hosts;
    for (int i = 1; i <= 3; ++i) hosts.push_back(at("10.0.0." + std::to_string(i) + ":80"));
    for (int i = 0; i < 2; ++i) {
      sim.world.server(hosts[static_cast<size_t>(i)], [&random](sim::Peer& p) {
        p.on_data = [&random](sim::Peer& q) {
          while (q.received.find("\r\n\r\n") != std::string::npos) {
            q.received.erase(0, q.received.find("\r\n\r\n") + 4);
            switch (random.below(10)) {
              case 0:
                return q.close();
              case 1:
                return q.reset();
              case 2:
                q.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
                return q.close();
              case 3:
                q.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
                return q.close();
              case 4:
                q.write("HTTP/1.1 200 OK\r\n\r\nto the end");
                return q.close();
              case 5:
                return;  // never
              case 6:
                return q.write("nonsense\r\n\r\n");
              default:
                q.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
            }
          }
        };
        p.on_end = [](sim::Peer& q) { q.close(); };
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
    model::Locality& l = c->localities.emplace_back();
    for (const Address& a : hosts) l.endpoints.emplace_back().address = a;
    c->connect_timeout = milliseconds(1 + random.below(50));
    auto& breaker = c->circuit_breaker[0];
    breaker.track_remaining = true;
    if (random.chance(1, 3)) breaker.max_connections = 1 + static_cast<uint32_t>(random.below(4));
    if (random.chance(1, 3)) breaker.max_pending_requests = 1 + static_cast<uint32_t>(random.below(3));
    if (random.chance(1, 3)) breaker.max_requests = 1 + static_cast<uint32_t>(random.below(4));
    if (random.chance(1, 3)) c->http.max_requests_per_connection = 1 + static_cast<uint32_t>(random.below(4));
    if (random.chance(1, 3)) c->http.idle_timeout = milliseconds(1 + random.below(20));
    if (random.chance(1, 3)) c->http.max_connection_duration = milliseconds(1 + random.below(40));
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
    for (const char* gauge : {"upstream_cx_active", "upstream_rq_active", "upstream_rq_pending_active",
                              "upstream_cx_rx_bytes_buffered", "upstream_cx_tx_bytes_buffered",
                              "circuit_breakers.default.cx_open", "circuit_breakers.default.rq_open",
                              "circuit_breakers.default.rq_pending_open"}) {
      sim.check(n(gauge) == 0, gauge);
    }
    sim.check(n("circuit_breakers.default.remaining_cx") == breaker.max_connections, "remaining_cx");
    sim.check(n("circuit_breakers.default.remaining_rq") == breaker.max_requests, "remaining_rq");
    sim.check(n("circuit_breakers.default.remaining_pending") == breaker.max_pending_requests,
              "remaining_pending");
    sim.check(n("upstream_cx_total") == n("upstream_cx_destroy"), "cx_total == cx_destroy");
    uint64_t ready = 0;
    for (auto& k : calls) ready += static_cast<uint64_t>(k->ready);
    sim.check(n("upstream_rq_total") == ready, "rq_total");
  });
  CHECK_MESSAGE(s.ok(), s.error().message);
}
