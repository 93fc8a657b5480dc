#pragma once

#include "core/json.h"
#include "redirect/types.h"

// The shapes that state files, the control socket and `sluicectl -o json` share.
namespace sluice::redirect {

// A WorkloadSpec in JSON: the state file's "spec", and the body of POST /workloads on sluiced's control socket.
//   {"name": "ns/pod", "netns": "/run/netns/x", "fail_mode": "closed"|"open", "outbound": true, "inbound": true,
//    "outbound_port": 15001, "inbound_port": 15006,
//    "exclude_outbound_ports": [..], "include_outbound_ports": [..], "exclude_cidrs": ["10.0.0.0/8"],
//    "include_cidrs": [..], "exclude_uids": [..], "exclude_inbound_ports": [..], "include_inbound_ports": [..],
//    "probe_sources": ["10.0.0.1/32"],
//    "identity": "spiffe://cluster.local/ns/a/sa/b", "secrets": {"files"|"sds"|"development_ca": "/path"}}
// Only name and netns are required. Unknown members and wrong types are refused by name.
Json to_json(const WorkloadSpec& spec);
Result<WorkloadSpec> spec_from_json(const Json& json);
Status validate(const WorkloadSpec& spec);

// A workload in force: {"id", "netns_cookie", "generation", "netns_handle", "inbound_attached", "listening":
// {"outbound_v4", "outbound_v6", "inbound_v4", "inbound_v6"}, "spec": as above}; name and netns are empty when its state
// file is lost.
Json workload_to_json(const Workload& workload);
// {"side": "client"|"accepted"|"handshake"|"proxy", "original_destination", "v4_mapped", "rule", "local", "remote",
//  "target", "tcp_state", "netns_cookie", "workload_id", "generation", "uid", "pid", "created_ns"}.
Json redirect_to_json(const Redirect& redirect);

}  // namespace sluice::redirect
