#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace sluice::http {

// Follows the heads of frames through a connection's bytes (RFC 9113 section 4.1): nghttp2 shows its user no frame that it
// drops, and some of them have to be answered. Whether the frames are right is nghttp2's to say.
class Http2FrameScan {
 public:
  explicit Http2FrameScan(size_t preface) : skip_(preface) {}

  // Reads up to the end of the next head, or all there is; how much was read.
  size_t next(const uint8_t* data, size_t size) {
    size_t at = std::min(skip_, size);
    skip_ -= at;
    head_ = false;
    while (at < size && have_ < bytes_.size()) bytes_[have_++] = data[at++];
    if (have_ < bytes_.size()) return at;
    have_ = 0;
    head_ = true;
    skip_ = static_cast<size_t>(bytes_[0]) << 16 | static_cast<size_t>(bytes_[1]) << 8 | bytes_[2];
    return at;
  }
  bool head() const { return head_; }  // next() stopped behind one
  uint8_t type() const { return bytes_[3]; }
  uint32_t stream() const {
    return (bytes_[5] & 0x7fu) << 24 | static_cast<uint32_t>(bytes_[6]) << 16 |
           static_cast<uint32_t>(bytes_[7]) << 8 | bytes_[8];
  }

 private:
  std::array<uint8_t, 9> bytes_{};
  size_t skip_;  // of the preface, or of a frame's payload
  size_t have_ = 0;
  bool head_ = false;
};

}  // namespace sluice::http
