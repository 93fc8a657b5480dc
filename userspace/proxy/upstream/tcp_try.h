#pragma once

#include <memory>

#include "http/codec.h"
#include "proxy/upstream/upstream_connection.h"
#include "sluice/ext/http_upstream.h"

namespace sluice::upstream {

// The try of a CONNECT that ends here (connect_config): a TCP connection of its own instead of a stream of a pool. Bodies
// are the bytes, and 200 is the answer to a connection that stands. RFC 9110 section 9.3.6.
class TcpTry final : public ext::HttpTry, private http::Stream, private ext::Upstream::Callbacks {
 public:
  // Chooses the host; connecting begins with it.
  TcpTry(WorkerCluster& cluster, const ext::Upstream::Origin& origin, http::StreamReceiver& receiver,
         ext::HttpTry::Callbacks& callbacks);
  ~TcpTry() override;

  // ext::HttpTry
  void start() override {}
  const ext::UpstreamHost* host() const override { return host_.get(); }
  ext::Connection& connection() override { return upstream_->connection(); }
  MonotonicTime connect_started() const override { return started_; }
  MonotonicTime connect_done() const override { return done_; }
  uint64_t connection_streams() const override { return 1; }
  void report(ext::TryResult) override {}  // the connection has told what it found out
  bool may_be_unseen() const override { return false; }  // nobody may send a tunnel's bytes twice
  void report_status(uint16_t) override {}
  void report_immediate_health_check_fail() override {}

 private:
  // http::Stream, towards the router
  void send_headers(const http::HeaderMap& headers, bool end_stream) override;
  void send_informational(const http::HeaderMap&) override {}
  void send_data(Buffer&& data, bool end_stream) override;
  void send_trailers(const http::HeaderMap& trailers) override;
  void reset(http::ResetReason reason) override;
  void pause_reading() override;
  void resume_reading() override;
  void set_buffer_limit(uint32_t) override {}
  bool above_write_high_watermark() const override;
  const Bytes& bytes() const override { return bytes_; }
  uint32_t id() const override { return 0; }
  http::Protocol protocol() const override { return http::Protocol::http11; }

  // ext::Upstream::Callbacks
  void on_connected(ext::Upstream&) override;
  void on_connect_failed(ext::Upstream&, ext::Upstream::Failure failure, std::string_view reason) override;
  void on_upstream_data(Buffer& data, bool end_stream) override;
  void on_above_high_watermark(ext::Connection&) override { receiver_.on_above_write_high_watermark(); }
  void on_below_low_watermark(ext::Connection&) override { receiver_.on_below_write_low_watermark(); }
  void on_closed(ext::Connection&, const ext::CloseEvent& event) override;

  WorkerCluster& cluster_;
  http::StreamReceiver& receiver_;
  ext::HttpTry::Callbacks& callbacks_;
  std::unique_ptr<UpstreamConnection> upstream_;
  HostPtr host_;
  MonotonicTime started_{}, done_{};
  Bytes bytes_;
  bool connected_ = false, remote_ended_ = false;
};

}  // namespace sluice::upstream
