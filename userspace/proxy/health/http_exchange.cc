#include <utility>

#include "core/log.h"
#include "http/http1.h"
#include "http/http2.h"
#include "proxy/health/http_probe.h"

namespace sluice::health {

HttpExchange::HttpExchange(ProbeContext& context, Target target, Owner& owner, bool http2,
                           bool keep_on_timeout)
    : context_(context),
      target_(std::move(target)),
      owner_(owner),
      http2_(http2),
      keep_on_timeout_(keep_on_timeout),
      turn_end_(&on_turn_end, this) {}

HttpExchange::~HttpExchange() {
  asking_ = false;
  drop();
}

// ---- asking ----

void HttpExchange::check() {
  asking_ = true;
  whole_ = false;
  answer_.reset();
  if (state_ == State::open) return start();
  auto made = context_.open(target_, http2_, *this);
  if (!made.ok()) {
    SLUICE_LOG(upstream, debug, "cluster {}: health check of {}: {}", context_.cluster->name,
               target_.address.to_string(), made.error().message);
    state_ = State::failing;
    return context_.loop.schedule(turn_end_);
  }
  leave_ = !context_.check.reuse_connection;
  state_ = State::connecting;
  socket_ = std::move(*made);
  socket_->connect(target_.address);
}

void HttpExchange::on_connected(net::Connection&) {
  state_ = State::open;
  const model::HttpUpstreamOptions& options = context_.cluster->http;
  if (http2_)
    codec_ = http::make_http2_client(options.http2, context_.http2_stats, *this, *this);
  else
    codec_ = http::make_http1_client(options.http1, context_.http1_stats, *this, *this);
  start();
}

void HttpExchange::start() {
  // The server allows no stream, or has said goodbye in the last moment.
  if (!socket_->open() || socket_->read_ended() || !codec_->can_open_stream()) {
    leave_ = true;
    answer_ = Answer{};
    return context_.loop.schedule(turn_end_);
  }
  stream_ = &codec_->new_stream(*this);
  http::HeaderMapPtr headers = http::make_headers();
  std::string body;
  make_request(*headers, body);
  stream_->send_headers(*headers, body.empty());
  if (body.empty() || !stream_) return;
  Buffer data;
  data.append(blocks(), body);
  stream_->send_data(std::move(data), true);
}

void HttpExchange::give_up() {
  asking_ = false;
  answer_.reset();
  if (!keep_on_timeout_ || leave_ || state_ != State::open) return drop();
  if (stream_) std::exchange(stream_, nullptr)->reset(http::ResetReason::local_reset);
}

void HttpExchange::add_headers(const model::HeaderRules& rules, http::HeaderMap& headers) {
  if (rules.empty()) return;
  ext::StreamInfo info;
  ext::HttpInfo http;
  info.http = &http;
  info.start = context_.loop.now();
  info.start_time = context_.loop.wall_now();
  info.upstream_cluster = info.upstream_cluster_raw = context_.cluster->name;
  info.upstream_remote = target_.host;
  info.upstream_host_name = target_.hostname;
  rules.apply(headers, info);
}

// ---- what comes ----

void HttpExchange::on_data(net::Connection&, Buffer& data, bool end_stream) {
  received(data, end_stream);
}

void HttpExchange::received(Buffer& data, bool end_stream) {
  std::optional<http::ProtocolError> error = codec_->receive(data);
  data.clear();
  if (!error && end_stream && codec_->active_streams() > 0) error = codec_->receive_end();
  if (error) {
    if (asking_) context_.protocol_error.add();
    SLUICE_LOG(upstream, debug, "cluster {}: health check of {}: {}", context_.cluster->name,
               target_.address.to_string(), error->message);
  }
  if (error || end_stream) {
    leave_ = true;
    if (asking_ && !answer_) answer_ = Answer{};
  }
  settle();
}

void HttpExchange::conclude(const Answer& answer, bool whole) {
  if (answer_) return;
  answer_ = answer;
  whole_ = whole;
}

// The codec has returned: what it said has its consequences now.
void HttpExchange::settle() {
  const std::optional<Answer> answer = std::exchange(answer_, std::nullopt);
  if (answer && !whole_ && stream_) std::exchange(stream_, nullptr)->reset(http::ResetReason::local_reset);
  const bool idle = !asking_ || answer;
  if (idle && state_ == State::open && (leave_ || codec_->finished())) drop();
  if (!answer || !std::exchange(asking_, false)) return;
  owner_.on_answer(*answer);
}

void HttpExchange::drop() {
  if (codec_ && codec_->active_streams() > 0) codec_->connection_lost(http::ResetReason::local_reset, "");
  stream_ = nullptr;
  answer_.reset();
  receive_soon_ = false;
  state_ = State::none;
  if (socket_) {
    socket_->close(ext::CloseKind::no_flush);
    socket_.reset();
  }
  codec_.reset();
}

void HttpExchange::on_headers(http::HeaderMapPtr headers, bool end_stream) {
  if (end_stream) stream_ = nullptr;
  if (asking_ && !answer_) response_headers(std::move(headers), end_stream);
}

void HttpExchange::on_data(Buffer& data, bool end_stream) {
  if (end_stream) stream_ = nullptr;
  if (asking_ && !answer_) response_data(data, end_stream);
}

void HttpExchange::on_trailers(http::HeaderMapPtr trailers) {
  stream_ = nullptr;
  if (asking_ && !answer_) response_trailers(*trailers);
}

void HttpExchange::on_reset(http::ResetReason, std::string_view) {
  stream_ = nullptr;
  if (asking_) conclude({}, true);
}

// Envoy: a request under way may end in its own time when the server says so gracefully, else it has failed.
void HttpExchange::on_goaway(bool graceful) {
  leave_ = true;
  if (!graceful && asking_) conclude({}, false);
}

// ---- the connection ----

void HttpExchange::on_connect_failed(net::Connection&, int) {
  drop();
  answer_ = Answer{};
  settle();
}

void HttpExchange::on_closed(ext::Connection&, const ext::CloseEvent&) {
  const bool asked = asking_;
  drop();
  if (asked) answer_ = Answer{};
  settle();
}

void HttpExchange::write(Buffer&& data) {
  if (socket_) socket_->write(std::move(data), false);
}

void HttpExchange::pause_reading() {
  if (socket_) socket_->pause_reading();
}

void HttpExchange::resume_reading() {
  if (socket_) socket_->resume_reading();
}

void HttpExchange::receive_soon() {
  receive_soon_ = true;
  context_.loop.schedule(turn_end_);
}

void HttpExchange::on_turn_end(io::TurnEnd& hook) {
  auto& self = *hook.owner<HttpExchange>();
  if (self.state_ == State::failing) {
    self.state_ = State::none;
    self.answer_ = Answer{};
  } else if (std::exchange(self.receive_soon_, false) && self.state_ == State::open) {
    Buffer nothing;
    return self.received(nothing, false);
  }
  self.settle();
}

}  // namespace sluice::health
