#pragma once

#include <functional>
#include <memory>

#include "redirect/types.h"

namespace sluice::redirect {

// The BPF side of this node: loads it, adopts it, enrols workloads, reads it. Everything it does is held by pins and
// state files, so that interception and enrolments outlive the process; a Redirector is only a handle on them.
//
// Threads: `original_destination` from any thread at any time; everything else from one thread (control). Two
// processes are kept apart by a lock file for the length of each change.
class Redirector {
 public:
  // Loads, attaches and pins; or adopts what is pinned under the same ABI version, replacing the programs in their
  // links if this build's differ. Refuses, changing nothing, when another ABI version or another cgroup is in force.
  // Needs CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and, where bpffs has to be mounted, CAP_SYS_ADMIN.
  static Result<std::unique_ptr<Redirector>> attach(const Options& options);
  // Existing pins only. Error code ENOENT: nothing is installed.
  static Result<std::unique_ptr<Redirector>> open(const Options& options);
  ~Redirector();

  // Sockets with `Options::proxy_mark` or `transparent_mark`, made by tasks in this cgroup, are the proxy's and never redirected.
  // Refused when that cgroup is not below the one the hooks are attached to: accepted sockets would not be seen.
  Status set_proxy_identity(uint64_t cgroup_id);

  // Puts a netns under interception, or changes its rules (same name, same netns). Until set_listeners() its new
  // connections get the fail mode. Undone completely on error.
  Result<Workload> enrol(const WorkloadSpec& spec);
  // Sockets that listen in the workload's netns. They leave by themselves when closed, and all of them count as closed
  // when this Redirector, or its process, ends: the last to call this is the proxy whose life decides.
  Status set_listeners(uint64_t netns_cookie, const Listeners& listeners);
  // Brings the return path of an enrolled workload to what Options::return_path says: made (again), or removed. For who
  // adopts pins. ENOENT: no such workload, or its state file is gone.
  Status renew_return_path(uint64_t netns_cookie);
  // Options::return_path from now on, and made for every workload that is enrolled: a listener with original_src has come
  // while the process runs.
  Status enable_return_path();
  // By name, or by netns cookie in decimal. Connections already redirected keep their record. ENOENT: no such workload.
  Status release(const std::string& name);
  // Releases workloads whose netns nobody uses any more (only our handle keeps it); returns their names. A workload that
  // was enrolled by /proc/PID/ns/net needs the host's /proc for this: its namespace counts as used while any process
  // that is seen there lives in it.
  std::vector<std::string> prune();

  Result<std::vector<Workload>> workloads() const;
  Result<std::vector<Redirect>> redirects() const;
  std::vector<Counter> counters() const;
  uint64_t bridge_entries() const;  // handshakes under way, as the gauge says

  // The record of an accepted connection: one bpf() call. Error code ENOENT: it was not redirected (somebody called the
  // outbound port by its number, or it came in through sk_lookup, where the local address is the destination).
  Result<OriginalDestination> original_destination(int accepted_fd) const;

  // Decisions as they happen. Turns them on in the kernel for as long as it runs; returns when `stop()` says so.
  struct Event {
    Redirect redirect;
    const char* decision = "";
  };
  Status watch(const std::function<void(const Event&)>& on_event, const std::function<bool()>& stop);

  // Asked of the kernel at each call: other programs come and go, and it tells nobody.
  Result<HookStatus> hooks() const;
  const Options& options() const;

 private:
  struct Impl;
  explicit Redirector(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Removes links, programs, maps, pins, bind mounts and state, and enumerates what the kernel still has.
Result<UninstallReport> uninstall(const Options& options);

// What this host offers and lacks. Never fails: a check that cannot run says so.
std::vector<CheckItem> check_host(const Options& options);

// The v2 cgroup of the calling process, for set_proxy_identity().
Result<uint64_t> own_cgroup_id();
// The cookie of a netns, as BPF sees it.
Result<uint64_t> netns_cookie_of(const std::string& netns_path);

}  // namespace sluice::redirect
