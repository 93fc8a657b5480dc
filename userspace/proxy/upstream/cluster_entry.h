#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <unordered_set>
#include <utility>

#include "proxy/upstream/cluster_manager.h"
#include "proxy/upstream/members.h"
#include "proxy/upstream/transport_match_stats.h"

namespace sluice::upstream {

// One version of one cluster, as the directory has it: what finds its hosts, watches them and counts.
struct ClusterDirectory::Entry final : EndpointDiscovery::Sink, HealthChecker::Owner {
  Entry(ClusterDirectory& d, std::shared_ptr<SharedCluster> s, const stats::Scope& scope)
      : directory(d),
        shared(std::move(s)),
        spread_by(shared->config),
        stats(scope),
        match_stats(*shared->config, scope),
        table_stats(scope, shared->config->lb.policy),
        zone_stats(scope),
        merge(d.loop_, shared->config->update_merge_window, d.update_stats_,
              [this] { directory.deliver(*this); }),
        sweep_timer(d.loop_.timers(), &sweep, this) {
    if (shared->config->lb.subsets) subset_stats.emplace(scope);
  }
  ~Entry() {
    health.reset();
    directory.set_warming(*this, false);
    feed.reset();
    size_t remembered = shared->original_dst.all().size();  // counted by the workers
    members_total += remembered, members_healthy += remembered;
    count_members(HostSet());
  }

  void check_health(const stats::Scope& scope) {
    health = std::make_shared<HealthChecker>(
        directory.loop_, directory.random_, shared->config, scope,
        [cluster = shared.get()] { return cluster->had_traffic(); }, *this);
    shared->health = HealthReporter(directory.loop_, health);
  }
  // It is warm when every host has been asked once.
  void await_health() {
    if (!health) return directory.warmed(*this);
    directory.set_warming(*this, true);
    first_round = true;
    health->await_first_round();
  }

  // HealthChecker::Owner
  void on_well(const HostPtr& host) override {
    if (outlier) outlier->active_check_passed(host);
  }
  void on_health_changed(const HostVector& failed) override {
    if (drop_failed_removals(members)) directory.members_changed(*this);
    // Nobody is sent anywhere before the first round is over: one rebuild will do.
    else if (!first_round)
      directory.spread(*this);
    directory.hosts_failed(*this, failed);
  }
  void on_first_round() override {
    first_round = false;
    directory.spread(*this);
    directory.warmed(*this);
  }

  // The gauges of one cluster are shared by name with its successor: only differences are written.
  void count_members(const HostSet& set) {
    auto count = [](stats::Gauge& gauge, uint64_t& before, uint64_t now) {
      gauge.add(now - std::exchange(before, now));
    };
    count(stats.membership_total, members_total, set.size());
    count(stats.membership_healthy, members_healthy, set.healthy());
    count(stats.membership_degraded, members_degraded, set.degraded());
    count(stats.membership_excluded, members_excluded, set.excluded());
  }

  void set_members(HostVector now) {
    if (members.empty()) {
      for (const HostPtr& h : now) match_stats.count(h->description().transport_metadata.get());
    } else if (now != members) {
      const std::unordered_set<HostPtr> known(members.begin(), members.end());
      for (const HostPtr& h : now)
        if (!known.contains(h)) match_stats.count(h->description().transport_metadata.get());
    }
    members = std::move(now);
  }

  // Of the last priority that has one, as Envoy.
  void count_table(const HostSet& set) {
    for (const HostSet::Priority& p : set.priorities) {
      if (p.table) table_stats.set(p.table->size());
    }
  }

  void on_assignment(const std::shared_ptr<const model::Assignment>& assignment) override {
    directory.assign(*this, *assignment);
  }
  void on_answered() override { begun(); }
  // Its hosts are known, or will not be waited for: what is left is what else it needs, then the first health checks.
  void begun() {
    hosts_known = true;
    if (!warming || first_round || !needs_met()) return;
    if (dns && !shared->config->wait_for_warm_on_init) return directory.warmed(*this);
    await_health();
  }
  bool needs_met() const {
    const auto& needs = shared->config->needs;
    return std::all_of(needs.begin(), needs.end(), [](const auto& n) { return n->ready(); });
  }

  bool serves() const { return slot != nullptr && slot->active.get() == this; }

  ClusterDirectory& directory;
  std::shared_ptr<SharedCluster> shared;
  std::shared_ptr<const model::Cluster>
      spread_by;  // the configuration, with what an assignment says beside its endpoints
  Slot* slot = nullptr;
  ClusterUpdateStats stats;
  TransportMatchStats match_stats;
  HashTableStats table_stats;
  std::optional<SubsetStats> subset_stats;
  ZoneStats zone_stats;
  UpdateMerge merge;
  HostSetPtr hosts;
  HostVector members;
  std::shared_ptr<OutlierDetector> outlier;  // may be null
  std::shared_ptr<HealthChecker> health;  // may be null
  std::unique_ptr<DnsCluster> dns;
  std::unique_ptr<EndpointDiscovery::Feed> feed;  // EDS
  bool assigned = false;
  bool warming = false;
  bool initialized = false;  // what changes from here on is an update
  bool hosts_known = false;  // of no interest once it is warm
  bool first_round = false;  // of health checks; the cluster is not warm before its end
  uint64_t members_total = 0, members_healthy = 0, members_degraded = 0, members_excluded = 0;
  io::Timer sweep_timer;  // ORIGINAL_DST
};

}  // namespace sluice::upstream
