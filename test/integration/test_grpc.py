"""gRPC by grpcio on both sides, over HTTP/2 in clear. Each case on Envoy and sluiced."""
import contextlib
import signal

import pytest

from config import bootstrap, chain, cluster, file_log, http_manager, listener, typed
from conftest import check_sanitizers, require
from programs import Client, Server, play
from support import paths, proxies
from support.proxies import AccessLog
from support.wait import wait_until

pytestmark = pytest.mark.root
LOG = "%RESPONSE_CODE% %RESPONSE_FLAGS% %GRPC_STATUS% %PROTOCOL% %UPSTREAM_REQUEST_ATTEMPT_COUNT% %REQ(:PATH)%"
OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
UPSTREAM = {"explicit": {"explicit_http_config": {"http2_protocol_options": {}}},
            "downstream": {"use_downstream_protocol_config": {"http_protocol_options": {}, "http2_protocol_options": {}}}}


def grpc_stats(**fields):
    return {"name": "envoy.filters.http.grpc_stats",
            "typed_config": typed("envoy.extensions.filters.http.grpc_stats.v3.FilterConfig", stats_for_all_methods=True, **fields)}


def grpc_cluster(name, *targets, protocol="explicit", **fields):
    plenty = {"circuit_breakers": {"thresholds": [{"max_connections": 20000, "max_requests": 20000, "max_pending_requests": 20000,
                                                       "max_retries": 20000}]}}
    options = {"typed_extension_protocol_options": {OPTIONS: typed(OPTIONS, **UPSTREAM[protocol])}}
    return cluster(name, *targets, **{**options, **plenty, **fields})


class Lab:
    def __init__(self, proxy, port, server, log):
        self.proxy, self.port, self.server, self.log = proxy, port, server, log
        self.target = f"127.0.0.1:{port}"

    def play(self, app, scenario, **arguments):
        return play(app, "grpc_client", scenario, self.target, **arguments)


@pytest.fixture
def lab(run_proxy, app, server, world):
    """lab(protocol, manager fields, cluster fields, route fields...)"""
    stack = contextlib.ExitStack()

    def start(protocol="explicit", manager=None, upstream=None, extra=(), **route):
        peer = stack.enter_context(contextlib.closing(Server(server, "grpc_server")))
        port = app.free_port()
        log = AccessLog(world.directory / f"grpc-{world.next_number()}.log")
        routes = [{"match": {"prefix": "/"}, "route": {"cluster": "peer", "timeout": "0s", **route}}]
        made = http_manager(routes, [grpc_stats(enable_upstream_stats=True)], access_log=[file_log(log.path, LOG)], **(manager or {}))
        targets = [grpc_cluster("peer", (server.ipv4, peer.port), protocol=protocol, **(upstream or {}))]
        return Lab(run_proxy(bootstrap([listener(port, chain(made))], targets), extra=extra), port, peer, log)
    with stack:
        yield start


@pytest.mark.both_backends
@pytest.mark.parametrize("protocol", UPSTREAM)
def test_calls_of_all_four_kinds(lab, app, protocol):
    made = lab(protocol)
    seen = made.play(app, "unary")
    assert seen["same"] and seen["last"] == {"x-last": "end", "x-raw-bin": "00ff"}
    assert set(seen["first"]) == {"date", "server", "x-envoy-upstream-service-time", "x-first"} and seen["first"]["x-first"] == "begin"
    assert made.play(app, "streams") == [True] * 15
    lines = made.log.wait(16)
    assert all(line.startswith("200 - OK HTTP/2 1 /test.Peer/") for line in lines), lines
    stats = made.proxy.admin.stats()
    assert stats["cluster.peer.upstream_cx_http2_total"] >= 1 and stats["cluster.peer.upstream_rq_200"] == 16
    for name, value in {"Echo.success": 1, "Echo.total": 1, "Echo.0": 1, "Echo.request_message_count": 1, "Echo.response_message_count": 1,
                        "Collect.success": 5, "Collect.request_message_count": 250, "Collect.response_message_count": 5,
                        "Produce.response_message_count": 250, "Chat.request_message_count": 250, "Chat.response_message_count": 250}.items():
        assert stats.get(f"cluster.peer.grpc.test.Peer.{name}") == value, name


def test_errors_keep_code_and_message(lab, app):
    """Trailers alone: the status as the server said it, for every code; a method that nobody knows."""
    made = lab()
    codes = list(range(1, 17))
    told = made.play(app, "fail", codes=codes)
    names = ["CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
             "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
             "UNAUTHENTICATED"]
    assert len({name for name, *_ in told[:16]}) == 16 and {name for name, *_ in told[:16]} == set(names)
    assert all(message.startswith("über ") and message.endswith("%") for _, message, _ in told[:16])
    assert told[16][0] == "UNIMPLEMENTED"
    stats = made.proxy.admin.stats()
    assert stats["cluster.peer.grpc.test.Peer.Fail.failure"] == 16
    assert stats["cluster.peer.grpc.test.Peer.Missing.12"] == 1
    assert stats["cluster.peer.upstream_rq_200"] == 17
    # What a failed call counts as where gRPC's status is taken for the request's.
    assert sorted(line.split()[0] for line in made.log.wait(17)) == ["200"] * 17


@pytest.mark.parametrize("mode", ["client", "max_grpc_timeout", "stream", "grpc_timeout_header_max"])
def test_deadlines(lab, app, mode):
    """Whose deadline it is: the client's own, or the proxy's limit on what the client asked for."""
    route = {"client": {}, "max_grpc_timeout": {"max_grpc_timeout": "0.4s"},
             "stream": {"max_stream_duration": {"max_stream_duration": "0.4s"}},
             "grpc_timeout_header_max": {"max_stream_duration": {"grpc_timeout_header_max": "0.4s"}}}[mode]
    made = lab(**route)
    seen = made.play(app, "deadline", timeout=0.4 if mode == "client" else 20)
    code, message, _ = seen["told"]
    assert seen["spent"] < 10
    if mode == "client":
        assert code == "DEADLINE_EXCEEDED"
        assert 0 < seen["deadlines"][0] <= 0.4
    elif mode == "max_grpc_timeout" and (code, message) == ("DEADLINE_EXCEEDED", "Deadline Exceeded"):
        assert 0 < seen["deadlines"][0] <= 0.4  # the server, which is told the limit, was the first to end the call
    elif mode == "max_grpc_timeout":
        assert (code, message) == ("DEADLINE_EXCEEDED", "upstream request timeout") or (code, message) == ("UNAVAILABLE", "upstream request timeout")
        assert made.log.wait()[0].split()[1] == "UT"
        made.proxy.wait_stat("cluster.peer.upstream_rq_timeout", 1)
    else:
        assert code in ("DEADLINE_EXCEEDED", "UNAVAILABLE", "CANCELLED")
        # The server knows the deadline too: where it is the first to end the call, Envoy counts none of its own.
        if made.proxy.kind == "sluiced":
            made.proxy.wait_stat("http.web.downstream_rq_max_duration_reached", 1)


def test_cancel_reaches_the_server(lab, app):
    made = lab()
    assert made.play(app, "cancel") == {"first": "first", "holding": 0, "after": "y"}
    made.proxy.wait_stat("cluster.peer.upstream_rq_active", 0)
    lines = made.log.wait(2)
    assert [line.split()[1] for line in lines if "Hold" in line] == ["DR"], lines


def test_large_messages_both_ways(lab, app):
    """48 MiB in one message, through windows of 64 KiB, 256 KiB and what the sides make of them."""
    made = lab(manager={"http2_protocol_options": {"initial_stream_window_size": 65535, "initial_connection_window_size": 65535}})
    assert made.play(app, "unary", size=48 << 20)["same"] is True
    assert made.play(app, "streams", number=8, size=3 << 20) == [True] * 15


RETRIES = {
    "unavailable": ("unavailable", 14), "cancelled": ("cancelled", 1), "deadline-exceeded": ("deadline-exceeded", 4),
    "resource-exhausted": ("resource-exhausted", 8), "internal": ("internal", 13),
}


@pytest.mark.parametrize("case", RETRIES)
def test_retries_go_by_the_status(lab, app, case):
    retry_on, code = RETRIES[case]
    made = lab(retry_policy={"retry_on": retry_on, "num_retries": 2, "retry_back_off": {"base_interval": "0.001s"}})
    assert made.play(app, "flaky", code=code, times=2, key="saved")[::2] == ["OK", 3]
    assert made.play(app, "flaky", code=code, times=5, key="lost")[1:] == ["not yet", 3]
    assert made.play(app, "flaky", code=5, times=1, key="other")[:2] == ["NOT_FOUND", "not yet"]
    lines = [line for line in made.log.wait(6) if "Flaky" in line]
    assert [line.split()[1] for line in lines] == ["-", "URX", "-"], lines
    made.proxy.wait_stat("cluster.peer.upstream_rq_retry", 4)
    made.proxy.wait_stat("cluster.peer.upstream_rq_retry_success", 1)


def test_a_slow_server_holds_up_its_own_call_alone(lab, app):
    made = lab()
    before = made.proxy.process.rss_kib()
    seen = made.play(app, "slow_reader")
    assert seen["held"] < 64, "the client could send all of it although nobody read"
    assert seen["got"] == {"number": 64, "bytes": 64 << 20}
    if not paths.sanitized():
        assert made.proxy.process.rss_kib() - before < 48 << 10


def test_a_slow_client_holds_up_its_own_call_alone(lab, app):
    made = lab()
    assert made.play(app, "slow_client") == {"got": 64}


@pytest.mark.slow
@pytest.mark.both_backends
@pytest.mark.parametrize("connections, each", [(100, 100), (2, 5000)])
def test_ten_thousand_calls_at_once(lab, app, kind, connections, each):
    """On many connections and on few, all open at once; all answered; memory and gauges are back afterwards."""
    many = {"http2_protocol_options": {"max_concurrent_streams": 10000}}
    made = lab(manager=many)
    made.play(app, "crowd", connections=10, each=10)  # what is made once is made
    before = made.proxy.process.rss_kib()
    assert made.play(app, "crowd", connections=connections, each=each) == {"held_max": 10000, "answered": 10000}
    for name in ("cluster.peer.upstream_rq_active", "http.web.downstream_rq_active", "http.web.downstream_cx_active"):
        made.proxy.wait_stat(name, 0, 20)
    wait_until(lambda: int(made.proxy.admin.json("/memory")["allocated"]) < 24 << 20, 20, "what was allocated is free")
    if kind == "sluiced" and not paths.sanitized():  # sanitizers keep what is freed for a while; Envoy keeps all of it for the next time
        wait_until(lambda: made.proxy.process.rss_kib() - before < 24 << 10, 20, "and the kernel has it back")


def load(app, lab):
    client = Client(app, "grpc_client", "load", lab.target)
    client.wait_line("going")
    return client


def finish(client):
    client.say_end()
    seen = client.result()
    assert seen["errors"] == [] and seen["ok"] > 100, seen


@pytest.mark.parametrize("limit", [{"max_connection_duration": "0.2s"}, {"max_requests_per_connection": 50}], ids=["duration", "requests"])
def test_a_connection_that_ends_loses_no_call(lab, app, kind, limit):
    """GOAWAY to the client while calls are under way, again and again. sluiced asks whether the client has seen the notice; Envoy has to
    be told to wait for longer than that ever takes."""
    made = lab(manager={"common_http_protocol_options": limit, "drain_timeout": "5s" if kind == "envoy" else "0.05s"})
    client = load(app, made)
    wait_until(lambda: made.proxy.admin.stat("http.web.downstream_cx_total") >= 20, 20, "connections come and go")
    finish(client)


def test_an_upstream_connection_that_ends_loses_no_call(lab, app):
    """GOAWAY by the proxy's own limits upstream."""
    limit = {"common_http_protocol_options": {"max_requests_per_connection": 50}, "explicit_http_config": {"http2_protocol_options": {}}}
    made = lab(upstream={"typed_extension_protocol_options": {OPTIONS: typed(OPTIONS, **limit)}})
    client = load(app, made)
    wait_until(lambda: made.proxy.admin.stat("cluster.peer.upstream_cx_max_requests") >= 10, 20, "connections come and go")
    finish(client)


def test_a_server_that_leaves_loses_no_call(run_proxy, app, server):
    """Two servers; one drains (GOAWAY, then its end) under load, and comes back under its old port."""
    with contextlib.ExitStack() as stack:
        stays, leaves = (stack.enter_context(contextlib.closing(Server(server, "grpc_server"))) for _ in range(2))
        policy = {"retry_on": "connect-failure,refused-stream,unavailable,cancelled,reset", "num_retries": 3,
                  "retry_host_predicate": [{"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": typed(
                      "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate")}], "host_selection_retry_max_attempts": 5}
        port = app.free_port()
        routes = [{"match": {"prefix": "/"}, "route": {"cluster": "peer", "timeout": "0s", "retry_policy": policy}}]
        proxy = run_proxy(bootstrap([listener(port, chain(http_manager(routes)))],
                                    [grpc_cluster("peer", *((server.ipv4, one.port) for one in (stays, leaves)))]))
        client = load(app, Lab(proxy, port, None, None))
        for _ in range(3):
            leaves.close()
            proxy.wait_stat("cluster.peer.upstream_cx_active", 1)
            leaves = stack.enter_context(contextlib.closing(Server(server, "grpc_server", str(leaves.port))))
            proxy.wait_stat("cluster.peer.upstream_cx_active", 2)
        finish(client)


def test_a_proxy_that_is_replaced_loses_no_call(world, app, server):
    """A second sluiced on the same port, then SIGTERM to the first: its connections drain, its calls end, the client moves over."""
    require("sluiced")
    with contextlib.closing(Server(server, "grpc_server")) as peer:
        port = app.free_port()
        routes = [{"match": {"prefix": "/"}, "route": {"cluster": "peer", "timeout": "0s"}}]
        config = bootstrap([listener(port, chain(http_manager(routes, drain_timeout="0.3s")))], [grpc_cluster("peer", (server.ipv4, peer.port))])
        old = proxies.start(world, "sluiced", config, app.path, extra=["--shutdown-grace-s", 30])
        client = load(app, Lab(old, port, peer, None))
        new = proxies.start(world, "sluiced", config, app.path)
        try:
            old.process.signal(signal.SIGTERM)
            assert old.process.wait(20) == 0
            finish(client)
            assert new.admin.stat("http.web.downstream_cx_total") > 0
        finally:
            old.stop()
            new.stop()
            for proxy in (old, new):
                check_sanitizers(proxy)
