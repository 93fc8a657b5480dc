"""The router and its connection pools as a client and the servers see them. Each case on Envoy and sluiced."""
import re

import pytest

from config import bootstrap, chain, cluster, file_log, http_manager, listener
from support.peers import reset
from support.proxies import AccessLog
from support.wait import wait_until
from support.web import Web, answer, call, read_message

pytestmark = pytest.mark.root
LOG = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %UPSTREAM_REQUEST_ATTEMPT_COUNT%"


@pytest.fixture
def lab(run_proxy, app, server, world):
    """lab(replies, route fields...): (proxy, port, web, log)."""
    webs = []

    def start(replies, cluster_fields=None, vhost=None, manager_fields=None, **route):
        web = Web(server.listen(), replies)
        webs.append(web)
        port = app.free_port()
        log = AccessLog(world.directory / f"router-{world.next_number()}.log")
        routes = [{"match": {"prefix": "/"}, "route": {"cluster": "web", **route}}]
        manager = http_manager(routes, access_log=[file_log(log.path, LOG)], **(manager_fields or {}))
        manager["typed_config"]["route_config"]["virtual_hosts"][0].update(vhost or {})
        targets = [cluster("web", (server.ipv4, web.port), **(cluster_fields or {}))]
        return run_proxy(bootstrap([listener(port, chain(manager))], targets)), port, web, log
    yield start
    for web in webs:
        web.close()


@pytest.mark.both_backends
def test_requests_share_a_connection(lab, app):
    proxy, port, web, log = lab(lambda n: answer(body=b"%d" % n))
    for n in range(1, 6):
        status, fields, body = call(app, port, f"/{n}")
        assert (status, body) == (200, b"%d" % n)
        assert re.fullmatch(r"\d+", fields["x-envoy-upstream-service-time"])
    assert web.count() == 1
    assert web.requests[0][1]["x-envoy-expected-rq-timeout-ms"] == "15000"
    assert log.wait(5)[4] == "200 - via_upstream 1"
    for name, value in {"upstream_rq_total": 5, "upstream_rq_200": 5, "upstream_rq_2xx": 5, "external.upstream_rq_200": 5,
                        "upstream_rq_completed": 5, "upstream_cx_total": 1, "upstream_cx_http1_total": 1, "upstream_rq_active": 0,
                        "upstream_cx_active": 1}.items():
        proxy.wait_stat(f"cluster.web.{name}", value)


def test_large_bodies_pass_both_ways(lab, app):
    big = bytes(range(256)) * 8192  # 2 MiB
    _, port, web, _ = lab(lambda n: answer(body=big))
    status, _, body = call(app, port, method="POST", body=big)
    assert status == 200 and body == big
    assert web.requests[0][2] == big


@pytest.mark.parametrize("case", ["refused", "hang up", "nonsense", "time-out", "half"])
def test_what_goes_wrong_has_envoys_words(lab, app, case):
    replies = {"refused": answer(), "hang up": None, "nonsense": b"nonsense\r\n\r\n", "time-out": b"hang",
               "half": b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"}
    sent = []

    def reply(n):
        sent.append(n)
        return replies[case]
    proxy, port, web, log = lab(reply, timeout="0.3s")
    if case == "refused":
        web.close()
    if case == "half":
        with app.connect("127.0.0.1", port) as sock:
            sock.settimeout(10)
            sock.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            web.wait_connections()
            wait_until(lambda: sent, what="the request")
            data = b""
            while b"half" not in data:
                data += sock.recv(1000)
            for connection in web.connections:
                connection.shutdown(2)
            assert sock.recv(1000) == b""  # cut off, not completed
        for name in ("tx_reset", "rx_reset"):
            proxy.wait_stat(f"http.web.downstream_rq_{name}", 1)
        assert log.wait()[0].startswith("200 UPE upstream_reset_after_response_started{")
        return
    status, _, body = call(app, port)
    before = "upstream connect error or disconnect/reset before headers. reset reason: "
    want = {"refused": (503, before + "remote connection failure", "UF"), "hang up": (503, before + "connection termination", "UC"),
            "nonsense": (502, before + "protocol error", "UPE"), "time-out": (504, "upstream request timeout", "UT")}[case]
    assert (status, body.decode()) == want[:2]
    assert log.wait()[0].split()[1] == want[2]


def test_retries_until_it_works(lab, app):
    policy = {"retry_on": "5xx", "num_retries": 3, "retry_back_off": {"base_interval": "0.001s"}}
    vhost = {"include_request_attempt_count": True, "include_attempt_count_in_response": True}
    proxy, port, web, log = lab(lambda n: answer(503) if n == 1 else None if n == 2 else answer(body=b"at last"),
                                retry_policy=policy, vhost=vhost)
    status, fields, body = call(app, port, method="POST", body=b"x" * 50000)
    assert (status, body, fields["x-envoy-attempt-count"]) == (200, b"at last", "3")
    assert [r[1]["x-envoy-attempt-count"] for r in web.requests] == ["1", "2", "3"]
    assert all(r[2] == b"x" * 50000 for r in web.requests)
    assert log.wait()[0] == "200 - via_upstream 3"
    for name, value in {"upstream_rq_retry": 2, "upstream_rq_retry_success": 1, "retry.upstream_rq_503": 1, "upstream_rq_200": 1,
                        "circuit_breakers.default.rq_retry_open": 0}.items():
        proxy.wait_stat(f"cluster.web.{name}", value)


def test_retries_end(lab, app):
    policy = {"retry_on": "5xx", "num_retries": 2, "retry_back_off": {"base_interval": "0.001s"}}
    proxy, port, web, log = lab(lambda n: answer(503, body=b"no"), retry_policy=policy)
    assert call(app, port)[0] == 503
    assert len(web.requests) == 3
    assert log.wait()[0] == "503 URX via_upstream 3"
    proxy.wait_stat("cluster.web.upstream_rq_retry_limit_exceeded", 1)


def test_headers_of_the_request_rule_its_retries(lab, app):
    inside = {"internal_address_config": {"cidr_ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]}}
    _, port, web, _ = lab(lambda n: answer(409 if n < 3 else 200), manager_fields=inside)
    # From inside, as the address says: others' x-envoy headers are taken away.
    status, *_ = call(app, port, x_forwarded_for="10.0.0.1", x_envoy_retry_on="retriable-4xx", x_envoy_max_retries="2")
    assert status == 200
    assert len(web.requests) == 3
    assert not any(name.startswith("x-envoy-retry") or name == "x-envoy-max-retries" for name in web.requests[0][1])


def test_a_try_has_its_time(lab, app):
    policy = {"retry_on": "5xx", "num_retries": 1, "per_try_timeout": "0.15s", "retry_back_off": {"base_interval": "0.001s"}}
    proxy, port, web, log = lab(lambda n: b"hang" if n == 1 else answer(body=b"second"), retry_policy=policy)
    assert call(app, port)[2] == b"second"
    proxy.wait_stat("cluster.web.upstream_rq_per_try_timeout", 1)
    assert log.wait()[0] == "200 - via_upstream 2"


def test_a_pooled_connection_that_closed_costs_nothing(lab, app):
    proxy, port, web, _ = lab(lambda n: answer())
    for _ in range(5):
        assert call(app, port)[0] == 200
        web.connections[-1].shutdown(2)
        proxy.wait_stat("cluster.web.upstream_cx_active", 0)
    assert web.count() == 5
    proxy.wait_stat("cluster.web.upstream_rq_200", 5)


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
@pytest.mark.parametrize("end", ["fin", "rst"])
def test_a_connection_that_closes_as_the_request_comes(lab, app, kind, method, end):
    """A server that was about to close an idle connection has perhaps not seen the request: what may be done twice is sent again, on a
    fresh connection. Envoy answers 503 unless it has a retry policy."""
    def reply(n):
        if n == 2:
            if end == "rst":
                reset(web.connections[0])
            return None
        return answer(body=b"%d" % n)
    proxy, port, web, log = lab(reply)
    assert call(app, port)[2] == b"1"
    status, _, body = call(app, port, "/second", method)
    if kind == "envoy" or method == "POST":
        assert status == 503 and body.endswith(b"reset reason: connection termination")
        assert log.wait(2)[1].startswith("503 UC ")
        assert len(web.requests) == 2
    else:
        assert (status, body) == (200, b"3")
        assert log.wait(2)[1] == "200 - via_upstream 1"
        assert [r[0] for r in web.requests[1:]] == [f"{method} /second HTTP/1.1"] * 2 and web.count() == 2


def test_a_fresh_connection_that_closes_is_not_tried_again(lab, app):
    _, port, web, log = lab(lambda n: None)
    assert call(app, port)[0] == 503
    assert len(web.requests) == 1


def test_limits(lab, app):
    breakers = {"circuit_breakers": {"thresholds": [{"max_connections": 1, "max_pending_requests": 1}]}}
    proxy, port, web, log = lab(lambda n: b"hang" if n == 1 else answer(), cluster_fields=breakers, timeout="20s")
    with app.connect("127.0.0.1", port) as first, app.connect("127.0.0.1", port) as second:
        for sock in (first, second):
            sock.settimeout(10)
        first.sendall(b"GET /1 HTTP/1.1\r\nhost: a\r\n\r\n")
        wait_until(lambda: web.requests, what="the first request")
        second.sendall(b"GET /2 HTTP/1.1\r\nhost: a\r\n\r\n")
        proxy.wait_stat("cluster.web.upstream_rq_pending_active", 1)
        status, fields, body = call(app, port, "/3")
        assert (status, fields["x-envoy-overloaded"]) == (503, "true")
        assert body == b"upstream connect error or disconnect/reset before headers. reset reason: overflow"
        assert log.wait()[0].startswith("503 UO upstream_reset_before_response_started{overflow}")
        proxy.wait_stat("cluster.web.upstream_rq_pending_overflow", 1)
        web.release.set()  # the first connection ends: the second request gets one
        assert read_message(first)[0].split()[1] == "503"
        assert read_message(second)[0].split()[1] == "200"


def test_max_requests_per_connection(lab, app):
    options = {"typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions", "explicit_http_config": {"http_protocol_options": {}},
        "common_http_protocol_options": {"max_requests_per_connection": 2}}}}
    proxy, port, web, _ = lab(lambda n: answer(), cluster_fields=options)
    for _ in range(4):
        assert call(app, port)[0] == 200
    assert web.count() == 2
    proxy.wait_stat("cluster.web.upstream_cx_max_requests", 2)


def test_internal_redirects(lab, app):
    def reply(n):
        return answer(302, location="http://b/there?x=1") if n == 1 else answer(body=b"there")
    proxy, port, web, _ = lab(reply, internal_redirect_policy={})
    status, _, body = call(app, port, "/here")
    assert (status, body) == (200, b"there")
    assert (web.requests[1][0], web.requests[1][1]["host"]) == ("GET /there?x=1 HTTP/1.1", "b")
    assert web.requests[1][1]["x-envoy-original-url"] == "http://a/here"
    proxy.wait_stat("cluster.web.upstream_internal_redirect_succeeded_total", 1)


def test_a_websocket_is_a_tunnel(lab, app):
    def tunnel(n):
        return b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\nhello"
    _, port, web, _ = lab(tunnel, upgrade_configs=[{"upgrade_type": "websocket"}])
    with app.connect("127.0.0.1", port) as sock:
        sock.settimeout(10)
        sock.sendall(b"GET /chat HTTP/1.1\r\nhost: a\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n")
        data = b""
        while not data.endswith(b"hello"):
            more = sock.recv(1000)
            assert more, data
            data += more
        assert data.startswith(b"HTTP/1.1 101 ")
