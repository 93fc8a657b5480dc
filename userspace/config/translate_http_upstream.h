#pragma once

#include "config/path.h"
#include "core/result.h"
#include "model/cluster.h"

namespace envoy::config::cluster::v3 {
class Cluster;
}

namespace sluice::config {

// How HTTP reaches the cluster's hosts: typed_extension_protocol_options, or the deprecated fields of Cluster itself.
Status add_http_options(const envoy::config::cluster::v3::Cluster& in, const FieldPath& path,
                        model::Cluster& out);

}  // namespace sluice::config
