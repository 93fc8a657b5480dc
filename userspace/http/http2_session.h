#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "http/codec.h"
#include "http/http2.h"
#include "http/http2_closed.h"
#include "http/http2_frame_scan.h"
#include "http/http2_index.h"
#include "http/http2_limits.h"
#include "http/http2_outbound.h"
#include "http/http2_stream.h"

struct nghttp2_session;

namespace sluice::http {

struct Http2Callbacks;  // nghttp2's, in http2_callbacks.cc

// What server and client connections have in common: one nghttp2 session, its streams, its output.
//
// Bytes go in by receive(); nghttp2's callbacks gather a header block or the data of a frame and hand it on when it is
// whole. What is submitted to nghttp2 is written before the outermost call returns. Notices that may not come from
// inside a call on a stream (watermarks, a failure found while sending) wait for the next receive(), which is asked for
// with Output::receive_soon().
class Http2Session {
 public:
  Http2Session(bool server, const Http2Config& config, Http2Stats& stats, Output& output,
               ServerCallbacks* server_callbacks, ClientCallbacks* client_callbacks);
  ~Http2Session();
  Http2Session(const Http2Session&) = delete;
  Http2Session& operator=(const Http2Session&) = delete;

  std::optional<ProtocolError> receive(Buffer& data);
  void receive_end();
  void connection_lost(ResetReason reason, std::string_view details);
  void set_output_above(bool above);
  size_t active_streams() const { return active_; }
  void ping(uint64_t opaque);
  void shutdown_notice();
  void goaway();
  bool goaway_sent() const { return goaway_sent_; }
  bool goaway_received() const { return goaway_received_; }
  bool failed() const { return failed_; }
  bool can_open_stream() const;
  bool ids_left() const;
  uint32_t max_streams() const;
  Stream& new_stream(StreamReceiver& receiver);

 private:
  static constexpr size_t kWriteMax = 128 * 1024;  // handed on at once: so the output can say stop in between

  friend struct Http2Callbacks;
  friend class Http2Stream;

  // Marks a call into the connection; the outermost one cleans up on leaving.
  class Call {
   public:
    explicit Call(Http2Session& session) : session_(session) { ++session_.depth_; }
    ~Call() {
      if (--session_.depth_ == 0) session_.leave();
    }
    Call(const Call&) = delete;
    Call& operator=(const Call&) = delete;

   private:
    Http2Session& session_;
  };
  void leave();

  void start();  // SETTINGS and the connection's window: leave with the first thing sent
  void flush();  // hands what nghttp2 has to the output; does nothing inside nghttp2
  void write_output();
  void count_outbound(bool control);
  void check_outbound_limits();
  void fail(std::string_view details, std::string_view message, uint32_t code);
  void read(Buffer& data);
  bool feed(const Chunk& input, size_t from, size_t to);
  bool is_open(uint32_t id) const;
  bool is_closed(uint32_t id) const;  // server: it was open, or left out
  void data_on_closed_stream(uint32_t id);
  void reset_streams(ResetReason reason, std::string_view details);
  void write_goaway();
  void notify();  // watermarks
  void list_for_notice(Http2Stream& stream);

  // The peer's messages.
  void headers_complete(Http2Stream& stream, bool end_stream, bool trailers);
  void data_complete(bool end_stream);
  int header(Http2Stream& stream, std::string_view name, std::string_view value);
  void begin_block(Http2Stream& stream);
  void stream_closed(Http2Stream& stream, uint32_t code);
  void announce(Http2Stream& stream);
  void detach(Http2Stream& stream);  // the user is done with it
  void link(Http2Stream& stream);
  void bury(Http2Stream& stream);  // nghttp2 is done with it, or never knew it

  // Streams' own sends.
  void submit_headers(Http2Stream& stream, const HeaderMap& headers, uint8_t flags);
  void submit_data(Http2Stream& stream);
  void submit_reset(Http2Stream& stream, uint32_t code);
  void drop_queue(Http2Stream& stream);

  const bool server_;
  const Http2Config& config_;
  Http2Stats& stats_;
  Output& output_;
  ServerCallbacks* const server_callbacks_;
  ClientCallbacks* const client_callbacks_;
  nghttp2_session* nghttp2_ = nullptr;
  Http2Outbound outbound_;
  Http2Limits limits_;
  Http2Index index_;
  Http2ClosedStreams closed_;  // server
  Http2FrameScan scan_;  // server

  Http2Stream* streams_ = nullptr;  // open on the wire, or not submitted yet
  Http2Stream* graveyard_ = nullptr;  // recycled when the outermost call leaves
  size_t active_ = 0;

  // The header block that is being received; blocks do not interleave.
  Http2Stream* block_stream_ = nullptr;
  HeaderMapPtr block_;
  std::string cookies_;
  uint32_t block_bytes_ = 0, block_cookies_ = 0;
  // The DATA frame that is being received.
  Http2Stream* data_stream_ = nullptr;
  Buffer data_;
  const Chunk* input_ = nullptr;  // what nghttp2 is reading from

  std::vector<Http2Stream*> to_notify_;
  std::optional<ProtocolError> error_;
  uint32_t error_code_ = 0;
  uint32_t remote_max_streams_;
  uint32_t frames_above_ = 0, control_frames_above_ = 0;  // sent since the output rose above its limit
  int depth_ = 0;
  bool receiving_ = false;  // inside nghttp2_session_mem_recv
  bool in_receive_ = false;
  bool flushing_ = false;
  bool failed_ = false;
  bool failure_told_ = false;
  bool lost_ = false;
  bool goaway_written_ = false;  // one with an error: nothing follows
  bool goaway_sent_ = false;
  bool goaway_received_ = false;
  bool output_above_ = false;
  bool soon_asked_ = false;
};

}  // namespace sluice::http
