"""original_src: an application in an enrolled pod sees its caller's address. sluiced only; the pod's rules and routes are counted."""
import json
import pathlib
import signal

import pytest

from config import bootstrap, chain, cluster, file_log, listener, original_dst_filter, passthrough, tcp_proxy, typed
from conftest import a_node
from support import peers
from support.peers import Peer, ask, call_ending, receive_exactly
from support.pod import inside
from support.proxies import AccessLog
from support.wait import wait_until

pytestmark = [pytest.mark.root, pytest.mark.ebpf]


def original_src(**fields):
    return {"name": "envoy.filters.listener.original_src",
            "typed_config": typed("envoy.extensions.filters.listener.original_src.v3.OriginalSrc", **fields)}


def keep_callers(log, target="InboundPassthroughCluster", clusters=(), **fields):
    """virtualInbound that calls the application under the caller's address, and virtualOutbound."""
    inbound = listener(15006, chain(tcp_proxy(target, "in", access_log=[file_log(
        log.path, "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT% %UPSTREAM_TRANSPORT_FAILURE_REASON%")])),
        name="virtualInbound", traffic_direction="INBOUND", listener_filters=[original_dst_filter(), original_src(**fields)])
    outbound = listener(15001, chain(tcp_proxy("PassthroughCluster", "out")), name="virtualOutbound", use_original_dst=True,
                        traffic_direction="OUTBOUND")
    return bootstrap([inbound, outbound], [passthrough(), passthrough("InboundPassthroughCluster"), *clusters])


def routing(pod):
    """Every rule, every route and the sysctl of a pod."""
    shown = [line for family in ("-4", "-6") for what in (("rule",), ("route", "show", "table", "all"))
             for line in pod.ip(family, *what).stdout.splitlines() if "fe80:" not in line]  # link-local ones come by themselves
    with inside(pod.path):
        return [*shown, pathlib.Path("/proc/sys/net/ipv4/tcp_fwmark_accept").read_text()]


@pytest.fixture
def node(world, app):
    with a_node(world) as made:
        made.log = AccessLog(world.directory / f"original-src-{world.next_number()}.log")
        before = routing(app)
        yield made
    assert routing(app) == before


def sees(app, caller, address, count=3):
    """Who the application in `app` says its callers are."""
    with Peer(app.listen("::" if ":" in address else "0.0.0.0"), peers.echo) as peer:
        for _ in range(count):
            assert ask(lambda: caller.connect(address, peer.port), b"x" * 100_000) == b"x" * 100_000
        return {remote[0] for remote, _ in peer.accepted}


@pytest.mark.both_backends
def test_the_application_sees_its_caller(node, app, caller):
    node.start(keep_callers(node.log))
    node.enrol(app)
    assert sees(app, caller, app.ipv4) == {caller.ipv4}
    assert sees(app, caller, app.ipv6) == {caller.ipv6}
    assert node.log.wait(6)[0].split()[:2] == [caller.ipv4, caller.ipv4]
    assert node.log.lines()[5].split()[:2] == [caller.ipv6, caller.ipv6]


def test_both_pods_enrolled(node, app, caller, server):
    """The caller's own outbound proxy keeps its address on the way, and the application's still sees it."""
    node.start(keep_callers(node.log))
    node.enrol(app)
    node.enrol(caller)
    assert sees(app, caller, app.ipv4) == {caller.ipv4}
    assert sees(app, caller, app.ipv6) == {caller.ipv6}
    assert sees(caller, app, caller.ipv4) == {app.ipv4}
    assert sees(server, app, server.ipv4) == {app.ipv4}, "out of the pod: as ever"
    node.release(caller)


def test_on_its_way_out(node, app, server):
    """On virtualOutbound the caller is the pod itself: its address, and answers by the way of all others."""
    config = keep_callers(node.log)
    config["static_resources"]["listeners"][1]["listener_filters"] = [original_src()]
    node.start(config)
    node.enrol(app)
    assert sees(server, app, server.ipv4) == {app.ipv4}
    assert sees(server, app, server.ipv6) == {app.ipv6}


def test_after_a_restart(node, app, caller):
    config = keep_callers(node.log)
    node.start(config)
    node.enrol(app)
    before = routing(app)
    for how in (signal.SIGKILL, signal.SIGTERM):
        node.proxy.process.signal(how)
        node.proxy.process.wait()
        assert routing(app) == before
        app.ip("rule", "del", "priority", "100")  # a restart makes again what is missing
        node.start(config)
        assert routing(app) == before
        assert sees(app, caller, app.ipv4) == {caller.ipv4}
        assert sees(app, caller, app.ipv6) == {caller.ipv6}


def test_nothing_is_left(node, app, caller):
    before = routing(app)
    node.start(keep_callers(node.log))
    for _ in range(2):
        node.enrol(app)
        assert routing(app) != before
        assert sees(app, caller, app.ipv4) == {caller.ipv4}
        node.release(app)
        assert routing(app) == before
    node.enrol(app)
    node.stop_proxy()
    done = node.ctl("uninstall")
    assert "return path of workload" in done.stdout
    assert routing(app) == before


def test_release_resets_what_needed_the_way_back(node, app, caller, server):
    node.start(keep_callers(node.log))
    node.enrol(app)
    with Peer(app.listen(), peers.echo) as peer, Peer(server.listen(), peers.echo) as there, \
            caller.connect(app.ipv4, peer.port) as sock, app.connect(server.ipv4, there.port) as out:
        for s in (sock, out):
            s.sendall(b"1")
            assert receive_exactly(s, 1) == b"1"
        node.release(app)
        assert peers.ending(sock) == "rst"
        out.sendall(b"2")
        assert receive_exactly(out, 1) == b"2", "the others go on"


def test_a_configuration_without_it_changes_nothing_in_the_pod(node, app, caller):
    before = routing(app)
    config = keep_callers(node.log)
    node.start(config)
    node.enrol(app)
    node.stop_proxy()
    del config["static_resources"]["listeners"][0]["listener_filters"][1]
    node.start(config)
    assert routing(app) == before
    assert sees(app, caller, app.ipv4) == {app.ipv4}


def test_strict_reverse_path_filter(node, app, caller):
    """rp_filter=1 in the pod: the connection from the caller's address crosses lo, and that is no martian."""
    app.sysctl("net/ipv4/conf/all/rp_filter", 1)
    try:
        node.start(keep_callers(node.log))
        node.enrol(app)
        assert sees(app, caller, app.ipv4) == {caller.ipv4}
    finally:
        app.sysctl("net/ipv4/conf/all/rp_filter", 0)


def test_loopback_of_the_pod(node, app, caller):
    """An inbound cluster whose endpoint is the pod's own loopback address."""
    with Peer(app.listen("127.0.0.1"), peers.echo) as peer:
        node.start(keep_callers(node.log, "local", [cluster("local", ("127.0.0.1", peer.port))]))
        node.enrol(app)
        assert ask(lambda: caller.connect(app.ipv4, 4711), b"x") == b"x"
        assert peer.accepted[0][0][0] == caller.ipv4


def test_elsewhere_is_refused(node, app, caller, server):
    """An endpoint outside the pod: its answers would go to the caller, and the rule would take the call back into the pod."""
    with Peer(server.listen(), peers.echo) as there, Peer(app.listen("0.0.0.0", there.port), peers.echo) as here:
        node.start(keep_callers(node.log, "away", [cluster("away", (server.ipv4, there.port))]))
        node.enrol(app)
        assert call_ending(caller, app.ipv4, 4711) in ("rst", "fin")
        assert "is_not_in_the_pod" in node.log.wait()[0].replace(" ", "_")
        assert there.count() == here.count() == 0


def test_the_application_speaks_first_and_last(node, app, caller):
    """Answers without a question, half-close and RST come back by the same way."""
    node.start(keep_callers(node.log))
    node.enrol(app)
    with Peer(app.listen(), peers.greeting(b"hello")) as peer, caller.connect(app.ipv4, peer.port) as sock:
        assert receive_exactly(sock, 5) == b"hello"
    with Peer(app.listen(), peers.reset_on_data) as peer, caller.connect(app.ipv4, peer.port) as sock:
        sock.sendall(b"x")
        assert peers.ending(sock) == "rst"
    assert call_ending(caller, app.ipv4, 1) == "rst", "nobody listens"
    wait_until(lambda: json.loads(node.ctl("counters", "--all", "-o", "json").stdout)["bridge.entries"] == 0, what="no handshake left over")


def test_another_mark_is_refused(node):
    node.start(keep_callers(node.log, mark=123), wait=False)
    assert node.proxy.process.wait() != 0
    assert "listeners[0].listener_filters[1].typed_config.mark: 123 is not supported together with --redirect ebpf" in \
        node.proxy.process.stderr()
    node.proxy = None


def test_a_listener_that_is_discovered(node, app, caller, world):
    """The way back is made when a listener with original_src comes, in pods that are enrolled by then, too."""
    directory = world.directory / f"lds-{world.next_number()}"
    directory.mkdir()

    def publish(version, static):
        kind = "type.googleapis.com/envoy.config.listener.v3.Listener"
        resources = [{"@type": kind, **entry} for entry in static["static_resources"]["listeners"]]
        (directory / "new").write_text(json.dumps({"version_info": version, "resources": resources}))
        (directory / "new").rename(directory / "lds.json")

    full = keep_callers(node.log)
    plain = json.loads(json.dumps(full))
    inbound = plain["static_resources"]["listeners"][0]
    inbound["listener_filters"] = [f for f in inbound["listener_filters"] if "original_src" not in f["name"]]
    publish("1", plain)
    node.start({**full, "node": {"id": "node", "cluster": "test"},
                "dynamic_resources": {"lds_config": {"path_config_source": {"path": str(directory / "lds.json")}, "resource_api_version": "V3"}},
                "static_resources": {"clusters": full["static_resources"]["clusters"]}})
    node.enrol(app)
    before = routing(app)
    with Peer(app.listen(), peers.echo) as peer:
        assert ask(lambda: caller.connect(app.ipv4, peer.port), b"x") == b"x"
    assert node.log.wait()[0].split()[0] == caller.ipv4
    assert node.log.lines()[0].split()[1] != caller.ipv4
    publish("2", full)
    node.proxy.wait_stat("listener_manager.listener_modified", 1)
    assert routing(app) != before
    with Peer(app.listen(), peers.echo) as peer:
        assert ask(lambda: caller.connect(app.ipv4, peer.port), b"x") == b"x"
    assert node.log.wait(2)[1].split()[1] == caller.ipv4
