#include "extensions/filters/network/http_connection_manager/stream.h"

#include <algorithm>
#include <utility>

#include "core/log.h"
#include "extensions/filters/network/http_connection_manager/headers.h"
#include "http/status.h"

namespace sluice::extensions::http_connection_manager {

using ext::ResponseFlag;
using http::HeaderMap;
using http::Name;
using http::ResetReason;

namespace {

constexpr MonotonicTime kNever = MonotonicTime::max();

// A whole request that got no answer in time is the proxy's fault (504); half a one is the client's (408).
uint16_t timeout_status(bool request_ended) {
  return request_ended ? 504 : 408;
}

uint64_t milliseconds(Duration d) {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(d).count());
}

}  // namespace

// ---- life ----

void Stream::begin(Connection& connection, http::Stream& codec) {
  connection_ = &connection;
  codec_ = &codec;
  info_ = network().stream_info();
  info_.downstream_transport_failure_reason.clear();  // the connection's record says it, as in Envoy
  info_.http = &http_;
  http_.connection = settings().tell_connection ? &network().stream_info() : nullptr;
  info_.bytes_received = info_.bytes_sent = 0;
  info_.flags.clear();
  info_.response_code_details.clear();
  info_.dynamic_metadata.reset();  // the connection's is its own
  info_.start = last_activity_ = now();
  info_.start_time = connection.loop().wall_now();
  http_.protocol = codec.protocol();
  http_.stream_id = random_ = network().random().next();
  filters_.begin(connection.http1() ? connection.runtime().buffer_limit
                                    : settings().http2.http2.initial_stream_window);
  idle_timeout_ = settings().stream_idle_timeout;
  max_duration_ = settings().max_stream_duration;
  stats().downstream_rq_total.add();
  stats().downstream_rq_active.add();
  (connection.http1() ? stats().downstream_rq_http1_total : stats().downstream_rq_http2_total).add();
  if (settings().access_log_flush_interval.count() > 0)
    next_flush_ = info_.start + settings().access_log_flush_interval;
  MonotonicTime at = check_timers(info_.start);
  if (at != kNever) connection.need_timer(at);
}

void Stream::recycle() {
  filters_.recycle();
  restart_.reset();
  http_ = ext::HttpInfo{};
  tracing_.reset();
  propagated_ = {};
  route_.reset();
  routes_.reset();
  scope_.reset();
  info_.flags.clear();
  info_.dynamic_metadata.reset();
  bytes_ = {};
  connection_ = nullptr;
  codec_ = nullptr;
  next = previous = nullptr;
  route_known_ = head_received_ = bad_message_ = request_ended_ = response_ended_ = over_ = finished_ =
      head_ = grpc_ = false;
  close_ = wants_close_ = upgrade_ = http2_upgrade_ = upgrade_counted_ = tls_redirect_ = false;
  paused_ = 0;
  next_flush_ = {};
}

// A filter has answered before the router: the record says where the request would have gone.
void Stream::name_cluster() {
  if (!info_.upstream_cluster.empty() || !route_known_ || !route_ || !route_->action() ||
      route_->cluster.empty())
    return;
  if (ext::Cluster* cluster = network().clusters().find(route_->cluster))
    info_.upstream_cluster = cluster->observability_name();
}

void Stream::finish() {
  if (std::exchange(finished_, true)) return;
  filters_.end();
  name_cluster();
  http_.request_header_bytes = filters_.request_headers() ? filters_.request_headers()->bytes() : 0;
  http_.response_header_bytes = http_.response_headers ? http_.response_headers->bytes() : 0;
  http_.response_trailer_bytes = http_.response_trailers ? http_.response_trailers->bytes() : 0;
  http_.downstream_wire_bytes_received = bytes_.wire_received;
  http_.downstream_wire_bytes_sent = bytes_.wire_sent;
  http_.downstream_header_bytes_received = bytes_.header_received;
  http_.downstream_header_bytes_sent = bytes_.header_sent;
  stats().downstream_rq_active.sub();
  if (settings().tracing) finish_span();
  if (http_.health_check)
    stats().tracing_health_check.add();  // whether or not anything is traced
  else
    stats().downstream_rq_time.record(milliseconds(info_.end - info_.start));
  if (upgrade_counted_) stats().downstream_cx_upgrades_active.sub();
  log(ext::AccessLogType::downstream_end);
}

void Stream::log(ext::AccessLogType type) {
  for (const auto& logger : settings().access_logs) logger->log(info_, type);
}

void Stream::mark_over(bool premature) {
  over_ = true;
  info_.end = now();
  filters_.stop();
  connection_->stream_over(*this, premature);
}

void Stream::note_bytes() {
  if (codec_) bytes_ = codec_->bytes();
}

template <typename Send>
void Stream::sending(Send send) {
  // The codec's stream may be gone behind its last send.
  note_bytes();
  const uint64_t before = connection_->bytes_written();
  send();
  bytes_.wire_sent += connection_->bytes_written() - before;
  http_.last_downstream_tx_byte = now();
}

// ---- the response ----

void Stream::reply(uint16_t status, std::string_view body, std::string_view details) {
  filters_.send_local_reply({.status = status, .body = body, .details = details});
}

http::HeaderMapPtr Stream::make_reply(const ext::LocalReply& r, std::string& body) {
  SLUICE_LOG(filter, debug, "[C{}][S{}] local reply {}: {}", info_.connection_id, http_.stream_id, r.status,
             r.details);
  // A broken request leaves doubt about where the next one begins.
  if (r.status == 400 && connection_->http1() && !settings().http1.http1.override_stream_error) close_ = true;
  PreparedReply prepared = prepare(settings().local_replies, r, {grpc_, head_}, info_);
  reply_body_ = r.body;
  http_.local_reply_body = reply_body_;
  body = std::move(prepared.body);
  return std::move(prepared.headers);
}

void Stream::send_continue() {
  http::HeaderMapPtr headers = http::make_headers();
  headers->set_static(Name::status, "100");
  stats().count_response(100);
  sending([&] { codec_->send_informational(*headers); });
}

void Stream::send_informational(HeaderMap& headers) {
  // Without it 1xx responses end here, as in Envoy.
  if (!codec_ || over_ || !settings().proxy_100_continue) return;
  stats().count_response(100);
  sending([&] { codec_->send_informational(headers); });
}

void Stream::send_headers(HeaderMap& headers, bool end_stream) {
  if (!codec_ || over_) return;
  touch();
  if (!headers.has(Name::date)) headers.set(Name::date, connection_->runtime().date.now(connection_->loop()));
  if (settings().server_header == ServerHeader::overwrite ||
      (settings().server_header == ServerHeader::append_if_absent && !headers.has(Name::server)))
    headers.set(Name::server, settings().server_name);
  const HeaderMap* request = filters_.request_headers();
  mutate_response(settings(), request, headers);

  // Who fails health checks drains, as in Envoy.
  const ext::NetworkFilterContext& cx = network();
  if ((cx.draining() || (cx.health_check_failed() && cx.drains_on_health_check())) &&
      !connection_->draining()) {
    stats().downstream_cx_drain_close.add();
    connection_->start_drain();
  }
  if (!request_ended_ || bad_message_) stats().downstream_rq_response_before_rq_complete.add();
  const uint16_t status = http::status_of(headers);
  if (connection_->http1()) {
    const bool tunnel = upgrade_ && (status == 101 || (status >= 200 && status < 300));
    if (close_ || (!request_ended_ && !tunnel)) connection_->close_soon();
    if ((connection_->draining() || connection_->soft_drain()) && !tunnel) {
      headers.set_static(Name::connection, "close");
      connection_->close_soon();
    }
  }
  http_.response_code = status;
  http_.response_headers = &headers;
  if (!http_.health_check) stats().count_response(status);
  if (settings().tracing) trace_response(headers);
  http_.first_downstream_tx_byte = last_activity_;
  if (http2_upgrade_) upgrade_answer_to_http2(headers);
  sending([&] { codec_->send_headers(headers, end_stream); });
  if (upgrade_ && settings().access_log_on_tunnel && (status == 101 || status / 100 == 2))
    log(ext::AccessLogType::downstream_tunnel_successfully_established);
  if (bytes_.header_sent == 0) bytes_.header_sent = bytes_.wire_sent;
  if (end_stream) response_complete();
}

void Stream::send_data(Buffer&& data, bool end_stream) {
  if (!codec_ || over_) return data.clear();
  touch();
  info_.bytes_sent += data.size();
  sending([&] { codec_->send_data(std::move(data), end_stream); });
  if (end_stream) response_complete();
}

void Stream::send_trailers(HeaderMap& trailers) {
  if (!codec_ || over_) return;
  touch();
  http_.response_trailers = &trailers;
  sending([&] { codec_->send_trailers(trailers); });
  response_complete();
}

void Stream::response_complete() {
  response_ended_ = true;
  http::Stream* codec = std::exchange(codec_, nullptr);
  if (bad_message_) stats().downstream_rq_rx_reset.add();
  if (!request_ended_) {
    // Nobody waits for the rest of the request.
    stats().downstream_rq_rx_reset.add();
    if (connection_->http1()) connection_->close_soon();
    codec->reset(ResetReason::no_error);
  }
  mark_over(false);
}

void Stream::reset_stream(ResetReason reason, std::string_view details) {
  if (over_) return;
  if (!details.empty()) info_.response_code_details = details;
  note_bytes();
  // Envoy counts both: it is told of the reset that it asks for.
  stats().downstream_rq_tx_reset.add();
  stats().downstream_rq_rx_reset.add();
  if (connection_->http1()) connection_->close_soon();
  if (http::Stream* codec = std::exchange(codec_, nullptr)) codec->reset(reason);
  mark_over(false);
}

bool Stream::restart(Buffer&& body) {
  if (over_ || !codec_ || !request_ended_ || filters_.response_head_sent()) return false;
  http::HeaderMapPtr headers = filters_.take_request_headers();
  if (!headers) return false;
  // The filter that asks is still being called: the rest happens at the end of the turn.
  filters_.stop();
  restart_ = std::make_unique<Restart>(Restart{std::move(headers), std::move(body)});
  connection_->restart_soon();
  return true;
}

void Stream::restart_now() {
  if (!restart_ || over_) return;
  std::unique_ptr<Restart> r = std::move(restart_);
  info_.end = now();
  filters_.end();
  if (settings().tracing) {
    charge_tracing();
    finish_span();
  }
  log(ext::AccessLogType::downstream_end);
  // The next one begins with what this one has put into the request's headers.
  tracing_.reset();
  http_.tracing = nullptr;
  propagated_ = {};
  filters_.recycle();
  HeaderMap& headers = *r->headers;
  filters_.set_request_headers(std::move(r->headers));
  info_.flags.clear();
  info_.response_code_details.clear();
  info_.dynamic_metadata.reset();
  info_.upstream_cluster.clear();
  info_.upstream_attempts = 0;
  http_.request_headers = &headers;
  http_.request_trailers = http_.response_headers = http_.response_trailers = nullptr;
  http_.response_code = 0;
  // It counts as a request of its own.
  stats().downstream_rq_total.add();
  (connection_->http1() ? stats().downstream_rq_http1_total : stats().downstream_rq_http2_total).add();
  touch();
  start_chain(headers, r->body.empty(), false);
  if (!over_ && !r->body.empty()) filters_.on_request_data(r->body, true);
}

void Stream::pause_request() {
  if (!codec_ || request_ended_) return;
  if (paused_++ == 0) stats().downstream_flow_control_paused_reading_total.add();
  codec_->pause_reading();
}

void Stream::resume_request() {
  if (paused_ == 0) return;
  if (--paused_ == 0) stats().downstream_flow_control_resumed_reading_total.add();
  if (codec_) codec_->resume_reading();
}

bool Stream::above_write_watermark() const {
  return codec_ && codec_->above_write_high_watermark();
}

ext::Upstream::Origin Stream::origin() {
  ext::Upstream::Origin o = connection_->network().origin();
  o.stream = &info_;
  return o;
}

// ---- time ----

MonotonicTime Stream::check_timers(MonotonicTime now) {
  if (over_) return kNever;
  const Settings& s = settings();
  MonotonicTime next = kNever;
  // `due`: 0 and earlier than now fire; others are looked at again.
  auto passed = [&](MonotonicTime from, Duration after) {
    if (after.count() <= 0) return false;
    if (from + after <= now) return true;
    next = std::min(next, from + after);
    return false;
  };
  if (!head_received_ && passed(info_.start, s.request_headers_timeout)) {
    stats().downstream_rq_header_timeout.add();
    reply(408, "request header timeout", "request_header_timeout");
  } else if (!request_ended_ && passed(info_.start, s.request_timeout)) {
    stats().downstream_rq_timeout.add();
    reply(408, "request timeout", "request_overall_timeout");
  } else if (passed(info_.start, max_duration_)) {
    stats().downstream_rq_max_duration_reached.add();
    filters_.send_local_reply({.status = timeout_status(request_ended_),
                               .body = "downstream duration timeout",
                               .details = "max_duration_timeout",
                               .grpc_status = 4});
  } else if (passed(last_activity_, idle_timeout_)) {
    stats().downstream_rq_idle_timeout.add();
    info_.flags.set(ResponseFlag::stream_idle_timeout);
    reply(timeout_status(request_ended_), "stream timeout", "stream_idle_timeout");
  }
  if (over_) return kNever;
  if (next_flush_ != MonotonicTime{}) {
    if (next_flush_ <= now) {
      info_.end = now;
      log(ext::AccessLogType::downstream_periodic);
      next_flush_ = now + s.access_log_flush_interval;
    }
    next = std::min(next, next_flush_);
  }
  return next;
}

}  // namespace sluice::extensions::http_connection_manager
