// The simulated loop carries a relay through whatever a seed brings: it must neither lose nor change a byte, nor leave
// anything behind. The relay here is the smallest honest one, so that what fails is the loop or the simulation.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>

#include "test/sim/seeds.h"

using namespace sluice;
using namespace sluice::sim;

namespace {

const Address kRelay = *Address::parse("10.0.0.1:15001");
const Address kServer = *Address::parse("10.0.0.2:80");

class Relay;

// A connection through the relay: two sockets, a direction each way.
class Leg : public io::Deferred {
 public:
  Leg(Relay& relay, int downstream, int upstream);
  void start();
  void stop();  // reset both

 private:
  struct Direction {
    Direction(Leg& l, int f, int t) : leg(l), from(f), to(t) {}
    void arm();
    void received(io::Completion& c);
    void sent(io::Completion& c);
    Leg& leg;
    int from, to;
    bool ended = false;
    Chunk data;
    iovec iov{};
    io::Op in{[](io::Op& op, io::Completion& c) { op.owner<Direction>()->received(c); }, this};
    io::Op out{[](io::Op& op, io::Completion& c) { op.owner<Direction>()->sent(c); }, this};
  };
  static void connected(io::Op& op, io::Completion& c);
  void settle();

  Relay& relay_;
  int downstream_, upstream_;
  bool failed_ = false, deleted_ = false;
  Direction up_{*this, downstream_, upstream_}, down_{*this, upstream_, downstream_};
  io::Op connect_{connected, this};
};

class Relay {
 public:
  explicit Relay(Sim& s) : sim(s) {
    Result<int> fd = open();
    while (!fd.ok()) fd = open();
    listener = *fd;
    if (!sim.loop.bind(listener, kRelay).ok() || !sim.loop.listen(listener, 100).ok())
      sim.check(false, "listen");
    sim.loop.accept(accepting, listener);
  }
  Result<int> open() { return sim.loop.open_socket(AF_INET, {}); }
  void stop() {
    stopping = true;
    again.cancel();
    sim.loop.cancel(accepting);
    for (Leg* l : std::vector<Leg*>(legs)) l->stop();
  }
  bool stopped() { return !accepting.in_flight() && legs.empty(); }

  void accepted(io::Completion& c) {
    if (c.result >= 0) {
      auto upstream = open();
      if (!upstream.ok() || stopping) {
        if (upstream.ok()) sim.loop.close(*upstream);
        sim.loop.close_reset(c.result);
      } else {
        legs.push_back(new Leg(*this, c.result, *upstream));
        legs.back()->start();
      }
    }
    if (c.more) return;
    if (c.result == -EMFILE && !stopping) {
      again.arm(sim.loop.now() + std::chrono::milliseconds(1));
    } else {
      sim.check(c.result == -ECANCELED || c.result == -EMFILE,
                "accept ends with " + std::to_string(c.result));
    }
  }

  Sim& sim;
  int listener = -1;
  bool stopping = false;
  std::vector<Leg*> legs;
  io::Op accepting{[](io::Op& op, io::Completion& c) { op.owner<Relay>()->accepted(c); }, this};
  io::Timer again{sim.loop.timers(),
                  [](io::Timer& t) {
                    auto* self = t.owner<Relay>();
                    self->sim.loop.accept(self->accepting, self->listener);
                  },
                  this};
};

Leg::Leg(Relay& relay, int downstream, int upstream)
    : relay_(relay), downstream_(downstream), upstream_(upstream) {}

void Leg::start() {
  relay_.sim.loop.connect(connect_, upstream_, kServer);
}

void Leg::stop() {
  failed_ = true;
  settle();
}

void Leg::connected(io::Op& op, io::Completion& c) {
  auto* self = op.owner<Leg>();
  if (c.result != 0) self->failed_ = true;
  if (!self->failed_) {
    self->up_.arm();
    self->down_.arm();
  }
  self->settle();
}

void Leg::Direction::arm() {
  io::Loop& loop = leg.relay_.sim.loop;
  loop.recv(in, from, {.bulk = leg.relay_.sim.random.chance(1, 4)});
}

void Leg::Direction::received(io::Completion& c) {
  io::Loop& loop = leg.relay_.sim.loop;
  if (c.result < 0 || leg.failed_) {
    leg.failed_ = true;
  } else if (c.result == 0) {
    ended = true;
    loop.shutdown_write(to);
  } else {
    data = std::move(c.data);
    iov = {data.data(), data.size()};
    loop.send(out, to, {&iov, 1});
  }
  leg.settle();
}

void Leg::Direction::sent(io::Completion& c) {
  if (c.result != static_cast<int32_t>(data.size())) leg.failed_ = true;
  data.reset();
  if (!leg.failed_) arm();
  leg.settle();
}

// Stop, wait for every operation, close, and only then free.
void Leg::settle() {
  io::Loop& loop = relay_.sim.loop;
  if (deleted_ || (!failed_ && !(up_.ended && down_.ended))) return;
  bool busy = false;
  for (io::Op* op : {&connect_, &up_.in, &up_.out, &down_.in, &down_.out}) {
    loop.cancel(*op);
    busy |= op->in_flight();
  }
  if (busy) return;
  deleted_ = true;
  for (int fd : {downstream_, upstream_}) failed_ ? loop.close_reset(fd) : loop.close(fd);
  std::erase(relay_.legs, this);
  loop.defer_delete(std::unique_ptr<Leg>(this));
}

std::string bytes(Random& r, size_t n) {
  std::string s(n, '\0');
  for (char& c : s) c = static_cast<char>(r.next());
  return s;
}

struct Exchange {
  Peer* client = nullptr;
  Peer* server = nullptr;
  std::string request, response;
  bool disturbed = false;  // somebody resets or refuses: only prefixes are promised
};

// A few connections, each with a request and a response of some size; some end by resets.
void relay_scenario(Sim& sim, size_t size_max) {
  auto relay = std::make_unique<Relay>(sim);
  const bool server_exists = !sim.random.chance(1, 20);
  std::vector<std::unique_ptr<Exchange>> exchanges;
  // The server learns which exchange it is in from the first byte.
  auto on_request = [&](Peer& p) {
    if (p.received.empty()) return;
    Exchange& e = *exchanges[static_cast<uint8_t>(p.received[0])];
    if (e.server) return;
    e.server = &p;
    p.write(e.response);
    p.finish();
  };
  if (server_exists)
    sim.world.server(kServer, [&](Peer& p) {
      p.on_data = on_request;
      if (sim.random.chance(1, 5)) {
        p.pause_reading();
        sim.net.after(sim.net.between({}, std::chrono::milliseconds(50)), [&p] { p.resume_reading(); });
      }
    });
  const size_t count = 1 + sim.random.below(4);
  for (size_t i = 0; i < count; ++i) {
    auto& e = *exchanges.emplace_back(std::make_unique<Exchange>());
    e.request = std::string(1, static_cast<char>(i)) + bytes(sim.random, sim.random.below(size_max));
    e.response = bytes(sim.random, sim.random.below(size_max));
    e.disturbed = !server_exists || sim.net.faults().no_descriptors > 0;
    e.client = &sim.world.client(kRelay);
    e.client->write(e.request);
    e.client->finish();
    if (sim.random.chance(1, 6)) {
      e.disturbed = true;
      sim.net.after(sim.net.between({}, std::chrono::milliseconds(20)), [&e, who = sim.random.below(2)] {
        if (who && e.server) {
          e.server->reset();
        } else {
          e.client->reset();
        }
      });
    }
  }
  const bool early_stop = sim.random.chance(1, 10);
  if (early_stop) {
    for (auto& e : exchanges) e->disturbed = true;
    const MonotonicTime until = sim.loop.now() + sim.net.between({}, std::chrono::milliseconds(10));
    sim.loop.run_until([&] { return sim.loop.now() >= until; });
  } else {
    const bool over = sim.loop.run_until([&] {
      return std::all_of(exchanges.begin(), exchanges.end(), [](auto& e) {
        if (e->client->over()) return true;
        return e->client->ended && (e->disturbed || (e->server && e->server->ended));
      });
    });
    sim.check(over, "an exchange never ends");
  }
  for (auto& e : exchanges) {
    const std::string got = e->server ? e->server->received : "";
    sim.check(e->request.starts_with(got), "the server got something that was not sent");
    sim.check(e->response.starts_with(e->client->received), "the client got something that was not sent");
    if (e->disturbed) continue;
    sim.check(!e->client->was_reset, "a reset that nobody asked for");
    sim.check(got == e->request, "the request is not whole");
    sim.check(e->client->received == e->response, "the response is not whole");
  }
  relay->stop();
  sim.check(sim.loop.run_until([&] { return relay->stopped(); }), "the relay never stops");
  if (relay->listener >= 0) sim.loop.close(relay->listener);
  sim.loop.run_once(Duration(0));
  for (auto& p : sim.world.peers()) p->on_data = nullptr;
}

}  // namespace

TEST_CASE("a relay on the simulated loop: small exchanges") {
  Status s = for_each_seed(10'000, [](Sim& sim) { relay_scenario(sim, 2'000); });
  CHECK_MESSAGE(s.ok(), s.error().message);
}

TEST_CASE("a relay on the simulated loop: large exchanges") {
  Status s = for_each_seed(200, [](Sim& sim) { relay_scenario(sim, 200'000); });
  CHECK_MESSAGE(s.ok(), s.error().message);
}

TEST_CASE("one seed is one history") {
  std::vector<std::string> traces;
  for (int i = 0; i < 2; ++i) {
    Sim sim(77);
    relay_scenario(sim, 2'000);
    traces.push_back(sim.net.trace_tail());
  }
  CHECK(traces[0].size() > 1000);
  CHECK(traces[0] == traces[1]);
  Sim other(78);
  relay_scenario(other, 2'000);
  CHECK(other.net.trace_tail() != traces[0]);
}

TEST_CASE("places that do not answer") {
  Sim sim(1);
  const Address hole = *Address::parse("10.9.9.9:80"), gone = *Address::parse("10.9.9.8:80"),
                nobody = *Address::parse("10.9.9.7:80");
  sim.net.faults() = {};
  sim.net.blackhole(hole);
  sim.net.unreachable(gone);
  struct Call {
    Call(Sim& s, const Address& to) : fd(*s.loop.open_socket(AF_INET, {})) { s.loop.connect(op, fd, to); }
    int fd;
    int result = 1;
    io::Op op{[](io::Op& o, io::Completion& c) { o.owner<Call>()->result = c.result; }, this};
  } a(sim, hole), b(sim, gone), c(sim, nobody), d(sim, hole);
  const MonotonicTime start = sim.loop.now();
  CHECK(sim.loop.run_until([&] { return b.result != 1 && c.result != 1; }));
  CHECK(b.result == -EHOSTUNREACH);
  CHECK(c.result == -ECONNREFUSED);
  CHECK(sim.loop.now() < start + std::chrono::seconds(1));
  sim.loop.cancel(d.op);
  CHECK(sim.loop.run_until([&] { return d.result != 1; }));
  CHECK(d.result == -ECANCELED);
  CHECK(sim.loop.run_until([&] { return a.result != 1; }));
  CHECK(a.result == -ETIMEDOUT);
  CHECK(sim.loop.now() > start + std::chrono::seconds(100));
  for (Call* call : {&a, &b, &c, &d}) sim.loop.close(call->fd);
  CHECK(sim.loop.leftovers().empty());
}

TEST_CASE("what a scenario leaves behind is an error") {
  Status s = for_each_seed(1, [](Sim& sim) {
    sim.net.faults() = {};
    CHECK(sim.loop.open_socket(AF_INET, {}).ok());
  });
  REQUIRE_FALSE(s.ok());
  CHECK(s.error().message.find("1 descriptors open") != std::string::npos);
  CHECK(s.error().message.find("SLUICE_SIM_SEED=") != std::string::npos);
}
