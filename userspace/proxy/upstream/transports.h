#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/stats.h"
#include "model/cluster.h"
#include "sluice/ext/transport_socket.h"

namespace sluice::upstream {

class Host;

// How one cluster's hosts are spoken to, on one thread: its transport_socket and transport_socket_matches.
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/config/cluster/v3/cluster.proto#config-cluster-v3-cluster-transportsocketmatch
class Transports {
 public:
  // `scope`: "cluster.<name>.".
  Transports(const model::Cluster& config, const stats::Scope& scope, io::Loop& loop);

  // Null: bytes go as they are. `metadata`: the endpoint's envoy.transport_socket_match; may be null.
  ext::UpstreamTransport* find(const model::LbMetadata* metadata) const;
  ext::UpstreamTransport* of(const Host& host) const;
  void forget_workload(uint64_t workload);

 private:
  struct Match {
    const ext::MetadataMatch::Criteria* criteria;
    std::unique_ptr<ext::UpstreamTransport> transport;  // null: raw_buffer
  };
  std::unique_ptr<ext::UpstreamTransport> default_;
  std::vector<Match> matches_;
};

}  // namespace sluice::upstream
