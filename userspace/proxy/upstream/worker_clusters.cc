#include <utility>

#include "proxy/upstream/cluster_manager.h"

namespace sluice::upstream {

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

}  // namespace sluice::upstream
