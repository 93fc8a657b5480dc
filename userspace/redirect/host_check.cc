#include <bpf/bpf.h>
#include <linux/io_uring.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <string>

#include "io/kernel_tls.h"
#include "redirect/host.h"
#include "redirect/netns.h"
#include "redirect/pins.h"
#include "redirect/programs.h"
#include "redirect/redirector.h"
#include "redirect/return_path.h"

namespace sluice::redirect {
namespace {

using Outcome = CheckItem::Outcome;

CheckItem good(std::string name, std::string found) {
  return {.outcome = Outcome::ok, .name = std::move(name), .found = std::move(found), .remedy = ""};
}
CheckItem bad(std::string name, std::string found, std::string remedy) {
  return {Outcome::missing, std::move(name), std::move(found), std::move(remedy)};
}
CheckItem warn(std::string name, std::string found, std::string remedy) {
  return {Outcome::warning, std::move(name), std::move(found), std::move(remedy)};
}

// bpf_set_retval in cgroup hooks came with 5.18; 6.1 is the oldest long-term kernel after it.
constexpr int kMajorMin = 6, kMinorMin = 1;

CheckItem check_kernel() {
  utsname u{};
  ::uname(&u);
  int major = 0, minor = 0;
  std::sscanf(u.release, "%d.%d", &major, &minor);
  if (major > kMajorMin || (major == kMajorMin && minor >= kMinorMin)) return good("kernel", u.release);
  return bad("kernel", u.release, "Linux 6.1 or newer is needed");
}

CheckItem check_btf() {
  if (::access("/sys/kernel/btf/vmlinux", R_OK) == 0) return good("kernel BTF", "/sys/kernel/btf/vmlinux");
  return bad("kernel BTF", "/sys/kernel/btf/vmlinux is missing",
             "use a kernel with CONFIG_DEBUG_INFO_BTF=y (every current distribution's), or mount sysfs");
}

CheckItem check_capabilities() {
  struct Cap {
    int bit;
    const char* name;
  };
  static constexpr Cap kNeeded[] = {
      {12, "CAP_NET_ADMIN"}, {21, "CAP_SYS_ADMIN"}, {38, "CAP_PERFMON"}, {39, "CAP_BPF"}};
  uint64_t have = 0;
  if (auto text = read_file("/proc/self/status"); text.ok()) {
    size_t at = text->find("CapEff:");
    if (at != std::string::npos) have = std::strtoull(text->c_str() + at + 7, nullptr, 16);
  }
  std::string present, missing;
  for (const Cap& c : kNeeded) {
    std::string& list = have >> c.bit & 1 ? present : missing;
    list += (list.empty() ? "" : " ") + std::string(c.name);
  }
  if (missing.empty()) return good("capabilities", present);
  return bad("capabilities", "missing " + missing,
             "run as root, or in a pod add them to securityContext.capabilities");
}

CheckItem check_user_namespace() {
  auto map = read_file("/proc/self/uid_map");
  unsigned long inside = 0, outside = 0, length = 0;
  if (!map.ok() || std::sscanf(map->c_str(), "%lu %lu %lu", &inside, &outside, &length) != 3)
    return warn("user namespace", "unknown (/proc/self/uid_map cannot be read)", "mount /proc");
  if (inside == 0 && outside == 0 && length == 4294967295UL) return good("user namespace", "the initial one");
  return bad("user namespace", "not the initial one: the kernel allows no BPF here",
             "run outside the user namespace (in a pod: hostUsers: true)");
}

CheckItem check_cgroup(const Options& options, std::string& path) {
  path = options.cgroup_path;
  if (path.empty()) {
    auto found = find_cgroup2();
    if (!found.ok()) return bad("cgroup v2", "not mounted", "mount -t cgroup2 none /sys/fs/cgroup/unified");
    path = *found;
  }
  auto id = cgroup_id_of(path);
  if (!id.ok())
    return bad("cgroup v2", id.error().message, "give the path of a cgroup v2 directory with --cgroup");
  std::string found = path + " (id " + std::to_string(*id) + ")";
  if (options.cgroup_path.empty() && *id != 1)
    return warn("cgroup v2", found + ": not the hierarchy's root, this is a container",
                "pods outside this cgroup are not seen; mount the host's cgroup2 to reach them");
  return good("cgroup v2", found);
}

CheckItem check_bpffs(const Options& options) {
  std::string path = options.bpffs_root;
  struct stat st{};
  while (path != "/" && ::stat(path.c_str(), &st) != 0) {
    size_t slash = path.find_last_of('/');
    path = slash == 0 || slash == std::string::npos ? "/" : path.substr(0, slash);
  }
  if (on_bpffs(path)) return good("bpffs", path);
  return warn("bpffs", "not mounted for " + options.bpffs_root,
              "sluiced mounts it when it may; by hand: mount -t bpf bpf /sys/fs/bpf");
}

CheckItem check_jit() {
  auto text = read_file("/proc/sys/net/core/bpf_jit_enable");
  if (text.ok() && !text->empty() && (*text)[0] == '0')
    return warn("BPF JIT", "off", "sysctl net.core.bpf_jit_enable=1");
  return good("BPF JIT", text.ok() ? "on" : "built in");
}

CheckItem check_memlock() {
  // Since 5.11 BPF memory is charged to the cgroup; the limit matters no more, and failing to raise it is no error.
  rlimit r{};
  ::getrlimit(RLIMIT_MEMLOCK, &r);
  return good("RLIMIT_MEMLOCK", r.rlim_cur == RLIM_INFINITY ? "unlimited"
                                                            : std::to_string(r.rlim_cur / 1024) +
                                                                  " KB (not used for BPF by this kernel)");
}

CheckItem check_programs(const Options& options) {
  Status loaded = probe_load(options);
  if (loaded.ok()) return good("BPF programs", "accepted by this kernel's verifier");
  return bad("BPF programs", loaded.error().message,
             "see the verifier's words above; report them with `uname -r`");
}

CheckItem check_order(const Options& options, const std::string& cgroup, bool is_installed) {
  auto order = hook_status(PinPaths(options.bpffs_root), options, cgroup);
  if (!order.ok()) return warn("order of hooks", order.error().message, "run as root to see it");
  if (!is_installed) {
    if (order->text == "not attached")
      return good("order of hooks", "no other program on connect4 of " + cgroup);
    return good("order of hooks", order->text + "; ours will ask to run first (linux 6.15 or newer)");
  }
  if (order->first) return good("order of hooks", order->text);
  return warn(
      "order of hooks", order->text,
      "a load balancer before us rewrites service addresses first; restart sluiced to attach again in front "
      "(linux 6.15 or newer), or attach to a child cgroup with --cgroup");
}

CheckItem check_io_uring() {
  io_uring_params params{};
  long fd = ::syscall(__NR_io_uring_setup, 4, &params);
  if (fd >= 0) {
    ::close(static_cast<int>(fd));
    return good("io_uring", "available");
  }
  return warn("io_uring", std::string("refused: ") + std::strerror(errno),
              "the epoll backend is used instead; to allow it: sysctl kernel.io_uring_disabled=0 and a "
              "seccomp profile "
              "that permits io_uring_setup");
}

// Nothing depends on it: sluiced encrypts for itself wherever it runs. Said, so that nobody has to look it up.
CheckItem check_ktls() {
  const std::string devices = io::tls_offload_devices();
  const std::string cards = devices.empty() ? "no network device encrypts" : devices + " can encrypt";
  // Not probed where that would load the module.
  if (!io::kernel_tls_loaded())
    return good("kTLS", "the kernel has none, or its module 'tls' is not loaded; " + cards +
                            "; sluiced does without");
  const io::KernelTlsSupport kernel = io::probe_kernel_tls();
  if (!kernel.available)
    return good("kTLS", "the kernel has it and refuses it (" + kernel.why + "); sluiced does without");
  const bool used = kernel.renews && !devices.empty();
  return good("kTLS", std::string("the kernel has it and ") +
                          (kernel.renews ? "can renew keys; " : "cannot renew keys (Linux 6.14 can); ") +
                          cards +
                          (used ? "; sluiced --ktls=auto tries it on connections that leave there"
                                : "; sluiced --ktls=auto does without"));
}

CheckItem check_original_src(const Options& options) {
  Status made = probe_return_path(options.transparent_mark);
  if (made.ok())
    return good("original_src", "rules, routes and net.ipv4.tcp_fwmark_accept can be set in a pod");
  return warn(
      "original_src", made.error().message,
      "the original_src listener filter cannot keep callers' addresses here; without that filter nothing is "
      "needed. It takes CAP_NET_ADMIN, a writable /proc/sys and CONFIG_IP_MULTIPLE_TABLES");
}

CheckItem check_installed(const Options& options, std::vector<CheckItem>& more) {
  PinPaths paths(options.bpffs_root);
  auto r = Redirector::open(options);
  if (!r.ok()) {
    if (r.error().code == ENOENT)
      return good("interception", "not installed (sluiced installs it when it starts)");
    return warn("interception", r.error().message, "sluicectl uninstall");
  }
  auto workloads = (*r)->workloads();
  size_t n = workloads.ok() ? workloads->size() : 0;
  for (const Workload& w : workloads.ok() ? *workloads : std::vector<Workload>{}) {
    std::string who = w.spec.name.empty() ? "netns " + std::to_string(w.netns_cookie) : w.spec.name;
    bool serving = (!w.spec.outbound || w.listening_outbound_v4 || w.listening_outbound_v6) &&
                   (!w.spec.inbound || w.listening_inbound_v4 || w.listening_inbound_v6);
    if (!serving)
      more.push_back(
          warn("workload " + who,
               std::string("no proxy listens: fail mode ") + to_string(w.spec.fail_mode) + " is in force",
               "start sluiced, or `sluicectl release " + who + "`"));
    if (w.return_path) {
      auto netns = open_netns(w.netns_handle);
      Status whole = netns.ok() ? check_return_path(netns->get()) : Status(std::move(netns).error());
      if (!whole.ok())
        more.push_back(warn("workload " + who,
                            "original_src: the way back for answers lacks: " + whole.error().message,
                            "restart sluiced: it makes it again"));
    }
    if (w.spec.inbound && !w.inbound_attached)
      more.push_back(warn("workload " + who, "the inbound program is not attached", "enrol it again"));
  }
  std::string found = "installed under " + paths.dir + ", " + std::to_string(n) + " workloads";
  auto hooks = (*r)->hooks();
  if (!hooks.ok()) return warn("interception", found + "; " + hooks.error().message, "run as root");
  if (hooks->attached == hooks->wanted) return good("interception", found);
  return warn("interception", found + "; " + hooks->text, "restart sluiced: it attaches them again");
}

}  // namespace

const char* to_string(CheckItem::Outcome outcome) {
  switch (outcome) {
    case Outcome::ok:
      return "ok";
    case Outcome::warning:
      return "warning";
    case Outcome::missing:
      return "missing";
  }
  return "?";
}

std::vector<CheckItem> check_host(const Options& options) {
  std::vector<CheckItem> items, workloads;
  std::string cgroup;
  items.push_back(check_kernel());
  items.push_back(check_btf());
  items.push_back(check_user_namespace());
  items.push_back(check_capabilities());
  items.push_back(check_cgroup(options, cgroup));
  items.push_back(check_bpffs(options));
  items.push_back(check_jit());
  items.push_back(check_memlock());
  items.push_back(check_programs(options));
  items.push_back(check_io_uring());
  items.push_back(check_ktls());
  items.push_back(check_original_src(options));
  items.push_back(check_installed(options, workloads));
  PinPaths paths(options.bpffs_root);
  if (options.cgroup_path.empty() && installed(paths)) cgroup = attached_cgroup(paths);
  if (!cgroup.empty()) items.push_back(check_order(options, cgroup, installed(paths)));
  items.insert(items.end(), workloads.begin(), workloads.end());
  return items;
}

}  // namespace sluice::redirect
