#include <doctest/doctest.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "fixture.h"

using namespace sluice;
using namespace sluice::test;
using redirect::Redirector;

namespace {

constexpr int kSoOriginalDst = 80;  // SOL_IP and SOL_IPV6

// An attached Redirector, one enrolled pod, a proxy in it.
struct World {
  Host host;
  std::unique_ptr<Redirector> redirector;
  Pod pod;

  explicit World(std::function<void(redirect::WorkloadSpec&)> change = nullptr,
                 std::function<void(redirect::Options&)> tune = nullptr) {
    redirect::Options options = host.options();
    if (tune) tune(options);
    auto r = Redirector::attach(options);
    REQUIRE_MESSAGE(r.ok(), (r.ok() ? "" : r.error().message));
    redirector = std::move(*r);
    REQUIRE(redirector->set_proxy_identity(host.cgroup_id()).ok());
    pod.netns = host.make_netns("pod");
    auto spec = spec_for("pod", pod.netns);
    if (change) change(spec);
    auto w = redirector->enrol(spec);
    REQUIRE_MESSAGE(w.ok(), (w.ok() ? "" : w.error().message));
    pod.workload = *w;
    start_proxy(*redirector, pod);
  }
};

// Connects to `to` inside the pod, and checks what each side sees.
void expect_redirected(World& world, int family, const Address& to, int listener) {
  INFO(to.to_string());
  Host::in(world.pod.netns, [&] {
    Fd app = socket_for(family);
    REQUIRE(connect_errno(app.get(), to) == 0);
    Fd proxy = accept_one(listener);
    REQUIRE(proxy.valid());
    auto original = world.redirector->original_destination(proxy.get());
    REQUIRE_MESSAGE(original.ok(), (original.ok() ? "" : original.error().message));
    CHECK(original->address == to.unmapped());
    CHECK(original->v4_mapped == (to.unmapped() != to));
    CHECK(original->netns_cookie == world.pod.workload.netns_cookie);
    CHECK(original->workload_id == world.pod.workload.id);
    CHECK(original->generation == world.pod.workload.generation);
    CHECK(original->uid == 0);
    CHECK(original->pid == static_cast<uint32_t>(::getpid()));
    CHECK(std::string(original->rule) == "outbound.redirected.default");
    CHECK(peer_of(app.get()) == to);                                    // the app sees whom it called
    CHECK(peer_of(proxy.get()) == local_of(app.get()).unmapped());      // the proxy sees the app
    CHECK(world.redirector->bridge_entries() == 0);
  });
}

}  // namespace

TEST_CASE("a connect is redirected and its destination recovered: IPv4, IPv6, v4-mapped") {
  if (!can_run()) return;
  World world;
  expect_redirected(world, AF_INET, addr("192.0.2.7:8080"), world.pod.out4.get());
  expect_redirected(world, AF_INET6, addr("[2001:db8::7]:443"), world.pod.out6.get());
  expect_redirected(world, AF_INET6, mapped("192.0.2.9:25"), world.pod.out4.get());
  CHECK(counter(*world.redirector, "bridge.written") == 3);
  CHECK(counter(*world.redirector, "bridge.moved") == 3);
}

TEST_CASE("SO_ORIGINAL_DST is answered on both sides, other options and other sockets are left alone") {
  if (!can_run()) return;
  World world;
  Host::in(world.pod.netns, [&] {
    Fd app = socket_for(AF_INET);
    REQUIRE(connect_errno(app.get(), addr("192.0.2.7:8080")) == 0);
    Fd proxy = accept_one(world.pod.out4.get());
    for (int fd : {app.get(), proxy.get()}) {
      sockaddr_in sin{};
      socklen_t len = sizeof(sin);
      REQUIRE(::getsockopt(fd, SOL_IP, kSoOriginalDst, &sin, &len) == 0);
      CHECK(len == sizeof(sin));
      CHECK(Address::from_sockaddr(reinterpret_cast<sockaddr*>(&sin), len) == addr("192.0.2.7:8080"));
    }
    char small[8];
    socklen_t len = sizeof(small);
    CHECK(::getsockopt(proxy.get(), SOL_IP, kSoOriginalDst, small, &len) != 0);
    std::vector<char> big(9000);  // longer than the page that the hook is shown
    len = static_cast<socklen_t>(big.size());
    CHECK(::getsockopt(proxy.get(), IPPROTO_TCP, TCP_INFO, big.data(), &len) == 0);
    CHECK(len > 100);
    int error = -1;
    len = sizeof(error);
    CHECK(::getsockopt(proxy.get(), SOL_SOCKET, SO_ERROR, &error, &len) == 0);
    CHECK(error == 0);

    Fd app6 = socket_for(AF_INET6);
    REQUIRE(connect_errno(app6.get(), addr("[2001:db8::7]:443")) == 0);
    Fd proxy6 = accept_one(world.pod.out6.get());
    sockaddr_in6 sin6{};
    len = sizeof(sin6);
    REQUIRE(::getsockopt(proxy6.get(), SOL_IPV6, kSoOriginalDst, &sin6, &len) == 0);
    CHECK(Address::from_sockaddr(reinterpret_cast<sockaddr*>(&sin6), len) == addr("[2001:db8::7]:443"));
    sockaddr_in none{};
    len = sizeof(none);
    CHECK(::getsockopt(proxy6.get(), SOL_IP, kSoOriginalDst, &none, &len) != 0);

    Fd direct = socket_for(AF_INET);
    REQUIRE(connect_errno(direct.get(), addr("127.0.0.1:15001")) == 0);
    Fd proxy_direct = accept_one(world.pod.out4.get());
    len = sizeof(none);
    CHECK(::getsockopt(proxy_direct.get(), SOL_IP, kSoOriginalDst, &none, &len) != 0);
  });
  CHECK(counter(*world.redirector, "told.so_original_dst") == 3);
}

TEST_CASE("the proxy's own sockets, loopback, and calls by the proxy's own port are not redirected") {
  if (!can_run()) return;
  World world;
  Redirector& r = *world.redirector;
  std::string elsewhere = world.host.make_child_cgroup("elsewhere");
  Host::in(world.pod.netns, [&] {
    // Mark and cgroup: untouched. There is no route, so an untouched connect fails at once.
    Fd own = socket_for(AF_INET, r.options().proxy_mark);
    CHECK(connect_errno(own.get(), addr("192.0.2.7:80")) == ENETUNREACH);
    CHECK(counter(r, "outbound.passed.proxy") == 1);
    // Another mark in the same cgroup is somebody else.
    Fd other = socket_for(AF_INET, r.options().proxy_mark + 1);
    CHECK(connect_errno(other.get(), addr("192.0.2.7:80")) == 0);
    CHECK(accept_one(world.pod.out4.get()).valid());
    // So is the mark in another cgroup.
    Host::enter_cgroup(elsewhere);
    Fd thief = socket_for(AF_INET, r.options().proxy_mark);
    CHECK(connect_errno(thief.get(), addr("192.0.2.7:80")) == 0);
    Host::enter_cgroup(world.host.cgroup());
    Fd taken = accept_one(world.pod.out4.get());
    CHECK(r.original_destination(taken.get()).ok());

    for (const char* local : {"127.0.0.1:15001", "127.3.4.5:15001", "0.0.0.0:15001"}) {
      Fd self = socket_for(AF_INET);
      CHECK(connect_errno(self.get(), addr(local)) == 0);
      Fd got = accept_one(world.pod.out4.get());
      auto original = r.original_destination(got.get());
      REQUIRE(!original.ok());
      CHECK(original.error().code == ENOENT);
    }
    Fd self6 = socket_for(AF_INET6);
    CHECK(connect_errno(self6.get(), addr("[::1]:15001")) == 0);
    CHECK(!r.original_destination(accept_one(world.pod.out6.get()).get()).ok());
    CHECK(counter(r, "outbound.passed.loopback") == 4);
    CHECK(counter(r, "bridge.direct") == 4);
  });
}
