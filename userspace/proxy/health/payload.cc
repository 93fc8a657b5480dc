#include "proxy/health/payload.h"

#include <algorithm>

namespace sluice::health {

void PayloadSearch::restart() {
  seen_ = 0;
  next_ = 0;
  tail_.clear();
}

void PayloadSearch::feed(const Buffer& data) {
  for (size_t i = 0; i < data.chunks(); ++i) feed(data.chunk(i).view());
}

void PayloadSearch::feed(std::string_view bytes) {
  if (limit_ != 0)
    bytes = bytes.substr(0, std::min<uint64_t>(bytes.size(), limit_ - std::min(limit_, seen_)));
  seen_ += bytes.size();
  // In steps, so that the text searched stays small however much comes at once.
  constexpr size_t kStep = 4096;
  while (!found() && !bytes.empty()) {
    tail_ += bytes.substr(0, kStep);
    bytes.remove_prefix(std::min(kStep, bytes.size()));
    size_t from = 0;
    for (size_t at; !found() && (at = tail_.find(pattern_[next_], from)) != std::string::npos; ++next_)
      from = at + pattern_[next_].size();
    if (found()) return tail_.clear();
    const size_t keep = std::min(tail_.size() - from, pattern_[next_].size() - 1);
    tail_.erase(0, tail_.size() - keep);
  }
}

}  // namespace sluice::health
