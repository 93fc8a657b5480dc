#include <nghttp2/nghttp2.h>

#include <cassert>
#include <vector>

#include "http/http2_details.h"
#include "http/http2_session.h"

// Header blocks, in and out.
namespace sluice::http {

// ---- in ----

void Http2Session::begin_block(Http2Stream& stream) {
  block_stream_ = nullptr;
  if (stream.over || stream.reset_sent) return;  // decoded for HPACK's sake alone
  block_stream_ = &stream;
  if (block_)
    block_->clear();
  else
    block_ = make_headers();
  block_bytes_ = block_cookies_ = 0;
}

int Http2Session::header(Http2Stream& stream, std::string_view name, std::string_view value) {
  if (server_ && config_.common.underscores != UnderscoreAction::allow &&
      name.find('_') != std::string_view::npos) {
    if (config_.common.underscores == UnderscoreAction::drop_header) {
      stats_.dropped_headers_with_underscores.add();
      return 0;
    }
    stats_.requests_rejected_with_underscores_in_headers.add();
    stream.details = kUnderscore;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
  }
  HeaderMap& headers = *block_;
  Name id = find_name(name);
  if (id == Name::cookie && block_cookies_++ > 0) {
    // RFC 9113 section 8.2.3. Gathered outside: the map keeps what was replaced.
    if (block_cookies_ == 2) cookies_ = headers.get(Name::cookie);
    cookies_.append("; ").append(value);
  } else if (id == Name::host && server_ && !stream.announced) {
    if (!headers.has(Name::authority))
      headers.add(Name::authority, value);  // as Envoy: else :authority alone counts
  } else if (id != Name::other) {
    headers.add(id, value);
  } else {
    headers.add(name, value);
  }
  block_bytes_ += static_cast<uint32_t>(name.size() + value.size());
  if (block_bytes_ <= config_.common.max_headers_bytes && headers.size() <= config_.common.max_headers_count)
    return 0;
  stats_.header_overflow.add();
  stream.details = kTooManyHeaders;
  return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

void Http2Session::announce(Http2Stream& stream) {
  assert(server_ && !stream.announced);
  stream.announced = true;
  StreamReceiver& receiver = server_callbacks_->on_new_stream(stream);
  if (!stream.over) stream.receiver = &receiver;
}

void Http2Session::headers_complete(Http2Stream& stream, bool end_stream, bool trailers) {
  if (block_cookies_ > 1) block_->set(Name::cookie, cookies_);
  HeaderMapPtr headers = std::move(block_);
  block_stream_ = nullptr;
  bool informational = false;
  if (server_ && !stream.announced) {
    announce(stream);
  } else if (!server_ && !stream.final_headers) {
    trailers = false;
    std::string_view status = headers->get(Name::status);
    informational = !status.empty() && status[0] == '1';
    stream.final_headers = !informational;
  }
  StreamReceiver* receiver = stream.receiver;
  if (!receiver) return;
  stream.remote_end = end_stream;
  if (informational)
    receiver->on_informational(std::move(headers));
  else if (trailers)
    receiver->on_trailers(std::move(headers));
  else
    receiver->on_headers(std::move(headers), end_stream);
  if (stream.over) return;
  if (stream.complete()) return detach(stream);
  if (output_above_ && server_ && !trailers) {
    stream.told_above = true;
    receiver->on_above_write_high_watermark();
  }
}

// ---- out ----

void Http2Session::submit_headers(Http2Stream& stream, const HeaderMap& headers, uint8_t flags) {
  if (failed_ || lost_ || stream.reset_sent) return;
  static thread_local std::vector<nghttp2_nv> fields;
  fields.clear();
  // The map may go after the call; copied only where the frame is not written before that.
  bool written_now = !receiving_ && !flushing_ && (server_ || active_ <= remote_max_streams_);
  const uint8_t flag =
      written_now ? NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE : NGHTTP2_NV_FLAG_NONE;
  size_t pseudo = 0;
  for (const HeaderMap::Field& f : headers) {
    nghttp2_nv field{const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(f.name.data())),
                     const_cast<uint8_t*>(reinterpret_cast<const uint8_t*>(f.value.data())), f.name.size(),
                     f.value.size(), flag};
    switch (f.id) {
      case Name::connection:  // RFC 9113 section 8.2.2: of HTTP/1 alone
      case Name::keep_alive:
      case Name::proxy_connection:
      case Name::transfer_encoding:
      case Name::upgrade:
      case Name::http2_settings:
        continue;
      default:
        if (f.id == Name::other || f.id > Name::protocol) {
          if (!index_.worth(f)) field.flags |= NGHTTP2_NV_FLAG_NO_INDEX;
          fields.push_back(field);
        } else {  // pseudo-headers first, wherever they are in the map
          fields.insert(fields.begin() + static_cast<ptrdiff_t>(pseudo++), field);
        }
    }
  }
  bool first = stream.number < 0;
  int32_t id = nghttp2_submit_headers(nghttp2_, flags, stream.number, nullptr, fields.data(), fields.size(),
                                      first ? &stream : nullptr);
  if (id < 0) return fail(kUnknown, nghttp2_strerror(id), NGHTTP2_INTERNAL_ERROR);
  if (first) stream.number = id;
}

}  // namespace sluice::http
