#include <utility>

#include "extensions/common/tracing.h"
#include "extensions/filters/network/http_connection_manager/stream.h"
#include "extensions/filters/network/http_connection_manager/tracing.h"
#include "model/tracing.h"

// Where a request's span begins and ends.
namespace sluice::extensions::http_connection_manager {

using ext::TraceReason;
using http::HeaderMap;
using http::Name;

// The request has its route. `first`: else it has been sent back by a redirect, and what was decided stands in its headers.
void Stream::decide_tracing(HeaderMap& headers, bool first) {
  tracing_ = std::make_unique<ext::StreamTracing>();
  tracing_->rules = &settings().tracing->rules;
  if (first) tracing_->reason = decide_trace(settings(), route_tracing(http_), network().random(), headers);
  http_.tracing = tracing_.get();
}

// Its filters are made, and see it next.
void Stream::start_span(HeaderMap& headers) {
  const model::TracingRules& rules = *tracing_->rules;
  if (ext::Tracer* tracer = connection_->runtime().tracer(network())) {
    tracing_->span = tracer->start({.request = headers,
                                    .time = info_.start_time,
                                    .sampled = tracing_->reason != TraceReason::not_traceable,
                                    .egress = rules.egress,
                                    .tries_have_spans = rules.tries_have_spans},
                                   headers.get(Name::authority));
  }
  // An operation of the configuration's own goes before what hops tell each other.
  if (request_operation(rules, http_)) return;
  ext::Span* span = tracing_->span.get();
  if (http_.route && !http_.route->decorator_operation.empty()) {
    if (span) span->set_operation(http_.route->decorator_operation);
    if (http_.route->decorator_propagate) propagated_ = http_.route->decorator_operation;
  }
  if (rules.egress) {
    if (!propagated_.empty()) headers.set(Name::x_envoy_decorator_operation, propagated_);
  } else if (headers.has(Name::x_envoy_decorator_operation)) {
    if (const std::string_view told = headers.get(Name::x_envoy_decorator_operation); !told.empty()) {
      if (span) span->set_operation(told);
      propagated_ = {};
    }
    headers.remove(Name::x_envoy_decorator_operation);
  }
}

// The route is another one now: its shares count, unless somebody before us has decided.
void Stream::refresh_tracing() {
  ext::Span* span = tracing_->span.get();
  if (!span || !span->decides_itself()) return;
  tracing_->reason =
      decide_trace(settings(), route_tracing(http_), network().random(), *filters_.request_headers());
  span->set_sampled(tracing_->reason != TraceReason::not_traceable);
}

void Stream::charge_tracing() {
  switch (tracing_ && !http_.health_check ? tracing_->reason : TraceReason::not_traceable) {
    case TraceReason::sampled:
      return stats().tracing_random_sampling.add();
    case TraceReason::service_forced:
      return stats().tracing_service_forced.add();
    case TraceReason::client_forced:
      return stats().tracing_client_enabled.add();
    case TraceReason::not_traceable:
      return stats().tracing_not_traceable.add();
  }
}

void Stream::trace_response(HeaderMap& headers) {
  charge_tracing();
  if (!tracing_ || request_operation(*tracing_->rules, http_)) return;
  if (!tracing_->rules->egress) {
    if (!propagated_.empty()) headers.set(Name::x_envoy_decorator_operation, propagated_);
  } else if (headers.has(Name::x_envoy_decorator_operation)) {
    const std::string_view told = headers.get(Name::x_envoy_decorator_operation);
    if (tracing_->span && !told.empty()) tracing_->span->set_operation(told);
    headers.remove(Name::x_envoy_decorator_operation);
  }
}

void Stream::finish_span() {
  if (tracing_ && tracing_->span) finish_request_span(*tracing_->span, *tracing_->rules, info_);
}

}  // namespace sluice::extensions::http_connection_manager
