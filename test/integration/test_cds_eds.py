"""Clusters and endpoints from control planes and watched files, changed under load: state of the world and delta, the aggregated stream
and streams of their own, on Envoy and sluiced."""
import json
import os
import threading

import pytest

from config import bootstrap, chain, http_manager, listener
from support import yamltext
from support.control_plane import (ads_source, api_source, assignment, cluster, dynamic, lb_endpoints, own_stream, socket_address, url,
                                   xds_cluster)
from support.wait import never, wait_until
from support.web import Web, answer, call

pytestmark = pytest.mark.root
PLANE = ("127.0.0.1", 18000)


@pytest.fixture(params=["sotw", "delta"])
def delta(request):
    return request.param == "delta"


@pytest.fixture
def webs(server):
    """webs(text): a web server that answers with it; (address, port)."""
    made = []

    def start(text):
        made.append(Web(server.listen(), lambda _: answer(body=text.encode())))
        return server.ipv4, made[-1].port
    yield start
    for web in made:
        web.close()


def config(port, xds, clusters=(), names=("web",), validate=False, **top):
    """A listener whose route "/<name>" goes to that cluster, behind the control plane's cluster."""
    routes = [{"match": {"prefix": f"/{n}"}, "route": {"cluster": n, "timeout": "5s"}} for n in names]
    manager = http_manager(routes)
    manager["typed_config"]["route_config"]["validate_clusters"] = validate
    return bootstrap([listener(port, chain(manager))], [xds, *clusters], **top)


class Load:
    """Requests one behind the other until it is stopped; what was not a 200."""

    def __init__(self, app, port, path):
        self.bad, self.count, self.bodies, self.over = [], 0, set(), threading.Event()
        call(app, port, path)  # from this thread: what the pod needs to make sockets lives as long as the thread that asked first

        def run():
            while not self.over.is_set():
                try:
                    status, fields, body = call(app, port, path)
                except (OSError, AttributeError, TypeError) as error:
                    self.bad.append(repr(error))
                    continue
                self.count += 1
                self.bodies.add(body)
                if status != 200:
                    self.bad.append((status, fields, body))
        self.thread = threading.Thread(target=run)

    def __enter__(self):
        self.thread.start()
        wait_until(lambda: self.count > 0 or self.bad, 10, "the first request")
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()

    def more(self, number=5):
        """Until so many requests were answered from here on."""
        goal = self.count + number
        wait_until(lambda: self.count >= goal or self.bad, 20, f"{number} more requests")
        assert not self.bad, self.bad[:3]


def body_of(app, port, path):
    status, _, body = call(app, port, path)
    return body.decode() if status == 200 else status


def test_clusters_and_endpoints_come_change_and_go(control_plane, run_proxy, app, webs, delta, kind):
    one, two = webs("one"), webs("two")
    plane = control_plane()
    plane.set(cluster("web", eds=True), assignment("web", one), cluster("plain", two))
    port = app.free_port()
    proxy = run_proxy(config(port, xds_cluster(*PLANE), names=("web", "plain", "later"), **dynamic(delta, lds=False)))
    assert body_of(app, port, "/web") == "one"
    assert body_of(app, port, "/plain") == "two"
    assert body_of(app, port, "/later") == 503
    with Load(app, port, "/web") as load:
        for n in range(30):
            plane.set(assignment("web", two if n % 2 == 0 else one, (one if n % 2 == 0 else two) if n % 3 == 0 else two))
            plane.wait_ack("endpoints")
        load.more()
        plane.set(assignment("web", two))
        plane.wait_ack("endpoints")
        wait_until(lambda: body_of(app, port, "/web") == "two", 10, "the new endpoint")
        # The cluster itself: another version of it, with the endpoints that are known. (Envoy asks for them again, which this control
        # plane does not answer: each version warms until initial_fetch_timeout.)
        for n in range(10 if kind == "sluiced" else 0):
            plane.set(cluster("web", eds=True, connect_timeout=f"{n + 1}s"))
            plane.wait_ack("cluster")
        load.more()
    assert not load.bad, load.bad[:3]
    assert load.bodies == {b"one", b"two"}
    plane.set(cluster("later", one))
    wait_until(lambda: body_of(app, port, "/later") == "one", 10, "a cluster added")
    plane.remove(cluster=["later"])
    wait_until(lambda: body_of(app, port, "/later") == 503, 10, "a cluster removed")
    proxy.wait_stat("cluster_manager.active_clusters", 3)
    proxy.wait_stat("cluster_manager.cluster_removed", 1)
    proxy.wait_stat("cluster_manager.warming_clusters", 0)
    stats = proxy.admin.stats()
    assert stats["cluster_manager.cds.version_text"] == f'"{plane.versions[url("cluster")]}"'
    assert stats["cluster.web.update_success"] >= 30
    assert stats["cluster.web.membership_total"] == 1
    assert stats["cluster_manager.cds.update_rejected"] == 0
    assert stats["control_plane.connected_state"] == 1


@pytest.mark.slow
def test_a_thousand_pushes_under_load(control_plane, run_proxy, app, webs, delta):
    """Endpoints, clusters and bad ones among them, as fast as they come: no request fails."""
    one, two, three = webs("one"), webs("two"), webs("three")
    plane = control_plane()
    plane.set(cluster("web", eds=True), assignment("web", one))
    port = app.free_port()
    proxy = run_proxy(config(port, xds_cluster(*PLANE), **dynamic(delta, lds=False)))
    targets = [(one,), (one, two), (two,), (two, three), (three,), (one, three)]
    with Load(app, port, "/web") as load, Load(app, port, "/web") as other:
        for n in range(1000):
            changes = [assignment("web", *targets[n % len(targets)])]
            if n % 10 == 3:
                changes.append(cluster(f"extra-{n % 7}", one, connect_timeout=f"{n + 1}s"))
            if n % 50 == 7:
                changes.append(cluster("bad", ("no-address", 9)))
            plane.set(*changes)
            if n % 50 == 8:
                plane.remove(cluster=["bad"])
            if n % 100 == 0:
                load.more(2)
        plane.settle("endpoints", assignment("web", one), other=[assignment("web", two)])
        load.more()
        other.more()
    assert not load.bad and not other.bad, (load.bad[:3], other.bad[:3])
    wait_until(lambda: body_of(app, port, "/web") == "one", 10, "the last version")
    proxy.wait_stat("cluster_manager.warming_clusters", 0)
    assert proxy.admin.stat("cluster.web.membership_total") == 1


def test_a_bad_resource_is_refused_and_the_good_ones_serve(control_plane, run_proxy, app, webs, delta):
    one, two = webs("one"), webs("two")
    plane = control_plane()
    plane.set(cluster("web", eds=True), assignment("web", one))
    port = app.free_port()
    proxy = run_proxy(config(port, xds_cluster(*PLANE), names=("web", "good"), **dynamic(delta, lds=False)))
    since = plane.mark()
    plane.set(cluster("web", ("no-address", 9)), cluster("good", two), {"@type": url("cluster"), "name": "bad", "type": "EDS"})
    text = plane.wait_nack("cluster", since=since)
    assert text.startswith("Error adding/updating cluster(s) ")
    assert "web: " in text and "bad: " in text and "good: " not in text
    assert body_of(app, port, "/good") == "two"
    assert body_of(app, port, "/web") == "one"
    plane.set(cluster("web", eds=True), cluster("bad", two))
    plane.wait_ack("cluster")
    since = plane.mark()
    plane.set(assignment("web", ("no-address", 9)))
    assert "malformed IP address" in plane.wait_nack("endpoints", since=since)
    assert body_of(app, port, "/web") == "one"
    assert proxy.admin.stat("cluster.web.update_rejected") >= 1
    plane.set(assignment("web", two))
    wait_until(lambda: body_of(app, port, "/web") == "two", 10, "the next good one")


def test_a_cluster_of_the_bootstrap_stays(control_plane, run_proxy, app, webs, delta):
    plane = control_plane()
    plane.set(cluster("web", webs("from the control plane")), cluster("marker", ("127.0.0.1", 9)))
    static = {k: v for k, v in cluster("web", webs("static")).items() if k != "@type"}
    port = app.free_port()
    proxy = run_proxy(config(port, xds_cluster(*PLANE), [static], **dynamic(delta, lds=False)))
    plane.wait_ack("cluster")
    assert body_of(app, port, "/web") == "static"
    plane.remove(cluster=["web", "marker"])
    proxy.wait_stat("cluster_manager.active_clusters", 2)
    assert body_of(app, port, "/web") == "static"


def test_a_new_version_warms_while_the_old_one_serves(control_plane, run_proxy, app, webs, delta):
    one, two = webs("one"), webs("two")
    plane = control_plane()
    plane.set(cluster("web", one))
    port = app.free_port()
    proxy = run_proxy(config(port, xds_cluster(*PLANE), names=("web", "fresh"), **dynamic(delta, lds=False)))
    plane.hold("endpoints")
    plane.set(cluster("web", eds=True), assignment("web", two), cluster("fresh", eds=True), assignment("fresh", two))
    proxy.wait_stat("cluster_manager.warming_clusters", 2)
    with Load(app, port, "/web") as load:
        load.more()
        assert load.bodies == {b"one"}
        assert body_of(app, port, "/fresh") == 503
        plane.hold()
        wait_until(lambda: body_of(app, port, "/web") == "two", 10, "the warm version")
        wait_until(lambda: body_of(app, port, "/fresh") == "two", 10, "the new cluster")
        load.more()
    assert not load.bad, load.bad[:3]
    proxy.wait_stat("cluster_manager.warming_clusters", 0)


def test_initial_fetch_timeout(control_plane, run_proxy, app, webs, delta):
    """Endpoints that never come hold nothing up for longer than that."""
    plane = control_plane()
    plane.hold("endpoints")
    plane.set(cluster("web", eds=ads_source(initial_fetch_timeout="0.3s")), assignment("web", webs("one")))
    port = app.free_port()
    proxy = run_proxy(config(port, xds_cluster(*PLANE), **dynamic(delta, lds=False)))
    assert body_of(app, port, "/web") == 503
    assert proxy.admin.stat("cluster.web.init_fetch_timeout") == 1
    plane.hold()
    wait_until(lambda: body_of(app, port, "/web") == "one", 10, "endpoints that came late")


def test_the_control_plane_goes_and_comes_back(control_plane, run_proxy, app, webs, delta):
    one, two = webs("one"), webs("two")
    plane = control_plane()
    plane.set(cluster("web", eds=True), assignment("web", one))
    port = app.free_port()
    proxy = run_proxy(config(port, xds_cluster(*PLANE), **dynamic(delta, lds=False)))
    with Load(app, port, "/web") as load:
        plane.down()
        proxy.wait_stat("control_plane.connected_state", 0)
        load.more()
        since = plane.mark()
        plane.up()
        plane.set(assignment("web", two))
        wait_until(lambda: body_of(app, port, "/web") == "two", 15, "what changed meanwhile")
        load.more()
    assert not load.bad, load.bad[:3]
    first = plane.requests("cluster", since)[0]
    if delta:
        assert list(first["initial_versions"]) == ["web"]
    else:
        assert first["version"] == "1" and "nonce" not in first
    assert first["node"]["id"] == "test-id"
    assert proxy.admin.stat("cluster_manager.cds.update_failure") >= 1


def test_a_control_plane_that_comes_late(control_plane, run_proxy, app, webs, delta):
    """The start waits for it; the admin interface answers meanwhile."""
    plane = control_plane()
    plane.down()
    plane.set(cluster("web", eds=True), assignment("web", webs("one")))
    port = app.free_port()
    proxy = run_proxy(config(port, xds_cluster(*PLANE), **dynamic(delta, lds=False)), wait=False)
    proxy_failures(proxy)
    plane.up()
    proxy.wait_ready(20)
    assert body_of(app, port, "/web") == "one"


def proxy_failures(proxy):
    """Waits for the first failure; how many there are by then."""
    seen = {}

    def failed():
        seen["n"] = proxy.admin.stat("cluster_manager.cds.update_failure")
        return seen["n"] >= 1
    wait_until(failed, 15, "a try that failed", alive=proxy.process.check_running)
    return seen["n"]


def test_streams_of_their_own(control_plane, run_proxy, app, webs, delta):
    plane = control_plane()
    source = own_stream(delta)
    plane.set(cluster("web", eds=source), assignment("web", webs("one")))
    port = app.free_port()
    top = {"node": {"id": "test-id", "cluster": "test-cluster"}, "dynamic_resources": {"cds_config": source}}
    run_proxy(config(port, xds_cluster(*PLANE), **top))
    assert body_of(app, port, "/web") == "one"
    assert {e["type"] for e in plane.history() if e["kind"] == "open"} == {url("cluster"), url("endpoints")}
    plane.set(assignment("web", webs("two")))
    wait_until(lambda: body_of(app, port, "/web") == "two", 10, "the new endpoint")


def test_over_a_unix_socket_with_metadata(control_plane, run_proxy, app, webs, world, delta):
    path = world.directory / f"xds-{world.next_number()}.sock"
    plane = control_plane(listen=f"unix:{path}")
    wait_until(path.exists, 5, "the socket")
    os.chmod(path, 0o777)
    plane.set(cluster("web", eds=True), assignment("web", webs("one")))
    top = dynamic(delta, lds=False, set_node_on_first_message_only=True)
    service = top["dynamic_resources"]["ads_config"]["grpc_services"][0]
    service["initial_metadata"] = [{"key": "x-token", "value": "secret"}, {"key": "x-token-bin", "value": "a secret"}]
    service["envoy_grpc"]["authority"] = "control.example"
    top["node"].update(metadata={"COLOUR": "blue"}, locality={"zone": "z1"})
    port = app.free_port()
    run_proxy(config(port, xds_cluster(path=path), **top))
    assert body_of(app, port, "/web") == "one"
    opened = [e for e in plane.history() if e["kind"] == "open"][0]
    assert opened["metadata"]["x-token"] == ["secret"] and opened["metadata"]["x-token-bin"] == ["a secret"]
    assert opened["metadata"][":authority"] == ["control.example"]
    first, *rest = plane.requests()
    assert first["node"]["metadata"] == {"COLOUR": "blue"}
    assert first["node"]["locality"] == {"zone": "z1"}
    assert first["extensions"] > 0
    assert rest and not any("node" in r for r in rest)


def test_watched_files(run_proxy, app, webs, world):
    """CDS and EDS from files: renamed onto, broken, whole again; a link swapped as Kubernetes does."""
    directory = world.directory / f"files-{world.next_number()}"
    directory.mkdir()

    def write(name, version, *resources):
        text = {"version_info": version, "resources": list(resources)}
        (directory / "next").write_text(json.dumps(text) if name.endswith(".json") else yamltext.dump(text))
        os.rename(directory / "next", directory / name)

    def web(version, target):
        inner = directory / f"..{version}"
        inner.mkdir()
        (inner / "eds.json").write_text(json.dumps({"version_info": version, "resources": [assignment("web", target)]}))
        link = directory / "..data_tmp"
        link.symlink_to(inner.name)
        os.rename(link, directory / "..data")
    web("v1", webs("one"))
    (directory / "eds.json").symlink_to("..data/eds.json")
    source = {"path_config_source": {"path": str(directory / "eds.json"), "watched_directory": {"path": str(directory)}},
              "resource_api_version": "V3"}
    write("cds.yaml", "c1", cluster("web", eds=source))
    port = app.free_port()
    top = {"node": {"id": "test-id", "cluster": "test-cluster"},
           "dynamic_resources": {"cds_config": {"path_config_source": {"path": str(directory / "cds.yaml")}, "resource_api_version": "V3"}}}
    proxy = run_proxy(config(port, xds_cluster(*PLANE), names=("web", "other"), **top))
    assert body_of(app, port, "/web") == "one"
    with Load(app, port, "/web") as load:
        web("v2", webs("two"))
        wait_until(lambda: body_of(app, port, "/web") == "two", 10, "the swapped link")
        (directory / "next").write_text("resources: [")
        os.rename(directory / "next", directory / "cds.yaml")
        wait_until(lambda: proxy.admin.stat("cluster_manager.cds.update_failure") == 1, 10, "a broken file")
        write("cds.yaml", "c2", cluster("web", eds=source), cluster("other", ("no-address", 9)))
        wait_until(lambda: proxy.admin.stat("cluster_manager.cds.update_rejected") == 1, 10, "a bad cluster")
        write("cds.yaml", "c3", cluster("web", eds=source), cluster("other", webs("other")))
        wait_until(lambda: body_of(app, port, "/other") == "other", 10, "the next version")
        load.more()
    assert not load.bad, load.bad[:3]
    assert proxy.admin.stats()["cluster_manager.cds.version_text"] == '"c3"'


def test_garbage_and_slow_answers(control_plane, run_proxy, app, webs, delta, kind):
    plane = control_plane()
    plane.delay(100)
    plane.set(cluster("web", eds=True), assignment("web", webs("one")))
    port = app.free_port()
    proxy = run_proxy(config(port, xds_cluster(*PLANE), **dynamic(delta, lds=False)))
    with Load(app, port, "/web") as load:
        for resources in ([("cluster", b"\xff\xff", "x", "1")], [("endpoints", b"", "x", "1")]):
            since = plane.mark()
            assert plane.raw("cluster", resources, delta=delta) == 1
            assert plane.wait_nack("cluster", since=since)
        plane.raw("envoy.config.nothing.v3.Nothing", delta=delta)
        never(lambda: proxy.admin.stat("cluster_manager.active_clusters") != 2, 0.2, "clusters that changed")
        load.more()
    assert not load.bad, load.bad[:3]
    plane.drop()
    plane.set(cluster("other", ("127.0.0.1", 9)))
    plane.wait_ack("cluster")


def test_stale_endpoints(control_plane, run_proxy, app, webs, delta):
    plane = control_plane()
    plane.set(cluster("web", eds=True), assignment("web", webs("one"), policy={"endpoint_stale_after": "0.5s"}))
    port = app.free_port()
    proxy = run_proxy(config(port, xds_cluster(*PLANE), **dynamic(delta, lds=False)))
    wait_until(lambda: body_of(app, port, "/web") == 503, 10, "endpoints that are stale")
    stats = proxy.admin.stats()
    assert stats["cluster.web.assignment_stale"] == 1
    assert stats["cluster.web.assignment_timeout_received"] == 1


def test_endpoints_keep_their_connections_when_others_change(control_plane, run_proxy, app, webs, delta):
    """A change of one endpoint leaves the counters of the others alone; the same again rebuilds nothing."""
    one, two = webs("one"), webs("two")
    plane = control_plane()
    plane.set(cluster("web", eds=True), assignment("web", one))
    port = app.free_port()
    proxy = run_proxy(config(port, xds_cluster(*PLANE), **dynamic(delta, lds=False)))
    for _ in range(3):
        assert body_of(app, port, "/web") == "one"
    weighted = lb_endpoints(one, {"endpoint": {"address": socket_address(*two)}, "load_balancing_weight": 5})
    plane.set(assignment("web", *weighted))
    proxy.wait_stat("cluster.web.membership_total", 2)
    line = f"web::{one[0]}:{one[1]}::rq_total::3"
    assert line in proxy.admin.get("/clusters").splitlines()
    before = proxy.admin.stat("cluster.web.update_no_rebuild")
    if not delta:
        plane.set(assignment("other", one))  # another version of the whole, with the same for this cluster
        plane.wait_ack("endpoints")
        proxy.wait_stat("cluster.web.update_no_rebuild", before + 1)


@pytest.mark.parametrize("change,text", [
    (lambda c: c["dynamic_resources"]["ads_config"].update(api_type="AGGREGATED_GRPC"), "non-aggregated gRPC"),
    (lambda c: c["dynamic_resources"]["ads_config"]["grpc_services"][0]["envoy_grpc"].update(cluster_name="none"), "none"),
    (lambda c: c["dynamic_resources"]["ads_config"].update(cluster_names=["xds"]), "cluster"),
    (lambda c: c.pop("node"), "node 'id' and 'cluster' are required"),
    (lambda c: c["dynamic_resources"].update(cds_config={"path_config_source": {"path": "/nowhere"}}), "/nowhere"),
], ids=["aggregated", "unknown cluster", "cluster names", "no node", "no file"])
def test_bootstraps_that_are_refused(world, kind, change, text, run_proxy, app):
    made = {**dynamic(False, lds=False), "static_resources": {"clusters": [xds_cluster(*PLANE)]}}
    change(made)
    proxy = run_proxy(made, wait=False)
    wait_until(lambda: not proxy.process.running(), 10, "the end of a proxy that refuses its bootstrap")
    assert proxy.process.popen.returncode == 1
    assert text in proxy.process.stderr()
    proxy.process.popen.returncode = 0  # as it should be, for the fixture


def test_sigterm_at_any_point_of_the_start(control_plane, run_proxy, app, kind, webs, delta):
    if kind == "envoy":
        pytest.skip("ends at once whatever it does")
    plane = control_plane()
    plane.down()
    port = app.free_port()
    for held in ("everything", "cluster", "endpoints"):
        if held != "everything":
            plane.up()
            plane.hold(held)
            plane.set(cluster("web", eds=ads_source(initial_fetch_timeout="0s")), assignment("web", webs("one")))
        top = dynamic(delta, lds=False)
        top["dynamic_resources"]["cds_config"] = ads_source(initial_fetch_timeout="0s")
        proxy = run_proxy(config(port, xds_cluster(*PLANE), **top), wait=False)
        since = plane.mark()
        if held == "everything":
            proxy_failures(proxy)
        else:
            wait_until(lambda: plane.requests(held, since), 10, f"a request for {held}")
        assert proxy.stop() == 0


def test_what_the_api_source_refuses(kind, world):
    """Values that a field may not have, each with its path."""
    from support import proxies
    made = {**dynamic(False, lds=False), "static_resources": {"clusters": [xds_cluster(*PLANE)]}}
    made["dynamic_resources"]["cds_config"] = {"api_config_source": {**api_source(), "api_type": "AGGREGATED_DELTA_GRPC"}}
    done, _ = proxies.validate(world, kind, yamltext.dump(made))
    assert done.returncode == 1
    if kind == "sluiced":
        assert "dynamic_resources.cds_config.api_config_source.api_type" in done.stderr


@pytest.mark.parametrize("key", [":path", "host", "a b", "connection"])
def test_metadata_that_cannot_be_sent(kind, world, key):
    """With the first two Envoy does not start, with the others no stream comes up."""
    from support import proxies
    made = {**dynamic(False, lds=False), "static_resources": {"clusters": [xds_cluster(*PLANE)]}}
    made["dynamic_resources"]["ads_config"]["grpc_services"][0]["initial_metadata"] = [{"key": key, "value": "v"}]
    done, _ = proxies.validate(world, kind, yamltext.dump(made))
    assert done.returncode == (0 if kind == "envoy" and key in ("a b", "connection") else 1)
    if kind == "sluiced":
        assert "dynamic_resources.ads_config.grpc_services[0].initial_metadata[0].key" in done.stderr


def test_load_that_endpoints_say_is_dropped(control_plane, run_proxy, app, webs, delta, kind):
    one, other = webs("one"), webs("one")

    def drops(*percentages, hosts=(one,)):
        return assignment("web", *hosts, policy={"drop_overloads": [
            {"category": f"c{n}", "drop_percentage": {"numerator": p}} for n, p in enumerate(percentages)]})
    plane = control_plane()
    plane.set(cluster("web", eds=True), drops(100))
    port = app.free_port()
    run_proxy(config(port, xds_cluster(*PLANE), **dynamic(delta, lds=False)))
    status, fields, body = call(app, port, "/web")
    assert (status, body, fields.get("x-envoy-unconditional-drop-overload")) == (503, b"unconditional drop overload", "true")
    # Where nothing but the share changes, Envoy waits for the next change of endpoints.
    plane.set(drops(50, hosts=(one, other) if kind == "envoy" else (one,)))
    plane.wait_ack("endpoints")
    seen = []

    def both():
        seen.append(call(app, port, "/web"))
        return {s for s, _, _ in seen} == {200, 503}
    wait_until(both, 10, "some are dropped, some are not")
    assert {(b, f.get("x-envoy-drop-overload")) for s, f, b in seen if s == 503 and b != b"unconditional drop overload"} == {(b"drop overload", "true")}
    since = plane.mark()
    plane.set(drops(50, 10))
    assert "Cluster drop_overloads config has 2 categories. Envoy only support one." in plane.wait_nack("endpoints", since=since)
    plane.set(assignment("web", one))
    plane.wait_ack("endpoints")
    wait_until(lambda: all(body_of(app, port, "/web") == "one" for _ in range(20)), 10, "nothing is dropped")
