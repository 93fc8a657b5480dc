#include "http/http1_stream.h"

#include <cassert>
#include <charconv>

#include "http/http1_chars.h"

namespace sluice::http::http1 {
namespace {

constexpr size_t kChunkLineMax =
    2 + 16 + 2 + 2 + 5;  // CRLF of the one before, size, CRLF; at the end "0" and CRLF twice

}  // namespace

Exchange::Exchange(const Http1Config& config, Output& output)
    : config_(config), output_(output), writer_(config.http1.key_format) {}

void Exchange::open_exchange(StreamReceiver& receiver) {
  assert(!open_);
  receiver_ = &receiver;
  open_ = true;
  received_end_ = head_sent_ = sent_end_ = hold_body_ = held_end_ = watermarks_ = false;
  body_allowed_ = true;
  told_above_ = held_above_ = false;
  framing_ = Framing::none;
  bytes_ = {};
  ++generation_;
}

void Exchange::close_exchange() {
  assert(open_);
  open_ = false;
  receiver_ = nullptr;
  held_.clear();
  writer_.finish();
  for (; pauses_ > 0; --pauses_) output_.resume_reading();
}

void Exchange::write(Buffer&& data, bool is_header) {
  bytes_.wire_sent += data.size();
  if (is_header) bytes_.header_sent += data.size();
  output_.write(std::move(data));
}

void Exchange::end_head(bool informational) {
  writer_.text("\r\n");
  Buffer head;
  writer_.end(head);
  if (informational) writer_.finish();
  write(std::move(head), true);
}

void Exchange::write_fields(const HeaderMap& headers, bool with_length) {
  bool has_authority = headers.has(Name::authority);
  for (const HeaderMap::Field& f : headers) {
    switch (f.id) {
      case Name::authority:
        writer_.field("host", f.value);
        continue;
      case Name::host:
        if (has_authority) continue;
        break;
      case Name::method:
      case Name::path:
      case Name::scheme:
      case Name::status:
      case Name::protocol:
      case Name::connection:
      case Name::transfer_encoding:
        continue;
      case Name::content_length:
        if (!with_length) continue;
        break;
      case Name::other:
        if (f.name.empty() || f.name[0] == ':') continue;
        break;
      default:
        break;
    }
    writer_.field(f.name, f.value);
  }
}

void Exchange::begin_body(Framing framing, uint64_t length) {
  framing_ = framing;
  length_left_ = length;
}

void Exchange::send_data(Buffer&& data, bool end_stream) {
  assert(open_ && head_sent_ && !sent_end_);
  if (!open_ || sent_end_) return data.clear();
  UserCall call(*this);
  if (hold_body_) {
    held_.append(std::move(data));
    held_end_ |= end_stream;
    held_above_ = buffer_limit_ > 0 && held_.size() > buffer_limit_;
    if (held_above_ && !told_above_) output_.receive_soon();
    return;
  }
  if (!body_allowed_ || framing_ == Framing::none) {
    data.clear();
  } else if (!data.empty()) {
    if (framing_ == Framing::length) {
      if (data.size() > length_left_) {  // more would be taken for the next message
        broken_ = true;
        Buffer fits;
        data.move_front_to(fits, length_left_);
        data = std::move(fits);
      }
      length_left_ -= data.size();
      if (!data.empty()) write(std::move(data));
    } else if (framing_ == Framing::chunked) {
      Buffer out;
      char size[16];
      auto [size_end, error] = std::to_chars(size, size + sizeof size, data.size(), 16);
      (void)error;
      writer_.begin(output_.blocks(), kChunkLineMax);
      writer_.text({size, static_cast<size_t>(size_end - size)});
      writer_.text("\r\n");
      writer_.end(out);
      out.append(std::move(data));
      writer_.begin(output_.blocks(), kChunkLineMax);
      writer_.text(end_stream ? "\r\n0\r\n\r\n" : "\r\n");
      writer_.end(out);
      write(std::move(out));
      if (end_stream) framing_ = Framing::none;  // the last chunk is out
    } else {
      write(std::move(data));
    }
  }
  data.clear();
  if (end_stream) end_message();
}

void Exchange::send_trailers(const HeaderMap& trailers) {
  assert(open_ && head_sent_ && !sent_end_);
  if (!open_ || sent_end_) return;
  UserCall call(*this);
  if (hold_body_) {
    held_end_ = true;
    return;
  }
  if (framing_ == Framing::chunked && body_allowed_ && config_.http1.enable_trailers) {
    Buffer out;
    writer_.begin(output_.blocks(), fields_bound(trailers) + kChunkLineMax);
    writer_.text("0\r\n");
    write_fields(trailers, false);
    writer_.text("\r\n");
    writer_.end(out);
    framing_ = Framing::none;
    write(std::move(out));
  }
  end_message();
}

void Exchange::end_message() {
  if (body_allowed_ && framing_ == Framing::chunked) {
    Buffer out;
    writer_.begin(output_.blocks(), kChunkLineMax);
    writer_.text("0\r\n\r\n");
    writer_.end(out);
    write(std::move(out));
  }
  if (body_allowed_ && framing_ == Framing::length && length_left_ > 0)
    broken_ = true;  // the peer waits for the rest
  sent_end_ = true;
  writer_.finish();
  on_sent_end();
}

void Exchange::release_held() {
  hold_body_ = false;
  held_above_ = false;
  framing_ = Framing::raw;
  if (!held_.empty()) write(std::move(held_));
  held_.clear();
  if (held_end_) end_message();
}

void Exchange::refuse_held() {
  hold_body_ = held_above_ = false;
  body_allowed_ = false;
  held_.clear();
  if (held_end_) end_message();
}

void Exchange::reset(ResetReason) {
  assert(open_);
  if (!open_) return;
  UserCall call(*this);
  on_reset_by_user();
}

void Exchange::pause_reading() {
  assert(open_);
  ++pauses_;
  output_.pause_reading();
}

void Exchange::resume_reading() {
  assert(open_ && pauses_ > 0);
  if (pauses_ == 0) return;
  --pauses_;
  output_.resume_reading();
}

void Exchange::connection_watermark(bool above) {
  connection_above_ = above;
  deliver_watermark();
}

void Exchange::deliver_watermark() {
  if (!open_ || !watermarks_ || told_above_ == above_write_high_watermark()) return;
  if (user_calls_ > 0) return output_.receive_soon();
  told_above_ = above_write_high_watermark();
  if (told_above_)
    receiver_->on_above_write_high_watermark();
  else
    receiver_->on_below_write_low_watermark();
}

}  // namespace sluice::http::http1
