"""SIGTERM with HTTP under way: nothing is cut. sluiced only: Envoy ends at once."""
import contextlib
import json
import signal

import pytest

from config import bootstrap, chain, cluster, file_log, http_manager, listener
from conftest import check_sanitizers, require
from programs import Client, Server
from support import proxies
from support.peers import Peer
from support.proxies import AccessLog
from support.wait import wait_until
from support.web import answer, read_message
from test_grpc import grpc_cluster

pytestmark = [pytest.mark.root, pytest.mark.both_backends]


@pytest.fixture
def lab(world, app):
    """lab(cluster, manager fields...): (proxy, port, log). Draining takes as long as what is under way."""
    require("sluiced")
    started = []

    def start(up, **fields):
        port = app.free_port()
        log = AccessLog(world.directory / f"drain-{world.next_number()}.log")
        routes = [{"match": {"prefix": "/"}, "route": {"cluster": up["name"], "timeout": "0s"}}]
        made = http_manager(routes, access_log=[file_log(log.path, "%RESPONSE_CODE% %RESPONSE_FLAGS% %REQ(:PATH)%")], drain_timeout="0.1s", **fields)
        proxy = proxies.start(world, "sluiced", bootstrap([listener(port, chain(made))], [up]), app.path, extra=["--shutdown-grace-s", 60])
        started.append(proxy)
        return proxy, port, log
    yield start
    for proxy in started:
        proxy.process.kill()
        check_sanitizers(proxy)


def terminate(proxy, app, port):
    """SIGTERM; returns when nothing new is taken."""
    proxy.process.signal(signal.SIGTERM)

    def refused():
        try:
            app.connect("127.0.0.1", port).close()
            return False
        except ConnectionRefusedError:
            return True
    wait_until(refused, what="new connections refused")


def test_http1(lab, app, server):
    """An answer that is waited for, one half received, a body half sent; connections that are idle, or have said nothing."""
    requests = []

    def serve(peer, sock):
        sock.settimeout(60)
        start, _, body, _ = read_message(sock)
        path = start.split()[1]
        requests.append(path)
        if path == "/idle":
            sock.sendall(answer(body=b"idle", connection="close"))
            return
        elif path == "/half":
            sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf-")
        elif path == "/upload":
            sock.sendall(answer(body=body))
        peer.release.wait(60)
        sock.sendall({"/half": b"whole", "/late": answer(body=b"late")}.get(path, b""))
    with Peer(server.listen(), serve) as web:
        proxy, port, log = lab(cluster("web", (server.ipv4, web.port)))
        late, half, upload, idle, silent = socks = [app.connect("127.0.0.1", port) for _ in range(5)]
        for sock in socks:
            sock.settimeout(30)
        idle.sendall(b"GET /idle HTTP/1.1\r\nhost: a\r\n\r\n")
        assert read_message(idle)[2] == b"idle"
        late.sendall(b"GET /late HTTP/1.1\r\nhost: a\r\n\r\n")
        half.sendall(b"GET /half HTTP/1.1\r\nhost: a\r\n\r\n")
        upload.sendall(b"POST /upload HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nfirst")
        data = b""
        while not data.endswith(b"half-"):
            data += half.recv(1000)
        wait_until(lambda: {"/late", "/half"} <= set(requests), what="requests under way")
        proxy.wait_stat("http.web.downstream_rq_active", 3)
        terminate(proxy, app, port)
        assert idle.recv(10) == b"" and silent.recv(10) == b"", "who asks for nothing is let go"
        upload.sendall(b"-last")
        start, fields, body, _ = read_message(upload)
        assert (start, body, fields["connection"]) == ("HTTP/1.1 200 OK", b"first-last", "close")
        web.release.set()
        start, fields, body, _ = read_message(late)
        assert (start, body, fields["connection"]) == ("HTTP/1.1 200 OK", b"late", "close")
        assert half.recv(1000) == b"whole"
        assert [sock.recv(10) for sock in (late, half, upload)] == [b""] * 3
        assert proxy.process.wait(20) == 0
        assert sorted(log.lines()) == ["200 - /half", "200 - /idle", "200 - /late", "200 - /upload"]


def test_http2(lab, app, server):
    """Calls that hang on a server's answer, by gRPC: all of them are answered, then the proxy ends."""
    with contextlib.closing(Server(server, "grpc_server")) as peer:
        proxy, port, log = lab(grpc_cluster("peer", (server.ipv4, peer.port)))
        client = Client(app, "grpc_client", "linger", f"127.0.0.1:{port}", json.dumps({"direct": f"{server.ipv4}:{peer.port}"}))
        client.wait_line("going")
        terminate(proxy, app, port)
        client.say_end()
        assert client.result() == {"answered": 40}
        assert proxy.process.wait(20) == 0
        assert {line.split()[1] for line in log.lines() if "/Chat" in line} == {"-"}, log.lines()


def test_a_websocket(lab, app, server):
    """It goes on until one of its ends has had enough."""
    with contextlib.closing(Server(server, "websocket_server")) as peer:
        proxy, port, _ = lab(cluster("peer", (server.ipv4, peer.port)), upgrade_configs=[{"upgrade_type": "websocket"}])
        client = Client(app, "websocket_client", "linger", f"ws://127.0.0.1:{port}/")
        client.wait_line("going")
        terminate(proxy, app, port)
        client.say_end()
        assert client.result() == {"after": ["still", "there"]}
        assert proxy.process.wait(20) == 0
