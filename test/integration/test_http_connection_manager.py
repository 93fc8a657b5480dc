"""The HTTP connection manager as a client sees it: raw requests, whole answers, the access log, statistics. Each case on Envoy and sluiced."""
import re

import pytest

from config import bootstrap, chain, file_log, http_manager, listener
from support.proxies import AccessLog
from support.wait import wait_until
from support.web import call

pytestmark = pytest.mark.root
LOG = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %BYTES_RECEIVED% %BYTES_SENT% %REQ(:PATH)% %PROTOCOL%"
ROUTES = [{"match": {"prefix": "/hello"}, "direct_response": {"status": 200, "body": {"inline_string": "hello"}}},
          {"match": {"prefix": "/moved"}, "redirect": {"path_redirect": "/hello"}}]


@pytest.fixture
def lab(run_proxy, app, world):
    """lab(connection manager fields...): (proxy, port, access log)."""
    def start(**fields):
        port = app.free_port()
        log = AccessLog(world.directory / f"http-{world.next_number()}.log")
        manager = http_manager(ROUTES, access_log=[file_log(log.path, LOG)], **fields)
        return run_proxy(bootstrap([listener(port, chain(manager))], [])), port, log
    return start


def answers(sock, number=1):
    """Whole answers with a length: [(status, {name: value}, body)]."""
    sock.settimeout(5)
    got, data = [], b""
    while len(got) < number:
        head, end, rest = data.partition(b"\r\n\r\n")
        length = re.search(rb"(?im)^content-length: (\d+)", head)
        want = int(length[1]) if length else 0
        if end and len(rest) >= want:
            lines = head.decode().split("\r\n")
            fields = dict(line.split(": ", 1) for line in lines[1:])
            got.append((int(lines[0].split()[1]), fields, rest[:want].decode()))
            data = rest[want:]
            continue
        more = sock.recv(65536)
        assert more, f"the connection ended in an answer: {data!r}"
        data += more
    return got


def request(path="/hello", method="GET", host="a", more=""):
    return f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n".encode()


@pytest.mark.both_backends
def test_an_answer_and_its_record(lab, app):
    proxy, port, log = lab()
    with app.connect("127.0.0.1", port) as sock:
        sock.sendall(request() + request("/moved"))
        (status, fields, body), (moved, to, _) = answers(sock, 2)
    assert (status, body, fields["content-type"], fields["server"]) == (200, "hello", "text/plain", "envoy")
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", fields["date"])
    assert (moved, to["location"]) == (301, "http://a/hello")
    lines = log.wait(2)
    assert lines[0] == "200 - direct_response 0 5 /hello HTTP/1.1"
    assert lines[1] == "301 - direct_response 0 0 /moved HTTP/1.1"
    for name, value in {"downstream_rq_total": 2, "downstream_rq_2xx": 1, "downstream_rq_3xx": 1, "downstream_cx_http1_total": 1}.items():
        proxy.wait_stat(f"http.web.{name}", value)
    proxy.wait_stat("http.web.downstream_cx_active", 0)


REFUSED = {
    "no host": (b"GET /hello HTTP/1.1\r\n\r\n", 400, "missing_host_header"),
    "no path": (request("*", "OPTIONS"), 404, "absolute_path_rejected"),
    "fragment": (request("/hello#x"), 400, "path_normalization_failed"),
    "no route": (request("/nowhere"), 404, "route_not_found"),
    "HTTP/1.0": (b"GET /hello HTTP/1.0\r\nHost: a\r\n\r\n", 426, "low_version"),
    "https in clear": (b"GET https://a/hello HTTP/1.1\r\nHost: a\r\n\r\n", 403, "http1.https_url_on_plaintext_connection"),
    "no upgrade": (request(more="Connection: upgrade\r\nUpgrade: other\r\n"), 403, "upgrade_failed"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(lab, app, case):
    data, code, details = REFUSED[case]
    proxy, port, log = lab(use_remote_address=True)
    with app.connect("127.0.0.1", port) as sock:
        sock.sendall(data)
        assert answers(sock)[0][0] == code
    line = log.wait()[0].split()
    assert (line[0], line[2]) == (str(code), details)


def test_a_grpc_client_gets_a_grpc_error(lab, app):
    proxy, port, _ = lab()
    with app.connect("127.0.0.1", port) as sock:
        sock.sendall(request("/nowhere", "POST", more="content-type: application/grpc\r\ncontent-length: 0\r\n"))
        status, fields, _ = answers(sock)[0]
    assert (status, fields["grpc-status"], fields["content-type"]) == (200, "12", "application/grpc")


def test_connection_close_is_kept(lab, app):
    proxy, port, _ = lab()
    with app.connect("127.0.0.1", port) as sock:
        sock.sendall(request(more="Connection: close\r\n"))
        assert answers(sock)[0][1]["connection"] == "close"
        assert sock.recv(1) == b""


def test_paths_are_normalized_as_envoy_does(lab, app):
    proxy, port, log = lab(normalize_path=True, merge_slashes=True)
    with app.connect("127.0.0.1", port) as sock:
        sock.sendall(request("/moved/../hello/%41%7e%2f//x?y//z"))
        assert answers(sock)[0][0] == 200
    assert log.wait()[0].split()[5] == "/hello/A~%2f/x?y//z"


def test_request_headers_timeout(lab, app):
    proxy, port, log = lab(request_headers_timeout="0.3s")
    with app.connect("127.0.0.1", port) as sock:
        sock.sendall(b"GET /hello HTTP/1.1\r\nHo")
        assert answers(sock)[0][0] == 408
    assert log.wait()[0].split()[2] == "request_header_timeout"


def test_idle_connections_end(lab, app):
    proxy, port, _ = lab(common_http_protocol_options={"idle_timeout": "0.3s"}, drain_timeout="0.1s")
    with app.connect("127.0.0.1", port) as sock:
        sock.sendall(request())
        answers(sock)
        assert sock.recv(1) == b""
    proxy.wait_stat("http.web.downstream_cx_idle_timeout", 1)


def test_local_reply_config(lab, app):
    mapper = {"filter": {"response_flag_filter": {"flags": ["NR"]}}, "status_code": 410, "body": {"inline_string": "gone"},
              "headers_to_add": [{"header": {"key": "x-why", "value": "gone"}}]}
    proxy, port, _ = lab(local_reply_config={"mappers": [mapper],
                                             "body_format": {"text_format_source": {"inline_string": "%RESPONSE_CODE%:%LOCAL_REPLY_BODY%"}}})
    with app.connect("127.0.0.1", port) as sock:
        sock.sendall(request("/nowhere"))
        status, fields, body = answers(sock)[0]
    assert (status, fields["x-why"], body) == (410, "gone", "410:gone")


@pytest.mark.parametrize("drain_type", ["DEFAULT", "MODIFY_ONLY"])
def test_connections_of_some_listeners_stay_when_failing_on_purpose(run_proxy, app, drain_type):
    """drain_type: a listener that only drains when it changes keeps its connections after /healthcheck/fail, not to its own end."""
    port = app.free_port()
    manager = http_manager([{"match": {"prefix": "/"}, "direct_response": {"status": 200}}])
    proxy = run_proxy(bootstrap([listener(port, chain(manager), drain_type=drain_type)], []))
    assert "connection" not in call(app, port)[1]
    proxy.admin.post("/healthcheck/fail")
    wait_until(lambda: not proxy.admin.ready())
    if drain_type == "DEFAULT":
        wait_until(lambda: call(app, port)[1].get("connection") == "close")
    else:
        assert all("connection" not in call(app, port)[1] for _ in range(5))
    assert (proxy.admin.stat("http.web.downstream_cx_drain_close") > 0) == (drain_type == "DEFAULT")
