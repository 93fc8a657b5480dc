/* An iterator over sl_redirects: socket storage cannot be listed from userspace otherwise. Loaded for as long as
 * somebody looks; attached to the pinned map. */
#include "maps.h"

char LICENSE[] SEC("license") = "GPL";

SEC("iter/bpf_sk_storage_map")
int sluice_inspect(struct bpf_iter__bpf_sk_storage_map* ctx) {
  struct sock* sk = ctx->sk;
  const struct sluice_redirect* r = ctx->value;
  if (!sk || !r) return 0;
  if (sk->sk_protocol == SL_IPPROTO_MPTCP) return 0; /* its subflow is listed */
  if (r->role == SLUICE_ROLE_NONE) return 0;
  struct sluice_redirect_row row = {};
  row.redirect = *r;
  if (sk->__sk_common.skc_family == SL_AF_INET) {
    addr_from_v4(row.local_addr, sk->__sk_common.skc_rcv_saddr);
    addr_from_v4(row.remote_addr, sk->__sk_common.skc_daddr);
  } else {
    const __u32* l = (const __u32*)sk->__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32;
    const __u32* m = (const __u32*)sk->__sk_common.skc_v6_daddr.in6_u.u6_addr32;
    __u32* local = (__u32*)row.local_addr;
    __u32* remote = (__u32*)row.remote_addr;
    for (int i = 0; i < 4; i++) {
      local[i] = l[i];
      remote[i] = m[i];
    }
  }
  row.local_port_be = bpf_htons(sk->__sk_common.skc_num);
  row.remote_port_be = sk->__sk_common.skc_dport;
  row.tcp_state = sk->__sk_common.skc_state;
  bpf_seq_write(ctx->meta->seq, &row, sizeof(row));
  return 0;
}
