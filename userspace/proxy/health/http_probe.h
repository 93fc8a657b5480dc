#pragma once

#include <memory>
#include <optional>
#include <string>

#include "http/codec.h"
#include "net/connection.h"
#include "proxy/health/payload.h"
#include "proxy/health/probe.h"

namespace sluice::health {

// What HTTP and gRPC checks have in common: a connection that is kept between checks, one request on it, and what its
// end means. Callbacks of the codec only note what came; conclusions are drawn when the codec has returned.
class HttpExchange : public Probe,
                     private net::ConnectionHandler,
                     private http::Output,
                     private http::ClientCallbacks,
                     private http::StreamReceiver {
 public:
  HttpExchange(ProbeContext& context, Target target, Owner& owner, bool http2, bool keep_on_timeout);
  ~HttpExchange() override;

  void check() final;
  void give_up() final;

 protected:
  // The request: its head, and its body ("": none).
  virtual void make_request(http::HeaderMap& headers, std::string& body) = 0;
  // The response. Each may conclude().
  virtual void response_headers(http::HeaderMapPtr headers, bool end_stream) = 0;
  virtual void response_data(const Buffer& data, bool end_stream) = 0;
  virtual void response_trailers(const http::HeaderMap& trailers) = 0;

  // `whole`: the response has ended; else the stream is reset.
  void conclude(const Answer& answer, bool whole);
  ProbeContext& context() { return context_; }
  const Target& target() const { return target_; }
  // The headers to add, with a record in which the host is known.
  void add_headers(const model::HeaderRules& rules, http::HeaderMap& headers);

 private:
  enum class State : uint8_t { none, failing, connecting, open };

  // net::ConnectionHandler
  void on_connected(net::Connection&) override;
  void on_connect_failed(net::Connection&, int error) override;
  void on_data(net::Connection&, Buffer& data, bool end_stream) override;
  void on_above_high_watermark(ext::Connection&) override {}
  void on_closed(ext::Connection&, const ext::CloseEvent&) override;
  // http::Output
  void write(Buffer&& data) override;
  BlockPool& blocks() override { return context_.loop.blocks(); }
  void pause_reading() override;
  void resume_reading() override;
  void receive_soon() override;
  // http::ClientCallbacks
  void on_goaway(bool graceful) override;
  // http::StreamReceiver
  void on_headers(http::HeaderMapPtr headers, bool end_stream) override;
  void on_data(Buffer& data, bool end_stream) override;
  void on_trailers(http::HeaderMapPtr trailers) override;
  void on_reset(http::ResetReason reason, std::string_view details) override;

  static void on_turn_end(io::TurnEnd& hook);
  void start();
  void received(Buffer& data, bool end_stream);
  void settle();
  void drop();  // the connection

  ProbeContext& context_;
  const Target target_;
  Owner& owner_;
  const bool http2_;
  const bool keep_on_timeout_;  // a late response costs its stream, not the connection
  net::ConnectionPtr socket_;
  std::unique_ptr<http::ClientConnection> codec_;
  State state_ = State::none;
  http::Stream* stream_ = nullptr;
  bool asking_ = false;
  bool whole_ = false;  // the response has ended
  bool leave_ = false;  // the connection is not used again
  bool receive_soon_ = false;
  std::optional<Answer> answer_;
  io::TurnEnd turn_end_;
};

class HttpProbe final : public HttpExchange {
 public:
  HttpProbe(ProbeContext& context, const model::HttpHealthCheck& config, Target target, Owner& owner);

 private:
  void make_request(http::HeaderMap& headers, std::string& body) override;
  void response_headers(http::HeaderMapPtr headers, bool end_stream) override;
  void response_data(const Buffer& data, bool end_stream) override;
  void response_trailers(const http::HeaderMap& trailers) override;
  void complete();
  Answer judge();

  const model::HttpHealthCheck& config_;
  PayloadSearch search_;
  http::HeaderMapPtr response_;
};

}  // namespace sluice::health
