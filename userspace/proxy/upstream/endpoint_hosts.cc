#include "proxy/upstream/endpoint_hosts.h"

#include <unordered_map>
#include <unordered_set>

namespace sluice::upstream {

HostVector hosts_of(const std::vector<model::Locality>& localities, unsigned slots) {
  HostVector hosts;
  for (const model::Locality& l : localities) {
    auto locality =
        std::make_shared<const HostLocality>(HostLocality{l.region, l.zone, l.sub_zone, l.weight});
    for (const model::Endpoint& e : l.endpoints) {
      if (!e.address.valid()) continue;
      hosts.push_back(
          std::make_shared<Host>(Host::Description{.address = e.address,
                                                   .hostname = e.hostname,
                                                   .weight = e.weight,
                                                   .priority = l.priority,
                                                   .health = e.health,
                                                   .locality = locality,
                                                   .canary = e.canary,
                                                   .hash_key = e.hash_key,
                                                   .lb_metadata = e.lb_metadata,
                                                   .transport_metadata = e.transport_metadata,
                                                   .health_address = health_address(e, e.address),
                                                   .health_hostname = e.health_hostname,
                                                   .health_check_disabled = e.health_check_disabled},
                                 slots));
    }
  }
  return hosts;
}

namespace {

bool same(const HostLocality* a, const HostLocality* b) {
  if (a == nullptr || b == nullptr) return a == b;
  return a->weight == b->weight && !(*a < *b) && !(*b < *a);
}

bool same(const model::LbMetadata* a, const model::LbMetadata* b) {
  return a == nullptr || b == nullptr ? a == b : *a == *b;
}

bool same(const Host::Description& a, const Host::Description& b) {
  return a.address == b.address && a.hostname == b.hostname && a.weight == b.weight &&
         a.priority == b.priority && a.health == b.health && a.canary == b.canary &&
         a.hash_key == b.hash_key && same(a.locality.get(), b.locality.get()) &&
         same(a.lb_metadata.get(), b.lb_metadata.get()) &&
         same(a.transport_metadata.get(), b.transport_metadata.get()) &&
         a.health_address == b.health_address && a.health_hostname == b.health_hostname &&
         a.health_check_disabled == b.health_check_disabled;
}

}  // namespace

HostUpdate update_hosts(const HostVector& before, const std::vector<model::Locality>& localities,
                        unsigned slots) {
  std::unordered_map<Address, HostPtr> known;
  for (const HostPtr& host : before) known.emplace(host->address(), host);
  std::unordered_set<Address> seen;
  HostUpdate out;
  size_t kept = 0;
  for (HostPtr& host : hosts_of(localities, slots)) {
    if (!seen.insert(host->address()).second) continue;
    if (const auto at = known.find(host->address()); at != known.end()) {
      ++kept;
      if (same(at->second->description(), host->description()))
        host = at->second;
      else
        host = std::make_shared<Host>(host->description(), *at->second);
    }
    out.hosts.push_back(std::move(host));
  }
  out.membership = kept != out.hosts.size() || kept != before.size();
  out.changed = out.hosts != before;
  return out;
}

bool same_hosts(const HostVector& a, const HostVector& b) {
  if (a.size() != b.size()) return false;
  std::unordered_set<const void*> known;
  for (const HostPtr& host : a) known.insert(host->identity());
  for (const HostPtr& host : b) {
    if (!known.contains(host->identity())) return false;
  }
  return true;
}

}  // namespace sluice::upstream
