#include <charconv>
#include <functional>

#include "core/log.h"
#include "extensions/filters/http/router/filter.h"
#include "extensions/filters/http/router/mirror.h"
#include "http/grpc.h"
#include "model/request_hash.h"
#include "model/route_actions.h"

namespace sluice::extensions::router {

using ext::DataStatus;
using ext::HeadersStatus;
using ext::ResponseFlag;
using ext::TrailersStatus;
using http::Name;

namespace {

bool is_number(std::string_view text) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return !text.empty() && error == std::errc() && end == text.data() + text.size();
}

// Whether a header that only Envoys send says something (Envoy: FilterUtility::StrictHeaderChecker).
bool makes_sense(Name name, std::string_view value) {
  switch (name) {
    case Name::x_envoy_upstream_rq_timeout_ms:
    case Name::x_envoy_upstream_rq_per_try_timeout_ms:
    case Name::x_envoy_max_retries:
      return is_number(value);
    case Name::x_envoy_retry_on:
      return model::parse_retry_on(value).all_known;
    case Name::x_envoy_retry_grpc_on:
      return model::parse_retry_grpc_on(value).all_known;
    default:
      return true;
  }
}

void share(const Buffer& from, Buffer& to) {
  for (size_t i = 0; i < from.chunks(); ++i) to.append(from.chunk(i).share(0, from.chunk(i).size()));
}

}  // namespace

TimeoutOptions Router::timeout_options() const {
  return {.grpc = grpc_,
          .set_expected = !config().suppress_envoy_headers,
          .respect_expected = config().respect_expected_rq_timeout};
}

void Router::local_reply(uint16_t status, std::string_view body, std::string_view details,
                         std::optional<Name> marked) {
  over_ = true;
  cleanup();
  ext::LocalReply reply{.status = status, .body = body, .details = details};
  const bool attempts = match_.virtual_host && match_.virtual_host->include_attempt_count_in_response;
  if (config().suppress_envoy_headers) marked.reset();
  if (attempts || marked) {
    reply.modify = [attempts, marked, n = attempts_](http::HeaderMap& headers) {
      if (marked) headers.set_static(*marked, "true");
      if (attempts) headers.set_integer(Name::x_envoy_attempt_count, n);
    };
  }
  context_->send_local_reply(reply);
}

HeadersStatus Router::on_request_headers(http::HeaderMap& headers, bool end_stream) {
  request_ = &headers;
  request_ended_ = end_stream;
  shared_->stats.rq_total.add();
  if (!check_headers(headers)) return HeadersStatus::stop;

  const model::RouteMatch* match = context_->route();
  if (!match || std::holds_alternative<model::NonForwardingAction>(match->route->action)) {
    shared_->stats.no_route.add();
    info().flags.set(ResponseFlag::no_route_found);
    local_reply(404, "", "route_not_found");
    return HeadersStatus::stop;
  }
  match_ = *match;
  action_ = match_.action();
  if (!action_) {
    answer_directly(match_, headers);
    return HeadersStatus::stop;
  }
  if (!find_cluster()) return HeadersStatus::stop;

  grpc_ = http::is_grpc_request(headers);
  internal_ = headers.get(Name::x_envoy_internal) == "true";
  if (!match_.virtual_host->virtual_clusters.empty()) {
    std::string_view name = model::virtual_cluster(*match_.virtual_host, headers);
    if (!name.empty()) {
      rare().virtual_cluster = name;
      http_info().virtual_cluster_name = name;
    }
  }
  if (headers.has(Name::x_envoy_upstream_alt_stat_name)) {
    rare().alt_stat_name = headers.get(Name::x_envoy_upstream_alt_stat_name);
    headers.remove(Name::x_envoy_upstream_alt_stat_name);
  }
  if (const auto drops = cluster_->drops(); drops != ext::HttpCluster::Drop::no) {
    const bool all = drops == ext::HttpCluster::Drop::all;
    info().flags.set(all ? ResponseFlag::unconditional_drop_overload : ResponseFlag::drop_overload);
    charge(503, nullptr, true);
    if (all)
      local_reply(503, "unconditional drop overload", "unconditional_drop_overload",
                  Name::x_envoy_unconditional_drop_overload);
    else
      local_reply(503, "drop overload", "drop_overload", Name::x_envoy_drop_overload);
    return HeadersStatus::stop;
  }
  const model::RetryPolicy* policy = model::retry_policy(match_);
  timeouts_ = final_timeouts(*action_, policy, headers, timeout_options());
  if (headers.has(Name::x_envoy_upstream_rq_timeout_alt_response)) {
    timeout_status_ = 204;
    headers.remove(Name::x_envoy_upstream_rq_timeout_alt_response);
  }
  if (match_.virtual_host->include_request_attempt_count) headers.set_integer(Name::x_envoy_attempt_count, 1);
  if (!action_->hash_policies->empty()) {
    rare().hash = model::request_hash(*action_->hash_policies, headers, info(),
                                      [this](const model::HashPolicy& cookie) {
                                        std::string value = model::made_cookie_value(info());
                                        rare().set_cookies.push_back(model::set_cookie(cookie, value));
                                        return value;
                                      });
  }
  model::finalize_request(match_, headers, info(), !config().suppress_envoy_headers);
  if (std::string_view scheme = headers.get(Name::scheme); scheme != "http" && scheme != "https")
    headers.set_static(Name::scheme, info().downstream_tls ? "https" : "http");
  if (auto state = RetryState::make(policy, headers)) retry_.emplace(std::move(*state));
  if (retry_ && retry_->bits() == 0) retry_.reset();
  choose_mirrors();
  keep_limit_ = model::request_body_limit(match_).value_or(context_->buffer_limit());
  keeping_ = !end_stream && (retry_ || action_->internal_redirect || (rare_ && !rare_->mirrors.empty()));
  // Nothing of an upgraded stream is ever sent twice.
  if (keeping_ &&
      (headers.has(Name::upgrade) || headers.get(Name::method) == "CONNECT" || terminates_connect()))
    keeping_ = false;
  if (end_stream) request_complete();
  start_try();
  return HeadersStatus::stop;
}

bool Router::check_headers(const http::HeaderMap& headers) {
  for (Name name : config().strict_check_headers) {
    std::string_view value = headers.get(name);
    if (!headers.has(name) || makes_sense(name, value)) continue;
    info().flags.set(ResponseFlag::invalid_envoy_request_headers);
    local_reply(
        400,
        "invalid header '" + std::string(http::to_string(name)) + "' with value '" + std::string(value) + "'",
        "request_headers_failed_strict_check{" + std::string(http::to_string(name)) + "}");
    return false;
  }
  return true;
}

void Router::answer_directly(const model::RouteMatch& match, http::HeaderMap& headers) {
  shared_->stats.rq_direct_response.add();
  over_ = true;
  ext::LocalReply reply{.details = "direct_response"};
  std::string location, body;
  const std::string* content_type = nullptr;
  location = model::redirect_location(match, headers);
  if (const auto* redirect = std::get_if<model::RedirectAction>(&match.route->action)) {
    reply.status = redirect->status;
    model::finalize_path(match, headers, !config().suppress_envoy_headers);
  } else {
    const auto& direct = std::get<model::DirectResponseAction>(match.route->action);
    reply.status = direct.status;
    reply.body = direct.body;
    if (direct.body_formatter) {
      http_info().local_reply_body = direct.body;
      direct.body_formatter->format(info(), body);
      reply.body = body;
    }
    if (!direct.content_type.empty()) content_type = &direct.content_type;
  }
  reply.modify = [&](http::HeaderMap& response) {
    if (!location.empty()) response.set(Name::location, location);
    if (content_type) response.set(Name::content_type, *content_type);
    model::apply_response_headers(match, response, info());
  };
  context_->send_local_reply(reply);
}

bool Router::find_cluster() {
  ext::Cluster* cluster = context_->clusters().find(match_.cluster);
  ext::HttpCluster* http = cluster ? cluster->http() : nullptr;
  if (!http) {
    SLUICE_LOG(filter, debug, "[C{}] unknown cluster '{}'", info().connection_id, match_.cluster);
    shared_->stats.no_cluster.add();
    info().flags.set(ResponseFlag::no_cluster_found);
    local_reply(action_->cluster_not_found_status, "", "cluster_not_found");
    return false;
  }
  if (cluster_.get() == http) return true;  // for a retry: the same
  cluster_ = http->hold();
  info().upstream_cluster = cluster->observability_name();
  if (cluster->name() != cluster->observability_name()) info().upstream_cluster_raw = cluster->name();
  return true;
}

// ---- the body ----

DataStatus Router::on_request_data(Buffer& data, bool end_stream) {
  request_ended_ |= end_stream;
  if (over_) {
    data.clear();
    return DataStatus::stop_no_buffer;
  }
  if (!keep(data, end_stream)) return DataStatus::stop_no_buffer;
  if (end_stream) request_complete();
  if (stream_ && sent_) {
    if (!keeping_) body_passed_ = true;
    if (end_stream) http_info().last_upstream_tx_byte = now();
    stream_->send_data(std::move(data), end_stream);
  } else {
    waiting_.append(std::move(data));
    const uint32_t limit = context_->buffer_limit();  // keep_limit_ is for what is sent again
    if (!keeping_ && limit > 0 && waiting_.size() > limit && !std::exchange(waiting_paused_, true))
      context_->pause_request();
  }
  return DataStatus::stop_no_buffer;
}

bool Router::keep(const Buffer& data, bool end_stream) {
  if (!keeping_) return true;
  if (keep_limit_ > 0 && kept_.size() + data.size() > keep_limit_) {
    give_up_keeping();
    if (try_) return true;
    // The first try has failed and what it was sent cannot be sent again.
    local_reply(507, "exceeded request buffer limit while retrying upstream",
                "request_payload_exceeded_retry_buffer_limit");
    return false;
  }
  share(data, kept_);
  return true;
}

void Router::give_up_keeping() {
  keeping_ = false;
  kept_overflowed_ = true;
  body_passed_ = true;
  kept_.clear();
  cluster_->http_stats().retry_or_shadow_abandoned.add();
  retry_.reset();
  if (rare_) rare_->mirrors.clear();
}

TrailersStatus Router::on_request_trailers(http::HeaderMap& trailers) {
  request_ended_ = true;
  if (over_) return TrailersStatus::stop;
  request_complete();
  if (stream_ && sent_) {
    http_info().last_upstream_tx_byte = now();
    stream_->send_trailers(trailers);
  }
  return TrailersStatus::stop;
}

// The time-outs count from here.
void Router::request_complete() {
  request_complete_ = now();
  if (timeouts_.global.count() > 0) arm(global_timer_, &on_global_timeout, timeouts_.global);
  if (stream_) arm_try_timers();
  if (rare_ && !rare_->mirrors.empty()) start_mirrors();
}

// ---- mirrors ----

void Router::choose_mirrors() {
  const auto& policies = model::mirror_policies(match_);
  if (policies.empty()) return;
  for (const model::MirrorPolicy& p : policies) {
    if (!p.fraction.hit(context_->random().next())) continue;
    std::string_view name = p.cluster.empty() ? request_->get(p.cluster_header) : std::string_view(p.cluster);
    if (!name.empty()) rare().mirrors.emplace_back(name, &p);
  }
  if (rare_ && !rare_->mirrors.empty()) rare_->mirror_headers = http::copy_headers(*request_);
}

void Router::start_mirrors() {
  for (auto& [name, policy] : rare_->mirrors) {
    Buffer body;
    share(kept_, body);
    mirror(*context_, name, *policy, *rare_->mirror_headers, std::move(body), context_->request_trailers(),
           timeouts_.global, config().own_address);
  }
  rare_->mirrors.clear();
}

}  // namespace sluice::extensions::router
