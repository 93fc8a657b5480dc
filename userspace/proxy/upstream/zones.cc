#include "proxy/upstream/zones.h"

#include <algorithm>
#include <map>

namespace sluice::upstream {

namespace {

constexpr uint64_t kWhole = 10'000;

uint64_t size_of(const HostVector& hosts, bool by_weight) {
  if (!by_weight) return hosts.size();
  uint64_t sum = 0;
  for (const HostPtr& h : hosts) sum += h->weight();
  return sum;
}

model::LocalityName locality_of(const HostPtr& host) {
  const auto& l = host->description().locality;
  return l ? model::LocalityName{l->region, l->zone, l->sub_zone} : model::LocalityName{};
}

}  // namespace

// Envoy's ZoneAwareLoadBalancerBase::regenerateLocalityRoutingStructures.
ZoneRouting ZoneRouting::make(const model::Cluster& config, const HostSet::Priority& first,
                              const ProxyLocation& location) {
  ZoneRouting out;
  const model::ZoneAware& wanted = config.lb.zones;
  if (!location.proxies || first.localities.size() < 2) return out;
  const HostSet::Priority& proxies = location.proxies->priorities.front();
  struct Count {
    bool any = false;
    uint64_t healthy = 0;
  };
  std::map<model::LocalityName, Count> senders;
  for (const HostPtr& h : proxies.all) senders[locality_of(h)].any = true;
  for (const HostPtr& h : proxies.healthy)
    senders[locality_of(h)].healthy += wanted.by_weight ? h->weight() : 1;
  if (senders.size() < 2 && !wanted.force_local_min_size) return out;
  const bool known = location.locality != model::LocalityName{};
  if (!known || !senders[location.locality].any) {
    out.outcome = Outcome::local_cluster_not_ok;
    return out;
  }
  if (first.healthy.size() < wanted.min_cluster_size) {
    out.outcome = Outcome::too_small;
    return out;
  }
  out.outcome = Outcome::on;
  const size_t able = proxies.healthy.size() + proxies.degraded.size();
  out.local_panic =
      100 * able < uint64_t{std::min(config.healthy_panic_threshold, 100u)} * proxies.all.size();

  uint64_t all_senders = 0, all_hosts = 0;
  for (const auto& [name, count] : senders) all_senders += count.healthy;
  for (const HostSet::Locality& l : first.localities) all_hosts += size_of(l.healthy, wanted.by_weight);
  auto sent = [&](const HostSet::Locality& l) {
    const auto found = senders.find(locality_of(l.all.front()));
    return found == senders.end() || all_senders == 0 ? 0 : kWhole * found->second.healthy / all_senders;
  };
  auto room = [&](const HostSet::Locality& l) {
    return all_hosts == 0 ? 0 : kWhole * size_of(l.healthy, wanted.by_weight) / all_hosts;
  };
  const HostSet::Locality& own = first.localities.front();
  const bool has_own = locality_of(own.all.front()) == location.locality;
  if (has_own) {
    out.direct = (room(own) > 0 && room(own) >= sent(own)) ||
                 (wanted.force_local_min_size && own.healthy.size() >= *wanted.force_local_min_size);
    if (out.direct) return out;
    if (sent(own) > 0) out.stays = static_cast<uint32_t>(kWhole * room(own) / sent(own));
  }
  uint64_t sum = 0;
  for (const HostSet::Locality& l : first.localities) {
    const bool counts = !(has_own && &l == &own) && !l.healthy.empty();
    if (counts && room(l) > sent(l)) sum += room(l) - sent(l);
    out.residual.push_back(sum);
  }
  return out;
}

}  // namespace sluice::upstream
