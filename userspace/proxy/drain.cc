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

Duration step_of(const DrainPlan& plan) {
  return std::clamp(plan.time / kSteps, kShortest, kLongest);
}

}  // namespace

Drainer::Drainer(Worker& worker) : worker_(worker), timer_(worker.loop().timers(), &tick, this) {}

void Drainer::begin(const std::vector<std::shared_ptr<ChainRuntime>>& chains, const DrainPlan& plan) {
  start(plan);
  for (const auto& chain : chains) {
    if (chain->drain) continue;
    chain->drain = Drain{plan, worker_.loop().now()};
    chains_.push_back(chain);
  }
}

void Drainer::begin_all(const DrainPlan& plan, bool inbound_only) {
  start(plan);
  process_ = Drain{plan, worker_.loop().now()};
  inbound_only_ = inbound_only;
  telling_ = true;
}

const Drain* Drainer::of_process(const model::Listener& listener) const {
  if (!process_ || (inbound_only_ && listener.direction != model::TrafficDirection::inbound)) return nullptr;
  return &*process_;
}

// Before what drains by `plan` is added. A tick that is due stays due: updates that come faster than it would put it off
// until connections are closed that nobody has told.
void Drainer::start(const DrainPlan& plan) {
  const MonotonicTime now = worker_.loop().now();
  if (chains_.empty() && !telling_) last_tick_ = now;
  const MonotonicTime at = plan.gradual ? now + std::min(step_of(plan), plan.time) : now;
  if (!timer_.armed() || at < timer_.deadline()) timer_.arm(at);
}

void Drainer::arm() {
  if (chains_.empty() && !telling_) return;
  const MonotonicTime now = worker_.loop().now();
  MonotonicTime at = MonotonicTime::max();
  auto look_at = [&](const Drain& drain) { at = std::min({at, now + step_of(drain.plan), drain.end()}); };
  for (const auto& chain : chains_) look_at(*chain->drain);
  if (telling_) look_at(*process_);
  timer_.arm(at);
}

void Drainer::tick(io::Timer& timer) {
  Drainer& self = *timer.owner<Drainer>();
  const MonotonicTime now = self.worker_.loop().now();
  const Duration passed = now - std::exchange(self.last_tick_, now);
  auto tells = [&](const Drain& drain) { return drain.tells_now(now, passed, self.worker_.random()); };
  self.worker_.for_each_connection([&](Downstream& d) {
    const ChainRuntime* chain = d.chain();
    const Drain* process = self.telling_ ? self.of_process(d.listener()) : nullptr;
    if (chain && chain->drain && now >= chain->drain->end()) return d.close_drained();
    if ((chain && chain->drain && tells(*chain->drain)) || (process && tells(*process))) d.drain();
  });
  // One that nobody else has any more is done: its statistics go with it.
  std::erase_if(self.chains_,
                [&](const auto& chain) { return now >= chain->drain->end() || chain.use_count() == 1; });
  self.telling_ = self.telling_ && self.process_->plan.gradual && now < self.process_->end();
  self.arm();
}

}  // namespace sluice::proxy
