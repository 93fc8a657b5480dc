#include "extensions/filters/http/local_ratelimit/limiter.h"

#include <algorithm>

namespace sluice::extensions::local_ratelimit {

namespace {

std::shared_ptr<TokenBucket> make(const Bucket& b) {
  return std::make_shared<TokenBucket>(b.max_tokens, b.per_fill, b.interval);
}

}  // namespace

Limiter::Limiter(const std::optional<Bucket>& otherwise, const Described& described, bool always_default)
    : otherwise_(otherwise ? make(*otherwise) : nullptr), always_default_(always_default) {
  for (const auto& [descriptor, bucket] : described) described_.emplace(descriptor, make(bucket));
}

Limiter::Answer Limiter::ask(const std::vector<Asked>& asked, MonotonicTime now) const {
  struct Found {
    std::shared_ptr<TokenBucket> bucket;
    uint32_t hits;
  };
  std::vector<Found> found;
  for (const Asked& a : asked) {
    if (auto it = described_.find(a.descriptor); it != described_.end())
      found.push_back({it->second, a.hits});
  }
  std::ranges::stable_sort(found, {}, [](const Found& f) { return f.bucket->fill_rate(); });
  for (const Found& f : found) {
    if (!f.bucket->take(now, f.hits)) return {false, f.bucket};
  }
  if (otherwise_ && (found.empty() || always_default_) && !otherwise_->take(now)) return {false, otherwise_};
  return {true, found.empty() ? otherwise_ : found.front().bucket};
}

bool Limiter::full(MonotonicTime now) const {
  return (!otherwise_ || otherwise_->full(now)) &&
         std::ranges::all_of(described_, [&](const auto& entry) { return entry.second->full(now); });
}

}  // namespace sluice::extensions::local_ratelimit
