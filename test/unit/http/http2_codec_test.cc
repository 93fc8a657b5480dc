#include <doctest/doctest.h>

#include "http2_harness.h"

using namespace sluice;
using namespace sluice::http;
using namespace sluice::http::test;

namespace {

struct Pair {
  explicit Pair(Http2Config c = {}, Http2Config s = {}) : client(pool, c), server(pool, s) {}
  void pump() { test::pump(client, server); }
  BlockPool pool;
  Client client;
  Server server;
};

void answer(Receiver& r, std::string_view text, BlockPool& pool) {
  r.stream->send_headers(*headers({{":status", "200"}, {"server", "s"}}), text.empty());
  if (!text.empty()) r.stream->send_data(bytes(pool, text), true);
}

}  // namespace

TEST_CASE("A request and its response") {
  Pair p;
  Receiver& r = p.client.request({{":method", "POST"},
                                  {":scheme", "https"},
                                  {":path", "/x?y"},
                                  {":authority", "example.org"},
                                  {"content-type", "text/plain"},
                                  {"x-own", "1"}},
                                 false);
  r.stream->send_data(bytes(p.pool, "hello"), true);
  p.pump();
  REQUIRE(p.server.streams.size() == 1);
  Receiver& s = p.server.streams[0];
  CHECK(to_text(*s.head) ==
        ":method=POST|:scheme=https|:path=/x?y|:authority=example.org|content-type=text/plain|x-own=1|");
  CHECK(s.head->get(Name::path) == "/x?y");
  CHECK(s.body == "hello");
  CHECK(s.end);
  CHECK(s.stream->id() == 1);
  CHECK(s.stream->protocol() == Protocol::http2);
  CHECK(p.server.codec->active_streams() == 1);
  answer(s, "world", p.pool);
  p.pump();
  CHECK(to_text(*r.head) == ":status=200|server=s|");
  CHECK(r.body == "world");
  CHECK(r.end);
  CHECK_FALSE(r.reset);
  CHECK(p.server.codec->active_streams() == 0);
  CHECK(p.client.codec->active_streams() == 0);
}

TEST_CASE("Answered inside the callback; several requests in one receive leave in one write") {
  Pair p;
  p.server.setup = [&](Receiver& r) { r.headers_hook = [&](Receiver& r) { answer(r, "body", p.pool); }; };
  for (int i = 0; i < 10; ++i) p.client.get();
  Buffer all = p.client.wire.take(1 << 20);
  receive(p.server, std::move(all));
  CHECK(p.server.wire.writes == 1);
  CHECK(p.server.wire.sent.chunks() == 1);
  p.pump();
  for (Receiver& r : p.client.streams) CHECK(r.body == "body");
  CHECK(p.client.codec->active_streams() == 0);
  CHECK(p.server.codec->active_streams() == 0);
}

TEST_CASE("Trailers both ways, with and without a body before them") {
  Pair p;
  Receiver& r = p.client.request(request_fields("POST"), false);
  r.stream->send_data(bytes(p.pool, "a"), false);
  r.stream->send_trailers(*headers({{"grpc-status", "0"}, {"x-t", "v"}}));
  Receiver& r2 = p.client.request(request_fields("POST"), false);
  r2.stream->send_trailers(*headers({{"x-t", "w"}}));
  Receiver& r3 = p.client.request(request_fields("POST"), false);
  r3.stream->send_trailers(*headers({}));  // no fields: the end alone
  p.pump();
  CHECK(p.server.streams[0].body == "a");
  CHECK(p.server.streams[0].trailers == "grpc-status=0|x-t=v|");
  CHECK(p.server.streams[1].trailers == "x-t=w|");
  CHECK(p.server.streams[2].end);
  CHECK(p.server.streams[2].trailers == "");
  CHECK(p.server.stats.trailers.slot_value() == 2);
  for (Receiver& s : p.server.streams) {
    s.stream->send_headers(*headers({{":status", "200"}}), false);
    s.stream->send_data(bytes(p.pool, "b"), false);
    s.stream->send_trailers(*headers({{"grpc-status", "2"}}));
  }
  p.pump();
  CHECK(r.body == "b");
  CHECK(r.trailers == "grpc-status=2|");
  CHECK(r2.trailers == "grpc-status=2|");
  CHECK(p.client.codec->active_streams() == 0);
  CHECK(p.server.codec->active_streams() == 0);
}

TEST_CASE("Informational responses") {
  Pair p;
  Receiver& r = p.client.request(request_fields("POST"), false);
  p.pump();
  Receiver& s = p.server.streams[0];
  s.stream->send_informational(*headers({{":status", "100"}}));
  s.stream->send_informational(*headers({{":status", "103"}, {"link", "x"}}));
  p.pump();
  CHECK(r.informational == std::vector<std::string>{":status=100|", ":status=103|link=x|"});
  CHECK_FALSE(r.head);
  answer(s, "", p.pool);
  p.pump();
  CHECK(r.head);
  CHECK(r.end);
  r.stream->send_data({}, true);  // the request was not over
  p.pump();
  CHECK(p.client.codec->active_streams() == 0);
  CHECK(p.server.codec->active_streams() == 0);
}

TEST_CASE("CONNECT and extended CONNECT") {
  Http2Config allow;
  allow.http2.allow_connect = true;
  Pair p({}, allow);
  p.pump();
  Receiver& plain = p.client.request({{":method", "CONNECT"}, {":authority", "a:1"}}, false);
  Receiver& web = p.client.request({{":method", "CONNECT"},
                                    {":protocol", "websocket"},
                                    {":scheme", "https"},
                                    {":path", "/chat"},
                                    {":authority", "a"}},
                                   false);
  p.pump();
  REQUIRE(p.server.streams.size() == 2);
  for (Receiver& s : p.server.streams) {
    s.stream->send_headers(*headers({{":status", "200"}}), false);
    s.stream->send_data(bytes(p.pool, "tunnel"), false);
  }
  p.pump();
  CHECK(plain.body == "tunnel");
  CHECK(web.body == "tunnel");
  CHECK(p.server.streams[1].head->get(Name::protocol) == "websocket");
}

TEST_CASE("Pseudo-headers go first, fields of HTTP/1 connections not at all") {
  Pair p;
  p.client.request({{"x", "1"},
                    {":method", "GET"},
                    {"connection", "close"},
                    {":scheme", "http"},
                    {"keep-alive", "1"},
                    {"transfer-encoding", "chunked"},
                    {":path", "/"},
                    {"te", "trailers"},
                    {":authority", "a"}});
  p.pump();
  REQUIRE(p.server.streams.size() == 1);
  CHECK(to_text(*p.server.streams[0].head) ==
        ":method=GET|:scheme=http|:path=/|:authority=a|x=1|te=trailers|");
}

TEST_CASE("Resets, both ways") {
  Pair p;
  SUBCASE("the client's") {
    Receiver& r = p.client.request(request_fields("POST"), false);
    p.pump();
    r.stream->reset(ResetReason::local_reset);
    p.pump();
    CHECK(p.server.streams[0].reset == ResetReason::remote_reset);
    CHECK(p.server.streams[0].details == "http2.remote_reset");
    CHECK_FALSE(r.reset);  // not told of its own
    CHECK(p.server.stats.rx_reset.slot_value() == 1);
    CHECK(p.client.stats.tx_reset.slot_value() == 1);
  }
  SUBCASE("the server refuses") {
    Receiver& r = p.client.request(request_fields("POST"), false);
    p.pump();
    p.server.streams[0].stream->reset(ResetReason::local_refused_stream);
    p.pump();
    CHECK(r.reset == ResetReason::remote_refused_stream);
    CHECK(r.details == "http2.remote_refuse");
  }
  SUBCASE("connect error") {
    Receiver& r = p.client.request(request_fields("POST"), false);
    p.pump();
    p.server.streams[0].stream->reset(ResetReason::connect_error);
    p.pump();
    CHECK(r.reset == ResetReason::connect_error);
  }
  SUBCASE("the server has answered and wants no more of the request") {
    Receiver& r = p.client.request(request_fields("POST"), false);
    p.pump();
    Stream& stream = *p.server.streams[0].stream;
    stream.send_headers(*headers({{":status", "200"}}), false);
    stream.send_data(body(p.pool, 100'000), true);  // more than the window: the reset waits for it
    stream.reset(ResetReason::local_reset);
    p.pump();
    CHECK(r.received == 100'000);
    CHECK(r.end);
    CHECK(r.reset == ResetReason::no_error);
  }
  SUBCASE("before the head was sent") {
    Receiver& r = p.client.open();
    CHECK(p.client.codec->active_streams() == 1);
    r.stream->reset(ResetReason::local_reset);
    CHECK(p.client.codec->active_streams() == 0);
    CHECK(p.client.wire.total == 0);
  }
  p.pump();
  CHECK(p.client.codec->active_streams() == 0);
  CHECK(p.server.codec->active_streams() == 0);
  CHECK(p.server.stats.streams_active.slot_value() == 0);
  CHECK(p.server.stats.pending_send_bytes.slot_value() == 0);
}

TEST_CASE("GOAWAY in two steps") {
  Pair p;
  Receiver& before = p.client.get();
  p.pump();
  p.server.codec->shutdown_notice();
  Receiver& between = p.client.get();  // on its way when the notice comes
  p.pump();
  CHECK(p.client.goaway == true);
  CHECK_FALSE(p.client.codec->can_open_stream());
  CHECK(p.client.codec->finished());
  CHECK(p.server.streams.size() == 2);
  p.server.codec->goaway();
  p.pump();
  CHECK_FALSE(p.server.codec->finished());
  for (Receiver& s : p.server.streams) answer(s, "x", p.pool);
  p.pump();
  CHECK(before.body == "x");
  CHECK(between.body == "x");
  CHECK(p.server.codec->finished());
  CHECK(p.server.stats.goaway_sent.slot_value() == 1);
}

TEST_CASE("Requests beyond the last id of a GOAWAY are refused: safe to send again") {
  Pair p;
  Receiver& first = p.client.get();
  p.pump();
  p.server.codec->goaway();
  Receiver& second = p.client.get();
  p.pump();
  CHECK(second.reset == ResetReason::remote_refused_stream);
  CHECK(p.server.streams.size() == 1);
  answer(p.server.streams[0], "x", p.pool);
  p.pump();
  CHECK(first.body == "x");
  CHECK(p.client.codec->active_streams() == 0);
}

TEST_CASE("The connection is lost: every open stream is told once") {
  Pair p;
  Receiver& a = p.client.get();
  Receiver& b = p.client.open();
  p.pump();
  p.client.codec->connection_lost(ResetReason::connection_termination, "why");
  CHECK(a.reset == ResetReason::connection_termination);
  CHECK(b.reset == ResetReason::connection_termination);
  CHECK(a.details == "why");
  CHECK(a.resets == 1);
  CHECK_FALSE(p.client.codec->can_open_stream());
  p.client.codec->connection_lost(ResetReason::connection_termination, "why");
  CHECK(a.resets == 1);
}

TEST_CASE("PING is answered") {
  Pair p;
  p.client.codec->ping(0x1122334455667788);
  p.server.codec->ping(42);
  p.pump();
  CHECK(p.client.pong == 0x1122334455667788);
  CHECK(p.server.pong == 42);
}

TEST_CASE("The peer's limit of streams") {
  Http2Config few;
  few.http2.max_concurrent_streams = 3;
  Pair p({}, few);
  CHECK(p.client.codec->max_streams() == 1024);
  p.client.get();
  p.pump();
  CHECK(p.client.max_streams == 3);
  CHECK(p.client.codec->can_open_stream());
  p.client.get();
  p.client.get();
  CHECK_FALSE(p.client.codec->can_open_stream());
  p.pump();
  answer(p.server.streams[0], "", p.pool);
  p.pump();
  CHECK(p.client.codec->can_open_stream());
}

TEST_CASE("Cookie crumbs become one field; host gives way to :authority") {
  Pair p;
  Fields f = request_fields();
  f.insert(f.end(), {{"cookie", "a=1"}, {"host", "other"}, {"cookie", "b=2"}, {"x", "y"}, {"cookie", "c=3"}});
  p.client.request(f);
  p.client.request({{":method", "GET"}, {":scheme", "http"}, {":path", "/"}, {"host", "h"}});
  p.pump();
  CHECK(to_text(*p.server.streams[0].head) ==
        ":method=GET|:scheme=http|:path=/|:authority=a|cookie=a=1; b=2; c=3|x=y|");
  CHECK(p.server.streams[1].head->get(Name::authority) == "h");
}

TEST_CASE("HPACK's table takes a field when it comes a second time, and none that never does") {
  Pair p;
  size_t before = 0, size[4];
  for (int i = 0; i < 4; ++i) {
    Fields f = request_fields();
    f.push_back({"user-agent", "a client of some length"});
    f.push_back({"x-request-id", "00000000-0000-0000-0000-00000000000" + std::to_string(i)});
    p.client.request(f);
    size[i] = p.client.wire.total - before;
    before = p.client.wire.total;
    p.pump();
    before = p.client.wire.total;
  }
  CHECK(size[2] + 15 < size[1]);  // user-agent from the table
  CHECK(size[3] <= size[2] + 1);  // the last digit may take a bit more
  CHECK(p.server.streams[3].head->get(Name::x_request_id).ends_with("3"));
  CHECK(p.server.streams[3].head->get(Name::user_agent) == "a client of some length");
}
