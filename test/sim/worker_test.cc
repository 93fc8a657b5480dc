// The real worker (accept, listener filters, hand-off, filter chains, tcp_proxy, clusters) on a simulated kernel: clients
// and servers that behave well, badly and late; whatever a seed brings, bytes arrive exact, a FIN stays a FIN, a RST a RST,
// every connection is logged once, and nothing is left behind.
#include "proxy/worker.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>

#include "core/log.h"
#include "extensions/filters/listener/original_dst/original_dst.h"
#include "extensions/filters/network/tcp_proxy/tcp_proxy.h"
#include "proxy/upstream/cluster_manager.h"
#include "test/sim/seeds.h"

using namespace sluice;
using namespace sluice::sim;

namespace {

const Address kOutbound = *Address::parse("0.0.0.0:15001");
const Address kAnyHost = *Address::parse("10.9.0.1:7000");  // no listener of its own: passthrough
const Address kRefusing = *Address::parse("10.9.0.2:7000");  // passthrough, nobody there
const Address kBlackhole = *Address::parse("10.9.0.3:7000");  // passthrough, never answers
const Address kService = *Address::parse("10.96.0.1:80");  // a virtual listener in front of two hosts
const Address kHost1 = *Address::parse("10.1.0.1:8080");
const Address kHost2 = *Address::parse("10.1.0.2:8080");
const Address kDenied = *Address::parse("10.96.0.2:443");  // a virtual listener to a cluster without hosts

// sk_lookup semantics: the accepted socket's own address is where the client was going.
struct Destinations final : proxy::OriginalDestinations {
  std::optional<Address> find(int, const Address& local, const Address& listening) override {
    if (local.port() != listening.port()) return local;
    return std::nullopt;
  }
};

struct CountingLog final : ext::AccessLogger {
  void log(const ext::StreamInfo& info, ext::AccessLogType) const override {
    ++records[info.connection_id];
    if (info.flags.any()) ++flagged;
  }
  mutable std::map<uint64_t, int> records;
  mutable int flagged = 0;
};

std::shared_ptr<model::Cluster> cluster(const char* name, model::ClusterType type,
                                        std::vector<Address> hosts) {
  auto c = std::make_shared<model::Cluster>();
  c->name = name;
  c->type = type;
  c->lb.policy = type == model::ClusterType::original_dst ? model::LbPolicy::cluster_provided
                                                          : model::LbPolicy::round_robin;
  c->connect_timeout = std::chrono::seconds(3);
  c->buffer_limit = 32 * 1024;
  c->hash = std::hash<std::string>()(name);
  if (!hosts.empty()) {
    model::Locality l;
    for (const Address& a : hosts) {
      model::Endpoint e;
      e.address = a;
      l.endpoints.push_back(e);
    }
    c->localities.push_back(l);
  }
  return c;
}

std::shared_ptr<model::Listener> listener(const char* name, const Address& at, bool bound, const char* to,
                                          const std::shared_ptr<CountingLog>& log, Duration idle_timeout) {
  auto proxy = std::make_shared<extensions::tcp_proxy::Config>();
  proxy->stat_prefix = name;
  proxy->targets = {{to, 1}};
  proxy->access_logs = {log};
  proxy->idle_timeout = idle_timeout;
  proxy->max_connect_attempts = 2;
  auto chain = std::make_shared<model::FilterChain>();
  chain->name = std::make_shared<const std::string>(to);
  chain->filters = {extensions::tcp_proxy::make_factory(proxy)};
  auto l = std::make_shared<model::Listener>();
  l->name = std::make_shared<const std::string>(name);
  l->address = at;
  l->bind_to_port = bound;
  l->buffer_limit = 32 * 1024;
  if (bound) {
    l->use_original_dst = true;
    l->listener_filters = {extensions::original_dst::make_factory()};
  }
  l->default_filter_chain = chain;
  l->matcher = *model::FilterChainMatcher::build({}, {});
  return l;
}

std::string pattern(uint64_t salt, size_t n) {
  std::string s(n, 0);
  for (size_t i = 0; i < n; ++i) s[i] = static_cast<char>('a' + (salt + i * 7 + i / 251) % 26);
  return s;
}

// One client's plan and the server's that it will meet.
struct Story {
  enum class Client { plain, slow_reader, resets, leaves } client = Client::plain;
  enum class Server { echo, speaks_first, sink, slow_sink, resets, resets_at_once } server = Server::echo;
  Address to;
  std::string request, response;
  Peer* caller = nullptr;
  Peer* callee = nullptr;
  bool client_reset = false, server_reset = false;
  bool clean() const {
    return (client == Client::plain || client == Client::slow_reader) &&
           (server == Server::echo || server == Server::speaks_first || server == Server::sink ||
            server == Server::slow_sink);
  }
  std::string expected_response() const { return server == Server::echo ? request : response; }
};

class Scenario {
 public:
  explicit Scenario(Sim& s) : sim(s), store(2), log(std::make_shared<CountingLog>()) {}

  void run() {
    set_up();
    size_t n = 1 + sim.random.below(12);
    for (size_t i = 0; i < n; ++i) stories.push_back(std::make_unique<Story>());
    for (auto& s : stories) begin(*s);
    // Whatever happens, connections end: everybody has finished, reset or left.
    bool over = sim.loop.run_until(
        [&] { return called == stories.size() && all_over() && worker->connection_count() == 0; },
        std::chrono::hours(3));
    sim.check(over, "a connection did not end");
    sim.loop.run_until([] { return false; }, std::chrono::seconds(5));  // what is on its way arrives
    for (auto& s : stories) judge(*s);
    tear_down();
  }

 private:
  void set_up() {
    // Half of the seeds run with a time-out that idle connections meet.
    idle = sim.random.chance(1, 2) ? std::chrono::seconds(20) : std::chrono::hours(1);
    auto set = std::make_shared<model::ConfigSet>();
    set->clusters = {cluster("PassthroughCluster", model::ClusterType::original_dst, {}),
                     cluster("service", model::ClusterType::static_, {kHost1, kHost2}),
                     cluster("BlackHoleCluster", model::ClusterType::static_, {})};
    set->listeners = {listener("virtualOutbound", kOutbound, true, "PassthroughCluster", log, idle),
                      listener("10.96.0.1_80", kService, false, "service", log, idle),
                      listener("10.96.0.2_443", kDenied, false, "BlackHoleCluster", log, idle)};
    clusters =
        std::make_unique<upstream::ClusterDirectory>(sim.loop, store, upstream::ClusterDirectory::Options{});
    sim.check(clusters->apply(*set).ok(), "clusters");
    worker = std::make_unique<proxy::Worker>(
        sim.loop, store,
        proxy::Worker::Options{.index = 0, .seed = sim.random.next(), .original_destinations = &destinations},
        [&](proxy::Worker& w) { return clusters->make_worker(w.loop(), 1, 7); });
    for (const auto& l : set->listeners) worker->put_listener(l);
    auto fd = sim.loop.open_socket(AF_INET, {});
    while (!fd.ok()) fd = sim.loop.open_socket(AF_INET, {});
    sim.check(sim.loop.bind(*fd, kOutbound).ok() && sim.loop.listen(*fd, 128).ok(), "listen");
    worker->add_socket({*fd, kOutbound, set->listeners[0], nullptr});
    sim.net.blackhole(kBlackhole);
    for (const Address& a : {kAnyHost, kHost1, kHost2}) sim.world.server(a, [this](Peer& p) { serve(p); });
  }

  void tear_down() {
    worker->close_all_sockets();
    sim.check(sim.loop.run_until([&] { return worker->idle() && sim.loop.ops_in_flight() == 0; }),
              "the worker does not become idle");
    uint64_t active = 0;
    for (const auto& m : store.snapshot())
      if (m.name.ends_with("cx_active") || m.name.ends_with("_buffered") || m.name.ends_with("rq_active") ||
          m.name.ends_with("pending_active"))
        if (m.value != 0)
          sim.check(false, m.name + " is " + std::to_string(m.value) + " at the end"), ++active;
    for (auto& [id, count] : log->records)
      sim.check(count == 1, "connection logged " + std::to_string(count) + " times");
    worker.reset();
    clusters.reset();
    sim.loop.run_once(Duration(0));
  }

  void begin(Story& s) {
    static const Address kPlaces[] = {kAnyHost, kAnyHost,  kService,   kService,
                                      kService, kRefusing, kBlackhole, kDenied};
    s.to = kPlaces[sim.random.below(std::size(kPlaces))];
    s.client = static_cast<Story::Client>(sim.random.below(4));
    s.server = static_cast<Story::Server>(sim.random.below(6));
    s.request = pattern(sim.random.below(26), sim.random.below(sim.random.chance(1, 4) ? 150000 : 2000));
    s.response = pattern(sim.random.below(26), sim.random.below(sim.random.chance(1, 4) ? 150000 : 2000));
    sim.net.after(sim.net.between(Duration(0), std::chrono::milliseconds(5)), [this, &s] { call(s); });
  }

  void call(Story& s) {
    ++called;
    // What the client says first tells the server which story it is in.
    s.request.insert(0, std::string(1, static_cast<char>('A' + index_of(s))));
    Peer& c = sim.world.client(s.to, kOutbound);
    s.caller = &c;
    if (s.client == Story::Client::slow_reader) {
      c.pause_reading();
      sim.net.after(sim.net.between(std::chrono::milliseconds(1), std::chrono::seconds(2)),
                    [&c] { c.resume_reading(); });
    }
    size_t half = sim.random.below(s.request.size() + 1);
    c.write(std::string_view(s.request).substr(0, half));
    sim.net.after(sim.net.between(Duration(0), std::chrono::milliseconds(20)), [this, &s, &c, half] {
      if (c.over()) return;
      c.write(std::string_view(s.request).substr(half));
      switch (s.client) {
        case Story::Client::plain:
        case Story::Client::slow_reader:
          c.finish();
          break;
        case Story::Client::resets:
          sim.net.after(sim.net.between(Duration(0), std::chrono::milliseconds(50)), [&s, &c] {
            if (c.over()) return;
            s.client_reset = true;
            c.reset();
          });
          break;
        case Story::Client::leaves:
          sim.net.after(sim.net.between(Duration(0), std::chrono::seconds(40)), [&c] {
            if (!c.over()) c.close();
          });
          break;
      }
    });
    // Who has nothing more to say and has heard the end is gone.
    c.on_end = [&s, &c](Peer&) {
      if (s.client == Story::Client::leaves && !c.over()) c.close();
    };
  }

  size_t index_of(const Story& s) {
    for (size_t i = 0; i < stories.size(); ++i)
      if (stories[i].get() == &s) return i;
    return 0;
  }

  void serve(Peer& p) {
    p.on_data = [this](Peer& peer) {
      if (peer.received.empty()) return;
      Story& s = *stories.at(static_cast<size_t>(peer.received[0] - 'A'));
      if (s.callee && s.callee != &peer) return;
      bool first = !s.callee;
      s.callee = &peer;
      react(s, peer, first);
    };
    p.on_end = [this](Peer& peer) {
      Story* s = story_of(peer);
      if (!s) return peer.close();  // the client said nothing at all
      if (s->server == Story::Server::sink || s->server == Story::Server::slow_sink) peer.write(s->response);
      if (!peer.over()) peer.finish();
    };
  }

  void react(Story& s, Peer& p, bool first) {
    switch (s.server) {
      case Story::Server::echo:
        p.write(std::string_view(p.received).substr(s_echoed[&p]));
        s_echoed[&p] = p.received.size();
        break;
      case Story::Server::speaks_first:
        if (first) p.write(s.response);
        break;
      case Story::Server::sink:
        break;
      case Story::Server::slow_sink:
        if (first) {
          p.pause_reading();
          sim.net.after(sim.net.between(std::chrono::milliseconds(1), std::chrono::seconds(2)),
                        [&p] { p.resume_reading(); });
        }
        break;
      case Story::Server::resets:
        if (p.received.size() > s.request.size() / 2) reset(s, p);
        break;
      case Story::Server::resets_at_once:
        reset(s, p);
        break;
    }
  }
  void reset(Story& s, Peer& p) {
    if (p.over()) return;
    s.server_reset = true;
    p.reset();
  }

  Story* story_of(Peer& p) {
    for (auto& s : stories)
      if (s->callee == &p) return s.get();
    return nullptr;
  }

  bool all_over() {
    return std::all_of(stories.begin(), stories.end(),
                       [](auto& s) { return s->caller && (s->caller->over() || s->caller->ended); });
  }

  void judge(Story& s) {
    Peer& c = *s.caller;
    std::string expected = s.expected_response();
    sim.check(c.received.size() <= expected.size() && expected.starts_with(c.received),
              "the client received something else");
    if (s.callee) sim.check(s.request.starts_with(s.callee->received), "the server received something else");
    bool reachable = s.to == kAnyHost || s.to == kService;
    if (!reachable) {
      // Nobody to talk to: the client must not be left with what looks like a success.
      sim.check(!s.callee, "somebody served a destination that nobody serves");
      if (!s.client_reset && s.client != Story::Client::leaves)
        sim.check(c.was_reset && !c.ended, "a client that could not be served got no reset");
      return;
    }
    // Without a descriptor for the upstream side, or after the idle time-out, a connection may end otherwise.
    if (s.clean() && idle > std::chrono::minutes(1) && sim.net.faults().no_descriptors == 0) {
      sim.check(!c.was_reset && c.ended, "a clean exchange did not end with a FIN");
      sim.check(c.received == expected, "the client misses bytes of a clean exchange");
      sim.check(s.callee && s.callee->received == s.request, "the server misses bytes of a clean exchange");
    }
    if (s.server_reset && !s.client_reset && s.client != Story::Client::leaves)
      sim.check(c.was_reset, "the server's reset became something else");
    if (s.client_reset && s.callee && !s.server_reset && c.unsent() == 0 && !s.callee->ended &&
        !s.callee->over())
      sim.check(s.callee->was_reset, "the client's reset did not reach the server");
  }

  Sim& sim;
  stats::Store store;
  std::shared_ptr<CountingLog> log;
  Destinations destinations;
  Duration idle{};
  std::unique_ptr<upstream::ClusterDirectory> clusters;
  std::unique_ptr<proxy::Worker> worker;
  std::vector<std::unique_ptr<Story>> stories;
  std::map<Peer*, size_t> s_echoed;
  size_t called = 0;
};

}  // namespace

TEST_CASE("the worker under 10,000 seeds") {
  log::set_all(spdlog::level::off);
  Status s = for_each_seed(10000, [](Sim& sim) { Scenario(sim).run(); });
  REQUIRE_MESSAGE(s.ok(), s.error().message);
}
