#pragma once

#include <vector>

#include "core/stats.h"
#include "model/cluster.h"

namespace sluice::upstream {

// "<match>.total_match_count" of each of a cluster's transport_socket_matches, and "default.total_match_count": hosts that came
// and are spoken to in that way.
class TransportMatchStats {
 public:
  TransportMatchStats(const model::Cluster& config, const stats::Scope& cluster);
  // A host has come. `metadata`: its envoy.transport_socket_match; may be null.
  void count(const model::LbMetadata* metadata);

 private:
  const model::Cluster& config_;
  stats::Counter default_;
  std::vector<stats::Counter> matches_;
};

}  // namespace sluice::upstream
