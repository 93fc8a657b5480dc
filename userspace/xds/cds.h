#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <unordered_set>

#include "config/resources.h"
#include "core/stats.h"
#include "core/time.h"
#include "io/loop.h"
#include "proxy/upstream/cluster_manager.h"
#include "xds/subscription.h"

namespace sluice::xds {

// CDS: the clusters that come and go beside those of the bootstrap, which it leaves alone.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/upstream/cluster_manager/cds
class Cds final : public Subscriber {
 public:
  Cds(io::Loop& loop, SubscriptionFactory& factory, const config::Resources& resources,
      upstream::ClusterDirectory& clusters, const stats::Scope& root);
  ~Cds();

  Status start(const model::ConfigSource& source);
  // The first answer has come (good or bad), or was waited for long enough.
  bool initialized() const { return initialized_; }
  const std::string& version() const { return version_; }

  // For /config_dump: the resource as it came.
  struct Config {
    std::string bytes;  // of an envoy.config.cluster.v3.Cluster
    std::string version;
    WallTime at{};
  };
  struct Failure {
    Config config;
    std::string details;
  };
  struct Dynamic {
    std::optional<Config> active, warming;
    std::optional<Failure> failure;  // the last update that was refused
    std::optional<uint64_t> hash = {};  // of what is in force or warms
    uint64_t sent = 0;  // the last update it was in
  };
  using Clusters = std::unordered_map<std::string, Dynamic, NameHash, std::equal_to<>>;
  const Clusters& clusters() const { return dynamic_; }  // by name, in no order

  Status on_update(const Update& update) override;
  void on_failure(FetchFailure failure) override;
  bool takes_same() const override { return ours_ == 0; }

 private:
  void forget_failures(const Update& update);
  Status take(const Resource& resource);
  bool remove(const std::string& name);
  void now_active(const std::string& name);

  io::Loop& loop_;
  SubscriptionFactory& factory_;
  const config::Resources& resources_;
  upstream::ClusterDirectory& directory_;
  const stats::Scope scope_;
  stats::Counter config_reload_;
  stats::Gauge config_reload_time_;
  Clusters dynamic_;
  std::unordered_set<std::string> refused_;  // names whose `failure` may be set
  uint64_t updates_ = 0;
  size_t ours_ = 0;  // of the last update: names of the bootstrap's clusters, which are not in dynamic_
  std::unique_ptr<Subscription> subscription_;
  std::string version_;
  bool initialized_ = false;
};

}  // namespace sluice::xds
