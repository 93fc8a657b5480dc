// Which backend one gets.
#include <doctest/doctest.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <thread>

#include "io/loop.h"

using namespace sluice;
using namespace sluice::io;

namespace {

// As container runtimes do; for this thread only, which does not come back from it.
bool forbid_io_uring(unsigned answer) {
  sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | answer),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  sock_fprog program{.len = sizeof code / sizeof code[0], .filter = code};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

}  // namespace

TEST_CASE("io_uring where it is allowed") {
  auto loop = make_loop({});
  REQUIRE(loop.ok());
  CHECK((*loop)->backend_name() == "io_uring");
}

TEST_CASE("epoll where io_uring is forbidden, and an error that says why where only io_uring will do") {
  std::thread([] {
    REQUIRE(forbid_io_uring(EPERM));
    auto loop = make_loop({});
    REQUIRE(loop.ok());
    CHECK((*loop)->backend_name() == "epoll");
    auto only = make_loop({.backend = LoopOptions::Backend::io_uring});
    REQUIRE_FALSE(only.ok());
    CHECK(only.error().code == EPERM);
    CHECK(only.error().message.find("kernel.io_uring_disabled") != std::string::npos);
    CHECK(only.error().message.find("seccomp") != std::string::npos);
  }).join();
  std::thread([] {
    REQUIRE(forbid_io_uring(ENOSYS));
    auto only = make_loop({.backend = LoopOptions::Backend::io_uring});
    REQUIRE_FALSE(only.ok());
    CHECK(only.error().code == ENOSYS);
  }).join();
}
