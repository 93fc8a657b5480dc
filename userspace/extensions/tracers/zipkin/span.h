#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "extensions/tracers/zipkin/b3.h"
#include "extensions/tracers/zipkin/zipkin.h"
#include "sluice/ext/tracer.h"

namespace sluice::extensions::zipkin {

class Collector;

// What is told of a span that is over. https://zipkin.io/zipkin-api/#/default/post_spans
struct SpanRecord {
  enum class Kind : uint8_t { client, server };
  SpanContext context;
  Kind kind = Kind::client;
  bool shared = false;  // its id is the client's, too
  std::string name;
  WallTime start{}, end{};
  std::optional<Duration> duration;
  std::vector<std::pair<std::string, std::string>> tags;
  std::vector<std::pair<WallTime, std::string>> annotations;
};

// A span as Zipkin's API v2 has it, appended to `out`. `service`: the proxy's own (node.cluster), `address`: and where it is.
void append_json(const SpanRecord& span, const std::string& service, const std::string& address,
                 std::string& out);

class ZipkinSpan final : public ext::Span {
 public:
  using Kind = SpanRecord::Kind;
  struct Start {
    WallTime time;
    bool sampled = false, decides_itself = false, single_header = false;
    bool hop = false;  // server spans for requests, client spans for tries; else all of one kind
    bool egress = false;
  };
  ZipkinSpan(std::shared_ptr<Collector> collector, const Start& start, std::string_view name);
  // Before anything else: a new trace, or a place in one.
  void begin_trace();
  void join(const SpanContext& previous, bool of_this_proxy);

  void set_operation(std::string_view operation) override { record_.name = operation; }
  void set_tag(std::string_view name, std::string_view value) override;
  void log(WallTime at, std::string_view event) override { record_.annotations.emplace_back(at, event); }
  void set_sampled(bool sampled) override { start_.sampled = sampled; }
  bool sampled() const override { return start_.sampled; }
  bool decides_itself() const override { return start_.decides_itself; }
  void inject(http::HeaderMap& request) const override;
  std::unique_ptr<ext::Span> child(std::string_view operation) override;
  void finish() override;
  std::string trace_id() const override { return trace_id_text(record_.context); }

 private:
  Kind kind_of(bool of_this_proxy) const;

  std::shared_ptr<Collector> collector_;
  Start start_;
  MonotonicTime begun_;
  SpanRecord record_;
};

}  // namespace sluice::extensions::zipkin
