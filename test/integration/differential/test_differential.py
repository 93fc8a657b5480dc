"""Runs the cases of cases_*.py on Envoy and on sluiced and compares all that can be seen."""
import json
import os
import pprint
import types

import pytest

from differential import cases  # noqa: F401  (fills CASES)
from differential import exchange, exchange2, observe
from differential.case import CASES, Close, Reset
from differential.configs import CONFIGS
from differential.differences import DIFFERENCES
from differential.upstream import Upstream
from support import proxies
from support.wait import Timeout, wait_until

pytestmark = pytest.mark.root
UNDER_TEST = os.environ.get("SLUICE_DIFF_AGAINST", "sluiced")


class Side:
    """One proxy with one configuration, and the upstream behind it."""

    def __init__(self, world, app, server, kind, name, number):
        self.app, self.kind = app, kind
        self.upstreams = [Upstream(server.listen()) for _ in range(2)]
        targets = [(server.ipv4, u.port) for u in self.upstreams]
        self.log = proxies.AccessLog(world.directory / f"diff-{name}-{kind}-{number}.log")
        self.place = types.SimpleNamespace(port=world.next_port(), upstream=targets[0], second=targets[1], log=str(self.log.path),
                                           refused=(server.ipv4, 9))
        self.proxy = proxies.start(world, kind, CONFIGS[name](self.place), app.path)
        self.names = {f"{server.ipv4}:{u.port}": f"<upstream {i}>" for i, u in enumerate(self.upstreams)}
        self.names[f"_{self.place.port}."] = "_<port>."

    def clean(self, text):
        for found, name in self.names.items():
            text = text.replace(found, name)
        return text

    def hang_up(self):
        """No upstream connection is left: what a request meets that is the first on its connection does not depend on earlier cases."""
        for u in self.upstreams:
            u.hang_up()
        wait_until(lambda: not any(v for k, v in self.proxy.admin.stats().items() if k.endswith(".upstream_cx_active")), 5, "upstream connections end")

    def run(self, case):
        for u in self.upstreams:
            u.begin(case.replies)
        if {Close, Reset} & set(case.replies if isinstance(case.replies, tuple) else (case.replies,)):
            self.hang_up()
        before, logged = self.proxy.admin.stats(), len(self.log.lines())
        with self.app.connect(self.app.ipv4, self.place.port) as sock:
            found, connection = (exchange2 if case.streams else exchange).run(sock, case)
        self.proxy.wait_stat("http.diff.downstream_cx_active", 0)
        after = self.proxy.admin.stats()
        started = after.get("http.diff.downstream_rq_total", 0) - before.get("http.diff.downstream_rq_total", 0)
        try:
            wait_until(lambda: len(self.log.lines()) >= logged + started, 2, "access log")
        except Timeout:
            pass  # the comparison shows it
        requests = [r for u in self.upstreams for r in u.seen()]
        if case.streams:  # on as many connections: which is first is not said
            requests.sort(key=lambda r: r["line"])
        lines = [self.clean(line) for line in self.log.lines()[logged:] if "/sentinel" not in line]
        seen = observe.streams(found, case.loose) if case.streams else observe.responses(found, case.loose)
        return {"responses": seen, "connection": connection,
                "upstream": observe.requests(requests, self.names, case.loose), "log": observe.log_lines(lines),
                "stats": {self.clean(k): v for k, v in observe.counters(before, after, case.loose_stats).items()}}

    def close(self):
        for u in self.upstreams:
            u.close()
        self.proxy.process.kill()


@pytest.fixture(scope="module")
def sides(world, app, server):
    """sides(config): (Envoy, the other) running with it; the last few are kept."""
    running = {}

    def pair(name):
        if name not in running:
            while len(running) > 2:
                for side in running.pop(next(iter(running))):
                    side.close()
            running[name] = [Side(world, app, server, kind, name, i) for i, kind in enumerate(["envoy", UNDER_TEST])]
        return running[name]
    yield pair
    for both in running.values():
        for side in both:
            side.close()


@pytest.mark.parametrize("case", sorted(CASES, key=lambda c: c.config), ids=lambda c: c.name.replace(" ", "_"))
def test_same(sides, case):
    for kind in ("envoy", UNDER_TEST):
        try:
            proxies.require(kind)
        except proxies.Missing as error:
            pytest.skip(str(error))
    envoy, ours = (side.run(case) for side in sides(case.config))
    differing = sorted(k for k in envoy if envoy[k] != ours[k])
    expected = DIFFERENCES.get(case.name)
    if expected:
        what, why = expected
        assert differing == sorted(what), f"argued to differ in {what} ({why}), but differs in {differing}"
        return
    assert not differing, "\n".join(f"{k}: {compared(envoy[k], ours[k])}" for k in differing)


def compared(envoy, ours):
    """What is only in one of them, where they are lists or dicts of simple things."""
    if isinstance(envoy, dict) and isinstance(ours, dict):
        envoy, ours = ({f"{k}: {v}" for k, v in x.items()} for x in (envoy, ours))
    elif isinstance(envoy, list) and envoy and isinstance(envoy[0], str) and len(envoy) == len(ours):
        pairs = [(json.loads(a).items(), json.loads(b).items()) for a, b in zip(envoy, ours)]
        envoy, ours = ({f"{k}: {v}" for pair in pairs for k, v in pair[i]} for i in (0, 1))
    else:
        return f"\n  Envoy: {pprint.pformat(envoy, width=150)}\n  {UNDER_TEST}: {pprint.pformat(ours, width=150)}"
    return f"\n  only Envoy: {sorted(envoy - ours)}\n  only {UNDER_TEST}: {sorted(ours - envoy)}"
