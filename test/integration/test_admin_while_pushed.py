"""The admin interface is asked for everything while thousands of resources are pushed, on Envoy and sluiced: each answer is whole and of one version,
requests go on, memory is given back."""
import json
import threading

import pytest

from support import paths
from support.control_plane import assignment, cluster, dynamic, xds_cluster
from support.wait import wait_until
from test_cds_eds import PLANE, Load, config, webs  # noqa: F401

pytestmark = [pytest.mark.root, pytest.mark.slow]

CLUSTERS, PUSHES = 1000, 4


class Asking:
    """Threads that ask for one path each, one time behind the other, until they are stopped."""

    def __init__(self, admin, **checks):
        self.bad, self.over, self.counts = [], threading.Event(), dict.fromkeys(checks, 0)

        def run(name, path, check):
            while not self.over.is_set():
                try:
                    status, _, body = admin.request(path, timeout=60)
                    assert status == 200, (path, status, body[:200])
                    check(body)
                    self.counts[name] += 1
                except Exception as error:  # noqa: BLE001
                    self.bad.append(f"{path}: {error!r}")
        self.threads = [threading.Thread(target=run, args=(name, *check)) for name, check in checks.items()]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join()


def clusters_of(body, field="dynamic_active_clusters"):
    for part in json.loads(body)["configs"]:
        yield from part.get(field, [])


def of_its_version(body):
    """A cluster is what the push had that brought it."""
    found = [(e["version_info"], e["cluster"]["connect_timeout"]) for e in clusters_of(body) if e["cluster"]["name"].startswith("c-")]
    assert all(timeout == version + "s" for version, timeout in found), [f for f in found if f[1] != f[0] + "s"][:3]
    # Each push replaces all: what is between two of them, and what was left of the one before, is at most two versions.
    assert len({version for version, _ in found}) <= 2, {version for version, _ in found}


def masked(body):
    for entry in json.loads(body).get("configs", []):
        assert set(entry["cluster"]) <= {"@type", "name"}, entry


def test_dumps_while_pushes_are_applied(control_plane, run_proxy, app, webs, kind):  # noqa: F811
    plane = control_plane()

    def push(version):
        plane.change([*(cluster(f"c-{i}", ("127.0.0.1", 9), connect_timeout=f"{version}s") for i in range(CLUSTERS)), cluster("web", eds=True),
                      assignment("web", webs("one"))], version=str(version))
        plane.wait_ack("cluster", str(version), seconds=60)
    port = app.free_port()
    plane.set(cluster("web", eds=True), assignment("web", webs("one")))
    proxy = run_proxy(config(port, xds_cluster(*PLANE), **dynamic(False, lds=False)))
    push(1)
    before = proxy.process.rss_kib()
    with Load(app, port, "/web") as load, Asking(
            proxy.admin, dump=("/config_dump?include_eds", of_its_version), text=("/clusters", len), json=("/clusters?format=json", json.loads),
            masked=("/config_dump?resource=dynamic_active_clusters&mask=cluster.name", masked),
            some=("/config_dump?name_regex=c-1.*", of_its_version), stats=("/stats?filter=cluster_manager", len)) as asking:
        for version in range(2, 2 + PUSHES):
            push(version)
        counts = dict(asking.counts)
        wait_until(lambda: all(asking.counts[k] > counts[k] for k in counts) or asking.bad, 60, "one more answer of each")
        load.more()
    assert not asking.bad, asking.bad[:3]
    assert not load.bad, load.bad[:3]
    assert len([1 for e in clusters_of(proxy.admin.get("/config_dump")) if e["cluster"]["name"].startswith("c-")]) == CLUSTERS
    if kind == "sluiced" and not paths.sanitized():  # what the answers took is given back; sanitizers keep what is freed for a while
        wait_until(lambda: proxy.process.rss_kib() < before + 48 * 1024, 30, "memory given back")
