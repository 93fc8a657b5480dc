// What the directory makes of a cluster's hosts, and whom it tells when.
#include <algorithm>
#include <utility>

#include "proxy/upstream/cluster_entry.h"
#include "proxy/upstream/cluster_manager.h"
#include "proxy/upstream/endpoint_hosts.h"
#include "proxy/upstream/members.h"

namespace sluice::upstream {

void ClusterDirectory::publish(Entry& entry, const HostVector& hosts) {
  const model::Cluster& config = *entry.shared->config;
  entry.set_members(merge_members(config, entry.members, hosts));
  members_changed(entry);
}

namespace {

// By priority. `membership` says it of one alone; `every`: each has changed somehow.
std::vector<HostChange> host_changes(const HostSet& before, const HostSet& now, bool membership, bool every) {
  const size_t n = std::max(before.priorities.size(), now.priorities.size());
  if (n == 1) return {membership ? HostChange::membership : HostChange::same_hosts};
  static const HostVector nobody;
  std::vector<HostChange> out(n, every ? HostChange::same_hosts : HostChange::none);
  for (size_t i = 0; i < n; ++i) {
    const HostVector& old = i < before.priorities.size() ? before.priorities[i].all : nobody;
    const HostVector& all = i < now.priorities.size() ? now.priorities[i].all : nobody;
    if (old != all) out[i] = same_hosts(old, all) ? HostChange::same_hosts : HostChange::membership;
  }
  return out;
}

}  // namespace

void ClusterDirectory::members_changed(Entry& entry, bool membership, bool every) {
  const model::Cluster& config = *entry.shared->config;
  const bool first = entry.hosts->size() == 0;
  if (entry.health)
    entry.health->set_hosts(
        entry.members,
        config.ignore_new_hosts_until_first_health_check && config.type != model::ClusterType::static_,
        config.type == model::ClusterType::logical_dns && !first);
  if (entry.outlier) entry.outlier->set_hosts(entry.members);
  const HostSetPtr before = entry.hosts;
  make_set(entry);
  const auto changes = host_changes(*before, *entry.hosts, membership, every);
  entry.stats.membership_change.add(
      static_cast<uint64_t>(std::ranges::count(changes, HostChange::membership)));
  tell_of(entry, changes, true);
}

void ClusterDirectory::hosts_failed(Entry& entry, const HostVector& hosts) {
  if (hosts.empty()) return;
  if (!entry.serves()) return;
  std::lock_guard lock(mutex_);
  post([name = entry.shared->config->name, hosts](WorkerClusters& w) { w.hosts_failed(name, hosts); });
}

namespace {

bool same_share(const std::optional<model::Fraction>& a, const std::optional<model::Fraction>& b) {
  return a.has_value() == b.has_value() &&
         (!a || (a->numerator == b->numerator && a->denominator == b->denominator));
}

}  // namespace

void ClusterDirectory::assign(Entry& entry, const model::Assignment& assignment) {
  HostUpdate update = update_hosts(entry.members, assignment.localities, store_.slots());
  bool changed = update.changed || !entry.assigned;
  const model::Cluster& by = *entry.spread_by;
  bool every = false;
  if (by.overprovisioning_factor != assignment.overprovisioning_factor ||
      by.weighted_priority_health != assignment.weighted_priority_health ||
      !same_share(by.drop_overload, assignment.drop_overload)) {
    auto other = std::make_shared<model::Cluster>(*entry.shared->config);
    other->overprovisioning_factor = assignment.overprovisioning_factor;
    other->weighted_priority_health = assignment.weighted_priority_health;
    other->drop_overload = assignment.drop_overload;
    entry.spread_by = std::move(other);
    changed = every = true;
  }
  entry.assigned = true;
  const bool merged = entry.shared->config->health_check.has_value();
  HostVector members =
      merged ? merge_members(*entry.shared->config, entry.members, update.hosts) : std::move(update.hosts);
  if (!changed && members == entry.members) return entry.stats.update_no_rebuild.add();
  const bool membership = update.membership && !(merged && same_hosts(members, entry.members));
  entry.set_members(std::move(members));
  members_changed(entry, membership, every);
}

void ClusterDirectory::spread(Entry& entry) {
  make_set(entry);
  tell_of(entry, std::vector(entry.hosts->priorities.size(), HostChange::same_hosts), false);
}

void ClusterDirectory::tell_of(Entry& entry, const std::vector<HostChange>& changes, bool together) {
  // What a cluster begins with is no update of it.
  if (!entry.initialized || entry.merge.update(changes, together)) deliver(entry);
}

void ClusterDirectory::make_set(Entry& entry) {
  if (entry.shared->config->lb.slow_start.window.count() > 0) {
    for (const HostPtr& h : entry.members) {
      if (h->health() == model::HealthStatus::healthy &&
          h->monitor().healthy_since.load(std::memory_order_relaxed) == MonotonicTime{})
        h->monitor().healthy_since.store(loop_.now(), std::memory_order_relaxed);
    }
  }
  HostSetPtr set = HostSet::make(*entry.spread_by, entry.members, &location_);
  std::lock_guard lock(mutex_);
  entry.hosts = std::move(set);
  if (entry.serves()) count(entry);
}

void ClusterDirectory::deliver(Entry& entry) {
  post_hosts(entry);
  if (entry.shared->config->name != options_.local_cluster) return;
  // How much each zone of any cluster gets depends on where the proxies are.
  location_.proxies = entry.hosts;
  for (auto& [name, slot] : entries_) {
    for (auto* other : {slot.active.get(), slot.next.get()}) {
      if (other == nullptr || other == &entry || !other->shared->config->lb.by_zones()) continue;
      make_set(*other);
      if (!other->merge.waiting()) post_hosts(*other);
    }
  }
}

void ClusterDirectory::post_hosts(Entry& entry) {
  if (!entry.serves()) return;  // a version that warms is told to nobody
  std::lock_guard lock(mutex_);
  post([name = entry.shared->config->name, set = entry.hosts](WorkerClusters& w) { w.set_hosts(name, set); });
}

void ClusterDirectory::count(Entry& entry) {
  const HostSet& set = *entry.hosts;
  entry.zone_stats.count(set.zones.get());
  entry.count_members(set);
  entry.count_table(set);
  if (entry.subset_stats) entry.subset_stats->set(set.subsets);
  if (entry.shared->config->type != model::ClusterType::static_)
    entry.stats.max_host_weight.set(set.max_weight());
}

}  // namespace sluice::upstream
