#include <cassert>

#include "http/http1.h"
#include "http/http1_chars.h"
#include "http/http1_request.h"
#include "http/http1_stream.h"

namespace sluice::http {
namespace {

using http1::codec_error;
using http1::Framing;
using http1::Head;
using http1::HeadParser;
using http1::Refusal;

constexpr size_t kHeadRoom = 128;  // what the codec adds

// Methods whose requests have no body unless something says so (Envoy writes no "content-length: 0" for them).
bool is_bodiless(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "DELETE" || method == "TRACE" ||
         method == "CONNECT";
}

class Client final : public ClientConnection, private http1::Exchange {
 public:
  Client(const Http1Config& config, Http1Stats& stats, Output& output, ClientCallbacks&)
      : Exchange(config, output), parser_(config.common, stats) {
    parser_.begin(HeadParser::Kind::response);
  }
  ~Client() override { assert(!open_ && depth_ == 0); }

  // ---- Connection ----
  Protocol protocol() const override { return protocol_; }
  std::optional<ProtocolError> receive(Buffer& data) override;
  std::optional<ProtocolError> receive_end() override;
  void connection_lost(ResetReason reason, std::string_view details) override;
  void on_above_write_high_watermark() override { connection_watermark(true); }
  void on_below_write_low_watermark() override { connection_watermark(false); }
  size_t active_streams() const override { return open_ ? 1 : 0; }
  Stream& new_stream(StreamReceiver& receiver) override;
  bool can_open_stream() const override { return !open_ && !finished(); }
  uint32_t max_streams() const override { return 1; }
  bool finished() const override { return state_ == State::closed || close_after_; }

  // ---- Stream ----
  void send_headers(const HeaderMap& headers, bool end_stream) override;
  void send_informational(const HeaderMap&) override { assert(false); }

 private:
  enum class State : uint8_t {
    head,
    body,
    trailers,
    complete,  // the response is whole
    raw,  // both directions carry the upgraded protocol's bytes
    closed,  // nothing can be exchanged any more
  };

  void on_sent_end() override;
  void on_reset_by_user() override { close_for_good(); }

  bool step();  // false: no more to do now
  void read_head();
  void read_body();
  void read_trailers();
  void head_complete();
  std::optional<Refusal> check_head(Head& head, bool& bodiless);
  void message_complete();  // the last callback has returned
  void fail(const Refusal& refusal);
  void close_for_good();

  HeadParser parser_;
  http1::BodyReader body_;
  Buffer in_;
  State state_ = State::head;
  uint32_t depth_ = 0;
  bool close_after_ = false;  // no exchange follows this one
  bool is_head_ = false, is_connect_ = false, upgrade_ = false;
  std::optional<ProtocolError> error_;
};

Stream& Client::new_stream(StreamReceiver& receiver) {
  assert(can_open_stream());
  is_head_ = is_connect_ = upgrade_ = false;
  state_ = State::head;
  protocol_ = Protocol::http11;
  open_exchange(receiver);
  watermarks_ = true;
  deliver_watermark();
  return *this;
}

void Client::send_headers(const HeaderMap& headers, bool end_stream) {
  assert(open_ && !head_sent_);
  if (!open_ || head_sent_) return;
  UserCall call(*this);
  std::string_view method = headers.get(Name::method), path = headers.get(Name::path),
                   authority = headers.get(Name::authority);
  assert(!method.empty());
  is_head_ = method == "HEAD";
  is_connect_ = method == "CONNECT";
  upgrade_ = is_connect_ || http1::is_upgrade(headers);
  const bool qualified = config_.http1.send_fully_qualified_url && !is_connect_ && path != "*";
  std::string_view scheme = headers.get(Name::scheme);
  begin_head(http1::fields_bound(headers) + kHeadRoom +
             3 * (method.size() + path.size() + authority.size() + scheme.size()));
  http1::Writer& w = writer();
  w.target(method);
  w.text(" ");
  if (is_connect_) {
    w.target(authority);
  } else {
    if (qualified) {
      w.target(scheme.empty() ? "http" : scheme);
      w.text("://");
      w.target(authority);
    }
    w.target(path.empty() ? "/" : path);
  }
  w.text(" HTTP/1.1\r\n");
  if (!headers.has(Name::authority) && !headers.has(Name::host)) w.field("host", "");
  const bool has_length = headers.has(Name::content_length) && !upgrade_;
  write_fields(headers, has_length);
  const http1::ConnectionOptions given = http1::connection_options(headers);
  if (given.close) close_after_ = true;
  for (const HeaderMap::Field& f : headers)
    if (f.id == Name::connection) w.field("connection", f.value);
  if (upgrade_) {
    close_after_ = true;
    hold_body_ = true;
    begin_body(Framing::raw, 0);
  } else if (has_length) {
    begin_body(Framing::length, http1::parse_content_length(headers.get(Name::content_length)).value_or(0));
  } else if (end_stream) {
    if (!is_bodiless(method)) w.field("content-length", "0");
    begin_body(Framing::none, 0);
  } else {
    w.field("transfer-encoding", "chunked");
    begin_body(Framing::chunked, 0);
  }
  end_head(false);
  head_sent_ = true;
  if (end_stream) end_message();
}

std::optional<ProtocolError> Client::receive(Buffer& data) {
  assert(depth_ == 0);
  if (state_ == State::closed) {
    data.clear();
    return std::nullopt;
  }
  ++depth_;
  deliver_watermark();
  in_.append(std::move(data));
  data.clear();
  while (!in_.empty() && state_ != State::closed && step()) {
  }
  --depth_;
  return std::exchange(error_, std::nullopt);
}

bool Client::step() {
  if (!open_) {
    // Nobody asked. A server that closes an idle connection may say 408 before it does (RFC 9110 section 15.5.9), which
    // is no error; what it says is in the first twelve bytes.
    close_after_ = true;
    std::string scratch;
    std::string_view start = in_.peek(12, scratch);
    if (start.size() < 12) return false;
    if (start.starts_with("HTTP/1.") && start.ends_with(" 408"))
      close_for_good();
    else
      fail(codec_error("a response without a request"));
    return true;
  }
  if (state_ == State::complete) {  // the request still goes on; the connection ends with it
    in_.clear();
    return true;
  }
  if (!head_sent_) {
    fail(codec_error("a response without a request"));
    return true;
  }
  switch (state_) {
    case State::head:
      read_head();
      return true;
    case State::body:
    case State::raw:
      read_body();
      return true;
    case State::trailers:
      read_trailers();
      return true;
    case State::complete:
    case State::closed:
      break;
  }
  return false;
}

void Client::read_head() {
  const size_t before = in_.size();
  HeadParser::Outcome outcome = parser_.feed(in_);
  bytes_.wire_received += before - in_.size();
  bytes_.header_received += before - in_.size();
  if (outcome == HeadParser::Outcome::done) return head_complete();
  if (outcome == HeadParser::Outcome::refused) fail(parser_.refusal());
}

// RFC 9112 section 6.3. What remains says how the body is framed.
std::optional<Refusal> Client::check_head(Head& head, bool& bodiless) {
  HeaderMap& headers = *head.headers;
  const bool connected = is_connect_ && head.status >= 200 && head.status < 300;
  if (head.status == 101 && (!upgrade_ || is_connect_)) return codec_error("101 without an upgrade");
  if (head.status < 200 || head.status == 204) {
    if (head.encoding_seen)
      return Refusal{502, "http1.transfer_encoding_not_allowed",
                     "transfer encoding not allowed in 1xx or 204"};
    if (head.length_seen && (head.length_bad || head.length > 0))
      return Refusal{502, "http1.content_length_not_allowed", "content length not allowed in 1xx or 204"};
    headers.remove(Name::content_length);
  }
  if (head.encoding_seen) {
    if (head.length_seen) {
      if (!config_.http1.allow_chunked_length)
        return Refusal{502, "http1.content_length_and_chunked_not_allowed",
                       "both Content-Length and Transfer-Encoding are set"};
      headers.remove(Name::content_length);
    }
    if (head.encoding_bad || connected || head.minor == 0)
      return Refusal{502, "http1.invalid_transfer_encoding", "unsupported transfer encoding"};
  } else if (head.length_bad) {
    return codec_error("INVALID_CONTENT_LENGTH");
  }
  if (connected) headers.remove(Name::content_length);
  bodiless = is_head_ || head.status == 204 || head.status == 304 ||
             (!head.encoding_seen && head.length_seen && head.length == 0 && !connected);
  return std::nullopt;
}

void Client::head_complete() {
  Head& head = parser_.head();
  bool bodiless = false;
  if (std::optional<Refusal> refusal = check_head(head, bodiless)) return fail(*refusal);
  const uint16_t status = head.status;
  HeaderMapPtr headers = std::move(head.headers);
  if (status < 200 && status != 101) {
    parser_.begin(HeadParser::Kind::response);
    return receiver_->on_informational(std::move(headers));
  }
  protocol_ = head.minor == 0 ? Protocol::http10 : Protocol::http11;
  const http1::ConnectionOptions given = http1::connection_options(*headers);
  if (given.close || (protocol_ == Protocol::http10 && !given.keep_alive)) close_after_ = true;
  const bool chunked = head.encoding_seen;
  const bool length_seen = head.length_seen && !chunked;
  const uint64_t length = head.length;
  parser_.begin(HeadParser::Kind::response);
  const uint64_t generation = generation_;
  if (status == 101 || (is_connect_ && status >= 200 && status < 300)) {
    state_ = State::raw;
    receiver_->on_headers(std::move(headers), false);
    if (generation == generation_ && open_) release_held();
    if (generation == generation_ && open_) deliver_watermark();
    return;
  }
  if (!sent_end_) close_after_ = true;  // the rest of the request is not waited for
  if (hold_body_) refuse_held();
  if (bodiless) {
    received_end_ = true;
    state_ = State::complete;
    receiver_->on_headers(std::move(headers), true);
    return message_complete();
  }
  state_ = State::body;
  if (!chunked && !length_seen) close_after_ = true;
  body_.begin(chunked ? Framing::chunked : length_seen ? Framing::length : Framing::until_close, length);
  receiver_->on_headers(std::move(headers), false);
}

void Client::read_body() {
  const size_t before = in_.size();
  if (state_ == State::raw) {
    Buffer data = std::move(in_);
    bytes_.wire_received += before;
    return receiver_->on_data(data, false);
  }
  Buffer data;
  using Outcome = http1::BodyReader::Outcome;
  Outcome outcome = body_.read(in_, data);
  bytes_.wire_received += before - in_.size();
  if (outcome == Outcome::done) {
    received_end_ = true;
    state_ = State::complete;
    receiver_->on_data(data, true);
    return message_complete();
  }
  const uint64_t generation = generation_;
  if (outcome == Outcome::trailers) {
    state_ = State::trailers;
    parser_.begin(HeadParser::Kind::trailers);
  }
  if (!data.empty()) receiver_->on_data(data, false);
  if (outcome == Outcome::refused && generation == generation_ && open_) fail(body_.refusal());
}

void Client::read_trailers() {
  const size_t before = in_.size();
  HeadParser::Outcome outcome = parser_.feed(in_);
  bytes_.wire_received += before - in_.size();
  if (outcome == HeadParser::Outcome::more) return;
  if (outcome == HeadParser::Outcome::refused) return fail(parser_.refusal());
  HeaderMapPtr trailers = std::move(parser_.head().headers);
  parser_.begin(HeadParser::Kind::response);
  received_end_ = true;
  state_ = State::complete;
  if (config_.http1.enable_trailers && !trailers->empty()) {
    receiver_->on_trailers(std::move(trailers));
  } else {
    Buffer none;
    receiver_->on_data(none, true);
  }
  message_complete();
}

void Client::message_complete() {
  if (!open_ || !received_end_ || !sent_end_) return;
  if (close_after_ || broken_) return close_for_good();
  close_exchange();
  state_ = State::head;
}

void Client::close_for_good() {
  if (open_) close_exchange();
  state_ = State::closed;
  parser_.reset();
  in_.clear();
}

void Client::fail(const Refusal& refusal) {
  error_ = ProtocolError{refusal.details, refusal.message};
  connection_lost(ResetReason::protocol_error, refusal.details);
}

void Client::on_sent_end() {
  if (broken_) close_after_ = true;
  if (depth_ == 0) message_complete();
}

std::optional<ProtocolError> Client::receive_end() {
  if (!open_) {
    close_for_good();
    return std::nullopt;
  }
  close_after_ = true;
  if (state_ == State::raw || (state_ == State::body && body_.framing() == Framing::until_close)) {
    received_end_ = true;
    state_ = State::complete;
    ++depth_;
    Buffer none;
    receiver_->on_data(none, true);
    --depth_;
    message_complete();
    return std::nullopt;
  }
  if (state_ == State::head && parser_.idle()) {
    connection_lost(ResetReason::connection_termination, "");
    return std::nullopt;
  }
  if (state_ == State::complete) {  // the request cannot be sent to its end any more
    connection_lost(ResetReason::connection_termination, "");
    return std::nullopt;
  }
  fail(codec_error("the peer closed in the middle of a response"));
  return std::exchange(error_, std::nullopt);
}

void Client::connection_lost(ResetReason reason, std::string_view details) {
  StreamReceiver* receiver = open_ ? receiver_ : nullptr;
  close_for_good();
  if (receiver) receiver->on_reset(reason, details);
}

}  // namespace

std::unique_ptr<ClientConnection> make_http1_client(const Http1Config& config, Http1Stats& stats,
                                                    Output& output, ClientCallbacks& callbacks) {
  return std::make_unique<Client>(config, stats, output, callbacks);
}

}  // namespace sluice::http
