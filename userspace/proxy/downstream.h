#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "net/connection.h"
#include "proxy/worker.h"
#include "sluice/ext/listener_filter.h"
#include "sluice/ext/network_filter.h"

namespace sluice::proxy {

// One accepted connection from accept to its last log line:
//   accept → listener filters (may read ahead) → hand-off by original destination → filter chain → data → end.
class Downstream final : public io::Deferred,
                         private ext::ListenerFilterContext,
                         private ext::NetworkFilterContext,
                         private net::ConnectionHandler {
 public:
  static void accept(Worker& worker, std::shared_ptr<ListenerRuntime> listener, const ListenSocket& socket,
                     int fd);

  Downstream* next() const { return next_; }
  const Workload* workload() const { return workload_.get(); }
  // Does its connection to the application have the caller's address (original_src), in an enrolled namespace?
  bool needs_return_path() const;
  ConnectionSnapshot snapshot();
  void drain();  // tells the filters, once
  void close_drained();  // the time of the drain is over
  const ChainRuntime* chain() const { return chain_; }  // null: before it has one
  const model::Listener& listener() const { return *listener_->config; }
  void abort();  // RST

 private:
  Downstream(Worker& worker, std::shared_ptr<ListenerRuntime> listener, const ListenSocket& socket, int fd);
  ~Downstream() override;

  // ---- before the filter chain ----
  void run_listener_filters();
  bool inspect();  // true: this filter is done, or all is
  void read_ahead();
  static void read_ahead_done(io::Op& op, io::Completion& c);
  static void listener_filters_timeout(io::Timer& timer);
  static void transport_timeout(io::Timer& timer);
  void listener_filters_done();
  void open(ChainRuntime& chain);
  void drop(bool reset);  // without a filter chain
  void leave_pre_cx();

  // ext::ListenerFilterContext, ext::NetworkFilterContext
  ext::StreamInfo& stream_info() override { return info_; }
  io::Loop& loop() override { return worker_.loop(); }
  std::optional<Address> original_destination() override;
  ext::Connection& connection() override { return *connection_; }
  Random& random() override { return worker_.random(); }
  ext::ClusterManager& clusters() override { return worker_.clusters(); }
  ext::Upstream::Origin origin() override;
  void continue_reading() override;
  bool access_logged() const override { return !listener_->config->access_logs.empty(); }
  bool draining() const override;
  bool health_check_failed() const override { return worker_.health_check_failed(); }
  bool drains_on_health_check() const override { return listener_->config->drain_on_health_check; }

  // net::ConnectionHandler
  void on_secured(net::Connection&) override;
  void on_data(net::Connection&, Buffer& data, bool end_stream) override;
  void on_above_high_watermark(ext::Connection&) override;
  void on_below_low_watermark(ext::Connection&) override;
  void on_sent(ext::Connection&, size_t bytes) override;
  void on_closed(ext::Connection&, const ext::CloseEvent&) override;

  void run_new_connection();
  void run_filters(size_t from, Buffer& data, bool end_stream);
  void end();

  Worker& worker_;
  std::shared_ptr<ListenerRuntime> listener_;
  std::shared_ptr<const Workload> workload_;
  Address listening_;
  int fd_;  // until the connection takes it
  bool handed_off_ = false;
  bool in_chain_ = false;  // counted in downstream_cx_active
  bool pre_cx_ = false;  // counted in downstream_pre_cx_active
  bool end_stream_ = false;
  bool dropping_ = false;
  bool drop_reset_ = false;
  size_t initialised_ = 0;  // filters whose on_new_connection has run
  size_t stopped_at_ = 0;  // the filter at which the last delivery stopped
  size_t resume_at_ = 0;  // where the next one starts: after that filter, once it said continue_reading()
  ext::StreamInfo info_;

  // Only while listener filters wait for data.
  struct ReadAhead;
  std::unique_ptr<ReadAhead> ahead_;
  size_t listener_filter_ = 0;

  ChainRuntime* chain_ = nullptr;  // `listener_` keeps it
  bool told_to_drain_ = false;
  std::vector<std::unique_ptr<ext::NetworkFilter>> filters_;
  net::ConnectionPtr connection_;
  std::unique_ptr<io::Timer> transport_timer_;  // while the transport socket shakes hands, with a time-out
  Downstream* next_ = nullptr;
  Downstream* prev_ = nullptr;
};

}  // namespace sluice::proxy
