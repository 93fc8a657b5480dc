#include "extensions/filters/http/router/previous_priorities.h"

#include <algorithm>
#include <numeric>

namespace sluice::extensions::router {

namespace {

uint32_t sum(const ext::PriorityShares& s) {
  return std::accumulate(s.healthy.begin(), s.healthy.end(),
                         std::accumulate(s.degraded.begin(), s.degraded.end(), 0u));
}

}  // namespace

const ext::PriorityShares* PreviousPriorities::load(const ext::PriorityShares& available) {
  if (tried_.size() < update_frequency_) return nullptr;
  // Priorities can come and go between two tries.
  if (tried_.size() % update_frequency_ == 0 || load_.healthy.size() != available.healthy.size())
    valid_ = update(available);
  return valid_ ? &load_ : nullptr;
}

bool PreviousPriorities::update(const ext::PriorityShares& available) {
  ext::PriorityShares left = available;
  for (uint32_t priority : tried_) {
    if (priority < left.healthy.size()) left.healthy[priority] = left.degraded[priority] = 0;
  }
  if (sum(left) == 0) {  // all were tried: from the beginning
    tried_.clear();
    left = available;
  }
  const uint32_t total = std::min(sum(left), 100u);
  if (total == 0) return false;
  const size_t n = left.healthy.size();
  load_ = {.healthy = std::vector<uint32_t>(n), .degraded = std::vector<uint32_t>(n)};
  // Again and again, since divisions leave something over; it goes to the first.
  for (uint32_t rest = 100; rest > 0;) {
    for (auto which : {&ext::PriorityShares::healthy, &ext::PriorityShares::degraded}) {
      for (size_t i = 0; i < n; ++i) {
        const uint32_t share = std::min(rest, (left.*which)[i] * 100 / total);
        (load_.*which)[i] += share;
        rest -= share;
      }
    }
  }
  return true;
}

}  // namespace sluice::extensions::router
