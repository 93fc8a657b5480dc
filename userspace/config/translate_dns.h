#pragma once

#include "config/translate.h"
#include "envoy/config/bootstrap/v3/bootstrap.pb.h"
#include "envoy/config/cluster/v3/cluster.pb.h"

namespace sluice::config {

// The DNS settings of a cluster: its own fields, or those of a DnsCluster in `cluster_type`.
Status add_dns(const envoy::config::cluster::v3::Cluster& in, const ClusterDefaults& defaults,
               const FieldPath& path, model::Cluster& out);
// The type, too.
Status add_dns_cluster_type(const envoy::config::cluster::v3::Cluster& in, const ClusterDefaults& defaults,
                            const FieldPath& path, model::Cluster& out);

// The bootstrap's resolver, for clusters without their own.
Status add_dns_defaults(const envoy::config::bootstrap::v3::Bootstrap& in, ClusterDefaults& out);

}  // namespace sluice::config
