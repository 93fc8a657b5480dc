#include "extensions/filters/http/health_check/health_check.h"

#include <algorithm>
#include <atomic>

#include "http/status.h"
#include "sluice/ext/tracer.h"

namespace sluice::extensions::health_check {
namespace {

using http::HeaderMap;
using http::Name;

struct Stats {
  explicit Stats(const ext::HttpFilterScope& s) {
    auto counter = [&](const char* name) { return s.root.counter(s.stat_prefix + "health_check." + name); };
    request_total = counter("request_total");
    ok = counter("ok");
    failed = counter("failed");
    cached_response = counter("cached_response");
    degraded = counter("degraded");
    failed_cluster_empty = counter("failed_cluster_empty");
    failed_cluster_not_found = counter("failed_cluster_not_found");
    failed_cluster_unhealthy = counter("failed_cluster_unhealthy");
  }
  stats::Counter request_total, ok, failed, cached_response, degraded, failed_cluster_empty,
      failed_cluster_not_found, failed_cluster_unhealthy;
};

// The last answer that came from behind, shared by all workers; a torn pair would be of two true answers.
struct Cache {
  std::atomic<int64_t> good_until_ns{INT64_MIN};
  std::atomic<uint16_t> status{0};
  std::atomic<bool> degraded{false};
};

class HealthCheck final : public ext::HttpFilter {
 public:
  HealthCheck(const Settings& settings, Cache& cache, Stats& stats)
      : settings_(settings), cache_(cache), stats_(stats) {}
  void init(ext::HttpFilterContext& context) override { context_ = &context; }

  ext::HeadersStatus on_request_headers(HeaderMap& headers, bool end_stream) override {
    health_check_ = std::all_of(settings_.headers.begin(), settings_.headers.end(),
                                [&](const model::HeaderMatcher& m) { return m.matches(headers); });
    if (!health_check_) return ext::HeadersStatus::proceed;
    ext::HttpInfo& info = *context_->stream_info().http;
    info.health_check = true;
    if (info.tracing && info.tracing->span) info.tracing->span->set_sampled(false);
    handling_ = !settings_.pass_through || failing() || cached();
    if (!handling_) return ext::HeadersStatus::proceed;
    if (end_stream) answer();
    return ext::HeadersStatus::stop;
  }
  ext::DataStatus on_request_data(Buffer&, bool end_stream) override {
    if (!handling_) return ext::DataStatus::proceed;
    if (end_stream) answer();
    return ext::DataStatus::stop_no_buffer;
  }
  ext::TrailersStatus on_request_trailers(HeaderMap&) override {
    if (!handling_) return ext::TrailersStatus::proceed;
    answer();
    return ext::TrailersStatus::stop;
  }

  ext::HeadersStatus on_response_headers(HeaderMap& headers, bool) override {
    if (health_check_) {
      if (settings_.cache_time && !handling_) remember(headers);
      headers.set(Name::x_envoy_upstream_healthchecked_cluster, settings_.cluster_name);
    } else if (failing()) {
      headers.set_static(Name::x_envoy_immediate_health_check_fail, "true");
    }
    return ext::HeadersStatus::proceed;
  }

 private:
  // Connections that end because their filter chain has changed say nothing of the process.
  bool failing() const { return context_->health_check_failed(); }
  bool cached() const {
    return settings_.cache_time && context_->loop().now().time_since_epoch().count() <
                                       cache_.good_until_ns.load(std::memory_order_acquire);
  }

  void remember(const HeaderMap& headers) {
    cache_.status.store(http::status_of(headers), std::memory_order_relaxed);
    cache_.degraded.store(headers.has(Name::x_envoy_degraded), std::memory_order_relaxed);
    cache_.good_until_ns.store((context_->loop().now() + *settings_.cache_time).time_since_epoch().count(),
                               std::memory_order_release);
  }

  // Sets %RESPONSE_CODE_DETAILS%.
  uint16_t ask_clusters(std::string_view& details) {
    auto failed = [&](stats::Counter& counter, std::string_view why) {
      counter.add();
      details = why;
      return uint16_t{503};
    };
    for (const auto& [name, percent] : settings_.cluster_min_healthy) {
      const ext::Cluster* cluster = context_->clusters().find(name);
      if (cluster == nullptr)
        return failed(stats_.failed_cluster_not_found, "health_check_failed_no_cluster_found");
      const auto minimum = static_cast<uint64_t>(percent);
      const ext::Cluster::Membership hosts = cluster->membership();
      if (hosts.total == 0) {
        if (minimum == 0) continue;
        return failed(stats_.failed_cluster_empty, "health_check_failed_cluster_empty");
      }
      if (100 * (hosts.healthy + hosts.degraded) < hosts.total * minimum)
        return failed(stats_.failed_cluster_unhealthy, "health_check_failed_cluster_unhealthy");
    }
    details = "health_check_ok_cluster_healthy";
    return 200;
  }

  void answer() {
    stats_.request_total.add();
    uint16_t status = 200;
    bool degraded = false;
    std::string_view details = "health_check_ok";
    if (failing()) {
      status = 503;
      details = "health_check_failed";
    } else if (cached()) {
      status = cache_.status.load(std::memory_order_relaxed);
      degraded = cache_.degraded.load(std::memory_order_relaxed);
      details = "health_check_cached";
      stats_.cached_response.add();
    } else if (!settings_.cluster_min_healthy.empty()) {
      status = ask_clusters(details);
    }
    if (degraded) stats_.degraded.add();
    const bool ok = status >= 200 && status < 300;
    (ok ? stats_.ok : stats_.failed).add();
    if (!ok) context_->stream_info().flags.set(ext::ResponseFlag::failed_local_health_check);
    context_->send_local_reply({.status = status, .details = details, .modify = [=](HeaderMap& headers) {
                                  if (degraded) headers.set_static(Name::x_envoy_degraded, "");
                                }});
  }

  const Settings& settings_;
  Cache& cache_;
  Stats& stats_;
  ext::HttpFilterContext* context_ = nullptr;
  bool health_check_ = false;
  bool handling_ = false;  // answered here
};

}  // namespace

ext::HttpFilterFactory make_factory(Settings settings) {
  auto shared = std::make_shared<const Settings>(std::move(settings));
  auto cache = std::make_shared<Cache>();
  return [=](const ext::HttpFilterScope& scope) -> ext::HttpFilterMaker {
    auto stats = std::make_shared<Stats>(scope);
    return [=] { return std::make_unique<HealthCheck>(*shared, *cache, *stats); };
  };
}

}  // namespace sluice::extensions::health_check
