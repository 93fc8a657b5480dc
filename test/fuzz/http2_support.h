#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "test/unit/http/http2_harness.h"

// What the HTTP/2 targets share: a user of the codec that does with each message what `data[0]` says, and what must hold
// whatever the peer sends.
namespace sluice::http::fuzz {

#define FUZZ_CHECK(x)                                                      \
  do {                                                                     \
    if (!(x)) {                                                            \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #x); \
      std::abort();                                                        \
    }                                                                      \
  } while (false)

// Takes a message; checks the order of the calls.
class Taker final : public StreamReceiver {
 public:
  enum Habit : uint8_t { kAnswer = 1, kPause = 2, kResetOnData = 4, kResetOnHeaders = 8, kAnswerEarly = 16 };

  Taker(uint8_t habits, bool server, BlockPool& pool) : habits_(habits), server_(server), pool_(pool) {}
  void open(Stream& stream) { stream_ = &stream; }

  void on_headers(HeaderMapPtr headers, bool end_stream) override {
    FUZZ_CHECK(!over_ && !head_ && !end_);
    head_ = true;
    log_ += "H " + test::to_text(*headers);
    if (server_) {
      bool connect = headers->get(Name::method) == "CONNECT";
      FUZZ_CHECK(headers->has(Name::method));
      FUZZ_CHECK(connect || headers->has(Name::path));
      FUZZ_CHECK(connect || headers->has(Name::scheme));
    } else {
      FUZZ_CHECK(headers->get(Name::status).size() == 3);
    }
    FUZZ_CHECK(!headers->has(Name::connection) && !headers->has(Name::transfer_encoding));
    if (habits_ & kPause) stream_->pause_reading(), paused_ = true;
    if (habits_ & kResetOnHeaders) return reset();
    if (habits_ & kAnswerEarly && server_) answer(false);
    ended(end_stream);
  }
  void on_informational(HeaderMapPtr) override { FUZZ_CHECK(!server_ && !over_ && !head_); }
  void on_data(Buffer& data, bool end_stream) override {
    FUZZ_CHECK(!over_ && head_ && !end_);
    size_ += data.size();
    for (size_t i = 0; i < data.chunks(); ++i)
      for (char c : data.chunk(i).view()) sum_ = sum_ * 31 + static_cast<uint8_t>(c);
    if (habits_ & kResetOnData) return reset();
    ended(end_stream);
  }
  void on_trailers(HeaderMapPtr trailers) override {
    FUZZ_CHECK(!over_ && head_ && !end_);
    log_ += "T " + test::to_text(*trailers);
    ended(true);
  }
  void on_reset(ResetReason reason, std::string_view) override {
    FUZZ_CHECK(!over_);
    over_ = true;
    // Not why: of two causes in one receive() either may come first. Nor how much came before: the data of a window
    // overrun is handed on as far as it lay in the same piece.
    log_ += "R";
    broken_ = reason != ResetReason::connection_termination;
  }
  void on_above_write_high_watermark() override {
    FUZZ_CHECK(!over_ && !above_);
    above_ = true;
  }
  void on_below_write_low_watermark() override {
    FUZZ_CHECK(!over_ && above_);
    above_ = false;
  }

  void resume() {
    if (over_ || !paused_) return;
    paused_ = false;
    stream_->resume_reading();
  }
  std::string log() const {
    if (broken_) return log_ + "\n";
    return log_ + " D " + std::to_string(size_) + " " + std::to_string(sum_) + (end_ ? " E\n" : "\n");
  }

 private:
  void ended(bool end_stream) {
    if (!end_stream || over_) return;
    end_ = true;
    if (server_ && !answered_ && habits_ & kAnswer) answer(true);
    if (answered_ || (!server_ && sent_)) over_ = true;  // both ends: the stream is gone
  }
  void answer(bool with_body) {
    answered_ = true;
    stream_->send_headers(*test::headers({{":status", "200"}, {"x", "y"}}), !with_body);
    if (with_body) stream_->send_data(test::body(pool_, size_ + 5000), true);
  }
  void reset() {
    over_ = true;
    stream_->reset(ResetReason::local_reset);
  }

 public:
  bool sent_ = false;  // client: the request was sent to its end

 private:
  const uint8_t habits_;
  const bool server_;
  BlockPool& pool_;
  Stream* stream_ = nullptr;
  std::string log_;
  size_t size_ = 0;
  uint64_t sum_ = 0;
  bool over_ = false, head_ = false, end_ = false, answered_ = false, paused_ = false, above_ = false,
       broken_ = false;
};

// Gives `bytes` to `take` in pieces; seed 0: in one.
template <typename Take>
void in_parts(std::string_view bytes, uint64_t seed, Take take) {
  if (seed == 0) return take(bytes);
  Random random(seed);
  while (!bytes.empty()) {
    size_t n = std::min<size_t>(bytes.size(), 1 + random.below(random.below(4) ? 12 : 200));
    take(bytes.substr(0, n));
    bytes.remove_prefix(n);
  }
}

inline Http2Config config_of(uint8_t flags) {
  Http2Config config;
  config.http2.override_stream_error = flags & 1;
  config.http2.allow_connect = flags & 2;
  config.common.max_headers_bytes = flags & 4 ? 300 : 60 * 1024;
  config.common.max_headers_count = flags & 4 ? 8 : 100;
  config.common.underscores = flags & 4 ? UnderscoreAction::drop_header : UnderscoreAction::allow;
  config.http2.initial_stream_window = flags & 8 ? 65535 : 100;
  config.http2.initial_connection_window = flags & 8 ? 1 << 20 : 65535;
  config.http2.max_concurrent_streams = flags & 16 ? 3 : 100;
  return config;
}

// In no order: requests whose heads are broken are told at the end of a receive(). Not whether the connection failed:
// after a GOAWAY and the last stream nghttp2 stops looking, sooner or later in a piece.
inline std::string log_of(const std::deque<Taker>& takers) {
  std::vector<std::string> lines;
  for (const Taker& t : takers) lines.push_back(t.log());
  std::sort(lines.begin(), lines.end());
  std::string all;
  for (const std::string& line : lines) all += line;
  return all;
}

// Nothing is left of a connection that is gone.
inline void check_nothing_left(const Http2Stats& stats, const BlockPool& pool) {
  FUZZ_CHECK(stats.streams_active.slot_value() == 0);
  FUZZ_CHECK(stats.pending_send_bytes.slot_value() == 0);
  FUZZ_CHECK(stats.outbound_frames_active.slot_value() == 0);
  FUZZ_CHECK(stats.outbound_control_frames_active.slot_value() == 0);
  FUZZ_CHECK(pool.outstanding() == 0);
}

}  // namespace sluice::http::fuzz
