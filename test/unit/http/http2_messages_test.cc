#include <doctest/doctest.h>

#include "http2_frames.h"

// What is no HTTP message (RFC 9113 section 8), and header limits.
using namespace sluice;
using namespace sluice::http;
using namespace sluice::http::test;

namespace {

Fields with(Fields extra) {
  Fields f = request_fields();
  f.insert(f.end(), extra.begin(), extra.end());
  return f;
}

struct Bad {
  std::string what;
  Fields fields;
};

const std::vector<Bad>& bad_requests() {
  static const std::vector<Bad> all = {
      {"upper case", with({{"X-Upper", "1"}})},
      {"connection", with({{"connection", "close"}})},
      {"keep-alive", with({{"keep-alive", "1"}})},
      {"proxy-connection", with({{"proxy-connection", "close"}})},
      {"transfer-encoding", with({{"transfer-encoding", "chunked"}})},
      {"upgrade", with({{"upgrade", "h2c"}})},
      {"te", with({{"te", "gzip"}})},
      {"pseudo-header after a field", {{":method", "GET"}, {":scheme", "http"}, {"x", "y"}, {":path", "/"}}},
      {"no method", {{":scheme", "http"}, {":path", "/"}, {":authority", "a"}}},
      {"no scheme", {{":method", "GET"}, {":path", "/"}, {":authority", "a"}}},
      {"no path", {{":method", "GET"}, {":scheme", "http"}, {":authority", "a"}}},
      {"empty path", {{":method", "GET"}, {":scheme", "http"}, {":path", ""}, {":authority", "a"}}},
      {"path without slash", {{":method", "GET"}, {":scheme", "http"}, {":path", "x"}, {":authority", "a"}}},
      {"twice the method", {{":method", "GET"}, {":method", "GET"}, {":scheme", "http"}, {":path", "/"}}},
      {"twice the path", {{":method", "GET"}, {":path", "/"}, {":scheme", "http"}, {":path", "/"}}},
      {"twice the authority",
       {{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":authority", "a"}, {":authority", "a"}}},
      {"unknown pseudo-header", {{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":what", "x"}}},
      {"a response's", {{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {":status", "200"}}},
      {"NUL in a value", with({{"x", std::string("a\0b", 3)}})},
      {"line feed in a value", with({{"x", "a\nb"}})},
      {"carriage return in a value", with({{"x", "a\rb"}})},
      {"space in a name", with({{"x y", "1"}})},
      {"colon in a name", with({{"x:y", "1"}})},
      {"empty name", with({{"", "1"}})},
      {"DEL in a name", with({{"x\x7f", "1"}})},
      {"two lengths", with({{"content-length", "1"}, {"content-length", "2"}})},
      {"a length that is none", with({{"content-length", "1x"}})},
      {"a negative length", with({{"content-length", "-1"}})},
      {"CONNECT with a path", {{":method", "CONNECT"}, {":authority", "a"}, {":path", "/"}}},
      {"extended CONNECT that was not offered",
       {{":method", "CONNECT"},
        {":protocol", "x"},
        {":scheme", "http"},
        {":path", "/"},
        {":authority", "a"}}},
  };
  return all;
}

}  // namespace

TEST_CASE("Requests that are no HTTP messages end the connection") {
  for (const Bad& bad : bad_requests()) {
    CAPTURE(bad.what);
    RawClient raw;
    auto frames = raw.send(get_frame(1) + headers_frame(3, bad.fields, false));
    CHECK(goaway_code(frames) == kProtocolError);
    REQUIRE(raw.server().error);
    CHECK((raw.server().error->details == "http2.violation.of.messaging.rule" ||
           raw.server().error->details == "http2.invalid.header.field"));
    CHECK(raw.server().stats.rx_messaging_error.slot_value() == 1);
    REQUIRE(raw.server().streams.size() == 2);
    CHECK(raw.server().streams[0].reset == ResetReason::protocol_error);
    CHECK(raw.server().streams[1].reset == ResetReason::protocol_error);
    CHECK(raw.server().streams[1].details == raw.server().error->details);
    CHECK_FALSE(raw.server().streams[1].head);
    CHECK(raw.send(get_frame(5)).empty());  // nothing more is taken
  }
}

TEST_CASE("... or the stream alone, with override_stream_error_on_invalid_http_message") {
  Http2Config config;
  config.http2.override_stream_error = true;
  for (const Bad& bad : bad_requests()) {
    CAPTURE(bad.what);
    RawClient raw(config);
    auto frames = raw.send(headers_frame(1, bad.fields, false) + get_frame(3));
    CHECK(reset_code(frames, 1) == kProtocolError);
    CHECK(goaway_code(frames) == ~0u);
    CHECK_FALSE(raw.server().error);
    CHECK(raw.server().stats.rx_messaging_error.slot_value() == 1);
    REQUIRE(raw.server().streams.size() == 2);
    Receiver* broken = nullptr;
    for (Receiver& r : raw.server().streams)
      if (!r.head) broken = &r;
    REQUIRE(broken);
    CHECK(broken->reset == ResetReason::protocol_error);
    CHECK(raw.server().codec->active_streams() == 1);
  }
}

TEST_CASE("A body that is not as long as announced") {
  Fields post = request_fields("POST");
  post.push_back({"content-length", "5"});
  for (const char* text : {"abc", "abcdefgh"}) {
    CAPTURE(text);
    RawClient raw;
    auto frames = raw.send(headers_frame(1, post, false) + frame(kData, kEndStream, 1, text) + get_frame(3));
    CHECK(reset_code(frames, 1) == kProtocolError);
    CHECK(raw.server().streams[0].reset == ResetReason::protocol_error);
    CHECK(raw.server().streams[0].details == "http2.violation.of.messaging.rule");
    CHECK_FALSE(raw.server().streams[0].end);
    CHECK(raw.server().streams.size() == 2);
    CHECK_FALSE(raw.server().error);
  }
  RawClient raw;
  raw.send(headers_frame(1, post, false) + frame(kData, kEndStream, 1, "abcde"));
  CHECK(raw.server().streams[0].body == "abcde");
  CHECK(raw.server().streams[0].end);
}

TEST_CASE("Trailers with a pseudo-header, or without the end") {
  RawClient raw;
  auto frames = raw.send(post_frame(1) + headers_frame(1, {{":path", "/"}}, true));
  CHECK(goaway_code(frames) == kProtocolError);
  RawClient raw2;
  frames = raw2.send(post_frame(1) + headers_frame(1, {{"x", "y"}}, false));
  CHECK((goaway_code(frames) == kProtocolError || reset_code(frames, 1) == kProtocolError));
  CHECK(raw2.server().streams[0].reset == ResetReason::protocol_error);
}

TEST_CASE("Header limits: the stream is reset, the connection goes on") {
  Http2Config config;
  config.common.max_headers_count = 8;
  config.common.max_headers_bytes = 1000;
  Fields many = request_fields(), large = request_fields(), crumbs = request_fields();
  for (int i = 0; i < 5; ++i) many.push_back({"x-" + std::to_string(i), "v"});
  large.push_back({"x-large", std::string(1000, 'v')});
  for (int i = 0; i < 300; ++i) crumbs.push_back({"cookie", "a=b"});
  for (const Fields& fields : {many, large, crumbs}) {
    RawClient raw(config);
    // With indexing: the block has to be decoded to its end for the next one to be understood.
    std::string indexed = hpack(fields) + "\x40\x01k\x01v";
    auto frames = raw.send(frame(kHeaders, kEndHeaders, 1, indexed) +
                           frame(kHeaders, kEndHeaders | kEndStream, 3, hpack(request_fields()) + "\xbe"));
    CHECK(reset_code(frames, 1) == kInternalError);
    CHECK(raw.server().stats.header_overflow.slot_value() == 1);
    CHECK_FALSE(raw.server().error);
    REQUIRE(raw.server().streams.size() == 2);
    Receiver* good = nullptr;
    for (Receiver& r : raw.server().streams)
      if (r.head)
        good = &r;
      else
        CHECK(r.details == "http2.too_many_headers");
    REQUIRE(good);
    CHECK(good->head->get("k") == "v");
  }
}

TEST_CASE("Trailers have the same limits") {
  Http2Config config;
  config.common.max_headers_count = 8;
  Fields many;
  for (int i = 0; i < 9; ++i) many.push_back({"x-" + std::to_string(i), "v"});
  RawClient raw(config);
  auto frames = raw.send(post_frame(1) + headers_frame(1, many, true));
  CHECK(reset_code(frames, 1) == kInternalError);
  CHECK(raw.server().streams[0].details == "http2.too_many_headers");
  CHECK(raw.server().streams[0].trailers == "");
}

TEST_CASE("Names with underscores") {
  Http2Config config;
  config.common.underscores = UnderscoreAction::drop_header;
  RawClient drop(config);
  drop.send(headers_frame(1, with({{"a_b", "1"}, {"c", "2"}}), true));
  CHECK(to_text(*drop.server().streams[0].head) == ":method=GET|:scheme=http|:path=/|:authority=a|c=2|");
  CHECK(drop.server().stats.dropped_headers_with_underscores.slot_value() == 1);

  config.common.underscores = UnderscoreAction::reject_request;
  RawClient reject(config);
  auto frames = reject.send(headers_frame(1, with({{"a_b", "1"}, {"c", "2"}}), true));
  CHECK(reset_code(frames, 1) == kInternalError);
  CHECK(reject.server().streams[0].details == "http2.unexpected_underscore");
  CHECK(reject.server().stats.requests_rejected_with_underscores_in_headers.slot_value() == 1);
}

TEST_CASE("Responses that are no HTTP messages") {
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"no status", headers_frame(1, {{"x", "y"}}, true)},
      {"a status that is none", headers_frame(1, {{":status", "abc"}}, true)},
      {"two", headers_frame(1, {{":status", "200"}, {":status", "200"}}, true)},
      {"a request's", headers_frame(1, {{":status", "200"}, {":path", "/"}}, true)},
      {"101", headers_frame(1, {{":status", "101"}}, false)},
      {"1xx that ends", headers_frame(1, {{":status", "100"}}, true)},
      {"data before the head", frame(kData, kEndStream, 1, "x")},
      {"data after 1xx alone",
       headers_frame(1, {{":status", "100"}}, false) + frame(kData, kEndStream, 1, "x")},
      {"connection field", headers_frame(1, {{":status", "200"}, {"connection", "close"}}, true)},
      {"short body", headers_frame(1, {{":status", "200"}, {"content-length", "3"}}, false) +
                         frame(kData, kEndStream, 1, "x")},
      {"trailers without end",
       headers_frame(1, {{":status", "200"}}, false) + headers_frame(1, {{"x", "y"}}, false)},
  };
  for (const auto& [what, text] : bad) {
    CAPTURE(what);
    RawServer raw;
    Receiver& r = raw.client().get();
    raw.send(text);
    CHECK(r.reset == ResetReason::protocol_error);
    CHECK_FALSE(r.end);
    CHECK((raw.client().stats.rx_messaging_error.slot_value() == 1 || raw.client().error));
  }
}

TEST_CASE("Responses without a body") {
  RawServer raw;
  Receiver& head = raw.client().request(request_fields("HEAD"));
  Receiver& none = raw.client().get();
  Receiver& unchanged = raw.client().get();
  raw.send(headers_frame(1, {{":status", "200"}, {"content-length", "10"}}, true) +
           headers_frame(3, {{":status", "204"}}, true) +
           headers_frame(5, {{":status", "304"}, {"content-length", "10"}}, true));
  for (Receiver* r : {&head, &none, &unchanged}) {
    CHECK(r->end);
    CHECK_FALSE(r->reset);
  }
  CHECK(raw.client().codec->active_streams() == 0);
}

TEST_CASE("Response headers beyond the limits") {
  Http2Config config;
  config.common.max_headers_count = 2;
  RawServer raw(config);
  Receiver& r = raw.client().get();
  auto frames = raw.send(headers_frame(1, {{":status", "200"}, {"a", "1"}, {"b", "2"}}, true));
  CHECK(r.reset == ResetReason::remote_reset);  // as Envoy has it
  CHECK(r.details == "http2.too_many_headers");
  CHECK(reset_code(frames, 1) == kInternalError);
  CHECK_FALSE(raw.client().error);
}

TEST_CASE("A broken head and the connection's end in the same bytes: the request is still told") {
  Http2Config config;
  config.http2.override_stream_error = true;
  RawClient raw(config);
  raw.send(headers_frame(1, with({{"x y", "1"}}), true) + frame(kPing, 0, 0, "short"));
  REQUIRE(raw.server().error);
  REQUIRE(raw.server().streams.size() == 1);
  CHECK(raw.server().streams[0].details == "http2.invalid.header.field");
}

TEST_CASE("Of two causes in the same bytes the first counts: a broken response, then the server's reset") {
  Http2Config config;
  config.http2.override_stream_error = true;
  RawServer raw(config);
  Receiver& r = raw.client().get();
  raw.send(headers_frame(1, {{":status", "200"}, {"x y", "1"}}, false) + rst_frame(1, kInternalError));
  CHECK(r.reset == ResetReason::protocol_error);
  CHECK(r.details == "http2.invalid.header.field");
}
