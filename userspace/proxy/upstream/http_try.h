#pragma once

#include "http/codec.h"
#include "proxy/upstream/http_pool.h"
#include "proxy/upstream/intrusive_list.h"

namespace sluice::upstream {

// One try: in no pool (nobody was chosen), waiting in its pool's queue, or with a stream of a connection. It stands
// between the codec and the router in both directions, so that the pool learns of both ends of the exchange.
class HttpTry final : public ext::HttpTry,
                      public ListNode<HttpTry>,
                      private http::Stream,
                      private http::StreamReceiver {
 public:
  // `pool` null: there is no host, or no room for another pool.
  HttpTry(HttpPool* pool, http::StreamReceiver& receiver, ext::HttpTry::Callbacks& callbacks,
          ext::Upstream::Failure refused);
  ~HttpTry() override;
  static void* operator new(size_t size);
  static void operator delete(void* p, size_t size);

  // ext::HttpTry
  void start() override;
  const ext::UpstreamHost* host() const override { return host_.get(); }
  ext::Connection& connection() override;
  MonotonicTime connect_started() const override;
  MonotonicTime connect_done() const override;
  uint64_t connection_streams() const override { return streams_before_ + 1; }
  bool may_be_unseen() const override { return unseen_; }
  void report(ext::TryResult result) override;
  void report_status(uint16_t status) override;
  void report_immediate_health_check_fail() override;

  // For the pool and its connections.
  void fail(ext::Upstream::Failure failure, std::string_view reason);  // may destroy this
  void set_pending() { state_ = State::pending; }
  void reserve(HttpConnection& connection);
  HttpConnection* unreserve();  // it goes back to the queue
  void begin(HttpConnection& connection);  // takes a stream and tells the router; may destroy this

 private:
  enum class State : uint8_t { idle, pending, reserved, active, done };

  // http::Stream, towards the router
  void send_headers(const http::HeaderMap& headers, bool end_stream) override;
  void send_informational(const http::HeaderMap&) override {}
  void send_data(Buffer&& data, bool end_stream) override;
  void send_trailers(const http::HeaderMap& trailers) override;
  void reset(http::ResetReason reason) override;
  void pause_reading() override;
  void resume_reading() override;
  void set_buffer_limit(uint32_t bytes) override;
  bool above_write_high_watermark() const override;
  const Bytes& bytes() const override;
  uint32_t id() const override { return id_; }
  http::Protocol protocol() const override { return protocol_; }

  // http::StreamReceiver, towards the codec
  void on_headers(http::HeaderMapPtr headers, bool end_stream) override;
  void on_informational(http::HeaderMapPtr headers) override {
    receiver_->on_informational(std::move(headers));
  }
  void on_data(Buffer& data, bool end_stream) override;
  void on_trailers(http::HeaderMapPtr trailers) override;
  void on_reset(http::ResetReason reason, std::string_view details) override;
  void on_above_write_high_watermark() override;
  void on_below_write_low_watermark() override;

  void local_end();
  void remote_end();
  void over();  // both ends: the stream is the codec's alone
  void leave();  // is not counted as active any more

  HttpPool* pool_;
  HostPtr host_;
  http::StreamReceiver* receiver_;
  ext::HttpTry::Callbacks* callbacks_;
  const ext::Upstream::Failure refused_;
  State state_ = State::idle;
  bool local_ended_ = false, remote_ended_ = false, unseen_ = false;
  http::Protocol protocol_ = http::Protocol::http11;
  uint16_t paused_ = 0;
  uint32_t id_ = 0;
  http::Stream* stream_ = nullptr;
  HttpConnection* connection_ = nullptr;  // reserved, active
  uint64_t streams_before_ = 0, received_before_ = 0;  // on the connection, when this one began
  MonotonicTime connect_started_{}, connect_done_{};
  Bytes bytes_;
};

}  // namespace sluice::upstream
