#pragma once

#include <cstdint>
#include <string_view>

#include "http/options.h"

namespace sluice::http {

// How many frames a peer may send that cost us work and it nothing. Envoy's limits and their arithmetic
// (Http2ProtocolOptions; CVE-2019-9511 to 9518).
class Http2Limits {
 public:
  Http2Limits(const Http2Options& options, Http2Stats& stats) : options_(options), stats_(stats) {}

  void stream_opened() { ++streams_; }
  void data_sent() { ++data_frames_sent_; }

  // A HEADERS, CONTINUATION or DATA frame; false: one without content too many.
  bool payload_frame(bool empty, bool end_stream) {
    if (!empty || end_stream) {
      empty_ = 0;
      return true;
    }
    if (++empty_ <= options_.max_consecutive_inbound_frames_with_empty_payload) return true;
    stats_.inbound_empty_frames_flood.add();
    return false;
  }
  bool priority_frame() {
    if (++priority_ <= uint64_t{options_.max_inbound_priority_frames_per_stream} * (1 + streams_))
      return true;
    stats_.inbound_priority_frames_flood.add();
    return false;
  }
  bool window_update_frame() {
    uint64_t per_data = options_.max_inbound_window_update_frames_per_data_frame_sent;
    if (++window_updates_ <= 5 + 2 * (streams_ + per_data * data_frames_sent_)) return true;
    stats_.inbound_window_update_frames_flood.add();
    return false;
  }

 private:
  const Http2Options& options_;
  Http2Stats& stats_;
  uint64_t streams_ = 0, data_frames_sent_ = 0, priority_ = 0, window_updates_ = 0;
  uint32_t empty_ = 0;
};

}  // namespace sluice::http
