#pragma once

#include "config/path.h"
#include "core/result.h"
#include "model/cluster.h"

namespace envoy::config::cluster::v3 {
class Cluster;
}

namespace sluice::config {

// lb_policy, load_balancing_policy, common_lb_config and the policies' own settings. After the cluster's type.
Status add_load_balancing(const envoy::config::cluster::v3::Cluster& in, const FieldPath& path,
                          model::Cluster& out);

// What a policy asks of the hosts' weights. After the endpoints.
Status check_weights(const model::Cluster& cluster, const FieldPath& path);

}  // namespace sluice::config
