#include "redirect/return_path.h"

#include <fcntl.h>
#include <linux/fib_rules.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "core/fd.h"
#include "redirect/netns.h"

namespace sluice::redirect {
namespace {

constexpr uint32_t kLoopback = 1;  // every namespace numbers its lo 1
constexpr const char* kSysctl = "/proc/sys/net/ipv4/tcp_fwmark_accept";
constexpr int kFamilies[] = {AF_INET, AF_INET6};

const char* name_of(int family) {
  return family == AF_INET ? "IPv4" : "IPv6";
}

// One rtnetlink request with its attributes (rtnetlink(7)).
class Request {
 public:
  template <class Header>
  Request(uint16_t type, uint16_t flags, const Header& header) {
    nlmsghdr n{};
    n.nlmsg_type = type;
    n.nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
    n.nlmsg_seq = 1;
    append(&n, NLMSG_HDRLEN);
    append(&header, sizeof(header));
  }
  template <class Value>
  Request& with(uint16_t type, const Value& value) {
    rtattr a{};
    a.rta_type = type;
    a.rta_len = static_cast<uint16_t>(RTA_LENGTH(sizeof(value)));
    append(&a, sizeof(a));
    append(&value, sizeof(value));
    return *this;
  }
  const std::vector<char>& bytes() {
    uint32_t length = static_cast<uint32_t>(bytes_.size());
    std::memcpy(bytes_.data() + offsetof(nlmsghdr, nlmsg_len), &length, sizeof(length));
    return bytes_;
  }

 private:
  void append(const void* data, size_t size) {
    size_t at = bytes_.size();
    bytes_.resize(at + NLMSG_ALIGN(size));
    std::memcpy(bytes_.data() + at, data, size);
  }
  std::vector<char> bytes_;
};

// A socket to the routing tables of the namespace that opened it.
class Rtnetlink {
 public:
  static Result<Rtnetlink> open() {
    Rtnetlink r;
    r.fd_.reset(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (!r.fd_.valid()) return errno_error(errno, "rtnetlink socket");
    return r;
  }
  // The kernel's answer as an errno; 0: done.
  int ask(Request& request) {
    int outcome = 0;
    return exchange(request, outcome, [](const nlmsghdr&) {}) ? outcome : errno;
  }
  // Every message of a dump.
  int dump(Request& request, const std::function<void(const nlmsghdr&)>& each) {
    int outcome = 0;
    return exchange(request, outcome, each) ? outcome : errno;
  }

 private:
  bool exchange(Request& request, int& outcome, const std::function<void(const nlmsghdr&)>& each) {
    const auto& bytes = request.bytes();
    if (::send(fd_.get(), bytes.data(), bytes.size(), 0) < 0) return false;
    alignas(nlmsghdr) char buffer[32768];
    for (;;) {
      ssize_t n = ::recv(fd_.get(), buffer, sizeof(buffer), 0);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return false;
      auto left = static_cast<uint32_t>(n);
      for (auto* m = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(m, left); m = NLMSG_NEXT(m, left)) {
        if (m->nlmsg_type == NLMSG_DONE) return true;
        if (m->nlmsg_type == NLMSG_ERROR) {
          outcome = -static_cast<nlmsgerr*>(NLMSG_DATA(m))->error;
          return true;
        }
        each(*m);
      }
    }
  }
  Fd fd_;
};

Request rule_request(int family, uint16_t type, uint16_t flags) {
  fib_rule_hdr h{};
  h.family = static_cast<uint8_t>(family);
  h.action = FR_ACT_TO_TBL;
  Request r(type, static_cast<uint16_t>(NLM_F_ACK | flags), h);
  return r.with(FRA_TABLE, kReturnTable)
      .with(FRA_PRIORITY, kReturnPriority)
      .with(FRA_PROTOCOL, kReturnProtocol);
}

Request route_request(int family, uint16_t type, uint16_t flags) {
  rtmsg h{};
  h.rtm_family = static_cast<uint8_t>(family);
  h.rtm_table = RT_TABLE_UNSPEC;  // RTA_TABLE says it: the number does not fit here
  h.rtm_protocol = kReturnProtocol;
  h.rtm_scope = RT_SCOPE_HOST;
  h.rtm_type = RTN_LOCAL;
  Request r(type, static_cast<uint16_t>(NLM_F_ACK | flags), h);
  return r.with(RTA_TABLE, kReturnTable).with(RTA_OIF, kLoopback);
}

uint32_t number_in(const nlmsghdr& m, size_t header, uint16_t type, uint32_t otherwise) {
  if (m.nlmsg_len < NLMSG_LENGTH(header)) return otherwise;
  auto left = static_cast<uint32_t>(m.nlmsg_len - NLMSG_LENGTH(header));
  const char* at = reinterpret_cast<const char*>(&m) + NLMSG_LENGTH(header);
  for (auto* a = reinterpret_cast<const rtattr*>(at); RTA_OK(a, left); a = RTA_NEXT(a, left)) {
    if (a->rta_type != type) continue;
    if (RTA_PAYLOAD(a) == 1) return *static_cast<const uint8_t*>(RTA_DATA(a));
    uint32_t value = 0;
    std::memcpy(&value, RTA_DATA(a), std::min(sizeof(value), static_cast<size_t>(RTA_PAYLOAD(a))));
    return value;
  }
  return otherwise;
}

// Our rules, our routes, in one family. A family that the kernel has not counts as having none.
struct Found {
  int rules = 0, routes = 0;
};
Result<Found> find(Rtnetlink& netlink, int family) {
  Found found;
  fib_rule_hdr rule{};
  rule.family = static_cast<uint8_t>(family);
  Request rules(RTM_GETRULE, NLM_F_DUMP, rule);
  int err = netlink.dump(rules, [&](const nlmsghdr& m) {
    if (m.nlmsg_type != RTM_NEWRULE) return;
    found.rules += number_in(m, sizeof(fib_rule_hdr), FRA_TABLE, 0) == kReturnTable &&
                   number_in(m, sizeof(fib_rule_hdr), FRA_PROTOCOL, 0) == kReturnProtocol;
  });
  if (err && err != EAFNOSUPPORT && err != EOPNOTSUPP) return errno_error(err, "reading policy rules");
  rtmsg route{};
  route.rtm_family = static_cast<uint8_t>(family);
  Request routes(RTM_GETROUTE, NLM_F_DUMP, route);
  err = netlink.dump(routes, [&](const nlmsghdr& m) {
    if (m.nlmsg_type != RTM_NEWROUTE || m.nlmsg_len < NLMSG_LENGTH(sizeof(rtmsg))) return;
    const auto* h = reinterpret_cast<const rtmsg*>(reinterpret_cast<const char*>(&m) + NLMSG_HDRLEN);
    // A kernel without IPv6 answers with all families it has.
    found.routes += h->rtm_family == family && h->rtm_protocol == kReturnProtocol &&
                    number_in(m, sizeof(rtmsg), RTA_TABLE, h->rtm_table) == kReturnTable;
  });
  if (err && err != EAFNOSUPPORT && err != EOPNOTSUPP) return errno_error(err, "reading routes");
  return found;
}

Result<int> read_accept() {
  Fd fd(::open(kSysctl, O_RDONLY | O_CLOEXEC));
  char digit = 0;
  if (!fd.valid() || ::read(fd.get(), &digit, 1) != 1) return errno_error(errno, kSysctl);
  return digit == '1' ? 1 : 0;
}

Status write_accept(int value) {
  if (auto now = read_accept(); now.ok() && *now == value) return {};
  Fd fd(::open(kSysctl, O_WRONLY | O_CLOEXEC));
  if (!fd.valid() || ::write(fd.get(), value ? "1\n" : "0\n", 2) != 2) {
    int err = errno;
    return errno_error(err,
                       std::string("net.ipv4.tcp_fwmark_accept") +
                           (err == EROFS || err == EACCES
                                ? " (give sluiced a writable /proc/sys: as a pod, securityContext.privileged)"
                                : ""));
  }
  return {};
}

// No IPv6 in this namespace: not built in, or switched off (net.ipv6.conf.*.disable_ipv6).
bool lacks_family(int family, int err) {
  return family == AF_INET6 && (err == EAFNOSUPPORT || err == EOPNOTSUPP || err == EACCES);
}

Status make_here(uint32_t mark) {
  SLUICE_ASSIGN(Rtnetlink netlink, Rtnetlink::open());
  for (int family : kFamilies) {
    Request route = route_request(family, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
    int err = netlink.ask(route);
    if (lacks_family(family, err)) continue;
    if (err && err != EEXIST)
      return errno_error(err, std::string(name_of(family)) + " route \"local default dev lo table " +
                                  std::to_string(kReturnTable) + "\"" +
                                  (err == ENETDOWN ? " (bring lo up in this namespace)" : ""));
    Request rule = rule_request(family, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL);
    err = netlink.ask(rule.with(FRA_FWMARK, mark).with(FRA_FWMASK, UINT32_MAX));
    if (err && err != EEXIST)
      return errno_error(
          err, std::string(name_of(family)) + " rule \"fwmark lookup " + std::to_string(kReturnTable) + "\"" +
                   (err == EAFNOSUPPORT || err == EOPNOTSUPP ? " (the kernel needs CONFIG_IP_MULTIPLE_TABLES)"
                    : err == EPERM                           ? " (needs CAP_NET_ADMIN)"
                                                             : ""));
  }
  return write_accept(1);
}

Status remove_here(int accept_before) {
  Status first;
  auto note = [&first](Status s) {
    if (first.ok() && !s.ok()) first = std::move(s);
  };
  auto netlink = Rtnetlink::open();
  if (!netlink.ok()) return std::move(netlink).error();
  for (int family : kFamilies) {
    auto found = find(*netlink, family);
    if (!found.ok()) {
      note(std::move(found).error());
      continue;
    }
    for (; found->rules > 0; --found->rules) {
      Request rule = rule_request(family, RTM_DELRULE, 0);
      if (int err = netlink->ask(rule))
        note(errno_error(err, std::string("removing the ") + name_of(family) + " rule"));
    }
    for (; found->routes > 0; --found->routes) {
      Request route = route_request(family, RTM_DELROUTE, 0);
      if (int err = netlink->ask(route))
        note(errno_error(err, std::string("removing the ") + name_of(family) + " route"));
    }
  }
  if (accept_before >= 0) note(write_accept(accept_before));
  return first;
}

Status lo_up() {
  Fd s(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ifreq r{};
  r.ifr_name[0] = 'l', r.ifr_name[1] = 'o';
  r.ifr_flags = IFF_UP;
  if (!s.valid() || ::ioctl(s.get(), SIOCSIFFLAGS, &r) != 0) return errno_error(errno, "bringing lo up");
  return {};
}

}  // namespace

Result<int> fwmark_accept(int netns_fd) {
  int value = 0;
  SLUICE_TRY(run_in_netns(netns_fd, [&]() -> Status {
    SLUICE_ASSIGN(value, read_accept());
    return {};
  }));
  return value;
}

Status make_return_path(int netns_fd, uint32_t mark, int accept_before) {
  return run_in_netns(netns_fd, [&]() -> Status {
    Status made = make_here(mark);
    if (!made.ok()) (void)remove_here(accept_before);
    return made;
  });
}

Status remove_return_path(int netns_fd, int accept_before) {
  return run_in_netns(netns_fd, [&] { return remove_here(accept_before); });
}

Status check_return_path(int netns_fd) {
  return run_in_netns(netns_fd, [&]() -> Status {
    SLUICE_ASSIGN(Rtnetlink netlink, Rtnetlink::open());
    for (int family : kFamilies) {
      SLUICE_ASSIGN(Found found, find(netlink, family));
      // Neither, for IPv6: it was not there when we came.
      if (family == AF_INET6 && !found.rules && !found.routes) continue;
      if (!found.rules) return Error{std::string(name_of(family)) + " rule", ENOENT};
      if (!found.routes) return Error{std::string(name_of(family)) + " route", ENOENT};
    }
    SLUICE_ASSIGN(int accept, read_accept());
    if (!accept) return Error{"net.ipv4.tcp_fwmark_accept=1", ENOENT};
    return {};
  });
}

Status check_no_return_path(int netns_fd) {
  return run_in_netns(netns_fd, [&]() -> Status {
    SLUICE_ASSIGN(Rtnetlink netlink, Rtnetlink::open());
    for (int family : kFamilies) {
      SLUICE_ASSIGN(Found found, find(netlink, family));
      if (found.rules) return Error{std::string(name_of(family)) + " rule", EEXIST};
      if (found.routes) return Error{std::string(name_of(family)) + " route", EEXIST};
    }
    return {};
  });
}

Status probe_return_path(uint32_t mark) {
  Status result;
  std::thread([&] {
    if (::unshare(CLONE_NEWNET) != 0)
      result = errno_error(errno, "a network namespace to try it in (needs CAP_SYS_ADMIN)");
    else if (result = lo_up(); result.ok())
      result = make_here(mark);
  }).join();
  return result;
}

}  // namespace sluice::redirect
