"""Active health checks, and what follows from a host's health. Each case on Envoy and sluiced."""
import collections
import json
import re

import pytest

from config import bootstrap, chain, cluster, file_log, http_manager, listener, tcp_proxy, typed
from support.grpc_health import GrpcHealth
from support.peers import Peer, receive_exactly
from support.proxies import AccessLog
from support.wait import wait_until
from test_clusters import dns, dns_cluster  # noqa: F401: a fixture
from test_router import Web, answer, call

pytestmark = pytest.mark.root
BAD = answer(503)


class Backend(Web):
    """A server whose answer to health checks (/health) may be changed; everything else gets its name."""

    def __init__(self, sock, name):
        self.name, self.health, self.traffic = name, answer(), answer(body=name.encode())
        super().__init__(sock, self.reply)

    def reply(self, number):
        return self.health if self.checks_asked(number - 1) else self.traffic

    def checks_asked(self, index):
        return self.requests[index][0].split()[1].startswith("/health")

    def checks(self):
        """The health checks that came: (start line, fields, body)."""
        return [r for i, r in enumerate(list(self.requests)) if self.checks_asked(i)]


@pytest.fixture
def backends(server):
    made = {name: Backend(server.listen(), name) for name in "abc"}
    yield made
    for backend in made.values():
        backend.close()


def check(kind, **fields):
    """A health check that asks ten times a second, with or without traffic."""
    return {"timeout": "1s", "interval": "0.1s", "no_traffic_interval": "0.1s", "unhealthy_threshold": 2, "healthy_threshold": 2,
            **kind, **fields}


def http_check(http=None, **fields):
    return check({"http_health_check": {"path": "/health", **(http or {})}}, **fields)


class Lab:
    def __init__(self, proxy, app, server, port, webs):
        self.proxy, self.app, self.server, self.port, self.webs = proxy, app, server, port, webs

    def stat(self, name):
        return self.proxy.admin.stat(f"cluster.web.{name}")

    def flags(self, name):
        """The host's flags in /clusters."""
        where = f"web::{self.server.ipv4}:{self.webs[name].port}::health_flags::"
        return next((line[len(where):] for line in self.proxy.admin.get("/clusters").splitlines() if line.startswith(where)), None)

    def wait_flags(self, **wanted):
        wait_until(lambda: all(self.flags(name) == flags for name, flags in wanted.items()) or
                   [self.flags(n) for n in wanted] == 0, 10, f"flags {wanted}")

    def seen(self, n=12):
        """Who answers n requests."""
        return collections.Counter(call(self.app, self.port)[2].decode() for _ in range(n))

    def wait_seen(self, names):
        """Until these, and nobody else, answer."""
        wait_until(lambda: set(self.seen()) == set(names), 10, f"answers of {names}")


@pytest.fixture
def start(run_proxy, app, server):
    """start(webs, check, cluster fields...): a Lab with a route to them all."""
    def run(webs, health, manager=None, wait=True, panic=0, endpoint=None, routes=None, **fields):
        port = app.free_port()
        up = cluster("web", *((server.ipv4, w.port) for w in webs.values()), health_checks=[health], **fields)
        up.setdefault("common_lb_config", {})["healthy_panic_threshold"] = {"value": panic}
        for target in up["load_assignment"]["endpoints"][0]["lb_endpoints"]:
            target["endpoint"].update(endpoint or {})
        routes = routes or [{"match": {"prefix": "/"}, "route": {"cluster": "web"}}]
        proxy = run_proxy(bootstrap([listener(port, chain(http_manager(routes, **(manager or {}))))], [up]), wait=wait)
        return Lab(proxy, app, server, port, webs)
    return run


def test_requests_go_to_the_hosts_that_are_well(start, backends):
    backends["b"].health = BAD
    backends["c"].close()
    lab = start(backends, http_check({"request_headers_to_add": [{"header": {"key": "x-check", "value": "%UPSTREAM_HOST%"}}]}))
    # The first answers have decided by the time the proxy is ready.
    assert [lab.flags(name) for name in "abc"] == ["healthy", "/failed_active_hc", "/failed_active_hc"]
    assert {n: lab.stat(n) for n in ("membership_total", "membership_healthy", "membership_excluded", "health_check.healthy")} == {
        "membership_total": 3, "membership_healthy": 1, "membership_excluded": 0, "health_check.healthy": 1}
    assert set(lab.seen()) == {"a"}
    line, fields, body, *_ = backends["a"].checks()[0]
    assert (line, fields["host"], fields["user-agent"], body) == ("GET /health HTTP/1.1", "web", "Envoy/HC", b"")
    assert fields["x-check"] == f"{lab.server.ipv4}:{backends['a'].port}"
    assert sorted(fields) == ["host", "user-agent", "x-check"]
    # Two good answers in a row, then it is believed.
    backends["b"].health = answer()
    lab.wait_flags(b="healthy")
    lab.wait_seen("ab")
    assert lab.stat("health_check.healthy") == 2 and lab.stat("membership_healthy") == 2
    # A bad answer is believed at once.
    failures = lab.stat("health_check.failure")
    backends["a"].health = BAD
    lab.wait_flags(a="/failed_active_hc")
    lab.wait_seen("b")
    assert lab.stat("health_check.failure") > failures
    assert lab.stat("health_check.attempt") >= lab.stat("health_check.success") + lab.stat("health_check.failure") - 3
    assert lab.stat("health_check.network_failure") > 0 and lab.stat("health_check.passive_failure") == 0
    assert lab.stat("membership_change") == 1


def test_a_host_that_hangs_times_out(start, backends):
    lab = start({"a": backends["a"], "b": backends["b"]}, http_check(timeout="0.2s"))
    backends["a"].health = b"hang"
    lab.wait_flags(a="/failed_active_hc/active_hc_timeout")
    assert lab.stat("health_check.network_failure") >= 2
    lab.wait_seen("b")
    # Another failure takes the mark away.
    backends["a"].health = BAD
    lab.wait_flags(a="/failed_active_hc")
    backends["a"].health = answer()
    lab.wait_flags(a="healthy")


def test_what_counts_as_well(start, backends):
    lab = start(backends, http_check({
        "host": "health.test", "path": "/health?x=1", "method": "POST", "send": {"text": "70696e67"},
        "receive": [{"text": "6f6e65"}, {"binary": "dHdv"}],  # "one", then "two"
        "expected_statuses": [{"start": 200, "end": 202}, {"start": 404, "end": 405}],
        "retriable_statuses": [{"start": 429, "end": 430}],
        "service_name_matcher": {"prefix": "shop"}}))
    good = {"x_envoy_upstream_healthchecked_cluster": "shop-1"}
    for name in "abc":
        assert lab.flags(name) == "/failed_active_hc"
    assert lab.stat("health_check.verify_cluster") == 0  # the body comes first
    line, fields, body, *_ = backends["a"].checks()[0]
    assert (line, fields["host"], fields["content-length"], body) == ("POST /health?x=1 HTTP/1.1", "health.test", "4", b"ping")
    backends["a"].health = answer(404, b".. one .. two ..", **good)
    backends["b"].health = answer(201, b"onetwo", **good)
    backends["c"].health = answer(200, b"two one", **good)
    lab.wait_flags(a="healthy", b="healthy")
    assert lab.flags("c") == "/failed_active_hc"
    assert lab.stat("health_check.verify_cluster") >= 4
    # Two retriable answers, where any other would do at once.
    checks = len(backends["a"].checks())
    backends["a"].health = answer(429, b"one two")
    backends["b"].health = answer(200, b"one two", x_envoy_upstream_healthchecked_cluster="other")
    lab.wait_flags(a="/failed_active_hc", b="/failed_active_hc")
    assert len(backends["a"].checks()) >= checks + 2


def test_degraded(start, backends):
    backends["b"].health = answer(x_envoy_degraded="1")
    lab = start({"a": backends["a"], "b": backends["b"]}, http_check())
    lab.wait_flags(a="healthy", b="/degraded_active_hc")
    assert (lab.stat("membership_healthy"), lab.stat("membership_degraded"), lab.stat("health_check.degraded"),
            lab.stat("health_check.healthy")) == (1, 1, 1, 2)
    backends["a"].health = BAD
    lab.wait_flags(a="/failed_active_hc")
    lab.wait_seen("b")
    backends["b"].health = answer()
    lab.wait_flags(b="healthy")
    # Envoy 1.40 does not take it out of its gauge again.
    assert lab.stat("health_check.degraded") == (1 if lab.proxy.kind == "envoy" else 0)


def test_a_host_that_says_so_in_its_answers_is_left_alone(start, backends):
    lab = start({"a": backends["a"], "b": backends["b"]},
                http_check(interval="60s", no_traffic_interval="60s"))
    backends["a"].traffic = answer(body=b"a", x_envoy_immediate_health_check_fail="true")
    wait_until(lambda: lab.seen(1)["a"])
    lab.wait_flags(a="/failed_active_hc/excluded_via_immediate_hc_fail")
    assert lab.stat("health_check.passive_failure") >= 1
    assert lab.stat("health_check.healthy") == 1 and lab.stat("membership_excluded") == 1
    lab.wait_seen("b")


def test_a_bad_check_that_excludes(start, backends):
    backends["a"].health = answer(503, x_envoy_immediate_health_check_fail="true")
    lab = start({"a": backends["a"], "b": backends["b"]}, http_check())
    lab.wait_flags(a="/failed_active_hc/excluded_via_immediate_hc_fail", b="healthy")
    wait_until(lambda: lab.stat("membership_excluded") == 1)
    backends["a"].health = answer()
    lab.wait_flags(a="healthy")
    assert lab.stat("membership_excluded") == 0


def test_another_port_and_name_for_checks(start, backends):
    lab = start({"a": backends["a"]}, http_check(), endpoint={
        "health_check_config": {"port_value": backends["b"].port, "hostname": "me.test"}})
    assert lab.flags("a") == "healthy" and not backends["a"].checks()
    assert backends["b"].checks()[0][1]["host"] == "me.test"
    backends["b"].health = BAD
    lab.wait_flags(a="/failed_active_hc")


def test_a_host_that_is_not_to_be_asked(start, backends):
    backends["a"].health = BAD
    lab = start({"a": backends["a"]}, http_check(), endpoint={"health_check_config": {"disable_active_health_check": True}})
    assert lab.flags("a") == "healthy" and lab.seen()["a"] == 12
    assert not backends["a"].checks() and lab.stat("health_check.attempt") == 0


def test_connections_for_checks(start, backends):
    lab = start({"a": backends["a"]}, http_check())
    wait_until(lambda: len(backends["a"].checks()) >= 5)
    assert backends["a"].count() == 1
    # A server may close it: the next check makes another.
    backends["a"].health = answer(connection="close")
    wait_until(lambda: backends["a"].count() >= 3)
    assert lab.flags("a") == "healthy" and lab.stat("health_check.failure") == 0
    # They are no connections of the cluster's.
    assert lab.stat("upstream_cx_total") == 0 and lab.stat("upstream_rq_total") == 0


def test_a_connection_for_each_check(start, backends):
    start({"a": backends["a"]}, http_check(reuse_connection=False))
    wait_until(lambda: len(backends["a"].checks()) >= 4)
    assert backends["a"].count() >= 4


def test_the_proxy_waits_for_the_first_answers(start, backends, kind):
    backends["a"].health = b"hang"
    lab = start({"a": backends["a"]}, http_check(timeout="4s"), wait=False)
    wait_until(lambda: backends["a"].checks(), 10)
    assert not lab.proxy.admin.ready()
    with pytest.raises(OSError):
        lab.app.connect("127.0.0.1", lab.port)
    backends["a"].release.set()
    lab.proxy.wait_ready()
    wait_until(lambda: lab.flags("a") is not None)


def test_no_traffic_makes_it_slow(start, backends):
    lab = start({"a": backends["a"]}, http_check(no_traffic_interval="60s"))
    assert len(backends["a"].checks()) == 1
    lab.seen(1)  # takes effect with the next check
    assert len(backends["a"].checks()) == 1


EVENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3,9})?Z")


def test_events(start, backends, world):
    logs = [AccessLog(world.directory / f"events-{world.next_number()}.log") for _ in range(2)]
    sink = {"name": "file", "typed_config": typed(
        "envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink", event_log_path=str(logs[1].path))}
    lab = start({"a": backends["a"]}, http_check(event_log_path=str(logs[0].path), event_logger=[sink],
                                                 always_log_health_check_failures=True))
    host = {"socket_address": {"protocol": "TCP", "address": lab.server.ipv4, "port_value": backends["a"].port, "resolver_name": "",
                               "ipv4_compat": False, "network_namespace_filepath": ""}}
    place = {"locality": {"region": "", "zone": "", "sub_zone": ""}}
    backends["a"].health = answer(503, x_envoy_degraded="1")
    lab.wait_flags(a="/failed_active_hc")
    for log in logs:
        events = log.json(3)
        for event in events:
            assert EVENT.fullmatch(event.pop("timestamp"))
            assert event.pop("host") == host, event
            assert (event.pop("health_checker_type"), event.pop("cluster_name")) == ("HTTP", "web")
        assert events[:3] == [
            {"add_healthy_event": {"first_check": True}, **place},
            {"eject_unhealthy_event": {"failure_type": "ACTIVE", "http_status_code": 503}, **place},
            {"health_check_failure_event": {"failure_type": "ACTIVE", "first_check": False, "http_status_code": 503}, **place}]
        # The very text, in protobuf's order.
        assert re.sub(r'"timestamp":"[^"]*"', "T", log.lines()[0]) == json.dumps({
            "health_checker_type": "HTTP", "host": host, "cluster_name": "web", "add_healthy_event": {"first_check": True},
            "T": 0, **place}, separators=(",", ":")).replace('"T":0', "T")


# ---- TCP ----
def tcp_lab(start, peers, tcp, **fields):
    return start(peers, check({"tcp_health_check": tcp}, **fields), manager={})


def test_tcp_connects(start, server):
    with Peer(server.listen(), lambda peer, sock: sock.recv(1)) as a:
        lab = tcp_lab(start, {"a": a}, {})
        assert lab.flags("a") == "healthy"
        wait_until(lambda: a.count() >= 3)
        assert lab.stat("health_check.failure") == 0
        a.close()
        lab.wait_flags(a="/failed_active_hc")
        assert lab.stat("health_check.network_failure") >= 2


def test_tcp_sends_and_receives(start, server):
    got = []

    def serve(peer, sock):
        while True:
            data = sock.recv(100)
            got.append(data)
            if not data:
                return
            sock.sendall(b"+PO")
            sock.sendall(b"NG..OK")
    with Peer(server.listen(), serve) as a, Peer(server.listen(), lambda peer, sock: sock.sendall(b"-ERR") or sock.recv(1)) as b:
        lab = tcp_lab(start, {"a": a, "b": b}, {"send": {"text": "50494e47"}, "receive": [{"text": "504f4e47"}, {"text": "4f4b"}]},
                      timeout="0.3s")
        assert lab.flags("a") == "healthy" and got[0] == b"PING"
        assert lab.flags("b").startswith("/failed_active_hc")
        wait_until(lambda: len(got) >= 4)
        assert a.count() == 1 and set(got) == {b"PING"}


# ---- gRPC ----
HTTP2 = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": typed(
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions", explicit_http_config={"http2_protocol_options": {}})}


def test_grpc(start, server):
    with GrpcHealth(server.listen()) as a, GrpcHealth(server.listen()) as b:
        b.status = 2  # NOT_SERVING
        lab = start({"a": a, "b": b}, check({"grpc_health_check": {
            "service_name": "shop", "authority": "me.test", "initial_metadata": [{"header": {"key": "x-token", "value": "t"}}]}}),
            typed_extension_protocol_options=HTTP2)
        assert [lab.flags(n) for n in "ab"] == ["healthy", "/failed_active_hc"]
        wait_until(lambda: len(a.requests) >= 3)
        assert a.count() == 1
        fields, message = a.requests[0]
        assert message == b"\0\0\0\0\x06\x0a\x04shop"
        assert {k: fields[k] for k in (":method", ":path", ":authority", ":scheme", "content-type", "te", "user-agent", "x-token",
                                       "grpc-timeout")} == {
            ":method": "POST", ":path": "/grpc.health.v1.Health/Check", ":authority": "me.test", ":scheme": "http",
            "content-type": "application/grpc", "te": "trailers", "user-agent": "Envoy/HC", "x-token": "t", "grpc-timeout": "1000m"}
        b.status = 1
        lab.wait_flags(b="healthy")
        a.grpc_status = "12"
        lab.wait_flags(a="/failed_active_hc")
        # A graceful goodbye costs no check.
        failures = lab.stat("health_check.failure")
        connections = b.count()
        b.goaway = True
        wait_until(lambda: b.count() > connections)
        assert lab.flags("b") == "healthy"
        assert lab.stat("health_check.network_failure") == 0, failures
        b.hang = True
        lab.wait_flags(b="/failed_active_hc/active_hc_timeout")


def test_http2(start, server):
    with GrpcHealth(server.listen()) as a:
        a.plain = True
        lab = start({"a": a}, http_check({"codec_client_type": "HTTP2"}), typed_extension_protocol_options=HTTP2)
        assert lab.flags("a") == "healthy"
        wait_until(lambda: len(a.requests) >= 3)
        assert a.count() == 1 and a.requests[0][0][":path"] == "/health"


# ---- hosts that come and go ----
def test_a_host_that_dns_forgets_stays_while_it_is_well(run_proxy, app, server, backends, dns, caller):  # noqa: F811
    a = backends["a"]
    dns.records["svc.test"] = [server.ipv4]
    port = app.free_port()
    up = dns_cluster("STRICT_DNS", dns, "svc.test", a.port, health_checks=[http_check()])
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "up"}}]
    proxy = run_proxy(bootstrap([listener(port, chain(http_manager(routes)))], [up]))

    def flags():
        return dict(re.findall(r"^up::([\d.]+:\d+)::health_flags::(\S+)$", proxy.admin.get("/clusters"), re.M))
    host, other = f"{server.ipv4}:{a.port}", f"{caller.ipv4}:{a.port}"
    assert flags() == {host: "healthy"}
    dns.records["svc.test"] = [caller.ipv4]  # nobody listens there
    wait_until(lambda: flags() == {host: "/pending_dynamic_removal", other: "/failed_active_hc"}, 10, "both")
    assert call(app, port)[2] == b"a"
    # Found again: it is the host it was.
    dns.records["svc.test"] = [server.ipv4]
    wait_until(lambda: flags() == {host: "healthy"}, 10, "the first alone")
    dns.records["svc.test"] = [caller.ipv4]
    wait_until(lambda: len(flags()) == 2, 10)
    a.health = BAD
    wait_until(lambda: flags() == {other: "/failed_active_hc"}, 10, "the second alone")
    assert proxy.admin.stat("cluster.up.membership_total") == 1
    assert proxy.admin.stat("cluster.up.health_check.healthy") == 0


def test_a_host_that_dns_forgets_goes_where_health_is_ignored(run_proxy, app, server, backends, dns, caller):  # noqa: F811
    dns.records["svc.test"] = [server.ipv4]
    up = dns_cluster("STRICT_DNS", dns, "svc.test", backends["a"].port, health_checks=[http_check()], ignore_health_on_host_removal=True)
    proxy = run_proxy(bootstrap([listener(app.free_port(), chain(http_manager([{"match": {"prefix": "/"}, "route": {"cluster": "up"}}])))], [up]))
    assert proxy.admin.stat("cluster.up.membership_healthy") == 1
    dns.records["svc.test"] = [caller.ipv4]
    proxy.wait_stat("cluster.up.membership_healthy", 0)
    proxy.wait_stat("cluster.up.membership_total", 1)


def test_new_hosts_that_do_not_count_yet(run_proxy, app, server, backends, dns, caller):  # noqa: F811
    a = backends["a"]
    dns.records["svc.test"] = [server.ipv4]
    up = dns_cluster("STRICT_DNS", dns, "svc.test", a.port, health_checks=[http_check()],
                     common_lb_config={"ignore_new_hosts_until_first_hc": True})
    proxy = run_proxy(bootstrap([listener(app.free_port(), chain(http_manager([{"match": {"prefix": "/"}, "route": {"cluster": "up"}}])))], [up]))
    with Peer(caller.listen(port=a.port), lambda peer, sock: peer.release.wait(30)):
        dns.records["svc.test"] = [server.ipv4, caller.ipv4]
        proxy.wait_stat("cluster.up.membership_excluded", 1)
        where = f"up::{caller.ipv4}:{a.port}::health_flags::"
        assert where + "/failed_active_hc/pending_active_hc\n" in proxy.admin.get("/clusters")
        assert proxy.admin.stat("cluster.up.membership_healthy") == 1
        # The first answer ends it, also a bad one.
        wait_until(lambda: where + "/failed_active_hc/active_hc_timeout\n" in proxy.admin.get("/clusters"), 10)
        proxy.wait_stat("cluster.up.membership_excluded", 0)


# ---- connections to hosts that fail ----
def test_http_connections_to_a_failed_host_drain(start, backends):
    lab = start({"a": backends["a"]}, http_check(), panic=100)  # requests go to it all the same
    assert lab.seen(3)["a"] == 3
    lab.proxy.wait_stat("cluster.web.upstream_cx_active", 1)
    backends["a"].health = BAD
    lab.wait_flags(a="/failed_active_hc")
    lab.proxy.wait_stat("cluster.web.upstream_cx_active", 0)
    assert lab.seen(3)["a"] == 3
    lab.proxy.wait_stat("cluster.web.upstream_cx_total", 2)


@pytest.mark.parametrize("close", [False, True])
def test_tcp_connections_to_a_failed_host(run_proxy, app, server, backends, close):
    with Peer(server.listen(), lambda peer, sock: sock.sendall(b"hello") or peer.release.wait(30)) as a:
        port = app.free_port()
        up = cluster("web", (server.ipv4, a.port), health_checks=[http_check()], close_connections_on_host_health_failure=close)
        up["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["health_check_config"] = {"port_value": backends["a"].port}
        proxy = run_proxy(bootstrap([listener(port, chain(tcp_proxy("web")))], [up]))
        with app.connect("127.0.0.1", port) as sock:
            assert receive_exactly(sock, 5) == b"hello"
            backends["a"].health = BAD
            proxy.wait_stat("cluster.web.health_check.healthy", 0)
            if close:
                sock.settimeout(5)
                assert sock.recv(1) == b""
                proxy.wait_stat("cluster.web.upstream_cx_destroy_local", 1)
            proxy.wait_stat("cluster.web.upstream_cx_active", 0 if close else 1)


# ---- the proxy's own health ----
HEALTH_FILTER = "envoy.extensions.filters.http.health_check.v3.HealthCheck"


def test_healthy_as_long_as_its_clusters_are(start, backends, world):
    log = AccessLog(world.directory / f"health-{world.next_number()}.log")
    own = {"name": "health", "typed_config": typed(HEALTH_FILTER, pass_through_mode=False, headers=[
        {"name": ":path", "string_match": {"exact": "/live"}}], cluster_min_healthy_percentages={"web": {"value": 50}})}
    lab = start({"a": backends["a"], "b": backends["b"]}, http_check(), manager={
        "filters": [own], "access_log": [file_log(log.path, "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%")]})
    assert call(lab.app, lab.port, "/live")[0] == 200
    backends["a"].health = BAD
    lab.wait_flags(a="/failed_active_hc")
    assert call(lab.app, lab.port, "/live")[0] == 200
    backends["b"].health = BAD
    lab.wait_flags(b="/failed_active_hc")
    wait_until(lambda: call(lab.app, lab.port, "/live")[0] == 503)
    assert lab.proxy.admin.stat("http.web.health_check.failed_cluster_unhealthy") >= 1
    lines = log.wait(3)
    assert lines[0] == "200 - health_check_ok_cluster_healthy"
    wait_until(lambda: log.lines()[-1] == "503 LH health_check_failed_cluster_unhealthy")


def test_failing_on_purpose(start, backends):
    own = {"name": "health", "typed_config": typed(HEALTH_FILTER, pass_through_mode=True, headers=[
        {"name": ":path", "string_match": {"exact": "/live"}}])}
    lab = start({"a": backends["a"]}, http_check(), manager={"filters": [own]})
    status, fields, body = call(lab.app, lab.port, "/live")
    assert (status, body) == (200, b"a")
    assert "x-envoy-immediate-health-check-fail" not in call(lab.app, lab.port)[1]
    lab.proxy.admin.post("/healthcheck/fail")
    assert not lab.proxy.admin.ready()
    wait_until(lambda: call(lab.app, lab.port, "/live")[0] == 503)
    status, fields, body = call(lab.app, lab.port)
    assert (status, body, fields["x-envoy-immediate-health-check-fail"]) == (200, b"a", "true")
    assert fields["connection"] == "close"
    lab.proxy.admin.post("/healthcheck/ok")
    wait_until(lambda: call(lab.app, lab.port, "/live")[0] == 200)
    status, fields, body = call(lab.app, lab.port)
    assert status == 200 and "connection" not in fields
