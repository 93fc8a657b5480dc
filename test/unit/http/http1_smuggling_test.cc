#include "core/ascii.h"
#include "http1_support.h"

// Requests that must be refused, and their near neighbours that must not. Each whole, byte by byte and split at random.
namespace sluice::http {
namespace {

struct Case {
  std::string request;
  std::string outcome;  // "400 details" or the log of what was taken
};

// The outcome of a request under every split: one and the same.
void check(const Case& c, const std::function<void(Http1Config&)>& configure = nullptr) {
  const uint64_t seed = random_seed();
  std::string shown = c.request.substr(0, 300);
  CAPTURE(shown);
  CAPTURE(seed);
  bool refused = c.outcome.size() > 4 && isdigit(c.outcome[0]);
  std::string expected = refused ? "bad " + c.outcome + "\n--\n" : c.outcome + "--\n";
  for (const auto& pieces : splits(c.request, seed)) {
    CAPTURE(pieces.size());
    ServerBench s;
    if (configure) configure(s.config);
    s.start();
    for (std::string_view piece : pieces) s.feed(piece);
    std::string log = s.log();
    CHECK(log == expected);
    CHECK(s.connection->finished() == refused);
    if (refused) {
      std::string answer = "HTTP/1.1 " + c.outcome.substr(0, 3) + " ";
      CHECK(s.output.sent.starts_with(answer));
      CHECK(s.output.sent.ends_with("content-length: 0\r\nconnection: close\r\n\r\n"));
    }
    if (log != expected) break;
  }
}

std::string post(std::string_view fields, std::string_view body = "") {
  return "POST / HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\n" + std::string(body);
}
std::string get(std::string_view fields) {
  return "GET / HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\n";
}
std::string posted(std::string_view rest) {
  return "headers{:method=POST|:path=/|:authority=a" + std::string(rest);
}
const std::string kGot = "headers{:method=GET|:path=/|:authority=a}\nend\n";
const std::string kCodecError = "400 http1.codec_error";
const std::string kCharacters = "400 http1.invalid_characters";
const std::string kBoth = "400 http1.content_length_and_chunked_not_allowed";
const std::string kCoding = "501 http1.invalid_transfer_encoding";

TEST_CASE("Content-Length: one number, or nothing (RFC 9112 section 6.3)") {
  check({post("Content-Length: 2\r\n", "ab"), posted("|content-length=2}\ndata(ab)\nend\n")});
  check({post("Content-Length: 002\r\n", "ab"), posted("|content-length=002}\ndata(ab)\nend\n")});
  check({post("Content-Length: 0\r\n"), posted("|content-length=0}\nend\n")});
  for (const char* bad : {"+2", "-2", "0x2", "2, 2", "2,2", "2 2", "", "a", "99999999999999999999999",
                          "9223372036854775808", "2\t2", "2;a", "\"2\""})
    check({post("Content-Length: " + std::string(bad) + "\r\n", "ab"), kCodecError});
  check({post("Content-Length: 2\r\nContent-Length: 2\r\n", "ab"), kCodecError});
  check({post("Content-Length: 2\r\nContent-Length: 3\r\n", "ab"), kCodecError});
  check({post("Content-Length: 2\r\nX: y\r\ncontent-length: 2\r\n", "ab"), kCodecError});
}

TEST_CASE("Transfer-Encoding: chunked alone") {
  const std::string last = "0\r\n\r\n";
  for (const char* good : {"chunked", "Chunked", "CHUNKED", "\tchunked \t"})
    check({post("Transfer-Encoding:" + std::string(good) + "\r\n", "2\r\nab\r\n" + last),
           posted("}\ndata(ab)\nend\n")});
  for (const char* bad :
       {"gzip", "gzip, chunked", "chunked, gzip", "chunked, chunked", "chunked,", ",chunked", "identity",
        "xchunked", "chunked;a", "chunked;q=1", "\"chunked\"", "", "chunked identity", "chunke"})
    check({post("Transfer-Encoding: " + std::string(bad) + "\r\n", last), kCoding});
  check({post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", last), kCoding});
  check({post("Transfer-Encoding: chunked\r\ntransfer-encoding: identity\r\n", last), kCoding});
  check({post("Transfer-Encoding: \x0b"
              "chunked\r\n",
              last),
         kCharacters});
  check({post("Transfer-Encoding : chunked\r\n", last), kCodecError});
  check({post("Transfer\tEncoding: chunked\r\n", last), kCodecError});
  check({post("Transfer-Encoding:\r\n chunked\r\n", last), kCodecError});
  check({post("X: y\r\n Transfer-Encoding: chunked\r\n", last), kCodecError});
}

TEST_CASE("Content-Length and Transfer-Encoding together") {
  check({post("Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), kBoth});
  check({post("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", "0\r\n\r\n"), kBoth});
  check({post("Transfer-Encoding: chunked\r\nContent-Length: x\r\n", "0\r\n\r\n"), kBoth});
  check({post("Transfer-Encoding: gzip\r\nContent-Length: 2\r\n", "0\r\n\r\n"), kBoth});
  auto allow = [](Http1Config& c) { c.http1.allow_chunked_length = true; };
  check({post("Content-Length: 20\r\nTransfer-Encoding: chunked\r\n", "1\r\na\r\n0\r\n\r\n"),
         posted("}\ndata(a)\nend\n")},
        allow);
  check({post("Content-Length: 2\r\nTransfer-Encoding: gzip\r\n", "0\r\n\r\n"), kCoding}, allow);
}

TEST_CASE("Transfer-Encoding with HTTP/1.0 is faulty framing (RFC 9112 section 6.1)") {
  std::string request = "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
  ServerBench s;
  s.config.http1.accept_http_10 = true;
  s.start();
  s.feed(request);
  CHECK(s.log() == "bad 400 http1.invalid_transfer_encoding\n--\n");
}

TEST_CASE("line ends: CRLF or LF in a head; a bare CR nowhere (RFC 9112 section 2.2)") {
  check({"GET / HTTP/1.1\nHost: a\n\n", kGot});
  check({"GET / HTTP/1.1\r\nHost: a\n\r\n", kGot});
  check({"GET / HTTP/1.1\nHost: a\r\n\n", kGot});
  check({"\r\n\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", kGot});
  check({get("X: a\rb\r\n"), kCharacters});
  check({get("X: a\r\r\n"), kCharacters});
  check({get("X: \ra\r\n"), kCharacters});
  check({get("X\r: a\r\n"), kCodecError});
  check({"GET / HTTP/1.1\r\nHost: a\r\n\r\r\n", kCodecError});
  check({"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", kCodecError});
  check({"GET /\ra HTTP/1.1\r\nHost: a\r\n\r\n", kCodecError});
  check({"\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", kCodecError});
}

TEST_CASE("field names are tokens, right before the colon") {
  for (char c : std::string("\"(),/;<=>?@[\\]{} \t\x01\x7f\xe4"))
    check({get("X" + std::string(1, c) + ": a\r\n"), kCodecError});
  for (char c : std::string("!#$%&'*+-.^_`|~09azAZ")) {
    std::string lower(1, to_lower(c));
    check({get("x" + std::string(1, c) + ": v\r\n"),
           "headers{:method=GET|:path=/|:authority=a|x" + lower + "=v}\nend\n"});
  }
  check({get(std::string("X\0: a\r\n", 7)), kCharacters});
  check({get(": a\r\n"), kCodecError});
  check({get(":path: /admin\r\n"), kCodecError});
  check({get("abc\r\n"), kCodecError});
  check({get(" X: folded\r\n"), kCodecError});
  check({get("X: a\r\n b\r\n"), kCodecError});
  check({"GET / HTTP/1.1\r\n Host: a\r\n\r\n", kCodecError});
}

TEST_CASE("values: no control characters but the tab") {
  for (int c = 0; c < 256; ++c) {
    if (c == '\n') continue;
    std::string value = "a" + std::string(1, static_cast<char>(c)) + "bcdefghijklmnopqrstuvwxyz";
    bool bad = (c < 0x20 && c != '\t') || c == 0x7f;
    check({get("X: " + value + "\r\n"),
           bad ? kCharacters : "headers{:method=GET|:path=/|:authority=a|x=" + value + "}\nend\n"});
  }
}

TEST_CASE("Host: at most one, and a host (RFC 9112 section 3.2)") {
  auto with = [](const std::string& fields) { return "GET / HTTP/1.1\r\n" + fields + "\r\n"; };
  const std::string bad = "400 http.invalid_authority";
  check({with("Host: a\r\nHost: b\r\n"), bad});
  check({with("Host: a\r\nhost: a\r\n"), bad});
  for (const char* host : {"a/b", "a b", "a\"b", "a<b", "\xc3\xa4", "u@a", "a\\b", "a#b", "a?b"})
    check({with("Host: " + std::string(host) + "\r\n"), bad});
  for (const char* host : {"a", "a:80", "[::1]:80", "a_b", "a.b-c~d", "%41", ""})
    check({with("Host: " + std::string(host) + "\r\n"),
           "headers{:method=GET|:path=/|:authority=" + std::string(host) + "}\nend\n"});
  // None: the connection manager's to refuse (missing_host_header), which logs the request.
  check({with(""), "headers{:method=GET|:path=/}\nend\n"});
}

TEST_CASE("request lines") {
  auto line = [](const std::string& l) { return l + "\r\nHost: a\r\n\r\n"; };
  for (const char* bad : {"get / HTTP/1.1",
                          "FOO / HTTP/1.1",
                          "G@T / HTTP/1.1",
                          "GET",
                          "GET ",
                          "GET /",
                          "GET / ",
                          "GET / HTTP/1",
                          "GET / http/1.1",
                          "GET / HTTP/1.1x",
                          "GET / HTTP/1.1 ",
                          "GET / FOO/1.1",
                          "GET  / HTTP/1.1",
                          "GET /  HTTP/1.1",
                          "GET\t/ HTTP/1.1",
                          " GET / HTTP/1.1",
                          "GET / HTTP/11",
                          "GET / HTTP/1,1",
                          "GET /a b HTTP/1.1",
                          "GET /\xc3\xa4 HTTP/1.1",
                          "GET /a\tb HTTP/1.1",
                          "GET a HTTP/1.1",
                          "GET ?a HTTP/1.1",
                          "GET  HTTP/1.1",
                          "/ HTTP/1.1",
                          "\"GET / HTTP/1.1"})
    check({line(bad), kCodecError});
  check({line("GET /a\x01 HTTP/1.1"), kCharacters});
  check({line("GET /a\x7f HTTP/1.1"), kCharacters});
  check({line(std::string("GET /a\0 HTTP/1.1", 16)), kCharacters});
  check({line("GET * HTTP/1.1"), "400 http1.invalid_url"});
  check({line("OPTIONS *a HTTP/1.1"), "400 http1.invalid_url"});
  for (const char* version : {"HTTP/1.0", "HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "HTTP/9.9"})
    check({line("GET / " + std::string(version)), "426 low_version"});
  check({line("GET /a\"<>{}|\\^`[]#?%zz HTTP/1.1"),
         "headers{:method=GET|:path=/a\"<>{}|\\^`[]#?%zz|:authority=a}\nend\n"});
  check({std::string("\x16\x03\x01\x02\x00\x01\xfc", 7), kCodecError});  // TLS, and no line end ever
}

TEST_CASE("chunked bodies") {
  auto chunked = [](std::string_view body) { return post("Transfer-Encoding: chunked\r\n", body); };
  const std::string ab = posted("}\ndata(ab)\nend\n");
  check({chunked("2\r\nab\r\n0\r\n\r\n"), ab});
  check({chunked("1\r\na\r\n1\r\nb\r\n0\r\n\r\n"), ab});
  check({chunked("02\r\nab\r\n000\r\n\r\n"), ab});
  check({chunked("2;a=b;c=\"d\"\r\nab\r\n0;x\r\n\r\n"), ab});
  check({chunked("2 \t;a\r\nab\r\n0\r\n\r\n"), ab});
  check({chunked("2 \r\nab\r\n0\r\n\r\n"), ab});
  check({chunked("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n"),
         posted("}\ndata(01234567890123456789)\nend\n")});
  check({chunked("0\r\nx: y\r\n\r\n"), posted("}\nend\n")});  // trailers are dropped by default
  for (std::string bad :
       {"0x2\r\nab\r\n0\r\n\r\n", "+2\r\nab\r\n0\r\n\r\n", "-2\r\nab\r\n0\r\n\r\n", " 2\r\nab\r\n0\r\n\r\n",
        "\r\nab\r\n0\r\n\r\n", "2g\r\nab\r\n0\r\n\r\n", "2 X\r\nab\r\n0\r\n\r\n", "2\nab\r\n0\r\n\r\n",
        "2\r\rab\r\n", "2;a\nab\r\n0\r\n\r\n", "2;a\rb\r\nab\r\n0\r\n\r\n", "2;a\x01\r\nab\r\n0\r\n\r\n",
        "8000000000000000\r\nab\r\n", "11111111111111111\r\nab\r\n", ";a\r\nab\r\n"}) {
    std::string log = "headers{:method=POST|:path=/|:authority=a}\nbad 400 http1.codec_error\n";
    CAPTURE(bad);
    const std::string request = chunked(bad);
    for (const auto& pieces : splits(request, 1)) {
      ServerBench s;
      s.start();
      for (std::string_view piece : pieces) s.feed(piece);
      CHECK(s.log() == log + "--\n");
      CHECK(s.connection->finished());
    }
  }
  // Behind data: the data is there, and then the refusal.
  for (std::string bad :
       {"2\r\nabX\r\n0\r\n\r\n", "2\r\nab\n0\r\n\r\n", "2\r\nab\r0\r\n\r\n", "2\r\nab\r\nx",
        "2\r\nab0\r\n\r\n", "2\r\nab\r\n0\n\r\n", "2\r\nab\r\n0\r\n\n", "2\r\nab\r\n0\r\nx y\r\n\r\n",
        "2\r\nab\r\n0\r\nx: y\n\r\n", "2\r\nab\r\n0\r\n x: y\r\n\r\n", "2\r\nab\r\n0\r\nx@: y\r\n\r\n",
        "2\r\nab\r\n0\r\r\n\r\n"}) {
    CAPTURE(bad);
    const std::string request = chunked(bad);
    for (const auto& pieces : splits(request, 1)) {
      ServerBench s;
      s.start();
      for (std::string_view piece : pieces) s.feed(piece);
      CHECK(s.log() ==
            "headers{:method=POST|:path=/|:authority=a}\ndata(ab)\nbad 400 http1.codec_error\n--\n");
    }
  }
}

TEST_CASE("chunk-size lines and extensions are bounded") {
  auto feed = [](const std::string& body) {
    ServerBench s;
    s.start();
    s.feed(post("Transfer-Encoding: chunked\r\n", body));
    return s.last().log;
  };
  const std::string head = posted("}\n");
  CHECK(feed("2;" + std::string(4000, 'a') + "\r\nab\r\n0\r\n\r\n") == head + "data(ab)\nend\n");
  CHECK(feed("2;" + std::string(4096, 'a') + "\r\nab\r\n0\r\n\r\n") == head + "bad 400 http1.codec_error\n");
  CHECK(feed(std::string(5000, '0') + "2\r\nab\r\n0\r\n\r\n") == head + "bad 400 http1.codec_error\n");
  // A signature for each chunk is no attack; extensions around single bytes are.
  std::string many, tiny;
  for (int i = 0; i < 200; ++i)
    many += "400;chunk-signature=" + std::string(64, 'f') + "\r\n" + std::string(1024, 'd') + "\r\n";
  for (int i = 0; i < 200; ++i) tiny += "1;" + std::string(200, 'f') + "\r\nd\r\n";
  CHECK(feed(many + "0\r\n\r\n").ends_with(")\nend\n"));
  CHECK(feed(tiny + "0\r\n\r\n").ends_with(")\nbad 400 http1.codec_error\n"));
}

TEST_CASE("limits: 431, and the same wherever the head is split") {
  auto limit = [](Http1Config& c) {
    c.common.max_headers_bytes = 200;
    c.common.max_headers_count = 5;
  };
  std::string start = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
  std::string fits = start + std::string(200 - start.size() - 4, 'v') + "\r\n\r\n";
  REQUIRE(fits.size() == 200);
  check({fits, "headers{:method=GET|:path=/|:authority=a|x=" + std::string(200 - start.size() - 4, 'v') +
                   "}\nend\n"},
        limit);
  std::string over = start + std::string(200 - start.size() - 3, 'v') + "\r\n\r\n";
  check({over, "431 http1.headers_too_large"}, limit);
  check({start + std::string(1000, 'v'), "431 http1.headers_too_large"}, limit);
  check({"GET /" + std::string(1000, 'v'), "431 http1.headers_too_large"}, limit);
  check({std::string(1000, '\n'), "431 http1.headers_too_large"}, limit);
  check({get("a:\r\nb:\r\nc:\r\nd:\r\n"), "headers{:method=GET|:path=/|:authority=a|a=|b=|c=|d=}\nend\n"},
        limit);
  check({get("a:\r\nb:\r\nc:\r\nd:\r\ne:\r\n"), "431 http1.too_many_headers"}, limit);
}

TEST_CASE("trailers are bounded, and what frames or routes has no place in them") {
  auto enable = [](Http1Config& c) {
    c.common.max_headers_bytes = 120;
    c.common.max_headers_count = 3;
    c.http1.enable_trailers = true;
  };
  auto with = [](std::string_view t) {
    return post("Transfer-Encoding: chunked\r\n", "0\r\n" + std::string(t) + "\r\n");
  };
  check({with("X: y\r\nContent-Length: 4\r\nHost: b\r\n"), posted("}\ntrailers{x=y}\nend\n")}, enable);
  check({with("Transfer-Encoding: chunked\r\n"), posted("}\nend\n")}, enable);
  for (auto& configure :
       {std::function<void(Http1Config&)>(enable), std::function<void(Http1Config&)>([](Http1Config& c) {
          c.common.max_headers_bytes = 120;
          c.common.max_headers_count = 3;
        })}) {
    for (auto& [trailers, details] :
         {std::pair<std::string, std::string>{"a:\r\nb:\r\nc:\r\nd:\r\n", "too_many_headers"},
          {"a: " + std::string(200, 'v'), "headers_too_large"}}) {
      const std::string request = with(trailers);
      for (const auto& pieces : splits(request, 7)) {
        ServerBench s;
        configure(s.config);
        s.start();
        for (std::string_view piece : pieces) s.feed(piece);
        CHECK(s.last().log == posted("}\nbad 431 http1." + details + "\n"));
      }
    }
  }
}

TEST_CASE("names with underscores") {
  auto action = [](UnderscoreAction a) { return [a](Http1Config& c) { c.common.underscores = a; }; };
  check({get("X_Y: v\r\n"), "headers{:method=GET|:path=/|:authority=a|x_y=v}\nend\n"},
        action(UnderscoreAction::allow));
  check({get("X_Y: v\r\nZ: w\r\n"), "headers{:method=GET|:path=/|:authority=a|z=w}\nend\n"},
        action(UnderscoreAction::drop_header));
  check({get("X_Y: v\r\n"), "400 http1.unexpected_underscore"}, action(UnderscoreAction::reject_request));
  ServerBench s;
  s.config.common.underscores = UnderscoreAction::drop_header;
  s.start();
  s.feed(get("X_Y: v\r\na_b: c\r\n"));
  CHECK(s.stats.dropped_headers_with_underscores.slot_value() == 2);
}

TEST_CASE("what Connection nominates goes, and what may not be nominated is refused") {
  const std::string rejected = "400 http1.connection_header_rejected";
  auto got = [](const std::string& rest) {
    return "headers{:method=GET|:path=/|:authority=a" + rest + "}\nend\n";
  };
  check({get("Connection: x\r\nX: foo\r\nY: bar\r\n"), got("|y=bar")});
  check({get("Connection: keep-alive, X\r\nX: 1\r\nx: 2\r\n"), got("|connection=keep-alive")});
  check({get("Connection: te\r\nTE: gzip, trailers;q=1\r\n"), got("|connection=te|te=trailers")});
  check({get("Connection: te\r\nTE: gzip\r\n"), got("")});
  check({get("Connection: te\r\nTE: " + std::string(300, 'g') + "\r\n"), rejected});
  check({get("Connection: :path\r\n"), rejected});
  for (const char* name : {"x-forwarded-for", "X-Forwarded-Host", "x-forwarded-proto"})
    check({get("Connection: " + std::string(name) + "\r\n"), rejected});
  check({get("Connection: a,b,c,d,e,f,g,h,i\r\n"), got("")});
  check({get("Connection: a,b,c,d,e,f,g,h,i,j\r\n"), rejected});
  check({get("Connection: host\r\n"), "headers{:method=GET|:path=/}\nend\n"});  // and then it has none
  // The framing is what arrived, not what is left of it.
  check({post("Connection: content-length\r\nContent-Length: 2\r\n", "ab"), posted("}\ndata(ab)\nend\n")});
}

TEST_CASE("CONNECT and upgrades carry no body whose end two parties could see in two places") {
  auto connect = [](const std::string& target, const std::string& fields = "") {
    return "CONNECT " + target + " HTTP/1.1\r\nHost: x\r\n" + fields + "\r\n";
  };
  for (const char* bad :
       {"a", "/a", "http://a:80/", "u@a:80", ":80", "a:", "a:b", "a:99999", "[::1]", "[::1:80", "*", "a:80/"})
    check({connect(bad), "400 http1.invalid_url"});
  check({connect("a:80", "Content-Length: 5\r\n"), "400 http1.body_disallowed"});
  check({connect("a:80", "Transfer-Encoding: chunked\r\n"), kCoding});
  const std::string offered = "Connection: upgrade\r\nUpgrade: websocket\r\n";
  check({post(offered + "Content-Length: 2\r\n", "ab"), posted("|content-length=2}\ndata(ab)\nend\n")});
  check({post(offered + "Transfer-Encoding: chunked\r\n", "2\r\nab\r\n0\r\n\r\n"),
         posted("}\ndata(ab)\nend\n")});
  check({get("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n"), kGot});
  check({get("Upgrade: websocket\r\n"), kGot});  // not nominated: no upgrade
}

}  // namespace
}  // namespace sluice::http
