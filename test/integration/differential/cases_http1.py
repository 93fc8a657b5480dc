"""HTTP/1 on the wire: framing, smuggling, limits, odd but legal forms (RFC 9112)."""
from differential import configs as c
from differential.case import Close, case, get, post, response


@c.configuration
def trailers_on(p):
    return c.served(p, c.hcm(p, http_protocol_options={"enable_trailers": True}),
                    clusters=[c.up(p, typed_extension_protocol_options={
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                            "explicit_http_config": {"http_protocol_options": {"enable_trailers": True}}}})])


@c.configuration
def http10(p):
    return c.served(p, c.hcm(p, http_protocol_options={"accept_http_10": True, "default_host_for_http_10": "ten.example"}))


@c.configuration
def small_headers(p):
    return c.served(p, c.hcm(p, max_request_headers_kb=4, common_http_protocol_options={"max_headers_count": 20}))


@c.configuration
def chunked_length(p):
    return c.served(p, c.hcm(p, http_protocol_options={"allow_chunked_length": True}))


@c.configuration
def proper_case(p):
    return c.served(p, c.hcm(p, http_protocol_options={"header_key_format": {"proper_case_words": {}}}))


@c.configuration
def underscores_reject(p):
    return c.served(p, c.hcm(p, common_http_protocol_options={"headers_with_underscores_action": "REJECT_REQUEST"}))


@c.configuration
def underscores_drop(p):
    return c.served(p, c.hcm(p, common_http_protocol_options={"headers_with_underscores_action": "DROP_HEADER"}))


@c.configuration
def websocket(p):
    return c.served(p, c.hcm(p, upgrade_configs=[{"upgrade_type": "websocket"}]))


@c.configuration
def connect_on(p):
    return c.served(p, c.hcm(p, c.vhost(c.route(match={"connect_matcher": {}}), c.route()), upgrade_configs=[{"upgrade_type": "CONNECT"}]))


@c.configuration
def keep_on_error(p):
    return c.served(p, c.hcm(p, http_protocol_options={"override_stream_error_on_invalid_http_message": True}))


def raw(name, text, **fields):
    case(name, text.encode("latin-1").replace(b"\n", b"\r\n"), **fields)


# ---- ordinary ----
case("get", get())
case("get with a query", get("/a/b?c=d&e=%20f"))
case("get byte by byte", tuple(bytes([b]) for b in get("/slow", "user-agent: test")))
case("head", get(method="HEAD"), replies=b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n")
case("post with a length", post(b"hello"))
case("post empty", get("/", "content-length: 0", method="POST"))
case("post without a length", get("/", method="POST"))
case("post in pieces", (post(b"hello world")[:-6], b" worl", b"d"))
case("post large", post(b"x" * 300_000))
case("put chunked", get("/", "transfer-encoding: chunked", method="PUT") + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")
case("options with asterisk", get("*", method="OPTIONS"))
case("trace", get(method="TRACE"))
case("delete with a body", get("/x", "content-length: 3", method="DELETE") + b"abc")
case("patch", get("/x", "content-length: 3", method="PATCH") + b"abc")
case("two pipelined", get("/1") + get("/2"), responses=2)
case("three pipelined with bodies", post(b"one", "/1") + post(b"two", "/2") + get("/3"), responses=3)
case("connection: close", get("/", "connection: close"))
case("connection: Keep-Alive", get("/", "connection: Keep-Alive"))
case("connection names a header", get("/", "connection: x-hop", "x-hop: 1", "x-stays: 2"))
case("empty header value", get("/", "x-empty:"))
case("header repeated", get("/", "x-a: 1", "x-b: 2", "x-a: 3"))
case("header value with blanks around", get("/", "x-a:   padded value \t "))
case("header with high bytes", get("/", "x-a: \xe4\xf6"))
case("many cookies", get("/", "cookie: a=1", "cookie: b=2"))
case("absolute form", get("http://other.example:8080/abs?q", host="test.example"))
case("absolute form without a path", get("http://other.example", host="test.example"))
case("absolute form https", get("https://other.example/abs"))
case("leading empty line", b"\r\n" + get())
case("expect 100-continue", (get("/", "content-length: 5", "expect: 100-continue", method="POST"), b"hello"), )
case("te: trailers", get("/", "te: trailers"))
case("te: other", get("/", "te: gzip, deflate"))
case("upgrade h2c is not done", get("/", "connection: upgrade, http2-settings", "upgrade: h2c", "http2-settings: AAMAAABkAAQAAP__"))
case("long path", get("/" + "a" * 4000))

# ---- what may not be ----
case("lf alone ends lines", b"GET / HTTP/1.1\nhost: a\n\n")
case("cr inside a value", b"GET / HTTP/1.1\r\nhost: a\r\nx: a\rb\r\n\r\n")
case("nul in a value", b"GET / HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n")
case("nul in a name", b"GET / HTTP/1.1\r\nhost: a\r\nx\0: b\r\n\r\n")
case("control byte in a value", b"GET / HTTP/1.1\r\nhost: a\r\nx: a\x01b\r\n\r\n")
case("delete byte in a value", b"GET / HTTP/1.1\r\nhost: a\r\nx: a\x7fb\r\n\r\n")
case("obs-fold", b"GET / HTTP/1.1\r\nhost: a\r\nx: a\r\n b\r\n\r\n")
case("obs-fold in the first field", b"GET / HTTP/1.1\r\n host: a\r\n\r\n")
case("blank before the colon", b"GET / HTTP/1.1\r\nhost: a\r\nx : b\r\n\r\n")
case("empty name", b"GET / HTTP/1.1\r\nhost: a\r\n: b\r\n\r\n")
case("no colon", b"GET / HTTP/1.1\r\nhost: a\r\nxyz\r\n\r\n")
case("name with a blank", b"GET / HTTP/1.1\r\nhost: a\r\nx y: b\r\n\r\n")
case("name with parentheses", b"GET / HTTP/1.1\r\nhost: a\r\nx(y): b\r\n\r\n")
case("no host", b"GET / HTTP/1.1\r\nx: a\r\n\r\n")
case("empty host", b"GET / HTTP/1.1\r\nhost:\r\n\r\n")
case("two hosts", b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n")
case("two equal hosts", b"GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n")
case("host with a bad character", b"GET / HTTP/1.1\r\nhost: a b\r\n\r\n")
case("host with user info", b"GET / HTTP/1.1\r\nhost: u@a\r\n\r\n")
case("no version", b"GET /\r\nhost: a\r\n\r\n")
case("version 1.2", b"GET / HTTP/1.2\r\nhost: a\r\n\r\n")
case("version 2.0", b"GET / HTTP/2.0\r\nhost: a\r\n\r\n")
case("version 0.9", b"GET / HTTP/0.9\r\nhost: a\r\n\r\n")
case("version in lower case", b"GET / http/1.1\r\nhost: a\r\n\r\n")
case("version with junk", b"GET / HTTP/1.1x\r\nhost: a\r\n\r\n")
case("http/1.0 refused", b"GET / HTTP/1.0\r\nhost: a\r\n\r\n")
case("two blanks in the request line", b"GET  / HTTP/1.1\r\nhost: a\r\n\r\n")
case("tab in the request line", b"GET\t/ HTTP/1.1\r\nhost: a\r\n\r\n")
case("blank at the end of the request line", b"GET / HTTP/1.1 \r\nhost: a\r\n\r\n")
case("unknown method", b"BREW / HTTP/1.1\r\nhost: a\r\n\r\n")
case("method in lower case", b"get / HTTP/1.1\r\nhost: a\r\n\r\n")
case("method with a bad character", b"G@T / HTTP/1.1\r\nhost: a\r\n\r\n")
case("empty request line", b" / HTTP/1.1\r\nhost: a\r\n\r\n")
case("path without a slash", b"GET abc HTTP/1.1\r\nhost: a\r\n\r\n")
case("path with a high byte", b"GET /\xe4 HTTP/1.1\r\nhost: a\r\n\r\n")
case("path with a control byte", b"GET /\x01 HTTP/1.1\r\nhost: a\r\n\r\n")
case("path with a fragment", get("/a#frag"))
case("tls hello", b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03" + bytes(range(64)))
case("garbage", b"\x00\x01\x02\x03garbage\r\n\r\n")
case("only a newline, then gone", b"\r\n", responses=0, after="fin")
case("half a head, then gone", b"GET / HTTP/1.1\r\nho", responses=0, after="fin")

# ---- lengths and codings ----
raw("length not a number", "POST / HTTP/1.1\nhost: a\ncontent-length: x\n\n")
raw("length negative", "POST / HTTP/1.1\nhost: a\ncontent-length: -1\n\n")
raw("length with a plus", "POST / HTTP/1.1\nhost: a\ncontent-length: +3\n\nabc")
raw("length in hex", "POST / HTTP/1.1\nhost: a\ncontent-length: 0x3\n\nabc")
raw("length with a comma", "POST / HTTP/1.1\nhost: a\ncontent-length: 3, 3\n\nabc")
raw("length empty", "POST / HTTP/1.1\nhost: a\ncontent-length:\n\n")
raw("length huge", "POST / HTTP/1.1\nhost: a\ncontent-length: 99999999999999999999999\n\n")
raw("length with leading zeros", "POST / HTTP/1.1\nhost: a\ncontent-length: 0003\n\nabc")
raw("two lengths that differ", "POST / HTTP/1.1\nhost: a\ncontent-length: 3\ncontent-length: 4\n\nabcd")
raw("two lengths alike", "POST / HTTP/1.1\nhost: a\ncontent-length: 3\ncontent-length: 3\n\nabc")
raw("length and chunked", "POST / HTTP/1.1\nhost: a\ncontent-length: 3\ntransfer-encoding: chunked\n\n0\n\n")
raw("chunked and length", "POST / HTTP/1.1\nhost: a\ntransfer-encoding: chunked\ncontent-length: 3\n\n0\n\n")
raw("length and chunked, allowed", "POST / HTTP/1.1\nhost: a\ncontent-length: 3\ntransfer-encoding: chunked\n\n0\n\n", config="chunked_length")
raw("coding gzip", "POST / HTTP/1.1\nhost: a\ntransfer-encoding: gzip\n\n")
raw("coding gzip, chunked", "POST / HTTP/1.1\nhost: a\ntransfer-encoding: gzip, chunked\n\n0\n\n")
raw("coding chunked, gzip", "POST / HTTP/1.1\nhost: a\ntransfer-encoding: chunked, gzip\n\n0\n\n")
raw("coding chunked twice", "POST / HTTP/1.1\nhost: a\ntransfer-encoding: chunked\ntransfer-encoding: chunked\n\n0\n\n")
raw("coding chunked, chunked", "POST / HTTP/1.1\nhost: a\ntransfer-encoding: chunked, chunked\n\n0\n\n")
raw("coding identity", "POST / HTTP/1.1\nhost: a\ntransfer-encoding: identity\n\n")
raw("coding in upper case", "POST / HTTP/1.1\nhost: a\ntransfer-encoding: CHUNKED\n\n0\n\n")
raw("coding with a tab", "POST / HTTP/1.1\nhost: a\ntransfer-encoding:\tchunked\n\n0\n\n")
raw("coding with a vertical tab", "POST / HTTP/1.1\nhost: a\ntransfer-encoding: \x0bchunked\n\n0\n\n")
raw("coding empty", "POST / HTTP/1.1\nhost: a\ntransfer-encoding:\n\n")
raw("coding chunkedx", "POST / HTTP/1.1\nhost: a\ntransfer-encoding: chunkedx\n\n0\n\n")
raw("get with chunked", "GET / HTTP/1.1\nhost: a\ntransfer-encoding: chunked\n\n3\nabc\n0\n\n")
raw("get with a length", "GET / HTTP/1.1\nhost: a\ncontent-length: 3\n\nabc")
CHUNKED = "POST / HTTP/1.1\nhost: a\ntransfer-encoding: chunked\n\n"
raw("chunk extension", CHUNKED + "3;a=b\nabc\n0;c\n\n")
raw("chunk extension quoted", CHUNKED + '3;a="b c"\nabc\n0\n\n')
raw("chunk size in upper case", CHUNKED + "A\n0123456789\n0\n\n")
raw("chunk size with zeros", CHUNKED + "0003\nabc\n0\n\n")
raw("chunk size with a blank", CHUNKED + "3 \nabc\n0\n\n")
raw("chunk size bad", CHUNKED + "x\nabc\n0\n\n", replies=Close)
raw("chunk size empty", CHUNKED + "\nabc\n0\n\n", replies=Close)
raw("chunk size negative", CHUNKED + "-3\nabc\n0\n\n", replies=Close)
raw("chunk size huge", CHUNKED + "fffffffffffffffff\nabc\n0\n\n", replies=Close)
raw("chunk longer than its size", CHUNKED + "3\nabcd\n0\n\n", replies=Close)
case("chunk ended by lf", CHUNKED.replace("\n", "\r\n").encode() + b"3\nabc\r\n0\r\n\r\n", replies=Close)
raw("trailers dropped", CHUNKED + "3\nabc\n0\nx-t: 1\n\n")
raw("trailers kept", CHUNKED + "3\nabc\n0\nx-t: 1\nx-u: 2\n\n", config="trailers_on")
raw("trailer that is malformed", CHUNKED + "3\nabc\n0\nx t: 1\n\n", config="trailers_on", replies=Close)
raw("trailer content-length", CHUNKED + "3\nabc\n0\ncontent-length: 1\n\n", config="trailers_on")

# ---- limits ----
case("header too large", get("/", "x: " + "a" * 5000), config="small_headers")
case("headers too large together", get("/", *[f"x{i}: " + "a" * 400 for i in range(12)]), config="small_headers")
case("headers too many", get("/", *[f"x{i}: 1" for i in range(30)]), config="small_headers")
case("request line too large", get("/" + "a" * 5000), config="small_headers")
case("trailers too large", get("/", "transfer-encoding: chunked", method="POST") + b"0\r\nx: " + b"a" * 5000 + b"\r\n\r\n", config="small_headers",
     replies=Close)

# ---- http/1.0 ----
raw("http/1.0", "GET /ten HTTP/1.0\nhost: a\n\n", config="http10")
raw("http/1.0 without host", "GET /ten HTTP/1.0\n\n", config="http10")
raw("http/1.0 keep-alive", "GET /ten HTTP/1.0\nhost: a\nconnection: keep-alive\n\n", config="http10")
raw("http/1.0 with chunked", "POST /ten HTTP/1.0\nhost: a\ntransfer-encoding: chunked\n\n0\n\n", config="http10")
case("http/1.0, chunked answer", b"GET / HTTP/1.0\r\nhost: a\r\n\r\n", config="http10",
     replies=b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
case("http/1.0 keep-alive, chunked answer", b"GET / HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\n\r\n", config="http10",
     replies=b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")

# ---- names ----
case("names in proper case", get("/", "x-some-header: 1"), config="proper_case", replies=response("200 OK", "x-answer-header: 1"))
case("underscore kept", get("/", "x_a: 1"))
case("underscore refused", get("/", "x_a: 1"), config="underscores_reject")
case("underscore dropped", get("/", "x_a: 1"), config="underscores_drop")

# ---- upgrades ----
UPGRADE = ("connection: Upgrade", "upgrade: websocket", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-version: 13")
case("websocket refused by the upstream", get("/ws", *UPGRADE), config="websocket", replies=response("403 Forbidden"))
case("websocket not configured", get("/ws", *UPGRADE))
case("other upgrade not configured", get("/ws", "connection: upgrade", "upgrade: other"), config="websocket")
case("connect not configured", b"CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n")
case("connect without a port", b"CONNECT a HTTP/1.1\r\nhost: a\r\n\r\n", config="connect_on")
case("error on one message, connection kept", get("/", "x(: 1"), config="keep_on_error")

# ---- responses of the upstream ----
case("answer without a body", get(), replies=b"HTTP/1.1 204 No Content\r\n\r\n")
case("answer 304", get(), replies=b"HTTP/1.1 304 Not Modified\r\netag: \"x\"\r\n\r\n")
case("answer 304 with a length", get(), replies=b"HTTP/1.1 304 Not Modified\r\ncontent-length: 10\r\n\r\n")
case("answer 100 first", get("/", "content-length: 0", method="POST"), replies=b"HTTP/1.1 100 Continue\r\n\r\n" + response())
case("answer 103 first", get(), replies=b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + response())
case("answer chunked", get(), replies=b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
case("answer chunked with trailers", get(), replies=b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n")
case("answer chunked with trailers kept", get("/", "te: trailers"), config="trailers_on",
     replies=b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n")
case("answer to the end of the connection", get(), replies=b"HTTP/1.1 200 OK\r\nx-a: 1\r\n\r\nall that follows")
case("answer without a reason", get(), replies=b"HTTP/1.1 200\r\ncontent-length: 2\r\n\r\nok")
case("answer with another reason", get(), replies=b"HTTP/1.1 200 Fine By Me\r\ncontent-length: 2\r\n\r\nok")
case("answer with an unknown code", get(), replies=b"HTTP/1.1 299 Odd\r\ncontent-length: 2\r\n\r\nok")
case("answer 599", get(), replies=response("599 Odd"))
case("answer http/1.0", get(), replies=b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok")
case("answer with connection: close", get(), replies=response("200 OK", "connection: close"))
case("answer with hop headers", get(), replies=response("200 OK", "keep-alive: timeout=5", "proxy-connection: keep-alive", "connection: x-hop",
                                                        "x-hop: 1"))
case("answer malformed", get(), replies=b"NOT HTTP AT ALL\r\n\r\n")
case("answer with a bad header", get(), replies=b"HTTP/1.1 200 OK\r\nbad header: 1\r\ncontent-length: 2\r\n\r\nok")
case("answer with a nul", get(), replies=b"HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 2\r\n\r\nok")
case("answer with two lengths", get(), replies=b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok")
case("answer with length and chunked", get(),
     replies=b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
case("answer head too large", get(), replies=response("200 OK", "x: " + "a" * 70_000))
case("answer with many headers", get(), replies=response("200 OK", *[f"x{i}: 1" for i in range(150)]))
case("answer large", get(), replies=response(body=b"y" * 500_000))
case("answer to HEAD chunked", get(method="HEAD"), replies=b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
case("no answer", get(), replies=Close)
case("answer before the body", (get("/", "content-length: 100000", method="POST") + b"x" * 10,), replies=response("413 Payload Too Large"),
     after="fin", responses=0)
