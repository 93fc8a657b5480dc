"""Where two parts meet: Expect and retries, limits at their edges, interim answers, trailers, upgrades."""
from differential import configs as c
from differential.case import Close, Reset, case, get, post, response

BAD = response("503 Service Unavailable", body=b"bad")


def variant(name, *vhosts, upstream=None, **fields):
    def make(p):
        return c.served(p, c.hcm(p, *vhosts, **fields), clusters=[c.up(p, **upstream)] if upstream else None)
    make.__name__ = name
    c.configuration(make)
    return name


# ---- Expect ----
EXPECT = ("content-length: 5", "expect: 100-continue")
RETRY = variant("corner_retry", c.vhost(c.route(retry_policy={"retry_on": "5xx", "num_retries": 1, "retry_back_off": {
    "base_interval": "0.001s", "max_interval": "0.002s"}})))
PASSED = variant("corner_proxy_100", proxy_100_continue=True)
case("expect in any case", (get("/", "content-length: 5", "Expect: 100-Continue", method="POST"), b"hello"))
case("expect of something else", get("/", "content-length: 5", "expect: 200-ok", method="POST") + b"hello")
case("expect without a body", get("/", "expect: 100-continue"))
case("expect of no bytes", get("/", "expect: 100-continue", "content-length: 0", method="POST"))
case("expect twice", get("/", "content-length: 5", "expect: 100-continue", "expect: 100-continue", method="POST") + b"hello")
case("expect with the body at once", get("/", *EXPECT, method="POST") + b"hello")
case("expect of a chunked body", (get("/", "transfer-encoding: chunked", "expect: 100-continue", method="POST"), b"5\r\nhello\r\n0\r\n\r\n"))
case("expect passed on", (get("/", *EXPECT, method="POST"), b"hello"), config=PASSED, replies=b"HTTP/1.1 100 Continue\r\n\r\n" + response())
case("expect passed on, no word of it", get("/", *EXPECT, method="POST") + b"hello", config=PASSED)
case("expect and a retry", get("/", *EXPECT, method="POST") + b"hello", config=RETRY, replies=(BAD, response()))
case("expect in http/1.0", b"POST / HTTP/1.0\r\nhost: a\r\ncontent-length: 5\r\nexpect: 100-continue\r\n\r\nhello", config="http10")

# ---- interim answers ----
INTERIM = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
case("many interim answers", get(), replies=INTERIM * 5 + response())
case("102, then the answer", get(), replies=b"HTTP/1.1 102 Processing\r\n\r\n" + response())
case("199, then the answer", get(), replies=b"HTTP/1.1 199 Odd\r\nx-a: 1\r\n\r\n" + response())
case("100 to a GET", get(), replies=b"HTTP/1.1 100 Continue\r\nx-a: 1\r\n\r\n" + response())
case("100 passed on to who did not ask", get(), config=PASSED, replies=b"HTTP/1.1 100 Continue\r\nx-a: 1\r\n\r\n" + response())
case("interim answer with a length", get(), replies=b"HTTP/1.1 103 Early Hints\r\ncontent-length: 5\r\n\r\n" + response())
case("interim answer, then nothing", get(), replies=(INTERIM, Close), config=variant("corner_interim", c.vhost(c.route(timeout="0.3s"))))
case("interim answer, then a retry", get(), config=RETRY, replies=(INTERIM + BAD, response()))
case("101 that nobody asked for", get(), replies=b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n")

# ---- bodies and retries ----
SMALL = variant("corner_retry_small", c.vhost(c.route(per_request_buffer_limit_bytes=10, retry_policy={"retry_on": "5xx", "num_retries": 1, "retry_back_off": {
    "base_interval": "0.001s", "max_interval": "0.002s"}})))
for size in (9, 10, 11, 4000):
    case(f"retry with a body of {size} where 10 are kept", post(b"x" * size), config=SMALL, replies=(BAD, response()))
    case(f"retry with a body of {size} that comes late", (get("/", f"content-length: {size}", method="POST"), b"x" * size), config=SMALL,
         replies=(BAD, response()))
    case(f"retry with chunks of {size} where 10 are kept", get("/", "transfer-encoding: chunked", method="POST") + b"%x\r\n" % size + b"x" * size +
         b"\r\n0\r\n\r\n", config=SMALL, replies=(BAD, response()))
SMALL_HOST = variant("corner_retry_small_host", c.vhost(c.route(retry_policy={"retry_on": "5xx,reset", "num_retries": 1, "retry_back_off": {
    "base_interval": "0.001s", "max_interval": "0.002s"}}), per_request_buffer_limit_bytes=10))
case("retry with a body of 11 where the host keeps 10", post(b"x" * 11), config=SMALL_HOST, replies=(BAD, response()))
case("retry after a reset with a body of 11", post(b"x" * 11), config=SMALL_HOST, replies=(Reset, response()))
case("retry of a body with trailers", get("/", "transfer-encoding: chunked", method="POST") + b"3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n", config=RETRY, replies=(BAD, response()))

# ---- limits at their edges ----
COUNT = variant("corner_count", common_http_protocol_options={"max_headers_count": 10})
for number in (8, 9, 10, 11):
    case(f"{number} fields and a host where 10 are allowed", get("/", *[f"x{i}: 1" for i in range(number)]), config=COUNT)
KB = variant("corner_kb", max_request_headers_kb=1)
for size in (900, 960, 980, 990, 1000, 1010, 1024, 1040, 1100):
    case(f"a field of {size} where a head may have 1024", get("/", "x: " + "a" * size), config=KB)
    case(f"a path of {size} where a head may have 1024", get("/" + "a" * size), config=KB)

# ---- trailers ----
CHUNKED = "transfer-encoding: chunked"
case("trailers that Trailer names", get("/", CHUNKED, "trailer: x-t", method="POST") + b"3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n", config="trailers_on")
case("trailers twice", get("/", CHUNKED, method="POST") + b"3\r\nabc\r\n0\r\nx-t: 1\r\nx-t: 2\r\n\r\n", config="trailers_on")
case("trailers without a value", get("/", CHUNKED, method="POST") + b"0\r\nx-t:\r\n\r\n", config="trailers_on")
case("trailers that nobody keeps, then a request", get("/", CHUNKED, method="POST") + b"3\r\nabc\r\n0\r\nx-t: 1\r\n\r\n" + get("/2"), responses=2)
case("trailers of an answer without a body", get("/", "te: trailers"), config="trailers_on",
     replies=b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-t: 1\r\n\r\n")
case("trailers of an answer that is malformed", get("/", "te: trailers"), config="trailers_on",
     replies=b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx t: 1\r\n\r\n")

# ---- upgrades ----
WEBSOCKET = ("sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==", "sec-websocket-version: 13")
case("upgrade without connection", get("/ws", "upgrade: websocket", *WEBSOCKET), config="websocket")
case("upgrade with other options of the connection", get("/ws", "connection: keep-alive, Upgrade", "upgrade: websocket", *WEBSOCKET), config="websocket",
     replies=response("403 Forbidden"))
case("upgrade in upper case", get("/ws", "connection: UPGRADE", "upgrade: WebSocket", *WEBSOCKET), config="websocket", replies=response("403 Forbidden"))
case("upgrade to one of two", get("/ws", "connection: upgrade", "upgrade: other, websocket", *WEBSOCKET), config="websocket", replies=response("403 Forbidden"))
case("upgrade that is answered with 200", get("/ws", "connection: upgrade", "upgrade: websocket", *WEBSOCKET), config="websocket")
case("upgrade by POST", get("/ws", "connection: upgrade", "upgrade: websocket", "content-length: 0", *WEBSOCKET, method="POST"), config="websocket",
     replies=response("403 Forbidden"))
NOT_HERE = variant("corner_upgrade_off", c.vhost(c.route(upgrade_configs=[{"upgrade_type": "websocket", "enabled": False}])),
                   upgrade_configs=[{"upgrade_type": "websocket"}])
case("upgrade that the route refuses", get("/ws", "connection: upgrade", "upgrade: websocket", *WEBSOCKET), config=NOT_HERE)
case("connect with a path's route", b"CONNECT a:80 HTTP/1.1\r\nhost: b:80\r\n\r\n", config="connect_on", replies=response("403 Forbidden"))
