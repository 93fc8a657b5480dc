#include "extensions/filters/http/router/retry_state.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "core/ascii.h"

namespace sluice::extensions::router {

using http::Name;
using model::RetryOn;

namespace {

template <typename T>
std::optional<T> parse(std::string_view text) {
  T value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

template <typename F>
void each_word(std::string_view text, F f) {
  while (!text.empty()) {
    size_t comma = text.find(',');
    std::string_view word = text.substr(0, comma);
    text.remove_prefix(comma == std::string_view::npos ? text.size() : comma + 1);
    while (!word.empty() && (word.front() == ' ' || word.front() == '\t')) word.remove_prefix(1);
    while (!word.empty() && (word.back() == ' ' || word.back() == '\t')) word.remove_suffix(1);
    if (!word.empty()) f(word);
  }
}

constexpr uint32_t bit(RetryOn c) {
  return static_cast<uint32_t>(c);
}

// https://github.com/grpc/grpc/blob/master/doc/statuscodes.md
uint32_t bit_of_grpc_status(int status) {
  switch (status) {
    case 1:
      return bit(RetryOn::grpc_cancelled);
    case 4:
      return bit(RetryOn::grpc_deadline_exceeded);
    case 8:
      return bit(RetryOn::grpc_resource_exhausted);
    case 13:
      return bit(RetryOn::grpc_internal);
    case 14:
      return bit(RetryOn::grpc_unavailable);
    default:
      return 0;
  }
}

}  // namespace

std::optional<RetryState> RetryState::make(const model::RetryPolicy* policy, http::HeaderMap& request) {
  std::optional<RetryState> out;
  const uint32_t configured = policy ? policy->retry_on : 0;
  if (configured != 0 || request.has(Name::x_envoy_retry_on) || request.has(Name::x_envoy_retry_grpc_on)) {
    out.emplace(RetryState());
    RetryState& s = *out;
    s.policy_ = policy;
    s.retry_on_ = configured;
    static const model::RetryPolicy defaults;
    const model::RetryPolicy& p = policy ? *policy : defaults;
    s.remaining_ = p.num_retries;
    s.next_base_ = p.backoff_base;
    s.max_ = p.backoff_max;
    if (p.previous_priorities > 0)
      s.priorities_ = std::make_unique<PreviousPriorities>(p.previous_priorities);
    if (request.has(Name::x_envoy_retry_on))
      s.retry_on_ |= model::parse_retry_on(request.get(Name::x_envoy_retry_on)).bits;
    if (request.has(Name::x_envoy_retry_grpc_on))
      s.retry_on_ |= model::parse_retry_grpc_on(request.get(Name::x_envoy_retry_grpc_on)).bits;
    if (!p.retriable_request_headers.empty() &&
        std::ranges::none_of(p.retriable_request_headers,
                             [&](const model::HeaderMatcher& m) { return m.matches(request); })) {
      s.retry_on_ = 0;
    }
    if (s.retry_on_ != 0 && request.has(Name::x_envoy_max_retries))
      s.remaining_ = parse<uint32_t>(request.get(Name::x_envoy_max_retries)).value_or(s.remaining_);
    each_word(request.get(Name::x_envoy_retriable_status_codes), [&](std::string_view word) {
      if (auto code = parse<uint16_t>(word)) s.extra_codes_.push_back(*code);
    });
    each_word(request.get(Name::x_envoy_retriable_header_names),
              [&](std::string_view word) { s.extra_headers_.push_back(to_lower(word)); });
  }
  for (Name name : {Name::x_envoy_retry_on, Name::x_envoy_retry_grpc_on, Name::x_envoy_max_retries,
                    Name::x_envoy_hedge_on_per_try_timeout, Name::x_envoy_retriable_header_names,
                    Name::x_envoy_retriable_status_codes}) {
    if (request.has(name)) request.remove(name);
  }
  return out;
}

RetryState::RetryState(RetryState&& o) noexcept
    : policy_(o.policy_),
      retry_on_(o.retry_on_),
      remaining_(o.remaining_),
      retries_made_(o.retries_made_),
      next_base_(o.next_base_),
      max_(o.max_),
      backoff_(o.backoff_),
      rate_limited_(o.rate_limited_),
      extra_codes_(std::move(o.extra_codes_)),
      extra_headers_(std::move(o.extra_headers_)),
      tried_(std::move(o.tried_)),
      priorities_(std::move(o.priorities_)),
      holding_(std::move(o.holding_)),
      holding_priority_(o.holding_priority_) {}

RetryState::~RetryState() {
  release();
}

void RetryState::release() {
  if (auto c = std::exchange(holding_, nullptr)) c->release_retry(holding_priority_);
}

bool RetryState::wants(const http::HeaderMap& response, uint16_t status) const {
  auto on = [&](RetryOn c) { return (retry_on_ & bit(c)) != 0; };
  // It comes from another Envoy that limits rates: nothing else counts then.
  if (response.has(Name::x_envoy_ratelimited)) return on(RetryOn::envoy_ratelimited);
  if (on(RetryOn::server_error) && status >= 500 && status < 600) return true;
  if (on(RetryOn::gateway_error) && status >= 502 && status <= 504) return true;
  if (on(RetryOn::retriable_4xx) && status == 409) return true;
  if (on(RetryOn::retriable_status_codes)) {
    if (policy_ &&
        std::ranges::find(policy_->retriable_status_codes, status) != policy_->retriable_status_codes.end())
      return true;
    if (std::ranges::find(extra_codes_, status) != extra_codes_.end()) return true;
  }
  if (on(RetryOn::retriable_headers)) {
    if (policy_ && std::ranges::any_of(policy_->retriable_headers,
                                       [&](const model::HeaderMatcher& m) { return m.matches(response); }))
      return true;
    if (std::ranges::any_of(extra_headers_, [&](const std::string& n) { return response.has(n); }))
      return true;
  }
  if (response.has(Name::grpc_status)) {
    if (auto grpc = parse<int>(response.get(Name::grpc_status));
        grpc && (retry_on_ & bit_of_grpc_status(*grpc)))
      return true;
  }
  return false;
}

bool RetryState::wants(http::ResetReason reason, bool sent) const {
  auto on = [&](RetryOn c) { return (retry_on_ & bit(c)) != 0; };
  switch (reason) {
    case http::ResetReason::overflow:
      return false;  // the cluster's own limit: another try only adds to it
    case http::ResetReason::connection_failure:
    case http::ResetReason::connection_timeout:
      if (on(RetryOn::connect_failure)) return true;
      break;
    case http::ResetReason::remote_refused_stream:
      if (on(RetryOn::refused_stream)) return true;
      break;
    default:
      break;
  }
  if (on(RetryOn::reset)) return true;
  if (on(RetryOn::reset_before_request) && !sent) return true;
  // A reset becomes a 503 for the client: both of these count it.
  return on(RetryOn::server_error) || on(RetryOn::gateway_error);
}

RetryState::Verdict RetryState::on_response(const http::HeaderMap& response, uint16_t status,
                                            const std::shared_ptr<ext::HttpCluster>& cluster,
                                            ext::RoutingPriority priority, Random& random, WallTime wall) {
  const bool wanted = wants(response, status);
  if (wanted) rate_limited_ = reset_interval(response, wall);
  return decide(wanted, cluster, priority, random);
}

RetryState::Verdict RetryState::on_reset(http::ResetReason reason, bool sent,
                                         const std::shared_ptr<ext::HttpCluster>& cluster,
                                         ext::RoutingPriority priority, Random& random) {
  rate_limited_.reset();
  return decide(wants(reason, sent), cluster, priority, random);
}

RetryState::Verdict RetryState::decide(bool wanted, const std::shared_ptr<ext::HttpCluster>& cluster,
                                       ext::RoutingPriority priority, Random& random) {
  ext::HttpClusterStats& stats = cluster->http_stats();
  if (holding_ && !wanted) stats.upstream_rq_retry_success.add();
  release();
  if (!wanted) return Verdict::no;
  if (remaining_ == 0) {
    stats.upstream_rq_retry_limit_exceeded.add();
    return Verdict::exhausted;
  }
  --remaining_;
  if (!cluster->acquire_retry(priority)) {
    stats.upstream_rq_retry_overflow.add();
    return Verdict::overflow;
  }
  holding_ = cluster;
  holding_priority_ = priority;
  ++retries_made_;
  stats.upstream_rq_retry.add();
  auto below = [&](Duration d) {
    return d.count() <= 0 ? Duration{}
                          : Duration(static_cast<int64_t>(random.below(static_cast<uint64_t>(d.count()))));
  };
  if (rate_limited_) {
    backoff_ = *rate_limited_ + below(*rate_limited_ / 2);
    stats.upstream_rq_retry_backoff_ratelimited.add();
  } else {
    // Full jitter: anything up to the interval, which doubles.
    backoff_ = below(next_base_);
    next_base_ = std::min(next_base_ * 2, max_);
    stats.upstream_rq_retry_backoff_exponential.add();
  }
  return Verdict::yes;
}

std::optional<Duration> RetryState::reset_interval(const http::HeaderMap& response, WallTime wall) const {
  if (!policy_) return std::nullopt;
  for (const auto& header : policy_->reset_headers) {
    auto value = parse<uint64_t>(response.get(header.name));
    if (!value) continue;
    Duration interval;
    if (header.unix_timestamp) {
      auto now = static_cast<uint64_t>(
          std::chrono::duration_cast<std::chrono::seconds>(wall.time_since_epoch()).count());
      if (*value < now) continue;
      interval = std::chrono::seconds(std::min<uint64_t>(*value - now, UINT32_MAX));
    } else {
      interval = std::chrono::seconds(std::min<uint64_t>(*value, UINT32_MAX));
    }
    if (interval <= policy_->rate_limited_max) return interval;
  }
  return std::nullopt;
}

bool RetryState::avoids(const ext::UpstreamHost& host) const {
  if (!policy_) return false;
  if (policy_->omit_canary_hosts && host.canary()) return true;
  if (!policy_->omit_hosts_with.empty() && host.has_metadata(policy_->omit_hosts_with)) return true;
  return policy_->previous_hosts && std::ranges::find(tried_, host.address()) != tried_.end();
}

void RetryState::tried(const ext::UpstreamHost& host) {
  if (policy_ && policy_->previous_hosts) tried_.push_back(host.address());
  if (priorities_) priorities_->tried(host.priority());
}

}  // namespace sluice::extensions::router
