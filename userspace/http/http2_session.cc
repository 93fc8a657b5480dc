#include "http/http2_session.h"

#include <nghttp2/nghttp2.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

#include "http/http2_callbacks.h"
#include "http/http2_details.h"

namespace sluice::http {
namespace {

constexpr uint32_t kMaxFrame = 16384;  // SETTINGS_MAX_FRAME_SIZE: we do not raise it

}  // namespace

Http2Session::Http2Session(bool server, const Http2Config& config, Http2Stats& stats, Output& output,
                           ServerCallbacks* server_callbacks, ClientCallbacks* client_callbacks)
    : server_(server),
      config_(config),
      stats_(stats),
      output_(output),
      server_callbacks_(server_callbacks),
      client_callbacks_(client_callbacks),
      outbound_(output.blocks(), stats),
      limits_(config.http2, stats),
      scan_(NGHTTP2_CLIENT_MAGIC_LEN),
      remote_max_streams_(config.http2.max_concurrent_streams) {
  nghttp2_option* options;
  nghttp2_option_new(&options);
  nghttp2_option_set_no_auto_window_update(options, 1);
  nghttp2_option_set_no_closed_streams(options, 1);
  // Envoy lets white space at the ends of a value pass as well.
  nghttp2_option_set_no_rfc9113_leading_and_trailing_ws_validation(options, 1);
  // Limits of our own do the work of these four: header lists, outbound control frames, and premature resets, which
  // are the connection manager's to count since it has the clock.
  nghttp2_option_set_max_send_header_block_length(options, 32 << 20);
  nghttp2_option_set_max_outbound_ack(options, std::max(10000u, config.http2.max_outbound_control_frames));
  nghttp2_option_set_stream_reset_rate_limit(options, 1ull << 62, 1ull << 32);
  nghttp2_option_set_max_continuations(options, 8 + config.common.max_headers_bytes / kMaxFrame);
  nghttp2_option_set_max_deflate_dynamic_table_size(options, config.http2.hpack_table_size);
  // Until its SETTINGS arrive the peer is taken to allow what we would.
  nghttp2_option_set_peer_max_concurrent_streams(options, config.http2.max_concurrent_streams);
  if (server)
    nghttp2_session_server_new2(&nghttp2_, http2_callbacks(), this, options);
  else
    nghttp2_session_client_new2(&nghttp2_, http2_callbacks(), this, options);
  nghttp2_option_del(options);
  start();
}

Http2Session::~Http2Session() {
  assert(depth_ == 0 && "destroyed inside one of its own calls");
  lost_ = true;
  ++depth_;
  nghttp2_session_del(nghttp2_);
  while (streams_) {
    drop_queue(*streams_);
    bury(*streams_);
  }
  --depth_;
  leave();
}

void Http2Session::leave() {
  while (Http2Stream* s = graveyard_) {
    graveyard_ = s->next;
    Http2Stream::recycle(s);
  }
  if (soon_asked_ || lost_ || (to_notify_.empty() && (!failed_ || failure_told_))) return;
  soon_asked_ = true;
  output_.receive_soon();
}

void Http2Session::start() {
  const Http2Options& o = config_.http2;
  nghttp2_settings_entry settings[6];
  size_t n = 0;
  if (!server_) settings[n++] = {NGHTTP2_SETTINGS_ENABLE_PUSH, 0};
  settings[n++] = {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, o.hpack_table_size};
  if (server_) settings[n++] = {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, o.allow_connect};
  settings[n++] = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, o.max_concurrent_streams};
  settings[n++] = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, o.initial_stream_window};
  nghttp2_submit_settings(nghttp2_, NGHTTP2_FLAG_NONE, settings, n);
  if (o.initial_connection_window > NGHTTP2_INITIAL_CONNECTION_WINDOW_SIZE)
    nghttp2_session_set_local_window_size(nghttp2_, NGHTTP2_FLAG_NONE, 0,
                                          static_cast<int32_t>(o.initial_connection_window));
}

// ---- in ----

void Http2Session::read(Buffer& data) {
  receiving_ = true;
  for (size_t i = 0; i < data.chunks() && !failed_; ++i) {
    const Chunk& input = data.chunk(i);
    size_t fed = 0, at = 0;
    bool reset = false;
    while (server_ && at < input.size()) {
      at += scan_.next(input.data() + at, input.size() - at);
      if (!scan_.head()) break;
      reset |= scan_.type() == NGHTTP2_RST_STREAM;
      if (scan_.type() != NGHTTP2_DATA || (is_open(scan_.stream()) && !reset)) continue;
      // nghttp2 may not know the stream: it has to take what is before this frame to tell.
      if (!feed(input, std::exchange(fed, at), at)) break;
      data_on_closed_stream(scan_.stream());
    }
    if (!failed_) feed(input, fed, input.size());
  }
  if (!failed_) data_complete(false);  // a frame's first part
  receiving_ = false;
}

bool Http2Session::feed(const Chunk& input, size_t from, size_t to) {
  input_ = &input;
  ssize_t n = nghttp2_session_mem_recv(nghttp2_, input.data() + from, to - from);
  input_ = nullptr;
  if (n >= 0) return !failed_;
  uint32_t code = NGHTTP2_PROTOCOL_ERROR;
  if (n == NGHTTP2_ERR_FLOODED || n == NGHTTP2_ERR_TOO_MANY_CONTINUATIONS ||
      n == NGHTTP2_ERR_TOO_MANY_SETTINGS)
    code = NGHTTP2_ENHANCE_YOUR_CALM;
  fail(kUnknown, nghttp2_strerror(static_cast<int>(n)), code);
  return false;
}

bool Http2Session::is_open(uint32_t id) const {
  return (data_stream_ && data_stream_->number == static_cast<int32_t>(id)) ||
         nghttp2_session_get_stream_user_data(nghttp2_, static_cast<int32_t>(id));
}

bool Http2Session::is_closed(uint32_t id) const {
  return id % 2 == 1 && closed_.last() != UINT32_MAX && id <= closed_.last() && !is_open(id);
}

// RFC 9113 section 5.1: the client has ended the stream, or reset it, and may send nothing more on it. Told once a stream,
// since it is one that we reset from then on; nghttp2 drops the data and gives its bytes back to the connection's window.
void Http2Session::data_on_closed_stream(uint32_t id) {
  if (!is_closed(id) || closed_.state(id) == Http2ClosedStreams::State::in_flight) return;
  closed_.reset_by_us(id);
  nghttp2_submit_rst_stream(nghttp2_, NGHTTP2_FLAG_NONE, static_cast<int32_t>(id), NGHTTP2_STREAM_CLOSED);
}

std::optional<ProtocolError> Http2Session::receive(Buffer& data) {
  assert(!in_receive_);
  Call call(*this);
  in_receive_ = true;
  soon_asked_ = false;
  if (!failed_ && !lost_) {
    read(data);
    bool failed = failed_;
    failed_ = false;  // what was said before the peer broke the protocol still goes out
    flush();
    failed_ |= failed;
    if (!failed_) notify();
  }
  data.clear();
  if (failed_ && !failure_told_) {
    failure_told_ = true;
    write_goaway();
    // Requests whose heads were found wrong, and not told yet.
    for (Http2Stream* s = streams_; s && server_; s = s->next)
      if (!s->announced) announce(*s);
    reset_streams(ResetReason::protocol_error, error_->details);
  }
  in_receive_ = false;
  return error_;
}

void Http2Session::receive_end() {
  if (lost_ || failed_) return;
  Call call(*this);
  std::vector<Http2Stream*> open;
  for (Http2Stream* s = streams_; s; s = s->next)
    if (s->receiver && !s->remote_end && s->number > 0) open.push_back(s);
  for (Http2Stream* s : open) {
    if (!s->receiver) continue;
    StreamReceiver& receiver = *s->receiver;
    detach(*s);
    drop_queue(*s);
    submit_reset(*s, NGHTTP2_CANCEL);
    receiver.on_reset(ResetReason::connection_termination, "");
  }
  flush();
}

void Http2Session::connection_lost(ResetReason reason, std::string_view details) {
  Call call(*this);
  lost_ = true;
  reset_streams(reason, details);
}

void Http2Session::reset_streams(ResetReason reason, std::string_view details) {
  std::vector<Http2Stream*> open;
  for (Http2Stream* s = streams_; s; s = s->next)
    if (s->receiver) open.push_back(s);
  for (Http2Stream* s : open) {
    if (!s->receiver) continue;  // reset meanwhile
    StreamReceiver& receiver = *s->receiver;
    detach(*s);
    receiver.on_reset(reason, s->details.empty() ? details : s->details);
  }
}

void Http2Session::fail(std::string_view details, std::string_view message, uint32_t code) {
  if (failed_) return;
  failed_ = true;
  if (error_) return;
  error_ = ProtocolError{details, std::string(message)};
  error_code_ = code;
}

// ---- out ----

void Http2Session::count_outbound(bool control) {
  if (!output_above_) return;
  ++frames_above_;
  control_frames_above_ += control;
}

void Http2Session::write_output() {
  if (!outbound_.empty()) output_.write(outbound_.take());
}

void Http2Session::flush() {
  if (receiving_ || flushing_ || failed_ || lost_) return;
  flushing_ = true;
  const uint8_t* bytes;
  ssize_t n;
  while (!goaway_written_ && (n = nghttp2_session_mem_send(nghttp2_, &bytes)) != 0) {
    if (n < 0) {
      fail(kUnknown, nghttp2_strerror(static_cast<int>(n)), NGHTTP2_INTERNAL_ERROR);
      break;
    }
    uint8_t type = bytes[3], flags = bytes[4];  // the client's preface is none of these either
    bool control = type == NGHTTP2_RST_STREAM ||
                   ((type == NGHTTP2_PING || type == NGHTTP2_SETTINGS) && flags & NGHTTP2_FLAG_ACK);
    outbound_.frame({reinterpret_cast<const char*>(bytes), static_cast<size_t>(n)}, control);
    count_outbound(control);
  }
  flushing_ = false;
  write_output();
  check_outbound_limits();
}

void Http2Session::check_outbound_limits() {
  if (failed_) return;
  const Http2Options& o = config_.http2;
  if (std::max(outbound_.ledger().frames(), frames_above_) > o.max_outbound_frames) {
    stats_.outbound_flood.add();
    fail(kOutboundFlood, "Too many frames in the outbound queue.", NGHTTP2_ENHANCE_YOUR_CALM);
  } else if (std::max(outbound_.ledger().control_frames(), control_frames_above_) >
             o.max_outbound_control_frames) {
    stats_.outbound_control_flood.add();
    fail(kOutboundFlood, "Too many control frames in the outbound queue.", NGHTTP2_ENHANCE_YOUR_CALM);
  }
}

void Http2Session::write_goaway() {
  if (goaway_written_ || lost_) return;
  goaway_written_ = true;
  uint32_t last = static_cast<uint32_t>(nghttp2_session_get_last_proc_stream_id(nghttp2_));
  uint8_t frame[17] = {0, 0, 8, NGHTTP2_GOAWAY};
  for (int i = 0; i < 4; ++i) {
    frame[9 + i] = static_cast<uint8_t>(last >> (24 - 8 * i));
    frame[13 + i] = static_cast<uint8_t>(error_code_ >> (24 - 8 * i));
  }
  outbound_.frame({reinterpret_cast<const char*>(frame), sizeof frame}, false);
  stats_.goaway_sent.add();
  write_output();
}

void Http2Session::set_output_above(bool above) {
  if (above == output_above_) return;
  Call call(*this);
  output_above_ = above;
  frames_above_ = control_frames_above_ = 0;
  for (Http2Stream* s = streams_; s; s = s->next) {
    if (s->receiver && s->wants_above() != s->told_above) list_for_notice(*s);
    if (!above && s->data_deferred && (!s->queue.empty() || s->local_end)) submit_data(*s);
  }
  if (!above) flush();
  if (depth_ == 1) notify();
}

void Http2Session::list_for_notice(Http2Stream& stream) {
  if (stream.listed || !stream.receiver) return;
  stream.listed = true;
  to_notify_.push_back(&stream);
}

void Http2Session::notify() {
  size_t n = to_notify_.size();  // what comes to it meanwhile waits for the next time
  for (size_t i = 0; i < n; ++i) {
    Http2Stream* s = to_notify_[i];
    if (!s) continue;
    s->listed = false;
    to_notify_[i] = nullptr;
    if (!s->receiver || s->wants_above() == s->told_above) continue;
    s->told_above = !s->told_above;
    if (s->told_above)
      s->receiver->on_above_write_high_watermark();
    else
      s->receiver->on_below_write_low_watermark();
  }
  to_notify_.erase(to_notify_.begin(), to_notify_.begin() + static_cast<ptrdiff_t>(n));
}

void Http2Session::ping(uint64_t opaque) {
  if (failed_ || lost_) return;
  Call call(*this);
  uint8_t bytes[8];
  std::memcpy(bytes, &opaque, sizeof bytes);
  nghttp2_submit_ping(nghttp2_, NGHTTP2_FLAG_NONE, bytes);
  flush();
}

void Http2Session::shutdown_notice() {
  if (failed_ || lost_ || goaway_sent_) return;
  Call call(*this);
  nghttp2_submit_shutdown_notice(nghttp2_);
  flush();
}

void Http2Session::goaway() {
  if (failed_ || lost_ || goaway_sent_) return;
  Call call(*this);
  goaway_sent_ = true;
  stats_.goaway_sent.add();
  nghttp2_submit_goaway(nghttp2_, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(nghttp2_),
                        NGHTTP2_NO_ERROR, nullptr, 0);
  flush();
}

// ---- streams ----

void Http2Session::link(Http2Stream& stream) {
  stream.previous = nullptr;
  stream.next = streams_;
  if (streams_) streams_->previous = &stream;
  streams_ = &stream;
  ++active_;
  limits_.stream_opened();
  stats_.streams_active.add();
}

void Http2Session::detach(Http2Stream& stream) {
  stream.receiver = nullptr;
  stream.over = true;
}

void Http2Session::bury(Http2Stream& stream) {
  assert(depth_ > 0);
  if (stream.listed)
    std::replace(to_notify_.begin(), to_notify_.end(), &stream, static_cast<Http2Stream*>(nullptr));
  if (&stream == block_stream_) block_stream_ = nullptr;
  if (&stream == data_stream_) data_stream_ = nullptr;
  (stream.previous ? stream.previous->next : streams_) = stream.next;
  if (stream.next) stream.next->previous = stream.previous;
  stream.next = graveyard_;
  graveyard_ = &stream;
  --active_;
  stats_.streams_active.sub();
}

void Http2Session::drop_queue(Http2Stream& stream) {
  stats_.pending_send_bytes.sub(stream.queue.size());
  stream.queue.clear();
  stream.trailers.reset();
}

void Http2Session::submit_reset(Http2Stream& stream, uint32_t code) {
  stream.reset_sent = true;
  nghttp2_submit_rst_stream(nghttp2_, NGHTTP2_FLAG_NONE, stream.number, code);
}

Stream& Http2Session::new_stream(StreamReceiver& receiver) {
  assert(can_open_stream());
  Call call(*this);
  Http2Stream* s = Http2Stream::make(*this, config_.http2.initial_stream_window);
  s->over = false;
  s->announced = true;
  s->receiver = &receiver;
  link(*s);
  if (output_above_) list_for_notice(*s);
  return *s;
}

uint32_t Http2Session::max_streams() const {
  return std::min(remote_max_streams_, config_.http2.max_concurrent_streams);
}

bool Http2Session::ids_left() const {
  return nghttp2_session_get_next_stream_id(nghttp2_) < (1u << 31);
}

bool Http2Session::can_open_stream() const {
  return !failed_ && !lost_ && !goaway_received_ && active_ < max_streams() && ids_left();
}

}  // namespace sluice::http
