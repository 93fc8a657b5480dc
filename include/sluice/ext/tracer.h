#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/random.h"
#include "core/stats.h"
#include "core/time.h"
#include "http/header_map.h"
#include "io/loop.h"
#include "sluice/ext/upstream.h"

namespace sluice::model {
struct TracingRules;
}

// Distributed tracing: what a request took, and which requests it was part of.
// https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/observability/tracing
namespace sluice::ext {

// Why a request is traced, or not; what x-request-id carries from hop to hop.
enum class TraceReason : uint8_t { not_traceable, sampled, service_forced, client_forced };

// One step of a trace. The worker's own. Ends with finish(); destroying it before that leaves no trace of it.
class Span {
 public:
  virtual ~Span() = default;
  virtual void set_operation(std::string_view operation) = 0;
  // What is set again keeps the last value; an empty one sets nothing.
  virtual void set_tag(std::string_view name, std::string_view value) = 0;
  virtual void log(WallTime at, std::string_view event) = 0;
  // Whether it is reported, and what the next hop is told.
  virtual void set_sampled(bool sampled) = 0;
  virtual bool sampled() const = 0;  // else tags and logs are for nobody
  // Nobody before us has decided on sampling: set_sampled() may still change it.
  virtual bool decides_itself() const = 0;
  // Tells the next hop which span it is a part of.
  virtual void inject(http::HeaderMap& request) const = 0;
  // A step within this one, such as a try.
  virtual std::unique_ptr<Span> child(std::string_view operation) = 0;
  virtual void finish() = 0;  // once, last
  virtual std::string trace_id() const = 0;  // %TRACE_ID%
};

struct SpanStart {
  const http::HeaderMap& request;
  WallTime time;  // of the request's first byte
  bool sampled = false;  // unless the request's headers say otherwise
  bool egress = false;  // the listener is for what leaves a workload
  bool tries_have_spans = false;  // this proxy is a hop of its own: a server, and a client for each try
};

// Makes spans and sends those that are over to where they are collected. One a worker.
class Tracer {
 public:
  virtual ~Tracer() = default;
  // Null: the request's headers are about a trace, but nobody can tell which.
  virtual std::unique_ptr<Span> start(const SpanStart& start, std::string_view operation) = 0;
};

// What a tracer runs on: the worker's own, and longer-lived than the tracer.
struct TracerContext {
  io::Loop& loop;
  Random& random;
  ClusterManager& clusters;
};
// Gives a worker's tracer; may give the same one to all that ask with one configuration.
using TracerMaker = std::function<std::shared_ptr<Tracer>(const TracerContext& context)>;
// The parsed, immutable configuration, shared by all workers; each asks it for its maker. `root`: the worker's.
using TracerFactory = std::function<TracerMaker(const stats::Scope& root)>;

// The tracing of one request, for those who carry it on. Belongs to the request's stream.
struct StreamTracing {
  TraceReason reason = TraceReason::not_traceable;
  std::unique_ptr<Span> span;  // null: no tracer, or nothing that can be traced
  const model::TracingRules* rules = nullptr;  // of the connection manager
};

}  // namespace sluice::ext
