#include "extensions/filters/network/http_connection_manager/tracing.h"

#include <charconv>
#include <optional>
#include <string>

namespace sluice::extensions::http_connection_manager {

using ext::TraceReason;
using http::HeaderMap;
using http::Name;

namespace {

constexpr size_t kUuidLength = 36;
constexpr size_t kReasonAt = 14;  // the version of a UUID; Envoy makes the reason of it
constexpr size_t kNumberDigits = 8;  // a random number that is the same at every hop

char letter(TraceReason reason) {
  switch (reason) {
    case TraceReason::sampled:
      return '9';
    case TraceReason::service_forced:
      return 'a';
    case TraceReason::client_forced:
      return 'b';
    case TraceReason::not_traceable:
      break;
  }
  return '4';
}

TraceReason reason_of(std::string_view id) {
  if (id.size() != kUuidLength) return TraceReason::not_traceable;
  for (TraceReason r : {TraceReason::sampled, TraceReason::service_forced, TraceReason::client_forced})
    if (id[kReasonAt] == letter(r)) return r;
  return TraceReason::not_traceable;
}

void write_reason(const Settings& settings, TraceReason reason, HeaderMap& request) {
  const std::string_view old = request.get(Name::x_request_id);
  if (!settings.pack_trace_reason || old.size() != kUuidLength) return;
  std::string id(old);
  id[kReasonAt] = letter(reason);
  request.set(Name::x_request_id, id);
}

std::optional<uint32_t> number_of(std::string_view id) {
  if (id.size() < kNumberDigits) return std::nullopt;
  uint32_t out = 0;
  const char* end = id.data() + kNumberDigits;
  auto [at, error] = std::from_chars(id.data(), end, out, 16);
  if (error != std::errc() || at != end) return std::nullopt;
  return out;
}

}  // namespace

TraceReason decide_trace(const Settings& settings, const model::RouteTracing* route, Random& random,
                         HeaderMap& request) {
  if (!settings.trace_by_request_id) return TraceReason::sampled;
  const std::string_view id = request.get(Name::x_request_id);
  const auto number = number_of(id);
  if (!number) return TraceReason::not_traceable;
  const model::TraceSampling& sampling = route ? route->sampling : settings.tracing->rules.sampling;
  // The remainder goes through both shares, as in Envoy: whoever is in 1 % of all is also in the 50 % that pass.
  const uint32_t draw = *number % 10'000;
  TraceReason reason = reason_of(id);
  if (reason == TraceReason::not_traceable) {
    if (request.has(Name::x_client_trace_id) && sampling.client.hit(random.next()))
      reason = TraceReason::client_forced;
    else if (request.has(Name::x_envoy_force_trace))
      reason = TraceReason::service_forced;
    else if (sampling.random.hit(draw))
      reason = TraceReason::sampled;
    if (reason != TraceReason::not_traceable) write_reason(settings, reason, request);
  }
  if (reason != TraceReason::not_traceable && !sampling.overall.hit(draw)) {
    reason = TraceReason::not_traceable;
    write_reason(settings, reason, request);
  }
  return reason;
}

}  // namespace sluice::extensions::http_connection_manager
