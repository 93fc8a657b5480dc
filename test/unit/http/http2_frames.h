#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "http2_harness.h"

// Frames built by hand, for what a codec of our own would never send; and a reader of what a codec answers.
namespace sluice::http::test {

enum FrameType : uint8_t {
  kData,
  kHeaders,
  kPriority,
  kRstStream,
  kSettings,
  kPushPromise,
  kPing,
  kGoaway,
  kWindowUpdate,
  kContinuation
};
enum FrameFlag : uint8_t { kEndStream = 1, kAck = 1, kEndHeaders = 4, kPadded = 8 };
// RFC 9113 section 7.
enum ErrorCode : uint32_t {
  kNoError,
  kProtocolError,
  kInternalError,
  kFlowControlError,
  kSettingsTimeout,
  kStreamClosed,
  kFrameSizeError,
  kRefusedStream,
  kCancel,
  kCompressionError,
  kConnectError,
  kEnhanceYourCalm
};

inline std::string u16(uint32_t v) {
  return {static_cast<char>(v >> 8), static_cast<char>(v)};
}
inline std::string u32(uint32_t v) {
  return u16(v >> 16) + u16(v & 0xffff);
}

inline std::string frame(uint8_t type, uint8_t flags, uint32_t stream, std::string_view payload = {}) {
  std::string s{static_cast<char>(payload.size() >> 16)};
  s += u16(payload.size() & 0xffff);
  s += static_cast<char>(type);
  s += static_cast<char>(flags);
  s += u32(stream);
  return s.append(payload);
}

// HPACK: literals without indexing, no Huffman coding (RFC 7541 section 6.2.2).
inline std::string hpack_length(size_t n) {
  if (n < 127) return {static_cast<char>(n)};
  std::string s{'\x7f'};
  for (n -= 127; n >= 128; n /= 128) s += static_cast<char>(n % 128 + 128);
  return s + static_cast<char>(n);
}
inline std::string hpack(const Fields& fields) {
  std::string s;
  for (const auto& [name, value] : fields) {
    s += '\0';
    s += hpack_length(name.size()) + name + hpack_length(value.size()) + value;
  }
  return s;
}

inline std::string headers_frame(uint32_t stream, const Fields& fields, bool end_stream) {
  return frame(kHeaders, kEndHeaders | (end_stream ? kEndStream : 0), stream, hpack(fields));
}
inline std::string get_frame(uint32_t stream, std::string_view path = "/") {
  return headers_frame(stream, request_fields("GET", path), true);
}
inline std::string post_frame(uint32_t stream) {
  return headers_frame(stream, request_fields("POST"), false);
}
inline std::string rst_frame(uint32_t stream, uint32_t code) {
  return frame(kRstStream, 0, stream, u32(code));
}
inline std::string window_frame(uint32_t stream, uint32_t n) {
  return frame(kWindowUpdate, 0, stream, u32(n));
}
inline const std::string kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

struct Frame {
  uint8_t type, flags;
  uint32_t stream;
  std::string payload;
  uint32_t number(size_t at = 0) const {
    uint32_t v = 0;
    for (size_t i = 0; i < 4; ++i) v = v << 8 | static_cast<uint8_t>(payload.at(at + i));
    return v;
  }
};

// Whole frames only: nothing of a codec's may be left unsent when a call returns.
inline std::vector<Frame> parse_frames(std::string_view bytes) {
  std::vector<Frame> frames;
  if (bytes.starts_with(kPreface)) bytes.remove_prefix(kPreface.size());
  auto at = [&](size_t i) { return static_cast<uint32_t>(static_cast<uint8_t>(bytes[i])); };
  while (!bytes.empty()) {
    if (bytes.size() < 9) throw std::runtime_error("part of a frame's head");
    size_t size = at(0) << 16 | at(1) << 8 | at(2);
    if (bytes.size() < 9 + size) throw std::runtime_error("part of a frame");
    frames.push_back({static_cast<uint8_t>(at(3)), static_cast<uint8_t>(at(4)),
                      at(5) << 24 | at(6) << 16 | at(7) << 8 | at(8), std::string(bytes.substr(9, size))});
    bytes.remove_prefix(9 + size);
  }
  return frames;
}

// One codec, and a peer that is the test itself.
template <typename Side>
struct Raw {
  explicit Raw(Http2Config config = {}) : side(pool, config) {}

  // The answer to `text`, as frames.
  std::vector<Frame> send(std::string_view text) {
    receive(side, bytes(pool, text));
    return written();
  }
  std::vector<Frame> written() { return parse_frames(side.wire.take(side.wire.sent.size()).to_string()); }

  BlockPool pool;
  Side side;
};

struct RawClient : Raw<Server> {
  explicit RawClient(Http2Config config = {}, bool acknowledge = true) : Raw(config) {
    send(kPreface + frame(kSettings, 0, 0) + (acknowledge ? frame(kSettings, kAck, 0) : ""));
  }
  Server& server() { return side; }
};

struct RawServer : Raw<Client> {
  explicit RawServer(Http2Config config = {}, std::string_view settings = {}) : Raw(config) {
    send(frame(kSettings, 0, 0, settings) + frame(kSettings, kAck, 0));
  }
  Client& client() { return side; }
};

inline const Frame* find(const std::vector<Frame>& frames, uint8_t type, uint32_t stream) {
  for (const Frame& f : frames)
    if (f.type == type && f.stream == stream) return &f;
  return nullptr;
}
// The code of a stream's RST_STREAM, of the connection's GOAWAY; ~0u: there is none.
inline uint32_t reset_code(const std::vector<Frame>& frames, uint32_t stream) {
  const Frame* f = find(frames, kRstStream, stream);
  return f ? f->number() : ~0u;
}
inline uint32_t goaway_code(const std::vector<Frame>& frames) {
  const Frame* f = find(frames, kGoaway, 0);
  return f ? f->number(4) : ~0u;
}

}  // namespace sluice::http::test
