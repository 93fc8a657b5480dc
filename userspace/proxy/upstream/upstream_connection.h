#pragma once

#include <memory>
#include <string>

#include "core/gauge_share.h"
#include "net/connection.h"
#include "proxy/upstream/cluster.h"
#include "proxy/upstream/intrusive_list.h"
#include "sluice/ext/upstream.h"

namespace sluice::upstream {

// One upstream connection from the choice of its host to its end, with all that is counted on the way.
class UpstreamConnection final : public ext::Upstream,
                                 public ListNode<UpstreamConnection>,
                                 private net::ConnectionHandler {
 public:
  UpstreamConnection(std::shared_ptr<WorkerCluster> cluster, ext::Upstream::Callbacks& callbacks);
  ~UpstreamConnection() override;

  // Once. What fails at once is told at the end of the loop turn.
  void connect(const Origin& origin);

  const HostPtr& host() const { return host_; }  // null: nobody was chosen
  // Its host has become unhealthy, and connections to it are to go. May destroy this.
  void host_failed();

  // ext::Upstream
  ext::Connection& connection() override { return *connection_; }
  const Address& host_address() const override;
  const std::string& host_name() const override;
  Address local_address() const override;

 private:
  enum class State : uint8_t { idle, failing, connecting, open, done };

  // net::ConnectionHandler
  void on_connected(net::Connection&) override;
  void on_connect_failed(net::Connection&, int error) override;
  void on_data(net::Connection&, Buffer& data, bool end_stream) override;
  void on_above_high_watermark(ext::Connection&) override;
  void on_below_low_watermark(ext::Connection&) override;
  void on_sent(ext::Connection&, size_t bytes) override;
  void on_closed(ext::Connection&, const ext::CloseEvent& event) override;

  static void connect_timeout(io::Timer& timer);
  static void report(io::TurnEnd& hook);
  void fail_later(Failure failure, std::string reason);
  void fail(Failure failure, std::string_view reason);   // may destroy this
  void leave_pending();
  // The connection is over, or was never made: takes it out of the counts.
  void count_end(bool local);

  std::shared_ptr<WorkerCluster> cluster_;
  ext::Upstream::Callbacks* callbacks_;
  HostPtr host_;
  net::ConnectionPtr connection_;
  State state_ = State::idle;
  bool counted_ = false;  // in the active connections
  bool pending_ = false;  // in the pending requests
  Failure failure_ = Failure::connect_failed;
  std::string reason_;
  MonotonicTime started_{};
  uint64_t received_ = 0;
  stats::GaugeShare buffered_;  // of upstream_cx_tx_bytes_buffered
  // Of upstream_cx_rx_bytes_buffered, which Envoy writes when bytes arrive, not when they are taken.
  stats::GaugeShare last_read_;
  io::Timer timeout_;
  io::TurnEnd report_;
};

}  // namespace sluice::upstream
