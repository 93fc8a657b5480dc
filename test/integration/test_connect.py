"""CONNECT that ends at the proxy (connect_config): a tunnel to a TCP server. Each case on Envoy and sluiced."""
import struct

import pytest

from config import bootstrap, chain, cluster, file_log, http_manager, listener
from support.peers import Peer, echo, receive_all, receive_exactly
from support.proxies import AccessLog

pytestmark = pytest.mark.root
LOG = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %UPSTREAM_PROTOCOL%"
TUNNEL = b"CONNECT far:80 HTTP/1.1\r\nhost: far:80\r\n\r\n"


def upper(peer, sock):
    """Says everything in capitals, and goodbye once nothing more comes."""
    while part := sock.recv(1 << 16):
        sock.sendall(part.upper())
    sock.sendall(b"bye")


@pytest.fixture
def tunnels(run_proxy, app, server, world):
    """tunnels(serve, connect_config fields...): (proxy, port, peer, log)."""
    peers = []

    def start(serve=upper, **connect_config):
        peer = Peer(server.listen(), serve)
        peers.append(peer)
        port = app.free_port()
        log = AccessLog(world.directory / f"connect-{world.next_number()}.log")
        upgrades = [{"upgrade_type": "CONNECT", "connect_config": connect_config}]
        routes = [{"match": {"connect_matcher": {}}, "route": {"cluster": "far", "upgrade_configs": upgrades}},
                  {"match": {"prefix": "/"}, "route": {"cluster": "far", "upgrade_configs": upgrades}}]
        manager = http_manager(routes, access_log=[file_log(log.path, LOG)], upgrade_configs=[{"upgrade_type": "CONNECT"}])
        proxy = run_proxy(bootstrap([listener(port, chain(manager))], [cluster("far", (server.ipv4, peer.port))]))
        return proxy, port, peer, log
    yield start
    for peer in peers:
        peer.close()


def head_of(sock):
    data = b""
    while b"\r\n\r\n" not in data:
        part = sock.recv(1)
        assert part, data
        data += part
    return data


def test_a_tunnel_carries_bytes_both_ways_until_one_side_ends(tunnels, app):
    proxy, port, peer, log = tunnels()
    with app.connect("127.0.0.1", port) as sock:
        sock.settimeout(20)
        sock.sendall(TUNNEL)
        head = head_of(sock)
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"content-length" not in head and b"transfer-encoding" not in head
        for text in (b"abc", b"x" * 300_000):
            sock.sendall(text)
            assert receive_exactly(sock, len(text)) == text.upper()
    assert log.wait() == ["200 DC downstream_remote_disconnect -"]
    proxy.wait_stat("cluster.far.upstream_cx_active", 0)
    assert proxy.admin.stat("cluster.far.upstream_cx_total") == 1


def test_bytes_behind_the_head_wait_for_the_tunnel(tunnels, app):
    _, port, _, _ = tunnels()
    with app.connect("127.0.0.1", port) as sock:
        sock.settimeout(20)
        sock.sendall(TUNNEL + b"early")
        head_of(sock)
        assert receive_exactly(sock, 5) == b"EARLY"


def test_a_server_that_speaks_first_and_hangs_up(tunnels, app):
    def greet(peer, sock):
        sock.sendall(b"hello")
    _, port, _, log = tunnels(greet)
    with app.connect("127.0.0.1", port) as sock:
        sock.settimeout(20)
        sock.sendall(TUNNEL)
        head_of(sock)
        assert receive_all(sock) == b"hello"
    assert log.wait() == ["200 - via_upstream -"]


@pytest.mark.parametrize("version", ["V1", "V2"])
def test_the_server_is_told_who_calls(tunnels, app, version):
    """proxy_protocol_config: the PROXY header comes first, once, with the addresses of the client's connection."""
    _, port, _, _ = tunnels(echo, proxy_protocol_config={"version": version})
    for early in (b"", b"early"):
        with app.connect("127.0.0.1", port) as sock:
            sock.settimeout(20)
            own = sock.getsockname()[1]
            # It is the connection that the header speaks of, not what x-forwarded-for says of the client.
            sock.sendall(TUNNEL[:-2] + b"x-forwarded-for: 1.2.3.4\r\n\r\n" + early)
            head_of(sock)
            sock.sendall(b"late")
            wanted = b"PROXY TCP4 127.0.0.1 127.0.0.1 %d %d\r\n" % (own, port)
            if version == "V2":
                wanted = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([127, 0, 0, 1] * 2) + struct.pack("!HH", own, port)
            wanted += early + b"late"
            assert receive_exactly(sock, len(wanted)) == wanted


def test_a_server_that_is_not_there(tunnels, app):
    proxy, port, peer, log = tunnels()
    peer.close()
    with app.connect("127.0.0.1", port) as sock:
        sock.settimeout(20)
        sock.sendall(TUNNEL)
        assert head_of(sock).startswith(b"HTTP/1.1 503 ")
    line, = log.wait()
    assert line.startswith("503 UF upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}")


def test_a_post_is_a_tunnel_only_where_that_is_allowed(tunnels, app):
    for allowed in (True, False):
        _, port, _, _ = tunnels(allow_post=allowed)
        with app.connect("127.0.0.1", port) as sock:
            sock.settimeout(20)
            sock.sendall(b"POST / HTTP/1.1\r\nhost: far\r\ncontent-length: 3\r\n\r\nabc")
            head = head_of(sock)
            if allowed:
                assert head.startswith(b"HTTP/1.1 200 ") and b"transfer-encoding: chunked" in head
                body = b""
                while b"\r\n0\r\n\r\n" not in body:
                    part = sock.recv(1 << 16)
                    assert part
                    body += part
                assert body.replace(b"\r\n", b"").replace(b"3ABC", b"ABC").replace(b"6ABCbye", b"ABCbye").replace(b"3bye", b"bye") == b"ABCbye0"
            else:
                assert head.startswith(b"HTTP/1.1 502 ")  # what comes back is no HTTP
