"""Listeners, routes and filters that a control plane sends, on Envoy and sluiced: new, changed, refused, removed, while connections go on."""
import contextlib
import json
import socket

import pytest

from support.control_plane import ads_source, cluster, dynamic, url, xds_cluster
from support.pod import inside
from support.wait import wait_until
from test_cds_eds import Load

pytestmark = pytest.mark.root

HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = {"name": "envoy.filters.http.router", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}
PORT = 18100


@pytest.fixture(params=["sotw", "delta"])
def delta(request):
    return request.param == "delta"


def config(delta, **fields):
    made = dynamic(delta)
    made["dynamic_resources"].pop("cds_config")
    return {**made, "static_resources": {"clusters": [xds_cluster("127.0.0.1", 18000)]}, **fields}


def routes(text, name="local", **fields):
    return {"name": name, **fields, "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
        {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": text}}}]}]}


def route_resource(text, name="local"):
    return {"@type": url("route"), **routes(text, name)}


def http_chain(name, text=None, rds=None, filters=(), match=None):
    source = {"route_config": routes(text)} if rds is None else {"rds": {"config_source": ads_source(), "route_config_name": rds}}
    chain = {"name": name, "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": {
        "@type": HCM, "stat_prefix": "web", **source, "http_filters": [*filters, ROUTER]}}]}
    return {**chain, **({"filter_chain_match": match} if match else {})}


def listener(*chains, name="web", port=PORT, **fields):
    return {"@type": url("listener"), "name": name, "address": {"socket_address": {"address": "0.0.0.0", "port_value": port}},
            "filter_chains": list(chains), **fields}


def get(app, port=PORT, host="127.0.0.1"):
    return app.run("curl", "-s", "-m", "5", f"http://{host}:{port}/", check=False).stdout


def wait_answer(app, text, port=PORT):
    wait_until(lambda: get(app, port) == text, 10, f"{text!r} from port {port}")


class Kept:
    """A keep-alive connection."""

    def __init__(self, app, port=PORT, host="127.0.0.1"):
        with inside(app.path):
            self.sock = socket.create_connection((host, port), 5)
        self.sock.settimeout(10)

    def ask(self):
        """(head, body), or nothing where the connection was closed."""
        self.sock.sendall(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        data = b""
        while b"\r\n\r\n" not in data:
            more = self.sock.recv(4096)
            if not more:
                return None
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = int([line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")][0].split(b":")[1])
        while len(body) < length:
            body += self.sock.recv(4096)
        return head.decode().lower(), body.decode()

    def close(self):
        self.sock.close()


def names(request):
    return (request.get("names") or []) + (request.get("subscribe") or [])


def dump(proxy, kind):
    for part in json.loads(proxy.admin.get("/config_dump"))["configs"]:
        if part["@type"].endswith("." + kind):
            return part
    return {}


def test_version_one_becomes_version_two(control_plane, run_proxy, app, delta):
    plane = control_plane()
    plane.set(listener(http_chain("c", "one")), version="v1")
    proxy = run_proxy(config(delta))
    wait_answer(app, "one")
    plane.wait_ack("listener")
    (entry,) = dump(proxy, "ListenersConfigDump")["dynamic_listeners"]
    first = entry["active_state"]
    assert entry["name"] == "web" and first["last_updated"]
    assert delta or first["version_info"] == "v1"  # go-control-plane's delta has a hash for each resource
    # Not in the chains alone: after an update in place Envoy shows the old version.
    plane.set(listener(http_chain("c", "two"), per_connection_buffer_limit_bytes=65536), version="v2")
    wait_answer(app, "two")
    (entry,) = dump(proxy, "ListenersConfigDump")["dynamic_listeners"]
    assert entry["active_state"]["version_info"] != first["version_info"]
    assert delta or entry["active_state"]["version_info"] == "v2"
    assert proxy.admin.stat("listener_manager.listener_modified") == 1
    assert proxy.admin.stat("listener_manager.lds.update_success") >= 2


def test_a_changed_chain_leaves_the_connections_of_the_other_alone(control_plane, run_proxy, app, delta):
    def two(text):
        return listener(http_chain("a", "a", match={"prefix_ranges": [{"address_prefix": "127.0.0.1", "prefix_len": 32}]}), http_chain("b", text))
    plane = control_plane()
    plane.set(two("b1"))
    proxy = run_proxy(config(delta), extra=("--drain-time-s", "3"))
    wait_until(lambda: get(app) == "a" and get(app, host="127.0.0.2") == "b1", 10, "both chains")
    with contextlib.closing(Kept(app)) as a, contextlib.closing(Kept(app, host="127.0.0.2")) as b:
        assert a.ask()[1] == "a" and b.ask()[1] == "b1"
        plane.set(two("b2"))
        wait_until(lambda: get(app, host="127.0.0.2") == "b2", 10, "the new chain")
        proxy.wait_stat("listener_manager.listener_in_place_updated", 1)
        # Served by what it began with until it ends, with notice or at the end of the drain time.
        wait_until(lambda: (answer := b.ask()) is None or (answer[1] == "b1" and "connection: close" in answer[0]), 10, "b is drained")
        assert a.ask()[1] == "a"
        proxy.wait_stat("listener_manager.total_filter_chains_draining", 0, 10)
        head, body = a.ask()
        assert body == "a" and "connection: close" not in head


def test_removed_listeners_end_with_notice(control_plane, run_proxy, app, delta):
    plane = control_plane()
    plane.set(listener(http_chain("c", "one")))
    proxy = run_proxy(config(delta), extra=("--drain-time-s", "3"))
    wait_answer(app, "one")
    with contextlib.closing(Kept(app)) as kept:
        assert kept.ask()[1] == "one"
        plane.remove(listener=["web"])
        proxy.wait_stat("listener_manager.listener_removed", 1)
        wait_until(lambda: get(app) == "", 10, "nobody listens")
        wait_until(lambda: (answer := kept.ask()) is None or "connection: close" in answer[0], 10, "the connection is drained")
    proxy.wait_stat("listener_manager.total_listeners_draining", 0, 10)
    assert proxy.admin.stat("listener_manager.total_listeners_active") == 0


def test_a_bad_listener_is_refused_and_the_others_apply(control_plane, run_proxy, app, kind, delta):
    plane = control_plane()
    plane.set(listener(http_chain("c", "one")))
    proxy = run_proxy(config(delta))
    wait_answer(app, "one")
    bad = listener(http_chain("c", "bad"))
    bad["filter_chains"][0]["filters"][0]["typed_config"]["http_filters"] = [{"name": "nobody"}]
    plane.set(bad, listener(http_chain("c", "other"), name="other", port=PORT + 1), version="bad")
    text = plane.wait_nack("listener")
    assert text.startswith("Error adding/updating listener(s) web: ")
    if kind == "sluiced":
        assert "filter_chains[0].filters[0].typed_config.http_filters[0]" in text
    wait_answer(app, "other", PORT + 1)
    assert get(app) == "one"
    entry = [e for e in dump(proxy, "ListenersConfigDump")["dynamic_listeners"] if e.get("name") == "web"][0]
    assert entry["error_state"]["details"] and "version_info" in entry["active_state"]
    plane.set(listener(http_chain("c", "two")))
    wait_answer(app, "two")
    assert "error_state" not in [e for e in dump(proxy, "ListenersConfigDump")["dynamic_listeners"] if e.get("name") == "web"][0]


def test_two_listeners_with_one_address(control_plane, run_proxy, app, delta):
    plane = control_plane()
    plane.set(listener(http_chain("c", "one")))
    run_proxy(config(delta))
    wait_answer(app, "one")
    plane.set(listener(http_chain("c", "two"), name="second"))
    assert "has duplicate address" in plane.wait_nack("listener")
    assert get(app) == "one"


def test_a_listener_that_moves_to_another_port(control_plane, run_proxy, app, delta):
    plane = control_plane()
    plane.set(listener(http_chain("c", "one")))
    run_proxy(config(delta))
    wait_answer(app, "one")
    plane.set(listener(http_chain("c", "one"), port=PORT + 1))
    wait_answer(app, "one", PORT + 1)
    wait_until(lambda: get(app) == "", 10, "nobody listens on the old port")


def test_a_listener_waits_for_its_routes(control_plane, run_proxy, app, kind, delta):
    plane = control_plane()
    plane.hold("route")
    plane.set(listener(http_chain("c", rds="local")), route_resource("one"))
    proxy = run_proxy(config(delta), wait=False)
    wait_until(lambda: plane.requests("route"), 10, "routes are asked for")
    assert names(plane.requests("route")[0]) == ["local"]
    assert get(app) == ""
    (entry,) = dump(proxy, "ListenersConfigDump")["dynamic_listeners"]
    assert "warming_state" in entry and "active_state" not in entry
    plane.hold()
    wait_answer(app, "one")
    proxy.wait_ready()
    # A listener that wants other routes warms while the old one serves.
    plane.hold("route")
    plane.set(listener(http_chain("c", rds="next")), route_resource("two", "next"))
    wait_until(lambda: any("next" in names(r) for r in plane.requests("route")), 10, "the new routes are asked for")
    assert get(app) == "one"
    assert proxy.admin.stat("listener_manager.total_listeners_warming") == 1
    plane.hold()
    wait_answer(app, "two")


def test_routes_change_without_their_listener(control_plane, run_proxy, app, delta):
    plane = control_plane()
    plane.set(listener(http_chain("c", rds="local")), route_resource("one"), version="1")
    proxy = run_proxy(config(delta))
    wait_answer(app, "one")
    with contextlib.closing(Kept(app)) as kept:
        assert kept.ask()[1] == "one"
        plane.set(route_resource("two"), version="2")
        wait_until(lambda: kept.ask()[1] == "two", 10, "the new routes on the old connection")
    bad = route_resource("three")
    bad["virtual_hosts"].append(bad["virtual_hosts"][0])
    plane.set(bad, version="3")
    assert "Only a single wildcard domain is permitted in route local" in plane.wait_nack("route")
    assert get(app) == "two"
    (entry,) = dump(proxy, "RoutesConfigDump")["dynamic_route_configs"]
    assert delta or entry["version_info"] == "2"
    assert proxy.admin.stat("http.web.rds.local.config_reload") == 2
    assert proxy.admin.stat("http.web.rds.local.update_rejected") >= 1  # state of the world: sent again and again


def test_a_listener_whose_routes_never_come(control_plane, run_proxy, app, delta):
    plane = control_plane()
    plane.hold("route")
    chain = http_chain("c", rds="local")
    chain["filters"][0]["typed_config"]["rds"]["config_source"]["initial_fetch_timeout"] = "0.3s"
    plane.set(listener(chain), route_resource("one"))
    proxy = run_proxy(config(delta))
    wait_until(lambda: app.run("curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", f"http://127.0.0.1:{PORT}/", check=False).stdout == "404", 10,
               "served without routes")
    assert proxy.admin.stat("http.web.rds.local.init_fetch_timeout") == 1
    plane.hold()
    wait_answer(app, "one")


MUTATION = "type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"


def discovered_filter(**fields):
    return {"name": "tag", "config_discovery": {"config_source": ads_source(), "type_urls": [MUTATION], **fields}}


def mutation(value):
    return {"@type": MUTATION, "mutations": {"response_mutations": [{"append": {"header": {"key": "x-tag", "value": value}}}]}}


def filter_resource(value):
    return {"@type": url("extension"), "name": "tag", "typed_config": mutation(value)}


def tag(app):
    head = app.run("curl", "-s", "-D", "-", "-o", "/dev/null", f"http://127.0.0.1:{PORT}/", check=False).stdout.lower()
    return dict(line.split(": ", 1) for line in head.splitlines() if ": " in line).get("x-tag")


def test_a_filter_whose_configuration_is_discovered(control_plane, run_proxy, app, delta):
    plane = control_plane()
    plane.hold("extension")
    plane.set(listener(http_chain("c", "one", filters=[discovered_filter()])), filter_resource("one"), version="1")
    proxy = run_proxy(config(delta), wait=False)
    wait_until(lambda: plane.requests("extension"), 10, "the filter is asked for")
    assert get(app) == ""
    plane.hold()
    wait_until(lambda: tag(app) == "one", 10, "the filter at work")
    plane.set(filter_resource("two"), version="2")
    wait_until(lambda: tag(app) == "two", 10, "the filter of version 2")
    wrong = {"@type": url("extension"), "name": "tag", "typed_config": ROUTER["typed_config"]}
    plane.set(wrong, version="3")
    assert "type URL" in plane.wait_nack("extension")
    assert tag(app) == "two"
    (entry,) = dump(proxy, "EcdsConfigDump")["ecds_filters"]
    assert delta or entry["version_info"] == "2"


def test_a_discovered_filter_with_a_default(control_plane, run_proxy, app, delta):
    plane = control_plane()
    plane.hold("extension")
    waits = discovered_filter(default_config=mutation("default"), apply_default_config_without_warming=True)
    plane.set(listener(http_chain("c", "one", filters=[waits])), filter_resource("one"))
    run_proxy(config(delta))
    wait_until(lambda: tag(app) == "default", 10, "the default")
    plane.hold()
    wait_until(lambda: tag(app) == "one", 10, "the discovered one")


def test_a_static_listener_with_discovered_routes(control_plane, run_proxy, app, delta):
    plane = control_plane()
    plane.set(route_resource("one"))
    made = dynamic(delta)
    made["dynamic_resources"] = {"ads_config": made["dynamic_resources"]["ads_config"]}
    static = {k: v for k, v in listener(http_chain("c", rds="local")).items() if k != "@type"}
    run_proxy({**made, "static_resources": {"clusters": [xds_cluster("127.0.0.1", 18000)], "listeners": [static]}})
    wait_answer(app, "one")


def test_told_to_drain_before_there_is_a_listener(control_plane, run_proxy, delta):
    """The admin interface answers while the first clusters are waited for, which listeners come after."""
    plane = control_plane()
    plane.hold("cluster")
    plane.set(cluster("web", ("127.0.0.1", 9)))
    proxy = run_proxy({**dynamic(delta), "static_resources": {"clusters": [xds_cluster("127.0.0.1", 18000)]}}, wait=False)
    wait_until(lambda: plane.requests("cluster"), 10, "clusters are asked for")
    assert proxy.admin.post("/drain_listeners").strip() == "OK"
    assert proxy.admin.get("/server_info")


def test_what_was_stopped_is_not_opened_again(control_plane, run_proxy, app, delta):
    """A push after /drain_listeners would take connections that the end of the proxy then loses."""
    def inbound(text, name="web", port=PORT, **fields):
        return listener(http_chain("c", text), name=name, port=port, traffic_direction="INBOUND", **fields)
    plane = control_plane()
    plane.set(inbound("one"))
    proxy = run_proxy(config(delta))
    wait_answer(app, "one")
    proxy.admin.post("/drain_listeners?inboundonly")
    proxy.wait_stat("listener_manager.listener_stopped", 1)
    plane.set(inbound("two", port=PORT + 1), inbound("new", "new", PORT + 2), listener(http_chain("c", "out"), name="out", port=PORT + 3))
    plane.wait_ack("listener")
    wait_answer(app, "out", PORT + 3)
    assert [get(app, PORT + n) for n in range(3)] == ["", "", ""]
    stats = proxy.admin.stats()
    assert stats["listener_manager.listener_added"] == 2 and stats["listener_manager.listener_modified"] == 0


def test_other_socket_options_lose_no_connection(control_plane, run_proxy, app, delta, kind):
    """Connections are made while a listener's socket options change again and again: each is served."""
    if kind == "envoy":
        pytest.skip("Envoy opens other sockets and resets what waits in the old ones")
    def front(n):
        # SOL_SOCKET, SO_KEEPALIVE; IPPROTO_TCP, TCP_KEEPIDLE
        options = [{"level": 1, "name": 9, "int_value": 1}, {"level": 6, "name": 4, "int_value": 100 + n}]
        return listener(http_chain("c", str(n)), tcp_backlog_size=64 + n, socket_options=options)

    def sockets():
        return app.run("ss", "-tlnHe", f"sport = :{PORT}").stdout.split()
    plane = control_plane()
    plane.set(front(0))
    run_proxy(config(delta))
    wait_answer(app, "0")
    first = [word for word in sockets() if word.startswith("ino:")]
    with Load(app, PORT, "/") as load, Load(app, PORT, "/") as other:
        for n in range(1, 40):
            plane.set(front(n))
            plane.wait_ack("listener")
        wait_answer(app, "39")
        load.more(), other.more()
    assert not load.bad and not other.bad, (load.bad + other.bad)[:3]
    assert len(load.bodies) > 5
    now = sockets()
    assert first and first == [word for word in now if word.startswith("ino:")]  # one socket, all the time
    assert now[2] == str(64 + 39), now  # Send-Q of a listening socket: its backlog


def test_statistics_go_with_their_listener(control_plane, run_proxy, app, delta, kind):
    """However many listeners there were, what is shown and held is that of those that are there."""
    def front(n):
        made = listener(http_chain("c", str(n)), name=f"web-{n}", port=PORT + n % 2, stat_prefix=f"front-{n}")
        made["filter_chains"][0]["filters"][0]["typed_config"]["stat_prefix"] = f"web-{n}"
        return made
    plane = control_plane()
    plane.set(front(0))
    proxy = run_proxy(config(delta), extra=["--drain-time-s", "1"])
    wait_answer(app, "0")
    kept = Kept(app)
    assert kept.ask()[1] == "0"
    for n in range(1, 30):
        plane.change([front(n)], remove={"listener": [f"web-{n - 1}"]})
        plane.wait_ack("listener")
        wait_answer(app, str(n), PORT + n % 2)

    def shown():
        names = proxy.admin.stats()
        return {name.split(".")[1] for name in names if name.startswith(("listener.front-", "http.web-"))}
    assert {"front-29", "web-29"} <= shown()
    kept.close()
    wait_until(lambda: shown() == {"front-29", "web-29"}, 20, "those of the others are gone")
