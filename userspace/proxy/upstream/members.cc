#include "proxy/upstream/members.h"

#include <algorithm>
#include <map>
#include <unordered_set>

namespace sluice::upstream {
namespace {

using Flag = HostMonitor::Flag;

bool same_place(const Host& a, const Host& b) {
  return a.address() == b.address() && a.hostname() == b.hostname() && a.priority() == b.priority() &&
         a.health_address() == b.health_address();
}

bool stays(const Host& host) {
  return !host.description().health_check_disabled &&
         host.description().health != model::HealthStatus::unhealthy &&
         !host.monitor().has(Flag::failed_active_check);
}

}  // namespace

HostVector merge_members(const model::Cluster& config, const HostVector& before, const HostVector& found) {
  if (!config.health_check) return found;
  if (config.type == model::ClusterType::logical_dns) {
    // One host whose address changes: it is as well as it was.
    if (before.size() == 1 && found.size() == 1 && before[0]->identity() != found[0]->identity())
      found[0]->monitor().flags.store(before[0]->monitor().flags.load());
    return found;
  }
  std::unordered_set<const void*> known;
  for (const HostPtr& h : found) known.insert(h->identity());
  // Those that are not found any more, by address.
  std::multimap<std::string, HostPtr> missing;
  for (const HostPtr& h : before) {
    if (!known.contains(h->identity())) missing.emplace(h->address().to_string(), h);
  }
  HostVector out;
  out.reserve(found.size());
  std::unordered_set<const void*> earlier;
  if (!missing.empty()) {
    for (const HostPtr& h : before) earlier.insert(h->identity());
  }
  for (const HostPtr& h : found) {
    HostPtr member = h;
    if (!missing.empty() && !earlier.contains(h->identity())) {
      auto [it, end] = missing.equal_range(h->address().to_string());
      it = std::find_if(it, end, [&](const auto& m) { return same_place(*m.second, *h); });
      if (it != end) {
        member = std::make_shared<Host>(h->description(), *it->second);
        missing.erase(it);
      }
    }
    member->monitor().set(Flag::pending_removal, false);
    out.push_back(std::move(member));
  }
  if (config.ignore_health_on_host_removal) return out;
  for (const HostPtr& h : before) {  // in their old order
    auto [it, end] = missing.equal_range(h->address().to_string());
    it = std::find_if(it, end, [&](const auto& m) { return m.second == h; });
    if (it == end || !stays(*h)) continue;
    h->monitor().set(Flag::pending_removal, true);
    out.push_back(h);
  }
  return out;
}

bool drop_failed_removals(HostVector& members) {
  return std::erase_if(members, [](const HostPtr& h) {
           return h->monitor().has(Flag::pending_removal) && h->monitor().has(Flag::failed_active_check);
         }) > 0;
}

}  // namespace sluice::upstream
