#include <doctest/doctest.h>

#include "http2_frames.h"

// What a peer may do to cost us work, memory or sense; and faults of the framing (RFC 9113 sections 4 to 6).
using namespace sluice;
using namespace sluice::http;
using namespace sluice::http::test;

namespace {

// Sends `one` again and again until the connection ends; how often it was taken. `reads`: the peer reads what we write.
template <typename RawSide>
int flood(RawSide& raw, const std::string& one, int most, bool reads) {
  for (int i = 0; i < most; ++i) {
    receive(raw.side, bytes(raw.pool, one));
    if (raw.side.error) return i;
    if (reads) raw.written();
  }
  return most;
}

}  // namespace

TEST_CASE("No preface") {
  Raw<Server> raw;
  auto frames = raw.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n");
  REQUIRE(frames.size() >= 2);
  CHECK(frames[0].type == kSettings);
  CHECK(goaway_code(frames) == kProtocolError);
  CHECK(raw.side.error);
}

TEST_CASE("The first frames of a server") {
  Http2Config config;
  config.http2.max_concurrent_streams = 7;
  config.http2.initial_stream_window = 100'000;
  config.http2.initial_connection_window = 300'000;
  config.http2.allow_connect = true;
  Raw<Server> raw(config);
  auto frames = raw.send(kPreface + frame(kSettings, 0, 0));
  REQUIRE(frames.size() == 3);
  CHECK(frames[0].type == kSettings);
  CHECK(frames[0].payload == u16(1) + u32(4096) + u16(8) + u32(1) + u16(3) + u32(7) + u16(4) + u32(100'000));
  CHECK(find(frames, kWindowUpdate, 0)->number() == 300'000 - 65535);
}

TEST_CASE("Faults of the framing end the connection with their code") {
  const std::string settings_bad_window = u16(4) + u32(0x80000000);
  const std::vector<std::tuple<std::string, std::string, uint32_t>> faults = {
      {"data on an idle stream", frame(kData, 0, 1, "x"), kProtocolError},
      {"an even stream", get_frame(2), kProtocolError},
      {"headers on stream 0", get_frame(0), kProtocolError},
      {"too large a frame", frame(kData, 0, 1, std::string(16385, 'x')), kFrameSizeError},
      {"a short PING", frame(kPing, 0, 0, "1234"), kFrameSizeError},
      {"PING on a stream", frame(kPing, 0, 1, "12345678"), kProtocolError},
      {"SETTINGS that is no multiple of six", frame(kSettings, 0, 0, "1234"), kFrameSizeError},
      {"SETTINGS acknowledgement with content", frame(kSettings, kAck, 0, "123456"), kFrameSizeError},
      {"too large an initial window", frame(kSettings, 0, 0, settings_bad_window), kFlowControlError},
      {"ENABLE_PUSH neither 0 nor 1", frame(kSettings, 0, 0, u16(2) + u32(2)), kProtocolError},
      {"too small a frame size", frame(kSettings, 0, 0, u16(5) + u32(100)), kProtocolError},
      {"PUSH_PROMISE from a client", post_frame(1) + frame(kPushPromise, 4, 1, u32(2)), kProtocolError},
      {"window update by 0", window_frame(0, 0), kProtocolError},
      {"connection window beyond 2^31-1", window_frame(0, 0x7fffffff), kFlowControlError},
      {"window update of an idle stream", window_frame(9, 1), kProtocolError},
      {"reset of an idle stream", rst_frame(9, 0), kProtocolError},
      {"padding longer than the frame", post_frame(1) + frame(kData, kPadded, 1, "\x05xx"), kProtocolError},
      {"a block interrupted", frame(kHeaders, 0, 1, hpack(request_fields())) + frame(kPing, 0, 0, "12345678"),
       kProtocolError},
      {"CONTINUATION of nothing", frame(kContinuation, kEndHeaders, 1, ""), kProtocolError},
      {"HPACK: an index beyond the table", frame(kHeaders, kEndHeaders, 1, "\xff\x20"), kCompressionError},
      {"HPACK: a table larger than offered", frame(kHeaders, kEndHeaders, 1, "\x3f\xe2\x1f\x82"),
       kCompressionError},
      {"headers on a closed stream", get_frame(1) + headers_frame(1, {{"x", "y"}}, true), kStreamClosed},
      {"data on a half-closed stream", get_frame(1) + frame(kData, 0, 1, "x"), kStreamClosed},
  };
  for (const auto& [what, text, code] : faults) {
    CAPTURE(what);
    RawClient raw;
    auto frames = raw.send(text);
    uint32_t said = goaway_code(frames);
    if (said == ~0u) said = reset_code(frames, 1);  // a stream's fault alone
    CHECK(said == code);
    for (Receiver& r : raw.server().streams)
      if (raw.server().error) CHECK(r.reset == ResetReason::protocol_error);
  }
}

TEST_CASE("More data than the window allows") {
  Http2Config config;
  config.http2.initial_stream_window = 65535;
  config.http2.initial_connection_window = 1 << 20;
  const std::string data = frame(kData, 0, 1, std::string(16384, 'x'));
  RawClient raw(config);
  raw.server().setup = [](Receiver& r) { r.headers_hook = [](Receiver& r) { r.stream->pause_reading(); }; };
  auto frames = raw.send(post_frame(1) + data + data + data + data + data + get_frame(3));
  CHECK((reset_code(frames, 1) == kFlowControlError || goaway_code(frames) == kFlowControlError));
  CHECK(raw.server().streams[0].reset == ResetReason::protocol_error);
}

TEST_CASE("Data on closed streams gives its window back, however it is cut") {
  Http2Config config;
  config.http2.initial_connection_window = 65535;
  RawClient raw(config);
  raw.send(post_frame(1) + rst_frame(1, kCancel));
  std::string data;
  for (int i = 0; i < 20; ++i) data += frame(kData, 0, 1, std::string(10000, 'x'));
  uint64_t returned = 0;
  int told = 0;
  for (size_t at = 0, n = 1; at < data.size(); at += n, n = n % 7919 * 3 + 1)
    for (const Frame& f : raw.send(std::string_view(data).substr(at, n))) {
      if (f.type == kWindowUpdate && f.stream == 0) returned += f.number();
      told += f.type == kRstStream;
    }
  CHECK(returned > 150'000);
  CHECK(told == 1);
  CHECK_FALSE(raw.server().error);
}

TEST_CASE("Frames on streams that are not open any more") {
  RawClient raw;
  raw.server().setup = [](Receiver& r) {
    r.headers_hook = [](Receiver& r) {
      if (r.end) r.stream->send_headers(*headers({{":status", "200"}}), true);
    };
  };
  raw.send(get_frame(1) + post_frame(3) + get_frame(9));
  raw.server().streams[1].stream->reset(ResetReason::local_reset);
  raw.written();
  SUBCASE("we reset it: they were on their way") {
    CHECK(raw.send(frame(kData, kEndStream, 3, "x") + headers_frame(3, {{"x", "y"}}, true)).empty());
    CHECK_FALSE(raw.server().error);
  }
  SUBCASE("the peer ended it") {
    CHECK(goaway_code(raw.send(get_frame(1))) == kStreamClosed);
  }
  SUBCASE("the peer reset it") {
    raw.send(post_frame(11) + rst_frame(11, kCancel));
    CHECK(goaway_code(raw.send(post_frame(11))) == kStreamClosed);
  }
  SUBCASE("data, and the peer had ended it: told once") {
    CHECK(reset_code(raw.send(frame(kData, 0, 1, "x")), 1) == kStreamClosed);
    CHECK(raw.send(frame(kData, 0, 1, "x") + frame(kData, kEndStream, 1, "x")).empty());
    CHECK_FALSE(raw.server().error);
  }
  SUBCASE("data, and the peer had reset it") {
    auto frames = raw.send(post_frame(11) + rst_frame(11, kCancel) + frame(kData, 0, 11, "x"));
    CHECK(reset_code(frames, 11) == kStreamClosed);
    CHECK_FALSE(raw.server().error);
  }
  SUBCASE("it was left out") {
    CHECK(goaway_code(raw.send(get_frame(5))) == kProtocolError);
  }
  SUBCASE("many resets later") {
    for (uint32_t id = 11; id < 1011; id += 2) {
      raw.send(post_frame(id));
      raw.server().streams.back().stream->reset(ResetReason::local_reset);
    }
    raw.written();
    CHECK(
        raw.send(headers_frame(3, {{"x", "y"}}, true)).empty());  // not remembered: not held against the peer
    CHECK_FALSE(raw.server().error);
  }
}

TEST_CASE("Frames of unknown types are ignored") {
  RawClient raw;
  auto frames = raw.send(frame(0x42, 0xff, 0, "what") + frame(0x42, 0xff, 1, "ever") + get_frame(1));
  CHECK(raw.server().streams.size() == 1);
  CHECK(frames.empty());
}

TEST_CASE("Frames without content") {
  SUBCASE("DATA") {
    RawClient raw;
    raw.send(post_frame(1));
    CHECK(flood(raw, frame(kData, 0, 1), 10, true) == 1);
    CHECK(raw.server().streams[0].details == "http2.inbound_empty_frames_flood");
    CHECK(raw.server().error->details == "http2.inbound_empty_frames_flood");
    CHECK(raw.server().stats.inbound_empty_frames_flood.slot_value() == 1);
  }
  SUBCASE("DATA with nothing but padding") {
    RawClient raw;
    raw.send(post_frame(1));
    CHECK(flood(raw, frame(kData, kPadded, 1, std::string("\3\0\0\0", 4)), 10, true) == 1);
  }
  SUBCASE("CONTINUATION") {
    RawClient raw;
    raw.send(frame(kHeaders, 0, 1, hpack(request_fields())));
    CHECK(flood(raw, frame(kContinuation, 0, 1), 10, true) == 1);
    CHECK(raw.server().stats.inbound_empty_frames_flood.slot_value() == 1);
  }
  SUBCASE("one now and then is allowed") {
    RawClient raw;
    raw.send(post_frame(1));
    CHECK(flood(raw, frame(kData, 0, 1) + frame(kData, 0, 1, "x"), 1000, true) == 1000);
  }
}

TEST_CASE("CONTINUATION without end") {
  RawClient raw;
  raw.send(frame(kHeaders, 0, 1, hpack(request_fields())));
  CHECK(flood(raw, frame(kContinuation, 0, 1, hpack({{"x", "y"}})), 1000, true) < 20);
  CHECK(raw.server().error);
}

TEST_CASE("PRIORITY") {
  RawClient raw;
  CHECK(flood(raw, frame(kPriority, 0, 1, u32(3) + "\x10"), 1000, true) == 100);
  CHECK(raw.server().stats.inbound_priority_frames_flood.slot_value() == 1);
}

TEST_CASE("WINDOW_UPDATE") {
  RawClient raw;
  raw.send(post_frame(1));
  CHECK(flood(raw, window_frame(0, 1), 1000, true) == 7);  // 5 + 2 * (streams + 10 * data frames)
  CHECK(raw.server().stats.inbound_window_update_frames_flood.slot_value() == 1);
}

TEST_CASE("PING and SETTINGS of a peer that does not read the answers") {
  for (const std::string& one : {frame(kPing, 0, 0, "12345678"), frame(kSettings, 0, 0)}) {
    RawClient raw;
    CHECK(flood(raw, one, 3000, false) == 1000);
    CHECK(raw.server().stats.outbound_control_flood.slot_value() == 1);
    CHECK(raw.server().error->details == "http2.outbound_frames_flood");
    CHECK(goaway_code(raw.written()) == kEnhanceYourCalm);
    RawClient reads;
    CHECK(flood(reads, one, 30000, true) == 30000);
    CHECK(reads.server().stats.outbound_control_frames_active.slot_value() == 0);
  }
}

TEST_CASE("Answers that nobody reads") {
  Http2Config config;
  config.http2.max_outbound_frames = 500;
  RawClient raw(config);
  raw.server().setup = [](Receiver& r) {
    r.headers_hook = [](Receiver& r) { r.stream->send_headers(*headers({{":status", "200"}}), true); };
  };
  uint32_t id = 1;
  while (id < 5000 && !raw.server().error) {
    receive(raw.server(), bytes(raw.pool, get_frame(id)));
    id += 2;
  }
  CHECK(id / 2 > 490);
  CHECK(id / 2 <= 501);
  CHECK(raw.server().stats.outbound_flood.slot_value() == 1);
  // Small writes share blocks once the peer is slow.
  CHECK(raw.pool.outstanding() < 12);
}

TEST_CASE("The flood is found while sending: the next receive() says so") {
  Http2Config config;
  config.http2.max_outbound_frames = 100;
  RawClient raw(config);
  raw.send(window_frame(0, 1 << 20) + post_frame(1));
  Receiver& r = raw.server().streams[0];
  r.stream->send_headers(*headers({{":status", "200"}}), false);
  int sent = 0;
  while (!raw.server().wire.soon && sent < 1000) r.stream->send_data(bytes(raw.pool, "x"), false), ++sent;
  CHECK(sent == 100);
  CHECK_FALSE(r.reset);  // not from inside its own call
  receive(raw.server(), {});
  CHECK(raw.server().error);
  CHECK(r.reset == ResetReason::protocol_error);
}

TEST_CASE("Rapid resets leave nothing behind") {
  RawClient raw;
  int before = static_cast<int>(raw.pool.outstanding());
  for (uint32_t id = 1; id < 20'000; id += 2) raw.send(post_frame(id) + rst_frame(id, kCancel));
  CHECK(raw.server().streams.size() == 10'000);
  int told = 0;
  for (Receiver& r : raw.server().streams) told += r.resets;
  CHECK(told == 10'000);
  CHECK(raw.server().codec->active_streams() == 0);
  CHECK(static_cast<int>(raw.pool.outstanding()) == before);
}

TEST_CASE("Rapid resets under the server's feet") {
  RawClient raw;
  raw.server().setup = [](Receiver& r) {
    r.headers_hook = [](Receiver& r) { r.stream->send_headers(*headers({{":status", "200"}}), false); };
  };
  std::string all;
  for (uint32_t id = 1; id < 2000; id += 2) all += post_frame(id) + rst_frame(id, kCancel);
  raw.send(all);
  int told = 0;
  for (Receiver& r : raw.server().streams) told += r.resets;
  CHECK(told == 1000);
  CHECK(raw.server().codec->active_streams() == 0);
}

TEST_CASE("More streams than allowed") {
  Http2Config config;
  config.http2.max_concurrent_streams = 2;
  SUBCASE("before the peer can know") {
    RawClient raw(config, false);
    auto frames = raw.send(post_frame(1) + post_frame(3) + post_frame(5));
    CHECK(reset_code(frames, 5) == kRefusedStream);
    CHECK(raw.server().streams.size() == 2);
    CHECK(raw.server().stats.stream_refused_errors.slot_value() == 1);
    CHECK_FALSE(raw.server().error);
  }
  SUBCASE("after it said that it does") {
    RawClient raw(config);
    auto frames = raw.send(post_frame(1) + post_frame(3) + post_frame(5));
    CHECK(goaway_code(frames) == kProtocolError);
  }
}

TEST_CASE("A peer's HPACK table does not make ours grow") {
  RawClient raw;
  raw.server().setup = [](Receiver& r) {
    r.headers_hook = [](Receiver& r) {
      r.stream->send_headers(*headers({{":status", "200"}, {"x-" + std::to_string(r.stream->id()), "v"}}),
                             true);
    };
  };
  auto frames = raw.send(frame(kSettings, 0, 0, u16(1) + u32(0xffffffff)) + get_frame(1));
  const Frame* answer = find(frames, kHeaders, 1);
  REQUIRE(answer);
  CHECK(answer->payload.starts_with("\x3f\xe1\x1f"));  // a table size update (RFC 7541 section 6.3): 4096
}

TEST_CASE("Too many settings in a frame") {
  RawClient raw;
  std::string many;
  for (int i = 0; i < 2000; ++i) many += u16(0xff00) + u32(1);
  CHECK(goaway_code(raw.send(frame(kSettings, 0, 0, many))) == kEnhanceYourCalm);
}

TEST_CASE("A server that misbehaves") {
  RawServer raw;
  Receiver& r = raw.client().get();
  raw.written();
  SUBCASE("pushes") {
    CHECK(goaway_code(raw.send(frame(kPushPromise, kEndHeaders, 1, u32(2) + hpack(request_fields())))) ==
          kProtocolError);
    CHECK(r.reset == ResetReason::protocol_error);
  }
  SUBCASE("answers what was not asked") {
    CHECK(goaway_code(raw.send(headers_frame(7, {{":status", "200"}}, true))) == kProtocolError);
  }
  SUBCASE("floods") {
    CHECK(flood(raw, frame(kPing, 0, 0, "12345678"), 3000, false) == 1000);
    CHECK(r.reset == ResetReason::protocol_error);
  }
  CHECK(raw.client().error);
  CHECK(raw.client().codec->finished());
  CHECK_FALSE(raw.client().codec->can_open_stream());
}

TEST_CASE("Codes of a server's resets") {
  const std::vector<std::pair<uint32_t, ResetReason>> codes = {
      {kRefusedStream, ResetReason::remote_refused_stream},
      {kConnectError, ResetReason::connect_error},
      {kNoError, ResetReason::remote_reset},
      {kCancel, ResetReason::remote_reset},
      {kProtocolError, ResetReason::remote_reset},
      {kInternalError, ResetReason::remote_reset},
      {0x12345678, ResetReason::remote_reset}};
  for (auto [code, reason] : codes) {
    RawServer raw;
    Receiver& r = raw.client().get();
    raw.send(rst_frame(1, code));
    CHECK(r.reset == reason);
    CHECK(raw.client().codec->active_streams() == 0);
  }
}

TEST_CASE("GOAWAY in the same bytes as what makes the client open streams") {
  RawServer raw;
  Client& c = raw.client();
  Receiver& first = c.get();
  Receiver* second = nullptr;
  first.headers_hook = [&](Receiver&) {
    second = &c.get("/second");
  };  // queued: nothing is sent inside receive()
  raw.written();
  auto frames =
      raw.send(headers_frame(1, {{":status", "200"}}, true) + frame(kGoaway, 0, 0, u32(1) + u32(0)));
  REQUIRE(second);
  CHECK(second->reset == ResetReason::remote_refused_stream);
  CHECK_FALSE(find(frames, kHeaders, 3));
  CHECK(c.codec->active_streams() == 0);
  CHECK(c.goaway == true);
}

TEST_CASE("GOAWAY with an error") {
  RawServer raw;
  raw.client().get();
  raw.send(frame(kGoaway, 0, 0, u32(1) + u32(kInternalError) + "why"));
  CHECK(raw.client().goaway == false);
  CHECK_FALSE(raw.client().error);
}

TEST_CASE("The peer lowers its limit below what is open") {
  RawServer raw;
  Client& c = raw.client();
  for (int i = 0; i < 5; ++i) c.get();
  raw.send(frame(kSettings, 0, 0, u16(3) + u32(2)));
  CHECK(c.max_streams == 2);
  CHECK_FALSE(c.codec->can_open_stream());
  raw.send(headers_frame(1, {{":status", "200"}}, true) + headers_frame(3, {{":status", "200"}}, true) +
           headers_frame(5, {{":status", "200"}}, true) + headers_frame(7, {{":status", "200"}}, true));
  CHECK(c.codec->can_open_stream());
  raw.send(frame(kSettings, 0, 0, u16(3) + u32(0)));
  CHECK_FALSE(c.codec->can_open_stream());
}
