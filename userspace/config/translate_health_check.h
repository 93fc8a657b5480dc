#pragma once

#include "config/path.h"
#include "core/result.h"
#include "model/cluster.h"

namespace envoy::config::cluster::v3 {
class Cluster;
}
namespace envoy::config::endpoint::v3 {
class Endpoint;
}
namespace sluice::ext {
class AccessLogManager;
}

namespace sluice::config {

// health_checks and what goes with them. `logs` null: event logs are refused.
Status add_health_check(const envoy::config::cluster::v3::Cluster& in, ext::AccessLogManager* logs,
                        const FieldPath& path, model::Cluster& out);
// endpoint.health_check_config.
Status add_endpoint_health(const envoy::config::endpoint::v3::Endpoint& in, const FieldPath& path,
                           model::Endpoint& out);

}  // namespace sluice::config
