/* What the BPF programs and userspace say to each other: the keys, values and numbers in the maps. One header for both
 * sides (C for BPF, C++ for userspace); sizes and offsets are asserted wherever it is compiled.
 *
 * Rules: no implicit padding; `_be` is network byte order, everything else the host's; an IPv4 address is always kept
 * as ::ffff:a.b.c.d in 16 bytes. Any change of meaning, size or number raises SLUICE_ABI_VERSION: pins of another
 * version are refused, never reinterpreted.
 */
#ifndef SLUICE_ABI_REDIRECT_H_
#define SLUICE_ABI_REDIRECT_H_

#ifdef __bpf__ /* vmlinux.h has the types */
#define SLUICE_ABI_ASSERT(cond) _Static_assert(cond, #cond)
#else
#include <linux/types.h>
#define SLUICE_ABI_ASSERT(cond) static_assert(cond, #cond)
#endif
#define SLUICE_ABI_OFFSET(type, field, at) SLUICE_ABI_ASSERT(__builtin_offsetof(struct type, field) == (at))

#define SLUICE_ABI_VERSION 2

/* Limits of the maps. A full rule map refuses enrolment; a full bridge is answered with the workload's fail mode. */
#define SLUICE_WORKLOADS_MAX 4096
#define SLUICE_PORT_RULES_MAX 65536
#define SLUICE_UID_RULES_MAX 16384
#define SLUICE_CIDR_RULES_MAX 131072
#define SLUICE_BRIDGE_MAX 65536 /* handshakes under way at once, whole node */
#define SLUICE_BRIDGE_SLACK 256 /* kept free for handshakes that have passed the capacity check already */
#define SLUICE_SPREAD_MAX 250 /* 127.0.0.1 .. 127.0.0.250 */

/* ---- sl_config: one entry, key 0 ---- */

#define SLUICE_CONFIG_EVENTS 1u /* write decisions to the sl_events ring buffer */

/* Who is the proxy: a socket that carries one of the marks AND whose calling task is in the cgroup. */
struct sluice_config {
  __u32 abi_version;
  __u32 flags; /* SLUICE_CONFIG_* */
  __u64 proxy_cgroup_id; /* cgroup v2 id; 0: nobody is the proxy */
  __u32 proxy_mark; /* SO_MARK; 0: nobody is the proxy */
  __u32
      transparent_mark; /* SO_MARK of connections to the application that keep the caller's address; 0: none do */
  __u32 generation; /* last one given out; userspace only */
  __u32 pad;
};
SLUICE_ABI_ASSERT(sizeof(struct sluice_config) == 32);
SLUICE_ABI_OFFSET(sluice_config, flags, 4);
SLUICE_ABI_OFFSET(sluice_config, proxy_cgroup_id, 8);
SLUICE_ABI_OFFSET(sluice_config, proxy_mark, 16);
SLUICE_ABI_OFFSET(sluice_config, transparent_mark, 20);
SLUICE_ABI_OFFSET(sluice_config, generation, 24);

/* ---- sl_workloads: netns cookie (__u64) → settings ---- */

enum sluice_workload_flags {
  SLUICE_WF_OUTBOUND = 1 << 0, /* connects are redirected */
  SLUICE_WF_INBOUND = 1 << 1, /* arriving connections are taken */
  SLUICE_WF_PORTS_OUT = 1 << 2, /* there are rules in sl_ports for outbound ... */
  SLUICE_WF_PORTS_IN = 1 << 3, /* ... for inbound */
  SLUICE_WF_CIDRS_OUT = 1 << 4, /* ... in sl_cidrs for destinations */
  SLUICE_WF_PROBES = 1 << 5, /* ... in sl_cidrs for probe sources */
  SLUICE_WF_UIDS = 1 << 6, /* ... in sl_uids */
  SLUICE_WF_ONLY_LISTED_OUT = 1 << 7, /* outbound: only an include rule (port or CIDR) redirects */
  SLUICE_WF_ONLY_LISTED_IN = 1 << 8, /* inbound: only an include rule (port) takes */
};

enum sluice_fail_mode {
  SLUICE_FAIL_CLOSED = 0, /* no proxy, no connection: ECONNREFUSED at once */
  SLUICE_FAIL_OPEN = 1, /* no proxy: straight to the destination */
};

struct sluice_workload {
  __u32 workload_id; /* stable while enrolled */
  __u32 generation; /* changes with every enrol; the key of this workload's rules */
  __u32 flags; /* enum sluice_workload_flags */
  __u16 outbound_port;
  __u16 inbound_port;
  __u8 fail_mode; /* enum sluice_fail_mode */
  __u8 spread; /* IPv4 targets are 127.0.0.1 .. 127.0.0.spread */
  __u8 pad[6];
  /* What a redirected connection has as its source, as it would have without us; all zero: none known, loopback then. */
  __u8 source_v4[16];
  __u8 source_v6[16];
};
SLUICE_ABI_ASSERT(sizeof(struct sluice_workload) == 56);
SLUICE_ABI_OFFSET(sluice_workload, generation, 4);
SLUICE_ABI_OFFSET(sluice_workload, flags, 8);
SLUICE_ABI_OFFSET(sluice_workload, outbound_port, 12);
SLUICE_ABI_OFFSET(sluice_workload, inbound_port, 14);
SLUICE_ABI_OFFSET(sluice_workload, fail_mode, 16);
SLUICE_ABI_OFFSET(sluice_workload, spread, 17);
SLUICE_ABI_OFFSET(sluice_workload, source_v4, 24);
SLUICE_ABI_OFFSET(sluice_workload, source_v6, 40);

/* ---- sl_listeners: which listening socket serves a workload; the kernel removes an entry when its socket closes ---- */

enum sluice_listener_role {
  SLUICE_LISTENER_OUT_V4 = 0,
  SLUICE_LISTENER_OUT_V6 = 1,
  SLUICE_LISTENER_IN_V4 = 2,
  SLUICE_LISTENER_IN_V6 = 3,
  SLUICE_LISTENER_ROLES = 4,
  /* With netns cookie 0: a socket that does nothing but close when sluiced ends. io_uring may hold a killed process's
     listening sockets for a while; this one is in no ring, so that it goes before the process does. */
  SLUICE_LISTENER_ALIVE = 4,
};

struct sluice_listener_key {
  __u64 netns_cookie;
  __u32 role; /* enum sluice_listener_role */
  __u32 pad;
};
SLUICE_ABI_ASSERT(sizeof(struct sluice_listener_key) == 16);
SLUICE_ABI_OFFSET(sluice_listener_key, role, 8);

/* ---- rules; keyed by generation, so that a new set is written whole before a workload is switched to it ---- */

enum sluice_rule_action { SLUICE_RULE_EXCLUDE = 1, SLUICE_RULE_INCLUDE = 2 };
enum sluice_direction { SLUICE_OUTBOUND = 0, SLUICE_INBOUND = 1 };

/* sl_ports → __u8 action */
struct sluice_port_key {
  __u32 generation;
  __u16 port;
  __u8 direction; /* enum sluice_direction */
  __u8 pad;
};
SLUICE_ABI_ASSERT(sizeof(struct sluice_port_key) == 8);
SLUICE_ABI_OFFSET(sluice_port_key, port, 4);
SLUICE_ABI_OFFSET(sluice_port_key, direction, 6);

/* sl_uids → __u8 action (only exclude) */
struct sluice_uid_key {
  __u32 generation;
  __u32 uid; /* real uid, as the initial user namespace sees it */
};
SLUICE_ABI_ASSERT(sizeof(struct sluice_uid_key) == 8);

/* sl_cidrs (LPM) → __u8 action. prefix_len counts generation and scope too: SLUICE_CIDR_BASE_BITS + IPv6 bits. */
enum sluice_cidr_scope {
  SLUICE_SCOPE_DESTINATION = 0,
  SLUICE_SCOPE_PROBE_SOURCE = 1,
  SLUICE_SCOPE_V6 = 1 << 8, /* added for IPv6: ::/0 must not match IPv4, which lives in ::ffff:0:0/96 here */
};
#define SLUICE_CIDR_BASE_BITS 64

struct sluice_cidr_key {
  __u32 prefix_len;
  __u32 generation;
  __u32 scope; /* enum sluice_cidr_scope, two of them or-ed */
  __u8 addr[16];
};
SLUICE_ABI_ASSERT(sizeof(struct sluice_cidr_key) == 28);
SLUICE_ABI_OFFSET(sluice_cidr_key, generation, 4);
SLUICE_ABI_OFFSET(sluice_cidr_key, scope, 8);
SLUICE_ABI_OFFSET(sluice_cidr_key, addr, 12);

/* ---- decisions: one list for the counters, the rule in a redirect, the events and the tables of sluicectl ---- */

#define SLUICE_DECISIONS(X)                                                                    \
  /* outbound: connect() was left alone ... */                                                 \
  X(OUT_NOT_ENROLLED, "outbound.passed.not_enrolled")                                          \
  X(OUT_NOT_TCP, "outbound.passed.not_tcp")                                                    \
  X(OUT_OFF, "outbound.passed.off")                                                            \
  X(OUT_PROXY, "outbound.passed.proxy")                                                        \
  X(OUT_LOOPBACK, "outbound.passed.loopback")                                                  \
  X(OUT_EXCLUDED_UID, "outbound.passed.excluded_uid")                                          \
  X(OUT_EXCLUDED_PORT, "outbound.passed.excluded_port")                                        \
  X(OUT_EXCLUDED_CIDR, "outbound.passed.excluded_cidr")                                        \
  X(OUT_NOT_INCLUDED, "outbound.passed.not_included")                                          \
  /* ... or sent to the proxy (default, or by an include rule) ... */                          \
  X(OUT_REDIRECTED, "outbound.redirected.default")                                             \
  X(OUT_INCLUDED_PORT, "outbound.redirected.included_port")                                    \
  X(OUT_INCLUDED_CIDR, "outbound.redirected.included_cidr")                                    \
  /* ... or should have been and could not: refused or passed, as the fail mode says */        \
  X(OUT_REFUSED_NO_PROXY, "outbound.refused.no_proxy")                                         \
  X(OUT_REFUSED_NO_STORAGE, "outbound.refused.no_storage")                                     \
  X(OUT_REFUSED_BRIDGE_FULL, "outbound.refused.bridge_full")                                   \
  X(OUT_REFUSED_BOUND_DEVICE, "outbound.refused.bound_device")                                 \
  X(OUT_OPEN_NO_PROXY, "outbound.failed_open.no_proxy")                                        \
  X(OUT_OPEN_NO_STORAGE, "outbound.failed_open.no_storage")                                    \
  X(OUT_OPEN_BRIDGE_FULL, "outbound.failed_open.bridge_full")                                  \
  X(OUT_OPEN_BOUND_DEVICE, "outbound.failed_open.bound_device")                                \
  /* redirected, but the pod's address is no longer there: the proxy sees a loopback source */ \
  X(SOURCE_NOT_BOUND, "source.not_bound")                                                      \
  /* from the connecting to the accepted socket */                                             \
  X(BRIDGE_WRITTEN, "bridge.written")                                                          \
  X(BRIDGE_MOVED, "bridge.moved")                                                              \
  X(BRIDGE_ABANDONED, "bridge.abandoned") /* the connect failed: entry deleted */              \
  X(BRIDGE_WRITE_FAILED, "bridge.write_failed") /* sluiced sees no destination and resets */   \
  X(BRIDGE_NO_STORAGE, "bridge.no_storage") /* likewise */                                     \
  X(BRIDGE_DIRECT, "bridge.direct") /* accepted on the outbound port, no redirect */           \
  /* what applications were told */                                                            \
  X(TOLD_PEERNAME, "told.getpeername")                                                         \
  X(TOLD_ORIGINAL_DST, "told.so_original_dst")                                                 \
  /* inbound: left to the application's own listener ... */                                    \
  X(IN_NOT_TCP, "inbound.passed.not_tcp")                                                      \
  X(IN_OFF, "inbound.passed.off")                                                              \
  X(IN_LOOPBACK, "inbound.passed.loopback")                                                    \
  X(IN_PROXY, "inbound.passed.proxy")                                                          \
  X(IN_PROXY_PORT, "inbound.passed.proxy_port")                                                \
  X(IN_EXCLUDED_PORT, "inbound.passed.excluded_port")                                          \
  X(IN_PROBE, "inbound.passed.probe")                                                          \
  X(IN_NOT_INCLUDED, "inbound.passed.not_included")                                            \
  /* ... taken to virtualInbound ... */                                                        \
  X(IN_TAKEN, "inbound.taken.default")                                                         \
  X(IN_INCLUDED_PORT, "inbound.taken.included_port")                                           \
  /* ... refused with a RST, or passed, as the fail mode says */                               \
  X(IN_REFUSED_NO_PROXY, "inbound.refused.no_proxy")                                           \
  X(IN_OPEN_NO_PROXY, "inbound.failed_open.no_proxy")                                          \
  X(EVENTS_LOST, "events.lost")

enum sluice_decision {
#define SLUICE_DECISION_ENUM(name, text) SLUICE_D_##name,
  SLUICE_DECISIONS(SLUICE_DECISION_ENUM)
#undef SLUICE_DECISION_ENUM
      SLUICE_DECISION_COUNT
};

/* ---- sl_redirects: socket storage, on the connecting and (after the handshake) on the accepted socket ---- */

enum sluice_redirect_role {
  SLUICE_ROLE_NONE = 0, /* no redirect any more; kept for `source_bound` */
  SLUICE_ROLE_CLIENT = 1, /* the application's socket */
  SLUICE_ROLE_ACCEPTED = 2, /* the proxy's downstream socket */
  SLUICE_ROLE_PROXY =
      3, /* the proxy's connection to the application, under the caller's address: no redirect, but
                               its SYN must be told from the caller's own; original_* and target_* are the application */
};

struct sluice_redirect {
  __u64 netns_cookie;
  __u64 created_ns; /* CLOCK_MONOTONIC at connect() */
  __u8 original_addr[16];
  __u8 target_addr[16]; /* what the address was rewritten to */
  __be16 original_port_be;
  __be16 target_port_be;
  __u32 workload_id;
  __u32 generation;
  __u32 uid; /* of the connecting task */
  __u32 pid; /* likewise (tgid, initial pid namespace) */
  __u8 family; /* AF_INET, or AF_INET6 (v4-mapped included): the application's socket */
  __u8 role; /* enum sluice_redirect_role */
  __u8 rule; /* enum sluice_decision: why it was redirected */
  __u8 source_bound; /* the socket's source address is our choice, not the application's */
};
SLUICE_ABI_ASSERT(sizeof(struct sluice_redirect) == 72);
SLUICE_ABI_OFFSET(sluice_redirect, created_ns, 8);
SLUICE_ABI_OFFSET(sluice_redirect, original_addr, 16);
SLUICE_ABI_OFFSET(sluice_redirect, target_addr, 32);
SLUICE_ABI_OFFSET(sluice_redirect, original_port_be, 48);
SLUICE_ABI_OFFSET(sluice_redirect, target_port_be, 50);
SLUICE_ABI_OFFSET(sluice_redirect, workload_id, 52);
SLUICE_ABI_OFFSET(sluice_redirect, generation, 56);
SLUICE_ABI_OFFSET(sluice_redirect, uid, 60);
SLUICE_ABI_OFFSET(sluice_redirect, pid, 64);
SLUICE_ABI_OFFSET(sluice_redirect, family, 68);
SLUICE_ABI_OFFSET(sluice_redirect, role, 69);
SLUICE_ABI_OFFSET(sluice_redirect, rule, 70);
SLUICE_ABI_OFFSET(sluice_redirect, source_bound, 71);

/* ---- sl_bridge: handshakes under way, as the connecting side names them → struct sluice_redirect ---- */

struct sluice_tuple {
  __u64 netns_cookie;
  __u8 client_addr[16];
  __u8 server_addr[16];
  __be16 client_port_be;
  __be16 server_port_be;
  __u32 pad;
};
SLUICE_ABI_ASSERT(sizeof(struct sluice_tuple) == 48);
SLUICE_ABI_OFFSET(sluice_tuple, client_addr, 8);
SLUICE_ABI_OFFSET(sluice_tuple, server_addr, 24);
SLUICE_ABI_OFFSET(sluice_tuple, client_port_be, 40);
SLUICE_ABI_OFFSET(sluice_tuple, server_port_be, 42);

/* ---- sl_gauges: one entry, key 0 ---- */

struct sluice_gauges {
  __u64 bridge_entries; /* entries in sl_bridge now; BPF keeps it exact */
};
SLUICE_ABI_ASSERT(sizeof(struct sluice_gauges) == 8);

/* ---- sl_events: a ring buffer of decisions; written only while SLUICE_CONFIG_EVENTS is set ---- */

struct sluice_event {
  struct sluice_redirect redirect; /* target_* and role are 0 unless the decision redirects or takes */
  __u32 decision; /* enum sluice_decision */
  __u32 pad;
};
SLUICE_ABI_ASSERT(sizeof(struct sluice_event) == 80);
SLUICE_ABI_OFFSET(sluice_event, decision, 72);

/* ---- what the iterator over sl_redirects writes, one a socket ---- */

struct sluice_redirect_row {
  struct sluice_redirect redirect;
  __u8 local_addr[16];
  __u8 remote_addr[16];
  __be16 local_port_be;
  __be16 remote_port_be;
  __u8 tcp_state; /* TCP_ESTABLISHED = 1 ... */
  __u8 pad[3];
};
SLUICE_ABI_ASSERT(sizeof(struct sluice_redirect_row) == 112);
SLUICE_ABI_OFFSET(sluice_redirect_row, local_addr, 72);
SLUICE_ABI_OFFSET(sluice_redirect_row, remote_addr, 88);
SLUICE_ABI_OFFSET(sluice_redirect_row, local_port_be, 104);
SLUICE_ABI_OFFSET(sluice_redirect_row, remote_port_be, 106);
SLUICE_ABI_OFFSET(sluice_redirect_row, tcp_state, 108);

#endif /* SLUICE_ABI_REDIRECT_H_ */
