#include <bpf/bpf.h>
#include <doctest/doctest.h>
#include <linux/bpf.h>
#include <netinet/in.h>

#include <cerrno>
#include <set>

#include "fixture.h"
#include "redirect/host.h"
#include "redirect/netns.h"
#include "redirect/pins.h"
#include "redirect/return_path.h"

using namespace sluice;
using namespace sluice::test;

namespace {

// The pod, and a neighbour it is wired to: the pod is 10.77.0.1 and fd77::1, the neighbour .2 and ::2.
struct Wired : World {
  std::string neighbour;
  explicit Wired(const std::function<void(redirect::WorkloadSpec&)>& change = nullptr) : World(change) {
    neighbour = host.make_netns("neighbour");
    host.join("pod", "neighbour");
  }
  int call(const std::string& from, int family, const Address& to,
           const std::function<void(int)>& then = nullptr) {
    int err = -1;
    Host::in(from, [&] {
      Fd fd = socket_for(family);
      err = connect_errno(fd.get(), to);
      if (!err && then) then(fd.get());
    });
    return err;
  }
};

}  // namespace

TEST_CASE("inbound: any port arrives at virtualInbound, whose local address is the destination") {
  if (!can_run()) return;
  Wired w;
  for (const char* to : {"10.77.0.1:1", "10.77.0.1:8080", "10.77.0.1:65535"}) {
    CHECK(w.call(w.neighbour, AF_INET, addr(to), [&](int app) {
      Fd proxy = accept_one(w.pod.in4.get());
      CHECK(local_of(proxy.get()) == addr(to));
      CHECK(peer_of(proxy.get()) == local_of(app));
      CHECK(peer_of(app) == addr(to));
      CHECK(!w.redirector->original_destination(proxy.get()).ok());
    }) == 0);
  }
  CHECK(w.call(w.neighbour, AF_INET6, addr("[fd77::1]:8080"), [&](int) {
    CHECK(local_of(accept_one(w.pod.in6.get()).get()) == addr("[fd77::1]:8080"));
  }) == 0);
  CHECK(w.call(w.neighbour, AF_INET6, mapped("10.77.0.1:81"), [&](int) {
    CHECK(local_of(accept_one(w.pod.in4.get()).get()) == addr("10.77.0.1:81"));
  }) == 0);
  CHECK(decided(*w.redirector, "inbound.taken.default", 5));

  // By their own numbers the proxy's listeners get connections as anybody would; there is no redirect to follow.
  CHECK(w.call(w.neighbour, AF_INET, addr("10.77.0.1:15006"),
               [&](int) { CHECK(accept_one(w.pod.in4.get()).valid()); }) == 0);
  CHECK(w.call(w.neighbour, AF_INET, addr("10.77.0.1:15001"), [&](int) {
    auto original = w.redirector->original_destination(accept_one(w.pod.out4.get()).get());
    CHECK(!original.ok());
  }) == 0);
  CHECK(decided(*w.redirector, "inbound.passed.proxy_port", 2));
}

TEST_CASE("inbound: loopback, excluded ports and probe sources reach the application") {
  if (!can_run()) return;
  Wired w([](redirect::WorkloadSpec& s) {
    s.exclude_inbound_ports = {9090};
    s.probe_sources = {*Cidr::parse("10.77.0.3/32"), *Cidr::parse("fd77::3/128")};
  });
  Fd app, excluded, app6;
  Host::in(w.pod.netns, [&] {
    app = listen_on("0.0.0.0", 8080);
    app6 = listen_on("::", 8080);
    excluded = listen_on("0.0.0.0", 9090);
  });
  REQUIRE(std::system(("nsenter --net=" + w.neighbour +
                       " sh -c 'ip addr add 10.77.0.3/24 dev eth1 && ip -6 addr add "
                       "fd77::3/64 dev eth1 nodad'")
                          .c_str()) == 0);
  auto from = [&](const char* source, const Address& to) {
    int err = -1;
    Host::in(w.neighbour, [&] {
      Address a = addr(source);
      Fd fd = socket_for(a.family());
      REQUIRE(::bind(fd.get(), a.sockaddr_ptr(), a.len()) == 0);
      err = connect_errno(fd.get(), to);
    });
    return err;
  };
  CHECK(from("10.77.0.2:0", addr("10.77.0.1:9090")) == 0);
  CHECK(accept_one(excluded.get()).valid());
  CHECK(from("10.77.0.3:0", addr("10.77.0.1:8080")) == 0);
  CHECK(accept_one(app.get()).valid());
  CHECK(from("[fd77::3]:0", addr("[fd77::1]:8080")) == 0);
  CHECK(accept_one(app6.get()).valid());
  CHECK(nothing_to_accept(w.pod.in4.get()));
  CHECK(from("10.77.0.2:0", addr("10.77.0.1:8080")) == 0);
  CHECK(accept_one(w.pod.in4.get()).valid());
  CHECK(nothing_to_accept(app.get()));
  // The proxy's connection to the application, and a self-call, go over lo.
  int err = -1;
  Host::in(w.pod.netns, [&] {
    Fd upstream = socket_for(AF_INET, w.redirector->options().proxy_mark);
    err = connect_errno(upstream.get(), addr("10.77.0.1:8080"));
  });
  CHECK(err == 0);
  CHECK(accept_one(app.get()).valid());
  CHECK(decided(*w.redirector, "inbound.passed.loopback", 1));
  CHECK(decided(*w.redirector, "inbound.passed.probe", 2));
  CHECK(decided(*w.redirector, "inbound.passed.excluded_port", 1));
}

TEST_CASE("inbound: only listed ports, when there is a list") {
  if (!can_run()) return;
  Wired w([](redirect::WorkloadSpec& s) { s.include_inbound_ports = {80}; });
  CHECK(w.call(w.neighbour, AF_INET, addr("10.77.0.1:80")) == 0);
  CHECK(accept_one(w.pod.in4.get()).valid());
  CHECK(w.call(w.neighbour, AF_INET, addr("10.77.0.1:81")) == ECONNREFUSED);  // nobody listens there
  CHECK(nothing_to_accept(w.pod.in4.get()));
}

TEST_CASE("inbound: a self-call by the pod's own address is redirected outbound, and back over lo") {
  if (!can_run()) return;
  Wired w;
  Host::in(w.pod.netns, [&] {
    Fd app = listen_on("0.0.0.0", 8080);
    Fd caller = socket_for(AF_INET);
    CHECK(connect_errno(caller.get(), addr("10.77.0.1:8080")) == 0);
    Fd proxy = accept_one(w.pod.out4.get());
    CHECK(w.redirector->original_destination(proxy.get())->address == addr("10.77.0.1:8080"));
    CHECK(nothing_to_accept(app.get()));
    CHECK(nothing_to_accept(w.pod.in4.get()));
  });
}

TEST_CASE(
    "inbound: the proxy may call the application under the caller's address, and does not meet itself") {
  if (!can_run()) return;
  Wired w;
  Fd netns(*redirect::open_netns(w.pod.netns));
  REQUIRE(redirect::make_return_path(netns.get(), w.redirector->options().transparent_mark, 0).ok());
  struct Case {
    int family, sol, option;
    const char *caller, *any, *to;
  } cases[] = {{AF_INET, SOL_IP, IP_TRANSPARENT, "10.77.0.2:0", "0.0.0.0", "10.77.0.1:8080"},
               {AF_INET6, SOL_IPV6, IPV6_TRANSPARENT, "[fd77::2]:0", "::", "[fd77::1]:8080"}};
  for (const Case& c : cases) {
    INFO(std::string(c.to));
    Host::in(w.pod.netns, [&] {
      Fd app = listen_on(c.any, 8080);
      Fd upstream = socket_for(c.family, w.redirector->options().transparent_mark);
      int one = 1;
      REQUIRE(::setsockopt(upstream.get(), c.sol, c.option, &one, sizeof(one)) == 0);
      Address caller = addr(c.caller);
      REQUIRE(::bind(upstream.get(), caller.sockaddr_ptr(), caller.len()) == 0);
      CHECK(connect_errno(upstream.get(), addr(c.to)) == 0);
      Fd served = accept_one(app.get());
      CHECK(peer_of(served.get()).ip() == caller.ip());
      CHECK(peer_of(upstream.get()) == addr(c.to));
      CHECK(nothing_to_accept(w.pod.in4.get()));
      CHECK(nothing_to_accept(w.pod.in6.get()));
      CHECK(w.redirector->bridge_entries() == 0);
      // Nobody listens: nothing stays behind either.
      Fd refused = socket_for(c.family, w.redirector->options().transparent_mark);
      CHECK(connect_errno(refused.get(), addr(c.to).with_port(8081)) == ECONNREFUSED);
      CHECK(w.redirector->bridge_entries() == 0);
    });
  }
  CHECK(decided(*w.redirector, "inbound.passed.proxy", 2));
}

TEST_CASE("inbound: fail modes without a listener") {
  if (!can_run()) return;
  for (bool open : {false, true}) {
    CAPTURE(open);
    Wired w([&](redirect::WorkloadSpec& s) {
      s.fail_mode = open ? redirect::FailMode::open : redirect::FailMode::closed;
    });
    Fd app;
    Host::in(w.pod.netns, [&] { app = listen_on("0.0.0.0", 8080); });
    w.pod.close_all();
    CHECK(w.call(w.neighbour, AF_INET, addr("10.77.0.1:8080")) == (open ? 0 : ECONNREFUSED));
    CHECK(nothing_to_accept(app.get()) == !open);
  }
}

TEST_CASE("inbound and outbound connections are spread over the members of the listening group") {
  if (!can_run()) return;
  Wired w;
  Fd second_in, second_out;
  Host::in(w.pod.netns, [&] {
    second_in = listen_on("0.0.0.0", 15006, true);
    second_out = listen_on("0.0.0.0", 15001, true);
  });
  int in_first = 0, in_second = 0, out_first = 0, out_second = 0;
  for (int i = 0; i < 100; ++i) {
    REQUIRE(w.call(w.neighbour, AF_INET, addr("10.77.0.1:8080")) == 0);
    REQUIRE(w.call(w.pod.netns, AF_INET, addr("192.0.2.1:80")) == 0);
    auto drain = [](const Fd& fd, int& n) {
      if (!nothing_to_accept(fd.get())) accept_one(fd.get()), ++n;
    };
    drain(w.pod.in4, in_first);
    drain(second_in, in_second);
    drain(w.pod.out4, out_first);
    drain(second_out, out_second);
  }
  CHECK(in_first + in_second == 100);
  CHECK(out_first + out_second == 100);
  CHECK(in_first > 10);  // a fair coin: below that once in 10^17 runs
  CHECK(in_second > 10);
  CHECK(out_first > 10);
  CHECK(out_second > 10);
}

TEST_CASE("inbound: connections that exist already and netns that are not enrolled are left in peace") {
  if (!can_run()) return;
  Wired w;
  Fd listener;
  Host::in(w.neighbour, [&] { listener = listen_on("0.0.0.0", 7000); });
  REQUIRE(w.redirector->release("pod").ok());
  Fd app;
  Host::in(w.pod.netns, [&] { app = listen_on("0.0.0.0", 8080); });
  Host::in(w.neighbour, [&] {
    Fd fd = socket_for(AF_INET);
    REQUIRE(connect_errno(fd.get(), addr("10.77.0.1:8080")) == 0);
    Fd server = accept_one(app.get());
    auto again = w.redirector->enrol(spec_for("pod", w.pod.netns));
    REQUIRE(again.ok());
    REQUIRE(::send(fd.get(), "hello", 5, 0) == 5);
    char buf[8];
    CHECK(::recv(server.get(), buf, sizeof(buf), 0) == 5);
    Fd later = socket_for(AF_INET);
    CHECK(connect_errno(later.get(), addr("10.77.0.1:8080")) == ECONNREFUSED);  // enrolled, closed, no proxy
  });
}

TEST_CASE("one dual-stack socket may serve both families, in both directions") {
  if (!can_run()) return;
  Wired w;
  w.pod.close_all();
  Host::in(w.pod.netns, [&] {
    w.pod.out6 = listen_on("::", 15001, false, false);
    w.pod.in6 = listen_on("::", 15006, false, false);
  });
  REQUIRE(w.redirector
              ->set_listeners(w.pod.workload.netns_cookie, {.outbound_v4 = w.pod.out6.get(),
                                                            .outbound_v6 = w.pod.out6.get(),
                                                            .inbound_v4 = w.pod.in6.get(),
                                                            .inbound_v6 = w.pod.in6.get()})
              .ok());
  for (const char* to : {"10.77.0.1:80", "[fd77::1]:80"})
    CHECK(w.call(w.neighbour, addr(to).family(), addr(to), [&](int) {
      CHECK(local_of(accept_one(w.pod.in6.get()).get()).unmapped() == addr(to));
    }) == 0);
  for (const char* to : {"192.0.2.1:80", "[2001:db8::1]:80"})
    CHECK(w.call(w.pod.netns, addr(to).family(), addr(to), [&](int) {
      Fd proxy = accept_one(w.pod.out6.get());
      auto original = w.redirector->original_destination(proxy.get());
      REQUIRE(original.ok());
      CHECK(original->address == addr(to));
    }) == 0);
}

TEST_CASE(
    "a namespace with another version's program gets its own when sluiced starts; the others keep what they "
    "have") {
  if (!can_run()) return;
  Wired w;
  REQUIRE(w.redirector->enrol(spec_for("other", w.host.make_netns("other"))).ok());
  redirect::PinPaths paths(w.host.options().bpffs_root);
  auto program = [&](const std::string& cookie) {
    return redirect::open_link(paths.inbound + "/" + cookie)->prog_id;
  };
  const std::string pod = std::to_string(w.pod.workload.netns_cookie);
  const auto all = redirect::list_dir(paths.inbound);
  REQUIRE(all.size() == 2);
  const std::string other = all[all[0] == pod ? 1 : 0];
  const uint32_t kept = program(other);

  const bpf_insn pass[] = {
      {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = SK_PASS},
      {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  bpf_prog_load_opts options{};
  options.sz = sizeof(options);
  options.expected_attach_type = BPF_SK_LOOKUP;
  Fd foreign(::bpf_prog_load(BPF_PROG_TYPE_SK_LOOKUP, "older", "GPL", pass, std::size(pass), &options));
  REQUIRE(foreign.valid());
  REQUIRE(::bpf_link_update(redirect::open_link(paths.inbound + "/" + pod)->fd.get(), foreign.get(),
                            nullptr) == 0);
  CHECK(w.call(w.neighbour, AF_INET, addr("10.77.0.1:8080")) ==
        ECONNREFUSED);  // nobody takes it, nobody listens

  REQUIRE(redirect::Redirector::attach(w.host.options()).ok());
  CHECK(program(other) == kept);
  CHECK(program(pod) != kept);
  CHECK(w.call(w.neighbour, AF_INET, addr("10.77.0.1:8080"), [&](int) {
    CHECK(local_of(accept_one(w.pod.in4.get()).get()) == addr("10.77.0.1:8080"));
  }) == 0);
}
