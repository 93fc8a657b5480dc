#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <unordered_map>

#include "core/random.h"
#include "core/stats.h"
#include "io/loop.h"
#include "io/timers.h"
#include "model/outlier_detection.h"
#include "proxy/upstream/host.h"
#include "sluice/ext/http_upstream.h"

namespace sluice::upstream {

// Why a host is ejected; the order of OutlierStats.
enum class Ejection : uint8_t {
  consecutive_5xx,
  consecutive_gateway_failure,
  consecutive_local_origin_failure,
  success_rate,
  local_origin_success_rate,
  failure_percentage,
  local_origin_failure_percentage,
  count
};

// "cluster.<name>.outlier_detection.".
// https://www.envoyproxy.io/docs/envoy/latest/configuration/upstream/cluster_manager/cluster_stats#outlier-detection-statistics
struct OutlierStats {
  explicit OutlierStats(const stats::Scope& cluster);
  stats::Gauge ejections_active;
  stats::Counter enforced_total, overflow;
  stats::Counter detected[static_cast<size_t>(Ejection::count)],
      enforced[static_cast<size_t>(Ejection::count)];
  stats::Counter ejections_total, ejections_consecutive_5xx, ejections_success_rate;  // deprecated by Envoy
};

// Ejects hosts of one cluster that fail more than others, and lets them in again. Control thread.
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier
class OutlierDetector {
 public:
  // -1: not enough hosts or requests. Percent.
  struct SuccessRates {
    double average = -1, ejection_threshold = -1;
  };
  // `on_change`: hosts were ejected (these) or let in. At most once a turn, at its end.
  OutlierDetector(const model::OutlierDetection& config, io::Loop& loop, Random& random,
                  const stats::Scope& cluster, std::function<void(const HostVector& ejected)> on_change);
  ~OutlierDetector();

  void set_hosts(const HostVector& hosts);
  // Workers have seen the host fail so many times in a row.
  void consecutive(const HostPtr& host, Ejection what);
  // An active health check went well: an ejected host is let in.
  void active_check_passed(const HostPtr& host);
  const SuccessRates& rates(bool local_origin) const { return rates_[local_origin]; }

 private:
  // Requests since the last interval.
  struct Window {
    uint64_t total_before = 0, success_before = 0;
    double rate = -1;
    uint64_t volume = 0;
  };
  struct State {
    HostPtr host;
    uint32_t backoff = 0;  // how many base_ejection_times the next one lasts
    MonotonicTime ejected_at{};
    std::optional<MonotonicTime> let_in_at;
    Duration jitter{};
    Window windows[2];  // external, local origin
  };

  static void interval(io::Timer& timer);
  static void changed(io::TurnEnd& hook);
  void check_return(State& s);
  void shorten_next(State& s);
  void turn_window(State& s, bool local_origin);
  void check_rates(bool local_origin);
  void eject(State& s, Ejection why);
  void let_in(State& s);
  uint32_t enforcing(Ejection why) const;
  bool ejected(const State& s) const;

  const model::OutlierDetection config_;
  io::Loop& loop_;
  Random& random_;
  OutlierStats stats_;
  std::function<void(const HostVector&)> on_change_;
  HostVector newly_ejected_;
  std::unordered_map<const void*, State> hosts_;  // by Host::identity()
  uint64_t ejected_ = 0;
  SuccessRates rates_[2];
  io::Timer timer_;
  io::TurnEnd changed_;
};

// The workers' side: what became of requests. A success costs a count of the thread's own; a failure an atomic one.
class OutlierReporter {
 public:
  OutlierReporter() = default;  // nobody looks
  OutlierReporter(const model::OutlierDetection& config, io::Loop& control, std::weak_ptr<OutlierDetector> to)
      : config_(&config), control_(&control), detector_(std::move(to)) {}

  void status(const HostPtr& host, unsigned slot, uint16_t http_status) const;
  // `final`: a connection is all there will be (TCP), so that it counts as a success where errors are not split.
  void transport(const HostPtr& host, unsigned slot, ext::TryResult result, bool final) const;

 private:
  void tell(const HostPtr& host, Ejection what) const;
  const model::OutlierDetection* config_ = nullptr;
  io::Loop* control_ = nullptr;
  std::weak_ptr<OutlierDetector> detector_;
};

}  // namespace sluice::upstream
