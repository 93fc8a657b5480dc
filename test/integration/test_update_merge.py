"""update_merge_window: changes of hosts' health and weight that wait, on Envoy and sluiced, and the statistics of both."""
import pytest

from support.control_plane import assignment, cluster, dynamic, socket_address, xds_cluster
from support.wait import wait_until
from test_cds_eds import PLANE, body_of, config, webs  # noqa: F401: webs is a fixture
from test_eds_health import delta, lab  # noqa: F401: fixtures
from test_health_checks import BAD, answer, backends  # noqa: F401: backends is a fixture

pytestmark = pytest.mark.root


def merges(proxy):
    """Updates of hosts that workers were told of at once, merged ones, those cancelled, those that came after a window was over."""
    stats = proxy.admin.stats()
    return tuple(stats[f"cluster_manager.{n}"]
                 for n in ("cluster_updated", "cluster_updated_via_merge", "update_merge_cancelled", "update_out_of_merge_window"))


@pytest.mark.parametrize("window", ["3s", "0s", None])
def test_changes_of_weight_and_health_wait_for_the_window(control_plane, run_proxy, app, webs, window, kind):  # noqa: F811
    hosts = {"one": webs("one"), "two": webs("two")}
    plane = control_plane()

    def endpoints(names=("one", "two"), weight=1, ill=()):
        return assignment("web", *[{"endpoint": {"address": socket_address(*hosts[n])}, "load_balancing_weight": weight,
                                    "health_status": "UNHEALTHY" if n in ill else "HEALTHY"} for n in names])

    def push(*args, **fields):
        plane.set(endpoints(*args, **fields))
        plane.wait_ack("endpoints")

    def answers():
        return {body_of(app, port, "/web") for _ in range(8)}
    common = {"common_lb_config": {"update_merge_window": window}} if window else {}
    plane.set(cluster("web", eds=True, **common), endpoints())
    port = app.free_port()
    # By itself Envoy 1.40 lets no update of endpoints wait; its next version does again, as those before.
    batches = {"layered_runtime": {"layers": [{"name": "all", "static_layer": {"envoy.reloadable_features.enable_batch_aware_update": False}}]}}
    proxy = run_proxy(config(port, xds_cluster(*PLANE), **dynamic(lds=False), **(batches if kind == "envoy" and window == "3s" else {})))
    assert answers() == {"one", "two"}
    assert merges(proxy) == (0, 0, 0, 0)
    push(weight=2)
    if window != "3s":
        for weight in range(3, 9):
            push(weight=weight, ill=["two"])
            wait_until(lambda: answers() == {"one"}, 1, "at once")
        assert merges(proxy) == (7, 0, 0, 0)
        return
    assert merges(proxy) == (1, 0, 0, 1)
    for weight in range(3, 9):
        push(weight=weight, ill=["two"])
    assert answers() == {"one", "two"}
    assert merges(proxy) == (1, 0, 0, 1)
    assert proxy.admin.stat("cluster.web.membership_healthy") == 1
    proxy.wait_stat("cluster_manager.cluster_updated_via_merge", 1)
    wait_until(lambda: answers() == {"one"}, 1, "what has waited")
    push(weight=9)
    push(weight=10)
    assert answers() == {"one"}
    push(["one"])
    push(["two"])  # who comes or goes does so at once
    wait_until(lambda: answers() == {"two"}, 1, "the other one")
    assert merges(proxy) == (3, 1, 1, 1)


@pytest.mark.parametrize("delta", ["sotw"], indirect=True)
def test_what_the_checks_say_waits_for_the_merge_window(lab, backends):  # noqa: F811
    lab = lab(common_lb_config={"update_merge_window": "4s"})
    lab.wait_flags(a="healthy", b="healthy")
    backends["b"].health = BAD
    wait_until(lambda: lab.answers() == {"a"}, 10, "the first change, at once")
    assert merges(lab.proxy) == (1, 0, 0, 1)
    backends["b"].health = answer()
    lab.proxy.wait_stat("cluster.web.membership_healthy", 2)
    assert lab.answers() == {"a"}
    lab.proxy.wait_stat("cluster_manager.cluster_updated_via_merge", 1, seconds=10)
    wait_until(lambda: lab.answers() == {"a", "b"}, 1, "what has waited")
    assert merges(lab.proxy) == (1, 1, 0, 1)
