// What only a real kernel has: threads, options, network namespaces.
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "core/fd.h"
#include "test/unit/io/rig.h"

using namespace sluice;
using namespace sluice::io;

SLUICE_EACH_KERNEL_BACKEND("post() from other threads: every function runs, each thread's in order") {
  auto loop = Backend::make();
  constexpr int kThreads = 4, kEach = 5000;
  std::vector<int> next(kThreads, 0);
  bool ordered = true;
  int total = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i)
        loop->post([&, t, i] {
          ordered &= next[static_cast<size_t>(t)]++ == i;
          if (++total == kThreads * kEach) loop->stop();
        });
    });
  loop->run();
  for (auto& t : threads) t.join();
  CHECK(ordered);
  CHECK(total == kThreads * kEach);
}

SLUICE_EACH_KERNEL_BACKEND("post() and stop() wake a loop that sleeps on its own thread") {
  auto loop = Backend::make();  // made here, run there
  std::atomic<int> ran{0};
  std::thread thread([&] { loop->run(); });
  for (int i = 1; i <= 1000; ++i) {
    loop->post([&] {
      ran.fetch_add(1);
      ran.notify_one();
    });
    for (int seen; (seen = ran.load()) < i;) ran.wait(seen);
  }
  loop->stop();
  thread.join();
  CHECK(ran == 1000);
}

SLUICE_EACH_KERNEL_BACKEND("stop() before run() is not lost") {
  auto loop = Backend::make();
  std::thread([&] { loop->stop(); }).join();
  loop->run();
  int turns = 0;
  loop->post([&] {
    ++turns;
    loop->stop();
  });
  loop->run();  // a loop can run again
  CHECK(turns == 1);
}

SLUICE_EACH_KERNEL_BACKEND("socket options arrive at the socket; one that is refused is named") {
  Rig rig(Backend::make());
  SocketOptions o;
  o.reuse_port = o.bind_address_no_port = true;
  o.keep_alive = {.enabled = true, .probes = 3, .time_s = 40, .interval_s = 5};
  int size = 65536;
  o.raw.push_back({SOL_SOCKET, SO_SNDBUF, std::string(reinterpret_cast<char*>(&size), sizeof size)});
  auto fd = rig.loop->open_socket(AF_INET6, o);
  REQUIRE_MESSAGE(fd.ok(), fd.error().message);
  rig.own(*fd);
  auto get = [&](int level, int name) {
    int v = 0;
    socklen_t len = sizeof v;
    CHECK(getsockopt(*fd, level, name, &v, &len) == 0);
    return v;
  };
  CHECK(get(SOL_SOCKET, SO_REUSEPORT) == 1);
  CHECK(get(SOL_SOCKET, SO_KEEPALIVE) == 1);
  CHECK(get(SOL_TCP, TCP_KEEPCNT) == 3);
  CHECK(get(SOL_TCP, TCP_KEEPIDLE) == 40);
  CHECK(get(SOL_TCP, TCP_KEEPINTVL) == 5);
  CHECK(get(SOL_TCP, TCP_NODELAY) == 1);
  CHECK(get(SOL_SOCKET, SO_SNDBUF) == 2 * 65536);
  CHECK((fcntl(*fd, F_GETFL) & O_NONBLOCK) != 0);
  CHECK((fcntl(*fd, F_GETFD) & FD_CLOEXEC) != 0);

  SocketOptions bad;
  bad.raw.push_back({SOL_SOCKET, 9999, "1234"});
  auto refused = rig.loop->open_socket(AF_INET, bad);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code == ENOPROTOOPT);
  CHECK(refused.error().message.find("level 1 name 9999") != std::string::npos);

  Address at;
  rig.listen(at);
  Status taken = rig.loop->bind(rig.socket(), at);
  REQUIRE_FALSE(taken.ok());
  CHECK(taken.error().code == EADDRINUSE);
  CHECK(taken.error().message.find(at.to_string()) != std::string::npos);
}

SLUICE_EACH_KERNEL_BACKEND(
    "a listener that ignores handshakes: its clients try again, and come to who is there then") {
  Rig rig(Backend::make());
  Address at;
  const int listener = rig.listen(at);
  Probe accepting, calling;
  rig.loop->accept(accepting.op, listener);
  rig.loop->ignore_handshakes(listener);
  rig.loop->connect(calling.op, rig.socket(), at);
  rig.turns(5);
  CHECK_FALSE(calling.finished);
  rig.loop->cancel(accepting.op);
  CHECK(rig.finish(accepting));
  CHECK(accepting.fds.empty());
  rig.close(listener);
  REQUIRE(rig.until([&] { return calling.finished; }));  // its second SYN
  CHECK(calling.result == -ECONNREFUSED);
}

SLUICE_EACH_KERNEL_BACKEND("Unix sockets work like TCP ones") {
  Rig rig(Backend::make());
  auto at = Address::pipe("@sluice-io-test-" + std::to_string(getpid()));
  REQUIRE(at.ok());
  auto listener = rig.loop->open_socket(AF_UNIX, {});
  REQUIRE(listener.ok());
  rig.own(*listener);
  REQUIRE(rig.loop->bind(*listener, *at).ok());
  REQUIRE(rig.loop->listen(*listener, 10).ok());
  Probe accepting, calling;
  rig.loop->accept(accepting.op, *listener);
  auto a = rig.loop->open_socket(AF_UNIX, {});
  REQUIRE(a.ok());
  rig.loop->connect(calling.op, rig.own(*a), *at);
  REQUIRE(rig.until([&] { return calling.finished && !accepting.fds.empty(); }));
  CHECK(calling.result == 0);
  std::string got;
  CHECK(rig.send(*a, "hello") == 5);
  CHECK(rig.recv(rig.own(accepting.fds[0]), got) == 5);
  CHECK(got == "hello");
  rig.loop->cancel(accepting.op);
  CHECK(rig.finish(accepting));
}

SLUICE_EACH_KERNEL_BACKEND("no descriptors left: accept ends with EMFILE and can be started again") {
  Rig rig(Backend::make());
  Address at;
  int listener = rig.listen(at);
  Probe accepting, calling;
  int client = rig.socket();
  rig.turns(1);
  std::vector<Fd> hoard;
  for (;;) {
    Fd fd(dup(0));
    if (!fd.valid()) break;
    hoard.push_back(std::move(fd));
  }
  rig.loop->accept(accepting.op, listener);
  rig.loop->connect(calling.op, client, at);
  CHECK(rig.finish(accepting));
  CHECK(accepting.result == -EMFILE);
  hoard.clear();
  accepting.reset();
  rig.loop->accept(accepting.op, listener);
  CHECK(rig.until([&] { return !accepting.fds.empty(); }));
  rig.own(accepting.fds[0]);
  rig.loop->cancel(accepting.op);
  CHECK(rig.finish(accepting));
  CHECK(rig.finish(calling));
}

SLUICE_EACH_KERNEL_BACKEND("descriptors made elsewhere can be polled, and used again by number") {
  Rig rig(Backend::make());
  for (int i = 0; i < 20; ++i) {
    int fds[2];
    REQUIRE(pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0);
    Probe p;
    rig.loop->poll(p.op, fds[0], POLLIN);
    rig.turns(2);
    CHECK_FALSE(p.finished);
    REQUIRE(write(fds[1], "x", 1) == 1);
    CHECK(rig.finish(p));
    CHECK((p.result & POLLIN) != 0);
    close(fds[0]);
    close(fds[1]);
  }
}

SLUICE_EACH_KERNEL_BACKEND("sockets open in another network namespace, and then in our own again") {
  Fd mine(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  REQUIRE(mine.valid());
  Fd other;
  std::thread([&] {  // a namespace of its own lives as long as its descriptor
    if (unshare(CLONE_NEWNET) == 0) other.reset(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  })
      .join();
  if (!other.valid()) {
    MESSAGE("skipped: making a network namespace needs root");
    return;
  }
  auto cookie = [](int fd) {
    uint64_t c = 0;
    socklen_t len = sizeof c;
    CHECK(getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &c, &len) == 0);
    return c;
  };
  Rig rig(Backend::make());
  auto there1 = rig.loop->open_socket(AF_INET, {}, other.get());
  auto there2 = rig.loop->open_socket(AF_INET, {}, other.get());
  auto here = rig.loop->open_socket(AF_INET, {});
  REQUIRE((there1.ok() && there2.ok() && here.ok()));
  for (auto* fd : {&there1, &there2, &here}) rig.own(**fd);
  CHECK(cookie(*there1) == cookie(*there2));
  CHECK(cookie(*there1) != cookie(*here));
  // A turn brings the thread home, whoever opens sockets next.
  auto there3 = rig.loop->open_socket(AF_INET, {}, other.get());
  REQUIRE(there3.ok());
  rig.own(*there3);
  rig.turns(1);
  Fd plain(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  CHECK(cookie(plain.get()) == cookie(*here));
  auto bad = rig.loop->open_socket(AF_INET, {}, plain.get());
  REQUIRE_FALSE(bad.ok());
  CHECK(bad.error().message.find("network namespace") != std::string::npos);
}
