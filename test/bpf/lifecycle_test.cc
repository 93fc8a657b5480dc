#include <bpf/bpf.h>
#include <doctest/doctest.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "fixture.h"
#include "redirect/host.h"
#include "redirect/netns.h"
#include "redirect/pins.h"
#include "redirect/programs.h"
#include "sluice/abi/redirect.h"

using namespace sluice;
using namespace sluice::test;
using redirect::Redirector;

namespace {

// A link in front of all others on the hook; invalid, with EINVAL in errno, where the kernel knows only the order of attachment.
Fd attach_in_front(int program, int cgroup, bpf_attach_type type) {
  bpf_link_create_opts opts{};
  opts.sz = sizeof(opts);
  opts.flags = 1u << 6 | 1u << 3;  // BPF_F_PREORDER, BPF_F_BEFORE: newer than Debian 12's headers
  return Fd(::bpf_link_create(program, cgroup, type, &opts));
}

}  // namespace

TEST_CASE("pins outlive the process: interception stays, and the next one adopts it") {
  if (!can_run()) return;
  Host host;
  std::string netns = host.make_netns("pod");
  pid_t first = ::fork();
  if (first == 0) {  // attaches, enrols and dies without a word
    auto r = Redirector::attach(host.options());
    bool ok =
        r.ok() && (*r)->set_proxy_identity(host.cgroup_id()).ok() && (*r)->enrol(spec_for("pod", netns)).ok();
    ::_exit(ok ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(first, &status, 0) == first);
  REQUIRE(status == 0);
  auto refused = [&] {
    int err = 0;
    Host::in(netns, [&] { err = connect_errno(socket_for(AF_INET).get(), addr("192.0.2.1:80")); });
    return err == ECONNREFUSED;
  };
  CHECK(refused());  // nobody runs: the kernel refuses

  auto r = Redirector::attach(host.options());
  REQUIRE_MESSAGE(r.ok(), (r.ok() ? "" : r.error().message));
  auto workloads = (*r)->workloads();
  REQUIRE(workloads.ok());
  REQUIRE(workloads->size() == 1);
  Pod pod{.netns = workloads->at(0).netns_handle,
          .workload = workloads->at(0),
          .out4 = {},
          .out6 = {},
          .in4 = {},
          .in6 = {},
          .more = {}};
  CHECK(pod.workload.spec.name == "pod");
  CHECK(pod.workload.inbound_attached);
  start_proxy(**r, pod);
  Host::in(pod.netns, [&] {
    Fd app = socket_for(AF_INET);
    CHECK(connect_errno(app.get(), addr("192.0.2.1:80")) == 0);
    CHECK((*r)->original_destination(accept_one(pod.out4.get()).get()).ok());
  });
  // And a reader that changes nothing.
  auto reader = Redirector::open(host.options());
  REQUIRE(reader.ok());
  CHECK((*reader)->workloads()->size() == 1);
}

TEST_CASE("another ABI version, or another cgroup, is refused and nothing is changed") {
  if (!can_run()) return;
  Host host;
  redirect::PinPaths paths(host.options().bpffs_root);
  std::string child = host.make_child_cgroup("child");
  {
    auto r = Redirector::attach(host.options());
    REQUIRE(r.ok());
  }
  auto ids = [&] {
    std::vector<uint32_t> out;
    for (const auto& hook : redirect::kHooks) out.push_back(redirect::open_link(paths.link(hook))->prog_id);
    return out;
  };
  auto before = ids();
  auto other = host.options();
  other.cgroup_path = child;
  auto elsewhere = Redirector::attach(other);
  REQUIRE(!elsewhere.ok());
  CHECK(elsewhere.error().message.find("another cgroup") != std::string::npos);

  // A config that says another version.
  auto maps = redirect::open_pinned_maps(paths);
  REQUIRE(maps.ok());
  sluice_config config{};
  uint32_t zero = 0;
  REQUIRE(::bpf_map_lookup_elem((*maps)[redirect::MapId::config], &zero, &config) == 0);
  config.abi_version = SLUICE_ABI_VERSION + 1;
  REQUIRE(::bpf_map_update_elem((*maps)[redirect::MapId::config], &zero, &config, 0) == 0);
  auto newer = Redirector::attach(host.options());
  REQUIRE(!newer.ok());
  CHECK(newer.error().message.find("ABI version " + std::to_string(SLUICE_ABI_VERSION + 1)) !=
        std::string::npos);
  config.abi_version = SLUICE_ABI_VERSION;
  REQUIRE(::bpf_map_update_elem((*maps)[redirect::MapId::config], &zero, &config, 0) == 0);

  // A tree of another version beside ours.
  REQUIRE(::mkdir((paths.root + "/v99").c_str(), 0700) == 0);
  CHECK(!Redirector::attach(host.options()).ok());
  CHECK(!Redirector::open(host.options()).ok());
  REQUIRE(::rmdir((paths.root + "/v99").c_str()) == 0);

  CHECK(ids() == before);
  CHECK(Redirector::attach(host.options()).ok());
  CHECK(ids() == before);  // the same build: nothing to replace
}

TEST_CASE(
    "ours runs before other programs on the same cgroup, also before those that came earlier or sit below") {
  if (!can_run()) return;
  Host host;
  // "return 1", as another load balancer's connect4 would at its simplest.
  bpf_insn insns[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 1},
                      {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  bpf_prog_load_opts load{};
  load.sz = sizeof(load);
  load.expected_attach_type = BPF_CGROUP_INET4_CONNECT;
  Fd other(::bpf_prog_load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "other_lb", "GPL", insns, 2, &load));
  REQUIRE(other.valid());
  std::string child = host.make_child_cgroup("child");
  Fd cgroup(::open(host.cgroup().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  Fd below(::open(child.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  Fd earlier(::bpf_link_create(other.get(), cgroup.get(), BPF_CGROUP_INET4_CONNECT, nullptr));
  Fd lower(::bpf_link_create(other.get(), below.get(), BPF_CGROUP_INET4_CONNECT, nullptr));
  REQUIRE(earlier.valid());
  REQUIRE(lower.valid());
  auto r = Redirector::attach(host.options());
  REQUIRE_MESSAGE(r.ok(), (r.ok() ? "" : r.error().message));
  redirect::PinPaths paths(host.options().bpffs_root);
  auto of = [&](const std::string& path) { return *redirect::hook_status(paths, host.options(), path); };
  if (attach_in_front(other.get(), below.get(), BPF_CGROUP_INET4_CONNECT).valid()) {
    CHECK(of(host.cgroup()).text == "1 of 2 on connect4 (in running order: sluice_connect4, other_lb)");
    CHECK(of(host.cgroup()).first);
    CHECK(of(child).text == "1 of 3 on connect4 (in running order: sluice_connect4, other_lb, other_lb)");
    CHECK((*r)->hooks()->good());
  } else {
    MESSAGE("this kernel runs programs in the order in which they were attached: ours says so");
    CHECK(of(host.cgroup()).text == "2 of 2 on connect4 (in running order: other_lb, sluice_connect4)");
    CHECK(!of(host.cgroup()).first);
    CHECK(of(child).text == "3 of 3 on connect4 (in running order: other_lb, other_lb, sluice_connect4)");
    CHECK(!(*r)->hooks()->good());
  }
}

TEST_CASE("a program that is attached in front of ours later is seen, and so is a hook that is lost") {
  if (!can_run()) return;
  Host host;
  auto r = Redirector::attach(host.options());
  REQUIRE_MESSAGE(r.ok(), (r.ok() ? "" : r.error().message));
  CHECK((*r)->hooks()->good());
  Fd cgroup(::open(host.cgroup().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  for (auto [type, name] :
       {std::pair{BPF_CGROUP_INET4_CONNECT, "connect4"}, {BPF_CGROUP_INET6_CONNECT, "connect6"}}) {
    INFO(std::string(name));
    bpf_insn insns[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 1},
                        {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
    bpf_prog_load_opts load{};
    load.sz = sizeof(load);
    load.expected_attach_type = type;
    Fd other(::bpf_prog_load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "other_lb", "GPL", insns, 2, &load));
    REQUIRE(other.valid());
    Fd link = attach_in_front(other.get(), cgroup.get(), type);
    if (!link.valid()) {
      REQUIRE(errno == EINVAL);
      MESSAGE("this kernel cannot put a program in front of others");
      continue;
    }
    auto now = *(*r)->hooks();
    CHECK(!now.first);
    CHECK(now.attached == now.wanted);
    CHECK(now.text ==
          std::string("2 of 2 on ") + name + " (in running order: other_lb, sluice_" + name + ")");
    // The next sluiced goes in front again.
    auto next = Redirector::attach(host.options());
    REQUIRE_MESSAGE(next.ok(), (next.ok() ? "" : next.error().message));
    CHECK(eventually([&] { return (*next)->hooks()->good(); }));
    CHECK(redirect::list_dir(redirect::PinPaths(host.options().bpffs_root).links).size() ==
          redirect::kHookCount);
  }
  redirect::PinPaths paths(host.options().bpffs_root);
  REQUIRE(::unlink(paths.link(redirect::kHooks[2]).c_str()) == 0);
  auto now = *(*r)->hooks();
  CHECK(!now.good());
  CHECK(now.first);
  CHECK(now.text ==
        "1 of 1 on connect4 (in running order: sluice_connect4); not attached any more: sluice_sockops");
}

TEST_CASE("a proxy outside the cgroup of the hooks is refused") {
  if (!can_run()) return;
  Host host;
  auto o = host.options();
  o.cgroup_path = host.make_child_cgroup("pods");
  auto r = Redirector::attach(o);
  REQUIRE(r.ok());
  Status outside = (*r)->set_proxy_identity(host.cgroup_id());
  REQUIRE(!outside.ok());
  CHECK(outside.error().message.find("is not below") != std::string::npos);
  CHECK((*r)->set_proxy_identity(*redirect::cgroup_id_of(o.cgroup_path)).ok());
}

TEST_CASE("without the capabilities: what is missing is named, by attach and by the host check") {
  if (!can_run()) return;
  Host host;
  REQUIRE(Redirector::attach(host.options()).ok());  // mounts bpffs
  redirect::remove_tree(redirect::PinPaths(host.options().bpffs_root).dir);
  int words[2];
  REQUIRE(::pipe2(words, O_CLOEXEC) == 0);
  pid_t child = ::fork();
  if (child == 0) {  // root, but without CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN
    __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    __user_cap_data_struct data[2]{};
    ::syscall(SYS_capget, &header, data);
    data[0].effective &= ~(1u << CAP_SYS_ADMIN);
    data[1].effective &= ~(1u << (CAP_BPF - 32) | 1u << (CAP_PERFMON - 32));
    ::syscall(SYS_capset, &header, data);
    auto r = Redirector::attach(host.options());
    std::string text = r.ok() ? "attached\n" : r.error().message + "\n";
    for (const auto& item : redirect::check_host(host.options()))
      if (item.outcome == redirect::CheckItem::Outcome::missing) text += item.name + ": " + item.found + "\n";
    (void)!::write(words[1], text.data(), text.size());
    ::_exit(0);
  }
  ::close(words[1]);
  std::string text;
  char buf[4096];
  ssize_t n;
  while ((n = ::read(words[0], buf, sizeof(buf))) > 0) text.append(buf, static_cast<size_t>(n));
  ::close(words[0]);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  INFO(text);
  CHECK(text.find("loading the BPF programs: Operation not permitted") != std::string::npos);
  CHECK(text.find("CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are needed") != std::string::npos);
  CHECK(text.find("capabilities: missing CAP_SYS_ADMIN CAP_PERFMON CAP_BPF") != std::string::npos);
  CHECK(redirect::our_dirs(host.options().bpffs_root).empty());
}

TEST_CASE("a lost link is attached again on adoption") {
  if (!can_run()) return;
  World w;
  redirect::PinPaths paths(w.host.options().bpffs_root);
  REQUIRE(::unlink(paths.link(redirect::kHooks[0]).c_str()) == 0);
  Host::in(w.pod.netns, [&] {  // the kernel lets go of a link a moment after its last pin
    CHECK(eventually(
        [] { return connect_errno(socket_for(AF_INET).get(), addr("192.0.2.1:80")) == ENETUNREACH; }));
  });
  REQUIRE(Redirector::attach(w.host.options()).ok());
  Host::in(w.pod.netns, [&] { CHECK(connect_errno(socket_for(AF_INET).get(), addr("192.0.2.1:80")) == 0); });
}

TEST_CASE("state without pins: workloads that still exist are enrolled again, others are forgotten") {
  if (!can_run()) return;
  Host host;
  std::string here = host.make_netns("here"), gone = host.make_netns("gone");
  {
    auto r = Redirector::attach(host.options());
    REQUIRE(r.ok());
    REQUIRE((*r)->enrol(spec_for("here", here)).ok());
    REQUIRE((*r)->enrol(spec_for("gone", gone)).ok());
  }
  redirect::remove_tree(redirect::PinPaths(host.options().bpffs_root).dir);
  host.drop_netns("gone");
  auto r = Redirector::attach(host.options());
  REQUIRE(r.ok());
  auto workloads = (*r)->workloads();
  REQUIRE(workloads->size() == 1);
  CHECK(workloads->at(0).spec.name == "here");
}

TEST_CASE("enrolment refuses what cannot be right, and leaves no trace of it") {
  if (!can_run()) return;
  World w;
  Redirector& r = *w.redirector;
  auto refused = [&](const redirect::WorkloadSpec& spec, const char* part) {
    auto result = r.enrol(spec);
    REQUIRE(!result.ok());
    INFO(result.error().message);
    CHECK(result.error().message.find(part) != std::string::npos);
  };
  refused(spec_for("other", w.pod.netns), "enrolled already, as workload pod");
  refused(spec_for("pod", w.host.make_netns("second")), "enrolled with another network namespace");
  refused(spec_for("self", "/proc/self/ns/net"), "own network namespace");
  refused(spec_for("mnt", "/proc/self/ns/mnt"), "not a network namespace");
  refused(spec_for("nowhere", "/run/netns/does-not-exist-here"), "No such file");
  refused(spec_for("bad name", w.pod.netns), "name:");
  refused(spec_for("42", w.pod.netns), "name:");
  CHECK(r.workloads()->size() == 1);
  CHECK(redirect::list_dir(w.host.options().state_dir + "/workloads") ==
        std::vector<std::string>{"pod.json"});
  CHECK(redirect::list_dir(w.host.options().state_dir + "/netns") == std::vector<std::string>{"pod"});
}

TEST_CASE("listeners: only sockets that listen in that netns are accepted") {
  if (!can_run()) return;
  World w;
  std::string other = w.host.make_netns("other");
  Fd wrong;
  Host::in(other, [&] { wrong = listen_on("0.0.0.0", 15001); });
  CHECK(!w.redirector->set_listeners(w.pod.workload.netns_cookie, {.outbound_v4 = wrong.get()}).ok());
  Fd idle;
  Host::in(w.pod.netns, [&] { idle = socket_for(AF_INET); });
  CHECK(!w.redirector->set_listeners(w.pod.workload.netns_cookie, {.outbound_v4 = idle.get()}).ok());
  CHECK(w.redirector->workloads()->at(0).listening_outbound_v4);  // as before
}

TEST_CASE("release gives the pod back; its live connections keep their record") {
  if (!can_run()) return;
  World w;
  Redirector& r = *w.redirector;
  Host::in(w.pod.netns, [&] {
    Fd app = socket_for(AF_INET);
    REQUIRE(connect_errno(app.get(), addr("192.0.2.1:80")) == 0);
    Fd proxy = accept_one(w.pod.out4.get());
    REQUIRE(r.release("pod").ok());
    CHECK(peer_of(app.get()) == addr("192.0.2.1:80"));
    CHECK(r.original_destination(proxy.get()).ok());
    CHECK(connect_errno(socket_for(AF_INET).get(), addr("192.0.2.1:80")) == ENETUNREACH);
  });
  Status again = r.release("pod");
  REQUIRE(!again.ok());
  CHECK(again.error().code == ENOENT);
  CHECK(r.workloads()->empty());
  // By cookie, for a workload whose state file is lost.
  auto w2 = r.enrol(spec_for("pod", w.pod.netns));
  REQUIRE(w2.ok());
  redirect::unbind_netns(w.host.options().state_dir + "/netns/pod");
  REQUIRE(::unlink((w.host.options().state_dir + "/workloads/pod.json").c_str()) == 0);
  CHECK(r.workloads()->at(0).spec.name.empty());
  CHECK(r.release(std::to_string(w2->netns_cookie)).ok());
  CHECK(r.workloads()->empty());
}

TEST_CASE("a netns that nobody uses any more is noticed") {
  if (!can_run()) return;
  World w;
  std::string second = w.host.make_netns("second");
  REQUIRE(w.redirector->enrol(spec_for("second", second)).ok());
  CHECK(w.redirector->prune().empty());
  w.host.drop_netns("second");  // as a container runtime does when the pod ends
  CHECK(w.redirector->prune() == std::vector<std::string>{"second"});
  CHECK(w.redirector->workloads()->size() == 1);
  CHECK(w.redirector->prune().empty());
}

TEST_CASE("a pod of the same name that comes back takes the place of the one that is gone") {
  if (!can_run()) return;
  World w;
  std::string back = w.host.make_netns("back");
  w.host.drop_netns("pod");
  auto again = w.redirector->enrol(spec_for("pod", back));
  REQUIRE_MESSAGE(again.ok(), (again.ok() ? "" : again.error().message));
  CHECK(again->netns_cookie != w.pod.workload.netns_cookie);
  CHECK(w.redirector->workloads()->size() == 1);
}

TEST_CASE("redirects: what the kernel holds, both sides") {
  if (!can_run()) return;
  World w;
  Host::in(w.pod.netns, [&] {
    Fd app = socket_for(AF_INET), app6 = socket_for(AF_INET6);
    REQUIRE(connect_errno(app.get(), addr("192.0.2.1:80")) == 0);
    REQUIRE(connect_errno(app6.get(), mapped("192.0.2.2:81")) == 0);
    Fd proxy = accept_one(w.pod.out4.get()), proxy6 = accept_one(w.pod.out4.get());
    auto all = w.redirector->redirects();
    REQUIRE_MESSAGE(all.ok(), (all.ok() ? "" : all.error().message));
    REQUIRE(all->size() == 4);
    int matched = 0;
    for (const auto& r : *all) {
      CHECK(r.tcp_state == "ESTABLISHED");
      CHECK(r.original.netns_cookie == w.pod.workload.netns_cookie);
      if (r.side == redirect::Redirect::Side::client && r.local == local_of(app.get()))
        matched += r.remote == local_of(proxy.get()) && r.original.address == addr("192.0.2.1:80") &&
                   r.target == r.remote;
      if (r.side == redirect::Redirect::Side::accepted && r.local == local_of(proxy6.get()) &&
          r.original.v4_mapped)
        matched += r.remote == peer_of(proxy6.get()) && r.original.address == addr("192.0.2.2:81");
    }
    CHECK(matched == 2);
  });
}

TEST_CASE("events tell decisions as they happen, and only while somebody listens") {
  if (!can_run()) return;
  World w;
  std::vector<std::string> seen;
  bool stop = false;
  Host::in(w.pod.netns, [&] {
    Status s = w.redirector->watch(
        [&](const Redirector::Event& e) {
          seen.push_back(std::string(e.decision) + " " + e.redirect.original.address.to_string());
          stop = seen.size() == 2;
        },
        [&, called = false]() mutable {
          if (!called) {  // events are on now
            connect_errno(socket_for(AF_INET).get(), addr("192.0.2.1:80"));
            connect_errno(socket_for(AF_INET, w.redirector->options().proxy_mark).get(),
                          addr("192.0.2.2:80"));
          }
          called = true;
          return stop;
        });
    CHECK(s.ok());
  });
  CHECK(seen == std::vector<std::string>{"outbound.redirected.default 192.0.2.1:80",
                                         "outbound.passed.proxy 192.0.2.2:80"});
}

TEST_CASE("uninstall leaves nothing, and says what it cannot remove") {
  if (!can_run()) return;
  Host host;
  std::string netns = host.make_netns("pod");
  redirect::PinPaths paths(host.options().bpffs_root);
  auto r = Redirector::attach(host.options());
  REQUIRE(r.ok());
  REQUIRE((*r)->enrol(spec_for("pod", netns)).ok());

  auto held = redirect::uninstall(host.options());  // our own handle still holds the maps
  REQUIRE(held.ok());
  CHECK(held->left.size() == redirect::kMapCount);
  Host::in(netns,
           [&] { CHECK(connect_errno(socket_for(AF_INET).get(), addr("192.0.2.1:80")) == ENETUNREACH); });

  r = Redirector::attach(host.options());
  REQUIRE(r.ok());
  REQUIRE((*r)->enrol(spec_for("pod", netns)).ok());
  r = Error{"let go"};
  auto report = redirect::uninstall(host.options());
  REQUIRE(report.ok());
  CHECK(report->left.empty());
  CHECK(report->removed.size() > redirect::kHookCount + redirect::kMapCount);
  struct stat st{};
  CHECK(::stat(host.options().bpffs_root.c_str(), &st) != 0);
  CHECK(::stat(host.options().state_dir.c_str(), &st) != 0);
  auto nothing = redirect::uninstall(host.options());
  REQUIRE(nothing.ok());
  CHECK(nothing->removed.empty());
}
