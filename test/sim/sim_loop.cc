#include "test/sim/sim_loop.h"

#include <poll.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "test/sim/sim_tls.h"

namespace sluice::sim {

using io::Op;

SimLoop::Descriptor::Descriptor() = default;
SimLoop::Descriptor::~Descriptor() = default;

SimLoop::SimLoop(SimNet& net) : net_(net) {
  read_clock();
}

SimLoop::~SimLoop() {
  drop_work();
}

void SimLoop::fail(const std::string& what) const {
  fprintf(stderr, "simulation, seed %llu: %s\n%s", static_cast<unsigned long long>(net_.seed()), what.c_str(),
          net_.trace_tail().c_str());
  std::abort();
}

SimLoop::Descriptor& SimLoop::at(int fd) {
  const auto i = static_cast<size_t>(fd - kFirstFd);
  if (fd < kFirstFd || i >= descriptors_.size())
    fail("descriptor " + std::to_string(fd) + " was never opened");
  if (!descriptors_[i]) fail("descriptor " + std::to_string(fd) + " is closed already");
  return *descriptors_[i];
}

int SimLoop::adopt(Socket& socket) {
  auto d = std::make_unique<Descriptor>();
  d->fd = kFirstFd + static_cast<int>(descriptors_.size());
  d->socket = &socket;
  socket.endpoint = this;
  socket.user = d.get();
  descriptors_.push_back(std::move(d));
  ++open_;
  return kFirstFd + static_cast<int>(descriptors_.size()) - 1;
}

// ---- sockets ----

Result<int> SimLoop::open_socket(int family, const io::SocketOptions& options, int netns_fd) {
  if (net_.chance(net_.faults().no_descriptors)) return errno_error(EMFILE, "opening a socket");
  const int fd = adopt(net_.create(this, family));
  Descriptor& d = at(fd);
  d.socket->reuse_port = options.reuse_port;
  d.options = options;
  d.netns = netns_fd;
  return fd;
}

Status SimLoop::bind(int fd, const Address& address) {
  if (int e = net_.bind(*at(fd).socket, address)) return errno_error(e, "binding to " + address.to_string());
  return {};
}

Status SimLoop::listen(int fd, int) {
  Socket& s = *at(fd).socket;
  if (int e = net_.listen(s)) return errno_error(e, "listening on " + s.local.to_string());
  return {};
}

void SimLoop::ignore_handshakes(int fd) {
  at(fd).socket->ignores_handshakes = true;
}

Address SimLoop::local_address(int fd) {
  return at(fd).socket->local;
}

Address SimLoop::peer_address(int fd) {
  Socket& s = *at(fd).socket;
  return s.peer ? s.remote : Address();
}

Status SimLoop::set_options(int fd, const io::SocketOptions& options) {
  at(fd).options = options;
  return {};
}

void SimLoop::shutdown_write(int fd) {
  Descriptor& d = at(fd);
  if (d.out) fail("shutdown_write with a send in flight");
  if (d.tls) d.tls->pending.clear();  // as the kernel does
  net_.finish(*d.socket);
}

void SimLoop::close(int fd) {
  Descriptor& d = at(fd);
  if (d.in || d.out || !d.polls.empty()) fail("closing a descriptor with an operation in flight");
  for (const Done& x : done_)
    if (x.op->state.fd == fd) fail("closing a descriptor with a completion on its way");
  net_.close(*d.socket);
  d.socket->user = nullptr;
  descriptors_[static_cast<size_t>(fd - kFirstFd)].reset();
  --open_;
}

void SimLoop::close_reset(int fd) {
  Socket& s = *at(fd).socket;
  if (s.state == Socket::State::connected) net_.reset(s);
  close(fd);
}

// ---- operations ----

void SimLoop::begin(Op& op, Op::Kind kind, int fd) {
  op.begin(kind, fd);
  ++ops_in_flight_;
  live_[&op] = ++serial_;
}

// Operations reach the kernel when the loop next waits, or later still.
void SimLoop::start(Op& op, std::function<void()> then) {
  const bool slow = net_.chance(net_.faults().slow_start);
  net_.after(slow ? net_.between({}, std::chrono::milliseconds(3)) : Duration(0),
             [this, &op, serial = serial_, then = std::move(then)] {
               if (auto it = live_.find(&op); it != live_.end() && it->second == serial) then();
             });
}

void SimLoop::accept(Op& op, int listen_fd) {
  begin(op, Op::Kind::accept, listen_fd);
  Descriptor& d = at(listen_fd);
  if (d.in) fail("two operations accept on one descriptor");
  if (d.socket->state != Socket::State::listening) fail("accepting on a socket that does not listen");
  d.in = &op;
  d.started_in = false;
  start(op, [this, &d] {
    d.started_in = true;
    attempt_accept(d);
  });
}

void SimLoop::connect(Op& op, int fd, const Address& to) {
  begin(op, Op::Kind::connect, fd);
  Descriptor& d = at(fd);
  if (d.out) fail("connecting while another operation is in flight");
  d.out = &op;
  d.started_out = false;
  start(op, [this, &d, to] {
    d.started_out = true;
    net_.connect(*d.socket, to);
    attempt_connect(d);
  });
}

void SimLoop::recv(Op& op, int fd, io::RecvOptions options) {
  begin(op, Op::Kind::recv, fd);
  Descriptor& d = at(fd);
  if (d.in) fail("two receives on one descriptor");
  d.in = &op;
  d.started_in = false;
  op.state.bulk = options.bulk;
  op.state.block = options.bulk ? blocks_.get(BlockPool::kLarge) : nullptr;
  start(op, [this, &d] {
    d.started_in = true;
    attempt_recv(d);
  });
}

void SimLoop::send(Op& op, int fd, std::span<const iovec> iov, int flags) {
  begin(op, Op::Kind::send, fd);
  Descriptor& d = at(fd);
  if (d.out) fail("two sends on one descriptor");
  d.out = &op;
  d.sent = 0;
  d.started_out = false;
  op.state.iov = iov.data();
  op.state.iov_count = static_cast<uint32_t>(iov.size());
  op.state.send_flags = flags;
  start(op, [this, &d] {
    d.started_out = true;
    attempt_send(d);
  });
}

void SimLoop::poll(Op& op, int fd, uint32_t events) {
  begin(op, Op::Kind::poll, fd);
  op.state.events = events;
  Descriptor& d = at(fd);
  start(op, [this, &d, &op] {
    d.polls.push_back(&op);
    attempt_polls(d);
  });
}

void SimLoop::cancel(Op& op) {
  if (!op.in_flight() || op.state.cancelled) return;
  op.state.cancelled = true;
  auto it = live_.find(&op);
  if (it == live_.end()) return;  // the result is on its way already
  // Not before the operation itself has reached the kernel; a result may come in between.
  net_.after(net_.random().chance(1, 2) ? Duration(0) : net_.between({}, std::chrono::microseconds(300)),
             [this, &op, serial = it->second] { cancelled(op, serial); });
}

void SimLoop::cancelled(Op& op, uint64_t serial) {
  auto it = live_.find(&op);
  if (it == live_.end() || it->second != serial) return;
  net_.trace("cancelled", 0, op.state.fd);
  const size_t sent = op.state.kind == Op::Kind::send ? at(op.state.fd).sent : 0;
  done(op, sent > 0 ? static_cast<int32_t>(sent) : -ECANCELED);
}

void SimLoop::detach(Op& op) {
  live_.erase(&op);
  Descriptor& d = at(op.state.fd);
  if (d.in == &op) d.in = nullptr;
  if (d.out == &op) d.out = nullptr;
  std::erase(d.polls, &op);
}

SimLoop::Done& SimLoop::done(Op& op, int32_t result) {
  detach(op);
  if (Block* b = std::exchange(op.state.block, nullptr); b && result <= 0) blocks_.release(b);
  const Duration late =
      net_.chance(net_.faults().late) ? net_.between({}, std::chrono::milliseconds(2)) : Duration(0);
  return done_.emplace_back(Done{.due = net_.now() + late, .op = &op, .result = result});
}

void SimLoop::changed(Socket& socket) {
  if (socket.user) attempt(*static_cast<Descriptor*>(socket.user));
}

void SimLoop::attempt(Descriptor& d) {
  if (d.tls && !d.tls->pending.empty()) static_cast<SimTls&>(*kernel_tls()).push_later(d.fd);
  if (d.in && d.started_in) {
    if (d.in->state.kind == Op::Kind::accept) {
      attempt_accept(d);
    } else {
      attempt_recv(d);
    }
  }
  if (d.out && d.started_out) {
    if (d.out->state.kind == Op::Kind::connect) {
      attempt_connect(d);
    } else {
      attempt_send(d);
    }
  }
  attempt_polls(d);
}

void SimLoop::attempt_accept(Descriptor& d) {
  while (d.in && !d.socket->backlog.empty()) {
    if (net_.chance(net_.faults().no_descriptors)) {
      done(*d.in, -EMFILE);
      return;
    }
    Socket& s = *net_.accept(*d.socket);
    if (s.reset_received && net_.random().chance(1, 2)) {  // ECONNABORTED: skipped
      s.state = Socket::State::closed;
      continue;
    }
    Op* op = d.in;
    const int fd = adopt(s);
    done_.push_back(Done{.due = net_.now(), .op = op, .result = fd, .more = true});
  }
}

void SimLoop::attempt_connect(Descriptor& d) {
  Socket& s = *d.socket;
  if (s.state == Socket::State::connecting) return;
  done(*d.out, s.state == Socket::State::connected ? 0 : -net_.take_error(s));
}

void SimLoop::attempt_recv(Descriptor& d) {
  Socket& s = *d.socket;
  Op& op = *d.in;
  if (s.state != Socket::State::connected) {
    done(op, -ENOTCONN);
    return;
  }
  if (size_t n = s.readable_bytes()) {
    Block* b = std::exchange(op.state.block, nullptr);
    if (!b) b = blocks_.get(BlockPool::kMedium);
    n = std::min<size_t>(n, b->capacity);
    if (net_.chance(net_.faults().partial)) n = 1 + net_.random().below(n);
    net_.read(s, reinterpret_cast<char*>(b->data), n);
    Done& x = done(op, static_cast<int32_t>(n));
    x.data = Chunk(b, 0, static_cast<uint32_t>(n));
    x.nonempty = s.readable_bytes() > 0;
  } else if (s.error) {
    done(op, -net_.take_error(s));
  } else if (s.end_received || s.reset_received) {
    done(op, 0);
  }
}

void SimLoop::attempt_send(Descriptor& d) {
  Socket& s = *d.socket;
  Op& op = *d.out;
  if (s.state != Socket::State::connected || s.error || s.reset_received || s.end_sent) {
    const int error = s.error ? net_.take_error(s) : EPIPE;
    done(op, d.sent > 0 ? static_cast<int32_t>(d.sent) : -error);
    return;
  }
  if (d.tls) return attempt_tls_send(d);
  size_t skip = d.sent, total = 0;
  bool blocked = false;
  for (uint32_t i = 0; i < op.state.iov_count; ++i) {
    const iovec& v = op.state.iov[i];
    total += v.iov_len;
    if (blocked || skip >= v.iov_len) {
      skip -= std::min(skip, v.iov_len);
      continue;
    }
    size_t n = v.iov_len - skip;
    if (net_.chance(net_.faults().partial)) n = 1 + net_.random().below(n);
    const size_t written = net_.write(s, static_cast<const char*>(v.iov_base) + skip, n);
    d.sent += written;
    blocked = written < v.iov_len - skip;
    skip = 0;
  }
  if (d.sent == total) {
    done(op, static_cast<int32_t>(total));
  } else if (s.writable_bytes() > 0) {  // took less than it could: goes on by itself
    net_.after(net_.between({}, std::chrono::microseconds(50)), [this, &op, &d, serial = live_[&op]] {
      if (auto it = live_.find(&op); it != live_.end() && it->second == serial) attempt_send(d);
    });
  }
}

void SimLoop::attempt_polls(Descriptor& d) {
  if (d.polls.empty()) return;
  Socket& s = *d.socket;
  uint32_t now = 0;
  if (s.readable()) now |= POLLIN;
  if (s.state == Socket::State::connected && (s.writable_bytes() > 0 || s.reset_received)) now |= POLLOUT;
  if (s.end_received || s.reset_received) now |= POLLRDHUP;
  if (s.error) now |= POLLERR;
  if (s.reset_received || (s.end_received && s.end_sent)) now |= POLLHUP;
  const auto polls = d.polls;
  for (Op* op : polls)
    if (uint32_t got = now & (op->state.events | POLLERR | POLLHUP)) done(*op, static_cast<int32_t>(got));
}

// ---- the turn ----

bool SimLoop::any_due() const {
  return std::any_of(done_.begin(), done_.end(), [&](const Done& d) { return d.due <= net_.now(); });
}

void SimLoop::sleep(Duration max_wait) {
  const MonotonicTime limit =
      max_wait >= MonotonicTime::max() - net_.now() ? MonotonicTime::max() : net_.now() + max_wait;
  net_.advance_to(net_.now());
  while (!any_due() && net_.now() < limit) {
    MonotonicTime next = std::min(limit, net_.next_event());
    for (const Done& d : done_) next = std::min(next, d.due);
    if (next == MonotonicTime::max()) fail("the loop would sleep for ever: nothing will happen any more");
    net_.advance_to(next);
  }
}

void SimLoop::run_once(Duration max_wait) {
  sleep(begin_wait(max_wait));
  end_wait();
  // A turn takes time.
  net_.advance_to(net_.now() + net_.between(Duration(500), std::chrono::microseconds(20)));
  read_clock();
  std::vector<Done> batch;
  for (auto it = done_.begin(); it != done_.end();) {
    if (it->due <= now_) {
      batch.push_back(std::move(*it));
      it = done_.erase(it);
    } else {
      ++it;
    }
  }
  // Any order between operations; what one multishot brings stays in order.
  for (size_t i = batch.size(); i > 1; --i) {
    const size_t j = net_.random().below(i);
    if (j == i - 1 || batch[j].op->state.kind == Op::Kind::accept ||
        batch[i - 1].op->state.kind == Op::Kind::accept)
      continue;
    std::swap(batch[j], batch[i - 1]);
  }
  for (Done& d : batch) {
    io::Completion c;
    c.result = d.result;
    c.more = d.more;
    c.nonempty = d.nonempty;
    c.data = std::move(d.data);
    net_.trace("completion", static_cast<uint64_t>(d.op->state.kind), d.result);
    if (!c.more) --ops_in_flight_;
    d.op->complete(c);
  }
  end_turn();
}

bool SimLoop::run_until(const std::function<bool()>& done, Duration limit) {
  const MonotonicTime deadline = net_.now() + limit;
  while (!done()) {
    if (net_.now() > deadline) return false;
    run_once(std::chrono::milliseconds(50));
  }
  return true;
}

std::string SimLoop::leftovers() const {
  std::string text;
  auto say = [&text](size_t n, const char* what) {
    if (n > 0) text += std::to_string(n) + " " + what + "; ";
  };
  say(open_, "descriptors open");
  say(ops_in_flight_, "operations in flight");
  say(blocks_outstanding(), "blocks held");
  say(timers_.size(), "timers armed");
  return text;
}

}  // namespace sluice::sim
