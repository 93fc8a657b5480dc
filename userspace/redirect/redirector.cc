#include "redirect/redirector.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>

#include "core/log.h"
#include "redirect/host.h"
#include "redirect/json.h"
#include "redirect/netns.h"
#include "redirect/pins.h"
#include "redirect/programs.h"
#include "redirect/records.h"
#include "redirect/rules.h"
#include "redirect/state.h"
#include "sluice/abi/redirect.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace sluice::redirect {

struct Redirector::Impl {
  Options options;
  PinPaths paths;
  StateDir state;
  Maps maps;
  std::string cgroup_path;
  std::string order;
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
  void forget(uint64_t cookie, const std::string& name);
  bool abandoned(const WorkloadState& state) const;
};

Workload Redirector::Impl::describe(uint64_t cookie, const sluice_workload& w, const WorkloadState* s) const {
  Workload out;
  out.id = w.workload_id;
  out.netns_cookie = cookie;
  out.generation = w.generation;
  if (s) {
    out.spec = s->spec;
    out.netns_handle = s->netns_handle.empty() ? s->spec.netns_path : s->netns_handle;
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
  if (auto order = redirect::attach_order(impl->cgroup_path); order.ok()) {
    impl->order = order->text;
    SLUICE_LOG(redirect, info, "order of the connect hook: {}", order->text);
    if (!order->first)
      SLUICE_LOG(redirect, warn,
                 "another program runs before ours on connect4: where it balances load, we see the "
                 "address it chose and not the service's ({})",
                 order->text);
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
  if (impl->cgroup_path.empty())
    if (auto found = find_cgroup2(); found.ok()) impl->cgroup_path = *found;
  if (auto order = redirect::attach_order(impl->cgroup_path); order.ok()) impl->order = order->text;
  return std::unique_ptr<Redirector>(new Redirector(std::move(impl)));
}

Status Redirector::set_proxy_identity(uint64_t cgroup_id) {
  if (!cgroup_below(impl_->cgroup_path, cgroup_id))
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

  auto enrolled_now = enrolled();
  std::optional<WorkloadState> before;  // the same workload, when this changes its rules
  for (WorkloadState& s : state.load()) {
    if (s.spec.name == spec.name && s.netns_cookie != cookie) {
      // A pod of this name came back: its old netns goes, unless somebody still lives there.
      if (enrolled_now.contains(s.netns_cookie) && !abandoned(s))
        return Error{"workload " + spec.name + " is enrolled with another network namespace (cookie " +
                         std::to_string(s.netns_cookie) + "); `sluicectl release " + spec.name + "` first",
                     EEXIST};
      forget(s.netns_cookie, s.spec.name);
    } else if (s.spec.name != spec.name && s.netns_cookie == cookie && enrolled_now.contains(cookie)) {
      return Error{spec.netns_path + " is enrolled already, as workload " + s.spec.name +
                       "; `sluicectl release " + s.spec.name + "` first",
                   EEXIST};
    } else if (s.spec.name == spec.name) {
      before = std::move(s);
    }
  }
  std::optional<sluice_workload> old;
  if (auto it = enrolled_now.find(cookie); it != enrolled_now.end()) old = it->second;

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

  WorkloadState now{
      .spec = spec, .netns_cookie = cookie, .netns_inode = inode, .id = w.workload_id, .netns_handle = ""};
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
    SLUICE_TRY(state.save(now));
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

void Redirector::Impl::forget(uint64_t cookie, const std::string& name) {
  sluice_workload w{};
  bool known = ::bpf_map_lookup_elem(maps[MapId::workloads], &cookie, &w) == 0;
  ::bpf_map_delete_elem(maps[MapId::workloads], &cookie);
  ::unlink(paths.inbound_link(cookie).c_str());
  for (uint32_t role = 0; role < SLUICE_LISTENER_ROLES; ++role) {
    sluice_listener_key key{.netns_cookie = cookie, .role = role, .pad = 0};
    ::bpf_map_delete_elem(maps[MapId::listeners], &key);
  }
  if (known) erase_rules(maps, w.generation);
  if (!name.empty()) state.remove(name);
}

Status Redirector::release(const std::string& name) {
  SLUICE_ASSIGN(Fd lock, lock_dir(impl_->options.state_dir));
  for (const WorkloadState& s : impl_->state.load()) {
    if (s.spec.name != name && std::to_string(s.netns_cookie) != name) continue;
    impl_->forget(s.netns_cookie, s.spec.name);
    SLUICE_LOG(redirect, info, "workload {} released", s.spec.name);
    return {};
  }
  for (const auto& [cookie, w] : impl_->enrolled()) {
    if (std::to_string(cookie) != name) continue;
    impl_->forget(cookie, "");
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
  return !netns_in_use(s.netns_inode);
}

std::vector<std::string> Redirector::prune() {
  std::vector<std::string> names;
  auto lock = lock_dir(impl_->options.state_dir);
  if (!lock.ok()) return names;
  for (const WorkloadState& s : impl_->state.load()) {
    if (!impl_->abandoned(s)) continue;
    impl_->forget(s.netns_cookie, s.spec.name);
    SLUICE_LOG(redirect, info, "workload {} released: its network namespace is gone", s.spec.name);
    names.push_back(s.spec.name);
  }
  return names;
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

const std::string& Redirector::attach_order() const {
  return impl_->order;
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
