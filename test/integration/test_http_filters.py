"""HTTP filters, each on both proxies: what the client gets, what the upstream saw, the access log, the statistics."""
import re

import pytest

from config import bootstrap, chain, cluster, file_log, listener, typed
from support import proxies, yamltext
from support.peers import Peer
from support.proxies import AccessLog

pytestmark = pytest.mark.root

LOG = "%REQ(:PATH)% %RESPONSE_CODE% %RESPONSE_CODE_DETAILS% %RESPONSE_FLAGS% %BYTES_SENT%"
ALWAYS = {"default_value": {"numerator": 100}}
HUNDRED = {"numerator": 100}


def http_filter(name, kind, **fields):
    return {"name": f"envoy.filters.http.{name}", "typed_config": typed(f"envoy.extensions.filters.http.{kind}", **fields)}


def manager(routes, filters, **fields):
    router = {"name": "envoy.filters.http.router", "typed_config": typed("envoy.extensions.filters.http.router.v3.Router")}
    return {"name": "envoy.filters.network.http_connection_manager",
            "typed_config": typed("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", stat_prefix="in",
                                  route_config={"name": "r", "virtual_hosts": [{"name": "vh", "domains": ["*"], "routes": routes}]},
                                  http_filters=[*filters, router], **fields)}


def message(sock):
    """One HTTP/1 message whose length is given, chunked or none: (head lines, body)."""
    got = b""
    while b"\r\n\r\n" not in got:
        part = sock.recv(1 << 16)
        if not part:
            return None
        got += part
    head, _, body = got.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    length = re.search(rb"content-length: *(\d+)", head, re.I)
    if length:
        while len(body) < int(length[1]):
            body += sock.recv(1 << 16)
    elif b"chunked" in head.lower():
        while not body.endswith(b"0\r\n\r\n"):
            body += sock.recv(1 << 16)
    return lines, body


class World:
    def __init__(self, proxy, app, port, log, seen):
        self.proxy, self.app, self.port, self.log, self.seen = proxy, app, port, log, seen

    def ask(self, path="/", method="GET", headers=(), body=b""):
        """(status, {header: value}, body)."""
        with self.app.connect("127.0.0.1", self.port) as sock:
            sock.settimeout(10)
            extra = "".join(f"{h}\r\n" for h in headers)
            sock.sendall(f"{method} {path} HTTP/1.1\r\nhost: ex.com\r\n{extra}\r\n".encode() + body)
            lines, got = message(sock)
        pairs = [line.split(": ", 1) for line in lines[1:]]
        return int(lines[0].split()[1]), {k.lower(): v for k, v in (p if len(p) == 2 else (p[0].rstrip(":"), "") for p in pairs)}, got


@pytest.fixture
def world_with(run_proxy, app, server, world, request):
    """world_with(filters, per_filter_config of the route): a proxy with an upstream that answers "hello"."""
    def start(*filters, **route):
        seen = []

        def upstream(_, sock):
            sock.settimeout(10)
            while (got := message(sock)) is not None:
                seen.append(got)
                grpc = any("application/grpc" in line for line in got[0])
                sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: 7\r\ncontent-length: 7\r\n\r\n\0\0\0\0\2ab"
                             if grpc else b"HTTP/1.1 200 OK\r\nx-up: yes\r\ncontent-length: 5\r\n\r\nhello")
        port = app.free_port()
        peer = Peer(server.listen(), upstream)
        peer.__enter__()
        request.addfinalizer(lambda: peer.__exit__(None, None, None))
        log = AccessLog(world.directory / f"log-{world.next_number()}.log")
        routes = [{"match": {"prefix": "/"}, "route": {"cluster": "up"}, **({"typed_per_filter_config": route} if route else {})}]
        config = bootstrap([listener(port, chain(manager(routes, filters, access_log=[file_log(log.path, LOG)])))],
                           [cluster("up", (server.ipv4, peer.port))], node={"id": "i", "cluster": "mycluster"})
        return World(run_proxy(config), app, port, log, seen)
    return start


def test_cors(world_with):
    policy = typed("envoy.extensions.filters.http.cors.v3.CorsPolicy", allow_origin_string_match=[{"exact": "http://a.com"}],
                   allow_methods="GET", allow_headers="x-a", expose_headers="x-e", max_age="7", allow_credentials=True)
    w = world_with(http_filter("cors", "cors.v3.Cors"), **{"envoy.filters.http.cors": policy})
    status, headers, body = w.ask(headers=["origin: http://a.com"])
    assert (status, body) == (200, b"hello")
    assert {k: v for k, v in headers.items() if k.startswith("access-")} == {
        "access-control-allow-origin": "http://a.com", "access-control-allow-credentials": "true", "access-control-expose-headers": "x-e"}
    assert not [k for k in w.ask(headers=["origin: http://b.com"])[1] if k.startswith("access-")]
    status, headers, _ = w.ask(method="OPTIONS", headers=["origin: http://a.com", "access-control-request-method: GET"])
    assert status == 200 and headers["access-control-allow-methods"] == "GET" and headers["access-control-max-age"] == "7"
    assert headers["access-control-allow-headers"] == "x-a" and len(w.seen) == 2
    assert w.log.wait(3)[2] == "/ 200 cors_response - 0"
    w.proxy.wait_stat("http.in.cors.origin_valid", 2)
    w.proxy.wait_stat("http.in.cors.origin_invalid", 1)


def test_fault(world_with):
    w = world_with(http_filter("fault", "fault.v3.HTTPFault", delay={"header_delay": {}, "percentage": HUNDRED},
                               abort={"header_abort": {}, "percentage": HUNDRED}))
    assert w.ask()[0] == 200
    assert w.ask(headers=["x-envoy-fault-delay-request: 50"])[0] == 200
    status, _, body = w.ask(headers=["x-envoy-fault-abort-request: 418", "x-envoy-downstream-service-cluster: dsc"])
    assert (status, body) == (418, b"fault filter abort")
    assert w.ask(headers=["x-envoy-fault-delay-request: 20", "x-envoy-fault-abort-request: 503"])[0] == 503
    assert w.log.wait(4) == ["/ 200 via_upstream - 5", "/ 200 via_upstream DI 5", "/ 418 fault_filter_abort FI 18",
                             "/ 503 fault_filter_abort DI,FI 18"]
    for name, value in {"aborts_injected": 2, "delays_injected": 2, "active_faults": 0, "dsc.aborts_injected": 1}.items():
        w.proxy.wait_stat(f"http.in.fault.{name}", value)


def test_local_ratelimit(world_with):
    w = world_with(http_filter("local_ratelimit", "local_ratelimit.v3.LocalRateLimit", stat_prefix="sp",
                               token_bucket={"max_tokens": 2, "tokens_per_fill": 1, "fill_interval": "1000s"}, filter_enabled=ALWAYS,
                               filter_enforced=ALWAYS, enable_x_ratelimit_headers="DRAFT_VERSION_03",
                               response_headers_to_add=[{"header": {"key": "x-l", "value": "true"}}]))
    assert [w.ask()[0] for _ in range(2)] == [200, 200]
    status, headers, body = w.ask()
    assert (status, body, headers["x-l"], headers["x-ratelimit-limit"], headers["x-ratelimit-remaining"]) == (
        429, b"local_rate_limited", "true", "2", "0")
    assert 990 <= int(headers["x-ratelimit-reset"]) <= 1000
    assert w.log.wait(3)[2] == "/ 429 local_rate_limited RL 18"
    for name, value in {"enabled": 3, "ok": 2, "rate_limited": 1, "enforced": 1}.items():
        w.proxy.wait_stat(f"sp.http_local_rate_limit.{name}", value)


KEY = [{"generic_key": {"descriptor_value": "v"}}]
METADATA = {"descriptor_key": "k", "metadata_key": {"key": "ns", "path": [{"key": "a"}]}}
# rate_limits of the filter's own: what sluiced names, and does Envoy refuse it too?
LIMITS_REFUSED = {
    "a number and a format": ({"actions": KEY, "hits_addend": {"number": 3, "format": "%BYTES_RECEIVED%"}}, ".hits_addend", True),
    "neither": ({"actions": KEY, "hits_addend": {}}, ".hits_addend", True),
    "too many": ({"actions": KEY, "hits_addend": {"number": 1000000001}}, ".hits_addend.number", True),
    "a stage": ({"actions": KEY, "stage": 1}, ".stage", True),
    "a key that disables": ({"actions": KEY, "disable_key": "k"}, ".disable_key", True),
    "a limit": ({"actions": KEY, "limit": {"dynamic_metadata": {"metadata_key": METADATA["metadata_key"]}}}, ".limit", True),
    "deprecated": ({"actions": [{"dynamic_metadata": METADATA}]}, ".actions[0].dynamic_metadata", True),
    "a format": ({"actions": KEY, "hits_addend": {"format": "%BYTES_RECEIVED%"}}, ".hits_addend.format", False),
    "metadata of the route": ({"actions": [{"metadata": {**METADATA, "source": "ROUTE_ENTRY"}}]}, ".actions[0].metadata.source", False),
    "when the stream is done": ({"actions": KEY, "apply_on_stream_done": True}, ".apply_on_stream_done", False),
}


@pytest.mark.parametrize("name", LIMITS_REFUSED)
def test_rate_limits_that_are_refused(world, kind, name):
    limit, path, by_both = LIMITS_REFUSED[name]
    made = http_filter("local_ratelimit", "local_ratelimit.v3.LocalRateLimit", stat_prefix="sp", rate_limits=[limit])
    config = bootstrap([listener(8000, chain(manager([{"match": {"prefix": "/"}, "direct_response": {"status": 200}}], [made])))], [])
    done, _ = proxies.validate(world, kind, yamltext.dump(config))
    assert (done.returncode != 0) == (by_both or kind == "sluiced"), done.stderr
    if kind == "sluiced":
        assert "http_filters[0].typed_config.rate_limits[0]" + path in done.stderr, done.stderr


def test_header_mutation(world_with):
    def add(key, value, action="APPEND_IF_EXISTS_OR_ADD"):
        return {"append": {"header": {"key": key, "value": value}, "append_action": action}}

    def parameter(key, value, action):
        return {"append": {"record": {"key": key, "value": value}, "action": action}}
    w = world_with(http_filter("header_mutation", "header_mutation.v3.HeaderMutation", mutations={
        "request_mutations": [add("x-h", "%REQ(:PATH)%|%REQ(nope)%"), {"remove": "x-del"}, {"remove_on_match": {"key_matcher": {"prefix": "x-rm"}}}],
        "response_mutations": [add("x-r", "%RESPONSE_CODE% %UPSTREAM_CLUSTER%"), {"remove": "x-up"}],
        "query_parameter_mutations": [parameter("new", "a b&", "APPEND_IF_EXISTS_OR_ADD"), parameter("b", "z", "OVERWRITE_IF_EXISTS"),
                                      {"remove": "d"}]}))
    _, headers, _ = w.ask("/p?b=%41+&a=1&b=3&d=4", headers=["x-del: 1", "x-rm1: 1", "X-RM2: 1"])
    assert headers["x-r"] == "200 up" and "x-up" not in headers
    request = w.seen[0][0]
    assert request[0] == "GET /p?a=1&b=z&new=a%20b%26 HTTP/1.1"
    assert "x-h: /p?b=%41+&a=1&b=3&d=4|" in request
    assert not [line for line in request if line.startswith(("x-del", "x-rm"))]


def test_buffer(world_with):
    w = world_with(http_filter("buffer", "buffer.v3.Buffer", max_request_bytes=10))
    assert w.ask(method="POST", headers=["transfer-encoding: chunked"], body=b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")[0] == 200
    assert "content-length: 5" in w.seen[0][0] and w.seen[0][1] == b"abcde"
    assert w.ask(method="POST", headers=["content-length: 14"], body=b"abcdabcdabcdab")[0] == 413
    assert w.log.wait(2)[1] == "/ 413 request_payload_too_large - 17"
    w.proxy.wait_stat("http.in.downstream_rq_too_large", 1)


def test_health_check(world_with):
    w = world_with(http_filter("health_check", "health_check.v3.HealthCheck", pass_through_mode=False,
                               headers=[{"name": ":path", "string_match": {"exact": "/hz"}}]))
    status, headers, body = w.ask("/hz")
    assert (status, body, headers["x-envoy-upstream-healthchecked-cluster"]) == (200, b"", "mycluster")
    assert w.ask("/x")[2] == b"hello" and len(w.seen) == 1
    assert w.log.wait(2)[0] == "/hz 200 health_check_ok - 0"
    w.proxy.wait_stat("http.in.health_check.request_total", 1)
    w.proxy.wait_stat("http.in.health_check.ok", 1)


def test_grpc_stats(world_with):
    w = world_with(http_filter("grpc_stats", "grpc_stats.v3.FilterConfig", stats_for_all_methods=True, emit_filter_state=True))
    assert w.ask("/pkg.Svc/M", method="POST", headers=["content-type: application/grpc", "content-length: 7"], body=b"\0\0\0\0\2ab")[0] == 200
    for name in ("request_message_count", "response_message_count", "total", "failure", "7"):
        w.proxy.wait_stat(f"cluster.up.grpc.pkg.Svc.M.{name}", 1)


@pytest.mark.parametrize("name, config, fields", [
    ("buffer", "buffer.v3.Buffer", {"max_request_bytes": 10}), ("fault", "fault.v3.HTTPFault", {}),
    ("local_ratelimit", "local_ratelimit.v3.LocalRateLimit", {"stat_prefix": "sp"}), ("cors", "cors.v3.Cors", {}),
    ("header_mutation", "header_mutation.v3.HeaderMutation", {})])
def test_a_route_with_another_filters_configuration(world_with, name, config, fields):
    """It stands below this filter's name, and is not this filter's: as if it were not there."""
    other = typed("envoy.extensions.filters.http.cors.v3.CorsPolicy", allow_methods="GET") if name != "cors" else typed(
        "envoy.extensions.filters.http.buffer.v3.BufferPerRoute", disabled=True)
    w = world_with(http_filter(name, config, **fields), **{f"envoy.filters.http.{name}": other})
    for _ in range(3):
        assert w.ask(method="POST", headers=["content-length: 3", "origin: http://a"], body=b"abc")[0] == 200
    assert len(w.seen) == 3
