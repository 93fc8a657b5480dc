#pragma once

#include <string_view>

#include "core/stats.h"
#include "core/time.h"

namespace sluice::xds {

// https://www.envoyproxy.io/docs/envoy/latest/configuration/overview/mgmt_server#xds-subscription-statistics
struct SubscriptionStats {
  explicit SubscriptionStats(const stats::Scope& scope);
  void accepted(WallTime at, std::string_view version_info,
                uint64_t updates = 1);  // the last one's time and version

  const stats::Scope scope;
  stats::Counter update_attempt, update_success, update_failure, update_rejected, init_fetch_timeout;
  stats::Gauge update_time, version;
};

}  // namespace sluice::xds
