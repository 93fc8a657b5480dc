// Another load balancer's program in front of ours: connect4 of a cgroup, "return 1". Prints "ready", waits for the end of
// its standard input, detaches. "unsupported": this kernel has no way to put a program in front of others.
//
//   foreign_program CGROUP
#include <bpf/bpf.h>
#include <fcntl.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>

#include "core/fd.h"

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  bpf_insn insns[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 1},
                      {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  bpf_prog_load_opts load{};
  load.sz = sizeof(load);
  load.expected_attach_type = BPF_CGROUP_INET4_CONNECT;
  sluice::Fd program(::bpf_prog_load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, "other_lb", "GPL", insns, 2, &load));
  sluice::Fd cgroup(::open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  bpf_link_create_opts opts{};
  opts.sz = sizeof(opts);
  opts.flags = 1u << 6 | 1u << 3;  // BPF_F_PREORDER | BPF_F_BEFORE: newer than Debian 12's headers
  sluice::Fd link(::bpf_link_create(program.get(), cgroup.get(), BPF_CGROUP_INET4_CONNECT, &opts));
  if (!link.valid() && errno == EINVAL) {
    std::puts("unsupported");
    return 0;
  }
  if (!link.valid()) {
    std::perror("foreign_program");
    return 1;
  }
  std::puts("ready");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  return 0;
}
