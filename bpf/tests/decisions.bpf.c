/* Runs the decisions of bpf/lib under BPF_PROG_TEST_RUN, without a hook and without attaching: connect4, sockops and
 * getsockopt programs cannot be run that way, what they decide can. The "packet" is the question, and the answer is
 * written into it. (A syscall program would be the natural frame, but it is sleepable and those may not use LPM tries.) */
#include "inbound.h"
#include "outbound.h"
/* after vmlinux.h */
#include "../tests/decisions.h"

char LICENSE[] SEC("license") = "GPL";

SL_INLINE struct decisions_question* question_of(struct xdp_md* xdp) {
  struct decisions_question* q = (void*)(long)xdp->data;
  return (void*)(q + 1) <= (void*)(long)xdp->data_end ? q : 0;
}

SL_INLINE void outbound_call_from(struct outbound_call* call, const struct decisions_question* q) {
  call->cgroup_id = q->cgroup_id;
  addr_copy(call->addr, q->addr);
  call->port_be = bpf_htons(q->port);
  call->is_tcp = q->is_tcp;
  call->family = q->family;
  call->mark = q->mark;
  call->uid = q->uid;
  call->pid = 0;
}

SEC("xdp")
int test_outbound(struct xdp_md* xdp) {
  struct decisions_question* answer = question_of(xdp);
  if (!answer) return XDP_ABORTED;
  struct decisions_question q = *answer;
  struct outbound_call call = {};
  outbound_call_from(&call, &q);
  __u32 decision = outbound_classify(&call, q.enrolled ? &q.workload : 0, &q.config);
  outbound_fill(&q.redirect, &call, q.netns_cookie, &q.workload, decision, q.random, q.now_ns);
  if (outbound_redirects(decision))
    decision = outbound_admit(decision, &q.workload, q.listening, q.bridge_entries, q.bridge_max);
  answer->redirect = q.redirect;
  answer->role = outbound_role(&call);
  answer->decision = decision;
  return XDP_PASS;
}

SEC("xdp")
int test_inbound(struct xdp_md* xdp) {
  struct decisions_question* answer = question_of(xdp);
  if (!answer) return XDP_ABORTED;
  struct decisions_question q = *answer;
  struct inbound_call call = {
      .source_port = q.peer_port, .port = q.port, .is_tcp = q.is_tcp, .from_loopback = q.from_loopback};
  addr_copy(call.source, q.addr);
  addr_copy(call.destination, q.called);
  __u32 decision = inbound_classify(&call, q.enrolled ? &q.workload : 0, q.netns_cookie);
  if (inbound_takes(decision) && !q.listening) decision = inbound_fail(&q.workload);
  answer->decision = decision;
  return XDP_PASS;
}
