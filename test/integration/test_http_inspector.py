"""http_inspector: what counts as HTTP, in whole and in pieces, and the filter chains that match on it."""
import socket

import pytest

from config import bootstrap, chain, direct_response, listener, typed
from support.wait import wait_until

pytestmark = pytest.mark.root

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
PROTOCOLS = ("http/1.0", "http/1.1", "h2c")

CASES = [
    ("http/1.1", "http11_found", [b"GET / HTTP/1.1\r\n"]),
    ("http/1.1", "http11_found", [b"GET / HTTP/1.1\n"]),
    ("http/1.1", "http11_found", [b"FOO http://a/b HTTP/1.1\r\nhost: a"]),
    ("http/1.1", "http11_found", [b"CONNECT a:80 HTTP/1.1\r\n"]),
    ("http/1.1", "http11_found", [b"G", b"E", b"T", b" / HT", b"TP/1.", b"1\r", b"\n"]),
    ("http/1.1", "http11_found", [b"PR", b"OP / HTTP/1.1\r\n"]),
    ("http/1.1", "http11_found", [b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n"]),
    ("http/1.0", "http10_found", [b"GET / HTTP/1.0\r\n"]),
    ("http/1.0", "http10_found", [b"GET / HTTP/1.2\r\n"]),
    ("http/1.0", "http10_found", [b"GET /\r\n"]),
    ("http/1.0", "http10_found", [b"PRI * HTTP/2.0\r\n\r\nXX"]),
    ("h2c", "http2_found", [PREFACE]),
    ("h2c", "http2_found", [PREFACE[:10], PREFACE[10:]]),
    ("none", "http_not_found", [b"\x16\x03\x01\x00\x00"]),
    ("none", "http_not_found", [b"GE\xff"]),
    ("none", "http_not_found", [b"hello\n"]),
    ("none", "http_not_found", [b"GET foo HTTP/1.1\r\n"]),
    ("none", "http_not_found", [b"GET / http/1.1\r\n"]),
    ("none", "http_not_found", [b"\r\nGET / HTTP/1.1\r\n"]),
    ("none", "http_not_found", [b"SSH-2.0-OpenSSH\r\n"]),
]


def inspector():
    return {"name": "envoy.filters.listener.http_inspector",
            "typed_config": typed("envoy.extensions.filters.listener.http_inspector.v3.HttpInspector")}


@pytest.fixture
def inspected(run_proxy, app):
    """A proxy whose answer names the chain that matched, and its port."""
    port = app.free_port()
    chains = [chain(direct_response(p), name=p, application_protocols=[p]) for p in PROTOCOLS]
    made = listener(port, *chains, listener_filters=[inspector()], default_filter_chain=chain(direct_response("none"), name="none"))
    return run_proxy(bootstrap([made], [])), port


def answer(app, port, pieces):
    with app.connect("127.0.0.1", port) as sock:
        sock.settimeout(5)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            sock.sendall(piece)
        got = b""
        while len(got) < 4:
            part = sock.recv(100)
            if not part:
                break
            got += part
        return got.decode()


def test_what_is_http(inspected, app):
    """Chain and counter of every case, one after the other."""
    proxy, port = inspected
    wrong = {}
    expected = dict.fromkeys(("http10_found", "http11_found", "http2_found", "http_not_found", "read_error"), 0)
    for protocol, counter, pieces in CASES:
        expected[counter] += 1
        got = answer(app, port, pieces)
        counted = proxy.admin.stat(f"http_inspector.{counter}")
        if (got, counted) != (protocol, expected[counter]):
            wrong[tuple(p[:40] for p in pieces)] = (got, counted, expected[counter])
            expected[counter] = counted
    assert wrong == {}
    assert proxy.admin.stat("http_inspector.read_error") == 0


def test_no_line_within_64_kib(inspected, app):
    """The connection is closed."""
    proxy, port = inspected
    with app.connect("127.0.0.1", port) as sock:
        sock.settimeout(5)
        try:
            sock.sendall(b"GET /" + b"a" * 70000)
            assert sock.recv(10) == b""
        except (ConnectionResetError, BrokenPipeError):
            pass
    proxy.wait_stat("http_inspector.read_error", 1)


def test_gone_before_the_line_is_through(inspected, app):
    proxy, port = inspected
    with app.connect("127.0.0.1", port) as sock:
        sock.settimeout(5)
        sock.sendall(b"GET / HT")
        sock.shutdown(1)
        try:
            assert sock.recv(10) == b""
        except ConnectionResetError:
            pass
    wait_until(lambda: proxy.admin.stat(f"listener.0.0.0.0_{port}.downstream_pre_cx_active") == 0, 5, "no connection waits")
    assert proxy.admin.stat("http_inspector.http_not_found") == 0


def test_bytes_are_still_there_for_the_chain(run_proxy, app):
    """The inspector looks; the chain reads the same bytes."""
    port = app.free_port()
    echo = {"name": "envoy.filters.network.echo", "typed_config": typed("envoy.extensions.filters.network.echo.v3.Echo")}
    run_proxy(bootstrap([listener(port, chain(echo, application_protocols=["http/1.1", "h2c"]), listener_filters=[inspector()])], []))
    with app.connect("127.0.0.1", port) as sock:
        sock.settimeout(5)
        text = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
        sock.sendall(text)
        got = b""
        while len(got) < len(text):
            part = sock.recv(100)
            assert part, got
            got += part
        assert got == text
