#include "net/connection.h"

#include <doctest/doctest.h>

#include <string>

#include "test/unit/io/rig.h"

using namespace sluice;
using namespace sluice::io;
using ext::CloseCause;
using ext::CloseKind;

namespace {

// Takes everything, notes everything.
struct Recorder final : net::ConnectionHandler {
  void on_connected(net::Connection&) override { connected = true; }
  void on_secured(net::Connection&) override { secured = true; }
  void on_connect_failed(net::Connection&, int e) override { connect_error = e; }
  void on_data(net::Connection& c, Buffer& data, bool end) override {
    largest = std::max(largest, data.size());
    if (take) {
      received += data.to_string();
      data.clear();
    }
    ended |= end;
    if (echo) {
      Buffer out;
      out.append(c.loop().blocks(), received);
      received.clear();
      c.write(std::move(out), end);
    }
    if (pause_on_data) c.pause_reading();
  }
  void on_above_high_watermark(ext::Connection&) override { ++highs; }
  void on_below_low_watermark(ext::Connection&) override { ++lows; }
  void on_sent(ext::Connection&, size_t n) override { sent += n; }
  void on_closed(ext::Connection&, const ext::CloseEvent& e) override {
    ++closed;
    event = e;
  }

  std::string received;
  bool take = true, echo = false, pause_on_data = false;
  bool connected = false, secured = false, ended = false;
  int connect_error = 0, closed = 0, highs = 0, lows = 0;
  size_t sent = 0, largest = 0;
  ext::CloseEvent event;
};

// Greets with "hello" and wants to be greeted so, or ends with "alert". Then every byte is its neighbour (x ^ 1) on the
// wire, each lot behind a '#', and '!' stands for the end.
struct Disguise final : ext::TransportSocket {
  explicit Disguise(Loop& l) : loop(l) {}
  void start(Buffer& out) override { out.append(loop.blocks(), "hello"); }
  Status receive(Buffer& in, bool end_stream, Buffer& plain, Buffer& out) override {
    if (!greeted) {
      if (in.size() < 5) return Status::ok;
      std::string scratch;
      if (in.peek(5, scratch) != "hello") {
        out.append(loop.blocks(), "alert");
        reason = "rude";
        return Status::failed;
      }
      in.drain(5);
      greeted = true;
    }
    std::string text;
    for (char c : in.to_string()) {
      if (c == '#') continue;
      if (c == '!') ended = true;
      if (!ended) text += static_cast<char>(c ^ 1);
    }
    in.clear();
    plain.append(loop.blocks(), text);
    return ended || end_stream ? Status::ended : Status::ok;
  }
  bool established() const override { return greeted; }
  void send(Buffer& plain, size_t n, Buffer& out) override {
    Buffer part;
    plain.move_front_to(part, n);
    std::string text = "#" + part.to_string();
    for (size_t i = 1; i < text.size(); ++i) text[i] ^= 1;
    out.append(loop.blocks(), text);
  }
  void end(Buffer& out) override { out.append(loop.blocks(), "!"); }
  const std::string& failure() const override { return reason; }

  Loop& loop;
  bool greeted = false, ended = false;
  std::string reason;
};

std::string disguised(std::string text) {
  for (char& c : text) c ^= 1;
  return text;
}

// A connection of ours and its peer, a plain descriptor.
struct Bed : Rig {
  explicit Bed(std::unique_ptr<Loop> l, uint32_t limit = 1 << 20, bool disguise = false) : Rig(std::move(l)) {
    Pair p = connect();
    peer = p.a;
    std::erase(fds, p.b);
    connection = net::Connection::create(*loop, p.b, {.id = 1, .buffer_limit = limit}, recorder,
                                         disguise ? std::make_unique<Disguise>(*loop) : nullptr);
    connection->start(loop->local_address(p.b), loop->peer_address(p.b));
  }
  ~Bed() {
    connection.reset();
    turns(5);
  }
  void write(std::string_view text, bool end = false) {
    Buffer b;
    b.append(loop->blocks(), text);
    connection->write(std::move(b), end);
  }
  // Appends what comes until `got` has `size` bytes.
  bool read(std::string& got, size_t size) {
    while (got.size() < size) {
      Probe p;
      loop->recv(p.op, peer);
      if (!finish(p) || p.result <= 0) return false;
      got += p.last;
    }
    return true;
  }
  Recorder recorder;
  net::ConnectionPtr connection;
  int peer;
};

std::string pattern(size_t n) {
  std::string s(n, 0);
  for (size_t i = 0; i < n; ++i) s[i] = static_cast<char>('a' + (i * 7 + i / 251) % 26);
  return s;
}

}  // namespace

SLUICE_EACH_BACKEND("bytes go both ways; FIN both ways ends the connection") {
  Bed b(Backend::make());
  b.send(b.peer, "hello");
  REQUIRE(b.until([&] { return b.recorder.received == "hello"; }));
  b.write("wor");
  b.write("ld", true);
  std::string got;
  CHECK(b.recv_all(b.peer, got) == 0);
  CHECK(got == "world");
  CHECK(b.recorder.closed == 0);  // half-closed: the peer may go on
  b.send(b.peer, " again");
  b.loop->shutdown_write(b.peer);
  REQUIRE(b.until([&] { return b.recorder.closed > 0; }));
  CHECK(b.recorder.received == "hello again");
  CHECK(b.recorder.ended);
  CHECK(b.recorder.event.cause == CloseCause::remote_close);
  b.turns(3);
  CHECK(b.recorder.closed == 1);
}

SLUICE_EACH_BACKEND("writes of one turn leave together and all are counted") {
  Bed b(Backend::make());
  std::string all;
  for (int i = 0; i < 200; ++i) {
    std::string part = "part " + std::to_string(i) + ";";
    all += part;
    Buffer one;
    Block* block = b.loop->blocks().get(BlockPool::kSmall);  // one chunk each: more than one send can carry
    std::memcpy(block->data, part.data(), part.size());
    one.append(Chunk(block, 0, static_cast<uint32_t>(part.size())));
    b.connection->write(std::move(one), i == 199);
  }
  std::string got;
  CHECK(b.recv_all(b.peer, got) == 0);
  CHECK(got == all);
  CHECK(b.recorder.sent == all.size());
}

SLUICE_EACH_BACKEND("a reset stays a reset, in both directions") {
  {
    Bed b(Backend::make());
    b.reset(b.peer);
    REQUIRE(b.until([&] { return b.recorder.closed > 0; }));
    CHECK(b.recorder.event.cause == CloseCause::remote_reset);
  }
  {
    Bed b(Backend::make());
    b.connection->close(CloseKind::reset);
    CHECK(b.recorder.closed == 0);  // never from inside close()
    std::string got;
    CHECK(b.recv_all(b.peer, got) == -ECONNRESET);
    REQUIRE(b.until([&] { return b.recorder.closed == 1; }));
    CHECK(b.recorder.event.cause == CloseCause::local);
  }
}

SLUICE_EACH_BACKEND("a paused connection still sees a reset") {
  Bed b(Backend::make());
  b.recorder.pause_on_data = true;
  b.send(b.peer, "x");
  REQUIRE(b.until([&] { return !b.recorder.received.empty(); }));
  b.turns(3);
  b.reset(b.peer);
  REQUIRE(b.until([&] { return b.recorder.closed > 0; }));
  CHECK(b.recorder.event.cause == CloseCause::remote_reset);
}

SLUICE_EACH_BACKEND("pausing holds bytes and FIN back until resumed") {
  Bed b(Backend::make());
  b.connection->pause_reading();
  b.connection->pause_reading();
  b.send(b.peer, "held");
  b.loop->shutdown_write(b.peer);
  b.turns(10);
  CHECK(b.recorder.received.empty());
  b.connection->resume_reading();
  b.turns(10);
  CHECK(b.recorder.received.empty());  // two pauses want two resumes
  b.connection->resume_reading();
  REQUIRE(b.until([&] { return b.recorder.ended; }));
  CHECK(b.recorder.received == "held");
}

SLUICE_EACH_BACKEND("what a handler leaves comes again, and is bounded") {
  Bed b(Backend::make(), 64 * 1024);
  b.recorder.take = false;
  std::string big = pattern(1 << 20);
  Probe sending;
  iovec v{big.data(), big.size()};
  b.loop->send(sending.op, b.peer, {&v, 1});
  b.turns(100);
  CHECK(b.recorder.largest >= 64 * 1024);
  CHECK(b.recorder.largest < 64 * 1024 + BlockPool::kLarge + BlockPool::kMedium);
  b.recorder.take = true;
  b.connection->redeliver();
  REQUIRE(b.until([&] { return b.recorder.received.size() == big.size(); }));
  CHECK(b.recorder.received == big);
  CHECK(b.finish(sending));
}

SLUICE_EACH_BACKEND("watermarks count what has not been sent") {
  Bed b(Backend::make(), 1 << 20);
  std::string big = pattern(24 << 20);
  b.write(big);
  CHECK(b.connection->above_high_watermark());
  CHECK(b.recorder.highs == 1);
  b.turns(20);
  CHECK(b.recorder.lows == 0);  // the peer reads nothing: socket buffers are full, the rest is ours
  CHECK(b.connection->unsent() > 512 << 10);
  std::string got;
  Probe p;
  while (got.size() < big.size()) {
    p.reset();
    b.loop->recv(p.op, b.peer, {.bulk = true});
    REQUIRE(b.finish(p));
    REQUIRE(p.result > 0);
    got += p.last;
  }
  CHECK(got == big);
  REQUIRE(b.until([&] { return b.connection->unsent() == 0; }));
  CHECK(b.recorder.highs == 1);
  CHECK(b.recorder.lows == 1);
  CHECK(b.recorder.sent == big.size());
}

SLUICE_EACH_BACKEND("close(flush) sends everything first, even if let go of, even if the peer still talks") {
  Bed b(Backend::make());
  std::string big = pattern(8 << 20);
  b.write(big);
  b.connection->close(CloseKind::flush, "done");
  b.connection.reset();
  b.send(b.peer, pattern(100000));  // unread bytes at close would turn the FIN into a RST
  std::string got;
  CHECK(b.recv_all(b.peer, got) == 0);
  CHECK(got.size() == big.size());
  CHECK(got == big);
  CHECK(b.recorder.closed == 0);  // nobody listens any more
  b.close(b.peer);
  b.turns(10);
}

SLUICE_EACH_BACKEND("a connection that its owner lets go of is reset") {
  Bed b(Backend::make());
  b.connection.reset();
  std::string got;
  CHECK(b.recv_all(b.peer, got) == -ECONNRESET);
  CHECK(b.recorder.closed == 0);
}

SLUICE_EACH_BACKEND("connect: established, refused, and given up while under way") {
  Rig r(Backend::make());
  Address at;
  int listener = r.listen(at);
  Recorder rec;
  auto socket = [&] {
    int fd = r.socket();
    std::erase(r.fds, fd);
    return fd;
  };
  auto c = net::Connection::create(*r.loop, socket(), {.id = 1}, rec);
  c->connect(at);
  REQUIRE(r.until([&] { return rec.connected; }));
  CHECK(c->local_address().port() != 0);
  CHECK(c->open());
  c.reset();
  r.turns(3);

  r.close(listener);
  r.turns(1);
  Recorder refused;
  c = net::Connection::create(*r.loop, socket(), {.id = 2}, refused);
  c->connect(at);
  REQUIRE(r.until([&] { return refused.connect_error != 0; }));
  CHECK(refused.connect_error == ECONNREFUSED);
  CHECK(refused.closed == 0);
  c.reset();

  Recorder given_up;
  c = net::Connection::create(*r.loop, socket(), {.id = 3}, given_up);
  c->connect(*Address::parse("240.0.0.1:9"));
  c.reset();
  r.turns(5);
  CHECK_FALSE(given_up.connected);
}

SLUICE_EACH_BACKEND("an echo of bulk and of small messages is exact") {
  Bed b(Backend::make());
  b.recorder.echo = true;
  std::string big = pattern(4 << 20), got;
  Probe sending, receiving;
  iovec v{big.data(), big.size()};
  b.loop->send(sending.op, b.peer, {&v, 1});
  while (got.size() < big.size()) {
    receiving.reset();
    b.loop->recv(receiving.op, b.peer);
    REQUIRE(b.finish(receiving));
    REQUIRE(receiving.result > 0);
    got += receiving.last;
  }
  CHECK(got == big);
  CHECK(b.finish(sending));
  for (int i = 0; i < 50; ++i) {
    std::string word = "message " + std::to_string(i), back;
    b.send(b.peer, word);
    while (back.size() < word.size()) {
      std::string part;
      REQUIRE(b.recv(b.peer, part) > 0);
      back += part;
    }
    CHECK(back == word);
  }
}

SLUICE_EACH_BACKEND("an idle connection holds no buffer") {
  Bed b(Backend::make());
  b.send(b.peer, "x");
  REQUIRE(b.until([&] { return b.recorder.received == "x"; }));
  b.turns(3);
  CHECK(b.loop->blocks_outstanding() == 0);
}

SLUICE_EACH_BACKEND("bytes read ahead come first") {
  Rig r(Backend::make());
  auto pair = r.connect();
  std::erase(r.fds, pair.b);
  Recorder rec;
  auto c = net::Connection::create(*r.loop, pair.b, {.id = 1}, rec);
  Buffer early;
  early.append(r.loop->blocks(), "early ");
  c->unread(std::move(early), false);
  r.send(pair.a, "late");
  c->start({}, {});
  REQUIRE(r.until([&] { return rec.received.size() == 10; }));
  CHECK(rec.received == "early late");
  c.reset();
  r.turns(3);
}

SLUICE_EACH_BACKEND(
    "a transport socket: bytes wait for its handshake, and are counted as the application's") {
  Bed b(Backend::make(), 1 << 20, true);
  b.write("early");
  b.send(b.peer, "hel");
  std::string got;
  REQUIRE(b.read(got, 5));
  CHECK(got == "hello");
  CHECK_FALSE(b.recorder.secured);
  b.send(b.peer, "lo#" + disguised("abc"));
  REQUIRE(b.until([&] { return b.recorder.received == "abc"; }));
  CHECK(b.recorder.secured);
  CHECK(b.connection->bytes_received() == 3);
  REQUIRE(b.read(got, 11));
  CHECK(got == "hello#" + disguised("early"));
  CHECK(b.until([&] { return b.recorder.sent == 5; }));
  CHECK(b.connection->bytes_sent() == 5);
  CHECK(b.connection->unsent() == 0);
}

SLUICE_EACH_BACKEND("a transport socket: handshakes go on while reading is paused") {
  Bed b(Backend::make(), 1 << 20, true);
  b.connection->pause_reading();
  b.send(b.peer, "hello#" + disguised("abc"));
  REQUIRE(b.until([&] { return b.recorder.secured; }));
  b.turns(5);
  CHECK(b.recorder.received.empty());
  b.connection->resume_reading();
  CHECK(b.until([&] { return b.recorder.received == "abc"; }));
}

SLUICE_EACH_BACKEND("a transport socket: its end is the end of the stream, both ways") {
  Bed b(Backend::make(), 1 << 20, true);
  b.send(b.peer, "hello#" + disguised("abc") + "!");
  REQUIRE(b.until([&] { return b.recorder.ended; }));
  CHECK(b.recorder.received == "abc");
  b.write("late", true);
  std::string got;
  CHECK(b.recv_all(b.peer, got) == 0);
  CHECK(got == "hello#" + disguised("late") + "!");
  CHECK(b.until([&] { return b.recorder.closed == 1; }));
  CHECK(b.recorder.event.cause == CloseCause::remote_close);
}

SLUICE_EACH_BACKEND("a transport socket that fails says so to the peer, and the connection is over") {
  Bed b(Backend::make(), 1 << 20, true);
  b.write("never seen");
  b.send(b.peer, "grumble");
  b.turns(10);
  b.send(b.peer, "what was on its way");  // is no reason to reset, which would take the alert from the peer
  std::string got;
  CHECK(b.recv_all(b.peer, got) == 0);
  CHECK(got == "helloalert");
  CHECK(b.recorder.closed == 0);
  b.loop->shutdown_write(b.peer);
  REQUIRE(b.until([&] { return b.recorder.closed == 1; }));
  CHECK(b.recorder.event.cause == CloseCause::transport);
  CHECK_FALSE(b.recorder.event.lingered);
  CHECK(b.connection->transport_failure() == "rude");
  CHECK_FALSE(b.recorder.secured);
}

SLUICE_EACH_BACKEND("a transport socket: more than fits goes in lots, the watermarks count plain bytes") {
  Bed b(Backend::make(), 4096, true);
  b.send(b.peer, "hello");
  REQUIRE(b.until([&] { return b.recorder.secured; }));
  const std::string big = pattern(3 << 20);
  b.write(big);
  CHECK(b.recorder.highs == 1);
  std::string got;
  REQUIRE(b.read(got, 5 + big.size()));
  REQUIRE(b.until([&] { return b.recorder.sent == big.size(); }));
  CHECK(b.recorder.lows == 1);
  b.connection->close(CloseKind::flush);
  b.recv_all(b.peer, got);
  std::erase(got, '#');
  CHECK(got == "hello" + disguised(big) + "!");
}

SLUICE_EACH_BACKEND(
    "a transport socket: what it needs stays until a connection that was let go of has said everything") {
  Bed b(Backend::make(), 1 << 20, true);
  b.send(b.peer, "hello");
  REQUIRE(b.until([&] { return b.recorder.secured; }));
  auto needed = std::make_shared<int>(1);
  std::weak_ptr<int> watch = needed;
  b.connection->keep(std::move(needed));
  const std::string big = pattern(3 << 20);
  b.write(big);
  b.connection->close(CloseKind::flush);
  b.connection.reset();
  b.turns(5);
  CHECK_FALSE(watch.expired());
  std::string got;
  b.recv_all(b.peer, got);
  std::erase(got, '#');
  CHECK(got == "hello" + disguised(big) + "!");
  b.close(b.peer);
  CHECK(b.until([&] { return watch.expired(); }));
}
