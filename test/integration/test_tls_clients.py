"""Clients that others wrote (OpenSSL's, curl, Python's) over versions, ALPN, SNI and certificates: what each comes to on Envoy and on sluiced."""
import re
import ssl

import pytest

from support.wait import wait_until
from support.web import read_message
from test_tls import (CLIENTS, certificate, client_context, compare, downstream, http_config, pair, pem, pki,  # noqa: F401 (fixtures)
                      trust)

pytestmark = pytest.mark.root

OLD = "DEFAULT:@SECLEVEL=0"  # without which OpenSSL speaks no TLS 1.1
GOOD, BAD = ["handshake"], ["connection_error", "fail_verify_error", "fail_verify_no_cert", "fail_verify_san", "fail_verify_cert_hash"]
VERSIONS = {"1.0": "-tls1", "1.1": "-tls1_1", "1.2": "-tls1_2", "1.3": "-tls1_3", "any": None}


def openssl(app, port, version, alpn, name):
    """What `openssl s_client` says: version, ALPN, the certificate's first name; or the number of the alert."""
    flags = [VERSIONS[version]] if VERSIONS[version] else []
    flags += ["-alpn", alpn] if alpn else []
    flags += ["-servername", name] if name else ["-noservername"]
    done = app.run("openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-cipher", OLD, *flags, check=False, timeout=20)
    text = done.stdout + done.stderr
    alert = re.search(r"SSL alert number (\d+)", text)
    if alert:
        return f"alert {alert[1]}"
    got = re.search(r"^New, .*$", text, re.M)
    agreed = re.search(r"ALPN protocol: (.*)", text)
    spoken = re.search(r"Protocol *: (\S+)", text)  # of TLS 1.2; of 1.3 the first line says it
    subject = re.search(r"^subject=(.*)$", text, re.M)
    assert got, text[-2000:]
    return got[0].split(",")[1].strip() if not spoken else spoken[1], agreed and agreed[1], subject and subject[1]


def curl(app, port, *options, name="server.local"):
    done = app.run("curl", "-sS", "-k", "-o", "/dev/null", "-m", "10", "--resolve", f"{name}:{port}:127.0.0.1", "-w", "%{http_code} HTTP/%{http_version}",
                   *map(str, options), f"https://{name}:{port}/", check=False)
    return done.returncode, done.stdout, done.stderr.partition(":")[2].strip() if done.returncode else None


def verdict(side, made):
    """What a client comes to that sends nothing before the server has judged it: version and status, or the name of the alert.

    In TLS 1.3 the client is done first: the server's statistics say when it is, too.
    """
    def judged():
        stats = side.proxy.admin.stats()
        return [sum(stats.get(f"listener.127.0.0.1_{side.port}.ssl.{name}", 0) for name in names) for names in (GOOD, BAD)]
    before = judged()
    with side.app.connect("127.0.0.1", side.port) as raw:
        raw.settimeout(10)
        try:
            with made.wrap_socket(raw, server_hostname="server.local") as sock:
                wait_until(lambda: judged() != before, 10, "the server's verdict")
                if judged()[0] == before[0]:
                    return sock.recv(1)
                sock.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
                return sock.version(), read_message(sock)[0]
        except ssl.SSLError as error:
            return error.reason


@pytest.mark.slow
@pytest.mark.parametrize("lowest, highest", [("TLSv1_2", "TLSv1_3"), ("TLSv1_3", "TLSv1_3"), ("TLSv1_2", "TLSv1_2")])
def test_versions_alpn_and_names(pair, pki, app, lowest, highest):  # noqa: F811
    params = {"tls_minimum_protocol_version": lowest, "tls_maximum_protocol_version": highest}
    made = downstream({"tls_certificates": [pem(pki.server), pem(pki.second)], "alpn_protocols": ["h2", "http/1.1"], "tls_params": params})
    sides = pair(lambda side: http_config(side, made))
    seen = compare(sides, lambda side: {
        **{(v, a): openssl(app, side.port, v, a, "second.local") for v in VERSIONS for a in (None, "h2", "http/1.1,h2", "istio")},
        **{n: openssl(app, side.port, "any", None, n) for n in ("server.local", "x.wild.local", "nobody.local", None)},
        **{c: curl(app, side.port, *c) for c in [("--http1.1",), ("--http2",), ("--tls-max", "1.2"), ("--tlsv1.3",), ("--no-alpn",),
                                                 ("--tlsv1.0", "--tls-max", "1.1", "--ciphers", OLD)]}})
    assert seen["1.1", None] == "alert 70" and seen["1.0", "h2"] == "alert 70"  # protocol_version
    assert seen["--http2",][:2] == (0, "200 HTTP/2") and seen["--http1.1",][:2] == (0, "200 HTTP/1.1")
    assert (seen["1.2", None] == "alert 70") == (lowest == "TLSv1_3")


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize("required", [True, False])
@pytest.mark.parametrize("trusted", ["VERIFY_TRUST_CHAIN", "ACCEPT_UNTRUSTED"])
def test_client_certificates(pair, pki, version, required, trusted):  # noqa: F811
    """Which alert tells whom why: the statistics and the access log's reason with it."""
    sans = [{"san_type": "URI", "matcher": {"prefix": "spiffe://td/ns/a/"}}]
    validation = trust(pki.ca, crl={"filename": str(pki.crl)}, match_typed_subject_alt_names=sans, trust_chain_verification=trusted)
    made = downstream({"tls_certificates": [pem(pki.server)], "validation_context": validation}, require_client_certificate=required)
    sides = pair(lambda side: http_config(side, made))
    seen = compare(sides, lambda side: {c: verdict(side, client_context(certificate(pki, c), version)) for c in CLIENTS})
    assert seen["valid"] == (f"TLSv{version}", "HTTP/1.1 200 OK")
    taken = {c for c, got in seen.items() if isinstance(got, tuple)}
    if trusted == "VERIFY_TRUST_CHAIN":
        assert taken == {"valid"} and None not in seen.values()
    else:
        assert ("none" in taken) != required and "stranger" in taken


def test_client_certificates_of_curl(pair, pki, app):  # noqa: F811
    """TLS 1.2, where the alert comes within the handshake, whatever the client waits for."""
    validation = trust(pki.ca, crl={"filename": str(pki.crl)})
    made = downstream({"tls_certificates": [pem(pki.server)], "validation_context": validation}, require_client_certificate=True)
    sides = pair(lambda side: http_config(side, made))

    def run(side):
        out = {}
        for client in CLIENTS:
            own = certificate(pki, client)
            out[client] = curl(app, side.port, "--tls-max", "1.2", *(["--cert", own.cert, "--key", own.key] if own else []))
        return out
    seen = compare(sides, run)
    assert {c for c, got in seen.items() if got[0] == 0} == {"valid", "plain", "wrong_san"}
    assert "alert certificate revoked" in seen["revoked"][2]
    assert seen["expired"][0] == 60  # curl takes that alert for a doubt of its own
