"""Connections into a pod: virtualInbound on 15006, the original destination chooses the chain."""
import pytest

from config import from_file
from support import peers
from support.peers import Peer, ask, call_ending
from support.proxies import AccessLog

pytestmark = pytest.mark.root


class Inbound:
    def __init__(self, world, app, intercept, peer):
        self.log = AccessLog(world.directory / f"inbound-{world.next_number()}.log")
        self.proxy = intercept.start(from_file("inbound.yaml", app_port=peer.port, log=self.log.path), outbound=None, inbound=15006)


@pytest.mark.both_backends
def test_service_port_takes_its_chain(world, app, caller, intercept):
    with Peer(app.listen(), peers.echo) as peer:
        inbound = Inbound(world, app, intercept, peer)
        assert ask(lambda: caller.connect(app.ipv4, peer.port), b"hi") == b"hi"
        assert peer.accepted[0][0][0] == "127.0.0.6", "the app sees the proxy's source address"
        assert peer.accepted[0][1] == (app.ipv4, peer.port), "and its own address as the destination"
        entry = inbound.log.json()[0]
    assert entry == {"chain": "inbound-service", "original": f"{app.ipv4}:{peer.port}", "peer": caller.ipv4,
                     "upstream": f"{app.ipv4}:{peer.port}", "upstream_local": "127.0.0.6", "cluster": f"inbound|{peer.port}||", "flags": "-"}


def test_other_ports_take_the_last_chain(world, app, caller, intercept):
    with Peer(app.listen(), peers.echo) as peer, Peer(app.listen(), peers.tell("other")) as other:
        inbound = Inbound(world, app, intercept, peer)
        assert ask(lambda: caller.connect(app.ipv4, other.port)) == b"other"
        entry = inbound.log.json()[0]
    assert (entry["chain"], entry["cluster"]) == ("virtualInbound", "InboundPassthroughCluster")


def test_proxy_port_called_directly_is_a_black_hole(world, app, caller, intercept, way):
    with Peer(app.listen(), peers.echo) as peer:
        inbound = Inbound(world, app, intercept, peer)
        assert call_ending(caller, app.ipv4, 15006) == ("rst" if way.startswith("sluiced") else "fin")
        entry = inbound.log.json()[0]
    assert (entry["chain"], entry["flags"]) == ("virtualInbound-blackhole", "UH")


def test_nobody_listens_in_the_pod(world, app, caller, intercept, way):
    with Peer(app.listen(), peers.echo) as peer:
        Inbound(world, app, intercept, peer)
        assert call_ending(caller, app.ipv4, 1) == ("rst" if way.startswith("sluiced") else "fin")


def test_app_calling_itself_is_left_alone(world, app, intercept):
    """What arrives on lo is not taken, or the proxy's own connection to the app would come back to the proxy."""
    with Peer(app.listen(), peers.echo) as peer:
        inbound = Inbound(world, app, intercept, peer)
        assert ask(lambda: app.connect("127.0.0.1", peer.port), b"me") == b"me"
        assert ask(lambda: app.connect(app.ipv4, peer.port), b"me") == b"me"
        assert inbound.proxy.admin.stat("listener.0.0.0.0_15006.downstream_cx_total") == 0
