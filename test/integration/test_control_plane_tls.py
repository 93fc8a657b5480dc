"""A control plane behind TLS, as Envoy and sluiced call it: who it is, who they are, certificates that change, and one that cannot be trusted."""
import json
import ssl

import h2.config
import h2.connection
import h2.events
import pytest

from support.ca import CA
from support.control_plane import cluster, dynamic, url, xds_cluster
from support.peers import Peer
from support.wait import wait_until

pytestmark = pytest.mark.root

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
HOST = "plane.test"


@pytest.fixture(scope="module")
def ca(tmp_path_factory):
    made = CA(tmp_path_factory.mktemp("plane") / "ca", "planes")
    made.server = made.issue("server", [f"DNS:{HOST}"])
    made.clients = [made.issue(name, [f"URI:spiffe://test/{name}"]) for name in ("first", "second")]
    return made


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return CA(tmp_path_factory.mktemp("other") / "ca", "others")


@pytest.fixture(params=["sotw", "delta"])
def delta(request):
    return request.param == "delta"


def trust(pem, **fields):
    return {"trusted_ca": {"filename": str(pem)}, **fields}


def pair(p):
    return {"certificate_chain": {"filename": str(p.cert)}, "private_key": {"filename": str(p.key)}}


def config(delta=False, authority=None, auto_sni=False, sni=HOST, port=18000, **context):
    """A bootstrap whose control plane is behind TLS; `context` is the CommonTlsContext."""
    plane = xds_cluster("127.0.0.1", port)
    if auto_sni:
        options = plane["typed_extension_protocol_options"]["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]
        options["upstream_http_protocol_options"] = {"auto_sni": True, "auto_san_validation": True}
    plane["transport_socket"] = {"name": "envoy.transport_sockets.tls", "typed_config": {
        "@type": TLS + "UpstreamTlsContext", **({} if auto_sni else {"sni": sni}), "common_tls_context": context}}
    made = dynamic(delta, lds=False)
    if authority:
        made["dynamic_resources"]["ads_config"]["grpc_services"][0]["envoy_grpc"]["authority"] = authority
    return {**made, "static_resources": {"clusters": [plane]}}


def opened(plane, since=0):
    return [e for e in plane.history(since) if e["kind"] == "open"]


def test_both_sides_show_certificates(control_plane, run_proxy, ca, delta):
    plane = control_plane(tls=ca.server, client_ca=ca.pem)
    plane.set(cluster("web", ("127.0.0.1", 9)))
    names = [{"san_type": "DNS", "matcher": {"exact": HOST}}]
    proxy = run_proxy(config(delta, tls_certificates=[pair(ca.clients[0])], validation_context=trust(ca.pem, match_typed_subject_alt_names=names)))
    plane.wait_ack("cluster")
    assert [(e["sni"], e["peer"]) for e in opened(plane)] == [(HOST, "first")]
    assert proxy.admin.stat("control_plane.connected_state") == 1
    assert proxy.admin.stat("cluster.xds.ssl.handshake") == 1


def test_the_authority_as_sni(control_plane, run_proxy, ca):
    plane = control_plane(tls=ca.server)
    plane.set(cluster("web", ("127.0.0.1", 9)))
    run_proxy(config(authority=HOST, auto_sni=True, validation_context=trust(ca.pem)))
    plane.wait_ack("cluster")
    (stream,) = opened(plane)
    assert stream["sni"] == HOST and stream["metadata"][":authority"] == [HOST]


class Listens(Peer):
    """Behind TLS; `heads`: of the requests."""

    def __init__(self, listener, server):
        self.heads = []
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(server.cert, server.key)
        self.context.set_alpn_protocols(["h2"])
        super().__init__(listener, Listens.serve)

    def serve(self, sock):
        with self.context.wrap_socket(sock, server_side=True) as tls:
            connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
            connection.initiate_connection()
            tls.sendall(connection.data_to_send())
            while data := tls.recv(65536):
                self.heads += [dict(e.headers) for e in connection.receive_data(data) if isinstance(e, h2.events.RequestReceived)]
                tls.sendall(connection.data_to_send())


def test_the_scheme_is_https(run_proxy, app, ca, kind):
    """Envoy says http whatever the connection is; gRPC and RFC 9113 (8.3.1) want the one it is."""
    listener = app.listen()
    with Listens(listener, ca.server) as plane:
        run_proxy(config(port=listener.getsockname()[1], validation_context=trust(ca.pem)), wait=False)
        wait_until(lambda: plane.heads, 10, "a stream")
    assert plane.heads[0][":scheme"] == ("http" if kind == "envoy" else "https")
    assert plane.heads[0][":path"] == "/envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources"


def put(path, *resources, version):
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"version_info": version, "resources": list(resources)}))
    new.rename(path)


def from_file(name, path):
    return {"name": name, "sds_config": {"path_config_source": {"path": str(path)}, "resource_api_version": "V3"}}


def test_a_client_certificate_that_changes_while_connected(control_plane, run_proxy, ca, tmp_path):
    def secret(p):
        return {"@type": url("secret"), "name": "client", "tls_certificate": pair(p)}
    path = tmp_path / "client.json"
    put(path, secret(ca.clients[0]), version="1")
    plane = control_plane(tls=ca.server, client_ca=ca.pem)
    plane.set(cluster("web", ("127.0.0.1", 9)))
    proxy = run_proxy(config(tls_certificate_sds_secret_configs=[from_file("client", path)], validation_context=trust(ca.pem)))
    plane.wait_ack("cluster")
    put(path, secret(ca.clients[1]), version="2")
    proxy.wait_stat("sds.client.update_success", 2)
    # The stream that is there goes on ...
    plane.set(cluster("web", ("127.0.0.1", 10)))
    plane.wait_ack("cluster")
    assert [e["peer"] for e in opened(plane)] == ["first"]
    # ... and the next connection has the new certificate.
    plane.down()
    proxy.wait_stat("control_plane.connected_state", 0)
    plane.up()
    wait_until(lambda: [e["peer"] for e in opened(plane)] == ["first", "second"], 10, "a connection with the new certificate")
    proxy.wait_stat("control_plane.connected_state", 1)


def test_a_control_plane_that_cannot_be_trusted(control_plane, run_proxy, ca, other, tmp_path, delta, kind):
    def secret(pem):
        return {"@type": url("secret"), "name": "planes", "validation_context": trust(pem)}
    path = tmp_path / "planes.json"
    put(path, secret(other.pem), version="1")
    plane = control_plane(tls=ca.server)
    plane.set(cluster("web", ("127.0.0.1", 9)))
    proxy = run_proxy(config(delta, validation_context_sds_secret_config=from_file("planes", path)), wait=False)
    wait_until(lambda: proxy.admin.stat("cluster.xds.ssl.fail_verify_error") >= 1, 10, "a handshake that fails")
    wait_until(lambda: "CERTIFICATE_VERIFY_FAILED" in proxy.process.stderr().upper().replace(" ", "_"), 10, "the log says why")
    if kind == "sluiced":
        lines = [line for line in proxy.process.stderr().splitlines() if "gRPC config stream to xds closed" in line]
        assert lines and "no connection to cluster 'xds'" in lines[0] and "verify" in lines[0].lower(), lines
    assert proxy.admin.stat("control_plane.connected_state") == 0 and not opened(plane)
    # Mended: it comes by itself, as soon as it tries again.
    put(path, secret(ca.pem), version="2")
    plane.wait_ack("cluster")
    proxy.wait_ready()
    assert proxy.admin.stat("control_plane.connected_state") == 1


def test_a_proxy_that_cannot_be_trusted(control_plane, run_proxy, ca, other, kind):
    plane = control_plane(tls=ca.server, client_ca=ca.pem)
    plane.set(cluster("web", ("127.0.0.1", 9)))
    stranger = other.issue("stranger-" + kind)
    proxy = run_proxy(config(tls_certificates=[pair(stranger)], validation_context=trust(ca.pem)), wait=False)
    wait_until(lambda: proxy.admin.stat("cluster.xds.upstream_cx_total") >= 2, 10, "it tries again")
    proxy.wait_stat("control_plane.connected_state", 0)
    assert not plane.acks("cluster")
