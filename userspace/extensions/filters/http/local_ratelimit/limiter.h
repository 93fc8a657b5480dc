#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "extensions/filters/http/local_ratelimit/token_bucket.h"
#include "model/rate_limit.h"

namespace sluice::extensions::local_ratelimit {

// envoy.type.v3.TokenBucket.
struct Bucket {
  uint32_t max_tokens = 0, per_fill = 1;
  Duration interval{};
};

// The buckets of one configuration: of its descriptors, and one for what has none. Shared by all workers; or of one
// connection.
class Limiter {
 public:
  using Described = std::vector<std::pair<model::RateLimitDescriptor, Bucket>>;
  // `always_default`: a request with a descriptor's bucket takes a token of the other one, too.
  Limiter(const std::optional<Bucket>& otherwise, const Described& described, bool always_default);

  struct Asked {
    model::RateLimitDescriptor descriptor;
    uint32_t hits = 1;  // tokens
  };
  struct Answer {
    bool allowed = true;
    std::shared_ptr<TokenBucket> bucket = nullptr;  // the one that decided; null: there is none
  };
  // Takes the tokens of each bucket that a descriptor names, of the slowest first, until one has too few.
  Answer ask(const std::vector<Asked>& asked, MonotonicTime now) const;
  bool full(MonotonicTime now) const;  // all of them

 private:
  std::shared_ptr<TokenBucket> otherwise_;  // null: no limit
  std::map<model::RateLimitDescriptor, std::shared_ptr<TokenBucket>> described_;
  const bool always_default_;
};

}  // namespace sluice::extensions::local_ratelimit
