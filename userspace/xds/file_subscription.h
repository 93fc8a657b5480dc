#pragma once

#include <memory>
#include <string>
#include <unordered_set>

#include "xds/file_watch.h"
#include "xds/subscription.h"
#include "xds/subscription_stats.h"

namespace sluice::xds {

// Resources from a file with a DiscoveryResponse (.yaml, .json, .pb), read at the start and again whenever something is
// renamed onto it, or with a watched directory: anything into that. What cannot be read, or is refused, leaves in force
// what was there. https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/core/v3/config_source.proto
class FileSubscription final : public Subscription {
 public:
  FileSubscription(io::Loop& loop, std::shared_ptr<FileWatch> watch, std::string path,
                   std::string watched_directory, ResourceType type, Subscriber& subscriber,
                   const stats::Scope& scope);

  // The first reading comes at the end of this turn of the loop.
  void start(const std::unordered_set<std::string>& names) override;
  void set_names(const std::unordered_set<std::string>& names) override;

 private:
  static void refresh(io::TurnEnd& hook);
  void read();
  Status apply(const google::protobuf::Message& response);

  io::Loop& loop_;
  std::shared_ptr<FileWatch> watch_;
  const std::string path_, watched_directory_;
  const ResourceType type_;
  Subscriber& subscriber_;
  SubscriptionStats stats_;
  std::unordered_set<std::string> names_;
  std::unique_ptr<FileWatch::Registration> registration_;
  io::TurnEnd refresh_;
};

}  // namespace sluice::xds
