#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/buffer.h"
#include "http/header_map.h"

// What HTTP/1 and HTTP/2 have in common for those who use them. Codecs are sans-IO: bytes go in by receive(), messages
// come out by callbacks; what is to be sent leaves by Output::write. No codec sees a socket, a clock or a thread.
namespace sluice::http {

enum class Protocol : uint8_t { http10, http11, http2 };
std::string_view to_string(Protocol protocol);  // "HTTP/1.0", "HTTP/1.1", "HTTP/2"

// Why a stream ended before its time. Envoy's StreamResetReason, whose texts appear in logs and bodies.
enum class ResetReason : uint8_t {
  local_reset,  // we gave up ("local reset")
  local_refused_stream,  // before anything was sent
  remote_reset,  // the peer's RST_STREAM, or it closed an HTTP/1 connection in the middle of a message
  remote_refused_stream,  // RST_STREAM(REFUSED_STREAM), or beyond the last stream of a GOAWAY: safe to send again
  connection_failure,  // "remote connection failure" / "local connection failure" / "connection timeout"
  connection_timeout,
  connection_termination,  // the connection ended under an open stream
  overflow,  // a limit of ours
  protocol_error,  // the peer broke the protocol
  connect_error,  // HTTP/2 CONNECT_ERROR
  overload,  // we are overloaded
  no_error,  // RST_STREAM(NO_ERROR) after a whole response: the rest of the request is not wanted
};
std::string_view to_string(
    ResetReason reason);  // Envoy's words: "remote reset", "connection termination", ...

class Stream;

// Takes the message that arrives on a stream. Callbacks come from receive() of the connection, and on_reset and the
// watermarks also from other streams' calls: never from inside a call on this stream's own Stream object.
class StreamReceiver {
 public:
  // The message head. Requests have :method, :path (not for CONNECT without :protocol), :authority and :scheme where the
  // peer gave them; responses have :status. An HTTP/1 Host is :authority here, an upgrade is extended CONNECT's shape only
  // where that says so (HTTP/1: :method GET with upgrade and connection fields left in place).
  virtual void on_headers(HeaderMapPtr headers, bool end_stream) = 0;
  // Client side: a 1xx response other than 101. Any number, before on_headers.
  virtual void on_informational(HeaderMapPtr) {}
  // Takes all of `data` (what is left in it is dropped). After a pause_reading() some more may come.
  virtual void on_data(Buffer& data, bool end_stream) = 0;
  virtual void on_trailers(HeaderMapPtr trailers) = 0;  // ends the message
  // HTTP/1 server side: what arrives cannot be made a request of (or the rest of it cannot). Answer with `status` and an
  // empty body on this stream; the codec takes no more from the connection and closes it behind the answer. No on_*
  // but the watermarks follows. `details`: %RESPONSE_CODE_DETAILS%, static ("http1.codec_error").
  virtual void on_bad_message(Stream&, uint16_t /*status*/, std::string_view /*details*/) {}
  // The stream is over before its end, by the peer or the connection; not for our own reset(). Exactly once, then nothing
  // more; the Stream must not be used again. `details`: Envoy's words for %RESPONSE_CODE_DETAILS%, static, or "".
  virtual void on_reset(ResetReason reason, std::string_view details) = 0;
  // Bytes queued for this stream rose above the limit (Stream::set_buffer_limit), or the connection's output did; and
  // fell below half of it again. In pairs; a stream made while the connection is above is told at once, after on_headers
  // (server) or after new_stream (client).
  virtual void on_above_write_high_watermark() {}
  virtual void on_below_write_low_watermark() {}

 protected:
  ~StreamReceiver() = default;
};

// The sending half of one message exchange and the control of both. Owned by the codec's connection. It is gone when
// (a) the message was received to its end and the own one was sent to its end, or (b) on_reset was called, or (c)
// reset() was called: after that the reference must not be used. The last of the two ends of (a) is in the hands of
// the user: either a send_* with end_stream, or the last on_* callback, returning.
class Stream {
 public:
  // Bytes on the wire with their framing, and headers alone (%UPSTREAM_WIRE_BYTES_SENT% and the like).
  struct Bytes {
    uint64_t wire_sent = 0, wire_received = 0, header_sent = 0, header_received = 0;
  };

  // The head, once. Requests: :method, :authority, :path, :scheme; responses: :status. The map may go after the call.
  virtual void send_headers(const HeaderMap& headers, bool end_stream) = 0;
  virtual void send_informational(const HeaderMap& headers) = 0;  // 1xx, server only, before send_headers
  virtual void send_data(Buffer&& data, bool end_stream) = 0;  // empties data
  virtual void send_trailers(
      const HeaderMap& trailers) = 0;  // dropped where the framing has no place for them
  // HTTP/2: RST_STREAM. HTTP/1: the connection cannot be used any more and is closed by its owner (Callbacks::on_close).
  virtual void reset(ResetReason reason) = 0;
  // Back-pressure: stops or resumes what arrives on this stream (HTTP/2: its window; HTTP/1: the connection). Counted.
  virtual void pause_reading() = 0;
  virtual void resume_reading() = 0;
  virtual void set_buffer_limit(uint32_t bytes) = 0;  // 0: none
  virtual bool above_write_high_watermark() const = 0;
  virtual const Bytes& bytes() const = 0;
  virtual uint32_t id() const = 0;  // HTTP/2 stream identifier; HTTP/1: 0
  virtual Protocol protocol() const = 0;

 protected:
  ~Stream() = default;
};

// A codec's way out.
class Output {
 public:
  // Queue for the socket; in order. What a turn of the loop produces leaves in one send, so small writes are fine.
  virtual void write(Buffer&& data) = 0;
  virtual BlockPool& blocks() = 0;
  // HTTP/1: stop or go on reading from the socket (a stream asked for it, or pipelined requests wait). Counted.
  virtual void pause_reading() = 0;
  virtual void resume_reading() = 0;
  // The codec holds bytes that it can go on with now: call receive() once more, with an empty buffer if nothing else has
  // come, at the end of this turn of the loop.
  virtual void receive_soon() = 0;

 protected:
  ~Output() = default;
};

// What a broken peer did. `details`: Envoy's %RESPONSE_CODE_DETAILS% ("http1.codec_error", "http2.too_many_headers").
struct ProtocolError {
  std::string_view details;  // static
  std::string message;  // for the log
};

class ServerCallbacks {
 public:
  // A request begins: its receiver, which gets on_headers next; HTTP/2: or on_reset, where the head itself is broken (too
  // many headers, no HTTP message). The stream is open for sending from then on.
  virtual StreamReceiver& on_new_stream(Stream& stream) = 0;
  // HTTP/2: the peer's GOAWAY.
  virtual void on_goaway(bool /*graceful: NO_ERROR*/) {}
  virtual void on_ping_ack(uint64_t /*opaque*/) {}

 protected:
  ~ServerCallbacks() = default;
};

class ClientCallbacks {
 public:
  virtual void on_goaway(bool graceful) = 0;  // no new streams; those above the last stream id are refused
  // HTTP/2: the peer's SETTINGS_MAX_CONCURRENT_STREAMS changed what new_stream allows.
  virtual void on_max_streams_changed(uint32_t /*streams*/) {}
  virtual void on_ping_ack(uint64_t /*opaque*/) {}

 protected:
  ~ClientCallbacks() = default;
};

class Connection {
 public:
  virtual ~Connection() = default;
  virtual Protocol protocol() const = 0;
  // Bytes from the peer; takes them all (what it may not go on with yet it keeps: bounded, since it has paused reading).
  // Error: the connection is broken; what is to be said (a GOAWAY) is written: flush and close. Open streams have had
  // their on_reset. Streams may be reset, answered and made inside the call; the connection may not be destroyed there.
  virtual std::optional<ProtocolError> receive(Buffer& data) = 0;
  virtual std::optional<ProtocolError> receive_end() = 0;  // the peer's FIN: ends a response without a length
  // The connection is gone: every open stream gets on_reset with this reason.
  virtual void connection_lost(ResetReason reason, std::string_view details) = 0;
  // The socket's own back-pressure, handed to every stream.
  virtual void on_above_write_high_watermark() = 0;
  virtual void on_below_write_low_watermark() = 0;
  virtual size_t active_streams() const = 0;
  virtual void ping(uint64_t /*opaque*/) {}  // HTTP/2: keep-alive; on_ping_ack answers
};

class ServerConnection : public Connection {
 public:
  // First step of a graceful end (HTTP/2: GOAWAY with the highest id; HTTP/1: nothing yet).
  virtual void shutdown_notice() = 0;
  // No more requests (HTTP/2: GOAWAY with the last id; HTTP/1: the response under way says "connection: close").
  virtual void goaway() = 0;
  // True once nothing more can be exchanged: the owner flushes and closes. HTTP/2: after a GOAWAY of either side, with
  // the last stream gone; ask after receive() and after the last send.
  virtual bool finished() const = 0;
};

class ClientConnection : public Connection {
 public:
  // A new exchange; only while can_open_stream().
  virtual Stream& new_stream(StreamReceiver& receiver) = 0;
  virtual bool can_open_stream() const = 0;
  virtual uint32_t max_streams() const = 0;  // that may be open at once
  virtual bool finished() const = 0;  // usable for nothing more once the open streams are done
};

}  // namespace sluice::http
