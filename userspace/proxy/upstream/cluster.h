#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>

#include "core/stats.h"
#include "io/loop.h"
#include "model/cluster.h"
#include "proxy/upstream/circuit_breaker.h"
#include "proxy/upstream/cluster_stats.h"
#include "proxy/upstream/health_checker.h"
#include "proxy/upstream/host.h"
#include "proxy/upstream/intrusive_list.h"
#include "proxy/upstream/load_balancer.h"
#include "proxy/upstream/outlier_detection.h"
#include "proxy/upstream/subsets.h"
#include "proxy/upstream/transports.h"
#include "sluice/ext/http_upstream.h"
#include "sluice/ext/upstream.h"

namespace sluice::upstream {

// The hosts of an ORIGINAL_DST cluster: made by the worker that needs one first, shared by all, gone some time after
// the last worker has forgotten it. Locked only when a worker meets an address that is new to it.
class OriginalDstHosts {
 public:
  explicit OriginalDstHosts(unsigned slots) : slots_(slots) {}
  // `added`: this call made the host.
  HostPtr find_or_add(const Address& address, const std::string& hostname, bool& added);
  // Drops hosts that nobody uses any more; how many.
  size_t sweep();
  HostVector all() const;

 private:
  const unsigned slots_;
  mutable std::mutex mutex_;
  std::unordered_map<Address, HostPtr> hosts_;
};

// What all workers share of one cluster. Immutable but for the limits and the ORIGINAL_DST hosts.
struct SharedCluster {
  SharedCluster(std::shared_ptr<const model::Cluster> config, stats::Store& store, std::string own_zone = {});

  const std::shared_ptr<const model::Cluster> config;
  const std::string observability_name;
  const stats::Lease stats;  // of "cluster.<name>."
  const unsigned slots;
  const std::string own_zone;  // of the proxy; "": not known
  // Of one routing priority; TCP has DEFAULT alone.
  struct Breakers {
    explicit Breakers(const model::CircuitBreaker& config);
    SharedLimit connections, pending, requests, retries, pools;
  };
  Breakers breakers[2];
  OriginalDstHosts original_dst;
  OutlierReporter outlier;  // set before any worker has this
  HealthReporter health;  // likewise
  // A connection to a host of it was begun, for the first time or again.
  void note_traffic() const {
    if (!had_traffic()) traffic_.store(true, std::memory_order_relaxed);
  }
  bool had_traffic() const { return traffic_.load(std::memory_order_relaxed); }

 private:
  mutable std::atomic<bool> traffic_{false};
};

class HttpPools;
class UpstreamConnection;

// The circuit breakers of one routing priority, as one worker uses them.
struct Breakers {
  Breakers(SharedCluster::Breakers& shared, const model::CircuitBreaker& config, const BreakerStats& stats);
  LimitHandle connections, pending, requests, retries, pools;
};

// One cluster on one worker. Kept alive by its connections.
class WorkerCluster final : public ext::Cluster, public std::enable_shared_from_this<WorkerCluster> {
 public:
  // `stats_root`: of the worker's slot.
  WorkerCluster(std::shared_ptr<SharedCluster> shared, io::Loop& loop, const stats::Scope& stats_root,
                Random& random);

  ~WorkerCluster() override;
  void set_hosts(HostSetPtr hosts);
  // They have become unhealthy: HTTP connections to them drain, those of TCP are closed where the cluster says so.
  void hosts_failed(const HostVector& hosts);
  // The cluster was replaced or removed: idle HTTP connections are closed, those in use when they fall idle.
  void drain();
  // The worker ends: no HTTP connection stays.
  void close();

  // ext::Cluster
  const std::string& name() const override { return shared_->config->name; }
  const std::string& observability_name() const override { return shared_->observability_name; }
  void note_connect_attempts_exceeded() override { stats_.upstream_cx_connect_attempts_exceeded.add(); }
  std::unique_ptr<ext::Upstream> connect(const ext::Upstream::Origin& origin,
                                         ext::Upstream::Callbacks& callbacks) override;
  Membership membership() const override;

  ext::HttpCluster* http() override;
  // The HTTP connections opened in that network namespace are drained: its workload has gone.
  void forget_origin(uint64_t netns_cookie);

  // Null: nobody.
  HostPtr choose_host(const ext::Upstream::Origin& origin);

  const model::Cluster& config() const { return *shared_->config; }
  // As the configuration or, for EDS, the last assignment says.
  const std::optional<model::Fraction>& drop_overload() const { return drop_overload_; }
  io::Loop& loop() { return loop_; }
  ClusterStats& stats() { return stats_; }
  unsigned slot() const { return slot_; }
  using Priority = ext::RoutingPriority;
  Breakers& breakers(Priority p) { return breakers_[static_cast<size_t>(p)]; }
  LimitHandle& connections(Priority p = Priority::normal) { return breakers(p).connections; }
  LimitHandle& pending(Priority p = Priority::normal) { return breakers(p).pending; }
  LimitHandle& requests(Priority p = Priority::normal) { return breakers(p).requests; }
  const SharedCluster& shared() const { return *shared_; }
  const stats::Scope& scope() const { return scope_; }
  const Transports& transports() const { return transports_; }
  uint64_t next_connection_id() { return ++connection_ids_; }
  // ORIGINAL_DST hosts this worker remembers.
  size_t remembered_hosts() const { return original_dst_.size(); }

 private:
  struct Remembered {
    HostPtr host;
    bool used;  // since the last forget()
  };
  HostPtr original_dst_host(const ext::Upstream::Origin& origin);
  static void forget(io::Timer& timer);

  std::shared_ptr<SharedCluster> shared_;
  io::Loop& loop_;
  const unsigned slot_;
  const stats::Scope scope_;  // "cluster.<name>."
  ClusterStats stats_;
  Transports transports_;
  Breakers breakers_[2];
  LbStats lb_stats_;
  std::optional<model::Fraction> drop_overload_;
  LoadBalancer balancer_;
  std::unique_ptr<SubsetBalancer> subsets_;  // with lb_subset_config: instead of balancer_
  std::unordered_map<Address, Remembered> original_dst_;
  io::Timer forget_timer_;
  uint64_t connection_ids_ = 0;
  List<UpstreamConnection> closable_;  // with close_connections_on_health_failure
  std::unique_ptr<HttpPools> http_;  // made when HTTP first asks
};

}  // namespace sluice::upstream
