#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "core/stats.h"
#include "io/loop.h"
#include "server/admin/server.h"

namespace sluice::admin {

// /stats, /stats/prometheus and /reset_counters in Envoy's shapes.
//
// A histogram is shown for the last interval and for all time. The interval is Envoy's stats_flush_interval
// (5 s): a timer on the control thread takes a copy of the histograms each time.
class StatsHandler {
 public:
  StatsHandler(io::Loop& loop, stats::Store& store, Duration interval = std::chrono::seconds(5));
  void add_to(Router& router);
  // Called before counters and gauges are looked at: for who counts more than it writes at once.
  void before_reading(std::function<void()> f) { before_reading_ = std::move(f); }

  Response stats(const Request& request) const;
  Response prometheus(const Request& request) const;
  void end_interval();  // what the timer does

  using Intervals = std::map<std::string, stats::HistogramSnapshot, std::less<>>;

 private:
  static void expired(io::Timer& timer);

  io::Loop& loop_;
  stats::Store& store_;
  const Duration interval_;
  Intervals totals_;     // at the end of the last interval
  Intervals intervals_;  // what the last interval added
  io::Timer timer_;
  std::function<void()> before_reading_ = [] {};
};

}  // namespace sluice::admin
