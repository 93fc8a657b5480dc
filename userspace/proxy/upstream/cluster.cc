#include "proxy/upstream/cluster.h"

#include <algorithm>

#include "core/log.h"
#include "proxy/upstream/http_pool.h"
#include "proxy/upstream/transport_match_stats.h"
#include "proxy/upstream/upstream_connection.h"

namespace sluice::upstream {

// ---- ORIGINAL_DST ----

HostPtr OriginalDstHosts::find_or_add(const Address& address, const std::string& hostname, bool& added) {
  std::lock_guard lock(mutex_);
  HostPtr& host = hosts_[address];
  added = host == nullptr;
  if (added)
    host = std::make_shared<Host>(Host::Description{.address = address, .hostname = hostname, .locality = {}},
                                  slots_);
  return host;
}

size_t OriginalDstHosts::sweep() {
  std::lock_guard lock(mutex_);
  // Workers and connections hold references of their own; new ones are taken under the lock only.
  return std::erase_if(hosts_, [](const auto& entry) { return entry.second.use_count() == 1; });
}

HostVector OriginalDstHosts::all() const {
  std::lock_guard lock(mutex_);
  HostVector out;
  out.reserve(hosts_.size());
  for (const auto& [address, host] : hosts_) out.push_back(host);
  return out;
}

// ---- shared ----

SharedCluster::SharedCluster(std::shared_ptr<const model::Cluster> c, stats::Store& store, std::string zone)
    : config(std::move(c)),
      observability_name(config->alt_stat_name.empty() ? config->name : config->alt_stat_name),
      stats(store.root(0).scope("cluster").scope(observability_name).lease()),
      slots(store.slots()),
      own_zone(std::move(zone)),
      breakers{Breakers(config->circuit_breaker[0]), Breakers(config->circuit_breaker[1])},
      original_dst(slots) {}

SharedCluster::Breakers::Breakers(const model::CircuitBreaker& c)
    : connections(c.max_connections),
      pending(c.max_pending_requests, c.retry_budget.has_value()),
      requests(c.max_requests, c.retry_budget.has_value()),
      retries(c.retry_budget ? ~0u : c.max_retries, c.retry_budget.has_value()),
      pools(c.max_connection_pools) {}

namespace {

LimitHandle limit_handle(SharedLimit& limit, stats::Gauge open,
                         const std::optional<stats::Gauge>& remaining) {
  return remaining ? LimitHandle(limit, open, *remaining) : LimitHandle(limit, open);
}

}  // namespace

Breakers::Breakers(SharedCluster::Breakers& s, const model::CircuitBreaker& c, const BreakerStats& stats)
    : connections(limit_handle(s.connections, stats.cx_open, stats.remaining_cx)),
      pending(limit_handle(s.pending, stats.rq_pending_open, stats.remaining_pending)),
      requests(limit_handle(s.requests, stats.rq_open, stats.remaining_rq)),
      retries(limit_handle(s.retries, stats.rq_retry_open,
                           c.retry_budget ? std::nullopt : stats.remaining_retries)),
      pools(limit_handle(s.pools, stats.cx_pool_open, stats.remaining_cx_pools)) {}

// ---- on a worker ----

WorkerCluster::WorkerCluster(std::shared_ptr<SharedCluster> shared, io::Loop& loop,
                             const stats::Scope& stats_root, Random& random)
    : shared_(std::move(shared)),
      loop_(loop),
      slot_(stats_root.slot()),
      scope_(stats_root.scope("cluster").scope(shared_->observability_name)),
      stats_(scope_),
      transports_(config(), scope_, loop),
      breakers_{Breakers(shared_->breakers[0], config().circuit_breaker[0],
                         BreakerStats(scope_, Priority::normal, config().circuit_breaker[0])),
                Breakers(shared_->breakers[1], config().circuit_breaker[1],
                         BreakerStats(scope_, Priority::high, config().circuit_breaker[1]))},
      lb_stats_(scope_),
      drop_overload_(config().drop_overload),
      balancer_(config().lb, {random, lb_stats_, &loop}),
      forget_timer_(loop.timers(), &forget, this) {
  if (config().lb.subsets)
    subsets_ = std::make_unique<SubsetBalancer>(config().lb, LbEnvironment{random, lb_stats_, &loop}, scope_);
}

WorkerCluster::~WorkerCluster() = default;

void WorkerCluster::set_hosts(HostSetPtr hosts) {
  if (http_) http_->retain(*hosts);
  drop_overload_ = hosts->drop_overload;
  subsets_ ? subsets_->update(std::move(hosts)) : balancer_.update(std::move(hosts));
}

void WorkerCluster::hosts_failed(const HostVector& hosts) {
  if (http_) http_->drain_hosts(hosts);
  closable_.each([&](UpstreamConnection& c) {
    const bool failed =
        std::ranges::any_of(hosts, [&](const HostPtr& h) { return h->identity() == c.host()->identity(); });
    if (failed) c.host_failed();  // may destroy it
  });
}

ext::Cluster::Membership WorkerCluster::membership() const {
  if (config().type == model::ClusterType::original_dst)
    return {.total = original_dst_.size(), .healthy = original_dst_.size()};
  const HostSetPtr& hosts = balancer_.hosts();
  if (!hosts) return {};
  return {.total = hosts->size(), .healthy = hosts->healthy(), .degraded = hosts->degraded()};
}

ext::HttpCluster* WorkerCluster::http() {
  if (!http_) http_ = std::make_unique<HttpPools>(*this);
  return http_.get();
}

void WorkerCluster::drain() {
  if (http_) http_->drain();
}

void WorkerCluster::close() {
  if (http_) http_->close();
}

void WorkerCluster::forget_origin(uint64_t netns_cookie) {
  if (http_) http_->forget_origin(netns_cookie);
  transports_.forget_workload(netns_cookie);
}

std::unique_ptr<ext::Upstream> WorkerCluster::connect(const ext::Upstream::Origin& origin,
                                                      ext::Upstream::Callbacks& callbacks) {
  auto upstream = std::make_unique<UpstreamConnection>(shared_from_this(), callbacks);
  upstream->connect(origin);
  if (config().close_connections_on_health_failure && upstream->host()) closable_.push_back(*upstream);
  return upstream;
}

HostPtr WorkerCluster::choose_host(const ext::Upstream::Origin& origin) {
  if (config().type == model::ClusterType::original_dst) return original_dst_host(origin);
  const HostPtr* host = subsets_ ? subsets_->choose(origin.lb) : balancer_.choose(origin.lb);
  return host ? *host : nullptr;
}

HostPtr WorkerCluster::original_dst_host(const ext::Upstream::Origin& origin) {
  if (!origin.stream || !origin.stream->local_address_restored || !origin.stream->downstream_local.is_ip()) {
    SLUICE_LOG(upstream, debug, "cluster {}: the connection has no original destination", name());
    return nullptr;
  }
  Address destination = origin.stream->downstream_local.unmapped();
  if (uint16_t port = config().original_dst_port_override) destination = destination.with_port(port);
  if (origin.own_listeners && origin.own_listeners->refuses(destination, origin)) {
    stats_.original_dst_host_invalid.add();
    SLUICE_LOG(upstream, warn,
               "cluster {}: refused {} as original destination, it is a listener of this proxy", name(),
               destination.to_string());
    return nullptr;
  }
  auto [it, is_new] = original_dst_.try_emplace(destination);
  it->second.used = true;
  if (!is_new) return it->second.host;
  bool added = false;
  it->second.host = shared_->original_dst.find_or_add(destination, name() + destination.to_string(), added);
  if (added) {
    TransportMatchStats(config(), scope_).count(nullptr);
    stats_.membership_change.add();
    stats_.membership_total.add();
    stats_.membership_healthy.add();
  }
  if (!forget_timer_.armed()) forget_timer_.arm(loop_.now() + config().cleanup_interval);
  return it->second.host;
}

// Hosts that were not chosen since the last time and have no connection here go. The control thread sweeps after us.
void WorkerCluster::forget(io::Timer& timer) {
  WorkerCluster& self = *timer.owner<WorkerCluster>();
  for (auto it = self.original_dst_.begin(); it != self.original_dst_.end();) {
    Remembered& r = it->second;
    bool busy = r.host->counters(self.slot_).cx_active.load(std::memory_order_relaxed) > 0;
    if (std::exchange(r.used, false) || busy)
      ++it;
    else
      it = self.original_dst_.erase(it);
  }
  if (!self.original_dst_.empty()) timer.arm(self.loop_.now() + self.config().cleanup_interval);
}

}  // namespace sluice::upstream
