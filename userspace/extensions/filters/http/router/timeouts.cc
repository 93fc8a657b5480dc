#include "extensions/filters/http/router/timeouts.h"

#include <algorithm>
#include <charconv>
#include <string>

namespace sluice::extensions::router {

using http::Name;
using std::chrono::milliseconds;

namespace {

std::optional<Duration> parse_ms(std::string_view text) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  // 290 years are as good as any longer time.
  return milliseconds(static_cast<int64_t>(std::min<uint64_t>(value, INT64_MAX / 1'000'000 - 1)));
}

std::optional<Duration> take_ms(http::HeaderMap& request, Name name) {
  if (!request.has(name)) return std::nullopt;
  auto value = parse_ms(request.get(name));
  request.remove(name);
  return value;
}

uint64_t to_ms(Duration d) {
  return static_cast<uint64_t>(std::chrono::duration_cast<milliseconds>(d).count());
}

}  // namespace

std::optional<Duration> grpc_timeout(const http::HeaderMap& request) {
  std::string_view text = request.get(Name::grpc_timeout);
  if (text.size() < 2 || text.size() > 9) return std::nullopt;
  uint64_t value = 0;
  const char* last = text.data() + text.size() - 1;
  auto [end, error] = std::from_chars(text.data(), last, value);
  if (error != std::errc() || end != last) return std::nullopt;
  const auto n = static_cast<int64_t>(value);
  switch (*last) {
    case 'H':
      return std::chrono::hours(std::min<int64_t>(n, 2'500'000));
    case 'M':
      return std::chrono::minutes(n);
    case 'S':
      return std::chrono::seconds(n);
    case 'm':
      return milliseconds(n);
    case 'u':  // rounded up to what timers are set by
      return milliseconds((n + 999) / 1000);
    case 'n':
      return milliseconds((n + 999'999) / 1'000'000);
    default:
      return std::nullopt;
  }
}

// At most eight digits: the finest unit that holds it.
void set_grpc_timeout(Duration timeout, http::HeaderMap& request) {
  uint64_t value = to_ms(timeout);
  static constexpr struct {
    char unit;
    uint64_t next;
  } kUnits[] = {{'m', 1000}, {'S', 60}, {'M', 60}, {'H', 0}};
  size_t i = 0;
  for (; value > 99'999'999 && kUnits[i].next != 0; ++i) value /= kUnits[i].next;
  request.set(Name::grpc_timeout, std::to_string(std::min<uint64_t>(value, 99'999'999)) + kUnits[i].unit);
}

Timeouts final_timeouts(const model::RouteAction& route, const model::RetryPolicy* policy,
                        http::HeaderMap& request, const TimeoutOptions& options) {
  Timeouts t;
  const model::RouteAction::StreamLimits& limits = *route.limits;
  const bool new_timeouts =
      limits.max_stream_duration || limits.grpc_timeout_header_max || limits.grpc_timeout_header_offset;
  if (!new_timeouts) {
    if (options.grpc && route.max_grpc_timeout) {
      Duration wanted = grpc_timeout(request).value_or(Duration{});
      if (limits.grpc_timeout_offset && *limits.grpc_timeout_offset < wanted)
        wanted -= *limits.grpc_timeout_offset;
      const Duration most = *route.max_grpc_timeout;
      if (most.count() != 0 && (wanted.count() == 0 || wanted > most)) wanted = most;
      t.global = wanted;
      t.rewrite_grpc = true;
    } else {
      t.global = route.timeout;
    }
  }
  if (policy) {
    t.per_try = policy->per_try_timeout;
    t.per_try_idle = policy->per_try_idle_timeout;
  }
  if (options.respect_expected && request.has(Name::x_envoy_expected_rq_timeout_ms)) {
    // The caller's proxy has said already when it gives up.
    if (auto ms = parse_ms(request.get(Name::x_envoy_expected_rq_timeout_ms))) t.global = *ms;
  } else if (auto ms = take_ms(request, Name::x_envoy_upstream_rq_timeout_ms)) {
    t.global = *ms;
  }
  if (auto ms = take_ms(request, Name::x_envoy_upstream_rq_per_try_timeout_ms)) t.per_try = *ms;
  if (t.global.count() != 0 && t.per_try >= t.global) t.per_try = {};
  set_timeout_headers(t, Duration{}, options, request);
  return t;
}

void set_timeout_headers(const Timeouts& t, Duration elapsed, const TimeoutOptions& options,
                         http::HeaderMap& request) {
  const uint64_t global = to_ms(t.global), passed = to_ms(elapsed);
  uint64_t expected = to_ms(t.per_try);
  if (expected == 0) expected = global;
  if (expected == 0) return;  // no end: nothing to say
  // Out of time, and 0 would mean for ever: 1 ms, after which our own timers end it.
  if (global > 0) expected = passed >= global ? 1 : std::min(expected, global - passed);
  if (options.set_expected) request.set_integer(Name::x_envoy_expected_rq_timeout_ms, expected);
  if (t.rewrite_grpc) set_grpc_timeout(milliseconds(static_cast<int64_t>(expected)), request);
}

}  // namespace sluice::extensions::router
