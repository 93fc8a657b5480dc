"""An unmodified Envoy, with nothing but its original_dst listener filter, behind our BPF programs: SO_ORIGINAL_DST is answered by them."""
import subprocess

import pytest

from config import bootstrap, chain, cluster, file_log, listener, original_dst_filter, passthrough, tcp_proxy
from conftest import require
from support import peers, proxies
from support.peers import Peer, ask
from support.process import launcher
from support.proxies import AccessLog, nat_rules

pytestmark = [pytest.mark.root, pytest.mark.ebpf]
MARK = 0x539  # sluice's proxy mark: how the programs know a proxy's own sockets, together with its cgroup
SOL_SOCKET, SO_MARK = 1, 36


def config(log):
    """Both virtual listeners; upstream sockets carry the mark."""
    marked = {"socket_options": [{"level": SOL_SOCKET, "name": SO_MARK, "int_value": MARK, "state": "STATE_PREBIND"}]}
    line = "%DOWNSTREAM_LOCAL_ADDRESS% %UPSTREAM_HOST%"
    return bootstrap([
        listener(15001, chain(tcp_proxy("PassthroughCluster", "out", access_log=[file_log(log.path, f"out {line}")])),
                 name="virtualOutbound", traffic_direction="OUTBOUND", listener_filters=[original_dst_filter()]),
        listener(15001, chain(tcp_proxy("PassthroughCluster", "out", access_log=[file_log(log.path, f"out {line}")])), address="::1",
                 name="virtualOutbound6", traffic_direction="OUTBOUND", listener_filters=[original_dst_filter()]),
        listener(15006, chain(tcp_proxy("inbound", "in", access_log=[file_log(log.path, f"in {line}")])),
                 name="virtualInbound", traffic_direction="INBOUND", listener_filters=[original_dst_filter()]),
    ], [passthrough(upstream_bind_config=marked), passthrough("inbound", upstream_bind_config={
        "source_address": {"address": "127.0.0.6", "port_value": 0}, **marked}), cluster("unused")])


@pytest.fixture
def envoy(world, app):
    """Envoy in the app pod, its connections steered by our programs."""
    require("envoy")
    helper = require("sluice_foreign_proxy")
    log = AccessLog(world.directory / f"foreign-{world.next_number()}.log")
    cgroup = world.make_cgroup(f"envoy-{world.next_number()}")
    proxy = proxies.start(world, "envoy", config(log), app.path, cgroup)
    proxy.log = log
    steering = subprocess.Popen(launcher() + [helper, f"/sys/fs/bpf/{world.id}", str(world.directory / "foreign-state"), str(world.cgroup), app.path,
                                              str(proxy.process.pid), str(cgroup)],
                                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert steering.stdout.readline() == "ready\n", steering.stderr.read()
        yield proxy
    finally:
        _, errors = steering.communicate("", timeout=20)
        proxy.stop()
        world.remove_cgroup(cgroup)
    assert steering.returncode == 0, errors


def test_outbound(envoy, app, server):
    with Peer(server.listen(), peers.echo) as peer, app.connect(server.ipv4, peer.port) as sock:
        sock.sendall(b"hello")
        assert peers.receive_exactly(sock, 5) == b"hello"
        assert sock.getpeername() == (server.ipv4, peer.port)
        assert peer.accepted[0][0][0] == app.ipv4
        assert nat_rules(app) == []
        sock.close()
        assert envoy.log.wait() == [f"out {server.ipv4}:{peer.port} {server.ipv4}:{peer.port}"]


def test_outbound_ipv6(envoy, app, server):
    with Peer(server.listen("::"), peers.echo) as peer:
        assert ask(lambda: app.connect(server.ipv6, peer.port), b"six") == b"six"
        assert envoy.log.wait() == [f"out [{server.ipv6}]:{peer.port} [{server.ipv6}]:{peer.port}"]


def test_inbound(envoy, app, caller):
    with Peer(app.listen(), peers.echo) as peer:
        assert ask(lambda: caller.connect(app.ipv4, peer.port), b"hello") == b"hello"
        assert peer.accepted[0][0][0] == "127.0.0.6"
        assert envoy.log.wait() == [f"in {app.ipv4}:{peer.port} {app.ipv4}:{peer.port}"]


def test_many_connections(envoy, app, server):
    with Peer(server.listen(), peers.greeting(b"A")) as a, Peer(server.listen(), peers.greeting(b"B")) as b:
        socks = [(app.connect(server.ipv4, peer.port), name) for _ in range(100) for peer, name in ((a, b"A"), (b, b"B"))]
        for sock, name in socks:
            assert peers.receive_exactly(sock, 1) == name
            sock.close()
    assert len(envoy.log.wait(200)) == 200
