// Workloads come and go: what enrol, release and prune do to maps, links, state files and the pod itself.
#include <bpf/bpf.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <optional>
#include <utility>

#include "core/log.h"
#include "redirect/host.h"
#include "redirect/netns.h"
#include "redirect/programs.h"
#include "redirect/redirector_impl.h"
#include "redirect/return_path.h"
#include "redirect/rules.h"

namespace sluice::redirect {

Result<Workload> Redirector::enrol(const WorkloadSpec& spec) {
  SLUICE_TRY(validate(spec));
  SLUICE_ASSIGN(Fd lock, lock_dir(impl_->options.state_dir));
  SLUICE_TRY(impl_->state.prepare());
  return impl_->enrol_locked(spec);
}

Result<Workload> Redirector::Impl::enrol_locked(WorkloadSpec spec) {
  if (!spec.outbound_port) spec.outbound_port = options.outbound_port;
  if (!spec.inbound_port) spec.inbound_port = options.inbound_port;
  SLUICE_TRY(validate(spec));
  SLUICE_ASSIGN(Fd netns, open_netns(spec.netns_path));
  SLUICE_ASSIGN(uint64_t cookie, redirect::netns_cookie(netns.get()));
  SLUICE_ASSIGN(uint64_t inode, netns_inode("/proc/self/fd/" + std::to_string(netns.get())));
  SLUICE_ASSIGN(uint64_t own, own_netns_cookie());
  if (cookie == own)
    return Error{
        spec.netns_path + " is the proxy's own network namespace: enrolling it would redirect the whole host",
        EINVAL};

  const std::optional<sluice_workload> old = enrolled(cookie);
  std::optional<WorkloadState> before;  // the same workload, when this changes its rules
  // Another workload's file matters only where this namespace is enrolled: a thousand of them are not read for each that
  // comes.
  std::vector<WorkloadState> files;
  if (old)
    files = state.load();
  else if (auto same = state.load(spec.name))
    files.push_back(std::move(*same));
  for (WorkloadState& s : files) {
    if (s.spec.name == spec.name && s.netns_cookie != cookie) {
      // A pod of this name came back: its old netns goes, unless somebody still lives there.
      if (enrolled(s.netns_cookie) && !abandoned(s))
        return Error{"workload " + spec.name + " is enrolled with another network namespace (cookie " +
                         std::to_string(s.netns_cookie) + "); `sluicectl release " + spec.name + "` first",
                     EEXIST};
      forget(s.netns_cookie, &s);
    } else if (s.spec.name != spec.name && s.netns_cookie == cookie && old) {
      return Error{spec.netns_path + " is enrolled already, as workload " + s.spec.name +
                       "; `sluicectl release " + s.spec.name + "` first",
                   EEXIST};
    } else if (s.spec.name == spec.name) {
      before = std::move(s);
    }
  }

  SLUICE_ASSIGN(sluice_config cfg, config());
  uint32_t generation = ++cfg.generation;
  SLUICE_TRY(set_config(cfg));

  sluice_workload w{};
  w.generation = generation;
  w.workload_id = old ? old->workload_id : generation;
  w.flags = rule_flags(spec);
  w.outbound_port = spec.outbound_port;
  w.inbound_port = spec.inbound_port;
  w.fail_mode = spec.fail_mode == FailMode::open ? SLUICE_FAIL_OPEN : SLUICE_FAIL_CLOSED;
  w.spread = static_cast<uint8_t>(options.spread);
  SLUICE_ASSIGN(SourceAddresses source, source_addresses(netns.get()));
  if (source.v4) {
    w.source_v4[10] = w.source_v4[11] = 0xff;
    std::memcpy(w.source_v4 + 12, source.v4->bytes().data(), 4);
  }
  if (source.v6) std::memcpy(w.source_v6, source.v6->bytes().data(), 16);

  WorkloadState now{.spec = spec,
                    .netns_cookie = cookie,
                    .netns_inode = inode,
                    .id = w.workload_id,
                    .netns_handle = "",
                    .fwmark_accept_before = before ? before->fwmark_accept_before : std::nullopt};
  if (options.return_path && !now.fwmark_accept_before) {
    SLUICE_ASSIGN(now.fwmark_accept_before, fwmark_accept(netns.get()));
  }
  auto apply = [&]() -> Status {
    SLUICE_TRY(write_rules(maps, generation, spec));
    if (before && !before->netns_handle.empty()) {
      now.netns_handle = before->netns_handle;
    } else {
      std::string handle = state.handle_path(spec.name);
      unbind_netns(handle);
      if (Status bound = bind_netns(netns.get(), handle); bound.ok())
        now.netns_handle = handle;
      else
        SLUICE_LOG(redirect, warn, "workload {}: {}; a restarted sluiced will look for {} instead", spec.name,
                   bound.error().message, spec.netns_path);
    }
    SLUICE_TRY(
        state.save(now));  // before anything is changed in the pod: whoever cleans up knows what was there
    if (options.return_path)
      if (Status made = make_return_path(netns.get(), options.transparent_mark, *now.fwmark_accept_before);
          !made.ok())
        return std::move(made).error().prefixed(
            "original_src needs a way back for the application's answers");
    SLUICE_TRY(attach_inbound(paths, maps, cookie, netns.get()));
    if (::bpf_map_update_elem(maps[MapId::workloads], &cookie, &w, BPF_ANY) != 0) {
      int err = errno;
      return errno_error(err, err == E2BIG ? "this node has its full number of workloads (" +
                                                 std::to_string(SLUICE_WORKLOADS_MAX) + ")"
                                           : "map sl_workloads");
    }
    return {};
  };
  if (Status s = apply(); !s.ok()) {
    erase_rules(maps, generation);
    if (now.fwmark_accept_before && !(old && before && before->fwmark_accept_before))
      (void)remove_return_path(netns.get(), *now.fwmark_accept_before);
    if (before && old) {
      (void)state.save(*before);
    } else if (!old) {
      ::unlink(paths.inbound_link(cookie).c_str());
      state.remove(spec.name);
    }
    return std::move(s).error().prefixed("enrolling " + spec.name);
  }
  if (old) erase_rules(maps, old->generation);
  SLUICE_LOG(redirect, info, "workload {} enrolled: netns cookie {}, id {}, generation {}, fail mode {}",
             spec.name, cookie, w.workload_id, generation, to_string(spec.fail_mode));
  return describe(cookie, w, &now);
}

Status Redirector::renew_return_path(uint64_t cookie) {
  SLUICE_ASSIGN(Fd lock, lock_dir(impl_->options.state_dir));
  const Options& o = impl_->options;
  for (WorkloadState& s : impl_->state.load()) {
    if (s.netns_cookie != cookie) continue;
    if (!o.return_path && !s.fwmark_accept_before) return {};
    SLUICE_ASSIGN(Fd netns, open_netns_of(s));
    if (!o.return_path) {
      SLUICE_TRY(remove_return_path(netns.get(), *s.fwmark_accept_before));
      s.fwmark_accept_before.reset();
      return impl_->state.save(s);
    }
    if (!s.fwmark_accept_before) {
      SLUICE_ASSIGN(s.fwmark_accept_before, fwmark_accept(netns.get()));
      SLUICE_TRY(impl_->state.save(s));
    }
    return make_return_path(netns.get(), o.transparent_mark, *s.fwmark_accept_before);
  }
  return Error{"no workload with netns cookie " + std::to_string(cookie) + " has a state file", ENOENT};
}

// A file that is lost took with it what the sysctl was: that is left, and does nothing without the rule.
Status Redirector::enable_return_path() {
  if (std::exchange(impl_->options.return_path, true)) return {};
  SLUICE_ASSIGN(auto all, workloads());
  for (const Workload& w : all)
    if (Status s = renew_return_path(w.netns_cookie); !s && s.error().code != ENOENT) {
      impl_->options.return_path = false;
      return s;
    }
  return {};
}

void Redirector::Impl::drop_return_path(const WorkloadState& s) const {
  auto netns = open_netns_of(s);
  if (!netns.ok() && netns.error().code == ENOENT) return;
  Status removed = netns.ok() ? remove_return_path(netns->get(), s.fwmark_accept_before.value_or(-1))
                              : Status(std::move(netns).error());
  if (!removed.ok())
    SLUICE_LOG(redirect, warn, "workload {}: what original_src needed may be left: {}", s.spec.name,
               removed.error().message);
}

void Redirector::Impl::forget(uint64_t cookie, const WorkloadState* s) {
  WorkloadState lost;
  lost.spec.name = std::to_string(cookie);
  if (auto link = open_link(paths.inbound_link(cookie)); link.ok()) lost.netns_inode = link->netns_inode;
  if (!s || s->fwmark_accept_before) drop_return_path(s ? *s : lost);
  sluice_workload w{};
  bool known = ::bpf_map_lookup_elem(maps[MapId::workloads], &cookie, &w) == 0;
  ::bpf_map_delete_elem(maps[MapId::workloads], &cookie);
  ::unlink(paths.inbound_link(cookie).c_str());
  for (uint32_t role = 0; role < SLUICE_LISTENER_ROLES; ++role) {
    sluice_listener_key key{.netns_cookie = cookie, .role = role, .pad = 0};
    ::bpf_map_delete_elem(maps[MapId::listeners], &key);
  }
  if (known) erase_rules(maps, w.generation);
  if (s) state.remove(s->spec.name);
}

Status Redirector::release(const std::string& name) {
  SLUICE_ASSIGN(Fd lock, lock_dir(impl_->options.state_dir));
  auto forget = [&](const WorkloadState& s) -> Status {
    impl_->forget(s.netns_cookie, &s);
    SLUICE_LOG(redirect, info, "workload {} released", s.spec.name);
    return {};
  };
  if (const auto s = impl_->state.load(name); s && s->spec.name == name) return forget(*s);
  for (const WorkloadState& s : impl_->state.load())
    if (s.spec.name == name || std::to_string(s.netns_cookie) == name) return forget(s);
  for (const auto& [cookie, w] : impl_->enrolled()) {
    if (std::to_string(cookie) != name) continue;
    impl_->forget(cookie, nullptr);
    SLUICE_LOG(redirect, info, "workload with netns cookie {} released", cookie);
    return {};
  }
  return Error{"no workload \"" + name + "\" is enrolled; `sluicectl workloads` lists them", ENOENT};
}

// The bind mount keeps a netns alive after its pod: ask whether the path it was enrolled by still leads there, and
// failing that whether anybody lives in it.
bool Redirector::Impl::abandoned(const WorkloadState& s) const {
  auto by_path = netns_inode(s.spec.netns_path);
  if (by_path.ok() && *by_path == s.netns_inode) return false;
  return find_netns(s.netns_inode).empty();
}

std::vector<std::string> Redirector::prune() {
  std::vector<std::string> names;
  auto lock = lock_dir(impl_->options.state_dir);
  if (!lock.ok()) return names;
  for (const WorkloadState& s : impl_->state.load()) {
    if (!impl_->abandoned(s)) continue;
    impl_->forget(s.netns_cookie, &s);
    SLUICE_LOG(redirect, info, "workload {} released: its network namespace is gone", s.spec.name);
    names.push_back(s.spec.name);
  }
  return names;
}

}  // namespace sluice::redirect
