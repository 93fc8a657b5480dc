#include "redirect/pins.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdarg>
#include <cstdio>

#include "core/log.h"
#include "redirect/host.h"
#include "sluice/abi/redirect.h"

namespace sluice::redirect {
namespace {

struct MapShape {
  const char* name;
  uint32_t type, key_size, value_size;
};

constexpr std::array<MapShape, kMapCount> kShapes = {{
    {"sl_config", BPF_MAP_TYPE_ARRAY, 4, sizeof(sluice_config)},
    {"sl_workloads", BPF_MAP_TYPE_HASH, 8, sizeof(sluice_workload)},
    {"sl_listeners", BPF_MAP_TYPE_SOCKHASH, sizeof(sluice_listener_key), 8},
    {"sl_ports", BPF_MAP_TYPE_HASH, sizeof(sluice_port_key), 1},
    {"sl_cidrs", BPF_MAP_TYPE_LPM_TRIE, sizeof(sluice_cidr_key), 1},
    {"sl_uids", BPF_MAP_TYPE_HASH, sizeof(sluice_uid_key), 1},
    {"sl_redirects", BPF_MAP_TYPE_SK_STORAGE, 4, sizeof(sluice_redirect)},
    {"sl_bridge", BPF_MAP_TYPE_HASH, sizeof(sluice_tuple), sizeof(sluice_redirect)},
    {"sl_gauges", BPF_MAP_TYPE_ARRAY, 4, sizeof(sluice_gauges)},
    {"sl_counters", BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8},
    {"sl_events", BPF_MAP_TYPE_RINGBUF, 0, 0},
}};

thread_local std::string* libbpf_words = nullptr;

int print_libbpf(libbpf_print_level level, const char* format, va_list args) {
  char line[8192];
  va_list again;
  va_copy(again, args);
  int n = std::vsnprintf(line, sizeof(line), format, args);
  if (level != LIBBPF_DEBUG && libbpf_words) {
    if (n >= static_cast<int>(sizeof(line))) {  // the verifier's log comes as one long message
      std::string all(static_cast<size_t>(n) + 1, '\0');
      std::vsnprintf(all.data(), all.size(), format, again);
      all.pop_back();
      *libbpf_words += all;
    } else if (n > 0) {
      *libbpf_words += line;
    }
  }
  va_end(again);
  return 0;
}

}  // namespace

const char* map_name(MapId id) {
  return kShapes[static_cast<size_t>(id)].name;
}

const std::array<Hook, kHookCount> kHooks = {{
    {"sluice_connect4", BPF_CGROUP_INET4_CONNECT},
    {"sluice_connect6", BPF_CGROUP_INET6_CONNECT},
    {"sluice_sockops", BPF_CGROUP_SOCK_OPS},
    {"sluice_peername4", BPF_CGROUP_INET4_GETPEERNAME},
    {"sluice_peername6", BPF_CGROUP_INET6_GETPEERNAME},
    {"sluice_sockopt", BPF_CGROUP_GETSOCKOPT},
}};

PinPaths::PinPaths(const std::string& root_dir)
    : PinPaths(root_dir, "v" + std::to_string(SLUICE_ABI_VERSION)) {}

PinPaths::PinPaths(const std::string& root_dir, const std::string& version)
    : root(root_dir),
      dir(root + "/" + version),
      maps(dir + "/maps"),
      links(dir + "/links"),
      inbound(dir + "/inbound") {}

Status refuse_other_versions(const PinPaths& paths) {
  std::string ours = "v" + std::to_string(SLUICE_ABI_VERSION);
  for (const auto& name : our_dirs(paths.root)) {
    if (name == ours || name[0] != 'v') continue;
    return Error{paths.root + "/" + name +
                     " holds the BPF side of another ABI version (this program speaks " + ours +
                     "); nothing was changed. Run `sluicectl uninstall` of that version first",
                 EEXIST};
  }
  return {};
}

std::vector<std::string> our_dirs(const std::string& root) {
  std::vector<std::string> out;
  for (auto& name : list_dir(root)) {
    bool version =
        name.size() > 1 && name[0] == 'v' && name.find_first_not_of("0123456789", 1) == std::string::npos;
    if (version || name == "staging") out.push_back(std::move(name));
  }
  return out;
}

bool installed(const PinPaths& paths) {
  struct stat st{};
  return ::stat(paths.dir.c_str(), &st) == 0;
}

Result<Maps> open_pinned_maps(const PinPaths& paths) {
  if (!installed(paths))
    return Error{"nothing is installed under " + paths.root + " (sluiced installs it when it starts)",
                 ENOENT};
  Maps maps;
  for (size_t i = 0; i < kMapCount; ++i) {
    std::string path = paths.map(static_cast<MapId>(i));
    Fd fd(::bpf_obj_get(path.c_str()));
    if (!fd.valid()) return errno_error(errno == ENOENT ? EIO : errno, "pinned map " + path);
    bpf_map_info info{};
    uint32_t len = sizeof(info);
    if (::bpf_obj_get_info_by_fd(fd.get(), &info, &len) != 0) return errno_error(errno, "pinned map " + path);
    const MapShape& want = kShapes[i];
    if (info.type != want.type || info.key_size != want.key_size || info.value_size != want.value_size)
      return Error{"pinned map " + path + " has another shape than this program's (type " +
                       std::to_string(info.type) + ", key " + std::to_string(info.key_size) + ", value " +
                       std::to_string(info.value_size) + "); run `sluicectl uninstall` and start again",
                   EINVAL};
    // The list of decisions is part of the ABI, and its length shows in this map alone.
    if (static_cast<MapId>(i) == MapId::counters && info.max_entries != SLUICE_DECISION_COUNT)
      return Error{"pinned map " + path + " counts " + std::to_string(info.max_entries) +
                       " decisions, this program knows " + std::to_string(SLUICE_DECISION_COUNT) +
                       "; nothing was changed. Run `sluicectl uninstall` and "
                       "start again",
                   EEXIST};
    maps.fds[i] = std::move(fd);
  }
  sluice_config config{};
  uint32_t zero = 0;
  if (::bpf_map_lookup_elem(maps[MapId::config], &zero, &config) != 0)
    return errno_error(errno, "map sl_config");
  if (config.abi_version != SLUICE_ABI_VERSION)
    return Error{"the BPF side under " + paths.dir + " speaks ABI version " +
                     std::to_string(config.abi_version) + ", this program " +
                     std::to_string(SLUICE_ABI_VERSION) +
                     "; nothing was changed. Run `sluicectl uninstall` of that version first",
                 EEXIST};
  return maps;
}

Status pin_map(int fd, const std::string& path) {
  if (::bpf_obj_pin(fd, path.c_str()) != 0) return errno_error(errno, "pin " + path);
  return {};
}

Result<LinkInfo> open_link(const std::string& path) {
  LinkInfo out;
  out.fd.reset(::bpf_obj_get(path.c_str()));
  if (!out.fd.valid()) return errno_error(errno, "pinned link " + path);
  bpf_link_info info{};
  uint32_t len = sizeof(info);
  if (::bpf_obj_get_info_by_fd(out.fd.get(), &info, &len) != 0)
    return errno_error(errno, "pinned link " + path);
  out.id = info.id;
  out.prog_id = info.prog_id;
  if (info.type == BPF_LINK_TYPE_CGROUP) out.cgroup_id = info.cgroup.cgroup_id;
  if (info.type == BPF_LINK_TYPE_NETNS) out.netns_inode = info.netns.netns_ino;
  return out;
}

std::string describe(const KernelObject& object) {
  const char* kind = object.kind == KernelObject::Kind::program ? "program"
                     : object.kind == KernelObject::Kind::map   ? "map"
                                                                : "link";
  return std::string(kind) + " " + object.name + " (id " + std::to_string(object.id) + ")";
}

bool exists(const KernelObject& object) {
  int fd = -1;
  switch (object.kind) {
    case KernelObject::Kind::program:
      fd = ::bpf_prog_get_fd_by_id(object.id);
      break;
    case KernelObject::Kind::map:
      fd = ::bpf_map_get_fd_by_id(object.id);
      break;
    case KernelObject::Kind::link:
      fd = ::bpf_link_get_fd_by_id(object.id);
      break;
  }
  if (fd >= 0) ::close(fd);
  return fd >= 0 || errno != ENOENT;
}

LibbpfLog::LibbpfLog() {
  static bool once = (::libbpf_set_print(print_libbpf), true);
  (void)once;
  delete libbpf_words;
  libbpf_words = new std::string;
}

LibbpfLog::~LibbpfLog() {
  delete libbpf_words;
  libbpf_words = nullptr;
}

Error LibbpfLog::error(int code, const std::string& what) const {
  constexpr size_t kTail = 4000;
  Error e = errno_error(code < 0 ? -code : code, what);
  if (libbpf_words && !libbpf_words->empty()) {
    SLUICE_LOG(redirect, debug, "{}: libbpf says:\n{}", what, *libbpf_words);
    e.message += "\nlibbpf says: ";
    e.message += libbpf_words->size() > kTail ? "... " + libbpf_words->substr(libbpf_words->size() - kTail)
                                              : *libbpf_words;
  }
  if (e.code == EPERM)
    e.message +=
        "\nCAP_BPF, CAP_NET_ADMIN and CAP_PERFMON are needed (root has them; in a pod: securityContext."
        "capabilities.add)";
  return e;
}

}  // namespace sluice::redirect
