#pragma once

#include <memory>
#include <string>
#include <unordered_set>

#include "config/factory_context.h"
#include "config/honoured.h"
#include "config/translate_route.h"
#include "config/validate.h"
#include "config/yaml_json.h"
#include "envoy/config/route/v3/route.pb.h"
#include "test/unit/config/registry.h"

namespace sluice::config::test {

using ClusterNames = std::unordered_set<std::string_view>;
inline HasCluster has_cluster(const ClusterNames& names) {
  return [&names](std::string_view name) { return names.contains(name); };
}

using RouteConfigPtr = std::shared_ptr<const model::RouteConfig>;

// From text to the model, by every step that a configuration takes.
inline Result<RouteConfigPtr> load_routes(const std::string& yaml, const ClusterNames& clusters,
                                          const ext::Registry& registry = test::registry()) {
  envoy::config::route::v3::RouteConfiguration message;
  SLUICE_TRY(parse_text(yaml, "routes", Syntax::yaml, message));
  SLUICE_TRY(validate(message, FieldPath()));
  SLUICE_TRY(HonouredFields(registry).check(message, FieldPath()));
  NoLogs logs;
  FactoryContext context(registry, logs, {.has_cluster = has_cluster(clusters)});
  return context.make_route_config(message, "");
}

}  // namespace sluice::config::test
