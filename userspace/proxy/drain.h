#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "io/loop.h"
#include "proxy/listener.h"

namespace sluice::proxy {

class Worker;

// Brings connections to their end, on one worker: each is told, those that idle as well as those at work, spread over nine
// tenths of the plan's time, so that clients do not all come back in the same second. Those of filter chains that are no
// more are closed where they are still open at the end; when it is the process that drains, they go on.
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/operations/draining
class Drainer {
 public:
  explicit Drainer(Worker& worker);
  // These chains are no more.
  void begin(const std::vector<std::shared_ptr<ChainRuntime>>& chains, const DrainPlan& plan);
  // The process drains: all listeners, or those whose traffic_direction is INBOUND. Of two such drains the second is in
  // force.
  void begin_all(const DrainPlan& plan, bool inbound_only);
  // Does the process drain, and this listener with it? Null: it does not.
  const Drain* of_process(const model::Listener& listener) const;

 private:
  static void tick(io::Timer& timer);
  void start(const DrainPlan& plan);
  void arm();

  Worker& worker_;
  std::vector<std::shared_ptr<ChainRuntime>> chains_;
  std::optional<Drain> process_;
  bool inbound_only_ = false;
  bool telling_ = false;  // `process_` has connections to tell
  io::Timer timer_;
  MonotonicTime last_tick_{};
};

}  // namespace sluice::proxy
