#include "redirect/redirector.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

#include "core/log.h"
#include "redirect/host.h"
#include "redirect/netns.h"
#include "redirect/programs.h"
#include "redirect/records.h"
#include "redirect/redirector_impl.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace sluice::redirect {

Workload Redirector::Impl::describe(uint64_t cookie, const sluice_workload& w, const WorkloadState* s) const {
  Workload out;
  out.id = w.workload_id;
  out.netns_cookie = cookie;
  out.generation = w.generation;
  if (s) {
    out.spec = s->spec;
    out.netns_handle = s->netns_handle.empty() ? s->spec.netns_path : s->netns_handle;
    out.return_path = s->fwmark_accept_before.has_value();
  }
  // What is in force is what the map says.
  out.spec.fail_mode = w.fail_mode == SLUICE_FAIL_OPEN ? FailMode::open : FailMode::closed;
  out.spec.outbound = w.flags & SLUICE_WF_OUTBOUND;
  out.spec.inbound = w.flags & SLUICE_WF_INBOUND;
  out.spec.outbound_port = w.outbound_port;
  out.spec.inbound_port = w.inbound_port;
  out.listening_outbound_v4 = listens(cookie, SLUICE_LISTENER_OUT_V4);
  out.listening_outbound_v6 = listens(cookie, SLUICE_LISTENER_OUT_V6);
  out.listening_inbound_v4 = listens(cookie, SLUICE_LISTENER_IN_V4);
  out.listening_inbound_v6 = listens(cookie, SLUICE_LISTENER_IN_V6);
  auto link = open_link(paths.inbound_link(cookie));
  out.inbound_attached = link.ok() && link->netns_inode != 0;
  return out;
}

Redirector::Redirector(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Redirector::~Redirector() = default;

Result<std::unique_ptr<Redirector>> Redirector::attach(const Options& options) {
  if (options.spread < 1 || options.spread > SLUICE_SPREAD_MAX)
    return Error{"spread: must be 1 to " + std::to_string(SLUICE_SPREAD_MAX), EINVAL};
  auto impl = std::make_unique<Impl>(options);
  impl->cgroup_path = options.cgroup_path;
  if (impl->cgroup_path.empty()) {
    SLUICE_ASSIGN(impl->cgroup_path, find_cgroup2());
  }
  SLUICE_ASSIGN(uint64_t cgroup_id, cgroup_id_of(impl->cgroup_path));
  SLUICE_ASSIGN(Fd lock, lock_dir(options.state_dir));
  SLUICE_TRY(impl->state.prepare());
  SLUICE_ASSIGN(std::string mounted, ensure_bpffs(options.bpffs_root));
  // Whoever uninstalls has to know that the mount was ours.
  if (!mounted.empty())
    SLUICE_TRY(write_file_atomically(options.state_dir + "/bpffs-mounted", mounted + "\n"));
  SLUICE_TRY(refuse_other_versions(impl->paths));

  bool fresh = !installed(impl->paths);
  if (fresh) {
    SLUICE_ASSIGN(impl->maps, install(impl->paths, options, impl->cgroup_path));
    SLUICE_LOG(redirect, info, "installed the BPF side under {}, attached to cgroup {} (id {})",
               impl->paths.dir, impl->cgroup_path, cgroup_id);
  } else {
    SLUICE_ASSIGN(impl->maps, open_pinned_maps(impl->paths));
    SLUICE_TRY(adopt(impl->paths, impl->maps, options, impl->cgroup_path));
    SLUICE_LOG(redirect, info, "adopted the BPF side under {}: {} workloads enrolled", impl->paths.dir,
               impl->enrolled().size());
  }
  // State without kernel entries: bpffs was emptied behind our back. Those who are still there are enrolled again.
  auto enrolled = impl->enrolled();
  for (WorkloadState& s : impl->state.load()) {
    if (enrolled.contains(s.netns_cookie)) continue;
    WorkloadSpec spec = s.spec;
    bool gone = impl->abandoned(s);
    Result<Workload> again =
        gone ? Result<Workload>(Error{"its netns is gone", ENOENT}) : impl->enrol_locked(spec);
    if (again.ok()) {
      SLUICE_LOG(redirect, warn, "workload {} was in {} but not in the kernel: enrolled again", spec.name,
                 options.state_dir);
    } else {
      SLUICE_LOG(redirect, warn, "workload {} is forgotten: {}", spec.name, again.error().message);
      if (s.fwmark_accept_before) impl->drop_return_path(s);
      impl->state.remove(spec.name);
    }
  }
  return std::unique_ptr<Redirector>(new Redirector(std::move(impl)));
}

Result<std::unique_ptr<Redirector>> Redirector::open(const Options& options) {
  auto impl = std::make_unique<Impl>(options);
  SLUICE_TRY(refuse_other_versions(impl->paths));
  SLUICE_ASSIGN(impl->maps, open_pinned_maps(impl->paths));
  impl->cgroup_path = options.cgroup_path;
  if (impl->cgroup_path.empty()) impl->cgroup_path = attached_cgroup(impl->paths);
  return std::unique_ptr<Redirector>(new Redirector(std::move(impl)));
}

Status Redirector::set_proxy_identity(uint64_t cgroup_id) {
  if (find_cgroup(impl_->cgroup_path, cgroup_id).empty())
    return Error{"the proxy's cgroup (id " + std::to_string(cgroup_id) + ") is not below " +
                     impl_->cgroup_path +
                     ", where the hooks are attached: the connections it accepts would not be seen. Attach "
                     "to a common "
                     "parent of the pods and sluiced, or to the root",
                 EINVAL};
  SLUICE_ASSIGN(Fd lock, lock_dir(impl_->options.state_dir));
  SLUICE_ASSIGN(sluice_config config, impl_->config());
  config.proxy_cgroup_id = cgroup_id;
  config.proxy_mark = impl_->options.proxy_mark;
  config.transparent_mark = impl_->options.transparent_mark;
  return impl_->set_config(config);
}

Status Redirector::Impl::say_alive() {
  if (!alive.valid()) {
    // Of the kinds a socket map takes, the one that needs no address or port. Never given to io_uring.
    int pair[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
      return errno_error(errno, "socket that says we are alive");
    alive.reset(pair[0]);
    alive_peer.reset(pair[1]);
  }
  sluice_listener_key key{.netns_cookie = 0, .role = SLUICE_LISTENER_ALIVE, .pad = 0};
  uint64_t value = static_cast<uint64_t>(alive.get());
  if (::bpf_map_update_elem(maps[MapId::listeners], &key, &value, BPF_ANY) != 0)
    return errno_error(errno, "map sl_listeners");
  return {};
}

Status Redirector::set_listeners(uint64_t cookie, const Listeners& listeners) {
  const std::pair<uint32_t, int> entries[] = {
      {SLUICE_LISTENER_OUT_V4, listeners.outbound_v4},
      {SLUICE_LISTENER_OUT_V6, listeners.outbound_v6},
      {SLUICE_LISTENER_IN_V4, listeners.inbound_v4},
      {SLUICE_LISTENER_IN_V6, listeners.inbound_v6},
  };
  for (auto [role, fd] : entries) {
    if (fd < 0) continue;
    int listening = 0;
    socklen_t len = sizeof(listening);
    if (::getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &len) != 0 || !listening)
      return Error{"set_listeners: socket " + std::to_string(fd) + " does not listen yet", EINVAL};
    uint64_t where = 0;
    len = sizeof(where);
    if (::getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &where, &len) != 0 || where != cookie)
      return Error{"set_listeners: socket " + std::to_string(fd) + " was opened in netns " +
                       std::to_string(where) + ", not in the workload's (" + std::to_string(cookie) + ")",
                   EINVAL};
  }
  for (auto [role, fd] : entries) {
    sluice_listener_key key{.netns_cookie = cookie, .role = role, .pad = 0};
    uint64_t value = static_cast<uint64_t>(fd);
    if (fd < 0)
      (void)::bpf_map_delete_elem(impl_->maps[MapId::listeners], &key);
    else if (::bpf_map_update_elem(impl_->maps[MapId::listeners], &key, &value, BPF_ANY) != 0)
      return errno_error(errno, "map sl_listeners");
  }
  return impl_->say_alive();
}

Result<std::vector<Workload>> Redirector::workloads() const {
  std::map<uint64_t, WorkloadState> by_cookie;
  for (WorkloadState& s : impl_->state.load()) by_cookie.emplace(s.netns_cookie, std::move(s));
  std::vector<Workload> out;
  for (const auto& [cookie, w] : impl_->enrolled()) {
    auto it = by_cookie.find(cookie);
    out.push_back(impl_->describe(cookie, w, it == by_cookie.end() ? nullptr : &it->second));
  }
  std::sort(out.begin(), out.end(), [](const Workload& a, const Workload& b) { return a.id < b.id; });
  return out;
}

Result<std::vector<Redirect>> Redirector::redirects() const {
  return read_redirects(impl_->maps);
}
std::vector<Counter> Redirector::counters() const {
  return read_counters(impl_->maps);
}

uint64_t Redirector::bridge_entries() const {
  sluice_gauges g{};
  uint32_t zero = 0;
  return ::bpf_map_lookup_elem(impl_->maps[MapId::gauges], &zero, &g) == 0 ? g.bridge_entries : 0;
}

Result<OriginalDestination> Redirector::original_destination(int accepted_fd) const {
  sluice_redirect r;
  if (::bpf_map_lookup_elem(impl_->maps[MapId::redirects], &accepted_fd, &r) != 0) {
    if (errno == ENOENT) return Error{"the connection was not redirected", ENOENT};
    return errno_error(errno, "map sl_redirects");
  }
  return original_from_record(r);
}

Status Redirector::watch(const std::function<void(const Event&)>& on_event,
                         const std::function<bool()>& stop) {
  struct Context {
    const std::function<void(const Event&)>& on_event;
  } context{on_event};
  auto handle = [](void* c, void* data, size_t size) -> int {
    if (size < sizeof(sluice_event)) return 0;
    sluice_event e;
    std::memcpy(&e, data, sizeof(e));
    static_cast<Context*>(c)->on_event(
        {.redirect = redirect_from_record(e.redirect), .decision = decision_name(e.decision)});
    return 0;
  };
  ring_buffer* ring = ::ring_buffer__new(impl_->maps[MapId::events], handle, &context, nullptr);
  if (!ring) return errno_error(errno, "ring buffer sl_events");
  auto switch_events = [this](bool on) -> Status {
    SLUICE_ASSIGN(Fd lock, lock_dir(impl_->options.state_dir));
    SLUICE_ASSIGN(sluice_config config, impl_->config());
    config.flags = on ? config.flags | SLUICE_CONFIG_EVENTS : config.flags & ~SLUICE_CONFIG_EVENTS;
    return impl_->set_config(config);
  };
  Status status = switch_events(true);
  while (status.ok() && !stop()) {
    int n = ::ring_buffer__poll(ring, 100 /* ms */);
    if (n < 0 && n != -EINTR) status = errno_error(-n, "ring buffer sl_events");
  }
  Status off = switch_events(false);
  ::ring_buffer__free(ring);
  return status.ok() ? std::move(off) : std::move(status);
}

Result<HookStatus> Redirector::hooks() const {
  return hook_status(impl_->paths, impl_->options, impl_->cgroup_path);
}
const Options& Redirector::options() const {
  return impl_->options;
}

Result<uint64_t> own_cgroup_id() {
  SLUICE_ASSIGN(std::string root, find_cgroup2());
  SLUICE_ASSIGN(std::string text, read_file("/proc/self/cgroup"));
  size_t at = text.starts_with("0::") ? 0 : text.find("\n0::");
  if (at == std::string::npos) return Error{"/proc/self/cgroup shows no v2 cgroup", ENOENT};
  if (at) ++at;
  std::string path = text.substr(at + 3, text.find('\n', at) - at - 3);
  return cgroup_id_of(path == "/" ? root : root + path);
}

Result<uint64_t> netns_cookie_of(const std::string& netns_path) {
  SLUICE_ASSIGN(Fd fd, open_netns(netns_path));
  return netns_cookie(fd.get());
}

}  // namespace sluice::redirect
