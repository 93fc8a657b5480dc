#pragma once

#include <cstdint>
#include <vector>

#include "sluice/ext/upstream.h"

namespace sluice::extensions::router {

// Keeps the retries of one request off the priorities that were tried.
// https://www.envoyproxy.io/docs/envoy/latest/api-v3/extensions/retry/priority/previous_priorities/v3/previous_priorities_config.proto
class PreviousPriorities final : public ext::RetryPriority {
 public:
  // After each `update_frequency` (at least 1) tries the priorities of those so far are left out.
  explicit PreviousPriorities(uint32_t update_frequency) : update_frequency_(update_frequency) {}
  void tried(uint32_t priority) { tried_.push_back(priority); }
  const ext::PriorityShares* load(const ext::PriorityShares& available) override;

 private:
  bool update(const ext::PriorityShares& available);

  const uint32_t update_frequency_;
  std::vector<uint32_t> tried_;
  ext::PriorityShares load_;
  bool valid_ = false;  // load_
};

}  // namespace sluice::extensions::router
