#include "xds/subscription_stats.h"

#include "core/xxhash.h"

namespace sluice::xds {

SubscriptionStats::SubscriptionStats(const stats::Scope& s) : scope(s) {
  update_attempt = scope.counter("update_attempt");
  update_success = scope.counter("update_success");
  update_failure = scope.counter("update_failure");
  update_rejected = scope.counter("update_rejected");
  init_fetch_timeout = scope.counter("init_fetch_timeout");
  update_time = scope.gauge("update_time");
  version = scope.gauge("version");
}

void SubscriptionStats::accepted(WallTime at, std::string_view version_info, uint64_t updates) {
  update_success.add(updates);
  update_time.set(static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(at.time_since_epoch()).count()));
  version.set(xxhash64(version_info));
  scope.text("version_text", std::string(version_info));
}

}  // namespace sluice::xds
