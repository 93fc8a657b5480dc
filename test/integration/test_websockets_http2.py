"""Websockets in streams of HTTP/2 (RFC 8441) by the libraries h2 and websockets: towards the proxy, towards the server, and both. Each case on
Envoy and sluiced."""
import contextlib

import pytest

from config import bootstrap, chain, cluster, file_log, http_manager, listener, typed
from programs import Server, play
from support.proxies import AccessLog

pytestmark = pytest.mark.root
LOG = "%RESPONSE_CODE% %PROTOCOL% %UPSTREAM_PROTOCOL%"
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


@pytest.fixture
def lab(run_proxy, app, server, world):
    """lab(upstream protocol, manager's fields): (proxy, port, log)"""
    stack = contextlib.ExitStack()

    def start(upstream="HTTP/1.1", upgrades=({"upgrade_type": "websocket"},), **manager):
        peer = stack.enter_context(contextlib.closing(Server(server, "websocket_server" if upstream == "HTTP/1.1" else "websocket_h2_server")))
        explicit = {"http_protocol_options": {}} if upstream == "HTTP/1.1" else {"http2_protocol_options": {"allow_connect": True}}
        behind = cluster("peer", (server.ipv4, peer.port), typed_extension_protocol_options={OPTIONS: typed(OPTIONS, explicit_http_config=explicit)})
        port = app.free_port()
        log = AccessLog(world.directory / f"ws2-{world.next_number()}.log")
        made = http_manager([{"match": {"prefix": "/"}, "route": {"cluster": "peer"}}], access_log=[file_log(log.path, LOG)],
                            **{"upgrade_configs": list(upgrades), "http2_protocol_options": {"allow_connect": True}, **manager})
        return run_proxy(bootstrap([listener(port, chain(made))], [behind])), port, log
    with stack:
        yield start


@pytest.mark.both_backends
@pytest.mark.parametrize("upstream", ["HTTP/1.1", "HTTP/2"])
def test_a_conversation(lab, app, upstream):
    proxy, port, log = lab(upstream)
    seen = play(app, "websocket_h2_client", "talk", f"127.0.0.1:{port}")
    assert seen.pop("close") == [4321, "as asked"]
    assert (seen.pop("status"), seen.pop("hop fields"), seen.pop("offered")) == ("200", [], 1)
    assert all(seen.values()) and len(seen) == 8, seen
    assert log.wait() == [f"101 HTTP/2 {upstream}"]  # as between peers of HTTP/1
    for name, value in {"http.web.downstream_cx_upgrades_total": 1, "http.web.downstream_cx_upgrades_active": 0, "cluster.peer.upstream_rq_active": 0}.items():
        proxy.wait_stat(name, value)


@pytest.mark.parametrize("upstream", ["HTTP/1.1", "HTTP/2"])
def test_many_on_one_connection(lab, app, upstream):
    proxy, port, _ = lab(upstream)
    assert play(app, "websocket_h2_client", "many", f"127.0.0.1:{port}") == [True, True]
    proxy.wait_stat("http.web.downstream_cx_upgrades_active", 0)
    proxy.wait_stat("cluster.peer.upstream_rq_active", 0)
    stats = proxy.admin.stats()
    assert stats["http.web.downstream_cx_total"] == 1 and stats["http.web.downstream_cx_upgrades_total"] == 100
    assert stats["cluster.peer.upstream_cx_total"] == (100 if upstream == "HTTP/1.1" else 1)


@pytest.mark.parametrize("upstream", ["HTTP/1.1", "HTTP/2"])
def test_the_client_closes(lab, app, upstream):
    proxy, port, _ = lab(upstream)
    assert play(app, "websocket_h2_client", "leave", f"127.0.0.1:{port}") == {"code": 1000, "reason": "bye"}
    proxy.wait_stat("cluster.peer.upstream_rq_active", 0)


def test_a_client_of_http1_and_a_server_of_http2(lab, app):
    proxy, port, log = lab("HTTP/2")
    assert play(app, "websocket_client", "leave", f"ws://127.0.0.1:{port}/chat") == {"code": 1000, "reason": "bye"}
    assert log.wait() == ["101 HTTP/1.1 HTTP/2"]


def test_refused_where_it_is_not_configured(lab, app):
    # Envoy closes the connection as it does with HTTP/1, whose next bytes could be the websocket's; sluiced knows better for HTTP/2.
    proxy, port, _ = lab(upgrades=())
    assert play(app, "websocket_h2_client", "refused", f"127.0.0.1:{port}") == {"status": "403", "told to go": proxy.kind == "envoy"}
