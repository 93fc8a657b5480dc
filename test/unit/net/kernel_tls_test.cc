// Connections whose records the kernel writes, on the simulated kernel.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "net/connection.h"
#include "test/sim/seeds.h"
#include "test/sim/sim_tls.h"

using namespace sluice;
using ext::CloseCause;
using ext::CloseKind;

namespace {

constexpr uint8_t kAlert = 21, kHandshake = 22, kData = 23;
const std::string kCloseNotify("\1\0", 2), kInternalError("\2\x50", 2), kKeyUpdate("\x18\0\0\1\0", 5);

// A TLS without cryptography: its own records are those of the simulated kernel. It says one of its own first, as a session ticket.
// From the peer: 'k' asks for a KeyUpdate, 'x' is what makes it fail, '!' ends; everything else is data.
struct Plainest final : ext::TransportSocket {
  explicit Plainest(io::Loop& l) : loop(l) {}
  void start(Buffer& out) override { put(out, kHandshake, "ticket"); }
  Status receive(Buffer& in, bool end_stream, Buffer& plain, Buffer& out) override {
    const std::string text = in.to_string();
    in.clear();
    for (const char c : text) {
      if (c == 'k') {
        update = true;
      } else if (c == 'x') {
        reason = "bad record";
        put(out, kAlert, kInternalError);
        return Status::failed;
      } else if (c == '!') {
        ended = true;
      } else {
        plain.append(loop.blocks(), {&c, 1});
      }
    }
    return ended || end_stream ? Status::ended : Status::ok;
  }
  bool established() const override { return true; }
  void send(Buffer& plain, size_t n, Buffer& out) override {
    Buffer part;
    plain.move_front_to(part, n);
    for (std::string text = part.to_string(); !text.empty(); text.erase(0, 16384))
      put(out, kData, text.substr(0, 16384));
  }
  void end(Buffer& out) override { put(out, kAlert, kCloseNotify); }
  const std::string& failure() const override { return reason; }
  bool kernel_keys(io::KernelTlsKeys& keys) override {
    keys.suite = 0x1301;
    keys.sequence = sequence;
    keys.key[7] = static_cast<uint8_t>(generation);
    return can;
  }
  void on_kernel_keys(bool taken) override { (taken ? by_kernel : refused) = true; }
  void on_kernel_sequence(uint64_t n) override { update |= n >= 1 << 24; }
  std::string_view key_update() const override {
    return update ? std::string_view(kKeyUpdate) : std::string_view();
  }
  void on_key_update_sent() override {
    update = false;
    ++generation;
    sequence = 0;
  }
  void on_renewal_failed(Buffer& out) override {
    reason = "no new keys";
    put(out, kAlert, kInternalError);
  }
  void put(Buffer& out, uint8_t type, const std::string& content) {
    if (by_kernel) {
      CHECK(type == kAlert);
      out.append(loop.blocks(), content);
    } else {
      out.append(loop.blocks(), sim::make_record({type, content, generation, sequence++}));
    }
  }

  io::Loop& loop;
  bool can = true, by_kernel = false, refused = false, update = false, ended = false;
  uint64_t generation = 1, sequence = 0;
  std::string reason;
};

struct Owner final : net::ConnectionHandler {
  void on_data(net::Connection&, Buffer& data, bool end) override {
    received += data.to_string();
    data.clear();
    ended |= end;
  }
  void on_sent(ext::Connection&, size_t n) override { sent += n; }
  void on_closed(ext::Connection&, const ext::CloseEvent& e) override {
    ++closed;
    event = e;
  }
  std::string received;
  bool ended = false;
  int closed = 0;
  size_t sent = 0;
  ext::CloseEvent event;
};

// A server's connection and the client that has opened it.
struct Bed {
  Bed(sim::SimLoop& l, sim::World& world) : loop(l), tls(l.use_tls()) {
    const Address at = *Address::parse("10.0.0.1:443");
    world.server(at, [this](sim::Peer& p) { peer = &p; });
    const int fd = *loop.open_socket(AF_INET, {});
    io::Op op([](io::Op&, io::Completion&) {}, nullptr);
    loop.connect(op, fd, at);
    (void)loop.run_until([&] { return !op.in_flight() && peer; });
    auto socket = std::make_unique<Plainest>(loop);
    ours = socket.get();
    connection = net::Connection::create(loop, fd, {.id = 1}, owner, std::move(socket));
    connection->start(loop.local_address(fd), loop.peer_address(fd));
  }
  void write(std::string_view text, bool end = false) {
    Buffer b;
    b.append(loop.blocks(), text);
    connection->write(std::move(b), end);
  }
  // What has come so far, in records; `data`: their application data.
  bool read() {
    if (!sim::read_records(peer->received, records)) return false;
    data.clear();
    for (const auto& r : records)
      if (r.type == kData) data += r.content;
    return true;
  }
  bool has(size_t size) {
    return loop.run_until([&] { return read() && data.size() >= size; });
  }
  // Records follow one another: sequence numbers under one key, keys from one to the next behind a KeyUpdate alone.
  bool in_order() const {
    for (size_t i = 0; i < records.size(); ++i) {
      const auto& r = records[i];
      if (i == 0) {
        if (r.key != 1 || r.sequence != 0) return false;
      } else if (const auto& last = records[i - 1]; last.type == kHandshake && last.content == kKeyUpdate) {
        if (r.key != last.key + 1 || r.sequence != 0) return false;
      } else if (r.key != last.key || r.sequence != last.sequence + 1) {
        return false;
      }
    }
    return true;
  }
  size_t count(uint8_t type, const std::string& content) const {
    size_t n = 0;
    for (const auto& r : records) n += r.type == type && r.content == content;
    return n;
  }
  // The client has nothing more to say either; all is over.
  bool over() {
    peer->close();
    return loop.run_until([&] { return owner.closed > 0; });
  }
  void gone() {
    connection.reset();
    (void)loop.run_until([&] { return loop.open_descriptors() == 0; });
  }

  sim::SimLoop& loop;
  sim::SimTls& tls;
  Owner owner;
  sim::Peer* peer = nullptr;
  Plainest* ours = nullptr;
  net::ConnectionPtr connection;
  std::vector<sim::SimRecord> records;
  std::string data;
};

struct Quiet {
  sim::SimNet net{1};
  sim::World world{net};
  sim::SimLoop loop{net};
  Bed bed{loop, world};
  ~Quiet() {
    bed.gone();
    CHECK(loop.leftovers() == "");
  }
};

std::string pattern(size_t n) {
  std::string s(n, 0);
  for (size_t i = 0; i < n; ++i) s[i] = static_cast<char>('a' + (i * 7 + i / 251) % 26);
  return s;
}

TEST_CASE("the kernel goes on where our own records end, and the end is close_notify, then FIN") {
  Quiet q;
  Bed& b = q.bed;
  CHECK(q.loop.run_until([&] { return b.read() && b.records.size() == 1; }));
  CHECK(b.tls.starts == 0);  // an idle connection costs the kernel nothing
  b.write("hello ");
  REQUIRE(b.has(6));
  CHECK(b.tls.starts == 1);
  CHECK(b.ours->by_kernel);
  const std::string big = pattern(3'000'000);
  b.write(big, true);
  REQUIRE(q.loop.run_until([&] { return b.peer->ended; }));
  REQUIRE(b.read());
  CHECK(b.data == "hello " + big);
  CHECK(b.in_order());
  CHECK(b.records.front().content == "ticket");
  CHECK(b.records.back().type == kAlert);
  CHECK(b.records.back().content == kCloseNotify);
  CHECK(b.count(kAlert, kCloseNotify) == 1);
  CHECK(b.owner.sent == b.data.size());
  CHECK(b.connection->bytes_sent() == b.data.size());
  CHECK(b.over());
  CHECK(b.owner.event.cause == CloseCause::remote_close);
}

TEST_CASE("what the kernel refuses is written here, as before") {
  for (const int error : {ENOENT, EOPNOTSUPP, EINVAL, ENOTCONN, ENODEV}) {
    Quiet q;
    Bed& b = q.bed;
    b.tls.start_error = error;
    b.write("one");
    REQUIRE(b.has(3));
    b.tls.start_error = 0;  // it is not asked again
    b.write(" two", true);
    REQUIRE(q.loop.run_until([&] { return b.peer->ended; }));
    REQUIRE(b.read());
    CHECK(b.data == "one two");
    CHECK(b.in_order());
    CHECK(b.tls.starts == 0);
    CHECK(b.ours->refused == (error != ENODEV));
    CHECK(b.records.back().content == kCloseNotify);
    CHECK(b.over());
  }
}

TEST_CASE("what cannot be the kernel's is not offered to it") {
  Quiet q;
  Bed& b = q.bed;
  b.ours->can = false;
  b.write("one", true);
  REQUIRE(q.loop.run_until([&] { return b.peer->ended; }));
  CHECK(b.tls.starts == 0);
  CHECK_FALSE(b.ours->refused);
  CHECK(b.over());
}

TEST_CASE(
    "the peer asks for a KeyUpdate: once before the next data, however often it asked, and the next keys "
    "hold") {
  for (const int again : {0, 1, 5}) {
    Quiet q;
    Bed& b = q.bed;
    b.write("first ");
    REQUIRE(b.has(6));
    b.peer->write("kkk.");
    REQUIRE(q.loop.run_until([&] { return b.owner.received == "."; }));
    CHECK(b.count(kHandshake, kKeyUpdate) == 0);  // there is nothing to say yet
    b.tls.again = b.tls.renew_again = again;
    b.write("second ");
    REQUIRE(b.has(13));
    CHECK(b.count(kHandshake, kKeyUpdate) == 1);
    CHECK(b.tls.renewals == 1);
    b.peer->write("k.");
    REQUIRE(q.loop.run_until([&] { return b.owner.received == ".."; }));
    b.write("third", true);
    REQUIRE(q.loop.run_until([&] { return b.peer->ended; }));
    REQUIRE(b.read());
    CHECK(b.data == "first second third");
    CHECK(b.count(kHandshake, kKeyUpdate) == 2);
    CHECK(b.in_order());
    CHECK(b.records.back().content == kCloseNotify);
    CHECK(b.over());
  }
}

TEST_CASE("keys that have served long enough are renewed unasked") {
  Quiet q;
  Bed& b = q.bed;
  b.tls.first_sequence_told = 1 << 24;
  size_t n = 0;
  for (; n < 70'000 && b.tls.renewals == 0; ++n) {
    b.write("x");
    REQUIRE(q.loop.run_until([&] { return b.owner.sent == n + 1; }));
  }
  CHECK(n > 60'000);  // it is not asked after each record
  CHECK(b.tls.asked < 5);
  CHECK(b.tls.renewals == 1);
  b.tls.first_sequence_told = 0;
  REQUIRE(b.has(n));
  CHECK(b.in_order());
}

TEST_CASE("a kernel that cannot renew keys: the connection ends with its reason, and keeps no promise half") {
  Quiet q;
  Bed& b = q.bed;
  b.tls.can_renew = false;
  b.write("first");
  REQUIRE(b.has(5));
  b.peer->write("k.");
  REQUIRE(q.loop.run_until([&] { return b.owner.received == "."; }));
  CHECK(b.owner.closed == 0);
  b.write("never sent");
  REQUIRE(q.loop.run_until([&] { return b.owner.closed > 0; }));
  CHECK(b.owner.event.cause == CloseCause::transport);
  CHECK(b.connection->transport_failure() == "no new keys");
  REQUIRE(q.loop.run_until([&] { return b.peer->ended || b.peer->was_reset; }));
  REQUIRE(b.read());
  CHECK(b.data == "first");
  CHECK(b.count(kHandshake, kKeyUpdate) == 0);
  CHECK(b.records.back().content == kInternalError);
  CHECK(b.in_order());
}

TEST_CASE("keys that cannot be renewed once the KeyUpdate has gone: RST") {
  Quiet q;
  Bed& b = q.bed;
  b.tls.renew_error = ENOMEM;
  b.write("first");
  REQUIRE(b.has(5));
  b.peer->write("k.");
  REQUIRE(q.loop.run_until([&] { return b.owner.received == "."; }));
  b.write("never sent");
  REQUIRE(q.loop.run_until([&] { return b.owner.closed > 0; }));
  CHECK(b.owner.event.cause == CloseCause::transport);
  CHECK(b.connection->transport_failure() == "no new keys");
  CHECK(q.loop.run_until([&] { return b.peer->was_reset; }));
}

TEST_CASE("a fatal alert goes as such a record, behind what was sent") {
  Quiet q;
  Bed& b = q.bed;
  b.write("first");
  REQUIRE(b.has(5));
  b.peer->write("x");
  REQUIRE(q.loop.run_until([&] { return b.owner.closed > 0; }));
  CHECK(b.owner.event.cause == CloseCause::transport);
  REQUIRE(q.loop.run_until([&] { return b.peer->ended || b.peer->was_reset; }));
  REQUIRE(b.read());
  CHECK(b.records.back().type == kAlert);
  CHECK(b.records.back().content == kInternalError);
  CHECK(b.in_order());
}

TEST_CASE("a reset stays a reset") {
  for (const bool ours : {true, false}) {
    Quiet q;
    Bed& b = q.bed;
    b.write("first");
    REQUIRE(b.has(5));
    ours ? b.connection->close(CloseKind::reset) : b.peer->reset();
    REQUIRE(q.loop.run_until([&] { return b.owner.closed > 0; }));
    CHECK(b.owner.event.cause == (ours ? CloseCause::local : CloseCause::remote_reset));
    if (ours) CHECK(q.loop.run_until([&] { return b.peer->was_reset; }));
    CHECK(b.count(kAlert, kCloseNotify) == 0);
  }
}

// Windows of a few bytes, partial sends, readers that pause: what arrives is all, in order, and FIN never overtakes any of it.
TEST_CASE("whatever the network does, no record is cut off, out of order or lost") {
  Status done = sim::for_each_seed(400, [](sim::Sim& sim) {
    sim.net.faults().no_descriptors = 0;
    sim.net.faults().lose_on_reset = 0;
    Bed b(sim.loop, sim.world);
    b.tls.again = static_cast<int>(sim.random.below(3));
    b.tls.renew_again = static_cast<int>(sim.random.below(3));
    const bool flush = sim.random.chance(1, 2);
    std::string all;
    const size_t writes = 1 + sim.random.below(6);
    for (size_t i = 0; i < writes; ++i) {
      if (sim.random.chance(1, 3)) {
        const size_t before = b.owner.received.size();
        b.peer->write("k.");
        (void)sim.loop.run_until([&] { return b.owner.received.size() > before; });
      }
      if (sim.random.chance(1, 4)) b.peer->pause_reading();
      const std::string text = pattern(1 + sim.random.below(sim.random.chance(1, 3) ? 60'000 : 300));
      all += text;
      b.write(text, i + 1 == writes && !flush);
      if (sim.random.chance(1, 2)) sim.loop.run_once(std::chrono::milliseconds(3));
      b.peer->resume_reading();
    }
    if (flush) b.connection->close(CloseKind::flush);
    const bool ended = sim.loop.run_until([&] { return b.peer->ended || b.peer->was_reset; });
    sim.check(ended && b.peer->ended, "no FIN");
    sim.check(b.read(), "bytes that are no record");
    sim.check(b.peer->received.empty(), "the last record is cut off");
    sim.check(b.data == all, "the data are not what was sent");
    sim.check(b.in_order(), "records out of order");
    sim.check(!b.records.empty() && b.records.back().content == kCloseNotify, "no close_notify at the end");
    b.peer->close();
    b.gone();
  });
  CHECK_MESSAGE(done.ok(), (done.ok() ? "" : done.error().message));
}

}  // namespace
