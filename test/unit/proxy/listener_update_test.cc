#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/listener.h"
#include "proxy/worker.h"
#include "test/sim/seeds.h"

using namespace sluice;
using namespace std::chrono_literals;

namespace {

const Address kOne = *Address::parse("10.0.0.1:80"), kTwo = *Address::parse("10.0.0.2:80");

// Greets with its chain's name, echoes, and says "drain" when it is told to.
class Greeter final : public ext::NetworkFilter {
 public:
  explicit Greeter(std::string greeting) : greeting_(std::move(greeting)) {}
  void init(ext::NetworkFilterContext& context) override { context_ = &context; }
  ext::FilterStatus on_new_connection() override {
    say(greeting_);
    return ext::FilterStatus::proceed;
  }
  ext::FilterStatus on_data(Buffer& data, bool end_stream) override {
    if (context_->draining()) say("(draining)");
    context_->connection().write(std::move(data), end_stream);
    return ext::FilterStatus::stop;
  }
  void on_drain() override { say("drain"); }

 private:
  void say(const std::string& text) {
    Buffer b;
    b.append(context_->loop().blocks(), text);
    context_->connection().write(std::move(b), false);
  }
  const std::string greeting_;
  ext::NetworkFilterContext* context_ = nullptr;
};

// A listener on both addresses; chain "one" takes 10.0.0.1, chain "two" the rest. The text is what each greets with, and
// what it differs by.
std::shared_ptr<const model::Listener> listener(const std::string& one, const std::string& two,
                                                uint64_t frame = 7, const std::string& name = "l") {
  auto chain = [](const std::string& name, const std::string& greeting) {
    auto c = std::make_shared<model::FilterChain>();
    c->name = std::make_shared<const std::string>(name);
    c->filters = {[greeting](const ext::NetworkFilterScope&) -> ext::NetworkFilterMaker {
      return [greeting] { return std::make_unique<Greeter>(greeting); };
    }};
    c->hash = std::hash<std::string>()(name + greeting) | 1;
    return c;
  };
  auto l = std::make_shared<model::Listener>();
  l->name = std::make_shared<const std::string>(name);
  l->address = kOne;
  l->additional_addresses = {kTwo};
  l->filter_chains = {chain("one", one)};
  l->default_filter_chain = chain("two", two);
  model::FilterChainMatch match;
  match.prefix_ranges = {*Cidr::parse("10.0.0.1/32")};
  l->matcher = *model::FilterChainMatcher::build(std::vector{match}, std::vector<std::string>{"one"});
  l->frame_hash = frame;
  return l;
}

struct NoClusters final : ext::ClusterManager {
  ext::Cluster* find(std::string_view) override { return nullptr; }
};

struct Bed {
  explicit Bed(sim::Sim& s) : sim(s), store(2) {
    worker = std::make_unique<proxy::Worker>(sim.loop, store,
                                             proxy::Worker::Options{.index = 0, .seed = sim.random.next()},
                                             [](proxy::Worker&) { return std::make_unique<NoClusters>(); });
    auto first = listener("1a", "2a");
    worker->put_listener(first);
    open_sockets(first);
  }
  void open_sockets(const std::shared_ptr<const model::Listener>& to) {
    for (const Address& a : {kOne, kTwo}) {
      io::SocketOptions options;
      options.reuse_port = true;
      auto fd = sim.loop.open_socket(AF_INET, options);
      while (!fd.ok()) fd = sim.loop.open_socket(AF_INET, options);
      REQUIRE(sim.loop.bind(*fd, a).ok());
      REQUIRE(sim.loop.listen(*fd, 128).ok());
      worker->add_socket({*fd, a, to, nullptr});
    }
  }
  ~Bed() {
    worker->close_connections(nullptr);
    worker->close_all_sockets();
    CHECK(sim.loop.run_until([&] { return worker->idle() && sim.loop.ops_in_flight() == 0; }));
    worker.reset();
    sim.loop.run_once(Duration(0));
  }
  sim::Peer& connect(const Address& to, const std::string& greeting) {
    sim::Peer& p = sim.world.client(to);
    REQUIRE(until([&] { return p.received.size() >= greeting.size(); }));
    CHECK(p.received == greeting);
    p.received.clear();
    return p;
  }
  // Answered to `text`.
  std::string echo(sim::Peer& p, const std::string& text) {
    p.received.clear();
    p.write(text);
    REQUIRE(until([&] { return p.received.ends_with(text); }));
    return std::exchange(p.received, "");
  }
  bool until(const std::function<bool()>& done, Duration limit = 1s) {
    return sim.loop.run_until(done, limit);
  }
  void pass(Duration time) {
    sim.loop.run_until([] { return false; }, time);
  }

  sim::Sim& sim;
  stats::Store store;
  std::unique_ptr<proxy::Worker> worker;
};

void each(const std::function<void(sim::Sim&)>& scenario) {
  Status s = sim::for_each_seed(20, scenario);
  INFO((s ? std::string() : s.error().message));
  CHECK(s.ok());
}

const proxy::DrainPlan kMinute{.time = 60s, .gradual = true};

}  // namespace

TEST_CASE("A changed filter chain: its connections drain, those of the other chain are left alone") {
  each([](sim::Sim& sim) {
    Bed bed(sim);
    sim::Peer &one = bed.connect(kOne, "1a"), &two = bed.connect(kTwo, "2a");
    bed.worker->put_listener(listener("1a", "2b"), kMinute);
    bed.connect(kOne, "1a");
    bed.connect(kTwo, "2b");
    CHECK(bed.echo(one, "x") == "x");
    CHECK_FALSE(one.ended);
    // Told within the time, closed at its end.
    REQUIRE(bed.until([&] { return two.received == "drain"; }, 61s));
    REQUIRE(bed.until([&] { return two.ended; }, 61s));
    CHECK_FALSE(two.was_reset);
    CHECK(bed.echo(one, "y") == "y");
    CHECK_FALSE(one.ended);
  });
}

TEST_CASE("A listener changed outside its chains: everything that was there drains") {
  each([](sim::Sim& sim) {
    Bed bed(sim);
    sim::Peer &one = bed.connect(kOne, "1a"), &two = bed.connect(kTwo, "2a");
    bed.worker->put_listener(listener("1a", "2a", 8), kMinute);
    sim::Peer& fresh = bed.connect(kOne, "1a");
    REQUIRE(bed.until([&] { return one.ended && two.ended; }, 62s));
    CHECK_FALSE(fresh.ended);
  });
}

TEST_CASE("A chain that comes back is a new one: connections of the old go on draining") {
  each([](sim::Sim& sim) {
    Bed bed(sim);
    sim::Peer& two = bed.connect(kTwo, "2a");
    bed.worker->put_listener(listener("1a", "2b"), kMinute);
    bed.worker->put_listener(listener("1a", "2a"), kMinute);
    sim::Peer& fresh = bed.connect(kTwo, "2a");
    REQUIRE(bed.until([&] { return two.ended; }, 62s));
    CHECK(bed.echo(fresh, "x") == "x");
  });
}

TEST_CASE("A removed listener: no new connections, the old ones drain over the time") {
  each([](sim::Sim& sim) {
    Bed bed(sim);
    std::vector<sim::Peer*> peers;
    for (int i = 0; i < 40; ++i) peers.push_back(&bed.connect(kOne, "1a"));
    bed.worker->remove_listener("l", kMinute);
    bed.pass(30ms);  // while what the kernel has begun is still accepted
    sim::Peer& late = sim.world.client(kOne);
    REQUIRE(bed.until([&] { return late.error != 0 || late.was_reset; }));
    auto told = [&] {
      size_t n = 0;
      for (auto* p : peers) n += p->received == "drain" ? 1 : 0;
      return n;
    };
    // Evenly, so that nobody sees a wave of new connections: of 40, in a quarter of the time, hardly none or nearly all.
    bed.pass(15s);
    CHECK(told() >= 1);
    CHECK(told() <= 30);
    bed.pass(44s);
    CHECK(told() == 40);
    CHECK_FALSE(peers[0]->ended);
    REQUIRE(bed.until([&] { return bed.worker->connection_count() == 0; }, 3s));
  });
}

TEST_CASE("Immediately: all are told at once, and what is answered meanwhile ends its connection") {
  each([](sim::Sim& sim) {
    Bed bed(sim);
    sim::Peer& one = bed.connect(kOne, "1a");
    bed.worker->remove_listener("l", {.time = 60s, .gradual = false});
    REQUIRE(bed.until([&] { return one.received == "drain"; }));
    CHECK(bed.echo(one, "x") == "(draining)x");
    CHECK_FALSE(one.ended);
    REQUIRE(bed.until([&] { return one.ended; }, 61s));
  });
}

TEST_CASE("Updates that come faster than a drain's steps put nothing off: everybody is told before the end") {
  each([](sim::Sim& sim) {
    Bed bed(sim);
    std::vector<sim::Peer*> peers;
    for (int i = 0; i < 10; ++i) peers.push_back(&bed.connect(kTwo, "2a"));
    for (int i = 0; i < 150; ++i) {
      bed.worker->put_listener(listener("1a", "2 " + std::to_string(i)), kMinute);
      bed.pass(400ms);
    }
    for (auto* p : peers) CHECK(p->received == "drain");
  });
}

TEST_CASE(
    "The process drains: all are told over the time, answers end connections meanwhile, nobody is closed") {
  each([](sim::Sim& sim) {
    Bed bed(sim);
    std::vector<sim::Peer*> peers;
    for (int i = 0; i < 40; ++i) peers.push_back(&bed.connect(kOne, "1a"));
    auto told = [&] { return std::ranges::count(peers, "drain", &sim::Peer::received); };
    bed.worker->drain(kMinute, true);
    bed.pass(61s);
    CHECK(told() == 0);  // the listener is not an inbound one
    bed.worker->drain(kMinute, false);
    bed.pass(15s);
    CHECK(told() >= 1);
    CHECK(told() <= 30);
    bed.pass(46s);
    CHECK(told() == 40);
    CHECK(bed.worker->connection_count() == 40);
    CHECK(bed.echo(*peers[0], "x") == "(draining)x");
    CHECK_FALSE(bed.worker->health_check_failed());
    // The end of the process is no gentle one any more, whoever asks for one.
    sim::Peer& fresh = bed.connect(kOne, "1a");
    bed.worker->set_draining();
    bed.worker->drain(kMinute, false);
    REQUIRE(bed.until([&] { return fresh.received == "drain"; }));
    bed.worker->set_health_check_failed(false);
    CHECK(bed.worker->health_check_failed());
  });
}

TEST_CASE("The share of answers that end their connection grows with the time of the drain") {
  each([](sim::Sim& sim) {
    const proxy::Drain drain{kMinute, sim.loop.now()};
    constexpr int kAnswers = 2000;
    for (int percent : {0, 10, 25, 50, 75, 90, 100}) {
      int ended = 0;
      for (int i = 0; i < kAnswers; ++i)
        ended += drain.ends_now(drain.begun + 60s * percent / 100, sim.random);
      // Six standard deviations of a binomial distribution, at most 134.2: one run in 500 million fails by chance.
      CHECK(std::abs(ended - kAnswers * percent / 100) <=
            6 * std::sqrt(kAnswers * percent / 100.0 * (1 - percent / 100.0)));
    }
    CHECK(proxy::Drain{{.time = 60s, .gradual = false}, sim.loop.now()}.ends_now(sim.loop.now(), sim.random));
  });
}

TEST_CASE("Those that idle are told at an even rate over nine tenths of the time") {
  each([](sim::Sim& sim) {
    constexpr int kConnections = 1000, kSteps = 100;
    const proxy::Drain drain{kMinute, sim.loop.now()};
    const Duration step = kMinute.time / kSteps;
    std::vector<bool> told(kConnections);
    for (int i = 1; i <= kSteps; ++i) {
      for (int c = 0; c < kConnections; ++c)
        if (!told[c]) told[c] = drain.tells_now(drain.begun + step * i, step, sim.random);
      const double share = std::min(1.0, i / 90.0);
      CHECK(std::abs(static_cast<double>(std::ranges::count(told, true)) - kConnections * share) <=
            6 * std::sqrt(kConnections * share * (1 - share)) + kConnections / 90.0);
    }
  });
}

TEST_CASE("No time to drain: closed at once") {
  each([](sim::Sim& sim) {
    Bed bed(sim);
    sim::Peer& one = bed.connect(kOne, "1a");
    bed.worker->remove_listener("l", {.time = Duration(0), .gradual = true});
    REQUIRE(bed.until([&] { return one.ended; }));
    CHECK_FALSE(one.was_reset);
  });
}

TEST_CASE("A socket that is closed serves what the kernel has completed on it") {
  size_t served = 0;
  each([&](sim::Sim& sim) {
    Bed bed(sim);
    sim.net.faults().no_descriptors = 0;  // who has none left at the last call serves nobody
    // A client is connected before the other side's kernel knows: that takes less than the last call.
    sim.net.faults().latency_min = 10us, sim.net.faults().latency_max = 200us;
    std::vector<sim::Peer*> peers;
    for (int i = 0; i < 8; ++i) peers.push_back(&sim.world.client(kOne));
    bed.until([&] { return std::ranges::any_of(peers, &sim::Peer::connected); });
    std::erase_if(peers, [](const sim::Peer* p) { return !p->connected; });
    bed.worker->remove_listener("l", kMinute);
    for (sim::Peer* p : peers) {
      bed.until([&] { return p->over() || p->received.size() >= 2; });
      CHECK_FALSE(p->was_reset);
      CHECK(p->received.starts_with("1a"));
      ++served;
    }
  });
  CHECK(served > 20);  // not only those that were accepted at once
}

TEST_CASE("Whoever comes while a socket is replaced is served: by the old one, or by the new one") {
  size_t by_old = 0, by_new = 0;
  each([&](sim::Sim& sim) {
    Bed bed(sim);
    sim.net.faults().no_descriptors = 0;
    sim.net.faults().latency_min = 10us, sim.net.faults().latency_max = 2ms;
    std::vector<sim::Peer*> peers;
    auto come = [&](int number) {
      for (int i = 0; i < number; ++i, bed.pass(200us)) peers.push_back(&sim.world.client(kOne));
    };
    come(20);
    auto next = listener("new", "new", 8, "next");
    bed.worker->put_listener(next);
    bed.open_sockets(next);
    bed.worker->remove_listener("l", kMinute);
    come(200);
    for (sim::Peer* p : peers) {
      REQUIRE(bed.until([&] { return p->over() || p->received.size() >= 2; }, 5s));
      CHECK_FALSE(p->was_reset);
      CHECK(p->error == 0);
      (p->received.starts_with("new") ? by_new : by_old) += 1;
    }
  });
  CHECK(by_old > 100);
  CHECK(by_new > 100);
}

TEST_CASE("Statistics of a listener go with its last connection, however many versions there are") {
  each([](sim::Sim& sim) {
    Bed bed(sim);
    auto shown = [&](const std::string& prefix) {
      const auto all = bed.store.snapshot();
      return std::ranges::any_of(all,
                                 [&](const auto& m) { return m.name.starts_with("listener." + prefix); });
    };
    auto named = [](const std::string& prefix, uint64_t frame) {
      auto l = std::const_pointer_cast<model::Listener>(listener("1a", "2a", frame));
      l->stat_prefix = prefix;
      return l;
    };
    bed.worker->put_listener(named("v0", 100), kMinute);
    CHECK_FALSE(shown("10.0.0.1_80"));
    sim::Peer& peer = bed.connect(kOne, "1a");
    const size_t metrics = bed.store.snapshot().size(), bytes = bed.store.memory();
    for (uint64_t i = 1; i < 100; ++i)
      bed.worker->put_listener(named("v" + std::to_string(i), 100 + i), kMinute);
    CHECK(shown("v0."));  // its connection is there
    CHECK(bed.store.snapshot().size() <= 2 * metrics);
    CHECK(bed.store.memory() <= 2 * bytes);
    peer.close();
    CHECK(bed.until([&] { return !shown("v0."); }));
    CHECK(shown("v99."));
  });
}
