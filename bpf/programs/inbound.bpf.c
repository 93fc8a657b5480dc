/* sk_lookup, one instance for each enrolled netns: the context cannot say which netns it is, so the instance knows. */
#include "inbound.h"

#include "count.h"
#include "listeners.h"

char LICENSE[] SEC("license") = "GPL";

/* Set before load. */
const volatile __u64 netns_cookie = 0;

SEC("sk_lookup")
int sluice_inbound(struct bpf_sk_lookup* ctx) {
  __u64 cookie = netns_cookie;
  const struct sluice_workload* w = bpf_map_lookup_elem(&sl_workloads, &cookie);
  struct inbound_call call = {
      .source_port = bpf_ntohs(SL_CTX_U16(ctx, remote_port)),
      .port = SL_CTX_U32(ctx, local_port),
      .is_tcp = SL_CTX_U32(ctx, protocol) == IPPROTO_TCP,
      .from_loopback = SL_CTX_U32(ctx, ingress_ifindex) == SL_LOOPBACK_IFINDEX,
  };
  bool v4 = SL_CTX_U32(ctx, family) == SL_AF_INET;
  if (v4) {
    addr_from_v4(call.source, SL_CTX_U32(ctx, remote_ip4));
    addr_from_v4(call.destination, SL_CTX_U32(ctx, local_ip4));
  } else {
    SL_CTX_ADDR6(call.source, ctx, remote_ip6);
    SL_CTX_ADDR6(call.destination, ctx, local_ip6);
  }
  __u32 decision = inbound_classify(&call, w, cookie);
  if (inbound_takes(decision)) {
    struct sluice_listener_key key = {.netns_cookie = cookie,
                                      .role = v4 ? SLUICE_LISTENER_IN_V4 : SLUICE_LISTENER_IN_V6};
    struct bpf_sock* sk = proxy_alive() ? bpf_map_lookup_elem(&sl_listeners, &key) : NULL;
    long err = -1;
    if (sk) {
      /* Flags 0: the kernel goes on to choose within the socket's SO_REUSEPORT group, so workers share the load. */
      err = bpf_sk_assign(ctx, sk, 0);
      bpf_sk_release(sk);
    }
    if (err && w) decision = inbound_fail(w);
  }
  sl_count(decision);
  return inbound_refuses(decision) ? SK_DROP : SK_PASS;
}
