#include "proxy/upstream/load_balancer.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <tuple>

#include "proxy/upstream/hash_table.h"
#include "proxy/upstream/zones.h"

namespace sluice::upstream {

void EdfSchedule::build(const std::vector<double>& weights, uint64_t skip) {
  heap_.clear();
  weights_ = weights;
  taken_.assign(weights.size(), 0);
  now_ = 0;
  order_ = 0;
  double sum = 0;
  for (double w : weights) sum += w;
  // All deadlines up to skip/sum are among the first `skip` picks; the rest, fewer than there are entries, are picked.
  uint64_t done = 0;
  for (uint32_t i = 0; i < weights.size(); ++i) {
    taken_[i] = static_cast<uint64_t>(std::floor(weights[i] * static_cast<double>(skip) / sum));
    done += taken_[i];
  }
  // In the order in which they would have come back: of those taken at one time the lighter one had waited longer.
  std::vector<uint32_t> order(weights.size());
  std::iota(order.begin(), order.end(), 0u);
  std::ranges::sort(order, {}, [&](uint32_t i) {
    return std::tuple(static_cast<double>(taken_[i]) / weights[i], taken_[i] == 0 ? 0 : weights[i], i);
  });
  for (uint32_t i : order) push(i, static_cast<double>(taken_[i] + 1) / weights[i]);
  for (; done < skip; ++done) pick();
}

uint32_t EdfSchedule::pick() {
  uint32_t index = pop();
  push(index, static_cast<double>(++taken_[index] + 1) / weights_[index]);
  return index;
}

uint32_t EdfSchedule::pop() {
  std::pop_heap(heap_.begin(), heap_.end(), later);
  Entry e = heap_.back();
  heap_.pop_back();
  now_ = e.deadline;
  return e.index;
}

void EdfSchedule::push(uint32_t index, double deadline) {
  heap_.push_back({deadline, order_++, index});
  std::push_heap(heap_.begin(), heap_.end(), later);
}

namespace {

template <typename T>
const HostVector& hosts_of(const T& from, int source) {
  return source == 0 ? from.healthy : source == 1 ? from.degraded : from.all;
}

bool accepted(const ext::LbContext& context, const HostPtr* host) {
  return host == nullptr || context.reject == nullptr || !(*context.reject)(**host);
}

}  // namespace

LbStats::LbStats(const stats::Scope& s)
    : healthy_panic(s.counter("lb_healthy_panic")),
      local_cluster_not_ok(s.counter("lb_local_cluster_not_ok")),
      zone_routing_all_directly(s.counter("lb_zone_routing_all_directly")),
      zone_routing_sampled(s.counter("lb_zone_routing_sampled")),
      zone_routing_cross_zone(s.counter("lb_zone_routing_cross_zone")),
      zone_no_capacity_left(s.counter("lb_zone_no_capacity_left")) {}

double LoadBalancer::slow_start(const Host& host) const {
  const auto& config = config_.slow_start;
  const MonotonicTime since = host.monitor().healthy_since.load(std::memory_order_relaxed);
  if (config.window.count() <= 0 || loop_ == nullptr || since == MonotonicTime{} ||
      host.health() != model::HealthStatus::healthy)
    return 1;
  const auto past = std::max<Duration>(loop_->now() - since, std::chrono::milliseconds(1));
  if (past >= config.window) return 1;
  const double share = static_cast<double>(past.count()) / static_cast<double>(config.window.count());
  return std::max(config.aggression == 1 ? share : std::pow(share, 1 / config.aggression), config.minimum);
}

void LoadBalancer::rebuild(State& state, const HostVector& hosts) {
  state.edf = EdfSchedule();
  const bool equal = std::ranges::all_of(
      hosts, [&](const HostPtr& h) { return h->weight() == hosts.front()->weight() && slow_start(*h) == 1; });
  if (equal ||
      (config_.policy != model::LbPolicy::round_robin && config_.policy != model::LbPolicy::least_request))
    return;
  std::vector<double> weights;
  for (const HostPtr& h : hosts) weights.push_back(weight(*h));
  state.edf.build(weights, random_.below(1u << 20));
}

void LoadBalancer::rebuild(PriorityState::Localities& state, const HostSet::Priority& p, Source source) {
  state.indices.clear();
  state.edf = EdfSchedule();
  std::vector<double> weights;
  const size_t before = state.states.size();
  state.states.resize(p.localities.size());
  for (uint32_t i = 0; i < p.localities.size(); ++i) {
    const HostSet::Locality& l = p.localities[i];
    if (i >= before) state.states[i].index = random_.next() >> 1;
    rebuild(state.states[i], hosts_of(l, source));
    const double weight = source == kHealthy ? l.healthy_weight : l.degraded_weight;
    if (weight <= 0) continue;
    weights.push_back(weight);
    state.indices.push_back(i);
  }
  if (!weights.empty()) state.edf.build(weights, random_.below(1u << 20));
}

void LoadBalancer::update(HostSetPtr hosts) {
  hosts_ = std::move(hosts);
  const size_t before = states_.size();
  states_.resize(hosts_->priorities.size());
  for (size_t i = 0; i < states_.size(); ++i) {
    const HostSet::Priority& p = hosts_->priorities[i];
    for (int source = 0; source < kSources; ++source) {
      State& state = states_[i].all[source];
      // Workers start at different places, and go on from where they were when hosts come and go.
      if (i >= before) state.index = random_.next() >> 1;
      rebuild(state, hosts_of(p, source));
    }
    for (Source source : {kHealthy, kDegraded}) rebuild(states_[i].localities[source], p, source);
  }
}

const HostPtr* LoadBalancer::choose(const ext::LbContext& context) {
  if (!hosts_) return nullptr;
  if (config_.policy == model::LbPolicy::ring_hash || config_.policy == model::LbPolicy::maglev)
    return choose_hashed(context);
  const HostPtr* host = nullptr;
  for (uint32_t i = 0, n = std::max(context.max_attempts, 1u); i < n; ++i) {
    host = choose_once(context);
    if (accepted(context, host)) break;
  }
  return host;  // the last one, if all were rejected
}

// `ticket`: 0 to 99. Healthy hosts of each priority come first, then degraded ones.
LoadBalancer::Choice LoadBalancer::choose_priority(uint64_t ticket, const ext::PriorityShares* load) const {
  const auto& priorities = hosts_->priorities;
  uint64_t sum = 0;
  for (Source source : {kHealthy, kDegraded}) {
    for (size_t i = 0; i < priorities.size(); ++i) {
      if (load != nullptr)
        sum += (source == kHealthy ? load->healthy : load->degraded)[i];
      else
        sum += source == kHealthy ? priorities[i].healthy_load : priorities[i].degraded_load;
      if (ticket < sum) return {i, source};
    }
  }
  return {};
}

const HostPtr* LoadBalancer::choose_once(const ext::LbContext& context) {
  const auto& priorities = hosts_->priorities;
  Choice choice;
  if (priorities.size() > 1 || priorities[0].degraded_load > 0)
    choice = choose_priority(random_.below(100), context.retry_priority != nullptr
                                                     ? context.retry_priority->load(hosts_->available)
                                                     : nullptr);
  const HostSet::Priority& p = priorities[choice.priority];
  PriorityState& state = states_[choice.priority];
  if (p.panic) {
    stats_.healthy_panic.add();
    if (config_.fail_traffic_on_panic) return nullptr;
    return pick(p.all, state.all[kAll]);
  }
  if (config_.locality_weighted) {
    PriorityState::Localities& l = state.localities[choice.source];
    // Without any weight it is as if there were none: Envoy's rule.
    if (!l.edf.empty()) {
      const uint32_t i = l.indices[l.edf.pick()];
      return pick(hosts_of(p.localities[i], choice.source), l.states[i]);
    }
  }
  const ZoneRouting* zones = choice.priority == 0 ? hosts_->zones.get() : nullptr;
  if (zones != nullptr && zones->outcome == ZoneRouting::Outcome::on &&
      random_.below(100) < config_.zones.enabled_percent) {
    if (!zones->local_panic) {
      const uint32_t i = choose_zone(*zones);
      return pick(hosts_of(p.localities[i], choice.source), state.localities[choice.source].states[i]);
    }
    stats_.local_cluster_not_ok.add();
    if (config_.fail_traffic_on_panic) return nullptr;
  }
  return pick(hosts_of(p, choice.source), state.all[choice.source]);
}

uint32_t LoadBalancer::choose_zone(const ZoneRouting& zones) {
  if (zones.direct) {
    stats_.zone_routing_all_directly.add();
    return 0;
  }
  if (random_.below(10'000) < zones.stays) {
    stats_.zone_routing_sampled.add();
    return 0;
  }
  stats_.zone_routing_cross_zone.add();
  if (zones.residual.back() == 0) {  // by rounding alone
    stats_.zone_no_capacity_left.add();
    return static_cast<uint32_t>(random_.below(zones.residual.size()));
  }
  const uint64_t at = random_.below(zones.residual.back());
  return static_cast<uint32_t>(std::ranges::upper_bound(zones.residual, at) - zones.residual.begin());
}

// As Envoy: the hash chooses the priority too, and neither retry_priority nor fail_traffic_on_panic is looked at.
const HostPtr* LoadBalancer::choose_hashed(const ext::LbContext& context) {
  const uint64_t hash = context.hash ? *context.hash : random_.next();
  const HostSet::Priority& p = hosts_->priorities[choose_priority(hash % 100, nullptr).priority];
  if (p.panic) stats_.healthy_panic.add();
  if (!p.table) return nullptr;
  const HostPtr* host = nullptr;
  for (uint32_t i = 0, n = std::max(context.max_attempts, 1u); i < n; ++i) {
    host = p.table->choose(hash, i);
    if (accepted(context, host)) break;
  }
  return host;
}

const HostPtr* LoadBalancer::pick(const HostVector& hosts, State& state) {
  if (hosts.empty()) return nullptr;
  if (hosts.size() == 1) return &hosts.front();
  switch (config_.policy) {
    case model::LbPolicy::random:
      return &hosts[random_.below(hosts.size())];
    case model::LbPolicy::least_request:
      if (state.edf.empty()) return least_request(hosts);
      return &hosts[state.edf.pick([&](uint32_t i) {
        const auto load = static_cast<double>(hosts[i]->active() + 1);
        const double bias = config_.active_request_bias;
        return weight(*hosts[i]) / (bias == 1 ? load : std::pow(load, bias));
      })];
    default:
      if (!state.edf.empty() && config_.slow_start.window.count() > 0)
        return &hosts[state.edf.pick([&](uint32_t i) { return weight(*hosts[i]); })];
      if (!state.edf.empty()) return &hosts[state.edf.pick()];
      return &hosts[state.index++ % hosts.size()];
  }
}

// The least loaded of some hosts drawn at random, or of all; equals of a full scan have equal chances.
const HostPtr* LoadBalancer::least_request(const HostVector& hosts) {
  const HostPtr* best = nullptr;
  uint64_t least = 0, equals = 0;
  const size_t looks = config_.full_scan ? hosts.size() : std::max(config_.choices, 1u);
  for (size_t i = 0; i < looks; ++i) {
    const HostPtr& host = hosts[config_.full_scan ? i : random_.below(hosts.size())];
    const uint64_t active = host->active();
    if (best == nullptr || active < least)
      best = &host, least = active, equals = 1;
    else if (config_.full_scan && active == least && random_.below(++equals) == 0)
      best = &host;
  }
  return best;
}

}  // namespace sluice::upstream
