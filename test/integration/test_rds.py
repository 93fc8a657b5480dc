"""Versions of a RouteConfiguration in which little changes, on Envoy and sluiced: what has not changed goes on, under load."""
import json

import pytest

from support.control_plane import url
from support.wait import wait_until
from test_cds_eds import Load
from test_lds import config, dump, http_chain, listener

pytestmark = pytest.mark.root
PORT = 18100
RATE_LIMIT = "type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit"
ALWAYS = {"default_value": {"numerator": 100}}


@pytest.fixture(params=["sotw", "delta"])
def delta(request):
    return request.param == "delta"


def virtual_host(name, text, domain=None, **fields):
    return {"name": name, "domains": [domain or f"{name}.example"], "routes": [
        {"match": {"safe_regex": {"regex": f"/{name}/[0-9]+"}}, "direct_response": {"status": 200, "body": {"inline_string": "number"}}},
        {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": text}}}], **fields}


def resource(*hosts):
    return {"@type": url("route"), "name": "local", "virtual_hosts": list(hosts)}


def ask(app, name, path="/"):
    """Status and body."""
    done = app.run("curl", "-s", "-m", "5", "-w", "\n%{http_code}", "-H", f"host: {name}.example", f"http://127.0.0.1:{PORT}{path}", check=False)
    body, _, status = done.stdout.rpartition("\n")
    return int(status), body


def test_one_of_many_virtual_hosts_changes_under_load(control_plane, run_proxy, app, kind, delta):
    hosts = [virtual_host(f"svc{i}", f"one {i}") for i in range(500)] + [virtual_host("all", "all", "*")]
    plane = control_plane()
    plane.set(listener(http_chain("c", rds="local")), resource(*hosts))
    proxy = run_proxy(config(delta))
    wait_until(lambda: ask(app, "svc7") == (200, "one 7"), 10, "the first version")

    def push(expected):
        plane.set(resource(*hosts))
        name, text = expected
        wait_until(lambda: ask(app, name) == (200, text), 10, f"{name} says {text}")
    with Load(app, PORT, "/any") as load:
        hosts[7] = virtual_host("svc7", "two 7")
        push(("svc7", "two 7"))
        load.more()
        hosts.insert(100, virtual_host("new", "new"))
        push(("new", "new"))
        load.more()
        del hosts[8]
        push(("svc8", "all"))
        load.more()
        hosts.reverse()
        hosts[0] = virtual_host("all", "other", "*")
        push(("svc8", "other"))
        load.more()
    assert not load.bad and load.bodies == {b"all", b"other"}
    for name, text in (("svc7", "two 7"), ("svc9", "one 9"), ("svc499", "one 499"), ("new", "new")):
        assert ask(app, name) == (200, text)
        assert ask(app, name, f"/{name}/12") == (200, "number")
    (entry,) = dump(proxy, "RoutesConfigDump")["dynamic_route_configs"]
    assert [h["name"] for h in entry["route_config"]["virtual_hosts"]] == [h["name"] for h in hosts]
    reloads = proxy.admin.stat("http.web.rds.local.config_reload")

    # What is refused says where in the whole it stands, and changes nothing.
    good = list(hosts)
    hosts[3] = virtual_host("svc499", "three")
    hosts[300]["routes"][0]["match"]["safe_regex"]["regex"] = "("
    plane.set(resource(*hosts))
    text = plane.wait_nack("route")
    assert kind == "envoy" or "virtual_hosts[300].routes[0].match.safe_regex.regex" in text
    assert ask(app, "svc499") == (200, "one 499")
    assert proxy.admin.stat("http.web.rds.local.config_reload") == reloads
    good[300] = virtual_host("late", "late")
    hosts[:] = good
    push(("late", "late"))
    assert ask(app, "svc9") == (200, "one 9")


def test_a_token_bucket_of_a_virtual_host_that_stays(control_plane, run_proxy, app, kind, delta):
    """Envoy makes all virtual hosts anew: the bucket is full again. Here only those that have changed."""
    limit = {"stat_prefix": "limit", "token_bucket": {"max_tokens": 2, "fill_interval": "3600s"}, "filter_enabled": ALWAYS, "filter_enforced": ALWAYS}
    limiter = {"name": "limit", "typed_config": {"@type": RATE_LIMIT, "stat_prefix": "limit"}}

    def limited(**fields):
        return virtual_host("limited", "served", typed_per_filter_config={"limit": {"@type": RATE_LIMIT, **limit, **fields}})
    plane = control_plane()
    plane.set(listener(http_chain("c", rds="local", filters=[limiter])), resource(limited(), virtual_host("other", "one")))
    run_proxy(config(delta))
    wait_until(lambda: ask(app, "other") == (200, "one"), 10, "the first version")
    assert [ask(app, "limited")[0] for _ in range(3)] == [200, 200, 429]
    plane.set(resource(virtual_host("other", "two"), limited()))
    wait_until(lambda: ask(app, "other") == (200, "two"), 10, "the second version")
    assert ask(app, "limited")[0] == (429 if kind == "sluiced" else 200)
    plane.set(resource(virtual_host("other", "three"), limited(status={"code": 503})))
    wait_until(lambda: ask(app, "other") == (200, "three"), 10, "the third version")
    assert [ask(app, "limited")[0] for _ in range(3)] == [200, 200, 503]


def test_one_virtual_host_of_a_file(run_proxy, app, kind, tmp_path):
    path, made = tmp_path / "rds.json", tmp_path / "next"

    def write(*hosts):
        made.write_text(json.dumps({"version_info": "1", "resources": [resource(*hosts)]}))
        made.rename(path)
    write(virtual_host("a", "one"), virtual_host("b", "one"))
    chain = http_chain("c", rds="local")
    chain["filters"][0]["typed_config"]["rds"]["config_source"] = {"path_config_source": {"path": str(path)}}
    web = listener(chain)
    web.pop("@type")
    run_proxy({"node": {"id": "test-id", "cluster": "test"}, "static_resources": {"listeners": [web]}})
    wait_until(lambda: ask(app, "b") == (200, "one"), 10, "the first version")
    write(virtual_host("a", "one"), virtual_host("b", "two"))
    wait_until(lambda: ask(app, "b") == (200, "two"), 10, "the second version")
    assert ask(app, "a") == (200, "one")
