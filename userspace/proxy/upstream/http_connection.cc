#include "proxy/upstream/http_connection.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/log.h"
#include "http/http1.h"
#include "http/http2.h"
#include "proxy/upstream/http_try.h"
#include "proxy/upstream/sockets.h"

namespace sluice::upstream {

using Failure = ext::Upstream::Failure;

namespace {

uint64_t milliseconds(Duration d) {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(d).count());
}

}  // namespace

HttpConnection::HttpConnection(HttpPool& pool)
    : pool_(pool),
      cluster_(pool.cluster().shared_from_this()),
      buffered_(cluster_->stats().upstream_cx_tx_bytes_buffered),
      last_read_(cluster_->stats().upstream_cx_rx_bytes_buffered),
      timer_(cluster_->loop().timers(), &on_timer, this),
      turn_end_(&on_turn_end, this) {}

HttpConnection::~HttpConnection() {
  assert(state_ == State::closed && !linked());
}

ClusterStats& HttpConnection::stats() {
  return cluster_->stats();
}

// ---- connecting ----

void HttpConnection::connect() {
  started_ = cluster_->loop().now();
  cluster_->shared().note_traffic();
  counted_ = true;
  stats().upstream_cx_total.add();
  stats().upstream_cx_active.add();
  http2_ = pool_.key().http2;
  if (!pool_.key().by_alpn) count_protocol();
  HostCounters::add(pool_.counters().cx_total);
  HostCounters::add(pool_.counters().cx_active);

  ext::TransportSocketPtr transport;
  if (pool_.key().transport) {
    static const std::vector<std::string> kHttp1 = {"http/1.1"}, kHttp2 = {"h2"};
    ext::UpstreamTransportOptions options = pool_.key().options;
    if (pool_.key().by_alpn) options.alpn = {"h2", "http/1.1"};
    transport = pool_.key().transport->make({.workload = pool_.key().netns_cookie,
                                             .host = pool_.host().get(),
                                             .options = &options,
                                             .alpn_fallback = http2_ ? &kHttp2 : &kHttp1,
                                             .sharing_key = pool_.key().sharing_key},
                                            reason_);
    if (!transport) {
      state_ = State::failing;
      return cluster_->loop().schedule(turn_end_);
    }
  }
  int fd = -1;
  const SocketOrigin origin{.netns_fd = pool_.netns_fd(),
                            .mark = pool_.key().mark,
                            .source = pool_.key().source,
                            .transparent = pool_.key().transparent,
                            .outside = pool_.outside()};
  if (Status opened = open_upstream_socket(*cluster_, pool_.host()->address(), origin, fd); !opened.ok()) {
    state_ = State::failing;
    reason_ = opened.error().message;
    return cluster_->loop().schedule(turn_end_);
  }
  state_ = State::connecting;
  socket_ = net::Connection::create(
      cluster_->loop(), fd,
      {.id = cluster_->next_connection_id(), .buffer_limit = cluster_->config().buffer_limit}, *this,
      std::move(transport));
  socket_->keep(cluster_);
  timer_.arm(started_ + cluster_->config().connect_timeout);
  socket_->connect(pool_.host()->address());
}

void HttpConnection::count_protocol() {
  HttpPools::ConnectionStats& s = pools().connection_stats();
  (http2() ? s.upstream_cx_http2_total : s.upstream_cx_http1_total).add();
}

void HttpConnection::on_connect_failed(net::Connection& c, int error) {
  fail(Failure::connect_failed, connect_failure(c, error), false);
}

void HttpConnection::fail(Failure failure, std::string_view reason, bool local) {
  timer_.cancel();
  state_ = State::closed;
  socket_.reset();
  stats().upstream_cx_connect_fail.add();
  HostCounters::add(pool_.counters().cx_connect_fail);
  count_end(local, false);
  cluster_->loop().defer_delete(std::unique_ptr<io::Deferred>(this));
  pool_.connect_failed(*this, failure, reason);
}

void HttpConnection::on_connected(net::Connection&) {
  timer_.cancel();
  state_ = State::open;
  connected_ = idle_since_ = cluster_->loop().now();
  stats().upstream_cx_connect_ms.record(milliseconds(connected_ - started_));
  const model::HttpUpstreamOptions& options = pools().config();
  if (pool_.key().by_alpn) {
    http2_ = socket_->transport()->application_protocol() == "h2";
    count_protocol();
  }
  if (http2()) {
    codec_ = http::make_http2_client(options.http2, pools().http2_stats(), *this, *this);
    arm_keep_alive();
  } else {
    codec_ = http::make_http1_client(options.http1, pools().http1_stats(), *this, *this);
  }
  settle();
}

// ---- streams ----

size_t HttpConnection::max_streams_left() const {
  uint32_t limit = cluster_->config().http.max_requests_per_connection;
  return limit == 0 ? ~size_t{0} : limit - std::min<uint64_t>(limit, streams_total_);
}

size_t HttpConnection::capacity() const {
  if (!http2()) return 1;
  return std::min<size_t>(cluster_->config().http.http2.http2.max_concurrent_streams, max_streams_left());
}

bool HttpConnection::can_take() const {
  return state_ == State::open && !draining_ && !close_wanted_ && !reserved_ && socket_->open() &&
         !socket_->read_ended() && codec_->can_open_stream();
}

void HttpConnection::reserve(HttpTry& t) {
  reserved_ = &t;
  cluster_->loop().schedule(turn_end_);
}

http::Stream& HttpConnection::new_stream(http::StreamReceiver& receiver) {
  ++streams_total_;
  sent_before_ = socket_->bytes_sent() + socket_->unsent();
  if (max_streams_left() == 0) {
    pools().connection_stats().upstream_cx_max_requests.add();
    draining_ = true;
  }
  if (Duration idle = pools().config().keep_alive.idle_interval;
      http2() && idle.count() > 0 && codec_->active_streams() == 0 && streams_total_ > 1 &&
      cluster_->loop().now() - idle_since_ > idle) {
    ping();
  }
  return codec_->new_stream(receiver);
}

void HttpConnection::stream_ended(bool unusable) {
  if (state_ == State::closed) return;
  if (unusable) close_wanted_ = true;
  if (!receiving_) cluster_->loop().schedule(turn_end_);
}

void HttpConnection::settle() {
  if (state_ != State::open || receiving_) return;
  const bool idle = codec_->active_streams() == 0 && !reserved_;
  if (close_wanted_ && idle) {
    count_end(true, true);
    return shut(ext::CloseKind::no_flush, true, http::ResetReason::local_reset);
  }
  if (draining_ || codec_->finished() || (pool_.draining() && pool_.pending() == 0)) {
    draining_ = true;
    if (idle) return shut(ext::CloseKind::no_flush, true, http::ResetReason::local_reset);
    return pool_.full(*this);
  }
  if (idle) {
    idle_since_ = cluster_->loop().now();
    arm_timer();
  }
  pool_.ready(*this);
}

void HttpConnection::drain() {
  draining_ = true;
  switch (state_) {
    case State::idle:
    case State::failing:
    case State::closed:
      return;  // ends by itself
    case State::connecting:
      return shut(ext::CloseKind::no_flush, true, http::ResetReason::local_reset);
    case State::open:
      return settle();
  }
}

void HttpConnection::close() {
  shut(ext::CloseKind::no_flush, true, http::ResetReason::connection_termination);
}

// ---- bytes ----

void HttpConnection::on_data(net::Connection& c, Buffer& data, bool end_stream) {
  uint64_t total = c.bytes_received();
  stats().upstream_cx_rx_bytes_total.add(total - received_bytes_);
  received_bytes_ = total;
  last_read_.set(data.size());
  received(data, end_stream);
}

void HttpConnection::received(Buffer& data, bool end_stream) {
  const bool active = codec_->active_streams() > 0;
  receiving_ = true;
  ended_by_server_ |= end_stream;
  std::optional<http::ProtocolError> error = codec_->receive(data);
  data.clear();
  const bool unanswered = codec_->active_streams() > 0;
  if (!error && end_stream && unanswered) {
    // The server hung up before it saw a byte of the request: that is no answer to it.
    if (nothing_sent())
      codec_->connection_lost(http::ResetReason::local_refused_stream, "");
    else
      error = codec_->receive_end();
  }
  receiving_ = false;
  if (error) {
    // On an idle connection a server may say why it hangs up (408): nobody asked, nobody is told.
    if (active || http2()) pools().connection_stats().upstream_cx_protocol_error.add();
    SLUICE_LOG(upstream, debug, "[C{}] cluster {}: {} broke the protocol: {}", socket_->id(),
               cluster_->name(), pool_.host()->address().to_string(), error->message);
    count_end(!end_stream, active);
    return shut(ext::CloseKind::flush, !end_stream, http::ResetReason::protocol_error);
  }
  if (end_stream) {
    count_end(false,
              http2() ? unanswered : close_wanted_);  // HTTP/1: the FIN may have been the end of a response
    return shut(ext::CloseKind::no_flush, false, http::ResetReason::connection_termination);
  }
  settle();
}

bool HttpConnection::nothing_sent() const {
  return !http2() && socket_->bytes_sent() <= sent_before_;
}

void HttpConnection::write(Buffer&& data) {
  if (socket_) socket_->write(std::move(data), false);
}

BlockPool& HttpConnection::blocks() {
  return cluster_->loop().blocks();
}

void HttpConnection::pause_reading() {
  if (!socket_) return;
  pools().http_stats().upstream_flow_control_paused_reading_total.add();
  socket_->pause_reading();
}

void HttpConnection::resume_reading() {
  if (!socket_) return;
  pools().http_stats().upstream_flow_control_resumed_reading_total.add();
  socket_->resume_reading();
}

void HttpConnection::receive_soon() {
  receive_soon_ = true;
  cluster_->loop().schedule(turn_end_);
}

void HttpConnection::on_sent(ext::Connection& c, size_t bytes) {
  stats().upstream_cx_tx_bytes_total.add(bytes);
  buffered_.set(c.unsent());
}

// May come from inside a stream's own send: its codec hears of it when that has returned.
void HttpConnection::on_above_high_watermark(ext::Connection& c) {
  stats().upstream_flow_control_backed_up_total.add();
  buffered_.set(c.unsent());
  above_ = true;
  cluster_->loop().schedule(turn_end_);
}

void HttpConnection::on_below_low_watermark(ext::Connection&) {
  stats().upstream_flow_control_drained_total.add();
  above_ = false;
  if (std::exchange(above_told_, false) && state_ == State::open) codec_->on_below_write_low_watermark();
}

void HttpConnection::on_turn_end(io::TurnEnd& hook) {
  HttpConnection& self = *hook.owner<HttpConnection>();
  if (self.state_ == State::failing) return self.fail(Failure::connect_failed, self.reason_, true);
  if (self.state_ != State::open) return;
  if (self.above_ && !self.above_told_) {
    self.above_told_ = true;
    self.codec_->on_above_write_high_watermark();
  }
  if (std::exchange(self.receive_soon_, false)) {
    Buffer nothing;
    self.received(nothing, false);
    if (self.state_ != State::open) return;
  }
  if (HttpTry* t = std::exchange(self.reserved_, nullptr)) {
    if (self.can_take()) {
      t->begin(self);
      return;
    }
    // It died meanwhile, or was drained: the request goes on another connection, as if this had never been.
    self.settle();
    return self.pool_.requeue(*t);
  }
  self.settle();
}

// ---- what the server says ----

void HttpConnection::on_goaway(bool) {
  pools().connection_stats().upstream_cx_close_notify.add();
  draining_ = going_away_ = true;
  if (!receiving_) cluster_->loop().schedule(turn_end_);
}

void HttpConnection::on_max_streams_changed(uint32_t) {
  if (!receiving_) cluster_->loop().schedule(turn_end_);
}

// ---- time ----

void HttpConnection::on_timer(io::Timer& timer) {
  HttpConnection& self = *timer.owner<HttpConnection>();
  if (self.state_ == State::connecting) {
    self.stats().upstream_cx_connect_timeout.add();
    return self.fail(Failure::timeout, "", true);
  }
  if (self.state_ != State::open) return;
  const model::HttpUpstreamOptions& options = self.pools().config();
  const MonotonicTime now = self.cluster_->loop().now();
  const bool idle = self.codec_->active_streams() == 0 && !self.reserved_;
  if (options.max_connection_duration.count() > 0 && !self.draining_ &&
      now >= self.connected_ + options.max_connection_duration) {
    self.pools().connection_stats().upstream_cx_max_duration_reached.add();
    return self.drain();
  }
  if (idle && options.idle_timeout.count() > 0 && now >= self.idle_since_ + options.idle_timeout) {
    self.pools().connection_stats().upstream_cx_idle_timeout.add();
    return self.shut(ext::CloseKind::no_flush, true, http::ResetReason::local_reset);
  }
  self.arm_timer();
}

// One timer for idle_timeout and max_connection_duration; it is not moved while streams come and go: it looks again when
// it fires.
void HttpConnection::arm_timer() {
  if (timer_.armed()) return;
  const model::HttpUpstreamOptions& options = pools().config();
  MonotonicTime due = MonotonicTime::max();
  if (options.idle_timeout.count() > 0 && codec_->active_streams() == 0 && !reserved_)
    due = idle_since_ + options.idle_timeout;
  if (options.max_connection_duration.count() > 0 && !draining_)
    due = std::min(due, connected_ + options.max_connection_duration);
  if (due != MonotonicTime::max()) timer_.arm(due);
}

void HttpConnection::arm_keep_alive() {
  const auto& options = pools().config().keep_alive;
  if (options.interval.count() == 0) return;
  if (!keep_alive_)
    keep_alive_ = std::make_unique<io::Timer>(cluster_->loop().timers(), &on_keep_alive, this);
  auto jitter =
      static_cast<uint64_t>(static_cast<double>(options.interval.count()) * options.jitter_percent / 100);
  Duration more{jitter == 0 ? 0 : static_cast<int64_t>(pools().random().below(jitter))};
  keep_alive_->arm(cluster_->loop().now() + options.interval + more);
}

void HttpConnection::ping() {
  if (ping_open_) return;
  ping_open_ = true;
  if (!keep_alive_)
    keep_alive_ = std::make_unique<io::Timer>(cluster_->loop().timers(), &on_keep_alive, this);
  codec_->ping(streams_total_);
  keep_alive_->arm(cluster_->loop().now() + pools().config().keep_alive.timeout);
}

void HttpConnection::on_keep_alive(io::Timer& timer) {
  HttpConnection& self = *timer.owner<HttpConnection>();
  if (self.state_ != State::open) return;
  if (!self.ping_open_) return self.ping();
  self.pools().http2_stats().keepalive_timeout.add();
  self.shut(ext::CloseKind::no_flush, true, http::ResetReason::connection_termination);
}

void HttpConnection::on_ping_ack(uint64_t) {
  if (!std::exchange(ping_open_, false)) return;
  keep_alive_->cancel();
  arm_keep_alive();
}

// ---- ending ----

void HttpConnection::on_closed(ext::Connection&, const ext::CloseEvent& event) {
  ended_by_server_ |= event.cause != ext::CloseCause::local;
  shut(ext::CloseKind::no_flush, event.cause == ext::CloseCause::local,
       nothing_sent() ? http::ResetReason::local_refused_stream : http::ResetReason::connection_termination);
}

void HttpConnection::shut(ext::CloseKind kind, bool local, http::ResetReason reason) {
  if (state_ == State::closed) return;
  assert(!receiving_);
  state_ = State::closed;
  unlink();
  timer_.cancel();
  if (keep_alive_) keep_alive_->cancel();
  HttpTry* reserved = std::exchange(reserved_, nullptr);
  const bool active = codec_ && codec_->active_streams() > 0;
  count_end(local, active);
  if (active) {
    SLUICE_LOG(upstream, debug, "[C{}] cluster {}: ended with {} streams: {}", socket_->id(),
               cluster_->name(), codec_->active_streams(), http::to_string(reason));
    codec_->connection_lost(reason, "");
  }
  if (socket_) {
    socket_->close(kind);
    socket_.reset();
  }
  cluster_->loop().defer_delete(std::unique_ptr<io::Deferred>(this));
  HttpPool& pool = pool_;
  pool.add_try();  // stays for the next two lines
  pool.gone();
  if (reserved) pool.requeue(*reserved);
  pool.drop_try();
}

void HttpConnection::count_end(bool local, bool with_streams) {
  if (!std::exchange(counted_, false)) return;
  ClusterStats& s = stats();
  s.upstream_cx_destroy.add();
  (local ? s.upstream_cx_destroy_local : s.upstream_cx_destroy_remote).add();
  if (with_streams) {
    s.upstream_cx_destroy_with_active_rq.add();
    (local ? s.upstream_cx_destroy_local_with_active_rq : s.upstream_cx_destroy_remote_with_active_rq).add();
  }
  buffered_.set(0);
  last_read_.set(0);
  s.upstream_cx_length_ms.record(milliseconds(cluster_->loop().now() - started_));
  pools().connection_stats().upstream_rq_per_cx.record(streams_total_);
  s.upstream_cx_active.sub();
  HostCounters::sub(pool_.counters().cx_active);
  pool_.breakers().connections.release();
}

}  // namespace sluice::upstream
