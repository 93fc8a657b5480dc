#include "proxy/upstream/upstream_connection.h"

#include <cstring>
#include <utility>

#include "core/log.h"
#include "proxy/upstream/sockets.h"

namespace sluice::upstream {
namespace {

uint64_t milliseconds(Duration d) {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(d).count());
}

}  // namespace

UpstreamConnection::UpstreamConnection(std::shared_ptr<WorkerCluster> cluster,
                                       ext::Upstream::Callbacks& callbacks)
    : cluster_(std::move(cluster)),
      callbacks_(&callbacks),
      buffered_(cluster_->stats().upstream_cx_tx_bytes_buffered),
      last_read_(cluster_->stats().upstream_cx_rx_bytes_buffered),
      timeout_(cluster_->loop().timers(), &connect_timeout, this),
      report_(&report, this) {}

UpstreamConnection::~UpstreamConnection() {
  if (pending_) cluster_->stats().upstream_rq_cancelled.add();
  count_end(true);
}

const Address& UpstreamConnection::host_address() const {
  static const Address none;
  return host_ ? host_->address() : none;
}

const std::string& UpstreamConnection::host_name() const {
  static const std::string none;
  return host_ ? host_->hostname() : none;
}

Address UpstreamConnection::local_address() const {
  return connection_ ? connection_->local_address() : Address();
}

// The order of checks, and what each counts, is that of Envoy's tcp_proxy and its connection pool.
void UpstreamConnection::connect(const Origin& origin) {
  ClusterStats& stats = cluster_->stats();
  if (!cluster_->connections().acquire()) {
    stats.upstream_cx_overflow.add();
    return fail_later(Failure::overflow, "");
  }
  host_ = cluster_->choose_host(origin);
  if (!host_) {
    cluster_->connections().release();
    stats.upstream_cx_none_healthy.add();
    return fail_later(Failure::no_healthy_host, "");
  }
  if (!cluster_->pending().acquire()) {
    cluster_->connections().release();
    host_.reset();
    stats.upstream_rq_pending_overflow.add();
    return fail_later(Failure::overflow, "");
  }
  started_ = cluster_->loop().now();
  cluster_->shared().note_traffic();
  counted_ = pending_ = true;
  stats.upstream_rq_pending_total.add();
  stats.upstream_rq_pending_active.add();
  stats.upstream_cx_total.add();
  stats.upstream_cx_active.add();
  HostCounters& counters = host_->counters(cluster_->slot());
  HostCounters::add(counters.cx_total);
  HostCounters::add(counters.cx_active);
  HostCounters::add(counters.rq_pending_active);

  ext::TransportSocketPtr transport;
  if (ext::UpstreamTransport* t = cluster_->transports().of(*host_)) {
    ext::UpstreamTransport::Request request{
        .workload = origin.netns_cookie, .host = host_.get(), .downstream = origin.stream};
    const std::string key = t->sharing_key(request);
    request.sharing_key = key;
    std::string failure;
    transport = t->make(request, failure);
    if (!transport) return fail_later(Failure::connect_failed, std::move(failure));
  }
  int fd = -1;
  const SocketOrigin from{.netns_fd = origin.netns_fd,
                          .mark = origin.mark,
                          .source = origin.source,
                          .transparent = origin.transparent,
                          .outside = outside_netns(host_->address(), origin)};
  if (Status opened = open_upstream_socket(*cluster_, host_->address(), from, fd); !opened.ok()) {
    SLUICE_LOG(upstream, debug, "cluster {}: {}: {}", cluster_->name(), host_->address().to_string(),
               opened.error().message);
    return fail_later(Failure::connect_failed, opened.error().message);
  }
  state_ = State::connecting;
  connection_ = net::Connection::create(
      cluster_->loop(), fd,
      {.id = cluster_->next_connection_id(), .buffer_limit = cluster_->config().buffer_limit}, *this,
      std::move(transport));
  connection_->keep(cluster_);
  timeout_.arm(started_ + cluster_->config().connect_timeout);
  connection_->connect(host_->address());
}

// ---- failing ----

void UpstreamConnection::fail_later(Failure failure, std::string reason) {
  state_ = State::failing;
  failure_ = failure;
  reason_ = std::move(reason);
  cluster_->loop().schedule(report_);
}

void UpstreamConnection::report(io::TurnEnd& hook) {
  UpstreamConnection& self = *hook.owner<UpstreamConnection>();
  self.fail(self.failure_, std::exchange(self.reason_, {}));
}

void UpstreamConnection::connect_timeout(io::Timer& timer) {
  UpstreamConnection& self = *timer.owner<UpstreamConnection>();
  self.cluster_->stats().upstream_cx_connect_timeout.add();
  self.connection_.reset();
  self.fail(Failure::timeout, "");  // Envoy gives no reason
}

void UpstreamConnection::host_failed() {
  if (state_ == State::open) return connection_->close(ext::CloseKind::no_flush);
  if (state_ != State::connecting) return;
  connection_.reset();
  fail(Failure::connect_failed, "");
}

void UpstreamConnection::on_connect_failed(net::Connection& c, int error) {
  const std::string reason = connect_failure(c, error);
  connection_.reset();
  fail(Failure::connect_failed, reason);
}

void UpstreamConnection::fail(Failure failure, std::string_view reason) {
  timeout_.cancel();
  if (counted_) {
    ClusterStats& stats = cluster_->stats();
    stats.upstream_cx_connect_fail.add();
    stats.upstream_rq_pending_failure_eject.add();
    HostCounters::add(host_->counters(cluster_->slot()).cx_connect_fail);
    SLUICE_LOG(upstream, debug, "cluster {}: connecting to {} failed: {}", cluster_->name(),
               host_->address().to_string(), failure == Failure::timeout ? "connect timeout" : reason);
    // Refused or unreachable is the far side's doing; a socket of ours or a time-out is ours.
    bool local = failure == Failure::timeout || state_ == State::failing;
    if (state_ != State::failing)
      cluster_->shared().outlier.transport(
          host_, cluster_->slot(),
          failure == Failure::timeout ? ext::TryResult::timeout : ext::TryResult::connect_failed, true);
    state_ = State::done;
    count_end(local);
  }
  state_ = State::done;
  callbacks_->on_connect_failed(*this, failure, reason);
}

// ---- living ----

void UpstreamConnection::leave_pending() {
  if (!std::exchange(pending_, false)) return;
  cluster_->pending().release();
  cluster_->stats().upstream_rq_pending_active.sub();
  HostCounters::sub(host_->counters(cluster_->slot()).rq_pending_active);
}

void UpstreamConnection::on_connected(net::Connection&) {
  timeout_.cancel();
  leave_pending();
  state_ = State::open;
  ClusterStats& stats = cluster_->stats();
  stats.upstream_cx_connect_ms.record(milliseconds(cluster_->loop().now() - started_));
  stats.upstream_rq_total.add();
  stats.upstream_rq_active.add();
  cluster_->requests().count();
  HostCounters& counters = host_->counters(cluster_->slot());
  HostCounters::add(counters.rq_total);
  HostCounters::add(counters.rq_active);
  cluster_->shared().outlier.transport(host_, cluster_->slot(), ext::TryResult::success, true);
  callbacks_->on_connected(*this);
}

void UpstreamConnection::on_data(net::Connection& c, Buffer& data, bool end_stream) {
  uint64_t received = c.bytes_received();
  cluster_->stats().upstream_cx_rx_bytes_total.add(received - received_);
  received_ = received;
  last_read_.set(data.size());
  callbacks_->on_upstream_data(data, end_stream);  // may destroy this
}

void UpstreamConnection::on_above_high_watermark(ext::Connection& c) {
  cluster_->stats().upstream_flow_control_backed_up_total.add();
  buffered_.set(c.unsent());
  callbacks_->on_above_high_watermark(c);
}

void UpstreamConnection::on_below_low_watermark(ext::Connection& c) {
  cluster_->stats().upstream_flow_control_drained_total.add();
  callbacks_->on_below_low_watermark(c);
}

void UpstreamConnection::on_sent(ext::Connection& c, size_t bytes) {
  cluster_->stats().upstream_cx_tx_bytes_total.add(bytes);
  buffered_.set(c.unsent());
  callbacks_->on_sent(c, bytes);
}

void UpstreamConnection::on_closed(ext::Connection& c, const ext::CloseEvent& event) {
  count_end(event.cause == ext::CloseCause::local);
  state_ = State::done;
  callbacks_->on_closed(c, event);  // may destroy this
}

void UpstreamConnection::count_end(bool local) {
  if (!std::exchange(counted_, false)) return;
  leave_pending();
  ClusterStats& stats = cluster_->stats();
  HostCounters& counters = host_->counters(cluster_->slot());
  stats.upstream_cx_destroy.add();
  (local ? stats.upstream_cx_destroy_local : stats.upstream_cx_destroy_remote).add();
  if (state_ == State::open) {
    stats.upstream_cx_destroy_with_active_rq.add();
    (local ? stats.upstream_cx_destroy_local_with_active_rq : stats.upstream_cx_destroy_remote_with_active_rq)
        .add();
    stats.upstream_rq_active.sub();
    cluster_->requests().release();
    HostCounters::sub(counters.rq_active);
  }
  buffered_.set(0);
  last_read_.set(0);
  stats.upstream_cx_length_ms.record(milliseconds(cluster_->loop().now() - started_));
  stats.upstream_cx_active.sub();
  HostCounters::sub(counters.cx_active);
  cluster_->connections().release();
}

}  // namespace sluice::upstream
