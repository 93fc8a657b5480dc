#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config/resources.h"
#include "core/stats.h"
#include "io/loop.h"
#include "xds/subscription.h"

namespace sluice::xds {

// RDS: the routes that connection managers ask for by name. All that ask the same source for the same name under the same
// statistics share one subscription, which ends when the last listener (and connection) that uses it has gone.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/rds
class RouteDiscovery final : public config::Discovery {
 public:
  RouteDiscovery(io::Loop& loop, const stats::Scope& root);
  ~RouteDiscovery();

  // Until then nothing is asked for; what has come up meanwhile is subscribed to now. Both outlive this. An error: a
  // source that cannot be used.
  Status start(SubscriptionFactory& factory, const config::Resources& resources);
  // Called when a source may have become ready.
  void when_ready(std::function<void()> f) { on_ready_ = std::move(f); }

  Result<std::shared_ptr<const model::RouteSource>> routes(const model::ConfigSource& source,
                                                           const std::string& name,
                                                           const std::string& stat_prefix) override;

  // For /config_dump: what serves, and what was refused last.
  struct View {
    std::string name, version;
    WallTime at{};
    std::shared_ptr<const google::protobuf::Message> message;  // null: none yet
    std::string refused;  // why; "": it was not
    std::string refused_version;
    WallTime refused_at{};
    std::shared_ptr<const google::protobuf::Message> refused_message;
  };
  std::vector<View> view() const;

 private:
  class Routes;
  class Watch;
  void forget(Watch& watch);

  io::Loop& loop_;
  stats::Scope root_;
  SubscriptionFactory* factory_ = nullptr;
  const config::Resources* resources_ = nullptr;
  std::function<void()> on_ready_;
  std::vector<std::unique_ptr<Watch>> watches_;
  std::shared_ptr<RouteDiscovery*> self_;  // what Routes holds weakly: it may die after this
};

}  // namespace sluice::xds
