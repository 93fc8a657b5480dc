#include "proxy/upstream/host.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "proxy/upstream/hash_table.h"
#include "proxy/upstream/subsets.h"
#include "proxy/upstream/zones.h"

namespace sluice::upstream {

using model::HealthStatus;

HostState::~HostState() {
  Row* const rows = rows_.load(std::memory_order_acquire);
  for (unsigned slot = 0; rows != nullptr && slot < slots_; ++slot)
    delete rows[slot].load(std::memory_order_acquire);
  delete[] rows;
}

// Two threads may come at once: the first one's stays.
HostCounters& HostState::make(unsigned slot) {
  Row* rows = rows_.load(std::memory_order_acquire);
  if (rows == nullptr) {
    auto made = std::make_unique<Row[]>(slots_);
    if (rows_.compare_exchange_strong(rows, made.get(), std::memory_order_acq_rel)) rows = made.release();
  }
  HostCounters* counters = nullptr;
  auto made = std::make_unique<HostCounters>();
  if (rows[slot].compare_exchange_strong(counters, made.get(), std::memory_order_acq_rel))
    counters = made.release();
  return *counters;
}

uint64_t HostState::sum(HostCounters::Cell HostCounters::* which) const {
  const Row* const rows = rows_.load(std::memory_order_acquire);
  uint64_t n = 0;
  for (unsigned slot = 0; rows != nullptr && slot < slots_; ++slot) {
    const HostCounters* const c = rows[slot].load(std::memory_order_acquire);
    if (c != nullptr) n += (c->*which).load(std::memory_order_relaxed);
  }
  return n;
}

Host::Host(Description description, unsigned slots)
    : d_(std::move(description)), state_(std::make_shared<HostState>(slots)) {}

Host::Host(Description description, const Host& successor_of)
    : d_(std::move(description)), state_(successor_of.state_) {}

std::shared_ptr<const Address> health_address(const model::Endpoint& endpoint, const Address& address) {
  if (!endpoint.health_address.valid() && endpoint.health_port == 0) return nullptr;
  const Address& at = endpoint.health_address.valid() ? endpoint.health_address : address;
  return std::make_shared<const Address>(endpoint.health_port == 0 ? at : at.with_port(endpoint.health_port));
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

double total_weight(const HostVector& hosts) {
  double sum = 0;
  for (const HostPtr& h : hosts) sum += h->weight();
  return sum;
}

// Envoy's HostSetImpl::effectiveLocalityWeight.
double effective_weight(const HostSet::Locality& l, size_t usable, uint32_t overprovisioning_factor) {
  if (l.all.size() == l.excluded) return 0;
  const double available = static_cast<double>(usable) / static_cast<double>(l.all.size() - l.excluded);
  return l.weight * std::min(1.0, overprovisioning_factor / 100.0 * available);
}

struct Grouping {
  const ProxyLocation* location;
  const Priority* whole = nullptr;  // of a subset's hosts: the weights shrink as the localities do
};

void group_by_locality(Priority& p, uint32_t overprovisioning_factor, const Grouping& grouping) {
  std::map<HostLocality, HostSet::Locality> groups;
  auto name_of = [](const HostPtr& h) {
    return h->description().locality ? *h->description().locality : HostLocality{};
  };
  auto group = [&](const HostPtr& h) -> HostSet::Locality& {
    const HostLocality name = name_of(h);
    HostSet::Locality& l = groups[name];
    l.weight = name.weight;
    return l;
  };
  for (const HostPtr& h : p.all) {
    HostSet::Locality& l = group(h);
    l.all.push_back(h);
    if (h->excluded()) ++l.excluded;
  }
  for (const HostPtr& h : p.healthy) group(h).healthy.push_back(h);
  for (const HostPtr& h : p.degraded) group(h).degraded.push_back(h);
  std::map<HostLocality, size_t> sizes;
  if (grouping.whole != nullptr) {
    for (const HostPtr& h : grouping.whole->all) ++sizes[name_of(h)];
  }
  for (auto& [name, l] : groups) {
    if (grouping.whole != nullptr)
      l.weight = static_cast<uint32_t>(
          std::lround(static_cast<double>(l.weight) * static_cast<double>(l.all.size()) /
                      static_cast<double>(sizes[name])));
    l.healthy_weight = effective_weight(l, l.healthy.size(), overprovisioning_factor);
    l.degraded_weight = effective_weight(l, l.degraded.size(), overprovisioning_factor);
    const bool own =
        grouping.location != nullptr &&
        grouping.location->locality == model::LocalityName{name.region, name.zone, name.sub_zone};
    p.localities.insert(own ? p.localities.begin() : p.localities.end(), std::move(l));
  }
}

// Envoy's ThreadAwareLoadBalancerBase: locality weights are not adjusted for health here.
void add_table(const model::LoadBalancing& config, bool locality_weighted, Priority& p) {
  std::vector<HashTable::Weighted> hosts;
  auto add = [&](const HostVector& all, double share) {
    const double sum = total_weight(all);
    for (const HostPtr& h : all) hosts.push_back({h, h->weight() * share / sum});
  };
  if (locality_weighted) {
    double sum = 0;
    for (const HostSet::Locality& l : p.localities) sum += l.weight;
    for (const HostSet::Locality& l : p.localities) {
      if (l.weight > 0) add(p.panic ? l.all : l.healthy, l.weight / sum);
    }
  } else {
    add(p.panic ? p.all : p.healthy, 1);
  }
  p.table = HashTable::make(config, std::move(hosts));
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
size_t HostSet::excluded() const {
  return total(*this, [](const Priority& p) { return p.excluded; });
}

uint32_t HostSet::max_weight() const {
  uint32_t w = 0;
  for (const Priority& p : priorities) {
    for (const HostPtr& h : p.all) w = std::max(w, h->weight());
  }
  return w;
}

namespace {

void spread_load(const model::Cluster& config, HostSet& set);
std::shared_ptr<HostSet> make_priorities(const model::Cluster& config, const HostVector& hosts);

}  // namespace

namespace {

// What of a set depends on how hosts are chosen among it.
void finish(HostSet& set, const model::Cluster& config, bool locality_weighted, const HostSet* whole,
            const ProxyLocation* location) {
  const bool zones = location != nullptr && location->proxies && config.lb.by_zones();
  for (size_t i = 0; i < set.priorities.size(); ++i) {
    Priority& p = set.priorities[i];
    if (locality_weighted || (zones && i == 0))
      group_by_locality(p, config.overprovisioning_factor,
                        {location, whole != nullptr ? &whole->priorities[i] : nullptr});
    add_table(config.lb, locality_weighted, p);
  }
  if (zones)
    set.zones = std::make_shared<ZoneRouting>(ZoneRouting::make(config, set.priorities[0], *location));
}

}  // namespace

HostSetPtr HostSet::make(const model::Cluster& config, const HostVector& hosts,
                         const ProxyLocation* location) {
  auto set = make_priorities(config, hosts);
  set->drop_overload = config.drop_overload;
  if (config.lb.subsets)
    set->subsets = SubsetIndex::make(config, *set, location);
  else
    finish(*set, config, config.lb.locality_weighted, nullptr, location);
  return set;
}

HostSetPtr HostSet::make_subset(const model::Cluster& config, const HostVector& hosts, const HostSet& whole,
                                const ProxyLocation* location) {
  const model::SubsetConfig& subsets = *config.lb.subsets;
  auto set = make_priorities(config, hosts);
  finish(*set, config, config.lb.locality_weighted && subsets.locality_weight_aware,
         subsets.scale_locality_weight ? &whole : nullptr, location);
  return set;
}

namespace {

std::shared_ptr<HostSet> make_priorities(const model::Cluster& config, const HostVector& hosts) {
  auto set = std::make_shared<HostSet>();
  uint32_t top = 0;
  for (const model::Locality& l : config.localities) top = std::max(top, l.priority);
  for (const HostPtr& h : hosts) top = std::max(top, h->priority());
  set->priorities.resize(top + 1);
  for (const HostPtr& h : hosts) {
    Priority& p = set->priorities[h->priority()];
    p.all.push_back(h);
    const HealthStatus health = h->health();
    if (health == HealthStatus::healthy) p.healthy.push_back(h);
    if (health == HealthStatus::degraded) p.degraded.push_back(h);
    if (h->excluded()) ++p.excluded;
  }
  spread_load(config, *set);
  return set;
}

uint64_t excluded_size(const model::Cluster& config, const Priority& p) {
  if (!config.weighted_priority_health || p.excluded == 0) return p.excluded;
  uint64_t weight = 0;
  for (const HostPtr& h : p.all) weight += h->excluded() ? h->weight() : 0;
  return weight;
}

void spread_load(const model::Cluster& config, HostSet& set) {
  std::vector<Priority>& priorities = set.priorities;
  std::vector<Availability> availability(priorities.size());
  set.available = {.healthy = std::vector<uint32_t>(priorities.size()),
                   .degraded = std::vector<uint32_t>(priorities.size())};
  uint32_t sum = 0;
  for (size_t i = 0; i < priorities.size(); ++i) {
    const Priority& p = priorities[i];
    if (p.all.size() == p.excluded) continue;
    auto size = [&](const HostVector& v) {
      return config.weighted_priority_health ? static_cast<uint64_t>(total_weight(v)) : v.size();
    };
    const uint64_t counted = size(p.all) - excluded_size(config, p);
    auto percent = [&](const HostVector& v) {
      return static_cast<uint32_t>(
          std::min<uint64_t>(100, config.overprovisioning_factor * size(v) / std::max<uint64_t>(counted, 1)));
    };
    availability[i] = {percent(p.healthy), percent(p.degraded)};
    set.available.healthy[i] = availability[i].healthy, set.available.degraded[i] = availability[i].degraded;
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

  const uint32_t threshold = std::min(config.healthy_panic_threshold, 100u);
  if (threshold == 0 && sum == 0) {
    priorities.front().healthy_load = 100;  // nobody is there, and nobody else is to be used
    return;
  }
  bool total_panic = true;
  for (Priority& p : priorities) {
    const size_t counted = p.all.size() - p.excluded;
    const double usable = counted == 0 ? 0
                                       : 100.0 * static_cast<double>(p.healthy.size() + p.degraded.size()) /
                                             static_cast<double>(counted);
    p.panic = sum < 100 && usable < threshold;
    total_panic &= p.panic;
  }
  if (total_panic) distribute_in_total_panic(set);
}

}  // namespace

}  // namespace sluice::upstream
