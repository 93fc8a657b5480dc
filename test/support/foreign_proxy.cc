// Puts a network namespace under interception in favour of a proxy that is not ours (an unmodified Envoy):
// its listening sockets are taken from its process by pidfd_getfd and shown to the kernel side. Prints
// "ready", waits for the end of its standard input, uninstalls.
//
//   foreign_proxy BPFFS_ROOT STATE_DIR CGROUP NETNS PID PROXY_CGROUP
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "core/fd.h"
#include "redirect/host.h"
#include "redirect/redirector.h"

namespace {

using sluice::Fd;
namespace redirect = sluice::redirect;

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "foreign_proxy: %s\n", what.c_str());
  std::exit(1);
}

// The listening TCP socket of `port` among the process's descriptors; invalid when it has none.
Fd take_listener(int pidfd, const std::string& pid, int family, uint16_t port) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc/" + pid + "/fd")) {
    Fd fd(static_cast<int>(::syscall(SYS_pidfd_getfd, pidfd, std::atoi(entry.path().filename().c_str()), 0)));
    int listening = 0;
    socklen_t size = sizeof(listening);
    if (::getsockopt(fd.get(), SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 || !listening) continue;
    sockaddr_storage address{};
    size = sizeof(address);
    ::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size);
    if (address.ss_family != family) continue;
    auto bound = family == AF_INET ? reinterpret_cast<sockaddr_in&>(address).sin_port
                                   : reinterpret_cast<sockaddr_in6&>(address).sin6_port;
    if (ntohs(bound) == port) return fd;
  }
  return Fd();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 7) fail("BPFFS_ROOT STATE_DIR CGROUP NETNS PID PROXY_CGROUP");
  redirect::Options options;
  options.bpffs_root = argv[1];
  options.state_dir = argv[2];
  options.cgroup_path = argv[3];
  auto redirector = redirect::Redirector::attach(options);
  if (!redirector) fail(redirector.error().message);
  auto cgroup = redirect::cgroup_id_of(argv[6]);
  if (!cgroup) fail(cgroup.error().message);
  if (auto s = (*redirector)->set_proxy_identity(*cgroup); !s) fail(s.error().message);

  redirect::WorkloadSpec spec;
  spec.name = "foreign";
  spec.netns_path = argv[4];
  auto workload = (*redirector)->enrol(spec);
  if (!workload) fail(workload.error().message);

  Fd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, std::atoi(argv[5]), 0)));
  Fd out4 = take_listener(pidfd.get(), argv[5], AF_INET, options.outbound_port);
  Fd out6 = take_listener(pidfd.get(), argv[5], AF_INET6, options.outbound_port);
  Fd in4 = take_listener(pidfd.get(), argv[5], AF_INET, options.inbound_port);
  if (out4.get() < 0 || in4.get() < 0) fail("the process does not listen on the outbound and inbound ports");
  redirect::Listeners listeners{
      .outbound_v4 = out4.get(), .outbound_v6 = out6.get(), .inbound_v4 = in4.get(), .inbound_v6 = -1};
  if (auto s = (*redirector)->set_listeners(workload->netns_cookie, listeners); !s) fail(s.error().message);
  out4.reset(), out6.reset(),
      in4.reset();  // the entries go with the sockets, and the sockets with their process
  std::puts("ready");
  std::fflush(stdout);
  while (std::getchar() != EOF) {
  }
  redirector->reset();
  auto report = redirect::uninstall(options);
  if (!report) fail(report.error().message);
  for (const std::string& left : report->left) fail("left behind: " + left);
  return 0;
}
