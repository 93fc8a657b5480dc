#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "config/resources.h"
#include "core/stats.h"
#include "io/loop.h"
#include "proxy/upstream/endpoint_discovery.h"
#include "xds/subscription.h"

namespace sluice::xds {

// EDS: one subscription for each cluster, which outlives a change of the cluster's own definition: the new version begins
// with the endpoints that are known.
class Eds final : public upstream::EndpointDiscovery {
 public:
  Eds(io::Loop& loop, SubscriptionFactory& factory, const config::Resources& resources, stats::Store& store);
  ~Eds();

  Result<std::unique_ptr<Feed>> discover(const std::shared_ptr<const model::Cluster>& cluster,
                                         Sink& sink) override;

 private:
  class Watch;
  class FeedImpl;
  void release(Watch& watch);

  io::Loop& loop_;
  SubscriptionFactory& factory_;
  const config::Resources& resources_;
  stats::Store& store_;
  std::unordered_map<std::string, std::unique_ptr<Watch>, NameHash, std::equal_to<>> watches_;  // by cluster
};

}  // namespace sluice::xds
