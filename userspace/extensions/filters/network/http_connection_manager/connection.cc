#include "extensions/filters/network/http_connection_manager/connection.h"

#include <algorithm>
#include <utility>

#include "core/log.h"
#include "core/probes.h"
#include "extensions/filters/network/http_connection_manager/client_certificate.h"
#include "extensions/filters/network/http_connection_manager/stream.h"

namespace sluice::extensions::http_connection_manager {

using ext::CloseCause;
using ext::CloseKind;
using ext::FilterStatus;

namespace {

constexpr MonotonicTime kNever = MonotonicTime::max();
// The first bytes of every HTTP/2 connection (RFC 9113 section 3.4): no HTTP/1 request begins like this.
constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
// A client that makes requests only to reset them at once (CVE-2023-44487): so many streams are looked at.
constexpr uint64_t kPrematureLimit = 500;
constexpr Duration kPrematureAge = std::chrono::seconds(1);
// Tells the PING behind a GOAWAY notice from those that keep a connection alive, and how much longer than the time to
// drain its answer is waited for.
constexpr uint64_t kNoticePing = ~0ull;
constexpr Duration kNoticeWait = std::chrono::seconds(5);

uint64_t milliseconds(Duration d) {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(d).count());
}

}  // namespace

Connection::Connection(std::shared_ptr<Runtime> runtime)
    : runtime_(std::move(runtime)),
      soon_(&turn_end, this),
      last_read_(runtime_->stats.downstream_cx_rx_bytes_buffered) {}

Connection::~Connection() = default;

// ---- begin ----

FilterStatus Connection::on_new_connection() {
  started_ = true;
  opened_ = idle_since_ = loop().now();
  stats().downstream_cx_total.add();
  stats().downstream_cx_active.add();
  secure_ = context_->connection().secure();
  if (secure_) {
    stats().downstream_cx_ssl_total.add();
    stats().downstream_cx_ssl_active.add();
  }
  context_->connection().set_close_delay(settings().delayed_close_timeout);
  if (settings().idle_timeout.count() > 0) need_timer(opened_ + settings().idle_timeout);
  if (settings().max_connection_duration.count() > 0)
    need_timer(opened_ + settings().max_connection_duration);
  return FilterStatus::proceed;
}

bool Connection::make_codec(const Buffer& data, bool end_stream) {
  bool http2 = settings().codec == CodecType::http2;
  if (settings().codec == CodecType::automatic) {
    const auto& protocols = context_->stream_info().application_protocols;
    if (const auto& tls = context_->stream_info().downstream_tls; tls && !tls->alpn().empty()) {
      http2 = tls->alpn() == "h2";
    } else if (protocols.size() == 1 && (protocols[0] == "h2" || protocols[0] == "h2c")) {
      http2 = true;
    } else {
      std::string scratch;
      std::string_view start = data.peek(kPreface.size(), scratch);
      if (start.size() < kPreface.size() && kPreface.starts_with(start) && !end_stream) return false;
      http2 = start == kPreface;
    }
  }
  http2_ = http2;
  if (http2) {
    codec_ = http::make_http2_server(settings().http2, stats().http2, *this, *this);
    stats().downstream_cx_http2_total.add();
    stats().downstream_cx_http2_active.add();
    if (settings().keepalive_interval.count() > 0) {
      next_ping_ = loop().now() + settings().keepalive_interval;
      need_timer(next_ping_);
    }
  } else {
    codec_ = http::make_http1_server(settings().http1, stats().http1, *this, *this);
    stats().downstream_cx_http1_total.add();
    stats().downstream_cx_http1_active.add();
  }
  if (context_->connection().above_high_watermark()) codec_->on_above_write_high_watermark();
  if (drain_ != Drain::none) notice_drain();
  return true;
}

http::StreamReceiver& Connection::on_new_stream(http::Stream& codec) {
  std::unique_ptr<Stream> owned = runtime_->take_stream();
  Stream* stream = owned.release();
  stream->next = streams_;
  if (streams_) streams_->previous = stream;
  streams_ = stream;
  stream->begin(*this, codec);
  if (uint32_t most = settings().max_requests_per_connection; ++requests_ == most && most > 0) {
    stats().downstream_cx_max_requests_reached.add();
    if (http2_)
      start_drain();
    else
      close_soon();
  }
  return *stream;
}

std::string_view Connection::client_certificate() {
  if (!std::exchange(client_certificate_known_, true) && settings().client_cert != ClientCert::sanitize &&
      settings().client_cert != ClientCert::always_forward_only) {
    if (const auto& tls = context_->stream_info().downstream_tls)
      client_certificate_ = describe_client(*tls, settings().client_cert_details);
  }
  return client_certificate_;
}

// ---- bytes ----

FilterStatus Connection::on_data(Buffer& data, bool end_stream) {
  last_read_.set(data.size());
  if (closing_) {
    data.clear();
    return FilterStatus::stop;
  }
  if (!codec_) {
    if (data.empty() && end_stream) {
      peer_ended();
      return FilterStatus::stop;
    }
    if (!make_codec(data, end_stream)) return FilterStatus::stop;
  }
  stats().downstream_cx_rx_bytes_total.add(data.size());
  context_->stream_info().bytes_received += data.size();
  receive(data);
  data.clear();
  if (end_stream && !closing_) peer_ended();
  return FilterStatus::stop;
}

void Connection::receive(Buffer& data) {
  in_receive_ = true;
  std::optional<http::ProtocolError> error = codec_->receive(data);
  in_receive_ = false;
  if (error) {
    SLUICE_LOG(filter, debug, "[C{}] {}: {}", context_->stream_info().connection_id, error->details,
               error->message);
    stats().downstream_cx_protocol_error.add();
    protocol_error(error->details);
  }
  settle();
}

void Connection::protocol_error(std::string_view details) {
  ext::StreamInfo& info = context_->stream_info();
  info.flags.set(ext::ResponseFlag::downstream_protocol_error);
  if (info.response_code_details.empty()) info.response_code_details = "codec_error:" + std::string(details);
  had_active_ |= streams_ != nullptr;
  close(CloseKind::flush, details);
}

// The peer's FIN. It ends a connection whatever was under way, as with Envoy.
void Connection::peer_ended() {
  remote_closed_ = true;
  had_active_ |= streams_ != nullptr;
  if (codec_) {
    in_receive_ = true;
    codec_->receive_end();
    in_receive_ = false;
    if (streams_)
      codec_->connection_lost(http::ResetReason::connection_termination, "downstream_remote_disconnect");
  }
  close(CloseKind::flush, {});
}

void Connection::write(Buffer&& data) {
  bytes_written_ += data.size();
  unsent_ += data.size();
  stats().downstream_cx_tx_bytes_buffered.add(data.size());
  if (last_sent_ == MonotonicTime{}) last_sent_ = loop().now();
  context_->connection().write(std::move(data), false);
}

void Connection::on_sent(ext::Connection&, size_t n) {
  stats().downstream_cx_tx_bytes_total.add(n);
  stats().downstream_cx_tx_bytes_buffered.sub(n);
  unsent_ -= std::min<uint64_t>(unsent_, n);
  context_->stream_info().bytes_sent += n;
  last_sent_ = loop().now();
}

void Connection::on_above_high_watermark(ext::Connection&) {
  if (codec_) codec_->on_above_write_high_watermark();
}

void Connection::on_below_low_watermark(ext::Connection&) {
  if (codec_) codec_->on_below_write_low_watermark();
}

void Connection::pause_reading() {
  context_->connection().pause_reading();
}

void Connection::resume_reading() {
  context_->connection().resume_reading();
}

void Connection::receive_soon() {
  receive_asked_ = true;
  loop().schedule(soon_);
}

void Connection::restart_soon() {
  restarts_ = true;
  loop().schedule(soon_);
}

void Connection::turn_end(io::TurnEnd& hook) {
  Connection& self = *hook.owner<Connection>();
  self.reap();
  if (std::exchange(self.restarts_, false)) {
    for (Stream* s = self.streams_; s;) {
      Stream* next = s->next;
      s->restart_now();
      s = next;
    }
  }
  if (std::exchange(self.receive_asked_, false) && self.codec_ && !self.closing_ && !self.closed_) {
    Buffer none;
    self.receive(none);
  }
  self.settle();
}

// ---- streams that are over ----

void Connection::stream_over(Stream& stream, bool premature) {
  (stream.previous ? stream.previous->next : streams_) = stream.next;
  if (stream.next) stream.next->previous = stream.previous;
  stream.next = stream.previous = nullptr;
  *ended_tail_ = &stream;
  ended_tail_ = &stream.next;
  if (!streams_) {
    idle_since_ = loop().now();
    if (settings().idle_timeout.count() > 0) need_timer(idle_since_ + settings().idle_timeout);
    if (settings().stream_flush_timeout.count() > 0)
      need_timer(idle_since_ + settings().stream_flush_timeout);
  }
  ++ended_requests_;
  if (premature && stream.unanswered() && stream.age() <= kPrematureAge) {
    ++premature_resets_;
    check_premature_resets();
  }
  if (!closed_) loop().schedule(soon_);
}

void Connection::reap() {
  if (std::exchange(reaping_, true)) return;
  while (Stream* stream = ended_) {
    ended_ = stream->next;
    if (!ended_) ended_tail_ = &ended_;
    stream->next = nullptr;
    stream->finish();
    runtime_->give_back(std::unique_ptr<Stream>(stream));
  }
  reaping_ = false;
}

void Connection::check_premature_resets() {
  if (closing_ || drain_ != Drain::none) return;
  const uint64_t of = std::max(ended_requests_, kPrematureLimit);
  if (premature_resets_ * 2 < of) return;
  stats().downstream_rq_too_many_premature_resets.add();
  had_active_ |= streams_ != nullptr;
  close(CloseKind::reset, "too_many_premature_resets");
}

// ---- the end ----

void Connection::start_drain() {
  if (drain_ != Drain::none) return;
  drain_ = Drain::draining;
  drain_at_ = loop().now() + settings().drain_timeout;
  if (codec_) notice_drain();
  need_timer(drain_at_);
}

void Connection::notice_drain() {
  codec_->shutdown_notice();
  if (!http2_) return;
  // A request that the client sends before it has seen the notice is not to be missed by the GOAWAY that follows, however
  // long that takes (RFC 9113 section 6.8).
  notice_open_ = true;
  codec_->ping(kNoticePing);
}

void Connection::on_drain() {
  if (!started_ || closing_ || drain_ != Drain::none) return;
  stats().downstream_cx_drain_close.add();
  start_drain();
}

void Connection::settle() {
  if (closing_ || in_receive_ || closed_) return;
  if (!codec_) {
    if (drain_ == Drain::closing) close(CloseKind::flush, {});  // it has not begun a request
    return;
  }
  // An HTTP/1 codec says itself when nothing can follow, also behind an answer that is not told here.
  if (codec_->finished() && !streams_) return close(CloseKind::flush, {});
  if (drain_ == Drain::closing && !streams_ && codec_->active_streams() == 0) close(CloseKind::flush, {});
}

void Connection::close(CloseKind kind, std::string_view details) {
  if (closing_) return;
  closing_ = true;
  if (timer_) timer_->cancel();
  context_->connection().close(kind, details);
}

void Connection::on_closed(ext::Connection&, const ext::CloseEvent& event) {
  closed_ = closing_ = true;
  if (timer_) timer_->cancel();
  if (!started_) return;
  if (event.lingered) stats().downstream_cx_delayed_close_timeout.add();
  const bool remote = remote_closed_ || event.cause != CloseCause::local;
  (remote ? stats().downstream_cx_destroy_remote : stats().downstream_cx_destroy_local).add();
  if (had_active_ || streams_) {
    stats().downstream_cx_destroy_active_rq.add();
    (remote ? stats().downstream_cx_destroy_remote_active_rq : stats().downstream_cx_destroy_local_active_rq)
        .add();
  }
  if (event.cause == CloseCause::remote_reset)
    context_->stream_info().downstream_close = ext::CloseType::remote_reset;
  if (codec_)
    codec_->connection_lost(http::ResetReason::connection_termination,
                            remote ? "downstream_remote_disconnect" : "downstream_local_disconnect");
  reap();
}

void Connection::on_end() {
  if (!std::exchange(started_, false)) return;
  closed_ = closing_ = true;
  if (codec_) {
    codec_->connection_lost(http::ResetReason::connection_termination, "downstream_local_disconnect");
    (http2_ ? stats().downstream_cx_http2_active : stats().downstream_cx_http1_active).sub();
  }
  reap();
  stats().downstream_cx_destroy.add();
  stats().downstream_cx_active.sub();
  if (secure_) stats().downstream_cx_ssl_active.sub();
  stats().downstream_cx_tx_bytes_buffered.sub(unsent_);
  last_read_.set(0);
  stats().downstream_cx_length_ms.record(milliseconds(loop().now() - opened_));
  codec_.reset();
}

// ---- time ----

void Connection::need_timer(MonotonicTime at) {
  if (closing_) return;
  if (!timer_) timer_ = std::make_unique<io::Timer>(loop().timers(), &timer_fired, this);
  if (!timer_->armed() || at < timer_->deadline()) timer_->arm(at);
}

void Connection::timer_fired(io::Timer& timer) {
  timer.owner<Connection>()->on_timer();
}

void Connection::on_timer() {
  const MonotonicTime now = loop().now();
  const Settings& s = settings();
  MonotonicTime next = kNever;
  auto passed = [&](MonotonicTime at) {
    if (at <= now) return true;
    next = std::min(next, at);
    return false;
  };
  for (Stream* stream = streams_; stream;) {
    Stream* after = stream->next;
    next = std::min(next, stream->check_timers(now));
    stream = after;
  }
  if (closing_) return;
  const bool sending = codec_ && !streams_ && (codec_->active_streams() > 0 || unsent_ > 0);
  if (drain_ == Drain::draining && passed(drain_at_) && (!notice_open_ || passed(drain_at_ + kNoticeWait))) {
    drain_ = Drain::closing;
    if (codec_) codec_->goaway();
  }
  if (drain_ == Drain::none && s.max_connection_duration.count() > 0 && !soft_drain_ &&
      passed(opened_ + s.max_connection_duration)) {
    stats().downstream_cx_max_duration_reached.add();
    if (!codec_) return close(CloseKind::flush, "max_connection_duration_reached");
    if (!http2_ && s.http1_safe_max_connection_duration) {
      soft_drain_ = true;
      stats().downstream_cx_http1_soft_drain.add();
    } else {
      start_drain();
      next = std::min(next, drain_at_);
    }
  }
  if (!streams_ && !sending && drain_ == Drain::none && s.idle_timeout.count() > 0 &&
      passed(idle_since_ + s.idle_timeout)) {
    stats().downstream_cx_idle_timeout.add();
    if (!codec_ || !http2_) return close(CloseKind::flush, {});
    start_drain();
    next = std::min(next, drain_at_);
  }
  // What was answered lies here because the peer does not read.
  if (sending && s.stream_flush_timeout.count() > 0 && passed(last_sent_ + s.stream_flush_timeout)) {
    if (http2_) stats().http2.tx_flush_timeout.add();
    return close(CloseKind::reset, "stream_flush_timeout");
  }
  if (next_ping_ != MonotonicTime{} && codec_) {
    if (ping_sent_ > ping_acked_ && passed(ping_deadline_)) {
      stats().http2.keepalive_timeout.add();
      had_active_ |= streams_ != nullptr;
      return close(CloseKind::no_flush, "http2.keepalive_timeout");
    }
    if (ping_sent_ == ping_acked_ && passed(next_ping_)) {
      codec_->ping(++ping_sent_);
      ping_deadline_ = now + s.keepalive_timeout;
      next = std::min(next, ping_deadline_);
    }
  }
  settle();
  // A stream that began while idle looked far ahead needs the idle time back once it is over.
  if (!closing_ && next == kNever && s.idle_timeout.count() > 0) next = now + s.idle_timeout;
  if (!closing_ && next != kNever) need_timer(next);
}

void Connection::on_ping_ack(uint64_t opaque) {
  // An answer to what was not asked says nothing, and must not bring a PING forward, or start keeping alive at all.
  if (opaque == kNoticePing) {
    if (std::exchange(notice_open_, false)) need_timer(drain_at_);
    return;
  }
  if (opaque != ping_sent_ || ping_acked_ == ping_sent_) return;
  ping_acked_ = ping_sent_;
  Duration interval = settings().keepalive_interval;
  if (uint32_t percent = settings().keepalive_jitter_percent; percent > 0)
    interval += Duration(static_cast<int64_t>(
        context_->random().below(static_cast<uint64_t>(interval.count()) / 100 * percent + 1)));
  next_ping_ = loop().now() + interval;
  need_timer(next_ping_);
}

}  // namespace sluice::extensions::http_connection_manager
