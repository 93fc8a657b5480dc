#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/random.h"
#include "core/time.h"
#include "extensions/filters/http/router/previous_priorities.h"
#include "http/codec.h"
#include "http/header_map.h"
#include "model/retry_policy.h"
#include "sluice/ext/http_upstream.h"

namespace sluice::extensions::router {

// Whether, and after how long, a request is tried again. One a request that has a retry policy; it holds a place in the
// cluster's retry circuit breaker from the decision until the next one.
// https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_filters/router_filter#x-envoy-retry-on
class RetryState {
 public:
  enum class Verdict : uint8_t {
    no,
    yes,
    overflow,  // the circuit breaker is open
    exhausted,  // num_retries were made
  };

  // Takes what the request's headers say of retries out of them; nothing: there is no policy. `policy` may be null and
  // outlives the state.
  static std::optional<RetryState> make(const model::RetryPolicy* policy, http::HeaderMap& request);

  RetryState(RetryState&&) noexcept;
  RetryState& operator=(RetryState&&) = delete;
  ~RetryState();

  // A response head came. `now`, `wall`: for rate-limited back-off by a time stamp.
  Verdict on_response(const http::HeaderMap& response, uint16_t status,
                      const std::shared_ptr<ext::HttpCluster>& cluster, ext::RoutingPriority priority,
                      Random& random, WallTime wall);
  // The try ended without one. `sent`: a byte of the request has left.
  Verdict on_reset(http::ResetReason reason, bool sent, const std::shared_ptr<ext::HttpCluster>& cluster,
                   ext::RoutingPriority priority, Random& random);

  Duration backoff() const { return backoff_; }  // after a yes
  uint32_t bits() const { return retry_on_; }
  uint32_t remaining() const { return remaining_; }
  bool retried() const { return retries_made_ > 0; }

  // What a retry asks of the balancer.
  bool avoids_hosts() const {
    return policy_ &&
           (policy_->previous_hosts || policy_->omit_canary_hosts || !policy_->omit_hosts_with.empty());
  }
  bool avoids(const ext::UpstreamHost& host) const;
  void tried(const ext::UpstreamHost& host);
  uint32_t host_attempts() const { return policy_ ? policy_->host_selection_max_attempts : 1; }
  ext::RetryPriority* priority() { return priorities_.get(); }  // null: none asked for
  const model::RetryPolicy* policy() const { return policy_; }

  // Whether the policy retries on such a reset, if it may.
  bool wants(http::ResetReason reason, bool sent) const;

 private:
  RetryState() = default;
  bool wants(const http::HeaderMap& response, uint16_t status) const;
  Verdict decide(bool wanted, const std::shared_ptr<ext::HttpCluster>& cluster, ext::RoutingPriority priority,
                 Random& random);
  void release();
  std::optional<Duration> reset_interval(const http::HeaderMap& response, WallTime wall) const;

  const model::RetryPolicy* policy_ = nullptr;
  uint32_t retry_on_ = 0;
  uint32_t remaining_ = 1;
  uint32_t retries_made_ = 0;
  Duration next_base_{}, max_{};
  Duration backoff_{};
  std::optional<Duration> rate_limited_;  // of the response under consideration
  std::vector<uint16_t> extra_codes_;  // x-envoy-retriable-status-codes
  std::vector<std::string> extra_headers_;  // x-envoy-retriable-header-names
  std::vector<Address> tried_;
  std::unique_ptr<PreviousPriorities> priorities_;
  std::shared_ptr<ext::HttpCluster> holding_;  // a place in its circuit breaker
  ext::RoutingPriority holding_priority_{};
};

}  // namespace sluice::extensions::router
