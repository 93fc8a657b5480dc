#include <cassert>

#include "http/http1.h"
#include "http/http1_request.h"
#include "http/http1_stream.h"

namespace sluice::http {
namespace {

using http1::Framing;
using http1::Head;
using http1::HeadParser;
using http1::Refusal;

constexpr size_t kHeadRoom = 128;  // status line and what the codec adds

uint32_t parse_status(std::string_view s) {
  uint32_t n = 0;
  for (char c : s) n = n * 10 + static_cast<uint32_t>(c - '0');
  return n;
}

class Server final : public ServerConnection, private http1::Exchange {
 public:
  Server(const Http1Config& config, Http1Stats& stats, Output& output, ServerCallbacks& callbacks)
      : Exchange(config, output), callbacks_(callbacks), parser_(config.common, stats) {
    parser_.begin(HeadParser::Kind::request);
  }
  ~Server() override { assert(!open_ && depth_ == 0); }

  // ---- Connection ----
  Protocol protocol() const override { return protocol_; }
  std::optional<ProtocolError> receive(Buffer& data) override;
  std::optional<ProtocolError> receive_end() override;
  void connection_lost(ResetReason reason, std::string_view details) override;
  void on_above_write_high_watermark() override { connection_watermark(true); }
  void on_below_write_low_watermark() override { connection_watermark(false); }
  size_t active_streams() const override { return open_ ? 1 : 0; }
  void shutdown_notice() override {}
  void goaway() override;
  bool finished() const override { return state_ == State::closed || (open_ && sent_end_ && close_after_); }

  // ---- Stream ----
  void send_headers(const HeaderMap& headers, bool end_stream) override;
  void send_informational(const HeaderMap& headers) override;

 private:
  enum class State : uint8_t {
    head,      // the start line and fields of a request
    body,
    trailers,
    response,  // the request is whole, or an upgrade was asked for: nothing is taken before the response says how to go on
    raw,  // both directions carry the upgraded protocol's bytes
    refused,  // on_bad_message was called: nothing is taken any more, the answer is awaited
    closed,  // nothing can be exchanged any more
  };

  void on_sent_end() override;
  void on_reset_by_user() override { close_for_good(); }

  bool step();  // one state's worth of in_; false: no more to do now
  void read_head();
  void read_body();
  void read_trailers();
  void head_complete();
  void message_complete();  // the last callback has returned
  void refuse(const Refusal& refusal);
  void next_request();
  void close_for_good();
  void hold_reading();
  void release_reading();
  void open_stream();
  bool write_head(const HeaderMap& headers, uint32_t status, bool end_stream);

  ServerCallbacks& callbacks_;
  HeadParser parser_;
  http1::BodyReader body_;
  Buffer in_;
  State state_ = State::head;
  uint32_t depth_ = 0;  // of receive()
  bool close_after_ = false;  // the connection ends with this exchange
  bool reading_held_ = false;
  bool is_head_ = false, is_connect_ = false, upgrade_ = false;
  std::optional<ProtocolError> error_;
};

std::optional<ProtocolError> Server::receive(Buffer& data) {
  assert(depth_ == 0);
  if (state_ == State::closed || state_ == State::refused) {
    data.clear();
    return std::nullopt;
  }
  in_.append(std::move(data));
  data.clear();
  ++depth_;
  deliver_watermark();
  while (step()) {
  }
  --depth_;
  if (state_ == State::closed || state_ == State::refused) {
    in_.clear();
    release_reading();
  } else if (state_ == State::response && !in_.empty()) {
    hold_reading();
  }
  return std::exchange(error_, std::nullopt);
}

bool Server::step() {
  if (in_.empty()) return false;
  switch (state_) {
    case State::head:
      if (open_ &&
          sent_end_) {  // answered before the head was there (a time-out): the rest of it is of no use
        in_.clear();
        return false;
      }
      if (!open_) open_stream();
      read_head();
      return true;
    case State::body:
    case State::raw:
      read_body();
      return true;
    case State::trailers:
      read_trailers();
      return true;
    case State::response:
    case State::refused:
    case State::closed:
      return false;
  }
  return false;
}

// With the first byte, so that a time-out for the head counts from there and has something to answer.
void Server::open_stream() {
  protocol_ = Protocol::http11;
  is_head_ = is_connect_ = upgrade_ = false;
  open_exchange(callbacks_.on_new_stream(*this));
}

void Server::read_head() {
  switch (parser_.feed(in_)) {
    case HeadParser::Outcome::more:
      return;
    case HeadParser::Outcome::started: {
      const Head& head = parser_.head();
      is_head_ = head.is_head;
      is_connect_ = head.is_connect;
      if (head.http1 && head.minor == 0 && config_.http1.accept_http_10) protocol_ = Protocol::http10;
      return;
    }
    case HeadParser::Outcome::done:
      return head_complete();
    case HeadParser::Outcome::refused:
      return refuse(parser_.refusal());
  }
}

void Server::head_complete() {
  http1::RequestPlan plan;
  Head& head = parser_.head();
  if (std::optional<Refusal> refusal = http1::plan_request(head, config_.http1, plan))
    return refuse(*refusal);
  close_after_ |= plan.close;
  upgrade_ = plan.upgrade;
  bytes_.header_received = bytes_.wire_received = parser_.bytes();
  HeaderMapPtr headers = std::move(head.headers);
  const bool has_body = plan.chunked || plan.length > 0;
  parser_.begin(HeadParser::Kind::request);
  if (upgrade_) {
    state_ = State::response;
    if (head_sent_) close_after_ = true;  // answered before it was there
  } else if (has_body) {
    state_ = State::body;
    body_.begin(plan.chunked ? Framing::chunked : Framing::length, plan.length);
  } else {
    state_ = State::response;
    received_end_ = true;
  }
  const uint64_t generation = generation_;
  receiver_->on_headers(std::move(headers), received_end_);
  if (generation != generation_ || !open_) return;
  watermarks_ = true;
  deliver_watermark();
  if (received_end_) message_complete();
}

void Server::read_body() {
  const size_t before = in_.size();
  if (state_ == State::raw) {
    Buffer data = std::move(in_);
    bytes_.wire_received += before;
    return receiver_->on_data(data, false);
  }
  Buffer data;
  http1::BodyReader::Outcome outcome = body_.read(in_, data);
  bytes_.wire_received += before - in_.size();
  using Outcome = http1::BodyReader::Outcome;
  if (outcome == Outcome::done) {
    received_end_ = true;
    state_ = State::response;
    receiver_->on_data(data, true);
    return message_complete();
  }
  const uint64_t generation = generation_;
  if (outcome == Outcome::trailers) {
    state_ = State::trailers;
    parser_.begin(HeadParser::Kind::trailers);
  }
  // An error behind the data does not take the data back.
  if (!data.empty()) receiver_->on_data(data, false);
  if (outcome == Outcome::refused && generation == generation_ && open_ && state_ == State::body)
    refuse(body_.refusal());
}

void Server::read_trailers() {
  const size_t before = in_.size();
  HeadParser::Outcome outcome = parser_.feed(in_);
  bytes_.wire_received += before - in_.size();
  if (outcome == HeadParser::Outcome::more) return;
  if (outcome == HeadParser::Outcome::refused) return refuse(parser_.refusal());
  HeaderMapPtr trailers = std::move(parser_.head().headers);
  parser_.begin(HeadParser::Kind::request);
  received_end_ = true;
  state_ = State::response;
  if (config_.http1.enable_trailers && !trailers->empty()) {
    receiver_->on_trailers(std::move(trailers));
  } else {
    Buffer none;
    receiver_->on_data(none, true);
  }
  message_complete();
}

void Server::message_complete() {
  if (open_ && received_end_ && sent_end_) next_request();
}

// Both messages are through.
void Server::next_request() {
  if (close_after_ || broken_) return close_for_good();
  close_exchange();
  state_ = State::head;
  release_reading();
  if (depth_ == 0 && !in_.empty()) output_.receive_soon();
}

void Server::close_for_good() {
  if (open_) close_exchange();
  state_ = State::closed;
  parser_.reset();
  if (depth_ == 0) {
    in_.clear();
    release_reading();
  }
}

void Server::refuse(const Refusal& refusal) {
  close_after_ = true;
  if (head_sent_) {  // too late for an answer
    error_ = ProtocolError{refusal.details, refusal.message};
    StreamReceiver* receiver = receiver_;
    close_for_good();
    return receiver->on_reset(ResetReason::protocol_error, refusal.details);
  }
  state_ = State::refused;
  received_end_ = watermarks_ = true;
  parser_.reset();
  receiver_->on_bad_message(*this, refusal.status, refusal.details);
  message_complete();
}

void Server::hold_reading() {
  if (reading_held_) return;
  reading_held_ = true;
  output_.pause_reading();
}

void Server::release_reading() {
  if (!reading_held_) return;
  reading_held_ = false;
  output_.resume_reading();
}

std::optional<ProtocolError> Server::receive_end() {
  // Half-closed clients get no answer, as with Envoy.
  connection_lost(ResetReason::connection_termination, "downstream_remote_disconnect");
  return std::nullopt;
}

void Server::connection_lost(ResetReason reason, std::string_view details) {
  StreamReceiver* receiver = open_ ? receiver_ : nullptr;
  close_for_good();
  if (receiver) receiver->on_reset(reason, details);
}

void Server::goaway() {
  close_after_ = true;
  if (!open_ && state_ == State::head) close_for_good();
}

void Server::on_sent_end() {
  if (!received_end_) close_after_ = true;
  if (depth_ == 0) message_complete();
}

void Server::send_informational(const HeaderMap& headers) {
  assert(open_ && !head_sent_);
  if (!open_ || head_sent_ || protocol_ == Protocol::http10) return;  // RFC 9110 section 15.2
  UserCall call(*this);
  uint32_t status = parse_status(headers.get(Name::status));
  assert(status >= 100 && status < 200 && status != 101);
  begin_head(http1::fields_bound(headers) + kHeadRoom);
  write_head(headers, status, false);
  end_head(true);
}

void Server::send_headers(const HeaderMap& headers, bool end_stream) {
  assert(open_ && !head_sent_);
  if (!open_ || head_sent_) return;
  UserCall call(*this);
  uint32_t status = parse_status(headers.get(Name::status));
  begin_head(http1::fields_bound(headers) + kHeadRoom);
  bool raw = write_head(headers, status, end_stream);
  end_head(false);
  head_sent_ = true;
  if (raw) {
    state_ = State::raw;
    release_reading();
    if (depth_ == 0 && !in_.empty()) output_.receive_soon();
  }
  if (end_stream) end_message();
}

// Without the empty line. Says how the body goes on; true: as raw data.
bool Server::write_head(const HeaderMap& headers, uint32_t status, bool end_stream) {
  const bool http10 = protocol_ == Protocol::http10;
  http1::Writer& w = writer();
  w.text(http10 ? "HTTP/1.0 " : "HTTP/1.1 ");
  w.number(status);
  w.text(" ");
  w.text(http1::reason_phrase(status));
  w.text("\r\n");
  const bool informational = status < 200 && status != 101;
  const bool connected = is_connect_ && status >= 200 && status < 300;
  const bool switched = status == 101 && upgrade_ && !is_connect_;
  const bool raw = upgrade_ && (connected || switched) && state_ == State::response && !end_stream;
  const bool has_length = headers.has(Name::content_length);
  const bool bodiless = status < 200 || status == 204 || connected;
  write_fields(headers, !bodiless);
  if (informational) return false;

  const http1::ConnectionOptions given = http1::connection_options(headers);
  if (given.close || !received_end_) close_after_ = true;
  if (raw || switched) {
    begin_body(Framing::raw, 0);
    if (switched) w.field("connection", "upgrade");
    return raw;
  }
  if (bodiless || status == 304) {
    body_allowed_ = false;
    begin_body(Framing::none, 0);
  } else if (has_length) {
    body_allowed_ = !is_head_;
    begin_body(Framing::length, http1::parse_content_length(headers.get(Name::content_length)).value_or(0));
  } else if (end_stream) {
    if (!is_head_) w.field("content-length", "0");
    begin_body(Framing::none, 0);
  } else if (http10) {
    close_after_ = true;
    body_allowed_ = !is_head_;
    begin_body(Framing::until_close, 0);
  } else {
    w.field("transfer-encoding", "chunked");
    body_allowed_ = !is_head_;
    begin_body(Framing::chunked, 0);
  }
  if (close_after_)
    w.field("connection", "close");
  else if (http10)
    w.field("connection", "keep-alive");
  return false;
}

}  // namespace

std::unique_ptr<ServerConnection> make_http1_server(const Http1Config& config, Http1Stats& stats,
                                                    Output& output, ServerCallbacks& callbacks) {
  return std::make_unique<Server>(config, stats, output, callbacks);
}

}  // namespace sluice::http
