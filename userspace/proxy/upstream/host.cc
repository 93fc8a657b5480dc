#include "proxy/upstream/host.h"

#include <algorithm>

namespace sluice::upstream {

using model::HealthStatus;

Host::Host(Description description, unsigned slots)
    : d_(std::move(description)), counters_(std::make_shared<std::vector<HostCounters>>(slots)) {}

Host::Host(Description description, const Host& successor_of)
    : d_(std::move(description)), counters_(successor_of.counters_) {}

uint64_t Host::sum(HostCounters::Cell HostCounters::* which) const {
  uint64_t n = 0;
  for (const HostCounters& c : *counters_) n += (c.*which).load(std::memory_order_relaxed);
  return n;
}

namespace {

using Priority = HostSet::Priority;

template <typename F>
size_t total(const HostSet& set, F f) {
  size_t n = 0;
  for (const Priority& p : set.priorities) n += f(p);
  return n;
}

struct Availability {
  uint32_t healthy = 0, degraded = 0;  // percent, at most 100 each
};

// Gives each priority its share of `load` by availability; returns what is left by rounding or shortage.
uint32_t distribute(std::vector<Priority>& priorities, const std::vector<Availability>& availability,
                    uint32_t load, uint32_t total_availability, uint32_t Availability::* which,
                    uint32_t Priority::* share) {
  for (size_t i = 0; i < priorities.size(); ++i) {
    priorities[i].*share = std::min(load, availability[i].*which * 100 / total_availability);
    load -= priorities[i].*share;
  }
  return load;
}

// Everybody is in panic: by the number of hosts, whatever their health.
void distribute_in_total_panic(HostSet& set) {
  size_t hosts = set.size();
  uint32_t left = 100;
  Priority* first = nullptr;
  for (Priority& p : set.priorities) {
    if (!first && !p.all.empty()) first = &p;
    p.healthy_load = hosts == 0 ? 0 : static_cast<uint32_t>(100 * p.all.size() / hosts);
    p.degraded_load = 0;
    left -= p.healthy_load;
  }
  (first ? *first : set.priorities.front()).healthy_load += left;
}

}  // namespace

size_t HostSet::size() const {
  return total(*this, [](const Priority& p) { return p.all.size(); });
}
size_t HostSet::healthy() const {
  return total(*this, [](const Priority& p) { return p.healthy.size(); });
}
size_t HostSet::degraded() const {
  return total(*this, [](const Priority& p) { return p.degraded.size(); });
}

uint32_t HostSet::max_weight() const {
  uint32_t w = 0;
  for (const Priority& p : priorities) {
    for (const HostPtr& h : p.all) w = std::max(w, h->weight());
  }
  return w;
}

HostSetPtr HostSet::make(const model::Cluster& config, const HostVector& hosts) {
  auto set = std::make_shared<HostSet>();
  uint32_t top = 0;
  for (const model::Locality& l : config.localities) top = std::max(top, l.priority);
  for (const HostPtr& h : hosts) top = std::max(top, h->priority());
  std::vector<Priority>& priorities = set->priorities;
  priorities.resize(top + 1);
  for (const HostPtr& h : hosts) {
    Priority& p = priorities[h->priority()];
    p.all.push_back(h);
    if (h->health() == HealthStatus::healthy) p.healthy.push_back(h);
    if (h->health() == HealthStatus::degraded) p.degraded.push_back(h);
  }

  std::vector<Availability> availability(priorities.size());
  uint32_t sum = 0;
  for (size_t i = 0; i < priorities.size(); ++i) {
    const Priority& p = priorities[i];
    if (p.all.empty()) continue;
    auto percent = [&](size_t n) {
      return static_cast<uint32_t>(
          std::min<uint64_t>(100, uint64_t{config.overprovisioning_factor} * n / p.all.size()));
    };
    availability[i] = {percent(p.healthy.size()), percent(p.degraded.size())};
    sum += availability[i].healthy + availability[i].degraded;
  }
  sum = std::min(sum, 100u);

  if (sum > 0) {
    uint32_t left =
        distribute(priorities, availability, 100, sum, &Availability::healthy, &Priority::healthy_load);
    left = distribute(priorities, availability, left, sum, &Availability::degraded, &Priority::degraded_load);
    // Rounding: the first priority with anybody, healthy ones before degraded ones.
    auto first = [&](uint32_t Availability::* which) {
      return static_cast<size_t>(
          std::ranges::find_if(availability, [&](const Availability& a) { return a.*which > 0; }) -
          availability.begin());
    };
    if (size_t i = first(&Availability::healthy); i < priorities.size())
      priorities[i].healthy_load += left;
    else
      priorities[first(&Availability::degraded)].degraded_load += left;
  }

  double threshold = std::min(config.healthy_panic_threshold, 100.0);
  if (threshold <= 0 && sum == 0) {
    priorities.front().healthy_load = 100;  // nobody is there, and nobody else is to be used
    return set;
  }
  bool total_panic = true;
  for (Priority& p : priorities) {
    double usable = p.all.empty() ? 0
                                  : 100.0 * static_cast<double>(p.healthy.size() + p.degraded.size()) /
                                        static_cast<double>(p.all.size());
    p.panic = sum < 100 && usable < threshold;
    total_panic &= p.panic;
  }
  if (total_panic) distribute_in_total_panic(*set);
  return set;
}

}  // namespace sluice::upstream
