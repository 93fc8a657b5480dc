"""What statistics and the admin interface say of what is discovered, on Envoy and sluiced: the same of both."""
import pytest

from support.control_plane import assignment, cluster, dynamic, lb_endpoints, own_stream, url, xds_cluster
from support.wait import wait_until
from test_lds import PORT, dump, get, http_chain, listener, route_resource, wait_answer

pytestmark = pytest.mark.root


@pytest.fixture(params=["sotw", "delta"])
def delta(request):
    return request.param == "delta"


def config(delta, **fields):
    return {**dynamic(delta, **fields), "static_resources": {"clusters": [xds_cluster("127.0.0.1", 18000)]}}


def shown(proxy):
    """The clusters of /clusters, as often as they are there."""
    return [line.split("::")[0] for line in proxy.admin.get("/clusters").splitlines() if "::added_via_api::" in line]


def refused(proxy):
    """Clusters of which /config_dump has an error."""
    found = dump(proxy, "ClustersConfigDump")
    return [entry for kind in ("dynamic_active_clusters", "dynamic_warming_clusters") for entry in found.get(kind, []) if "error_state" in entry]


def test_versions(control_plane, run_proxy, app):
    """A version's hash has 64 bits; before there is one its text is empty; what was applied last is the version of all."""
    plane = control_plane()
    plane.hold("route")
    plane.set(cluster("kept", ("10.0.0.1", 80)), listener(http_chain("c", "kept"), name="kept", port=PORT + 1),
              listener(http_chain("c", rds="local")), route_resource("one"), version="1")
    proxy = run_proxy(config(False), wait=False)
    wait_until(lambda: plane.requests("route"), 10, "routes asked for")
    stats = proxy.admin.stats()
    assert stats["cluster_manager.cds.version"] == 13237225503670494420  # xxHash64("1")
    assert stats["cluster_manager.cds.version_text"] == '"1"'
    assert stats["http.web.rds.local.version_text"] == '""' and stats["http.web.rds.local.version"] == 0
    assert "http.web.rds.local.update_empty" in stats and "http.web.rds.local.config_fail" not in stats
    plane.hold()
    wait_answer(app, "one")
    # Good ones of a push that is refused are a version; a push that changes nothing is none.
    bad = listener(http_chain("c", "bad"), name="bad", port=PORT + 2)
    bad["filter_chains"][0]["filters"] = [{"name": "nobody"}]
    plane.set(bad, listener(http_chain("c", "more"), name="more", port=PORT + 3), version="2")
    plane.wait_nack("listener")
    assert dump(proxy, "ListenersConfigDump")["version_info"] == "2"
    plane.remove(listener=["bad"], version="3")
    plane.wait_ack("listener")
    assert dump(proxy, "ListenersConfigDump")["version_info"] == "2"
    assert proxy.admin.stats()["listener_manager.lds.version_text"] == '"3"'


def test_listeners_are_made_once_a_worker(control_plane, run_proxy, app, delta):
    """However they change and however many addresses they have."""
    plane = control_plane()
    more = [{"address": {"socket_address": {"address": "0.0.0.0", "port_value": PORT + 1}}}]
    plane.set(cluster("kept", ("10.0.0.1", 80)), listener(http_chain("c", "one"), additional_addresses=more))
    proxy = run_proxy(config(delta))
    wait_answer(app, "one", PORT + 1)
    proxy.wait_stat("listener_manager.listener_create_success", 1)
    plane.set(listener(http_chain("c", "two"), additional_addresses=more))
    wait_answer(app, "two")
    proxy.wait_stat("listener_manager.listener_in_place_updated", 1)
    proxy.wait_stat("listener_manager.listener_create_success", 2)
    plane.set(listener(http_chain("c", "two"), additional_addresses=more, per_connection_buffer_limit_bytes=65536))
    proxy.wait_stat("listener_manager.listener_create_success", 3)


def test_listeners_share_routes(control_plane, run_proxy, app, delta):
    """One name of one source is one resource, whatever its listeners are counted as; it lives as long as one of them."""
    def front(n):
        made = listener(http_chain("c", rds="shared"), name=f"web-{n}", port=PORT + n)
        made["filter_chains"][0]["filters"][0]["typed_config"]["stat_prefix"] = f"web-{n}"
        return made
    plane = control_plane()
    plane.set(cluster("kept", ("10.0.0.1", 80)), front(0), front(1), route_resource("one", "shared"))
    proxy = run_proxy(config(delta), extra=["--drain-time-s", "1"])
    wait_answer(app, "one"), wait_answer(app, "one", PORT + 1)
    assert len(dump(proxy, "RoutesConfigDump")["dynamic_route_configs"]) == 1
    (first,) = {name.split(".rds.")[0] for name in proxy.admin.stats() if ".rds.shared." in name}
    plane.remove(listener=[first.removeprefix("http.")])
    left = PORT + (1 if first.endswith("0") else 0)
    proxy.wait_stat("listener_manager.total_listeners_draining", 1)
    proxy.wait_stat("listener_manager.total_listeners_draining", 0)
    plane.set(route_resource("two", "shared"))
    wait_answer(app, "two", left)


def test_clusters_that_warm(control_plane, run_proxy, app, delta):
    """A cluster is shown when it serves, and once."""
    plane = control_plane()
    source = own_stream(delta)  # Envoy takes no other push over ADS while a cluster warms
    plane.set(cluster("old", eds=source), assignment("old", ("10.0.0.1", 80)), listener(http_chain("c", "up")))
    proxy = run_proxy(config(delta))
    wait_until(lambda: "old" in shown(proxy), 10, "a cluster")
    assert proxy.admin.stat("cluster.old.warming_state") == 0
    plane.hold("endpoints")
    plane.set(cluster("new", eds=source), cluster("old", eds={**own_stream(delta), "initial_fetch_timeout": "20s"}), assignment("new", ("10.0.0.2", 80)))
    proxy.wait_stat("cluster_manager.warming_clusters", 2)
    assert sorted(shown(proxy)) == ["old", "xds"]
    stats = proxy.admin.stats()
    assert stats["cluster.new.warming_state"] == stats["cluster.old.warming_state"] == 1
    assert stats["cluster.new.version_text"] == '""'
    plane.hold()
    proxy.wait_stat("cluster.new.warming_state", 0)
    assert sorted(shown(proxy)) in (["new", "old", "xds"], ["new", "xds"])


def test_a_refused_version_is_forgotten(control_plane, run_proxy, app, delta):
    """When the one in force is sent again, as it was."""
    plane = control_plane()
    plane.set(cluster("web", ("10.0.0.1", 80)), cluster("kept", ("10.0.0.1", 80)), listener(http_chain("c", "up")))
    proxy = run_proxy(config(delta))
    plane.wait_ack("cluster")
    plane.set(cluster("web", ("no-address", 80)))
    plane.wait_nack("cluster")
    assert [entry["error_state"]["details"] for entry in refused(proxy)] != [] or proxy.kind == "envoy"  # Envoy shows none of clusters
    plane.set(cluster("web", ("10.0.0.1", 80)))
    plane.wait_ack("cluster")
    assert refused(proxy) == []


def test_endpoints_as_they_are(control_plane, run_proxy, app, delta):
    """include_eds: what an assignment says beside the addresses, under the name it is asked for by."""
    plane = control_plane()
    first, second = lb_endpoints(("10.0.0.1", 80), ("10.0.0.2", 81))
    first["endpoint"].update(hostname="one.test", health_check_config={"port_value": 8080, "hostname": "check.test"})
    first.update(load_balancing_weight=3, metadata={"filter_metadata": {"envoy.lb": {"version": "v1", "number": 5}}})
    second["health_status"] = "DRAINING"
    web = cluster("web", eds=True)
    web["eds_cluster_config"]["service_name"] = "asked"
    wanted = {"cluster_name": "asked",
              "endpoints": [{"locality": {"region": "r", "zone": "z"}, "load_balancing_weight": 7, "priority": 0, "lb_endpoints": [first, second]}],
              "policy": {"overprovisioning_factor": 200, "drop_overloads": [{"category": "some", "drop_percentage": {"numerator": 5}}]}}
    plane.set(web, {"@type": url("endpoints"), **wanted}, listener(http_chain("c", "up")))
    proxy = run_proxy(config(delta))
    proxy.wait_stat("cluster.web.membership_total", 2)
    found = proxy.admin.json("/config_dump?include_eds&resource=dynamic_endpoint_configs&name_regex=.*")["configs"]
    (made,) = [entry["endpoint_config"] for entry in found if entry["endpoint_config"]["cluster_name"] == "asked"]
    assert made["policy"]["overprovisioning_factor"] == 200
    (drop,) = made["policy"]["drop_overloads"]
    assert drop["drop_percentage"] == {"numerator": 50000, "denominator": "MILLION"}
    (locality,) = made["endpoints"]
    assert locality["locality"] == {"region": "r", "zone": "z"} and locality["load_balancing_weight"] == 7
    one, two = sorted(locality["lb_endpoints"], key=str)
    assert one["endpoint"]["hostname"] == "one.test" and one["load_balancing_weight"] == 3
    assert one["endpoint"]["health_check_config"] == {"port_value": 8080, "hostname": "check.test"}
    assert one["metadata"] == {"filter_metadata": {"envoy.lb": {"version": "v1", "number": 5}}}
    assert (one["health_status"], two["health_status"]) == ("HEALTHY", "UNHEALTHY")


def test_a_mask_that_fits_nothing(control_plane, run_proxy, app):
    plane = control_plane()
    plane.set(cluster("web", ("10.0.0.1", 80)), listener(http_chain("c", "up")))
    proxy = run_proxy(config(False))
    wait_until(lambda: get(app) == "up", 10, "a listener")
    status, _, text = proxy.admin.request("/config_dump?mask=nothing")
    assert (status, text.strip()) == (400, "FieldMask nothing could not be successfully applied to any configs.")
