#pragma once

#include <cstdint>

#include "core/buffer.h"
#include "http/http1_head.h"

namespace sluice::http::http1 {

// How the end of a message body is found (RFC 9112 section 6).
enum class Framing : uint8_t { none, length, chunked, until_close, raw };

// Takes the framing off a body. Data chunks are moved, not copied.
class BodyReader {
 public:
  enum class Outcome : uint8_t {
    more,      // all of `in` was taken
    done,      // the body is whole; what is left of `in` is the next message's
    trailers,  // the last chunk was read: the trailer section comes next
    refused,   // refusal()
  };

  void begin(Framing framing, uint64_t length) {
    framing_ = framing;
    left_ = framing == Framing::length ? length : 0;
    state_ = State::size_first;
    line_ = 0;
    extensions_ = data_ = 0;
  }
  Framing framing() const { return framing_; }
  // Appends to `out` what is payload.
  Outcome read(Buffer& in, Buffer& out);
  const Refusal& refusal() const { return refusal_; }

 private:
  enum class State : uint8_t { size_first, size, space, extension, size_lf, data, data_cr, data_lf };
  Outcome read_chunked(Buffer& in, Buffer& out);
  bool size_line(char c);  // one byte of a chunk-size line; false: refused

  Framing framing_ = Framing::none;
  State state_ = State::size_first;
  uint32_t line_ = 0;  // bytes of the chunk-size line so far
  uint64_t left_ = 0;  // of the body or the chunk
  uint64_t extensions_ = 0, data_ = 0;  // of the message so far
  Refusal refusal_;
};

}  // namespace sluice::http::http1
