#pragma once

#include <memory>
#include <vector>

#include "io/loop.h"
#include "proxy/listener.h"

namespace sluice::proxy {

class Worker;

// Brings connections of filter chains that are no more to their end, on one worker: each is told, those that idle as well
// as those at work, spread over nine tenths of the plan's time, so that clients do not all come back in the same second;
// what is open at the end is closed. https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/operations/draining
class Drainer {
 public:
  explicit Drainer(Worker& worker);
  void begin(const std::vector<std::shared_ptr<ChainRuntime>>& chains, const DrainPlan& plan);

 private:
  static void tick(io::Timer& timer);
  void arm();

  Worker& worker_;
  std::vector<std::shared_ptr<ChainRuntime>> chains_;
  io::Timer timer_;
  MonotonicTime last_tick_{};
};

}  // namespace sluice::proxy
