"""Websockets by the websockets library on both sides. Each case on Envoy and sluiced."""
import contextlib

import pytest

from config import bootstrap, chain, cluster, file_log, http_manager, listener
from programs import Server, play
from support.proxies import AccessLog

pytestmark = pytest.mark.root
LOG = "%RESPONSE_CODE% %RESPONSE_FLAGS% %PROTOCOL% %RESPONSE_CODE_DETAILS%"
ANY = [{"upgrade_type": "websocket"}]


@pytest.fixture
def lab(run_proxy, app, server, world):
    """lab(manager fields, route fields...): (proxy, url, log)"""
    stack = contextlib.ExitStack()

    def start(upgrades=ANY, manager=None, **route):
        peer = stack.enter_context(contextlib.closing(Server(server, "websocket_server")))
        port = app.free_port()
        log = AccessLog(world.directory / f"ws-{world.next_number()}.log")
        routes = [{"match": {"prefix": "/"}, "route": {"cluster": "peer", **route}}]
        made = http_manager(routes, access_log=[file_log(log.path, LOG)], upgrade_configs=upgrades, **(manager or {}))
        return run_proxy(bootstrap([listener(port, chain(made))], [cluster("peer", (server.ipv4, peer.port))])), f"ws://127.0.0.1:{port}/chat", log
    with stack:
        yield start


@pytest.mark.both_backends
def test_a_conversation(lab, app):
    proxy, url, log = lab()
    seen = play(app, "websocket_client", "talk", url)
    assert seen.pop("close") == [4321, "as asked"]
    assert (seen.pop("status"), seen.pop("server")) == (101, "envoy")
    assert all(seen.values()) and len(seen) == 7, seen
    # To Envoy a server's FIN is a broken connection also where bytes go to the end; to sluiced it is the end, as the server meant it.
    assert log.wait()[0] == {"envoy": "101 UC HTTP/1.1 upstream_reset_after_response_started{connection_termination}",
                             "sluiced": "101 - HTTP/1.1 via_upstream"}[proxy.kind]
    for name, value in {"http.web.downstream_cx_upgrades_total": 1, "http.web.downstream_cx_upgrades_active": 0,
                        "cluster.peer.upstream_cx_active": 0, "cluster.peer.upstream_rq_101": 1}.items():
        proxy.wait_stat(name, value)


def test_the_client_closes(lab, app):
    proxy, url, _ = lab()
    assert play(app, "websocket_client", "leave", url) == {"code": 1000, "reason": "bye"}
    proxy.wait_stat("http.web.downstream_cx_upgrades_active", 0)
    proxy.wait_stat("cluster.peer.upstream_cx_active", 0)


@pytest.mark.parametrize("upgrades, route", [([], {}), (ANY, {"upgrade_configs": [{"upgrade_type": "websocket", "enabled": False}]})],
                         ids=["not configured", "off by route"])
def test_refused(lab, app, upgrades, route):
    _, url, log = lab(upgrades, **route)
    assert play(app, "websocket_client", "refused", url) == {"status": 403}
    assert log.wait()[0] == "403 - HTTP/1.1 upgrade_failed"


def test_on_by_route(lab, app):
    _, url, _ = lab([], upgrade_configs=ANY)
    assert play(app, "websocket_client", "leave", url)["code"] == 1000


@pytest.mark.parametrize("where", ["manager", "route"])
def test_idle_ones_end(lab, app, where):
    """Neither side says anything: the stream's idle time-out ends both connections, with no frame of its own."""
    manager, route = {"manager": ({"stream_idle_timeout": "0.4s"}, {}), "route": ({}, {"idle_timeout": "0.4s"})}[where]
    proxy, url, log = lab(manager=manager, **route)
    assert play(app, "websocket_client", "idle", url) == {"close frame": False}
    assert log.wait()[0].split()[1] == "SI"
    proxy.wait_stat("http.web.downstream_rq_idle_timeout", 1)
    proxy.wait_stat("cluster.peer.upstream_cx_active", 0)


def test_a_route_time_out_does_not_cut_a_conversation(lab, app):
    """Once it has been upgraded, the time-out for the response is over."""
    _, url, log = lab(manager={"stream_idle_timeout": "1.2s"}, timeout="0.3s")
    assert play(app, "websocket_client", "idle", url) == {"close frame": False}
    assert log.wait()[0].split()[1] == "SI"
