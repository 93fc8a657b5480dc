#include "proxy/upstream/update_merge.h"

#include <algorithm>

namespace sluice::upstream {

UpdateStats::UpdateStats(const stats::Scope& s)
    : cluster_updated(s.counter("cluster_updated")),
      cluster_updated_via_merge(s.counter("cluster_updated_via_merge")),
      update_merge_cancelled(s.counter("update_merge_cancelled")),
      update_out_of_merge_window(s.counter("update_out_of_merge_window")) {}

bool UpdateMerge::update(const std::vector<HostChange>& changes, bool together) {
  uint64_t now = 0;
  for (size_t i = 0; i < changes.size(); ++i) {
    if (changes[i] == HostChange::none) continue;
    if (window_.count() > 0) {
      while (pending_.size() <= i) pending_.push_back(std::make_unique<Pending>(loop_.timers(), *this));
      if (wait(*pending_[i], changes[i] == HostChange::membership)) continue;
    }
    ++now;
  }
  stats_.cluster_updated.add(together ? std::min<uint64_t>(now, 1) : now);
  return now > 0;
}

bool UpdateMerge::wait(Pending& pending, bool membership) {
  // In whole milliseconds, as Envoy compares.
  const bool outside = !pending.last_told || std::chrono::duration_cast<std::chrono::milliseconds>(
                                                 loop_.now() - *pending.last_told) > window_;
  if (!outside && !membership) {
    if (!pending.timer.armed()) pending.timer.arm(loop_.now() + window_);
    return true;
  }
  if (!membership) stats_.update_out_of_merge_window.add();
  if (pending.timer.armed()) stats_.update_merge_cancelled.add();
  pending.timer.cancel();
  pending.last_told = loop_.now();
  return false;
}

bool UpdateMerge::waiting() const {
  return std::ranges::any_of(pending_, [](const auto& p) { return p->timer.armed(); });
}

void UpdateMerge::over(io::Timer& timer) {
  Pending& pending = *timer.owner<Pending>();
  UpdateMerge& self = pending.owner;
  pending.last_told = self.loop_.now();
  self.stats_.cluster_updated_via_merge.add();
  self.deliver_();
}

}  // namespace sluice::upstream
