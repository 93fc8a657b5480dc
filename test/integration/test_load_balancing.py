"""Which host a request goes to, and which hosts are left alone. Each case on Envoy and sluiced."""
import collections

import pytest

from config import bootstrap, chain, cluster, http_manager, listener
from support.wait import wait_until
from support.web import Web, answer, call

pytestmark = pytest.mark.root

# What Envoy 1.40 answers to "key-0" ... "key-127": three hosts with the hash keys host-a, host-b, host-c and weights 1, 2, 3.
CHOSEN = {
    "RING_HASH": "bcbbbccbbbccbcbcbcacbacbbcccccccaaaccbccbcabcccbbbcbacabbcbccbbc"
                 "bcbbccbbcccbcccccbcccccbbbabccccbbbcbbacabccbacabacbcccbcbcccbac",
    "MAGLEV": "acbcccbbbccaaabbccbccbbbaababccbbbccbaacbabcbabcbabccbabccbbcccb"
              "accacbcabcabcbbbbbaccacbbbcbbccbbbcbabcacbbcacbccbcbaabcccbccacc",
}


@pytest.fixture
def trio(server):
    """Three servers; trio.replies[name] is what one answers."""
    replies = {name: answer(body=name.encode()) for name in "abc"}
    webs = {name: Web(server.listen(), lambda number, name=name: replies[name]) for name in "abc"}
    yield webs, replies
    for web in webs.values():
        web.close()


def targets(server, webs, keys=False):
    made = []
    for weight, (name, web) in enumerate(webs.items(), 1):
        endpoint = {"endpoint": {"address": {"socket_address": {"address": server.ipv4, "port_value": web.port}}}}
        if keys:
            endpoint["load_balancing_weight"] = weight
            endpoint["metadata"] = {"filter_metadata": {"envoy.lb": {"hash_key": f"host-{name}"}}}
        made.append(endpoint)
    return {"cluster_name": "web", "endpoints": [{"lb_endpoints": made}]}


@pytest.mark.parametrize("policy", ["RING_HASH", "MAGLEV"])
def test_a_header_chooses_the_host_that_envoy_chooses(run_proxy, app, server, trio, policy):
    webs, _ = trio
    port = app.free_port()
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "web", "hash_policy": [{"header": {"header_name": "x-key"}}]}}]
    up = cluster("web", lb_policy=policy, load_assignment=targets(server, webs, keys=True))
    run_proxy(bootstrap([listener(port, chain(http_manager(routes)))], [up]))
    chosen = "".join(call(app, port, x_key=f"key-{i}")[2].decode() for i in range(len(CHOSEN[policy])))
    assert chosen == CHOSEN[policy]
    # Without the header: anybody.
    assert len({call(app, port)[2] for _ in range(60)}) == 3


def test_a_host_that_answers_503_is_ejected(run_proxy, app, server, trio):
    webs, replies = trio
    replies["b"] = answer(503, b"b")
    port = app.free_port()
    up = cluster("web", load_assignment=targets(server, webs), outlier_detection={
        "consecutive_5xx": 3, "max_ejection_percent": 50, "base_ejection_time": "300s"})
    proxy = run_proxy(bootstrap([listener(port, chain(http_manager([{"match": {"prefix": "/"}, "route": {"cluster": "web"}}])))], [up]))
    seen = collections.Counter(call(app, port)[2].decode() for _ in range(9))
    # The third answer ejects it, and the others begin a new round among themselves.
    assert seen["b"] == 3 and seen.total() == 9
    wait_until(lambda: proxy.admin.stat("cluster.web.outlier_detection.ejections_active") == 1)
    assert proxy.admin.stat("cluster.web.outlier_detection.ejections_enforced_consecutive_5xx") == 1
    assert proxy.admin.stat("cluster.web.membership_healthy") == 2
    clusters = proxy.admin.get("/clusters")
    ejected = f"web::{server.ipv4}:{webs['b'].port}::"
    assert ejected + "health_flags::/failed_outlier_check" in clusters
    assert ejected + "success_rate::-1\n" in clusters
    for name in ("success_rate_average", "success_rate_ejection_threshold", "local_origin_success_rate_average",
                 "local_origin_success_rate_ejection_threshold"):
        assert f"web::outlier::{name}::-1\n" in clusters
    wait_until(lambda: all(call(app, port)[0] == 200 for _ in range(4)))  # every worker has heard of it
    assert "b" not in {call(app, port)[2].decode() for _ in range(20)}
