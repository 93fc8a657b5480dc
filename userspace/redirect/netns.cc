#include "redirect/netns.h"

#include <dirent.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/nsfs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <optional>
#include <thread>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace sluice::redirect {

Result<Fd> open_netns(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid())
    return errno_error(errno, "network namespace " + path + " (give /run/netns/NAME or /proc/PID/ns/net)");
  if (::ioctl(fd.get(), NS_GET_NSTYPE) != CLONE_NEWNET)
    return Error{path + " is not a network namespace; give /run/netns/NAME or /proc/PID/ns/net", EINVAL};
  return fd;
}

Status run_in_netns(int netns_fd, const std::function<Status()>& fn) {
  Status result;
  std::thread([&] {
    if (::setns(netns_fd, CLONE_NEWNET) != 0)
      result = errno_error(errno, "entering a network namespace (needs CAP_SYS_ADMIN)");
    else
      result = fn();
  }).join();
  return result;
}

Result<uint64_t> own_netns_cookie() {
  Fd s(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!s.valid()) return errno_error(errno, "socket for the netns cookie");
  uint64_t cookie = 0;
  socklen_t len = sizeof(cookie);
  if (::getsockopt(s.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len) != 0)
    return errno_error(errno, "getsockopt SO_NETNS_COOKIE (kernel 5.14 or newer is needed)");
  return cookie;
}

Result<uint64_t> netns_cookie(int netns_fd) {
  uint64_t cookie = 0;
  SLUICE_TRY(run_in_netns(netns_fd, [&]() -> Status {
    SLUICE_ASSIGN(cookie, own_netns_cookie());
    return {};
  }));
  return cookie;
}

namespace {

bool usable_source(const Address& a) {
  if (a.family() == AF_INET) {
    uint32_t ip = ntohl(reinterpret_cast<const sockaddr_in*>(a.sockaddr_ptr())->sin_addr.s_addr);
    return ip != 0 && ip >> 24 != 127 && ip >> 16 != 0xa9fe;  // 169.254.0.0/16
  }
  const in6_addr& ip = reinterpret_cast<const sockaddr_in6*>(a.sockaddr_ptr())->sin6_addr;
  return a.family() == AF_INET6 && !IN6_IS_ADDR_UNSPECIFIED(&ip) && !IN6_IS_ADDR_LOOPBACK(&ip) &&
         !IN6_IS_ADDR_LINKLOCAL(&ip);
}

// A connected UDP socket has its source address, and has sent nothing. The destination (RFC 5737, RFC 3849) is nobody's.
std::optional<IpAddress> source_by_route(const char* somewhere) {
  Address to(*IpAddress::parse(somewhere), 9);
  Fd s(::socket(to.family(), SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!s.valid() || ::connect(s.get(), to.sockaddr_ptr(), to.len()) != 0) return std::nullopt;
  Address from;
  socklen_t len = Address::capacity();
  if (::getsockname(s.get(), from.sockaddr_ptr(), &len) != 0) return std::nullopt;
  from.set_len(len);
  if (!usable_source(from)) return std::nullopt;
  return from.ip();
}

}  // namespace

Result<SourceAddresses> source_addresses(int netns_fd) {
  SourceAddresses out;
  SLUICE_TRY(run_in_netns(netns_fd, [&]() -> Status {
    out.v4 = source_by_route("192.0.2.1");
    out.v6 = source_by_route("2001:db8::1");
    ifaddrs* all = nullptr;
    if (::getifaddrs(&all) != 0) return errno_error(errno, "reading the addresses of a network namespace");
    for (const ifaddrs* i = all; i; i = i->ifa_next) {
      if (!i->ifa_addr || !(i->ifa_flags & IFF_UP)) continue;
      int family = i->ifa_addr->sa_family;
      if (family != AF_INET && family != AF_INET6) continue;
      Address a =
          Address::from_sockaddr(i->ifa_addr, family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6));
      std::optional<IpAddress>& wanted = family == AF_INET ? out.v4 : out.v6;
      if (!wanted && usable_source(a)) wanted = a.ip();
    }
    ::freeifaddrs(all);
    return {};
  }));
  return out;
}

Result<uint64_t> netns_inode(const std::string& path) {
  struct stat st{};
  if (::stat(path.c_str(), &st) != 0) return errno_error(errno, "network namespace " + path);
  return static_cast<uint64_t>(st.st_ino);
}

std::string find_netns(uint64_t inode) {
  auto one_in = [inode](const char* dir, const char* suffix, bool digits_only) -> std::string {
    DIR* d = ::opendir(dir);
    if (!d) return "";
    std::string found;
    while (dirent* e = ::readdir(d)) {
      if (e->d_name[0] == '.' || (digits_only && (e->d_name[0] < '0' || e->d_name[0] > '9'))) continue;
      std::string path = std::string(dir) + "/" + e->d_name + suffix;
      auto ino = netns_inode(path);
      if (ino.ok() && *ino == inode) {
        found = path;
        break;
      }
    }
    ::closedir(d);
    return found;
  };
  for (auto [dir, suffix] : {std::pair{"/run/netns", ""}, {"/var/run/netns", ""}, {"/proc", "/ns/net"}})
    if (std::string path = one_in(dir, suffix, *suffix != 0); !path.empty()) return path;
  return "";
}

Status bind_netns(int netns_fd, const std::string& path) {
  Fd target(::open(path.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0444));
  if (!target.valid()) return errno_error(errno, path);
  std::string source = "/proc/self/fd/" + std::to_string(netns_fd);
  if (::mount(source.c_str(), path.c_str(), "none", MS_BIND, nullptr) != 0) {
    Error e = errno_error(errno, "bind mount of a network namespace on " + path);
    ::unlink(path.c_str());
    return e;
  }
  return {};
}

void unbind_netns(const std::string& path) {
  // Repeated enrolment never stacks mounts, but whatever is there has to go.
  while (::umount2(path.c_str(), MNT_DETACH) == 0) {
  }
  ::unlink(path.c_str());
}

}  // namespace sluice::redirect
