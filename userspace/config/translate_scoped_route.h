#pragma once

#include "config/factory_context.h"
#include "config/path.h"
#include "core/result.h"
#include "model/scoped_routes.h"

namespace envoy::config::route::v3 {
class ScopedRouteConfiguration;
}

namespace sluice::config {

// As SRDS sends it.
Result<model::ScopedRoute> translate(const envoy::config::route::v3::ScopedRouteConfiguration& in,
                                     FactoryContext& context, const FieldPath& path);

}  // namespace sluice::config
