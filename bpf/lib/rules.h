/* Rule look-ups: what a workload's current generation says of a port, an address, a user. */
#ifndef SLUICE_BPF_LIB_RULES_H_
#define SLUICE_BPF_LIB_RULES_H_

#include "maps.h"

/* Each returns an enum sluice_rule_action, or 0 where no rule speaks. */
SL_INLINE __u8 rule_for_port(const struct sluice_workload* w, __u16 port, __u8 direction) {
  struct sluice_port_key key = {.generation = w->generation, .port = port, .direction = direction};
  __u8* action = bpf_map_lookup_elem(&sl_ports, &key);
  return action ? *action : 0;
}

SL_INLINE __u8 rule_for_addr(const struct sluice_workload* w, const __u8 addr[16], __u32 scope) {
  struct sluice_cidr_key key = {
      .prefix_len = SLUICE_CIDR_BASE_BITS + 128,
      .generation = w->generation,
      .scope = scope | (addr_is_v4(addr) ? 0 : SLUICE_SCOPE_V6),
  };
  addr_copy(key.addr, addr);
  __u8* action = bpf_map_lookup_elem(&sl_cidrs, &key);
  return action ? *action : 0;
}

SL_INLINE __u8 rule_for_uid(const struct sluice_workload* w, __u32 uid) {
  struct sluice_uid_key key = {.generation = w->generation, .uid = uid};
  __u8* action = bpf_map_lookup_elem(&sl_uids, &key);
  return action ? *action : 0;
}

#endif /* SLUICE_BPF_LIB_RULES_H_ */
