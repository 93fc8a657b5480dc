#include "extensions/filters/http/fault/fault.h"

#include <algorithm>
#include <charconv>

#include "core/log.h"
#include "io/timers.h"
#include "model/route.h"

namespace sluice::extensions::fault {
namespace {

using http::HeaderMap;
using http::Name;

template <typename T>
std::optional<T> number(std::string_view text) {
  T value{};
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// On one worker. Faults in progress are counted over all of them: max_active_faults is the process's.
struct Shared {
  Shared(const ext::HttpFilterScope& s, std::shared_ptr<std::atomic<uint32_t>> in_progress)
      : root(s.root),
        prefix(s.stat_prefix + "fault."),
        aborts_injected(root.counter(prefix + "aborts_injected")),
        delays_injected(root.counter(prefix + "delays_injected")),
        faults_overflow(root.counter(prefix + "faults_overflow")),
        response_rl_injected(root.counter(prefix + "response_rl_injected")),
        active_faults(root.gauge(prefix + "active_faults")),
        active(std::move(in_progress)) {}
  stats::Scope root;
  std::string prefix;
  stats::Counter aborts_injected, delays_injected, faults_overflow, response_rl_injected;
  stats::Gauge active_faults;
  std::shared_ptr<std::atomic<uint32_t>> active;
};

class Fault final : public ext::HttpFilter {
 public:
  Fault(const Settings& settings, Shared& shared) : settings_(&settings), shared_(shared) {}

  void init(ext::HttpFilterContext& context) override { context_ = &context; }

  ext::HeadersStatus on_request_headers(HeaderMap& headers, bool) override {
    if (const auto* route = dynamic_cast<const Settings*>(context_->route_config())) settings_ = route;
    if (!concerns(headers)) return ext::HeadersStatus::proceed;
    if (settings_->downstream_cluster_stats)
      downstream_cluster_ = headers.get(Name::x_envoy_downstream_service_cluster);
    slow_down(headers);
    // What the headers ask for is decided now; the abort comes after the delay.
    decide_abort(headers);
    if (Duration d = delay(headers); d > Duration{}) {
      begin_delay(d);
      return ext::HeadersStatus::stop;
    }
    if (!aborting_) return ext::HeadersStatus::proceed;
    abort();
    return ext::HeadersStatus::stop;
  }

  ext::DataStatus on_request_data(Buffer&, bool) override {
    return delaying() ? ext::DataStatus::stop_and_watermark : ext::DataStatus::proceed;
  }
  ext::TrailersStatus on_request_trailers(HeaderMap&) override {
    return delaying() ? ext::TrailersStatus::stop : ext::TrailersStatus::proceed;
  }

  // The body waits with the manager, which stops reading when that is too much; the timer lets it go in portions.
  ext::DataStatus on_response_data(Buffer&, bool) override {
    if (!rate_) return ext::DataStatus::proceed;
    if (!rate_->timer.armed()) rate_->timer.arm(context_->loop().now());
    return ext::DataStatus::stop_and_watermark;
  }
  ext::TrailersStatus on_response_trailers(HeaderMap&) override {
    if (!rate_ || context_->buffered_response().empty()) return ext::TrailersStatus::proceed;
    return ext::TrailersStatus::stop;
  }

  void on_end() override {
    timer_.reset();
    rate_.reset();
    if (!counted_) return;
    shared_.active_faults.sub();
    shared_.active->fetch_sub(1, std::memory_order_relaxed);
  }

 private:
  bool delaying() const { return timer_ && timer_->armed(); }

  bool concerns(const HeaderMap& headers) {
    if (settings_->max_active_faults &&
        shared_.active->load(std::memory_order_relaxed) >= *settings_->max_active_faults) {
      shared_.faults_overflow.add();
      return false;
    }
    if (!settings_->upstream_cluster.empty()) {
      const model::RouteMatch* route = context_->route();
      if (!route || !route->action() || route->cluster != settings_->upstream_cluster) return false;
    }
    const auto& nodes = settings_->downstream_nodes;
    if (!nodes.empty() && std::find(nodes.begin(), nodes.end(),
                                    headers.get(Name::x_envoy_downstream_service_node)) == nodes.end())
      return false;
    return std::all_of(settings_->headers.begin(), settings_->headers.end(),
                       [&](const model::HeaderMatcher& m) { return m.matches(headers); });
  }

  // A header may lower the share, never raise it: anybody can send it.
  bool hit(const Share& share, const HeaderMap& headers, std::string_view header) {
    model::Fraction f = share.fraction;
    if (share.from_header) {
      if (auto asked = number<uint32_t>(headers.get(header))) f.numerator = std::min(f.numerator, *asked);
    }
    return f.hit(context_->random().next());
  }

  Duration delay(const HeaderMap& headers) {
    if (!settings_->delay || !hit(*settings_->delay, headers, "x-envoy-fault-delay-request-percentage"))
      return {};
    if (!settings_->delay->from_header) return settings_->delay->fixed;
    auto ms = number<uint32_t>(headers.get("x-envoy-fault-delay-request"));
    return std::chrono::milliseconds(ms.value_or(0));
  }

  void decide_abort(const HeaderMap& headers) {
    if (!settings_->abort || !hit(*settings_->abort, headers, "x-envoy-fault-abort-request-percentage"))
      return;
    http_status_ = settings_->abort->http_status;
    grpc_status_ = settings_->abort->grpc_status;
    if (settings_->abort->from_header) {
      auto status = number<uint32_t>(headers.get("x-envoy-fault-abort-request"));
      if (status && *status >= 200 && *status < 600) http_status_ = static_cast<uint16_t>(*status);
      if (!http_status_) grpc_status_ = number<uint32_t>(headers.get("x-envoy-fault-abort-grpc-request"));
    }
    aborting_ = http_status_ || grpc_status_;
  }

  void begin_delay(Duration d) {
    SLUICE_LOG(filter, debug, "[C{}] fault: delay of {} ms", context_->stream_info().connection_id,
               d.count() / 1'000'000);
    timer_.emplace(context_->loop().timers(), &Fault::delay_over, this);
    timer_->arm(context_->loop().now() + d);
    count(shared_.delays_injected, "delays_injected");
    context_->stream_info().flags.set(ext::ResponseFlag::delay_injected);
  }

  void slow_down(const HeaderMap& headers) {
    const auto& limit = settings_->response_rate_limit;
    if (!limit) return;
    uint64_t kilobytes = limit->kilobytes;
    if (limit->from_header)
      kilobytes = number<uint64_t>(headers.get("x-envoy-fault-throughput-response")).value_or(0);
    if (kilobytes == 0 || !hit(*limit, headers, "x-envoy-fault-throughput-response-percentage")) return;
    count(shared_.response_rl_injected, "");
    rate_.emplace(*this, static_cast<double>(kilobytes) * 1024);
  }

  static void portion_due(io::Timer& timer) {
    Fault& f = *timer.owner<Fault>();
    Rate& rate = *f.rate_;
    const MonotonicTime now = f.context_->loop().now();
    const double seconds = std::chrono::duration<double>(now - std::exchange(rate.filled, now)).count();
    rate.tokens = std::min(rate.per_second, rate.tokens + seconds * rate.per_second);
    const size_t waiting = f.context_->buffered_response().size();
    const size_t portion = std::min(waiting, static_cast<size_t>(rate.tokens));
    rate.tokens -= static_cast<double>(portion);
    if (portion == waiting) return f.context_->continue_response();  // with the end, if it is there
    timer.arm(now + kPortion);
    if (portion > 0) f.context_->release_response(portion);
  }

  static void delay_over(io::Timer& timer) {
    Fault& f = *timer.owner<Fault>();
    if (f.aborting_)
      f.abort();
    else
      f.context_->continue_request();
  }

  void abort() {
    count(shared_.aborts_injected, "aborts_injected");
    context_->stream_info().flags.set(ext::ResponseFlag::fault_injected);
    context_->send_local_reply({.status = http_status_.value_or(200),
                                .body = "fault filter abort",
                                .details = "fault_filter_abort",
                                .grpc_status = grpc_status_});
  }

  void count(stats::Counter& counter, std::string_view name) {
    if (!downstream_cluster_.empty() && !name.empty())
      shared_.root.counter(shared_.prefix + downstream_cluster_ + "." + std::string(name)).add();
    counter.add();
    if (std::exchange(counted_, true)) return;
    shared_.active_faults.add();
    shared_.active->fetch_add(1, std::memory_order_relaxed);
  }

  static constexpr Duration kPortion = std::chrono::milliseconds(50);
  // Of the response. A bucket that holds a second's worth of bytes, and a portion's at first.
  struct Rate {
    Rate(Fault& f, double bytes)
        : per_second(bytes),
          tokens(bytes * 0.05),
          filled(f.context_->loop().now()),
          timer(f.context_->loop().timers(), &Fault::portion_due, &f) {}
    double per_second, tokens;
    MonotonicTime filled;
    io::Timer timer;
  };

  const Settings* settings_;  // the filter's, or the route's
  Shared& shared_;
  ext::HttpFilterContext* context_ = nullptr;
  std::optional<io::Timer> timer_;
  std::optional<Rate> rate_;
  std::string downstream_cluster_;
  std::optional<uint16_t> http_status_;
  std::optional<uint32_t> grpc_status_;
  bool aborting_ = false;
  bool counted_ = false;  // among the active faults
};

}  // namespace

ext::HttpFilterFactory make_factory(std::shared_ptr<const Settings> settings) {
  auto active = std::make_shared<std::atomic<uint32_t>>(0);
  return [=](const ext::HttpFilterScope& scope) -> ext::HttpFilterMaker {
    auto shared = std::make_shared<Shared>(scope, active);
    return [=] { return std::make_unique<Fault>(*settings, *shared); };
  };
}

}  // namespace sluice::extensions::fault
