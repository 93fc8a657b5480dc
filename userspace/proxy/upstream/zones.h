#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "model/cluster.h"
#include "proxy/upstream/host.h"

namespace sluice::upstream {

// What of priority 0 goes to which locality, so that as much as possible stays in the proxy's own while every host gets
// its share of what all proxies send.
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/load_balancing/zone_aware
struct ZoneRouting {
  enum class Outcome : uint8_t { off, local_cluster_not_ok, too_small, on };
  Outcome outcome = Outcome::off;
  bool direct = false;  // all of it stays
  bool local_panic = false;  // too few proxies are healthy to draw conclusions
  uint32_t stays = 0;  // of 10,000
  std::vector<uint64_t> residual;  // room of the localities, each with those before it

  // `first`: priority 0 with its localities, the proxy's own the first if it has hosts.
  static ZoneRouting make(const model::Cluster& config, const HostSet::Priority& first,
                          const ProxyLocation& location);
};

}  // namespace sluice::upstream
