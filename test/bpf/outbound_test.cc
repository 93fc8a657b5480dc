#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <set>
#include <vector>

#include "fixture.h"
#include "redirect/netns.h"

using namespace sluice;
using namespace sluice::test;
using redirect::Redirector;

namespace {

constexpr int kSoOriginalDst = 80;  // SOL_IP and SOL_IPV6

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
    // Not redirected: its own address, as conntrack says of a connection that no rule has touched.
    CHECK(::getsockopt(proxy_direct.get(), SOL_IP, kSoOriginalDst, &none, &len) == 0);
    CHECK(Address::from_sockaddr(reinterpret_cast<sockaddr*>(&none), len) == addr("127.0.0.1:15001"));
  });
  CHECK(counter(*world.redirector, "told.so_original_dst") == 4);
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
    Fd other = socket_for(AF_INET, r.options().proxy_mark + 7);
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

TEST_CASE(
    "the same socket connects again: the record is the new one, and none where the new one is not "
    "redirected") {
  if (!can_run()) return;
  World world([](redirect::WorkloadSpec& s) { s.exclude_cidrs.push_back(*Cidr::parse("127.0.0.0/8")); });
  Redirector& r = *world.redirector;
  Host::in(world.pod.netns, [&] {
    Fd app = socket_for(AF_INET);
    sockaddr unspec{};
    unspec.sa_family = AF_UNSPEC;
    for (const char* to : {"192.0.2.1:80", "192.0.2.2:81"}) {
      REQUIRE(connect_errno(app.get(), addr(to)) == 0);
      Fd proxy = accept_one(world.pod.out4.get());
      CHECK(r.original_destination(proxy.get())->address == addr(to));
      CHECK(peer_of(app.get()) == addr(to));
      REQUIRE(::connect(app.get(), &unspec, sizeof(unspec)) == 0);
    }
    // To the proxy's port by its number: the old record must not colour it.
    REQUIRE(connect_errno(app.get(), addr("127.0.0.1:15001")) == 0);
    Fd proxy = accept_one(world.pod.out4.get());
    CHECK(!r.original_destination(proxy.get()).ok());
    CHECK(peer_of(app.get()) == addr("127.0.0.1:15001"));
  });
  CHECK(r.bridge_entries() == 0);
}

TEST_CASE("a connect that fails leaves nothing behind, and its socket may try again") {
  if (!can_run()) return;
  World world;
  Redirector& r = *world.redirector;
  Host::in(world.pod.netns, [&] {
    Fd app = socket_for(AF_INET);
    // Nothing listens any more, but the kernel still has the entry for an instant: here it is simply gone.
    world.pod.close_all();
    CHECK(connect_errno(app.get(), addr("192.0.2.1:80")) == ECONNREFUSED);
    start_proxy(r, world.pod);
    CHECK(connect_errno(app.get(), addr("192.0.2.1:80")) == 0);
    CHECK(r.original_destination(accept_one(world.pod.out4.get()).get())->address == addr("192.0.2.1:80"));
  });
  CHECK(r.bridge_entries() == 0);
}

TEST_CASE("rules: ports, CIDRs, users, and the include lists") {
  if (!can_run()) return;
  World world([](redirect::WorkloadSpec& s) {
    s.exclude_outbound_ports = {22, 443};
    s.exclude_cidrs = {*Cidr::parse("198.51.100.0/24"), *Cidr::parse("2001:db8:1::/48")};
    s.include_cidrs = {*Cidr::parse("198.51.100.128/25")};
    s.exclude_uids = {4321};
  });
  Redirector& r = *world.redirector;
  auto outcome = [&](int family,
                     const Address& to) {  // 0: redirected; else the errno of an untouched connect
    Fd app = socket_for(family);
    int err = connect_errno(app.get(), to);
    if (!err)
      CHECK(accept_one(to.unmapped().family() == AF_INET ? world.pod.out4.get() : world.pod.out6.get())
                .valid());
    return err;
  };
  auto only = [&](const char* name, const std::function<void()>& act) {
    INFO(std::string(name));
    uint64_t before = counter(r, name);
    act();
    CHECK(counter(r, name) == before + 1);
  };
  Host::in(world.pod.netns, [&] {
    only("outbound.passed.excluded_port",
         [&] { CHECK(outcome(AF_INET, addr("192.0.2.1:22")) == ENETUNREACH); });
    only("outbound.passed.excluded_port",
         [&] { CHECK(outcome(AF_INET6, addr("[2001:db8::1]:443")) == ENETUNREACH); });
    only("outbound.passed.excluded_cidr",
         [&] { CHECK(outcome(AF_INET, addr("198.51.100.7:80")) == ENETUNREACH); });
    only("outbound.passed.excluded_cidr",
         [&] { CHECK(outcome(AF_INET6, mapped("198.51.100.7:80")) == ENETUNREACH); });
    only("outbound.passed.excluded_cidr",
         [&] { CHECK(outcome(AF_INET6, addr("[2001:db8:1::5]:80")) == ENETUNREACH); });
    only("outbound.redirected.included_cidr",
         [&] { CHECK(outcome(AF_INET, addr("198.51.100.200:80")) == 0); });
    only("outbound.passed.not_included",
         [&] { CHECK(outcome(AF_INET, addr("192.0.2.1:80")) == ENETUNREACH); });
    only("outbound.passed.excluded_uid", [&] {
      // This thread alone changes its user (the raw call; the library's would change them all).
      REQUIRE(::syscall(SYS_setresuid, 4321, -1, -1) == 0);
      CHECK(outcome(AF_INET, addr("198.51.100.200:80")) == ENETUNREACH);
      REQUIRE(::syscall(SYS_setresuid, 0, -1, -1) == 0);
    });
  });
  // New rules for the same workload take the old ones' place, with a new generation.
  auto spec = spec_for("pod", world.pod.netns);
  spec.include_outbound_ports = {8080};
  spec.exclude_cidrs = {*Cidr::parse("203.0.113.0/24")};
  auto changed = r.enrol(spec);
  REQUIRE(changed.ok());
  CHECK(changed->id == world.pod.workload.id);
  CHECK(changed->generation > world.pod.workload.generation);
  Host::in(world.pod.netns, [&] {
    only("outbound.redirected.included_port", [&] { CHECK(outcome(AF_INET, addr("192.0.2.1:8080")) == 0); });
    only("outbound.passed.excluded_cidr",
         [&] { CHECK(outcome(AF_INET, addr("203.0.113.1:8080")) == ENETUNREACH); });
    only("outbound.passed.not_included",
         [&] { CHECK(outcome(AF_INET, addr("198.51.100.200:80")) == ENETUNREACH); });
  });
}

TEST_CASE("fail modes: without a listener a connect is refused, or passed, as the workload says") {
  if (!can_run()) return;
  for (bool open : {false, true}) {
    CAPTURE(open);
    World world([&](redirect::WorkloadSpec& s) {
      s.fail_mode = open ? redirect::FailMode::open : redirect::FailMode::closed;
    });
    Redirector& r = *world.redirector;
    Host::in(world.pod.netns, [&] {
      auto once = [&](int family, const Address& to) {
        Fd app = socket_for(family);
        return connect_errno(app.get(), to);
      };
      CHECK(once(AF_INET, addr("192.0.2.1:80")) == 0);
      world.pod.out4.reset();  // the IPv4 listener alone
      int without = open ? ENETUNREACH : ECONNREFUSED;
      CHECK(once(AF_INET, addr("192.0.2.1:80")) == without);
      CHECK(once(AF_INET6, mapped("192.0.2.1:80")) == without);
      CHECK(once(AF_INET6, addr("[2001:db8::1]:80")) == 0);
      world.pod.close_all();
      CHECK(once(AF_INET6, addr("[2001:db8::1]:80")) == without);
      CHECK(once(AF_INET, addr("127.0.0.1:9")) == ECONNREFUSED);  // not ours: nobody listens there
    });
    CHECK(counter(r, open ? "outbound.failed_open.no_proxy" : "outbound.refused.no_proxy") == 3);
    CHECK(counter(r, open ? "outbound.refused.no_proxy" : "outbound.failed_open.no_proxy") == 0);
    auto workloads = r.workloads();
    REQUIRE(workloads.ok());
    CHECK(!workloads->at(0).listening_outbound_v4);
  }
}

TEST_CASE("the fail mode is the kernel's: it holds when the proxy is killed") {
  if (!can_run()) return;
  World world;
  Redirector& r = *world.redirector;
  world.pod.close_all();
  int ready[2];
  REQUIRE(::pipe2(ready, O_CLOEXEC) == 0);
  pid_t proxy = ::fork();
  if (proxy == 0) {
    auto ns = redirect::open_netns(world.pod.netns);
    if (::setns(ns->get(), CLONE_NEWNET) != 0) ::_exit(1);
    start_proxy(r, world.pod);
    (void)!::write(ready[1], "x", 1);
    for (;;) ::pause();
  }
  char c;
  REQUIRE(::read(ready[0], &c, 1) == 1);
  Host::in(world.pod.netns, [&] {
    Fd app = socket_for(AF_INET);
    CHECK(connect_errno(app.get(), addr("192.0.2.1:80")) == 0);
    CHECK(::kill(proxy, SIGKILL) == 0);
    int status;
    CHECK(::waitpid(proxy, &status, 0) == proxy);
    Fd after = socket_for(AF_INET);
    CHECK(connect_errno(after.get(), addr("192.0.2.1:80")) == ECONNREFUSED);
  });
  CHECK(counter(r, "outbound.refused.no_proxy") == 1);
  ::close(ready[0]);
  ::close(ready[1]);
}

TEST_CASE("a proxy that has ended is gone at once, though something still holds its listening sockets") {
  if (!can_run()) return;
  World world;
  auto reader = Redirector::open(world.host.options());
  REQUIRE(reader.ok());
  CHECK((*reader)->workloads()->at(0).listening_outbound_v4);
  world.redirector
      .reset();  // the listening sockets stay open, as io_uring may keep those of a killed process
  Host::in(world.pod.netns, [&] {
    CHECK(connect_errno(socket_for(AF_INET).get(), addr("192.0.2.1:80")) == ECONNREFUSED);
    CHECK(nothing_to_accept(world.pod.out4.get()));
  });
  CHECK(counter(**reader, "outbound.refused.no_proxy") == 1);
  CHECK(!(*reader)->workloads()->at(0).listening_outbound_v4);
}

TEST_CASE("no memory for the record: the fail mode, not an unremembered redirect") {
  if (!can_run()) return;
  for (bool open : {false, true}) {
    CAPTURE(open);
    World world([&](redirect::WorkloadSpec& s) {
      s.fail_mode = open ? redirect::FailMode::open : redirect::FailMode::closed;
    });
    // What a socket may hold besides its buffers, storage included: a setting of each netns, but not yet in 6.1.
    constexpr const char* kLimit = "/proc/sys/net/core/optmem_max";
    bool of_netns = false;
    Host::in(world.pod.netns, [&] { of_netns = ::access(kLimit, F_OK) == 0; });
    if (!of_netns) {
      MESSAGE("net.core.optmem_max is one setting of the whole host on this kernel: left alone");
      return;
    }
    Host::in(world.pod.netns, [&] {
      std::ofstream limit(kLimit);
      limit << 1 << std::flush;
      REQUIRE(limit.good());
      CHECK(connect_errno(socket_for(AF_INET).get(), addr("192.0.2.1:80")) ==
            (open ? ENETUNREACH : ECONNREFUSED));
    });
    CHECK(counter(*world.redirector,
                  open ? "outbound.failed_open.no_storage" : "outbound.refused.no_storage") == 1);
  }
}

TEST_CASE("targets are spread over 127.0.0.1 .. 127.0.0.N") {
  if (!can_run()) return;
  World world(nullptr, [](redirect::Options& o) { o.spread = 3; });
  std::set<std::string> targets;
  Host::in(world.pod.netns, [&] {
    for (int i = 0; i < 200; ++i) {  // all of three missed in 200 draws: once in 10^34 runs
      Fd app = socket_for(AF_INET);
      REQUIRE(connect_errno(app.get(), addr("192.0.2.1:80")) == 0);
      targets.insert(local_of(accept_one(world.pod.out4.get()).get()).to_string());
    }
  });
  CHECK(targets == std::set<std::string>{"127.0.0.1:15001", "127.0.0.2:15001", "127.0.0.3:15001"});
}

TEST_CASE("a full bridge is answered with the fail mode") {
  if (!can_run()) return;
  for (bool open : {false, true}) {
    CAPTURE(open);
    World world(
        [&](redirect::WorkloadSpec& s) {
          s.fail_mode = open ? redirect::FailMode::open : redirect::FailMode::closed;
        },
        [](redirect::Options& o) { o.bridge_entries = 512; });
    Redirector& r = *world.redirector;
    Host::in(world.pod.netns, [&] {
      // A backlog of one: further handshakes stay half done, each with its entry in the bridge.
      world.pod.out4.reset();
      world.pod.out4 = listen_on("0.0.0.0", 15001);
      REQUIRE(::listen(world.pod.out4.get(), 0) == 0);
      REQUIRE(r.set_listeners(world.pod.workload.netns_cookie, {.outbound_v4 = world.pod.out4.get()}).ok());
      std::vector<Fd> apps;
      int err = 0;
      for (int i = 0; i < 600 && (!err || err == EINPROGRESS); ++i) {
        apps.push_back(socket_for(AF_INET));
        ::fcntl(apps.back().get(), F_SETFL, O_NONBLOCK);
        err = connect_errno(apps.back().get(), addr("192.0.2.1:80"));
      }
      CHECK(err == (open ? ENETUNREACH : ECONNREFUSED));
      CHECK(r.bridge_entries() == 256);  // 512 less the slack
      CHECK(counter(r, open ? "outbound.failed_open.bridge_full" : "outbound.refused.bridge_full") == 1);
    });
    CHECK(eventually([&] { return r.bridge_entries() == 0; }));  // the apps are closed now
  }
}
