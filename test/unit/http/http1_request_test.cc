#include "http1_support.h"

// What ordinary requests become, and what answers look like on the wire.
namespace sluice::http {
namespace {

// Feeds `request` under every split; the log must be `expected` each time. The bytes sent by the last.
std::string check(const std::string& request, const std::string& expected,
                  const std::function<void(ServerBench&)>& configure = nullptr) {
  const uint64_t seed = random_seed();
  CAPTURE(request);
  CAPTURE(seed);
  std::string sent;
  for (const auto& pieces : splits(request, seed)) {
    ServerBench s;
    if (configure) configure(s);
    s.start();
    for (std::string_view piece : pieces) s.feed(piece);
    CHECK(s.log() == expected);
    if (!sent.empty()) CHECK(s.output.sent == sent);
    sent = s.output.sent;
  }
  return sent;
}

// The head that a server writes for `headers`, answering `request`.
std::string answer(const std::string& request, const Fields& headers, bool end_stream,
                   const std::function<void(Http1Config&)>& configure = nullptr) {
  ServerBench s;
  if (configure) configure(s.config);
  s.setup = [&](Recorder& r, Stream& stream) {
    r.end_hook = [&] { stream.send_headers(*make(headers), end_stream); };
  };
  s.start();
  s.feed(request);
  return s.output.sent;
}

const std::string kGet = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

TEST_CASE("a request and its answer") {
  std::string sent =
      check("GET /p?q HTTP/1.1\r\nHost: a\r\nX-Some: v \r\nAccept-Encoding:gzip\r\n\r\n",
            "headers{:method=GET|:path=/p?q|:authority=a|x-some=v|accept-encoding=gzip}\nend\n--\n");
  CHECK(sent == "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
}

TEST_CASE("bodies by length and in chunks") {
  check("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "headers{:method=POST|:path=/|:authority=a|content-length=5}\ndata(hello)\nend\n--\n");
  check(
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n "
      "world\r\n0\r\n\r\n",
      "headers{:method=POST|:path=/|:authority=a}\ndata(hello world)\nend\n--\n");
  check(
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nGrpc-Status: 0\r\nA: "
      "b\r\n\r\n",
      "headers{:method=POST|:path=/|:authority=a}\ndata(x)\ntrailers{grpc-status=0|a=b}\nend\n--\n",
      [](ServerBench& s) { s.config.http1.enable_trailers = true; });
}

TEST_CASE("forms of the request target (RFC 9112 section 3.2)") {
  auto form = [](const std::string& method, const std::string& target, const std::string& expected) {
    check(method + " " + target + " HTTP/1.1\r\nHost: h\r\n\r\n",
          "headers{:method=" + method + expected + "}\nend\n--\n");
  };
  form("GET", "http://b.c:81/p?q", "|:authority=b.c:81|:scheme=http|:path=/p?q");
  form("GET", "http://b.c", "|:authority=b.c|:scheme=http|:path=/");
  form("GET", "HTTP://B.c/p", "|:authority=B.c|:scheme=http|:path=/p");
  form("GET", "https://b.c?q=1", "|:authority=b.c|:scheme=https|:path=/?q=1");
  form("GET", "http://u:p@b.c/", "|:authority=b.c|:scheme=http|:path=/");
  form("GET", "http://[::1]:8/p", "|:authority=[::1]:8|:scheme=http|:path=/p");
  form("OPTIONS", "http://b.c", "|:authority=b.c|:scheme=http|:path=/");
  form("OPTIONS", "*", "|:authority=h|:path=*");
  form("GET", "//x", "|:path=//x|:authority=h");
  form("QUERY", "/", "|:path=/|:authority=h");
  check("GET http://b.c/p HTTP/1.1\r\n\r\n",
        "headers{:method=GET|:authority=b.c|:scheme=http|:path=/p}\nend\n--\n");
  for (auto& [target, details] : {std::pair<std::string, std::string>{"ftp://b.c/", "http1.invalid_scheme"},
                                  {"http:///x", "http1.invalid_url"},
                                  {"http://b:99999/x", "http1.invalid_url"},
                                  {"http://", "http1.invalid_url"},
                                  {"http:/x", "http1.codec_error"},
                                  {"1http://x/", "http1.codec_error"}})
    check("GET " + target + " HTTP/1.1\r\nHost: h\r\n\r\n", "bad 400 " + details + "\n--\n");
  check("GET http://b.c/p HTTP/1.1\r\nHost: h\r\n\r\n",
        "headers{:method=GET|:authority=h|:path=http://b.c/p}\nend\n--\n",
        [](ServerBench& s) { s.config.http1.allow_absolute_url = false; });
}

TEST_CASE("HTTP/1.0, where it is accepted") {
  auto accept = [](ServerBench& s) {
    s.config.http1.accept_http_10 = true;
    s.config.http1.default_host_for_http_10 = "default";
  };
  CHECK(check("GET / HTTP/1.0\r\n\r\n", "headers{:method=GET|:path=/|:authority=default}\nend\n--\n",
              accept) == "HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
  CHECK(check("GET / HTTP/1.0\r\nHost: a\r\nConnection: Keep-Alive\r\n\r\n",
              "headers{:method=GET|:path=/|:authority=a|connection=Keep-Alive}\nend\n--\n",
              accept) == "HTTP/1.0 200 OK\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nok");
  // An upgrade cannot be asked for.
  check("GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
        "headers{:method=GET|:path=/|:authority=a}\nend\n--\n", accept);
  auto http10 = [](Http1Config& c) { c.http1.accept_http_10 = true; };
  // No length and no chunks: the end of the connection is the end of the body.
  CHECK(answer("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", {{":status", "200"}}, false,
               http10) == "HTTP/1.0 200 OK\r\nconnection: close\r\n\r\n");
  CHECK(answer("GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", {{":status", "200"}}, true,
               http10) == "HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive\r\n\r\n");
}

TEST_CASE("Connection: close, asked for by either side") {
  for (const char* value : {"close", "Close", "keep-alive, close"}) {
    ServerBench s;
    s.start();
    s.feed("GET / HTTP/1.1\r\nHost: a\r\nConnection: " + std::string(value) + "\r\n\r\n" + kGet);
    CHECK(s.output.sent == "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
    CHECK(s.connection->finished());
    CHECK(s.streams.size() == 1);
  }
  CHECK(answer(kGet, {{":status", "200"}, {"connection", "close"}}, true) ==
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
  CHECK(answer(kGet, {{":status", "200"}, {"connection", "keep-alive"}}, true) ==
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
}

TEST_CASE("response heads: what the codec adds and leaves out") {
  CHECK(answer(kGet, {{":status", "200"}}, false) == "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
  CHECK(answer(kGet, {{":status", "200"}}, true) == "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
  CHECK(answer(kGet, {{":status", "200"}, {"transfer-encoding", "gzip"}, {"content-length", "3"}}, false) ==
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n");
  CHECK(answer(kGet, {{":status", "204"}, {"content-length", "0"}}, true) ==
        "HTTP/1.1 204 No Content\r\n\r\n");
  CHECK(answer(kGet, {{":status", "204"}}, false) == "HTTP/1.1 204 No Content\r\n\r\n");
  CHECK(answer(kGet, {{":status", "304"}}, true) == "HTTP/1.1 304 Not Modified\r\n\r\n");
  CHECK(answer(kGet, {{":status", "304"}, {"content-length", "7"}}, true) ==
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n");
  CHECK(answer(kGet, {{":status", "799"}}, true) == "HTTP/1.1 799 Unknown\r\ncontent-length: 0\r\n\r\n");
  const std::string head = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n";
  CHECK(answer(head, {{":status", "200"}}, true) == "HTTP/1.1 200 OK\r\n\r\n");
  CHECK(answer(head, {{":status", "200"}, {"content-length", "3"}}, true) ==
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n");
  CHECK(answer(head, {{":status", "200"}}, false) == "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n");
  CHECK(answer(kGet, {{":status", "200"}, {"x-some-header", "v"}, {"www-authenticate", "b"}, {"x_y", ""}},
               true, [](Http1Config& c) { c.http1.key_format = Http1Options::KeyFormat::proper_case; }) ==
        "HTTP/1.1 200 OK\r\nX-Some-Header: v\r\nWww-Authenticate: b\r\nX_Y: \r\nContent-Length: 0\r\n\r\n");
  // A value never ends its line.
  CHECK(answer(kGet, {{":status", "200"}, {"x", "a\r\nset-cookie: b"}}, true) ==
        "HTTP/1.1 200 OK\r\nx: a  set-cookie: b\r\ncontent-length: 0\r\n\r\n");
}

TEST_CASE("heads of every size fit their block") {
  for (size_t n : {3900u, 3950u, 3960u, 4000u, 4096u, 16200u, 16384u, 50000u}) {
    std::string value(n, 'v');
    CHECK(answer(kGet, {{":status", "200"}, {"x", value}}, true) ==
          "HTTP/1.1 200 OK\r\nx: " + value + "\r\ncontent-length: 0\r\n\r\n");
  }
}

TEST_CASE("bodies of responses: as declared, or not at all") {
  auto send = [](const std::string& request, const Fields& headers, const std::vector<std::string>& parts) {
    auto s = std::make_unique<ServerBench>();
    s->setup = [&](Recorder& r, Stream& stream) {
      r.end_hook = [&, bench = s.get()] {
        stream.send_headers(*make(headers), false);
        for (size_t i = 0; i < parts.size(); ++i)
          stream.send_data(buffer_of(bench->pool, parts[i]), i + 1 == parts.size());
      };
    };
    s->start();
    s->feed(request);
    return s;
  };
  auto s = send(kGet, {{":status", "200"}}, {"ab", "", "0123456789abcdef", ""});
  CHECK(s->output.sent.ends_with("\r\n\r\n2\r\nab\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"));
  CHECK_FALSE(s->connection->finished());
  s = send(kGet, {{":status", "200"}}, {"ab", "c"});
  CHECK(s->output.sent.ends_with("\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"));
  s = send(kGet, {{":status", "200"}, {"content-length", "4"}}, {"ab", "cd"});
  CHECK(s->output.sent.ends_with("\r\n\r\nabcd"));
  CHECK_FALSE(s->connection->finished());
  s = send(kGet, {{":status", "200"}, {"content-length", "4"}}, {"ab", "cdHTTP/1.1 200 OK"});  // longer
  CHECK(s->output.sent.ends_with("\r\n\r\nabcd"));
  CHECK(s->connection->finished());
  s = send(kGet, {{":status", "200"}, {"content-length", "4"}}, {"ab"});  // shorter
  CHECK(s->connection->finished());
  s = send("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", {{":status", "200"}}, {"ab"});
  CHECK(s->output.sent.ends_with("chunked\r\n\r\n"));
  CHECK_FALSE(s->connection->finished());
  s = send(kGet, {{":status", "204"}}, {"ab"});
  CHECK(s->output.sent == "HTTP/1.1 204 No Content\r\n\r\n");
  CHECK_FALSE(s->connection->finished());
}

TEST_CASE("trailers of responses") {
  for (bool enabled : {false, true}) {
    ServerBench s;
    s.config.http1.enable_trailers = enabled;
    s.setup = [&](Recorder& r, Stream& stream) {
      r.end_hook = [&] {
        stream.send_headers(*make({{":status", "200"}}), false);
        stream.send_data(buffer_of(s.pool, "ab"), false);
        stream.send_trailers(*make({{"grpc-status", "0"}, {"transfer-encoding", "x"}}));
      };
    };
    s.start();
    s.feed(kGet);
    CHECK(
        s.output.sent.ends_with(enabled ? "2\r\nab\r\n0\r\ngrpc-status: 0\r\n\r\n" : "2\r\nab\r\n0\r\n\r\n"));
  }
}

TEST_CASE("100-continue is the application's to answer; 1xx never reaches an HTTP/1.0 client") {
  for (bool http10 : {false, true}) {
    ServerBench s;
    s.config.http1.accept_http_10 = true;
    s.setup = [&](Recorder& r, Stream& stream) {
      r.headers_hook = [&] {
        CHECK(r.headers->get(Name::expect) == "100-continue");
        stream.send_informational(*make({{":status", "100"}, {"content-length", "9"}}));
      };
      r.end_hook = [&] { stream.send_headers(*make({{":status", "201"}}), true); };
    };
    s.start();
    s.feed("POST / HTTP/1." + std::string(http10 ? "0" : "1") +
           "\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    CHECK(s.output.sent == (http10 ? "" : "HTTP/1.1 100 Continue\r\n\r\n"));
    s.feed("ab");
    CHECK(s.output.sent.find("201 Created\r\ncontent-length: 0\r\n") != std::string::npos);
  }
}

TEST_CASE("an upgrade: nothing behind the request is touched before the answer; then both sides are raw") {
  const std::string request =
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
  for (bool accepted : {true, false}) {
    ServerBench s;
    s.setup = [](Recorder&, Stream&) {};
    s.start();
    s.feed(request + "GET /smuggled HTTP/1.1\r\n");
    CHECK(s.last().log == "headers{:method=GET|:path=/|:authority=a|connection=Upgrade|upgrade=websocket}\n");
    CHECK(s.output.paused == 1);
    s.stream().send_headers(
        *make({{":status", accepted ? "101" : "403"}, {"connection", "upgrade"}, {"upgrade", "websocket"}}),
        !accepted);
    if (!accepted) {
      CHECK(s.output.sent.find(
                "403 Forbidden\r\nupgrade: websocket\r\ncontent-length: 0\r\nconnection: close\r\n\r\n") !=
            std::string::npos);
      CHECK(s.connection->finished());
      s.feed("");
      CHECK_FALSE(s.last().in_data);
      continue;
    }
    CHECK(s.output.sent ==
          "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n");
    CHECK(s.output.paused == 0);
    CHECK(s.output.soon);
    s.feed("");
    CHECK(s.last().body == "GET /smuggled HTTP/1.1\r\n");
    s.feed("more");
    CHECK(s.last().body.ends_with("more"));
    s.output.sent.clear();
    s.stream().send_data(buffer_of(s.pool, "raw"), false);
    CHECK(s.output.sent == "raw");
    CHECK_FALSE(s.connection->finished());
    s.stream().send_data(Buffer(), true);
    CHECK(s.output.sent == "raw");
    CHECK(s.connection->finished());
  }
}

TEST_CASE("CONNECT is raw behind a 2xx, which has no length") {
  ServerBench s;
  s.setup = [](Recorder&, Stream&) {};
  s.start();
  s.feed("CONNECT b.c:443 HTTP/1.1\r\nHost: other\r\nContent-Length: 0\r\n\r\nhello");
  CHECK(s.last().log == "headers{:method=CONNECT|:authority=b.c:443}\n");
  s.stream().send_headers(*make({{":status", "200"}, {"content-length", "0"}}), false);
  CHECK(s.output.sent == "HTTP/1.1 200 OK\r\n\r\n");
  s.feed("");
  CHECK(s.last().body == "hello");
}

TEST_CASE("meters") {
  ServerBench s;
  std::string head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
              body = "2\r\nab\r\n0\r\n\r\n";
  Stream::Bytes bytes;
  s.setup = [&](Recorder& r, Stream& stream) {
    r.end_hook = [&] {
      stream.send_headers(*make({{":status", "200"}}), false);
      stream.send_data(buffer_of(s.pool, "xyz"), false);
      bytes = stream.bytes();
      stream.send_data(Buffer(), true);
    };
  };
  s.start();
  for (char c : head + body) s.feed({&c, 1});
  CHECK(bytes.header_received == head.size());
  CHECK(bytes.wire_received == head.size() + body.size());
  size_t head_sent = std::string("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").size();
  CHECK(bytes.header_sent == head_sent);
  CHECK(bytes.wire_sent == head_sent + 3 + 3 + 2);
}

}  // namespace
}  // namespace sluice::http
