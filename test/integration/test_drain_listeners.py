"""Drains that an operator or an update begins, on Envoy and sluiced: who is told, when, and who is left alone."""
import contextlib
import time

import pytest

from config import bootstrap, chain, http_manager, listener, typed
from support.wait import wait_until
from support.web import read_message
from test_lds import Kept, config, http_chain, listener as discovered, wait_answer

pytestmark = pytest.mark.root

OK = [{"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "ok"}}}]
HEALTH_FILTER = {"name": "health", "typed_config": typed("envoy.extensions.filters.http.health_check.v3.HealthCheck", pass_through_mode=False, headers=[
    {"name": ":path", "string_match": {"exact": "/live"}}])}


def closes(connection):
    return "connection: close" in connection.ask()[0]


def ends(app, port):
    """Does a new connection end with its first answer?"""
    with contextlib.closing(Kept(app, port)) as fresh:
        return closes(fresh)


def refused(app, port):
    try:
        Kept(app, port).close()
        return False
    except ConnectionRefusedError:
        return True


@pytest.fixture
def both(run_proxy, app):
    """both(options): (proxy, inbound port, outbound port)"""
    def start(*options):
        inbound, outbound = app.free_port(), app.free_port()
        proxy = run_proxy(bootstrap([
            listener(inbound, chain(http_manager(OK, stat_prefix="in")), name="in", traffic_direction="INBOUND"),
            listener(outbound, chain(http_manager(OK, stat_prefix="out")), name="out", traffic_direction="OUTBOUND")], []), extra=options)
        return proxy, inbound, outbound
    return start


def test_inbound_only(both, app):
    """What an istio-agent asks for at the end of a pod: calls of the application go on as they are."""
    proxy, inbound, outbound = both("--drain-strategy", "immediate", "--drain-time-s", 60)
    with contextlib.closing(Kept(app, outbound)) as left:
        assert not closes(left) and not ends(app, inbound)
        proxy.admin.post("/drain_listeners?inboundonly&graceful")
        wait_until(lambda: ends(app, inbound), what="inbound responses end their connections")
        assert not closes(left) and not ends(app, outbound)
        assert proxy.admin.stat("http.out.downstream_cx_drain_close") == 0


def test_graceful_is_spread_over_the_drain_time(both, app):
    proxy, inbound, outbound = both("--drain-time-s", 100000)
    with contextlib.closing(Kept(app, inbound)) as one, contextlib.closing(Kept(app, outbound)) as two:
        assert not closes(one) and not closes(two)
        proxy.admin.post("/drain_listeners?graceful")
        # In the first seconds of a day hardly an answer ends its connection.
        assert not any(closes(c) for _ in range(20) for c in (one, two)) and not ends(app, inbound)
        assert proxy.admin.stat("listener_manager.listener_stopped") == 0


def test_the_end_of_a_graceful_drain(both, app):
    """Its listeners go then, and what is said again meanwhile does not put that off."""
    proxy, inbound, outbound = both("--drain-time-s", 2)
    with contextlib.closing(Kept(app, outbound)) as left:
        assert not closes(left)
        begun = time.monotonic()
        proxy.admin.post("/drain_listeners?graceful&inboundonly")

        def stopped():
            proxy.admin.post("/drain_listeners?graceful&inboundonly")
            return proxy.admin.stat("listener_manager.listener_stopped")
        assert wait_until(stopped, 30, "the end of the drain") == 1
        assert time.monotonic() - begun > 1
        wait_until(lambda: refused(app, inbound), 10, "nobody listens")
        assert not closes(left) and not refused(app, outbound)


def test_skip_exit(both, app, kind):
    """Without `graceful` it says to stop listeners at once and never: Envoy stops them."""
    proxy, inbound, _ = both("--drain-strategy", "immediate", "--drain-time-s", 1)
    if kind == "sluiced":
        status, _, body = proxy.admin.request("/drain_listeners?skip_exit", "POST")
        assert (status, body) == (400, "skip_exit requires graceful\n")
    with contextlib.closing(Kept(app, inbound)) as left:
        assert not closes(left)
    proxy.admin.post("/drain_listeners?graceful&skip_exit")
    wait_until(lambda: ends(app, inbound), what="responses end their connections")


@pytest.mark.parametrize("drain_type", ["DEFAULT", "MODIFY_ONLY"])
def test_a_changed_listener_is_no_failing_process(control_plane, run_proxy, app, drain_type):
    """Connections of the old version end with their next answer; health checks on them succeed as before: it is the listener that has changed."""
    def version(text):
        chain = http_chain("c", text, filters=[HEALTH_FILTER])
        return discovered(chain, drain_type=drain_type)
    plane = control_plane()
    plane.set(version("one"))
    proxy = run_proxy(config(False), extra=["--drain-strategy", "immediate", "--drain-time-s", 60])
    wait_answer(app, "one")
    with contextlib.closing(Kept(app)) as old, contextlib.closing(Kept(app)) as asked:
        assert not closes(old) and not closes(asked)
        plane.set(version("two"))
        proxy.wait_stat("listener_manager.total_filter_chains_draining", 1)
        asked.sock.sendall(b"GET /live HTTP/1.1\r\nhost: x\r\n\r\n")
        status, fields, _, _ = read_message(asked.sock)
        assert (status.split()[1], fields["connection"]) == ("200", "close")
        head, body = old.ask()
        assert body == "one" and "connection: close" in head and "x-envoy-immediate-health-check-fail" not in head
    assert proxy.admin.stat("http.web.downstream_cx_drain_close") == 2
