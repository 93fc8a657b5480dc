"""Scoped routes, on Envoy and sluiced: scopes of a control plane, of a file, inline; what a request's key is; warming, changes, what is refused."""
import json

import pytest

from config import cluster
from support.control_plane import ads_source, dynamic, own_stream, url, xds_cluster
from support.wait import wait_until
from support.web import Web, answer, call
from test_cds_eds import Load
from test_lds import HCM, PORT, ROUTER, config, dump, listener, names, route_resource, routes

pytestmark = pytest.mark.root

NAME = "http.web.scoped_rds.scopes."


@pytest.fixture(params=["sotw", "delta"])
def delta(request):
    return request.param == "delta"


def by_header(name="x-scope", **extract):
    return {"header_value_extractor": {"name": name, **(extract or {"index": 0})}}


def scope(name, *key, to=None, **fields):
    return {"@type": url("scoped_route"), "name": name, "route_configuration_name": name if to is None else to,
            "key": {"fragments": [{"string_key": k} for k in (key or (name,))]}, **fields}


def scoped_chain(source=None, builder=None, rds=None, **scopes):
    found = scopes or {"scoped_rds": {"scoped_rds_config_source": source or ads_source()}, "rds_config_source": rds or ads_source()}
    return {"name": "c", "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": {
        "@type": HCM, "stat_prefix": "web", "http_filters": [ROUTER],
        "scoped_routes": {"name": "scopes", "scope_key_builder": {"fragments": builder or [by_header()]}, **found}}}]}


def static(chain):
    return {k: v for k, v in listener(chain).items() if k != "@type"}


def get(app, *headers, path="/"):
    """The body, or the status where it is not 200; "" if nobody listens."""
    arguments = [a for h in headers for a in ("-H", h)]
    out = app.run("curl", "-s", "-m", "5", "-w", " %{http_code}", *arguments, f"http://127.0.0.1:{PORT}{path}", check=False).stdout
    body, _, status = out.rpartition(" ")
    return body if status == "200" else "" if status == "000" else int(status)


def wait_scope(app, name, text):
    wait_until(lambda: get(app, f"x-scope: {name}") == text, 10, f"{text!r} in scope {name}")


def test_scopes_and_their_routes_come_change_and_go(control_plane, run_proxy, app, delta, kind):
    plane = control_plane()
    plane.set(listener(scoped_chain()), scope("a"), scope("b"), route_resource("in a", "a"), route_resource("in b", "b"), version="1")
    proxy = run_proxy(config(delta))
    wait_scope(app, "a", "in a")
    assert get(app, "x-scope: b") == "in b"
    assert get(app, "x-scope: c") == get(app) == 404
    (entry,) = dump(proxy, "ScopedRoutesConfigDump")["dynamic_scoped_route_configs"]
    assert entry["name"] == "scopes" and entry["last_updated"]
    assert [s["name"] for s in entry["scoped_route_configs"]] == ["a", "b"]
    assert delta or entry["version_info"] == "1"
    plane.set(route_resource("again in a", "a"), version="2")
    wait_scope(app, "a", "again in a")
    # Other routes, and one scope more. Envoy has none for a while (404); here the scope keeps what it has.
    plane.hold("route")
    plane.set(scope("a", to="next"), scope("c", to="b"), route_resource("next", "next"), version="3")
    wait_until(lambda: any("next" in names(r) for r in plane.requests("route")), 10, "the new routes are asked for")
    wait_scope(app, "c", "in b")
    assert get(app, "x-scope: a") == (404 if kind == "envoy" else "again in a")
    plane.hold()
    wait_scope(app, "a", "next")
    # Nobody wants the routes "a" any more.
    unwanted = (lambda: any("a" in (r.get("unsubscribe") or []) for r in plane.requests("route"))) if delta else (
        lambda: sorted(names(plane.requests("route")[-1])) == ["b", "next"])
    wait_until(unwanted, 10, "routes a are not asked for any more")
    plane.remove(scoped_route=["c"], version="4")
    wait_until(lambda: get(app, "x-scope: c") == 404, 10, "no scope c")
    assert get(app, "x-scope: a") == "next" and get(app, "x-scope: b") == "in b"
    stats = {k[len(NAME):]: v for k, v in proxy.admin.stats().items() if k.startswith(NAME)}
    assert stats["all_scopes"] == stats["active_scopes"] == 2 and stats["on_demand_scopes"] == 0
    # go-control-plane's state-of-the-world server says the same again where names change.
    assert stats["config_reload"] >= 3 and stats["update_success"] >= 3 and stats["update_rejected"] == 0
    assert stats["config_reload_time_ms"] > 0 and stats["update_empty"] == 0


def test_a_key_passes_from_one_scope_to_another(control_plane, run_proxy, app, delta, kind):
    """Envoy loses one of two keys that change places, this one or that: it takes the scopes of an update one by one."""
    plane = control_plane()
    plane.set(listener(scoped_chain()), scope("one", "a", to="x"), scope("two", "b", to="y"), route_resource("x", "x"), route_resource("y", "y"))
    run_proxy(config(delta))
    wait_scope(app, "a", "x")
    plane.set(scope("one", "b", to="x"), scope("two", "a", to="y"))
    after = [("y", "x")] if kind == "sluiced" else [("y", 404), (404, "x")]
    wait_until(lambda: (get(app, "x-scope: a"), get(app, "x-scope: b")) in after, 10, f"scopes are {after}")


def test_a_listener_waits_for_scopes_and_their_routes(control_plane, run_proxy, app, delta):
    plane = control_plane()
    plane.hold("scoped_route", "route")
    plane.set(listener(scoped_chain()), scope("a"), route_resource("in a", "a"))
    proxy = run_proxy(config(delta), wait=False)
    wait_until(lambda: plane.requests("scoped_route"), 10, "scopes are asked for")
    assert names(plane.requests("scoped_route")[0]) in ([], ["*"])
    assert get(app, "x-scope: a") == "" and not plane.requests("route")
    plane.hold("route")
    wait_until(lambda: plane.requests("route"), 10, "routes are asked for")
    assert names(plane.requests("route")[0]) == ["a"]
    assert get(app, "x-scope: a") == ""
    (entry,) = dump(proxy, "ListenersConfigDump")["dynamic_listeners"]
    assert "warming_state" in entry and "active_state" not in entry
    plane.hold()
    wait_scope(app, "a", "in a")
    proxy.wait_ready()


def test_scopes_that_never_come(control_plane, run_proxy, app, delta):
    plane = control_plane()
    plane.hold("scoped_route")
    plane.set(listener(scoped_chain(source=ads_source(initial_fetch_timeout="0.3s"))), scope("a"), route_resource("in a", "a"))
    proxy = run_proxy(config(delta))
    wait_until(lambda: get(app, "x-scope: a") == 404, 10, "served without scopes")
    assert proxy.admin.stat(NAME + "init_fetch_timeout") == 1
    plane.hold()
    wait_scope(app, "a", "in a")


def test_an_update_that_is_refused_changes_nothing(control_plane, run_proxy, app, delta, kind):
    plane = control_plane()
    plane.set(listener(scoped_chain()), scope("a"), scope("b"), route_resource("in a", "a"), route_resource("in b", "b"), version="good")
    proxy = run_proxy(config(delta))
    wait_scope(app, "a", "in a")
    since = plane.mark()
    plane.set(scope("c", "a", to="b"), version="bad")
    text = plane.wait_nack("scoped_route", since=since)
    # Which of the two is the first is for the order in which the control plane sends them.
    either = [f"Error adding/updating scoped route(s): scope key conflict found, first scope is '{x}', second scope is '{y}'"
              for x, y in (("a", "c"), ("c", "a"))]
    assert text in either
    assert get(app, "x-scope: a") == "in a" and get(app, "x-scope: b") == "in b"
    (entry,) = dump(proxy, "ScopedRoutesConfigDump")["dynamic_scoped_route_configs"]
    assert [s["name"] for s in entry["scoped_route_configs"]] == ["a", "b"]
    assert proxy.admin.stat(NAME + "update_rejected") >= 1 and proxy.admin.stat(NAME + "all_scopes") == 2
    if kind == "sluiced":
        assert entry["error_state"]["details"] in either  # it may have come again since
    # The key is free when its scope goes; "c", too: what a delta server has sent once it does not send again.
    plane.change([scope("f", "a", to="b")], remove={"scoped_route": ["a", "c"]}, version="good again")
    wait_scope(app, "a", "in b")
    since = plane.mark()
    plane.set(scope("d", to=""), version="bad again")
    assert "route_configuration_name is empty." in plane.wait_nack("scoped_route", since=since)
    assert get(app, "x-scope: a") == "in b"


def test_scopes_that_bring_their_routes(control_plane, run_proxy, app, delta):
    plane = control_plane()
    plane.set(listener(scoped_chain()), scope("a"), scope("b", to="", route_configuration=routes("inline b")), route_resource("in a", "a"))
    proxy = run_proxy(config(delta))
    wait_scope(app, "a", "in a")
    assert get(app, "x-scope: b") == "inline b"
    assert (proxy.admin.stat(NAME + "all_scopes"), proxy.admin.stat(NAME + "active_scopes")) == (2, 1)
    plane.set(scope("b", to="", route_configuration=routes("inline again")), scope("a", to="", route_configuration=routes("inline a")))
    wait_scope(app, "a", "inline a")
    assert get(app, "x-scope: b") == "inline again"
    plane.set(scope("b", to="c"), route_resource("in c", "c"))
    wait_scope(app, "b", "in c")
    since = plane.mark()
    none = {"name": "r", "virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "nobody"}}]}]}
    plane.set(scope("c", to="", route_configuration=none))
    assert "unknown cluster 'nobody'" in plane.wait_nack("scoped_route", since=since)
    assert get(app, "x-scope: b") == "in c"


def test_two_scopes_of_one_name(control_plane, run_proxy, app):
    plane = control_plane()
    plane.set(listener(scoped_chain()), scope("a"), route_resource("in a", "a"))
    run_proxy(config(False))
    wait_scope(app, "a", "in a")
    since = plane.mark()
    plane.raw("scoped_route", [("scoped_route", plane.encode(scope("x", key))) for key in ("k", "l")])
    text = plane.wait_nack("scoped_route", since=since)
    assert text == "Error adding/updating scoped route(s): duplicate scoped route configuration 'x' found"
    assert get(app, "x-scope: a") == "in a"


def test_what_is_fetched_on_demand_is_refused(control_plane, run_proxy, app, kind):
    """Envoy takes such a scope and answers 404 in it where the filter that asks for its routes is missing."""
    plane = control_plane()
    plane.set(listener(scoped_chain()), scope("a"), route_resource("in a", "a"))
    run_proxy(config(False))
    wait_scope(app, "a", "in a")
    plane.set(scope("late", on_demand=True, to="a"))
    if kind == "envoy":
        plane.wait_ack("scoped_route")
        assert get(app, "x-scope: late") == 404
    else:
        assert "late: on_demand: " in plane.wait_nack("scoped_route")
    assert get(app, "x-scope: a") == "in a"


def test_updates_lose_no_request(control_plane, run_proxy, app, delta, kind):
    """A scope's routes, its route configuration's name and the scopes beside it change under load."""
    if kind == "envoy":
        pytest.skip("Envoy answers 404 while a scope's new routes are on their way")
    plane = control_plane()
    plane.set(listener(scoped_chain(builder=[by_header(":path", element_separator="/", index=1)])), scope("a", to="r0"), route_resource("0", "r0"))
    run_proxy(config(delta))
    wait_until(lambda: get(app, path="/a") == "0", 10, "scope a")
    with Load(app, PORT, "/a") as load:
        for n in range(1, 40):
            plane.set(scope("a", to=f"r{n}"), scope(f"s{n}", to=f"r{n}"), route_resource(str(n), f"r{n}"))
            load.more(3)
        plane.settle("scoped_route", scope("a", to="last"), route_resource("last", "last"), other=[scope("a", to="r1")])
        wait_until(lambda: get(app, path="/a") == "last", 10, "the last routes")
        load.more()
    assert not load.bad, load.bad[:3]


def test_streams_of_their_own(control_plane, run_proxy, app, delta):
    plane = control_plane()
    plane.set(scope("a"), route_resource("in a", "a"))
    made = {"node": dynamic(delta)["node"], "static_resources": {
        "clusters": [xds_cluster("127.0.0.1", 18000)],
        "listeners": [static(scoped_chain(own_stream(delta), rds=own_stream(delta)))]}}
    run_proxy(made)
    wait_scope(app, "a", "in a")
    plane.set(scope("b", to="a"))
    wait_scope(app, "b", "in a")


def put(path, *resources, version):
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"version_info": version, "resources": list(resources)}))
    new.rename(path)


def test_scopes_and_routes_of_files(run_proxy, app, world, kind):
    scopes, found = world.directory / f"scopes-{kind}.json", world.directory / f"routes-{kind}.json"
    put(scopes, scope("a", to="r"), version="1")
    put(found, route_resource("r", "r"), version="1")  # Envoy wants one in a file

    def source(path):
        return {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}
    proxy = run_proxy({"node": dynamic()["node"], "static_resources": {"listeners": [static(scoped_chain(source(scopes), rds=source(found)))]}})
    wait_scope(app, "a", "r")
    put(scopes, scope("b", to="r"), version="2")
    wait_scope(app, "b", "r")
    assert get(app, "x-scope: a") == 404
    put(found, route_resource("again", "r"), version="2")
    wait_scope(app, "b", "again")
    put(scopes, scope("b", to="r"), scope("c", "b", to="r"), version="3")
    proxy.wait_stat(NAME + "update_rejected", 1)
    assert get(app, "x-scope: b") == "again"
    (entry,) = dump(proxy, "ScopedRoutesConfigDump")["dynamic_scoped_route_configs"]
    assert entry["version_info"] == "2"


def test_scopes_that_bring_their_routes_need_no_other_source(control_plane, run_proxy, app, delta):
    def whole(name):
        return {k: v for k, v in scope(name, route_configuration=routes(name, name)).items() if k != "route_configuration_name"}
    plane = control_plane()
    plane.set(whole("a"), version="1")
    chain = scoped_chain(scoped_rds={"scoped_rds_config_source": own_stream(delta)})
    proxy = run_proxy({"node": dynamic(delta)["node"], "static_resources": {"clusters": [xds_cluster("127.0.0.1", 18000)],
                                                                            "listeners": [static(chain)]}})
    wait_scope(app, "a", "a")
    plane.set(scope("b", to="r"), version="2")
    assert plane.wait_nack("scoped_route")
    assert get(app, "x-scope: a") == "a"
    proxy.wait_stat(NAME + "update_rejected", 1, more=True)  # it is sent again


def inline(name, *key):
    made = scope(name, *key, to="-", route_configuration=routes(name, name))
    del made["@type"], made["route_configuration_name"]
    return made


@pytest.mark.parametrize("part, key, asked", [
    (by_header(index=0), "v", [("x-scope: v", True), ("x-scope: w", False), ("X-Scope: v", True), ("x-scope: v,v", False), ("x-scope;", False)]),
    (by_header(index=0), "", [("x-scope;", True), ("x-scope: v", False), ("a: b", False)]),
    (by_header("X-Scope", index=1, element_separator=","), "v", [("x-scope: u,v", True), ("x-scope: u,v,w", True), ("x-scope: u, v", False),
                                                                ("x-scope: v", False), ("x-scope: v,", False)]),
    (by_header(index=1, element_separator=","), "", [("x-scope: u,", True), ("x-scope: u,,w", True), ("x-scope: u", False)]),
    (by_header(index=1, element_separator="::"), "v", [("x-scope: u::v", True), ("x-scope: u:v", False), ("x-scope: u:::v", False)]),
    (by_header(element={"separator": "=", "key": "k"}), "v", [("x-scope: k=v", True), ("x-scope: k=v=w", False), ("x-scope: k", False),
                                                               ("x-scope: kk=v", False)]),
    (by_header(element={"separator": "=", "key": "k"}), "", [("x-scope: k=", True), ("x-scope: k", True), ("x-scope: l", False)]),
    (by_header(element_separator=";", element={"separator": "=", "key": "k"}), "v", [
        ("x-scope: j=u;k=v", True), ("x-scope: k=u;k=v", False), ("x-scope: j=k;v=k", False), ("x-scope: j=u; k=v", False), ("x-scope: k=v;", True)]),
    (by_header(element_separator=";", element={"separator": "=", "key": "k"}), "v=w", [("x-scope: k=v=w", True)]),
    (by_header("host", index=0), "v.example", [("host: v.example", True), ("host: w.example", False)]),
    (by_header(":authority", index=0, element_separator="."), "v", [("host: v.example", True), ("host: w.example", False)]),
    (by_header(":method", index=0), "GET", [("a: b", True)]),
])
def test_the_key_of_a_request(run_proxy, app, part, key, asked):
    chain = scoped_chain(builder=[part], scoped_route_configurations_list={"scoped_route_configurations": [inline("it", key), inline("other", "zz")]})
    run_proxy({"static_resources": {"listeners": [static(chain)]}})
    for header, found in asked:
        assert get(app, header) == ("it" if found else 404), header


def test_the_first_of_several_headers_and_keys_of_several_parts(run_proxy, app):
    builder = [by_header("x-a", index=0), by_header("x-b", element_separator=",", index=1)]
    chain = scoped_chain(builder=builder, scoped_route_configurations_list={"scoped_route_configurations": [
        inline("one", "a", "b"), inline("two", "ab", ""), inline("short", "a")]})
    proxy = run_proxy({"static_resources": {"listeners": [static(chain)]}})
    assert get(app, "x-a: a", "x-b: _,b") == "one"
    assert get(app, "x-a: ab", "x-b: _,") == "two"
    assert get(app, "x-a: a", "x-a: z", "x-b: _,b", "x-b: _,z") == "one"
    assert get(app, "x-a: z", "x-a: a", "x-b: _,b") == get(app, "x-a: a") == get(app, "x-b: _,b") == get(app) == 404
    (entry,) = dump(proxy, "ScopedRoutesConfigDump")["inline_scoped_route_configs"]
    assert entry["name"] == "scopes" and [s["name"] for s in entry["scoped_route_configs"]] == ["one", "two", "short"]
    assert "static_route_configs" not in dump(proxy, "RoutesConfigDump")


BY_PATH = by_header(":path", element_separator="/", index=1)


def inline_scopes(builder, *scopes, **fields):
    chain = scoped_chain(builder=[builder], scoped_route_configurations_list={"scoped_route_configurations": list(scopes)})
    chain["filters"][0]["typed_config"].update(fields)
    return {"listeners": [static(chain)]}


def redirecting(name):
    """A scope that sends requests to the cluster "web", follows its redirects and says that it was there."""
    made = inline(name, name)
    route = {"match": {"prefix": "/"}, "route": {"cluster": "web", "internal_redirect_policy": {"max_internal_redirects": 5}},
             "request_headers_to_add": [{"header": {"key": "x-in", "value": name}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}]}
    made["route_configuration"]["virtual_hosts"][0]["routes"] = [route]
    return made


def test_redirects_lead_into_other_scopes(run_proxy, app, server):
    """The key is made anew for what a redirect asks for; the request goes on by the routes of that scope, and back, and ends where there is none."""
    ways = iter(["/b/1", "/a/2", "/b/3", None, "/b/4", "/c/5", "/b/6", "/nobody/7"])

    def reply(_):
        to = next(ways)
        return answer(302, location=f"http://a{to}") if to else answer(body=b"there")
    web = Web(server.listen(), reply)
    made = inline_scopes(BY_PATH, redirecting("a"), redirecting("b"), inline("c", "c"))
    made["clusters"] = [cluster("web", (server.ipv4, web.port))]
    proxy = run_proxy({"static_resources": made})
    status, _, body = call(app, PORT, "/a/0")
    assert (status, body) == (200, b"there")
    asked = [(line.split()[1], fields["x-in"]) for line, fields, _ in web.requests]
    assert asked == [("/a/0", "a"), ("/b/1", "b"), ("/a/2", "a"), ("/b/3", "b")]
    status, _, body = call(app, PORT, "/a/0")
    assert (status, body) == (200, b"c"), "the third scope answers by itself"
    status, fields, _ = call(app, PORT, "/a/0")
    assert (status, fields["location"]) == (302, "http://a/nobody/7")
    assert [line.split()[1] for line, *_ in web.requests[4:]] == ["/a/0", "/b/4", "/a/0", "/b/6"]
    proxy.wait_stat("http.web.passthrough_internal_redirect_no_route", 1)
    web.close()


def test_a_key_that_changes_before_the_filters(run_proxy, app):
    early = {"name": "early", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation", "mutations": [
            {"append": {"header": {"key": "x-scope", "value": "%REQ(x-other)%"}, "append_action": "OVERWRITE_IF_EXISTS"}}]}}
    run_proxy({"static_resources": inline_scopes(by_header(), inline("a", "a"), inline("b", "b"), early_header_mutation_extensions=[early])})
    assert get(app, "x-scope: a", "x-other: b") == "b"
    assert get(app, "x-scope: z", "x-other: a") == "a"
    assert get(app, "x-scope: a", "x-other: z") == get(app, "x-other: a") == 404
