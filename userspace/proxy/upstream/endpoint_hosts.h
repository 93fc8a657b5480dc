#pragma once

#include <vector>

#include "model/cluster.h"
#include "proxy/upstream/host.h"

namespace sluice::upstream {

// The hosts of endpoints that are given by their addresses; `slots` as in Host.
HostVector hosts_of(const std::vector<model::Locality>& localities, unsigned slots);

// What becomes of a cluster's hosts when its endpoints are given anew, as in Envoy: a host is its address, what stays as
// it is stays the same object, what changes otherwise keeps its counters, and of several with one address the first
// counts.
struct HostUpdate {
  HostVector hosts;
  bool membership = false;  // addresses have come or gone
  bool changed = false;  // anything has
};
HostUpdate update_hosts(const HostVector& before, const std::vector<model::Locality>& localities,
                        unsigned slots);

// The same by their identity, in any order.
bool same_hosts(const HostVector& a, const HostVector& b);

}  // namespace sluice::upstream
