#include "http/http1_body.h"

#include <algorithm>

#include "http/http1_chars.h"

namespace sluice::http::http1 {
namespace {

constexpr uint32_t kSizeLineMax = 4096;
// A signature of some hundred bytes a chunk is in use; extensions that outweigh the data are an attack.
constexpr uint64_t kExtensionsFree = 16 * 1024;

}  // namespace

BodyReader::Outcome BodyReader::read(Buffer& in, Buffer& out) {
  switch (framing_) {
    case Framing::none:
      return Outcome::done;
    case Framing::until_close:
    case Framing::raw:
      out.append(std::move(in));
      return Outcome::more;
    case Framing::length: {
      if (in.size() <= left_) {
        left_ -= in.size();
        out.append(std::move(in));
      } else {
        in.move_front_to(out, left_);
        left_ = 0;
      }
      return left_ == 0 ? Outcome::done : Outcome::more;
    }
    case Framing::chunked:
      return read_chunked(in, out);
  }
  return Outcome::more;
}

BodyReader::Outcome BodyReader::read_chunked(Buffer& in, Buffer& out) {
  while (!in.empty()) {
    if (state_ == State::data) {
      size_t n = std::min<uint64_t>(left_, in.size());
      in.move_front_to(out, n);
      data_ += n;
      if ((left_ -= n) > 0) return Outcome::more;
      state_ = State::data_cr;
      continue;
    }
    std::string_view view = in.chunk(0).view();
    size_t i = 0;
    bool last = false;
    while (i < view.size() && state_ != State::data && !last) {
      char c = view[i++];
      if (state_ == State::data_cr || state_ == State::data_lf) {
        if (c != (state_ == State::data_cr ? '\r' : '\n')) {
          refusal_ = codec_error("chunk data without its CRLF");
          return Outcome::refused;
        }
        state_ = state_ == State::data_cr ? State::data_lf : State::size_first;
        continue;
      }
      if (state_ == State::size_lf && c == '\n') {
        line_ = 0;
        last = left_ == 0;
        state_ = last ? State::size_first : State::data;
        continue;
      }
      if (!size_line(c)) return Outcome::refused;
    }
    in.drain(i);
    if (last) return Outcome::trailers;
  }
  return Outcome::more;
}

bool BodyReader::size_line(char c) {
  auto refuse = [&](const char* message) {
    refusal_ = codec_error(message);
    return false;
  };
  if (++line_ > kSizeLineMax) return refuse("chunk-size line too long");
  switch (state_) {
    case State::size_first:
    case State::size: {
      int digit = hex_value(c);
      if (digit >= 0) {
        if (state_ == State::size_first) left_ = 0;
        if (left_ >> 59) return refuse("HPE_INVALID_CHUNK_SIZE");  // below 2^63, as lengths are
        left_ = left_ * 16 + static_cast<uint64_t>(digit);
        state_ = State::size;
        return true;
      }
      if (state_ == State::size_first) return refuse("HPE_INVALID_CHUNK_SIZE");
      [[fallthrough]];
    }
    case State::space:
      if (c == '\r') {
        state_ = State::size_lf;
      } else if (c == ' ' || c == '\t') {
        state_ = State::space;
      } else if (c == ';') {
        state_ = State::extension;
      } else {
        return refuse("HPE_INVALID_CHUNK_SIZE");
      }
      return true;
    case State::extension:
      if (++extensions_ > kExtensionsFree + data_) return refuse("chunk extensions outweigh the data");
      if (c == '\r')
        state_ = State::size_lf;
      else if (is_value_stop(c))
        return refuse("control character in a chunk extension");
      return true;
    default:
      return refuse("a chunk-size line ends without CRLF");
  }
}

}  // namespace sluice::http::http1
