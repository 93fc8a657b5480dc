// Many connections at once, ended as rudely as TCP allows: no destination may be wrong, nothing may be left.
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <thread>

#include "fixture.h"
#include "redirect/netns.h"

using namespace sluice;
using namespace sluice::test;

namespace {

constexpr int kCount = 20000;
constexpr linger kReset{.l_onoff = 1, .l_linger = 0};

void expect_nothing_left(World& w) {
  CHECK(eventually([&] { return w.redirector->bridge_entries() == 0; }));
  auto left = w.redirector->redirects();
  REQUIRE(left.ok());
  CHECK(left->empty());
}

}  // namespace

TEST_CASE("20,000 connections reset at once: none astray, none left") {
  if (!can_run()) return;
  World w;
  int wrong = 0, missing = 0, accepted = 0;
  Host::in(w.pod.netns, [&] {
    for (int i = 0; i < kCount; ++i) {
      Address to(addr("192.0.2.0:1").ip(), static_cast<uint16_t>(i + 1));
      Fd app = socket_for(AF_INET);
      REQUIRE(connect_errno(app.get(), to) == 0);
      // connect() returns before the last ACK of the handshake is seen: a busy kernel may handle the RST first.
      pollfd waiting{.fd = w.pod.out4.get(), .events = POLLIN, .revents = 0};
      REQUIRE(::poll(&waiting, 1, 5000) == 1);
      REQUIRE(::setsockopt(app.get(), SOL_SOCKET, SO_LINGER, &kReset, sizeof(kReset)) == 0);
      app.reset();
      Fd proxy(::accept4(w.pod.out4.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!proxy.valid()) continue;
      ++accepted;
      auto original = w.redirector->original_destination(proxy.get());
      if (!original.ok())
        ++missing;
      else if (!(original->address == to))
        ++wrong;
    }
  });
  CHECK(accepted == kCount);
  CHECK(wrong == 0);
  CHECK(missing == 0);
  CHECK(counter(*w.redirector, "bridge.written") == kCount);
  CHECK(counter(*w.redirector, "bridge.moved") == kCount);
  expect_nothing_left(w);
}

TEST_CASE("20,000 connections of four threads, reset while the handshake runs: none astray, none left") {
  if (!can_run()) return;
  World w;
  // The source port says where a connection was going.
  auto destination_of = [](uint16_t source_port) {
    return Address(IpAddress::v4(htonl(0xc0000200u | (source_port & 0xff))),
                   static_cast<uint16_t>(source_port ^ 0x5555));
  };
  constexpr int kThreads = 4, kFirstPort = 10000;
  std::atomic<int> connected{0}, accepted{0}, wrong{0}, missing{0}, running{kThreads};
  auto netns = redirect::open_netns(w.pod.netns);
  REQUIRE(netns.ok());
  auto client = [&](int t) {
    (void)redirect::run_in_netns(netns->get(), [&]() -> Status {
      for (int i = t; i < kCount; i += kThreads) {
        uint16_t port = static_cast<uint16_t>(kFirstPort + i);
        Address to = destination_of(port);
        if (to.port() == 0) continue;
        Fd app(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
        Address from(IpAddress::v4(0), port);
        if (::bind(app.get(), from.sockaddr_ptr(), from.len()) != 0) continue;
        int err = connect_errno(app.get(), to);
        if (err && err != EINPROGRESS) continue;
        ++connected;
        ::setsockopt(app.get(), SOL_SOCKET, SO_LINGER, &kReset, sizeof(kReset));
      }
      --running;
      return {};
    });
  };
  auto server = [&] {
    // Until the clients have ended and nobody is waiting.
    for (;;) {
      bool last = running == 0;
      Address peer;
      socklen_t len = Address::capacity();
      Fd proxy(::accept4(w.pod.out4.get(), peer.sockaddr_ptr(), &len, SOCK_CLOEXEC));
      if (proxy.valid()) {
        peer.set_len(len);
        ++accepted;
        auto original = w.redirector->original_destination(proxy.get());
        if (!original.ok())
          ++missing;
        else if (!(original->address == destination_of(peer.port())))
          ++wrong;
      } else if (errno == EAGAIN) {
        if (last) return;
        pollfd p{.fd = w.pod.out4.get(), .events = POLLIN, .revents = 0};
        ::poll(&p, 1, 10);
      }
    }
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t) threads.emplace_back(client, t);
  threads.emplace_back(server);
  threads.emplace_back(server);
  for (auto& t : threads) t.join();
  INFO("connected ", connected.load(), ", accepted ", accepted.load());
  CHECK(connected > kCount / 2);
  CHECK(accepted > 0);
  CHECK(wrong == 0);
  CHECK(missing == 0);
  CHECK(counter(*w.redirector, "bridge.direct") == 0);
  expect_nothing_left(w);
  CHECK(counter(*w.redirector, "bridge.moved") + counter(*w.redirector, "bridge.abandoned") ==
        counter(*w.redirector, "bridge.written"));
}
