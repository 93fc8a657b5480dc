"""A thousand rotations of the certificates on both sides of a proxy that is under load: nobody notices, nothing grows. Envoy beside it, with fewer."""
import contextlib
import json
import os
import socket
import ssl
import threading

import pytest

from config import bootstrap, chain, cluster, http_manager, listener, typed
from support import paths
from support.control_plane import own_stream, url, xds_cluster
from support.issuer import Issuer
from support.pod import inside
from support.wait import wait_until
from support.web import read_message

pytestmark = [pytest.mark.root, pytest.mark.slow]

TLS = "envoy.extensions.transport_sockets.tls.v3."
FRONT = 18443
ROUNDS = {"envoy": 100, "sluiced": 300 if paths.sanitized() else 1000}
WARM = {"envoy": 50, "sluiced": 100 if paths.sanitized() else 200}  # rotations until what is made once has been made
REQUESTS = 4  # on one upstream connection, and on one of the clients' short ones


class Pki:
    """One identity that is renewed, `now`; and those of the client and of the origin, which stay. Serial numbers count up."""

    def __init__(self, folder):
        folder.mkdir()
        self.folder, self.issuer = folder, Issuer()
        self.ca = folder / "ca.pem"
        self.ca.write_text(self.issuer.pem)
        for name in ("client", "origin"):
            certificate, key, _ = self.issuer.issue(name, f"DNS:{name}.local")
            (folder / f"{name}.pem").write_text(certificate + key)
        self.renew()

    def renew(self):
        self.now = self.issuer.issue("proxy", "DNS:proxy.local", "URI:spiffe://td/proxy")


class Origin:
    """nginx behind TLS that wants a certificate and answers with its serial number."""

    def __init__(self, world, pod, pki):
        self.port = pod.free_port()
        where = world.directory / f"nginx-{world.next_number()}"
        where.mkdir()
        (where / "nginx.conf").write_text(f"""
            daemon off; master_process off; pid {where}/pid; error_log stderr;
            events {{ worker_connections 1000; }}
            http {{
                access_log off; keepalive_requests {REQUESTS};
                server {{
                    listen {pod.ipv4}:{self.port} ssl;
                    ssl_certificate {pki.folder}/origin.pem; ssl_certificate_key {pki.folder}/origin.pem;
                    ssl_client_certificate {pki.ca}; ssl_verify_client on;
                    location / {{ return 200 "$ssl_client_serial"; }}
                }}
            }}""")
        self.process = pod.start("nginx", ["nginx", "-p", where, "-c", where / "nginx.conf"])
        wait_until(lambda: pod.connect(pod.ipv4, self.port).close() is None, 10, "nginx listens", alive=self.process.check_running)


class BySds:
    """A control plane of its own stream pushes each new pair."""

    def __init__(self, pki, tmp_path, control_plane):
        self.pki, self.sock = pki, tmp_path / "sds.sock"
        self.plane = control_plane(listen=f"unix:{self.sock}")
        self.clusters, self.source = [xds_cluster(path=self.sock)], own_stream()
        self.publish()

    def publish(self):
        certificate, key, _ = self.pki.now
        self.plane.set({"@type": url("secret"), "name": "pair", "tls_certificate": {
            "certificate_chain": {"inline_string": certificate}, "private_key": {"inline_string": key}}})


class ByFiles:
    """As Kubernetes mounts a secret: a folder for each version, and a link that is swapped."""

    def __init__(self, pki, tmp_path, _):
        self.pki, self.mount, self.number = pki, tmp_path / "mount", 0
        self.mount.mkdir()
        sds = tmp_path / "sds.json"
        sds.write_text(json.dumps({"version_info": "1", "resources": [{"@type": url("secret"), "name": "pair", "tls_certificate": {
            "certificate_chain": {"filename": str(self.mount / "..data" / "cert.pem")},
            "private_key": {"filename": str(self.mount / "..data" / "key.pem")}, "watched_directory": {"path": str(self.mount)}}}]}))
        self.clusters, self.source = [], {"path_config_source": {"path": str(sds)}}
        self.publish()

    def publish(self):
        self.number += 1
        version = self.mount / f"..{self.number}"
        version.mkdir()
        for name, text in zip(("cert.pem", "key.pem"), self.pki.now):
            (version / name).write_text(text)
        (self.mount / "..new").symlink_to(version.name)
        os.rename(self.mount / "..new", self.mount / "..data")


class Load:
    """Clients with certificates: one that never hangs up, and some that come again and again. Their failures and what they were shown."""

    def __init__(self, app, pki):
        self.app, self.pki = app, pki
        self.context = ssl.create_default_context(cafile=str(pki.ca))
        self.context.check_hostname = False
        self.context.load_cert_chain(pki.folder / "client.pem")
        self.stop, self.failed, self.requests, self.newest = threading.Event(), [], 0, 0

    @contextlib.contextmanager
    def connect(self):
        with inside(self.app.path):
            sock = socket.create_connection(("127.0.0.1", FRONT), 20)
        with sock, self.context.wrap_socket(sock) as tls:
            yield tls, int(tls.getpeercert()["serialNumber"], 16)

    def ask(self, tls):
        """The serial number of the certificate that the origin saw."""
        tls.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
        start, _, body, _ = read_message(tls)
        assert start.startswith("HTTP/1.1 200"), (start, body)
        self.requests += 1
        return int(body, 16)

    def once(self):
        """(serial number of the proxy's certificate, of the one the origin saw)"""
        with self.connect() as (tls, shown):
            return shown, self.ask(tls)

    def sees_newest(self):
        seen = self.once()
        assert seen == (self.newest, self.newest), seen
        return True

    def _short(self):
        oldest = self.newest
        with self.connect() as (tls, shown):
            # What was in force before it connected has been told of already.
            assert shown >= oldest, f"the certificate {shown}, though {oldest} was in force"
            for _ in range(REQUESTS):
                self.ask(tls)

    def _long(self):
        with self.connect() as (tls, _):
            while not self.stop.is_set():
                self.ask(tls)

    def _run(self, what):
        while not self.stop.is_set():
            try:
                what()
            except Exception as error:
                self.failed.append(repr(error))
                return

    @contextlib.contextmanager
    def running(self):
        threads = [threading.Thread(target=self._run, args=(what,)) for what in (self._long, self._short, self._short)]
        for t in threads:
            t.start()
        try:
            yield
        finally:
            self.stop.set()
            for t in threads:
                t.join()


def configuration(way, origin_port, server, pki):
    common = {"tls_certificate_sds_secret_configs": [{"name": "pair", "sds_config": way.source}],
              "validation_context": {"trusted_ca": {"filename": str(pki.ca)}}}

    def socket_of(kind, **fields):
        return {"name": "envoy.transport_sockets.tls", "typed_config": typed(TLS + kind, common_tls_context=common, **fields)}
    front = chain(http_manager([{"match": {"prefix": "/"}, "route": {"cluster": "origin"}}]))
    front["transport_socket"] = socket_of("DownstreamTlsContext", require_client_certificate=True)
    return {"node": {"id": "test-id", "cluster": "test"}, **bootstrap(
        [listener(FRONT, front, name="front", stat_prefix="front")],
        [cluster("origin", (server.ipv4, origin_port), transport_socket=socket_of("UpstreamTlsContext")), *way.clusters])}


@pytest.mark.parametrize("way", [BySds, ByFiles])
def test_rotations_under_load(control_plane, run_proxy, kind, world, app, server, tmp_path, way):
    pki = Pki(tmp_path / "pki")
    origin = Origin(world, server, pki)
    way = way(pki, tmp_path, control_plane)
    proxy = run_proxy(configuration(way, origin.port, server, pki))
    load = Load(app, pki)
    counters = ["listener.front.server_ssl_socket_factory.ssl_context_update_by_sds",
                "cluster.origin.client_ssl_socket_factory.ssl_context_update_by_sds"]

    def counted(number):
        lines = proxy.admin.get("/stats?filter=ssl_context_update_by_sds").splitlines()
        seen = {name: int(value) for name, value in (line.split(": ") for line in lines)}
        assert [seen.get(name, 0) for name in counters] == [number] * 2, seen
        return True

    def held():
        """(bytes allocated, KiB resident, descriptors)"""
        return int(proxy.admin.json("/memory")["allocated"]), proxy.process.rss_kib(), proxy.process.open_fds()

    load.once()  # sluiced makes what belongs to a cluster when somebody calls it first
    wait_until(lambda: counted(1), 10, "the first pair is counted")
    load.newest = pki.now[2]
    with load.running():
        for number in range(1, ROUNDS[kind] + 1):
            pki.renew()
            way.publish()
            wait_until(lambda number=number: counted(1 + number), 20, f"rotation {number} is counted", alive=proxy.process.check_running)
            load.newest = pki.now[2]
            if number % 50 == 0:
                # A connection upstream is as old as it is: the newest certificate comes with the next.
                assert not load.failed
                wait_until(load.sees_newest, 10, f"rotation {number} is seen on both sides")
            if number == WARM[kind]:
                before = held()
    assert not load.failed
    assert load.requests > ROUNDS[kind]
    after = held()
    with load.connect() as (tls, _):
        until = ssl.cert_time_to_seconds(tls.getpeercert()["notAfter"])
    stats = proxy.admin.stats()
    assert [stats[f"{side}.ssl.certificate.pair.expiration_unix_time_seconds"] for side in ("listener.front", "cluster.origin")] == [until] * 2
    print(f"{kind}: {load.requests} requests, {ROUNDS[kind]} rotations; before {before}, after {after}")
    assert abs(after[2] - before[2]) <= 8, "descriptors"
    if kind == "sluiced" and not paths.sanitized():
        assert after[0] - before[0] < 256 << 10, f"{before} -> {after}: bytes allocated"
        assert after[1] - before[1] < 4 << 10, f"{before} -> {after}: KiB resident"

