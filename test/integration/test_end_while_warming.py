"""SIGTERM and SIGHUP while configuration is under way: what warms, what is half received, what drains, nobody to ask. sluiced only: Envoy ends at once."""
import contextlib
import json
import signal
import time

import pytest

from config import bootstrap, chain, cluster, http_manager, listener
from conftest import check_sanitizers, require
from support import proxies
from support.control_plane import ads_source, assignment, dynamic, xds_cluster
from support.control_plane import cluster as discovered_cluster
from support.peers import Peer
from support.process import run
from support.wait import wait_until
from support.web import answer, read_message
from test_drain_listeners import refused
from test_lds import http_chain
from test_lds import listener as discovered_listener

pytestmark = pytest.mark.root


@pytest.fixture
def start(world, app):
    """start(config, options): sluiced."""
    require("sluiced")
    started = []

    def begin(config, *extra, wait=True):
        started.append(proxies.start(world, "sluiced", config, app.path, extra=["--shutdown-grace-s", 60, *extra], wait=wait))
        return started[-1]
    yield begin
    for proxy in started:
        proxy.process.kill()
        check_sanitizers(proxy)


@pytest.fixture
def web(server):
    """Answers what it is asked when it is released."""
    def late(peer, sock):
        sock.settimeout(60)
        read_message(sock)
        peer.release.wait(60)
        sock.sendall(answer(body=b"late"))
    with Peer(server.listen(), late) as peer:
        yield peer


def serving(port, web, server, *more, clusters=(), **top):
    """A bootstrap whose listener asks `web`, at the control plane of 127.0.0.1:18000."""
    manager = http_manager([{"match": {"prefix": "/"}, "route": {"cluster": "web", "timeout": "0s"}}])
    return bootstrap([listener(port, chain(manager), name="serves"), *more],
                     [cluster("web", (server.ipv4, web.port)), xds_cluster("127.0.0.1", 18000), *clusters], **top)


def waits_for_routes(app):
    made = http_chain("c", rds="never")
    made["filters"][0]["typed_config"]["rds"]["config_source"] = ads_source(initial_fetch_timeout="0s")
    return discovered_listener(made, name="waits", port=app.free_port())


@contextlib.contextmanager
def under_way(proxy, app, port):
    """A request that waits for its answer, on a connection of its own."""
    wait_until(lambda: not refused(app, port), 10, "the listener", alive=proxy.process.check_running)
    with app.connect("127.0.0.1", port) as sock:
        sock.settimeout(30)
        sock.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        proxy.wait_stat("http.web.downstream_rq_active", 1)
        yield sock


def end(proxy, app, port, web, sock):
    """Told to reload, which it cannot, and to end: what is under way ends first, and that soon."""
    proxy.process.signal(signal.SIGHUP)
    proxy.process.signal(signal.SIGTERM)
    wait_until(lambda: refused(app, port), 10, "new connections refused")
    assert proxy.process.running()
    released = time.monotonic()
    web.release.set()
    _, fields, body, _ = read_message(sock)
    assert (body, fields["connection"]) == (b"late", "close")
    assert proxy.process.wait(20) == 0
    assert time.monotonic() - released < 10
    assert "SIGHUP has no meaning" in proxy.process.stderr()


def test_before_the_start_is_over(control_plane, start, app, server, web):
    """One listener serves, another waits for its routes; sluicectl says so."""
    plane = control_plane()
    plane.hold("route")
    port = app.free_port()
    top = dynamic(False, lds=False)
    top["dynamic_resources"].pop("cds_config")
    waits = {k: v for k, v in waits_for_routes(app).items() if k != "@type"}
    proxy = start(serving(port, web, server, waits, **top), wait=False)
    with under_way(proxy, app, port) as sock:
        def told():
            said = run(require("sluicectl"), "config", "--output", "json", "--control-socket", proxy.config_path.with_suffix(".sock"), check=False)
            return not said.returncode and {(row["name"], row["state"]): row["note"] for row in json.loads(said.stdout)}
        notes = wait_until(told, 10, "the control socket", alive=proxy.process.check_running)
        assert notes["waits", "static"] == "waits for routes 'never' (rds)" and notes["serves", "static"] == ""
        assert not proxy.admin.ready()
        end(proxy, app, port, web, sock)


@pytest.mark.parametrize("held", [["endpoints", "route"], ["cluster"], []], ids=["warming", "half a push", "a push at once"])
@pytest.mark.parametrize("delta", [False, True], ids=["sotw", "delta"])
def test_while_a_push_is_under_way(control_plane, start, app, server, web, held, delta):
    plane = control_plane()
    plane.change([discovered_cluster("first", ("127.0.0.1", 9))], types=["listener"])
    port = app.free_port()
    proxy = start(serving(port, web, server, **dynamic(delta)))
    with under_way(proxy, app, port) as sock:
        plane.hold(*held)
        since = plane.mark()
        plane.set(*(discovered_cluster(f"c-{i}", eds=ads_source(initial_fetch_timeout="0s")) for i in range(500)),
                  *(assignment(f"c-{i}", ("127.0.0.1", 9)) for i in range(500)), waits_for_routes(app))
        if "route" in held:
            wait_until(lambda: plane.requests("route", since), 10, "a request for routes")
            proxy.wait_stat("listener_manager.total_listeners_warming", 1)
            proxy.wait_stat("cluster_manager.warming_clusters", 500)
        end(proxy, app, port, web, sock)


def test_with_the_control_plane_down(control_plane, start, app, server, web):
    plane = control_plane()
    plane.change([discovered_cluster("first", ("127.0.0.1", 9))], types=["listener"])
    port = app.free_port()
    proxy = start(serving(port, web, server, **dynamic(False)))
    with under_way(proxy, app, port) as sock:
        plane.down()
        proxy.wait_stat("control_plane.connected_state", 0)
        end(proxy, app, port, web, sock)


@pytest.mark.parametrize("drain", ["listener", "process"])
def test_while_connections_drain(control_plane, start, app, server, web, drain):
    """A gradual drain that would last an hour is over at once, but for what is under way."""
    plane = control_plane()
    port = app.free_port()
    chain = http_chain("c", "-")
    del chain["filters"][0]["typed_config"]["route_config"]

    def version(n):
        chain["filters"][0]["typed_config"]["route_config"] = {"name": n, "virtual_hosts": [
            {"name": "v", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "web", "timeout": "0s"}}]}]}
        return discovered_listener(chain, port=port)
    plane.change([version("one")], types=["cluster"])
    made = serving(app.free_port(), web, server, **dynamic(False))
    del made["static_resources"]["listeners"]
    proxy = start(made, "--drain-time-s", 3600)
    with under_way(proxy, app, port) as sock:
        if drain == "listener":
            plane.set(version("two"))
            proxy.wait_stat("listener_manager.total_filter_chains_draining", 1)
        else:
            proxy.admin.post("/drain_listeners?graceful")
        end(proxy, app, port, web, sock)
