#include "http/http2.h"

#include "http/http2_session.h"

namespace sluice::http {
namespace {

class Http2Server final : public ServerConnection {
 public:
  Http2Server(const Http2Config& config, Http2Stats& stats, Output& output, ServerCallbacks& callbacks)
      : session_(true, config, stats, output, &callbacks, nullptr) {}

  Protocol protocol() const override { return Protocol::http2; }
  std::optional<ProtocolError> receive(Buffer& data) override { return session_.receive(data); }
  std::optional<ProtocolError> receive_end() override { return session_.receive_end(), std::nullopt; }
  void connection_lost(ResetReason reason, std::string_view details) override {
    session_.connection_lost(reason, details);
  }
  void on_above_write_high_watermark() override { session_.set_output_above(true); }
  void on_below_write_low_watermark() override { session_.set_output_above(false); }
  size_t active_streams() const override { return session_.active_streams(); }
  void ping(uint64_t opaque) override { session_.ping(opaque); }
  void shutdown_notice() override { session_.shutdown_notice(); }
  void goaway() override { session_.goaway(); }
  bool finished() const override {
    bool away = session_.goaway_sent() || session_.goaway_received();
    return session_.failed() || (away && session_.active_streams() == 0);
  }

 private:
  Http2Session session_;
};

class Http2Client final : public ClientConnection {
 public:
  Http2Client(const Http2Config& config, Http2Stats& stats, Output& output, ClientCallbacks& callbacks)
      : session_(false, config, stats, output, nullptr, &callbacks) {}

  Protocol protocol() const override { return Protocol::http2; }
  std::optional<ProtocolError> receive(Buffer& data) override { return session_.receive(data); }
  std::optional<ProtocolError> receive_end() override { return session_.receive_end(), std::nullopt; }
  void connection_lost(ResetReason reason, std::string_view details) override {
    session_.connection_lost(reason, details);
  }
  void on_above_write_high_watermark() override { session_.set_output_above(true); }
  void on_below_write_low_watermark() override { session_.set_output_above(false); }
  size_t active_streams() const override { return session_.active_streams(); }
  void ping(uint64_t opaque) override { session_.ping(opaque); }
  Stream& new_stream(StreamReceiver& receiver) override { return session_.new_stream(receiver); }
  bool can_open_stream() const override { return session_.can_open_stream(); }
  uint32_t max_streams() const override { return session_.max_streams(); }
  bool finished() const override {
    return session_.failed() || session_.goaway_received() || !session_.ids_left();
  }

 private:
  Http2Session session_;
};

}  // namespace

std::unique_ptr<ServerConnection> make_http2_server(const Http2Config& config, Http2Stats& stats,
                                                    Output& output, ServerCallbacks& callbacks) {
  return std::make_unique<Http2Server>(config, stats, output, callbacks);
}

std::unique_ptr<ClientConnection> make_http2_client(const Http2Config& config, Http2Stats& stats,
                                                    Output& output, ClientCallbacks& callbacks) {
  return std::make_unique<Http2Client>(config, stats, output, callbacks);
}

}  // namespace sluice::http
