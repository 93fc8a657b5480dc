#include "net/dns.h"

#include <ares.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <list>
#include <unordered_map>
#include <utility>

#include "core/log.h"

namespace sluice::net {
namespace {

struct Stats {
  explicit Stats(const stats::Scope& s)
      : resolve_total(s.counter("resolve_total")),
        not_found(s.counter("not_found")),
        get_addr_failure(s.counter("get_addr_failure")),
        timeouts(s.counter("timeouts")),
        reinits(s.counter("reinits")),
        pending_resolutions(s.gauge("pending_resolutions")) {}
  stats::Counter resolve_total, not_found, get_addr_failure, timeouts, reinits;
  stats::Gauge pending_resolutions;
};

Error ares_error(int status, std::string_view what) {
  return Error{std::string(what) + ": " + ares_strerror(status)};
}

// The family to ask first, and the one to ask if there is nothing of it (AF_UNSPEC: none).
std::pair<int, int> families(DnsFamily family) {
  switch (family) {
    case DnsFamily::auto_:
      return {AF_INET6, AF_INET};
    case DnsFamily::v4_only:
      return {AF_INET, AF_UNSPEC};
    case DnsFamily::v6_only:
      return {AF_INET6, AF_UNSPEC};
    case DnsFamily::v4_preferred:
      return {AF_INET, AF_INET6};
    case DnsFamily::all:
      break;
  }
  return {AF_UNSPEC, AF_UNSPEC};
}

class AresResolver;

// One of c-ares' sockets: polled by the loop. Owns the descriptor, because it must stay open while the loop polls it.
struct Watch {
  Watch(AresResolver* r, io::Loop& l, int f) : resolver(r), loop(l), fd(f), op(&ready, this) {}
  ~Watch() { loop.close(fd); }
  static void ready(io::Op& op, io::Completion& c);
  void want(uint32_t new_events);

  AresResolver* resolver;  // null: c-ares has closed it
  io::Loop& loop;
  const int fd;
  uint32_t events = 0;
  bool udp = false;
  uint32_t sent = 0;  // datagrams
  io::Op op;
};

struct Question {
  std::string name;
  int family, fallback;
  DnsResolver::Callback callback;  // empty: cancelled
  AresResolver* resolver;
  Result<std::vector<DnsAddress>> answer = std::vector<DnsAddress>();
  std::list<std::shared_ptr<Question>>::iterator place;  // in asking_
};

class Query final : public DnsQuery {
 public:
  explicit Query(std::shared_ptr<Question> q) : question_(std::move(q)) {}
  ~Query() override { question_->callback = nullptr; }

 private:
  std::shared_ptr<Question> question_;
};

class AresResolver final : public DnsResolver {
 public:
  AresResolver(io::Loop& loop, DnsOptions options, const stats::Scope& stats)
      : loop_(loop),
        options_(std::move(options)),
        stats_(stats),
        timer_(loop.timers(), &timed_out, this),
        deliver_(&deliver, this) {}
  ~AresResolver() override {
    close_channel();
    stats_.pending_resolutions.sub(asking_.size() + answered_.size());
  }

  Status open_channel();
  std::unique_ptr<DnsQuery> resolve(const std::string& name, DnsFamily family, Callback callback) override;
  void socket_ready(int fd, uint32_t events);
  // Whether there are no questions, and the most datagrams that one socket has sent of those that there are.
  bool idle() const { return asking_.empty() && answered_.empty(); }
  uint32_t most_sent() const;

 private:
  void close_channel();
  void ask(const std::shared_ptr<Question>& q);
  void finish(Question& q, int status, int timeouts, ares_addrinfo* info);
  void arm_timer();
  static void answered(void* arg, int status, int timeouts, ares_addrinfo* info);
  static void timed_out(io::Timer& timer);
  static void deliver(io::TurnEnd& hook);

  static void socket_state(void* self, ares_socket_t fd, int readable, int writable);
  static ares_socket_t do_socket(int family, int type, int protocol, void* self);
  static int do_close(ares_socket_t fd, void* self);
  static int do_connect(ares_socket_t fd, const sockaddr* address, ares_socklen_t len, void*) {
    return ::connect(fd, address, len);
  }
  static ares_ssize_t do_recv(ares_socket_t fd, void* to, size_t n, int flags, sockaddr* from,
                              ares_socklen_t* len, void*) {
    return ::recvfrom(fd, to, n, flags, from, len);
  }
  static ares_ssize_t do_send(ares_socket_t fd, const iovec* iov, int n, void* self) {
    auto& watches = static_cast<AresResolver*>(self)->watches_;
    if (auto it = watches.find(fd); it != watches.end()) it->second->sent += it->second->udp;
    return ::writev(fd, iov, n);
  }

  io::Loop& loop_;
  const DnsOptions options_;
  Stats stats_;
  ares_channel channel_ = nullptr;
  bool closing_ = false;
  bool stale_ = false;  // servers do not answer: read /etc/resolv.conf again before the next question
  std::unordered_map<int, std::unique_ptr<Watch>> watches_;
  std::list<std::shared_ptr<Question>> asking_;  // c-ares has them
  std::list<std::shared_ptr<Question>> answered_;  // delivered at the end of the turn
  io::Timer timer_;
  io::TurnEnd deliver_;
};

// ---- sockets ----

void Watch::want(uint32_t new_events) {
  bool changed = std::exchange(events, new_events) != new_events;
  if (!op.in_flight()) {
    if (events != 0) loop.poll(op, fd, events);
  } else if (changed) {
    loop.cancel(op);  // polls anew when that is done
  }
}

void Watch::ready(io::Op& op, io::Completion& c) {
  Watch& self = *op.owner<Watch>();
  if (!self.resolver) {
    delete &self;
    return;
  }
  if (c.result > 0)
    return self.resolver->socket_ready(self.fd, static_cast<uint32_t>(c.result));  // may close it
  if (c.result == -ECANCELED) self.want(self.events);
}

void AresResolver::socket_ready(int fd, uint32_t events) {
  constexpr uint32_t kTrouble = POLLERR | POLLHUP;
  ares_process_fd(channel_, events & (POLLIN | kTrouble) ? fd : ARES_SOCKET_BAD,
                  events & (POLLOUT | kTrouble) ? fd : ARES_SOCKET_BAD);
  if (auto it = watches_.find(fd); it != watches_.end()) it->second->want(it->second->events);
  arm_timer();
}

ares_socket_t AresResolver::do_socket(int family, int type, int protocol, void* self) {
  int fd = ::socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
  if (fd < 0) return ARES_SOCKET_BAD;
  if (type == SOCK_STREAM) {
    int on = 1;
    (void)::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  auto& r = *static_cast<AresResolver*>(self);
  auto& watch = r.watches_[fd] = std::make_unique<Watch>(&r, r.loop_, fd);
  watch->udp = type == SOCK_DGRAM;
  return fd;
}

int AresResolver::do_close(ares_socket_t fd, void* self) {
  auto& r = *static_cast<AresResolver*>(self);
  auto it = r.watches_.find(fd);
  if (it == r.watches_.end()) return ::close(fd);
  std::unique_ptr<Watch> w = std::move(it->second);
  r.watches_.erase(it);
  if (!w->op.in_flight()) return 0;
  w->resolver = nullptr;
  r.loop_.cancel(w->op);
  w.release();  // goes when the loop has let go of it
  return 0;
}

uint32_t AresResolver::most_sent() const {
  uint32_t out = 0;
  for (const auto& [fd, watch] : watches_) out = std::max(out, watch->sent);
  return out;
}

void AresResolver::socket_state(void* self, ares_socket_t fd, int readable, int writable) {
  auto& r = *static_cast<AresResolver*>(self);
  auto it = r.watches_.find(fd);
  if (it == r.watches_.end()) return;
  it->second->want((readable ? uint32_t{POLLIN} : 0u) | (writable ? uint32_t{POLLOUT} : 0u));
}

// ---- the channel ----

Status AresResolver::open_channel() {
  static const int library = ares_library_init(ARES_LIB_INIT_ALL);
  if (library != ARES_SUCCESS) return ares_error(library, "c-ares");
  ares_options o{};
  int mask = ARES_OPT_SOCK_STATE_CB | ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES;
  o.sock_state_cb = &socket_state;
  o.sock_state_cb_data = this;
  o.flags = (options_.use_tcp ? ARES_FLAG_USEVC : 0) | (options_.no_search ? ARES_FLAG_NOSEARCH : 0);
  o.timeout =
      static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(options_.timeout).count());
  o.tries = static_cast<int>(options_.tries);
  if (int status = ares_init_options(&channel_, &o, mask); status != ARES_SUCCESS) {
    channel_ = nullptr;
    return ares_error(status, "DNS resolver cannot start (is /etc/resolv.conf readable?)");
  }
  static const ares_socket_functions functions = {&do_socket, &do_close, &do_connect, &do_recv, &do_send};
  ares_set_socket_functions(channel_, &functions, this);
  if (options_.servers.empty()) return {};
  std::string servers;
  for (const Address& a : options_.servers) servers += (servers.empty() ? "" : ",") + a.to_string();
  if (int status = ares_set_servers_ports_csv(channel_, servers.c_str()); status != ARES_SUCCESS) {
    return ares_error(status, "DNS resolvers " + servers);
  }
  return {};
}

void AresResolver::close_channel() {
  if (!channel_) return;
  closing_ = true;
  ares_destroy(channel_);  // answers every question with ARES_EDESTRUCTION, closes every socket
  channel_ = nullptr;
  closing_ = false;
}

void AresResolver::arm_timer() {
  timeval longest{3600, 0}, tv;
  timeval* next = ares_timeout(channel_, &longest, &tv);
  if (asking_.empty()) return timer_.cancel();
  Duration in = std::chrono::seconds(next->tv_sec) + std::chrono::microseconds(next->tv_usec);
  timer_.arm(loop_.now() + std::max<Duration>(in, std::chrono::milliseconds(1)));
}

void AresResolver::timed_out(io::Timer& timer) {
  AresResolver& self = *timer.owner<AresResolver>();
  ares_process_fd(self.channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
  self.arm_timer();
}

// ---- questions ----

std::unique_ptr<DnsQuery> AresResolver::resolve(const std::string& name, DnsFamily family,
                                                Callback callback) {
  auto q = std::make_shared<Question>();
  q->name = name;
  std::tie(q->family, q->fallback) = families(family);
  q->callback = std::move(callback);
  q->resolver = this;
  stats_.resolve_total.add();
  stats_.pending_resolutions.add();
  if (auto literal = IpAddress::parse(name); literal.ok()) {
    q->answer = std::vector<DnsAddress>{{*literal, {}}};
    answered_.push_back(q);
    loop_.schedule(deliver_);
    return std::make_unique<Query>(q);
  }
  if (stale_ && asking_.empty()) {
    close_channel();
    stats_.reinits.add();
    stale_ = false;
  }
  if (!channel_) {
    if (Status s = open_channel(); !s.ok()) {
      close_channel();
      q->answer = std::move(s).error();
      answered_.push_back(q);
      loop_.schedule(deliver_);
      return std::make_unique<Query>(q);
    }
  }
  ask(q);
  arm_timer();
  return std::make_unique<Query>(q);
}

void AresResolver::ask(const std::shared_ptr<Question>& q) {
  ares_addrinfo_hints hints{};
  hints.ai_family = q->family;
  hints.ai_flags = ARES_AI_NOSORT;  // sorting would open a socket an address
  q->place = asking_.insert(asking_.end(), q);
  ares_getaddrinfo(channel_, q->name.c_str(), nullptr, &hints, &answered, q.get());
}

void AresResolver::answered(void* arg, int status, int timeouts, ares_addrinfo* info) {
  Question& q = *static_cast<Question*>(arg);
  q.resolver->finish(q, status, timeouts, info);
  if (info) ares_freeaddrinfo(info);
}

void AresResolver::finish(Question& question, int status, int timeouts, ares_addrinfo* info) {
  if (closing_) return;  // the resolver goes, or no question is left
  std::shared_ptr<Question> q = *question.place;
  asking_.erase(q->place);
  if (timeouts > 0) stats_.timeouts.add(static_cast<uint64_t>(timeouts));

  std::vector<DnsAddress> addresses;
  for (auto* node = info ? info->nodes : nullptr; node; node = node->ai_next) {
    IpAddress ip = Address::from_sockaddr(node->ai_addr, node->ai_addrlen).ip();
    bool known = std::ranges::any_of(addresses, [&](const DnsAddress& a) { return a.ip == ip; });
    if (!known) addresses.push_back({ip, std::chrono::seconds(std::max(node->ai_ttl, 0))});
  }
  if (addresses.empty() && q->fallback != AF_UNSPEC && q->callback) {
    q->family = std::exchange(q->fallback, AF_UNSPEC);
    return ask(q);
  }
  bool no_such = status == ARES_ENODATA || status == ARES_ENOTFOUND;
  if (status == ARES_SUCCESS || no_such) {
    if (no_such) stats_.not_found.add();
    q->answer = std::move(addresses);
  } else {
    stats_.get_addr_failure.add();
    stale_ |= options_.servers.empty() && (status == ARES_ECONNREFUSED || status == ARES_ETIMEOUT);
    q->answer = ares_error(status, "DNS resolution of " + q->name);
  }
  answered_.push_back(std::move(q));
  loop_.schedule(deliver_);
}

void AresResolver::deliver(io::TurnEnd& hook) {
  AresResolver& self = *hook.owner<AresResolver>();
  auto ready = std::exchange(self.answered_, {});
  self.stats_.pending_resolutions.sub(ready.size());
  // A callback may destroy the resolver: nothing of it is touched from here on.
  for (const auto& q : ready) {
    if (auto callback = std::exchange(q->callback, nullptr)) callback(std::move(q->answer));
  }
}

// ---- udp_max_queries ----

// c-ares keeps a port for as long as a question is under way (its own limit came with 1.20): once the port has been used so
// often, questions go to another resolver, and the old one ends with its last.
class PortChanger final : public DnsResolver {
 public:
  PortChanger(io::Loop& loop, DnsOptions options, const stats::Scope& stats,
              std::unique_ptr<AresResolver> first)
      : loop_(loop), options_(std::move(options)), stats_(stats), now_(std::move(first)) {}

  std::unique_ptr<DnsQuery> resolve(const std::string& name, DnsFamily family, Callback callback) override {
    std::erase_if(used_up_, [](const auto& resolver) { return resolver->idle(); });
    if (now_->most_sent() >= options_.udp_max_queries) {
      used_up_.push_back(std::move(now_));
      now_ = std::make_unique<AresResolver>(loop_, options_, stats_);
    }
    return now_->resolve(name, family, std::move(callback));
  }

 private:
  io::Loop& loop_;
  const DnsOptions options_;
  const stats::Scope stats_;
  std::unique_ptr<AresResolver> now_;
  std::vector<std::unique_ptr<AresResolver>> used_up_;
};

}  // namespace

Result<std::unique_ptr<DnsResolver>> make_dns_resolver(io::Loop& loop, const DnsOptions& options,
                                                       stats::Scope stats) {
  auto resolver = std::make_unique<AresResolver>(loop, options, stats);
  SLUICE_TRY(resolver->open_channel());
  if (options.udp_max_queries == 0) return std::unique_ptr<DnsResolver>(std::move(resolver));
  return std::unique_ptr<DnsResolver>(
      std::make_unique<PortChanger>(loop, options, stats, std::move(resolver)));
}

}  // namespace sluice::net
