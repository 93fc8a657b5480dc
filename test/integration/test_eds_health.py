"""Active health checks of endpoints that a control plane sends: what an update keeps, what it waits for. Each case on Envoy and sluiced."""
import pytest

from config import bootstrap, chain, http_manager, listener
from support.control_plane import assignment, cluster, dynamic, xds_cluster
from support.wait import wait_until
from test_health_checks import BAD, answer, backends, call, http_check  # noqa: F401: backends is a fixture

pytestmark = pytest.mark.root


@pytest.fixture(params=["sotw", "delta"])
def delta(request):
    return request.param == "delta"


class Lab:
    def __init__(self, plane, proxy, app, port, webs, address):
        self.plane, self.proxy, self.app, self.port, self.webs, self.address = plane, proxy, app, port, webs, address

    def endpoints(self, names, **fields):
        self.plane.set(assignment("web", *[(self.address, self.webs[n].port) for n in names], **fields))
        self.plane.wait_ack("endpoints")

    def flags(self, name):
        """The host's flags in /clusters; None where it is not there."""
        where = f"web::{self.address}:{self.webs[name].port}::health_flags::"
        return next((line[len(where):] for line in self.proxy.admin.get("/clusters").splitlines() if line.startswith(where)), None)

    def wait_flags(self, **wanted):
        wait_until(lambda: all(self.flags(n) == f for n, f in wanted.items()), 10, f"flags {wanted}")

    def answers(self, number=8):
        """Who answered so many requests."""
        out = set()
        for _ in range(number):
            status, _, body = call(self.app, self.port, "/")
            out.add(body.decode() if status == 200 else status)
        return out


@pytest.fixture
def lab(control_plane, run_proxy, app, server, backends, delta):  # noqa: F811
    def start(names="ab", **fields):
        plane = control_plane()
        checked = cluster("web", eds=True, **{"health_checks": [http_check()], **fields})
        plane.set(checked, assignment("web", *[(server.ipv4, backends[n].port) for n in names]))
        port = app.free_port()
        manager = http_manager([{"match": {"prefix": "/"}, "route": {"cluster": "web", "timeout": "5s"}}])
        manager["typed_config"]["route_config"]["validate_clusters"] = False
        proxy = run_proxy(bootstrap([listener(port, chain(manager))], [xds_cluster("127.0.0.1", 18000)], **dynamic(delta, lds=False)))
        return Lab(plane, proxy, app, port, backends, server.ipv4)
    return start


def test_what_the_checks_say_outlives_an_update_of_the_endpoints(lab, backends):  # noqa: F811
    backends["b"].health = BAD
    lab = lab()
    lab.wait_flags(a="healthy", b="/failed_active_hc")
    assert lab.answers() == {"a"}
    # One more; then another weight for all. Whoever failed has failed.
    lab.endpoints("abc")
    lab.wait_flags(a="healthy", b="/failed_active_hc", c="healthy")
    wait_until(lambda: lab.answers() == {"a", "c"}, 10, "both that are well")
    backends["b"].health = answer()
    lab.wait_flags(b="healthy")
    wait_until(lambda: lab.answers(12) == {"a", "b", "c"}, 10, "all three")
    assert lab.proxy.admin.stat("cluster.web.health_check.healthy") == 3


def test_a_new_endpoint_that_fails_gets_nothing(lab, backends):  # noqa: F811
    lab = lab("a", common_lb_config={"ignore_new_hosts_until_first_hc": True})
    lab.wait_flags(a="healthy")
    backends["b"].health = BAD
    lab.endpoints("ab")
    for _ in range(10):
        assert lab.answers(4) == {"a"}
    lab.wait_flags(b="/failed_active_hc")
    assert lab.answers() == {"a"}


def test_an_endpoint_that_is_removed_serves_as_long_as_it_is_well(lab, backends):  # noqa: F811
    lab = lab()
    lab.wait_flags(a="healthy", b="healthy")
    lab.endpoints("a")
    assert lab.answers(12) == {"a", "b"}
    backends["b"].health = BAD
    wait_until(lambda: lab.flags("b") is None, 10, "the endpoint goes with its first failed check")
    assert lab.answers() == {"a"}
    assert lab.proxy.admin.stat("cluster.web.membership_total") == 1


def test_one_that_is_to_be_drained_goes_at_once(lab):
    lab = lab(ignore_health_on_host_removal=True)
    lab.wait_flags(a="healthy", b="healthy")
    lab.endpoints("a")
    wait_until(lambda: lab.flags("b") is None, 10, "removed")
    assert lab.answers() == {"a"}


def test_a_new_version_of_the_cluster_serves_once_its_endpoints_were_asked(lab, backends):  # noqa: F811
    lab = lab("a")
    lab.wait_flags(a="healthy")
    asked = len(backends["a"].checks())
    other = http_check({"path": "/health2"})
    lab.plane.set(cluster("web", eds=True, health_checks=[other], connect_timeout="3s"),
                  assignment("web", (lab.address, backends["a"].port), (lab.address, backends["b"].port)))
    # Endpoints may overtake the cluster on their way: Envoy then waits for others until initial_fetch_timeout, 15 s, is over.
    wait_until(lambda: any(r[0].split()[1] == "/health2" for r in backends["a"].checks()[asked:]), 25, "asked as the new version says")
    wait_until(lambda: lab.answers() == {"a", "b"}, 10, "both endpoints")
    lab.proxy.wait_stat("cluster_manager.warming_clusters", 0)
