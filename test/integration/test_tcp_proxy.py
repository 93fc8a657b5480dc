"""tcp_proxy's own options, and the filters echo and direct_response."""
import socket
import time

import pytest

from config import bootstrap, chain, cluster, direct_response, echo_filter, file_log, listener, tcp_proxy
from support import peers
from support.peers import Peer, ask, call_ending, ending, receive_all, receive_exactly
from support.proxies import AccessLog
from support.wait import never

pytestmark = pytest.mark.root
FLAGS = "%RESPONSE_FLAGS% %UPSTREAM_HOST% %UPSTREAM_CLUSTER% %BYTES_RECEIVED% %BYTES_SENT%"


@pytest.fixture
def lab(run_proxy, app, world):
    """lab(tcp_proxy fields..., clusters=[...]): (proxy, port, access log)."""
    def start(*clusters, target="up", **fields):
        port = app.free_port()
        log = AccessLog(world.directory / f"tcp-{world.next_number()}.log")
        if "weighted" not in fields:
            fields["cluster"] = target
        filters = chain(tcp_proxy(access_log=[file_log(log.path, FLAGS)], **fields))
        return run_proxy(bootstrap([listener(port, filters)], list(clusters))), port, log
    return start


def test_weighted_clusters(lab, app, server):
    with Peer(server.listen(), peers.tell("a")) as a, Peer(server.listen(), peers.tell("b")) as b:
        proxy, port, _ = lab(cluster("a", (server.ipv4, a.port)), cluster("b", (server.ipv4, b.port)), weighted={"a": 6, "b": 4})
        total = 300
        answers = [ask(lambda: app.connect("127.0.0.1", port)).decode() for _ in range(total)]
    assert 138 <= answers.count("a") <= 222
    assert answers.count("a") + answers.count("b") == total
    stats = proxy.admin.stats()
    assert stats["cluster.a.upstream_cx_total"] == answers.count("a")
    assert stats["cluster.b.upstream_cx_total"] == answers.count("b")


@pytest.mark.both_backends
def test_idle_timeout_ends_a_silent_connection(lab, app, server):
    with Peer(server.listen(), peers.echo) as peer:
        proxy, port, log = lab(cluster("up", (server.ipv4, peer.port)), idle_timeout="0.3s")
        with app.connect("127.0.0.1", port) as sock:
            sock.sendall(b"x")
            assert receive_exactly(sock, 1) == b"x"
            started = time.monotonic()
            assert ending(sock, 5) == "fin"
            assert 0.2 < time.monotonic() - started < 2
        proxy.wait_stat("tcp.tcp.idle_timeout", 1)
        # No flag: to Envoy "SI" is the HTTP stream's, not tcp_proxy's.
        assert log.wait()[0].split()[0] == "-"


def test_traffic_either_way_keeps_an_idle_timeout_off(lab, app, server):
    with Peer(server.listen(), peers.echo) as peer:
        proxy, port, _ = lab(cluster("up", (server.ipv4, peer.port)), idle_timeout="0.5s")
        with app.connect("127.0.0.1", port) as sock:
            deadline = time.monotonic() + 1.2
            while time.monotonic() < deadline:
                sock.sendall(b"x")
                assert receive_exactly(sock, 1) == b"x"
                never(lambda: proxy.admin.stat("tcp.tcp.idle_timeout"), 0.1)
            assert ending(sock, 3) == "fin"


def test_max_downstream_connection_duration(lab, app, server):
    """Ends the connection at its age, traffic or not."""
    with Peer(server.listen(), peers.echo) as peer:
        proxy, port, log = lab(cluster("up", (server.ipv4, peer.port)), max_downstream_connection_duration="0.4s")
        started = time.monotonic()
        with app.connect("127.0.0.1", port) as sock:
            while True:
                try:
                    sock.sendall(b"x")
                    if not sock.recv(1):
                        break
                except (BrokenPipeError, ConnectionResetError):
                    break
                assert time.monotonic() - started < 5
        assert 0.3 < time.monotonic() - started < 2
        proxy.wait_stat("tcp.tcp.max_downstream_connection_duration", 1)
        assert log.wait()[0].split()[0] == "DT"


@pytest.mark.both_backends
def test_connect_attempts_move_on_to_the_next_host(lab, app, server):
    with Peer(server.listen(), peers.echo) as peer:
        proxy, port, log = lab(cluster("up", (server.ipv4, 1), (server.ipv4, peer.port)), max_connect_attempts=4)
        for _ in range(4):
            assert ask(lambda: app.connect("127.0.0.1", port), b"x") == b"x"
        stats = proxy.admin.stats()
        assert stats["cluster.up.upstream_cx_connect_fail"] >= 1
        assert stats["cluster.up.upstream_cx_connect_attempts_exceeded"] == 0
        lines = log.wait(4)
    assert all(line.split()[1] == f"{server.ipv4}:{peer.port}" for line in lines)
    # The flag of an attempt that failed stays, though a later one succeeded.
    assert {line.split()[0] for line in lines} <= {"-", "UF"}


def test_connect_attempts_exceeded(lab, app, server, kind):
    proxy, port, log = lab(cluster("up", (server.ipv4, 1)), max_connect_attempts=3)
    assert call_ending(app, "127.0.0.1", port) == ("fin" if kind == "envoy" else "rst")
    proxy.wait_stat("cluster.up.upstream_cx_connect_attempts_exceeded", 1)
    assert proxy.admin.stat("cluster.up.upstream_cx_connect_fail") == 3
    assert log.wait()[0] == f"UF,URX {server.ipv4}:1 up 0 0"


@pytest.mark.both_backends
def test_connect_timeout(lab, app, server, kind):
    with peers.blackhole(server) as dead:
        proxy, port, log = lab(cluster("up", (server.ipv4, dead), connect_timeout="0.3s"))
        started = time.monotonic()
        assert call_ending(app, "127.0.0.1", port) == ("fin" if kind == "envoy" else "rst")
        assert 0.25 < time.monotonic() - started < 2
        stats = proxy.admin.stats()
        assert stats["cluster.up.upstream_cx_connect_timeout"] == 1
        assert stats["cluster.up.upstream_cx_connect_fail"] == 1
        assert log.wait()[0].split()[0] == "UF,URX"


@pytest.mark.both_backends
def test_client_that_leaves_while_connecting(lab, app, server, kind):
    """Envoy reads nothing until the upstream is there, so it notices when the connect has ended; sluiced gives up with the client."""
    with peers.blackhole(server) as dead:
        proxy, port, log = lab(cluster("up", (server.ipv4, dead), connect_timeout="0.5s" if kind == "envoy" else "60s"))
        with app.connect("127.0.0.1", port) as sock:
            proxy.wait_stat("cluster.up.upstream_cx_active", 1)
            peers.reset(sock)
        proxy.wait_stat("cluster.up.upstream_cx_active", 0, 2)
        assert log.wait()[0].split()[0] == ("UF,URX" if kind == "envoy" else "DC")
        proxy.wait_stat(f"listener.0.0.0.0_{port}.downstream_cx_active", 0)


def test_unknown_cluster(lab, app, kind):
    """tcp_proxy may name a cluster that does not exist (yet): the connection ends, flag NC."""
    proxy, port, log = lab(target="nowhere")
    assert call_ending(app, "127.0.0.1", port) == ("fin" if kind == "envoy" else "rst")
    proxy.wait_stat("tcp.tcp.downstream_cx_no_route", 1)
    assert log.wait()[0] == "NC - - 0 0"


def test_empty_cluster(lab, app, kind):
    proxy, port, log = lab(cluster("up"))
    assert call_ending(app, "127.0.0.1", port) == ("fin" if kind == "envoy" else "rst")
    assert log.wait()[0] == "UH - up 0 0"
    assert proxy.admin.stat("cluster.up.upstream_cx_none_healthy") == 1


def test_circuit_breaker_on_connections(lab, app, server, kind):
    with Peer(server.listen(), peers.echo) as peer:
        breakers = {"thresholds": [{"max_connections": 2, "track_remaining": True}]}
        proxy, port, log = lab(cluster("up", (server.ipv4, peer.port), circuit_breakers=breakers))
        held = []
        for number in range(2):
            sock = app.connect("127.0.0.1", port)
            sock.sendall(b"x")
            assert receive_exactly(sock, 1) == b"x"
            held.append(sock)
        stats = proxy.admin.stats()
        assert stats["cluster.up.circuit_breakers.default.cx_open"] == 1
        assert stats["cluster.up.circuit_breakers.default.remaining_cx"] == 0
        assert call_ending(app, "127.0.0.1", port) == ("fin" if kind == "envoy" else "rst")
        proxy.wait_stat("cluster.up.upstream_cx_overflow", 1)
        assert log.wait()[0].split()[0] == "UO"
        held.pop().close()
        proxy.wait_stat("cluster.up.circuit_breakers.default.cx_open", 0)
        assert ask(lambda: app.connect("127.0.0.1", port), b"again") == b"again"
        held.pop().close()


def test_echo_filter(run_proxy, app):
    """Bytes come back while the connection is open (Envoy drops what it has not yet echoed when the client's FIN comes)."""
    port = app.free_port()
    run_proxy(bootstrap([listener(port, chain(echo_filter()))], []))
    with app.connect("127.0.0.1", port) as sock:
        for data in (b"hello", peers.pattern(300000)):
            sock.sendall(data)
            assert receive_exactly(sock, len(data)) == data
        sock.shutdown(socket.SHUT_WR)
        assert ending(sock) == "fin"


def test_direct_response_filter(run_proxy, app):
    """Answers and closes, without waiting for a byte."""
    port = app.free_port()
    run_proxy(bootstrap([listener(port, chain(direct_response("go away\n")))], []))
    with app.connect("127.0.0.1", port) as sock:
        assert receive_all(sock) == b"go away\n"


def test_upstream_bind_config(lab, app, server):
    """The source address comes from the cluster."""
    app.ip("addr", "add", "10.77.9.9/16", "dev", "eth0")
    try:
        with Peer(server.listen(), peers.echo) as peer:
            bind = {"source_address": {"address": "10.77.9.9", "port_value": 0}}
            _, port, _ = lab(cluster("up", (server.ipv4, peer.port), upstream_bind_config=bind))
            assert ask(lambda: app.connect("127.0.0.1", port), b"x") == b"x"
            assert peer.accepted[0][0][0] == "10.77.9.9"
    finally:
        app.ip("addr", "del", "10.77.9.9/16", "dev", "eth0")
