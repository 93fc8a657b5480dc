#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/address.h"
#include "core/buffer.h"
#include "core/time.h"
#include "sluice/ext/stream_info.h"

namespace sluice::ext {

enum class CloseKind : uint8_t {
  flush,     // send what is queued, then FIN and close
  no_flush,  // FIN and close; what is queued is dropped
  reset,     // RST and close
};

enum class CloseCause : uint8_t {
  local,         // we closed
  remote_reset,  // the peer sent RST
  remote_close,  // the peer ended both directions (FIN seen, our writes fail)
  timeout,       // the kernel gave up (ETIMEDOUT)
  error,         // anything else: see `error`
  transport,     // the transport socket gave up (TLS): see Connection::transport_failure()
};

struct CloseEvent {
  CloseCause cause = CloseCause::local;
  int error = 0;  // errno for error, timeout
  bool lingered =
      false;  // close(flush): everything was sent, but the peer did not close within the close delay
};

class Connection;

// Who is told of a connection's life. Each callback may close or write to the connection.
class ConnectionObserver {
 public:
  // What is queued rose above the buffer limit, or fell below half of it again. Counts bytes not yet sent.
  virtual void on_above_high_watermark(Connection&) {}
  virtual void on_below_low_watermark(Connection&) {}
  // Bytes left for the peer (for idle time-outs and byte counts).
  virtual void on_sent(Connection&, size_t /*bytes*/) {}
  // The connection is over. Exactly once, on every path; the object lives until the end of the loop turn.
  virtual void on_closed(Connection&, const CloseEvent&) {}

 protected:
  ~ConnectionObserver() = default;
};

// One TCP (or Unix) connection as filters see it.
class Connection {
 public:
  virtual ~Connection() = default;
  virtual uint64_t id() const = 0;
  virtual const Address& local_address() const = 0;
  virtual const Address& remote_address() const = 0;
  // Queues; everything queued within a loop turn leaves in one send. end_stream: FIN after it. No effect once closing.
  virtual void write(Buffer&& data, bool end_stream) = 0;
  // Stops or resumes asking the peer for bytes. Counted: as many resumes as pauses.
  virtual void pause_reading() = 0;
  virtual void resume_reading() = 0;
  // `details`: for %CONNECTION_TERMINATION_DETAILS%; kept if nothing is there yet.
  virtual void close(CloseKind kind, std::string_view details = {}) = 0;
  // How long close(flush) waits for the peer: for it to take more of what is queued, and then for its FIN, so that no
  // RST overtakes what it has not read yet. 0: not for its FIN, and for an hour otherwise.
  virtual void set_close_delay(Duration) {}
  virtual bool open() const = 0;  // neither closed nor closing
  virtual size_t unsent() const = 0;
  virtual bool above_high_watermark() const = 0;
  // TLS, or on the way to it.
  virtual bool secure() const { return false; }
  // After a handshake; null: not TLS.
  virtual TlsInfoPtr tls_info() const { return nullptr; }
  // %DOWNSTREAM_TRANSPORT_FAILURE_REASON%; "": none.
  virtual std::string transport_failure() const { return {}; }
};

}  // namespace sluice::ext
