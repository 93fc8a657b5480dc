#include <algorithm>
#include <functional>

#include "core/log.h"
#include "core/proxy_protocol.h"
#include "extensions/filters/http/router/filter.h"
#include "extensions/filters/http/router/upgrade.h"
#include "model/route_actions.h"

namespace sluice::extensions::router {

using ext::ResponseFlag;
using http::Name;
using http::ResetReason;
using Verdict = RetryState::Verdict;

namespace {

// A request that never left us goes out again on its own, so often and no more.
constexpr uint8_t kReplays = 5;

ResponseFlag flag_of(ResetReason reason) {
  switch (reason) {
    case ResetReason::connection_failure:
    case ResetReason::connection_timeout:
      return ResponseFlag::upstream_connection_failure;
    case ResetReason::connection_termination:
      return ResponseFlag::upstream_connection_termination;
    case ResetReason::local_reset:
    case ResetReason::local_refused_stream:
      return ResponseFlag::local_reset;
    case ResetReason::overflow:
      return ResponseFlag::upstream_overflow;
    case ResetReason::protocol_error:
      return ResponseFlag::upstream_protocol_error;
    case ResetReason::overload:
      return ResponseFlag::overload_manager;
    case ResetReason::remote_reset:
    case ResetReason::remote_refused_stream:
    case ResetReason::connect_error:
    case ResetReason::no_error:
      return ResponseFlag::upstream_remote_reset;
  }
  return ResponseFlag::upstream_remote_reset;
}

// RFC 9110 section 9.2.2.
bool idempotent(std::string_view method) {
  for (std::string_view m : {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"})
    if (method == m) return true;
  return false;
}

// Details are one word.
std::string with_underscores(std::string text) {
  std::ranges::replace(text, ' ', '_');
  return text;
}

}  // namespace

// ---- the try ----

void Router::start_try() {
  ++attempts_;
  info().upstream_attempts = attempts_;
  http_info().retry_attempts = attempts_ - 1;
  ext::Upstream::Origin origin = context_->origin();
  if (rare_) origin.lb.hash = rare_->hash;
  if (const auto& wanted = model::metadata_match(match_); !wanted.empty()) origin.lb.metadata_match = &wanted;
  std::function<bool(const ext::UpstreamHost&)> reject;
  if (attempts_ > 1 && retry_ && retry_->avoids_hosts()) {
    reject = [this](const ext::UpstreamHost& host) { return retry_->avoids(host); };
    origin.lb.reject = &reject;
    origin.lb.max_attempts = retry_->host_attempts();
  }
  if (attempts_ > 1 && retry_) origin.lb.retry_priority = retry_->priority();
  sent_ = false;
  raw_ = terminates_connect() != nullptr;
  try_ = cluster_->make_try(origin,
                            {.downstream_protocol = http_info().protocol,
                             .priority = action_->priority,
                             .upgrade = request_->has(Name::upgrade),
                             .raw = raw_,
                             .request = request_},
                            *this, *this);
  const ext::UpstreamHost* host = try_->host();
  if (!host) return no_healthy_upstream();
  canary_ = host->canary();
  info().upstream_remote = host->address();
  info().upstream_host_name = host->hostname();
  if (http_info().tracing) begin_try_span();
  if (action_->rewrites->host_rewrite == model::RouteAction::HostRewrite::from_upstream &&
      !host->hostname().empty())
    model::rewrite_host(*action_, host->hostname(), *request_, !config().suppress_envoy_headers);
  try_->start();
}

void Router::no_healthy_upstream() {
  info().flags.set(ResponseFlag::no_healthy_upstream);
  charge(503, nullptr, false);
  local_reply(503, "no healthy upstream", "no_healthy_upstream");
}

// upstream_rq_total of what has statistics beside the cluster's.
void Router::count_try() {
  const bool virtual_cluster = rare_ && !rare_->virtual_cluster.empty();
  if (match_.route->stat_prefix->empty() && !virtual_cluster) return;
  const stats::Scope host = shared_->root.scope("vhost").scope(match_.virtual_host->name);
  if (!match_.route->stat_prefix->empty())
    host.scope("route").scope(*match_.route->stat_prefix).counter("upstream_rq_total").add();
  if (virtual_cluster)
    host.scope("vcluster").scope(rare_->virtual_cluster).counter("upstream_rq_total").add();
}

void Router::on_ready(http::Stream& stream) {
  stream_ = &stream;
  ext::StreamInfo& i = info();
  i.upstream_connection_id = try_->connection().id();
  i.upstream_connect_start = try_->connect_started();
  i.upstream_connect_done = try_->connect_done();
  i.upstream_tls = try_->connection().tls_info();
  if (!raw_) i.http->upstream_protocol = stream.protocol();
  if (i.http->scheme_matches_upstream) request_->set_static(Name::scheme, i.upstream_tls ? "https" : "http");
  if (context_->access_logged()) i.upstream_local = try_->connection().local_address();
  count_try();
  if (downstream_above_ > 0) stream.pause_reading();
  if (Duration most = cluster_->max_stream_duration(); most.count() > 0)
    arm(duration_timer_, &on_max_duration, most);
  send_request();
}

void Router::send_request() {
  const http::HeaderMap* trailers = request_ended_ ? context_->request_trailers() : nullptr;
  const bool has_body = !waiting_.empty();
  sent_ = true;
  last_activity_ = now();
  http_info().first_upstream_tx_byte = last_activity_;
  if (request_ended_) http_info().last_upstream_tx_byte = last_activity_;
  const bool end = request_ended_ && !has_body && !trailers;
  if (http_info().tracing) inject_trace();
  if (Buffer first = raw_ ? proxy_header() : Buffer(); !first.empty()) {
    stream_->send_headers(*request_, false);
    if (stream_) stream_->send_data(std::move(first), end);
  } else if (stream_->protocol() == http::Protocol::http2 && request_->has(Name::upgrade))
    stream_->send_headers(*extended_connect(*request_), end);
  else
    stream_->send_headers(*request_, end);
  if (has_body && stream_) {
    if (!keeping_) body_passed_ = true;
    stream_->send_data(std::move(waiting_), request_ended_ && !trailers);
  }
  if (trailers && stream_) stream_->send_trailers(*trailers);
  if (std::exchange(waiting_paused_, false)) context_->resume_request();
  if (request_complete_ != MonotonicTime{}) arm_try_timers();
}

void Router::on_failure(ext::Upstream::Failure failure, std::string_view reason) {
  using Failure = ext::Upstream::Failure;
  info().upstream_transport_failure_reason = reason;
  switch (failure) {
    case Failure::no_healthy_host:
      return no_healthy_upstream();
    case Failure::overflow:
      return upstream_reset(ResetReason::overflow, reason);
    case Failure::connect_failed:
      return upstream_reset(ResetReason::connection_failure, reason);
    case Failure::timeout:
      return upstream_reset(ResetReason::connection_timeout, reason);
  }
}

// How, where the route says that it does.
const model::RouteAction::Upgrade* Router::terminates_connect() const {
  for (const auto& u : *action_->upgrades) {
    if (u.type != "connect" || !u.terminate || !u.enabled) continue;
    const std::string_view method = request_->get(Name::method);
    return method == "CONNECT" || (u.allow_post && method == "POST") ? &u : nullptr;
  }
  return nullptr;
}

// What a CONNECT's host is told first: from whom the client's connection came, and to whom; empty where it is not.
Buffer Router::proxy_header() {
  Buffer out;
  const auto* connect = terminates_connect();
  if (connect && connect->proxy_protocol > 0)
    out.append(context_->loop().blocks(),
               proxy_protocol_header(connect->proxy_protocol, info().downstream_direct_remote,
                                     info().downstream_local));
  return out;
}

bool Router::can_replay() const {
  return !body_passed_ && !response_started_;
}

bool Router::allowed(RetryState::Verdict verdict) {
  switch (verdict) {
    case Verdict::yes:
      return true;
    case Verdict::overflow:
      info().flags.set(ResponseFlag::upstream_overflow);
      return false;
    case Verdict::exhausted:
      info().flags.set(ResponseFlag::upstream_retry_limit_exceeded);
      return false;
    case Verdict::no:
      return false;
  }
  return false;
}

bool Router::may_retry(ResetReason reason) {
  return retry_ && can_replay() &&
         allowed(retry_->on_reset(reason, sent_, cluster_, action_->priority, context_->random()));
}

// On a fresh connection at once, and nobody needs to know: nothing of the request reached the server, or the server closed
// a connection that was kept alive as the request came to it. The latter is for requests that do no more when they are
// done twice (RFC 9110 section 9.2.2, RFC 9112 section 9.3.1), and that no retry policy looks after.
bool Router::sends_again(ResetReason reason) const {
  if (!can_replay() || replays_ >= kReplays) return false;
  if (reason == ResetReason::local_refused_stream) return true;
  return reason == ResetReason::connection_termination && try_ && try_->may_be_unseen() &&
         !(retry_ && retry_->wants(reason, sent_)) && idempotent(request_->get(Name::method));
}

void Router::upstream_reset(ResetReason reason, std::string_view transport_failure) {
  if (sends_again(reason)) {
    ++replays_;
    --attempts_;
    end_try();
    waiting_.clear();
    for (size_t i = 0; i < kept_.chunks(); ++i)
      waiting_.append(kept_.chunk(i).share(0, kept_.chunk(i).size()));
    return start_try();
  }
  if (reason == ResetReason::local_refused_stream) reason = ResetReason::connection_termination;
  if (try_span_) {
    try_span_->outcome.canceled = false;
    try_span_->outcome.reset = http::to_string(reason);
    try_span_->outcome.flags.set(flag_of(reason));
  }
  const bool dropped = reason == ResetReason::overflow;
  const bool connecting =
      reason == ResetReason::connection_failure || reason == ResetReason::connection_timeout;
  // Once it has answered, a host has done well, whatever comes after; gRPC says so only at the end.
  if (try_ && (!response_started_ || report_grpc_late_))
    try_->report(connecting ? ext::TryResult::connect_failed : ext::TryResult::reset);
  if (may_retry(reason)) return retry_later();
  const uint16_t status = reason == ResetReason::protocol_error ? 502 : 503;
  charge_abort(status, dropped);
  info().flags.set(flag_of(reason));
  std::string text(http::to_string(reason));
  std::string body = "upstream connect error or disconnect/reset before headers. ";
  if (attempts_ > 1) body += "retried and the latest ";
  body += "reset reason: " + text;
  std::string details = response_started_ ? "upstream_reset_after_response_started{"
                                          : "upstream_reset_before_response_started{";
  details += text;
  if (!transport_failure.empty()) details.append("|").append(transport_failure);
  local_reply(status, body, with_underscores(details + "}"),
              dropped ? std::optional(http::Name::x_envoy_overloaded) : std::nullopt);
}

// ---- another one ----

void Router::retry_later() {
  if (const ext::UpstreamHost* host = try_ ? try_->host() : nullptr) retry_->tried(*host);
  end_try();
  arm(backoff_timer_, &on_backoff, retry_->backoff());
}

void Router::on_backoff(io::Timer& timer) {
  timer.owner<Router>()->retry_now();
}

void Router::retry_now() {
  // The cluster may have been replaced, or removed, while we waited.
  if (!find_cluster()) return;
  if (match_.virtual_host->include_request_attempt_count)
    request_->set_integer(Name::x_envoy_attempt_count, attempts_ + 1);
  if (match_.virtual_host->include_is_timeout_retry_header)
    request_->set_static(Name::x_envoy_is_timeout_retry,
                         std::exchange(timeout_retry_, false) ? "true" : "false");
  Duration elapsed = request_complete_ == MonotonicTime{} ? Duration{} : now() - request_complete_;
  set_timeout_headers(timeouts_, elapsed, timeout_options(), *request_);
  waiting_.clear();
  for (size_t i = 0; i < kept_.chunks(); ++i) waiting_.append(kept_.chunk(i).share(0, kept_.chunk(i).size()));
  start_try();
}

// ---- time ----

void Router::arm(std::optional<io::Timer>& timer, io::Timer::Callback callback, Duration after) {
  if (!timer) timer.emplace(context_->loop().timers(), callback, this);
  timer->arm(now() + after);
}

void Router::arm_try_timers() {
  if (response_started_) return;
  if (timeouts_.per_try.count() > 0) arm(try_timer_, &on_per_try_timeout, timeouts_.per_try);
  if (timeouts_.per_try_idle.count() > 0) arm(idle_timer_, &on_per_try_idle_timeout, timeouts_.per_try_idle);
}

void Router::on_global_timeout(io::Timer& timer) {
  Router& self = *timer.owner<Router>();
  if (self.try_) {
    self.cluster_->http_stats().upstream_rq_timeout.add();
    if (!self.response_started_) {
      self.try_->report(ext::TryResult::timeout);
      self.charge_abort(self.timeout_status_, false);
    }
  }
  self.timed_out("response_timeout", ext::TryResult::timeout);
}

void Router::timed_out(std::string_view details, ext::TryResult) {
  info().flags.set(ResponseFlag::upstream_request_timeout);
  local_reply(timeout_status_, timeout_status_ == 504 ? "upstream request timeout" : "", details);
}

void Router::on_per_try_timeout(io::Timer& timer) {
  Router& self = *timer.owner<Router>();
  self.try_timed_out(self.cluster_->http_stats().upstream_rq_per_try_timeout, "upstream_per_try_timeout");
}

void Router::on_per_try_idle_timeout(io::Timer& timer) {
  Router& self = *timer.owner<Router>();
  MonotonicTime due = self.last_activity_ + self.timeouts_.per_try_idle;
  if (due > self.now()) return timer.arm(due);
  self.try_timed_out(self.cluster_->http_stats().upstream_rq_per_try_idle_timeout,
                     "upstream_per_try_idle_timeout");
}

void Router::try_timed_out(stats::Counter& counter, std::string_view details) {
  counter.add();
  if (try_span_) try_span_->outcome.flags.set(ResponseFlag::upstream_request_timeout);
  try_->report(ext::TryResult::timeout);
  if (may_retry(ResetReason::local_reset)) {
    timeout_retry_ = true;
    return retry_later();
  }
  charge_abort(timeout_status_, false);
  timed_out(details, ext::TryResult::timeout);
}

void Router::on_max_duration(io::Timer& timer) {
  Router& self = *timer.owner<Router>();
  self.cluster_->http_stats().upstream_rq_max_duration_reached.add();
  if (self.may_retry(ResetReason::local_reset)) return self.retry_later();
  self.info().flags.set(ResponseFlag::upstream_max_stream_duration);
  self.local_reply(self.request_complete_ == MonotonicTime{} ? 408 : 504,
                   "upstream max stream duration reached", "upstream_max_stream_duration_reached");
}

// ---- letting go ----

void Router::resume_downstream() {
  if (std::exchange(upstream_paused_, false)) context_->resume_request();
}

void Router::end_try() {
  if (stream_) {
    const http::Stream::Bytes& b = stream_->bytes();
    ext::HttpInfo& h = http_info();
    h.upstream_wire_bytes_sent = b.wire_sent;
    h.upstream_wire_bytes_received = b.wire_received;
    h.upstream_header_bytes_sent = b.header_sent;
    h.upstream_header_bytes_received = b.header_received;
  }
  for (auto* timer : {&try_timer_, &idle_timer_, &duration_timer_})
    if (*timer) (*timer)->cancel();
  if (try_span_) end_try_span();
  stream_ = nullptr;
  sent_ = false;
  resume_downstream();
  try_.reset();
}

void Router::cleanup() {
  end_try();
  for (auto* timer : {&global_timer_, &backoff_timer_})
    if (*timer) (*timer)->cancel();
  retry_.reset();
  waiting_.clear();
  kept_.clear();
  keeping_ = false;
  if (std::exchange(waiting_paused_, false)) context_->resume_request();
}

void Router::on_end() {
  over_ = true;
  upstream_paused_ = waiting_paused_ = false;  // there is nobody to resume any more
  cleanup();
}

}  // namespace sluice::extensions::router
