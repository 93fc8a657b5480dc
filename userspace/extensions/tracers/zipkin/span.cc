#include "extensions/tracers/zipkin/span.h"

#include <algorithm>

#include "core/json_string.h"
#include "extensions/tracers/zipkin/collector.h"

namespace sluice::extensions::zipkin {
namespace {

int64_t microseconds(WallTime time) {
  return std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count();
}

void append_annotation(WallTime at, std::string_view value, std::string& out) {
  out += R"({"timestamp":)" + std::to_string(microseconds(at)) + R"(,"value":)";
  append_json_string(value, out);
  out += '}';
}

}  // namespace

void append_json(const SpanRecord& span, const std::string& service, const std::string& address,
                 std::string& out) {
  const bool server = span.kind == SpanRecord::Kind::server;
  out += R"({"traceId":")" + trace_id_text(span.context);
  if (span.context.parent) out += R"(","parentId":")" + id_text(*span.context.parent);
  out += R"(","id":")" + id_text(span.context.span);
  out += server ? R"(","kind":"SERVER")" : R"(","kind":"CLIENT")";
  if (!span.name.empty()) {
    out += R"(,"name":)";
    append_json_string(span.name, out);
  }
  out += R"(,"timestamp":)" + std::to_string(microseconds(span.start));
  if (span.duration)
    out += R"(,"duration":)" +
           std::to_string(std::chrono::duration_cast<std::chrono::microseconds>(*span.duration).count());
  if (span.shared) out += R"(,"shared":true)";
  out += (address.find(':') != std::string::npos) ? R"(,"localEndpoint":{"ipv6":")"
                                                  : R"(,"localEndpoint":{"ipv4":")";
  out += address + R"(","port":0)";
  if (!service.empty()) {
    out += R"(,"serviceName":)";
    append_json_string(service, out);
  }
  out += R"(},"annotations":[)";
  for (const auto& [at, event] : span.annotations) {
    append_annotation(at, event, out);
    out += ',';
  }
  append_annotation(span.end, server ? "ss" : "cr", out);
  out += ']';
  if (!span.tags.empty()) {
    char separator = '{';
    out += R"(,"tags":)";
    for (const auto& [name, value] : span.tags) {
      out += separator;
      separator = ',';
      append_json_string(name, out);
      out += ':';
      append_json_string(value, out);
    }
    out += '}';
  }
  out += '}';
}

ZipkinSpan::ZipkinSpan(std::shared_ptr<Collector> collector, const Start& start, std::string_view name)
    : collector_(std::move(collector)), start_(start), begun_(collector_->loop().now()) {
  record_.name = name;
  record_.start = start.time;
}

SpanRecord::Kind ZipkinSpan::kind_of(bool of_this_proxy) const {
  const bool client = start_.hop ? of_this_proxy : start_.egress;
  return client ? Kind::client : Kind::server;
}

void ZipkinSpan::begin_trace() {
  record_.kind = kind_of(false);
  record_.context.span = record_.context.trace = collector_->random().next();
  if (collector_->config().trace_id_128bit) record_.context.trace_high = collector_->random().next();
}

void ZipkinSpan::join(const SpanContext& previous, bool of_this_proxy) {
  record_.kind = kind_of(of_this_proxy);
  record_.context = previous;
  if (record_.kind == Kind::server && collector_->config().shared_span_context) return;
  record_.context.parent = previous.span;
  record_.context.span = collector_->random().next();
}

void ZipkinSpan::set_tag(std::string_view name, std::string_view value) {
  if (name.empty() || value.empty()) return;
  const auto there = std::ranges::find(record_.tags, name, &std::pair<std::string, std::string>::first);
  if (there == record_.tags.end())
    record_.tags.emplace_back(name, value);
  else
    there->second = value;
}

void ZipkinSpan::inject(http::HeaderMap& request) const {
  zipkin::inject(record_.context, start_.sampled, start_.single_header, request);
}

std::unique_ptr<ext::Span> ZipkinSpan::child(std::string_view operation) {
  Start start = start_;
  start.time = collector_->loop().wall_now();
  auto span = std::make_unique<ZipkinSpan>(collector_, start, operation);
  span->join(record_.context, true);
  return span;
}

void ZipkinSpan::finish() {
  if (!start_.sampled) return;
  record_.end = collector_->loop().wall_now();
  record_.duration = collector_->loop().now() - begun_;
  record_.shared = record_.kind == Kind::server && collector_->config().shared_span_context;
  collector_->add(std::move(record_));
}

}  // namespace sluice::extensions::zipkin
