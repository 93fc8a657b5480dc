#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "core/fd.h"
#include "core/result.h"
#include "redirect/types.h"

struct bpf_object;

// The pinned half of the BPF side: where it is, and handles on its maps. Includes no libbpf header, but is private to
// userspace/redirect/ all the same.
namespace sluice::redirect {

enum class MapId : uint8_t {
  config,
  workloads,
  listeners,
  ports,
  cidrs,
  uids,
  redirects,
  bridge,
  gauges,
  counters,
  events,
  count
};
constexpr size_t kMapCount = static_cast<size_t>(MapId::count);
const char* map_name(MapId id);

struct Maps {
  std::array<Fd, kMapCount> fds;
  int operator[](MapId id) const { return fds[static_cast<size_t>(id)].get(); }
};

// The cgroup hooks, by the name of program and pin.
struct Hook {
  const char* name;
  int attach_type;  // enum bpf_attach_type
};
constexpr size_t kHookCount = 6;
extern const std::array<Hook, kHookCount> kHooks;
constexpr size_t kSockoptHook = 5;  // optional: Options::so_original_dst

// <root>/v<ABI version>/{maps,links,inbound}
struct PinPaths {
  explicit PinPaths(const std::string& root);
  PinPaths(const std::string& root, const std::string& version);  // of another version: "v7"
  std::string root, dir, maps, links, inbound;
  std::string map(MapId id) const { return maps + "/" + map_name(id); }
  std::string link(const Hook& hook) const { return links + "/" + hook.name; }
  std::string inbound_link(uint64_t cookie) const { return inbound + "/" + std::to_string(cookie); }
};

// Refuses when another ABI version is pinned under `root`: its programs would not understand our maps, nor we theirs.
Status refuse_other_versions(const PinPaths& paths);
bool installed(const PinPaths& paths);
// What is ours directly under `root`: "v2", "staging". (A bpffs has files of the kernel's own there.)
std::vector<std::string> our_dirs(const std::string& root);
// ENOENT: nothing is pinned. Checks type, key and value size of each map, and the ABI version kept inside.
Result<Maps> open_pinned_maps(const PinPaths& paths);
Status pin_map(int fd, const std::string& path);
// A pinned link, and what it is attached to.
struct LinkInfo {
  Fd fd;
  uint32_t id = 0, prog_id = 0;
  uint64_t cgroup_id = 0;  // 0: its cgroup is gone
  uint32_t netns_inode = 0;  // likewise
};
Result<LinkInfo> open_link(const std::string& path);

// Ids and names of kernel objects, to tell later whether they are gone.
struct KernelObject {
  enum class Kind : uint8_t { program, map, link };
  Kind kind;
  uint32_t id;
  std::string name;
};
std::string describe(const KernelObject& object);
bool exists(const KernelObject& object);

// libbpf's own words, gathered while it lives, for the error message; one at a time per thread. The verifier's log is
// in there, cut to its end, where the reason stands.
class LibbpfLog {
 public:
  LibbpfLog();
  ~LibbpfLog();
  Error error(int code, const std::string& what) const;
};

}  // namespace sluice::redirect
