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
  std::shared_ptr<TokenBucket> get(uint64_t connection, const Settings& s, MonotonicTime now) {
    if (buckets_.size() >= sweep_at_) {
      std::erase_if(buckets_, [&](const auto& entry) { return entry.second->full(now); });
      sweep_at_ = std::max<size_t>(64, 2 * buckets_.size());
    }
    auto& bucket = buckets_[{connection, &s}];
    if (!bucket)
      bucket = std::make_shared<TokenBucket>(s.bucket->max_tokens, s.bucket->per_fill, s.bucket->interval);
    return bucket;
  }

 private:
  std::map<std::pair<uint64_t, const Settings*>, std::shared_ptr<TokenBucket>> buckets_;
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
    if (const auto* route = static_cast<const Settings*>(context_->route_config())) settings_ = route;
    if (!settings_->enabled.hit(context_->random().next())) return proceed;
    Stats& stats = shared_.stats_of(settings_->stat_prefix);
    stats.enabled.add();
    if (take()) {
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

  bool take() {
    if (!settings_->bucket) return true;
    MonotonicTime now = context_->loop().now();
    x_ratelimit_headers_ = settings_->x_ratelimit_headers;
    bucket_ = settings_->per_connection
                  ? shared_.connections.get(context_->stream_info().connection_id, *settings_, now)
                  : settings_->shared;
    return bucket_->take(now);
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
