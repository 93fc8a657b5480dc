/* What happens to a connect(). No context and no helper but map look-ups: bpf/tests runs these without attaching. */
#ifndef SLUICE_BPF_LIB_OUTBOUND_H_
#define SLUICE_BPF_LIB_OUTBOUND_H_

#include "rules.h"

/* A connect() as its hook saw it. */
struct outbound_call {
  __u64 cgroup_id; /* of the calling task */
  __u8 addr[16]; /* asked for; IPv4 as v4-mapped */
  __be16 port_be;
  __u8 is_tcp;
  __u8 family; /* of the socket's call: SL_AF_INET or SL_AF_INET6 */
  __u32 mark;
  __u32 uid;
  __u32 pid;
};

/* Both must match: the mark alone could be set by any CAP_NET_ADMIN pod, the cgroup alone covers sluiced's helpers. */
SL_INLINE bool is_proxy(const struct sluice_config* cfg, __u32 mark, __u64 cgroup_id) {
  return cfg && mark && cfg->proxy_cgroup_id && (mark == cfg->proxy_mark || mark == cfg->transparent_mark) &&
         cgroup_id == cfg->proxy_cgroup_id;
}

/* A connection of the proxy's that sk_lookup could not tell from its caller's. */
SL_INLINE bool is_transparent(const struct sluice_config* cfg, __u32 mark, __u32 decision) {
  return decision == SLUICE_D_OUT_PROXY && cfg && mark == cfg->transparent_mark;
}

/* Does this decision send the connection to the proxy? */
SL_INLINE bool outbound_redirects(__u32 decision) {
  return decision == SLUICE_D_OUT_REDIRECTED || decision == SLUICE_D_OUT_INCLUDED_PORT ||
         decision == SLUICE_D_OUT_INCLUDED_CIDR;
}

SL_INLINE bool outbound_refuses(__u32 decision) {
  return decision == SLUICE_D_OUT_REFUSED_NO_PROXY || decision == SLUICE_D_OUT_REFUSED_NO_STORAGE ||
         decision == SLUICE_D_OUT_REFUSED_BRIDGE_FULL || decision == SLUICE_D_OUT_REFUSED_BOUND_DEVICE;
}

/* The rules, first match wins: proxy, loopback, excluded user, excluded port, excluded CIDR, included port, included
 * CIDR, default. Exclusion before inclusion is Istio's order (traffic.sidecar.istio.io annotations). */
SL_INLINE __u32 outbound_classify(const struct outbound_call* call, const struct sluice_workload* w,
                                  const struct sluice_config* cfg) {
  if (!w) return SLUICE_D_OUT_NOT_ENROLLED;
  if (!call->is_tcp) return SLUICE_D_OUT_NOT_TCP;
  if (!(w->flags & SLUICE_WF_OUTBOUND)) return SLUICE_D_OUT_OFF;
  if (is_proxy(cfg, call->mark, call->cgroup_id)) return SLUICE_D_OUT_PROXY;
  if (addr_is_local(call->addr)) return SLUICE_D_OUT_LOOPBACK;
  if ((w->flags & SLUICE_WF_UIDS) && rule_for_uid(w, call->uid) == SLUICE_RULE_EXCLUDE)
    return SLUICE_D_OUT_EXCLUDED_UID;

  __u8 port = 0, cidr = 0;
  if (w->flags & SLUICE_WF_PORTS_OUT) port = rule_for_port(w, bpf_ntohs(call->port_be), SLUICE_OUTBOUND);
  if (port == SLUICE_RULE_EXCLUDE) return SLUICE_D_OUT_EXCLUDED_PORT;
  if (w->flags & SLUICE_WF_CIDRS_OUT) cidr = rule_for_addr(w, call->addr, SLUICE_SCOPE_DESTINATION);
  if (cidr == SLUICE_RULE_EXCLUDE) return SLUICE_D_OUT_EXCLUDED_CIDR;
  if (port == SLUICE_RULE_INCLUDE) return SLUICE_D_OUT_INCLUDED_PORT;
  if (cidr == SLUICE_RULE_INCLUDE) return SLUICE_D_OUT_INCLUDED_CIDR;
  return (w->flags & SLUICE_WF_ONLY_LISTED_OUT) ? SLUICE_D_OUT_NOT_INCLUDED : SLUICE_D_OUT_REDIRECTED;
}

/* The fail mode: `refused` and `open` are the two decisions for one cause. */
SL_INLINE __u32 outbound_fail(const struct sluice_workload* w, __u32 refused, __u32 open) {
  return w->fail_mode == SLUICE_FAIL_OPEN ? open : refused;
}

/* Which of the proxy's sockets would accept this destination. */
SL_INLINE __u32 outbound_role(const struct outbound_call* call) {
  return addr_is_v4(call->addr) ? SLUICE_LISTENER_OUT_V4 : SLUICE_LISTENER_OUT_V6;
}

/* A redirect can be promised only if the proxy listens and the bridge will have room: sockops cannot turn a
 * connection round any more. `slack` covers those between this check and their entry. */
SL_INLINE __u32 outbound_admit(__u32 decision, const struct sluice_workload* w, bool listening,
                               __u64 bridge_entries, __u64 bridge_max) {
  if (!listening) return outbound_fail(w, SLUICE_D_OUT_REFUSED_NO_PROXY, SLUICE_D_OUT_OPEN_NO_PROXY);
  if (bridge_entries >= bridge_max)
    return outbound_fail(w, SLUICE_D_OUT_REFUSED_BRIDGE_FULL, SLUICE_D_OUT_OPEN_BRIDGE_FULL);
  return decision;
}

/* Fills in the redirect. IPv4 spreads over 127.0.0.1 .. 127.0.0.spread, because one target ends at the ephemeral
 * range; IPv6 has one loopback address only. */
SL_INLINE void outbound_fill(struct sluice_redirect* r, const struct outbound_call* call, __u64 netns_cookie,
                             const struct sluice_workload* w, __u32 rule, __u32 random, __u64 now_ns) {
  r->netns_cookie = netns_cookie;
  r->created_ns = now_ns;
  addr_copy(r->original_addr, call->addr);
  if (addr_is_v4(call->addr)) {
    __u32 spread = w->spread ? w->spread : 1;
    addr_from_v4(r->target_addr, bpf_htonl(0x7f000001 + random % spread));
  } else {
    __u32* t = (__u32*)r->target_addr;
    t[0] = 0;
    t[1] = 0;
    t[2] = 0;
    t[3] = bpf_htonl(1);
  }
  r->original_port_be = call->port_be;
  r->target_port_be = bpf_htons(w->outbound_port);
  r->workload_id = w->workload_id;
  r->generation = w->generation;
  r->uid = call->uid;
  r->pid = call->pid;
  r->family = call->family;
  r->role = SLUICE_ROLE_CLIENT;
  r->rule = rule;
  r->source_bound = 0;
}

/* Is `peer` where this record's socket was sent? A socket that reconnected elsewhere is none of our business. */
SL_INLINE bool redirect_holds(const struct sluice_redirect* r, const __u8 peer[16], __be16 peer_port_be) {
  return r->target_port_be == peer_port_be && addr_equal(r->target_addr, peer);
}

#endif /* SLUICE_BPF_LIB_OUTBOUND_H_ */
