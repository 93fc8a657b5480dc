#include "net/connection.h"

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

namespace sluice::net {
namespace {

// Receives that fill a shared buffer ask for large blocks next; so many small ones in a row go back.
constexpr uint32_t kBulkAt = BlockPool::kMedium;
constexpr uint8_t kSmallToLeaveBulk = 4;
// After the FIN of close(flush) we go on reading for so long: closing with unread bytes would send a RST, and a RST can
// overtake what the peer has not read yet. Envoy's delayed_close_timeout serves the same end.
constexpr Duration kLinger = std::chrono::seconds(1);
// A closing connection whose peer takes nothing for this long is reset. Envoy leaves it to the idle time-out (1 h).
constexpr Duration kFlushPatience = std::chrono::hours(1);
constexpr size_t kIovMax = 64;
// The socket's own send buffer keeps the wire busy; more than two large blocks of ours behind it only costs memory.
constexpr uint32_t kBufferLimitMax = 2 * BlockPool::kLarge;

bool is_reset(int error) {
  return error == ECONNRESET || error == EPIPE;
}

}  // namespace

void ConnectionRelease::operator()(Connection* c) const {
  c->release();
}

ConnectionPtr Connection::create(io::Loop& loop, int fd, const Options& options, ConnectionHandler& handler,
                                 ext::TransportSocketPtr transport) {
  return ConnectionPtr(new Connection(loop, fd, options, handler, std::move(transport)));
}

Connection::Connection(io::Loop& loop, int fd, const Options& options, ConnectionHandler& handler,
                       ext::TransportSocketPtr transport)
    : loop_(loop),
      handler_(&handler),
      options_(options),
      fd_(fd),
      recv_op_(&recv_done, this),
      send_op_(&send_done, this),
      turn_end_(&turn_end, this),
      linger_(kLinger),
      flush_patience_(kFlushPatience) {
  options_.buffer_limit = std::min(options_.buffer_limit, kBufferLimitMax);
  if (transport) tls_ = std::make_unique<Secured>(*this, std::move(transport));
}

Connection::~Connection() {
  assert(state_ == State::closed && fd_ < 0);
}

void Connection::start(const Address& local, const Address& remote) {
  assert(state_ == State::idle);
  local_ = local;
  remote_ = remote;
  state_ = State::open;
  if (tls_) {
    tls_->socket->start(tls_->out);
    tls_->told = tls_->socket->established();
    if (!tls_->out.empty()) loop_.schedule(turn_end_);
    if (!tls_->wire.empty() || read_ended_) wire_received();
  } else if (!received_.empty() || read_ended_) {
    redeliver();
  }
  arm_recv();
}

void Connection::connect(const Address& to) {
  assert(state_ == State::idle);
  remote_ = to;
  client_ = true;
  state_ = State::connecting;
  loop_.connect(send_op_, fd_, to);
}

void Connection::unread(Buffer&& data, bool end_stream) {
  assert(state_ == State::idle);
  if (tls_) {
    tls_->wire.append(std::move(data));
  } else {
    bytes_received_ += data.size();
    received_.append(std::move(data));
  }
  read_ended_ = end_stream;
}

void Connection::redeliver() {
  redeliver_ = true;
  loop_.schedule(turn_end_);
}

const Address& Connection::local_address() const {
  if (!local_.valid() && fd_ >= 0 && connected()) local_ = loop_.local_address(fd_);
  return local_;
}

// ---- reading ----

void Connection::arm_recv() {
  if (read_ended_ || recv_op_.in_flight()) return;
  if (state_ == State::flushing) return loop_.recv(recv_op_, fd_);
  if (state_ != State::open) return;
  // A handshake goes on while nobody wants to hear of its outcome yet.
  if (paused_ > 0 && !handshaking()) return watch_hangup();
  // What nobody has taken counts against the limit: a handler that waits for more must not wait for ever.
  if (received_.size() >= options_.buffer_limit) return;
  loop_.recv(recv_op_, fd_, {.bulk = bulk_});
}

void Connection::recv_done(io::Op& op, io::Completion& c) {
  Connection& self = *op.owner<Connection>();
  if (self.state_ == State::closing) return self.settle();
  if (self.state_ == State::flushing) {
    if (c.result < 0 && c.result != -ECANCELED) return self.fail(-c.result);
    if (c.result != 0) return self.arm_recv();  // dropped
    self.read_ended_ = true;
    if (self.fin_sent_) self.finish(ext::CloseCause::local, 0, false);
    return;
  }
  if (c.result == -ECANCELED) return self.arm_recv();
  if (c.result < 0) return self.fail(-c.result);
  if (c.result == 0) {
    self.read_ended_ = true;
  } else {
    uint32_t n = c.data.size();
    if (n >= kBulkAt) {
      self.bulk_ = true;
      self.small_in_a_row_ = 0;
    } else if (self.bulk_ && ++self.small_in_a_row_ >= kSmallToLeaveBulk) {
      self.bulk_ = false;
    }
    if (self.tls_) {
      self.tls_->wire.append(std::move(c.data));
    } else {
      self.bytes_received_ += n;
      self.received_.append(std::move(c.data));
    }
  }
  if (self.tls_) return self.wire_received();
  if (self.paused_ > 0) return self.watch_hangup();  // delivered by resume_reading()
  self.deliver(self.read_ended_);
}

void Connection::watch_hangup() {
  if (hangup_op_ && hangup_op_->in_flight()) return;
  if (!hangup_op_) hangup_op_ = std::make_unique<io::Op>(&hangup_seen, this);
  loop_.poll(*hangup_op_, fd_, 0);  // POLLERR and POLLHUP are always reported
}

void Connection::hangup_seen(io::Op& op, io::Completion& c) {
  Connection& self = *op.owner<Connection>();
  if (self.state_ == State::closing) return self.settle();
  if (c.result < 0 || !(c.result & POLLERR) || self.paused_ == 0) return;  // a receive or send will say more
  self.fail(ECONNRESET);
}

void Connection::deliver(bool end_stream) {
  if (end_delivered_) return;
  if (received_.empty() && !end_stream) return arm_recv();
  handler_->on_data(*this, received_, end_stream);
  if (state_ != State::open) return;
  end_delivered_ = end_stream && received_.empty() && paused_ == 0;
  check_both_ended();
  arm_recv();
}

void Connection::pause_reading() {
  ++paused_;
}

void Connection::resume_reading() {
  assert(paused_ > 0);
  if (--paused_ > 0 || state_ != State::open) return;
  if (!received_.empty() || (peer_ended() && !end_delivered_))
    redeliver();
  else
    arm_recv();
}

// ---- writing ----

void Connection::write(Buffer&& data, bool end_stream) {
  if (state_ != State::open || write_ended_) {
    data.clear();
    return;
  }
  queued_.append(std::move(data));
  write_ended_ = end_stream;
  check_watermarks();
  if (!send_op_.in_flight()) loop_.schedule(turn_end_);
}

void Connection::turn_end(io::TurnEnd& hook) {
  Connection& self = *hook.owner<Connection>();
  if (self.notify_closed_) {
    self.notify_closed_ = false;
    if (!self.released_) {
      if (self.client_ && self.handshaking())
        self.handler_->on_connect_failed(self, self.close_event_.error);
      else
        self.handler_->on_closed(self, self.close_event_);
    }
    self.settle();
    return;
  }
  if (self.redeliver_) {
    self.redeliver_ = false;
    if (self.state_ == State::open && self.paused_ == 0 && !self.handshaking())
      self.deliver(self.peer_ended());
  }
  self.flush();
}

void Connection::flush() {
  if ((state_ != State::open && state_ != State::flushing) || send_op_.in_flight()) return;
  if (sending_.empty()) {
    if (tls_) {
      if (!fill_sending()) return;
    } else if (!queued_.empty()) {
      std::swap(sending_, queued_);
    }
  }
  if (!sending_.empty()) {
    size_t chunks = std::min(sending_.chunks(), kIovMax);
    std::span<iovec> iov = iov_;
    if (chunks > iov_.size()) {
      if (!more_iov_) more_iov_ = std::make_unique<iovec[]>(kIovMax);
      iov = {more_iov_.get(), kIovMax};
    }
    size_t n = sending_.iovecs(iov.first(std::min(iov.size(), chunks)));
    loop_.send(send_op_, fd_, iov.first(n), tls_ && tls_->kernel ? io::kMayBeShort : 0);
    return;
  }
  if ((state_ == State::flushing || write_ended_) && !fin_sent_ && !kernel_drained()) return;
  if (state_ == State::flushing) {
    if (fin_sent_) return;
    if (read_ended_ || linger_.count() == 0) return finish(ext::CloseCause::local, 0, false);
    fin_sent_ = true;
    loop_.shutdown_write(fd_);
    flush_timer_->arm(loop_.now() + linger_);
    return;
  }
  if (write_ended_ && !fin_sent_ && !handshaking()) {
    fin_sent_ = true;
    // Where the peer has ended too, closing sends the FIN.
    if (!end_delivered_) loop_.shutdown_write(fd_);
    check_both_ended();
  }
}

void Connection::send_done(io::Op& op, io::Completion& c) {
  Connection& self = *op.owner<Connection>();
  if (self.state_ == State::closing) return self.settle();
  if (self.state_ == State::connecting) {
    if (c.result < 0) {
      int error = -c.result;
      self.state_ = State::closing;
      self.handler_->on_connect_failed(self, error);
      self.settle();
      return;
    }
    self.state_ = State::open;
    if (self.tls_) {
      self.tls_->socket->start(self.tls_->out);
      if (self.tls_->socket->established()) {
        self.tls_->told = true;
        self.handler_->on_connected(self);
      }
      if (self.state_ == State::open) self.loop_.schedule(self.turn_end_);
    } else {
      self.handler_->on_connected(self);
    }
    self.arm_recv();
    return;
  }
  if (self.kernel_writable(c)) return;
  if (c.result < 0 && c.result != -ECANCELED) return self.fail(-c.result);
  if (c.result > 0) self.sent(static_cast<size_t>(c.result));
  if (self.state_ == State::closing) return self.settle();
  self.flush();
}

void Connection::sent(size_t n) {
  sending_.drain(n);
  // Of the application's bytes: where exactly they end among those of the wire nobody needs to know before all are gone.
  if (tls_) {
    kernel_took(n);
    n = sending_.empty() ? tls_->in_flight : std::min(n, tls_->in_flight);
    tls_->in_flight -= n;
  }
  bytes_sent_ += n;
  if (flush_timer_ && flush_timer_->armed()) flush_timer_->arm(loop_.now() + flush_patience_);
  if (!released_ && (n > 0 || !tls_)) handler_->on_sent(*this, n);
  check_watermarks();
}

void Connection::check_watermarks() {
  size_t n = unsent();
  if (!above_high_ && n > options_.buffer_limit) {
    above_high_ = true;
    if (!released_) handler_->on_above_high_watermark(*this);
  } else if (above_high_ && n <= options_.buffer_limit / 2) {
    above_high_ = false;
    if (!released_) handler_->on_below_low_watermark(*this);
  }
}

// ---- ending ----

// FIN both ways and nothing left to send: over.
void Connection::check_both_ended() {
  if (state_ == State::open && end_delivered_ && received_.empty() && fin_sent_)
    finish(ext::CloseCause::remote_close, 0, false);
}

void Connection::fail(int error) {
  ext::CloseCause cause = is_reset(error)      ? ext::CloseCause::remote_reset
                          : error == ETIMEDOUT ? ext::CloseCause::timeout
                                               : ext::CloseCause::error;
  finish(cause, error, false);
}

void Connection::close(ext::CloseKind kind, std::string_view details) {
  if (state_ == State::closing || state_ == State::closed) return;
  if (close_details_.empty()) close_details_ = details;
  if (state_ == State::flushing) {
    if (kind != ext::CloseKind::flush) finish(ext::CloseCause::local, 0, kind == ext::CloseKind::reset);
    return;
  }
  if (kind == ext::CloseKind::flush && state_ == State::open) {
    state_ = State::flushing;
    write_ended_ = true;
    received_.clear();
    arm_recv();
    flush_timer_ = std::make_unique<io::Timer>(loop_.timers(), &flush_timeout, this);
    flush_timer_->arm(loop_.now() + flush_patience_);
    if (!send_op_.in_flight()) loop_.schedule(turn_end_);
    return;
  }
  finish(ext::CloseCause::local, 0, kind == ext::CloseKind::reset);
}

void Connection::set_close_delay(Duration delay) {
  linger_ = delay;
  flush_patience_ = delay.count() > 0 ? delay : kFlushPatience;
}

void Connection::flush_timeout(io::Timer& timer) {
  Connection& self = *timer.owner<Connection>();
  bool lingered = self.fin_sent_;  // everything was sent: this is the ordinary end
  self.close_event_.lingered = lingered;
  self.finish(lingered ? ext::CloseCause::local : ext::CloseCause::timeout, lingered ? 0 : ETIMEDOUT,
              !lingered);
}

void Connection::finish(ext::CloseCause cause, int error, bool reset) {
  assert(state_ != State::closing && state_ != State::closed);
  state_ = State::closing;
  reset_on_close_ = reset;
  if (tls_) {
    if (tls_->failed) {
      cause = ext::CloseCause::transport;
      error = 0;
    }
    tls_->wire.clear();
    tls_->out.clear();
    stop_kernel_sends();
  }
  close_event_.cause = cause;
  close_event_.error = error;
  if (flush_timer_) flush_timer_->cancel();
  received_.clear();
  queued_.clear();
  if (recv_op_.in_flight()) loop_.cancel(recv_op_);
  if (send_op_.in_flight()) loop_.cancel(send_op_);
  if (hangup_op_ && hangup_op_->in_flight()) loop_.cancel(*hangup_op_);
  // Told at the end of the turn, so that nobody is called from inside his own close().
  notify_closed_ = true;
  loop_.schedule(turn_end_);
}

bool Connection::in_flight() const {
  return recv_op_.in_flight() || send_op_.in_flight() || (hangup_op_ && hangup_op_->in_flight());
}

void Connection::settle() {
  if (state_ != State::closing || in_flight()) return;
  sending_.clear();
  if (fd_ >= 0) {
    if (reset_on_close_)
      loop_.close_reset(fd_);
    else
      loop_.close(fd_);
    fd_ = -1;
  }
  if (notify_closed_) return;
  state_ = State::closed;
  if (released_) loop_.defer_delete(std::unique_ptr<io::Deferred>(this));
}

void Connection::release() {
  released_ = true;
  switch (state_) {
    case State::idle:
      state_ = State::closing;
      settle();
      break;
    case State::connecting:
    case State::open:
      finish(ext::CloseCause::local, 0, true);
      settle();
      break;
    case State::flushing:
      break;  // goes on by itself
    case State::closing:
      settle();
      break;
    case State::closed:
      loop_.defer_delete(std::unique_ptr<io::Deferred>(this));
      break;
  }
}

}  // namespace sluice::net
