#pragma once

#include "net/connection.h"
#include "proxy/health/payload.h"
#include "proxy/health/probe.h"

namespace sluice::health {

// Connects; where the configuration says so, sends bytes and waits for others.
class TcpProbe final : public Probe, private net::ConnectionHandler {
 public:
  TcpProbe(ProbeContext& context, const model::TcpHealthCheck& config, Target target, Owner& owner);

  void check() override;
  void give_up() override;

 private:
  // net::ConnectionHandler
  void on_connected(net::Connection&) override;
  void on_connect_failed(net::Connection&, int error) override;
  void on_data(net::Connection&, Buffer& data, bool end_stream) override;
  void on_closed(ext::Connection&, const ext::CloseEvent&) override;

  static void on_turn_end(io::TurnEnd& hook);
  void send();
  void close();
  void answer(Answer::Kind kind, bool keep);

  ProbeContext& context_;
  const model::TcpHealthCheck& config_;
  const Target target_;
  Owner& owner_;
  net::ConnectionPtr socket_;
  PayloadSearch search_;
  bool asking_ = false;
  io::TurnEnd failed_;  // no socket could be had
};

}  // namespace sluice::health
