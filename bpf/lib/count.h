/* Counters and events: how a decision shows outside. */
#ifndef SLUICE_BPF_LIB_COUNT_H_
#define SLUICE_BPF_LIB_COUNT_H_

#include "maps.h"

SL_INLINE void sl_count(__u32 decision) {
  __u64* c = bpf_map_lookup_elem(&sl_counters, &decision);
  if (c) (*c)++; /* per CPU; a hook does not migrate while it runs */
}

SL_INLINE const struct sluice_config* sl_config_get(void) {
  __u32 zero = 0;
  return bpf_map_lookup_elem(&sl_config, &zero);
}

/* Counts, and tells whoever listens to sl_events. */
SL_INLINE void sl_report(const struct sluice_config* cfg, const struct sluice_redirect* r, __u32 decision) {
  sl_count(decision);
  if (!cfg || !(cfg->flags & SLUICE_CONFIG_EVENTS)) return;
  struct sluice_event* e = bpf_ringbuf_reserve(&sl_events, sizeof(*e), 0);
  if (!e) {
    sl_count(SLUICE_D_EVENTS_LOST);
    return;
  }
  e->redirect = *r;
  e->decision = decision;
  e->pad = 0;
  bpf_ringbuf_submit(e, 0);
}

#endif /* SLUICE_BPF_LIB_COUNT_H_ */
