#include "extensions/filters/http/router/mirror.h"

#include <memory>
#include <string>
#include <utility>

#include "core/log.h"
#include "extensions/common/async_request.h"
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

class Mirror final : public AsyncRequest {
 public:
  Mirror(io::Loop& loop, const ext::Cluster& cluster, std::shared_ptr<ext::HttpCluster> http,
         Message&& message, std::unique_ptr<ext::Span> span)
      : AsyncRequest(loop, std::move(http), std::move(message)), span_(std::move(span)) {
    if (!span_) return;
    cluster_name_ = cluster.name();
    observability_name_ = cluster.observability_name();
  }

 private:
  void on_complete() override {
    cluster_->code_stats().all.time(age());
    cluster_->code_stats().internal.time(age());
    if (span_) finish_span({.status = status()});
  }
  // What the proxy says instead of an answer is seen in the span alone.
  void on_broken(uint16_t local, ResponseFlag flag, std::string_view) override {
    if (!span_) return;
    TryOutcome outcome{.status = status() != 0 ? status() : local};
    outcome.flags.set(flag);
    if (status() != 0 && flag == ResponseFlag::upstream_connection_termination) outcome.reset = "Reset";
    finish_span(std::move(outcome));
  }

  void finish_span(TryOutcome outcome) {
    static const model::TracingRules kNone;  // tags of the configuration are for requests and their tries
    ext::StreamInfo info;
    ext::HttpInfo http;
    info.http = &http;
    info.upstream_cluster = observability_name_;
    if (cluster_name_ != observability_name_) info.upstream_cluster_raw = cluster_name_;
    if (host()) info.upstream_remote = host()->address();
    outcome.protocol = http::Protocol::http11;  // whatever it was: Envoy's AsyncClient says so
    finish_try_span(*span_, kNone, info, outcome);
  }

  std::unique_ptr<ext::Span> span_;  // null: it is not traced
  std::string cluster_name_, observability_name_;
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
  mark_internal(*copy, own_address);
  auto* m = new Mirror(context.loop(), *cluster, http->hold(),
                       {.headers = std::move(copy),
                        .body = std::move(body),
                        .trailers = trailers ? http::copy_headers(*trailers) : nullptr},
                       std::move(span));  // frees itself
  m->start(context.origin(), timeout);
}

}  // namespace sluice::extensions::router
