/* What happens to a connection that arrives in an enrolled netns. As outbound.h: no context, map look-ups only. */
#ifndef SLUICE_BPF_LIB_INBOUND_H_
#define SLUICE_BPF_LIB_INBOUND_H_

#include "rules.h"

struct inbound_call {
  __u8 source[16];
  __u8 destination[16];
  __u16 source_port;
  __u16 port; /* the one called; both in host order */
  __u8 is_tcp;
  __u8 from_loopback; /* the kernel says lo */
};

/* Did this SYN leave from the same netns? A packet to one's own address crosses lo, but the kernel reports the interface
 * that has the address (ip_route_output_key_hash_rcu, ipv6_rcv), so the addresses have to say it: the source is
 * loopback, or the very address called. Neither can come from outside: IPv4 drops such packets as martians, and an IPv6
 * forger never gets the SYN-ACK. */
SL_INLINE bool inbound_is_local(const struct inbound_call* call) {
  return call->from_loopback || addr_is_local(call->source) || addr_equal(call->source, call->destination);
}

/* The proxy's connection to the application under the caller's address: sockops has put it on the bridge. */
SL_INLINE bool inbound_is_proxy(const struct inbound_call* call, __u64 netns_cookie) {
  struct sluice_tuple t = {
      .netns_cookie = netns_cookie,
      .client_port_be = bpf_htons(call->source_port),
      .server_port_be = bpf_htons(call->port),
  };
  addr_copy(t.client_addr, call->source);
  addr_copy(t.server_addr, call->destination);
  const struct sluice_redirect* r = bpf_map_lookup_elem(&sl_bridge, &t);
  return r && r->role == SLUICE_ROLE_PROXY;
}

SL_INLINE bool inbound_takes(__u32 decision) {
  return decision == SLUICE_D_IN_TAKEN || decision == SLUICE_D_IN_INCLUDED_PORT;
}

SL_INLINE bool inbound_refuses(__u32 decision) {
  return decision == SLUICE_D_IN_REFUSED_NO_PROXY;
}

/* First match wins: loopback, the proxy itself, proxy's ports, probe source, excluded port, included port, default. */
SL_INLINE __u32 inbound_classify(const struct inbound_call* call, const struct sluice_workload* w,
                                 __u64 netns_cookie) {
  if (!call->is_tcp) return SLUICE_D_IN_NOT_TCP;
  if (!w) return SLUICE_D_IN_OFF;
  if (inbound_is_local(call)) return SLUICE_D_IN_LOOPBACK;
  if (inbound_is_proxy(call, netns_cookie)) return SLUICE_D_IN_PROXY;
  if (!(w->flags & SLUICE_WF_INBOUND)) return SLUICE_D_IN_OFF;
  /* Called by their numbers the proxy's listeners get the connection anyway; without a redirect there is no destination
   * but the proxy itself, and its configuration says what becomes of that (a black hole). */
  if (call->port == w->inbound_port || call->port == w->outbound_port) return SLUICE_D_IN_PROXY_PORT;
  if ((w->flags & SLUICE_WF_PROBES) && rule_for_addr(w, call->source, SLUICE_SCOPE_PROBE_SOURCE))
    return SLUICE_D_IN_PROBE;

  __u8 port = 0;
  if (w->flags & SLUICE_WF_PORTS_IN) port = rule_for_port(w, call->port, SLUICE_INBOUND);
  if (port == SLUICE_RULE_EXCLUDE) return SLUICE_D_IN_EXCLUDED_PORT;
  if (port == SLUICE_RULE_INCLUDE) return SLUICE_D_IN_INCLUDED_PORT;
  return (w->flags & SLUICE_WF_ONLY_LISTED_IN) ? SLUICE_D_IN_NOT_INCLUDED : SLUICE_D_IN_TAKEN;
}

SL_INLINE __u32 inbound_fail(const struct sluice_workload* w) {
  return w->fail_mode == SLUICE_FAIL_OPEN ? SLUICE_D_IN_OPEN_NO_PROXY : SLUICE_D_IN_REFUSED_NO_PROXY;
}

#endif /* SLUICE_BPF_LIB_INBOUND_H_ */
