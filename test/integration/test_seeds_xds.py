"""The seeds whose configuration comes from a control plane or from files, as they are, on Envoy and sluiced: version 1, then version 2 live."""
import os

import pytest

from config import chain, http_manager, listener
from seeds import get, seed
from support import yamltext
from support.control_plane import cluster, url
from support.wait import wait_until
from support.web import Web, answer

pytestmark = pytest.mark.root


@pytest.fixture
def web(server):
    made = Web(server.listen(), lambda _: answer(body=b"hello"))
    yield made
    made.close()


def resources(version, port, server, web):
    """A listener that routes to a cluster; the version is in a header of every answer."""
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": f"web-{version}"},
               "response_headers_to_add": [{"header": {"key": "x-version", "value": version}}]}]
    manager = http_manager(routes)
    manager["typed_config"]["route_config"]["validate_clusters"] = False
    return cluster(f"web-{version}", (server.ipv4, web.port)), {"@type": url("listener"), **listener(port, chain(manager), name="listener_0")}


def served(app, port, version):
    def answers():
        got = get(app, f"http://127.0.0.1:{port}/", "--retry", "3", "--retry-connrefused")
        return (got.status, got["x-version"], got.body) == (200, version, "hello")
    wait_until(answers, 15, f"version {version}")


def test_control_plane(control_plane, run_proxy, app, server, web):
    plane = control_plane()
    port = app.free_port()
    plane.set(*resources("v1", port, server, web), version="1")
    text = seed("control_plane").replace("address: go-control-plane", "address: 127.0.0.1")
    proxy = run_proxy(text)
    served(app, port, "v1")
    plane.change(resources("v2", port, server, web), version="2", replace=True)
    served(app, port, "v2")
    plane.wait_ack("listener")
    plane.wait_ack("cluster")
    stats = proxy.admin.stats()
    assert stats["cluster_manager.cds.version_text"] == '"2"'
    assert stats["listener_manager.lds.version_text"] == '"2"'
    wait_until(lambda: proxy.admin.stat("cluster_manager.active_clusters") == 2, 10, "version 1's cluster is gone")


def test_file_system(run_proxy, app, server, web, world):
    directory = world.directory / f"seed-{world.next_number()}"
    directory.mkdir()
    port = app.free_port()

    def write(version):
        clusters, listeners = resources(version, port, server, web)
        for name, one in (("cds.yaml", clusters), ("lds.yaml", listeners)):
            (directory / "next").write_text(yamltext.dump({"version_info": version, "resources": [one]}))
            os.rename(directory / "next", directory / name)
    write("v1")
    proxy = run_proxy(seed("file_system", directory=directory))
    served(app, port, "v1")
    write("v2")
    served(app, port, "v2")
    assert proxy.admin.stats()["cluster_manager.cds.version_text"] == '"v2"'
