#include "http/http2_stream.h"

#include <nghttp2/nghttp2.h>

#include <cassert>
#include <memory>
#include <vector>

#include "http/http2_session.h"

namespace sluice::http {
namespace {

constexpr size_t kSmallData = 2048;
constexpr size_t kKeepStreams = 1024;  // free streams a thread keeps
struct FreeStreams {
  Http2Stream* first = nullptr;
  size_t count = 0;
  ~FreeStreams() {
    while (Http2Stream* s = first) {
      first = s->next;
      delete s;
    }
  }
};
thread_local FreeStreams free_streams;

uint32_t code_of(ResetReason reason, bool server, bool complete) {
  switch (reason) {
    case ResetReason::local_refused_stream:
      return NGHTTP2_REFUSED_STREAM;
    case ResetReason::connect_error:
      return NGHTTP2_CONNECT_ERROR;
    case ResetReason::protocol_error:
      return NGHTTP2_PROTOCOL_ERROR;
    case ResetReason::overload:
      return NGHTTP2_ENHANCE_YOUR_CALM;
    case ResetReason::no_error:
      return NGHTTP2_NO_ERROR;
    default:
      // A server that has answered needs no more of the request (RFC 9113 section 8.1); one that has not, failed.
      if (!server) return NGHTTP2_CANCEL;
      return complete ? NGHTTP2_NO_ERROR : NGHTTP2_INTERNAL_ERROR;
  }
}

}  // namespace

Http2Stream* Http2Stream::make(Http2Session& session, uint32_t buffer_limit) {
  Http2Stream* s = free_streams.first;
  if (s) {
    free_streams.first = s->next;
    --free_streams.count;
    s->next = nullptr;
  } else {
    s = new Http2Stream;
  }
  s->session = &session;
  s->limit = buffer_limit;
  return s;
}

void Http2Stream::recycle(Http2Stream* s) {
  if (free_streams.count == kKeepStreams) {
    delete s;
    return;
  }
  // In place, so that the queue's own memory goes too.
  std::destroy_at(s);
  std::construct_at(s);
  s->over = true;  // who uses it now trips an assertion
  s->next = free_streams.first;
  free_streams.first = s;
  ++free_streams.count;
}

bool Http2Stream::wants_above() const {
  return queue_above || session->output_above_;
}

bool Http2Stream::above_write_high_watermark() const {
  assert(!over);
  return wants_above();
}

void Http2Stream::check_queue() {
  bool above = queue_above ? queue.size() > limit / 2 : limit > 0 && queue.size() > limit;
  if (limit == 0) above = false;
  if (above == queue_above) return;
  queue_above = above;
  if (wants_above() != told_above) session->list_for_notice(*this);
}

void Http2Stream::set_buffer_limit(uint32_t bytes) {
  assert(!over);
  Http2Session::Call call(*session);
  limit = bytes;
  check_queue();
}

void Http2Stream::send_headers(const HeaderMap& headers, bool end_stream) {
  assert(!over && !headers_sent && !local_end);
  Http2Session& s = *session;
  Http2Session::Call call(s);
  headers_sent = true;
  local_end = end_stream;
  if (complete()) s.detach(*this);
  s.submit_headers(*this, headers, end_stream ? NGHTTP2_FLAG_END_STREAM : NGHTTP2_FLAG_NONE);
  s.flush();
}

void Http2Stream::send_informational(const HeaderMap& headers) {
  assert(!over && !headers_sent);
  Http2Session::Call call(*session);
  session->submit_headers(*this, headers, NGHTTP2_FLAG_NONE);
  session->flush();
}

void Http2Stream::send_data(Buffer&& data, bool end_stream) {
  assert(!over && headers_sent && !local_end);
  Http2Session& s = *session;
  Http2Session::Call call(s);
  if (s.failed_ || s.lost_) return data.clear();
  if (data.empty() && !end_stream) return;
  s.stats_.pending_send_bytes.add(data.size());
  if (!queue.empty() && data.size() <= kSmallData) {
    // The queue stands still. A small piece of a large receive block would keep the whole block for as long.
    for (size_t i = 0; i < data.chunks(); ++i) queue.append(s.output_.blocks(), data.chunk(i).view());
    data.clear();
  } else {
    queue.append(std::move(data));
  }
  local_end = end_stream;
  if (complete()) s.detach(*this);
  s.submit_data(*this);
  s.flush();
  check_queue();
}

void Http2Stream::send_trailers(const HeaderMap& fields) {
  assert(!over && headers_sent && !local_end);
  Http2Session& s = *session;
  Http2Session::Call call(s);
  if (s.failed_ || s.lost_) return;
  local_end = true;
  if (complete()) s.detach(*this);
  if (queue.empty() && !fields.empty()) {
    s.submit_headers(*this, fields, NGHTTP2_FLAG_END_STREAM);
  } else {
    if (!fields.empty()) trailers = copy_headers(fields);  // when the queue has gone
    s.submit_data(*this);
  }
  s.flush();
}

void Http2Stream::reset(ResetReason reason) {
  assert(!over);
  Http2Session& s = *session;
  Http2Session::Call call(s);
  s.detach(*this);
  if (s.failed_ || s.lost_ || reset_sent) return;
  if (number < 0) return s.bury(*this);
  uint32_t code = code_of(reason, s.server_, local_end);
  if (local_end && !end_sent && s.server_ && reason != ResetReason::overload) {
    // nghttp2 sends resets before data: the rest of our message goes first.
    reset_deferred = true;
    deferred_code = code;
  } else {
    s.drop_queue(*this);
    s.submit_reset(*this, code);
  }
  s.flush();
}

void Http2Stream::pause_reading() {
  assert(!over);
  ++paused;
}

void Http2Stream::resume_reading() {
  assert(!over && paused > 0);
  if (--paused > 0 || unconsumed == 0) return;
  Http2Session::Call call(*session);
  if (session->failed_ || session->lost_) return;
  nghttp2_session_consume_stream(session->nghttp2_, number, unconsumed);
  unconsumed = 0;
  session->flush();
}

}  // namespace sluice::http
