#pragma once

#include "model/cluster.h"
#include "proxy/upstream/host.h"

namespace sluice::upstream {

// What becomes of a cluster's hosts when discovery says that they are `found`. With active health checks a host that
// discovery has removed stays (flag pending_removal) while it is healthy, unless ignore_health_on_host_removal says
// otherwise; when it is found again it is the host it was. Envoy: "stabilization",
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/service_discovery#on-eventually-consistent-service-discovery
HostVector merge_members(const model::Cluster& config, const HostVector& before, const HostVector& found);

// Takes out those that stayed and have failed meanwhile; true: there were any.
bool drop_failed_removals(HostVector& members);

}  // namespace sluice::upstream
