#pragma once

#include "config/path.h"
#include "core/result.h"
#include "model/config_source.h"

namespace envoy::config::core::v3 {
class ApiConfigSource;
class ConfigSource;
}  // namespace envoy::config::core::v3

namespace sluice::config {

// Where resources come from. Whether the cluster of a control plane exists is for who subscribes to find out.
Result<model::ConfigSource> to_config_source(const envoy::config::core::v3::ConfigSource& in,
                                             const FieldPath& path);

Result<model::ControlPlane> to_control_plane(const envoy::config::core::v3::ApiConfigSource& in,
                                             const FieldPath& path);

}  // namespace sluice::config
