#include <algorithm>
#include <string>

#include "core/log.h"
#include "extensions/filters/http/router/filter.h"
#include "extensions/filters/http/router/redirect_target.h"
#include "extensions/filters/http/router/upgrade.h"
#include "http/grpc.h"
#include "http/status.h"
#include "model/route_actions.h"

namespace sluice::extensions::router {

using http::Name;

namespace {

// All fields of that name, in place of those that are there.
void copy_header(const http::HeaderMap& from, std::string_view name, http::HeaderMap& to) {
  to.remove(name);
  for (const auto& field : from) {
    if (field.name == name) to.add(name, field.value);
  }
}

}  // namespace

Stats::Stats(const stats::Scope& s)
    : no_route(s.counter("no_route")),
      no_cluster(s.counter("no_cluster")),
      rq_redirect(s.counter("rq_redirect")),
      rq_direct_response(s.counter("rq_direct_response")),
      rq_total(s.counter("rq_total")),
      rq_reset_after_downstream_response_started(s.counter("rq_reset_after_downstream_response_started")),
      rq_retry_skipped_request_not_complete(s.counter("rq_retry_skipped_request_not_complete")),
      passthrough_internal_redirect_bad_location(s.counter("passthrough_internal_redirect_bad_location")),
      passthrough_internal_redirect_unsafe_scheme(s.counter("passthrough_internal_redirect_unsafe_scheme")),
      passthrough_internal_redirect_too_many_redirects(
          s.counter("passthrough_internal_redirect_too_many_redirects")),
      passthrough_internal_redirect_no_route(s.counter("passthrough_internal_redirect_no_route")),
      passthrough_internal_redirect_predicate(s.counter("passthrough_internal_redirect_predicate")) {}

// ---- what comes from upstream ----

void Router::on_informational(http::HeaderMapPtr headers) {
  last_activity_ = now();
  // One of them counts, however many there are, as in Envoy.
  if (!std::exchange(informational_charged_, true)) charge(http::status_of(*headers), headers.get(), false);
  retry_.reset();  // the client has had a part of an answer
  context_->respond_informational(std::move(headers));
}

void Router::on_headers(http::HeaderMapPtr headers, bool end_stream) {
  last_activity_ = now();
  http_info().first_upstream_rx_byte = last_activity_;
  const uint16_t status = http::status_of(*headers);
  if (!config().suppress_envoy_headers && request_complete_ != MonotonicTime{}) {
    auto ms =
        std::chrono::duration_cast<std::chrono::milliseconds>(last_activity_ - request_complete_).count();
    headers->set_integer(Name::x_envoy_upstream_service_time, static_cast<uint64_t>(ms));
  }
  if (try_span_) {
    try_span_->outcome.status = status;
    if (end_stream) try_span_->outcome.canceled = false;
    tag_grpc_status(*try_span_->span, *headers);
  }
  if (headers->has(Name::x_envoy_immediate_health_check_fail)) try_->report_immediate_health_check_fail();
  if (retries(*headers, status) || redirects(*headers, status)) return;
  report_host(status, *headers, end_stream);
  charge(status, headers.get(), false);

  response_started_ = true;
  if (try_timer_) try_timer_->cancel();
  retry_.reset();
  info().response_code_details = "via_upstream";
  if (match_.virtual_host->include_attempt_count_in_response)
    headers->set_integer(Name::x_envoy_attempt_count, attempts_);
  if (rare_)
    for (const std::string& cookie : rare_->set_cookies) headers->add(Name::set_cookie, cookie);
  if (stream_ && stream_->protocol() == http::Protocol::http2 && request_->has(Name::upgrade))
    switch_protocols(*request_, *headers);
  http_info().response_code = status;  // for %RESPONSE_CODE% in what is added
  model::apply_response_headers(match_, *headers, info());
  if (end_stream) response_complete();
  context_->respond(std::move(headers), end_stream);
}

void Router::on_data(Buffer& data, bool end_stream) {
  last_activity_ = now();
  if (end_stream) {
    if (try_span_) try_span_->outcome.canceled = false;
    if (report_grpc_late_) try_->report_status(500);  // no trailers, no status: not well
    response_complete();
  }
  context_->respond_data(data, end_stream);
}

void Router::on_trailers(http::HeaderMapPtr trailers) {
  last_activity_ = now();
  if (try_span_) {
    try_span_->outcome.canceled = false;
    tag_grpc_status(*try_span_->span, *trailers);
  }
  if (report_grpc_late_) {
    auto grpc = http::grpc_status(trailers.get(), nullptr, 200, true);
    try_->report_status(!grpc || *grpc < 0 ? 500 : http::http_status_of_grpc(static_cast<uint32_t>(*grpc)));
    report_grpc_late_ = false;
  }
  response_complete();
  context_->respond_trailers(std::move(trailers));
}

void Router::on_reset(http::ResetReason reason, std::string_view) {
  upstream_reset(reason, "");
}

void Router::response_complete() {
  over_ = true;
  http_info().last_upstream_rx_byte = last_activity_;
  charge_time();
  cleanup();  // a request that goes on is cut off: nobody wants the rest of it
}

void Router::report_host(uint16_t status, const http::HeaderMap& headers, bool end_stream) {
  if (!grpc_) return try_->report_status(status);
  if (headers.has(Name::grpc_status)) {
    auto grpc = http::grpc_status(nullptr, &headers, status, true);
    return try_->report_status(!grpc || *grpc < 0 ? 500
                                                  : http::http_status_of_grpc(static_cast<uint32_t>(*grpc)));
  }
  if (end_stream)
    try_->report_status(status);
  else
    report_grpc_late_ = true;
}

bool Router::retries(const http::HeaderMap& headers, uint16_t status) {
  if (!retry_ || !can_replay()) return false;
  if (!allowed(retry_->on_response(headers, status, cluster_, action_->priority, context_->random(),
                                   context_->loop().wall_now())))
    return false;
  try_->report(ext::TryResult::reset);
  cluster_->code_stats().retry.charge(status, !(grpc_ && config().suppress_grpc_failure_code_stats));
  retry_later();
  return true;
}

// ---- internal redirects ----
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/http/http_connection_management#internal-redirects

bool Router::redirects(const http::HeaderMap& headers, uint16_t status) {
  if (!action_->internal_redirect) return false;
  const auto& policy = *action_->internal_redirect;
  if (std::ranges::find(policy.codes, status) == policy.codes.end()) return false;
  if (!request_ended_ || kept_overflowed_ || !prepare_redirect(headers, status)) {
    cluster_->http_stats().upstream_internal_redirect_failed_total.add();
    return false;
  }
  cluster_->http_stats().upstream_internal_redirect_succeeded_total.add();
  report_host(status, headers, true);
  // The record of the request that ends here; as with Envoy its code is not counted.
  http_info().response_code = status;
  info().response_code_details = "internal_redirect";
  Buffer body = std::move(kept_);
  if (status == 303) body.clear();
  over_ = true;
  cleanup();
  if (!context_->restart(std::move(body))) local_reply(502, "", "internal_redirect_failed");
  return true;
}

// previous_routes: a route may lead a request to another one once, and what redirects in a circle ends.
bool Router::new_target(const std::string& name) {
  auto& seen = http_info().redirect_targets;
  std::pair<std::string, std::string> step(match_.route->name, name);
  if (std::ranges::find(seen, step) != seen.end()) return false;
  seen.push_back(std::move(step));
  return true;
}

// Makes the request that the location asks for of ours; on false it is as it was.
bool Router::prepare_redirect(const http::HeaderMap& headers, uint16_t status) {
  const auto& policy = *action_->internal_redirect;
  auto target = parse_redirect_target(headers.get(Name::location));
  if (!target) {
    if (headers.has(Name::location)) shared_->stats.passthrough_internal_redirect_bad_location.add();
    return false;
  }
  if (!policy.allow_cross_scheme && target->scheme != request_->get(Name::scheme)) {
    shared_->stats.passthrough_internal_redirect_unsafe_scheme.add();
    return false;
  }
  if (http_info().internal_redirects >= policy.max) {
    shared_->stats.passthrough_internal_redirect_too_many_redirects.add();
    return false;
  }
  // The route may depend on them.
  const http::HeaderMapPtr before = policy.copied_headers.empty() ? nullptr : http::copy_headers(*request_);
  for (const std::string& name : policy.copied_headers) copy_header(headers, name, *request_);
  const std::string_view host = request_->get(Name::authority), path = request_->get(Name::path),
                         scheme = request_->get(Name::scheme);
  request_->set(Name::authority, target->host);
  request_->set(Name::path, target->path);
  request_->set(Name::scheme, target->scheme);
  context_->clear_route_cache();
  auto restore = [&](stats::Counter& counter) {
    request_->set(Name::authority, host);
    request_->set(Name::path, path);
    request_->set(Name::scheme, scheme);
    for (const std::string& name : policy.copied_headers) copy_header(*before, name, *request_);
    counter.add();
    return false;
  };
  const model::RouteMatch* route = context_->route();
  if (!route) return restore(shared_->stats.passthrough_internal_redirect_no_route);
  const auto& allowed = policy.allowed_routes;
  if ((allowed && std::ranges::find(*allowed, route->route->name) == allowed->end()) ||
      (policy.safe_cross_scheme && scheme != "https" && target->scheme == "https") ||
      (policy.previous_routes && !new_target(route->route->name)))
    return restore(shared_->stats.passthrough_internal_redirect_predicate);
  ++http_info().internal_redirects;
  request_->set("x-envoy-original-url", std::string(scheme) + "://" + std::string(host) + std::string(path));
  std::string_view method = request_->get(Name::method);
  if (status == 303 && method != "GET" && method != "HEAD") {
    request_->set_static(Name::method, "GET");
    request_->remove(Name::content_length);
    request_->remove(Name::transfer_encoding);
  }
  return true;
}

// ---- back-pressure ----

void Router::on_downstream_above_high_watermark() {
  if (downstream_above_++ == 0 && stream_) stream_->pause_reading();
}

void Router::on_downstream_below_low_watermark() {
  if (downstream_above_ > 0 && --downstream_above_ == 0 && stream_) stream_->resume_reading();
}

void Router::on_above_write_high_watermark() {
  if (!std::exchange(upstream_paused_, true)) context_->pause_request();
}

void Router::on_below_write_low_watermark() {
  resume_downstream();
}

// ---- statistics ----

template <typename F>
void Router::each_code_stats(const http::HeaderMap* headers, F f) {
  if (!config().dynamic_stats || http_info().health_check) return;
  ext::HttpClusterCodeStats& stats = cluster_->code_stats();
  f(stats.all);
  if (canary_ || (headers && headers->get(Name::x_envoy_upstream_canary) == "true")) f(stats.canary);
  f(internal_ ? stats.internal : stats.external);
  if (const ext::UpstreamHost* host = try_ ? try_->host() : nullptr; host && !host->zone().empty()) {
    if (ext::HttpCodeStats* zone = cluster_->zone_stats(host->zone())) f(*zone);
  }
  if (!match_.route->stat_prefix->empty()) {
    ext::HttpCodeStats route(shared_->root.scope("vhost")
                                 .scope(match_.virtual_host->name)
                                 .scope("route")
                                 .scope(*match_.route->stat_prefix));
    f(route);
  }
  if (!rare_) return;
  if (!rare_->virtual_cluster.empty()) {
    ext::HttpCodeStats virtual_cluster(shared_->root.scope("vhost")
                                           .scope(match_.virtual_host->name)
                                           .scope("vcluster")
                                           .scope(rare_->virtual_cluster));
    f(virtual_cluster);
  }
  if (!rare_->alt_stat_name.empty()) {
    ext::HttpCodeStats alt(cluster_->stats_scope().scope(rare_->alt_stat_name));
    f(alt);
  }
}

void Router::charge(uint16_t status, const http::HeaderMap* headers, bool) {
  const bool details = !(grpc_ && config().suppress_grpc_failure_code_stats);
  each_code_stats(headers, [&](ext::HttpCodeStats& s) { s.charge(status, details); });
}

void Router::charge_abort(uint16_t status, bool dropped) {
  if (!response_started_) return charge(status, nullptr, dropped);
  if (report_grpc_late_) shared_->stats.rq_reset_after_downstream_response_started.add();
}

void Router::charge_time() {
  if (request_complete_ == MonotonicTime{}) return;
  const Duration took = now() - request_complete_;
  each_code_stats(nullptr, [&](ext::HttpCodeStats& s) { s.time(took); });
}

ext::HttpFilterFactory make_factory(std::shared_ptr<const Config> config) {
  return [config](const ext::HttpFilterScope& scope) -> ext::HttpFilterMaker {
    std::string_view prefix = scope.stat_prefix;
    if (prefix.ends_with('.')) prefix.remove_suffix(1);
    auto shared = std::make_shared<Shared>(Shared{config, Stats(scope.root.scope(prefix)), scope.root});
    return [shared] { return std::make_unique<Router>(shared); };
  };
}

}  // namespace sluice::extensions::router
