#pragma once

#include <cstdint>
#include <string_view>

#include "core/buffer.h"
#include "http/codec.h"

namespace sluice::http {

class Http2Session;

// One stream of an HTTP/2 connection. Two lives: the user's (Stream's contract; over when `receiver` is nullptr) and
// nghttp2's (over when the stream is closed on the wire). The object goes back to the thread's free list when both are
// over, at the end of the outermost call into the connection: nothing on the stack sees it reused.
class Http2Stream final : public Stream {
 public:
  static Http2Stream* make(Http2Session& session, uint32_t buffer_limit);
  static void recycle(Http2Stream* stream);

  void send_headers(const HeaderMap& headers, bool end_stream) override;
  void send_informational(const HeaderMap& headers) override;
  void send_data(Buffer&& data, bool end_stream) override;
  void send_trailers(const HeaderMap& trailers) override;
  void reset(ResetReason reason) override;
  void pause_reading() override;
  void resume_reading() override;
  void set_buffer_limit(uint32_t bytes) override;
  bool above_write_high_watermark() const override;
  const Bytes& bytes() const override { return wire; }
  uint32_t id() const override { return number > 0 ? static_cast<uint32_t>(number) : 0; }
  Protocol protocol() const override { return Protocol::http2; }

  // The session's own, from here on.
  bool complete() const { return remote_end && local_end; }
  bool wants_above() const;
  void check_queue();  // compares the queue with the limit; tells the session of a change

  Http2Session* session = nullptr;
  StreamReceiver* receiver = nullptr;  // nullptr: not announced yet (server), or the user is done with it
  Http2Stream* previous = nullptr;
  Http2Stream* next = nullptr;
  Buffer queue;  // body not handed to the output yet
  HeaderMapPtr trailers;  // follow the queue
  std::string_view details;  // what was wrong with it
  Bytes wire;
  uint64_t unconsumed = 0;  // received while paused: what the peer's window gets back on resume
  uint32_t limit = 0;
  uint32_t paused = 0;
  uint32_t remote_code = 0;  // of the peer's RST_STREAM
  int32_t number = -1;
  uint32_t deferred_code = 0;  // of the RST_STREAM that waits for the end of our message
  bool announced = false;  // the user knows of it
  bool over = false;  // and is done with it
  bool headers_sent = false;  // by the user; the final ones
  bool data_submitted = false;  // nghttp2 has a source of data for it
  bool data_deferred = false;  // and waits for nghttp2_session_resume_data
  bool local_end = false;  // the user has sent its end
  bool end_sent = false;  // and it is in the output
  bool remote_end = false;  // the peer's end was received
  bool final_headers = false;  // client: received
  bool remote_reset = false;
  bool messaging_error = false;  // counted
  bool reset_sent = false;  // our RST_STREAM is queued, or was
  bool reset_deferred = false;
  bool queue_above = false;  // the queue rose above the limit
  bool told_above = false;  // and the receiver knows
  bool listed = false;  // in the session's list of streams to be told
};

}  // namespace sluice::http
