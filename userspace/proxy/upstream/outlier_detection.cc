#include "proxy/upstream/outlier_detection.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/log.h"

namespace sluice::upstream {

namespace {

constexpr const char* kNames[] = {"consecutive_5xx",
                                  "consecutive_gateway_failure",
                                  "consecutive_local_origin_failure",
                                  "success_rate",
                                  "local_origin_success_rate",
                                  "failure_percentage",
                                  "local_origin_failure_percentage"};

void forget_failures(HostMonitor& m) {
  m.consecutive_5xx.store(0, std::memory_order_relaxed);
  m.consecutive_gateway_failure.store(0, std::memory_order_relaxed);
  m.consecutive_local_origin_failure.store(0, std::memory_order_relaxed);
}

}  // namespace

OutlierStats::OutlierStats(const stats::Scope& cluster) {
  const stats::Scope s = cluster.scope("outlier_detection");
  ejections_active = s.gauge("ejections_active");
  enforced_total = s.counter("ejections_enforced_total");
  overflow = s.counter("ejections_overflow");
  for (size_t i = 0; i < static_cast<size_t>(Ejection::count); ++i) {
    detected[i] = s.counter(std::string("ejections_detected_") + kNames[i]);
    enforced[i] = s.counter(std::string("ejections_enforced_") + kNames[i]);
  }
  ejections_total = s.counter("ejections_total");
  ejections_consecutive_5xx = s.counter("ejections_consecutive_5xx");
  ejections_success_rate = s.counter("ejections_success_rate");
}

OutlierDetector::OutlierDetector(const model::OutlierDetection& config, io::Loop& loop, Random& random,
                                 const stats::Scope& cluster,
                                 std::function<void(const HostVector&)> on_change)
    : config_(config),
      loop_(loop),
      random_(random),
      stats_(cluster),
      on_change_(std::move(on_change)),
      timer_(loop.timers(), &interval, this),
      changed_(&changed, this) {
  timer_.arm(loop_.now() + config_.interval);
}

OutlierDetector::~OutlierDetector() {
  stats_.ejections_active.sub(ejected_);
}

bool OutlierDetector::ejected(const State& s) const {
  return s.host->monitor().has(HostMonitor::failed_outlier_check);
}

void OutlierDetector::set_hosts(const HostVector& hosts) {
  std::unordered_set<const void*> present;
  for (const HostPtr& h : hosts) {
    present.insert(h->identity());
    State& s = hosts_[h->identity()];
    s.host = h;
  }
  std::erase_if(hosts_, [&](const auto& entry) {
    if (present.contains(entry.first)) return false;
    if (ejected(entry.second)) {
      --ejected_;
      stats_.ejections_active.sub();
    }
    return true;
  });
}

void OutlierDetector::consecutive(const HostPtr& host, Ejection what) {
  auto it = hosts_.find(host->identity());
  if (it == hosts_.end() || ejected(it->second)) return;  // gone, or two workers saw it
  stats_.detected[static_cast<size_t>(what)].add();
  if (what == Ejection::consecutive_5xx) stats_.ejections_consecutive_5xx.add();
  eject(it->second, what);
  // A next row of failures is told again.
  HostMonitor& m = host->monitor();
  (what == Ejection::consecutive_5xx               ? m.consecutive_5xx
   : what == Ejection::consecutive_gateway_failure ? m.consecutive_gateway_failure
                                                   : m.consecutive_local_origin_failure)
      .store(0, std::memory_order_relaxed);
}

uint32_t OutlierDetector::enforcing(Ejection why) const {
  switch (why) {
    case Ejection::consecutive_5xx:
      return config_.enforcing_consecutive_5xx;
    case Ejection::consecutive_gateway_failure:
      return config_.enforcing_consecutive_gateway_failure;
    case Ejection::consecutive_local_origin_failure:
      return config_.enforcing_consecutive_local_origin_failure;
    case Ejection::success_rate:
      return config_.enforcing_success_rate;
    case Ejection::local_origin_success_rate:
      return config_.enforcing_local_origin_success_rate;
    case Ejection::failure_percentage:
      return config_.enforcing_failure_percentage;
    default:
      return config_.enforcing_failure_percentage_local_origin;
  }
}

void OutlierDetector::eject(State& s, Ejection why) {
  const double percent = 100.0 * static_cast<double>(ejected_ + 1) / static_cast<double>(hosts_.size());
  if (percent > std::min(config_.max_ejection_percent, 100u) &&
      !(config_.always_eject_one_host && ejected_ == 0)) {
    stats_.overflow.add();
    return;
  }
  if (why == Ejection::consecutive_5xx || why == Ejection::success_rate) stats_.ejections_total.add();
  if (random_.below(100) >= enforcing(why)) return;
  ++ejected_;
  stats_.ejections_active.add();
  stats_.enforced_total.add();
  stats_.enforced[static_cast<size_t>(why)].add();
  s.ejected_at = loop_.now();
  const auto jitter = static_cast<uint64_t>(config_.max_ejection_time_jitter.count());
  s.jitter = Duration(jitter == 0 ? 0 : static_cast<int64_t>(random_.below(jitter + 1)));
  if (s.backoff * config_.base_ejection_time < config_.max_ejection_time + config_.base_ejection_time)
    ++s.backoff;
  s.host->monitor().set(HostMonitor::failed_outlier_check, true);
  newly_ejected_.push_back(s.host);
  SLUICE_LOG(upstream, debug, "{}: ejected: {}", s.host->address().to_string(),
             kNames[static_cast<size_t>(why)]);
  loop_.schedule(changed_);
}

void OutlierDetector::let_in(State& s) {
  --ejected_;
  stats_.ejections_active.sub();
  s.host->monitor().set(HostMonitor::failed_outlier_check, false);
  forget_failures(s.host->monitor());
  s.let_in_at = loop_.now();
  loop_.schedule(changed_);
}

void OutlierDetector::changed(io::TurnEnd& hook) {
  OutlierDetector& self = *hook.owner<OutlierDetector>();
  self.on_change_(std::exchange(self.newly_ejected_, {}));
}

void OutlierDetector::active_check_passed(const HostPtr& host) {
  if (!config_.active_check_lets_in) return;
  if (auto it = hosts_.find(host->identity()); it != hosts_.end() && ejected(it->second)) let_in(it->second);
}

void OutlierDetector::check_return(State& s) {
  if (!ejected(s)) return;
  const Duration wait =
      std::min<Duration>(config_.base_ejection_time * s.backoff, config_.max_ejection_time) + s.jitter;
  if (loop_.now() - s.ejected_at >= wait) let_in(s);
}

// Every whole interval in peace makes the next ejection shorter.
void OutlierDetector::shorten_next(State& s) {
  if (!ejected(s) && s.let_in_at && loop_.now() - *s.let_in_at >= config_.interval && s.backoff > 0)
    --s.backoff;
}

void OutlierDetector::turn_window(State& s, bool local_origin) {
  using Cell = HostCounters::Cell HostCounters::*;
  const Cell total = local_origin ? &HostCounters::local_origin_total : &HostCounters::external_total;
  const Cell success = local_origin ? &HostCounters::local_origin_success : &HostCounters::external_success;
  Window& w = s.windows[local_origin];
  // Successes are counted after the totals they are part of: read them first.
  const uint64_t success_now = s.host->sum(success), total_now = s.host->sum(total);
  w.volume = total_now - w.total_before;
  w.rate = w.volume == 0 ? -1
                         : std::min(100.0, 100.0 * static_cast<double>(success_now - w.success_before) /
                                               static_cast<double>(w.volume));
  w.total_before = total_now, w.success_before = success_now;
}

void OutlierDetector::check_rates(bool local_origin) {
  rates_[local_origin] = {};
  std::vector<State*> for_rate, for_percentage;
  double sum = 0;
  const bool enough = hosts_.size() >= config_.success_rate_minimum_hosts ||
                      hosts_.size() >= config_.failure_percentage_minimum_hosts;
  for (auto& [id, s] : hosts_) {
    const Window& w = s.windows[local_origin];
    double shown = -1;
    if (enough && !ejected(s) && w.rate >= 0) {
      if (w.volume >=
          std::min(config_.success_rate_request_volume, config_.failure_percentage_request_volume))
        shown = w.rate;
      if (w.volume >= config_.success_rate_request_volume) for_rate.push_back(&s), sum += w.rate;
      if (w.volume >= config_.failure_percentage_request_volume) for_percentage.push_back(&s);
    }
    s.host->monitor().success_rate[local_origin].store(shown, std::memory_order_relaxed);
  }
  if (!for_rate.empty() && for_rate.size() >= config_.success_rate_minimum_hosts) {
    const auto n = static_cast<double>(for_rate.size());
    const double mean = sum / n;
    double variance = 0;
    for (const State* s : for_rate) variance += std::pow(s->windows[local_origin].rate - mean, 2) / n;
    const double threshold = mean - config_.success_rate_stdev_factor / 1000.0 * std::sqrt(variance);
    rates_[local_origin] = {mean, threshold};
    const Ejection why = local_origin ? Ejection::local_origin_success_rate : Ejection::success_rate;
    for (State* s : for_rate) {
      if (s->windows[local_origin].rate >= threshold) continue;
      stats_.ejections_success_rate.add();
      stats_.detected[static_cast<size_t>(why)].add();
      eject(*s, why);
    }
  }
  if (!for_percentage.empty() && for_percentage.size() >= config_.failure_percentage_minimum_hosts) {
    const Ejection why =
        local_origin ? Ejection::local_origin_failure_percentage : Ejection::failure_percentage;
    for (State* s : for_percentage) {
      if (100 - s->windows[local_origin].rate < config_.failure_percentage_threshold) continue;
      stats_.detected[static_cast<size_t>(why)].add();
      if (!ejected(*s)) eject(*s, why);
    }
  }
}

void OutlierDetector::interval(io::Timer& timer) {
  OutlierDetector& self = *timer.owner<OutlierDetector>();
  for (auto& [id, s] : self.hosts_) {
    self.check_return(s);
    for (bool local_origin : {false, true}) self.turn_window(s, local_origin);
  }
  for (bool local_origin : {false, true}) self.check_rates(local_origin);
  for (auto& [id, s] : self.hosts_) self.shorten_next(s);
  timer.arm(self.loop_.now() + self.config_.interval);
}

// ---- workers ----

namespace {

// True once, when the row has become `limit` long.
bool one_more(std::atomic<uint32_t>& row, uint32_t limit) {
  return row.fetch_add(1, std::memory_order_relaxed) + 1 == limit;
}

// Written only where there is something to forget: the line stays shared among the workers.
void end_row(std::atomic<uint32_t>& row) {
  if (row.load(std::memory_order_relaxed) != 0) row.store(0, std::memory_order_relaxed);
}

}  // namespace

void OutlierReporter::status(const HostPtr& host, unsigned slot, uint16_t http_status) const {
  if (config_ == nullptr) return;
  HostCounters& c = host->counters(slot);
  HostMonitor& m = host->monitor();
  HostCounters::add(c.external_total);
  if (http_status < 500 || http_status >= 600) {
    HostCounters::add(c.external_success);
    end_row(m.consecutive_5xx);
    end_row(m.consecutive_gateway_failure);
    return;
  }
  if (http_status >= 502 && http_status <= 504) {
    if (one_more(m.consecutive_gateway_failure, config_->consecutive_gateway_failure))
      tell(host, Ejection::consecutive_gateway_failure);
  } else {
    end_row(m.consecutive_gateway_failure);
  }
  if (one_more(m.consecutive_5xx, config_->consecutive_5xx)) tell(host, Ejection::consecutive_5xx);
}

void OutlierReporter::transport(const HostPtr& host, unsigned slot, ext::TryResult result, bool final) const {
  if (config_ == nullptr) return;
  const bool success = result == ext::TryResult::success;
  if (!config_->split_external_local_origin_errors) {
    // As if the host had answered 200, 504 or 503; a connection alone says nothing where an answer follows.
    if (success && !final) return;
    return status(host, slot, success ? 200 : result == ext::TryResult::timeout ? 504 : 503);
  }
  HostCounters& c = host->counters(slot);
  HostMonitor& m = host->monitor();
  HostCounters::add(c.local_origin_total);
  if (success) {
    HostCounters::add(c.local_origin_success);
    end_row(m.consecutive_local_origin_failure);
  } else if (one_more(m.consecutive_local_origin_failure, config_->consecutive_local_origin_failure)) {
    tell(host, Ejection::consecutive_local_origin_failure);
  }
}

void OutlierReporter::tell(const HostPtr& host, Ejection what) const {
  control_->post([to = detector_, host, what] {
    if (auto detector = to.lock()) detector->consecutive(host, what);
  });
}

}  // namespace sluice::upstream
