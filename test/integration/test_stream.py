"""What happens to the bytes and to the end of a connection that tcp_proxy carries."""
import socket
import threading

import pytest

from config import bootstrap, chain, cluster, listener, tcp_proxy
from support import peers
from support.peers import Peer, call_ending, ending, pattern, receive_all, receive_exactly, reset
from support.wait import Timeout, never, wait_until

pytestmark = [pytest.mark.root, pytest.mark.both_backends]


def through(run_proxy, app, server, peer, **fields):
    """A proxy with one listener in the app pod that leads to `peer`; returns (proxy, port)."""
    port = app.free_port()
    proxy = run_proxy(bootstrap([listener(port, chain(tcp_proxy("up", **fields)))], [cluster("up", (server.ipv4, peer.port))]))
    return proxy, port


def test_bytes_arrive_whole_and_in_order(run_proxy, app, server):
    data = pattern(8 << 20)
    with Peer(server.listen(), peers.echo) as peer:
        _, port = through(run_proxy, app, server, peer)
        with app.connect("127.0.0.1", port) as sock:
            sender = threading.Thread(target=lambda: (sock.sendall(data), sock.shutdown(socket.SHUT_WR)))
            sender.start()
            got = receive_all(sock)
            sender.join()
    assert len(got) == len(data) and got == data


def test_many_connections_at_once(run_proxy, app, server):
    with Peer(server.listen(), peers.echo) as peer:
        proxy, port = through(run_proxy, app, server, peer)
        socks = [app.connect("127.0.0.1", port) for _ in range(200)]
        for number, sock in enumerate(socks):
            sock.sendall(b"%04d" % number)
        for number, sock in enumerate(socks):
            assert receive_exactly(sock, 4) == b"%04d" % number
        assert proxy.admin.stat("cluster.up.upstream_cx_active") == 200
        for sock in socks:
            sock.close()
        proxy.wait_stat("cluster.up.upstream_cx_active", 0)
        proxy.wait_stat("tcp.tcp.downstream_cx_total", 200)


def test_server_speaks_first(run_proxy, app, server):
    with Peer(server.listen(), peers.greeting(b"220 ready\r\n")) as peer:
        _, port = through(run_proxy, app, server, peer)
        with app.connect("127.0.0.1", port) as sock:
            assert receive_exactly(sock, 11) == b"220 ready\r\n"
            sock.sendall(b"x")
            assert receive_exactly(sock, 1) == b"x"


def test_client_half_close_keeps_the_answer_coming(run_proxy, app, server):
    with Peer(server.listen(), lambda peer, sock: sock.sendall(b"got %d" % len(receive_all(sock)))) as peer:
        _, port = through(run_proxy, app, server, peer)
        with app.connect("127.0.0.1", port) as sock:
            sock.sendall(b"x" * 100000)
            sock.shutdown(socket.SHUT_WR)
            assert receive_all(sock) == b"got 100000"


def test_server_half_close_keeps_the_request_going(run_proxy, app, server):
    with Peer(server.listen(), peers.half_close_first(b"bye")) as peer:
        _, port = through(run_proxy, app, server, peer)
        with app.connect("127.0.0.1", port) as sock:
            assert receive_all(sock) == b"bye"
            sock.sendall(b"still here")
            sock.shutdown(socket.SHUT_WR)
            wait_until(lambda: peer.received == [b"still here"], what="the server gets what came after its own FIN")


def test_fin_stays_fin_for_the_client(run_proxy, app, server):
    with Peer(server.listen(), peers.fin_at_once) as peer:
        _, port = through(run_proxy, app, server, peer)
        assert call_ending(app, "127.0.0.1", port) == "fin"


def test_fin_stays_fin_for_the_server(run_proxy, app, server):
    ended = []
    with Peer(server.listen(), lambda peer, sock: ended.append(ending(sock))) as peer:
        _, port = through(run_proxy, app, server, peer)
        app.connect("127.0.0.1", port).close()
        wait_until(lambda: ended == ["fin"], what=f"the server's end {ended}")


def test_rst_from_the_server_reaches_the_client(run_proxy, app, server):
    with Peer(server.listen(), peers.reset_on_data) as peer:
        _, port = through(run_proxy, app, server, peer)
        with app.connect("127.0.0.1", port) as sock:
            sock.sendall(b"x")
            assert ending(sock) == "rst"


def test_rst_from_the_client_reaches_the_server(run_proxy, app, server):
    ended = []

    def handler(peer, sock):
        receive_exactly(sock, 1)
        ended.append(ending(sock))
    with Peer(server.listen(), handler) as peer:
        _, port = through(run_proxy, app, server, peer)
        sock = app.connect("127.0.0.1", port)
        sock.sendall(b"x")
        peer.wait_connections()
        reset(sock)
        wait_until(lambda: ended, what="the server's end")
        assert ended == ["rst"]


def test_refused_upstream_ends_the_client_at_once(run_proxy, app, server, kind):
    """Envoy closes with a FIN, as it does for every end of its own making; sluiced passes the refusal on as a RST."""
    port = app.free_port()
    run_proxy(bootstrap([listener(port, chain(tcp_proxy("up")))], [cluster("up", (server.ipv4, 1))]))
    assert call_ending(app, "127.0.0.1", port, 2) == ("fin" if kind == "envoy" else "rst")


def test_bytes_sent_before_the_upstream_is_connected_are_kept(run_proxy, app, server):
    """The client does not wait: request and FIN are there before the upstream connection is."""
    with Peer(server.listen(), peers.sink) as peer:
        _, port = through(run_proxy, app, server, peer)
        with app.connect("127.0.0.1", port) as sock:
            sock.sendall(b"early")
            sock.shutdown(socket.SHUT_WR)
            assert receive_all(sock) == b""
        assert peer.received == [b"early"]


def test_back_pressure_bounds_memory(run_proxy, app, server):
    """A server that does not read stops the client: the proxy holds its buffer limit and the kernel's, not the stream."""
    with Peer(server.listen(), peers.slow_sink) as peer:
        proxy, port = through(run_proxy, app, server, peer)
        before = proxy.process.rss_kib()
        sock = app.connect("127.0.0.1", port)
        sock.settimeout(0.5)
        sent, block = 0, pattern(1 << 20)
        try:
            while sent < 256 << 20:
                sent += sock.send(block[sent % len(block):])
        except (TimeoutError, socket.timeout):
            pass
        assert sent < 64 << 20, "nothing stopped the client"
        assert proxy.process.rss_kib() - before < 16 * 1024
        sock.settimeout(30)
        peer.release.set()
        sock.shutdown(socket.SHUT_WR)
        assert ending(sock, 30) == "fin"
        sock.close()
        assert len(peer.received[0]) == sent
        assert peer.received[0] == (block * (sent // len(block) + 1))[:sent]


def test_back_pressure_towards_a_slow_client(run_proxy, app, server):
    total = 64 << 20
    done = threading.Event()

    def pour(peer, sock):
        sock.settimeout(60)
        sock.sendall(b"z" * total)
        done.set()
    with Peer(server.listen(), pour) as peer:
        proxy, port = through(run_proxy, app, server, peer)
        before = proxy.process.rss_kib()
        with app.connect("127.0.0.1", port) as sock:
            with pytest.raises(Timeout):
                wait_until(done.is_set, 0.7)
            assert proxy.process.rss_kib() - before < 16 * 1024
            sock.settimeout(60)
            assert len(receive_all(sock)) == total


def test_idle_client_behind_a_dead_half_is_not_forgotten(run_proxy, app, server):
    """Half-closed both ways at different times: the connection ends when the second half ends, not before."""
    with Peer(server.listen(), peers.half_close_first(b"")) as peer:
        proxy, port = through(run_proxy, app, server, peer)
        with app.connect("127.0.0.1", port) as sock:
            assert receive_all(sock) == b""
            never(lambda: proxy.admin.stat("tcp.tcp.downstream_cx_total") != 1 or
                  proxy.admin.stat("cluster.up.upstream_cx_active") != 1, 0.3, "connection gone while one half was open")
            sock.shutdown(socket.SHUT_WR)
        proxy.wait_stat("cluster.up.upstream_cx_active", 0)


def test_ipv6_end_to_end(run_proxy, app, server):
    port = app.free_port()
    with Peer(server.listen("::"), peers.echo) as peer:
        run_proxy(bootstrap([listener(port, chain(tcp_proxy("up")), address="::")], [cluster("up", (server.ipv6, peer.port))]))
        assert peers.ask(lambda: app.connect("::1", port), b"six") == b"six"
        assert peer.accepted[0][0][0] == app.ipv6


def test_dual_stack_listener(run_proxy, app, server):
    """ipv4_compat: one socket on :: takes IPv4 callers too."""
    port = app.free_port()
    with Peer(server.listen(), peers.echo) as peer:
        made = listener(port, chain(tcp_proxy("up")), address="::")
        made["address"]["socket_address"]["ipv4_compat"] = True
        run_proxy(bootstrap([made], [cluster("up", (server.ipv4, peer.port))]))
        assert peers.ask(lambda: app.connect("127.0.0.1", port), b"4") == b"4"
        assert peers.ask(lambda: app.connect("::1", port), b"6") == b"6"


def test_unix_upstream(run_proxy, app, world):
    """A cluster whose endpoint is a pipe (Unix socket)."""
    path = world.directory / f"up-{world.next_number()}.sock"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen(8)

    def serve():
        with listening.accept()[0] as sock:
            sock.settimeout(5)
            sock.sendall(receive_all(sock)[::-1])
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    port = app.free_port()
    up = {"name": "up", "type": "STATIC", "connect_timeout": "1s", "load_assignment": {
        "cluster_name": "up", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": str(path)}}}}]}]}}
    run_proxy(bootstrap([listener(port, chain(tcp_proxy("up")))], [up]))
    assert peers.ask(lambda: app.connect("127.0.0.1", port), b"abc") == b"cba"
    thread.join(5)
    listening.close()
