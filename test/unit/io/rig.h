#pragma once

#include <doctest/doctest.h>
#include <poll.h>

#include <cstdlib>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "io/loop.h"
#include "test/sim/sim_loop.h"

// One loop and what tests need around it. Every test of the loop's contract runs on every backend, both ends of each
// connection on the same loop, through its interface alone.
namespace sluice::io {

struct IoUring {
  static std::unique_ptr<Loop> make(LoopOptions options = {}) {
    options.backend = LoopOptions::Backend::io_uring;
    auto loop = make_loop(options);
    REQUIRE_MESSAGE(loop.ok(), loop.error().message);
    return std::move(*loop);
  }
};

struct Epoll {
  static std::unique_ptr<Loop> make(LoopOptions options = {}) {
    options.backend = LoopOptions::Backend::epoll;
    auto loop = make_loop(options);
    REQUIRE_MESSAGE(loop.ok(), loop.error().message);
    return std::move(*loop);
  }
};

// One history with late and slow operations but without what a test would have to expect (short receives, EMFILE).
struct Simulation {
  static std::unique_ptr<Loop> make(LoopOptions = {}) {
    static std::unique_ptr<sim::SimNet> net;  // of the loop of this test
    const char* seed = getenv("SLUICE_SIM_SEED");
    net = std::make_unique<sim::SimNet>(seed ? strtoull(seed, nullptr, 0) : 1,
                                        sim::Faults{.late = 200, .slow_start = 200});
    return std::make_unique<sim::SimLoop>(*net);
  }
};

// An operation that notes what it came to.
struct Probe {
  Probe() : op([](Op& o, Completion& c) { o.owner<Probe>()->on(c); }, this) {}
  void on(Completion& c) {
    ++completions;
    result = c.result;
    nonempty = c.nonempty;
    if (c.more) {
      fds.push_back(c.result);
      return;
    }
    finished = true;
    if (!c.data.empty()) last = std::string(c.data.view());
    if (keep) chunks.push_back(std::move(c.data));
  }
  // Before the next use.
  void reset() {
    finished = nonempty = false;
    completions = 0;
    last.clear();
  }
  Op op;
  bool finished = false;
  bool nonempty = false;
  bool keep = false;  // hold on to received chunks
  int completions = 0;
  int32_t result = 0;
  std::string last;
  std::vector<int> fds;  // accepted
  std::vector<Chunk> chunks;
};

class Rig {
 public:
  explicit Rig(std::unique_ptr<Loop> l) : loop(std::move(l)) {}
  ~Rig() {
    for (int fd : fds) loop->close(fd);
    // A turn carries closes out. What tests let go of may take a few more to come home; then nothing may be in flight.
    loop->run_once(Duration(0));
    for (int i = 0; i < 1000 && (loop->ops_in_flight() || loop->blocks_outstanding()); ++i)
      loop->run_once(std::chrono::milliseconds(1));
    CHECK(loop->ops_in_flight() == 0);
    CHECK(loop->blocks_outstanding() == 0);
    CHECK(loop->timers().size() == 0);
  }

  // Turns until `done()`; false after two (virtual) minutes without it.
  template <typename F>
  bool until(F done) {
    const MonotonicTime deadline = loop->now() + std::chrono::minutes(2);
    while (!done()) {
      if (loop->now() > deadline) return false;
      loop->run_once(std::chrono::milliseconds(100));
    }
    return true;
  }
  bool finish(Probe& p) {
    return until([&] { return p.finished; });
  }
  // Some turns in which nothing need happen.
  void turns(int n) {
    for (int i = 0; i < n; ++i) loop->run_once(std::chrono::microseconds(200));
  }

  int own(int fd) {
    fds.push_back(fd);
    return fd;
  }
  void close(int fd) {
    std::erase(fds, fd);
    loop->close(fd);
  }
  void reset(int fd) {
    std::erase(fds, fd);
    loop->close_reset(fd);
  }

  // A listening socket on a free port of 127.0.0.1.
  int listen(Address& at, int backlog = 1024) {
    auto fd = loop->open_socket(AF_INET, {});
    REQUIRE(fd.ok());
    own(*fd);
    REQUIRE(loop->bind(*fd, *Address::parse("127.0.0.1:0")).ok());
    REQUIRE(loop->listen(*fd, backlog).ok());
    at = loop->local_address(*fd);
    REQUIRE(at.port() != 0);
    return *fd;
  }
  int socket() {
    auto fd = loop->open_socket(AF_INET, {});
    REQUIRE_MESSAGE(fd.ok(), fd.error().message);
    return own(*fd);
  }
  struct Pair {
    int a, b;  // connected: a called, b was accepted
  };
  Pair connect() {
    Address at;
    int listener = listen(at);
    Probe accepting, calling;
    loop->accept(accepting.op, listener);
    int a = socket();
    loop->connect(calling.op, a, at);
    REQUIRE(until([&] { return calling.finished && !accepting.fds.empty(); }));
    REQUIRE(calling.result == 0);
    loop->cancel(accepting.op);
    REQUIRE(finish(accepting));
    CHECK(accepting.result == -ECANCELED);
    close(listener);
    return {a, own(accepting.fds[0])};
  }

  int32_t send(int fd, std::string_view bytes) {
    Probe p;
    iovec v{const_cast<char*>(bytes.data()), bytes.size()};
    loop->send(p.op, fd, {&v, 1});
    REQUIRE(finish(p));
    return p.result;
  }
  // One receive.
  int32_t recv(int fd, std::string& into, RecvOptions options = {}) {
    Probe p;
    loop->recv(p.op, fd, options);
    REQUIRE(finish(p));
    into = p.last;
    return p.result;
  }
  // Receives until the end or an error, which it returns.
  int32_t recv_all(int fd, std::string& into, RecvOptions options = {}) {
    Probe p;
    for (;;) {
      p.reset();
      loop->recv(p.op, fd, options);
      REQUIRE(finish(p));
      if (p.result <= 0) return p.result;
      into += p.last;
    }
  }

  std::unique_ptr<Loop> loop;
  std::vector<int> fds;
};

}  // namespace sluice::io

#define SLUICE_EACH_BACKEND(name) TEST_CASE_TEMPLATE(name, Backend, IoUring, Epoll, Simulation)
#define SLUICE_EACH_KERNEL_BACKEND(name) TEST_CASE_TEMPLATE(name, Backend, IoUring, Epoll)
