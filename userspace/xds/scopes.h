#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "config/factory_context.h"
#include "config/resources.h"
#include "core/stats.h"
#include "io/loop.h"
#include "model/scoped_routes.h"
#include "xds/route_key.h"
#include "xds/subscription.h"
#include "xds/watches.h"

namespace sluice::xds {

// For /config_dump: the scopes of one source, and the last update that was refused.
struct ScopesView {
  std::string name, version;
  WallTime at{};
  std::vector<std::pair<std::string, std::shared_ptr<const google::protobuf::Message>>> scopes;
  std::string refused;  // why; "": it was not
  std::string refused_version;
  WallTime refused_at{};
};

// SRDS: scopes come from one place, the routes that they name by RDS from another. An update is taken whole or not at all.
// Connection managers with equal sources share them, and the statistics of the first.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/http_conn_man
class Scopes {
 public:
  Scopes(io::Loop& loop, const stats::Scope& root, const WatchHooks& hooks, Watches<RouteKey>& routes);
  ~Scopes();

  // As Watches::start.
  Status start(SubscriptionFactory& factory, const config::Resources& resources);
  Result<std::shared_ptr<const model::ScopeSource>> get(const config::ScopesRequest& request);
  // Routes have come: scopes that waited for them let go of what served them meanwhile.
  void settle();
  std::vector<ScopesView> view() const;

 private:
  class Shared;
  class Feed;
  void forget(const Feed* feed);

  io::Loop& loop_;
  const stats::Scope root_;
  const WatchHooks& hooks_;
  Watches<RouteKey>& routes_;
  SubscriptionFactory* factory_ = nullptr;
  const config::Resources* resources_ = nullptr;
  std::vector<std::unique_ptr<Feed>> feeds_;
  std::shared_ptr<Scopes*> self_;  // what users of a Feed hold weakly: they may die after this
};

}  // namespace sluice::xds
