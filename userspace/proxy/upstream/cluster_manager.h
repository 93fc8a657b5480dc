#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/random.h"
#include "core/result.h"
#include "core/stats.h"
#include "io/loop.h"
#include "model/config_set.h"
#include "proxy/upstream/cluster.h"
#include "proxy/upstream/cluster_view.h"
#include "proxy/upstream/dns_cluster.h"
#include "proxy/upstream/endpoint_discovery.h"
#include "proxy/upstream/update_merge.h"

namespace sluice::upstream {

// The clusters of one worker. Belongs to the worker's thread. Of thousands a worker uses few: one that nobody has asked
// for yet is its shared part and its hosts, no more.
class WorkerClusters final : public ext::ClusterManager {
 public:
  WorkerClusters(io::Loop& loop, stats::Scope stats_root, uint64_t seed);

  ~WorkerClusters() override;

  // The pointer is good for this turn of the loop; ask again later: a cluster may be replaced or removed.
  ext::Cluster* find(std::string_view name) override;
  bool has(std::string_view name) override { return clusters_.contains(name); }
  void forget_origin(uint64_t netns_cookie) override;
  void close() override;

  // From the control thread's updates. What a cluster needs here is made when somebody first asks for it: of thousands
  // that a control plane sends, a worker uses few.
  void put(const std::shared_ptr<SharedCluster>& cluster, const HostSetPtr& hosts);
  void set_hosts(const std::string& name, const HostSetPtr& hosts);
  void hosts_failed(const std::string& name, const HostVector& hosts);
  void remove(const std::string& name);

 private:
  struct Known {
    std::shared_ptr<SharedCluster> shared;
    HostSetPtr hosts;
    std::shared_ptr<WorkerCluster> cluster = {};  // made when somebody asks
  };
  void retire(std::shared_ptr<WorkerCluster> cluster);
  io::Loop& loop_;
  stats::Scope stats_root_;
  Random random_;
  std::unordered_map<std::string_view, Known> clusters_;  // by the shared part's name
};

// The control thread's side: turns model::Cluster into hosts, keeps them current and hands them to every worker.
class ClusterDirectory {
 public:
  struct Options {
    uint64_t seed = 1;
    // Warming ends after this even if names are still unresolved; their hosts come when they come.
    Duration warming_timeout = std::chrono::seconds(15);
    Duration dns_timeout = std::chrono::seconds(5);  // net::DnsOptions
    unsigned dns_tries = 4;
    model::LocalityName locality = {};  // of the proxy: node.locality
    std::string local_cluster = {};  // cluster_manager.local_cluster_name; "": none
  };
  ClusterDirectory(io::Loop& control_loop, stats::Store& store, Options options);
  ~ClusterDirectory();  // after the workers' ClusterManagers
  ClusterDirectory(const ClusterDirectory&) = delete;

  // A worker's clusters, with all that is known now; later changes reach it through `loop`. From any thread that may
  // use `loop` (its own, or any before it runs). Destroyed on the loop's thread, or after the loop has ended.
  std::unique_ptr<ext::ClusterManager> make_worker(io::Loop& loop, unsigned slot, uint64_t seed);

  // ---- control thread ----
  // For clusters of type EDS; before the first of them.
  void set_endpoint_discovery(EndpointDiscovery* discovery) { discovery_ = discovery; }
  // Adds, replaces and removes until there are exactly the clusters of `config`; unchanged ones (by hash) keep hosts
  // and connections.
  Status apply(const model::ConfigSet& config);
  // One cluster: added, or put in the place of the one of its name, which serves until the new one is warm (its names
  // were resolved once, its endpoints have come). The same again (by hash) changes nothing: false.
  Result<bool> put(std::shared_ptr<const model::Cluster> config, bool discovered = false);
  bool remove(const std::string& name);  // false: there is none
  bool has(std::string_view name) const { return entries_.find(name) != entries_.end(); }
  bool is_static(std::string_view name) const;  // of the bootstrap: a control plane does not change it
  bool warming(std::string_view name) const;  // a version of it waits
  // The newest version of each cluster that waits to serve, or serves while it still waits for its first hosts.
  std::vector<const model::Cluster*> warming() const;
  // The start is over: from now on a new cluster is not there before it is warm.
  void set_initialized() { initialized_ = true; }
  // Told of each version that begins to serve.
  void when_active(std::function<void(const std::string& name)> f) { on_active_ = std::move(f); }
  // Runs `f` at the end of the turn in which no cluster warms any more (clusters with wait_for_warm_on_init only), or at
  // the warming time-out: before that, listeners had better not start. One waits at a time.
  void when_warm(std::function<void()> f);
  // Something that clusters need (model::Cluster::needs) may have become ready.
  void check_needs() { loop_.schedule(check_needs_); }
  std::vector<ClusterView> view() const;
  // Hands what has changed to the workers now and not at the end of the turn: for whoever next tells them by other
  // ways of things that need the changes (routes).
  void tell_workers();

 private:
  struct Entry;  // one version of a cluster
  struct Slot {
    std::unique_ptr<Entry> active, next;
    bool discovered = false;
  };
  using Slots = std::map<std::string, Slot, std::less<>>;
  struct Worker;
  class Handle;

  // Runs `f` on each worker's thread, while its clusters exist; at the latest when this turn ends, with what else there
  // is until then: a push of thousands of clusters does not wake each worker thousands of times.
  void post(std::function<void(WorkerClusters&)> f);
  void hand_out();  // under mutex_
  Result<std::unique_ptr<Entry>> make_entry(std::shared_ptr<const model::Cluster> config);
  void start(Entry& entry);
  void activate(Slot& slot);  // its next version serves
  void publish(Entry& entry, const HostVector& hosts);  // other hosts than before
  // entry.members are others, or (not `membership`) the same as other objects. `every`: what was said of all priorities
  // is other too.
  void members_changed(Entry& entry, bool membership = true, bool every = false);
  void hosts_failed(Entry& entry, const HostVector& hosts);
  void assign(Entry& entry, const model::Assignment& assignment);
  void spread(Entry& entry);  // the same hosts, of another health
  void make_set(Entry& entry);
  void tell_of(Entry& entry, const std::vector<HostChange>& changes, bool together);
  void deliver(Entry& entry);  // its hosts to the workers
  void post_hosts(Entry& entry);
  void count(Entry& entry);
  void view_entry(const Entry& entry, bool discovered, std::vector<ClusterView>& out) const;
  Result<net::DnsResolver*> resolver(const model::Cluster& config);
  void set_warming(Entry& entry, bool warming);
  void warmed(Entry& entry);  // nothing is waited for any more; may end the version it replaces
  static void sweep(io::Timer& timer);
  static void warming_timed_out(io::Timer& timer);
  static void check_warm(io::TurnEnd& hook);
  static void look_at_needs(io::TurnEnd& hook);

  io::Loop& loop_;
  stats::Store& store_;
  Options options_;
  Random random_;
  ProxyLocation location_;
  stats::Counter cluster_added_, cluster_modified_, cluster_removed_;
  UpdateStats update_stats_;
  stats::Gauge active_clusters_, warming_clusters_;
  std::vector<std::pair<net::DnsOptions, std::unique_ptr<net::DnsResolver>>> resolvers_;
  EndpointDiscovery* discovery_ = nullptr;
  bool initialized_ = false;
  std::function<void(const std::string&)> on_active_;
  size_t warming_ = 0;
  std::function<void()> on_warm_;
  io::Timer warming_timer_;
  io::TurnEnd check_warm_, check_needs_, turn_end_;

  mutable std::mutex mutex_;  // guards what make_worker() reads: `entries_`, `workers_`
  Slots entries_;
  std::vector<std::shared_ptr<Worker>> workers_;
};

}  // namespace sluice::upstream
