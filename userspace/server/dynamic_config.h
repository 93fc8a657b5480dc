#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "config/resources.h"
#include "config/translate.h"
#include "core/stats.h"
#include "io/loop.h"
#include "proxy/upstream/cluster_manager.h"
#include "server/listener_manager.h"
#include "xds/discoveries.h"
#include "xds/lds.h"

namespace sluice::xds {
class Subscriptions;
}

namespace sluice::server {

// What sluiced learns while it runs: from watched files and control planes, into clusters, listeners and routes. In
// Envoy's order: the clusters of the bootstrap, then the aggregated stream and CDS, then LDS.
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/operations/init  Control thread.
class DynamicConfig final : private xds::ListenerSink {
 public:
  DynamicConfig(io::Loop& loop, stats::Store& store, const ext::Registry& registry,
                ext::AccessLogManager& logs);
  ~DynamicConfig();

  // For listeners of the bootstrap, before anything is started.
  config::Discovery& discovery() { return discoveries_; }

  // Clusters of the bootstrap serve: control planes behind them can be called. `clusters` outlives this. An error: the
  // bootstrap names a source that cannot be used.
  Status start(const config::Configuration& configuration, upstream::ClusterDirectory& clusters,
               uint64_t seed);
  // Clusters are there: listeners may come.
  Status start_listeners(ListenerManager& listeners);
  // All that was asked for at first has come, or will not.
  bool initialized() const { return !lds_ || lds_->initialized(); }
  // No more updates: the process ends. Its connections are closed in the turns of the loop that follow.
  void stop();

  const xds::Discoveries& discoveries() const { return discoveries_; }
  std::string listeners_version() const { return lds_ ? lds_->version() : ""; }

 private:
  // xds::ListenerSink
  Status put_listener(std::shared_ptr<const model::Listener> listener,
                      const xds::Resource& resource) override;
  void remove_listener(const std::string& name) override;
  void note_refused_listener(const xds::Resource& resource, const std::string& why) override;
  std::vector<std::string> discovered_listeners() const override;
  ListenerOrigin origin(const xds::Resource& resource) const;

  io::Loop& loop_;
  stats::Store& store_;
  const ext::Registry& registry_;
  ext::AccessLogManager& logs_;
  xds::Discoveries discoveries_;
  model::DynamicResources sources_;
  std::unique_ptr<config::Resources> resources_;
  std::unique_ptr<ext::ClusterManager> clusters_;  // of this thread
  std::unique_ptr<xds::Subscriptions> subscriptions_;
  std::unique_ptr<xds::Lds> lds_;
  ListenerManager* listeners_ = nullptr;
};

}  // namespace sluice::server
