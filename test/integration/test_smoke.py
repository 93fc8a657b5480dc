"""The harness itself against both proxies: a listener, a cluster, bytes."""
import pytest

from config import bootstrap, chain, cluster, listener, tcp_proxy
from support.peers import Peer, echo, pattern

pytestmark = pytest.mark.root


def test_bytes_go_through(run_proxy, app, server):
    port = app.free_port()
    with Peer(server.listen(), echo) as peer:
        run_proxy(bootstrap([listener(port, chain(tcp_proxy("up")))], [cluster("up", (server.ipv4, peer.port))]))
        data = pattern(3 << 20)
        sock = app.connect("127.0.0.1", port)
        import threading
        sender = threading.Thread(target=lambda: (sock.sendall(data), sock.shutdown(1)))
        sender.start()
        from support.peers import receive_all
        assert receive_all(sock) == data
        sender.join()
