#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "core/stats.h"
#include "io/loop.h"

namespace sluice::upstream {

// "cluster_manager." of what workers are told of hosts.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/upstream/cluster_manager/cluster_stats
struct UpdateStats {
  explicit UpdateStats(const stats::Scope& cluster_manager);
  stats::Counter cluster_updated, cluster_updated_via_merge, update_merge_cancelled,
      update_out_of_merge_window;
};

// What an update does to the hosts of one priority.
enum class HostChange : uint8_t { none, same_hosts, membership };

// CommonLbConfig.update_merge_window of one cluster: updates of health, weight or metadata that follow another within
// the window wait, and are told together when it is over. As Envoy's ClusterManagerImpl::scheduleUpdate: each priority
// has its own; the window begins with the first update that waits; a change of membership waits for nothing and takes
// along what waits. Control thread.
class UpdateMerge {
 public:
  // `deliver` is for what has waited. `window`: 0: nothing waits.
  UpdateMerge(io::Loop& loop, Duration window, UpdateStats& stats, std::function<void()> deliver)
      : loop_(loop), window_(window), stats_(stats), deliver_(std::move(deliver)) {}

  // By priority; true: workers are to be told now. `together`: it counts once, else once for each priority that does not
  // wait.
  bool update(const std::vector<HostChange>& changes, bool together);
  bool waiting() const;

 private:
  struct Pending {
    Pending(io::Timers& timers, UpdateMerge& o) : owner(o), timer(timers, &over, this) {}
    UpdateMerge& owner;
    std::optional<MonotonicTime> last_told;
    io::Timer timer;
  };
  static void over(io::Timer& timer);
  bool wait(Pending& pending, bool membership);

  io::Loop& loop_;
  const Duration window_;
  UpdateStats& stats_;
  const std::function<void()> deliver_;
  std::vector<std::unique_ptr<Pending>> pending_;  // by priority
};

}  // namespace sluice::upstream
