#pragma once

#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "core/random.h"
#include "core/stats.h"
#include "envoy/config/core/v3/base.pb.h"
#include "io/loop.h"
#include "xds/file_watch.h"
#include "xds/plane_client.h"
#include "xds/subscription.h"

namespace sluice::xds {

// The one SubscriptionFactory: files, streams of their own, the aggregated stream.
class Subscriptions final : public SubscriptionFactory {
 public:
  struct Options {
    envoy::config::core::v3::Node node;  // as requests carry it
    std::optional<model::ControlPlane> ads;
    // Clusters of the bootstrap that need no control plane to be there: behind one of them every control plane is.
    std::unordered_set<std::string> primary_clusters;
    uint64_t seed = 1;
  };
  // `clusters`: of the control loop. Subscriptions end before this.
  Subscriptions(io::Loop& loop, ext::ClusterManager& clusters, stats::Store& store, Options options);
  ~Subscriptions();

  // A cluster that is none of the bootstrap's and has a control plane behind it all the same.
  void add_primary_cluster(const std::string& name) { options_.primary_clusters.insert(name); }
  void remove_primary_cluster(const std::string& name) { options_.primary_clusters.erase(name); }
  // Whether the bootstrap's ads_config can be used.
  Status check() const;
  // Opens the aggregated stream, with what has been subscribed to by then: in Envoy once primary clusters are there.
  void start_ads();
  // What subscriptions have only counted is written into statistics: somebody looks at them.
  void tell_counts();
  std::vector<PlaneView> planes() const;
  // No stream and no reconnection any more; subscriptions stay as they are.
  void stop();

  Result<std::unique_ptr<Subscription>> subscribe(const model::ConfigSource& source, ResourceType type,
                                                  Subscriber& subscriber, const stats::Scope& scope) override;
  void pause(ResourceType type) override;
  void resume(ResourceType type) override;

 private:
  struct Own {
    ResourceType type;
    model::ControlPlane config;
    std::weak_ptr<PlaneClient> plane;
  };
  Status check(const model::ControlPlane& plane, std::string_view who) const;
  Result<std::unique_ptr<Subscription>> file(const model::ConfigSource& source, ResourceType type,
                                             Subscriber& subscriber, const stats::Scope& scope);
  std::shared_ptr<PlaneClient> own_plane(const model::ControlPlane& config, ResourceType type,
                                         const stats::Scope& scope);
  std::shared_ptr<PlaneClient> make_plane(const model::ControlPlane& config, std::string_view path,
                                          const stats::Scope& scope);

  io::Loop& loop_;
  ext::ClusterManager& clusters_;
  Options options_;
  Random random_;
  std::shared_ptr<PlaneClient> ads_;
  std::vector<Own> own_;
  std::shared_ptr<FileWatch> file_watch_;
};

}  // namespace sluice::xds
