#include "redirect/programs.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "core/log.h"
#include "inbound.skel.h"
#include "outbound.skel.h"
#include "redirect/host.h"
#include "sluice/abi/redirect.h"

// Newer than the headers of Debian 12.
#ifndef BPF_F_PREORDER
#define BPF_F_PREORDER (1U << 6)  // linux 6.15
#endif
#ifndef BPF_F_BEFORE
#define BPF_F_BEFORE (1U << 3)    // for cgroups since linux 6.17
#endif

namespace sluice::redirect {
namespace {

struct DestroyOutbound {
  void operator()(outbound_bpf* s) const { outbound_bpf::destroy(s); }
};
struct DestroyInbound {
  void operator()(inbound_bpf* s) const { inbound_bpf::destroy(s); }
};
using Outbound = std::unique_ptr<outbound_bpf, DestroyOutbound>;
using Inbound = std::unique_ptr<inbound_bpf, DestroyInbound>;

Status reuse_maps(bpf_object* object, const Maps& maps) {
  for (size_t i = 0; i < kMapCount; ++i) {
    bpf_map* m = ::bpf_object__find_map_by_name(object, map_name(static_cast<MapId>(i)));
    if (!m) continue;
    if (int err = ::bpf_map__reuse_fd(m, maps.fds[i].get()))
      return errno_error(-err, std::string("map ") + map_name(static_cast<MapId>(i)));
  }
  return {};
}

uint32_t max_entries(int map_fd) {
  bpf_map_info info{};
  uint32_t len = sizeof(info);
  return ::bpf_obj_get_info_by_fd(map_fd, &info, &len) == 0 ? info.max_entries : 0;
}

// `maps` null: with new ones.
Result<Outbound> load_outbound(const Options& options, const Maps* maps) {
  LibbpfLog log;
  Outbound skel(outbound_bpf::open());
  if (!skel) return log.error(errno, "opening the BPF object");
  uint32_t bridge = options.bridge_entries ? options.bridge_entries : SLUICE_BRIDGE_MAX;
  if (maps) {
    SLUICE_TRY(reuse_maps(skel->obj, *maps));
    bridge = max_entries((*maps)[MapId::bridge]);
  } else {
    if (bridge < 2 * SLUICE_BRIDGE_SLACK)
      return Error{"bridge_entries must be at least " + std::to_string(2 * SLUICE_BRIDGE_SLACK), EINVAL};
    ::bpf_map__set_max_entries(skel->maps.sl_bridge, bridge);
  }
  skel->rodata->bridge_max = bridge - SLUICE_BRIDGE_SLACK;
  if (int err = outbound_bpf::load(skel.get())) return log.error(err, "loading the BPF programs");
  return skel;
}

int program_fd(const Outbound& skel, const Hook& hook) {
  return ::bpf_program__fd(::bpf_object__find_program_by_name(skel->obj, hook.name));
}

bool wanted(size_t hook, const Options& options) {
  return hook != kSockoptHook || options.so_original_dst;
}

// First of all where the kernel can say so: before other load balancers on these hooks we see the service's address,
// after them only a backend's. PREORDER runs ancestors' programs before descendants'; BEFORE without a reference is
// the head of its cgroup's list.
Result<Fd> link_cgroup(int prog_fd, int cgroup_fd, const Hook& hook) {
  static constexpr uint32_t kOrders[] = {BPF_F_PREORDER | BPF_F_BEFORE, BPF_F_PREORDER, 0};
  int err = 0;
  for (uint32_t flags : kOrders) {
    bpf_link_create_opts opts{};
    opts.sz = sizeof(opts);
    opts.flags = flags;
    int fd = ::bpf_link_create(prog_fd, cgroup_fd, static_cast<bpf_attach_type>(hook.attach_type), &opts);
    if (fd >= 0) return Fd(fd);
    err = errno;
    if (err != EINVAL && err != ENOTSUP) break;
  }
  if (err == EPERM)
    return errno_error(err,
                       std::string("attaching ") + hook.name +
                           " (missing CAP_NET_ADMIN, or another program holds the hook of this cgroup or its "
                           "parent exclusively: see `bpftool cgroup tree`)");
  return errno_error(err, std::string("attaching ") + hook.name);
}

Result<Fd> open_cgroup(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid()) return errno_error(errno, "cgroup " + path);
  return fd;
}

Status pin(int fd, const std::string& path) {
  if (::bpf_obj_pin(fd, path.c_str()) != 0) return errno_error(errno, "pin " + path);
  return {};
}

Result<bpf_prog_info> program_info(int fd) {
  bpf_prog_info info{};
  uint32_t len = sizeof(info);
  if (::bpf_obj_get_info_by_fd(fd, &info, &len) != 0) return errno_error(errno, "BPF program");
  return info;
}

// Does the link run this program's instructions? The values of its constants are no part of them.
Result<bool> runs(const LinkInfo& link, int prog_fd) {
  Fd now(::bpf_prog_get_fd_by_id(link.prog_id));
  if (!now.valid()) return false;
  SLUICE_ASSIGN(bpf_prog_info is, program_info(now.get()));
  SLUICE_ASSIGN(bpf_prog_info wanted, program_info(prog_fd));
  return std::memcmp(is.tag, wanted.tag, sizeof(is.tag)) == 0;
}

Status replace_program(const LinkInfo& link, int prog_fd, const std::string& what) {
  if (::bpf_link_update(link.fd.get(), prog_fd, nullptr) != 0) return errno_error(errno, "replacing " + what);
  SLUICE_LOG(redirect, info, "replaced the program of {} in place", what);
  return {};
}

// Where `ours` (0: not attached) runs among the programs of one hook.
struct Place {
  uint32_t at = 0, of = 0;  // from 1; 0: nowhere
  std::string names;  // in running order
};

Result<Place> place_of(int cgroup_fd, const Hook& hook, uint32_t ours) {
  uint32_t ids[64], n = 64, flags = 0;
  if (::bpf_prog_query(cgroup_fd, static_cast<bpf_attach_type>(hook.attach_type), BPF_F_QUERY_EFFECTIVE,
                       &flags, ids, &n) != 0)
    return errno_error(errno, std::string("querying the programs beside ") + hook.name);
  Place out{.at = 0, .of = n, .names = ""};
  for (uint32_t i = 0; i < n; ++i) {
    Fd prog(::bpf_prog_get_fd_by_id(ids[i]));
    auto info = program_info(prog.get());
    if (ids[i] == ours) out.at = i + 1;
    out.names += (i ? ", " : "") + std::string(info.ok() ? info->name : "?");
  }
  return out;
}

// The hooks whose order decides what we see: before another load balancer the service, after it the backend.
constexpr size_t kOrderedHooks[] = {0, 1};  // connect4, connect6

// A program that came later has put itself in front of ours: a new link goes in front of it, and takes the old one's pin.
// For an instant both run; a connection made in it meets the second as a call to loopback and is reset by sluiced. (The
// other way round it would pass by us.)
Status move_to_front(const LinkInfo& link, const Outbound& skel, const Hook& hook, int cgroup_fd,
                     const std::string& path) {
  SLUICE_ASSIGN(Place now, place_of(cgroup_fd, hook, link.prog_id));
  if (now.at <= 1) return {};
  SLUICE_ASSIGN(Fd made, link_cgroup(program_fd(skel, hook), cgroup_fd, hook));
  std::string beside = path + "_new";  // a dot is the kernel's in bpffs
  ::unlink(beside.c_str());
  SLUICE_TRY(pin(made.get(), beside));
  if (::rename(beside.c_str(), path.c_str()) != 0) {
    Error e = errno_error(errno, "renaming " + beside);
    ::unlink(beside.c_str());
    return e;
  }
  SLUICE_LOG(redirect, info, "{} was behind another program ({}); attached it again", hook.name, now.names);
  return {};
}

Result<Inbound> load_inbound(const Maps& maps, uint64_t cookie) {
  LibbpfLog log;
  Inbound skel(inbound_bpf::open());
  if (!skel) return log.error(errno, "opening the inbound BPF object");
  SLUICE_TRY(reuse_maps(skel->obj, maps));
  skel->rodata->netns_cookie = cookie;
  if (int err = inbound_bpf::load(skel.get())) return log.error(err, "loading the inbound BPF program");
  return skel;
}

}  // namespace

Result<Maps> install(const PinPaths& paths, const Options& options, const std::string& cgroup_path) {
  SLUICE_ASSIGN(Fd cgroup, open_cgroup(cgroup_path));
  SLUICE_ASSIGN(Outbound skel, load_outbound(options, nullptr));

  Maps maps;
  for (size_t i = 0; i < kMapCount; ++i) {
    bpf_map* m = ::bpf_object__find_map_by_name(skel->obj, map_name(static_cast<MapId>(i)));
    maps.fds[i].reset(::fcntl(::bpf_map__fd(m), F_DUPFD_CLOEXEC, 0));
  }
  sluice_config config{};
  config.abi_version = SLUICE_ABI_VERSION;
  uint32_t zero = 0;
  if (::bpf_map_update_elem(maps[MapId::config], &zero, &config, BPF_ANY) != 0)
    return errno_error(errno, "map sl_config");

  // Leftovers of a process that died half-way; the lock says that nobody is there now.
  std::string staging = paths.root + "/staging";
  remove_tree(staging);
  auto stage = [&]() -> Status {
    SLUICE_TRY(make_dirs(staging + "/maps"));
    SLUICE_TRY(make_dirs(staging + "/links"));
    SLUICE_TRY(make_dirs(staging + "/inbound"));
    for (size_t i = 0; i < kMapCount; ++i)
      SLUICE_TRY(pin(maps.fds[i].get(), staging + "/maps/" + map_name(static_cast<MapId>(i))));
    // Links last: with an empty sl_workloads they touch nobody.
    for (size_t i = 0; i < kHookCount; ++i) {
      if (!wanted(i, options)) continue;
      SLUICE_ASSIGN(Fd link, link_cgroup(program_fd(skel, kHooks[i]), cgroup.get(), kHooks[i]));
      SLUICE_TRY(pin(link.get(), staging + "/links/" + kHooks[i].name));
    }
    if (::rename(staging.c_str(), paths.dir.c_str()) != 0)
      return errno_error(errno, "renaming " + staging + " to " + paths.dir);
    return {};
  };
  if (Status s = stage(); !s.ok()) {
    remove_tree(staging);
    return std::move(s).error();
  }
  return maps;
}

Status adopt(const PinPaths& paths, const Maps& maps, const Options& options,
             const std::string& cgroup_path) {
  SLUICE_ASSIGN(Fd cgroup, open_cgroup(cgroup_path));
  SLUICE_ASSIGN(uint64_t cgroup_id, cgroup_id_of(cgroup_path));
  // Everything that can refuse comes before anything is changed.
  for (const Hook& hook : kHooks) {
    auto link = open_link(paths.link(hook));
    if (!link.ok() || link->cgroup_id == 0 || link->cgroup_id == cgroup_id) continue;
    return Error{"the programs pinned under " + paths.dir + " are attached to another cgroup (id " +
                     std::to_string(link->cgroup_id) + ") than " + cgroup_path +
                     "; nothing was changed. Give that cgroup, or run `sluicectl uninstall` first",
                 EEXIST};
  }
  SLUICE_ASSIGN(Outbound skel, load_outbound(options, &maps));
  for (size_t i = 0; i < kHookCount; ++i) {
    const Hook& hook = kHooks[i];
    std::string path = paths.link(hook);
    auto link = open_link(path);
    if (!wanted(i, options)) {
      ::unlink(path.c_str());
    } else if (link.ok() && link->cgroup_id != 0) {
      SLUICE_ASSIGN(bool same, runs(*link, program_fd(skel, hook)));
      if (!same) SLUICE_TRY(replace_program(*link, program_fd(skel, hook), hook.name));
      if (std::find(std::begin(kOrderedHooks), std::end(kOrderedHooks), i) != std::end(kOrderedHooks))
        SLUICE_TRY(move_to_front(*open_link(path), skel, hook, cgroup.get(), path));
    } else {
      SLUICE_LOG(redirect, warn, "{} was not attached any more; attaching it again", hook.name);
      ::unlink(path.c_str());
      SLUICE_ASSIGN(Fd made, link_cgroup(program_fd(skel, hook), cgroup.get(), hook));
      SLUICE_TRY(pin(made.get(), path));
    }
  }
  // They differ in a constant alone: one of them tells for all whether they are those of this version, and a node's pods are
  // not loaded again one by one each time sluiced starts.
  Inbound any;
  for (const auto& name : list_dir(paths.inbound)) {
    uint64_t cookie = std::strtoull(name.c_str(), nullptr, 10);
    auto link = open_link(paths.inbound_link(cookie));
    if (!link.ok()) continue;
    if (!any) {
      SLUICE_ASSIGN(any, load_inbound(maps, cookie));
    }
    SLUICE_ASSIGN(bool same, runs(*link, ::bpf_program__fd(any->progs.sluice_inbound)));
    if (same) continue;
    SLUICE_ASSIGN(Inbound fresh, load_inbound(maps, cookie));
    SLUICE_TRY(
        replace_program(*link, ::bpf_program__fd(fresh->progs.sluice_inbound), "sk_lookup of netns " + name));
  }
  return {};
}

Status probe_load(const Options& options) {
  SLUICE_ASSIGN(Outbound outbound, load_outbound(options, nullptr));
  LibbpfLog log;
  Inbound inbound(inbound_bpf::open_and_load());
  if (!inbound) return log.error(errno, "loading the inbound BPF program");
  return {};
}

Status attach_inbound(const PinPaths& paths, const Maps& maps, uint64_t netns_cookie, int netns_fd) {
  std::string path = paths.inbound_link(netns_cookie);
  auto link = open_link(path);
  if (link.ok() && link->netns_inode != 0) return {};
  ::unlink(path.c_str());
  SLUICE_ASSIGN(Inbound skel, load_inbound(maps, netns_cookie));
  Fd made(::bpf_link_create(::bpf_program__fd(skel->progs.sluice_inbound), netns_fd, BPF_SK_LOOKUP, nullptr));
  if (!made.valid()) return errno_error(errno, "attaching sk_lookup to the network namespace");
  return pin(made.get(), path);
}

std::string attached_cgroup(const PinPaths& paths) {
  auto root = find_cgroup2();
  if (!root.ok()) return "";
  for (const Hook& hook : kHooks) {
    auto link = open_link(paths.link(hook));
    if (!link.ok() || link->cgroup_id == 0) continue;
    std::string path = find_cgroup(*root, link->cgroup_id);
    return path.empty() ? *root : path;
  }
  return *root;
}

Result<HookStatus> hook_status(const PinPaths& paths, const Options& options,
                               const std::string& cgroup_path) {
  SLUICE_ASSIGN(Fd cgroup, open_cgroup(cgroup_path));
  HookStatus out;
  std::string lost;
  uint32_t programs[kHookCount] = {};
  for (size_t i = 0; i < kHookCount; ++i) {
    if (!wanted(i, options)) continue;
    ++out.wanted;
    // A link outlives its cgroup, and a forced detach, but is attached to nothing then.
    if (auto link = open_link(paths.link(kHooks[i])); link.ok() && link->cgroup_id != 0) {
      programs[i] = link->prog_id;
      ++out.attached;
    } else {
      lost += (lost.empty() ? "" : ", ") + std::string(kHooks[i].name);
    }
  }
  out.first = true;
  for (size_t hook : kOrderedHooks) {
    const char* name = kHooks[hook].name + std::strlen("sluice_");
    SLUICE_ASSIGN(Place place, place_of(cgroup.get(), kHooks[hook], programs[hook]));
    if (hook > 0 && (place.at == 1 || !out.first))
      continue;  // the two differ seldom: the first that is behind is told
    out.first = place.at == 1;
    if (place.at)
      out.text = std::to_string(place.at) + " of " + std::to_string(place.of) + " on " + name +
                 " (in running order: " + place.names + ")";
    else
      out.text =
          place.of ? std::string("not attached; others on ") + name + ": " + place.names : "not attached";
  }
  if (out.attached && !lost.empty()) out.text += "; not attached any more: " + lost;
  return out;
}

std::vector<KernelObject> pinned_objects(const PinPaths& paths) {
  std::vector<KernelObject> out;
  auto add_link = [&](const std::string& path, const std::string& name) {
    auto link = open_link(path);
    if (!link.ok()) return;
    out.push_back({KernelObject::Kind::link, link->id, name});
    Fd prog(::bpf_prog_get_fd_by_id(link->prog_id));
    if (!prog.valid()) return;
    out.push_back({KernelObject::Kind::program, link->prog_id, name});
    // Its maps, the private read-only one too.
    uint32_t map_ids[32] = {};
    bpf_prog_info info{};
    info.nr_map_ids = 32;
    info.map_ids = reinterpret_cast<uint64_t>(map_ids);
    uint32_t len = sizeof(info);
    if (::bpf_obj_get_info_by_fd(prog.get(), &info, &len) != 0) return;
    for (uint32_t i = 0; i < info.nr_map_ids && i < 32; ++i) {
      bool known = false;
      for (const auto& o : out) known |= o.kind == KernelObject::Kind::map && o.id == map_ids[i];
      if (known) continue;
      Fd map(::bpf_map_get_fd_by_id(map_ids[i]));
      bpf_map_info mi{};
      uint32_t mlen = sizeof(mi);
      if (map.valid() && ::bpf_obj_get_info_by_fd(map.get(), &mi, &mlen) == 0)
        out.push_back({KernelObject::Kind::map, map_ids[i], mi.name});
    }
  };
  for (const auto& name : list_dir(paths.links)) add_link(paths.links + "/" + name, name);
  for (const auto& name : list_dir(paths.inbound))
    add_link(paths.inbound + "/" + name, "sluice_inbound/" + name);
  for (const auto& name : list_dir(paths.maps)) {
    Fd map(::bpf_obj_get((paths.maps + "/" + name).c_str()));
    bpf_map_info mi{};
    uint32_t len = sizeof(mi);
    if (!map.valid() || ::bpf_obj_get_info_by_fd(map.get(), &mi, &len) != 0) continue;
    bool known = false;
    for (const auto& o : out) known |= o.kind == KernelObject::Kind::map && o.id == mi.id;
    if (!known) out.push_back({KernelObject::Kind::map, mi.id, mi.name});
  }
  return out;
}

}  // namespace sluice::redirect
