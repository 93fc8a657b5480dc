#pragma once

#include "config/path.h"
#include "core/result.h"
#include "model/config_source.h"

namespace envoy::config::bootstrap::v3 {
class Bootstrap_DynamicResources;
}
namespace envoy::config::core::v3 {
class ApiConfigSource;
class ConfigSource;
}  // namespace envoy::config::core::v3

namespace sluice::config {

// Whether clusters and files are there is asked when somebody subscribes (xds::SubscriptionFactory).
Result<model::ConfigSource> to_config_source(const envoy::config::core::v3::ConfigSource& in,
                                             const FieldPath& path);
Result<model::ControlPlane> to_control_plane(const envoy::config::core::v3::ApiConfigSource& in,
                                             const FieldPath& path);
Result<model::DynamicResources> to_dynamic_resources(
    const envoy::config::bootstrap::v3::Bootstrap_DynamicResources& in, const FieldPath& path);

}  // namespace sluice::config
