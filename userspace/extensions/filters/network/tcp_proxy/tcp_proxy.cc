#include "extensions/filters/network/tcp_proxy/tcp_proxy.h"

#include <algorithm>

#include "core/gauge_share.h"
#include "core/log.h"
#include "core/probes.h"

namespace sluice::extensions::tcp_proxy {

using ext::CloseCause;
using ext::CloseKind;
using ext::FilterStatus;
using ext::ResponseFlag;

Stats::Stats(const stats::Scope& s)
    : downstream_cx_total(s.counter("downstream_cx_total")),
      downstream_cx_no_route(s.counter("downstream_cx_no_route")),
      downstream_cx_rx_bytes_total(s.counter("downstream_cx_rx_bytes_total")),
      downstream_cx_tx_bytes_total(s.counter("downstream_cx_tx_bytes_total")),
      downstream_flow_control_paused_reading_total(s.counter("downstream_flow_control_paused_reading_total")),
      downstream_flow_control_resumed_reading_total(
          s.counter("downstream_flow_control_resumed_reading_total")),
      early_data_received_count_total(s.counter("early_data_received_count_total")),
      idle_timeout(s.counter("idle_timeout")),
      max_downstream_connection_duration(s.counter("max_downstream_connection_duration")),
      upstream_flush_total(s.counter("upstream_flush_total")),
      downstream_cx_rx_bytes_buffered(s.gauge("downstream_cx_rx_bytes_buffered")),
      downstream_cx_tx_bytes_buffered(s.gauge("downstream_cx_tx_bytes_buffered")),
      upstream_flush_active(s.gauge("upstream_flush_active")) {}

namespace {

struct Shared {
  Shared(std::shared_ptr<const Config> c, const stats::Scope& scope)
      : config(std::move(c)), lease(scope.lease()), stats(scope) {}
  std::shared_ptr<const Config> config;
  const stats::Lease lease;
  Stats stats;
};

// Joins one downstream connection to one upstream connection. Bytes move from one side's receive buffer to the other
// side's send queue without being copied; what one side has not sent yet pauses the other side's reading.
class TcpProxy final : public ext::NetworkFilter, public ext::Upstream::Callbacks {
 public:
  explicit TcpProxy(std::shared_ptr<Shared> shared)
      : shared_(std::move(shared)), last_read_(shared_->stats.downstream_cx_rx_bytes_buffered) {}

  // ---- downstream ----
  void init(ext::NetworkFilterContext& context) override { context_ = &context; }

  FilterStatus on_new_connection() override {
    stats().downstream_cx_total.add();
    started_ = true;
    touch();
    if (config().idle_timeout.count() > 0) arm(idle_timer_, &idle_fired, config().idle_timeout);
    if (config().max_connection_duration.count() > 0)
      arm(duration_timer_, &duration_fired, config().max_connection_duration);
    if (config().access_log_flush_interval.count() > 0)
      arm(flush_timer_, &flush_fired, config().access_log_flush_interval);
    pick_target();
    connect();
    return FilterStatus::proceed;
  }

  FilterStatus on_data(Buffer& data, bool end_stream) override {
    touch();
    last_read_.set(data.size());
    if (!connected_) {
      // What comes before the upstream is there stays in the receive buffer, and no more is asked for.
      if (!holding_) {
        holding_ = true;
        if (!data.empty()) stats().early_data_received_count_total.add();
        downstream().pause_reading();
      }
      return FilterStatus::stop;
    }
    forward(data, end_stream);
    return FilterStatus::stop;
  }

  void on_above_high_watermark(ext::Connection& c) override {
    if (is_downstream(c)) {
      if (upstream_ && connected_) upstream_->connection().pause_reading(), upstream_paused_ = true;
    } else {
      stats().downstream_flow_control_paused_reading_total.add();
      downstream().pause_reading();
      downstream_paused_ = true;
    }
  }

  void on_below_low_watermark(ext::Connection& c) override {
    if (is_downstream(c)) {
      if (std::exchange(upstream_paused_, false) && upstream_) upstream_->connection().resume_reading();
    } else if (std::exchange(downstream_paused_, false)) {
      stats().downstream_flow_control_resumed_reading_total.add();
      downstream().resume_reading();
    }
  }

  void on_sent(ext::Connection& c, size_t n) override {
    touch();
    if (is_downstream(c)) {
      stats().downstream_cx_tx_bytes_total.add(n);
      stats().downstream_cx_tx_bytes_buffered.sub(n);
      downstream_buffered_ -= n;
      info().bytes_sent += n;
    } else {
      info().upstream_bytes_sent += n;
    }
  }

  void on_closed(ext::Connection& c, const ext::CloseEvent& event) override {
    if (is_downstream(c))
      downstream_closed(event);
    else
      upstream_closed(event);
  }

  void refresh_stream_info() override {
    if (upstream_ && connected_) info().upstream_local = upstream_->local_address();
  }

  void on_end() override {
    if (!started_) return;
    stats().downstream_cx_tx_bytes_buffered.sub(downstream_buffered_);
    last_read_.set(0);
    for (const auto& log : config().access_logs) log->log(info(), ext::AccessLogType::tcp_connection_end);
  }

  // ---- upstream ----
  void on_connected(ext::Upstream& upstream) override {
    connected_ = true;
    ext::StreamInfo& i = info();
    i.upstream_connect_done = context_->loop().now();
    i.upstream_remote = upstream.host_address();
    i.upstream_host_name = upstream.host_name();
    if (!config().access_logs.empty() || context_->access_logged())
      i.upstream_local = upstream.local_address();
    i.upstream_connection_id = upstream.connection().id();
    i.upstream_tls = upstream.connection().tls_info();
    probes::upstream_connected(i.connection_id, i.upstream_cluster.c_str(), i.upstream_remote,
                               (i.upstream_connect_done - i.upstream_connect_start).count());
    touch();
    if (config().access_log_on_connected) {
      i.end = context_->loop().now();
      for (const auto& log : config().access_logs) log->log(i, ext::AccessLogType::tcp_upstream_connected);
    }
    if (downstream().above_high_watermark()) upstream.connection().pause_reading(), upstream_paused_ = true;
    if (std::exchange(holding_, false))
      downstream().resume_reading();  // what was held comes to on_data again
  }

  void on_connect_failed(ext::Upstream& upstream, ext::Upstream::Failure failure,
                         std::string_view reason) override {
    using Failure = ext::Upstream::Failure;
    ext::StreamInfo& i = info();
    if (upstream.host_address().valid()) {
      i.upstream_remote = upstream.host_address();
      i.upstream_host_name = upstream.host_name();
    }
    probes::upstream_failed(i.connection_id, i.upstream_cluster.c_str(), i.upstream_remote,
                            static_cast<int>(failure), attempts_);
    bool retry = false;
    switch (failure) {
      case Failure::no_healthy_host:
        i.flags.set(ResponseFlag::no_healthy_upstream);
        break;
      case Failure::overflow:
        i.flags.set(ResponseFlag::upstream_overflow);
        break;
      case Failure::connect_failed:
      case Failure::timeout:
        i.flags.set(ResponseFlag::upstream_connection_failure);
        i.upstream_transport_failure_reason = reason;
        retry = attempts_ < config().max_connect_attempts;
        if (!retry) {
          i.flags.set(ResponseFlag::upstream_retry_limit_exceeded);
          if (ext::Cluster* c = context_->clusters().find(target_->cluster))
            c->note_connect_attempts_exceeded();
        }
        break;
    }
    upstream_.reset();
    if (!retry) return give_up("upstream_connect_failed");
    if (config().backoff_base.count() == 0) return connect();
    arm(backoff_timer_, &backoff_fired, backoff());
  }

  void on_upstream_data(Buffer& data, bool end_stream) override {
    touch();
    if (info().upstream_bytes_received == 0 && !data.empty())
      probes::first_bytes(info().connection_id, probes::Side::upstream, data.size());
    if (end_stream) probes::half_close(info().connection_id, probes::Side::upstream);
    info().upstream_bytes_received += data.size();
    downstream_buffered_ += data.size();
    stats().downstream_cx_tx_bytes_buffered.add(data.size());
    downstream().write(std::move(data), end_stream);
  }

 private:
  Stats& stats() { return shared_->stats; }
  const Config& config() const { return *shared_->config; }
  ext::Connection& downstream() { return context_->connection(); }
  ext::StreamInfo& info() { return context_->stream_info(); }
  bool is_downstream(const ext::Connection& c) { return &c == &downstream(); }
  void touch() { last_activity_ = context_->loop().now(); }

  void arm(std::unique_ptr<io::Timer>& timer, io::Timer::Callback callback, Duration after) {
    if (!timer) timer = std::make_unique<io::Timer>(context_->loop().timers(), callback, this);
    timer->arm(context_->loop().now() + after);
  }

  void pick_target() {
    const auto& targets = config().targets;
    target_ = &targets.front();
    if (targets.size() == 1) return;
    uint64_t x = context_->random().below(targets.back().weight_end);
    target_ = &*std::upper_bound(targets.begin(), targets.end(), x,
                                 [](uint64_t v, const Config::Target& t) { return v < t.weight_end; });
  }

  // A cluster is looked up for each attempt: it may have been replaced since.
  void connect() {
    ext::StreamInfo& i = info();
    ext::Cluster* cluster = context_->clusters().find(target_->cluster);
    if (!cluster) {
      SLUICE_LOG(filter, debug, "[C{}] cluster not found: {}", i.connection_id, target_->cluster);
      stats().downstream_cx_no_route.add();
      i.flags.set(ResponseFlag::no_cluster_found);
      return give_up("cluster_not_found");
    }
    if (attempts_++ == 0) {
      i.upstream_cluster = cluster->observability_name();
      if (cluster->name() != cluster->observability_name()) i.upstream_cluster_raw = cluster->name();
      i.upstream_connect_start = context_->loop().now();
    }
    i.upstream_attempts = attempts_;
    upstream_ = cluster->connect(context_->origin(), *this);
    probes::upstream_chosen(i.connection_id, i.upstream_cluster.c_str(), upstream_->host_address(),
                            attempts_);
  }

  // The app is told at once, by RST: a connection that cannot reach its destination must not look established.
  void give_up(std::string_view details) { reset_downstream(details); }

  void reset_downstream(std::string_view details) {
    info().downstream_close = ext::CloseType::local_reset;
    downstream().close(CloseKind::reset, details);
  }

  void forward(Buffer& data, bool end_stream) {
    size_t n = data.size();
    stats().downstream_cx_rx_bytes_total.add(n);
    if (info().bytes_received == 0 && n > 0)
      probes::first_bytes(info().connection_id, probes::Side::downstream, n);
    if (end_stream) probes::half_close(info().connection_id, probes::Side::downstream);
    info().bytes_received += n;
    upstream_->connection().write(std::move(data), end_stream);
  }

  void downstream_closed(const ext::CloseEvent& event) {
    stop_timers();
    if (event.cause == CloseCause::remote_reset) info().downstream_close = ext::CloseType::remote_reset;
    if (!upstream_) return;
    if (!connected_) {
      // A filter that refuses the connection closes it as well: that is not the client's doing.
      if (event.cause != CloseCause::local) info().flags.set(ResponseFlag::downstream_connection_termination);
      return upstream_.reset();
    }
    ext::Connection& up = upstream_->connection();
    switch (event.cause) {
      case CloseCause::remote_close:
      case CloseCause::local:
        // What the client has sent still reaches the upstream; the connection finishes by itself.
        if (up.unsent() > 0) stats().upstream_flush_total.add();
        up.close(closed_by_upstream_reset_ ? CloseKind::reset : CloseKind::flush);
        break;
      case CloseCause::remote_reset:
      case CloseCause::timeout:
      case CloseCause::error:
      case CloseCause::transport:
        info().upstream_close = ext::CloseType::local_reset;
        up.close(CloseKind::reset);
        break;
    }
    upstream_.reset();
  }

  void upstream_closed(const ext::CloseEvent& event) {
    switch (event.cause) {
      case CloseCause::local:  // its host has failed: close_connections_on_host_health_failure
        if (downstream().open()) downstream().close(CloseKind::flush);
        break;
      case CloseCause::remote_close:
        break;  // both ends said FIN: the downstream side has it all queued and ends when that is sent
      case CloseCause::remote_reset:
        info().upstream_close = ext::CloseType::remote_reset;
        info().flags.set(ResponseFlag::upstream_connection_termination);
        closed_by_upstream_reset_ = true;
        reset_downstream("upstream_reset");
        break;
      case CloseCause::timeout:
      case CloseCause::error:
      case CloseCause::transport:
        info().flags.set(ResponseFlag::upstream_connection_termination);
        reset_downstream("upstream_error");
        break;
    }
  }

  Duration backoff() {
    Duration base = config().backoff_base, max = config().backoff_max;
    unsigned doublings = std::min(attempts_ - 1, 20u);
    Duration ceiling = std::min(max, base * (1 << doublings));
    return Duration(
        static_cast<int64_t>(context_->random().below(static_cast<uint64_t>(ceiling.count()) + 1)));
  }

  void stop_timers() {
    for (auto* t : {&idle_timer_, &duration_timer_, &backoff_timer_, &flush_timer_})
      if (*t) (*t)->cancel();
  }

  static void idle_fired(io::Timer& t) {
    TcpProxy& self = *t.owner<TcpProxy>();
    // Activity only notes the time; the timer looks at it when it fires.
    MonotonicTime due = self.last_activity_ + self.config().idle_timeout;
    if (due > self.context_->loop().now()) return t.arm(due);
    self.stats().idle_timeout.add();
    self.downstream().close(CloseKind::no_flush, "tcp_session_idle_timeout");
  }
  static void duration_fired(io::Timer& t) {
    TcpProxy& self = *t.owner<TcpProxy>();
    self.stats().max_downstream_connection_duration.add();
    self.info().flags.set(ResponseFlag::duration_timeout);
    self.downstream().close(CloseKind::no_flush, "max_connection_duration_reached");
  }
  static void backoff_fired(io::Timer& t) { t.owner<TcpProxy>()->connect(); }
  static void flush_fired(io::Timer& t) {
    TcpProxy& self = *t.owner<TcpProxy>();
    self.info().end = self.context_->loop().now();
    for (const auto& log : self.config().access_logs) log->log(self.info(), ext::AccessLogType::tcp_periodic);
    t.arm(self.context_->loop().now() + self.config().access_log_flush_interval);
  }

  std::shared_ptr<Shared> shared_;
  ext::NetworkFilterContext* context_ = nullptr;
  const Config::Target* target_ = nullptr;
  std::unique_ptr<ext::Upstream> upstream_;
  uint32_t attempts_ = 0;
  bool started_ = false;
  bool connected_ = false;
  bool holding_ = false;  // downstream data waits for the upstream; reading is paused
  bool downstream_paused_ = false, upstream_paused_ = false;
  bool closed_by_upstream_reset_ = false;
  size_t downstream_buffered_ = 0;
  // Of downstream_cx_rx_bytes_buffered, which Envoy writes when bytes arrive, not when they are taken.
  stats::GaugeShare last_read_;
  MonotonicTime last_activity_{};
  std::unique_ptr<io::Timer> idle_timer_, duration_timer_, backoff_timer_, flush_timer_;
};

}  // namespace

ext::NetworkFilterFactory make_factory(std::shared_ptr<const Config> config) {
  return [config](const ext::NetworkFilterScope& scope) -> ext::NetworkFilterMaker {
    auto shared = std::make_shared<Shared>(config, scope.root.scope("tcp").scope(config->stat_prefix));
    return [shared] { return std::make_unique<TcpProxy>(shared); };
  };
}

}  // namespace sluice::extensions::tcp_proxy
