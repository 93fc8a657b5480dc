#include "proxy/upstream/cluster_manager.h"

#include <optional>
#include <set>
#include <utility>

#include "core/log.h"
#include "proxy/upstream/members.h"

namespace sluice::upstream {

using model::ClusterType;

// ---- on a worker ----

WorkerClusters::WorkerClusters(io::Loop& loop, stats::Scope stats_root, uint64_t seed)
    : loop_(loop), stats_root_(std::move(stats_root)), random_(seed) {}

WorkerClusters::~WorkerClusters() {
  close();
}

void WorkerClusters::close() {
  for (auto& [name, known] : clusters_)
    if (known.cluster) known.cluster->close();
}

void WorkerClusters::forget_origin(uint64_t netns_cookie) {
  for (auto& [name, known] : clusters_)
    if (known.cluster) known.cluster->forget_origin(netns_cookie);
}

ext::Cluster* WorkerClusters::find(std::string_view name) {
  auto it = clusters_.find(name);
  if (it == clusters_.end()) return nullptr;
  Known& known = it->second;
  if (!known.cluster) {
    known.cluster = std::make_shared<WorkerCluster>(known.shared, loop_, stats_root_, random_);
    known.cluster->set_hosts(known.hosts);
  }
  return known.cluster.get();
}

void WorkerClusters::put(const std::shared_ptr<SharedCluster>& shared, const HostSetPtr& hosts) {
  remove(shared->config->name);  // the key is a part of what goes
  clusters_.emplace(shared->config->name, Known{shared, hosts});
}

void WorkerClusters::set_hosts(const std::string& name, const HostSetPtr& hosts) {
  auto it = clusters_.find(name);
  if (it == clusters_.end()) return;
  it->second.hosts = hosts;
  if (it->second.cluster) it->second.cluster->set_hosts(hosts);
}

void WorkerClusters::hosts_failed(const std::string& name, const HostVector& hosts) {
  if (auto it = clusters_.find(name); it != clusters_.end() && it->second.cluster)
    it->second.cluster->hosts_failed(hosts);
}

void WorkerClusters::remove(const std::string& name) {
  auto it = clusters_.find(name);
  if (it == clusters_.end()) return;
  const Known gone = std::move(it->second);
  clusters_.erase(it);
  retire(gone.cluster);
}

// Whoever has the pointer from find() may use it until the turn ends; connections keep their cluster.
void WorkerClusters::retire(std::shared_ptr<WorkerCluster> cluster) {
  if (cluster) cluster->drain();
  struct Retired final : io::Deferred {
    explicit Retired(std::shared_ptr<WorkerCluster> c) : cluster(std::move(c)) {}
    std::shared_ptr<WorkerCluster> cluster;
  };
  if (cluster) loop_.defer_delete(std::make_unique<Retired>(std::move(cluster)));
}

// ---- control thread ----

struct ClusterDirectory::Entry final : HealthChecker::Owner {
  Entry(ClusterDirectory& d, std::shared_ptr<SharedCluster> s, const stats::Scope& scope)
      : directory(d),
        shared(std::move(s)),
        stats(scope),
        table_stats(scope, shared->config->lb.policy),
        zone_stats(scope),
        sweep_timer(d.loop_.timers(), &sweep, this) {
    if (shared->config->lb.subsets) subset_stats.emplace(scope);
  }
  ~Entry() {
    health.reset();
    directory.set_warming(*this, false);
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
    if (!health) return directory.set_warming(*this, false);
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
    directory.set_warming(*this, false);
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

  // Of the last priority that has one, as Envoy.
  void count_table(const HostSet& set) {
    for (const HostSet::Priority& p : set.priorities) {
      if (p.table) table_stats.set(p.table->size());
    }
  }

  ClusterDirectory& directory;
  std::shared_ptr<SharedCluster> shared;
  ClusterUpdateStats stats;
  HashTableStats table_stats;
  std::optional<SubsetStats> subset_stats;
  ZoneStats zone_stats;
  HostSetPtr hosts;
  HostVector members;
  std::shared_ptr<OutlierDetector> outlier;  // may be null
  std::shared_ptr<HealthChecker> health;  // may be null
  std::unique_ptr<DnsCluster> dns;
  bool warming = false;
  bool first_round = false;  // of health checks; the cluster is not warm before its end
  uint64_t members_total = 0, members_healthy = 0, members_degraded = 0, members_excluded = 0;
  io::Timer sweep_timer;   // ORIGINAL_DST
};

// One worker as the directory knows it. `clusters` is null once the worker has let go.
struct ClusterDirectory::Worker {
  explicit Worker(io::Loop& l) : loop(l) {}
  io::Loop& loop;
  std::shared_ptr<WorkerClusters> clusters;   // the Handle's; here only to know whether it is there
};

// What the worker owns. Tells the directory when it goes, unless the directory went first.
class ClusterDirectory::Handle final : public ext::ClusterManager {
 public:
  Handle(ClusterDirectory& directory, std::shared_ptr<Worker> worker)
      : directory_(directory), worker_(std::move(worker)), clusters_(worker_->clusters) {}
  ~Handle() override {
    std::lock_guard lock(directory_.mutex_);
    std::erase(directory_.workers_, worker_);
    worker_->clusters.reset();
  }
  ext::Cluster* find(std::string_view name) override { return clusters_->find(name); }
  bool has(std::string_view name) override { return clusters_->has(name); }
  void forget_origin(uint64_t netns_cookie) override { clusters_->forget_origin(netns_cookie); }
  void close() override { clusters_->close(); }

 private:
  ClusterDirectory& directory_;
  std::shared_ptr<Worker> worker_;
  std::shared_ptr<WorkerClusters> clusters_;
};

ClusterDirectory::ClusterDirectory(io::Loop& control_loop, stats::Store& store, Options options)
    : loop_(control_loop),
      store_(store),
      options_(std::move(options)),
      random_(options_.seed),
      location_{.locality = options_.locality, .proxies = nullptr},
      warming_timer_(loop_.timers(), &warming_timed_out, this),
      check_warm_(&check_warm, this) {
  stats::Scope scope = store_.root(0).scope("cluster_manager");
  cluster_added_ = scope.counter("cluster_added");
  cluster_modified_ = scope.counter("cluster_modified");
  cluster_removed_ = scope.counter("cluster_removed");
  active_clusters_ = scope.gauge("active_clusters");
  warming_clusters_ = scope.gauge("warming_clusters");
  for (const char* name : {"cluster_updated", "cluster_updated_via_merge", "update_merge_cancelled",
                           "update_out_of_merge_window"}) {
    scope.counter(name);
  }
}

ClusterDirectory::~ClusterDirectory() {
  on_warm_ = nullptr;
  entries_.clear();   // queries before their resolvers
}

std::unique_ptr<ext::ClusterManager> ClusterDirectory::make_worker(io::Loop& loop, unsigned slot,
                                                                   uint64_t seed) {
  auto worker = std::make_shared<Worker>(loop);
  worker->clusters = std::make_shared<WorkerClusters>(loop, store_.root(slot), seed);
  std::lock_guard lock(mutex_);
  for (auto& [name, entry] : entries_) worker->clusters->put(entry->shared, entry->hosts);
  workers_.push_back(worker);
  return std::make_unique<Handle>(*this, worker);
}

void ClusterDirectory::post(std::function<void(WorkerClusters&)> f) {
  for (const auto& worker : workers_) {
    // Handles are destroyed on the worker's thread, where this runs: no race.
    worker->loop.post([worker, f] {
      if (worker->clusters) f(*worker->clusters);
    });
  }
}

namespace {

HostVector configured_hosts(const model::Cluster& config, unsigned slots) {
  HostVector hosts;
  for (const model::Locality& l : config.localities) {
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
                                                   .health_address = health_address(e, e.address),
                                                   .health_hostname = e.health_hostname,
                                                   .health_check_disabled = e.health_check_disabled},
                                 slots));
    }
  }
  return hosts;
}

void declare_remaining(const model::Cluster& config, const stats::Scope& cluster) {
  for (int i = 0; i < 2; ++i) {
    const model::CircuitBreaker& b = config.circuit_breaker[i];
    if (!b.track_remaining) continue;
    stats::Scope scope = cluster.scope("circuit_breakers").scope(i == 0 ? "default" : "high");
    scope.gauge("remaining_cx").set(b.max_connections);
    scope.gauge("remaining_cx_pools").set(b.max_connection_pools == ~0u ? ~0ull : b.max_connection_pools);
    scope.gauge("remaining_pending").set(b.max_pending_requests);
    scope.gauge("remaining_retries").set(b.max_retries);
    scope.gauge("remaining_rq").set(b.max_requests);
  }
}

}  // namespace

Status ClusterDirectory::apply(const model::ConfigSet& config) {
  std::set<std::string_view> wanted;
  for (const auto& c : config.clusters) {
    if (!wanted.insert(c->name).second)
      return Error{"cluster '" + c->name + "' is defined twice; give each its own name"};
  }
  for (auto it = entries_.begin(); it != entries_.end();) {
    if (wanted.contains(it->first)) {
      ++it;
      continue;
    }
    SLUICE_LOG(upstream, info, "cluster {}: removed", it->first);
    cluster_removed_.add();
    active_clusters_.sub();
    std::lock_guard lock(mutex_);
    post([name = it->first](WorkerClusters& w) { w.remove(name); });
    it = entries_.erase(it);
  }
  for (const auto& c : config.clusters) {
    auto old = entries_.find(c->name);
    bool is_new = old == entries_.end();
    if (!is_new) {
      const auto& before = old->second->shared->config;
      if (before == c || (c->hash != 0 && before->hash == c->hash)) continue;
    }
    bool dns = c->type == ClusterType::strict_dns || c->type == ClusterType::logical_dns;
    net::DnsResolver* names = nullptr;
    if (dns) {
      auto r = resolver(*c);
      if (!r.ok()) return std::move(r).error().prefixed("cluster '" + c->name + "'");
      names = *r;
    }
    auto shared = std::make_shared<SharedCluster>(c, store_, options_.locality.zone);
    stats::Scope scope = store_.root(0).scope("cluster").scope(shared->observability_name);
    ClusterStats::declare_all(scope);
    declare_remaining(*c, scope);
    auto entry = std::make_unique<Entry>(*this, shared, scope);
    Entry& e = *entry;
    if (c->outlier_detection) {
      e.outlier = std::make_shared<OutlierDetector>(*c->outlier_detection, loop_, random_, scope,
                                                    [this, &e](const HostVector& ejected) {
                                                      spread(e);
                                                      hosts_failed(e, ejected);
                                                    });
      shared->outlier = OutlierReporter(*c->outlier_detection, loop_, e.outlier);
    }
    if (c->health_check) e.check_health(scope);
    (is_new ? cluster_added_ : cluster_modified_).add();
    if (is_new) active_clusters_.add();
    HostVector hosts;
    if (c->type == ClusterType::static_) hosts = configured_hosts(*c, store_.slots());
    {
      std::lock_guard lock(mutex_);
      e.hosts = HostSet::make(*c, {}, &location_);
      entries_[c->name] = std::move(entry);
      post([shared, set = e.hosts](WorkerClusters& w) { w.put(shared, set); });
    }
    if (dns) {
      if (c->wait_for_warm_on_init) set_warming(e, true);
      e.dns = std::make_unique<DnsCluster>(
          c, store_.slots(), *names, loop_, random_, e.stats,
          [this, &e](const HostVector& all) { publish(e, all); },
          [&e] {
            if (e.warming) e.await_health();
          });
      e.dns->start();
      continue;
    }
    if (!hosts.empty()) publish(e, hosts);
    if (e.health) e.await_health();
    if (c->type == ClusterType::original_dst) e.sweep_timer.arm(loop_.now() + c->cleanup_interval);
  }
  return {};
}

void ClusterDirectory::publish(Entry& entry, const HostVector& hosts) {
  const model::Cluster& config = *entry.shared->config;
  entry.members = merge_members(config, entry.members, hosts);
  members_changed(entry);
}

void ClusterDirectory::members_changed(Entry& entry) {
  const model::Cluster& config = *entry.shared->config;
  const bool first = entry.hosts->size() == 0;
  entry.stats.membership_change.add();
  if (entry.health)
    entry.health->set_hosts(
        entry.members,
        config.ignore_new_hosts_until_first_health_check && config.type != ClusterType::static_,
        config.type == ClusterType::logical_dns && !first);
  if (entry.outlier) entry.outlier->set_hosts(entry.members);
  spread(entry);
}

void ClusterDirectory::hosts_failed(Entry& entry, const HostVector& hosts) {
  if (hosts.empty()) return;
  std::lock_guard lock(mutex_);
  post([name = entry.shared->config->name, hosts](WorkerClusters& w) { w.hosts_failed(name, hosts); });
}

void ClusterDirectory::spread(Entry& entry) {
  spread_alone(entry);
  if (entry.shared->config->name != options_.local_cluster) return;
  // How much each zone of any cluster gets depends on where the proxies are.
  location_.proxies = entry.hosts;
  for (auto& [name, other] : entries_) {
    if (other->shared->config->lb.by_zones()) spread_alone(*other);
  }
}

void ClusterDirectory::spread_alone(Entry& entry) {
  if (entry.shared->config->lb.slow_start.window.count() > 0) {
    for (const HostPtr& h : entry.members) {
      if (h->health() == model::HealthStatus::healthy &&
          h->monitor().healthy_since.load(std::memory_order_relaxed) == MonotonicTime{})
        h->monitor().healthy_since.store(loop_.now(), std::memory_order_relaxed);
    }
  }
  HostSetPtr set = HostSet::make(*entry.shared->config, entry.members, &location_);
  entry.zone_stats.count(set->zones.get());
  entry.count_members(*set);
  entry.count_table(*set);
  if (entry.subset_stats) entry.subset_stats->set(set->subsets);
  if (entry.shared->config->type != ClusterType::static_) entry.stats.max_host_weight.set(set->max_weight());
  std::lock_guard lock(mutex_);
  entry.hosts = set;
  post([name = entry.shared->config->name, set](WorkerClusters& w) { w.set_hosts(name, set); });
}

Result<net::DnsResolver*> ClusterDirectory::resolver(const model::Cluster& config) {
  net::DnsOptions options{.servers = config.dns_resolvers,
                          .use_tcp = config.dns_use_tcp,
                          .no_search = config.dns_no_search,
                          .timeout = options_.dns_timeout,
                          .tries = options_.dns_tries};
  for (auto& [o, r] : resolvers_) {
    if (o == options) return r.get();
  }
  SLUICE_ASSIGN(auto made,
                net::make_dns_resolver(loop_, options, store_.root(0).scope("dns").scope("cares")));
  return resolvers_.emplace_back(std::move(options), std::move(made)).second.get();
}

// ---- warming ----

void ClusterDirectory::when_warm(std::function<void()> f) {
  on_warm_ = std::move(f);
  if (warming_ > 0) warming_timer_.arm(loop_.now() + options_.warming_timeout);
  loop_.schedule(check_warm_);
}

void ClusterDirectory::set_warming(Entry& entry, bool warming) {
  if (entry.warming == warming) return;
  entry.warming = warming;
  warming ? ++warming_ : --warming_;
  warming_clusters_.set(warming_);
  if (warming_ == 0 && on_warm_) loop_.schedule(check_warm_);
}

void ClusterDirectory::check_warm(io::TurnEnd& hook) {
  ClusterDirectory& self = *hook.owner<ClusterDirectory>();
  if (self.warming_ > 0 || !self.on_warm_) return;
  self.warming_timer_.cancel();
  std::exchange(self.on_warm_, nullptr)();
}

void ClusterDirectory::warming_timed_out(io::Timer& timer) {
  ClusterDirectory& self = *timer.owner<ClusterDirectory>();
  for (auto& [name, entry] : self.entries_) {
    if (!entry->warming) continue;
    SLUICE_LOG(upstream, warn, "cluster {}: {}", name,
               entry->first_round ? "the first health checks are not over in time, going on"
                                  : "not resolved in time, going on without its hosts; check its DNS names");
    if (std::exchange(entry->first_round, false)) self.spread(*entry);
    self.set_warming(*entry, false);
  }
}

void ClusterDirectory::sweep(io::Timer& timer) {
  Entry& e = *timer.owner<Entry>();
  if (size_t gone = e.shared->original_dst.sweep(); gone > 0) {
    // The workers have counted them in.
    e.stats.membership_total.sub(gone);
    e.stats.membership_healthy.sub(gone);
    e.stats.membership_change.add();
  }
  timer.arm(e.directory.loop_.now() + e.shared->config->cleanup_interval);
}

std::vector<ClusterView> ClusterDirectory::view() const {
  std::vector<ClusterView> out;
  for (const auto& [name, entry] : entries_) {
    ClusterView& v = out.emplace_back();
    v.config = entry->shared->config;
    v.observability_name = entry->shared->observability_name;
    v.warming = entry->warming;
    if (entry->outlier) v.outlier = std::array{entry->outlier->rates(false), entry->outlier->rates(true)};
    HostVector hosts = entry->shared->original_dst.all();
    for (const HostSet::Priority& p : entry->hosts->priorities)
      hosts.insert(hosts.end(), p.all.begin(), p.all.end());
    for (HostPtr& host : hosts) {
      uint64_t rq_total = host->sum(&HostCounters::rq_total),
               fail = host->sum(&HostCounters::cx_connect_fail);
      // Of HTTP alone: Envoy counts neither success nor failure of TCP "requests".
      v.hosts.push_back({.host = host,
                         .cx_active = host->sum(&HostCounters::cx_active),
                         .cx_connect_fail = fail,
                         .cx_total = host->sum(&HostCounters::cx_total),
                         .rq_active = host->sum(&HostCounters::rq_active),
                         .rq_error = host->sum(&HostCounters::rq_error),
                         .rq_pending_active = host->sum(&HostCounters::rq_pending_active),
                         .rq_success = host->sum(&HostCounters::rq_success),
                         .rq_timeout = host->sum(&HostCounters::rq_timeout),
                         .rq_total = rq_total});
    }
  }
  return out;
}

}  // namespace sluice::upstream
