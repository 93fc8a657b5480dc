#include "proxy/drain.h"

#include <algorithm>

#include "core/log.h"
#include "proxy/downstream.h"
#include "proxy/worker.h"

namespace sluice::proxy {
namespace {

// A plan's time is cut into so many steps, none shorter than kShortest or longer than kLongest.
constexpr int kSteps = 100;
constexpr Duration kShortest = std::chrono::milliseconds(10), kLongest = std::chrono::seconds(1);

}  // namespace

Drainer::Drainer(Worker& worker) : worker_(worker), timer_(worker.loop().timers(), &tick, this) {}

void Drainer::begin(const std::vector<std::shared_ptr<ChainRuntime>>& chains, const DrainPlan& plan) {
  const MonotonicTime now = worker_.loop().now();
  if (chains_.empty()) last_tick_ = now;
  for (const auto& chain : chains) {
    if (std::exchange(chain->draining, true)) continue;
    chain->plan = plan;
    chain->drain_begun = now;
    chains_.push_back(chain);
  }
  if (!plan.gradual || plan.time.count() == 0)
    timer_.arm(now);
  else
    arm();
}

void Drainer::arm() {
  if (chains_.empty()) return;
  Duration step = kLongest;
  MonotonicTime first_end = MonotonicTime::max();
  for (const auto& chain : chains_) {
    step = std::min(step, std::max(kShortest, chain->plan.time / kSteps));
    first_end = std::min(first_end, chain->drain_end());
  }
  timer_.arm(std::min(worker_.loop().now() + step, first_end));
}

void Drainer::tick(io::Timer& timer) {
  Drainer& self = *timer.owner<Drainer>();
  const MonotonicTime now = self.worker_.loop().now();
  const Duration passed = now - std::exchange(self.last_tick_, now);
  self.worker_.for_each_connection([&](Downstream& d) {
    const ChainRuntime* chain = d.chain();
    if (!chain || !chain->draining) return;
    if (now >= chain->drain_end()) return d.close_drained();
    // Those not told yet are told at an even rate over what is left of the time, but for its last tenth: that is for
    // what they are doing.
    const Duration left = chain->drain_end() - chain->plan.time / 10 - now + passed;
    if (!chain->plan.gradual || left <= passed ||
        self.worker_.random().below(static_cast<uint64_t>(left.count())) <
            static_cast<uint64_t>(passed.count()))
      d.drain();
  });
  // One that nobody else has any more is done: its statistics go with it.
  std::erase_if(self.chains_,
                [&](const auto& chain) { return now >= chain->drain_end() || chain.use_count() == 1; });
  self.arm();
}

}  // namespace sluice::proxy
