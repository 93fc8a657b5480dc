"""Who a pod is: `sluicectl ca`, enrolment with an identity and its sources, and that each pod's connections carry its own. sluiced only."""
import json
import os
import ssl
import stat
import threading

import pytest

from config import chain, listener, passthrough, tcp_proxy
from support.control_plane import ControlPlane, url
from support.packets import PacketCounter
from support.peers import receive_exactly
from support.process import run
from support.wait import wait_until

pytestmark = [pytest.mark.root, pytest.mark.ebpf]

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
ECHO = {"name": "envoy.filters.network.echo",
        "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.network.echo.v3.Echo"}}


def spiffe(name):
    return f"spiffe://cluster.local/ns/test/sa/{name}"


@pytest.fixture
def authority(node, tmp_path):
    node.ctl("ca", "init", tmp_path / "ca")
    return tmp_path / "ca"


def issue(node, authority, name, *options, identity=None):
    folder = authority.parent / name
    node.ctl("ca", "issue", authority, "--identity", identity or spiffe(name), "--out", folder, *options)
    return folder


def plain():
    """Something that a pod can be enrolled with."""
    outbound = listener(15001, chain(tcp_proxy("PassthroughCluster", "out")), name="virtualOutbound", use_original_dst=True,
                        traffic_direction="OUTBOUND")
    return {"static_resources": {"listeners": [outbound], "clusters": [passthrough()]}}


def mutual():
    """Every port of a pod is behind mutual TLS with the pod's own identity; the listener answers itself."""
    context = {"@type": TLS + "DownstreamTlsContext", "require_client_certificate": True, "common_tls_context": {
        "tls_certificate_sds_secret_configs": [{"name": "default"}], "validation_context_sds_secret_config": {"name": "ROOTCA"}}}
    inbound = {"name": "virtualInbound", "use_original_dst": True, "traffic_direction": "INBOUND",
               "address": {"socket_address": {"address": "0.0.0.0", "port_value": 15006}},
               "filter_chains": [{"filters": [ECHO], "transport_socket": {"name": "tls", "typed_config": context}}]}
    return {"static_resources": {"listeners": [inbound]}}


def workload(node, pod):
    return next(w for w in json.loads(node.ctl("workloads", "-o", "json").stdout) if w["spec"]["name"] == pod.name)


def state(node, pod):
    return workload(node, pod).get("identity_state", {})


def peer_identity(caller, pod, folder, port=4242):
    """Whom the pod says it is, to a caller with that folder's certificate; nothing: no connection comes about."""
    context = ssl.create_default_context(cafile=str(folder / "root-cert.pem"))
    context.check_hostname = False
    context.load_cert_chain(str(folder / "cert-chain.pem"), str(folder / "key.pem"))
    try:
        with caller.connect(pod.ipv4, port) as sock, context.wrap_socket(sock) as tls:
            tls.sendall(b"hello")
            if tls.recv(5) != b"hello":
                return None
            return [value for kind, value in tls.getpeercert()["subjectAltName"] if kind == "URI"]
    except (ssl.SSLError, OSError):
        return None


def test_the_development_ca(node, authority, tmp_path):
    key = authority / "ca-key.pem"
    assert stat.S_IMODE(os.stat(key).st_mode) == 0o600
    folder = issue(node, authority, "cart", "--ttl", "90m")
    assert stat.S_IMODE(os.stat(folder / "key.pem").st_mode) == 0o600
    text = run("openssl", "x509", "-in", folder / "cert-chain.pem", "-noout", "-text").stdout
    assert f"URI:{spiffe('cart')}" in text
    run("openssl", "verify", "-x509_strict", "-CAfile", folder / "root-cert.pem", folder / "cert-chain.pem")
    assert "trust domain cluster.local alone" in node.ctl("ca", "issue", authority, "--identity", "spiffe://else/x", "--out", folder,
                                                          check=False).stderr
    assert "is there already" in node.ctl("ca", "init", authority, check=False).stderr
    assert "cluster.local" in node.ctl("ca", "show", authority).stdout
    os.chmod(key, 0o644)
    shown = node.ctl("ca", "show", authority, check=False)
    assert shown.returncode == 1 and "others may read" in shown.stdout
    assert "no time of up to ten years" in node.ctl("ca", "issue", authority, "--identity", spiffe("x"), "--out", tmp_path / "x", "--ttl",
                                                    "soon", check=False).stderr


def test_enrolment_with_files_is_checked_kept_and_followed(node, app, authority):
    node.start(plain())
    folder = issue(node, authority, "cart")
    wrong = node.ctl("enrol", app.name, app.path, "--identity", spiffe("other"), "--secrets", folder, check=False)
    assert wrong.returncode == 2
    assert f"its certificate is for {spiffe('cart')}, and it is enrolled as {spiffe('other')}" in wrong.stderr
    assert "--secrets, --sds or --development-ca" in node.ctl("enrol", app.name, app.path, "--identity", spiffe("cart"), "--secrets", folder,
                                                              "--development-ca", authority, check=False).stderr
    assert "an identity needs a source" in node.ctl("enrol", app.name, app.path, "--identity", spiffe("cart"), check=False).stderr

    node.enrol(app, "--identity", spiffe("cart"), "--secrets", folder)
    first = state(node, app)
    assert (first["identity"], first["usable"]) == (spiffe("cart"), True)
    assert spiffe("cart") in node.ctl("workloads").stdout
    node.proxy.wait_stat("workloads.identities.usable", 1)

    issue(node, authority, "cart", "--ttl", "100h")  # rotated
    wait_until(lambda: state(node, app)["expires"] > first["expires"] + 3600, 10, "the new certificate is in use")
    issue(node, authority, "cart", identity=spiffe("thief"))  # somebody else's: not taken
    wait_until(lambda: "thief" in state(node, app).get("reason", ""), 10, "the reason is shown")
    assert state(node, app)["usable"]
    assert f"its certificate is for {spiffe('thief')}" in node.ctl("workloads").stdout

    node.stop_proxy()  # what it is survives a restart; what it shows is read again, and is not its own now
    assert workload(node, app)["spec"]["identity"] == spiffe("cart")
    node.start(plain())
    wait_until(lambda: state(node, app).get("usable") is False, 10, "it is nobody")
    assert "NONE" in node.ctl("workloads").stdout
    issue(node, authority, "cart")
    wait_until(lambda: state(node, app)["usable"], 10, "it is somebody again")
    node.release(app)
    node.proxy.wait_stat("workloads.identities.usable", 0)


def test_secrets_by_a_socket_of_the_workloads_own(node, world, app, authority):
    socket_path = world.directory / f"agent-{world.next_number()}.sock"
    folder = issue(node, authority, "cart")

    def secrets(folder):
        return [{"@type": url("secret"), "name": "default", "tls_certificate": {
                    "certificate_chain": {"inline_string": (folder / "cert-chain.pem").read_text()},
                    "private_key": {"inline_string": (folder / "key.pem").read_text()}}},
                {"@type": url("secret"), "name": "ROOTCA", "validation_context": {
                    "trusted_ca": {"inline_string": (folder / "root-cert.pem").read_text()}}}]
    config = plain()
    config["node"] = {"id": "node", "cluster": "test"}
    node.start(config)
    node.enrol(app, "--identity", spiffe("cart"), "--sds", f"unix:{socket_path}")
    assert "no certificate has come" in state(node, app)["reason"]
    with ControlPlane(world, f"agent-{world.next_number()}", None, f"unix:{socket_path}") as agent:
        agent.set(*secrets(folder))
        wait_until(lambda: state(node, app)["usable"], 20, "the agent's certificate is in use")
        agent.set(*secrets(issue(node, authority, "thief")))
        wait_until(lambda: "thief" in state(node, app).get("reason", ""), 10, "another's certificate is not taken")
        assert state(node, app)["usable"]
        node.release(app)
        agent.wait_streams(0)


def test_each_pod_shows_its_own_certificate(node, app, server, caller, authority):
    node.start(mutual())
    mine = issue(node, authority, "caller")
    node.enrol(app, "--no-outbound", "--identity", spiffe("app"), "--secrets", issue(node, authority, "app"))
    node.enrol(server, "--no-outbound", "--identity", spiffe("server"), "--development-ca", authority)
    assert peer_identity(caller, app, mine) == [spiffe("app")]
    assert peer_identity(caller, server, mine) == [spiffe("server")]

    # Rotation while both are called: nobody fails, nobody is mixed up.
    failed, stop = [], threading.Event()

    def call(pod, name):
        while not stop.is_set():
            if peer_identity(caller, pod, mine) != [spiffe(name)]:
                failed.append(name)
    threads = [threading.Thread(target=call, args=pair) for pair in ((app, "app"), (server, "server"))]
    for t in threads:
        t.start()
    for number in range(10):
        before = state(node, app)["expires"]
        issue(node, authority, "app", "--ttl", f"{30 + number}h")
        wait_until(lambda: state(node, app)["expires"] != before, 10, "rotated")
    stop.set()
    for t in threads:
        t.join()
    assert not failed

    # A pod whose certificate has gone bad fails closed; the other is not touched.
    issue(node, authority, "app", "--ttl", "1s")
    wait_until(lambda: not state(node, app)["usable"], 10, "expired")
    assert peer_identity(caller, app, mine) is None
    assert peer_identity(caller, server, mine) == [spiffe("server")]
    node.release(server)
    assert peer_identity(caller, server, mine) is None


def records(data):
    """The TLS records that a stream consists of, as (type, bytes); fails where something else is among them."""
    found = []
    while data:
        kind, version, length = data[0], data[1:3], int.from_bytes(data[3:5], "big")
        assert kind in (20, 21, 22, 23) and version in (b"\x03\x01", b"\x03\x03") and len(data) >= 5 + length, data[:40]
        found.append((kind, data[5:5 + length]))
        data = data[5 + length:]
    return found


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_the_wire_between_two_pods(node, app, server, authority, version):
    """Plain bytes at both ends, TLS records between them and nothing else. TLS 1.2 shows both certificates: each end's own."""
    secrets = {"tls_certificate_sds_secret_configs": [{"name": "default"}], "validation_context_sds_secret_config": {"name": "ROOTCA"},
               "tls_params": {"tls_minimum_protocol_version": version, "tls_maximum_protocol_version": version}}
    config = mutual()
    out = plain()["static_resources"]
    config["static_resources"]["listeners"] += out["listeners"]
    config["static_resources"]["clusters"] = [passthrough(transport_socket={"name": "tls", "typed_config": {
        "@type": TLS + "UpstreamTlsContext", "common_tls_context": secrets}})]
    node.start(config)
    for pod in (app, server):
        node.enrol(pod, "--identity", spiffe(pod.name), "--secrets", issue(node, authority, pod.name))
    said = b"nobody reads this " * 1000
    with PacketCounter(server.path) as wire:
        with app.connect(server.ipv4, 4242) as sock:
            sock.sendall(said)
            assert receive_exactly(sock, len(said)) == said
        node.proxy.wait_stat("listener.0.0.0.0_15006.downstream_cx_active", 0)
        wait_until(lambda: wire.count(source_port=4242, flags=1), 5, "the last packet")
    (there, back), = wire.streams(4242).values()
    assert said[:18] not in there + back and len(there) > len(said) < len(back)
    sent, answered = records(there), records(back)
    assert sum(len(data) for kind, data in sent if kind == 23) >= len(said)
    plain_handshake = {"to": b"".join(d for k, d in sent if k == 22), "from": b"".join(d for k, d in answered if k == 22)}
    ids = {pod.name: spiffe(pod.name).encode() for pod in (app, server)}
    shown = {way: {name for name, uri in ids.items() if uri in data} for way, data in plain_handshake.items()}
    assert shown == ({"to": {app.name}, "from": {server.name}} if version == "TLSv1_2" else {"to": set(), "from": set()})
