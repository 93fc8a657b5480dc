"""Connections out of a pod: virtualOutbound, the hand-off to the listener of the original destination, passthrough and black hole.

Three ways into the proxy with one configuration: Envoy behind iptables REDIRECT, sluiced with eBPF, sluiced behind the same rules.
"""
import contextlib

import pytest

from config import bootstrap, chain, from_file, listener, passthrough, tcp_proxy
from support import peers
from support.peers import Peer, ask, call_ending
from support.proxies import AccessLog

pytestmark = pytest.mark.root


class Outbound:
    """The mesh's outbound configuration in front of the app pod, with three services behind it."""

    def __init__(self, world, app, server, intercept, policy):
        self.world, self.app, self.server = world, app, server
        self.stack = contextlib.ExitStack()
        self.one, self.v1, self.v2 = (self.stack.enter_context(Peer(server.listen(), peers.tell(n))) for n in ("one", "v1", "v2"))
        self.log = AccessLog(world.directory / f"outbound-{world.next_number()}.log")
        self.proxy = intercept.start(from_file("outbound.yaml", outbound_policy=policy, server=server.ipv4, one_port=self.one.port,
                                               v1_port=self.v1.port, v2_port=self.v2.port, log=self.log.path))

    def answer(self, address, port):
        return ask(lambda: self.app.connect(address, port)).decode()


@pytest.fixture
def allow_any(world, app, server, intercept):
    made = Outbound(world, app, server, intercept, "PassthroughCluster")
    with made.stack:
        yield made


@pytest.fixture
def registry_only(world, app, server, intercept):
    made = Outbound(world, app, server, intercept, "BlackHoleCluster")
    with made.stack:
        yield made


@pytest.mark.both_backends
def test_unknown_destination_passes_through(allow_any, app, server, way):
    with Peer(server.listen(), peers.echo) as peer:
        assert ask(lambda: app.connect(server.ipv4, peer.port), b"hello") == b"hello"
        entry = allow_any.log.json()[0]
    assert entry == {"chain": "virtualOutbound-catchall-tcp", "original": f"{server.ipv4}:{peer.port}", "peer": app.ipv4,
                     "upstream": f"{server.ipv4}:{peer.port}", "cluster": "PassthroughCluster", "flags": "-", "received": 5, "sent": 5}
    assert peer.accepted[0][0][0] == app.ipv4, "the pod's own address is what the server sees"


def test_unknown_destination_is_refused_when_only_the_registry_counts(registry_only, app, server, way):
    with Peer(server.listen(), peers.echo) as peer:
        assert call_ending(app, server.ipv4, peer.port) == ("rst" if way.startswith("sluiced") else "fin")
        entry = registry_only.log.json()[0]
        assert (entry["cluster"], entry["flags"], entry["upstream"]) == ("BlackHoleCluster", "UH", None)
        assert entry["original"] == f"{server.ipv4}:{peer.port}"
        assert peer.count() == 0
    registry_only.proxy.wait_stat("cluster.BlackHoleCluster.upstream_cx_none_healthy", 1)


def test_known_service_is_reached_where_only_the_registry_counts(registry_only):
    assert registry_only.answer("10.96.0.10", 9000) == "one"


def test_exact_address_wins_over_the_port_on_any_address(allow_any):
    assert allow_any.answer("10.96.0.10", 9000) == "one"
    assert allow_any.answer("10.96.1.77", 9000) == "one"
    first, second = allow_any.log.json(2)
    assert (first["chain"], first["original"]) == ("one-service", "10.96.0.10:9000")
    assert (second["chain"], second["original"]) == ("by-address", "10.96.1.77:9000")
    stats = allow_any.proxy.admin.stats()
    # Envoy counts a connection at the listener that has it in the end, not at the one that accepted it.
    assert stats["listener.0.0.0.0_15001.downstream_cx_total"] == 0
    assert stats["listener.0.0.0.0_15001.downstream_pre_cx_active"] == 0
    assert stats["listener.10.96.0.10_9000.downstream_cx_total"] == 1
    assert stats["listener.0.0.0.0_9000.downstream_cx_total"] == 1


def test_default_filter_chain_of_the_listener_that_matched(allow_any, app, server):
    with Peer(server.listen(port=9000), peers.tell("really there")):
        assert allow_any.answer(server.ipv4, 9000) == "really there"
    assert allow_any.log.json()[0]["chain"] == "PassthroughFilterChain"


def test_no_chain_matches(allow_any, app, way):
    assert call_ending(app, "10.96.5.5", 9300) == "fin"
    allow_any.proxy.wait_stat("listener.0.0.0.0_9300.no_filter_chain_match", 1)


def test_canary_six_to_four(allow_any):
    total = 300
    answers = [allow_any.answer("10.96.0.20", 9100) for _ in range(total)]
    # A fair coin of 0.6 leaves 180 +- 5 * 8.5 once in two million runs.
    assert 138 <= answers.count("v1") <= 222 and answers.count("v1") + answers.count("v2") == total
    by_log = [e["cluster"].split("|")[2] for e in allow_any.log.json(total)]
    assert by_log.count("v1") == answers.count("v1")


def test_proxy_port_called_directly_is_a_black_hole(allow_any, caller, app, way):
    """Somebody calls <pod>:15001: the original destination is the proxy itself, and its chain for that leads nowhere."""
    assert call_ending(caller, app.ipv4, 15001) == ("fin" if way == "envoy" else "rst")
    entry = allow_any.log.json()[0]
    assert (entry["chain"], entry["cluster"], entry["flags"]) == ("virtualOutbound-blackhole", "BlackHoleCluster", "UH")


def test_nobody_listens_at_the_original_destination(allow_any, app, server, way):
    assert call_ending(app, server.ipv4, 1) == ("rst" if way.startswith("sluiced") else "fin")
    entry = allow_any.log.json()[0]
    assert (entry["cluster"], entry["upstream"]) == ("PassthroughCluster", f"{server.ipv4}:1")
    assert entry["flags"] == "UF,URX"
    stats = allow_any.proxy.admin.stats()
    assert stats["cluster.PassthroughCluster.upstream_cx_connect_fail"] == 1


def test_ipv6_passes_through(world, app, server, intercept):
    log = AccessLog(world.directory / f"outbound6-{world.next_number()}.log")
    from config import file_log
    made = listener(15001, chain(tcp_proxy("PassthroughCluster", access_log=[file_log(log.path, "%DOWNSTREAM_LOCAL_ADDRESS% %UPSTREAM_HOST%")])),
                    address="::", name="virtualOutbound", use_original_dst=True)
    intercept.start(bootstrap([made], [passthrough()]))
    with Peer(server.listen("::"), peers.echo) as peer:
        assert ask(lambda: app.connect(server.ipv6, peer.port), b"six") == b"six"
        assert log.wait() == [f"[{server.ipv6}]:{peer.port} [{server.ipv6}]:{peer.port}"]
        assert peer.accepted[0][0][0] == app.ipv6


def test_client_and_server_on_the_same_address_keep_their_own(allow_any, app, server):
    """Two connections at once to different destinations: each gets its own original destination."""
    with Peer(server.listen(), peers.greeting(b"A")) as a, Peer(server.listen(), peers.greeting(b"B")) as b:
        socks = [(app.connect(server.ipv4, p.port), name) for _ in range(20) for p, name in ((a, b"A"), (b, b"B"))]
        for sock, name in socks:
            assert sock.recv(1) == name
            sock.close()
        assert len(allow_any.log.json(40)) == 40
