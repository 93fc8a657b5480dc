#include "proxy/upstream/cluster_stats.h"

#include <string_view>

#include "model/subsets.h"
#include "proxy/upstream/transport_match_stats.h"

namespace sluice::upstream {
namespace {

using stats::Kind;
using stats::Layout;
using stats::Unit;

// What workers count, and what Envoy shows beside it.
const Layout& traffic_layout() {
  static const Layout layout([] {
    std::vector<Layout::Item> items;
    for (std::string_view name : {
             "upstream_cx_total",
             "upstream_cx_connect_fail",
             "upstream_cx_connect_timeout",
             "upstream_cx_connect_attempts_exceeded",
             "upstream_cx_overflow",
             "upstream_cx_none_healthy",
             "upstream_cx_destroy",
             "upstream_cx_destroy_local",
             "upstream_cx_destroy_remote",
             "upstream_cx_destroy_with_active_rq",
             "upstream_cx_destroy_local_with_active_rq",
             "upstream_cx_destroy_remote_with_active_rq",
             "upstream_cx_rx_bytes_total",
             "upstream_cx_tx_bytes_total",
             "upstream_flow_control_backed_up_total",
             "upstream_flow_control_drained_total",
             "upstream_rq_total",
             "upstream_rq_pending_total",
             "upstream_rq_pending_overflow",
             "upstream_rq_pending_failure_eject",
             "upstream_rq_cancelled",
             "bind_errors",
             "lb_healthy_panic",
             "original_dst_host_invalid",
             "assignment_stale",
             "assignment_timeout_received",
             "assignment_use_cached",
             "lb_subsets_created",
             "lb_subsets_fallback",
             "lb_subsets_fallback_panic",
             "lb_subsets_removed",
             "lb_subsets_selected",
             "lb_zone_no_capacity_left",
             "lb_zone_routing_all_directly",
             "lb_zone_routing_cross_zone",
             "lb_zone_routing_sampled",
             "retry_or_shadow_abandoned",
             "upstream_cx_close_notify",
             "upstream_cx_connect_with_0_rtt",
             "upstream_cx_http1_total",
             "upstream_cx_http2_total",
             "upstream_cx_http3_total",
             "upstream_cx_idle_timeout",
             "upstream_cx_max_duration_reached",
             "upstream_cx_max_requests",
             "upstream_cx_pool_overflow",
             "upstream_cx_preconnect_skipped",
             "upstream_cx_protocol_error",
             "upstream_flow_control_paused_reading_total",
             "upstream_flow_control_resumed_reading_total",
             "upstream_http3_broken",
             "upstream_internal_redirect_failed_total",
             "upstream_internal_redirect_succeeded_total",
             "upstream_queue_overloaded",
             "upstream_rq_0rtt",
             "upstream_rq_active_overflow",
             "upstream_rq_completed",
             "upstream_rq_maintenance_mode",
             "upstream_rq_max_duration_reached",
             "upstream_rq_per_try_idle_timeout",
             "upstream_rq_per_try_timeout",
             "upstream_rq_retry",
             "upstream_rq_retry_backoff_exponential",
             "upstream_rq_retry_backoff_ratelimited",
             "upstream_rq_retry_limit_exceeded",
             "upstream_rq_retry_overflow",
             "upstream_rq_retry_success",
             "upstream_rq_rx_reset",
             "upstream_rq_rx_reset_no_error",
             "upstream_rq_timeout",
             "upstream_rq_tx_reset",
         })
      items.push_back({name, Kind::counter});
    for (std::string_view name : {
             "upstream_cx_active",
             "upstream_cx_rx_bytes_buffered",
             "upstream_cx_tx_bytes_buffered",
             "upstream_rq_active",
             "upstream_rq_pending_active",
             "lb_subsets_active",
         })
      items.push_back({name, Kind::gauge});
    items.push_back({"upstream_cx_connect_ms", Kind::histogram, Unit::milliseconds});
    items.push_back({"upstream_cx_length_ms", Kind::histogram, Unit::milliseconds});
    items.push_back({"upstream_rq_per_cx", Kind::histogram, Unit::none});
    return items;
  }());
  return layout;
}

// What the control thread counts; workers count ORIGINAL_DST members, too.
const Layout& update_layout() {
  static const Layout layout({
      {"update_attempt", Kind::counter},
      {"update_success", Kind::counter},
      {"update_failure", Kind::counter},
      {"update_empty", Kind::counter},
      {"update_no_rebuild", Kind::counter},
      {"membership_change", Kind::counter},
      {"membership_total", Kind::gauge},
      {"membership_healthy", Kind::gauge},
      {"membership_degraded", Kind::gauge},
      {"membership_excluded", Kind::gauge},
      {"max_host_weight", Kind::gauge},
      {"version", Kind::gauge},
      {"warming_state", Kind::gauge},
      {"lb_recalculate_zone_structures", Kind::counter},
      {"lb_local_cluster_not_ok", Kind::counter},
      {"lb_zone_cluster_too_small", Kind::counter},
      {"default.total_match_count", Kind::counter},
  });
  return layout;
}

const Layout& breaker_layout() {
#define SLUICE_GAUGE(name)                           \
  {"circuit_breakers.default." name, Kind::gauge}, { \
    "circuit_breakers.high." name, Kind::gauge       \
  }
  static const Layout layout({SLUICE_GAUGE("cx_open"), SLUICE_GAUGE("cx_pool_open"), SLUICE_GAUGE("rq_open"),
                              SLUICE_GAUGE("rq_pending_open"), SLUICE_GAUGE("rq_retry_open")});
  return layout;
}

// With track_remaining, of one priority.
const Layout& remaining_layout(bool high) {
  static const Layout layouts[] = {
#define SLUICE_PRIORITY(priority)                                            \
  Layout({{"circuit_breakers." priority ".remaining_cx", Kind::gauge},       \
          {"circuit_breakers." priority ".remaining_cx_pools", Kind::gauge}, \
          {"circuit_breakers." priority ".remaining_pending", Kind::gauge},  \
          {"circuit_breakers." priority ".remaining_retries", Kind::gauge},  \
          {"circuit_breakers." priority ".remaining_rq", Kind::gauge}})
      SLUICE_PRIORITY("default"), SLUICE_PRIORITY("high")};
#undef SLUICE_PRIORITY
#undef SLUICE_GAUGE
  return layouts[high];
}

}  // namespace

ClusterStats::ClusterStats(const stats::Scope& s) {
  const stats::Block traffic = s.block(traffic_layout()), update = s.block(update_layout());
#define SLUICE_COUNTER(name) name = traffic.counter(#name)
#define SLUICE_GAUGE(name) name = traffic.gauge(#name)
  SLUICE_COUNTER(upstream_cx_total);
  SLUICE_COUNTER(upstream_cx_connect_fail);
  SLUICE_COUNTER(upstream_cx_connect_timeout);
  SLUICE_COUNTER(upstream_cx_connect_attempts_exceeded);
  SLUICE_COUNTER(upstream_cx_overflow);
  SLUICE_COUNTER(upstream_cx_none_healthy);
  SLUICE_COUNTER(upstream_cx_destroy);
  SLUICE_COUNTER(upstream_cx_destroy_local);
  SLUICE_COUNTER(upstream_cx_destroy_remote);
  SLUICE_COUNTER(upstream_cx_destroy_with_active_rq);
  SLUICE_COUNTER(upstream_cx_destroy_local_with_active_rq);
  SLUICE_COUNTER(upstream_cx_destroy_remote_with_active_rq);
  SLUICE_COUNTER(upstream_cx_rx_bytes_total);
  SLUICE_COUNTER(upstream_cx_tx_bytes_total);
  SLUICE_COUNTER(upstream_flow_control_backed_up_total);
  SLUICE_COUNTER(upstream_flow_control_drained_total);
  SLUICE_COUNTER(upstream_rq_total);
  SLUICE_COUNTER(upstream_rq_pending_total);
  SLUICE_COUNTER(upstream_rq_pending_overflow);
  SLUICE_COUNTER(upstream_rq_pending_failure_eject);
  SLUICE_COUNTER(upstream_rq_cancelled);
  SLUICE_COUNTER(bind_errors);
  SLUICE_COUNTER(original_dst_host_invalid);
  SLUICE_GAUGE(upstream_cx_active);
  SLUICE_GAUGE(upstream_cx_rx_bytes_buffered);
  SLUICE_GAUGE(upstream_cx_tx_bytes_buffered);
  SLUICE_GAUGE(upstream_rq_active);
  SLUICE_GAUGE(upstream_rq_pending_active);
#undef SLUICE_COUNTER
#undef SLUICE_GAUGE
  membership_change = update.counter("membership_change");
  membership_total = update.gauge("membership_total");
  membership_healthy = update.gauge("membership_healthy");
  upstream_cx_connect_ms = traffic.histogram("upstream_cx_connect_ms");
  upstream_cx_length_ms = traffic.histogram("upstream_cx_length_ms");
}

BreakerStats::BreakerStats(const stats::Scope& s, ext::RoutingPriority priority,
                           const model::CircuitBreaker& config) {
  const bool high = priority == ext::RoutingPriority::high;
  const std::string prefix = high ? "circuit_breakers.high." : "circuit_breakers.default.";
  const stats::Block block = s.block(breaker_layout());
#define SLUICE_GAUGE(name) name = block.gauge(prefix + #name)
  SLUICE_GAUGE(cx_open);
  SLUICE_GAUGE(cx_pool_open);
  SLUICE_GAUGE(rq_open);
  SLUICE_GAUGE(rq_pending_open);
  SLUICE_GAUGE(rq_retry_open);
#undef SLUICE_GAUGE
  if (!config.track_remaining) return;
  const stats::Block remaining = s.block(remaining_layout(high));
#define SLUICE_GAUGE(name) name = remaining.gauge(prefix + #name)
  SLUICE_GAUGE(remaining_cx);
  SLUICE_GAUGE(remaining_cx_pools);
  SLUICE_GAUGE(remaining_pending);
  SLUICE_GAUGE(remaining_retries);
  SLUICE_GAUGE(remaining_rq);
#undef SLUICE_GAUGE
}

TransportMatchStats::TransportMatchStats(const model::Cluster& config, const stats::Scope& cluster)
    : config_(config), default_(cluster.block(update_layout()).counter("default.total_match_count")) {
  matches_.reserve(config.transport_matches.size());
  for (const model::TransportMatch& m : config.transport_matches)
    matches_.push_back(cluster.scope(m.name).counter("total_match_count"));
}

void TransportMatchStats::count(const model::LbMetadata* metadata) {
  for (size_t i = 0; i < matches_.size(); ++i)
    if (model::has_criteria(metadata, config_.transport_matches[i].criteria, false)) return matches_[i].add();
  default_.add();
}

ClusterUpdateStats::ClusterUpdateStats(const stats::Scope& s) {
  const stats::Block update = s.block(update_layout());
#define SLUICE_COUNTER(name) name = update.counter(#name)
#define SLUICE_GAUGE(name) name = update.gauge(#name)
  SLUICE_COUNTER(update_attempt);
  SLUICE_COUNTER(update_success);
  SLUICE_COUNTER(update_failure);
  SLUICE_COUNTER(update_empty);
  SLUICE_COUNTER(update_no_rebuild);
  SLUICE_COUNTER(membership_change);
  SLUICE_GAUGE(membership_total);
  SLUICE_GAUGE(membership_healthy);
  SLUICE_GAUGE(membership_degraded);
  SLUICE_GAUGE(membership_excluded);
  SLUICE_GAUGE(max_host_weight);
  SLUICE_GAUGE(warming_state);
  SLUICE_GAUGE(version);
#undef SLUICE_COUNTER
#undef SLUICE_GAUGE
}

SubsetStats::SubsetStats(const stats::Scope& cluster)
    : active_(cluster.gauge("lb_subsets_active")),
      duplicates_(cluster.gauge("lb_subsets_single_host_per_subset_duplicate")),
      created_(cluster.counter("lb_subsets_created")),
      removed_(cluster.counter("lb_subsets_removed")) {}

// The gauges of one cluster are shared by name with its successor: only differences are written.
void SubsetStats::set(std::shared_ptr<const SubsetIndex> now) {
  auto count = [](const auto& of, const auto& other) {
    uint64_t n = 0;
    if (!of) return n;
    for (const SubsetIndex::Subset& s : of->subsets())
      n += !other || other->find({&s.id, nullptr}) == SubsetIndex::kNone;
    return n;
  };
  const uint64_t created = count(now, now_), removed = count(now_, now);
  created_.add(created), removed_.add(removed);
  active_.add(created - removed);
  duplicates_.add((now ? now->duplicates() : 0) - (now_ ? now_->duplicates() : 0));
  now_ = std::move(now);
}

ZoneStats::ZoneStats(const stats::Scope& s) {
  const stats::Block update = s.block(update_layout());
  lb_recalculate_zone_structures = update.counter("lb_recalculate_zone_structures");
  lb_local_cluster_not_ok = update.counter("lb_local_cluster_not_ok");
  lb_zone_cluster_too_small = update.counter("lb_zone_cluster_too_small");
}

void ZoneStats::count(const ZoneRouting* made) {
  if (made == nullptr) return;
  lb_recalculate_zone_structures.add();
  if (made->outcome == ZoneRouting::Outcome::local_cluster_not_ok) lb_local_cluster_not_ok.add();
  if (made->outcome == ZoneRouting::Outcome::too_small) lb_zone_cluster_too_small.add();
}

HashTableStats::HashTableStats(const stats::Scope& cluster, model::LbPolicy policy) {
  if (policy == model::LbPolicy::ring_hash) {
    const stats::Scope s = cluster.scope("ring_hash_lb");
    size = s.gauge("size"), min = s.gauge("min_hashes_per_host"), max = s.gauge("max_hashes_per_host");
  } else if (policy == model::LbPolicy::maglev) {
    const stats::Scope s = cluster.scope("maglev_lb");
    min = s.gauge("min_entries_per_host"), max = s.gauge("max_entries_per_host");
  }
}

void HashTableStats::set(const HashTable::Size& of) {
  if (size) size->set(of.size);
  min.set(of.min_per_host), max.set(of.max_per_host);
}

void ClusterStats::declare_all(const stats::Scope& s) {
  s.declare(traffic_layout());
  s.declare(update_layout());
  s.declare(breaker_layout());
}

}  // namespace sluice::upstream
