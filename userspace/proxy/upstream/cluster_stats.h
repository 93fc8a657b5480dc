#pragma once

#include <memory>
#include <optional>
#include <string>

#include "core/stats.h"
#include "proxy/upstream/hash_table.h"
#include "proxy/upstream/subsets.h"
#include "proxy/upstream/zones.h"

namespace sluice::upstream {

// The metrics under "cluster.<name>." that TCP touches, for one thread. Names:
// https://www.envoyproxy.io/docs/envoy/latest/configuration/upstream/cluster_manager/cluster_stats
struct ClusterStats {
  explicit ClusterStats(const stats::Scope& cluster);
  // Makes every metric that Envoy shows for a cluster, also those that stay 0 here: dashboards ask for them.
  static void declare_all(const stats::Scope& cluster);

  stats::Counter upstream_cx_total, upstream_cx_connect_fail, upstream_cx_connect_timeout,
      upstream_cx_connect_attempts_exceeded, upstream_cx_overflow, upstream_cx_none_healthy,
      upstream_cx_destroy, upstream_cx_destroy_local, upstream_cx_destroy_remote,
      upstream_cx_destroy_with_active_rq, upstream_cx_destroy_local_with_active_rq,
      upstream_cx_destroy_remote_with_active_rq, upstream_cx_rx_bytes_total, upstream_cx_tx_bytes_total,
      upstream_flow_control_backed_up_total, upstream_flow_control_drained_total, upstream_rq_total,
      upstream_rq_pending_total, upstream_rq_pending_overflow, upstream_rq_pending_failure_eject,
      upstream_rq_cancelled, bind_errors, original_dst_host_invalid, membership_change;
  stats::Gauge upstream_cx_active, upstream_cx_rx_bytes_buffered, upstream_cx_tx_bytes_buffered,
      upstream_rq_active, upstream_rq_pending_active, membership_total, membership_healthy;
  stats::Histogram upstream_cx_connect_ms, upstream_cx_length_ms;
};

// "circuit_breakers.<priority>.*", for one thread. What remains is shown where the configuration asks for it.
struct BreakerStats {
  BreakerStats(const stats::Scope& cluster, ext::RoutingPriority priority,
               const model::CircuitBreaker& config);
  stats::Gauge cx_open, cx_pool_open, rq_open, rq_pending_open, rq_retry_open;
  std::optional<stats::Gauge> remaining_cx, remaining_cx_pools, remaining_pending, remaining_retries,
      remaining_rq;
};

// What the control thread counts for a cluster: its configuration and its members.
struct ClusterUpdateStats {
  explicit ClusterUpdateStats(const stats::Scope& cluster);
  stats::Counter update_attempt, update_success, update_failure, update_empty, update_no_rebuild,
      membership_change;
  stats::Gauge membership_total, membership_healthy, membership_degraded, membership_excluded,
      max_host_weight, version, warming_state;
};

// "lb_subsets_*" of a cluster with lb_subset_config, as far as its hosts decide them. Each subset counts once; Envoy counts
// it on each of its threads.
class SubsetStats {
 public:
  explicit SubsetStats(const stats::Scope& cluster);
  ~SubsetStats() { set(nullptr); }
  SubsetStats(const SubsetStats&) = delete;
  SubsetStats& operator=(const SubsetStats&) = delete;
  void set(std::shared_ptr<const SubsetIndex> now);  // null: the cluster goes

 private:
  std::shared_ptr<const SubsetIndex> now_;
  stats::Gauge active_, duplicates_;
  stats::Counter created_, removed_;
};

// Of zone aware routing, as far as the hosts decide it.
struct ZoneStats {
  explicit ZoneStats(const stats::Scope& cluster);
  void count(const ZoneRouting* made);  // null: not by zones
  stats::Counter lb_recalculate_zone_structures, lb_local_cluster_not_ok, lb_zone_cluster_too_small;
};

// "ring_hash_lb.*" or "maglev_lb.*" of a cluster with such an LB policy.
struct HashTableStats {
  HashTableStats(const stats::Scope& cluster, model::LbPolicy policy);
  void set(const HashTable::Size& of);
  std::optional<stats::Gauge> size;  // a ring's
  stats::Gauge min, max;
};

}  // namespace sluice::upstream
