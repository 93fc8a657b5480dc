"""sluicectl config against a sluiced that a control plane drives: what there is, what warms and why, what was refused, what differs."""
import json

import pytest

from support.control_plane import assignment, cluster, dynamic, url, xds_cluster
from support.process import run
from support.proxies import require, start
from support.wait import wait_until
from test_lds import discovered_filter, filter_resource
from test_sds import Pair, tls_chain

pytestmark = pytest.mark.root


@pytest.fixture
def sluiced(world, app):
    """sluiced(config): (proxy, ctl), ctl(*arguments): what `sluicectl config` says."""
    require("sluicectl")
    started = []

    def begin(config):
        proxy = start(world, "sluiced", config, app.path)
        started.append(proxy)
        socket = proxy.config_path.with_suffix(".sock")

        def ctl(*arguments, check=True):
            return run(require("sluicectl"), "config", *arguments, "--control-socket", socket, check=check)
        return proxy, ctl
    yield begin
    for proxy in started:
        proxy.process.kill()


def rows(ctl, *arguments):
    """{(kind, name, state): row}"""
    return {(r["kind"], r["name"], r["state"]): r for r in json.loads(ctl("--output", "json", *arguments).stdout)}


def config(delta):
    return {**dynamic(delta), "static_resources": {"clusters": [xds_cluster("127.0.0.1", 18000)]}}


def listener(name, port, routes):
    manager = {"@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
               "stat_prefix": "web", "rds": {"config_source": {"ads": {}, "resource_api_version": "V3"}, "route_config_name": routes},
               "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {
                   "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]}
    return {"@type": url("listener"), "name": name, "address": {"socket_address": {"address": "0.0.0.0", "port_value": port}},
            "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]}


@pytest.mark.parametrize("delta", [False, True], ids=["sotw", "delta"])
def test_what_there_is_and_why_it_warms(control_plane, sluiced, app, delta):
    plane = control_plane()
    plane.change([cluster("plain", ("127.0.0.1", 9))], version="first", types=["listener"])
    _, ctl = sluiced(config(delta))
    plane.wait_ack("cluster")
    now = rows(ctl)
    assert now["cluster", "xds", "static"]["version"] == ""
    row = now["cluster", "plain", "active"]
    assert row["updated"] and not row["note"]
    assert delta or row["version"] == "first"

    # A cluster whose endpoints and a listener whose routes do not come.
    plane.hold("endpoints", "route")
    port = app.free_port()
    plane.set(cluster("waits", eds=True), assignment("waits", ("127.0.0.1", 9)), listener("front", port, "local"), version="second")
    wait_until(lambda: ("cluster", "waits", "warming") in rows(ctl) and ("listener", "front", "warming") in rows(ctl), 10, "both warm")
    now = rows(ctl)
    assert now["cluster", "waits", "warming"]["note"] == "waits for endpoints (eds)"
    assert now["listener", "front", "warming"]["note"] == "waits for routes 'local' (rds)"
    assert "waits for endpoints (eds)" in ctl().stdout
    assert set(rows(ctl, "--kind", "listener")) == {("listener", "front", "warming")}
    plane.hold()
    plane.set({"@type": url("route"), "name": "local", "virtual_hosts": []}, version="third")
    wait_until(lambda: ("cluster", "waits", "active") in rows(ctl) and ("listener", "front", "active") in rows(ctl), 10, "both are there")
    now = rows(ctl, "--endpoints")
    assert ("route", "local", "active") in now and ("endpoints", "waits", "active") in now


def test_what_was_refused_and_what_differs(control_plane, sluiced, app, world):
    plane = control_plane()
    plane.change([cluster("web", ("127.0.0.1", 9)), cluster("goes", ("127.0.0.1", 9))], version="good", types=["listener"])
    _, ctl = sluiced(config(False))
    plane.wait_ack("cluster", "good")
    before = world.directory / "config-before.json"
    before.write_text(ctl("dump").stdout)
    assert ctl("diff", before).stdout == "Nothing differs.\n"

    since = plane.mark()
    plane.set(cluster("web", ("127.0.0.1", 9), lb_policy="CLUSTER_PROVIDED"), version="bad")
    nack = plane.wait_nack("cluster", since=since)
    now = rows(ctl)
    assert now["cluster", "web", "active"]["version"] == "good"
    refused = now["cluster", "web", "refused"]
    assert refused["version"] == "bad" and refused["note"] and refused["note"] in nack

    plane.set(cluster("web", ("127.0.0.1", 9), connect_timeout="7s"), cluster("comes", ("127.0.0.1", 9)), version="next")
    plane.wait_ack("cluster", "next")
    plane.remove(cluster=["goes"], version="last")
    plane.wait_ack("cluster", "last")
    changes = {(c["what"], c["name"]): c["fields"] for c in json.loads(ctl("diff", before, "live", "--output", "json").stdout)}
    assert ("added", "comes") in changes and ("removed", "goes") in changes
    assert {"path": "connect_timeout", "before": '"2s"', "after": '"7s"'} in changes["changed", "web"]
    assert "connect_timeout" in ctl("diff", before).stdout

    (shown,) = json.loads(ctl("show", "cluster", "web").stdout)
    assert shown["state"] == "active" and shown["resource"]["connect_timeout"] == "7s"
    missing = ctl("show", "cluster", "goes", check=False)
    assert missing.returncode != 0 and 'there is no cluster "goes"' in missing.stderr


def test_scopes_and_what_they_wait_for(control_plane, sluiced, app):
    plane = control_plane()
    plane.change([cluster("plain", ("127.0.0.1", 9))], types=["listener"])
    _, ctl = sluiced(config(False))
    plane.hold("scoped_route", "route")
    scoped = listener("front", app.free_port(), "-")
    manager = scoped["filter_chains"][0]["filters"][0]["typed_config"]
    source = manager.pop("rds")["config_source"]
    manager["scoped_routes"] = {"name": "scopes", "rds_config_source": source, "scoped_rds": {"scoped_rds_config_source": source},
                                "scope_key_builder": {"fragments": [{"header_value_extractor": {"name": "x", "index": 0}}]}}

    def scope(name, key):
        return {"@type": url("scoped_route"), "name": name, "route_configuration_name": "local", "key": {"fragments": [{"string_key": key}]}}
    plane.set(scoped, scope("one", "1"), {"@type": url("route"), "name": "local", "virtual_hosts": []}, version="good")

    def waits(note):
        return lambda: rows(ctl).get(("listener", "front", "warming"), {}).get("note") == note
    wait_until(waits("waits for scoped routes 'scopes' (srds)"), 10, "no scopes yet")
    plane.hold("route")
    wait_until(waits("waits for routes 'local' (rds) of scope 'one'"), 10, "no routes yet")
    assert rows(ctl)["scope", "one", "active"]["version"] == "good"
    plane.hold()
    wait_until(lambda: ("listener", "front", "active") in rows(ctl), 10, "it serves")
    since = plane.mark()
    plane.set(scope("two", "1"), version="bad")
    plane.wait_nack("scoped_route", since=since)
    now = rows(ctl, "--kind", "scope")
    assert set(now) == {("scope", "one", "active"), ("scope", "scopes", "refused")}
    # The plane may send it again, with the scopes in another order.
    nacks = {r["error"] for r in plane.requests("scoped_route", since) if "error" in r}
    refused = now["scope", "scopes", "refused"]
    assert refused["note"] in nacks and refused["version"] == "bad"


def test_what_has_not_come_and_what_was_refused(control_plane, sluiced, app, tmp_path):
    """Routes, filters, secrets: a row for each that is waited for, which is in no dump; and the control plane that is away."""
    pair, other = Pair(tmp_path / "one", "one"), Pair(tmp_path / "two", "two")
    plane = control_plane()
    plane.change([cluster("plain", ("127.0.0.1", 9))], types=["listener"])
    _, ctl = sluiced(config(False))
    plane.hold("route", "extension", "secret")
    never = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    front = listener("front", app.free_port(), "local")
    manager = front["filter_chains"][0]["filters"][0]["typed_config"]
    manager["rds"]["config_source"] = never
    manager["http_filters"].insert(0, {**discovered_filter(), "config_discovery": {**discovered_filter()["config_discovery"], "config_source": never}})
    front["filter_chains"][0]["transport_socket"] = tls_chain("web", never)["transport_socket"]
    good = [{"@type": url("route"), "name": "local", "virtual_hosts": []}, filter_resource("one"), pair.secret()]
    plane.set(front, *good, version="good")
    waited = {("route", "local"): "waits for an answer of its source", ("filter", "tag"): "waits for an answer of its source",
              ("secret", "web"): "waits for an answer of its source"}

    def warm():
        return {(kind, name): row["note"] for (kind, name, state), row in rows(ctl).items() if state == "warming"}
    wait_until(lambda: set(waited.items()) <= set(warm().items()), 10, "all are waited for")
    for part in ("routes 'local' (rds)", "'tag'", "'web'"):
        assert part in warm()["listener", "front"], warm()
    assert set(rows(ctl, "--kind", "filter")) == {("filter", "tag", "warming")}

    plane.down()
    wait_until(lambda: "waits for a connection: " in warm().get(("control plane", "xds"), ""), 10, "the control plane is away")
    plane.hold()
    plane.up()
    wait_until(lambda: not warm(), 20, "nothing is waited for")
    assert {("route", "local", "active"), ("filter", "tag", "active"), ("secret", "web", "active"), ("listener", "front", "active")} <= set(rows(ctl))

    since = plane.mark()
    plane.set({"@type": url("extension"), "name": "tag", "typed_config": manager["http_filters"][-1]["typed_config"]},
              {"@type": url("route"), "name": "local", "virtual_hosts": [{"name": "v", "domains": ["a", "a"]}]}, pair.secret(private_key={"inline_string": other.key}), version="bad")
    for kind in ("extension", "route", "secret"):
        plane.wait_nack(kind, since=since)
    now = rows(ctl)
    for kind, name in waited:
        row = now[kind, name, "refused"]
        assert row["note"] and row["version"] == "bad" and row["updated"] > now[kind, name, "active"]["updated"], row
        assert now[kind, name, "active"]["version"] == "good"
    dump = json.dumps(json.loads(ctl("dump").stdout))
    assert not any(line in dump for p in (pair, other) for line in p.key.splitlines()[1:-1])


def test_mistakes_have_a_remedy(control_plane, sluiced, app, world):
    plane = control_plane()
    plane.change([cluster("plain", ("127.0.0.1", 9))], types=["listener"])
    _, ctl = sluiced(config(False))
    assert set(rows(ctl, "--kind", "endpoints")) == {("endpoints", "plain", "active"), ("endpoints", "xds", "static")}
    no_dump = world.directory / "no-dump.json"
    no_dump.write_text("{}")
    for arguments, text in [
            (["--kind", "listeners"], "these are: listener, cluster, route, scope, filter, secret, endpoints"),
            (["show", "clusters", "plain"], "these are: listener, cluster"), (["show", "cluster"], "show needs a kind and a name"),
            (["diff"], "diff needs one or two dumps"), (["diff", "/nowhere.json"], "/nowhere.json: cannot be read"),
            (["diff", str(no_dump)], "no-dump.json: this is no /config_dump"), (["explain"], "none of diff, show and dump"),
            (["--output", "yaml"], "neither table nor json"), (["--kinds", "x"], "--help")]:
        done = ctl(*arguments, check=False)
        assert done.returncode == 2 and text in done.stderr and not done.stdout, (arguments, done)
    nowhere = run(require("sluicectl"), "config", "--control-socket", world.directory / "nowhere.sock", check=False)
    assert nowhere.returncode == 2 and "is sluiced running?" in nowhere.stderr
