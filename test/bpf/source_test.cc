// The source address of a redirected connection: the pod's own, as it would be without us.
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdlib>
#include <set>

#include "fixture.h"

using namespace sluice;
using namespace sluice::test;

namespace {

// A pod with addresses: 10.77.0.1 and fd77::1. It has them before it is enrolled, as a CNI plugin leaves it.
struct Addressed : World {
  Addressed() {
    host.make_netns("neighbour");
    host.join("pod", "neighbour");
    REQUIRE(redirector->enrol(spec_for("pod", pod.netns)).ok());
  }
};

IpAddress ip(const char* text) {
  return *IpAddress::parse(text);
}

void disconnect(int fd) {
  sockaddr none{};
  none.sa_family = AF_UNSPEC;
  REQUIRE(::connect(fd, &none, sizeof(none)) == 0);
}

}  // namespace

TEST_CASE("both sides of a redirected connection see the pod's address") {
  if (!can_run()) return;
  Addressed w;
  struct Case {
    int family;
    Address to;
    int listener;
    const char* source;
  };
  for (const Case& c : {Case{AF_INET, addr("192.0.2.1:80"), w.pod.out4.get(), "10.77.0.1"},
                        Case{AF_INET6, addr("[2001:db8::1]:80"), w.pod.out6.get(), "fd77::1"},
                        Case{AF_INET6, mapped("192.0.2.1:80"), w.pod.out4.get(), "10.77.0.1"}}) {
    INFO(c.to.to_string());
    Host::in(w.pod.netns, [&] {
      Fd app = socket_for(c.family);
      REQUIRE(connect_errno(app.get(), c.to) == 0);
      Fd proxy = accept_one(c.listener);
      REQUIRE(proxy.valid());
      CHECK(local_of(app.get()).unmapped().ip() == ip(c.source));
      CHECK(peer_of(proxy.get()) == local_of(app.get()).unmapped());
      CHECK(peer_of(app.get()) == c.to);
      auto original = w.redirector->original_destination(proxy.get());
      REQUIRE(original.ok());
      CHECK(original->address == c.to.unmapped());
    });
  }
  CHECK(counter(*w.redirector, "inbound.passed.loopback") == 3);  // not taken a second time
  CHECK(counter(*w.redirector, "source.not_bound") == 0);
}

TEST_CASE("what the application has bound is kept, a port alone too") {
  if (!can_run()) return;
  Addressed w;
  Host::in(w.pod.netns, [&] {
    for (const char* own : {"127.0.0.9:0", "0.0.0.0:4571", "10.77.0.1:4572"}) {
      INFO(own);
      Fd app = socket_for(AF_INET);
      Address bound = addr(own);
      REQUIRE(::bind(app.get(), bound.sockaddr_ptr(), bound.len()) == 0);
      REQUIRE(connect_errno(app.get(), addr("192.0.2.1:80")) == 0);
      Fd proxy = accept_one(w.pod.out4.get());
      Address local = local_of(app.get());
      if (bound.port()) CHECK(local.port() == bound.port());
      if (bound.ip() != ip("0.0.0.0")) CHECK(local.ip() == bound.ip());
    }
  });
  CHECK(counter(*w.redirector, "source.not_bound") == 0);
}

TEST_CASE("one socket, one destination after the other: the source is chosen anew each time") {
  if (!can_run()) return;
  Addressed w;
  Host::in(w.pod.netns, [&] {
    Fd here = listen_on("127.0.0.1", 7001);
    Fd here6 = listen_on("::1", 7001);
    Fd app = socket_for(AF_INET);
    for (int round = 0; round < 3; ++round) {
      REQUIRE(connect_errno(app.get(), addr("192.0.2.1:80")) == 0);
      Fd proxy = accept_one(w.pod.out4.get());
      CHECK(peer_of(proxy.get()).ip() == ip("10.77.0.1"));
      disconnect(app.get());
      REQUIRE(connect_errno(app.get(), addr("127.0.0.1:7001")) == 0);
      CHECK(peer_of(accept_one(here.get()).get()).ip() == ip("127.0.0.1"));
      CHECK(peer_of(app.get()) == addr("127.0.0.1:7001"));
      disconnect(app.get());
    }
    Fd app6 = socket_for(AF_INET6);
    for (int round = 0; round < 2; ++round) {
      REQUIRE(connect_errno(app6.get(), addr("[2001:db8::1]:80")) == 0);
      CHECK(peer_of(accept_one(w.pod.out6.get()).get()).ip() == ip("fd77::1"));
      disconnect(app6.get());
      REQUIRE(connect_errno(app6.get(), addr("[::1]:7001")) == 0);
      CHECK(peer_of(accept_one(here6.get()).get()).ip() == ip("::1"));
      disconnect(app6.get());
    }
    Fd both =
        socket_for(AF_INET6);  // never IPv6 after v4-mapped: the kernel cannot do that, with us or without
    for (int round = 0; round < 2; ++round) {
      REQUIRE(connect_errno(both.get(), mapped("192.0.2.1:80")) == 0);
      CHECK(peer_of(accept_one(w.pod.out4.get()).get()).ip() == ip("10.77.0.1"));
      disconnect(both.get());
      REQUIRE(connect_errno(both.get(), mapped("127.0.0.1:7001")) == 0);
      CHECK(peer_of(accept_one(here.get()).get()).ip() == ip("127.0.0.1"));
      disconnect(both.get());
    }
    CHECK(w.redirector->redirects()->empty());  // a disconnected socket remembers no redirect
  });
}

TEST_CASE("an IPv6 source of ours makes a socket one of IPv6 only: the one thing of the binding that shows") {
  if (!can_run()) return;
  Addressed w;
  auto v6only = [](int fd) {
    int value = -1;
    socklen_t len = sizeof(value);
    REQUIRE(::getsockopt(fd, SOL_IPV6, IPV6_V6ONLY, &value, &len) == 0);
    return value;
  };
  Host::in(w.pod.netns, [&] {
    // Without us: the same steps over loopback, which is left alone.
    Fd here = listen_on("127.0.0.1", 7001), here6 = listen_on("::1", 7001);
    Fd plain = socket_for(AF_INET6);
    REQUIRE(connect_errno(plain.get(), addr("[::1]:7001")) == 0);
    CHECK(v6only(plain.get()) == 0);
    disconnect(plain.get());
    CHECK(connect_errno(plain.get(), mapped("127.0.0.1:7001")) == 0);
    // With us. bpf_bind() to an IPv6 address sets it, as bind() does, and bpf_setsockopt() may not take it back.
    Fd app = socket_for(AF_INET6);
    REQUIRE(connect_errno(app.get(), addr("[2001:db8::1]:80")) == 0);
    CHECK(v6only(app.get()) == 1);
    disconnect(app.get());
    CHECK(connect_errno(app.get(), mapped("192.0.2.1:80")) == ENETUNREACH);
    // The application may, between the two.
    int zero = 0;
    CHECK(::setsockopt(app.get(), SOL_IPV6, IPV6_V6ONLY, &zero, sizeof(zero)) == 0);
    CHECK(connect_errno(app.get(), mapped("192.0.2.1:80")) == 0);
    // An application that has chosen its source has its socket as it was.
    Fd bound = socket_for(AF_INET6);
    Address any = addr("[::]:4573");
    REQUIRE(::bind(bound.get(), any.sockaddr_ptr(), any.len()) == 0);
    REQUIRE(connect_errno(bound.get(), addr("[2001:db8::1]:80")) == 0);
    CHECK(v6only(bound.get()) == 0);
  });
}

TEST_CASE("the pod's address has gone: connections go on, with a loopback source") {
  if (!can_run()) return;
  Addressed w;
  Host::in(w.pod.netns, [&] {
    Fd app = socket_for(AF_INET);
    REQUIRE(connect_errno(app.get(), addr("192.0.2.1:80")) == 0);
    CHECK(peer_of(accept_one(w.pod.out4.get()).get()).ip() == ip("10.77.0.1"));
    disconnect(app.get());
    REQUIRE(std::system("ip addr del 10.77.0.1/24 dev eth0") == 0);
    REQUIRE(connect_errno(app.get(), addr("192.0.2.1:80")) == 0);
    CHECK(peer_of(accept_one(w.pod.out4.get()).get()).ip().to_string().starts_with("127.0.0."));
    CHECK(counter(*w.redirector, "source.not_bound") == 1);
    REQUIRE(std::system("ip addr add 10.77.0.9/24 dev eth0") == 0);
  });
  // Enrolled again, the workload has its new address.
  REQUIRE(w.redirector->enrol(spec_for("pod", w.pod.netns)).ok());
  Host::in(w.pod.netns, [&] {
    Fd app = socket_for(AF_INET);
    REQUIRE(connect_errno(app.get(), addr("192.0.2.1:80")) == 0);
    CHECK(local_of(app.get()).ip() == ip("10.77.0.9"));
  });
}

TEST_CASE("a source port serves once for each target: the spread still multiplies connections") {
  if (!can_run()) return;
  Addressed w;
  Host::in(w.pod.netns, [&] {
    REQUIRE(std::system("echo 40000 40009 > /proc/sys/net/ipv4/ip_local_port_range") == 0);
    std::vector<Fd> apps;
    std::set<std::string> sources;
    for (int i = 0; i < 40; ++i) {  // four times the range, over 8 targets
      Fd app = socket_for(AF_INET);
      if (connect_errno(app.get(), addr("192.0.2.1:80")) != 0) continue;
      sources.insert(local_of(app.get()).to_string());
      apps.push_back(std::move(app));
    }
    CHECK(apps.size() > 20);
    CHECK(sources.size() <= 10);
  });
}
