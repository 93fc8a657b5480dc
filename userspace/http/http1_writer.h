#pragma once

#include <cassert>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "core/buffer.h"
#include "http/header_map.h"
#include "http/options.h"

namespace sluice::http::http1 {

// Writes heads and chunk framing into pool blocks. What stands in a block behind a head serves the framing of the same
// message, so that a short chunked message needs one block.
class Writer {
 public:
  explicit Writer(Http1Options::KeyFormat format) : format_(format) {}

  // A run of at most `bound` bytes begins; text() and field() put into it; end() hands it out.
  void begin(BlockPool& pool, size_t bound);
  void text(std::string_view s) {
    assert(static_cast<size_t>(p_ - begin_) + s.size() <= rest_.size());
    std::memcpy(p_, s.data(), s.size());
    p_ += s.size();
  }
  void number(uint64_t n);
  // Control characters become spaces: nothing that a filter puts into a value splits a message (RFC 9110 section 5.5).
  void field(std::string_view name, std::string_view value);
  // What no request line holds is percent-encoded. Three bytes of bound for each of `s`.
  void target(std::string_view s);
  void end(Buffer& out);
  // The message is over: the block goes back as soon as it was sent.
  void finish() { rest_.reset(); }

 private:
  Http1Options::KeyFormat format_;
  Chunk rest_;  // what is free of the block in use
  char* p_ = nullptr;
  char* begin_ = nullptr;
};

// The fields of `headers` (pseudo-headers left out), bound of their length on the wire.
size_t fields_bound(const HeaderMap& headers);

// Envoy's words (CodeUtility::toString); "Unknown".
std::string_view reason_phrase(uint32_t status);

}  // namespace sluice::http::http1
