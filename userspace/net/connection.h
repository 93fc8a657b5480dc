#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/address.h"
#include "core/buffer.h"
#include "io/loop.h"
#include "sluice/ext/connection.h"
#include "sluice/ext/transport_socket.h"

namespace sluice::net {

class Connection;

// Who owns the meaning of a connection's bytes. All callbacks come from the loop, never from inside a call into the
// connection; each of them may write, close, or release the connection.
class ConnectionHandler : public ext::ConnectionObserver {
 public:
  // Only after connect(); with a transport socket when that is established too.
  virtual void on_connected(Connection&) {}
  virtual void on_connect_failed(
      Connection&, int /*error: errno; 0: the transport socket's handshake, or the peer ended it*/) {}
  // An accepted connection's transport socket is established. Before any on_data.
  virtual void on_secured(Connection&) {}
  // `data` holds everything received and not taken yet; what is left stays for the next call. end_stream: the peer's
  // FIN has come, nothing follows `data`; said again in a later call if the handler left bytes or paused reading.
  virtual void on_data(Connection&, Buffer& data, bool end_stream) = 0;

 protected:
  ~ConnectionHandler() = default;
};

// Lets go of a connection: an open one is reset; the object goes away by itself once the kernel has let go of it.
// A connection in close(flush) goes on sending until it is done (or makes no progress for an hour).
struct ConnectionRelease {
  void operator()(Connection* c) const;
};
using ConnectionPtr = std::unique_ptr<Connection, ConnectionRelease>;

// One stream socket: receives, sends, half-close, close; back-pressure; no protocol. See net/README.md for the table of
// what each end does to the other.
class Connection final : public ext::Connection, public io::Deferred {
 public:
  struct Options {
    uint64_t id = 0;
    // High watermark of unsent bytes; the low one is half of it. An upper bound: what the socket buffer serves as
    // well is not held here.
    uint32_t buffer_limit = 1 << 20;
  };

  // Takes over `fd`. For an accepted socket call start(), for a new one connect(). `transport` null: bytes go as they are.
  // With one, everything said to and by the handler, counts of bytes too, is of the application's bytes.
  static ConnectionPtr create(io::Loop& loop, int fd, const Options& options, ConnectionHandler& handler,
                              ext::TransportSocketPtr transport = nullptr);

  // What the transport socket needs lives as long as the connection, which may outlive whoever let go of it.
  void keep(std::shared_ptr<const void> what) {
    if (tls_) tls_->keeps = std::move(what);
  }

  void start(const Address& local, const Address& remote);
  void connect(const Address& to);
  // Bytes that a listener filter has read already; delivered with the first receive. Before start().
  void unread(Buffer&& data, bool end_stream);
  void set_handler(ConnectionHandler& handler) { handler_ = &handler; }
  // Delivers what was left in the receive buffer once more, at the end of this turn.
  void redeliver();

  // ext::Connection
  uint64_t id() const override { return options_.id; }
  // Asked of the kernel when first wanted: most connections end without anybody having asked.
  const Address& local_address() const override;
  const Address& remote_address() const override { return remote_; }
  void write(Buffer&& data, bool end_stream) override;
  void pause_reading() override;
  void resume_reading() override;
  void close(ext::CloseKind kind, std::string_view details = {}) override;
  void set_close_delay(Duration delay) override;
  bool open() const override { return state_ == State::open; }
  size_t unsent() const override { return (tls_ ? tls_->in_flight : sending_.size()) + queued_.size(); }
  bool above_high_watermark() const override { return above_high_; }
  bool secure() const override { return tls_ && tls_->socket->secure(); }
  ext::TlsInfoPtr tls_info() const override { return tls_ ? tls_->socket->tls_info() : nullptr; }
  std::string transport_failure() const override { return tls_ ? tls_->socket->failure() : std::string(); }
  const ext::TransportSocket* transport() const { return tls_ ? tls_->socket.get() : nullptr; }

  const std::string& close_details() const { return close_details_; }
  uint64_t bytes_received() const { return bytes_received_; }
  uint64_t bytes_sent() const { return bytes_sent_; }
  bool connected() const { return state_ != State::idle && state_ != State::connecting; }
  bool read_ended() const { return read_ended_; }
  io::Loop& loop() { return loop_; }
  int fd() const { return fd_; }

 private:
  friend struct ConnectionRelease;
  enum class State : uint8_t {
    idle,  // neither started nor connecting
    connecting,
    open,
    flushing,  // close(flush): sends what is queued, then FIN; what still comes in is dropped
    closing,  // waits for operations in flight, then closes the descriptor
    closed,
  };

  struct KernelSends;
  struct KernelSendsDelete {
    void operator()(KernelSends* k) const;
  };
  // What a transport socket needs beside itself.
  struct Secured {
    Secured(Connection& c, ext::TransportSocketPtr s) : socket(std::move(s)), handshake(&handshake_due, &c) {}
    std::shared_ptr<const void> keeps;  // before the socket: goes after it
    ext::TransportSocketPtr socket;
    Buffer wire;  // received, not taken by the socket yet
    Buffer out;  // what the socket itself says
    size_t in_flight = 0;  // the application's bytes that are in sending_
    bool told = false;  // the handler knows that it is established
    bool ended = false;  // the peer will say nothing more
    bool end_said = false;
    bool failed = false;
    bool kernel_asked = false;  // whether it would write the records
    io::TurnEnd handshake;
    std::unique_ptr<KernelSends, KernelSendsDelete> kernel;  // null: it does not
  };

  Connection(io::Loop& loop, int fd, const Options& options, ConnectionHandler& handler,
             ext::TransportSocketPtr transport);
  ~Connection() override;

  static void recv_done(io::Op& op, io::Completion& c);
  static void send_done(io::Op& op, io::Completion& c);
  static void hangup_seen(io::Op& op, io::Completion& c);
  static void turn_end(io::TurnEnd& hook);
  static void flush_timeout(io::Timer& timer);
  static void handshake_due(io::TurnEnd& hook);
  // Has the peer said its last? Its FIN, or what a transport socket takes for it.
  bool peer_ended() const { return tls_ ? tls_->ended : read_ended_; }
  bool handshaking() const { return tls_ && !tls_->told; }
  void wire_received();
  void run_transport();
  void transport_failed();
  bool fill_sending();
  bool start_kernel_tls();
  bool fill_for_kernel();
  bool keys_are_fresh();
  bool renew_kernel_keys();
  bool kernel_record(uint8_t type, std::string_view content);
  bool kernel_waits(int error);
  bool kernel_writable(const io::Completion& c);
  void kernel_took(size_t n);
  bool kernel_drained();
  static void drain_due(io::Timer& timer);
  void stop_kernel_sends();
  void arm_recv();
  void watch_hangup();
  bool in_flight() const;
  void flush();
  void deliver(bool end_stream);
  void sent(size_t n);
  void check_both_ended();
  void fail(int error);
  void finish(ext::CloseCause cause, int error, bool reset);
  void settle();  // closes the descriptor once nothing is in flight; frees a released connection
  void release();
  void check_watermarks();

  io::Loop& loop_;
  ConnectionHandler* handler_;
  Options options_;
  int fd_;
  State state_ = State::idle;
  bool reset_on_close_ = false;
  bool client_ = false;  // connect() was called
  bool released_ = false;
  bool read_ended_ = false;  // FIN received
  bool end_delivered_ = false;
  bool write_ended_ = false;  // write(end_stream) was called
  bool fin_sent_ = false;
  bool above_high_ = false;
  bool bulk_ = false;
  bool redeliver_ = false;
  bool notify_closed_ = false;  // on_closed is due at the end of the turn
  uint8_t small_in_a_row_ = 0;
  uint16_t paused_ = 0;
  ext::CloseEvent close_event_;
  mutable Address local_;
  Address remote_;
  std::unique_ptr<Secured> tls_;  // null: no transport socket
  Buffer received_, queued_, sending_;
  uint64_t bytes_received_ = 0, bytes_sent_ = 0;
  std::string close_details_;
  io::Op recv_op_, send_op_;  // send_op_ also carries connect
  io::TurnEnd turn_end_;
  std::array<iovec, 4> iov_;
  std::unique_ptr<iovec[]> more_iov_;
  std::unique_ptr<io::Timer> flush_timer_;
  Duration linger_, flush_patience_;
  // A paused connection has no receive in flight, so a reset would go unseen; armed at the first pause, then kept.
  std::unique_ptr<io::Op> hangup_op_;
};

}  // namespace sluice::net
