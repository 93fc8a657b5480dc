#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/buffer.h"
#include "core/gauge_share.h"
#include "extensions/filters/network/http_connection_manager/runtime.h"
#include "http/codec.h"
#include "io/loop.h"
#include "sluice/ext/network_filter.h"

namespace sluice::extensions::http_connection_manager {

class Stream;

// One downstream connection: finds out its protocol, joins the codec to the socket, owns the streams, ends the connection.
//
// Streams that are over wait in a list until the end of the turn; there their filters hear on_end, their record is
// written and the objects go back to the worker's free list. One timer serves the connection and all its streams: it is
// moved forward only when something is due earlier, and looks at everything when it fires.
class Connection final : public ext::NetworkFilter, private http::Output, private http::ServerCallbacks {
 public:
  explicit Connection(std::shared_ptr<Runtime> runtime);
  ~Connection() override;

  // ext::NetworkFilter
  void init(ext::NetworkFilterContext& context) override { context_ = &context; }
  ext::FilterStatus on_new_connection() override;
  ext::FilterStatus on_data(Buffer& data, bool end_stream) override;
  void on_above_high_watermark(ext::Connection&) override;
  void on_below_low_watermark(ext::Connection&) override;
  void on_sent(ext::Connection&, size_t bytes) override;
  void on_closed(ext::Connection&, const ext::CloseEvent&) override;
  void on_drain() override;
  void on_end() override;

  // ---- for streams ----
  Runtime& runtime() { return *runtime_; }
  const Settings& settings() const { return *runtime_->settings; }
  Stats& stats() { return runtime_->stats; }
  ext::NetworkFilterContext& network() { return *context_; }
  io::Loop& loop() { return context_->loop(); }
  bool http1() const { return !http2_; }
  // x-forwarded-client-cert of this client; "": it presented no certificate, or nobody wants to know.
  std::string_view client_certificate();
  // Written to the socket's queue so far: what a call of the codec has put there is the difference.
  uint64_t bytes_written() const { return bytes_written_; }
  void stream_over(Stream& stream, bool premature);
  // The listener drains or the connection is old: no more requests after those under way.
  void start_drain();
  void notice_drain();
  bool draining() const { return drain_ != Drain::none; }
  // After this response (HTTP/1).
  void close_soon() { drain_ = Drain::closing; }
  bool soft_drain() const { return soft_drain_; }
  void restart_soon();  // Stream::restart_now at the end of the turn
  void need_timer(MonotonicTime at);
  void protocol_error(std::string_view details);

 private:
  enum class Drain : uint8_t { none, draining, closing };

  // http::Output, http::ServerCallbacks
  void write(Buffer&& data) override;
  BlockPool& blocks() override { return loop().blocks(); }
  void pause_reading() override;
  void resume_reading() override;
  void receive_soon() override;
  http::StreamReceiver& on_new_stream(http::Stream& stream) override;
  void on_ping_ack(uint64_t opaque) override;

  bool make_codec(const Buffer& data, bool end_stream);  // false: more bytes are needed
  void receive(Buffer& data);
  void peer_ended();
  void settle();  // closes where nothing more can come
  void close(ext::CloseKind kind, std::string_view details);
  void reap();
  void check_premature_resets();
  static void turn_end(io::TurnEnd& hook);
  static void timer_fired(io::Timer& timer);
  void on_timer();

  std::shared_ptr<Runtime> runtime_;
  ext::NetworkFilterContext* context_ = nullptr;
  std::unique_ptr<http::ServerConnection> codec_;
  std::unique_ptr<io::Timer> timer_;
  std::string client_certificate_;
  io::TurnEnd soon_;
  // Doubly linked; those that are over are in ended_.
  Stream* streams_ = nullptr;
  Stream* ended_ = nullptr;
  Stream** ended_tail_ = &ended_;
  bool http2_ = false;
  bool started_ = false, in_receive_ = false, closing_ = false, remote_closed_ = false, closed_ = false;
  bool secure_ = false, client_certificate_known_ = false;
  bool soft_drain_ = false, had_active_ = false, receive_asked_ = false, reaping_ = false;
  Drain drain_ = Drain::none;
  bool restarts_ = false,
       notice_open_ = false;  // the latter: the PING behind a GOAWAY notice is not answered
  uint64_t requests_ = 0, ended_requests_ = 0, premature_resets_ = 0;
  uint64_t bytes_written_ = 0, unsent_ = 0;
  // Of downstream_cx_rx_bytes_buffered, which Envoy writes when bytes arrive, not when they are taken.
  stats::GaugeShare last_read_;
  uint64_t ping_sent_ = 0, ping_acked_ = 0;
  MonotonicTime opened_{}, idle_since_{}, drain_at_{}, last_sent_{}, next_ping_{}, ping_deadline_{};
};

}  // namespace sluice::extensions::http_connection_manager
