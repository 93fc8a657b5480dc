/* The question and the answer of the decision tests: one struct, written by the test, handed to the BPF program as its
 * context, read back. */
#ifndef SLUICE_BPF_TESTS_DECISIONS_H_
#define SLUICE_BPF_TESTS_DECISIONS_H_

#include "sluice/abi/redirect.h"

struct decisions_question {
  /* of the call, either direction */
  __u64 cgroup_id;
  __u64 netns_cookie;
  __u64 now_ns;
  __u64 bridge_entries;
  __u64 bridge_max;
  __u8 addr[16]; /* destination; inbound: source */
  __u8 called[16]; /* inbound: destination */
  __u32 mark;
  __u32 uid;
  __u32 random;
  __u16 port; /* host order */
  __u16 peer_port; /* inbound: source port */
  __u8 is_tcp;
  __u8 family;
  __u8 from_loopback;
  __u8 enrolled;
  __u8 listening;
  __u8 pad[3];
  struct sluice_workload workload;
  struct sluice_config config;
  /* the answer */
  __u32 decision;
  __u32 role;
  struct sluice_redirect redirect;
};
SLUICE_ABI_ASSERT(sizeof(struct decisions_question) == 264);

#endif /* SLUICE_BPF_TESTS_DECISIONS_H_ */
