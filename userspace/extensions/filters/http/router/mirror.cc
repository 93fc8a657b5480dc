#include "extensions/filters/http/router/mirror.h"

#include <memory>
#include <string>
#include <utility>

#include "core/log.h"

namespace sluice::extensions::router {

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
         http::HeaderMapPtr trailers)
      : loop_(loop),
        cluster_(std::move(cluster)),
        headers_(std::move(headers)),
        body_(std::move(body)),
        trailers_(std::move(trailers)),
        timer_(loop.timers(), &on_timeout, this) {}

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
  void on_failure(ext::Upstream::Failure, std::string_view) override { over(); }
  void on_headers(http::HeaderMapPtr headers, bool end_stream) override {
    uint16_t status = 0;
    for (char c : headers->get(Name::status)) status = static_cast<uint16_t>(status * 10 + (c - '0'));
    try_->report_status(status);
    cluster_->code_stats().all.charge(status);
    cluster_->code_stats().internal.charge(status);
    if (end_stream) complete();
  }
  void on_data(Buffer& data, bool end_stream) override {
    data.clear();
    if (end_stream) complete();
  }
  void on_trailers(http::HeaderMapPtr) override { complete(); }
  void on_reset(http::ResetReason, std::string_view) override { over(); }
  static void on_timeout(io::Timer& timer) {
    Mirror& self = *timer.owner<Mirror>();
    self.cluster_->http_stats().upstream_rq_timeout.add();
    self.over();
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
    try_.reset();
    loop_.defer_delete(std::unique_ptr<io::Deferred>(this));
  }

  io::Loop& loop_;
  std::shared_ptr<ext::HttpCluster> cluster_;
  http::HeaderMapPtr headers_;
  Buffer body_;
  http::HeaderMapPtr trailers_;
  std::unique_ptr<ext::HttpTry> try_;
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
  // As from Envoy's AsyncClient: an internal request, and this proxy is who makes it.
  copy->set_static(Name::x_envoy_internal, "true");
  copy->append(Name::x_forwarded_for, own_address);
  auto* m = new Mirror(context.loop(), http->hold(), std::move(copy), std::move(body),
                       trailers ? http::copy_headers(*trailers) : nullptr);  // frees itself
  m->start(context.origin(), timeout);
}

}  // namespace sluice::extensions::router
