#include "extensions/tracers/zipkin/report.h"

#include <charconv>
#include <utility>

#include "core/log.h"

namespace sluice::extensions::zipkin {

using http::Name;

namespace {

constexpr auto kTimeout = std::chrono::milliseconds(5000);  // tracing.zipkin.request_timeout

// One POST. As with Envoy's AsyncClient a request that gets no answer counts as answered by the proxy itself (503, 504):
// its spans are dropped. Failed is what breaks off behind the head of an answer.
class Report final : public io::Deferred, private ext::HttpTry::Callbacks, private http::StreamReceiver {
 public:
  Report(io::Loop& loop, std::shared_ptr<ext::HttpCluster> cluster, http::HeaderMapPtr headers, Buffer&& body,
         const Stats& stats)
      : loop_(loop),
        cluster_(std::move(cluster)),
        headers_(std::move(headers)),
        body_(std::move(body)),
        stats_(stats),
        timer_(loop.timers(), &on_timeout, this) {}

  void start() {
    timer_.arm(loop_.now() + kTimeout);
    try_ = cluster_->make_try({}, {.request = headers_.get()}, *this, *this);
    try_->start();
  }

 private:
  void on_ready(http::Stream& stream) override {
    stream.send_headers(*headers_, false);
    stream.send_data(std::move(body_), true);
  }
  void on_failure(ext::Upstream::Failure, std::string_view reason) override {
    SLUICE_LOG(filter, debug, "zipkin: spans cannot be sent: {}", reason);
    charge(503);
    over();
  }
  void on_headers(http::HeaderMapPtr headers, bool end_stream) override {
    const std::string_view text = headers->get(Name::status);
    std::from_chars(text.data(), text.data() + text.size(), status_);
    try_->report_status(status_);
    charge(status_);
    if (end_stream) over();
  }
  void on_data(Buffer& data, bool end_stream) override {
    data.clear();
    if (end_stream) over();
  }
  void on_trailers(http::HeaderMapPtr) override { over(); }
  void on_reset(http::ResetReason, std::string_view) override { broken(503); }
  static void on_timeout(io::Timer& timer) {
    Report& self = *timer.owner<Report>();
    self.cluster_->http_stats().upstream_rq_timeout.add();
    self.broken(504);
  }
  void broken(uint16_t status) {
    failed_ = status_ != 0;
    if (!failed_) charge(status);
    over();
  }
  void charge(uint16_t status) {
    cluster_->code_stats().all.charge(status);
    cluster_->code_stats().internal.charge(status);
  }
  void over() {
    if (std::exchange(over_, true)) return;
    (failed_ ? stats_.reports_failed : status_ == 202 ? stats_.reports_sent : stats_.reports_dropped).add();
    timer_.cancel();
    try_.reset();
    loop_.defer_delete(std::unique_ptr<io::Deferred>(this));
  }

  io::Loop& loop_;
  std::shared_ptr<ext::HttpCluster> cluster_;
  http::HeaderMapPtr headers_;
  Buffer body_;
  Stats stats_;
  std::unique_ptr<ext::HttpTry> try_;
  io::Timer timer_;
  uint16_t status_ = 0;
  bool failed_ = false, over_ = false;
};

}  // namespace

void post(io::Loop& loop, std::shared_ptr<ext::HttpCluster> cluster, const Config& config, const Stats& stats,
          std::string_view text) {
  http::HeaderMapPtr headers = http::make_headers();
  headers->set_static(Name::method, "POST");
  headers->set(Name::path, config.path);
  headers->set(Name::authority, config.host);
  headers->set_static(Name::scheme, "http");
  headers->set_static(Name::content_type, "application/json");
  // As from Envoy's AsyncClient: an internal request, and this proxy is who makes it.
  headers->set_static(Name::x_envoy_internal, "true");
  headers->set(Name::x_forwarded_for, config.own_address);
  headers->set_integer(Name::x_envoy_expected_rq_timeout_ms, kTimeout.count());
  Buffer body;
  body.append(loop.blocks(), text);
  auto* report =
      new Report(loop, std::move(cluster), std::move(headers), std::move(body), stats);  // frees itself
  report->start();
}

}  // namespace sluice::extensions::zipkin
