/* The cgroup hooks: a connect() is redirected, its destination travels to the accepted socket, and the application is
 * told what it asked for. Each hook unpacks its context and asks bpf/lib. */
#include "outbound.h"

#include "count.h"
#include "listeners.h"

char LICENSE[] SEC("license") = "GPL";

/* Set before load: entries sl_bridge may hold before connects get the fail mode (its size less the slack). */
const volatile __u64 bridge_max = SLUICE_BRIDGE_MAX - SLUICE_BRIDGE_SLACK;

SL_INLINE bool proxy_listens(__u64 netns_cookie, __u32 role) {
  if (!proxy_alive()) return false;
  struct sluice_listener_key key = {.netns_cookie = netns_cookie, .role = role};
  struct bpf_sock* sk = bpf_map_lookup_elem(&sl_listeners, &key);
  if (!sk) return false;
  bool listens = sk->state == BPF_TCP_LISTEN;
  bpf_sk_release(sk);
  return listens;
}

/* A socket bound to a device cannot reach loopback: the binding goes, and with it the device as the application's
 * choice. The kernel allows that only where the calling task could do it itself (CAP_NET_RAW). */
SL_INLINE bool unbind_device(struct bpf_sock_addr* ctx, struct bpf_sock* sk) {
  if (!sk->bound_dev_if) return true;
  int none = 0;
  return !bpf_setsockopt(ctx, SL_SOL_SOCKET, SL_SO_BINDTOIFINDEX, &none, sizeof(none));
}

/* Gives the socket `source`; the port is chosen at the handshake, among all that are free for this very destination. */
SL_INLINE bool bind_source(struct bpf_sock_addr* ctx, __u8 family, const __u8 source[16]) {
  if (family == SL_AF_INET) {
    struct sockaddr_in a = {.sin_family = SL_AF_INET};
    a.sin_addr.s_addr = addr_v4_be(source);
    return !bpf_bind(ctx, (struct sockaddr*)&a, sizeof(a));
  }
  struct sockaddr_in6 a = {.sin6_family = SL_AF_INET6};
  addr_copy(a.sin6_addr.in6_u.u6_addr8, source);
  return !bpf_bind(ctx, (struct sockaddr*)&a, sizeof(a));
}

/* The application's socket may choose its address still: none is bound, or one that we bound earlier, and no port. */
SL_INLINE bool source_is_free(struct bpf_sock* sk, bool ours) {
  if (sk->src_port) return false;
  if (ours) return true;
  if (sk->family == SL_AF_INET) return !sk->src_ip4;
  __u32 local[4];
  SL_CTX_ADDR6(local, sk, src_ip6);
  return !(local[0] | local[1] | local[2] | local[3]);
}

/* On its way to loopback the kernel would choose a loopback source, but the proxy is to see the pod. Says whether the
 * socket's source is ours now. */
SL_INLINE bool choose_source(struct bpf_sock_addr* ctx, struct bpf_sock* sk, const struct outbound_call* call,
                             const struct sluice_workload* w, bool redirects, bool ours) {
  if (!redirects && !ours) return false;
  if (!source_is_free(sk, ours)) return false;
  if (redirects) {
    const __u8* source = addr_is_v4(call->addr) ? w->source_v4 : w->source_v6;
    const __u32* word = (const __u32*)source;
    if (word[3] && bind_source(ctx, call->family, source)) return true;
    if (word[3]) sl_count(SLUICE_D_SOURCE_NOT_BOUND); /* the pod has lost it, or not yet got it (IPv6 DAD) */
  }
  if (ours) { /* it connects elsewhere: the kernel chooses again */
    __u8 any[16] __attribute__((aligned(8))) = {};
    bind_source(ctx, call->family, any);
  }
  return ours;
}

/* An MPTCP connection is made by a subflow, but the application holds, and asks, the socket above it. */
SL_INLINE struct mptcp_sock* mptcp_of(struct bpf_sock* sk) {
  return bpf_core_type_exists(struct mptcp_sock) ? bpf_skc_to_mptcp_sock(sk) : NULL;
}

/* The same socket may connect again (the caller holds its lock): what is there is overwritten. */
SL_INLINE bool remember(struct bpf_sock* sk, struct sluice_redirect* r) {
  struct sluice_redirect* stored = bpf_sk_storage_get(&sl_redirects, sk, r, BPF_SK_STORAGE_GET_F_CREATE);
  if (!stored) return false;
  *stored = *r;
  struct mptcp_sock* msk = mptcp_of(sk);
  if (!msk) return true;
  stored = bpf_sk_storage_get(&sl_redirects, msk, r, BPF_SK_STORAGE_GET_F_CREATE);
  if (!stored) return false;
  *stored = *r;
  return true;
}

SL_INLINE void forget(struct bpf_sock* sk, bool source_bound) {
  struct sluice_redirect* stored = source_bound ? bpf_sk_storage_get(&sl_redirects, sk, NULL, 0) : NULL;
  if (stored) {
    __builtin_memset(stored, 0, sizeof(*stored));
    stored->source_bound = 1;
  } else {
    bpf_sk_storage_delete(&sl_redirects, sk);
  }
  struct mptcp_sock* msk = mptcp_of(sk);
  if (msk) bpf_sk_storage_delete(&sl_redirects, msk);
}

/* Decides, and leaves the redirect in `r` (and in the socket) if there is one. */
SL_INLINE __u32 decide_connect(struct bpf_sock_addr* ctx, struct outbound_call* call,
                               struct sluice_redirect* r) {
  __u64 cookie = bpf_get_netns_cookie(ctx);
  const struct sluice_workload* w = bpf_map_lookup_elem(&sl_workloads, &cookie);
  if (!w) {
    sl_count(SLUICE_D_OUT_NOT_ENROLLED); /* everybody else on the host: nothing more is done for them */
    return SLUICE_D_OUT_NOT_ENROLLED;
  }
  const struct sluice_config* cfg = sl_config_get();
  struct bpf_sock* sk = ctx->sk;
  if (!sk) return SLUICE_D_OUT_NOT_TCP;
  call->is_tcp = ctx->protocol == IPPROTO_TCP;
  call->cgroup_id = bpf_get_current_cgroup_id();
  call->mark = sk->mark;
  call->uid = bpf_get_current_uid_gid();
  call->pid = bpf_get_current_pid_tgid() >> 32;

  __u32 decision = outbound_classify(call, w, cfg);
  outbound_fill(r, call, cookie, w, decision, bpf_get_prandom_u32(), bpf_ktime_get_ns());
  if (outbound_redirects(decision)) {
    __u32 zero = 0;
    const struct sluice_gauges* g = bpf_map_lookup_elem(&sl_gauges, &zero);
    decision = outbound_admit(decision, w, proxy_listens(cookie, outbound_role(call)),
                              g ? g->bridge_entries : 0, bridge_max);
  }
  bool transparent = is_transparent(cfg, call->mark, decision);
  if (transparent) {
    r->role = SLUICE_ROLE_PROXY;
    r->target_port_be = call->port_be;
    addr_copy(r->target_addr, call->addr);
  }
  if (outbound_redirects(decision) && !unbind_device(ctx, sk))
    decision = outbound_fail(w, SLUICE_D_OUT_REFUSED_BOUND_DEVICE, SLUICE_D_OUT_OPEN_BOUND_DEVICE);
  const struct sluice_redirect* before = bpf_sk_storage_get(&sl_redirects, sk, NULL, 0);
  bool bound = before && before->source_bound;
  if (outbound_redirects(decision)) {
    bound = choose_source(ctx, sk, call, w, true, bound);
    r->source_bound = bound;
  }
  if ((outbound_redirects(decision) || transparent) && !remember(sk, r)) {
    if (transparent) /* its SYN would come back to the proxy, for ever */
      decision = SLUICE_D_OUT_REFUSED_NO_STORAGE;
    else
      decision = outbound_fail(w, SLUICE_D_OUT_REFUSED_NO_STORAGE, SLUICE_D_OUT_OPEN_NO_STORAGE);
  }
  if (!outbound_redirects(decision) && !transparent) {
    bound = choose_source(ctx, sk, call, w, false, bound);
    forget(sk, bound); /* of an earlier connect by this socket */
    r->role = 0;
    r->target_port_be = 0;
    __builtin_memset(r->target_addr, 0, sizeof(r->target_addr));
  }
  r->rule = decision;
  sl_report(cfg, r, decision);
  return decision;
}

SEC("cgroup/connect4")
int sluice_connect4(struct bpf_sock_addr* ctx) {
  struct outbound_call call = {.family = SL_AF_INET, .port_be = (__be16)ctx->user_port};
  struct sluice_redirect r = {};
  addr_from_v4(call.addr, ctx->user_ip4);
  __u32 decision = decide_connect(ctx, &call, &r);
  if (outbound_refuses(decision)) {
    bpf_set_retval(-SL_ECONNREFUSED);
    return 0;
  }
  if (outbound_redirects(decision)) {
    ctx->user_ip4 = addr_v4_be(r.target_addr);
    ctx->user_port = r.target_port_be;
  }
  return 1;
}

SEC("cgroup/connect6")
int sluice_connect6(struct bpf_sock_addr* ctx) {
  struct outbound_call call = {.family = SL_AF_INET6, .port_be = (__be16)ctx->user_port};
  struct sluice_redirect r = {};
  SL_CTX_ADDR6(call.addr, ctx, user_ip6);
  __u32 decision = decide_connect(ctx, &call, &r);
  if (outbound_refuses(decision)) {
    bpf_set_retval(-SL_ECONNREFUSED);
    return 0;
  }
  if (outbound_redirects(decision)) {
    const __u32* target = (const __u32*)r.target_addr;
    ctx->user_ip6[0] = target[0];
    ctx->user_ip6[1] = target[1];
    ctx->user_ip6[2] = target[2];
    ctx->user_ip6[3] = target[3];
    ctx->user_port = r.target_port_be;
  }
  return 1;
}

/* ---- the bridge ---- */

/* The connection as its connecting side names it. An IPv4 and a v4-mapped socket give the same tuple. */
SL_INLINE void tuple_of(struct bpf_sock_ops* ctx, struct sluice_tuple* t, bool accepted) {
  __u8 local[16] __attribute__((aligned(8)));
  __u8 remote[16] __attribute__((aligned(8)));
  if (ctx->family == SL_AF_INET) {
    addr_from_v4(local, SL_CTX_U32(ctx, local_ip4));
    addr_from_v4(remote, SL_CTX_U32(ctx, remote_ip4));
  } else {
    SL_CTX_ADDR6(local, ctx, local_ip6);
    SL_CTX_ADDR6(remote, ctx, remote_ip6);
  }
  __be16 local_port_be = bpf_htons(ctx->local_port);
  __be16 remote_port_be = bpf_htons(bpf_ntohl(ctx->remote_port)); /* network order, in 32 bits */
  t->netns_cookie = bpf_get_netns_cookie(ctx);
  addr_copy(t->client_addr, accepted ? remote : local);
  addr_copy(t->server_addr, accepted ? local : remote);
  t->client_port_be = accepted ? remote_port_be : local_port_be;
  t->server_port_be = accepted ? local_port_be : remote_port_be;
  t->pad = 0;
}

SL_INLINE void bridge_gauge(__s64 by) {
  __u32 zero = 0;
  struct sluice_gauges* g = bpf_map_lookup_elem(&sl_gauges, &zero);
  if (g) __sync_fetch_and_add(&g->bridge_entries, by);
}

/* The SYN is about to leave: the source port is known now. */
SL_INLINE void bridge_write(struct bpf_sock_ops* ctx) {
  struct bpf_sock* sk = ctx->sk;
  if (!sk) return;
  const struct sluice_redirect* r = bpf_sk_storage_get(&sl_redirects, sk, NULL, 0);
  if (!r || r->role == SLUICE_ROLE_ACCEPTED) return;
  struct sluice_tuple t;
  tuple_of(ctx, &t, false);
  if (!redirect_holds(r, t.server_addr, t.server_port_be)) return;
  long err = bpf_map_update_elem(&sl_bridge, &t, r, BPF_NOEXIST);
  if (!err)
    bridge_gauge(1);
  else /* left by a connection of the same name that the kernel has forgotten: replaced; full: fails again */
    err = bpf_map_update_elem(&sl_bridge, &t, r, BPF_EXIST);
  sl_count(err ? SLUICE_D_BRIDGE_WRITE_FAILED : SLUICE_D_BRIDGE_WRITTEN);
  /* To hear of its end, should nobody accept it. */
  bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

/* The hop between application and proxy crosses loopback: no path to probe, nothing to pace. BBR, where it is the node's
 * default, paces it all the same, by timers, and both ends sleep and wake for every piece; so it is not used here. The
 * network path belongs to the proxy's own socket, which keeps the node's default. Called at established and not before: a
 * socket whose call fails may connect elsewhere. What the owner has set himself stays. */
SL_INLINE void set_loopback_congestion_control(struct bpf_sock_ops* ctx, struct bpf_sock* sk) {
  struct tcp_sock* tcp = bpf_skc_to_tcp_sock(sk);
  if (!tcp || BPF_CORE_READ_BITFIELD(&tcp->inet_conn, icsk_ca_setsockopt)) return;
  char cubic[] = "cubic", reno[] = "reno"; /* the first may be absent, the second cannot */
  if (bpf_setsockopt(ctx, SL_SOL_TCP, SL_TCP_CONGESTION, cubic, sizeof(cubic)))
    bpf_setsockopt(ctx, SL_SOL_TCP, SL_TCP_CONGESTION, reno, sizeof(reno));
}

/* The redirected call of an application has been answered. */
SL_INLINE void client_established(struct bpf_sock_ops* ctx) {
  struct bpf_sock* sk = ctx->sk;
  if (!sk) return;
  const struct sluice_redirect* r = bpf_sk_storage_get(&sl_redirects, sk, NULL, 0);
  if (r && r->role == SLUICE_ROLE_CLIENT) set_loopback_congestion_control(ctx, sk);
}

SL_INLINE void bridge_move(struct bpf_sock_ops* ctx) {
  struct bpf_sock* sk = ctx->sk;
  if (!sk) return;
  __u64 cookie = bpf_get_netns_cookie(ctx);
  const struct sluice_workload* w = bpf_map_lookup_elem(&sl_workloads, &cookie);
  if (!w) return;
  struct sluice_tuple t;
  tuple_of(ctx, &t, true);
  const struct sluice_redirect* carried = bpf_map_lookup_elem(&sl_bridge, &t);
  if (carried && carried->role == SLUICE_ROLE_PROXY) { /* the application has it */
    if (!bpf_map_delete_elem(&sl_bridge, &t)) bridge_gauge(-1);
    return;
  }
  if (ctx->local_port != w->outbound_port) return;
  if (!carried) { /* somebody called the proxy's port by its number; sluiced refuses it */
    sl_count(SLUICE_D_BRIDGE_DIRECT);
    return;
  }
  struct sluice_redirect r = *carried;
  r.role = SLUICE_ROLE_ACCEPTED;
  bool stored = bpf_sk_storage_get(&sl_redirects, sk, &r, BPF_SK_STORAGE_GET_F_CREATE);
  sl_count(stored ? SLUICE_D_BRIDGE_MOVED : SLUICE_D_BRIDGE_NO_STORAGE);
  if (!bpf_map_delete_elem(&sl_bridge, &t)) bridge_gauge(-1);
  set_loopback_congestion_control(ctx, sk);
}

/* The connecting socket is closed, and its entry with it, unless the accepting side had it already. */
SL_INLINE void bridge_close(struct bpf_sock_ops* ctx) {
  struct bpf_sock* sk = ctx->sk;
  if (!sk) return;
  const struct sluice_redirect* r = bpf_sk_storage_get(&sl_redirects, sk, NULL, 0);
  if (!r || r->role == SLUICE_ROLE_ACCEPTED) return;
  struct sluice_tuple t;
  tuple_of(ctx, &t, false);
  if (bpf_map_delete_elem(&sl_bridge, &t)) return;
  bridge_gauge(-1);
  sl_count(SLUICE_D_BRIDGE_ABANDONED);
}

SEC("sockops")
int sluice_sockops(struct bpf_sock_ops* ctx) {
  switch (ctx->op) {
    case BPF_SOCK_OPS_TCP_CONNECT_CB:
      bridge_write(ctx);
      break;
    case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
      client_established(ctx);
      break;
    case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
      bridge_move(ctx);
      break;
    case BPF_SOCK_OPS_STATE_CB:
      if (ctx->args[1] == BPF_TCP_CLOSE) bridge_close(ctx);
      break;
    default:
      break;
  }
  return 1; /* ctx->reply is left alone: it belongs to whoever else is attached */
}

/* ---- what the application is told ---- */

SEC("cgroup/getpeername4")
int sluice_peername4(struct bpf_sock_addr* ctx) {
  struct bpf_sock* sk = ctx->sk;
  if (!sk) return 1;
  const struct sluice_redirect* r = bpf_sk_storage_get(&sl_redirects, sk, NULL, 0);
  if (!r || r->role != SLUICE_ROLE_CLIENT) return 1;
  __u8 peer[16] __attribute__((aligned(8)));
  addr_from_v4(peer, ctx->user_ip4);
  if (!redirect_holds(r, peer, (__be16)ctx->user_port)) return 1;
  ctx->user_ip4 = addr_v4_be(r->original_addr);
  ctx->user_port = r->original_port_be;
  sl_count(SLUICE_D_TOLD_PEERNAME);
  return 1;
}

SEC("cgroup/getpeername6")
int sluice_peername6(struct bpf_sock_addr* ctx) {
  struct bpf_sock* sk = ctx->sk;
  if (!sk) return 1;
  const struct sluice_redirect* r = bpf_sk_storage_get(&sl_redirects, sk, NULL, 0);
  if (!r || r->role != SLUICE_ROLE_CLIENT) return 1;
  __u8 peer[16] __attribute__((aligned(8)));
  SL_CTX_ADDR6(peer, ctx, user_ip6);
  if (!redirect_holds(r, peer, (__be16)ctx->user_port)) return 1;
  const __u32* original = (const __u32*)r->original_addr;
  ctx->user_ip6[0] = original[0];
  ctx->user_ip6[1] = original[1];
  ctx->user_ip6[2] = original[2];
  ctx->user_ip6[3] = original[3];
  ctx->user_port = r->original_port_be;
  sl_count(SLUICE_D_TOLD_PEERNAME);
  return 1;
}

/* SO_ORIGINAL_DST as conntrack would answer it after iptables REDIRECT, so that any proxy that asks for it works. */
SEC("cgroup/getsockopt")
int sluice_sockopt(struct bpf_sockopt* ctx) {
  bool v4 = ctx->level == SL_SOL_IP, v6 = ctx->level == SL_SOL_IPV6;
  if ((!v4 && !v6) || ctx->optname != SL_SO_ORIGINAL_DST) goto leave;
  struct bpf_sock* sk = ctx->sk;
  if (!sk) goto leave;
  const struct sluice_redirect* r = bpf_sk_storage_get(&sl_redirects, sk, NULL, 0);
  __u8 addr[16];
  __be16 port_be;
  if (r && r->role != SLUICE_ROLE_NONE) {
    if (r->role == SLUICE_ROLE_PROXY) goto leave;
    addr_copy(addr, r->original_addr);
    port_be = r->original_port_be;
  } else {
    /* Inbound nothing is rewritten, so nothing is remembered: what a connection was really going to is its local
     * address, and that is what a proxy gets that asks (conntrack answers so too, for what no rule has touched). */
    const struct sluice_config* cfg = sl_config_get();
    if (!cfg || !cfg->proxy_cgroup_id || bpf_get_current_cgroup_id() != cfg->proxy_cgroup_id) goto leave;
    if (sk->family == SL_AF_INET)
      addr_from_v4(addr, sk->src_ip4);
    else
      SL_CTX_ADDR6(addr, sk, src_ip6);
    port_be = bpf_htons(sk->src_port);
  }

  if (v4) {
    struct sockaddr_in* a = ctx->optval;
    if (!addr_is_v4(addr) || (void*)(a + 1) > ctx->optval_end) goto leave;
    a->sin_family = SL_AF_INET;
    a->sin_port = port_be;
    a->sin_addr.s_addr = addr_v4_be(addr);
    __builtin_memset(a->__pad, 0, sizeof(a->__pad));
    ctx->optlen = sizeof(*a);
  } else {
    struct sockaddr_in6* a = ctx->optval;
    if ((void*)(a + 1) > ctx->optval_end) goto leave;
    a->sin6_family = SL_AF_INET6;
    a->sin6_port = port_be;
    a->sin6_flowinfo = 0;
    addr_copy(a->sin6_addr.in6_u.u6_addr8, addr);
    a->sin6_scope_id = 0;
    ctx->optlen = sizeof(*a);
  }
  ctx->retval = 0;
  sl_count(SLUICE_D_TOLD_ORIGINAL_DST);
  return 1;

leave:
  /* The kernel shows at most a page of the value; 0 says that we have not touched a longer one. */
  if (ctx->optlen > 4096) ctx->optlen = 0;
  return 1;
}
