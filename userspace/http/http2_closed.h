#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace sluice::http {

// What is known of a client's streams that are not open any more, in constant memory. nghttp2 is told to forget closed
// streams at once and ignores what comes on them; RFC 9113 section 5.1 wants an error of HEADERS and DATA, unless we reset the
// stream and the frame was on its way.
class Http2ClosedStreams {
 public:
  enum class State : uint8_t { in_flight, ended, never_opened };

  void opened(uint32_t id) {
    if (id > last_ + 2 && gap_count_ < gaps_.size()) gaps_[gap_count_++] = {last_ + 2, id - 2};
    last_ = id;
  }
  void reset_by_us(uint32_t id) {
    if (std::find(resets_.begin(), resets_.end(), id) != resets_.end()) return;
    uint32_t& slot = resets_[next_++ % resets_.size()];
    forgotten_ = std::max(forgotten_, slot);
    slot = id;
  }
  uint32_t last() const { return last_; }
  // Of a stream up to last() that is not open.
  State state(uint32_t id) const {
    if (id <= forgotten_ || std::find(resets_.begin(), resets_.end(), id) != resets_.end())
      return State::in_flight;
    for (size_t i = 0; i < gap_count_; ++i)
      if (id >= gaps_[i].first && id <= gaps_[i].last) return State::never_opened;
    return State::ended;
  }

 private:
  struct Gap {
    uint32_t first, last;
  };
  std::array<uint32_t, 64> resets_{};  // the latest
  std::array<Gap, 8> gaps_{};
  size_t gap_count_ = 0;
  uint32_t next_ = 0, last_ = UINT32_MAX, forgotten_ = 0;  // last_ + 2 == 1
};

}  // namespace sluice::http
