"""The HTTP configurations of the articles that the project started from, with the outcomes they show: nginx behind, curl in front.

Each runs on Envoy and on sluiced. Where one uses what sluiced does not have yet, the case says which issue brings it, holds that the
refusal names field and remedy, and runs the rest of the file. A file of Envoy's v2 days is refused with the words of v3.
"""
import collections
import contextlib
import json
import re

import pytest
import yaml

from conftest import require
from seeds import Nginx, accepted, get, refused, resolver, seed, without
from support import proxies
from support.collector import Collector
from support.dns import DnsServer
from support.peers import Peer, call_ending, hold
from support.proxies import AccessLog
from support.wait import wait_until

pytestmark = pytest.mark.root
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
BOTH = {"cluster": "both"}


@pytest.fixture(scope="module")
def v1(world, server):
    with contextlib.closing(Nginx(world, server, "v1")) as made:
        yield made


@pytest.fixture(scope="module")
def v2(world, server):
    with contextlib.closing(Nginx(world, server, "v2")) as made:
        yield made


@pytest.fixture
def names(app, server):
    """Docker's DNS for the containers of the articles."""
    with DnsServer(app) as dns:
        dns.records.update({name: [server.ipv4] for name in ("version_v1", "version_v2", "service1", "jaeger")})
        yield resolver(dns)


def rows(text, name):
    """The value of a row in Prometheus' format; None when there is none."""
    found = re.search(rf"^{name}(?:\{{\}})? (\S+)$", text, re.M)
    return found and float(found[1])


# ---- seed 000 ----
def front_proxy(world, names, v1, v2, port):
    key, certificate = world.directory / "front.key", world.directory / "front.crt"
    if not key.exists():
        proxies.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-keyout", key, "-out", certificate, "-days", "2", "-nodes", "-subj",
                    "/CN=front-envoy")
        key.chmod(0o644)
    return seed("front_proxy", port=port, resolver=names, v1_port=v1.port, v2_port=v2.port, key=key, certificate=certificate)


CHAIN = "static_resources.listeners[0].filter_chains[0]"
MANAGER = CHAIN + ".filters[0].typed_config"


def test_front_proxy(run_proxy, world, app, names, v1, v2):
    """Two endpoints that DNS knows, in turn: v1, v2, v1, v2. (Without TLS.)"""
    port = app.free_port()
    proxy = run_proxy(without(front_proxy(world, names, v1, v2, port), f"{CHAIN}.transport_socket"))
    proxy.wait_stat("cluster.version.membership_healthy", 2)
    seen = [get(app, f"http://127.0.0.1:{port}/version") for _ in range(6)]
    assert [a.status for a in seen] == [200] * 6
    bodies = [a.body for a in seen]
    assert bodies in (["v1\n", "v2\n"] * 3, ["v2\n", "v1\n"] * 3)
    assert get(app, f"http://127.0.0.1:{port}/other").status == 404
    assert proxy.admin.stat("http.ingress_http.downstream_rq_2xx") == 6
    assert proxy.admin.stat("cluster.version.upstream_rq_200") == 6


def test_front_proxy_with_tls(run_proxy, world, app, names, v1, v2):
    """The same as it stands: TLS with an inline certificate, called by curl."""
    port = app.free_port()
    proxy = run_proxy(front_proxy(world, names, v1, v2, port))
    proxy.wait_stat("cluster.version.membership_healthy", 2)
    asked = ["curl", "-sS", "--cacert", world.directory / "front.crt", "--connect-to", f"front-envoy:{port}:127.0.0.1:{port}"]
    seen = [app.run(*asked, f"https://front-envoy:{port}/version").stdout for _ in range(4)]
    assert seen in (["v1\n", "v2\n"] * 2, ["v2\n", "v1\n"] * 2)
    assert app.run("curl", "-sS", f"http://127.0.0.1:{port}/version", check=False).returncode != 0, "plain HTTP is no TLS"
    proxy.wait_stat(f"listener.0.0.0.0_{port}.ssl.handshake", 4)
    assert proxy.admin.stat("http.ingress_http.downstream_rq_2xx") == 4


def tracing(names, v1, port):
    return seed("tracing", port=port, resolver=names, v1_port=v1.port)


def test_traced_route(run_proxy, app, names, v1):
    """use_remote_address and a decorated route; without a tracer nobody is told the route's name."""
    port = app.free_port()
    proxy = run_proxy(without(tracing(names, v1, port), f"{MANAGER}.tracing"))
    proxy.wait_stat("cluster.service1.membership_healthy", 1)
    answer = get(app, f"http://127.0.0.1:{port}/trace/1")
    assert (answer.status, answer.body) == (200, "Hello from behind Envoy (service 1)!\n")
    assert answer["x-envoy-decorator-operation"] is None
    seen = get(app, f"http://127.0.0.1:{port}/headers")
    assert re.fullmatch(UUID, seen["x-saw-id"])
    assert (seen["x-saw-for"], seen["x-saw-proto"], seen["x-saw-internal"]) == (app.ipv4, "http", None)
    assert seen["x-saw-decorator"] is None


def test_tracing(run_proxy, app, server, names, v1):
    """The article's request is in its collector, under the name of its route, and the server was told where it belongs."""
    with Collector(server.listen()) as jaeger:
        port = app.free_port()
        text = tracing(names, v1, port).replace("port_value: 9411", f"port_value: {jaeger.port}")
        proxy = run_proxy(text, extra=["--service-cluster", "front-envoy"])
        proxy.wait_stat("cluster.service1.membership_healthy", 1)
        proxy.wait_stat("cluster.jaeger.membership_healthy", 1)
        assert get(app, f"http://127.0.0.1:{port}/trace/1").body == "Hello from behind Envoy (service 1)!\n"
        seen = [get(app, f"http://127.0.0.1:{port}/headers") for _ in range(4)]
        spans = wait_until(lambda: len(jaeger.spans) == 5 and jaeger.spans, what="the spans")
        assert [s["name"] for s in spans] == ["checkAvailability"] * 5
        assert [s["traceId"] for s in spans[1:]] == [a["x-saw-traceid"] for a in seen]
        assert {a["x-saw-decorator"] for a in seen} == {"checkAvailability"}
        assert {(s["kind"], s["localEndpoint"]["serviceName"], s["tags"]["http.status_code"], s["tags"]["upstream_cluster"]) for s in spans} == {
            ("CLIENT", "front-envoy", "200", "service1")}
        assert jaeger.reports[0][0] == "POST /api/v2/spans HTTP/1.1"


def test_udp(world, app):
    """UDP is not among the issues' first six."""
    require("sluiced")
    text = seed("udp", port=app.free_port())
    refused(world, text, "static_resources.listeners[0].listener_filters[0].typed_config.@type", "udp_proxy.v3.UdpProxyConfig")
    refused(world, without(text, "static_resources.listeners[0].listener_filters"), "listeners[0].address.socket_address.protocol", "UDP")
    accepted(world, "envoy", text)


def test_what_a_control_plane_pushed(run_proxy, app, names, v1):
    """The request as the article's echo server sees it, and the cluster in the configuration's dump."""
    port = app.free_port()
    proxy = run_proxy(seed("pushed", port=port, resolver=names, v1_port=v1.port))
    proxy.wait_stat("cluster.example_proxy_cluster.membership_healthy", 1)
    seen = get(app, f"http://127.0.0.1:{port}/headers")
    assert seen["x-saw-timeout"] == "15000"
    assert seen["x-saw-proto"] == "http"
    assert re.fullmatch(UUID, seen["x-saw-id"])
    assert seen["x-saw-host"] == "service1"
    assert seen["x-saw-attempt"] is None and seen["x-saw-for"] is None
    dump = [c for c in proxy.admin.json("/config_dump")["configs"] if c["@type"].endswith("ClustersConfigDump")][0]
    cluster = dump["static_clusters"][0]["cluster"]
    assert cluster["@type"] == "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    assert (cluster["name"], cluster["type"], cluster["connect_timeout"], cluster["dns_lookup_family"]) == (
        "example_proxy_cluster", "LOGICAL_DNS", "5s", "V4_ONLY")
    assert cluster["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"] == {
        "address": "service1", "port_value": v1.port}


# ---- seed 001: Envoy's v2 API ----
V2 = {
    "v2_whole": [("admin.access_log_path", "access_log"),
                 (f"{CHAIN}.filters[0].config", "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"),
                 ("static_resources.clusters[0].hosts", "load_assignment")],
    "v2_pieces": [(f"{CHAIN}.filters[0].config", "typed_config"), ("static_resources.clusters[0].hosts", "load_assignment")],
}


@pytest.mark.parametrize("name", V2)
def test_v2_files(world, app, server, kind, name, v1, v2):
    """Refused by both. sluiced names the v3 field for one after the other, and starts nothing."""
    text = seed(name, port=app.free_port(), server=server.ipv4, v1_port=v1.port, **({"v2_port": v2.port} if name == "v2_pieces" else {}))
    done, _ = proxies.validate(world, kind, text.replace("{{admin_port}}", "9901"))
    assert done.returncode != 0
    if kind == "envoy":
        return
    left = dict(V2[name])
    while left:
        said = refused(world, text)
        path, = [path for path in left if f": {path}: " in said] or [said]
        assert left.pop(path) in said
        assert re.search(r":\d+:\d+: ", said), said
        text = without(text, path)
        if path.endswith(".config"):  # the filter's own part: put in as v3 wants it, without what it needs
            text = text.replace("- name: envoy.http_connection_manager", "- name: envoy.filters.network.http_connection_manager\n        typed_config: "
                                '{"@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager,'
                                " stat_prefix: a, route_config: {}, http_filters: [{name: envoy.filters.http.router, typed_config: "
                                '{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}]}')


def test_a_v2_file_written_in_v3(run_proxy, app, server, v1, v2):
    """Two endpoints in turn for two host names; the access log's default format on standard output."""
    port = app.free_port()
    proxy = run_proxy(seed("v3_pieces", port=port, server=server.ipv4, v1_port=v1.port, v2_port=v2.port))
    counts = collections.Counter(get(app, f"http://127.0.0.1:{port}/version", "-H", f"host: {host}").body
                                 for host in ("one.example.com", "www.one.example.com") for _ in range(4))
    assert counts == {"v1\n": 4, "v2\n": 4}
    assert get(app, f"http://127.0.0.1:{port}/", "-H", "host: two.example.com").status == 404
    log = AccessLog(proxy.process.stdout_path).wait(9)
    time = r"\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\]"
    assert re.fullmatch(rf'{time} "GET /version HTTP/1.1" 200 - 0 3 \d+ \d+ "-" "curl/[^"]+" "{UUID}" "one.example.com" '
                        rf'"{server.ipv4}:({v1.port}|{v2.port})"', log[0]), log[0]
    assert re.fullmatch(rf'{time} "GET / HTTP/1.1" 404 NR 0 0 \d+ - "-" "curl/[^"]+" "{UUID}" "two.example.com" "-"', log[8]), log[8]


# ---- seed 002 ----
def test_sidecar_inbound(world, app, caller, intercept):
    """curl to a pod behind its sidecar: what the application gets, what the caller gets, what the log says."""
    with contextlib.closing(Nginx(world, app, "main-app")) as main:
        log = AccessLog(world.directory / f"sidecar-{world.next_number()}.log")
        proxy = intercept.start(seed("sidecar_inbound", app_port=main.port, log=log.path), outbound=None, inbound=15006)
        assert "debug" in proxy.admin.post("/logging?level=debug")
        ask = ["-H", "x-envoy-decorator-operation: fortio-server.mark.svc.cluster.local:8080/*", "-H", "x-envoy-attempt-count: 1",
               "-H", "x-request-id: 437a5a3e-f057-4079-a959-dad3d7dcf6a6", "-H", "x-b3-traceid: 03824b6065cd13e0559df95ebf18def7",
               "-H", "x-forwarded-proto: http", "-H", "x-forwarded-client-cert: By=somebody"]
        seen = get(caller, f"http://{app.ipv4}:{main.port}/headers", *ask)
        assert seen.status == 200 and seen["server"] == "istio-envoy"
        assert re.fullmatch(r"\d+", seen["x-envoy-upstream-service-time"])
        assert seen["x-saw-id"] == "437a5a3e-f057-4079-a959-dad3d7dcf6a6"
        assert (seen["x-saw-attempt"], seen["x-saw-traceid"]) == ("1", "03824b6065cd13e0559df95ebf18def7")
        assert (seen["x-saw-proto"], seen["x-saw-from"]) == ("http", "127.0.0.6")
        assert seen["x-saw-timeout"] is None, "no time-out on the route"
        assert seen["x-saw-cert"] is None, "nobody shows a certificate in clear"
        line = log.wait()[0]
        assert line == ("GET /headers HTTP/1.1 200 - via_upstream - - 0 5 437a5a3e-f057-4079-a959-dad3d7dcf6a6 "
                        f"{app.ipv4}:{main.port} {app.ipv4}:{main.port} inbound|{main.port}|| {app.ipv4}:{main.port} - default")
        cluster = f"cluster.inbound|{main.port}||"
        assert proxy.admin.stat(f"{cluster}.upstream_rq_200") == 1
        assert proxy.admin.stat("http_inspector.http11_found") == 1
        assert proxy.admin.stat(f"http.inbound_0.0.0.0_{main.port};.downstream_rq_2xx") == 1
        assert f"inbound|{main.port}||::{app.ipv4}:{main.port}::cx_total::1" in proxy.admin.get("/clusters").splitlines()


# ---- seed 003 ----
@pytest.mark.parametrize("target", ["endpoints", "clusters"])
def test_six_to_four(run_proxy, app, server, v1, v2, target):
    """Weights of endpoints are exact; of clusters they are drawn, so some hundred requests tell."""
    port = app.free_port()
    to = BOTH if target == "endpoints" else {"weighted_clusters": {"clusters": [{"name": "v2", "weight": 6}, {"name": "v1", "weight": 4}]}}
    proxy = run_proxy(seed("weighted", port=port, server=server.ipv4, v1_port=v1.port, v2_port=v2.port, target=json.dumps(to)))
    urls = [f"http://127.0.0.1:{port}/version"] * (10 if target == "endpoints" else 400)
    counts = collections.Counter(app.run("curl", "-s", *urls).stdout.split())
    if target == "endpoints":
        assert counts == {"v2": 6, "v1": 4}
        assert "both::default_priority::max_connections::1024" in proxy.admin.get("/clusters")
    else:
        assert sum(counts.values()) == 400 and 180 < counts["v2"] < 300, counts
        assert proxy.admin.stat("cluster.v2.upstream_rq_200") == counts["v2"]


def filters(server, v1, port, re2=None):
    return seed("filters", port=port, server=server.ipv4, v1_port=v1.port, re2=json.dumps(re2 or {}))


def test_http_inspector_statistics(run_proxy, app, server, v1):
    port = app.free_port()
    proxy = run_proxy(filters(server, v1, port))
    for _ in range(3):
        assert get(app, f"http://127.0.0.1:{port}/", "-H", "host: abc.com").body == "v1\n"
    text = proxy.admin.get("/stats/prometheus")
    for name, value in {"http10_found": 0, "http11_found": 3, "http2_found": 0, "http_not_found": 0, "read_error": 0}.items():
        assert rows(text, f"envoy_http_inspector_{name}") == value, name
        assert f"# TYPE envoy_http_inspector_{name} counter" in text
    assert get(app, f"http://127.0.0.1:{port}/", "-H", "host: abc.com", "--http2-prior-knowledge").body == "v1\n"
    assert rows(proxy.admin.get("/stats/prometheus"), "envoy_http_inspector_http2_found") == 1


def test_response_headers(run_proxy, app, server, v1):
    """The head as the article prints it, in its order."""
    port = app.free_port()
    run_proxy(filters(server, v1, port))
    answer = get(app, f"http://127.0.0.1:{port}/", "-H", "host: abc.com")
    assert (answer.start, answer.body) == ("HTTP/1.1 200 OK", "v1\n")
    assert answer.names() == ["server", "date", "content-type", "content-length", "last-modified", "etag", "accept-ranges",
                              "x-envoy-upstream-service-time", "myname", "age"]
    assert (answer["server"], answer["content-length"], answer["myname"], answer["age"]) == ("envoy", "3", "chengzw", "18")
    other = get(app, f"http://127.0.0.1:{port}/", "-H", "host: other.com")
    assert (other.status, other.body) == (404, ""), "only abc.com is served"


def test_regex_rewrite(run_proxy, app, server, v1):
    port = app.free_port()
    run_proxy(filters(server, v1, port))
    answer = get(app, f"http://127.0.0.1:{port}/abc/index", "-H", "host: abc.com")
    assert (answer.status, answer.body, answer["myname"]) == (200, "v1\n", "chengzw")
    assert get(app, f"http://127.0.0.1:{port}/abc/other", "-H", "host: abc.com").status == 404
    assert v1.requests()[-2:] == [("GET /index.html HTTP/1.1", "200"), ("GET /other.html HTTP/1.1", "404")]


def test_regex_rewrite_with_a_program_size(world, run_proxy, app, server, v1, kind):
    """google_re2.max_program_size as the article writes it: the expression's program is small enough, or the file is refused."""
    port = app.free_port()
    text = filters(server, v1, port, {"max_program_size": 100})
    proxy = run_proxy(text)
    assert get(app, f"http://127.0.0.1:{port}/abc/index", "-H", "host: abc.com").body == "v1\n"
    proxy.stop()
    done, _ = proxies.validate(world, kind, filters(server, v1, port, {"max_program_size": 1}).replace("{{admin_port}}", "9901"))
    assert done.returncode != 0 and "program" in done.stderr


def test_lua(world, run_proxy, app, server, v1, kind):
    """Issue 4 has no Lua: refused by its type; the same file without the script adds the other two headers."""
    port = app.free_port()
    text = seed("lua", port=port, server=server.ipv4, v1_port=v1.port)
    script = f"{MANAGER}.http_filters[0]"
    if kind == "sluiced":
        refused(world, text, script, "envoy.extensions.filters.http.lua.v3.Lua")
    else:
        accepted(world, kind, text)
    run_proxy(without(text, script))
    answer = get(app, f"http://127.0.0.1:{port}/")
    assert (answer.body, answer["myname"], answer["age"], answer["location"]) == ("v1\n", "chengzw", "18", None)


def test_egress_of_one_service(world, app, server, intercept, way, v1):
    """curl -I to the service is answered with the added header; anywhere else is reset, and the log says both."""
    log = AccessLog(world.directory / f"egress-{world.next_number()}.log")
    intercept.start(seed("egress", server=server.ipv4, v1_port=v1.port, log=log.path))
    answer = get(app, f"http://{server.ipv4}:{v1.port}/", "-I")
    assert answer.start == "HTTP/1.1 200 OK"
    assert answer.names() == ["server", "date", "content-type", "content-length", "last-modified", "etag", "accept-ranges",
                              "x-envoy-upstream-service-time", "myname"]
    assert (answer["server"], answer["content-length"], answer["myname"]) == ("envoy", "3", "chengzw")
    assert log.json()[0] == {"filter": "HttpConnectionManager", "upstream": f"{server.ipv4}:{v1.port}"}
    with Peer(server.listen(), hold) as elsewhere:
        assert call_ending(app, server.ipv4, elsewhere.port) == ("rst" if way.startswith("sluiced") else "fin")
        assert elsewhere.count() == 0
    assert log.json(2)[1] == {"filter": "BlockAllCluster", "upstream": None}


def mesh_egress(world, server, port, v1_port, bad_port, log):
    return seed("mesh_egress", port=port, server=server.ipv4, v1_port=v1_port, bad_port=bad_port, log=log.path)


def test_mesh_egress(world, app, server, intercept, v1):
    """Retries as Istio writes them save a request from an endpoint that answers 503; what nobody knows gets 502; what is no HTTP, a closed door."""
    bad = "location / { return 503; }\n    "
    port = v1.port
    log = AccessLog(world.directory / f"mesh-{world.next_number()}.log")
    with contextlib.closing(Nginx(world, server, "bad", bad)) as broken:
        proxy = intercept.start(mesh_egress(world, server, port, v1.port, broken.port, log))
        answers = [get(app, f"http://{server.ipv4}:{port}/", "-H", "host: baidu.com:8080") for _ in range(4)]
        assert [(a.status, a.body) for a in answers] == [(200, "v1\n")] * 4
        saved = len(broken.requests())
        assert 2 <= saved <= 4, "requests met the bad endpoint first"
        seen = get(app, f"http://{server.ipv4}:{port}/headers", "-H", "host: baidu.com")
        assert seen["x-saw-attempt"] in ("1", "2") and seen["x-saw-timeout"] is None
        nobody = get(app, f"http://{server.ipv4}:{port}/", "-H", "host: unknown.example")
        assert (nobody.status, nobody.body, nobody["server"]) == (502, "", "envoy")
        lines = log.wait(6)
        assert [line.rsplit(" ", 1)[1] for line in lines[:4]].count("2") == saved, lines
        assert all(line.startswith("200 - default - ") for line in lines[:5]), lines
        assert lines[5] == "502 - block_all - 0"
        assert proxy.admin.stat("cluster.outbound|80||baidu.com.upstream_rq_retry_success") >= 2
        with app.connect(server.ipv4, port) as sock:
            sock.sendall(b"\x01\x02\x03 not HTTP at all")
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(10) == b""


def test_control_plane(world, kind):
    """The bootstrap is taken; what a control plane then says is the matter of the xDS cases."""
    accepted(world, kind, seed("control_plane"))


def test_file_system(world, run_proxy, app, server, kind, v1):
    """Listeners and clusters from two files."""
    tree = yaml.safe_load(filters(server, v1, 8080).replace("{{admin_port}}", "9901"))["static_resources"]
    for name, message, resources in (("lds", "listener.v3.Listener", tree["listeners"]), ("cds", "cluster.v3.Cluster", tree["clusters"])):
        typed = [{"@type": f"type.googleapis.com/envoy.config.{message}", **resource} for resource in resources]
        (world.directory / f"{name}.yaml").write_text(yaml.safe_dump({"resources": typed}))
    text = seed("file_system", directory=world.directory)
    proxy = run_proxy(text)
    wait_until(lambda: get(app, "http://127.0.0.1:8080/", "-H", "host: abc.com").body == "v1\n", 10, "the article's answer",
               alive=proxy.process.check_running)
