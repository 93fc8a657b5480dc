"""Secrets that are discovered, on Envoy and sluiced: over a Unix socket, over ADS, from watched files; changed, refused, waited for."""
import base64
import contextlib
import json
import os
import socket
import ssl
import threading

import pytest

from support.control_plane import ads_source, cluster, dynamic, own_stream, url, xds_cluster
from support.pod import inside
from support.process import run
from support.wait import wait_until

pytestmark = pytest.mark.root

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
ECHO = {"name": "envoy.filters.network.echo",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"}}
PORT = 18443


class Pair:
    """A self-signed certificate and its key, as text and as files."""

    def __init__(self, folder, name):
        folder.mkdir(parents=True, exist_ok=True)
        self.cert_path, self.key_path = folder / "cert.pem", folder / "key.pem"
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30", "-subj",
            f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}.example", "-keyout", self.key_path, "-out", self.cert_path)
        self.cert, self.key = self.cert_path.read_text(), self.key_path.read_text()
        self.der = ssl.PEM_cert_to_DER_cert(self.cert)

    def secret(self, name="web", **fields):
        return {"@type": url("secret"), "name": name, "tls_certificate": {
            "certificate_chain": {"inline_string": self.cert}, "private_key": {"inline_string": self.key}, **fields}}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    return {name: Pair(folder / name, name) for name in "abc"}


def tls_chain(name="web", source=None):
    sds = {"name": name, **({"sds_config": source} if source else {})}
    return {"filters": [ECHO], "transport_socket": {"name": "tls", "typed_config": {
        "@type": TLS + "DownstreamTlsContext", "common_tls_context": {"tls_certificate_sds_secret_configs": [sds]}}}}


def tls_listener(name="web", source=None, port=PORT):
    return {"name": f"tls-{port}", "address": {"socket_address": {"address": "0.0.0.0", "port_value": port}},
            "filter_chains": [tls_chain(name, source)]}


def shown(app, port=PORT):
    """The DER of the certificate that a handshake brings; nothing: it fails, or nobody listens."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with inside(app.path):
            sock = socket.create_connection(("127.0.0.1", port), 5)
        with context.wrap_socket(sock) as tls:
            tls.sendall(b"hello")
            assert tls.recv(5) == b"hello"
            return tls.getpeercert(binary_form=True)
    except (ssl.SSLError, OSError):
        return None


def wait_shown(app, pair, port=PORT):
    wait_until(lambda: shown(app, port) == pair.der, 10, "the certificate is shown")


@pytest.fixture(params=["socket-sotw", "socket-delta", "ads-sotw", "ads-delta"])
def way(request):
    return request.param


def sds_setup(way, control_plane, tmp_path, initial_fetch_timeout="15s"):
    """(plane, bootstrap without listeners, the secret's ConfigSource)"""
    delta = way.endswith("delta")
    if way.startswith("socket"):
        path = tmp_path / "sds.sock"
        plane = control_plane(listen=f"unix:{path}")
        base = {"node": {"id": "test-id", "cluster": "test"}, "static_resources": {"clusters": [xds_cluster(path=path)]}}
        source = own_stream(delta)
    else:
        plane = control_plane()
        base = dynamic(delta)
        for field in ("cds_config", "lds_config"):
            base["dynamic_resources"].pop(field, None)
        base["static_resources"] = {"clusters": [xds_cluster("127.0.0.1", 18000)]}
        source = ads_source()
    return plane, base, {**source, "initial_fetch_timeout": initial_fetch_timeout}


def secrets_dump(proxy):
    dump = proxy.admin.json("/config_dump")
    return next(c for c in dump["configs"] if c["@type"].endswith("SecretsConfigDump"))


def test_a_secret_comes_changes_and_survives_a_bad_one(control_plane, run_proxy, app, tmp_path, pairs, way):
    plane, config, source = sds_setup(way, control_plane, tmp_path)
    plane.set(pairs["a"].secret())
    config["static_resources"]["listeners"] = [tls_listener(source=source)]
    proxy = run_proxy(config)
    wait_shown(app, pairs["a"])
    plane.set(pairs["b"].secret())
    plane.wait_ack("secret")
    wait_shown(app, pairs["b"])
    proxy.wait_stat("sds.web.update_success", 2)

    bad = pairs["b"].secret(private_key={"inline_string": pairs["a"].key})
    plane.set(bad)
    assert "Failed to load private key from <inline>, Cause:" in plane.wait_nack("secret")
    wait_until(lambda: proxy.admin.stat("sds.web.update_rejected") >= 1, 5, "the update is refused")
    # (A state-of-the-world server sends it again at once: Envoy then accepts it, as "not changed", and shows it in its dump.)
    assert shown(app) == pairs["b"].der
    text = proxy.admin.get("/config_dump")
    for pair in pairs.values():
        for line in pair.key.splitlines()[1:-1]:
            assert line not in text and base64.b64encode(line.encode()).decode() not in text
    plane.set(pairs["c"].secret())
    wait_shown(app, pairs["c"])
    active = secrets_dump(proxy)["dynamic_active_secrets"]
    assert [(s["name"], s["secret"]["tls_certificate"]["private_key"]) for s in active] == [("web", {"inline_string": "[redacted]"})]


def test_listeners_wait_for_their_secrets(control_plane, run_proxy, app, tmp_path, pairs, way):
    plane, config, source = sds_setup(way, control_plane, tmp_path)
    plane.hold("secret")
    plane.set(pairs["a"].secret())
    config["static_resources"]["listeners"] = [tls_listener(source=source)]
    proxy = run_proxy(config, wait=False)
    wait_until(lambda: plane.requests("secret"), 10, "the secret is asked for")
    warming = secrets_dump(proxy)["dynamic_warming_secrets"]
    assert [(s["name"], s["version_info"]) for s in warming] == [("web", "uninitialized")]
    assert shown(app) is None
    plane.hold()
    proxy.wait_ready()
    assert shown(app) == pairs["a"].der
    assert "dynamic_warming_secrets" not in secrets_dump(proxy)


def test_after_initial_fetch_timeout_connections_fail_until_it_comes(control_plane, run_proxy, app, tmp_path, pairs):
    plane, config, source = sds_setup("socket-sotw", control_plane, tmp_path, "0.5s")
    plane.hold("secret")
    plane.set(pairs["a"].secret())
    config["static_resources"]["listeners"] = [tls_listener(source=source)]
    proxy = run_proxy(config)
    proxy.wait_stat("sds.web.init_fetch_timeout", 1)
    assert shown(app) is None
    plane.hold()
    wait_shown(app, pairs["a"])


def test_clusters_wait_for_their_secrets(control_plane, run_proxy, pairs, kind):
    plane = control_plane()
    plane.set(cluster("other", ("127.0.0.1", 9)))
    plane.hold("secret")
    context = {"name": "tls", "typed_config": {"@type": TLS + "UpstreamTlsContext", "common_tls_context": {
        "tls_certificate_sds_secret_configs": [{"name": "client", "sds_config": ads_source(initial_fetch_timeout="15s")}]}}}
    config = {**dynamic(lds=False), "static_resources": {"clusters": [xds_cluster("127.0.0.1", 18000)]}}
    proxy = run_proxy(config)
    plane.set(cluster("web", ("127.0.0.1", 9), transport_socket=context))
    proxy.wait_stat("cluster_manager.warming_clusters", 1)
    if kind == "sluiced":
        waits = [w for w in proxy.admin.json("/config_dump")["configs"] if w["@type"].endswith("ClustersConfigDump")]
        assert [c["cluster"]["name"] for c in waits[0]["dynamic_warming_clusters"]] == ["web"]
    plane.set(pairs["a"].secret("client"))
    plane.hold()
    proxy.wait_stat("cluster_manager.warming_clusters", 0)
    proxy.wait_stat("cluster_manager.active_clusters", 3)


def publish(folder, number, pair):
    """As Kubernetes mounts a secret: a folder for each version, and a link that is swapped."""
    version = folder / f"..{number}"
    version.mkdir()
    (version / "cert.pem").write_text(pair.cert)
    (version / "key.pem").write_text(pair.key)
    (folder / "..new").symlink_to(version.name)
    os.rename(folder / "..new", folder / "..data")


def test_files_named_by_a_secret_rotate(run_proxy, app, tmp_path, pairs):
    mount = tmp_path / "mount"
    mount.mkdir()
    publish(mount, 1, pairs["a"])
    sds = tmp_path / "sds.json"
    source = {"filename": str(mount / "..data" / "cert.pem")}, {"filename": str(mount / "..data" / "key.pem")}
    sds.write_text(json.dumps({"version_info": "1", "resources": [{"@type": url("secret"), "name": "web", "tls_certificate": {
        "certificate_chain": source[0], "private_key": source[1], "watched_directory": {"path": str(mount)}}}]}))
    proxy = run_proxy({"node": {"id": "test-id", "cluster": "test"}, "static_resources": {"listeners": [
        tls_listener(source={"path_config_source": {"path": str(sds)}})]}})
    wait_shown(app, pairs["a"])
    publish(mount, 2, pairs["b"])
    wait_shown(app, pairs["b"])
    active = secrets_dump(proxy)["dynamic_active_secrets"][0]["secret"]["tls_certificate"]
    assert base64.b64decode(active["certificate_chain"]["inline_bytes"]).decode() == pairs["b"].cert
    assert base64.b64decode(active["private_key"]["inline_bytes"]) == b"[redacted]"


def test_secrets_of_the_bootstrap(run_proxy, app, pairs):
    static = {k: v for k, v in pairs["a"].secret().items() if k != "@type"}
    proxy = run_proxy({"static_resources": {"secrets": [static], "listeners": [tls_listener()]}})
    wait_shown(app, pairs["a"])
    dump = secrets_dump(proxy)["static_secrets"]
    assert [(s["name"], s["secret"]["tls_certificate"]["private_key"]) for s in dump] == [("web", {"inline_string": "[redacted]"})]
    certs = proxy.admin.json("/certs")["certificates"]
    serials = [c["serial_number"] for entry in certs for c in entry["cert_chain"]]
    assert serials == [run("openssl", "x509", "-in", pairs["a"].cert_path, "-noout", "-serial").stdout.split("=")[1].strip().lower()]


def test_rotation_under_load_loses_no_connection(control_plane, run_proxy, app, tmp_path, pairs):
    plane, config, source = sds_setup("socket-sotw", control_plane, tmp_path)
    plane.set(pairs["a"].secret())
    config["static_resources"]["listeners"] = [tls_listener(source=source)]
    proxy = run_proxy(config)
    known, seen, failed, stop = {p.der for p in pairs.values()}, set(), [], threading.Event()

    def client():
        while not stop.is_set():
            der = shown(app)
            (seen.add(der) if der in known else failed.append(der))

    with contextlib.ExitStack() as ending:
        threads = [threading.Thread(target=client) for _ in range(3)]
        for t in threads:
            t.start()
            ending.callback(t.join)
        ending.callback(stop.set)
        for i in range(600):  # clients of a busy machine meet few of the versions
            if i >= 60 and seen == known:
                break
            plane.set(pairs["abc"[i % 3]].secret())
            plane.wait_ack("secret")
    assert not failed
    assert seen == known
    proxy.wait_stat("sds.web.update_rejected", 0)
