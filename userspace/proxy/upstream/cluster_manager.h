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

  // From the control thread's updates.
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
  // Adds, replaces and removes until there are exactly the clusters of `config`; unchanged ones (by hash) keep hosts
  // and connections.
  Status apply(const model::ConfigSet& config);
  // Runs `f` at the end of the turn in which every cluster has been resolved once (clusters with wait_for_warm_on_init
  // only), or at the warming time-out: before that, listeners had better not start. One waits at a time.
  void when_warm(std::function<void()> f);
  std::vector<ClusterView> view() const;

 private:
  struct Entry;
  struct Worker;
  class Handle;

  // Runs `f` on each worker's thread, while its clusters exist.
  void post(std::function<void(WorkerClusters&)> f);
  void publish(Entry& entry, const HostVector& hosts);  // other hosts than before
  void members_changed(Entry& entry);  // entry.members
  void hosts_failed(Entry& entry, const HostVector& hosts);
  void spread(Entry& entry);  // the same hosts, of another health
  void spread_alone(Entry& entry);
  Result<net::DnsResolver*> resolver(const model::Cluster& config);
  void set_warming(Entry& entry, bool warming);
  static void sweep(io::Timer& timer);
  static void warming_timed_out(io::Timer& timer);
  static void check_warm(io::TurnEnd& hook);

  io::Loop& loop_;
  stats::Store& store_;
  Options options_;
  Random random_;
  ProxyLocation location_;
  stats::Counter cluster_added_, cluster_modified_, cluster_removed_;
  stats::Gauge active_clusters_, warming_clusters_;
  std::vector<std::pair<net::DnsOptions, std::unique_ptr<net::DnsResolver>>> resolvers_;
  size_t warming_ = 0;
  std::function<void()> on_warm_;
  io::Timer warming_timer_;
  io::TurnEnd check_warm_;

  mutable std::mutex mutex_;  // guards what make_worker() reads: `entries_`, `workers_`
  std::map<std::string, std::unique_ptr<Entry>, std::less<>> entries_;
  std::vector<std::shared_ptr<Worker>> workers_;
};

}  // namespace sluice::upstream
