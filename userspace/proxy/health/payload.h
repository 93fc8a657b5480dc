#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/buffer.h"
#include "model/health_check.h"

namespace sluice::health {

// Looks for a pattern in bytes as they come. Keeps no more of them than one string of the pattern.
class PayloadSearch {
 public:
  // `limit`: bytes that are looked at; 0: all.
  explicit PayloadSearch(const model::PayloadPattern& pattern, uint64_t limit = 0)
      : pattern_(pattern), limit_(limit) {}
  void restart();
  void feed(const Buffer& data);
  bool found() const { return next_ == pattern_.size(); }

 private:
  void feed(std::string_view bytes);
  const model::PayloadPattern& pattern_;
  const uint64_t limit_;
  uint64_t seen_ = 0;
  size_t next_ = 0;  // the string that is looked for
  std::string tail_;  // the last bytes, which may be its beginning
};

}  // namespace sluice::health
