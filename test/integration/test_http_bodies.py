"""Large bodies and slow readers: what the proxy holds of them is bounded, on either side, in either protocol. Each case on Envoy and sluiced."""
import contextlib
import signal
import threading
import zlib

import pytest

from config import bootstrap, chain, cluster, http_manager, listener
from support import paths
from support.peers import Peer
from support.wait import wait_until

pytestmark = [pytest.mark.root, pytest.mark.slow]
SIZE = (64 if paths.sanitized() else 256) << 20
BLOCK = bytes(range(256)) * 4096  # 1 MiB
GROWTH_KIB_MAX = 16 << 10  # two buffers of 1 MiB, windows of HTTP/2 of 16 MiB at most, some slack; sanitizers have their own


def checksum(size):
    value = 0
    for _ in range(size // len(BLOCK)):
        value = zlib.crc32(BLOCK, value)
    return value


def read_head(sock):
    data = b""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        assert more
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


class Origin(Peer):
    """GET: SIZE bytes. PUT: reads them (not before `release`, when `slow`), and says their checksum. One request a connection."""

    def __init__(self, sock, slow=False):
        self.slow, self.sent, self.got = slow, 0, 0
        super().__init__(sock, Origin.serve)

    def serve(self, sock):
        sock.settimeout(80)
        head, rest = read_head(sock)
        if head.startswith(b"GET /small"):
            sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nsmall")
        elif head.startswith(b"GET"):
            sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % SIZE)
            for _ in range(SIZE // len(BLOCK)):
                sock.sendall(BLOCK)
                self.sent += len(BLOCK)
        else:
            if self.slow:
                self.release.wait(80)
            chunked = b"transfer-encoding: chunked" in head
            value, body = 0, b"" if chunked else rest
            if chunked:
                value, self.got = self.read_chunks(sock, rest)
            else:
                while True:
                    value, self.got = zlib.crc32(body, value), self.got + len(body)
                    if self.got == SIZE:
                        break
                    body = sock.recv(1 << 20)
                    assert body
            text = b"%d" % value
            sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text))

    @staticmethod
    def read_chunks(sock, data):
        value = got = 0
        while True:
            while b"\r\n" not in data:
                data += sock.recv(1 << 20)
            line, _, data = data.partition(b"\r\n")
            size = int(line, 16)
            while len(data) < size + 2:
                data += sock.recv(1 << 20)
            value, got = zlib.crc32(data[:size], value), got + size
            data = data[size + 2:]
            if size == 0:
                return value, got


@pytest.fixture
def lab(run_proxy, app, server):
    stack = contextlib.ExitStack()

    def start(slow=False):
        origin = stack.enter_context(contextlib.closing(Origin(server.listen(), slow)))
        port = app.free_port()
        routes = [{"match": {"prefix": "/"}, "route": {"cluster": "origin", "timeout": "0s"}}]
        made = http_manager(routes, http2_protocol_options={"initial_stream_window_size": 1 << 20, "initial_connection_window_size": 2 << 20})
        proxy = run_proxy(bootstrap([listener(port, chain(made))], [cluster("origin", (server.ipv4, origin.port))]))
        with app.connect("127.0.0.1", port) as sock:  # what is made once is made
            sock.sendall(b"GET /small HTTP/1.1\r\nhost: a\r\n\r\n")
            assert sock.recv(1000)
        return proxy, port, origin, proxy.process.rss_kib()
    with stack:
        yield start


def stands_still(read, proxy):
    """The value, when it has not moved while the proxy answered fifty questions."""
    def still():
        before = read()
        for _ in range(50):
            proxy.admin.ready()
        return before > 0 and read() == before
    wait_until(still, 30, "a sender that is held up")
    return read()


def bounded(proxy, before):
    if not paths.sanitized():
        grown = proxy.process.rss_kib() - before
        assert grown < GROWTH_KIB_MAX, f"{grown} KiB"


class Upload(threading.Thread):
    """PUT by hand; `sent` counts what the socket took."""

    def __init__(self, sock):
        super().__init__(daemon=True)
        self.sock, self.sent, self.answer = sock, 0, None
        sock.settimeout(80)
        self.start()

    def run(self):
        self.sock.sendall(b"PUT /body HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % SIZE)
        for _ in range(SIZE // len(BLOCK)):
            self.sock.sendall(BLOCK)
            self.sent += len(BLOCK)
        _, rest = read_head(self.sock)
        self.answer = rest


def test_upload_to_a_slow_server(lab, app):
    proxy, port, origin, before = lab(slow=True)
    with app.connect("127.0.0.1", port) as sock:
        upload = Upload(sock)
        held = stands_still(lambda: upload.sent, proxy)
        assert held < SIZE // 2
        bounded(proxy, before)
        origin.release.set()
        upload.join(80)
        assert upload.answer == b"%d" % checksum(SIZE)
    bounded(proxy, before)


def test_download_by_a_slow_client(lab, app):
    proxy, port, origin, before = lab()
    with app.connect("127.0.0.1", port) as sock:
        sock.settimeout(80)
        sock.sendall(b"GET /body HTTP/1.1\r\nhost: a\r\n\r\n")
        _, rest = read_head(sock)
        held = stands_still(lambda: origin.sent, proxy)
        assert held < SIZE // 2
        bounded(proxy, before)
        value, got = zlib.crc32(rest), len(rest)
        while got < SIZE:
            part = sock.recv(1 << 20)
            assert part
            value, got = zlib.crc32(part, value), got + len(part)
        assert value == checksum(SIZE)
    bounded(proxy, before)


@pytest.fixture(scope="module")
def body_file(world):
    path = world.directory / "large-body"
    with open(path, "wb") as file:
        for _ in range(SIZE // len(BLOCK)):
            file.write(BLOCK)
    return path


@pytest.mark.parametrize("slow", [False, True])
def test_upload_by_http2(lab, app, world, body_file, slow):
    """curl uploads by HTTP/2; the server behind speaks HTTP/1 and reads late."""
    proxy, port, origin, before = lab(slow)
    target = world.directory / f"answer-{world.next_number()}"
    process = app.start("curl", ["curl", "-sS", "--http2-prior-knowledge", "-T", body_file, "-o", target, f"http://127.0.0.1:{port}/body"])
    if slow:
        stands_still(lambda: proxy.admin.stat("http.web.downstream_cx_rx_bytes_total"), proxy)
        assert proxy.admin.stat("http.web.downstream_cx_rx_bytes_total") < SIZE // 2
        bounded(proxy, before)
        origin.release.set()
    assert process.wait(80) == 0, process.describe()
    assert target.read_bytes() == b"%d" % checksum(SIZE)
    bounded(proxy, before)


def test_download_by_http2(lab, app, world):
    """curl stands still (SIGSTOP): the server is held up; then it goes on, and everything arrives."""
    proxy, port, origin, before = lab()
    target = world.directory / f"answer-{world.next_number()}"
    process = app.start("curl", ["curl", "-sS", "--http2-prior-knowledge", "--limit-rate", "1M", "-o", target, f"http://127.0.0.1:{port}/body"])
    wait_until(lambda: origin.sent > 0, 20, "the body begins")
    process.signal(signal.SIGSTOP)
    held = stands_still(lambda: origin.sent, proxy)
    assert held < SIZE // 2
    bounded(proxy, before)
    process.kill()
    proxy.wait_stat("http.web.downstream_rq_active", 0)
    fast = app.start("curl", ["curl", "-sS", "--http2-prior-knowledge", "-o", target, f"http://127.0.0.1:{port}/body"])
    assert fast.wait(80) == 0, fast.describe()
    with open(target, "rb") as file:
        value = 0
        while part := file.read(1 << 20):
            value = zlib.crc32(part, value)
    assert value == checksum(SIZE)
    target.unlink()
    bounded(proxy, before)
