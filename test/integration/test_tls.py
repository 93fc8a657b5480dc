"""TLS in both directions: the same configuration on Envoy and on sluiced, and all that clients, servers, logs and statistics see compared."""
import contextlib
import re
import socket
import ssl
import threading
import time

import pytest

from config import bootstrap, chain, cluster, file_log, http_manager, listener, tcp_proxy, typed
from conftest import check_sanitizers, require
from support import proxies
from support.ca import CA
from support.peers import Peer
from support.proxies import AccessLog
from support.wait import wait_until
from support.web import answer, read_message

pytestmark = pytest.mark.root

_TLS = "envoy.extensions.transport_sockets.tls.v3."
KINDS = ("envoy", "sluiced")
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
PEER = ["SUBJECT", "ISSUER", "URI_SAN", "DNS_SAN", "IP_SAN", "CERT_V_START", "CERT_V_END", "CERT"]
LOG = "|".join(f"{name}=%{name}%" for name in [
    "RESPONSE_CODE", "RESPONSE_FLAGS", "REQUESTED_SERVER_NAME", "PROTOCOL", "UPSTREAM_PROTOCOL", "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
    "UPSTREAM_TRANSPORT_FAILURE_REASON", "DOWNSTREAM_TLS_VERSION", "UPSTREAM_TLS_VERSION", "UPSTREAM_SERVER_NAME",
    *(f"DOWNSTREAM_PEER_{x}" for x in [*PEER, "EMAIL_SAN", "FINGERPRINT_256", "FINGERPRINT_1", "SERIAL", "CHAIN_FINGERPRINTS_256",
                                       "CHAIN_FINGERPRINTS_1", "CHAIN_SERIALS"]),
    *(f"DOWNSTREAM_LOCAL_{x}" for x in ("SUBJECT", "URI_SAN", "DNS_SAN", "IP_SAN", "EMAIL_SAN")),
    *(f"UPSTREAM_PEER_{x}" for x in PEER), *(f"UPSTREAM_LOCAL_{x}" for x in ("URI_SAN", "DNS_SAN", "IP_SAN"))])


def pem(pair):
    return {"certificate_chain": {"filename": str(pair.cert)}, "private_key": {"filename": str(pair.key)}}


def trust(ca, **fields):
    return {"trusted_ca": {"filename": str(ca.pem)}, **fields}


def context(kind, common, **fields):
    return {"name": "envoy.transport_sockets.tls", "typed_config": typed(_TLS + kind, common_tls_context=common, **fields)}


def downstream(common, **fields):
    return context("DownstreamTlsContext", common, **fields)


def upstream(common, **fields):
    return context("UpstreamTlsContext", common, **fields)


@pytest.fixture(scope="module")
def pki(world):
    """Names -> certificates; ca and other are the authorities."""
    folder = world.directory / f"pki-{world.next_number()}"

    class Pki:
        ca, other = CA(folder / "ca", "Test CA"), CA(folder / "other", "Other CA")
        server = ca.issue("server", ["DNS:server.local", "DNS:*.wild.local", "URI:spiffe://td/ns/a/sa/server", "IP:127.0.0.1"],
                          subject="/O=Acme, \\\"Inc\\\"/CN=server")
        rsa = ca.issue("rsa", ["DNS:server.local"], key="rsa")
        second = ca.issue("second", ["DNS:second.local"])
        valid = ca.issue("valid", ["URI:spiffe://td/ns/a/sa/valid", "URI:spiffe://td/second", "DNS:client.local", "DNS:b.local",
                                   "email:a@b.c", "IP:10.0.0.1"], subject="/O=Acme, Inc\\\\x/CN=valid")
        plain = ca.issue("plain")
        wrong_san = ca.issue("wrong_san", ["URI:spiffe://td/ns/b/sa/other"])
        expired = ca.issue("expired", ["URI:spiffe://td/ns/a/sa/valid"], starts=-10, ends=-1)
        early = ca.issue("early", ["URI:spiffe://td/ns/a/sa/valid"], starts=1, ends=10)
        revoked = ca.issue("revoked", ["URI:spiffe://td/ns/a/sa/valid"])
        wrong_use = ca.issue("wrong_use", ["URI:spiffe://td/ns/a/sa/valid"], usage="serverAuth")
        stranger = other.issue("stranger", ["URI:spiffe://td/ns/a/sa/valid"])
        crl = ca.crl(revoked)
    return Pki


class TlsWeb(Peer):
    """An HTTP/1 server behind TLS that answers with the head it got; handshakes: what each connection came to."""

    def __init__(self, sock, pair, ca=None, alpn=(), version=None):
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(pair.cert, pair.key)
        if ca:
            self.context.load_verify_locations(ca.pem)
            self.context.verify_mode = ssl.CERT_OPTIONAL
        if alpn:
            self.context.set_alpn_protocols(alpn)
        if version:
            self.context.minimum_version = self.context.maximum_version = VERSIONS[version]
        self.context.sni_callback = self._sni
        self.handshakes, self.lock = [], threading.Lock()
        self.asked = []  # the name in each ClientHello
        self.wrapped = []  # wrapping takes the socket away from the one that was accepted
        super().__init__(sock, TlsWeb.serve)

    def _sni(self, sock, name, _):
        sock.sluice_name = name
        self.asked.append(name)

    def serve(self, raw):
        try:
            sock = self.context.wrap_socket(raw, server_side=True)
        except (ssl.SSLError, OSError) as error:
            with self.lock:
                self.handshakes.append(getattr(error, "reason", None) or type(error).__name__)
            return
        peer = sock.getpeercert()
        with self.lock:
            self.wrapped.append(sock)
            self.handshakes.append((sock.version(), sock.selected_alpn_protocol(), getattr(sock, "sluice_name", None), sock.session_reused,
                                    peer and peer["subject"]))
        rest = b""
        while True:
            try:
                got = read_message(sock, rest)
            except (ssl.SSLError, OSError):
                return
            if got is None:
                return
            start, fields, body, rest = got
            lines = [start] + sorted(f"{k}: {v}" for k, v in fields.items() if k not in ("x-request-id", "host"))
            sock.sendall(answer(200, "\n".join(lines).encode()))


    def close(self):
        with self.lock:
            for sock in self.wrapped:
                with contextlib.suppress(OSError):
                    sock.shutdown(socket.SHUT_RDWR)
        super().close()


def client_context(pair=None, version=None, alpn=(), ciphers=None):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    if version:
        made.minimum_version = made.maximum_version = VERSIONS[version]
    if alpn:
        made.set_alpn_protocols(alpn)
    if ciphers:
        made.set_ciphers(ciphers)
    if pair:
        made.load_cert_chain(pair.cert, pair.key)
    return made


def certificate_name(der):
    """Enough to tell the certificates of this file apart: the first DNS name's bytes."""
    return next((n for n in (b"server.local", b"second.local") if n in der), b"?").decode() if der else None


def talk(pod, port, made, name="server.local", session=None, headers=("x-forwarded-client-cert: By=old;URI=x",)):
    """What one HTTP/1 request over TLS comes to: a dict, or the reason why there was none.

    In TLS 1.3 a client is done before the server has looked at its certificate. The alert that follows meets a request under way, and
    whether it or a reset arrives is chance (with Envoy, that is; sluiced waits until the client has read it).
    """
    with pod.connect("127.0.0.1", port) as raw:
        raw.settimeout(10)
        established = False
        try:
            with made.wrap_socket(raw, server_hostname=name, session=session) as sock:
                established = sock.version() == "TLSv1.3"
                seen = {"version": sock.version(), "alpn": sock.selected_alpn_protocol(),
                        "server": certificate_name(sock.getpeercert(True)), "reused": sock.session_reused}
                sock.sendall("\r\n".join(["GET / HTTP/1.1", "host: a", *headers]).encode() + b"\r\n\r\n")
                got = read_message(sock)
                if got is None:
                    return "refused"
                start, fields, body, _ = got
                talk.session = sock.session
                return {**seen, "status": start, "body": body.decode(),
                        "fields": sorted(k for k in fields if k not in ("date", "x-envoy-upstream-service-time"))}
        except ssl.SSLError as error:
            return "refused" if established else error.reason or str(error)
        except OSError as error:
            return "refused" if established else type(error).__name__


class Side:
    """One proxy of the pair, its port and its log."""

    def __init__(self, world, app, kind, make):
        self.kind, self.app, self.port = kind, app, app.free_port()
        self.log = AccessLog(world.directory / f"tls-{kind}-{world.next_number()}.log")
        self.connections = AccessLog(world.directory / f"tls-{kind}-{world.next_number()}-cx.log")
        self.proxy = proxies.start(world, kind, make(self), app.path)

    def clean(self, text):
        text = re.sub(rf"([_:]){self.port}(?!\d)", r"\1<port>", text)
        # The library's number of an error is no part of what it says.
        text = re.sub(r"TLS_error:\|\d+:", "TLS_error:|<n>:", text)
        # Nor is which of a client's offers it was that did not fit.
        return re.sub(r"NO_SHARED_CIPHER|WRONG_CURVE|NO_COMMON_SIGNATURE_ALGORITHMS", "NOTHING_SHARED", text)

    def stats(self):
        """Of TLS alone. Of two libraries the preferred cipher, curve and signature algorithm may differ, and so what is counted by name."""
        return {self.clean(k): v for k, v in self.proxy.admin.stats().items()
                if re.search(r"\.ssl\.|_ssl_", k) and not k.startswith("http.admin.") and
                not re.search(r"\.(ciphers|curves|sigalgs)\.", k)}

    def settle(self):
        """Connections are over and their records written."""
        self.proxy.wait_stat(f"listener.127.0.0.1_{self.port}.downstream_cx_active", 0)
        stats = self.proxy.admin.stats()
        self.connections.wait(stats[f"listener.127.0.0.1_{self.port}.downstream_cx_total"])
        self.log.wait(stats.get("http.web.downstream_rq_total", 0) +
                      sum(n for name, n in stats.items() if name.startswith("tcp.") and name.endswith(".downstream_cx_total")))


@pytest.fixture
def pair(world, app):
    """pair(make): [Envoy, sluiced] with make(side)'s configuration."""
    for kind in KINDS:
        require(kind)
    started = []

    def start(make):
        started.extend(Side(world, app, kind, make) for kind in KINDS)
        return started[-2:]
    yield start
    for side in started:
        assert side.proxy.process.running(), side.proxy.process.describe()
        side.proxy.process.kill()
        check_sanitizers(side.proxy)


def http_config(side, *transports, target=None, tls=None, matches=None, names=None, **manager):
    """One listener, a chain for each transport socket (`names`: their server_names), routes to `target`."""
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "up"} if target else None,
               **({} if target else {"direct_response": {"status": 200, "body": {"inline_string": "hi"}}})}]
    for r in routes:
        if r["route"] is None:
            del r["route"]
    manager.setdefault("access_log", [file_log(side.log.path, LOG)])
    chains = []
    for number, transport in enumerate(transports):
        match = {"server_names": names[number]} if names and names[number] else {}
        made = chain(http_manager(routes, stat_prefix="web", **manager), name=f"chain{number}", **match)
        chains.append({**made, "transport_socket": transport} if transport else made)
    fields = {"transport_socket": tls} if tls else {}
    clusters = [cluster("up", target, **fields)] if target else []
    inspector = {"listener_filters": [{"name": "tls_inspector", "typed_config": typed(
        "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector")}]} if names else {}
    return bootstrap([listener(side.port, *chains, address="127.0.0.1", **inspector,
                               access_log=[file_log(side.connections.path, "%DOWNSTREAM_TRANSPORT_FAILURE_REASON% %RESPONSE_FLAGS%")])],
                     clusters)


def differences(envoy, ours, at=""):
    """["where: Envoy's != ours"], of what is made of dicts, lists and values."""
    if isinstance(envoy, dict) and isinstance(ours, dict):
        return [d for k in sorted({*envoy, *ours}, key=str) for d in differences(envoy.get(k), ours.get(k), f"{at}/{k}")]
    if isinstance(envoy, (list, tuple)) and isinstance(ours, (list, tuple)) and len(envoy) == len(ours):
        return [d for i, (a, b) in enumerate(zip(envoy, ours)) for d in differences(a, b, f"{at}/{i}")]
    return [] if envoy == ours else [f"{at}: {envoy!r} != {ours!r}"]


def compare(sides, run):
    """run(side) on both; everything it returns, the logs and the statistics are equal."""
    found = []
    for side in sides:
        seen = run(side)
        side.settle()
        found.append({"seen": seen, "log": sorted(side.clean(x).split("|") for x in side.log.lines()),
                      "connections": sorted(side.clean(x) for x in side.connections.lines()), "stats": side.stats()})
    envoy, ours = found
    found = differences(envoy, ours)
    assert not found, "\n".join(found)
    return envoy["seen"]


CLIENTS = ["none", "valid", "plain", "wrong_san", "expired", "early", "revoked", "wrong_use", "stranger"]


def certificate(pki, name):
    return None if name == "none" else getattr(pki, name)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("required", [True, False])
def test_client_certificates(pair, pki, app, version, required):
    """Who may in, what is said to who may not, and what the access log tells of both."""
    sans = [{"san_type": "URI", "matcher": {"prefix": "spiffe://td/ns/a/"}}]
    validation = trust(pki.ca, crl={"filename": str(pki.crl)}, match_typed_subject_alt_names=sans)
    made = downstream({"tls_certificates": [pem(pki.server)], "validation_context": validation}, require_client_certificate=required)
    sides = pair(lambda side: http_config(side, made))
    seen = compare(sides, lambda side: {c: talk(app, side.port, client_context(certificate(pki, c), version)) for c in CLIENTS})
    served = {c for c, got in seen.items() if isinstance(got, dict) and got.get("status", "").startswith("HTTP/1.1 200")}
    assert served == {"valid"}  # who has no name has not the name that is asked for, required or not


@pytest.mark.parametrize("validation", ["untrusted", "hash", "spki_wrong", "depth", "expired_allowed", "dns_exact", "ip", "email", "regex"])
def test_validation_contexts(pair, pki, app, validation):
    """The other ways to say whom to trust."""
    digest = ssl.PEM_cert_to_DER_cert(pki.valid.cert.read_text())
    import hashlib
    sha256 = hashlib.sha256(digest).hexdigest()
    typed_san = lambda kind, **matcher: {"match_typed_subject_alt_names": [{"san_type": kind, "matcher": matcher}]}  # noqa: E731
    fields = {"untrusted": {"trust_chain_verification": "ACCEPT_UNTRUSTED"},
              "hash": {"verify_certificate_hash": [":".join(sha256[i:i + 2] for i in range(0, 64, 2))]},
              "spki_wrong": {"verify_certificate_spki": ["NvqYIYSbgK2vCJpQhObf77vv+bQWtc5ek5RIOwPiC9A="]},
              "depth": {"max_verify_depth": 1},
              "expired_allowed": {"allow_expired_certificate": True},
              "dns_exact": typed_san("DNS", exact="client.local"),
              "ip": typed_san("IP_ADDRESS", exact="10.0.0.1"),
              "email": typed_san("EMAIL", exact="a@b.c"),
              "regex": typed_san("URI", safe_regex={"google_re2": {}, "regex": "spiffe://td/ns/[a-z]/sa/valid"})}[validation]
    made = downstream({"tls_certificates": [pem(pki.server)], "validation_context": trust(pki.ca, **fields)}, require_client_certificate=True)
    sides = pair(lambda side: http_config(side, made))
    compare(sides, lambda side: {c: talk(app, side.port, client_context(certificate(pki, c))) for c in CLIENTS})


def test_versions_and_alpn(pair, pki, app):
    """What is agreed on, and what happens where nothing can be."""
    made = downstream({"tls_certificates": [pem(pki.server)], "alpn_protocols": ["http/1.1", "istio"],
                       "tls_params": {"tls_minimum_protocol_version": "TLSv1_3"}})
    sides = pair(lambda side: http_config(side, made))
    compare(sides, lambda side: [talk(app, side.port, client_context(version=v, alpn=a))
                                 for v in (None, "1.2", "1.3") for a in ((), ["http/1.1"], ["istio", "http/1.1"], ["none"])])


@pytest.mark.parametrize("key", ["server", "rsa"])
@pytest.mark.parametrize("ciphers", [[], ["ECDHE-ECDSA-AES256-GCM-SHA384"], ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"]])
def test_ciphers(pair, pki, app, key, ciphers):
    made = downstream({"tls_certificates": [pem(getattr(pki, key))], "tls_params": {"cipher_suites": ciphers}})
    sides = pair(lambda side: http_config(side, made))
    compare(sides, lambda side: [talk(app, side.port, client_context(version="1.2", ciphers=c)) for c in
                                 ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "AES128-SHA", "DEFAULT")])


def test_server_names(pair, pki, app):
    """Chains by SNI, and within one of several certificates that which fits the name."""
    one = downstream({"tls_certificates": [pem(pki.server), pem(pki.second), pem(pki.rsa)]})
    two = downstream({"tls_certificates": [pem(pki.second)]})
    sides = pair(lambda side: http_config(side, two, one, names=[["chosen.local"], None]))
    names = ["server.local", "second.local", "a.wild.local", "a.b.wild.local", "chosen.local", "nobody.local", None]
    compare(sides, lambda side: {n: talk(app, side.port, client_context(), name=n) for n in names})


def test_one_gauge_of_several_certificates_without_name(pair, pki, app):
    """The last certificate of the last chain: whoever connects first, and whichever ends first."""
    lives = {days: pki.ca.issue(f"lives-{days}", ["DNS:server.local"], ends=days) for days in (5, 9, 2, 7, 3)}
    chains = [downstream({"tls_certificates": [pem(lives[days]) for days in chain]}) for chain in ([5, 9], [2], [3, 7])]
    sides = pair(lambda side: http_config(side, *chains, names=[["first.local"], ["second.local"], None]))
    names = [None, "second.local", "first.local"]
    compare(sides, lambda side: [talk(app, side.port, client_context(), name=n) for n in names])
    for side in sides:
        (shown,) = (v for k, v in side.proxy.admin.stats().items() if ".unnamed_cert_" in k)
        assert 6 < (shown - time.time()) / 86400 < 8


DETAILS = {"subject": True, "cert": True, "chain": True, "dns": True, "uri": True}


@pytest.mark.parametrize("mode", ["SANITIZE", "FORWARD_ONLY", "APPEND_FORWARD", "SANITIZE_SET", "ALWAYS_FORWARD_ONLY"])
@pytest.mark.parametrize("details", [{}, DETAILS], ids=["none", "all"])
def test_forwarded_client_certificate(pair, pki, app, server, mode, details):
    """x-forwarded-client-cert as the upstream gets it, and the rest of its head: byte for byte."""
    made = downstream({"tls_certificates": [pem(pki.server)], "validation_context": trust(pki.ca)}, require_client_certificate=False)
    with TlsWeb(server.listen(), pki.second) as web:
        tls = upstream({"validation_context": trust(pki.ca)}, sni="second.local")
        sides = pair(lambda side: http_config(side, made, target=(server.ipv4, web.port), tls=tls, forward_client_cert_details=mode,
                                              set_current_client_cert_details=details, use_remote_address=True))
        seen = compare(sides, lambda side: {(c, h): talk(app, side.port, client_context(certificate(pki, c)), headers=[h] if h else [])
                                            for c in ("none", "valid", "plain") for h in ("x-forwarded-client-cert: By=old;URI=x", "")})
    assert "x-forwarded-proto: https" in seen["valid", ""]["body"]


UPSTREAMS = ["second", "server", "rsa", "expired", "stranger", "wrong_use"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("target", ["second", "rsa", "expired", "stranger"])
def test_upstream(pair, pki, app, server, version, target):
    """Which servers are trusted, what they are told of us, and what the downstream gets where they are not."""
    with TlsWeb(server.listen(), getattr(pki, target), pki.ca, alpn=["istio", "http/1.1"], version=version) as web:
        tls = upstream({"tls_certificates": [pem(pki.valid)], "validation_context": trust(pki.ca), "alpn_protocols": ["http/1.1"],
                        "tls_params": {"tls_maximum_protocol_version": "TLSv1_3"}}, sni="name.local")
        made = downstream({"tls_certificates": [pem(pki.server)]})
        sides = pair(lambda side: http_config(side, made, target=(server.ipv4, web.port), tls=tls))

        def run(side):
            with web.lock:
                web.handshakes.clear()
            got = talk(app, side.port, client_context(), headers=[])
            wait_until(lambda: web.handshakes, 5, "the upstream's side")
            return got, web.handshakes[:1]
        compare(sides, run)


def test_upstream_default_version(pair, pki, app, server):
    """A client's context that says nothing speaks TLS 1.2 at most, and resumes."""
    with TlsWeb(server.listen(), pki.second) as web:
        sides = pair(lambda side: http_config(side, downstream({"tls_certificates": [pem(pki.server)]}), target=(server.ipv4, web.port),
                                              tls=upstream({}, sni="x.local")))

        def run(side):
            with web.lock:
                web.handshakes.clear()
            for _ in range(3):  # "connection: close" ends the upstream's connection too
                assert talk(app, side.port, client_context(), headers=["connection: close"])["status"].startswith("HTTP/1.1 200")
            return list(web.handshakes)
        compare(sides, run)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("fields", [{}, {"disable_stateless_session_resumption": True},
                                    {"disable_stateless_session_resumption": True, "disable_stateful_session_resumption": True}],
                         ids=["tickets", "cache", "neither"])
def test_resumption(pair, pki, app, version, fields):
    made = downstream({"tls_certificates": [pem(pki.server)]}, **fields)
    sides = pair(lambda side: http_config(side, made))

    def run(side):
        client = client_context(version=version)
        talk.session = None
        first = talk(app, side.port, client)
        return first, talk(app, side.port, client, session=talk.session)
    compare(sides, run)


def test_tcp_through_tls(pair, pki, app, server):
    """TLS ends here, and bytes go on in clear; and the other way round."""
    from support import peers
    with Peer(server.listen(), peers.echo) as peer:
        def make(side):
            filters = tcp_proxy("up", access_log=[file_log(side.log.path, LOG)])
            return bootstrap([listener(side.port, {**chain(filters), "transport_socket": downstream({"tls_certificates": [pem(pki.server)]})},
                                       address="127.0.0.1", access_log=[file_log(side.connections.path, "%RESPONSE_FLAGS%")])],
                             [cluster("up", (server.ipv4, peer.port))])
        sides = pair(make)

        def run(side):
            with app.connect("127.0.0.1", side.port) as raw, client_context().wrap_socket(raw, server_hostname="server.local") as sock:
                sock.sendall(b"x" * 100000)
                got = peers.receive_exactly(sock, 100000)
                sock.unwrap()
                return len(got)
        assert compare(sides, run) == 100000


@pytest.mark.parametrize("required", ["EXTERNAL_ONLY", "ALL"])
def test_require_tls(pair, pki, app, required):
    """A virtual host that is to be asked over TLS alone redirects who asks in clear."""
    def make(side):
        config = http_config(side, downstream({"tls_certificates": [pem(pki.server)]}), names=[None])
        first = config["static_resources"]["listeners"][0]["filter_chains"][0]
        first["filters"][0]["typed_config"]["route_config"]["virtual_hosts"][0]["require_tls"] = required
        clear = {k: v for k, v in first.items() if k != "transport_socket"}
        first["filter_chain_match"] = {"transport_protocol": "tls"}
        config["static_resources"]["listeners"][0]["filter_chains"].append({**clear, "name": "clear"})
        return config
    sides = pair(make)

    def run(side):
        with app.connect("127.0.0.1", side.port) as sock:
            sock.sendall(b"GET /x HTTP/1.1\r\nhost: a\r\n\r\n")
            start, fields, _, _ = read_message(sock)
        return start, fields.get("location"), talk(app, side.port, client_context())
    start, location, _ = compare(sides, run)
    assert start.startswith("HTTP/1.1 301") and location == "https://a/x"


def test_certs(pair, pki, app):
    """/certs: what stands in contexts themselves, of listeners and of clusters. Envoy has an entry a context, sluiced one a certificate."""
    some = [pki.ca.issue(f"ends{days}", ["DNS:server.local"], key=key, ends=days) for key, days in (("ec", 10.3), ("rsa", 10.7))]
    own = pki.ca.issue("ends5", ["URI:spiffe://td/own"], ends=5.5)
    made = downstream({"tls_certificates": [pem(p) for p in some], "validation_context": trust(pki.ca)})
    inline = {"certificate_chain": {"inline_string": own.cert.read_text()}, "private_key": {"inline_string": own.key.read_text()}}
    tls = upstream({"tls_certificates": [inline], "validation_context": trust(pki.other)}, sni="a")
    shown = []
    for side in pair(lambda side: http_config(side, made, target=("127.0.0.1", 1), tls=tls)):
        found = side.proxy.admin.json("/certs")["certificates"]
        for entry in found:
            for c in entry["ca_cert"]:
                assert c.pop("days_until_expiration") in ("29", "30")  # it was made for 30 days, a second ago
        shown.append({kind: sorted(({**c, "subject_alt_names": sorted(map(str, c["subject_alt_names"]))} for e in found for c in e[kind]),
                                   key=lambda c: c["serial_number"]) for kind in ("ca_cert", "cert_chain")})
    assert not differences(*shown)
    assert len(shown[0]["cert_chain"]) == 3 and len(shown[0]["ca_cert"]) == 2
