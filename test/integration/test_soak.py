"""Thousands of connections that mean no good: what they cost is bounded, and is back when they are gone. Each case on Envoy and sluiced."""
import contextlib
import random
import resource

import pytest

from config import bootstrap, chain, cluster, http_manager, listener, tcp_proxy
from support import paths, peers
from support.peers import Peer, reset
from support.wait import wait_until
from support.web import answer, call

pytestmark = [pytest.mark.root, pytest.mark.slow]
NUMBER = 1000 if paths.sanitized() else 3000
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# What a client says before it falls silent, for ever.
HALF_OPEN = {
    "nothing": b"",
    "half a line": b"GET /a/path",
    "half a head": b"GET / HTTP/1.1\r\nhost: a\r\nx-long: " + b"x" * 2000,
    "half a body": b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nabc",
    "half a preface": PREFACE[:10],
    "half of HTTP/2": PREFACE + b"\0\0\0\4\0\0\0\0\0" + b"\0\0\x20\1\4\0\0\0\1" + b"half a block",
}


@pytest.fixture(autouse=True)
def many_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 3 * NUMBER)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def origin(_peer, sock):
    """Answers one head and hangs up, whatever its body is."""
    sock.settimeout(30)
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            return
        data += more
    sock.sendall(answer(body=b"good", connection="close"))


@pytest.fixture
def lab(run_proxy, app, server):
    """(proxy, HTTP port, TCP port, function that asks a good question of the HTTP port)"""
    with Peer(server.listen(backlog=4096), origin) as web, Peer(server.listen(backlog=4096), peers.sink) as sink:
        http, tcp = app.free_port(), app.free_port()
        limits = {"common_http_protocol_options": {"idle_timeout": "2s"}, "request_headers_timeout": "2s", "stream_idle_timeout": "2s",
                  "drain_timeout": "0.1s"}
        many = {"circuit_breakers": {"thresholds": [{"max_connections": 20000, "max_requests": 20000, "max_pending_requests": 20000}]}}
        manager = http_manager([{"match": {"prefix": "/"}, "route": {"cluster": "web"}}], **limits)
        proxy = run_proxy(bootstrap([listener(http, chain(manager), name="http"), listener(tcp, chain(tcp_proxy("sink", idle_timeout="2s")), name="tcp")],
                                    [cluster("web", (server.ipv4, web.port), **many), cluster("sink", (server.ipv4, sink.port), **many)]))
        yield proxy, http, tcp, lambda: call(app, http)[2] == b"good"


def memory_is_back(proxy, before):
    """Freed; and back with the kernel, but for the 32 MiB that sluiced keeps for the next time. (Envoy keeps all.)"""
    def back():
        allocated, grown = int(proxy.admin.json("/memory")["allocated"]), proxy.process.rss_kib() - before
        assert allocated < 24 << 20, f"{allocated} bytes are still allocated"
        assert proxy.kind == "envoy" or grown < 40 << 10, f"{grown} KiB more than before"
        return True
    if not paths.sanitized():
        wait_until(back, 20, "memory is back")


def settled(proxy, descriptors):
    for name in ("http", "tcp"):
        proxy.wait_stat(f"listener.{name}.downstream_cx_active", 0, 40)
    proxy.wait_stat("cluster.sink.upstream_cx_active", 0, 40)
    wait_until(lambda: proxy.process.open_fds() <= descriptors + 4, 20, "descriptors are back")


def test_half_open_connections(lab, app):
    """They are cut by the time-outs, not by their clients; meanwhile others are served."""
    proxy, http, tcp, good = lab

    def crowd(number):
        socks = []
        for i in range(number):
            for port in (http, tcp):
                said = list(HALF_OPEN.values())[i % len(HALF_OPEN)]
                sock = app.connect("127.0.0.1", port)
                with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                    sock.sendall(said)
                socks.append(sock)
        return socks
    for sock in crowd(60):  # what is made once is made
        sock.close()
    assert good()
    settled(proxy, proxy.process.open_fds())
    before, descriptors = proxy.process.rss_kib(), proxy.process.open_fds()
    socks = crowd(NUMBER // 2)
    assert good()
    grown = proxy.process.rss_kib() - before
    settled(proxy, descriptors)
    for sock in socks:
        sock.close()
    assert good()
    if not paths.sanitized():
        assert grown < NUMBER * 32, f"{grown} KiB at the peak of {NUMBER} connections"
    memory_is_back(proxy, before)


def test_garbage(lab, app):
    """Random bytes, pieces of protocols, resets: one after the other and some at once."""
    proxy, http, tcp, good = lab
    draw = random.Random(4)

    def nonsense():
        kind = draw.randrange(5)
        if kind == 0:
            return draw.randbytes(draw.randrange(1, 3000))
        if kind == 1:
            return PREFACE + draw.randbytes(draw.randrange(1, 3000))
        if kind == 2:  # frames of HTTP/2, whole in form
            frames = b"".join(len(p).to_bytes(3, "big") + bytes([draw.randrange(12), draw.randrange(256)]) + draw.randrange(9).to_bytes(4, "big") + p
                              for p in (draw.randbytes(draw.randrange(60)) for _ in range(20)))
            return PREFACE + b"\0\0\0\4\0\0\0\0\0" + frames
        good_one = bytearray(b"POST /a?b HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
        if kind == 3:
            for _ in range(3):
                good_one[draw.randrange(len(good_one))] = draw.randrange(256)
        return bytes(good_one) * draw.randrange(1, 4)

    def storm(number):
        open_ = []
        for i in range(number):
            sock = app.connect("127.0.0.1", http if i % 4 else tcp)
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                sock.sendall(nonsense())
            open_.append(sock)
            if len(open_) > 50:
                victim = open_.pop(draw.randrange(len(open_)))
                reset(victim) if draw.randrange(2) else victim.close()
        for sock in open_:
            sock.close()
    storm(300)
    assert good()
    settled(proxy, proxy.process.open_fds())
    before, descriptors = proxy.process.rss_kib(), proxy.process.open_fds()
    storm(NUMBER)
    assert good()
    settled(proxy, descriptors)
    memory_is_back(proxy, before)
