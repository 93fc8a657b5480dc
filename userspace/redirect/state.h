#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/fd.h"
#include "redirect/json.h"
#include "redirect/types.h"

namespace sluice::redirect {

// What outlives a process but is not in the maps: <state_dir>/workloads/<name>.json.
struct WorkloadState {
  WorkloadSpec spec;
  uint64_t netns_cookie = 0;
  uint64_t netns_inode = 0;
  uint32_t id = 0;
  std::string netns_handle;  // the bind mount; empty where none could be made
  // Set while the return path (return_path.h) is made: what net.ipv4.tcp_fwmark_accept was before.
  std::optional<int> fwmark_accept_before = std::nullopt;
};

// The workload's namespace, by its handle or by whoever lives in it. ENOENT: it is gone.
Result<Fd> open_netns_of(const WorkloadState& state);

class StateDir {
 public:
  explicit StateDir(std::string dir) : dir_(std::move(dir)) {}
  Status prepare() const;
  std::string workload_path(const std::string& name) const;  // '/' in names becomes "%2F"
  std::string handle_path(const std::string& name) const;
  Status save(const WorkloadState& state) const;
  void remove(const std::string& name) const;  // file and bind mount
  std::vector<WorkloadState> load() const;     // unreadable files are logged and skipped
  std::optional<WorkloadState> load(const std::string& name) const;
  const std::string& dir() const { return dir_; }

 private:
  std::string dir_;
};

}  // namespace sluice::redirect
