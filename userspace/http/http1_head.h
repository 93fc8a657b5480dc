#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/buffer.h"
#include "http/header_map.h"
#include "http/options.h"

namespace sluice::http::http1 {

// Why a message cannot be taken. `details` and `message` are literals.
struct Refusal {
  uint16_t status = 400;
  std::string_view details;  // %RESPONSE_CODE_DETAILS%, Envoy's words
  const char* message = "";  // for the log
};
constexpr Refusal codec_error(const char* message) {
  return {400, "http1.codec_error", message};
}

// What a start line and the fields behind it say, before anything is concluded from them together.
struct Head {
  HeaderMapPtr headers;
  std::string_view target;  // request; in the map's memory
  uint16_t status = 0;  // response
  uint8_t minor = 1;  // HTTP/1.<minor>; meaningless where !http1
  bool http1 = true;  // false: another major version
  bool is_connect = false, is_head = false, is_options = false;
  bool host_seen = false;
  bool length_seen = false, length_bad = false;
  bool encoding_seen = false, encoding_bad = false;  // bad: anything but one "chunked"
  uint64_t length = 0;
};

// Takes a start line and fields (or trailer fields alone) line by line out of a buffer. A line that lies in one chunk is
// parsed where it lies; an incomplete one is set aside and waits. An error is found when its line is complete, so that
// the way a message is split changes nothing. Transfer-Encoding and Host do not enter the map under these names.
class HeadParser {
 public:
  enum class Kind : uint8_t { request, response, trailers };
  enum class Outcome : uint8_t { more, started, done, refused };

  HeadParser(const CommonOptions& options, Http1Stats& stats) : options_(options), stats_(stats) {}

  void begin(Kind kind);
  // Takes from the front of `in`. `more`: all was taken. `started`: the start line is done, once. `done`: what is left
  // of `in` is behind the empty line. After `refused`: refusal().
  Outcome feed(Buffer& in);
  Head& head() { return head_; }
  const Refusal& refusal() const { return refusal_; }
  uint64_t bytes() const { return bytes_ + partial_.size(); }  // taken since begin()
  bool idle() const { return bytes() == 0; }
  // Gives memory back that only a message in parts needed.
  void reset();

 private:
  enum class Line : uint8_t { partial, ok, start, end, refused };
  // One line from *p on; moves *p behind it where it is complete.
  Line parse_line(const char** p, const char* end);
  Line parse_start_line(const char* p, const char* end);
  Line parse_request_line(std::string_view line);
  Line parse_status_line(std::string_view line);
  Line parse_field(const char* p, const char* end, bool crlf);
  // `value`: without control characters, white space around it still there.
  Line take_field(std::string_view name, bool underscore, std::string_view value);
  Line store_field(std::string_view name, std::string_view value);
  Line refuse(const Refusal& refusal) {
    refusal_ = refusal;
    return Line::refused;
  }

  const CommonOptions& options_;
  Http1Stats& stats_;
  Kind kind_ = Kind::request;
  bool in_fields_ = false;
  uint32_t fields_ = 0;
  uint64_t bytes_ = 0;  // of complete lines
  Head head_;
  Refusal refusal_;
  std::string partial_;  // the line that is not complete yet
};

// Digits alone, below 2^63 (RFC 9110 section 8.6).
std::optional<uint64_t> parse_content_length(std::string_view value);

}  // namespace sluice::http::http1
