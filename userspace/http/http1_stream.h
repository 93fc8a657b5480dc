#pragma once

#include <cstdint>

#include "http/codec.h"
#include "http/http1.h"
#include "http/http1_body.h"
#include "http/http1_head.h"
#include "http/http1_writer.h"

namespace sluice::http::http1 {

// The state of one message exchange, and its sending half: common to both ends of a connection, which derive from it.
// One object serves all exchanges of a connection, one after the other.
class Exchange : public Stream {
 public:
  Exchange(const Http1Config& config, Output& output);

  void send_data(Buffer&& data, bool end_stream) override;
  void send_trailers(const HeaderMap& trailers) override;
  void reset(ResetReason reason) override;
  void pause_reading() override;
  void resume_reading() override;
  // HTTP/1 sends at once; only what waits for an upgrade to be accepted is queued here.
  void set_buffer_limit(uint32_t bytes) override { buffer_limit_ = bytes; }
  bool above_write_high_watermark() const override { return connection_above_ || held_above_; }
  const Bytes& bytes() const override { return bytes_; }
  uint32_t id() const override { return 0; }
  Protocol protocol() const override { return protocol_; }

 protected:
  ~Exchange() = default;

  // The end of the own message was written, or reset() was called.
  virtual void on_sent_end() = 0;
  virtual void on_reset_by_user() = 0;

  void open_exchange(StreamReceiver& receiver);
  void close_exchange();  // the user's reference is void from here on
  // A block for a head, and its way out.
  void begin_head(size_t bound) { writer_.begin(output_.blocks(), bound); }
  void end_head(bool informational);
  // The fields of `headers` as the codec sends them; content-length, connection and transfer-encoding it looks after.
  void write_fields(const HeaderMap& headers, bool with_length);
  http1::Writer& writer() { return writer_; }
  void begin_body(Framing framing, uint64_t length);
  void end_message();
  void release_held();  // what waited for the upgrade goes out
  void refuse_held();  // no upgrade: what waited for it, and what may still be sent, is dropped
  void connection_watermark(bool above);
  // Tells the receiver what changed while it could not be told. Only from outside of the user's calls.
  void deliver_watermark();

  // Marks a call of the user's on its stream: no callback may come from inside.
  struct UserCall {
    explicit UserCall(Exchange& e) : exchange(e) { ++e.user_calls_; }
    ~UserCall() { --exchange.user_calls_; }
    Exchange& exchange;
  };

  const Http1Config& config_;
  Output& output_;
  StreamReceiver* receiver_ = nullptr;
  bool open_ = false;
  bool received_end_ = false;
  bool head_sent_ = false;
  bool sent_end_ = false;
  bool body_allowed_ = true;  // false: data is dropped (HEAD, 204, 304)
  bool hold_body_ = false;  // data waits for the other side's yes to an upgrade
  bool watermarks_ = false;  // the receiver may hear of them: a server's not before its request
  bool broken_ = false;  // own message does not fit its length: the connection ends with it
  Protocol protocol_ = Protocol::http11;
  uint64_t generation_ = 0;  // of the exchange
  Bytes bytes_;

 private:
  void write(Buffer&& data, bool is_header = false);

  Writer writer_;
  Framing framing_ = Framing::none;
  uint64_t length_left_ = 0;
  uint32_t pauses_ = 0;
  uint32_t user_calls_ = 0;
  uint32_t buffer_limit_ = 0;
  bool connection_above_ = false;
  bool held_above_ = false;
  bool told_above_ = false;
  Buffer held_;
  bool held_end_ = false;
};

}  // namespace sluice::http::http1
