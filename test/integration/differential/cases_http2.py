"""HTTP/2 from downstream: messages that are right and wrong (RFC 9113 section 8), to an HTTP/1 upstream."""
from differential import configs as c
from differential.case import Close, Reset, case2, response
from differential.exchange2 import Stream, request


@c.configuration
def connect2(p):
    return c.served(p, c.hcm(p, upgrade_configs=[{"upgrade_type": "websocket"}], http2_protocol_options={"allow_connect": True}))


@c.configuration
def small_headers2(p):
    return c.served(p, c.hcm(p, max_request_headers_kb=4, common_http_protocol_options={"max_headers_count": 20}))


def one(name, headers, data=(), trailers=None, replies=None, **fields):
    case2(f"h2: {name}", Stream(headers, data, trailers), **({"replies": replies} if replies else {}), **fields)


one("get", request())
one("get with a query and headers", request("/a?b=c", ("user-agent", "t"), ("accept", "*/*")))
one("head", request(method="HEAD"), replies=b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n")
one("post", request("/", ("content-length", "5"), method="POST"), (b"hello",))
one("post without a length", request("/", method="POST"), (b"hel", b"lo"))
one("post empty", request("/", method="POST"), (b"",))
one("post that ends with its head", request("/", method="POST"))
one("trailers", request("/", ("te", "trailers"), method="POST"), (b"hello",), [("x-t", "1")])
one("trailers without a body", request("/", method="POST"), (), [("x-t", "1")])
one("cookies in crumbs", request("/", ("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")))
one("host beside the authority", request("/", ("host", "other.example")))
one("host in place of the authority", [(":method", "GET"), (":scheme", "http"), (":path", "/"), ("host", "test.example")])
one("neither host nor authority", [(":method", "GET"), (":scheme", "http"), (":path", "/")])
one("options with asterisk", request("*", method="OPTIONS"))
one("https scheme", request(scheme="https"))
one("odd scheme", request(scheme="ftp"))
one("unknown method", request(method="BREW"))
one("binary header value", request("/", ("x-a", "\xe4")))
one("empty header value", request("/", ("x-a", "")))
one("large body", request("/", method="POST"), tuple(b"x" * 16000 for _ in range(4)))
one("expect 100-continue", request("/", ("expect", "100-continue"), ("content-length", "2"), method="POST"), (b"ok",))
# ---- malformed: RFC 9113 section 8.1.1 ----
one("upper case name", request("/", ("X-A", "1")))
one("connection header", request("/", ("connection", "close")))
one("keep-alive header", request("/", ("keep-alive", "1")))
one("proxy-connection header", request("/", ("proxy-connection", "1")))
one("transfer-encoding header", request("/", ("transfer-encoding", "chunked")))
one("upgrade header", request("/", ("upgrade", "websocket")))
one("te other than trailers", request("/", ("te", "gzip")))
one("te trailers", request("/", ("te", "trailers")))
one("no path", [(":method", "GET"), (":scheme", "http"), (":authority", "a")])
one("empty path", request(""))
one("path without a slash", request("abc"))
one("no method", [(":scheme", "http"), (":authority", "a"), (":path", "/")])
one("no scheme", [(":method", "GET"), (":authority", "a"), (":path", "/")])
one("two methods", [(":method", "GET"), (":method", "POST"), (":scheme", "http"), (":authority", "a"), (":path", "/")])
one("two paths", request("/", (":path", "/b")))
one("pseudo-header behind a field", [(":method", "GET"), ("x", "1"), (":scheme", "http"), (":authority", "a"), (":path", "/")])
one("unknown pseudo-header", [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/"), (":x", "1")])
one("response pseudo-header", [(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/"), (":status", "200")])
one("pseudo-header in trailers", request(method="POST"), (b"a",), [(":path", "/x")])
one("nul in a value", request("/", ("x", "a\0b")))
one("newline in a value", request("/", ("x", "a\nb")))
one("return in a value", request("/", ("x", "a\rb")))
one("blank in a name", request("/", ("x y", "1")))
one("colon in a name", request("/", ("x:y", "1")))
one("empty name", request("/", ("", "1")))
one("authority with a bad character", request(host="a b"))
one("length that is too long", request("/", ("content-length", "10"), method="POST"), (b"hello",), replies=Close)
one("length that is too short", request("/", ("content-length", "2"), method="POST"), (b"hello",), replies=Close)
one("length that is no number", request("/", ("content-length", "x"), method="POST"), (b"hello",))
one("two lengths", request("/", ("content-length", "5"), ("content-length", "5"), method="POST"), (b"hello",))
one("path with a fragment", request("/a#b"))
one("underscore", request("/", ("x_a", "1")))
one("headers too large", request("/", ("x", "a" * 5000)), config="small_headers2")
one("headers too many", request("/", *[(f"x{i}", "1") for i in range(30)]), config="small_headers2")
# ---- CONNECT ----
one("connect", [(":method", "CONNECT"), (":authority", "a:80")])
one("connect with a path", [(":method", "CONNECT"), (":scheme", "http"), (":path", "/"), (":authority", "a:80")])
one("extended connect", [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/ws"), (":authority", "a")],
    replies=response("403 Forbidden"), config="connect2")
one("extended connect not allowed", [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/ws"), (":authority", "a")])
# ---- answers ----
one("answer 204", request(), replies=b"HTTP/1.1 204 No Content\r\n\r\n")
one("answer 304", request(), replies=b"HTTP/1.1 304 Not Modified\r\n\r\n")
one("answer chunked with trailers", request("/", ("te", "trailers")),
    replies=b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n")
one("answer to the end of the connection", request(), replies=b"HTTP/1.1 200 OK\r\nx-a: 1\r\n\r\nall that follows")
one("answer with hop headers", request(), replies=response("200 OK", "connection: close", "keep-alive: 1", "proxy-connection: x"))
one("answer malformed", request(), replies=b"NOT HTTP\r\n\r\n")
one("answer in upper case", request(), replies=response("200 OK", "X-UPPER: Value"))
one("answer large", request(), replies=response(body=b"z" * 200_000))
one("answer 103 first", request(), replies=b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + response())
one("no answer", request(), replies=Close)
one("reset for an answer", request(), replies=Reset)
# ---- gRPC ----
GRPC = (("content-type", "application/grpc"), ("te", "trailers"))
one("grpc to HTTP/1", request("/pkg.S/M", *GRPC, method="POST"), (b"\0\0\0\0\1a",),
    replies=response("200 OK", "content-type: application/grpc", "grpc-status: 0", body=b""))
one("grpc, upstream closes", request("/pkg.S/M", *GRPC, method="POST"), (b"\0\0\0\0\1a",), replies=Close)
one("grpc, upstream 503", request("/pkg.S/M", *GRPC, method="POST"), (b"\0\0\0\0\1a",), replies=response("503 Service Unavailable"))
one("grpc, no route", request("/pkg.S/M", *GRPC, method="POST"), (b"",), config="no_route")
# ---- more streams than one ----
case2("h2: three streams", *[Stream(request(f"/{i}")) for i in range(3)])
case2("h2: one of two is malformed", Stream(request("/", ("connection", "close"))), Stream(request("/well")))
