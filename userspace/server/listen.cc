#include "server/listen.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace sluice::server {
namespace {

Error explain(Error e, const model::Listener& listener, const Address& address) {
  std::string text =
      "listener '" + *listener.name + "': cannot listen on " + address.to_string() + ": " + e.message;
  if (e.code == EADDRINUSE)
    text += "; another process has the port (see `ss -ltnp`), or two listeners share an address";
  if (e.code == EACCES) text += "; ports below net.ipv4.ip_unprivileged_port_start need CAP_NET_BIND_SERVICE";
  if (e.code == EADDRNOTAVAIL)
    text += "; no interface has this address (freebind: true allows it all the same)";
  if (e.code == EPERM) text += "; transparent, freebind and mark need CAP_NET_ADMIN";
  return Error{std::move(text), e.code};
}

Result<Fd> open_one(io::Loop& loop, const model::Listener& listener, const Address& address, bool reuse_port,
                    bool v6_only, int netns_fd) {
  io::SocketOptions options = listener.socket_options;
  options.reuse_port = reuse_port && address.is_ip();
  options.v6_only |= v6_only;
  options.no_delay = true;  // accepted sockets inherit it: a system call less for each
  auto fd = loop.open_socket(address.family(), options, netns_fd);
  if (!fd) return explain(std::move(fd).error(), listener, address);
  Fd owned(*fd);
  // A socket file that a dead process has left behind is in the way; one that is listened on is not ours to take.
  if (address.is_pipe() && address.path()[0] != '@') ::unlink(address.path().c_str());
  if (Status s = loop.bind(owned.get(), address); !s) return explain(std::move(s).error(), listener, address);
  return owned;
}

}  // namespace

bool intercepting(const model::Listener& listener) {
  return listener.bind_to_port &&
         (listener.use_original_dst || listener.direction != model::TrafficDirection::unspecified);
}

bool same_sockets(const model::Listener& a, const model::Listener& b) {
  return a.address == b.address && a.additional_addresses == b.additional_addresses &&
         a.bind_to_port == b.bind_to_port && a.socket_options == b.socket_options &&
         a.tcp_backlog == b.tcp_backlog && intercepting(a) == intercepting(b);
}

namespace {

// Those that mean on a listening socket what they mean before: the accepted ones inherit them.
bool changes_later(const io::SocketOptions::Raw& raw) {
  static constexpr std::pair<int, int> kOptions[] = {
      {SOL_SOCKET, SO_KEEPALIVE},    {SOL_SOCKET, SO_LINGER},
      {SOL_SOCKET, SO_MARK},         {SOL_SOCKET, SO_PRIORITY},
      {SOL_SOCKET, SO_SNDBUF},       {SOL_SOCKET, SO_RCVBUF},
      {IPPROTO_TCP, TCP_KEEPCNT},    {IPPROTO_TCP, TCP_KEEPIDLE},
      {IPPROTO_TCP, TCP_KEEPINTVL},  {IPPROTO_TCP, TCP_NODELAY},
      {IPPROTO_TCP, TCP_MAXSEG},     {IPPROTO_TCP, TCP_USER_TIMEOUT},
      {IPPROTO_TCP, TCP_FASTOPEN},   {IPPROTO_TCP, TCP_DEFER_ACCEPT},
      {IPPROTO_TCP, TCP_CONGESTION}, {IPPROTO_TCP, TCP_NOTSENT_LOWAT},
      {IPPROTO_IP, IP_TOS},          {IPPROTO_IPV6, IPV6_TCLASS},
  };
  return std::ranges::find(kOptions, std::pair(raw.level, raw.name)) != std::end(kOptions);
}

}  // namespace

bool can_adjust(const model::Listener& from, const model::Listener& to) {
  const io::SocketOptions &a = from.socket_options, &b = to.socket_options;
  if (from.address != to.address || from.additional_addresses != to.additional_addresses ||
      from.bind_to_port != to.bind_to_port || intercepting(from) != intercepting(to) ||
      a.reuse_port != b.reuse_port || a.v6_only != b.v6_only || a.transparent != b.transparent ||
      a.freebind != b.freebind)
    return false;
  auto kept = [](auto before, auto after) { return !before || after; };
  const auto &k = a.keep_alive, &l = b.keep_alive;
  if (!kept(a.mark, b.mark) || !kept(k.enabled, l.enabled) || !kept(k.probes, l.probes) ||
      !kept(k.time_s, l.time_s) || !kept(k.interval_s, l.interval_s))
    return false;
  auto stays = [&](const io::SocketOptions::Raw& raw) {
    return std::ranges::any_of(
        b.raw, [&](const auto& other) { return other.level == raw.level && other.name == raw.name; });
  };
  auto settable = [&](const io::SocketOptions::Raw& raw) {
    return changes_later(raw) || std::ranges::find(a.raw, raw) != a.raw.end();
  };
  return std::ranges::all_of(a.raw, stays) && std::ranges::all_of(b.raw, settable);
}

Status try_options(io::Loop& loop, const model::Listener& listener) {
  auto fd = loop.open_socket(listener.address.family(), listener.socket_options);
  if (!fd) return explain(std::move(fd).error(), listener, listener.address);
  loop.close(*fd);
  return {};
}

Status start_listening(io::Loop& loop, const SocketGroup& group) {
  for (const Fd& fd : group.fds)
    if (Status s = loop.listen(fd.get(), static_cast<int>(group.listener->tcp_backlog)); !s)
      return explain(std::move(s).error(), *group.listener, group.bound);
  return {};
}

Result<std::vector<SocketGroup>> open_listener(io::Loop& loop,
                                               const std::shared_ptr<const model::Listener>& listener,
                                               unsigned workers, int netns_fd, bool dual_stack) {
  std::vector<Address> addresses{listener->address};
  addresses.insert(addresses.end(), listener->additional_addresses.begin(),
                   listener->additional_addresses.end());
  std::vector<SocketGroup> groups;
  struct GoHome {
    io::Loop& loop;
    ~GoHome() { loop.leave_netns(); }
  } go_home{loop};
  auto open_group = [&](const Address& address, bool v6_only) -> Status {
    SocketGroup group{listener, address, {}};
    bool reuse = listener->socket_options.reuse_port && address.is_ip();
    for (unsigned i = 0; i < workers; ++i) {
      if (i > 0 && !reuse) {
        // Every worker needs a descriptor of its own to close.
        int copy = fcntl(group.fds[0].get(), F_DUPFD_CLOEXEC, 0);
        if (copy < 0) return errno_error(errno, "listener '" + *listener->name + "': dup");
        group.fds.emplace_back(copy);
        continue;
      }
      SLUICE_ASSIGN(Fd fd, open_one(loop, *listener, group.bound, reuse, v6_only, netns_fd));
      if (i == 0 && address.is_ip() && address.port() == 0)
        group.bound = loop.local_address(fd.get());  // port 0: the workers share what the first one got
      group.fds.push_back(std::move(fd));
    }
    groups.push_back(std::move(group));
    return {};
  };
  for (const Address& a : addresses) {
    SLUICE_TRY(open_group(a, false));
    if (!dual_stack || !a.ip().is_v4() || !a.ip().is_any()) continue;
    Status v6 = open_group(Address(IpAddress::v6({}), a.port()), true);
    if (!v6 && v6.error().code != EAFNOSUPPORT)
      return std::move(v6).error();  // a host without IPv6 has none to take
  }
  return groups;
}

}  // namespace sluice::server
