#include "extensions/filters/http/router/mirror.h"

#include <memory>
#include <string>
#include <utility>

#include "core/log.h"
#include "extensions/common/tracing.h"
#include "model/tracing.h"

namespace sluice::extensions::router {

using ext::ResponseFlag;
using http::Name;

namespace {

// "host-shadow:port" of "host:port", so that logs tell the copies (Envoy: ShadowWriterImpl).
std::string shadow_host(std::string_view host) {
  size_t colon = host.rfind(':');
  if (colon == std::string_view::npos || host.ends_with(']')) return std::string(host) + "-shadow";
  return std::string(host.substr(0, colon)) + "-shadow" + std::string(host.substr(colon));
}

class Mirror final : public io::Deferred, private ext::HttpTry::Callbacks, private http::StreamReceiver {
 public:
  Mirror(io::Loop& loop, std::shared_ptr<ext::HttpCluster> cluster, http::HeaderMapPtr headers, Buffer&& body,
         http::HeaderMapPtr trailers, std::unique_ptr<ext::Span> span, const ext::Cluster& names)
      : loop_(loop),
        cluster_(std::move(cluster)),
        headers_(std::move(headers)),
        body_(std::move(body)),
        trailers_(std::move(trailers)),
        span_(std::move(span)),
        timer_(loop.timers(), &on_timeout, this) {
    if (!span_) return;
    cluster_name_ = names.name();
    observability_name_ = names.observability_name();
  }

  void start(const ext::Upstream::Origin& origin, Duration timeout) {
    if (timeout.count() > 0) timer_.arm(loop_.now() + timeout);
    try_ = cluster_->make_try(origin, {.request = headers_.get()}, *this, *this);
    try_->start();
  }

 private:
  void on_ready(http::Stream& stream) override {
    const bool body = !body_.empty();
    stream.send_headers(*headers_, !body && !trailers_);
    if (body) stream.send_data(std::move(body_), !trailers_);
    if (trailers_) stream.send_trailers(*trailers_);
  }
  void on_failure(ext::Upstream::Failure failure, std::string_view) override {
    using Failure = ext::Upstream::Failure;
    fail(503, failure == Failure::no_healthy_host ? ResponseFlag::no_healthy_upstream
              : failure == Failure::overflow      ? ResponseFlag::upstream_overflow
                                                  : ResponseFlag::upstream_connection_failure);
  }
  void on_headers(http::HeaderMapPtr headers, bool end_stream) override {
    uint16_t status = 0;
    for (char c : headers->get(Name::status)) status = static_cast<uint16_t>(status * 10 + (c - '0'));
    try_->report_status(status);
    outcome_.status = status;
    cluster_->code_stats().all.charge(status);
    cluster_->code_stats().internal.charge(status);
    if (end_stream) complete();
  }
  void on_data(Buffer& data, bool end_stream) override {
    data.clear();
    if (end_stream) complete();
  }
  void on_trailers(http::HeaderMapPtr) override { complete(); }
  void on_reset(http::ResetReason, std::string_view) override {
    if (outcome_.status != 0) outcome_.reset = "Reset";
    fail(503, ResponseFlag::upstream_connection_termination);
  }
  static void on_timeout(io::Timer& timer) {
    Mirror& self = *timer.owner<Mirror>();
    self.cluster_->http_stats().upstream_rq_timeout.add();
    self.fail(504, ResponseFlag::upstream_request_timeout);
  }
  // What the proxy says instead of an answer, as far as that is seen: in the span.
  void fail(uint16_t status, ResponseFlag flag) {
    if (outcome_.status == 0) outcome_.status = status;
    outcome_.flags.set(flag);
    over();
  }
  void complete() {
    const Duration took = loop_.now() - started_;
    cluster_->code_stats().all.time(took);
    cluster_->code_stats().internal.time(took);
    over();
  }
  void over() {
    if (std::exchange(over_, true)) return;
    timer_.cancel();
    if (span_) finish_span();
    try_.reset();
    loop_.defer_delete(std::unique_ptr<io::Deferred>(this));
  }

  void finish_span() {
    static const model::TracingRules kNone;  // tags of the configuration are for requests and their tries
    ext::StreamInfo info;
    ext::HttpInfo http;
    info.http = &http;
    info.upstream_cluster = observability_name_;
    if (cluster_name_ != observability_name_) info.upstream_cluster_raw = cluster_name_;
    if (const ext::UpstreamHost* host = try_ ? try_->host() : nullptr) info.upstream_remote = host->address();
    outcome_.protocol = http::Protocol::http11;  // whatever it was: Envoy's AsyncClient says so
    finish_try_span(*span_, kNone, info, outcome_);
  }

  io::Loop& loop_;
  std::shared_ptr<ext::HttpCluster> cluster_;
  http::HeaderMapPtr headers_;
  Buffer body_;
  http::HeaderMapPtr trailers_;
  std::unique_ptr<ext::HttpTry> try_;
  std::unique_ptr<ext::Span> span_;  // null: it is not traced
  std::string cluster_name_, observability_name_;
  TryOutcome outcome_;
  io::Timer timer_;
  const MonotonicTime started_ = loop_.now();
  bool over_ = false;
};

}  // namespace

void mirror(ext::HttpFilterContext& context, std::string_view name, const model::MirrorPolicy& policy,
            const http::HeaderMap& headers, Buffer&& body, const http::HeaderMap* trailers, Duration timeout,
            std::string_view own_address) {
  ext::Cluster* cluster = context.clusters().find(name);
  ext::HttpCluster* http = cluster ? cluster->http() : nullptr;
  if (!http) {
    SLUICE_LOG(filter, debug, "shadow cluster '{}' does not exist", name);
    return;
  }
  http::HeaderMapPtr copy = http::copy_headers(headers);
  if (!policy.disable_shadow_host_suffix) copy->set(Name::authority, shadow_host(copy->get(Name::authority)));
  std::unique_ptr<ext::Span> span;
  if (const ext::StreamTracing* tracing = context.stream_info().http->tracing; tracing && tracing->span) {
    span = tracing->span->child("mirror");
    if (policy.trace_sampled) span->set_sampled(*policy.trace_sampled);
    span->inject(*copy);
  }
  // As from Envoy's AsyncClient: an internal request, and this proxy is who makes it.
  copy->set_static(Name::x_envoy_internal, "true");
  copy->append(Name::x_forwarded_for, own_address);
  auto* m = new Mirror(context.loop(), http->hold(), std::move(copy), std::move(body),
                       trailers ? http::copy_headers(*trailers) : nullptr, std::move(span),
                       *cluster);  // frees itself
  m->start(context.origin(), timeout);
}

}  // namespace sluice::extensions::router
