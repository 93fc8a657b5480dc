"""Scenario push."""
import json
import os
import pathlib
import time
import types

from benchlib.common import BenchError, P_HTTP, P_OUT
from benchlib.metrics import expect
from benchlib.scenarios.base import Scenario
from benchlib.scenarios.scale import host_of
from support import control_plane as cp

ENDPOINTS = 10  # of a cluster
HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


class Push(Scenario):
    """5,000 EDS clusters of 10 endpoints from a go-control-plane: start, memory, CPU of a push; one RouteConfiguration of 5,000 virtual hosts; both."""
    name = "push"
    proxies = ("envoy", "sluice")
    note = ("sotw, delta: the protocol; start = exec to LIVE, most of it the control plane's own work; a push is over when it is "
            "acknowledged; full: every endpoint of every cluster changes; one: one endpoint of one cluster, lowest of 10; routes: five domains and "
            "four routes to a virtual host, full: every one changes, one: one does")

    def verify(self, lane):
        """One push of each kind, with few clusters: what was pushed is what the proxy has."""
        for delta in (False, True):
            for kind in (Endpoints, Routes, Whole):
                run = kind(self, lane, 20, delta)
                try:
                    run.start()
                    run.full()
                    run.one(3)
                    run.verify()
                finally:
                    run.stop()

    def measures(self):
        def one(kind, tag, delta):
            def f(lane):
                run = kind(self, lane, self.opt.scale, delta)
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
        n = self.opt.scale
        return [(f"{n} clusters, state of the world", one(Endpoints, "sotw", False)), (f"{n} clusters, delta", one(Endpoints, "delta", True)),
                (f"{n} virtual hosts, state of the world", one(Routes, "routes", False)),
                (f"{n} clusters and virtual hosts, state of the world", one(Whole, "whole", False)),
                (f"{n} clusters and virtual hosts, delta", one(Whole, "wholedelta", True))]


def name_of(i):
    return f"outbound|80||{host_of(i)}"


class Run:
    """One control plane and one proxy that knows nothing yet."""

    def __init__(self, scenario, lane, n, delta):
        self.scenario, self.lane, self.n, self.delta = scenario, lane, n, delta
        world = types.SimpleNamespace(directory=pathlib.Path(lane.dir), processes=[])
        self.socket = f"{lane.dir}/xds"
        self.generation = 0
        self.special = {}
        self.plane = cp.ControlPlane(world, "plane", listen=f"unix:{self.socket}", ads=True)
        self.plane.change(self.everything())
        self.config = lane.render(json.dumps(self.bootstrap(), indent=1), "push.json")

    def everything(self): ...  # what there is to push
    def everything_changed(self): ...
    def one_changed(self, i): ...
    def verify(self): ...

    def bootstrap(self):
        return {**cp.dynamic(self.delta, lds=False, node="bench"), "static_resources": {"clusters": [cp.xds_cluster(path=self.socket)]},
                "admin": {"address": cp.socket_address("127.0.0.1", P_HTTP)}}

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
        types = {r["@type"] for r in resources}
        end = time.monotonic() + 60
        while types - {e["type"] for e in self.plane.history(mark) if e["kind"] == "request" and "error" not in e}:
            if time.monotonic() > end:
                raise BenchError(f"{self.lane.label}: a push was not acknowledged")
            time.sleep(0.01)
        return (self.settled() - a) * 1e3

    def full(self):
        self.generation += 1
        self.special = {}
        return self.push(self.everything_changed())

    def one(self, i):
        self.special[i] = 9000 + i
        return self.push(self.one_changed(i))

    def stop(self):
        self.lane.stop_proxy()
        self.plane.stop()
        os.unlink(self.socket)


class Endpoints(Run):
    """Of clusters."""

    def everything(self):
        return [cp.cluster(name_of(i), eds=True) for i in range(self.n)] + self.everything_changed()

    def everything_changed(self):
        return [self.assignment(i) for i in range(self.n)]

    def one_changed(self, i):
        return [self.assignment(i)]

    def ports_of(self, i):
        ports = {8000 + self.generation}
        return ports | {self.special[i]} if i in self.special else ports

    def assignment(self, i):
        port = 8000 + self.generation
        return cp.assignment(name_of(i), *[(f"10.{i >> 8 & 255}.{i & 255}.{j + 1}", self.special.get(i, port) if j == 0 else port)
                                           for j in range(ENDPOINTS)])

    def verify(self):
        text = self.lane.get(P_HTTP, "/clusters?format=json")[1]
        held = {c["name"]: {h["address"].get("socket_address", {}).get("port_value") for h in c.get("host_statuses", [])}
                for c in json.loads(text)["cluster_statuses"]}
        expect(len(held) == 21, f"{self.lane.label}: {len(held)} clusters, not 21")
        for i in (3, 4):
            expect(held[name_of(i)] == self.ports_of(i), f"{self.lane.label}: cluster {i} has ports {held[name_of(i)]}")


class Routes(Run):
    """Of one RouteConfiguration."""

    def bootstrap(self):
        made = super().bootstrap()
        manager = {"@type": HCM, "stat_prefix": "web", "rds": {"config_source": cp.ads_source(), "route_config_name": "mesh"},
                   "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}}]}
        made["static_resources"]["listeners"] = [{
            "name": "web", "address": cp.socket_address("127.0.0.1", P_OUT),
            "filter_chains": [{"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}]}]
        return made

    def everything(self):
        return [cp.cluster("c", ("10.0.0.1", 80))] + self.everything_changed()

    def everything_changed(self):
        return [{"@type": cp.url("route"), "name": "mesh", "virtual_hosts": [self.virtual_host(i) for i in range(self.n)]}]

    def one_changed(self, i):
        return self.everything_changed()

    def word_of(self, i):
        return str(self.special.get(i, self.generation))

    def virtual_host(self, i):
        name = host_of(i)
        service, namespace = name.split(".")[:2]
        names = [name, service, f"{service}.{namespace}", f"{service}.{namespace}.svc", f"10.{96 + (i >> 16)}.{i >> 8 & 255}.{i & 255}"]
        to = {"cluster": name_of(i), "timeout": "15s", "retry_policy": {"retry_on": "connect-failure,refused-stream", "num_retries": 2}}
        return {"name": name + ":80", "domains": names, "routes": [
            {"match": {"path": "/word"}, "direct_response": {"status": 200, "body": {"inline_string": self.word_of(i)}}},
            {"match": {"safe_regex": {"regex": f"/api/v[0-9]+/(users|orders)/{service}/.*"}}, "route": to},
            {"match": {"prefix": "/", "headers": [{"name": "x-user", "string_match": {"safe_regex": {"regex": f"(test|canary)-{i}-.*"}}}]}, "route": to},
            {"name": "default", "match": {"prefix": "/"}, "route": to}]}

    def verify(self):
        for i in (3, 4):
            answer = self.lane.get(P_OUT, "/word", host_of(i))[1].decode()
            expect(answer == self.word_of(i), f"{self.lane.label}: virtual host {i} says {answer}")


class Whole(Routes, Endpoints):
    """Of all that a mesh has: clusters, their endpoints, and the routes to them."""

    def everything(self):
        return Endpoints.everything(self)

    def everything_changed(self):
        return Endpoints.everything_changed(self) + Routes.everything_changed(self)

    def one_changed(self, i):
        return Endpoints.one_changed(self, i)

    def word_of(self, i):
        return str(self.generation)

    def verify(self):
        Endpoints.verify(self)
        Routes.verify(self)
