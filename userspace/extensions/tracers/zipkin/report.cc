#include "extensions/tracers/zipkin/report.h"

#include <utility>

#include "core/log.h"
#include "extensions/common/async_request.h"

namespace sluice::extensions::zipkin {

using http::Name;

namespace {

constexpr auto kTimeout = std::chrono::milliseconds(5000);  // tracing.zipkin.request_timeout

// One POST. As with Envoy's AsyncClient a request that gets no answer counts as answered by the proxy itself (503, 504):
// its spans are dropped. Failed is what breaks off behind the head of an answer.
class Report final : public AsyncRequest {
 public:
  Report(io::Loop& loop, std::shared_ptr<ext::HttpCluster> cluster, Message&& message, const Stats& stats)
      : AsyncRequest(loop, std::move(cluster), std::move(message)), stats_(stats) {}

 private:
  void on_complete() override { (status() == 202 ? stats_.reports_sent : stats_.reports_dropped).add(); }
  void on_broken(uint16_t local, ext::ResponseFlag, std::string_view reason) override {
    if (status() != 0) return stats_.reports_failed.add();
    if (!reason.empty()) SLUICE_LOG(filter, debug, "zipkin: spans cannot be sent: {}", reason);
    charge(local);
    stats_.reports_dropped.add();
  }

  Stats stats_;
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
  mark_internal(*headers, config.own_address);
  headers->set_integer(Name::x_envoy_expected_rq_timeout_ms, kTimeout.count());
  Buffer body;
  body.append(loop.blocks(), text);
  auto* report =
      new Report(loop, std::move(cluster), {.headers = std::move(headers), .body = std::move(body)},
                 stats);  // frees itself
  report->start({}, kTimeout);
}

}  // namespace sluice::extensions::zipkin
