#pragma once

#include "core/json.h"
#include "redirect/types.h"

namespace sluice::redirect {

// A WorkloadSpec in JSON: the state file's "spec", and the body of POST /workloads on sluiced's control socket.
//   {"name": "ns/pod", "netns": "/run/netns/x", "fail_mode": "closed"|"open", "outbound": true, "inbound": true,
//    "outbound_port": 15001, "inbound_port": 15006,
//    "exclude_outbound_ports": [..], "include_outbound_ports": [..], "exclude_cidrs": ["10.0.0.0/8"],
//    "include_cidrs": [..], "exclude_uids": [..], "exclude_inbound_ports": [..], "include_inbound_ports": [..],
//    "probe_sources": ["10.0.0.1/32"]}
// Only name and netns are required. Unknown members and wrong types are refused by name.
Json to_json(const WorkloadSpec& spec);
Result<WorkloadSpec> spec_from_json(const Json& json);
Status validate(const WorkloadSpec& spec);

// What outlives a process but is not in the maps: <state_dir>/workloads/<name>.json.
struct WorkloadState {
  WorkloadSpec spec;
  uint64_t netns_cookie = 0;
  uint64_t netns_inode = 0;
  uint32_t id = 0;
  std::string netns_handle;  // the bind mount; empty where none could be made
};

class StateDir {
 public:
  explicit StateDir(std::string dir) : dir_(std::move(dir)) {}
  Status prepare() const;
  std::string workload_path(const std::string& name) const;  // '/' in names becomes "%2F"
  std::string handle_path(const std::string& name) const;
  Status save(const WorkloadState& state) const;
  void remove(const std::string& name) const;  // file and bind mount
  std::vector<WorkloadState> load() const;     // unreadable files are logged and skipped
  const std::string& dir() const { return dir_; }

 private:
  std::string dir_;
};

}  // namespace sluice::redirect
