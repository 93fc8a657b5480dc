#pragma once

#include <memory>
#include <string>

#include "core/gauge_share.h"
#include "http/codec.h"
#include "net/connection.h"
#include "proxy/upstream/http_pool.h"
#include "proxy/upstream/intrusive_list.h"

namespace sluice::upstream {

// One pooled connection: a socket and a codec. Frees itself at the end of the turn in which it ends.
class HttpConnection final : public io::Deferred,
                             public ListNode<HttpConnection>,
                             private net::ConnectionHandler,
                             private http::Output,
                             private http::ClientCallbacks {
 public:
  explicit HttpConnection(HttpPool& pool);
  ~HttpConnection() override;

  void connect();
  // How many waiting requests it will take once it is connected.
  size_t capacity() const;
  bool can_take() const;
  bool going_away() const { return going_away_; }
  bool used() const { return streams_total_ > 0; }
  bool ended_by_server() const { return ended_by_server_; }
  uint64_t streams_total() const { return streams_total_; }
  size_t streams() const { return codec_ ? codec_->active_streams() : 0; }
  // The try gets its stream at the end of this turn: by then it is known whether the server has hung up meanwhile.
  void reserve(HttpTry& t);
  void unreserve() { reserved_ = nullptr; }
  http::Stream& new_stream(http::StreamReceiver& receiver);
  // A stream has ended, one way or the other. `unusable`: HTTP/1 in the middle of a message.
  void stream_ended(bool unusable);
  void drain();
  void close();

  net::Connection& socket() { return *socket_; }
  MonotonicTime connect_started() const { return started_; }
  MonotonicTime connect_done() const { return connected_; }
  http::Protocol protocol() const { return codec_->protocol(); }
  bool http2() const { return http2_; }  // by ALPN: not before it is connected

 private:
  enum class State : uint8_t { idle, failing, connecting, open, closed };

  // net::ConnectionHandler
  void on_connected(net::Connection&) override;
  void on_connect_failed(net::Connection&, int error) override;
  void on_data(net::Connection&, Buffer& data, bool end_stream) override;
  void on_above_high_watermark(ext::Connection&) override;
  void on_below_low_watermark(ext::Connection&) override;
  void on_sent(ext::Connection&, size_t bytes) override;
  void on_closed(ext::Connection&, const ext::CloseEvent& event) override;
  // http::Output
  void write(Buffer&& data) override;
  BlockPool& blocks() override;
  void pause_reading() override;
  void resume_reading() override;
  void receive_soon() override;
  // http::ClientCallbacks
  void on_goaway(bool graceful) override;
  void on_max_streams_changed(uint32_t streams) override;
  void on_ping_ack(uint64_t opaque) override;

  void count_protocol();
  static void on_timer(io::Timer& timer);
  static void on_keep_alive(io::Timer& timer);
  static void on_turn_end(io::TurnEnd& hook);
  void fail(ext::Upstream::Failure failure, std::string_view reason, bool local);
  void received(Buffer& data, bool end_stream);
  // Puts the connection where its state says it belongs: ready, full, or closed. The last thing a callback does.
  void settle();
  void shut(ext::CloseKind kind, bool local, http::ResetReason reason);
  void count_end(bool local, bool with_streams);
  void arm_timer();
  void arm_keep_alive();
  void ping();
  bool nothing_sent() const;  // HTTP/1: of the present request
  size_t max_streams_left() const;
  ClusterStats& stats();
  HttpPools& pools() { return pool_.pools(); }

  HttpPool& pool_;
  const std::shared_ptr<WorkerCluster> cluster_;  // its codec refers to the options and statistics
  net::ConnectionPtr socket_;
  std::unique_ptr<http::ClientConnection> codec_;
  HttpTry* reserved_ = nullptr;
  State state_ = State::idle;
  bool http2_ = false;
  bool receiving_ = false;
  bool draining_ = false;  // takes no more streams
  bool going_away_ = false;  // the peer's GOAWAY
  bool ended_by_server_ = false;  // its FIN or RST came
  bool receive_soon_ = false;
  bool close_wanted_ = false;  // HTTP/1: a message was broken off
  bool counted_ = false;
  bool above_ = false, above_told_ = false;
  bool ping_open_ = false;
  uint64_t streams_total_ = 0;
  uint64_t received_bytes_ = 0;
  uint64_t sent_before_ = 0;  // HTTP/1: bytes sent when the present request began
  stats::GaugeShare buffered_;  // of upstream_cx_tx_bytes_buffered
  // Of upstream_cx_rx_bytes_buffered, which Envoy writes when bytes arrive, not when they are taken.
  stats::GaugeShare last_read_;
  MonotonicTime started_{}, connected_{}, idle_since_{};
  std::string reason_;
  io::Timer timer_;  // connecting: connect_timeout; then whichever of idle and age comes first
  std::unique_ptr<io::Timer> keep_alive_;
  io::TurnEnd turn_end_;
};

}  // namespace sluice::upstream
