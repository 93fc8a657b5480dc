#pragma once

#include <cstdint>
#include <vector>

#include "core/random.h"
#include "core/stats.h"
#include "io/loop.h"
#include "proxy/upstream/host.h"
#include "sluice/ext/upstream.h"

namespace sluice::upstream {

// Earliest deadline first: each entry is due 1/weight after it was last taken; equal deadlines in the order in which
// they were put in. With fixed weights every run of sum(weights) picks takes each entry `weight` times.
class EdfSchedule {
 public:
  bool empty() const { return heap_.empty(); }
  // Entries 0..n-1 of these weights (> 0), after `skip` picks.
  void build(const std::vector<double>& weights, uint64_t skip);

  // Takes the next one; with its fixed weight.
  uint32_t pick();
  // Takes the next one; it comes back by the weight that `weight(index)` gives it now.
  template <typename F>
  uint32_t pick(F weight) {
    uint32_t index = pop();
    push(index, now_ + 1.0 / weight(index));
    return index;
  }

 private:
  struct Entry {
    double deadline;
    uint64_t order;
    uint32_t index;
  };
  static bool later(const Entry& a, const Entry& b) {
    return a.deadline != b.deadline ? a.deadline > b.deadline : a.order > b.order;
  }
  uint32_t pop();
  void push(uint32_t index, double deadline);

  std::vector<Entry> heap_;
  std::vector<double> weights_;
  std::vector<uint64_t> taken_;  // deadlines are (taken + 1) / weight: no error adds up
  double now_ = 0;
  uint64_t order_ = 0;
};

// What choices of a cluster count beside the hosts' own: "cluster.<name>.lb_*".
struct LbStats {
  explicit LbStats(const stats::Scope& cluster);
  stats::Counter healthy_panic, local_cluster_not_ok, zone_routing_all_directly, zone_routing_sampled,
      zone_routing_cross_zone, zone_no_capacity_left;
};

// What balancers of one cluster share. All of it outlives them.
struct LbEnvironment {
  Random& random;
  LbStats& stats;
  const io::Loop* loop = nullptr;  // the clock, for slow start
};

// Chooses hosts of one cluster on one worker. https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/load_balancers
class LoadBalancer {
 public:
  LoadBalancer(const model::LoadBalancing& config, const LbEnvironment& environment)
      : config_(config), random_(environment.random), stats_(environment.stats), loop_(environment.loop) {}

  void update(HostSetPtr hosts);
  const HostSetPtr& hosts() const { return hosts_; }

  // Null: nobody to choose. The host lives as long as the host set.
  const HostPtr* choose(const ext::LbContext& context);

 private:
  enum Source : uint8_t { kHealthy, kDegraded, kAll, kSources };
  struct State {
    EdfSchedule edf;  // empty where the weights are equal
    uint64_t index = 0;  // ROUND_ROBIN with equal weights
  };
  struct PriorityState {
    State all[kSources];
    // Of kHealthy and kDegraded, where the set has localities.
    struct Localities {
      EdfSchedule edf;  // with weights: those that can take load
      std::vector<uint32_t> indices;  // of edf's entries, into HostSet::Priority::localities
      std::vector<State> states;
    } localities[2];
  };
  struct Choice {
    size_t priority = 0;
    Source source = kHealthy;
  };

  void rebuild(State& state, const HostVector& hosts);
  void rebuild(PriorityState::Localities& state, const HostSet::Priority& p, Source source);
  Choice choose_priority(uint64_t ticket, const ext::PriorityShares* load) const;
  const HostPtr* choose_once(const ext::LbContext& context);
  const HostPtr* choose_hashed(const ext::LbContext& context);
  uint32_t choose_zone(const ZoneRouting& zones);  // into the localities of the first priority
  double slow_start(const Host& host) const;  // the part of its weight that it has already, at most 1
  double weight(const Host& host) const { return std::max(host.weight(), 1u) * slow_start(host); }
  const HostPtr* pick(const HostVector& hosts, State& state);
  const HostPtr* least_request(const HostVector& hosts);

  const model::LoadBalancing config_;
  Random& random_;
  LbStats& stats_;
  const io::Loop* const loop_;
  HostSetPtr hosts_;
  std::vector<PriorityState> states_;
};

}  // namespace sluice::upstream
