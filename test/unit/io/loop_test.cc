// The contract of operations, on every backend.
#include "test/unit/io/rig.h"

using namespace sluice;
using namespace sluice::io;

namespace {

std::string pattern(size_t n, uint32_t seed = 1) {
  std::string s(n, '\0');
  for (char& c : s) {
    seed = seed * 1664525 + 1013904223;
    c = static_cast<char>(seed >> 24);
  }
  return s;
}

}  // namespace

SLUICE_EACH_BACKEND("bytes arrive, both ways") {
  Rig rig(Backend::make());
  auto [a, b] = rig.connect();
  std::string got;
  CHECK(rig.send(a, "hello") == 5);
  CHECK(rig.recv(b, got) == 5);
  CHECK(got == "hello");
  CHECK(rig.send(b, "hello yourself") == 14);
  CHECK(rig.recv(a, got) == 14);
  CHECK(got == "hello yourself");
  CHECK(rig.loop->peer_address(a) == rig.loop->local_address(b));
  CHECK(rig.loop->local_address(a) == rig.loop->peer_address(b));
}

SLUICE_EACH_BACKEND("callbacks never run inside the call that starts an operation") {
  Rig rig(Backend::make());
  auto [a, b] = rig.connect();
  CHECK(rig.send(a, "x") == 1);
  rig.turns(3);
  Probe in, out, poll;
  rig.loop->recv(in.op, b);
  iovec v{const_cast<char*>("y"), 1};
  rig.loop->send(out.op, b, {&v, 1});
  rig.loop->poll(poll.op, a, POLLOUT);
  CHECK(in.completions + out.completions + poll.completions == 0);
  CHECK(rig.until([&] { return in.finished && out.finished && poll.finished; }));
  CHECK(in.last == "x");
  CHECK((poll.result & POLLOUT) != 0);
}

SLUICE_EACH_BACKEND("many small pieces go out in one send, in order") {
  Rig rig(Backend::make());
  auto [a, b] = rig.connect();
  std::string all = pattern(3000);
  std::vector<iovec> iov;
  for (size_t i = 0; i < all.size(); i += 7)
    iov.push_back({all.data() + i, std::min<size_t>(7, all.size() - i)});
  iov.insert(iov.begin() + 5, iovec{nullptr, 0});
  Probe out;
  rig.loop->send(out.op, a, iov);
  CHECK(rig.finish(out));
  CHECK(out.result == 3000);
  rig.loop->shutdown_write(a);
  std::string got;
  CHECK(rig.recv_all(b, got) == 0);
  CHECK(got == all);
}

SLUICE_EACH_BACKEND("half-close: the end arrives, the other direction goes on") {
  Rig rig(Backend::make());
  auto [a, b] = rig.connect();
  std::string got;
  CHECK(rig.send(a, "request") == 7);
  rig.loop->shutdown_write(a);
  CHECK(rig.recv_all(b, got) == 0);
  CHECK(got == "request");
  CHECK(rig.recv(b, got) == 0);  // it stays the end
  CHECK(rig.send(b, "answer") == 6);
  CHECK(rig.recv(a, got) == 6);
  CHECK(got == "answer");
  rig.loop->shutdown_write(b);
  CHECK(rig.recv(a, got) == 0);
}

SLUICE_EACH_BACKEND("a reset arrives as ECONNRESET, on a receive that waits and on a later one") {
  Rig rig(Backend::make());
  {
    auto [a, b] = rig.connect();
    Probe in;
    rig.loop->recv(in.op, b);
    rig.turns(2);
    rig.reset(a);
    CHECK(rig.finish(in));
    CHECK(in.result == -ECONNRESET);
  }
  {
    auto [a, b] = rig.connect();
    rig.reset(a);
    std::string got;
    CHECK(rig.recv(b, got) == -ECONNRESET);
    CHECK(rig.send(b, "x") == -EPIPE);
  }
}

SLUICE_EACH_BACKEND("connecting where nobody listens is refused") {
  Rig rig(Backend::make());
  Address at;
  rig.close(rig.listen(at));
  rig.turns(1);
  Probe calling;
  {
    Address gone_when_it_is_sent = at;
    rig.loop->connect(calling.op, rig.socket(), gone_when_it_is_sent);
  }
  CHECK(rig.finish(calling));
  CHECK(calling.result == -ECONNREFUSED);
}

SLUICE_EACH_BACKEND("a reader that does not read holds up the sender, and loses nothing") {
  Rig rig(Backend::make());
  auto [a, b] = rig.connect();
  const std::string all = pattern(24 << 20);
  Probe out;
  iovec v{const_cast<char*>(all.data()), all.size()};
  rig.loop->send(out.op, a, {&v, 1});
  rig.turns(50);
  CHECK_FALSE(out.finished);
  std::string got;
  SUBCASE("shared buffers") {
    Probe in;
    while (got.size() < all.size()) {
      in.reset();
      rig.loop->recv(in.op, b);
      REQUIRE(rig.finish(in));
      REQUIRE(in.result > 0);
      got += in.last;
    }
  }
  SUBCASE("bulk") {
    Probe in;
    int receives = 0;
    while (got.size() < all.size()) {
      in.reset();
      rig.loop->recv(in.op, b, {.bulk = true});
      REQUIRE(rig.finish(in));
      REQUIRE(in.result > 0);
      got += in.last;
      ++receives;
    }
    CHECK(receives < static_cast<int>(all.size() / BlockPool::kMedium));
  }
  CHECK(rig.finish(out));
  CHECK(out.result == static_cast<int32_t>(all.size()));
  CHECK(got == all);
}

SLUICE_EACH_BACKEND("a scattered send continues in the middle of a piece") {
  Rig rig(Backend::make());
  auto [a, b] = rig.connect();
  std::string all = pattern(12 << 20);
  std::vector<iovec> iov;
  for (size_t i = 0; i < all.size(); i += 100'003)
    iov.push_back({all.data() + i, std::min<size_t>(100'003, all.size() - i)});
  Probe out;
  rig.loop->send(out.op, a, iov);
  rig.turns(20);
  CHECK_FALSE(out.finished);
  std::string got;
  Probe in;
  while (got.size() < all.size()) {
    in.reset();
    rig.loop->recv(in.op, b);
    REQUIRE(rig.finish(in));
    REQUIRE(in.result > 0);
    got += in.last;
  }
  CHECK(rig.finish(out));
  CHECK(out.result == static_cast<int32_t>(all.size()));
  CHECK(got == all);
}

SLUICE_EACH_BACKEND("cancel: an operation that waits ends with ECANCELED, and the socket lives on") {
  Rig rig(Backend::make());
  auto [a, b] = rig.connect();
  Probe p;
  SUBCASE("recv") {
    rig.loop->recv(p.op, b);
  }
  SUBCASE("bulk recv") {
    rig.loop->recv(p.op, b, {.bulk = true});
  }
  SUBCASE("poll") {
    rig.loop->poll(p.op, b, POLLIN);
  }
  bool waited = false;
  SUBCASE("at once") {}
  SUBCASE("after a while") {
    waited = true;
  }
  if (!p.op.in_flight()) return;  // doctest enters each leaf alone
  if (waited) rig.turns(3);
  rig.loop->cancel(p.op);
  rig.loop->cancel(p.op);  // twice is once
  CHECK(p.completions == 0);
  CHECK(rig.finish(p));
  CHECK(p.result == -ECANCELED);
  CHECK(p.completions == 1);
  rig.loop->cancel(p.op);  // nothing there: no effect
  std::string got;
  CHECK(rig.send(a, "still here") == 10);
  CHECK(rig.recv(b, got) == 10);
  CHECK(got == "still here");
}

SLUICE_EACH_BACKEND("cancel: a send that got somewhere says how far") {
  Rig rig(Backend::make());
  auto [a, b] = rig.connect();
  const std::string all = pattern(24 << 20);
  Probe out;
  iovec v{const_cast<char*>(all.data()), all.size()};
  rig.loop->send(out.op, a, {&v, 1});
  rig.turns(20);
  REQUIRE_FALSE(out.finished);
  rig.loop->cancel(out.op);
  CHECK(rig.finish(out));
  CHECK(out.result > 0);
  CHECK(out.result < static_cast<int32_t>(all.size()));
  rig.loop->shutdown_write(a);
  std::string got;
  CHECK(rig.recv_all(b, got) == 0);
  CHECK(got == all.substr(0, static_cast<size_t>(out.result)));
}

SLUICE_EACH_BACKEND("cancel: what is ready already may win, and is not lost") {
  Rig rig(Backend::make());
  auto [a, b] = rig.connect();
  for (int i = 0; i < 50; ++i) {
    CHECK(rig.send(a, "x") == 1);
    rig.turns(i % 3);
    Probe in;
    rig.loop->recv(in.op, b);
    rig.loop->cancel(in.op);
    CHECK(rig.finish(in));
    std::string got = in.last;
    if (in.result == -ECANCELED) {
      CHECK(rig.recv(b, got) == 1);
    } else {
      CHECK(in.result == 1);
    }
    CHECK(got == "x");
  }
}

SLUICE_EACH_BACKEND("an operation may be started again, on the same socket, from its own callback") {
  Rig rig(Backend::make());
  auto [a, b] = rig.connect();
  struct Echo {
    Echo(Loop& l, int f) : loop(l), fd(f) {}
    Loop& loop;
    int fd;
    int32_t end = 1;
    Chunk data;
    iovec iov{};
    Op in{[](Op& op, Completion& c) { op.owner<Echo>()->received(c); }, this};
    Op out{[](Op& op, Completion& c) { op.owner<Echo>()->sent(c); }, this};
    void received(Completion& c) {
      if (c.result <= 0) {
        end = c.result;
        return loop.shutdown_write(fd);
      }
      data = std::move(c.data);
      iov = {data.data(), data.size()};
      loop.send(out, fd, {&iov, 1});
    }
    void sent(Completion& c) {
      CHECK(c.result == static_cast<int32_t>(data.size()));
      data.reset();
      loop.recv(in, fd);
    }
  } echo(*rig.loop, b);
  rig.loop->recv(echo.in, b);
  const std::string all = pattern(3 << 20);
  Probe out;
  iovec v{const_cast<char*>(all.data()), all.size()};
  rig.loop->send(out.op, a, {&v, 1});
  std::string got;
  Probe in;
  while (got.size() < all.size()) {
    in.reset();
    rig.loop->recv(in.op, a);
    REQUIRE(rig.finish(in));
    REQUIRE(in.result > 0);
    got += in.last;
  }
  CHECK(got == all);
  CHECK(out.finished);
  rig.loop->shutdown_write(a);
  CHECK(rig.recv(a, got) == 0);
  CHECK(echo.end == 0);
}

SLUICE_EACH_BACKEND("an operation and its owner may go in the operation's callback") {
  Rig rig(Backend::make());
  auto [a, b] = rig.connect();
  struct Once {
    explicit Once(bool& flag) : gone(flag) {}
    ~Once() { gone = true; }
    bool& gone;
    Op op{[](Op& o, Completion&) { delete o.owner<Once>(); }, this};
  };
  bool gone = false;
  rig.loop->recv((new Once(gone))->op, b);
  CHECK(rig.send(a, "x") == 1);
  CHECK(rig.until([&] { return gone; }));
  gone = false;
  auto* waiting = new Once(gone);
  rig.loop->poll(waiting->op, b, POLLIN);
  rig.loop->cancel(waiting->op);
  CHECK(rig.until([&] { return gone; }));
}

SLUICE_EACH_BACKEND("accept goes on until cancelled") {
  Rig rig(Backend::make());
  Address at;
  int listener = rig.listen(at);
  Probe accepting;
  rig.loop->accept(accepting.op, listener);
  constexpr int kCalls = 100;
  std::deque<Probe> calling(kCalls);
  for (Probe& p : calling) rig.loop->connect(p.op, rig.socket(), at);
  CHECK(rig.until([&] { return accepting.fds.size() == kCalls; }));
  CHECK_FALSE(accepting.finished);
  for (int fd : accepting.fds) rig.own(fd);
  for (Probe& p : calling) {
    CHECK(rig.finish(p));
    CHECK(p.result == 0);
  }
  rig.loop->cancel(accepting.op);
  CHECK(rig.finish(accepting));
  CHECK(accepting.result == -ECANCELED);
  // And again, on the same socket.
  accepting.reset();
  rig.loop->accept(accepting.op, listener);
  Probe again;
  rig.loop->connect(again.op, rig.socket(), at);
  CHECK(rig.until([&] { return accepting.fds.size() == kCalls + 1; }));
  rig.own(accepting.fds.back());
  rig.loop->cancel(accepting.op);
  CHECK(rig.finish(accepting));
  CHECK(rig.finish(again));
}

SLUICE_EACH_BACKEND("closing ends the connection for the other side while the loop sleeps") {
  Rig rig(Backend::make());
  auto [a, b] = rig.connect();
  Probe in;
  rig.loop->recv(in.op, b);
  rig.turns(2);
  rig.close(a);
  const MonotonicTime before = rig.loop->now();
  while (!in.finished && rig.loop->now() < before + std::chrono::seconds(60))
    rig.loop->run_once(std::chrono::seconds(60));
  CHECK(in.finished);
  CHECK(in.result == 0);
  CHECK(rig.loop->now() < before + std::chrono::seconds(30));
}

SLUICE_EACH_BACKEND("a thousand connections at once; idle ones hold no block") {
  Rig rig(Backend::make({.receive_buffers = 16, .receive_buffers_max = 64}));
  Address at;
  int listener = rig.listen(at);
  Probe accepting;
  rig.loop->accept(accepting.op, listener);
  constexpr size_t kCount = 1000;
  std::deque<Probe> calling(kCount), in(kCount);
  std::vector<int> clients;
  for (Probe& p : calling) rig.loop->connect(p.op, clients.emplace_back(rig.socket()), at);
  REQUIRE(rig.until([&] { return accepting.fds.size() == kCount; }));
  for (Probe& p : calling) REQUIRE(rig.finish(p));
  for (size_t i = 0; i < kCount; ++i) rig.loop->recv(in[i].op, rig.own(accepting.fds[i]));
  rig.turns(20);
  CHECK(rig.loop->blocks_outstanding() == 0);
  CHECK(rig.loop->ops_in_flight() == kCount + 1);
  std::deque<Probe> out(kCount);
  std::vector<std::string> text;
  for (size_t i = 0; i < kCount; ++i) text.push_back("client " + std::to_string(i));
  std::vector<iovec> iov(kCount);
  for (size_t i = 0; i < kCount; ++i) {
    iov[i] = {text[i].data(), text[i].size()};
    rig.loop->send(out[i].op, clients[i], {&iov[i], 1});
  }
  REQUIRE(rig.until([&] {
    for (Probe& p : in)
      if (!p.finished) return false;
    return true;
  }));
  std::vector<bool> seen(kCount);
  for (Probe& p : in) {
    REQUIRE(p.last.starts_with("client "));
    seen[std::stoul(p.last.substr(7))] = true;
  }
  CHECK(std::count(seen.begin(), seen.end(), true) == kCount);
  rig.loop->cancel(accepting.op);
  CHECK(rig.finish(accepting));
  for (Probe& p : out) CHECK(rig.finish(p));
}

SLUICE_EACH_BACKEND("received data that is kept does not stop others from receiving") {
  // io_uring: 4 shared buffers, then up to 16, then private ones.
  Rig rig(Backend::make({.receive_buffers = 4, .receive_buffers_max = 16}));
  constexpr size_t kCount = 40;
  std::vector<Rig::Pair> pairs;
  std::deque<Probe> in(kCount);
  for (size_t i = 0; i < kCount; ++i) pairs.push_back(rig.connect());
  for (size_t i = 0; i < kCount; ++i) {
    in[i].keep = true;
    rig.loop->recv(in[i].op, pairs[i].b);
    CHECK(rig.send(pairs[i].a, "data") == 4);
  }
  for (Probe& p : in) {
    CHECK(rig.finish(p));
    CHECK(p.last == "data");
  }
  CHECK(rig.loop->blocks_outstanding() == kCount);
  // And now that there are none left: idle receives still hold nothing, end, and can be cancelled.
  Probe idle, ended, more;
  rig.loop->recv(idle.op, pairs[0].b);
  rig.loop->recv(ended.op, pairs[1].b);
  rig.loop->recv(more.op, pairs[2].b);
  rig.turns(5);
  CHECK(rig.loop->blocks_outstanding() == kCount);
  rig.loop->cancel(idle.op);
  CHECK(rig.finish(idle));
  CHECK(idle.result == -ECANCELED);
  rig.loop->shutdown_write(pairs[1].a);
  CHECK(rig.finish(ended));
  CHECK(ended.result == 0);
  CHECK(rig.send(pairs[2].a, "more") == 4);
  CHECK(rig.finish(more));
  CHECK(more.last == "more");
  // Given back in any order, they serve again.
  for (size_t i = 0; i < kCount; i += 2) in[i].chunks.clear();
  for (size_t i = 1; i < kCount; i += 2) in[i].chunks.clear();
  CHECK(rig.loop->blocks_outstanding() == 0);
  for (int round = 0; round < 3; ++round)
    for (size_t i = 2; i < kCount; ++i) {
      std::string got;
      CHECK(rig.send(pairs[i].a, "again") == 5);
      CHECK(rig.recv(pairs[i].b, got) == 5);
      CHECK(got == "again");
    }
}

SLUICE_EACH_BACKEND("more operations in one turn than the queues hold") {
  Rig rig(Backend::make({.ring_entries = 8}));
  auto [a, b] = rig.connect();
  std::deque<Probe> polls(500);
  for (Probe& p : polls) rig.loop->poll(p.op, b, POLLIN);
  CHECK(rig.send(a, "x") == 1);
  for (Probe& p : polls) {
    CHECK(rig.finish(p));
    CHECK((p.result & POLLIN) != 0);
  }
  std::deque<Probe> cancelled(500);
  for (Probe& p : cancelled) rig.loop->poll(p.op, b, POLLPRI);
  for (Probe& p : cancelled) rig.loop->cancel(p.op);
  for (Probe& p : cancelled) {
    CHECK(rig.finish(p));
    CHECK(p.result == -ECANCELED);
  }
}

SLUICE_EACH_BACKEND("a receive says when the socket has more to give") {
  Rig rig(Backend::make());
  auto [a, b] = rig.connect();
  CHECK(rig.send(a, pattern(BlockPool::kMedium + 100)) == static_cast<int32_t>(BlockPool::kMedium + 100));
  rig.turns(3);
  Probe in;
  rig.loop->recv(in.op, b);
  CHECK(rig.finish(in));
  CHECK(in.result == static_cast<int32_t>(BlockPool::kMedium));
  CHECK(in.nonempty);
  in.reset();
  rig.loop->recv(in.op, b);
  CHECK(rig.finish(in));
  CHECK(in.result == 100);
  CHECK_FALSE(in.nonempty);
}
