"""A thousand pods with an identity each in one sluiced: nobody is taken for somebody else while all call at once and certificates rotate; what an
identity costs; and that it is given back. sluiced only."""
import http.client
import json
import os
import pathlib
import signal
import socket
import threading
import time

import pytest

from config import chain, http_manager, listener, typed
from support import paths
from support.issuer import Issuer
from support.process import Process
from support.wait import wait_until

pytestmark = [pytest.mark.root, pytest.mark.ebpf, pytest.mark.slow]

NUMBER = 100 if paths.sanitized() else 1000  # half of them with files, half by the development CA
FILES = NUMBER // 2
PROGRAM = pathlib.Path(__file__).parent / "programs" / "many_pods.py"
KIB_EACH = 80  # allocated for one identity that is connected: two connections, a TLS context, certificates, a listening socket
ADMIN_SECONDS_MAX = 2.0  # issuing for all at once takes as long, but not in one go
CASE_SECONDS_MAX = 240


def identity(number):
    return f"spiffe://cluster.local/ns/test/sa/pod-{number}"


class Pods:
    """programs/many_pods.py in a cgroup of the world's."""

    def __init__(self, world):
        read, self._write = os.pipe()
        self.cgroup = world.make_cgroup(f"many-{world.next_number()}")
        self.process = Process(f"many-pods-{world.next_number()}", ["/usr/bin/python3", "-S", "-I", PROGRAM, str(NUMBER), "10.99.0.1", "80"],
                               world.directory, cgroup=self.cgroup, stdin=read)
        world.processes.append(self.process)
        os.close(read)
        self.world, self.read = world, 0
        self.paths = self.answer(30)

    def answer(self, seconds):
        def there():
            lines = self.process.stdout().split("\n")[:-1]
            return lines[self.read:self.read + 1]
        line = wait_until(there, seconds, "an answer", alive=self.process.check_running)
        self.read += 1
        return json.loads(line[0])

    def say(self, line):
        os.write(self._write, (line + "\n").encode())

    def ask(self, line, seconds=60):
        self.say(line)
        return self.answer(seconds)

    def close(self):
        os.close(self._write)
        self.process.stop()
        self.world.remove_cgroup(self.cgroup)


class Secrets:
    """A folder for each of the first half, as Kubernetes mounts a secret, and one of a development CA for the other."""

    def __init__(self, folder):
        self.folder, self.issuer = folder, Issuer()
        self.authority = folder / "ca"
        self.authority.mkdir(parents=True)
        for name, text in (("ca-cert.pem", self.issuer.pem), ("ca-key.pem", self.issuer.key)):
            (self.authority / name).write_text(text)
            os.chmod(self.authority / name, 0o600)
        certificate, key, _ = self.issuer.issue("origin", "DNS:origin.local")
        (folder / "origin.pem").write_text(certificate + key)
        for number in range(FILES):
            mount = self.mount(number)
            mount.mkdir()
            for name in ("cert-chain.pem", "key.pem", "root-cert.pem"):
                (mount / name).symlink_to(f"..data/{name}")
            self.renew(number)

    def mount(self, number):
        return self.folder / f"pod-{number}"

    def renew(self, number):
        certificate, key, serial = self.issuer.issue("", f"URI:{identity(number)}")
        mount, version = self.mount(number), self.mount(number) / f"..{serial}"
        version.mkdir()
        for name, text in (("cert-chain.pem", certificate), ("key.pem", key), ("root-cert.pem", self.issuer.pem)):
            (version / name).write_text(text)
        (mount / "..new").symlink_to(version.name)
        os.rename(mount / "..new", mount / "..data")

    def renew_authority(self):
        """Another certificate of the same CA: all who are notified issue anew, and who trusts the old one trusts that."""
        self.issuer.renew()
        (self.authority / "new").write_text(self.issuer.pem)
        os.rename(self.authority / "new", self.authority / "ca-cert.pem")

    def of(self, number):
        return {"files": str(self.mount(number))} if number < FILES else {"development_ca": str(self.authority)}


class Control:
    """The control socket, on one connection a request."""

    def __init__(self, node):
        self.path = str(node.socket)

    def __call__(self, method, path, body=None):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(30)
            sock.connect(self.path)
            connection = http.client.HTTPConnection("control", timeout=30)
            connection.sock = sock
            connection.request(method, path, json.dumps(body) if body is not None else None)
            response = connection.getresponse()
            answer = json.loads(response.read())
        assert response.status == 200, answer
        return answer


@pytest.fixture
def secrets(tmp_path):
    return Secrets(tmp_path / "secrets")


@pytest.fixture
def origin(world, secrets):
    """A server behind mutual TLS on a Unix socket, which every namespace reaches; it answers with its client's certificate."""
    where = world.directory / f"nginx-{world.next_number()}"
    where.mkdir()
    (where / "nginx.conf").write_text(f"""
        daemon off; master_process off; pid {where}/pid; error_log stderr; worker_rlimit_nofile 8192;
        events {{ worker_connections 4096; }}
        http {{
            access_log off; keepalive_requests 8; keepalive_timeout 300s;
            server {{
                listen unix:{where}/sock ssl backlog=4096;
                ssl_certificate {secrets.folder}/origin.pem; ssl_certificate_key {secrets.folder}/origin.pem;
                ssl_client_certificate {secrets.authority}/ca-cert.pem; ssl_verify_client on;
                location / {{ return 200 "$ssl_client_escaped_cert"; }}
            }}
        }}""")
    process = world.node_process("nginx", ["nginx", "-p", where, "-c", where / "nginx.conf"])
    wait_until((where / "sock").exists, 10, "nginx listens", alive=process.check_running)
    yield where / "sock"
    process.stop()


@pytest.fixture
def pods(world):
    made = Pods(world)
    yield made
    made.close()


def configuration(origin):
    context = typed("envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", common_tls_context={
        "tls_certificate_sds_secret_configs": [{"name": "default"}], "validation_context_sds_secret_config": {"name": "ROOTCA"}})
    outbound = listener(15001, chain(http_manager([{"match": {"prefix": "/"}, "route": {"cluster": "origin"}}])), name="virtualOutbound",
                        traffic_direction="OUTBOUND")
    many = {"thresholds": [{"max_connections": 20000, "max_requests": 20000, "max_pending_requests": 20000}]}
    cluster = {"name": "origin", "type": "STATIC", "connect_timeout": "20s", "circuit_breakers": many,
               "load_assignment": {"cluster_name": "origin", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": str(origin)}}}}]}]},
               "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": context}}
    return {"static_resources": {"listeners": [outbound], "clusters": [cluster]}}


class Admin:
    """Asks the admin interface again and again. longest: what an answer took at most, in seconds."""

    def __init__(self, proxy):
        self.proxy, self.stop, self.longest, self.answers = proxy, threading.Event(), 0.0, 0
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.stop.is_set():
            begun = time.monotonic()
            self.proxy.admin.get("/ready")
            self.longest = max(self.longest, time.monotonic() - begun)
            self.answers += 1

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()


def test_a_thousand_identities(node, pods, secrets, origin):
    signal.alarm(CASE_SECONDS_MAX)  # a thousand namespaces are not one
    proxy, control = node.start(configuration(origin)), Control(node)

    def allocated():
        """KiB"""
        return int(proxy.admin.json("/memory")["allocated"]) >> 10

    def enrol(number):
        control("POST", "/workloads", {"name": f"pod-{number}", "netns": pods.paths[number], "identity": identity(number), "inbound": False,
                                       "secrets": secrets.of(number)})

    def release(number):
        control("DELETE", f"/workloads/pod-{number}")

    for number in (0, FILES):  # what is made once is made
        enrol(number)
        release(number)
    nothing, descriptors = allocated(), proxy.process.open_fds()
    for number in range(NUMBER):
        enrol(number)
    proxy.wait_stat("workloads.identities.usable", NUMBER, 30)
    assert pods.ask("each") == []
    connected = allocated()

    # Everybody calls, and certificates rotate: those of files one by one, those of the CA all at once.
    rotated = 0
    pods.say("load 6")
    with Admin(proxy) as admin:
        for number in range(FILES):
            secrets.renew(number)
            rotated += 1
            if number % (FILES // 5) == 0:
                secrets.renew_authority()
                rotated += NUMBER - FILES
                proxy.wait_stat("workloads.identities.rotated", rotated, 60)
        proxy.wait_stat("workloads.identities.rotated", rotated, 60)
    done = pods.ask("each")
    assert done["failed"] == [] and pods.answer(60) == []
    assert done["requests"] > NUMBER and done["connections"] > NUMBER // 10
    loaded = allocated()

    assert pods.ask("hang up") == "done"
    for number in range(NUMBER):
        release(number)
    proxy.wait_stat("workloads.identities.usable", 0)
    proxy.wait_stat("cluster.origin.upstream_cx_active", 0, 20)
    wait_until(lambda: proxy.process.open_fds() <= descriptors + 8, 20, "descriptors are back")
    left = allocated()
    print(f"{NUMBER} identities, {rotated} rotations under {done['requests']} requests; KiB allocated: {nothing} without, {connected} connected, "
          f"{loaded} after the load, {left} released; the admin interface answered {admin.answers} times, within {admin.longest:.2f} s")
    assert rotated == 3 * NUMBER
    if not paths.sanitized():
        assert admin.longest < ADMIN_SECONDS_MAX
        assert connected - nothing < KIB_EACH * NUMBER and loaded - nothing < KIB_EACH * NUMBER
        assert left - nothing < 4096
