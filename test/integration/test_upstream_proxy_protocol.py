"""upstream_proxy_protocol: what goes before the first byte to an upstream, and who shares a connection then."""
import base64
import socket
import struct
import threading

import pytest

from config import bootstrap, chain, cluster, http_manager, listener, tcp_proxy, typed
from conftest import require
from support import peers
from support.peers import Peer
from support.wait import wait_until
from test_proxy_protocol import FOUR, SIGNATURE, proxy_protocol, v2

pytestmark = pytest.mark.root

RAW = {"name": "envoy.transport_sockets.raw_buffer", "typed_config": typed("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer")}


def wrapped(version, inner=None, **config):
    return {"name": "envoy.transport_sockets.upstream_proxy_protocol",
            "typed_config": typed("envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
                                  config={"version": version, **config}, transport_socket=inner or RAW)}


def added(*tlvs):
    return [{"type": kind, "value": base64.b64encode(value).decode()} for kind, value in tlvs]


def route(name):
    return [{"match": {"prefix": "/"}, "route": {"cluster": name}}]


def v1(source, destination):
    return b"PROXY TCP4 %s %s %d %d\r\n" % (source[0].encode(), destination[0].encode(), source[1], destination[1])


def v2_of(source, destination, tlvs=b""):
    return v2(socket.inet_aton(source[0]) + socket.inet_aton(destination[0]) + struct.pack("!HH", source[1], destination[1]) + tlvs)


def header_alone(data):
    """A PROXY header, and nothing behind it yet: Envoy may write it by itself."""
    if data.startswith(SIGNATURE):
        return len(data) == 16 + int.from_bytes(data[14:16], "big")
    return data.startswith(b"PROXY ") and data.find(b"\r\n") == len(data) - 2


class Heard(Peer):
    """A server that answers HTTP requests, and echoes other bytes; heard: all that came, by connection."""

    def __init__(self, listener):
        self.heard, self.lock = [], threading.Lock()
        super().__init__(listener, self.serve)

    def serve(self, _peer, sock):
        sock.settimeout(10)
        with self.lock:
            mine = len(self.heard)
            self.heard.append(b"")
        while data := sock.recv(1 << 16):
            self.heard[mine] += data
            if b" HTTP/1.1\r\n" in data:
                sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok" * data.count(b" HTTP/1.1\r\n"))
            elif not header_alone(self.heard[mine]):  # a client that is answered before it has asked gives up
                sock.sendall(data)

    def wait(self, number, size=1):
        wait_until(lambda: len(self.heard) >= number and len(self.heard[number - 1]) >= size, 5, f"{number} connections: {self.heard}")
        return self.heard[number - 1]


@pytest.fixture
def heard(server):
    with Heard(server.listen()) as made:
        yield made


def start(run_proxy, server, heard, transport, *listeners):
    return run_proxy(bootstrap(list(listeners), [cluster("up", (server.ipv4, heard.port), transport_socket=transport)]))


def say(app, port, data=b"hello", number=None):
    """Sends, waits for as many bytes, and returns the client's address."""
    with app.connect("127.0.0.1", port) as sock:
        sock.settimeout(5)
        sock.sendall(data)
        peers.receive_exactly(sock, number or len(data))
        return sock.getsockname()


def test_tcp(run_proxy, app, server, heard):
    port = app.free_port()
    start(run_proxy, server, heard, wrapped("V1"), listener(port, chain(tcp_proxy("up"))))
    client = say(app, port, number=5)
    assert heard.wait(1).startswith(v1(client, ("127.0.0.1", port)))
    assert heard.heard[0].endswith(b"\r\nhello")


def test_tcp_with_tlvs(run_proxy, app, server, heard):
    port = app.free_port()
    tlvs = [(0xe0, b"a"), (0xe0, b"b"), (0xe1, b"zz"), (0xe2, bytes(70)), (0xe3, b"\xff\x00")]
    start(run_proxy, server, heard, wrapped("V2", added_tlvs=added(*tlvs)), listener(port, chain(tcp_proxy("up"))))
    client = say(app, port, number=5)
    want = v2_of(client, ("127.0.0.1", port), b"".join(bytes([k]) + struct.pack("!H", len(v)) + v for k, v in tlvs))
    assert heard.wait(1, len(want) + 5) == want + b"hello"


def test_addresses_of_a_header_are_handed_on(run_proxy, app, server, heard):
    port = app.free_port()
    proxy = start(run_proxy, server, heard, wrapped("V2"), listener(port, chain(tcp_proxy("up")), listener_filters=[proxy_protocol()]))
    say(app, port, b"PROXY TCP4 1.2.3.4 5.6.7.8 111 222\r\nhello", 5)
    assert heard.wait(1, 33) == v2(FOUR) + b"hello"
    client = say(app, port, v2(b"", command=0x20, family=0) + b"hello", 5)
    assert heard.wait(2, 33) == v2_of(client, ("127.0.0.1", port)) + b"hello"
    assert proxy.admin.stat("cluster.up.upstream.proxyprotocol.v2_tlvs_exceed_max_length") == 0


REQUEST = b"GET / HTTP/1.1\r\nhost: a\r\nx-forwarded-for: 7.7.7.7\r\n\r\n"


def ask(sock):
    """One request and its whole answer."""
    sock.settimeout(5)
    sock.sendall(REQUEST)
    got = b""
    while not got.endswith(b"\r\n\r\nok"):
        part = sock.recv(1000)
        assert part, got
        got += part


def test_http_connections_are_not_shared_between_clients(run_proxy, app, server, heard):
    """The addresses are those of the downstream connection, whatever x-forwarded-for says; its requests share, no others do."""
    port = app.free_port()
    proxy = start(run_proxy, server, heard, wrapped("V1"), listener(port, chain(http_manager(route("up")))))
    with app.connect("127.0.0.1", port) as one, app.connect("127.0.0.1", port) as two:
        names = one.getsockname(), two.getsockname()
        for sock in (one, two, one, two, one):
            ask(sock)
    assert len(heard.heard) == 2
    for name, text, requests in zip(names, heard.heard, (3, 2)):
        assert text.startswith(v1(name, ("127.0.0.1", port)))
        assert text.count(b"PROXY") == 1 and text.count(b"GET / HTTP/1.1\r\n") == requests
    assert proxy.admin.stat("cluster.up.upstream_cx_total") == 2


def test_http_without_the_connections_state(run_proxy, app, server, heard):
    """The proxy speaks for itself then, to all alike."""
    port = app.free_port()
    start(run_proxy, server, heard, wrapped("V2"),
          listener(port, chain(http_manager(route("up"), add_proxy_protocol_connection_state=False))))
    with app.connect("127.0.0.1", port) as one, app.connect("127.0.0.1", port) as two:
        for sock in (one, two, one):
            ask(sock)
    assert len(heard.heard) == 1
    assert heard.heard[0].startswith(SIGNATURE + b"\x20\0\0\0GET / HTTP/1.1\r\n")


@pytest.mark.parametrize("version", ["V1", "V2"])
@pytest.mark.parametrize("other", ["envoy", "sluiced"])
def test_from_one_proxy_to_the_next(run_proxy, app, server, world, other, version):
    """What one of them writes the other one's listener filter reads: each kind before each kind."""
    require(other)
    from support import proxies
    from support.proxies import AccessLog
    from config import file_log
    front, back = app.free_port(), server.free_port()
    log = AccessLog(world.directory / f"next-{world.next_number()}.log")
    with Heard(server.listen()) as heard:
        access = file_log(log.path, text="%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS%")
        second = proxies.start(world, other, bootstrap(
            [listener(back, chain(tcp_proxy("up")), listener_filters=[proxy_protocol()], access_log=[access])],
            [cluster("up", (server.ipv4, heard.port))]), server.path)
        try:
            run_proxy(bootstrap([listener(front, chain(tcp_proxy("next")))],
                                [cluster("next", (server.ipv4, back), transport_socket=wrapped(version))]))
            client = say(app, front, number=5)
            assert heard.wait(1, 5) == b"hello"
            assert log.wait(1)[0] == f"127.0.0.1:{client[1]} 127.0.0.1:{front}"
        finally:
            second.stop()


def test_health_checks_have_nobody_to_speak_for(run_proxy, app, server, kind):
    """V2: LOCAL. V1 has no word for that but UNKNOWN; Envoy names its own two ends."""
    firsts = {}
    for version in ("V1", "V2"):
        with Heard(server.listen()) as heard:
            checks = [{"timeout": "5s", "interval": "60s", "unhealthy_threshold": 1, "healthy_threshold": 1,
                       "tcp_health_check": {"send": {"text": "68656c6c6f"}, "receive": [{"text": "68656c6c6f"}]}}]
            proxy = run_proxy(bootstrap([], [cluster("up", (server.ipv4, heard.port), transport_socket=wrapped(version),
                                                     health_checks=checks)]))
            proxy.wait_stat("cluster.up.health_check.success", 1)
            firsts[version] = heard.wait(1)
    assert firsts["V2"] == SIGNATURE + b"\x20\0\0\0hello"
    assert firsts["V1"].startswith(b"PROXY TCP4 " if kind == "envoy" else b"PROXY UNKNOWN\r\nhello")


@pytest.mark.parametrize("version", ["V1", "V2"])
def test_nginx_reads_it(run_proxy, app, server, world, version):
    front, back = app.free_port(), server.free_port()
    where = world.directory / f"nginx-{world.next_number()}"
    where.mkdir()
    (where / "nginx.conf").write_text(f"""
        daemon off; master_process off; pid {where}/pid; error_log stderr;
        events {{}}
        http {{
            access_log off;
            server {{
                listen {server.ipv4}:{back} proxy_protocol;
                return 200 "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port";
            }}
        }}""")
    nginx = server.start("nginx", ["nginx", "-p", where, "-c", where / "nginx.conf"])
    try:
        run_proxy(bootstrap([listener(front, chain(tcp_proxy("up")))],
                            [cluster("up", (server.ipv4, back), transport_socket=wrapped(version, added_tlvs=added((0xe0, b"a"))))]))
        wait_until(lambda: server.connect(server.ipv4, back).close() is None, 10, "nginx listens", alive=nginx.check_running)
        with app.connect("127.0.0.1", front) as sock:
            sock.settimeout(5)
            sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = peers.receive_all(sock).decode()
            assert answer.rsplit("\r\n\r\n", 1)[1] == f"127.0.0.1 {sock.getsockname()[1]} 127.0.0.1 {front}"
    finally:
        nginx.stop()
