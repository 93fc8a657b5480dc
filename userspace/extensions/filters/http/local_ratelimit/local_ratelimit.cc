#include "extensions/filters/http/local_ratelimit/local_ratelimit.h"

#include <algorithm>
#include <map>

namespace sluice::extensions::local_ratelimit {
namespace {

using http::HeaderMap;

struct Stats {
  // Of the process, not of the connection manager, as in Envoy.
  Stats(const stats::Scope& root, const std::string& prefix)
      : enabled(root.counter(prefix + ".http_local_rate_limit.enabled")),
        enforced(root.counter(prefix + ".http_local_rate_limit.enforced")),
        ok(root.counter(prefix + ".http_local_rate_limit.ok")),
        rate_limited(root.counter(prefix + ".http_local_rate_limit.rate_limited")) {
    root.counter(prefix +
                 ".http_local_rate_limit.shadow_mode");  // Envoy shows it, too; descriptors alone count there
  }
  stats::Counter enabled, enforced, ok, rate_limited;
};

// The buckets of single connections, on one worker. One that has filled up again is as good as none: such are dropped
// whenever the table has doubled, so that it holds no more than twice what is in use.
class ConnectionBuckets {
 public:
  const Limiter& get(uint64_t connection, const Settings& s, MonotonicTime now) {
    if (limiters_.size() >= sweep_at_) {
      std::erase_if(limiters_, [&](const auto& entry) { return entry.second->full(now); });
      sweep_at_ = std::max<size_t>(64, 2 * limiters_.size());
    }
    auto& limiter = limiters_[{connection, &s}];
    if (!limiter) limiter = std::make_unique<Limiter>(s.bucket, s.descriptors, s.always_default);
    return *limiter;
  }

 private:
  std::map<std::pair<uint64_t, const Settings*>, std::unique_ptr<Limiter>> limiters_;
  size_t sweep_at_ = 64;
};

// Of one worker.
struct Shared {
  explicit Shared(const stats::Scope& s) : root(s) {}
  Stats& stats_of(const std::string& prefix) {
    auto it = stats.find(prefix);
    if (it == stats.end()) it = stats.emplace(prefix, Stats(root, prefix)).first;
    return it->second;
  }
  stats::Scope root;
  std::map<std::string, Stats> stats;  // routes have prefixes of their own
  ConnectionBuckets connections;
};

class LocalRateLimit final : public ext::HttpFilter {
 public:
  LocalRateLimit(const Settings& settings, Shared& shared) : settings_(&settings), shared_(shared) {}
  void init(ext::HttpFilterContext& context) override { context_ = &context; }

  ext::HeadersStatus on_request_headers(HeaderMap& headers, bool) override {
    using enum ext::HeadersStatus;
    if (const auto* route = dynamic_cast<const Settings*>(context_->route_config())) settings_ = route;
    if (!settings_->enabled.hit(context_->random().next())) return proceed;
    Stats& stats = shared_.stats_of(settings_->stat_prefix);
    stats.enabled.add();
    if (take(headers)) {
      stats.ok.add();
      return proceed;
    }
    stats.rate_limited.add();
    if (!settings_->enforced.hit(context_->random().next())) {
      settings_->request_headers_when_not_enforced.apply(headers, context_->stream_info());
      return proceed;
    }
    stats.enforced.add();
    context_->stream_info().flags.set(ext::ResponseFlag::rate_limited);
    context_->send_local_reply({.status = settings_->status,
                                .body = "local_rate_limited",
                                .details = "local_rate_limited",
                                .grpc_status = settings_->resource_exhausted
                                                   ? std::optional<uint32_t>(kResourceExhausted)
                                                   : std::nullopt,
                                .modify = [this](HeaderMap& response) {
                                  settings_->response_headers.apply(response, context_->stream_info());
                                }});
    return stop;
  }

  ext::HeadersStatus on_response_headers(HeaderMap& headers, bool) override {
    if (bucket_ && x_ratelimit_headers_) {
      MonotonicTime now = context_->loop().now();
      headers.add("x-ratelimit-limit", std::to_string(bucket_->max_tokens()));
      headers.add("x-ratelimit-remaining", std::to_string(bucket_->remaining(now)));
      auto reset = std::chrono::ceil<std::chrono::seconds>(bucket_->next(now)).count();
      headers.add("x-ratelimit-reset", std::to_string(reset));
    }
    return ext::HeadersStatus::proceed;
  }

 private:
  static constexpr uint32_t kResourceExhausted = 8;

  bool take(const HeaderMap& headers) {
    if (!settings_->bucket && settings_->descriptors.empty()) return true;
    MonotonicTime now = context_->loop().now();
    x_ratelimit_headers_ = settings_->x_ratelimit_headers;
    const Limiter& limiter =
        settings_->per_connection
            ? shared_.connections.get(context_->stream_info().connection_id, *settings_, now)
            : *settings_->shared;
    Limiter::Answer answer = limiter.ask(descriptors(headers), now);
    bucket_ = std::move(answer.bucket);
    return answer.allowed;
  }

  std::vector<Limiter::Asked> descriptors(const HeaderMap& headers) {
    std::vector<Limiter::Asked> out;
    if (settings_->descriptors.empty()) return out;
    const model::RouteMatch* route = context_->route();
    const model::RouteAction* action =
        route != nullptr && route->route != nullptr ? route->action() : nullptr;
    const model::RateLimitInput input{.headers = headers,
                                      .remote = context_->stream_info().downstream_remote,
                                      .source_cluster = settings_->node_cluster,
                                      .destination_cluster = action != nullptr ? route->cluster : "",
                                      .metadata = context_->stream_info().dynamic_metadata.get()};
    auto add = [&](const std::vector<model::RateLimit>& limits) {
      for (const model::RateLimit& limit : limits) {
        Limiter::Asked made{.descriptor = {}, .hits = limit.hits};
        if (limit.stage == settings_->stage && model::describe(limit, input, made.descriptor))
          out.push_back(std::move(made));
      }
    };
    if (!settings_->rate_limits.empty()) {
      add(settings_->rate_limits);
      return out;
    }
    if (action == nullptr) return out;
    add(*action->rate_limits);
    const bool host =
        action->include_host_rate_limits || settings_->host_limits == Settings::HostLimits::include ||
        (settings_->host_limits == Settings::HostLimits::override && action->rate_limits->empty());
    if (host && route->virtual_host != nullptr) add(*route->virtual_host->rate_limits);
    return out;
  }

  const Settings* settings_;  // the filter's, or the route's
  Shared& shared_;
  ext::HttpFilterContext* context_ = nullptr;
  std::shared_ptr<TokenBucket> bucket_;  // the one that was asked
  bool x_ratelimit_headers_ = false;
};

}  // namespace

ext::HttpFilterFactory make_factory(std::shared_ptr<const Settings> settings) {
  return [=](const ext::HttpFilterScope& scope) -> ext::HttpFilterMaker {
    auto shared = std::make_shared<Shared>(scope.root);
    shared->stats_of(settings->stat_prefix);
    return [=] { return std::make_unique<LocalRateLimit>(*settings, *shared); };
  };
}

}  // namespace sluice::extensions::local_ratelimit
