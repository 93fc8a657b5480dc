"""Records that the kernel writes (sluiced --ktls=on): what OpenSSL's and curl's clients read of them. Where the kernel has no TLS: that nothing changes."""
import hashlib
import os
import pathlib
import re
import select
import socket
import subprocess

import pytest

from config import bootstrap, chain, cluster, http_manager, listener, tcp_proxy
from conftest import check_sanitizers, require
from support import peers, proxies
from support.ca import CA
from support.peers import Peer
from support.process import launcher, run
from support.wait import wait_until
from test_tls import client_context, downstream, pem

pytestmark = pytest.mark.root

SUITES = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]
BACKENDS = ["io_uring", "epoll"]
TCP_ULP, SOL_TLS, TLS_TX = 31, 282, 1


def kernel_tls():
    """(whether the kernel has it, whether it can renew keys)"""
    crypto = b"\x04\x03\x33\x00" + bytes(36)  # TLS 1.3, AES-128-GCM, all zero
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as sock, listening.accept()[0]:
        try:
            sock.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
            sock.setsockopt(SOL_TLS, TLS_TX, crypto)
        except OSError:
            return False, False
        try:
            sock.setsockopt(SOL_TLS, TLS_TX, crypto)
        except OSError:
            return True, False
        return True, True


@pytest.fixture(scope="module")
def kernel():
    """Whether the kernel can renew keys; skips where it has no TLS at all."""
    has, renews = kernel_tls()
    if not has:
        pytest.skip("this kernel has no TLS (setsockopt TCP_ULP \"tls\": modprobe tls)")
    return renews


def tls_stat(pod, name):
    """Of the pod's network namespace."""
    text = pod.run("cat", "/proc/net/tls_stat").stdout
    return int(re.search(rf"^{name}\s+(\d+)", text, re.M)[1])


class Service:
    """sluiced before an origin in the same pod: TLS ends in sluiced. `alpn`: of the HTTP listener; none: TCP is proxied."""

    def __init__(self, world, app, *extra, backend="io_uring", serve=None, alpn=("http/1.1",), ktls="on"):
        require("sluiced")
        self.app, self.port = app, app.free_port()
        ca = CA(world.directory / f"ktls-{world.next_number()}", "Test CA")
        common = {"tls_certificates": [pem(ca.issue("server", ["DNS:server.local"]))]}
        self.origin = Peer(app.listen("127.0.0.1"), serve) if serve else None
        if alpn:
            common["alpn_protocols"] = list(alpn)
            filters = http_manager([{"match": {"prefix": "/"}, "route": {"cluster": "up", "timeout": "60s"}}], stat_prefix="web")
        else:
            filters = tcp_proxy("up")
        made = bootstrap([listener(self.port, {**chain(filters), "transport_socket": downstream(common)}, address="127.0.0.1")],
                         [cluster("up", ("127.0.0.1", self.origin.port))])
        self.proxy = proxies.start(world, "sluiced", made, app.path, extra=["--ktls", ktls, "--io-backend", backend, *extra])

    def stat(self, name):
        return self.proxy.admin.stats().get(f"listener.127.0.0.1_{self.port}.ssl.{name}", 0)

    def connect(self):
        raw = self.app.connect("127.0.0.1", self.port)
        raw.settimeout(60)
        return raw

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.origin.close()
        assert self.proxy.process.running(), self.proxy.process.describe()
        self.proxy.process.kill()
        check_sanitizers(self.proxy)


def pattern(size):
    return (bytes(range(256)) * (size // 256 + 1))[:size]


def sized(_peer, sock):
    """An HTTP/1.1 origin: /N answers with N bytes."""
    rest = b""
    while True:
        while b"\r\n\r\n" not in rest:
            got = sock.recv(65536)
            if not got:
                return
            rest += got
        head, _, rest = rest.partition(b"\r\n\r\n")
        size = int(head.split()[1].strip(b"/"))
        sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + pattern(size))


def fetch(service, size, *options):
    """curl's copy of /SIZE: (what went wrong, its digest is right, HTTP version)"""
    port = service.port
    out = pathlib.Path(service.proxy.config_path).with_suffix(f".{size}.out")
    done = service.app.run("curl", "-sS", "-k", "-m", "60", "-o", out, "-w", "%{http_version}", "--resolve", f"server.local:{port}:127.0.0.1", *options,
                           f"https://server.local:{port}/{size}", check=False, timeout=90)
    assert done.returncode == 0, done.stderr
    assert hashlib.sha256(out.read_bytes()).digest() == hashlib.sha256(pattern(size)).digest(), f"{size} bytes are not those sent"
    return done.stdout


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("suite", SUITES)
def test_http(world, app, kernel, suite, backend):
    """Small and large answers over HTTP/1.1 and HTTP/2, each by the kernel."""
    with Service(world, app, backend=backend, serve=sized, alpn=("h2", "http/1.1")) as service:
        before = tls_stat(app, "TlsTxSw")
        for number, (protocol, version) in enumerate([("--http1.1", "1.1"), ("--http2", "2")]):
            for size in (1, 16384, 3_000_000):
                assert fetch(service, size, protocol, "--tls13-ciphers", suite) == version
            assert service.stat("ktls.tx") == 3 * (number + 1)
        assert tls_stat(app, "TlsTxSw") - before == 6
        assert service.stat(f"ciphers.{suite}") == 6
        assert service.stat("ktls.tx_refused") == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_tcp_to_the_end(world, app, kernel, backend):
    """All bytes, then close_notify, then FIN, also to a client that reads slowly at the end."""
    size = 2_000_000

    def serve(_peer, sock):
        sock.recv(1)
        sock.sendall(pattern(size))
    with Service(world, app, backend=backend, serve=serve, alpn=None) as service:
        with service.connect() as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
            with client_context(version="1.3").wrap_socket(raw, server_hostname="server.local", suppress_ragged_eofs=False) as sock:
                sock.sendall(b"x")
                got = hashlib.sha256()
                while part := sock.recv(16384):  # b"": close_notify; without it SSLEOFError
                    got.update(part)
                assert got.digest() == hashlib.sha256(pattern(size)).digest()
        assert service.stat("ktls.tx") == 1


def test_older_versions_stay_ours(world, app, kernel):
    with Service(world, app, serve=sized) as service:
        assert fetch(service, 1000, "--tls-max", "1.2") == "1.1"
        assert service.stat("ktls.tx") == 0 and service.stat("ktls.tx_refused") == 0
        assert service.stat("versions.TLSv1.2") == 1


def test_off(world, app, kernel):
    with Service(world, app, serve=sized, ktls="off") as service:
        before = tls_stat(app, "TlsTxSw")
        fetch(service, 1000)
        assert tls_stat(app, "TlsTxSw") == before
        assert not [name for name in service.proxy.admin.stats() if ".ktls." in name]


def test_key_update(world, app, kernel):
    """`openssl s_client` asks for new keys. A kernel that cannot renew its own: the connection ends when it next has something to say."""
    with Service(world, app, serve=peers.echo, alpn=None) as service:
        client = subprocess.Popen([*launcher(app.path, app.cgroup), "openssl", "s_client", "-connect", f"127.0.0.1:{service.port}", "-tls1_3", "-msg"],
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = bytearray()

        def read(until):
            def more():
                if select.select([client.stdout], [], [], 0)[0]:
                    got = os.read(client.stdout.fileno(), 65536)
                    said.extend(got)
                    assert got or re.search(until, said), said[-2000:].decode(errors="replace")
                return re.search(until, said)
            wait_until(more, 30, f"{until} from s_client")
        try:
            client.stdin.write(b"first\n")
            client.stdin.flush()
            read(rb"\nfirst\n")
            assert service.stat("ktls.tx") == 1
            client.stdin.write(b"K\n")  # SSL_key_update(update_requested)
            client.stdin.flush()
            read(rb">>> TLS 1\.3, Handshake \[length 0005\], KeyUpdate")
            client.stdin.write(b"second\n")
            client.stdin.flush()
            if kernel:
                read(rb"\nsecond\n")
                assert b"<<< TLS 1.3, Handshake [length 0005], KeyUpdate" in said
                assert service.stat("ktls.tx_rekey") == 1
            else:
                read(rb"fatal internal_error")
                assert b"\nsecond\n" not in said
                assert service.stat("ktls.tx_rekey_refused") == 1
                assert "cannot renew keys" in service.proxy.process.stderr()
        finally:
            client.kill()
            client.wait()


@pytest.mark.parametrize("ktls", ["on", "auto"])
def test_absent_without_fuss(world, app, ktls):
    """A kernel without TLS, or without a device that encrypts: all is as ever, and `on` says why."""
    has, _ = kernel_tls()
    if has and ktls == "on":
        pytest.skip("this kernel has TLS")
    with Service(world, app, serve=sized, ktls=ktls) as service:
        fetch(service, 100_000)
        assert not [name for name in service.proxy.admin.stats() if ".ktls." in name]
        assert ("--ktls=on: the kernel has none" in service.proxy.process.stderr()) == (ktls == "on")


def test_a_value_that_makes_no_sense(world):
    done = run(proxies.require("sluiced"), "-c", "/nowhere", "--ktls", "maybe", check=False)
    assert done.returncode != 0 and "--ktls maybe" in done.stderr
