"""Scenario push."""
import json
import os
import pathlib
import time
import types

from benchlib.common import BenchError, P_HTTP
from benchlib.metrics import expect
from benchlib.scenarios.base import Scenario
from support import control_plane as cp

ENDPOINTS = 10  # of a cluster


class Push(Scenario):
    """5,000 EDS clusters of 10 endpoints from a go-control-plane: start, memory, and CPU of a push."""
    name = "push"
    proxies = ("envoy", "sluice")
    note = ("sotw, delta: the protocol; start = exec to LIVE, most of it the control plane's own work; a push is over when it is "
            "acknowledged; full: every endpoint of every cluster changes; one: one endpoint of one cluster, lowest of 10")

    def verify(self, lane):
        """One push of each kind, with few clusters: what was pushed is what the proxy has."""
        for delta in (False, True):
            run = Run(self, lane, 20, delta)
            run.start()
            run.full()
            run.one(3)
            text = lane.get(P_HTTP, "/clusters?format=json")[1]
            held = {c["name"]: {h["address"].get("socket_address", {}).get("port_value") for h in c.get("host_statuses", [])}
                    for c in json.loads(text)["cluster_statuses"]}
            expect(len(held) == 21, f"{lane.label}: {len(held)} clusters, not 21")
            expect(held[name_of(3)] == run.ports_of(3), f"{lane.label}: cluster 3 has ports {held[name_of(3)]}")
            expect(held[name_of(4)] == run.ports_of(4), f"{lane.label}: cluster 4 has ports {held[name_of(4)]}")
            run.stop()

    def measures(self):
        def one(tag, delta):
            def f(lane):
                run = Run(self, lane, self.opt.scale, delta)
                try:
                    ms, cpu = run.start()
                    res = {f"{tag}_start_ms": ms, f"{tag}_start_cpu_ms": cpu, f"{tag}_rss_mib": lane.rss_kib() / 1024}
                    full = sorted(run.full() for _ in range(3))
                    res[f"{tag}_full_cpu_ms"] = full[1]
                    res[f"{tag}_one_cpu_ms"] = min(run.one(i) for i in range(10))  # the others: with timers of the proxy's own
                    res[f"{tag}_after_rss_mib"] = lane.rss_kib() / 1024
                    return res
                finally:
                    run.stop()
            return f
        n = f"{self.opt.scale} clusters, "
        return [(n + "state of the world", one("sotw", False)), (n + "delta", one("delta", True))]


def name_of(i):
    return f"outbound|80||svc-{i}.ns-{i % 50}.svc.cluster.local"


class Run:
    """One control plane and one proxy that knows nothing yet."""

    def __init__(self, scenario, lane, n, delta):
        self.scenario, self.lane, self.n, self.delta = scenario, lane, n, delta
        world = types.SimpleNamespace(directory=pathlib.Path(lane.dir), processes=[])
        socket = f"{lane.dir}/xds"
        self.generation = 0
        self.special = {}
        self.plane = cp.ControlPlane(world, "plane", listen=f"unix:{socket}", ads=True)
        self.plane.change([cp.cluster(name_of(i), eds=True) for i in range(n)] + [self.assignment(i) for i in range(n)])
        config = {**cp.dynamic(delta, lds=False, node="bench"), "static_resources": {"clusters": [cp.xds_cluster(path=socket)]},
                  "admin": {"address": cp.socket_address("127.0.0.1", P_HTTP)}}
        self.config = lane.render(json.dumps(config, indent=1), "push.json")

    def ports_of(self, i):
        ports = {8000 + self.generation}
        return ports | {self.special[i]} if i in self.special else ports

    def assignment(self, i):
        port = 8000 + self.generation
        return cp.assignment(name_of(i), *[(f"10.{i >> 8 & 255}.{i & 255}.{j + 1}", self.special.get(i, port) if j == 0 else port)
                                           for j in range(ENDPOINTS)])

    def start(self):
        """Milliseconds until it is live, and milliseconds of CPU for that."""
        self.lane.stop_proxy()
        a, t = self.lane.cpu("proxy"), time.monotonic()
        self.lane.start_proxy(self.config)
        self.lane.wait_ready(lambda: self.lane.get(P_HTTP, "/ready")[0] == 200, 120)
        t = time.monotonic() - t
        return t * 1e3, (self.settled() - a) * 1e3

    def settled(self):
        """The proxy's CPU so far, once it does nothing any more."""
        last, now = None, self.lane.cpu("proxy")
        while last is None or now - last > 2e-4:
            time.sleep(0.05)
            last, now = now, self.lane.cpu("proxy")
        return now

    def push(self, resources):
        """Milliseconds of CPU."""
        mark, a = self.plane.mark(), self.settled()
        self.plane.change(resources)
        end = time.monotonic() + 60
        while not any(e["kind"] == "request" and "error" not in e for e in self.plane.history(mark)):
            if time.monotonic() > end:
                raise BenchError(f"{self.lane.label}: a push was not acknowledged")
            time.sleep(0.01)
        return (self.settled() - a) * 1e3

    def full(self):
        self.generation += 1
        self.special = {}
        return self.push([self.assignment(i) for i in range(self.n)])

    def one(self, i):
        self.special[i] = 9000 + i
        return self.push([self.assignment(i)])

    def stop(self):
        self.lane.stop_proxy()
        self.plane.stop()
        os.unlink(f"{self.lane.dir}/xds")
