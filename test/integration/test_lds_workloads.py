"""Discovered listeners and enrolled pods: virtualOutbound that comes, moves its socket options and goes while a pod is enrolled. sluiced only."""
import json

import pytest

from config import chain, listener, passthrough, tcp_proxy
from support import peers
from support.peers import Peer, ask
from support.wait import wait_until

pytestmark = [pytest.mark.root, pytest.mark.ebpf]


def test_listeners_come_change_and_go(node, app, server, world):
    directory = world.directory / f"lds-{world.next_number()}"
    directory.mkdir()

    def publish(version, *listeners):
        resources = [{"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", **entry} for entry in listeners]
        (directory / "new").write_text(json.dumps({"version_info": version, "resources": resources}))
        (directory / "new").rename(directory / "lds.json")

    def outbound(**fields):
        return listener(15001, chain(tcp_proxy("PassthroughCluster", "out")), name="virtualOutbound", use_original_dst=True,
                        traffic_direction="OUTBOUND", **fields)

    def refused():
        try:
            app.connect(server.ipv4, peer.port).close()
        except ConnectionRefusedError:
            return True
        return False

    publish("0")
    node.start({"node": {"id": "node", "cluster": "test"}, "static_resources": {"clusters": [passthrough()]},
                "dynamic_resources": {"lds_config": {"path_config_source": {"path": str(directory / "lds.json")}, "resource_api_version": "V3"}}})
    assert "no listener to serve it with" in node.ctl("enrol", "app", app.path, check=False).stderr
    publish("1", outbound())
    node.proxy.wait_stat("listener_manager.total_listeners_active", 1)
    node.enrol(app, "--no-inbound")
    with Peer(server.listen(), peers.echo) as peer:
        def served():
            return node.proxy.admin.stat("cluster.PassthroughCluster.upstream_cx_total")

        assert ask(lambda: app.connect(server.ipv4, peer.port), b"x") == b"x"
        assert served() == 1
        with app.connect(server.ipv4, peer.port) as kept:
            kept.sendall(b"a")
            assert kept.recv(1) == b"a"
            # Other sockets for the pod; the connection stays.
            publish("2", outbound(tcp_backlog_size=77))
            node.proxy.wait_stat("listener_manager.listener_modified", 1)
            assert ask(lambda: app.connect(server.ipv4, peer.port), b"x") == b"x"
            assert served() == 3
            kept.sendall(b"b")
            assert kept.recv(1) == b"b"
            # Without a listener the fail mode holds, and a listener that comes back ends it.
            publish("3")
            node.proxy.wait_stat("listener_manager.listener_removed", 1)
            wait_until(refused, 5, "fail mode closed")
            kept.sendall(b"c")
            assert kept.recv(1) == b"c"
        publish("4", outbound())
        wait_until(lambda: not refused(), 10, "served again")
        assert ask(lambda: app.connect(server.ipv4, peer.port), b"x") == b"x"
