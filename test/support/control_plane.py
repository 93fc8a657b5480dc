"""A go-control-plane server that a test drives: sets resources, holds responses back, sends nonsense, goes down, and tells what was asked.

    plane = ControlPlane(world, "plane", app.path, listen="127.0.0.1:18000")      # or listen="unix:/path"
    plane.set(cluster("web", eds=True), assignment("web", ("10.0.0.1", 80)))      # each call is one snapshot with a version of its own
    run_proxy({**dynamic(), "static_resources": {"clusters": [xds_cluster("127.0.0.1", 18000)]}})
    plane.wait_ack("cluster"); plane.wait_nack("cluster")                         # of the newest version; the NACK's text
    plane.remove(cluster=["web"])
    plane.hold("endpoints")     # responses of these types wait ...; hold() lets them go
    plane.drop(); plane.down(); plane.up()      # end the streams; vanish, with a closed port; be back
    plane.raw("cluster", [("envoy.config.cluster.v3.Cluster", b"garbage")])
    plane.requests("cluster")   # what proxies said; plane.history() has all, opened and closed streams too

Both flavours and all services are there at once: what the proxy is configured for decides. Every proxy gets the same snapshot, so a
real Envoy and sluiced can be driven side by side; their node ids tell them apart: requests(..., node="test-id").
"""
import base64
import fcntl
import hashlib
import http.client
import json
import os
import pathlib
import socket
import subprocess
import sys

if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from support import paths  # noqa: E402
from support.process import Process  # noqa: E402
from support.wait import Deadline, Timeout, patience, wait_until  # noqa: E402

SOURCES = pathlib.Path(__file__).parent / "control_plane"
TYPES = {
    "cluster": "envoy.config.cluster.v3.Cluster",
    "endpoints": "envoy.config.endpoint.v3.ClusterLoadAssignment",
    "listener": "envoy.config.listener.v3.Listener",
    "route": "envoy.config.route.v3.RouteConfiguration",
    "scoped_route": "envoy.config.route.v3.ScopedRouteConfiguration",
    "virtual_host": "envoy.config.route.v3.VirtualHost",
    "secret": "envoy.extensions.transport_sockets.tls.v3.Secret",
    "extension": "envoy.config.core.v3.TypedExtensionConfig",
}
GRPC_INTERNAL = 13  # the code of a NACK


def url(kind):
    """The type URL of a short name above; a URL stays one."""
    return kind if "/" in kind else f"type.googleapis.com/{TYPES.get(kind, kind)}"


class Missing(Exception):
    """The program could not be built; the message says why."""


def program_path():
    files = sorted(p for p in SOURCES.iterdir() if p.suffix in (".go", ".mod", ".sum"))
    key = hashlib.sha256(b"".join(p.read_bytes() for p in files)).hexdigest()[:12]
    return paths.cache_dir() / f"control-plane-{key}" / "control-plane"


def program():
    """The path of the control plane's binary, built into the cache once per state of its sources."""
    path = program_path()
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path.parent / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if path.exists():
            return path
        made = path.with_suffix(".new")
        try:
            done = subprocess.run(["go", "build", "-trimpath", "-o", str(made), "."], cwd=SOURCES, text=True, capture_output=True, check=False,
                                  env={**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -modcacherw -buildvcs=false",
                                       "CGO_ENABLED": "0"})
        except FileNotFoundError:
            raise Missing("no go: tools/setup --test installs golang-go") from None
        if done.returncode:
            raise Missing(f"the control plane does not build: {done.stderr[-2000:]}")
        made.rename(path)
    return path


class ControlPlane:
    """A running one. netns: where proxies find it; None for the test's own. ads: see `control-plane -help`. tls: a ca.Pair that it shows, read
    again for each connection; client_ca: the path of a CA whose certificates it wants of proxies."""

    def __init__(self, world, name, netns=None, listen="127.0.0.1:18000", ads=False, node=None, tls=None, client_ca=None):
        self.world, self.name, self.netns, self.listen, self.ads = world, name, netns, listen, ads
        self.tls, self.client_ca = tls, client_ca
        self.node = node  # requests() and the waits look at this proxy alone, by its node id
        self.socket = world.directory / f"{name}.control"
        self.version = 0  # the last one counted
        self.versions = {}  # the newest version by type URL
        self.process = None
        self.start()

    def start(self):
        self.socket.unlink(missing_ok=True)
        extra = ["-ads"] if self.ads else []
        extra += ["-cert", self.tls.cert, "-key", self.tls.key] if self.tls else []
        extra += ["-client-ca", self.client_ca] if self.client_ca else []
        self.process = Process(f"control-plane-{self.name}", [program(), "-control", self.socket, "-listen", self.listen, *extra],
                               self.world.directory, netns=self.netns)
        self.world.processes.append(self.process)
        wait_until(self.streams_known, 10, "the control plane answers", alive=self.process.check_running)
        return self

    def streams_known(self):
        return self.call("streams") is not None

    def stop(self):
        """Ends the process; what it held is gone."""
        self.process.kill()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def call(self, path, body=None):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(patience(30))
            sock.connect(str(self.socket))
            connection = http.client.HTTPConnection("control", timeout=patience(30))
            connection.sock = sock
            connection.request("POST", "/" + path, json.dumps(body) if body is not None else None)
            response = connection.getresponse()
            answer = json.loads(response.read())
        assert response.status == 200, f"/{path}: {answer}"
        return answer

    # ---- resources ----
    def change(self, resources=(), version=None, remove=None, replace=False, types=(), ttl=None):
        """One snapshot; the version is of every type that is named, and counted up where it is not given. Returns it."""
        if version is None:
            self.version += 1
            version = str(self.version)
        kinds = [url(k) for k in types]
        removed = {url(k): list(v) for k, v in (remove or {}).items()}
        for kind in [*kinds, *removed, *(r["@type"] for r in resources)]:
            self.versions[kind] = version
        self.call("change", {"version": version, "set": list(resources), "remove": removed, "replace": replace, "types": kinds,
                             "ttl": ttl or {}})
        return version

    def set(self, *resources, version=None, ttl=None):
        """Adds or replaces these, one by one. ttl: seconds by name; their heartbeats come twice a second."""
        return self.change(resources, version, ttl=ttl)

    def replace(self, kind, *resources, version=None):
        """These are all there are of the kind."""
        return self.change(resources, version, replace=True, types=[kind])

    def remove(self, version=None, **names):
        """remove(cluster=["a"], endpoints=["a"])"""
        return self.change(version=version, remove=names)

    def encode(self, resource):
        """A resource's bytes, for raw(). Of anything that the Go API knows: what it does not know, in an Any too, is an error."""
        return base64.b64decode(self.call("encode", resource)["value"])

    # ---- what no sane control plane does ----
    def raw(self, kind, resources=(), version="raw", nonce="raw", delta=False, removed=(), control_plane=""):
        """Sends a response as it is on every open stream of its flavour: resources are (type, bytes), for delta (type, bytes, name, version).
        Returns how many streams got it."""
        items = [dict(zip(("type", "value", "name", "version"), (url(r[0]), base64.b64encode(r[1]).decode(), *r[2:]))) for r in resources]
        return self.call("raw", {"type": url(kind), "resources": items, "version": version, "nonce": nonce, "delta": delta,
                                 "removed": list(removed), "control_plane": control_plane})["streams"]

    def hold(self, *kinds):
        """Responses of these kinds wait from now on, those of others no longer do."""
        self.call("send", {"hold": [url(k) for k in kinds]})

    def delay(self, milliseconds):
        """Before each response."""
        self.call("send", {"delay_ms": milliseconds})

    def drop(self):
        self.call("drop")

    def down(self):
        self.call("down")

    def up(self):
        self.call("up")

    # ---- what was said ----
    def open_streams(self):
        return self.call("streams")["open"]

    def history(self, since=0):
        return self.call(f"history?since={since}")

    def mark(self):
        """For history(since): from here on."""
        events = self.history()
        return events[-1]["n"] + 1 if events else 0

    def requests(self, kind=None, since=0, node=None):
        """Requests of a kind; the node is carried over from a stream's first request to those that leave it out."""
        nodes, found = {}, []
        for event in self.history():
            if event["kind"] != "request":
                continue
            key = (event["stream"], event.get("delta", False))
            nodes[key] = event.get("node") or nodes.get(key)
            wanted = node or self.node
            if event["n"] >= since and (kind is None or event.get("type") == url(kind)) and (
                    wanted is None or (nodes[key] or {}).get("id") == wanted):
                found.append(event)
        return found

    def answers(self, kind, since=0, node=None):
        """Pairs (request, version it answers): what came back for each response."""
        versions = {(e["stream"], e.get("delta", False), e["nonce"]): e.get("version", "") for e in self.history()
                    if e["kind"] == "response"}
        keyed = [((r["stream"], r.get("delta", False), r.get("nonce")), r) for r in self.requests(kind, since, node)]
        return [(request, versions[key]) for key, request in keyed if key in versions]

    def acks(self, kind, since=0, node=None):
        """The versions acknowledged, in order."""
        return [version for request, version in self.answers(kind, since, node) if "error" not in request]

    def wait_ack(self, kind, version=None, seconds=10, node=None):
        """Until the version (the newest one set) was acknowledged."""
        version = version or self.versions[url(kind)]
        wait_until(lambda: version in self.acks(kind, node=node), seconds, f"{kind} {version} acknowledged: {str(self.requests(kind)[-3:])[:1000]}",
                   alive=self.process.check_running)

    def settle(self, kind, *resources, other, seconds=30):
        """Sets the last resources of a burst and waits until they were acknowledged. go-control-plane's delta server now and then loses a change that
        comes while it answers the one before, whoever its client is, and believes that it was sent: `other` resources of the same names make it
        send these again."""
        deadline = Deadline(patience(seconds))
        while True:
            for wanted in (resources, other):
                self.set(*wanted)
                try:
                    self.wait_ack(kind, seconds=3)
                    if wanted is resources:
                        return
                except Timeout:
                    if deadline.over():
                        raise

    def wait_nack(self, kind, seconds=10, since=0, node=None):
        """The text of the newest NACK of the kind, once there is one."""
        def found():
            texts = [r["error"] for r in self.requests(kind, since, node) if "error" in r]
            return texts and texts[-1]
        return wait_until(found, seconds, f"a NACK of {kind}", alive=self.process.check_running)

    def wait_streams(self, number=1, seconds=10):
        wait_until(lambda: self.open_streams() == number, seconds, f"{number} streams", alive=self.process.check_running)


# ---- resources and bootstraps, as dicts in protobuf's JSON ----
def socket_address(host, port):
    return {"socket_address": {"address": host, "port_value": port}}


def lb_endpoints(*endpoints):
    """Of (host, port) pairs, or ready LbEndpoint dicts."""
    return [e if isinstance(e, dict) else {"endpoint": {"address": socket_address(*e)}} for e in endpoints]


def assignment(name, *endpoints, **fields):
    """A ClusterLoadAssignment of one locality."""
    localities = [{"lb_endpoints": lb_endpoints(*endpoints)}] if endpoints else []
    return {"@type": url("endpoints"), "cluster_name": name, "endpoints": localities, **fields}


def cluster(name, *endpoints, eds=None, connect_timeout="2s", **fields):
    """STATIC with these endpoints, or EDS: eds is True (over ADS) or a ConfigSource."""
    made = {"@type": url("cluster"), "name": name, "connect_timeout": connect_timeout, **fields}
    if eds:
        source = {"ads": {}, "resource_api_version": "V3"} if eds is True else eds
        return {**made, "type": "EDS", "eds_cluster_config": {"eds_config": source}}
    return {**made, "type": "STATIC", "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": lb_endpoints(*endpoints)}]}}


def xds_cluster(host=None, port=None, path=None, name="xds"):
    """The static cluster behind which the control plane is."""
    address = {"pipe": {"path": str(path)}} if path else socket_address(host, port)
    return {"name": name, "type": "STATIC", "connect_timeout": "1s",
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}}}},
            "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}]}}


def api_source(delta=False, cluster_name="xds", aggregated=False, base="0.1s", most="1s", **fields):
    """An ApiConfigSource. base, most: the back-off between tries to connect."""
    kind = ("AGGREGATED_" if aggregated else "") + ("DELTA_GRPC" if delta else "GRPC")
    return {"api_type": kind, "transport_api_version": "V3", **fields,
            "grpc_services": [{"envoy_grpc": {"cluster_name": cluster_name,
                                              "retry_policy": {"retry_back_off": {"base_interval": base, "max_interval": most}}}}]}


def ads_source(**fields):
    return {"ads": {}, "resource_api_version": "V3", **fields}


def own_stream(delta=False, **fields):
    """A ConfigSource with a stream of its own."""
    return {"api_config_source": api_source(delta), "resource_api_version": "V3", **fields}


def dynamic(delta=False, lds=True, node="test-id", **fields):
    """node and dynamic_resources of a bootstrap: everything over ADS."""
    resources = {"ads_config": api_source(delta, **fields), "cds_config": ads_source()}
    if lds:
        resources["lds_config"] = ads_source()
    return {"node": {"id": node, "cluster": "test-cluster"}, "dynamic_resources": resources}


def main(argument):
    """For tools/setup: --build, or --check whether that is done."""
    if argument == "--check":
        return 0 if program_path().exists() else 1
    try:
        if not program_path().exists():
            print("tools/setup: building the tests' control plane", file=sys.stderr)
        program()
        return 0
    except Missing as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
