#include "config/translate_scoped_route.h"

#include "config/convert.h"
#include "config/translate_route.h"
#include "envoy/config/route/v3/scoped_route.pb.h"

namespace sluice::config {

Result<model::ScopedRoute> translate(const envoy::config::route::v3::ScopedRouteConfiguration& in,
                                     FactoryContext& context, const FieldPath& path) {
  const bool named = !in.route_configuration_name().empty();
  if (!named && !in.has_route_configuration()) return Error{"route_configuration_name is empty."};
  // Envoy takes the routes that are there, and the name in silence.
  if (named && in.has_route_configuration())
    return refuse(path.field("route_configuration_name"),
                  "not together with route_configuration: which is it?");
  if (in.on_demand() && named)
    return refuse(
        path.field("on_demand"),
        "is not supported by this version of Sluice: routes that are fetched when a request asks for them "
        "need the filter envoy.filters.http.on_demand");
  model::ScopedRoute out;
  out.name = in.name();
  out.route_config_name = in.route_configuration_name();
  if (!named) {
    SLUICE_ASSIGN(out.routes,
                  translate(in.route_configuration(), context, true, path.field("route_configuration")));
  }
  for (const auto& fragment : in.key().fragments()) model::add_to_scope_key(fragment.string_key(), out.key);
  return out;
}

}  // namespace sluice::config
