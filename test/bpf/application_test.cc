// Kinds of sockets and ways to connect, as applications have them.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <liburing.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "fixture.h"

using namespace sluice;
using namespace sluice::test;

namespace {

// The accepted socket, which has to live on: closing it would end the connection.
Fd expect_original(World& w, int listener, const Address& to) {
  Fd proxy = accept_one(listener);
  REQUIRE(proxy.valid());
  auto original = w.redirector->original_destination(proxy.get());
  REQUIRE_MESSAGE(original.ok(), (original.ok() ? "" : original.error().message));
  CHECK(original->address == to);
  return proxy;
}

}  // namespace

TEST_CASE("MPTCP") {
  if (!can_run()) return;
  World w;
  Host::in(w.pod.netns, [&] {
    Fd app(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP));
    if (!app.valid()) {
      MESSAGE("skipped: this kernel has no MPTCP");
      return;
    }
    REQUIRE(connect_errno(app.get(), addr("192.0.2.1:80")) == 0);
    Fd proxy = expect_original(w, w.pod.out4.get(), addr("192.0.2.1:80"));
    CHECK(peer_of(app.get()) == addr("192.0.2.1:80"));
    CHECK(w.redirector->redirects()->size() == 2);
  });
}

TEST_CASE("TCP Fast Open: the destination of sendto") {
  if (!can_run()) return;
  World w;
  Host::in(w.pod.netns, [&] {
    for (int round = 0; round < 3; ++round) {
      Fd app = socket_for(AF_INET);
      Address to = addr("192.0.2.1:80");
      REQUIRE(::sendto(app.get(), "hello", 5, MSG_FASTOPEN, to.sockaddr_ptr(), to.len()) == 5);
      Fd proxy = expect_original(w, w.pod.out4.get(), to);
      CHECK(peer_of(app.get()) == to);
    }
  });
}

TEST_CASE("io_uring connect") {
  if (!can_run()) return;
  World w;
  Host::in(w.pod.netns, [&] {
    io_uring ring;
    if (::io_uring_queue_init(4, &ring, 0) != 0) {
      MESSAGE("skipped: io_uring is forbidden here");
      return;
    }
    for (bool worker : {false, true}) {  // in this task, and in a kernel worker
      Fd app = socket_for(AF_INET);
      Address to = addr("192.0.2.1:80");
      io_uring_sqe* sqe = ::io_uring_get_sqe(&ring);
      ::io_uring_prep_connect(sqe, app.get(), to.sockaddr_ptr(), to.len());
      if (worker) sqe->flags |= IOSQE_ASYNC;
      REQUIRE(::io_uring_submit(&ring) == 1);
      io_uring_cqe* cqe = nullptr;
      REQUIRE(::io_uring_wait_cqe(&ring, &cqe) == 0);
      CHECK(cqe->res == 0);
      ::io_uring_cqe_seen(&ring, cqe);
      Fd proxy = expect_original(w, w.pod.out4.get(), to);
      // The proxy's own connects through io_uring are known as the proxy's in both cases.
      Fd own = socket_for(AF_INET, w.redirector->options().proxy_mark);
      sqe = ::io_uring_get_sqe(&ring);
      ::io_uring_prep_connect(sqe, own.get(), to.sockaddr_ptr(), to.len());
      if (worker) sqe->flags |= IOSQE_ASYNC;
      REQUIRE(::io_uring_submit(&ring) == 1);
      REQUIRE(::io_uring_wait_cqe(&ring, &cqe) == 0);
      CHECK(cqe->res == -ENETUNREACH);
      ::io_uring_cqe_seen(&ring, cqe);
    }
    ::io_uring_queue_exit(&ring);
  });
}

TEST_CASE("a socket bound to an address, to a port, to a device") {
  if (!can_run()) return;
  World w;
  w.host.make_netns("neighbour");
  w.host.join("pod", "neighbour");
  Host::in(w.pod.netns, [&] {
    Address to = addr("192.0.2.1:80");
    Fd by_address = socket_for(AF_INET);
    Address own = addr("10.77.0.1:4567");
    REQUIRE(::bind(by_address.get(), own.sockaddr_ptr(), own.len()) == 0);
    CHECK(connect_errno(by_address.get(), to) == 0);
    Fd proxy = expect_original(w, w.pod.out4.get(), to);
    CHECK(local_of(by_address.get()) == own);

    Fd by_address6 = socket_for(AF_INET6);
    Address own6 = addr("[fd77::1]:4568");
    REQUIRE(::bind(by_address6.get(), own6.sockaddr_ptr(), own6.len()) == 0);
    CHECK(connect_errno(by_address6.get(), addr("[2001:db8::1]:80")) == 0);
    Fd proxy6 = expect_original(w, w.pod.out6.get(), addr("[2001:db8::1]:80"));

    Fd by_device = socket_for(AF_INET);
    REQUIRE(::setsockopt(by_device.get(), SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5) == 0);
    CHECK(connect_errno(by_device.get(), to) == 0);
    Fd proxy_of_device = expect_original(w, w.pod.out4.get(), to);

    // A task that may not undo the binding is refused rather than left without an answer.
    Fd stuck = socket_for(AF_INET6);
    REQUIRE(::setsockopt(stuck.get(), SOL_SOCKET, SO_BINDTODEVICE, "eth0", 5) == 0);
    REQUIRE(::syscall(SYS_setresuid, -1, 4321, -1) == 0);  // of this thread; takes its capabilities
    CHECK(connect_errno(stuck.get(), addr("[2001:db8::1]:80")) == ECONNREFUSED);
    REQUIRE(::syscall(SYS_setresuid, -1, 0, -1) == 0);
    CHECK(counter(*w.redirector, "outbound.refused.bound_device") == 1);
  });
}

TEST_CASE("a non-blocking connect asked about twice is redirected once") {
  if (!can_run()) return;
  World w;
  Host::in(w.pod.netns, [&] {
    Fd app(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    Address to = addr("192.0.2.1:80");
    CHECK(connect_errno(app.get(), to) == EINPROGRESS);
    Fd proxy = expect_original(w, w.pod.out4.get(), to);
    CHECK(connect_errno(app.get(), to) == 0);        // the second call reports the first one's end
    CHECK(connect_errno(app.get(), to) == EISCONN);
    CHECK(peer_of(app.get()) == to);
  });
  CHECK(counter(*w.redirector, "outbound.redirected.default") == 1);
}

TEST_CASE("congestion control: not the node's pacing on loopback, unless somebody asked for it") {
  if (!can_run()) return;
  World w;
  Host::in(w.pod.netns, [&] {
    auto control = [](int fd) {
      char name[16] = {};
      socklen_t len = sizeof(name);
      REQUIRE(::getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &len) == 0);
      return std::string(name);
    };
    // The default of this namespace, a new socket's, whatever the host's is: one that no redirected connection may get.
    Fd setting(::open("/proc/sys/net/ipv4/tcp_congestion_control", O_WRONLY | O_CLOEXEC));
    REQUIRE(setting.valid());
    REQUIRE(::write(setting.get(), "reno", 4) == 4);
    Fd probe = socket_for(AF_INET);
    if (::setsockopt(probe.get(), IPPROTO_TCP, TCP_CONGESTION, "cubic", 5) != 0) {
      MESSAGE("skipped: this kernel has only reno");
      return;
    }
    for (const Address& to : {addr("192.0.2.1:80"), addr("[2001:db8::1]:80")}) {
      INFO(to.to_string());
      Fd app = socket_for(to.family());
      CHECK(control(app.get()) == "reno");
      REQUIRE(connect_errno(app.get(), to) == 0);
      Fd proxy = expect_original(w, to.ip().is_v4() ? w.pod.out4.get() : w.pod.out6.get(), to);
      CHECK(control(app.get()) == "cubic");
      CHECK(control(proxy.get()) == "cubic");
    }
    Fd chosen = socket_for(AF_INET);
    REQUIRE(::setsockopt(chosen.get(), IPPROTO_TCP, TCP_CONGESTION, "reno", 4) == 0);
    REQUIRE(connect_errno(chosen.get(), addr("192.0.2.1:80")) == 0);
    Fd proxy = expect_original(w, w.pod.out4.get(), addr("192.0.2.1:80"));
    CHECK(control(chosen.get()) == "reno");

    Fd there = listen_on("127.0.0.1", 4321);
    Fd direct = socket_for(AF_INET);
    REQUIRE(connect_errno(direct.get(), addr("127.0.0.1:4321")) == 0);
    CHECK(control(direct.get()) == "reno");
    // A refused call leaves no trace.
    w.pod.close_all();
    Fd refused = socket_for(AF_INET);
    CHECK(connect_errno(refused.get(), addr("192.0.2.1:80")) == ECONNREFUSED);
    CHECK(control(refused.get()) == "reno");
  });
}

TEST_CASE("UDP is left alone") {
  if (!can_run()) return;
  World w;
  Host::in(w.pod.netns, [&] {
    Fd app(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    CHECK(connect_errno(app.get(), addr("127.0.0.1:53")) == 0);
    CHECK(peer_of(app.get()) == addr("127.0.0.1:53"));
  });
  CHECK(counter(*w.redirector, "outbound.passed.not_tcp") == 1);
}
