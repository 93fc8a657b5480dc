/* What every program starts from. */
#ifndef SLUICE_BPF_LIB_COMMON_H_
#define SLUICE_BPF_LIB_COMMON_H_

#include "vmlinux.h"
/* vmlinux.h first */
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "sluice/abi/redirect.h"

/* Constants that are macros in the kernel's headers, and so not in its BTF. */
#define SL_AF_INET 2
#define SL_AF_INET6 10
#define SL_ECONNREFUSED 111
#define SL_LOOPBACK_IFINDEX 1 /* every netns numbers its own lo 1 */
#define SL_IPPROTO_MPTCP 262
#define SL_SOL_SOCKET 1
#define SL_SO_BINDTOIFINDEX 62
#define SL_SOL_IP 0
#define SL_SOL_TCP 6
#define SL_TCP_CONGESTION 13
#define SL_SOL_IPV6 41
#define SL_SO_ORIGINAL_DST 80 /* and IP6T_SO_ORIGINAL_DST */

#define SL_INLINE static __always_inline

/* One context field, read where it is written here. Left to itself the compiler folds the IPv4 and the IPv6 branch into one
 * load through a computed context pointer, which the verifier refuses. Contexts are the kernel's API: their fields stay where
 * they are, and a program that asks for no relocation is loaded without reading the kernel's BTF. */
#define SL_CTX_FIELD(type, name, ctx, field)                                  \
  ({                                                                          \
    type value_;                                                              \
    asm volatile("%0 = *(" name " *)(%1 + %2)"                                \
                 : "=r"(value_)                                               \
                 : "r"(ctx), "i"(__builtin_offsetof(typeof(*(ctx)), field))); \
    value_;                                                                   \
  })
#define SL_CTX_U32(ctx, field) SL_CTX_FIELD(__u32, "u32", ctx, field)
#define SL_CTX_U16(ctx, field) SL_CTX_FIELD(__u16, "u16", ctx, field)
#define SL_CTX_ADDR6(to, ctx, field)    \
  do {                                  \
    __u32* to_ = (__u32*)(to);          \
    to_[0] = SL_CTX_U32(ctx, field[0]); \
    to_[1] = SL_CTX_U32(ctx, field[1]); \
    to_[2] = SL_CTX_U32(ctx, field[2]); \
    to_[3] = SL_CTX_U32(ctx, field[3]); \
  } while (0)

/* 16 bytes, compared and filled by words. */
SL_INLINE void addr_from_v4(__u8 addr[16], __u32 v4_be) {
  __u32* w = (__u32*)addr;
  w[0] = 0;
  w[1] = 0;
  w[2] = bpf_htonl(0xffff);
  w[3] = v4_be;
}

SL_INLINE void addr_copy(__u8 to[16], const __u8 from[16]) {
  __u32* t = (__u32*)to;
  const __u32* f = (const __u32*)from;
  t[0] = f[0];
  t[1] = f[1];
  t[2] = f[2];
  t[3] = f[3];
}

SL_INLINE bool addr_equal(const __u8 a[16], const __u8 b[16]) {
  const __u32* x = (const __u32*)a;
  const __u32* y = (const __u32*)b;
  return x[0] == y[0] && x[1] == y[1] && x[2] == y[2] && x[3] == y[3];
}

SL_INLINE bool addr_is_v4(const __u8 addr[16]) {
  const __u32* w = (const __u32*)addr;
  return w[0] == 0 && w[1] == 0 && w[2] == bpf_htonl(0xffff);
}

SL_INLINE __u32 addr_v4_be(const __u8 addr[16]) {
  return ((const __u32*)addr)[3];
}

/* Loopback, or "any", which connect() takes to mean loopback. */
SL_INLINE bool addr_is_local(const __u8 addr[16]) {
  const __u32* w = (const __u32*)addr;
  if (addr_is_v4(addr)) return w[3] == 0 || (w[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
  return w[0] == 0 && w[1] == 0 && w[2] == 0 && (w[3] == 0 || w[3] == bpf_htonl(1));
}

#endif /* SLUICE_BPF_LIB_COMMON_H_ */
