#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "core/ascii.h"
#include "extensions/filters/network/http_connection_manager/headers.h"
#include "extensions/filters/network/http_connection_manager/path.h"
#include "extensions/filters/network/http_connection_manager/stream.h"
#include "http/grpc.h"

// The way of a request: from the codec's callbacks to its filters and its route.
namespace sluice::extensions::http_connection_manager {

using ext::ResponseFlag;
using http::HeaderMap;
using http::Name;
using http::ResetReason;

namespace {

constexpr MonotonicTime kNever = MonotonicTime::max();

// grpc-timeout: at most 8 digits and a unit (gRPC over HTTP/2, "Timeout").
std::optional<Duration> grpc_timeout(std::string_view text) {
  if (text.size() < 2 || text.size() > 9) return std::nullopt;
  int64_t n = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size() - 1, n);
  if (error != std::errc() || end != text.data() + text.size() - 1 || n < 0) return std::nullopt;
  switch (text.back()) {
    case 'H':
      return std::chrono::hours(n);
    case 'M':
      return std::chrono::minutes(n);
    case 'S':
      return std::chrono::seconds(n);
    case 'm':
      return std::chrono::milliseconds(n);
    case 'u':
      return std::chrono::microseconds(n);
    case 'n':
      return std::chrono::nanoseconds(n);
  }
  return std::nullopt;
}

}  // namespace

// ---- the request ----

void Stream::on_headers(http::HeaderMapPtr map, bool end_stream) {
  HeaderMap& headers = *map;
  filters_.set_request_headers(std::move(map));
  head_received_ = true;
  request_ended_ = end_stream;
  touch();
  note_bytes();
  http_.protocol = codec_->protocol();
  http_.request_headers = &headers;
  http_.scheme_matches_upstream = settings().scheme_match_upstream;
  if (end_stream) http_.last_downstream_rx_byte = last_activity_;
  wants_close_ = wants_close(headers, *http_.protocol);
  close_ |= wants_close_;
  const std::string_view method = headers.get(Name::method);
  head_ = method == "HEAD";
  grpc_ = http::is_grpc_request(headers);
  if (!connection_->http1()) http2_upgrade_ = upgrade_from_http2(headers);

  if (!settings().proxy_100_continue && headers.has(Name::expect) &&
      equal_ignoring_case("100-continue", headers.get(Name::expect))) {
    send_continue();
    headers.remove(Name::expect);
  }
  if (refuse_head(headers) || over_) return;
  if (!normalize(headers)) return;

  take_routes(&headers);
  apply(settings().early_mutations, headers, info_);
  const Address& remote = info_.downstream_remote;
  RequestVerdict verdict = mutate_request(
      settings(),
      {remote, info_.downstream_local, info_.downstream_tls != nullptr, connection_->client_certificate()},
      network().random(), routes_.get(), headers);
  if (verdict.reject_status != 0) {
    stats().downstream_rq_rejected_via_ip_detection.add();
    return reply(verdict.reject_status, "", "rejecting_because_detection_failed");
  }
  if (verdict.remote.valid()) info_.downstream_remote = verdict.remote;
  start_chain(headers, end_stream, true);
}

// What no filter needs to see. Order and words as in Envoy.
bool Stream::refuse_head(HeaderMap& headers) {
  const bool connect = headers.get(Name::method) == "CONNECT";
  if (!headers.has(Name::authority)) return reply(400, "", "missing_host_header"), true;
  if (!valid_authority(headers.get(Name::authority))) {
    reply(400, "", "http.invalid_authority");
    if (!settings().stream_error_on_invalid_message) connection_->protocol_error("http.invalid_authority");
    return true;
  }
  // Whoever asks in clear for what is to be encrypted would take the answer for an encrypted one. Behind a trusted proxy
  // that is for the proxy to say.
  if (connection_->http1() && settings().use_remote_address && settings().xff_num_trusted_hops == 0 &&
      headers.get(Name::scheme) == "https" && !info_.downstream_tls) {
    info_.flags.set(ResponseFlag::downstream_protocol_error);
    stats().downstream_cx_protocol_error.add();
    close_ = true;
    return reply(403, "Forbidden", "http1.https_url_on_plaintext_connection"), true;
  }
  const std::string_view path = headers.get(Name::path);
  if ((!connect || headers.has(Name::path)) && path.empty())
    return reply(404, "", "missing_path_rejected"), true;
  if (!path.empty() && path[0] != '/') {
    stats().downstream_rq_non_relative_path.add();
    return reply(404, "", "absolute_path_rejected"), true;
  }
  return false;
}

// :path and :authority as the settings want them. False: answered.
bool Stream::normalize(HeaderMap& headers) {
  PathVerdict verdict = normalize_path(settings(), headers);
  if (verdict == PathVerdict::reject || (verdict == PathVerdict::redirect && grpc_)) {
    stats().downstream_rq_failed_path_normalization.add();
    return reply(400, "", "path_normalization_failed"), false;
  }
  if (verdict == PathVerdict::redirect) {
    stats().downstream_rq_redirected_with_normalized_path.add();
    const std::string_view to = headers.get(Name::path);
    filters_.send_local_reply({.status = 307,
                               .details = "path_normalization_failed",
                               .modify = [to](HeaderMap& h) { h.set(Name::location, to); }});
    return false;
  }
  normalize_host(settings(), headers, info_.downstream_local.port());
  return true;
}

void Stream::start_chain(HeaderMap& headers, bool end_stream, bool first) {
  find_route();
  if (over_) return;
  if (settings().tracing) decide_tracing(headers, first);
  if (tls_redirect_) {
    if (tracing_) start_span(headers);
    std::string location =
        "https://" + std::string(headers.get(Name::authority)) + std::string(headers.get(Name::path));
    return filters_.send_local_reply(
        {.status = 301, .details = "direct_response", .modify = [&location](HeaderMap& h) {
           h.set(Name::location, location);
         }});
  }
  bool upgrade_refused = false;
  const std::vector<ChainFilter>* chain = pick_chain(headers, upgrade_refused);
  filters_.create(*chain, route());
  if (settings().access_log_on_request) log(ext::AccessLogType::downstream_start);
  if (upgrade_refused && route_) {
    // What follows might be another protocol's bytes.
    close_ = true;
    stats().downstream_rq_ws_on_non_ws_route.add();
    return reply(403, "", "upgrade_failed");
  }
  if (upgrade_) {
    stats().downstream_cx_upgrades_total.add();
    stats().downstream_cx_upgrades_active.add();
    upgrade_counted_ = true;
  }
  if (tracing_) start_span(headers);
  filters_.on_request_headers(end_stream);
}

const std::vector<ChainFilter>* Stream::pick_chain(const HeaderMap& headers, bool& refused) {
  Runtime& runtime = connection_->runtime();
  std::string_view type;
  if (is_upgrade(headers))
    type = headers.get(Name::upgrade);
  else if (headers.get(Name::method) == "CONNECT")
    type = "CONNECT";
  else
    return &runtime.filters;

  bool by_route = false;
  if (const model::RouteAction* action = route_ ? route_->action() : nullptr) {
    for (const auto& u : *action->upgrades) {
      if (!equal_ignoring_case(u.type, type)) continue;
      if (!u.enabled) {
        refused = true;
        return &runtime.filters;
      }
      by_route = true;
    }
  }
  for (const auto& u : runtime.upgrades) {
    if (!equal_ignoring_case(u.upgrade->type, type)) continue;
    if (!u.upgrade->enabled && !by_route) break;
    upgrade_ = true;
    return u.upgrade->own_filters ? &u.filters : &runtime.filters;
  }
  upgrade_ = by_route;
  refused = !by_route;
  return &runtime.filters;
}

void Stream::on_data(Buffer& data, bool end_stream) {
  touch();
  note_bytes();
  info_.bytes_received += data.size();
  request_ended_ |= end_stream;
  if (end_stream) http_.last_downstream_rx_byte = last_activity_;
  if (over_ || response_ended_) return data.clear();
  filters_.on_request_data(data, end_stream);
}

void Stream::on_trailers(http::HeaderMapPtr trailers) {
  touch();
  note_bytes();
  request_ended_ = true;
  http_.last_downstream_rx_byte = last_activity_;
  if (over_ || response_ended_) return;
  filters_.on_request_trailers(std::move(trailers));
}

void Stream::on_bad_message(http::Stream&, uint16_t status, std::string_view details) {
  stats().downstream_cx_protocol_error.add();
  info_.flags.set(ResponseFlag::downstream_protocol_error);
  note_bytes();
  request_ended_ = bad_message_ = true;
  close_ = true;
  if (over_) return;
  std::string_view body = status == 431   ? "Request Header Fields Too Large"
                          : status == 501 ? "Not Implemented"
                          : status == 426 ? "Upgrade Required"
                          : status == 403 ? "Forbidden"
                          : status == 413 ? "Payload Too Large"
                                          : "Bad Request";
  reply(status, body, details);
}

void Stream::on_reset(ResetReason reason, std::string_view details) {
  codec_ = nullptr;
  if (over_) return;
  stats().downstream_rq_rx_reset.add();
  bool premature = false;
  switch (reason) {
    case ResetReason::connection_termination:
    case ResetReason::connection_failure:
    case ResetReason::connection_timeout:
      info_.flags.set(ResponseFlag::downstream_connection_termination);
      break;
    case ResetReason::remote_reset:
    case ResetReason::remote_refused_stream:
    case ResetReason::connect_error:
    case ResetReason::no_error:
      info_.flags.set(ResponseFlag::downstream_remote_reset);
      premature = true;
      break;
    default:
      info_.flags.set(ResponseFlag::downstream_protocol_error);
      premature = true;
      break;
  }
  if (!details.empty()) info_.response_code_details = details;
  mark_over(premature);
}

void Stream::on_above_write_high_watermark() {
  if (!over_) filters_.on_downstream_above_watermark();
}

void Stream::on_below_write_low_watermark() {
  if (!over_) filters_.on_downstream_below_watermark();
}

// ---- the route ----

const model::RouteMatch* Stream::route() {
  if (!route_known_) find_route();
  return route_ ? &*route_ : nullptr;
}

void Stream::take_routes(const HeaderMap* headers) {
  Runtime& runtime = connection_->runtime();
  if (!settings().scopes) {
    routes_ = runtime.routes();
    return;
  }
  if (!headers) return;
  if (!scope_) scope_ = std::make_unique<ScopeState>();
  std::string key;
  const bool known = model::make_scope_key(settings().scope_key, *headers, key);
  if (routes_ && known && scope_->known && key == scope_->key) return;
  if (routes_) scope_->left.push_back(std::move(routes_));
  routes_ = known ? runtime.routes(key) : nullptr;
  scope_->key = std::move(key);
  scope_->known = known;
}

void Stream::find_route() {
  route_known_ = true;
  route_.reset();
  tls_redirect_ = false;
  HeaderMap* headers = filters_.request_headers();
  if (!routes_ || scope_) take_routes(headers);  // a scope's key is made anew, as in Envoy
  if (routes_ && headers) {
    const ext::TlsInfo* tls = info_.downstream_tls.get();
    route_ = routes_->match({.headers = *headers,
                             .info = info_,
                             .random = random_,
                             .tls = tls != nullptr,
                             .client_certificate_presented = tls && tls->peer(),
                             .client_certificate_validated = tls && tls->peer_validated()},
                            &tls_redirect_);
  }
  http_.route = route_ ? route_->route : nullptr;
  http_.virtual_host = route_ ? route_->virtual_host : nullptr;
  if (route_ && route_->route)
    info_.route_name = route_->route->name;
  else
    info_.route_name.clear();
  if (tracing_ && headers) refresh_tracing();
  refresh_timeouts();
}

void Stream::refresh_timeouts() {
  idle_timeout_ = settings().stream_idle_timeout;
  max_duration_ = settings().max_stream_duration;
  const model::RouteAction* action = route_ ? route_->action() : nullptr;
  if (!action) return;
  const model::RouteAction::StreamLimits& limits = *action->limits;
  if (limits.idle_timeout) idle_timeout_ = *limits.idle_timeout;
  if (limits.max_stream_duration) max_duration_ = *limits.max_stream_duration;
  if (limits.grpc_timeout_header_max && grpc_) {
    if (auto asked = grpc_timeout(filters_.request_headers()->get(Name::grpc_timeout))) {
      const Duration most = *limits.grpc_timeout_header_max;
      Duration timeout = most.count() > 0 ? std::min(*asked, most) : *asked;
      if (limits.grpc_timeout_header_offset && timeout > *limits.grpc_timeout_header_offset)
        timeout -= *limits.grpc_timeout_header_offset;
      max_duration_ = timeout;
    }
  }
  // The general times are looked at anyway.
  MonotonicTime at = kNever;
  if (limits.idle_timeout && idle_timeout_.count() > 0) at = last_activity_ + idle_timeout_;
  if (max_duration_.count() > 0) at = std::min(at, info_.start + max_duration_);
  if (at != kNever) connection_->need_timer(at);
}

}  // namespace sluice::extensions::http_connection_manager
