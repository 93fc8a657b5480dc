#include "model/tracing.h"

#include <string>

#include "extensions/filters/http/router/filter.h"

// The spans of tries (spawn_upstream_span, start_child_span), and what the next hop is told.
namespace sluice::extensions::router {

void Router::begin_try_span() {
  const ext::StreamTracing& tracing = *http_info().tracing;
  if (!tracing.span || !(tracing.rules->tries_have_spans || config().start_child_span)) return;
  try_span_ = std::make_unique<TrySpan>();
  try_span_->outcome.canceled = true;  // until it ends in another way
  try_span_->span = tracing.span->child("router " + info().upstream_cluster + " egress");
  if (attempts_ > 1) try_span_->span->set_tag("retry.count", std::to_string(attempts_ - 1));
}

void Router::inject_trace() {
  if (try_span_) {
    if (!raw_) try_span_->outcome.protocol = stream_->protocol();
    try_span_->span->inject(*request_);
  } else if (const auto& span = http_info().tracing->span) {
    span->inject(*request_);
  }
}

void Router::end_try_span() {
  finish_try_span(*try_span_->span, *http_info().tracing->rules, info(), try_span_->outcome);
  try_span_.reset();
}

}  // namespace sluice::extensions::router
