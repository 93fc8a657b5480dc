#include "extensions/tracers/zipkin/collector.h"

#include <map>
#include <utility>

#include "core/log.h"
#include "extensions/tracers/zipkin/report.h"

namespace sluice::extensions::zipkin {
namespace {

// Envoy's runtime keys tracing.zipkin.min_flush_spans and flush_interval_ms, by their defaults.
constexpr uint32_t kFlushSpans = 5;
constexpr auto kFlushInterval = std::chrono::milliseconds(5000);

class ZipkinTracer final : public ext::Tracer {
 public:
  explicit ZipkinTracer(std::shared_ptr<Collector> collector) : collector_(std::move(collector)) {}

  std::unique_ptr<ext::Span> start(const ext::SpanStart& in, std::string_view operation) override {
    const Extracted found = extract(in.request);
    if (found.broken) return nullptr;
    const ZipkinSpan::Start start{.time = in.time,
                                  .sampled = found.sampled.value_or(in.sampled),
                                  .decides_itself = !found.sampled && !found.context,
                                  .single_header = found.single_header,
                                  .hop = in.tries_have_spans || collector_->config().split_spans,
                                  .egress = in.egress};
    auto span = std::make_unique<ZipkinSpan>(collector_, start, operation);
    if (found.context)
      span->join(*found.context, false);
    else
      span->begin_trace();
    return span;
  }

 private:
  std::shared_ptr<Collector> collector_;
};

// Connection managers with one configuration share their collector, as in Envoy; a thread may have several loops in tests.
std::shared_ptr<Collector> shared_collector(const std::shared_ptr<const Config>& config, const Stats& stats,
                                            const ext::TracerContext& context) {
  thread_local std::map<std::pair<io::Loop*, std::string>, std::weak_ptr<Collector>> collectors;
  std::erase_if(collectors, [](const auto& entry) { return entry.second.expired(); });
  std::weak_ptr<Collector>& known = collectors[{&context.loop, config->key}];
  auto collector = known.lock();
  if (!collector) known = collector = std::make_shared<Collector>(config, stats, context);
  return collector;
}

}  // namespace

Stats::Stats(const stats::Scope& root) {
  const stats::Scope s = root.scope("tracing").scope("zipkin");
  spans_sent = s.counter("spans_sent");
  timer_flushed = s.counter("timer_flushed");
  reports_skipped_no_cluster = s.counter("reports_skipped_no_cluster");
  reports_sent = s.counter("reports_sent");
  reports_dropped = s.counter("reports_dropped");
  reports_failed = s.counter("reports_failed");
}

Collector::Collector(std::shared_ptr<const Config> config, const Stats& stats,
                     const ext::TracerContext& context)
    : config_(std::move(config)),
      stats_(stats),
      loop_(context.loop),
      random_(context.random),
      clusters_(context.clusters),
      timer_(loop_.timers(), &on_timer, this) {
  timer_.arm(loop_.now() + kFlushInterval);
}

void Collector::on_timer(io::Timer& timer) {
  Collector& self = *timer.owner<Collector>();
  self.stats_.timer_flushed.add();
  self.flush();
  timer.arm(self.loop_.now() + kFlushInterval);
}

void Collector::add(SpanRecord&& span) {
  body_ += body_.empty() ? '[' : ',';
  append_json(span, config_->service, config_->own_address, body_);
  if (++pending_ == kFlushSpans) flush();
}

void Collector::flush() {
  if (pending_ == 0) return;
  stats_.spans_sent.add(std::exchange(pending_, 0));
  body_ += ']';
  ext::Cluster* cluster = clusters_.find(config_->cluster);
  if (ext::HttpCluster* http = cluster ? cluster->http() : nullptr) {
    post(loop_, http->hold(), *config_, stats_, body_);
  } else {
    SLUICE_LOG(filter, debug, "collector cluster '{}' does not exist", config_->cluster);
    stats_.reports_skipped_no_cluster.add();
  }
  body_.clear();
}

ext::TracerFactory make_factory(std::shared_ptr<const Config> config) {
  return [config](const stats::Scope& root) -> ext::TracerMaker {
    return [config, stats = Stats(root)](const ext::TracerContext& context) {
      return std::make_shared<ZipkinTracer>(shared_collector(config, stats, context));
    };
  };
}

}  // namespace sluice::extensions::zipkin
