#include "proxy/upstream/load_balancer.h"

#include <algorithm>
#include <cmath>

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
    push(i, static_cast<double>(taken_[i] + 1) / weights[i]);
  }
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

LoadBalancer::LoadBalancer(model::LbPolicy policy, uint32_t choices, bool fail_traffic_on_panic,
                           Random& random)
    : policy_(policy),
      choices_(std::max(choices, 1u)),
      fail_traffic_on_panic_(fail_traffic_on_panic),
      random_(random) {}

const HostVector& LoadBalancer::hosts_of(const HostSet::Priority& p, Source source) {
  switch (source) {
    case kHealthy:
      return p.healthy;
    case kDegraded:
      return p.degraded;
    default:
      return p.all;
  }
}

void LoadBalancer::update(HostSetPtr hosts) {
  hosts_ = std::move(hosts);
  size_t before = states_.size();
  states_.resize(hosts_->priorities.size() * kSources);
  for (size_t i = 0; i < states_.size(); ++i) {
    State& state = states_[i];
    // Workers start at different places, and go on from where they were when hosts come and go.
    if (i >= before) state.index = random_.next() >> 1;
    state.edf = EdfSchedule();
    const HostVector& all = hosts_of(hosts_->priorities[i / kSources], static_cast<Source>(i % kSources));
    bool equal =
        std::ranges::all_of(all, [&](const HostPtr& h) { return h->weight() == all.front()->weight(); });
    if (equal || policy_ == model::LbPolicy::random) continue;
    std::vector<double> weights;
    for (const HostPtr& h : all) weights.push_back(std::max(h->weight(), 1u));
    state.edf.build(weights, random_.below(1u << 20));
  }
}

const HostPtr* LoadBalancer::choose(stats::Counter& healthy_panic) {
  if (!hosts_) return nullptr;
  const auto& priorities = hosts_->priorities;
  // 1 to 100: healthy hosts of each priority first, then degraded ones.
  size_t priority = 0;
  Source source = kHealthy;
  if (priorities.size() > 1 || priorities[0].degraded_load > 0) {
    uint32_t ticket = static_cast<uint32_t>(random_.below(100)) + 1, sum = 0;
    bool found = false;
    for (Source s : {kHealthy, kDegraded}) {
      for (size_t i = 0; i < priorities.size() && !found; ++i) {
        sum += s == kHealthy ? priorities[i].healthy_load : priorities[i].degraded_load;
        if (ticket <= sum) priority = i, source = s, found = true;
      }
    }
  }
  if (priorities[priority].panic) {
    healthy_panic.add();
    if (fail_traffic_on_panic_) return nullptr;
    source = kAll;
  }
  const HostVector& hosts = hosts_of(priorities[priority], source);
  if (hosts.empty()) return nullptr;
  return pick(hosts, states_[priority * kSources + source]);
}

const HostPtr* LoadBalancer::pick(const HostVector& hosts, State& state) {
  if (hosts.size() == 1) return &hosts.front();
  switch (policy_) {
    case model::LbPolicy::random:
      return &hosts[random_.below(hosts.size())];
    case model::LbPolicy::least_request: {
      // Envoy with its active_request_bias of 1: weight / (active + 1).
      if (!state.edf.empty()) {
        return &hosts[state.edf.pick([&](uint32_t i) {
          return static_cast<double>(std::max(hosts[i]->weight(), 1u)) /
                 static_cast<double>(hosts[i]->active() + 1);
        })];
      }
      const HostPtr* best = nullptr;
      uint64_t best_active = 0;
      for (uint32_t i = 0; i < choices_; ++i) {
        const HostPtr& host = hosts[random_.below(hosts.size())];
        uint64_t active = host->active();
        if (!best || active < best_active) best = &host, best_active = active;
      }
      return best;
    }
    default:
      if (!state.edf.empty()) return &hosts[state.edf.pick()];
      return &hosts[state.index++ % hosts.size()];
  }
}

}  // namespace sluice::upstream
