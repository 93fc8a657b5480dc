#include "io/sockets.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <iterator>

#include "core/log.h"

namespace sluice::io {
namespace {

Duration read(clockid_t id) {
  timespec ts;
  clock_gettime(id, &ts);
  return std::chrono::seconds(ts.tv_sec) + Duration(ts.tv_nsec);
}

const char* remedy(int error, int name_needs_admin) {
  return error == EPERM && name_needs_admin ? " (needs CAP_NET_ADMIN)" : "";
}

Status set(int fd, int level, int name, const void* value, socklen_t len, const char* text,
           bool needs_admin = false) {
  if (setsockopt(fd, level, name, value, len) == 0) return {};
  int error = errno;
  return errno_error(error, std::string("socket option ") + text + remedy(error, needs_admin));
}

Status set_int(int fd, int level, int name, int value, const char* text, bool needs_admin = false) {
  return set(fd, level, name, &value, sizeof value, text, needs_admin);
}

}  // namespace

Status ThreadNetns::enter(int netns_fd) {
  if (netns_fd < 0) {
    go_home();
    return {};
  }
  struct stat st;
  if (fstat(netns_fd, &st) != 0) return errno_error(errno, "network namespace descriptor");
  // By identity, not by descriptor: numbers are used again.
  if (away_ && st.st_dev == dev_ && st.st_ino == ino_) return {};
  if (!home_.valid()) {
    home_.reset(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    if (!home_.valid()) return errno_error(errno, "/proc/thread-self/ns/net");
  }
  if (setns(netns_fd, CLONE_NEWNET) != 0)
    return errno_error(errno, errno == EPERM ? "entering a network namespace (needs CAP_SYS_ADMIN)"
                                             : "entering a network namespace");
  away_ = true;
  dev_ = st.st_dev;
  ino_ = st.st_ino;
  return {};
}

void ThreadNetns::return_home() {
  if (setns(home_.get(), CLONE_NEWNET) != 0) {
    // Going on would open the host's sockets inside a pod.
    SLUICE_LOG(io, critical, "cannot return to the own network namespace: {}", std::strerror(errno));
    std::abort();
  }
  away_ = false;
}

SocketLoop::SocketLoop() : event_fd_(eventfd(0, EFD_CLOEXEC)) {
  if (!event_fd_.valid()) {
    SLUICE_LOG(io, critical, "eventfd: {}", std::strerror(errno));
    std::abort();
  }
  read_clock();
}

void SocketLoop::wake() {
  uint64_t one = 1;
  [[maybe_unused]] ssize_t n = write(event_fd_.get(), &one, sizeof one);
}

void SocketLoop::read_clock() {
  now_ = MonotonicTime(read(CLOCK_MONOTONIC));
}

WallTime SocketLoop::wall_now() {
  return WallTime(read(CLOCK_REALTIME));
}

Result<int> SocketLoop::open_socket(int family, const SocketOptions& options, int netns_fd) {
  SLUICE_TRY(netns_.enter(netns_fd));
  Fd fd(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return errno_error(errno, "opening a socket");
  SLUICE_TRY(set_options(fd.get(), family, options));
  return fd.release();
}

Status SocketLoop::bind(int fd, const Address& address) {
  if (address.is_ip() && address.port() != 0) {
    // What a listener needs after a restart. Not for a port of the kernel's choice: it would choose one in use.
    SLUICE_TRY(set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1, "SO_REUSEADDR"));
  }
  if (::bind(fd, address.sockaddr_ptr(), address.len()) == 0) return {};
  return errno_error(errno, "binding to " + address.to_string());
}

Status SocketLoop::listen(int fd, int backlog) {
  if (::listen(fd, backlog) == 0) return {};
  int error = errno;
  return errno_error(error, "listening on " + local_address(fd).to_string());
}

// A classic filter runs on TCP segments from their header on (socket(7), SO_ATTACH_FILTER), a listener's included.
void SocketLoop::ignore_handshakes(int fd) {
  constexpr uint8_t kFlags = 13, kSynAck = 0x12, kSyn = 0x02;  // RFC 9293, 3.1
  sock_filter no_syn[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, kFlags),      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, kSynAck),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kSyn, 0, 1), BPF_STMT(BPF_RET | BPF_K, 0),
      BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
  };
  const sock_fprog program = {.len = std::size(no_syn), .filter = no_syn};
  if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0)
    SLUICE_LOG(listener, debug, "{}: no filter for SYNs: {}", local_address(fd).to_string(), strerror(errno));
}

Address SocketLoop::local_address(int fd) {
  Address a;
  socklen_t len = Address::capacity();
  if (getsockname(fd, a.sockaddr_ptr(), &len) != 0) return {};
  a.set_len(len);
  return a;
}

Address SocketLoop::peer_address(int fd) {
  Address a;
  socklen_t len = Address::capacity();
  if (getpeername(fd, a.sockaddr_ptr(), &len) != 0) return {};
  a.set_len(len);
  return a;
}

Status SocketLoop::set_options(int fd, const SocketOptions& options) {
  int family = AF_UNSPEC;
  socklen_t len = sizeof family;
  if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) != 0)
    return errno_error(errno, "socket option SO_DOMAIN");
  return set_options(fd, family, options);
}

Status SocketLoop::set_options(int fd, int family, const SocketOptions& o) {
  const bool v6 = family == AF_INET6, ip = v6 || family == AF_INET;
  if (o.transparent)
    SLUICE_TRY(v6 ? set_int(fd, SOL_IPV6, IPV6_TRANSPARENT, 1, "IPV6_TRANSPARENT", true)
                  : set_int(fd, SOL_IP, IP_TRANSPARENT, 1, "IP_TRANSPARENT", true));
  if (o.freebind)
    SLUICE_TRY(v6 ? set_int(fd, SOL_IPV6, IPV6_FREEBIND, 1, "IPV6_FREEBIND")
                  : set_int(fd, SOL_IP, IP_FREEBIND, 1, "IP_FREEBIND"));
  if (o.reuse_port) SLUICE_TRY(set_int(fd, SOL_SOCKET, SO_REUSEPORT, 1, "SO_REUSEPORT"));
  if (v6 && o.v6_only) SLUICE_TRY(set_int(fd, SOL_IPV6, IPV6_V6ONLY, 1, "IPV6_V6ONLY"));
  if (ip && o.bind_address_no_port)
    SLUICE_TRY(set_int(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1, "IP_BIND_ADDRESS_NO_PORT"));
  if (ip && o.no_delay) SLUICE_TRY(set_int(fd, SOL_TCP, TCP_NODELAY, 1, "TCP_NODELAY"));
  if (o.mark) SLUICE_TRY(set_int(fd, SOL_SOCKET, SO_MARK, static_cast<int>(o.mark), "SO_MARK", true));
  if (ip && o.keep_alive.enabled) {
    const auto& k = o.keep_alive;
    SLUICE_TRY(set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1, "SO_KEEPALIVE"));
    if (k.probes) SLUICE_TRY(set_int(fd, SOL_TCP, TCP_KEEPCNT, static_cast<int>(k.probes), "TCP_KEEPCNT"));
    if (k.time_s) SLUICE_TRY(set_int(fd, SOL_TCP, TCP_KEEPIDLE, static_cast<int>(k.time_s), "TCP_KEEPIDLE"));
    if (k.interval_s)
      SLUICE_TRY(set_int(fd, SOL_TCP, TCP_KEEPINTVL, static_cast<int>(k.interval_s), "TCP_KEEPINTVL"));
  }
  for (const auto& raw : o.raw) {
    std::string text = "level " + std::to_string(raw.level) + " name " + std::to_string(raw.name);
    SLUICE_TRY(set(fd, raw.level, raw.name, raw.value.data(), static_cast<socklen_t>(raw.value.size()),
                   text.c_str()));
  }
  return {};
}

void SocketLoop::shutdown_write(int fd) {
  ::shutdown(fd, SHUT_WR);
}

void SocketLoop::close_reset(int fd) {
  linger l{.l_onoff = 1, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
  close(fd);
}

bool accept_error_is_transient(int error) {
  switch (error) {
    case ECONNABORTED:
    case EINTR:
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case ENETUNREACH:
      return true;
    default:
      return false;
  }
}

}  // namespace sluice::io
