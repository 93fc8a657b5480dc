#include "proxy/upstream/cluster_manager.h"

#include <optional>
#include <set>
#include <utility>

#include "core/log.h"
#include "proxy/upstream/cluster_entry.h"
#include "proxy/upstream/endpoint_hosts.h"

namespace sluice::upstream {

using model::ClusterType;

// One worker as the directory knows it. `clusters` is null once the worker has let go.
struct ClusterDirectory::Worker {
  explicit Worker(io::Loop& l) : loop(l) {}
  io::Loop& loop;
  std::shared_ptr<WorkerClusters> clusters;   // the Handle's; here only to know whether it is there
  std::vector<std::function<void(WorkerClusters&)>> news;  // of this turn
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
      update_stats_(store_.root(0).scope("cluster_manager")),
      warming_timer_(loop_.timers(), &warming_timed_out, this),
      check_warm_(&check_warm, this),
      check_needs_(&look_at_needs, this),
      turn_end_([](io::TurnEnd& hook) { hook.owner<ClusterDirectory>()->tell_workers(); }, this) {
  stats::Scope scope = store_.root(0).scope("cluster_manager");
  cluster_added_ = scope.counter("cluster_added");
  cluster_modified_ = scope.counter("cluster_modified");
  cluster_removed_ = scope.counter("cluster_removed");
  active_clusters_ = scope.gauge("active_clusters");
  warming_clusters_ = scope.gauge("warming_clusters");
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
  for (auto& [name, slot] : entries_) {
    if (slot.active) worker->clusters->put(slot.active->shared, slot.active->hosts);
  }
  workers_.push_back(worker);
  return std::make_unique<Handle>(*this, worker);
}

void ClusterDirectory::post(std::function<void(WorkerClusters&)> f) {
  constexpr size_t kAtOnce = 256;
  if (workers_.empty()) return;
  for (const auto& worker : workers_) worker->news.push_back(f);
  if (workers_.front()->news.size() >= kAtOnce)
    hand_out();
  else
    loop_.schedule(turn_end_);
}

void ClusterDirectory::hand_out() {
  for (const auto& worker : workers_) {
    if (worker->news.empty()) continue;
    // Handles are destroyed on the worker's thread, where this runs: no race.
    worker->loop.post([worker, news = std::exchange(worker->news, {})] {
      for (const auto& f : news) {
        if (worker->clusters) f(*worker->clusters);
      }
    });
  }
}

void ClusterDirectory::tell_workers() {
  std::lock_guard lock(mutex_);
  hand_out();
}

namespace {

void declare_remaining(const model::Cluster& config, const stats::Scope& cluster) {
  for (int i = 0; i < 2; ++i) {
    const model::CircuitBreaker& b = config.circuit_breaker[i];
    if (!b.track_remaining) continue;
    BreakerStats s(cluster, static_cast<ext::RoutingPriority>(i), b);
    s.remaining_cx->set(b.max_connections);
    s.remaining_cx_pools->set(b.max_connection_pools == ~0u ? ~0ull : b.max_connection_pools);
    s.remaining_pending->set(b.max_pending_requests);
    s.remaining_retries->set(b.max_retries);
    s.remaining_rq->set(b.max_requests);
  }
}

}  // namespace

Status ClusterDirectory::apply(const model::ConfigSet& config) {
  std::set<std::string_view> wanted;
  for (const auto& c : config.clusters) {
    if (!wanted.insert(c->name).second)
      return Error{"cluster '" + c->name + "' is defined twice; give each its own name"};
  }
  std::vector<std::string> gone;
  for (const auto& [name, slot] : entries_) {
    if (!wanted.contains(name)) gone.push_back(name);
  }
  for (const std::string& name : gone) remove(name);
  for (const auto& c : config.clusters) SLUICE_TRY(put(c));
  return {};
}

bool ClusterDirectory::remove(const std::string& name) {
  auto it = entries_.find(name);
  if (it == entries_.end()) return false;
  SLUICE_LOG(upstream, info, "cluster {}: removed", name);
  cluster_removed_.add();
  Slot gone = std::move(it->second);
  std::lock_guard lock(mutex_);
  if (gone.active) {
    active_clusters_.sub();
    post([name](WorkerClusters& w) { w.remove(name); });
  }
  entries_.erase(it);
  return true;
}

bool ClusterDirectory::is_static(std::string_view name) const {
  auto it = entries_.find(name);
  return it != entries_.end() && !it->second.discovered;
}

bool ClusterDirectory::warming(std::string_view name) const {
  auto it = entries_.find(name);
  return it != entries_.end() && (it->second.next || (it->second.active && it->second.active->warming));
}

std::vector<const model::Cluster*> ClusterDirectory::warming() const {
  std::vector<const model::Cluster*> out;
  for (const auto& [name, slot] : entries_) {
    const Entry* e = slot.next ? slot.next.get() : slot.active.get();
    if (e && e->warming) out.push_back(e->shared->config.get());
  }
  return out;
}

Result<std::unique_ptr<ClusterDirectory::Entry>> ClusterDirectory::make_entry(
    std::shared_ptr<const model::Cluster> c) {
  const bool dns = c->type == ClusterType::strict_dns || c->type == ClusterType::logical_dns;
  net::DnsResolver* names = nullptr;
  if (dns) {
    auto r = resolver(*c);
    if (!r.ok()) return std::move(r).error().prefixed("cluster '" + c->name + "'");
    names = *r;
  }
  auto shared = std::make_shared<SharedCluster>(c, store_, options_.locality.zone);
  stats::Scope scope = store_.root(0).scope("cluster").scope(shared->observability_name);
  auto entry = std::make_unique<Entry>(*this, shared, scope);
  Entry& e = *entry;
  if (c->type == ClusterType::eds) {
    if (discovery_ == nullptr)
      return Error{"cluster '" + c->name + "': there is nothing here that could discover its endpoints"};
    SLUICE_ASSIGN(e.feed, discovery_->discover(c, e));
  }
  ClusterStats::declare_all(scope);
  declare_remaining(*c, scope);
  if (c->outlier_detection) {
    e.outlier = std::make_shared<OutlierDetector>(*c->outlier_detection, loop_, random_, scope,
                                                  [this, &e](const HostVector& ejected) {
                                                    spread(e);
                                                    hosts_failed(e, ejected);
                                                  });
    shared->outlier = OutlierReporter(*c->outlier_detection, loop_, e.outlier);
  }
  if (c->health_check) e.check_health(scope);
  e.hosts = HostSet::make(*c, {}, &location_);
  if (dns)
    e.dns = std::make_unique<DnsCluster>(
        c, store_.slots(), *names, loop_, random_, e.stats,
        [this, &e](const HostVector& all) { publish(e, all); }, [&e] { e.begun(); });
  return entry;
}

Result<bool> ClusterDirectory::put(std::shared_ptr<const model::Cluster> c, bool discovered) {
  auto old = entries_.find(c->name);
  if (old != entries_.end()) {
    for (const auto* version : {old->second.next.get(), old->second.active.get()}) {
      if (version == nullptr) continue;
      const auto& before = version->shared->config;
      if (before == c || (c->hash != 0 && before->hash == c->hash)) return false;
      break;  // the newest counts
    }
  }
  SLUICE_ASSIGN(auto entry, make_entry(c));
  Entry& e = *entry;
  const bool is_new = old == entries_.end();
  (is_new ? cluster_added_ : cluster_modified_).add();
  std::unique_ptr<Entry> replaced;
  {
    std::lock_guard lock(mutex_);
    Slot& slot = entries_[c->name];
    slot.discovered = discovered;
    replaced = std::exchange(slot.next, std::move(entry));
    e.slot = &slot;
  }
  replaced.reset();
  const bool waits = e.feed || !e.needs_met() || (e.dns ? c->wait_for_warm_on_init : e.health != nullptr);
  // At the start nobody is served yet: a cluster can be there before its hosts are.
  if (!waits || (!initialized_ && !e.slot->active)) activate(*e.slot);
  if (waits) set_warming(e, true);
  start(e);
  return true;
}

void ClusterDirectory::start(Entry& e) {
  const model::Cluster& c = *e.shared->config;
  if (c.type == ClusterType::static_) {
    HostVector hosts = hosts_of(c.localities, store_.slots());
    if (!hosts.empty()) publish(e, hosts);
  }
  if (c.type == ClusterType::original_dst) e.sweep_timer.arm(loop_.now() + c.cleanup_interval);
  if (e.dns ? !c.wait_for_warm_on_init : !e.feed) e.begun();
  if (e.dns) e.dns->start();
  if (e.feed) e.feed->start();
  if (!e.warming) e.initialized = true;
}

void ClusterDirectory::look_at_needs(io::TurnEnd& hook) {
  ClusterDirectory& self = *hook.owner<ClusterDirectory>();
  // One that begins to serve changes its slot, not the map.
  for (auto& [name, slot] : self.entries_) {
    for (auto* entry : {slot.active.get(), slot.next.get()}) {
      if (entry && entry->warming && entry->hosts_known) entry->begun();
    }
  }
}

void ClusterDirectory::activate(Slot& slot) {
  std::unique_ptr<Entry> old;
  Entry& e = *slot.next;
  {
    std::lock_guard lock(mutex_);
    old = std::exchange(slot.active, std::move(slot.next));
    post([shared = e.shared, set = e.hosts](WorkerClusters& w) { w.put(shared, set); });
  }
  if (!old) active_clusters_.add();
  old.reset();
  count(e);
  if (on_active_) on_active_(e.shared->config->name);
}

Result<net::DnsResolver*> ClusterDirectory::resolver(const model::Cluster& config) {
  net::DnsOptions options{.servers = config.dns_resolvers,
                          .use_tcp = config.dns_use_tcp,
                          .no_search = config.dns_no_search,
                          .timeout = options_.dns_timeout,
                          .tries = options_.dns_tries,
                          .udp_max_queries = config.dns_udp_max_queries};
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
  // As Envoy: of those that wait to serve. At the start all serve at once.
  if (initialized_) entry.stats.warming_state.set(warming ? 1 : 0);
  if (warming_ == 0 && on_warm_) loop_.schedule(check_warm_);
}

void ClusterDirectory::warmed(Entry& entry) {
  set_warming(entry, false);
  entry.initialized = true;
  if (entry.slot != nullptr && entry.slot->next.get() == &entry) activate(*entry.slot);
}

void ClusterDirectory::check_warm(io::TurnEnd& hook) {
  ClusterDirectory& self = *hook.owner<ClusterDirectory>();
  if (self.warming_ > 0 || !self.on_warm_) return;
  self.warming_timer_.cancel();
  self.tell_workers();  // listeners come next
  std::exchange(self.on_warm_, nullptr)();
}

void ClusterDirectory::warming_timed_out(io::Timer& timer) {
  ClusterDirectory& self = *timer.owner<ClusterDirectory>();
  // EDS and SDS have time-outs of their own (initial_fetch_timeout); health checks of its hosts do not.
  std::vector<Entry*> late;
  for (auto& [name, slot] : self.entries_) {
    for (auto* entry : {slot.active.get(), slot.next.get()}) {
      if (entry && entry->warming && entry->needs_met() && (!entry->feed || entry->first_round))
        late.push_back(entry);
    }
  }
  for (Entry* entry : late) {
    SLUICE_LOG(upstream, warn, "cluster {}: {}", entry->shared->config->name,
               entry->first_round ? "the first health checks are not over in time, going on"
                                  : "not resolved in time, going on without its hosts; check its DNS names");
    if (std::exchange(entry->first_round, false)) self.spread(*entry);
    self.warmed(*entry);
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
  for (const auto& [name, slot] : entries_) {
    if (slot.active) view_entry(*slot.active, slot.discovered, out);
  }
  return out;
}

void ClusterDirectory::view_entry(const Entry& e, bool discovered, std::vector<ClusterView>& out) const {
  const Entry* entry = &e;
  {
    ClusterView& v = out.emplace_back();
    v.config = entry->spread_by;
    v.observability_name = entry->shared->observability_name;
    v.added_via_api = discovered;
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
}

}  // namespace sluice::upstream
