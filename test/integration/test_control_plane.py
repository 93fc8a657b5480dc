"""The control plane that other cases stand on (support/control_plane.py), against a real Envoy: what they take for granted of both."""
import pytest

from support.control_plane import assignment, cluster, dynamic, url, xds_cluster
from support.wait import wait_until

pytestmark = pytest.mark.root


@pytest.fixture(params=["sotw", "delta"])
def delta(request):
    return request.param == "delta"


def config(delta, **fields):
    return {**dynamic(delta, lds=False, **fields), "static_resources": {"clusters": [xds_cluster("127.0.0.1", 18000)]}}


def test_resources_acks_and_nacks(control_plane, run_proxy, kind, delta):
    plane = control_plane()
    plane.set(cluster("web", eds=True), assignment("web", ("127.0.0.1", 9)))
    proxy = run_proxy(config(delta))
    plane.wait_ack("cluster")
    plane.wait_ack("endpoints")
    plane.set(cluster("good", ("127.0.0.1", 9)), cluster("bad", ("no-address", 9)))
    text = plane.wait_nack("cluster")
    assert "Error adding/updating cluster(s) bad: " in text and "malformed IP address: no-address" in text
    proxy.wait_stat("cluster_manager.active_clusters", 3)
    plane.remove(cluster=["bad", "good"])
    plane.wait_ack("cluster")
    proxy.wait_stat("cluster_manager.active_clusters", 2)


def test_streams_that_end_and_a_control_plane_that_is_away(control_plane, run_proxy, kind, delta):
    plane = control_plane()
    plane.set(cluster("web", ("127.0.0.1", 9)))
    proxy = run_proxy(config(delta))
    plane.wait_ack("cluster")
    since = plane.mark()
    plane.drop()
    wait_until(lambda: [e for e in plane.history(since) if e["kind"] == "open"], 10, "the proxy comes back")
    plane.down()
    proxy.wait_stat("control_plane.connected_state", 0)
    plane.up()
    plane.set(cluster("web", ("127.0.0.1", 9)), cluster("other", ("127.0.0.1", 9)))
    plane.wait_ack("cluster")
    proxy.wait_stat("cluster_manager.active_clusters", 3)


def test_responses_held_back_and_broken_ones(control_plane, run_proxy, kind, delta):
    plane = control_plane()
    plane.hold("endpoints")
    plane.set(cluster("web", eds=True), assignment("web", ("127.0.0.1", 9)))
    proxy = run_proxy(config(delta), wait=False)
    wait_until(lambda: plane.requests("endpoints"), 10, "endpoints are asked for")
    assert not plane.acks("endpoints")
    plane.hold()
    plane.wait_ack("endpoints")
    proxy.wait_ready()
    assert plane.raw("cluster", [("cluster", b"\xff\xff", "x", "1")], delta=delta) == 1
    assert "Unable to unpack" in plane.wait_nack("cluster")
    assert plane.requests("cluster")[0]["node"]["id"] == "test-id"
    assert plane.requests("cluster")[0]["type"] == url("cluster")
