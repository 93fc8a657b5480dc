#include "model/retry_policy.h"

namespace sluice::model {
namespace {

struct Word {
  std::string_view text;
  RetryOn condition;
};

// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter#x-envoy-retry-on
constexpr Word kHttp[] = {
    {"5xx", RetryOn::server_error},
    {"gateway-error", RetryOn::gateway_error},
    {"connect-failure", RetryOn::connect_failure},
    {"retriable-4xx", RetryOn::retriable_4xx},
    {"refused-stream", RetryOn::refused_stream},
    {"retriable-status-codes", RetryOn::retriable_status_codes},
    {"reset", RetryOn::reset},
    {"reset-before-request", RetryOn::reset_before_request},
    {"retriable-headers", RetryOn::retriable_headers},
    {"envoy-ratelimited", RetryOn::envoy_ratelimited},
    {"http3-post-connect-failure", RetryOn::http3_post_connect_failure},
};
constexpr Word kGrpc[] = {
    {"cancelled", RetryOn::grpc_cancelled},     {"deadline-exceeded", RetryOn::grpc_deadline_exceeded},
    {"internal", RetryOn::grpc_internal},       {"resource-exhausted", RetryOn::grpc_resource_exhausted},
    {"unavailable", RetryOn::grpc_unavailable},
};

template <size_t n>
uint32_t find(const Word (&words)[n], std::string_view text) {
  for (const Word& w : words)
    if (w.text == text) return static_cast<uint32_t>(w.condition);
  return 0;
}

template <typename Lookup>
RetryOnSet parse(std::string_view text, Lookup lookup) {
  RetryOnSet out;
  while (!text.empty()) {
    const size_t end = std::min(text.find(','), text.size());
    std::string_view word = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    const size_t begin = word.find_first_not_of(" \t");
    if (begin == std::string_view::npos) continue;
    word = word.substr(begin, word.find_last_not_of(" \t") + 1 - begin);
    const uint32_t bit = lookup(word);
    out.bits |= bit;
    if (bit == 0) out.all_known = false;
  }
  return out;
}

}  // namespace

RetryOnSet parse_retry_on(std::string_view text) {
  return parse(text, [](std::string_view word) { return find(kHttp, word); });
}

RetryOnSet parse_retry_grpc_on(std::string_view text) {
  return parse(text, [](std::string_view word) { return find(kGrpc, word); });
}

}  // namespace sluice::model
