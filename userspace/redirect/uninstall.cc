#include <bpf/bpf.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <thread>

#include "redirect/host.h"
#include "redirect/netns.h"
#include "redirect/pins.h"
#include "redirect/programs.h"
#include "redirect/redirector.h"
#include "redirect/return_path.h"
#include "redirect/state.h"

namespace sluice::redirect {
namespace {

// The kernel frees a program after the last CPU has left it; a process that still holds a map keeps it.
constexpr auto kFreeDeadline = std::chrono::seconds(3);

bool present(const std::string& path) {
  struct stat st{};
  return ::lstat(path.c_str(), &st) == 0;
}

// Pins of any ABI version: whoever uninstalls wants them gone, and a version we do not know has the same shape of tree.
void remove_pins(const std::string& root, UninstallReport& report) {
  for (const auto& name : our_dirs(root)) {
    remove_tree(root + "/" + name);
    report.removed.push_back("pins " + root + "/" + name);
  }
}

// What original_src needed in the pods; the only thing of ours that the kernel would keep.
void remove_return_paths(const StateDir& state, UninstallReport& report) {
  for (const WorkloadState& s : state.load()) {
    std::string what = "return path of workload " + s.spec.name;
    auto netns = open_netns_of(s);
    if (!netns.ok()) {  // a pod that is gone took its rules with it
      if (s.fwmark_accept_before && netns.error().code != ENOENT)
        report.left.push_back(what + ": " + netns.error().message);
      continue;
    }
    if (!s.fwmark_accept_before && check_no_return_path(netns->get()).ok()) continue;
    Status gone = remove_return_path(netns->get(), s.fwmark_accept_before.value_or(-1));
    if (gone.ok()) gone = check_no_return_path(netns->get());
    if (gone.ok())
      report.removed.push_back(what + " (rules, routes, net.ipv4.tcp_fwmark_accept)");
    else
      report.left.push_back(what + ": " + gone.error().message);
  }
}

}  // namespace

Result<UninstallReport> uninstall(const Options& options) {
  UninstallReport report;
  PinPaths paths(options.bpffs_root);
  StateDir state(options.state_dir);
  bool anything = present(options.bpffs_root) || present(options.state_dir);
  if (!anything) return report;
  SLUICE_ASSIGN(Fd lock, lock_dir(options.state_dir));

  std::vector<KernelObject> objects;
  for (const auto& version : our_dirs(options.bpffs_root)) {
    auto some = pinned_objects(PinPaths(options.bpffs_root, version));
    objects.insert(objects.end(), some.begin(), some.end());
  }
  // A sluiced that still runs keeps its handles on the maps; with no workload in them it closes its listeners.
  if (auto maps = open_pinned_maps(paths); maps.ok()) {
    uint64_t cookie = 0;
    while (::bpf_map_get_next_key((*maps)[MapId::workloads], nullptr, &cookie) == 0 &&
           ::bpf_map_delete_elem((*maps)[MapId::workloads], &cookie) == 0) {
    }
  }
  // Links first, so that nothing is intercepted from here on; then the maps they used.
  for (const auto& version : our_dirs(options.bpffs_root)) {
    PinPaths one(options.bpffs_root, version);
    for (const auto& dir : {one.links, one.inbound})
      for (const auto& name : list_dir(dir)) ::unlink((dir + "/" + name).c_str());
  }
  remove_pins(options.bpffs_root, report);
  remove_return_paths(state, report);
  for (const auto& name : list_dir(options.state_dir + "/netns")) {
    unbind_netns(options.state_dir + "/netns/" + name);
    report.removed.push_back("netns handle " + name);
  }
  for (const auto& name : list_dir(options.state_dir + "/workloads"))
    report.removed.push_back("state of workload " + name.substr(0, name.rfind(".json")));

  std::string mounted;
  if (auto text = read_file(options.state_dir + "/bpffs-mounted"); text.ok())
    mounted = text->substr(0, text->find('\n'));
  if (mounted != options.bpffs_root) ::rmdir(options.bpffs_root.c_str());
  if (!mounted.empty()) {
    // Ours only as long as nobody else has pinned anything there (the kernel's own *.debug files apart).
    bool others = false;
    for (const auto& name : list_dir(mounted)) others |= !name.ends_with(".debug");
    if (!others && ::umount(mounted.c_str()) == 0) {
      report.removed.push_back("bpffs mount " + mounted);
      if (mounted == options.bpffs_root) ::rmdir(options.bpffs_root.c_str());
    }
  }
  // Only what is ours in the state directory: sluiced may keep its sockets and logs there.
  remove_tree(options.state_dir + "/netns");
  remove_tree(options.state_dir + "/workloads");
  ::unlink((options.state_dir + "/bpffs-mounted").c_str());
  ::unlink((options.state_dir + "/lock").c_str());
  ::rmdir(options.state_dir.c_str());

  // The proof.
  // check-allow: the kernel frees programs after a grace period; sluicectl has no loop
  auto deadline = std::chrono::steady_clock::now() + kFreeDeadline;
  for (const KernelObject& object : objects) {
    bool there = exists(object);
    // check-allow: the kernel frees programs after a grace period; sluicectl has no loop
    while (there && std::chrono::steady_clock::now() < deadline) {
      // check-allow: as above: polled with a deadline
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      there = exists(object);
    }
    if (there)
      report.left.push_back(describe(object) + ": still held by a process; stop sluiced and it goes");
    else
      report.removed.push_back(describe(object));
  }
  if (!our_dirs(options.bpffs_root).empty()) report.left.push_back("pins under " + options.bpffs_root);
  for (const char* sub : {"/netns", "/workloads"})
    if (present(options.state_dir + sub)) report.left.push_back(options.state_dir + sub);
  return report;
}

}  // namespace sluice::redirect
