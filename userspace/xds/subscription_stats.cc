#include "xds/subscription_stats.h"

#include "core/xxhash.h"

namespace sluice::xds {

SubscriptionStats::SubscriptionStats(const stats::Scope& s) : scope(s) {
  using stats::Kind;
  static const stats::Layout layout({{"update_attempt", Kind::counter},
                                     {"update_success", Kind::counter},
                                     {"update_failure", Kind::counter},
                                     {"update_rejected", Kind::counter},
                                     {"init_fetch_timeout", Kind::counter},
                                     {"update_time", Kind::gauge},
                                     {"version", Kind::gauge}});
  const stats::Block block = scope.block(layout);
  update_attempt = block.counter("update_attempt");
  update_success = block.counter("update_success");
  update_failure = block.counter("update_failure");
  update_rejected = block.counter("update_rejected");
  init_fetch_timeout = block.counter("init_fetch_timeout");
  update_time = block.gauge("update_time");
  version = block.gauge("version");
  scope.text("version_text", "");
}

void SubscriptionStats::accepted(WallTime at, std::string_view version_info, uint64_t updates) {
  update_success.add(updates);
  update_time.set(static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(at.time_since_epoch()).count()));
  version.set(xxhash64(version_info));
  scope.text("version_text", std::string(version_info));
}

}  // namespace sluice::xds
