#pragma once

#include <memory>
#include <string>

#include "config/resources.h"
#include "core/stats.h"
#include "model/config_source.h"
#include "model/route.h"
#include "xds/subscription.h"

namespace sluice::xds {

// RDS. https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/rds
struct RouteKey {
  using Source = model::RouteSource;
  using Value = model::RouteConfig;
  static constexpr ResourceType kType = ResourceType::route;
  static constexpr bool kRemovable = false;

  model::ConfigSource source;
  std::string name, stat_prefix;
  // Whoever wants these routes shares them, as in Envoy: they are counted where they were wanted first.
  bool operator==(const RouteKey& other) const { return name == other.name && source == other.source; }

  std::string what() const { return "routes '" + name + "' (rds)"; }
  stats::Scope scope(const stats::Scope& root) const;
  std::shared_ptr<const Value> fallback() const { return nullptr; }
  bool ready_with_fallback() const { return false; }
  using Versions = config::RouteVersions;
  static std::shared_ptr<const Value> next(const config::Resources& resources, Versions& versions,
                                           const std::shared_ptr<const std::string>& bytes);
  Result<std::shared_ptr<const Value>> make(const config::Resources& resources,
                                            const google::protobuf::Message& message) const;
};

}  // namespace sluice::xds
