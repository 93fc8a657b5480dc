#pragma once

#include <bpf/bpf.h>

#include <cerrno>
#include <map>
#include <optional>
#include <string>

#include "core/fd.h"
#include "redirect/pins.h"
#include "redirect/redirector.h"
#include "redirect/state.h"
#include "sluice/abi/redirect.h"

namespace sluice::redirect {

// Inside the library only: what redirector.cc (attach, listeners, reading) and enrolment.cc share.
struct Redirector::Impl {
  Options options;
  PinPaths paths;
  StateDir state;
  Maps maps;
  std::string cgroup_path;
  Fd alive, alive_peer;  // the first is in sl_listeners; they close with this process

  explicit Impl(const Options& o) : options(o), paths(o.bpffs_root), state(o.state_dir) {}

  Result<sluice_config> config() const {
    sluice_config c{};
    uint32_t zero = 0;
    if (::bpf_map_lookup_elem(maps[MapId::config], &zero, &c) != 0)
      return errno_error(errno, "map sl_config");
    return c;
  }
  Status set_config(const sluice_config& c) const {
    uint32_t zero = 0;
    if (::bpf_map_update_elem(maps[MapId::config], &zero, &c, BPF_ANY) != 0)
      return errno_error(errno, "map sl_config");
    return {};
  }
  std::map<uint64_t, sluice_workload> enrolled() const {
    std::map<uint64_t, sluice_workload> out;
    uint64_t key = 0, next = 0;
    const uint64_t* at = nullptr;
    while (::bpf_map_get_next_key(maps[MapId::workloads], at, &next) == 0) {
      sluice_workload w{};
      if (::bpf_map_lookup_elem(maps[MapId::workloads], &next, &w) == 0) out[next] = w;
      key = next;
      at = &key;
    }
    return out;
  }
  std::optional<sluice_workload> enrolled(uint64_t cookie) const {
    sluice_workload w{};
    if (::bpf_map_lookup_elem(maps[MapId::workloads], &cookie, &w) != 0) return std::nullopt;
    return w;
  }
  Status say_alive();
  bool has_socket(uint64_t cookie, uint32_t role) const {
    sluice_listener_key key{.netns_cookie = cookie, .role = role, .pad = 0};
    uint64_t socket_cookie = 0;
    return ::bpf_map_lookup_elem(maps[MapId::listeners], &key, &socket_cookie) == 0;
  }
  bool listens(uint64_t cookie, uint32_t role) const {
    return has_socket(0, SLUICE_LISTENER_ALIVE) && has_socket(cookie, role);
  }
  Workload describe(uint64_t cookie, const sluice_workload& w, const WorkloadState* state) const;
  Result<Workload> enrol_locked(WorkloadSpec spec);
  void forget(uint64_t cookie, const WorkloadState* state);
  void drop_return_path(const WorkloadState& state) const;
  bool abandoned(const WorkloadState& state) const;
};

}  // namespace sluice::redirect
