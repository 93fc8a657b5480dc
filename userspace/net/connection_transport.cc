// A connection's transport socket: bytes of the wire and bytes of the application.
#include <poll.h>

#include <algorithm>
#include <cerrno>

#include "io/kernel_tls.h"
#include "net/connection.h"

namespace sluice::net {
namespace {

// So much is encrypted at once: the next lot while the wire carries this one.
constexpr size_t kEncryptAtOnce = BlockPool::kLarge;
// What transport_failed() has to say gets so long to leave.
constexpr Duration kLastWords = std::chrono::seconds(1);

// Content types of TLS, RFC 8446 section 5.1.
constexpr uint8_t kAlert = 21, kHandshake = 22;
constexpr size_t kAlertSize = 2;
// The kernel is asked how many records it has written once it may have written so many more.
constexpr uint64_t kAskAfter = 1 << 16;
// How long until we look again whether TCP has all of the kernel's records, at first and at most.
constexpr Duration kLookAgain = std::chrono::milliseconds(1), kLookAgainMax = std::chrono::milliseconds(64);

}  // namespace

// Where the kernel writes the records.
struct Connection::KernelSends {
  KernelSends(Connection& c, io::KernelTls& k) : tls(k), retry(c.loop_.timers(), &drain_due, &c) {}
  io::KernelTls& tls;
  uint64_t first_sequence = 0;  // under the present keys
  uint64_t records = 0;  // written under earlier keys
  uint64_t first_tcp_byte = 0;
  uint64_t content = 0;  // bytes given to the kernel
  uint64_t unasked = 0;  // records it may have written since it was asked
  bool waiting = false;  // send_op_ waits until the socket is writable
  bool renewing = false;  // our KeyUpdate has gone, its keys are not in place
  Duration look_again = kLookAgain;
  io::Timer retry;
};

void Connection::KernelSendsDelete::operator()(KernelSends* k) const {
  delete k;
}

void Connection::wire_received() {
  // Signatures take their time: they wait their turn.
  if (handshaking()) return loop_.schedule_slow(tls_->handshake);
  run_transport();
}

void Connection::handshake_due(io::TurnEnd& hook) {
  Connection& self = *hook.owner<Connection>();
  if (self.state_ == State::open) self.run_transport();
}

void Connection::run_transport() {
  Secured& t = *tls_;
  const size_t before = received_.size();
  const auto status = t.socket->receive(t.wire, read_ended_, received_, t.out);
  bytes_received_ += received_.size() - before;
  if (!t.out.empty() && !send_op_.in_flight()) loop_.schedule(turn_end_);
  if (!t.told && t.socket->established()) {
    t.told = true;
    if (!queued_.empty() || write_ended_) loop_.schedule(turn_end_);
    if (client_)
      handler_->on_connected(*this);
    else
      handler_->on_secured(*this);
    if (state_ != State::open) return;
  }
  if (status == ext::TransportSocket::Status::failed) return transport_failed();
  if (status == ext::TransportSocket::Status::ended) t.ended = true;
  if (!t.told) {
    if (t.ended || read_ended_) return finish(ext::CloseCause::remote_close, 0, false);
    return arm_recv();
  }
  if (paused_ > 0) return watch_hangup();  // delivered by resume_reading()
  deliver(t.ended);
}

// What there was to say to the peer goes out; nothing else will.
void Connection::transport_failed() {
  tls_->failed = true;
  received_.clear();
  queued_.clear();
  tls_->wire.clear();
  if (tls_->out.empty() && !send_op_.in_flight()) return finish(ext::CloseCause::transport, 0, false);
  state_ = State::flushing;
  write_ended_ = true;
  // A client that is refused may be in the middle of a flight, or have sent its request behind it: the reset that closing
  // would bring would take the alert from it, and with it the reason. Who connects waits for the outcome, and has read what
  // the server sent.
  if (client_) linger_ = {};
  arm_recv();
  if (!flush_timer_) flush_timer_ = std::make_unique<io::Timer>(loop_.timers(), &flush_timeout, this);
  flush_timer_->arm(loop_.now() + kLastWords);
  if (!send_op_.in_flight()) loop_.schedule(turn_end_);
}

// The next lot for the wire. False: there is nothing to be done now.
bool Connection::fill_sending() {
  Secured& t = *tls_;
  if (t.kernel) return fill_for_kernel();
  std::swap(sending_, t.out);
  if (t.failed || !t.socket->established()) return true;
  if (!t.kernel_asked && !queued_.empty() && loop_.kernel_tls()) {
    if (!sending_.empty()) return true;  // these records are ours: they go first
    if (start_kernel_tls()) return fill_for_kernel();
  }
  if (const size_t n = std::min(queued_.size(), kEncryptAtOnce); n > 0) {
    t.socket->send(queued_, n, sending_);
    t.in_flight += n;
  }
  if (write_ended_ && queued_.empty() && !t.end_said) {
    t.end_said = true;
    t.socket->end(sending_);
  }
  return true;
}

// ---- the kernel writes the records ----

bool Connection::start_kernel_tls() {
  Secured& t = *tls_;
  t.kernel_asked = true;
  io::KernelTlsKeys keys;
  if (!t.socket->kernel_keys(keys)) return false;
  std::unique_ptr<KernelSends, KernelSendsDelete> k(new KernelSends(*this, *loop_.kernel_tls()));
  const int r = k->tls.start(fd_, keys, k->first_tcp_byte);
  if (r == -ENODEV) return false;
  t.socket->on_kernel_keys(r == 0);
  if (r != 0) return false;  // ours go on
  k->first_sequence = keys.sequence;
  t.kernel = std::move(k);
  return true;
}

// As fill_sending().
bool Connection::fill_for_kernel() {
  Secured& t = *tls_;
  KernelSends& k = *t.kernel;
  if (k.renewing && !renew_kernel_keys()) return false;
  if (!queued_.empty() && !t.failed) {
    if (!keys_are_fresh()) return false;
    std::swap(sending_, queued_);
    t.in_flight = sending_.size();
    k.unasked += t.in_flight / io::KernelTls::kRecordContent + 1;
    return true;
  }
  if (write_ended_ && !t.failed && !t.end_said) {
    t.end_said = true;
    t.socket->end(t.out);
  }
  while (!t.out.empty()) {
    std::string scratch;
    const std::string_view alert = t.out.peek(kAlertSize, scratch);
    if (!kernel_record(kAlert, alert)) return false;
    t.out.drain(kAlertSize);
  }
  return true;
}

// Before application data: a KeyUpdate, where the peer has asked for one or the keys have served long enough.
bool Connection::keys_are_fresh() {
  Secured& t = *tls_;
  KernelSends& k = *t.kernel;
  io::KernelTls::Progress p;
  if (k.unasked >= kAskAfter && k.tls.progress(fd_, p)) {
    k.unasked = 0;
    t.socket->on_kernel_sequence(p.sequence);
  }
  const std::string_view update = t.socket->key_update();
  if (update.empty()) return true;
  if (!k.tls.renews()) {
    t.socket->on_renewal_failed(t.out);
    transport_failed();
    return false;
  }
  if (!kernel_record(kHandshake, update)) return false;
  t.socket->on_key_update_sent();
  k.renewing = true;
  if (k.tls.progress(fd_, p)) k.records += p.sequence - k.first_sequence;
  k.first_sequence = 0;
  k.unasked = 0;
  return renew_kernel_keys();
}

bool Connection::renew_kernel_keys() {
  KernelSends& k = *tls_->kernel;
  io::KernelTlsKeys keys;
  if (!tls_->socket->kernel_keys(keys)) return false;
  const int r = k.tls.renew(fd_, keys);
  if (r == 0) {
    k.renewing = false;
    return true;
  }
  if (r == -EAGAIN) return kernel_waits(r);
  // The peer expects the new keys: nothing that we could say would be understood.
  tls_->socket->on_renewal_failed(tls_->out);
  tls_->failed = true;
  finish(ext::CloseCause::transport, 0, true);
  return false;
}

bool Connection::kernel_record(uint8_t type, std::string_view content) {
  KernelSends& k = *tls_->kernel;
  const int r =
      k.tls.send_record(fd_, type, {reinterpret_cast<const uint8_t*>(content.data()), content.size()});
  if (r != 0) return kernel_waits(r);
  k.content += content.size();
  ++k.unasked;
  return true;
}

// False. `error`: -EAGAIN: on we go when the socket is writable; else it ends the connection.
bool Connection::kernel_waits(int error) {
  if (error != -EAGAIN) {
    fail(-error);
    return false;
  }
  tls_->kernel->waiting = true;
  loop_.poll(send_op_, fd_, POLLOUT);
  return false;
}

bool Connection::kernel_writable(const io::Completion& c) {
  if (!tls_ || !tls_->kernel || !tls_->kernel->waiting) return false;
  tls_->kernel->waiting = false;
  if (c.result < 0 && c.result != -ECANCELED)
    fail(-c.result);
  else
    flush();
  return true;
}

void Connection::kernel_took(size_t n) {
  if (!tls_->kernel) return;
  tls_->kernel->content += n;
  if (!sending_.empty()) ++tls_->kernel->unasked;  // a part of what was asked: the last record ended early
}

// Whether TCP has all that the kernel was given. Otherwise a FIN now would cut the last record off, and we look again.
bool Connection::kernel_drained() {
  if (!tls_ || !tls_->kernel) return true;
  KernelSends& k = *tls_->kernel;
  io::KernelTls::Progress p;
  if (!k.tls.progress(fd_, p)) return true;
  const uint64_t records = k.records + (p.sequence - k.first_sequence);
  const uint64_t all = k.first_tcp_byte + k.content + records * io::KernelTls::kRecordOverhead;
  if (p.tcp_bytes >= all) return true;
  k.retry.arm(loop_.now() + k.look_again);
  k.look_again = std::min(k.look_again * 2, kLookAgainMax);
  return false;
}

void Connection::stop_kernel_sends() {
  if (tls_->kernel) tls_->kernel->retry.cancel();
}

void Connection::drain_due(io::Timer& timer) {
  timer.owner<Connection>()->flush();
}

}  // namespace sluice::net
