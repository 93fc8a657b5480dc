#include "http1_support.h"

// The client's side: what it takes for a response, and what it writes for a request.
namespace sluice::http {
namespace {

struct Case {
  std::string method = "GET";
  std::string response;
  std::string log;
  bool end = false;  // the server closes behind it
  bool finished = false;
  std::string error{};
};

void check(const Case& c, const std::function<void(Http1Config&)>& configure = nullptr) {
  const uint64_t seed = random_seed();
  CAPTURE(c.response);
  CAPTURE(seed);
  for (const auto& pieces : splits(c.response, seed)) {
    ClientBench b;
    if (configure) configure(b.config);
    b.start();
    b.get(c.method);
    for (std::string_view piece : pieces) b.feed(piece);
    if (c.end) b.end();
    CHECK(b.recorder.log == c.log);
    CHECK(b.error.substr(0, b.error.find(':')) == c.error);
    CHECK(b.connection->finished() == (c.finished || !c.error.empty()));
    if (b.recorder.ended) CHECK(b.connection->active_streams() == 0);
  }
}

void refused(const std::string& response, const std::string& details, const std::string& before = "",
             const std::function<void(Http1Config&)>& configure = nullptr) {
  check({.response = response, .log = before + "reset protocol error " + details + "\n", .error = details},
        configure);
}

std::string head(const std::string& method, const Fields& more, bool end_stream,
                 const std::function<void(Http1Config&)>& configure = nullptr) {
  ClientBench b;
  if (configure) configure(b.config);
  b.start();
  Fields fields = {{":method", method}, {":authority", "a.b"}, {":path", "/p?q"}, {":scheme", "https"}};
  fields.insert(fields.end(), more.begin(), more.end());
  b.request(fields, end_stream);
  return b.output.sent;
}

TEST_CASE("framing by length, chunks and close") {
  check({.response = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
         .log = "headers{:status=200|content-length=5}\ndata(hello)\nend\n"});
  check({.response = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
         .log = "headers{:status=200|content-length=0}\nend\n"});
  check({.response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x\r\nhello\r\n0\r\nA: b\r\n\r\n",
         .log = "headers{:status=200}\ndata(hello)\nend\n"});
  check({.response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nA: b\r\n\r\n",
         .log = "headers{:status=200}\ndata(hello)\ntrailers{a=b}\nend\n"},
        [](Http1Config& c) { c.http1.enable_trailers = true; });
  check({.response = "HTTP/1.1 200 OK\r\n\r\nhello",
         .log = "headers{:status=200}\ndata(hello)\nend\n",
         .end = true,
         .finished = true});
  check({.response = "HTTP/1.1 200 OK\r\n\r\n",
         .log = "headers{:status=200}\nend\n",
         .end = true,
         .finished = true});
}

TEST_CASE("responses without a body, whatever they say") {
  check({.method = "HEAD",
         .response = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
         .log = "headers{:status=200|content-length=5}\nend\n"});
  check({.method = "HEAD",
         .response = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
         .log = "headers{:status=200}\nend\n"});
  check({.method = "HEAD", .response = "HTTP/1.1 200 OK\r\n\r\n", .log = "headers{:status=200}\nend\n"});
  check({.response = "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n",
         .log = "headers{:status=304|content-length=7}\nend\n"});
  check({.response = "HTTP/1.1 204 No Content\r\n\r\n", .log = "headers{:status=204}\nend\n"});
  check({.response = "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
         .log = "headers{:status=204}\nend\n"});
  refused("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nab", "http1.content_length_not_allowed");
  refused("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
          "http1.transfer_encoding_not_allowed");
  refused("HTTP/1.1 103 Early Hints\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
          "http1.transfer_encoding_not_allowed");
}

TEST_CASE("any number of 1xx, then the response") {
  check({.response = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 "
                     "OK\r\nContent-Length: 2\r\n\r\nok",
         .log = "informational{:status=100}\ninformational{:status=103|link=x}\nheaders{:status=200|content-"
                "length=2}\ndata(ok)\nend\n"});
  refused("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "http1.codec_error");  // nobody asked
}

TEST_CASE("status lines") {
  auto ok = [](const std::string& line, bool finished = false) {
    check({.response = line + "\r\nContent-Length: 0\r\n\r\n",
           .log = "headers{:status=" + line.substr(9, 3) + "|content-length=0}\nend\n",
           .finished = finished});
  };
  ok("HTTP/1.1 200");
  ok("HTTP/1.1 200 ");
  ok("HTTP/1.1 999 Some words \xe4");
  ok("HTTP/1.2 200 OK");
  ok("HTTP/1.0 200 OK", true);
  for (const char* bad : {"HTTP/2.0 200 OK", "HTTP/1.1 99 x", "HTTP/1.1 099 x", "HTTP/1.1 2000 x",
                          "HTTP/1.1 20x OK", "HTTP/1.1  200 OK", "http/1.1 200 OK", "foo", "HTTP/1.1",
                          "HTTP/1.1\t200 OK", "ICY 200 OK", "HTTP/1.1 200\tOK"})
    refused(std::string(bad) + "\r\nContent-Length: 0\r\n\r\n", "http1.codec_error");
  refused("HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n", "http1.invalid_characters");
}

TEST_CASE("framing that deceives somebody is refused") {
  refused("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
          "http1.content_length_and_chunked_not_allowed");
  check({.response = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
         .log = "headers{:status=200}\nend\n"},
        [](Http1Config& c) { c.http1.allow_chunked_length = true; });
  refused("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab", "http1.codec_error");
  refused("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nab", "http1.codec_error");
  refused("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
          "http1.invalid_transfer_encoding");
  refused("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
          "http1.invalid_transfer_encoding");
  refused("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n", "http1.codec_error");
  refused("HTTP/1.1 200 OK\r\nX : a\r\n\r\n", "http1.codec_error");
  refused("HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n", "http1.invalid_characters");
  refused("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "http1.codec_error",
          "headers{:status=200}\n");
  auto small = [](Http1Config& c) {
    c.common.max_headers_bytes = 100;
    c.common.max_headers_count = 3;
  };
  refused("HTTP/1.1 200 OK\r\nX: " + std::string(100, 'a'), "http1.headers_too_large", "", small);
  refused("HTTP/1.1 200 OK\r\na:\r\nb:\r\nc:\r\nd:\r\n\r\n", "http1.too_many_headers", "", small);
}

TEST_CASE("the server closes too early") {
  check({.response = "", .log = "reset connection termination \n", .end = true, .finished = true});
  for (auto& [response, before] :
       {std::pair<std::string, std::string>{"HTTP/1.1 2", ""},
        {"HTTP/1.1 200 OK\r\nX: y", ""},
        {"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab",
         "headers{:status=200|content-length=9}\ndata(ab)\n"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n",
         "headers{:status=200}\ndata(ab)\n"},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "headers{:status=200}\n"}})
    check({.response = response,
           .log = before + "reset protocol error http1.codec_error\n",
           .end = true,
           .error = "http1.codec_error"});
}

TEST_CASE("when the connection can be used again") {
  auto keeps = [](const std::string& start, const std::string& fields, bool keeps) {
    check({.response = start + " 200 OK\r\nContent-Length: 0\r\n" + fields + "\r\n",
           .log = "headers{:status=200|content-length=0" +
                  (fields.empty() ? "" : "|connection=" + fields.substr(12, fields.size() - 14)) + "}\nend\n",
           .finished = !keeps});
  };
  keeps("HTTP/1.1", "", true);
  keeps("HTTP/1.1", "Connection: keep-alive\r\n", true);
  keeps("HTTP/1.1", "Connection: close\r\n", false);
  keeps("HTTP/1.1", "Connection: a, Close\r\n", false);
  keeps("HTTP/1.0", "", false);
  keeps("HTTP/1.0", "Connection: keep-alive\r\n", true);
}

TEST_CASE("request heads") {
  for (const char* method : {"GET", "HEAD", "DELETE", "TRACE"})
    CHECK(head(method, {}, true) == std::string(method) + " /p?q HTTP/1.1\r\nhost: a.b\r\n\r\n");
  for (const char* method : {"POST", "PUT", "PATCH", "OPTIONS"})
    CHECK(head(method, {}, true) ==
          std::string(method) + " /p?q HTTP/1.1\r\nhost: a.b\r\ncontent-length: 0\r\n\r\n");
  CHECK(head("POST", {}, false) == "POST /p?q HTTP/1.1\r\nhost: a.b\r\ntransfer-encoding: chunked\r\n\r\n");
  CHECK(head("POST", {{"content-length", "3"}, {"x-a", "b"}}, false) ==
        "POST /p?q HTTP/1.1\r\nhost: a.b\r\ncontent-length: 3\r\nx-a: b\r\n\r\n");
  CHECK(head("GET", {{"connection", "close"}}, true) ==
        "GET /p?q HTTP/1.1\r\nhost: a.b\r\nconnection: close\r\n\r\n");
  CHECK(head("GET", {{"x-a", "b"}}, true, [](Http1Config& c) {
          c.http1.send_fully_qualified_url = true;
          c.http1.key_format = Http1Options::KeyFormat::proper_case;
        }) == "GET https://a.b/p?q HTTP/1.1\r\nHost: a.b\r\nX-A: b\r\n\r\n");
}

TEST_CASE("nothing in a request splits it") {
  ClientBench b;
  b.start();
  b.request(
      {{":method", "GET"}, {":path", "/a b\r\nX: y HTTP/1.1"}, {":authority", "h\r\nX: y"}, {"x", "1\n2"}});
  CHECK(b.output.sent == "GET /a%20b%0D%0AX:%20y%20HTTP/1.1 HTTP/1.1\r\nhost: h  X: y\r\nx: 1 2\r\n\r\n");
}

}  // namespace
}  // namespace sluice::http
