#include "io/epoll_loop.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

#include "core/log.h"

namespace sluice::io {
namespace {

constexpr int kEventsPerTurn = 256;
constexpr int kAcceptsPerTurn = 64;      // of one listener: the others' turn comes too
constexpr unsigned kUnpolledTurnsMax = 3;  // turns in a row that only carry on with what is ready
constexpr size_t kIovecsPerCall = 64;

}  // namespace

Result<std::unique_ptr<Loop>> EpollLoop::create(const LoopOptions& options) {
  std::unique_ptr<EpollLoop> loop(new EpollLoop(options));
  loop->epoll_fd_.reset(epoll_create1(EPOLL_CLOEXEC));
  if (!loop->epoll_fd_.valid()) return errno_error(errno, "epoll_create1");
  epoll_event ev{.events = EPOLLIN, .data = {.fd = loop->event_fd_.get()}};
  if (epoll_ctl(loop->epoll_fd_.get(), EPOLL_CTL_ADD, loop->event_fd_.get(), &ev) != 0)
    return errno_error(errno, "epoll_ctl");
  return std::unique_ptr<Loop>(std::move(loop));
}

EpollLoop::~EpollLoop() {
  drop_work();
  netns_.go_home();
}

EpollLoop::Descriptor& EpollLoop::at(int fd) {
  if (static_cast<size_t>(fd) >= descriptors_.size())
    descriptors_.resize(std::max<size_t>(static_cast<size_t>(fd) + 1, descriptors_.size() * 2));
  return descriptors_[static_cast<size_t>(fd)];
}

bool EpollLoop::watch(int fd, bool again) {
  Descriptor& d = at(fd);
  if (d.registered && !again) return true;
  epoll_event ev{.events = EPOLLIN | EPOLLOUT | EPOLLPRI | EPOLLRDHUP | EPOLLET, .data = {.fd = fd}};
  int r = epoll_ctl(epoll_fd_.get(), d.registered ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev);
  // What we remember may be about another descriptor of that number.
  if (r != 0 && errno == ENOENT) r = epoll_ctl(epoll_fd_.get(), EPOLL_CTL_ADD, fd, &ev);
  if (r != 0 && errno == EEXIST) r = epoll_ctl(epoll_fd_.get(), EPOLL_CTL_MOD, fd, &ev);
  d.registered = r == 0;
  return r == 0;
}

void EpollLoop::begin(Op& op, Op::Kind kind, int fd) {
  op.begin(kind, fd);
  ++ops_in_flight_;
  op.state.phase = Op::Phase::waiting;
}

void EpollLoop::ready(Op& op) {
  if (op.state.phase != Op::Phase::waiting) return;
  if (op.state.kind == Op::Kind::poll) at(op.state.fd).polls.remove(op);
  op.state.phase = Op::Phase::ready;
  ready_.push_back(op);
}

// ---- operations ----

Result<int> EpollLoop::open_socket(int family, const SocketOptions& options, int netns_fd) {
  auto fd = SocketLoop::open_socket(family, options, netns_fd);
  if (fd.ok()) at(*fd) = Descriptor();
  return fd;
}

void EpollLoop::accept(Op& op, int listen_fd) {
  begin(op, Op::Kind::accept, listen_fd);
  watch(listen_fd, true);
  Descriptor& d = at(listen_fd);
  assert(!d.in);
  d.in = &op;
  d.readable = true;
  ready(op);
}

void EpollLoop::connect(Op& op, int fd, const Address& to) {
  begin(op, Op::Kind::connect, fd);
  op.state.events = at(fd).registered;  // then an edge of the time before may still be on its way
  int r = ::connect(fd, to.sockaddr_ptr(), to.len());
  op.state.result = r == 0 ? 0 : -errno;
  Descriptor& d = at(fd);
  assert(!d.out);
  d.out = &op;
  if (op.state.result == -EINPROGRESS) {
    // Registered only now: an unconnected socket would report EPOLLHUP.
    d.readable = d.writable = false;
    if (watch(fd, false)) return;
    op.state.result = -errno;
  }
  ready(op);
}

void EpollLoop::recv(Op& op, int fd, RecvOptions options) {
  begin(op, Op::Kind::recv, fd);
  op.state.bulk = options.bulk;
  watch(fd, false);
  Descriptor& d = at(fd);
  assert(!d.in);
  d.in = &op;
  if (d.readable) ready(op);
}

void EpollLoop::send(Op& op, int fd, std::span<const iovec> iov, int flags) {
  begin(op, Op::Kind::send, fd);
  op.state.iov = iov.data();
  op.state.iov_count = static_cast<uint32_t>(iov.size());
  op.state.send_flags = (flags & ~kMayBeShort) | MSG_NOSIGNAL | MSG_DONTWAIT;
  watch(fd, false);
  Descriptor& d = at(fd);
  assert(!d.out);
  d.out = &op;
  if (d.writable) ready(op);
}

void EpollLoop::poll(Op& op, int fd, uint32_t events) {
  begin(op, Op::Kind::poll, fd);
  op.state.events = events;
  watch(fd, true);  // what cannot be watched (a file) is ready at once
  at(fd).polls.push_back(op);
  ready(op);
}

void EpollLoop::cancel(Op& op) {
  if (!op.in_flight() || op.state.cancelled) return;
  op.state.cancelled = true;
  ready(op);
}

void EpollLoop::close(int fd) {
  Descriptor& d = at(fd);
  assert(d.idle());
  d = Descriptor();
  ::close(fd);
}

// ---- the turn ----

void EpollLoop::run_once(Duration max_wait) {
  assert(!in_turn_);
  in_turn_ = true;
  netns_.go_home();
  attempt_ready();
  if (batch_.empty()) {
    wait(begin_wait(max_wait));
    end_wait();
    attempt_ready();
  } else if (++unpolled_turns_ > kUnpolledTurnsMax) {
    wait(Duration(0));
    attempt_ready();
  }
  read_clock();
  for (Done& d : batch_) {
    Completion c{.result = d.result, .more = d.more, .nonempty = d.nonempty, .data = std::move(d.data)};
    if (!c.more) --ops_in_flight_;
    d.op->complete(c);
  }
  batch_.clear();
  end_turn();
  in_turn_ = false;
}

int EpollLoop::spin(epoll_event* events, Duration most) {
  int n = 0;
  auto clock = [this] {
    read_clock();
    return now_;
  };
  spin_.run(most, clock, [&] {
    n = epoll_wait(epoll_fd_.get(), events, kEventsPerTurn, 0);
    return n > 0;
  });
  return std::max(n, 0);
}

void EpollLoop::wait(Duration max_wait) {
  unpolled_turns_ = 0;
  epoll_event events[kEventsPerTurn];
  MonotonicTime asleep = MonotonicTime::min(), deadline = MonotonicTime::max();
  int n = 0;
  if (max_wait > Duration(0)) {
    read_clock();
    if (max_wait != Duration::max()) deadline = now_ + max_wait;
    if (spin_.worthwhile()) n = spin(events, std::min(max_wait, spin_.window()));
    asleep = now_;
  }
  while (n == 0) {
    if (deadline != MonotonicTime::max()) max_wait = std::max(deadline - now_, Duration(0));
    auto s = std::chrono::duration_cast<std::chrono::seconds>(max_wait);
    timespec ts{.tv_sec = s.count(), .tv_nsec = (max_wait - s).count()};
    n = epoll_pwait2(epoll_fd_.get(), events, kEventsPerTurn, max_wait == Duration::max() ? nullptr : &ts,
                     nullptr);
    if (n < 0 && errno == ENOSYS) {  // before Linux 5.11: in milliseconds, never early
      auto ms =
          std::chrono::ceil<std::chrono::milliseconds>(std::min(max_wait, Duration(std::chrono::hours(1))));
      n = epoll_wait(epoll_fd_.get(), events, kEventsPerTurn, static_cast<int>(ms.count()));
    }
    if (n >= 0) {
      if (asleep != MonotonicTime::min()) {
        read_clock();
        spin_.slept(now_ - asleep);
      }
      break;
    }
    if (errno != EINTR) {
      SLUICE_LOG(io, critical, "epoll_wait: {}", std::strerror(errno));
      std::abort();
    }
    n = 0;
    read_clock();
  }
  for (int i = 0; i < n; ++i) {
    if (events[i].data.fd == event_fd_.get()) {
      uint64_t count;
      [[maybe_unused]] ssize_t r = read(event_fd_.get(), &count, sizeof count);
    } else {
      on_edge(events[i].data.fd, events[i].events);
    }
  }
}

void EpollLoop::on_edge(int fd, uint32_t events) {
  Descriptor& d = at(fd);
  if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) d.ended = true;
  if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
    d.readable = true;
    if (d.in) ready(*d.in);
  }
  if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) {
    d.writable = true;
    if (d.out) ready(*d.out);
  }
  while (Op* op = d.polls.front()) ready(*op);
}

void EpollLoop::attempt_ready() {
  OpList now = std::exchange(ready_, {});
  while (Op* op = now.pop_front()) attempt(*op);
}

void EpollLoop::attempt(Op& op) {
  assert(op.state.phase == Op::Phase::ready);
  op.state.phase = Op::Phase::waiting;
  if (op.state.cancelled) {
    // A send that got somewhere says how far.
    return done(op, op.state.kind == Op::Kind::send && op.state.result > 0 ? op.state.result : -ECANCELED);
  }
  Descriptor& d = at(op.state.fd);
  switch (op.state.kind) {
    case Op::Kind::accept:
      return attempt_accept(op, d);
    case Op::Kind::recv:
      return attempt_recv(op, d);
    case Op::Kind::send:
      return attempt_send(op, d);
    case Op::Kind::connect:
      return attempt_connect(op, d);
    case Op::Kind::poll:
      return attempt_poll(op);
    case Op::Kind::none:
      break;
  }
  assert(false);
}

void EpollLoop::done(Op& op, int32_t result) {
  detach(op);
  batch_.push_back({.op = &op, .result = result});
}

void EpollLoop::detach(Op& op) {
  op.state.phase = Op::Phase::collected;
  Descriptor& d = at(op.state.fd);
  if (d.in == &op) d.in = nullptr;
  if (d.out == &op) d.out = nullptr;
  const bool foreign = op.state.kind == Op::Kind::accept || op.state.kind == Op::Kind::poll;
  if (foreign && d.idle() && d.registered) {
    // Listeners are shared with other threads and closed by them: leave no registration of ours behind.
    epoll_ctl(epoll_fd_.get(), EPOLL_CTL_DEL, op.state.fd, nullptr);
    d = Descriptor();
  }
}

void EpollLoop::attempt_accept(Op& op, Descriptor& d) {
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    int fd = accept4(op.state.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      batch_.push_back({.op = &op, .result = fd, .more = true});
      at(fd) = Descriptor();  // d may be gone
      continue;
    }
    if (errno == EAGAIN) {
      at(op.state.fd).readable = false;
      return;
    }
    if (!accept_error_is_transient(errno)) return done(op, -errno);
  }
  ready(op);
}

void EpollLoop::attempt_recv(Op& op, Descriptor& d) {
  Block* b = blocks_.get(op.state.bulk ? BlockPool::kLarge : BlockPool::kMedium);
  ssize_t n;
  do n = ::recv(op.state.fd, b->data, b->capacity, MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  if (n > 0) {
    const bool full = static_cast<size_t>(n) == b->capacity;
    // A stream that gave less than asked for is empty; more data makes a new edge.
    d.readable = full || d.ended;
    detach(op);
    batch_.push_back({.op = &op,
                      .result = static_cast<int32_t>(n),
                      .nonempty = full,
                      .data = Chunk(b, 0, static_cast<uint32_t>(n))});
    return;
  }
  const int error = errno;
  blocks_.release(b);
  if (n == 0) return done(op, 0);
  if (error != EAGAIN) return done(op, -error);
  d.readable = false;
}

void EpollLoop::attempt_send(Op& op, Descriptor& d) {
  for (;;) {
    iovec iov[kIovecsPerCall];
    size_t n = 0, asked = 0, skip = static_cast<size_t>(op.state.result);
    uint32_t i = 0;
    for (; i < op.state.iov_count && n < kIovecsPerCall; ++i) {
      const iovec& v = op.state.iov[i];
      if (skip >= v.iov_len) {
        skip -= v.iov_len;
        continue;
      }
      iov[n++] = {static_cast<char*>(v.iov_base) + skip, v.iov_len - skip};
      asked += v.iov_len - skip;
      skip = 0;
    }
    const bool last = i == op.state.iov_count;
    if (n == 0) return done(op, op.state.result);
    msghdr msg{};
    msg.msg_iov = iov;
    msg.msg_iovlen = n;
    ssize_t sent = sendmsg(op.state.fd, &msg, op.state.send_flags | (last ? 0 : MSG_MORE));
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) {
        d.writable = false;
        return;
      }
      return done(op, op.state.result > 0 ? op.state.result : -errno);
    }
    op.state.result += static_cast<int32_t>(sent);
    if (static_cast<size_t>(sent) == asked && last) return done(op, op.state.result);
  }
}

void EpollLoop::attempt_connect(Op& op, Descriptor& d) {
  if (op.state.result != -EINPROGRESS) return done(op, op.state.result);
  int error = 0;
  socklen_t len = sizeof error;
  if (getsockopt(op.state.fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0) error = errno;
  if (error == 0 && op.state.events && !peer_address(op.state.fd).valid()) {
    d.writable = false;  // an edge from before connect()
    return;
  }
  done(op, -error);
}

void EpollLoop::attempt_poll(Op& op) {
  pollfd p{.fd = op.state.fd, .events = static_cast<short>(op.state.events), .revents = 0};
  int r = ::poll(&p, 1, 0);
  if (r > 0) return done(op, p.revents);
  at(op.state.fd).polls.push_back(op);
}

}  // namespace sluice::io
