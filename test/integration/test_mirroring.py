"""Mirrored requests as the servers see them: the request itself, and its copies. Each case on Envoy and sluiced, which must say the same."""
import re

import pytest

from config import bootstrap, chain, cluster, http_manager, listener
from support.wait import wait_until
from support.web import Web, answer, call

pytestmark = pytest.mark.root


@pytest.fixture
def lab(run_proxy, app, server):
    """lab(mirror policies, route and manager fields): (proxy, port, main server, mirror's server)."""
    webs = []

    def start(policies=({"cluster": "copy"},), manager=None, **route):
        webs.extend(Web(server.listen(), lambda n: answer(body=b"ok")) for _ in range(2))
        main, copy = webs[-2:]
        port = app.free_port()
        routes = [{"match": {"prefix": "/"}, "route": {"cluster": "main", "request_mirror_policies": list(policies), **route}}]
        clusters = [cluster(name, (server.ipv4, web.port)) for name, web in (("main", main), ("copy", copy))]
        return run_proxy(bootstrap([listener(port, chain(http_manager(routes, **(manager or {}))))], clusters)), port, main, copy
    yield start
    for web in webs:
        web.close()


def told(web):
    """The first request that a server got: line, fields in their order with what is random left out, body."""
    line, fields, body = wait_until(lambda: web.requests, what="the request")[0]
    return line, [f"{k}: {re.sub(r'[0-9a-f]{8}-[-0-9a-f]{27}', 'ID', v)}" for k, v in fields.items()], body


HEAD = ["x-forwarded-proto: http", "x-request-id: ID", "x-envoy-expected-rq-timeout-ms: 15000"]
LITERAL = {"host_rewrite_literal": "other:81", "prefix_rewrite": "/re"}
REWRITTEN = ["x-envoy-original-host: a", "x-envoy-original-path: /"]


@pytest.mark.parametrize("case", ["plain", "with a body", "edge", "behind a proxy", "rewritten", "the host as it is", "internal already"])
def test_a_copy_and_what_it_is_a_copy_of(lab, app, case):
    """Envoy's AsyncClient says of itself that it made the copy: x-envoy-internal, and the proxy's own address in x-forwarded-for. The host gets a
    suffix, before its port."""
    own = app.ipv4
    asked = {"with a body": {"method": "POST", "body": b"body"}, "behind a proxy": {"x_forwarded_for": "1.2.3.4"},
             "internal already": {"x_envoy_internal": "true"}}.get(case, {})
    policy = {"cluster": "copy", **({"disable_shadow_host_suffix_append": True} if case == "the host as it is" else {})}
    proxy, port, main, copy = lab([policy], {"use_remote_address": True} if case == "edge" else {}, **(LITERAL if case == "rewritten" else {}))
    assert call(app, port, **asked)[0] == 200
    line = {"with a body": "POST / HTTP/1.1", "rewritten": "GET /re HTTP/1.1"}.get(case, "GET / HTTP/1.1")
    begin, middle, end = {"with a body": ["content-length: 4"]}.get(case, []), HEAD, REWRITTEN if case == "rewritten" else []
    if case == "edge":
        middle = [HEAD[0], "x-envoy-external-address: 127.0.0.1", *HEAD[1:]]
    before = {"edge": own, "behind a proxy": "1.2.3.4"}.get(case)  # whom x-forwarded-for names already
    via = [f"x-forwarded-for: {before}"] if before else []
    host, shadow = {"rewritten": ("other:81", "other-shadow:81"), "the host as it is": ("a", "a")}.get(case, ("a", "a-shadow"))
    assert told(main) == (line, [f"host: {host}", *begin, *via, *middle, *end], asked.get("body", b""))
    after = [f"x-forwarded-for: {before},{own}"] if before else []
    assert told(copy) == (line, [f"host: {shadow}", *begin, *after, *middle, *end, "x-envoy-internal: true",
                                 *([] if before else [f"x-forwarded-for: {own}"])], asked.get("body", b""))
    for name in ("upstream_rq_200", "internal.upstream_rq_200", "upstream_rq_total"):
        proxy.wait_stat(f"cluster.copy.{name}", 1)
