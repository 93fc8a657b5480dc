#include "http/http2_callbacks.h"

#include <nghttp2/nghttp2.h>

#include <cassert>
#include <cstring>

#include "http/http2_details.h"
#include "http/http2_session.h"

namespace sluice::http {
namespace {

constexpr uint32_t kFrameHead = 9;

std::string_view view(nghttp2_rcbuf* buffer) {
  nghttp2_vec v = nghttp2_rcbuf_get_buf(buffer);
  return {reinterpret_cast<const char*>(v.base), v.len};
}

}  // namespace

// ---- the data of a frame ----

void Http2Session::data_complete(bool end_stream) {
  Http2Stream* s = data_stream_;
  size_t n = data_.size();
  if (!end_stream && n == 0) return;
  // The connection's window is for all streams: one that does not read holds back its own alone.
  if (n > 0) nghttp2_session_consume_connection(nghttp2_, n);
  if (!s || !s->receiver) return data_.clear();
  s->remote_end = end_stream;
  Buffer data = std::move(data_);
  s->receiver->on_data(data, end_stream);
  if (s->over) return;
  if (s->complete()) return detach(*s);
  if (end_stream || n == 0) return;
  if (s->paused > 0)
    s->unconsumed += n;
  else
    nghttp2_session_consume_stream(nghttp2_, s->number, n);
}

// ---- the end of a stream ----

void Http2Session::stream_closed(Http2Stream& stream, uint32_t code) {
  drop_queue(stream);
  if (server_ && !stream.announced && !lost_) announce(stream);
  StreamReceiver* receiver = stream.receiver;
  if (&stream == data_stream_) {
    data_stream_ = nullptr;
    if (!data_.empty()) nghttp2_session_consume_connection(nghttp2_, data_.size());
    data_.clear();
  }
  bury(stream);
  if (!receiver) return;
  ResetReason reason = ResetReason::remote_reset;
  std::string_view details = kRemoteReset;
  if (stream.details == kTooManyHeaders || stream.details == kUnderscore) {
    details = stream.details;  // Envoy's reason for these is the remote reset as well
  } else if (!stream.messaging_error && (stream.remote_reset || code == NGHTTP2_REFUSED_STREAM)) {
    if (code == NGHTTP2_REFUSED_STREAM) {  // or left out by a GOAWAY
      reason = ResetReason::remote_refused_stream;
      details = kRemoteRefused;
    } else if (code == NGHTTP2_CONNECT_ERROR) {
      reason = ResetReason::connect_error;
    } else if (code == NGHTTP2_NO_ERROR && stream.remote_end) {
      reason = ResetReason::no_error;
    }
  } else {
    // nghttp2 reset it: a message that is no HTTP message (its length, its pseudo-headers), a window overrun.
    if (!stream.messaging_error) stats_.rx_messaging_error.add();
    reason = ResetReason::protocol_error;
    details = stream.details.empty() ? kMessaging : stream.details;
  }
  detach(stream);
  receiver->on_reset(reason, details);
}

// ---- nghttp2's callbacks ----

struct Http2Callbacks {
  static Http2Session& self(void* user) { return *static_cast<Http2Session*>(user); }
  static Http2Stream* find(nghttp2_session* session, int32_t id) {
    return static_cast<Http2Stream*>(nghttp2_session_get_stream_user_data(session, id));
  }

  static int flood(Http2Session& s, std::string_view details, std::string_view message) {
    s.fail(details, message, NGHTTP2_ENHANCE_YOUR_CALM);
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  }
  static int payload_frame(Http2Session& s, Http2Stream* stream, bool empty, uint8_t flags) {
    if (s.limits_.payload_frame(empty, flags & NGHTTP2_FLAG_END_STREAM)) return 0;
    if (stream) stream->details = kEmptyFrames;
    return flood(s, kEmptyFrames, "Too many consecutive frames with an empty payload");
  }

  static int on_begin_frame(nghttp2_session* session, const nghttp2_frame_hd* head, void* user) {
    Http2Session& s = self(user);
    if (!s.data_.empty()) {  // of a frame that nghttp2 found wrong at its end
      s.data_stream_ = nullptr;
      s.data_complete(false);
    }
    switch (head->type) {
      case NGHTTP2_HEADERS:
        return s.server_ ? headers_on_closed_stream(session, *head, s) : 0;
      case NGHTTP2_CONTINUATION:
        return payload_frame(s, s.block_stream_, head->length == 0, head->flags);
      case NGHTTP2_PRIORITY:
        if (!s.limits_.priority_frame()) return flood(s, kUnknown, "Too many PRIORITY frames");
        return 0;
      case NGHTTP2_WINDOW_UPDATE:
        if (!s.limits_.window_update_frame()) return flood(s, kUnknown, "Too many WINDOW_UPDATE frames");
        return 0;
      default:
        return 0;
    }
  }

  // HEADERS on a stream that is not open any more: RFC 9113 sections 5.1 and 5.1.1.
  static int headers_on_closed_stream(nghttp2_session* session, const nghttp2_frame_hd& head,
                                      Http2Session& s) {
    uint32_t id = static_cast<uint32_t>(head.stream_id);
    if (!s.is_closed(id)) return 0;
    Http2ClosedStreams::State state = s.closed_.state(id);
    if (state == Http2ClosedStreams::State::in_flight) return 0;
    if (state == Http2ClosedStreams::State::never_opened) {
      s.fail(kUnknown, "A stream identifier lower than that of the last stream", NGHTTP2_PROTOCOL_ERROR);
      return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    s.fail(kUnknown, "HEADERS on a closed stream", NGHTTP2_STREAM_CLOSED);
    return NGHTTP2_ERR_CALLBACK_FAILURE;
  }

  static int on_begin_headers(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    Http2Session& s = self(user);
    if (frame->hd.type != NGHTTP2_HEADERS) return 0;
    Http2Stream* stream;
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
      stream = Http2Stream::make(s, s.config_.http2.initial_stream_window);
      stream->over = false;
      stream->number = frame->hd.stream_id;
      s.link(*stream);
      s.closed_.opened(static_cast<uint32_t>(frame->hd.stream_id));
      nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, stream);
    } else {
      stream = find(session, frame->hd.stream_id);
      if (s.server_) s.stats_.trailers.add();
    }
    if (!stream) return 0;
    s.begin_block(*stream);
    return payload_frame(s, stream, frame->hd.length == frame->headers.padlen, frame->hd.flags);
  }

  static int on_header(nghttp2_session*, const nghttp2_frame*, nghttp2_rcbuf* name, nghttp2_rcbuf* value,
                       uint8_t, void* user) {
    Http2Session& s = self(user);
    if (!s.block_stream_) {
      s.stats_.headers_cb_no_stream.add();
      return 0;
    }
    return s.header(*s.block_stream_, view(name), view(value));
  }

  // A field whose name or value has bytes that it may not have: RFC 9113 section 8.2.1 calls the message malformed.
  static int on_invalid_header(nghttp2_session*, const nghttp2_frame*, nghttp2_rcbuf*, nghttp2_rcbuf*,
                               uint8_t, void* user) {
    Http2Session& s = self(user);
    if (!s.block_stream_) return 0;
    if (messaging_error(s, s.block_stream_, kInvalidHeader)) return NGHTTP2_ERR_CALLBACK_FAILURE;
    s.submit_reset(*s.block_stream_, NGHTTP2_PROTOCOL_ERROR);
    s.block_stream_ = nullptr;  // the rest of the block is not looked at
    return 0;
  }

  // True: the connection ends with it, which is Envoy's default.
  static bool messaging_error(Http2Session& s, Http2Stream* stream, std::string_view details) {
    if (!stream || !stream->messaging_error) s.stats_.rx_messaging_error.add();
    if (stream) {
      stream->details = details;
      stream->messaging_error = true;
    }
    if (s.config_.http2.override_stream_error) return false;
    s.fail(details, details, NGHTTP2_PROTOCOL_ERROR);
    return true;
  }

  static int on_invalid_frame(nghttp2_session* session, const nghttp2_frame* frame, int error, void* user) {
    Http2Session& s = self(user);
    Http2Stream* stream = find(session, frame->hd.stream_id);
    switch (error) {
      case NGHTTP2_ERR_REFUSED_STREAM:
        s.stats_.stream_refused_errors.add();
        if (s.server_) s.closed_.reset_by_us(static_cast<uint32_t>(frame->hd.stream_id));
        return 0;
      case NGHTTP2_ERR_HTTP_HEADER:
      case NGHTTP2_ERR_HTTP_MESSAGING: {
        bool header = error == NGHTTP2_ERR_HTTP_HEADER;
        return messaging_error(s, stream, header ? kInvalidHeader : kMessaging) ? NGHTTP2_ERR_CALLBACK_FAILURE
                                                                                : 0;
      }
      default:  // nghttp2 resets the stream or ends the connection, as RFC 9113 says for each
        if (stream) stream->details = kUnknown;
        return 0;
    }
  }

  static int on_data_chunk(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data, size_t size,
                           void* user) {
    Http2Session& s = self(user);
    if (!s.data_stream_ || s.data_stream_->number != id) s.data_stream_ = find(session, id);
    s.data_.append(
        s.input_->share(static_cast<uint32_t>(data - s.input_->data()), static_cast<uint32_t>(size)));
    return 0;
  }

  static int on_frame(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    Http2Session& s = self(user);
    const nghttp2_frame_hd& head = frame->hd;
    bool end_stream = head.flags & NGHTTP2_FLAG_END_STREAM;
    switch (head.type) {
      case NGHTTP2_DATA: {
        Http2Stream* stream = s.data_stream_;
        if (!stream || stream->number != head.stream_id)
          stream = s.data_stream_ = find(session, head.stream_id);
        if (int error = payload_frame(s, stream, head.length == frame->data.padlen, head.flags)) return error;
        if (stream) {
          stream->wire.wire_received += head.length + kFrameHead;
          if (stream->over) stream->remote_end |= end_stream;
        }
        s.data_complete(end_stream);
        return 0;
      }
      case NGHTTP2_HEADERS: {
        Http2Stream* stream = s.block_stream_;
        if (!stream) stream = find(session, head.stream_id);
        if (!stream) return 0;
        stream->wire.wire_received += head.length + kFrameHead;
        stream->wire.header_received += head.length + kFrameHead;
        if (stream->over) stream->remote_end |= end_stream;
        if (s.block_stream_)
          s.headers_complete(*stream, end_stream, frame->headers.cat == NGHTTP2_HCAT_HEADERS);
        return 0;
      }
      case NGHTTP2_RST_STREAM:
        if (Http2Stream* stream = find(session, head.stream_id)) {
          stream->wire.wire_received += head.length + kFrameHead;
          stream->remote_reset = true;
          s.stats_.rx_reset.add();
        }
        return 0;
      case NGHTTP2_SETTINGS:
        if (!(head.flags & NGHTTP2_FLAG_ACK)) on_settings(session, s);
        return 0;
      case NGHTTP2_PING:
        if (head.flags & NGHTTP2_FLAG_ACK) {
          uint64_t opaque;
          std::memcpy(&opaque, frame->ping.opaque_data, sizeof opaque);
          s.server_ ? s.server_callbacks_->on_ping_ack(opaque) : s.client_callbacks_->on_ping_ack(opaque);
        }
        return 0;
      case NGHTTP2_GOAWAY: {
        if (s.goaway_received_)
          return 0;  // said once; the streams that a second one leaves out close one by one
        s.goaway_received_ = true;
        bool graceful = frame->goaway.error_code == NGHTTP2_NO_ERROR;
        s.server_ ? s.server_callbacks_->on_goaway(graceful) : s.client_callbacks_->on_goaway(graceful);
        return 0;
      }
      default:
        return 0;
    }
  }

  static void on_settings(nghttp2_session* session, Http2Session& s) {
    if (s.server_) return;
    uint32_t before = s.max_streams();
    s.remote_max_streams_ =
        nghttp2_session_get_remote_settings(session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    if (s.max_streams() != before) s.client_callbacks_->on_max_streams_changed(s.max_streams());
  }

  static int on_stream_close(nghttp2_session* session, int32_t id, uint32_t code, void* user) {
    if (Http2Stream* stream = find(session, id)) self(user).stream_closed(*stream, code);
    return 0;
  }

  static int on_frame_sent(nghttp2_session* session, const nghttp2_frame* frame, void* user) {
    Http2Session& s = self(user);
    const nghttp2_frame_hd& head = frame->hd;
    switch (head.type) {
      case NGHTTP2_DATA:
      case NGHTTP2_HEADERS: {
        if (head.type == NGHTTP2_DATA && !(head.flags & NGHTTP2_FLAG_END_STREAM)) return 0;
        Http2Stream* stream = find(session, head.stream_id);
        if (!stream) return 0;
        if (head.type == NGHTTP2_HEADERS) {
          stream->wire.wire_sent += head.length + kFrameHead;
          stream->wire.header_sent += head.length + kFrameHead;
        }
        if (!(head.flags & NGHTTP2_FLAG_END_STREAM)) return 0;
        stream->end_sent = true;
        if (stream->reset_deferred && !stream->remote_end) s.submit_reset(*stream, stream->deferred_code);
        return 0;
      }
      case NGHTTP2_RST_STREAM:
        s.stats_.tx_reset.add();
        if (s.server_) s.closed_.reset_by_us(static_cast<uint32_t>(head.stream_id));
        return 0;
      case NGHTTP2_GOAWAY:
        if (frame->goaway.error_code == NGHTTP2_NO_ERROR) return 0;
        // nghttp2 has found the peer's fault and said so.
        s.goaway_written_ = true;
        s.stats_.goaway_sent.add();
        s.fail(kUnknown,
               {reinterpret_cast<const char*>(frame->goaway.opaque_data), frame->goaway.opaque_data_len},
               frame->goaway.error_code);
        return 0;
      default:
        return 0;
    }
  }

  // ---- a stream's own data ----

  static ssize_t read_data(nghttp2_session*, int32_t, uint8_t*, size_t size, uint32_t* flags,
                           nghttp2_data_source* source, void* user) {
    auto& stream = *static_cast<Http2Stream*>(source->ptr);
    size_t queued = stream.queue.size();
    if ((queued == 0 && !stream.local_end) || (queued > 0 && self(user).output_above_) || stream.reset_sent) {
      stream.data_deferred = true;
      return NGHTTP2_ERR_DEFERRED;
    }
    *flags = NGHTTP2_DATA_FLAG_NO_COPY;
    if (queued > size) return static_cast<ssize_t>(size);
    if (!stream.local_end) return static_cast<ssize_t>(queued);
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (stream.trailers) {
      *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
      self(user).submit_headers(stream, *stream.trailers, NGHTTP2_FLAG_END_STREAM);
      stream.trailers.reset();
    }
    return static_cast<ssize_t>(queued);
  }

  static int send_data(nghttp2_session*, nghttp2_frame*, const uint8_t* head, size_t size,
                       nghttp2_data_source* source, void* user) {
    Http2Session& s = self(user);
    auto& stream = *static_cast<Http2Stream*>(source->ptr);
    s.outbound_.frame({reinterpret_cast<const char*>(head), kFrameHead}, false);
    s.outbound_.payload(stream.queue, size);
    s.count_outbound(false);
    s.limits_.data_sent();
    s.stats_.pending_send_bytes.sub(size);
    stream.wire.wire_sent += size + kFrameHead;
    if (stream.queue_above) stream.check_queue();
    if (s.outbound_.size() >= s.kWriteMax) s.write_output();
    return 0;
  }
};

const nghttp2_session_callbacks* http2_callbacks() {
  static const nghttp2_session_callbacks* const all = [] {
    nghttp2_session_callbacks* c;
    nghttp2_session_callbacks_new(&c);
    nghttp2_session_callbacks_set_on_begin_frame_callback(c, Http2Callbacks::on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(c, Http2Callbacks::on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback2(c, Http2Callbacks::on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback2(c, Http2Callbacks::on_invalid_header);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(c, Http2Callbacks::on_invalid_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, Http2Callbacks::on_data_chunk);
    nghttp2_session_callbacks_set_on_frame_recv_callback(c, Http2Callbacks::on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(c, Http2Callbacks::on_stream_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(c, Http2Callbacks::on_frame_sent);
    nghttp2_session_callbacks_set_send_data_callback(c, Http2Callbacks::send_data);
    return c;
  }();
  return all;
}

void Http2Session::submit_data(Http2Stream& stream) {
  if (stream.reset_sent) return;
  if (!stream.data_submitted) {
    stream.data_submitted = true;
    nghttp2_data_provider provider{{.ptr = &stream}, Http2Callbacks::read_data};
    nghttp2_submit_data(nghttp2_, NGHTTP2_FLAG_END_STREAM, stream.number, &provider);
  } else if (stream.data_deferred) {
    stream.data_deferred = false;
    nghttp2_session_resume_data(nghttp2_, stream.number);
  }
}

}  // namespace sluice::http
