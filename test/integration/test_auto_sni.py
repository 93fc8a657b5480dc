"""auto_sni where no client's request asks for it: copies of requests, and the streams to control planes. What the servers are called, by both."""
import pytest

from config import bootstrap, chain, cluster, http_manager, listener
from support.control_plane import dynamic
from support.wait import wait_until
from support.web import Web, answer, read_message
from test_tls import TlsWeb, pki, trust, upstream  # noqa: F401 (a fixture)

pytestmark = pytest.mark.root

_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def secured(name, target, ca, http2=False, validate=False):
    """A cluster that goes by the request's host: SNI, and with `validate` the name in the certificate."""
    options = {"@type": f"type.googleapis.com/{_OPTIONS}", "explicit_http_config": {"http2_protocol_options" if http2 else "http_protocol_options": {}},
               "upstream_http_protocol_options": {"auto_sni": True, "auto_san_validation": validate}}
    return cluster(name, target, typed_extension_protocol_options={_OPTIONS: options},
                   transport_socket=upstream({"validation_context": trust(ca), "alpn_protocols": ["h2" if http2 else "http/1.1"]}))


def ask(app, port, host):
    with app.connect("127.0.0.1", port) as sock:
        sock.settimeout(20)
        sock.sendall(f"GET / HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
        return read_message(sock)[0]


@pytest.mark.parametrize("host, suffix, seen", [
    ("shop.local", True, "shop.local-shadow"), ("shop.local:81", True, "shop.local-shadow"), ("server.local", False, "server.local"),
    ("10.1.2.3", False, None)])
def test_copies_of_requests(run_proxy, app, server, pki, host, suffix, seen):  # noqa: F811
    """A copy has a host of its own, with the suffix that mirroring gives it, and is sent to the server of that name."""
    policy = {"cluster": "copy", "disable_shadow_host_suffix_append": not suffix}
    with Web(server.listen(), lambda n: answer(body=b"ok")) as main, TlsWeb(server.listen(), pki.server) as copy:
        port = app.free_port()
        routes = [{"match": {"prefix": "/"}, "route": {"cluster": "main", "request_mirror_policies": [policy]}}]
        proxy = run_proxy(bootstrap([listener(port, chain(http_manager(routes)))], [
            cluster("main", (server.ipv4, main.port)), secured("copy", (server.ipv4, copy.port), pki.ca)]))
        assert ask(app, port, host).startswith("HTTP/1.1 200")
        proxy.wait_stat("cluster.copy.upstream_rq_200", 1)
        assert copy.asked == [seen]


@pytest.mark.parametrize("authority, seen, good", [("server.local", "server.local", True), ("other.local:99", "other.local", False),
                                                   (None, "xds", False)])
def test_streams_to_control_planes(run_proxy, server, pki, authority, seen, good):  # noqa: F811
    """A stream goes by its authority, which is the cluster's name where nothing is said; with auto_san_validation the certificate has to have it."""
    with TlsWeb(server.listen(), pki.server, alpn=["h2"]) as plane:
        config = dynamic(lds=False)
        service = config["dynamic_resources"]["ads_config"]["grpc_services"][0]["envoy_grpc"]
        if authority:
            service["authority"] = authority
        proxy = run_proxy({**config, **bootstrap([], [secured("xds", (server.ipv4, plane.port), pki.ca, http2=True, validate=True)])}, wait=False)
        wait_until(lambda: plane.asked, 10, "a stream", alive=proxy.process.check_running)
        assert plane.asked[0] == seen
        proxy.wait_stat("cluster.xds.ssl.handshake" if good else "cluster.xds.ssl.fail_verify_san", 1, more=True)
