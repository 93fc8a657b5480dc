"""RBAC by the identity of a TLS peer, over HTTP and TCP, and rules as istiod writes them for AuthorizationPolicies; on both proxies."""
import ssl
import subprocess

import pytest

from config import bootstrap, chain, cluster, file_log, http_manager, listener, prefix, tcp_proxy, typed
from support import peers, proxies, yamltext
from support.peers import Peer, ending, receive_exactly
from support.proxies import AccessLog

pytestmark = pytest.mark.root
NAME = "envoy.filters.http.rbac"
ANY = [{"any": True}]
ALICE, CAROL = "spiffe://cluster.local/ns/a/sa/alice", "spiffe://cluster.local/ns/b/sa/carol"
# name: (subject, subjectAltName)
PEERS = {"alice": ("/CN=alice/O=us", f"URI:{ALICE},DNS:alice.example"), "carol": ("/CN=carol", f"URI:{CAROL}"), "bob": ("/CN=bob/O=us", None),
         "server": ("/CN=server", "DNS:server.example")}


class Certificates:
    """A CA and what it has signed: NAME.pem and NAME.key below a folder."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(exist_ok=True)
        self._make("ca", "/CN=ca", "-x509", "-addext", "basicConstraints=critical,CA:TRUE")
        for name, (subject, sans) in PEERS.items():
            self._make(name, subject)
            (folder / "ext").write_text("basicConstraints=CA:FALSE\n" + (f"subjectAltName={sans}\n" if sans else ""))
            self._run("x509", "-req", "-in", f"{name}.pem", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext",
                      "-out", f"{name}.pem")

    def _run(self, *command):
        subprocess.run(["openssl", *command], cwd=self.folder, check=True, capture_output=True, timeout=30)

    def _make(self, name, subject, *more):
        """A self-signed certificate, or the request for one (x509 reads it from the file that it then writes)."""
        self._run("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject, "-keyout", f"{name}.key", "-out", f"{name}.pem",
                  *more)

    def transport_socket(self, require=False):
        def file(name):
            return {"filename": str(self.folder / name)}
        common = {"tls_certificates": [{"certificate_chain": file("server.pem"), "private_key": file("server.key")}],
                  "validation_context": {"trusted_ca": file("ca.pem")}}
        return {"name": "envoy.transport_sockets.tls", "typed_config": typed(
            "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", common_tls_context=common, require_client_certificate=require)}

    def connect(self, app, port, who, server_name=None):
        """A TLS connection as one of PEERS, or as nobody (None)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if who:
            context.load_cert_chain(self.folder / f"{who}.pem", self.folder / f"{who}.key")
        sock = app.connect("127.0.0.1", port)
        sock.settimeout(10)
        return context.wrap_socket(sock, server_hostname=server_name)


@pytest.fixture(scope="module")
def made_certificates(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("rbac"))


@pytest.fixture
def certificates(world, kind, made_certificates):
    config = bootstrap([listener(8000, {**chain(tcp_proxy("up")), "transport_socket": made_certificates.transport_socket()})], [cluster("up", ("127.0.0.1", 9))])
    done, _ = proxies.validate(world, kind, yamltext.dump(config))
    if "DownstreamTlsContext" in done.stderr and "not supported by this version" in done.stderr:
        pytest.skip("this build terminates no TLS")
    return made_certificates


def policy(principals=None, permissions=None):
    return {"permissions": permissions or ANY, "principals": principals or ANY}


def rules(action="ALLOW", **policies):
    return {"action": action, **({"policies": policies} if policies else {})}


def http_rbac(name=NAME, **fields):
    return {"name": name, "typed_config": typed("envoy.extensions.filters.http.rbac.v3.RBAC", **fields)}


def network_rbac(**fields):
    return {"name": "envoy.filters.network.rbac", "typed_config": typed("envoy.extensions.filters.network.rbac.v3.RBAC", stat_prefix="tcp.", **fields)}


def named(**match):
    return {"authenticated": {"principal_name": match}}


# principal → who is allowed: alice, carol, bob, nobody (TLS without a certificate)
PRINCIPALS = {
    "any-tls": ({"authenticated": {}}, "alice carol bob nobody"),
    "uri": (named(exact=ALICE), "alice"),
    "dns": (named(exact="alice.example"), "alice"),
    "subject-bob": (named(exact="O=us,CN=bob"), "bob"),
    "subject-alice": (named(prefix="O=us"), "alice bob"),
    "namespace": (named(safe_regex={"regex": ".*/ns/a/.*"}), "alice"),
    "everything": (named(safe_regex={"regex": ".*"}), "alice carol bob nobody"),
    "something": (named(safe_regex={"regex": ".+"}), "alice carol bob"),
    "empty": (named(exact=""), "nobody"),
    "not": ({"not_id": named(exact=ALICE)}, "carol bob nobody"),
    "many": ({"or_ids": {"ids": [*(named(exact=f"spiffe://cluster.local/ns/x/sa/{i}") for i in range(100)), named(exact=CAROL), named(exact="O=us,CN=bob")]}},
             "carol bob"),
    "ignoring-case": (named(exact=ALICE.upper(), ignore_case=True), "alice"),
}


def test_principals_http(run_proxy, app, certificates):
    port = app.free_port()
    routes = [{"match": {"prefix": f"/{name}"}, "direct_response": {"status": 200}, "typed_per_filter_config": {NAME: typed(
        "envoy.extensions.filters.http.rbac.v3.RBACPerRoute", rbac={"rules": rules(it=policy([principal]))})}} for name, (principal, _) in PRINCIPALS.items()]
    made = chain(http_manager(routes, [http_rbac()]))
    run_proxy(bootstrap([listener(port, {**made, "transport_socket": certificates.transport_socket()})], []))
    found = {name: set() for name in PRINCIPALS}
    for who in ("alice", "carol", "bob", None):
        with certificates.connect(app, port, who) as sock:
            for name in PRINCIPALS:
                sock.sendall(f"GET /{name} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
                answer = b""
                while not answer.endswith((b"content-length: 0\r\n\r\n", b"RBAC: access denied")):
                    part = sock.recv(1 << 16)
                    assert part, answer
                    answer += part
                    if answer.startswith(b"HTTP/1.1 200") and b"\r\n\r\n" in answer:
                        break
                if answer.startswith(b"HTTP/1.1 200"):
                    found[name].add(who or "nobody")
    assert found == {name: set(allowed.split()) for name, (_, allowed) in PRINCIPALS.items()}


@pytest.mark.parametrize("name", ["uri", "many", "not"])
def test_principals_tcp(run_proxy, app, server, certificates, world, name):
    principal, allowed = PRINCIPALS[name]
    port = app.free_port()
    log = AccessLog(world.directory / f"rbac-{world.next_number()}.log")
    with Peer(server.listen(), peers.echo) as peer:
        made = chain(network_rbac(rules=rules(it=policy([principal]))),
                     tcp_proxy("up", access_log=[file_log(log.path, text="%CONNECTION_TERMINATION_DETAILS%")]))
        run_proxy(bootstrap([listener(port, {**made, "transport_socket": certificates.transport_socket()})], [cluster("up", (server.ipv4, peer.port))]))
        for number, who in enumerate(("alice", "carol", "bob", None)):
            with certificates.connect(app, port, who) as sock:
                sock.sendall(b"hello")
                got = receive_exactly(sock, 5)
            may = (who or "nobody") in allowed.split()
            assert got == (b"hello" if may else b""), who
            assert log.wait(number + 1)[number] == ("-" if may else "rbac_access_denied_matched_policy[none]")


# ---- as istiod translates AuthorizationPolicies: one filter for DENY, one for ALLOW, each with its dry runs as shadow rules ----
def istio(name, sources, operations):
    return {f"ns[a]-policy[{name}]-rule[0]": {
        "permissions": [{"and_rules": {"rules": operations or [{"any": True}]}}], "principals": [{"and_ids": {"ids": sources or [{"any": True}]}}]}}


def principals(*names):
    return {"or_ids": {"ids": [named(exact=n) for n in names]}}


def namespaces(*names):
    return {"or_ids": {"ids": [named(safe_regex={"regex": f".*/ns/{n}/.*"}) for n in names]}}


def methods(*names):
    return {"or_rules": {"rules": [{"header": {"name": ":method", "string_match": {"exact": n}}} for n in names]}}


def paths(*matches):
    return {"or_rules": {"rules": [{"url_path": {"path": m}} for m in matches]}}


def template(text):
    return {"or_rules": {"rules": [{"uri_template": {"name": "uri-template", "typed_config": typed(
        "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig", path_template=text)}}]}}


DENY = {**istio("deny-admin", [namespaces("b")], [paths({"prefix": "/admin"})]), **istio("deny-others", [{"not_id": namespaces("a", "b")}], None)}
ALLOW = {**istio("allow-read", [principals(ALICE, CAROL)], [methods("GET", "HEAD"), {"not_rule": paths({"exact": "/private"}, {"suffix": ".key"})}]),
         **istio("allow-items", [namespaces("a"), {"or_ids": {"ids": [{"remote_ip": prefix("127.0.0.0/8")}]}}], [methods("PUT"), template("/items/*/parts/**")])}
DRY = istio("dry-alice", [principals(ALICE)], None)


def test_istio_authorization_policies_http(run_proxy, app, certificates, world):
    port = app.free_port()
    log = AccessLog(world.directory / f"rbac-{world.next_number()}.log")
    filters = [http_rbac(rules=rules("DENY", **DENY), shadow_rules=rules("DENY", **DRY), shadow_rules_stat_prefix="istio_dry_run_deny_"),
               http_rbac(rules=rules(**ALLOW), shadow_rules=rules(**DRY), shadow_rules_stat_prefix="istio_dry_run_allow_")]
    manager = http_manager([{"match": {"prefix": "/"}, "direct_response": {"status": 200}}], filters, stat_prefix="inbound", access_log=[file_log(log.path, json={
        "details": "%RESPONSE_CODE_DETAILS%", "deny": f"%DYNAMIC_METADATA({NAME}:istio_dry_run_deny_shadow_engine_result)%",
        "deny_by": f"%DYNAMIC_METADATA({NAME}:istio_dry_run_deny_shadow_effective_policy_id)%",
        "allow": f"%DYNAMIC_METADATA({NAME}:istio_dry_run_allow_shadow_engine_result)%"})])
    proxy = run_proxy(bootstrap([listener(port, {**chain(manager), "transport_socket": certificates.transport_socket(require=True)})], []))
    no, other = "rbac_access_denied_matched_policy[none]", "rbac_access_denied_matched_policy[ns[a]-policy[{}]-rule[0]]"
    asked = [("alice", "GET /", None), ("alice", "GET /admin/x", None), ("carol", "GET /", None), ("carol", "GET /admin/x", other.format("deny-admin")),
             ("bob", "GET /", other.format("deny-others")), ("alice", "POST /", no), ("alice", "GET /private", no), ("alice", "GET /a.key", no),
             ("alice", "GET /private?q", no), ("alice", "PUT /items/1/parts/2/3", None), ("alice", "PUT /items/1/2/parts/2", no), ("carol", "PUT /items/1/parts/2", no)]
    for number, (who, request, denied) in enumerate(asked):
        with certificates.connect(app, port, who) as sock:
            sock.sendall(f"{request} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".encode())
            answer = peers.receive_all(sock)
        assert answer.startswith(b"HTTP/1.1 403" if denied else b"HTTP/1.1 200"), (who, request, answer)
        record = log.json(number + 1)[number]
        assert record["details"] == (denied or "direct_response"), (who, request)
        alice = who == "alice"
        assert (record["deny"], record["deny_by"]) == (("denied", "ns[a]-policy[dry-alice]-rule[0]") if alice else ("allowed", None))
        passed = denied in (None, no)  # the first filter: the second was asked
        assert record["allow"] == (None if not passed else "allowed" if alice else "denied")
    stats = proxy.admin.stats()
    assert stats["http.inbound.rbac.denied"] == sum(1 for *_, denied in asked if denied)
    assert stats["http.inbound.rbac.istio_dry_run_deny_.shadow_denied"] == sum(1 for who, *_ in asked if who == "alice")


def test_istio_authorization_policies_tcp(run_proxy, app, server, certificates):
    """HTTP-only rules make a DENY policy wider and an ALLOW policy void; istiod leaves the ports."""
    port = app.free_port()
    deny = istio("deny-port", [{"not_id": principals(ALICE, CAROL)}], [{"or_rules": {"rules": [{"destination_port": port}]}}])
    allow = istio("allow-a", [namespaces("a")], [{"or_rules": {"rules": [{"destination_port": 1}, {"destination_port": port}]}}])
    with Peer(server.listen(), peers.echo) as peer:
        filters = [network_rbac(rules=rules("DENY", **deny)), network_rbac(rules=rules(**allow), shadow_rules=rules(**DRY), shadow_rules_stat_prefix="dry_")]
        made = chain(*filters, tcp_proxy("up"))
        proxy = run_proxy(bootstrap([listener(port, {**made, "transport_socket": certificates.transport_socket()})], [cluster("up", (server.ipv4, peer.port))]))
        for who, may in (("alice", True), ("carol", False), ("bob", False), (None, False)):
            with certificates.connect(app, port, who) as sock:
                sock.sendall(b"hello")
                assert receive_exactly(sock, 5) == (b"hello" if may else b""), who
                if not may:
                    assert ending(sock) == "fin"
    proxy.wait_stat("tcp.rbac.denied", 3)
    assert proxy.admin.stat("tcp.rbac.dry_.shadow_denied") == 1
