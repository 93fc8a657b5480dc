"""One control plane drives Envoy and sluiced through the same random pushes: both end in the same state. The seed is printed; SLUICE_XDS_SEED repeats it."""
import json
import os
import random

import pytest

from support import proxies
from support.control_plane import ads_source, assignment, cluster, dynamic, xds_cluster
from support.wait import Timeout, wait_until
from test_lds import http_chain, listener, route_resource

pytestmark = pytest.mark.root

SEQUENCES, PUSHES = 200, 4


class Pushes:
    """What the control plane has, and random changes of it."""

    def __init__(self, plane, dice):
        self.plane, self.dice = plane, dice
        self.clusters, self.listeners, self.serial = {}, {}, 0

    def endpoints(self, name):
        return assignment(name, *((f"10.1.0.{self.dice.randrange(1, 250)}", 80) for _ in range(self.dice.randrange(0, 4))))

    def push(self):
        self.serial += 1
        change = self.dice.choice([self.put_cluster, self.put_cluster, self.drop_cluster, self.move_endpoints, self.put_listener, self.put_listener,
                                   self.drop_listener, self.change_routes, self.bad_cluster, self.bad_listener])
        change()

    def put_cluster(self, name=None, connect_timeout=None):
        name = name or f"c{self.dice.randrange(6)}"
        eds = self.clusters.get(name, self.dice.random() < 0.5)
        self.clusters[name] = eds
        fields = {"connect_timeout": connect_timeout or f"{self.dice.randrange(1, 4)}s"}
        if eds:
            # Where endpoints have not changed nothing is sent again: Envoy then holds a changed cluster back for so long.
            self.plane.set(cluster(name, eds=ads_source(initial_fetch_timeout="0.2s"), **fields), self.endpoints(name))
        else:
            self.plane.set(cluster(name, (f"10.2.0.{self.dice.randrange(1, 250)}", 80), **fields))

    def drop_cluster(self):
        if self.clusters:
            name = self.dice.choice(sorted(self.clusters))
            gone = {"endpoints": [name]} if self.clusters.pop(name) else {}
            self.plane.remove(cluster=[name], **gone)

    def move_endpoints(self):
        names = sorted(n for n, eds in self.clusters.items() if eds)
        if names:
            self.plane.set(*(self.endpoints(n) for n in self.dice.sample(names, self.dice.randrange(1, len(names) + 1))))

    def put_listener(self, number=None):
        number = self.dice.randrange(4) if number is None else number
        rds = self.listeners.setdefault(number, self.dice.random() < 0.5)
        fields = {"per_connection_buffer_limit_bytes": self.dice.choice([32768, 65536])}
        chain = http_chain("c", f"text {self.serial}") if not rds else http_chain("c", rds=f"r{number}")
        more = [route_resource(f"routes {self.serial}", f"r{number}")] if rds else []
        self.plane.set(listener(chain, name=f"l{number}", port=18200 + number, **fields), *more)

    def drop_listener(self):
        if self.listeners:
            number = self.dice.choice(sorted(self.listeners))
            gone = {"route": [f"r{number}"]} if self.listeners.pop(number) else {}
            self.plane.remove(listener=[f"l{number}"], **gone)

    def change_routes(self):
        discovered = sorted(n for n, rds in self.listeners.items() if rds)
        if discovered:
            self.plane.set(*(route_resource(f"routes {self.serial}", f"r{n}") for n in discovered))

    def put_all(self):
        """Everything that is there, changed."""
        self.serial += 1
        for name in sorted(self.clusters):
            self.put_cluster(name, f"{self.serial + 10}s")
        for number in sorted(self.listeners):
            self.put_listener(number)

    # Refused, and what is there stays; good ones of the same push apply.
    def bad_cluster(self):
        self.plane.set(cluster("bad", ("no-address", 80)), cluster("good", ("10.3.0.1", 80), connect_timeout=f"{self.dice.randrange(1, 4)}s"))
        self.plane.remove(cluster=["bad"])

    def bad_listener(self):
        bad = listener(http_chain("c", "bad"), name="l0" if 0 in self.listeners else "bad", port=18200)
        bad["filter_chains"][0]["filters"] = [{"name": "nobody"}]
        if 0 not in self.listeners:
            self.plane.set(bad)
            self.plane.remove(listener=["bad"])


def state(proxy):
    """What serves: clusters with their time-outs and hosts, listeners, routes."""
    seen = {"clusters": {}, "listeners": {}, "routes": {}}
    for part in json.loads(proxy.admin.get("/config_dump"))["configs"]:
        for entry in part.get("dynamic_active_clusters", []):
            seen["clusters"][entry["cluster"]["name"]] = [entry["cluster"]["connect_timeout"]]
        for entry in part.get("dynamic_listeners", []):
            if "active_state" in entry:
                made = entry["active_state"]["listener"]
                seen["listeners"][entry["name"]] = [made["address"]["socket_address"]["port_value"], made["per_connection_buffer_limit_bytes"],
                                                   json.dumps(made["filter_chains"], sort_keys=True)]
        for entry in part.get("dynamic_route_configs", []):
            if "route_config" in entry:
                seen["routes"][entry["route_config"]["name"]] = json.dumps(entry["route_config"], sort_keys=True)
    # Routes of listeners that drain stay as they were when they were last asked for.
    used = " ".join(chains for _, _, chains in seen["listeners"].values())
    seen["routes"] = {name: routes for name, routes in seen["routes"].items() if f'"route_config_name": "{name}"' in used}
    for line in proxy.admin.get("/clusters").splitlines():
        name, *rest = line.split("::")
        if name in seen["clusters"] and len(rest) == 3 and rest[1] == "weight":
            seen["clusters"][name].append(rest[0])
    for hosts in seen["clusters"].values():
        hosts[1:] = sorted(set(hosts[1:]))
    return seen


def differences(first, second):
    """What the two states do not share, readably."""
    return [f"{kind} {name}: {first[kind].get(name)} != {second[kind].get(name)}" for kind in first
            for name in sorted({*first[kind], *second[kind]}) if first[kind].get(name) != second[kind].get(name)]


def settle(pushes, pair, when):
    """Until both are in the same state. A resource that is dropped and wanted again while it is on its way reaches neither proxy for sure: the
    server believes that it is there, and a delta server sends it again only when it is another one."""
    for seconds, last in ((1, False), (3, False), (5, False), (10, True)):
        try:
            return wait_until(lambda: not differences(*map(state, pair)), seconds, "the same state")
        except Timeout:
            assert not last, f"Envoy != sluiced after {when}: {differences(*map(state, pair))}"
            pushes.put_all()


@pytest.mark.slow
@pytest.mark.parametrize("delta", [False, True], ids=["sotw", "delta"])
def test_random_pushes_end_in_the_same_state(world, app, server, control_plane, delta):
    for kind in ("envoy", "sluiced"):
        proxies.require(kind)
    seed = int(os.environ.get("SLUICE_XDS_SEED", random.randrange(1 << 30)))
    print(f"SLUICE_XDS_SEED={seed}")
    plane = control_plane(listen=f"{app.ipv4}:18000")
    plane.set(cluster("kept", ("10.9.0.1", 80)), listener(http_chain("c", "kept"), name="kept", port=18300, per_connection_buffer_limit_bytes=32768))
    started = []
    try:
        for kind, pod in (("envoy", app), ("sluiced", server)):
            config = {**dynamic(delta, node=kind), "static_resources": {"clusters": [xds_cluster(app.ipv4, 18000)]}}
            started.append(proxies.start(world, kind, config, pod.path))
        pushes = Pushes(plane, random.Random(seed))
        for sequence in range(SEQUENCES):
            for _ in range(PUSHES):
                pushes.push()
            settle(pushes, started, f"sequence {sequence} of seed {seed}")
    finally:
        for proxy in started:
            proxy.process.kill()
