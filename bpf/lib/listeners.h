/* The proxy's sockets as the kernel has them. */
#ifndef SLUICE_BPF_LIB_LISTENERS_H_
#define SLUICE_BPF_LIB_LISTENERS_H_

#include "maps.h"

/* False from the moment sluiced has ended, whatever io_uring still holds of it. */
SL_INLINE bool proxy_alive(void) {
  struct sluice_listener_key key = {.netns_cookie = 0, .role = SLUICE_LISTENER_ALIVE};
  struct bpf_sock* sk = bpf_map_lookup_elem(&sl_listeners, &key);
  if (!sk) return false;
  bpf_sk_release(sk);
  return true;
}

#endif /* SLUICE_BPF_LIB_LISTENERS_H_ */
