/* The maps. All are pinned under <bpffs>/sluice/v<ABI>/maps and outlive sluiced; names fit the kernel's 15 characters.
 * "control" is sluiced's control thread, or sluicectl while sluiced is dead. */
#ifndef SLUICE_BPF_LIB_MAPS_H_
#define SLUICE_BPF_LIB_MAPS_H_

#include "common.h"

/* Settings of the whole node. Written by control (proxy identity at start, generation at enrolment); read by every
 * hook. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct sluice_config);
} sl_config SEC(".maps");

/* Enrolled network namespaces. Written by control at enrol, deleted at release. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, SLUICE_WORKLOADS_MAX);
  __type(key, __u64);
  __type(value, struct sluice_workload);
} sl_workloads SEC(".maps");

/* The proxy's listening sockets: its liveness. Written by sluiced's control once they listen; an entry goes when its
 * socket closes, which the kernel does also for a process that was killed. */
struct {
  __uint(type, BPF_MAP_TYPE_SOCKHASH);
  __uint(max_entries, SLUICE_WORKLOADS_MAX* SLUICE_LISTENER_ROLES + 1);
  __type(key, struct sluice_listener_key);
  __type(value, __u64);
} sl_listeners SEC(".maps");

/* Port rules of a generation. Written by control before a workload points at the generation, deleted after none does. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, SLUICE_PORT_RULES_MAX);
  __type(key, struct sluice_port_key);
  __type(value, __u8);
} sl_ports SEC(".maps");

/* Destination prefixes and probe sources of a generation; life as sl_ports. */
struct {
  __uint(type, BPF_MAP_TYPE_LPM_TRIE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, SLUICE_CIDR_RULES_MAX);
  __type(key, struct sluice_cidr_key);
  __type(value, __u8);
} sl_cidrs SEC(".maps");

/* Excluded users of a generation; life as sl_ports. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, SLUICE_UID_RULES_MAX);
  __type(key, struct sluice_uid_key);
  __type(value, __u8);
} sl_uids SEC(".maps");

/* The original destination, on the socket itself. Written by connect4|6 (application's socket) and by sockops (accepted
 * socket); read by getpeername, getsockopt and, by socket fd, by sluiced's workers. Dies with the socket. */
struct {
  __uint(type, BPF_MAP_TYPE_SK_STORAGE);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __type(key, int);
  __type(value, struct sluice_redirect);
} sl_redirects SEC(".maps");

/* Carries a redirect from the connecting to the accepted socket (and names the proxy's own handshakes with the
 * application to sk_lookup). Written by sockops before the SYN leaves; deleted by
 * sockops when the accepted socket is established, or when the connecting one closes without that. A plain hash: what
 * an LRU forgets under load would be a connection sent astray. */
struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(map_flags, BPF_F_NO_PREALLOC);
  __uint(max_entries, SLUICE_BRIDGE_MAX);
  __type(key, struct sluice_tuple);
  __type(value, struct sluice_redirect);
} sl_bridge SEC(".maps");

/* Written by sockops only, atomically; read by connect4|6 to know a full bridge before it is too late to turn round. */
struct {
  __uint(type, BPF_MAP_TYPE_ARRAY);
  __uint(max_entries, 1);
  __type(key, __u32);
  __type(value, struct sluice_gauges);
} sl_gauges SEC(".maps");

/* One counter a decision (enum sluice_decision). Written by every hook, only ever upwards; read by control. */
struct {
  __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
  __uint(max_entries, SLUICE_DECISION_COUNT);
  __type(key, __u32);
  __type(value, __u64);
} sl_counters SEC(".maps");

/* Decisions as they happen, while SLUICE_CONFIG_EVENTS is set; one reader at a time. */
struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 256 * 1024);
} sl_events SEC(".maps");

#endif /* SLUICE_BPF_LIB_MAPS_H_ */
