#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/stats.h"
#include "extensions/tracers/zipkin/span.h"
#include "extensions/tracers/zipkin/zipkin.h"
#include "io/timers.h"
#include "sluice/ext/http_upstream.h"

namespace sluice::extensions::zipkin {

// "tracing.zipkin." of one worker.
struct Stats {
  explicit Stats(const stats::Scope& root);
  stats::Counter spans_sent, timer_flushed, reports_skipped_no_cluster, reports_sent, reports_dropped,
      reports_failed;
};

// Gathers the spans of one worker and posts them: five at a time, or what there is after five seconds. Every span keeps
// it, so that what a listener leaves behind still arrives.
class Collector {
 public:
  Collector(std::shared_ptr<const Config> config, const Stats& stats, const ext::TracerContext& context);

  void add(SpanRecord&& span);
  const Config& config() const { return *config_; }
  io::Loop& loop() { return loop_; }
  Random& random() { return random_; }

 private:
  void flush();
  static void on_timer(io::Timer& timer);

  const std::shared_ptr<const Config> config_;
  Stats stats_;
  io::Loop& loop_;
  Random& random_;
  ext::ClusterManager& clusters_;
  std::string body_;  // the spans so far, as JSON
  uint32_t pending_ = 0;
  io::Timer timer_;
};

}  // namespace sluice::extensions::zipkin
