#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config/resources.h"
#include "config/translate.h"
#include "core/stats.h"
#include "io/loop.h"
#include "proxy/upstream/cluster_manager.h"
#include "server/identities.h"
#include "server/listener_manager.h"
#include "xds/cds.h"
#include "xds/discoveries.h"
#include "xds/eds.h"
#include "xds/lds.h"
#include "xds/plane_view.h"
#include "xds/secrets.h"

namespace sluice::xds {
class Subscriptions;
}

namespace sluice::server {

// What sluiced learns while it runs: from watched files and control planes, into clusters, listeners and routes. In
// Envoy's order: the clusters of the bootstrap that need no control plane; the aggregated stream, and clusters of the
// bootstrap that do; CDS, and what it brings; then LDS. Each waits until the clusters of the one before are warm.
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/operations/init  Control thread.
class DynamicConfig final : private xds::ListenerSink, public Identities::SdsClusters {
 public:
  // `workloads`: they are intercepted, and may have secrets of their own.
  DynamicConfig(io::Loop& loop, stats::Store& store, const ext::Registry& registry,
                ext::AccessLogManager& logs, bool workloads);
  ~DynamicConfig();

  // For listeners and clusters of the bootstrap, before anything is started.
  config::Discovery& discovery() { return discoveries_; }
  xds::Secrets& secrets() { return secrets_; }

  // Errors: the bootstrap names a source that cannot be used. `configuration` and `clusters` outlive this, but for what
  // release() lets go of.
  Status start_primary_clusters(const config::Configuration& configuration,
                                upstream::ClusterDirectory& clusters, uint64_t seed);
  Status start_secondary_clusters();
  Status start_cds();
  // CDS has said what there is, or was waited for long enough; its clusters may still warm.
  bool clusters_known() const { return !cds_ || cds_->initialized(); }
  // Clusters are there: listeners may come.
  Status start_listeners(ListenerManager& listeners);
  // All that was asked for at first has come, or will not.
  bool initialized() const { return !lds_ || lds_->initialized(); }
  // Asked before a discovered listener is taken, with its envoy.config.listener.v3.Listener; an error refuses it.
  using ListenerCheck = std::function<Status(const google::protobuf::Message& listener)>;
  void set_listener_check(ListenerCheck check) { listener_check_ = std::move(check); }
  // Identities::SdsClusters: a cluster "sds:<path>" for as long as somebody needs it.
  Result<model::ConfigSource> open(const std::string& socket_path) override;
  void close(const std::string& socket_path) override;
  // No more updates: the process ends. Its connections are closed in the turns of the loop that follow; then release() of
  // what the cluster directory made for this, the directory, and this.
  void stop();
  void release();

  // Statistics of subscriptions are up to date after this.
  void tell_counts();
  std::vector<xds::PlaneView> lost_planes() const;  // control planes that are not connected

  const xds::Discoveries& discoveries() const { return discoveries_; }
  const xds::Secrets& secrets() const { return secrets_; }
  const xds::Cds* cds() const { return cds_.get(); }  // null: none is configured
  std::string listeners_version() const { return lds_ ? lds_->version() : ""; }

 private:
  // xds::ListenerSink
  Status put_listener(std::shared_ptr<const model::Listener> listener,
                      const xds::Resource& resource) override;
  bool remove_listener(const std::string& name) override;
  void note_refused_listener(const xds::Resource& resource, const std::string& why) override;
  std::vector<std::string> discovered_listeners() const override;
  ListenerOrigin origin(const xds::Resource& resource) const;
  Status put_clusters(bool primary);

  io::Loop& loop_;
  stats::Store& store_;
  const ext::Registry& registry_;
  ext::AccessLogManager& logs_;
  bool is_primary(const model::Cluster& cluster) const;

  xds::Discoveries discoveries_;
  std::map<std::string, size_t> sds_clusters_;  // users, by path
  xds::Secrets secrets_;
  model::DynamicResources sources_;
  std::shared_ptr<const model::ConfigSet> static_;
  upstream::ClusterDirectory* directory_ = nullptr;
  std::unique_ptr<config::Resources> resources_;
  std::unique_ptr<ext::ClusterManager> clusters_;  // of this thread
  std::unique_ptr<xds::Subscriptions> subscriptions_;
  std::unique_ptr<xds::Eds> eds_;
  std::unique_ptr<xds::Cds> cds_;
  std::unique_ptr<xds::Lds> lds_;
  ListenerManager* listeners_ = nullptr;
  ListenerCheck listener_check_;
};

}  // namespace sluice::server
