"""Tracing: the same requests through Envoy and sluiced, and what reaches the next hop and the collector, field by field."""
import contextlib
import json
import os
import re
import time

import pytest

from config import bootstrap, chain, cluster, file_log, http_manager, listener, typed
from conftest import require
from support import proxies, yamltext
from support.collector import Collector
from support.wait import wait_until
from support.web import Web, answer, call

pytestmark = pytest.mark.root

TRACE, SPAN, PARENT = "463ac35c9f6413ad", "a2fb4a1d1a96d312", "0020000000000001"
LONG = "48485a3953bb6124" + TRACE
UUID = "12345678-1234-4234-8234-1234567890ab"  # 0x12345678 % 10,000 is 9,896
FILLERS = 5  # as many spans as one report has: what was pending before them has been sent after them
INSIDE = {"use_remote_address": True, "internal_address_config": {"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]}}


def zipkin(**fields):
    return {"name": "envoy.tracers.zipkin", "typed_config": typed("envoy.config.trace.v3.ZipkinConfig", **{
        "collector_cluster": "collector", "collector_endpoint": "/api/v2/spans", "collector_endpoint_version": "HTTP_JSON",
        "shared_span_context": False, **fields})}


def routes(**fields):
    """/fill for what pushes spans out, / with the case's fields, and other ways to end."""
    def to(prefix, name="up", **route):
        return {"match": {"prefix": prefix}, "route": {"cluster": name, **route}}
    return [to("/fill"), to("/dead", "dead"), to("/slow", timeout="0.2s"),
            to("/retry", retry_policy={"retry_on": "5xx", "num_retries": 1, "retry_back_off": {"base_interval": "0.01s"}}),
            to("/redirected", internal_redirect_policy={}),
            to("/mirrored", request_mirror_policies=[{"cluster": "copies"}]),
            to("/mirror/unsampled", request_mirror_policies=[{"cluster": "copies", "trace_sampled": False}]),
            to("/mirror/sampled", request_mirror_policies=[{"cluster": "copies", "trace_sampled": True}]),
            {"match": {"prefix": "/direct"}, "direct_response": {"status": 403}},
            {**to("/"), **fields}]


def health_check(**fields):
    return {"name": "envoy.filters.http.health_check", "typed_config": typed(
        "envoy.extensions.filters.http.health_check.v3.HealthCheck", pass_through_mode=False,
        headers=[{"name": ":path", "string_match": {"exact": "/health"}}], **fields)}


class Case:
    """A configuration and the requests of its story: (path, {header: value}) or a path alone."""

    def __init__(self, *asked, tracing=None, direction="OUTBOUND", manager=None, route=None, router=None, filters=(), top=None):
        self.asked = [(a, {}) if isinstance(a, str) else a for a in asked]
        self.tracing, self.direction = {"provider": zipkin()} if tracing is None else tracing, direction
        self.manager, self.route, self.router = manager or {}, route or {}, router or {}
        self.filters, self.top = list(filters), top or {}

    def config(self, port, server, web, collector, copies, closed, log):
        manager = http_manager(routes(**self.route), self.filters, tracing=self.tracing, access_log=[file_log(log, "%REQ(:PATH)% %TRACE_ID%")],
                               **self.manager)
        manager["typed_config"]["http_filters"][-1]["typed_config"].update(self.router)
        clusters = [cluster(name, (server.ipv4, p)) for name, p in (("up", web.port), ("dead", closed), ("collector", collector.port), ("copies", copies.port))]
        return bootstrap([listener(port, chain(manager), traffic_direction=self.direction)], clusters,
                         node={"id": "proxy-1", "cluster": "front", "locality": {"zone": "z1"}}, **self.top)


def b3(text):
    return ("/b3", {"b3": text})


def context(**fields):
    return ("/x", {f"x_b3_{name}": value for name, value in fields.items()})


STORY = ["/one", ("/two?q=1", {"user_agent": "me", "x_client_trace_id": "c"}), "/direct", "/dead", "/slow", "/retry", "/redirected", "/health"]
CONTEXTS = [
    context(sampled="0"), context(sampled="1"), context(flags="1"), context(traceid=TRACE, spanid=SPAN), context(traceid=TRACE, spanid=SPAN, sampled="0"),
    context(traceid=LONG, spanid=SPAN, parentspanid=PARENT, sampled="true"), context(traceid="xyz", spanid=SPAN), context(traceid=TRACE, spanid=""),
    context(traceid=TRACE, spanid=SPAN, parentspanid="q"), context(traceid="1", spanid="2"), context(traceid=TRACE), context(traceid=TRACE + "0", spanid=SPAN),
    *map(b3, ["0", "1", "d", "x", f"{TRACE}-{SPAN}", f"{TRACE}-{SPAN}-1", f"{TRACE}-{SPAN}-0", f"{TRACE}-{SPAN}-d", f"{TRACE}-{SPAN}-x",
              f"{LONG}-{SPAN}-1-{PARENT}", f"{TRACE}-{SPAN}-1-{PARENT}", f"{LONG}-{SPAN}", f"{TRACE}-{SPAN}-{PARENT}", f"{TRACE}-{SPAN}-", f"{TRACE}-{SPAN}-1-",
              f"{TRACE}{SPAN}", f"{LONG}-{SPAN}-1-{PARENT}0"]),
    ("/both", {"b3": f"{TRACE}-{SPAN}-1", "x_b3_traceid": "1", "x_b3_spanid": "2"}), ("/w3c", {"traceparent": f"00-{LONG}-{SPAN}-01"})]
NAMED = ["/a", ("/a", {"x_envoy_decorator_operation": "told"}), ("/a", {"x_answer": "theirs"})]
TAGS = [{"tag": "text", "literal": {"value": "v"}}, {"tag": "header", "request_header": {"name": "X-Foo", "default_value": "none"}},
        {"tag": "no header", "request_header": {"name": "x-bar"}}, {"tag": "env", "environment": {"name": "NO_SUCH_NAME", "default_value": "e"}},
        {"tag": "format", "value": "%REQ(:METHOD)% %RESPONSE_CODE%"}, {"tag": "nothing", "value": "%REQ(X-BAR)%"},
        {"tag": "http.method", "literal": {"value": "mine"}},
        *({"tag": key, "metadata": {"kind": {"request": {}}, "metadata_key": {"key": "envoy.filters.http.rbac", "path": [{"key": key}]}, "default_value": "d"}}
          for key in ("shadow_engine_result", "shadow_effective_policy_id", "other")),
        *({"tag": "route " + "/".join(path), "metadata": {"kind": {"route": {}}, "metadata_key": {"key": "mine", "path": [{"key": k} for k in path]}}}
          for path in (["a"], ["b", "c"], ["no"]))]
SHADOW = {"name": "envoy.filters.http.rbac", "typed_config": typed("envoy.extensions.filters.http.rbac.v3.RBAC", shadow_rules={
    "action": "DENY", "policies": {"nobody": {"permissions": [{"any": True}], "principals": [{"any": True}]}}})}
HALF = {"client_sampling": {"value": 0.99}, "random_sampling": {"value": 50}, "overall_sampling": {"value": 60}}
IDS = [f"{n:08x}{UUID[8:]}" for n in (0, 4999, 5000, 5061, 9999, 10030, 49, 59, 60)]

CASES = {
    "outbound": Case(*STORY, filters=[health_check()]),
    "inbound": Case(*STORY, direction="INBOUND", filters=[health_check()]),
    "no direction": Case("/one", direction="UNSPECIFIED"),
    "contexts": Case(*CONTEXTS),
    "contexts, inbound": Case(*CONTEXTS, direction="INBOUND"),
    "shared": Case(*CONTEXTS[3:6], b3(f"{TRACE}-{SPAN}-1"), "/one", direction="INBOUND", tracing={"provider": zipkin(shared_span_context=True)}),
    "128 bits": Case("/one", *CONTEXTS[3:6], tracing={"provider": zipkin(trace_id_128bit=True)}),
    "spans of tries": Case(*STORY, *CONTEXTS[3:6], tracing={"provider": zipkin(), "spawn_upstream_span": True}, filters=[health_check()]),
    "start_child_span": Case(*STORY, *CONTEXTS[3:6], router={"start_child_span": True}, direction="INBOUND"),
    "split spans, shared": Case("/one", *CONTEXTS[3:6], tracing={"provider": zipkin(split_spans_for_request=True, shared_span_context=True)},
                                router={"start_child_span": True}),
    "verbose, short paths": Case("/12345678", "/direct", tracing={"provider": zipkin(), "verbose": True, "max_path_tag_length": 4, "spawn_upstream_span": True}),
    "decorated": Case(*NAMED, route={"decorator": {"operation": "deco"}}),
    "decorated, inbound": Case(*NAMED, route={"decorator": {"operation": "deco"}}, direction="INBOUND"),
    "decorated, not told": Case(*NAMED, route={"decorator": {"operation": "deco", "propagate": False}}),
    "decorated, not told, inbound": Case(*NAMED, route={"decorator": {"operation": "deco", "propagate": False}}, direction="INBOUND"),
    "not decorated": Case(*NAMED),
    "operations": Case(*NAMED, route={"decorator": {"operation": "deco"}}, tracing={
        "provider": zipkin(), "operation": "op %REQ(:PATH)% %RESPONSE_CODE%", "upstream_operation": "up %UPSTREAM_CLUSTER%", "spawn_upstream_span": True}),
    "operations of the route": Case(*NAMED, direction="INBOUND", route={"tracing": {"operation": "theirs", "upstream_operation": "up"}}, tracing={
        "provider": zipkin(), "operation": "op", "spawn_upstream_span": True}),
    "tags": Case("/a", ("/a", {"x_foo": "bar"}), ("/a", {"x_foo": ""}), "/direct", filters=[SHADOW],
                 tracing={"provider": zipkin(), "custom_tags": TAGS, "spawn_upstream_span": True},
                 route={"metadata": {"filter_metadata": {"mine": {"a": "x", "b": {"c": 1.5}}}}, "tracing": {"custom_tags": [
                     {"tag": "text", "literal": {"value": "the route's"}}, {"tag": "own", "literal": {"value": "o"}}]}}),
    "shares": Case(*(("/a", {"x_request_id": i}) for i in IDS), ("/a", {"x_client_trace_id": "c", "x_request_id": IDS[4]}), tracing={"provider": zipkin(), **HALF}),
    "shares of the route": Case(*(("/a", {"x_request_id": i}) for i in IDS), tracing={"provider": zipkin(), "random_sampling": {"value": 0}}, route={
        "tracing": {"client_sampling": {"numerator": 0}, "random_sampling": {"numerator": 5000, "denominator": "TEN_THOUSAND"},
                    "overall_sampling": {"numerator": 60}}}),
    "nothing of the route": Case("/a", "/direct", route={"tracing": {"random_sampling": {"numerator": 0}}}),
    "reasons": Case("/a", ("/a", {"x_client_trace_id": "c"}), ("/a", {"x_envoy_force_trace": "1"}), ("/a", {"x_client_trace_id": "c", "x_envoy_force_trace": "1"}),
                    *(("/a", {"x_request_id": UUID[:14] + c + UUID[15:]}) for c in "149abAB"),
                    *(("/a", {"x_request_id": i}) for i in ("", "1234567", "abcdefgh", "1234567890", UUID + "0")),
                    manager=INSIDE, tracing={"provider": zipkin(), "random_sampling": {"value": 0}}),
    "reasons from outside": Case(("/a", {"x_envoy_force_trace": "1"}), ("/a", {"x_client_trace_id": "c"}), ("/a", {"x_request_id": UUID[:14] + "a" + UUID[15:]}),
                                 manager={"use_remote_address": True, "preserve_external_request_id": True},
                                 tracing={"provider": zipkin(), "random_sampling": {"value": 0}}),
    "not by the id": Case("/a", ("/a", {"x_request_id": UUID}), tracing={"provider": zipkin(), "random_sampling": {"value": 0}}, manager={
        "request_id_extension": {"typed_config": typed("envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig", use_request_id_for_trace_sampling=False)}}),
    "ids without reasons": Case("/a", ("/a", {"x_request_id": UUID}), manager={
        "request_id_extension": {"typed_config": typed("envoy.extensions.request_id.uuid.v3.UuidRequestIdConfig", pack_trace_reason=False)}}),
    "no ids": Case("/a", manager={"generate_request_id": False}),
    "no tracer": Case(*NAMED, ("/a", {"x_request_id": UUID}), b3(f"{TRACE}-{SPAN}-1"), tracing={}, route={"decorator": {"operation": "deco"}}),
    "the bootstrap's tracer": Case("/one", tracing={}, top={"tracing": {"http": zipkin(collector_hostname="zipkin.example")}}),
    "a health check that passes": Case("/one", "/health", ("/health", {"x_b3_traceid": TRACE, "x_b3_spanid": SPAN, "x_b3_sampled": "1"}), filters=[
        {**health_check(), "typed_config": {**health_check()["typed_config"], "pass_through_mode": True}}]),
    "mirrored": Case("/mirrored", "/mirror/unsampled", "/mirror/sampled", *(
        (path, {"x_b3_sampled": "0"}) for path in ("/mirrored", "/mirror/unsampled", "/mirror/sampled")), tracing={
            "provider": zipkin(), "spawn_upstream_span": True, "custom_tags": TAGS, "verbose": True}),
    "grpc": Case(*(("/pkg.Service/Call", {"content_type": "application/grpc", "te": "trailers", "grpc_timeout": "5S", "x_grpc": str(s)}) for s in (0, 1, 2, 5, 14, 99)),
                 tracing={"provider": zipkin(), "spawn_upstream_span": True}),
}


def reply(number, requests):
    """What the server behind answers, by what it was asked."""
    line, fields, _ = requests[-1]
    path = line.split()[1]
    if path.startswith("/slow"):
        return b"hang"
    if path.startswith("/retry"):
        return answer(503, b"no")
    if path.startswith("/redirected"):
        return answer(302, location="http://a/there")
    more = {"x-envoy-decorator-operation": fields["x-answer"]} if "x-answer" in fields else {}
    if "x-grpc" in fields:
        return answer(200, content_type="application/grpc", grpc_status=fields["x-grpc"], grpc_message="said")
    return answer(200, b"hello", **more)


class Names:
    """Ids by the order of their appearance; those that the case itself gave stay."""

    def __init__(self):
        self.known = {}

    def __call__(self, text):
        if text in (TRACE, SPAN, PARENT, LONG) or text is None or int(text, 16) < 10:
            return text
        return self.known.setdefault(text, f"#{len(self.known)}/{len(text)}")


def plain_id(text):
    """An x-request-id by what it says of tracing; one that the case gave stays."""
    return text if text is None or not re.fullmatch("[0-9a-f-]{36}", text) or text[8:14] == UUID[8:14] else f"made, {text[14]}"


def plain_b3(text, name):
    return "-".join(name(part) if re.fullmatch("[0-9a-f]{16}|[0-9a-f]{32}", part) else part for part in text.split("-"))


def plain_log(line, name):
    path, trace = line.split(" ")
    return path, trace if trace == "-" else name(trace)


def plain_fields(fields, name):
    out = {k: v for k, v in fields.items() if k.startswith("x-b3-") or k in ("x-request-id", "b3", "traceparent", "x-envoy-decorator-operation")}
    for key, value in out.items():
        if key.endswith("id") and key != "x-request-id" and re.fullmatch("[0-9a-f]{16}|[0-9a-f]{32}", value):
            out[key] = name(value)
        elif key == "x-request-id":
            out[key] = plain_id(value)
        elif key == "b3":
            out[key] = plain_b3(value, name)
    return out


def plain_span(span, name, ports):
    """A span with its ids by name, its times checked and left out."""
    span = json.loads(json.dumps(span))
    for key in ("traceId", "id", "parentId"):
        if key in span:
            span[key] = name(span[key])
    began, now = span.pop("timestamp"), time.time() * 1e6
    assert isinstance(began, int) and now - 60e6 < began < now
    took = span.pop("duration")
    assert isinstance(took, int) and 0 <= took < 60e6
    for event in span["annotations"]:
        assert began - 1000 <= event.pop("timestamp") <= began + took + 1e6
    tags = span["tags"]
    if "guid:x-request-id" in tags:
        tags["guid:x-request-id"] = plain_id(tags["guid:x-request-id"])
    for key in ("upstream_address", "peer.address"):
        for port, text in ports.items():
            if key in tags:
                tags[key] = tags[key].replace(f":{port}", f":{text}")
    return span


class Run:
    """One proxy, its own server and collector behind it, and the story told."""

    def __init__(self, world, kind, app, server, case):
        self.ways = contextlib.ExitStack()
        self.collector = self.ways.enter_context(Collector(server.listen()))
        self.web = Web(server.listen(), lambda n: reply(n, self.web.requests))
        self.copies = Web(server.listen(), lambda n: answer(200, b"copied"))
        self.ways.callback(self.web.close)
        self.ways.callback(self.copies.close)
        closed = server.free_port()
        self.log = proxies.AccessLog(world.directory / f"tracing-{world.next_number()}.log")
        self.port = app.free_port()
        self.ports = {self.web.port: "up", self.copies.port: "copies", closed: "dead"}
        config = case.config(self.port, server, self.web, self.collector, self.copies, closed, self.log.path)
        self.proxy = proxies.start(world, kind, config, app.path)
        self.ways.callback(self.proxy.process.kill)
        self.answers = []

    def tell(self, app, case):
        copied = 0
        for path, fields in case.asked:
            status, got, _ = call(app, self.port, path, **fields)
            self.answers.append((path, status, {k: v for k, v in got.items() if k in ("x-envoy-decorator-operation", "x-request-id")}))
            copied += path.startswith("/mirror")
            wait_until(lambda: len(self.copies.requests) == copied, what="the copy")
        stats = self.proxy.admin.stats()
        self.counters = {k: v for k, v in stats.items() if k.startswith("http.web.tracing.")}
        # A redirect within the proxy has a line of its own: how many there are is known when the last request's is there.
        assert call(app, self.port, "/fill", x_b3_sampled="0")[0] == 200
        wait_until(lambda: any(line.startswith("/fill") for line in self.log.lines()), what="the access log")
        self.lines = [line for line in self.log.lines() if not line.startswith("/fill")]
        if "tracing.zipkin.spans_sent" not in stats:
            return []
        for _ in range(FILLERS):
            assert call(app, self.port, "/fill", x_b3_sampled="1")[0] == 200
        wait_until(lambda: self.collector.spans and len(self.collector.spans) == self.proxy.admin.stat("tracing.zipkin.spans_sent"), what="the spans")
        self.proxy.wait_stat("tracing.zipkin.reports_sent", len(self.collector.reports))
        return self.collector.spans

    def result(self, spans):
        name = Names()
        seen = [(line, plain_fields(fields, name)) for line, fields, _ in self.web.requests if " /fill" not in line]
        copies = [(line, plain_fields(fields, name)) for line, fields, _ in self.copies.requests]
        traces = {fields.get("x-b3-traceid") for line, fields, _ in self.web.requests if " /fill" in line}
        told = [s for s in spans if s["traceId"] not in traces]
        # Reports may overtake each other, and which of a request's spans ends first may be a matter of luck: by when they began.
        begun = {}
        for span in told:
            begun[span["traceId"]] = min(span["timestamp"], begun.get(span["traceId"], span["timestamp"]))
        told.sort(key=lambda s: (begun[s["traceId"]], s["name"], s["timestamp"]))
        told = [plain_span(s, name, self.ports) for s in told]
        logged = [plain_log(line, name) for line in self.lines]
        return {"logged": logged, "answers": [(p, s, {k: plain_id(v) if k == "x-request-id" else v for k, v in f.items()}) for p, s, f in self.answers],
                "seen": seen, "copies": copies, "counters": self.counters, "spans": told}


def run(world, kind, app, server, case):
    require(kind)
    one = Run(world, kind, app, server, case)
    with one.ways:
        return one.result(one.tell(app, case)), one.collector.reports


@pytest.mark.parametrize("name", CASES)
def test_the_same_spans_and_headers(world, app, server, name):
    theirs, reports = run(world, "envoy", app, server, CASES[name])
    # SLUICE_DIFF_AGAINST=envoy: is the case repeatable at all?
    ours, own_reports = run(world, os.environ.get("SLUICE_DIFF_AGAINST", "sluiced"), app, server, CASES[name])
    for part, expected in theirs.items():
        assert ours[part] == expected, part
    if reports:
        assert own_reports[0][:2] == reports[0][:2]
    assert theirs["spans"] or name in ("no ids", "no tracer"), "a case that traces nothing"


@pytest.fixture
def lab(run_proxy, app, server):
    """lab(case, collector's status, its cluster's port): (proxy, port, collector); /one is answered with 200."""
    with contextlib.ExitStack() as ways:
        def start(case, status=202, port=None):
            collector = ways.enter_context(Collector(server.listen(), status))
            web = ways.enter_context(Web(server.listen(), lambda n: answer(200)))
            listening = app.free_port()
            config = case.config(listening, server, web, collector, web, server.free_port(), "/dev/null")
            if port:
                config["static_resources"]["clusters"][2] = cluster("collector", (server.ipv4, port))
            return run_proxy(config), listening, collector
        yield start


def test_a_span_waits_five_seconds_for_others(lab, app):
    proxy, port, collector = lab(Case())
    assert call(app, port, "/one")[0] == 200
    assert proxy.admin.stat("tracing.zipkin.spans_sent") == 0 and not collector.reports
    wait_until(lambda: len(collector.spans) == 1, 8, "the span")
    proxy.wait_stat("tracing.zipkin.reports_sent", 1)
    assert proxy.admin.stat("tracing.zipkin.timer_flushed") >= 1


def test_five_spans_go_at_once(lab, app):
    for _ in range(3):
        proxy, port, collector = lab(Case())
        for n in range(12):
            assert call(app, port, f"/{n}")[0] == 200
        wait_until(lambda: len(collector.reports) >= 2, 4, "two reports")
        if proxy.admin.stat("tracing.zipkin.timer_flushed") == 0:
            break  # else five seconds were over before all calls were made
    # Two requests, of which either may arrive first.
    reports = sorted([int(s["tags"]["http.url"].rpartition("/")[2]) for s in spans] for *_, spans in collector.reports)
    assert reports == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]
    proxy.wait_stat("tracing.zipkin.spans_sent", 10)
    for name, value in (("upstream_rq_202", 2), ("internal.upstream_rq_202", 2), ("upstream_rq_total", 2)):
        proxy.wait_stat(f"cluster.collector.{name}", value)


@pytest.mark.parametrize("trouble", ["refuses", "is not there", "hangs", "hangs up"])
def test_a_collector_in_trouble(lab, app, server, trouble):
    """What gets no answer counts as answered by the proxy itself: dropped. Requests do not notice."""
    proxy, port, collector = lab(Case(), {"refuses": 400, "hangs": None, "hangs up": "hang up"}.get(trouble, 202),
                                 server.free_port() if trouble == "is not there" else None)
    for _ in range(5):
        assert call(app, port, "/one")[0] == 200
    proxy.wait_stat("tracing.zipkin.spans_sent", 5)
    proxy.wait_stat("tracing.zipkin.reports_dropped", 1, 8)
    for name in ("reports_sent", "reports_failed", "reports_skipped_no_cluster"):
        assert proxy.admin.stat(f"tracing.zipkin.{name}") == 0
    status = {"refuses": 400, "hangs": 504}.get(trouble, 503)
    proxy.wait_stat(f"cluster.collector.upstream_rq_{status}", 1)
    if trouble == "hangs":
        assert proxy.admin.stat("cluster.collector.upstream_rq_timeout") == 1
    assert call(app, port, "/one")[0] == 200


REFUSED = {
    "no such cluster": (zipkin(collector_cluster="nobody"), "nobody", True),
    "no cluster": (zipkin(collector_cluster=""), "collector_cluster", True),
    "no path": (zipkin(collector_endpoint=""), "collector_endpoint", True),
    "protobuf": (zipkin(collector_endpoint_version="HTTP_PROTO"), "collector_endpoint_version: HTTP_PROTO is not supported", False),
    "W3C": (zipkin(trace_context_option="USE_B3_WITH_W3C_PROPAGATION"), "trace_context_option: not supported", False),
    "another tracer": ({"name": "envoy.tracers.opentelemetry", "typed_config": typed(
        "envoy.config.trace.v3.OpenTelemetryConfig", grpc_service={"envoy_grpc": {"cluster_name": "collector"}})},
                       "provider.typed_config", False),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(world, kind, server, name):
    provider, words, by_both = REFUSED[name]

    class Port:
        port = 1
    text = yamltext.dump(Case(tracing={"provider": provider}).config(2, server, Port, Port, Port, 3, "/dev/null"))
    done, _ = proxies.validate(world, kind, text)
    if kind == "envoy":
        assert (done.returncode != 0) == by_both, done.stderr
    else:
        assert done.returncode != 0
        assert words in done.stderr, done.stderr
