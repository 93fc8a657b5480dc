#include <string>

#include "sluice/ext/http_upstream.h"

namespace sluice::ext {

HttpClusterStats::HttpClusterStats(const stats::Scope& s)
    : upstream_rq_retry(s.counter("upstream_rq_retry")),
      upstream_rq_retry_backoff_exponential(s.counter("upstream_rq_retry_backoff_exponential")),
      upstream_rq_retry_backoff_ratelimited(s.counter("upstream_rq_retry_backoff_ratelimited")),
      upstream_rq_retry_limit_exceeded(s.counter("upstream_rq_retry_limit_exceeded")),
      upstream_rq_retry_overflow(s.counter("upstream_rq_retry_overflow")),
      upstream_rq_retry_success(s.counter("upstream_rq_retry_success")),
      upstream_rq_timeout(s.counter("upstream_rq_timeout")),
      upstream_rq_per_try_timeout(s.counter("upstream_rq_per_try_timeout")),
      upstream_rq_per_try_idle_timeout(s.counter("upstream_rq_per_try_idle_timeout")),
      upstream_rq_max_duration_reached(s.counter("upstream_rq_max_duration_reached")),
      upstream_rq_rx_reset(s.counter("upstream_rq_rx_reset")),
      upstream_rq_tx_reset(s.counter("upstream_rq_tx_reset")),
      upstream_rq_maintenance_mode(s.counter("upstream_rq_maintenance_mode")),
      upstream_internal_redirect_failed_total(s.counter("upstream_internal_redirect_failed_total")),
      upstream_internal_redirect_succeeded_total(s.counter("upstream_internal_redirect_succeeded_total")),
      retry_or_shadow_abandoned(s.counter("retry_or_shadow_abandoned")),
      upstream_flow_control_paused_reading_total(s.counter("upstream_flow_control_paused_reading_total")),
      upstream_flow_control_resumed_reading_total(s.counter("upstream_flow_control_resumed_reading_total")),
      upstream_flow_control_backed_up_total(s.counter("upstream_flow_control_backed_up_total")),
      upstream_flow_control_drained_total(s.counter("upstream_flow_control_drained_total")) {}

HttpCodeStats::Code& HttpCodeStats::code(uint16_t status) {
  for (Code& c : codes_)
    if (c.status == status) return c;
  std::string text = std::to_string(status);
  return codes_.emplace_back(Code{status, scope_.counter("upstream_rq_" + text),
                                  scope_.counter("upstream_rq_" + text.substr(0, 1) + "xx")});
}

void HttpCodeStats::charge(uint16_t status, bool details) {
  if (!started_) {
    started_ = true;
    completed_ = scope_.counter("upstream_rq_completed");
  }
  completed_.add();
  if (!details || status < 100 || status > 999) return;
  Code& c = code(status);
  c.group.add();
  c.counter.add();
}

void HttpCodeStats::time(Duration response) {
  if (!timed_) {
    timed_ = true;
    time_ = scope_.histogram("upstream_rq_time", stats::Unit::milliseconds);
  }
  time_.record(
      static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(response).count()));
}

}  // namespace sluice::ext
