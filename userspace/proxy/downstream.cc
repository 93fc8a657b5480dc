#include "proxy/downstream.h"

#include <cassert>
#include <string>

#include "core/log.h"
#include "core/probes.h"

namespace sluice::proxy {

using ext::ListenerFilterStatus;

// What a listener filter has read before a filter chain is known. The chain gets the same bytes.
struct Downstream::ReadAhead {
  explicit ReadAhead(Downstream& d)
      : recv(&Downstream::read_ahead_done, &d),
        timer(d.loop().timers(), &Downstream::listener_filters_timeout, &d) {}
  std::unique_ptr<ext::ListenerFilter> filter;   // the one that waits
  Buffer data;
  std::string scratch;
  io::Op recv;
  io::Timer timer;
  bool finished = false;                          // the receive in flight is only waited for
  void (Downstream::*then)() = nullptr;
};

void Downstream::accept(Worker& worker, std::shared_ptr<ListenerRuntime> listener, const ListenSocket& socket,
                        int fd) {
  if (listener->shared->active >= listener->config->max_connections) {
    listener->shared->stats.cx_overflow.add();
    worker.loop().close_reset(fd);
    return;
  }
  auto* d = new Downstream(worker, std::move(listener), socket, fd);
  d->run_listener_filters();
}

Downstream::Downstream(Worker& worker, std::shared_ptr<ListenerRuntime> listener, const ListenSocket& socket,
                       int fd)
    : worker_(worker),
      listener_(std::move(listener)),
      workload_(socket.workload),
      listening_(socket.bound),
      fd_(fd) {
  next_ = worker_.connections_;
  if (next_) next_->prev_ = this;
  worker_.connections_ = this;
  ++worker_.connection_count_;

  io::Loop& l = worker_.loop();
  info_.connection_id = worker_.next_connection_id();
  info_.start = l.now();
  info_.start_time = l.wall_now();
  // v4-mapped addresses appear where one socket serves both families; everything else speaks of the IPv4 address.
  info_.downstream_direct_local = info_.downstream_local = l.local_address(fd).unmapped();
  info_.downstream_direct_remote = info_.downstream_remote = l.peer_address(fd).unmapped();
  info_.listener_name = listener_->config->name;
  if (workload_) info_.workload = workload_->name;
  probes::accepted(info_.connection_id, fd_, info_.downstream_direct_local, info_.downstream_direct_remote,
                   info_.listener_name->c_str());
}

Downstream::~Downstream() {
  assert(fd_ < 0);
}

// ---- before the filter chain ----

void Downstream::run_listener_filters() {
  if (!pre_cx_ && !listener_->listener_filters.empty()) {
    pre_cx_ = true;
    listener_->shared->stats.pre_cx_active.add();
  }
  for (; listener_filter_ < listener_->listener_filters.size(); ++listener_filter_) {
    if (listener_->config->listener_filters[listener_filter_].disabled.contains(info_.downstream_local))
      continue;
    auto filter = listener_->listener_filters[listener_filter_]();
    ListenerFilterStatus status = filter->on_accept(*this);
    if (status == ListenerFilterStatus::reject) return drop(false);
    if (status == ListenerFilterStatus::need_data) {
      if (!ahead_) {
        ahead_ = std::make_unique<ReadAhead>(*this);
        if (Duration t = listener_->config->listener_filters_timeout; t.count() > 0)
          ahead_->timer.arm(loop().now() + t);
      }
      ahead_->filter = std::move(filter);
      // An earlier filter may have read enough already.
      if (ahead_->data.empty() || !inspect()) return read_ahead();
      if (dropping_) return;
    }
  }
  listener_filters_done();
}

bool Downstream::inspect() {
  ReadAhead& a = *ahead_;
  for (;;) {
    const size_t limit = a.filter->max_bytes();
    std::string_view bytes = a.data.peek(std::min(a.data.size(), limit), a.scratch);
    switch (a.filter->on_data(*this, bytes, end_stream_ && bytes.size() == a.data.size())) {
      case ListenerFilterStatus::proceed:
        assert(a.filter->taken() <= bytes.size());
        a.data.drain(a.filter->taken());
        return true;
      case ListenerFilterStatus::need_data:
        if (a.filter->max_bytes() > limit && a.data.size() > limit) continue;
        if (a.data.size() >= a.filter->max_bytes()) return true;
        if (!end_stream_) return false;
        // A client that is gone before its first words are through: there is nobody to serve.
        listener_->shared->stats.listener_filter_remote_close.add();
        drop(false);
        return true;
      case ListenerFilterStatus::reject:
        drop(false);
        return true;
    }
  }
}

void Downstream::read_ahead() {
  if (end_stream_) {
    listener_->shared->stats.listener_filter_remote_close.add();
    return drop(false);
  }
  if (!ahead_->recv.in_flight()) loop().recv(ahead_->recv, fd_);
}

void Downstream::read_ahead_done(io::Op& op, io::Completion& c) {
  Downstream& d = *op.owner<Downstream>();
  ReadAhead& a = *d.ahead_;
  if (c.result > 0) a.data.append(std::move(c.data));
  if (c.result == 0) d.end_stream_ = true;
  if (a.finished) return (d.*a.then)();
  if (c.result < 0 && c.result != -ECANCELED) {
    d.listener_->shared->stats.listener_filter_error.add();
    return d.drop(false);
  }
  if (a.data.empty() || !d.inspect()) return d.read_ahead();
  if (d.dropping_) return;
  ++d.listener_filter_;
  d.run_listener_filters();
}

void Downstream::listener_filters_timeout(io::Timer& timer) {
  Downstream& d = *timer.owner<Downstream>();
  d.listener_->shared->stats.pre_cx_timeout.add();
  SLUICE_LOG(listener, debug, "[C{}] listener filters timed out", d.info_.connection_id);
  if (!d.listener_->config->continue_on_listener_filters_timeout) return d.drop(false);
  d.listener_filters_done();
}

void Downstream::leave_pre_cx() {
  if (!std::exchange(pre_cx_, false)) return;
  listener_->shared->stats.pre_cx_active.sub();
}

void Downstream::listener_filters_done() {
  if (ahead_) {
    ahead_->timer.cancel();
    if (ahead_->recv.in_flight()) {
      // The kernel still owns a receive: go on when it has let go.
      ahead_->finished = true;
      ahead_->then = &Downstream::listener_filters_done;
      return loop().cancel(ahead_->recv);
    }
  }
  leave_pre_cx();
  if (info_.local_address_restored && !handed_off_)
    probes::original_dst(info_.connection_id, info_.downstream_local);
  if (listener_->config->use_original_dst && info_.local_address_restored && !handed_off_) {
    if (auto target = worker_.listeners().by_address(info_.downstream_local); target && target != listener_) {
      // Once only, so that two listeners cannot pass a connection back and forth.
      handed_off_ = true;
      SLUICE_LOG(listener, debug, "[C{}] handed off from {} to {}", info_.connection_id,
                 *listener_->config->name, *target->config->name);
      listener_ = std::move(target);
      info_.listener_name = listener_->config->name;
      listener_filter_ = 0;
      return run_listener_filters();
    }
  }
  if (info_.transport_protocol.empty()) info_.transport_protocol = "raw_buffer";
  ChainRuntime* chain = listener_->find_chain({.destination = info_.downstream_local,
                                               .source = info_.downstream_remote,
                                               .direct_source = info_.downstream_direct_remote,
                                               .server_name = info_.requested_server_name,
                                               .transport_protocol = info_.transport_protocol,
                                               .application_protocols = info_.application_protocols});
  if (!chain) {
    listener_->shared->stats.no_filter_chain_match.add();
    probes::chain(info_.connection_id, listener_->config->name->c_str(), "", false);
    SLUICE_LOG(listener, debug, "[C{}] closing: no filter chain of {} matches {} from {}",
               info_.connection_id, *listener_->config->name, info_.downstream_local.to_string(),
               info_.downstream_remote.to_string());
    info_.flags.set(ext::ResponseFlag::no_route_found);
    info_.response_code_details = "filter_chain_not_found";
    return drop(false);
  }
  open(*chain);
}

void Downstream::drop(bool reset) {
  dropping_ = true;
  drop_reset_ |= reset;
  leave_pre_cx();
  if (ahead_) {
    ahead_->timer.cancel();
    if (ahead_->recv.in_flight()) {
      ahead_->finished = true;
      ahead_->then = &Downstream::end;
      return loop().cancel(ahead_->recv);
    }
  }
  end();
}

// ---- the filter chain ----

void Downstream::open(ChainRuntime& chain) {
  chain_ = &chain;
  info_.filter_chain_name = chain.config->name;
  probes::chain(info_.connection_id, listener_->config->name->c_str(), chain.config->name->c_str(), true);
  in_chain_ = true;
  ++listener_->shared->active;
  listener_->shared->stats.cx_total.add();
  listener_->shared->stats.cx_active.add();
  listener_->shared->stats.worker_cx_total.add();
  listener_->shared->stats.worker_cx_active.add();
  SLUICE_LOG(connection, debug, "[C{}] new connection from {} to {}", info_.connection_id,
             info_.downstream_remote.to_string(), info_.downstream_local.to_string());

  ext::TransportSocketPtr transport;
  if (chain.transport) {
    transport = chain.transport->make({.workload = workload_ ? workload_->netns_cookie : 0,
                                       .local = &info_.downstream_local,
                                       .remote = &info_.downstream_remote},
                                      info_.downstream_transport_failure_reason);
    if (!transport) {
      SLUICE_LOG(connection, debug, "[C{}] closing: {}", info_.connection_id,
                 info_.downstream_transport_failure_reason);
      return drop(false);
    }
    if (const Duration t = chain.config->transport_socket_connect_timeout; t.count() > 0) {
      transport_timer_ = std::make_unique<io::Timer>(loop().timers(), &transport_timeout, this);
      transport_timer_->arm(loop().now() + t);
    }
  }
  connection_ = net::Connection::create(
      loop(), fd_, {.id = info_.connection_id, .buffer_limit = listener_->config->buffer_limit}, *this,
      std::move(transport));
  connection_->keep(listener_);  // and with it the chain's transport, whose statistics the socket counts
  fd_ = -1;
  if (ahead_) {
    connection_->unread(std::move(ahead_->data), end_stream_);
    ahead_.reset();
  }
  filters_.reserve(chain.filters.size());
  for (const auto& make : chain.filters) {
    filters_.push_back(make());
    filters_.back()->init(*this);
  }
  connection_->start(info_.downstream_local, info_.downstream_remote);
  run_new_connection();
}

void Downstream::run_new_connection() {
  while (initialised_ < filters_.size()) {
    if (filters_[initialised_++]->on_new_connection() == ext::FilterStatus::stop) return;
    if (!connection_->open()) return;
  }
}

void Downstream::on_secured(net::Connection& c) {
  transport_timer_.reset();
  info_.downstream_tls = c.tls_info();
  for (auto& f : filters_) {
    f->on_secured();
    if (!connection_->open()) return;
  }
}

void Downstream::transport_timeout(io::Timer& timer) {
  Downstream& d = *timer.owner<Downstream>();
  d.listener_->shared->stats.transport_timeout.add();
  d.connection_->close(ext::CloseKind::no_flush, "transport socket timeout was reached");
}

void Downstream::on_data(net::Connection&, Buffer& data, bool end_stream) {
  run_filters(std::exchange(resume_at_, 0), data, end_stream);
}

void Downstream::run_filters(size_t from, Buffer& data, bool end_stream) {
  for (size_t i = from; i < filters_.size(); ++i) {
    if (i >= initialised_) {
      ++initialised_;
      if (filters_[i]->on_new_connection() == ext::FilterStatus::stop) return;
    }
    if (!connection_->open()) return;
    stopped_at_ = i;
    if (filters_[i]->on_data(data, end_stream) == ext::FilterStatus::stop) return;
    if (data.empty() && !end_stream) return;
  }
}

void Downstream::continue_reading() {
  run_new_connection();
  resume_at_ = stopped_at_ + 1;
  connection_->redeliver();
}

void Downstream::on_above_high_watermark(ext::Connection& c) {
  for (auto& f : filters_) f->on_above_high_watermark(c);
}

void Downstream::on_below_low_watermark(ext::Connection& c) {
  for (auto& f : filters_) f->on_below_low_watermark(c);
}

void Downstream::on_sent(ext::Connection& c, size_t bytes) {
  for (auto& f : filters_) f->on_sent(c, bytes);
}

void Downstream::on_closed(ext::Connection& c, const ext::CloseEvent& event) {
  transport_timer_.reset();
  if (info_.termination_details.empty()) info_.termination_details = connection_->close_details();
  if (info_.downstream_transport_failure_reason.empty())
    info_.downstream_transport_failure_reason = connection_->transport_failure();
  for (auto& f : filters_) f->on_closed(c, event);
  end();
}

// The last phase, on every path, once.
void Downstream::end() {
  info_.end = loop().now();
  for (auto& f : filters_) f->on_end();
  probes::closed(info_.connection_id, info_.bytes_received, info_.bytes_sent,
                 info_.termination_details.c_str(), (info_.end - info_.start).count(),
                 static_cast<int>(info_.downstream_close));
  for (const auto& log : listener_->config->access_logs)
    log->log(info_, ext::AccessLogType::tcp_connection_end);
  if (std::exchange(in_chain_, false)) {
    --listener_->shared->active;
    listener_->shared->stats.cx_active.sub();
    listener_->shared->stats.cx_destroy.add();
    listener_->shared->stats.worker_cx_active.sub();
    listener_->shared->stats.cx_length_ms.record(static_cast<uint64_t>(
        std::chrono::duration_cast<std::chrono::milliseconds>(info_.end - info_.start).count()));
  }
  if (fd_ >= 0) {
    if (drop_reset_)
      loop().close_reset(fd_);
    else
      loop().close(fd_);
    fd_ = -1;
  }
  (prev_ ? prev_->next_ : worker_.connections_) = next_;
  if (next_) next_->prev_ = prev_;
  worker_.connection_ended();
  loop().defer_delete(std::unique_ptr<io::Deferred>(this));
}

bool Downstream::draining() const {
  const MonotonicTime now = worker_.loop().now();
  const Drain* process = worker_.drainer().of_process(*listener_->config);
  return (process && process->ends_now(now, worker_.random())) ||
         (chain_ && chain_->drain && chain_->drain->ends_now(now, worker_.random()));
}

void Downstream::close_drained() {
  if (connection_ && connection_->open()) connection_->close(ext::CloseKind::flush, "drain_timeout");
}

void Downstream::drain() {
  if (!connection_ || std::exchange(told_to_drain_, true)) return;
  for (auto& f : filters_) f->on_drain();
}

void Downstream::abort() {
  if (connection_)
    connection_->close(ext::CloseKind::reset, "drained");
  else if (!dropping_)
    drop(true);
}

std::optional<Address> Downstream::original_destination() {
  OriginalDestinations* source = worker_.original_destinations();
  if (!source) return std::nullopt;
  auto found = source->find(fd_, info_.downstream_direct_local, listening_);
  if (found) found = found->unmapped();
  return found;
}

// Taken on its way in: the application's answers to the caller's address have to come back to us. A connection on its way
// out (redirected, so it arrived on loopback) has the pod's own address as its source, and answers find that.
bool Downstream::needs_return_path() const {
  return workload_ && info_.upstream_source.valid() && !info_.downstream_direct_local.ip().is_loopback();
}

ext::Upstream::Origin Downstream::origin() {
  ext::Upstream::Origin o;
  o.stream = &info_;
  o.own_listeners = &worker_.loop_guard();
  if (workload_) {
    o.netns_fd = workload_->netns.get();
    o.netns_cookie = workload_->netns_cookie;
    o.mark = workload_->mark;
  }
  if (info_.upstream_source.valid()) {
    o.source = info_.upstream_source;
    o.transparent = true;
    if (needs_return_path()) {
      o.mark = workload_->transparent_mark;
      o.within_netns = true;
    }
  }
  // In a workload the marks are ours to choose: a configuration that says another is refused at the start.
  if (!workload_ && info_.upstream_mark != 0) o.mark = info_.upstream_mark;
  return o;
}

ConnectionSnapshot Downstream::snapshot() {
  for (auto& f : filters_) f->refresh_stream_info();
  auto text = [](const std::shared_ptr<const std::string>& s) { return s ? *s : std::string(); };
  return {
      .id = info_.connection_id,
      .workload = text(info_.workload),
      .listener = text(info_.listener_name),
      .filter_chain = text(info_.filter_chain_name),
      .cluster = info_.upstream_cluster,
      .downstream_local = info_.downstream_direct_local,
      .downstream_remote = info_.downstream_direct_remote,
      .original_destination = info_.local_address_restored ? info_.downstream_local : Address(),
      .upstream_local = info_.upstream_local,
      .upstream_remote = info_.upstream_remote,
      .bytes_received = info_.bytes_received,
      .bytes_sent = info_.bytes_sent,
      .age_ms =
          std::chrono::duration_cast<std::chrono::milliseconds>(worker_.loop().now() - info_.start).count()};
}

}  // namespace sluice::proxy
