"""tlsfuzzer's scripts against a TLS server as Envoy's configuration makes it: Envoy, as the oracle, and sluiced.

tlsfuzzer comes in no package, so that whoever wants this run says where it is: SLUICE_TLSFUZZER is a directory with its `scripts` and
`tlsfuzzer`, and with the packages they need (`pip install --target DIR tlslite-ng==0.9.0b2`). Without it the cases are skipped. Scripts choose some
of their conversations at random; with SLUICE_TLSFUZZER_ALL=1 they hold all of them.

Every script stands in one of the lists: SCRIPTS, ECDSA (the server has such a key), MUTUAL and MUTUAL_ECDSA (a client certificate is
wanted), or LEFT_OUT with the reason. Where a proxy does otherwise than a script wants, MISSES says in what conversations and why; any
other conversation has to pass.
"""
import os
import pathlib
import re
import socket
import subprocess
import sys

import pytest

from support import paths, yamltext
from support.process import Process
from support.wait import wait_until

# Cipher suites beside Envoy's defaults, because the scripts use them: RSA key exchange and CBC.
CIPHERS = ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-RSA-AES128-SHA",
           "ECDHE-RSA-AES256-SHA", "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA", "AES128-GCM-SHA256", "AES256-GCM-SHA384",
           "AES128-SHA", "AES256-SHA"]

# Scripts for a server that asks for no certificate.
SCRIPTS = """
    aes-gcm-nonces alpn-negotiation bleichenbacher-workaround ccs client-hello-max-size connection-abort conversation cve-2004-0079
    cve-2016-2107 cve-2016-6309 cve-2016-7054 downgrade-protection early-application-data ecdhe-padded-shared-secret
    ecdhe-rsa-key-exchange ecdhe-rsa-key-exchange-with-bad-messages empty-extensions encrypt-then-mac
    extended-master-secret-extension extensions fuzzed-MAC fuzzed-ciphertext fuzzed-finished fuzzed-padding fuzzed-plaintext
    hello-request-by-client interleaved-CKE-with-CCS invalid-cipher-suites invalid-client-hello
    invalid-client-hello-w-record-overflow invalid-compression-methods invalid-content-type invalid-rsa-key-exchange-messages
    invalid-server-name-extension invalid-server-name-extension-resumption invalid-session-id invalid-version large-hello
    large-number-of-extensions message-duplication message-skipping
    no-heartbeat no-mlkem-in-old-tls openssl-3712 point-extension record-layer-fragmentation renegotiation-disabled
    session-ticket-resumption sessionID-resumption sig-algs signature-algorithms ssl-death-alert tls13-0rtt-garbage tls13-ccs
    tls13-connection-abort tls13-conversation tls13-count-tickets tls13-crfg-curves
    tls13-ecdhe-curves tls13-empty-alert tls13-finished tls13-finished-plaintext tls13-hrr tls13-invalid-ciphers
    tls13-keyshare-omitted tls13-keyupdate tls13-legacy-version tls13-multiple-ccs-messages tls13-nociphers tls13-pkcs-signature
    tls13-record-layer-limits tls13-record-padding tls13-rsa-signatures tls13-session-resumption tls13-shuffled-extentions
    tls13-signature-algorithms tls13-symetric-ciphers tls13-unencrypted-alert tls13-version-negotiation tls13-zero-content-type tls13-zero-length-data truncating-of-client-hello truncating-of-finished
    truncating-of-kRSA-client-key-exchange version-numbers x25519 zero-length-data
""".split()

# Scripts for a server whose key is of P-256.
ECDSA = ["ecdsa-sig-flexibility", "tls13-ecdsa-support"]

# Scripts that need a client certificate, for a server that wants one.
MUTUAL = """
    certificate-malformed certificate-verify certificate-verify-malformed certificate-verify-malformed-sig
    rsa-sigs-on-certificate-verify tls13-certificate-verify
""".split()

# The same, with a certificate whose key is of P-256.
MUTUAL_ECDSA = ["ecdsa-in-certificate-verify", "tls13-ecdsa-in-certificate-verify"]

# Scripts that were looked at and left out, whole.
LEFT_OUT = {
    "SSLv3 and before are not offered": ["SSLv3-padding", "sslv2-connection", "sslv2-force-cipher", "sslv2-force-cipher-3des",
                                         "sslv2-force-cipher-non3des", "sslv2-force-export-cipher", "sslv2hello-protocol"],
    "TLS 1.0 and 1.1 are not offered": ["TLSv1_2-rejected-without-TLSv1_2", "fallback-scsv", "tls13-non-support", "legacy-renegotiation"],
    "no finite-field Diffie-Hellman: BoringSSL has none": [
        "clienthello-md5", "dhe-key-share-random", "dhe-no-shared-secret-padding", "dhe-rsa-key-exchange", "dhe-rsa-key-exchange-signatures",
        "dhe-rsa-key-exchange-with-bad-messages", "ffdhe-expected-params", "ffdhe-negotiation", "tls13-dhe-shared-secret-padding",
        "tls13-ffdhe-groups", "tls13-ffdhe-sanity"],
    "ciphers and curves that BoringSSL does not have": ["aesccm", "export-ciphers-rejected", "atypical-padding", "chacha20",
                                                        "tls13-ecdhe-brainpool-curves", "tls13-obsolete-curves", "tls13-mlkem"],
    "the server has an RSA or a P-256 key": ["dsa-sig-flexibility", "dsa-in-certificate-verify", "tls13-eddsa", "tls13-rsapss-signatures"],
    "clients' certificates are of RSA and P-256 keys": [
        "eddsa-in-certificate-verify", "tls13-ecdsa-brainpool-in-certificate-verify", "tls13-eddsa-in-certificate-verify",
        "tls13-mldsa-in-certificate-verify", "rsa-pss-sigs-on-certificate-verify"],
    "wants the signature algorithms of OpenSSL, in its order": ["certificate-request", "tls13-certificate-request"],
    "no renegotiation at all (renegotiation-disabled shows that)": [
        "encrypt-then-mac-renegotiation", "interleaved-application-data-in-renegotiation", "renegotiation-changed-clienthello",
        "interleaved-application-data-and-fragmented-handshakes-in-renegotiation", "sig-algs-renegotiation-resumption",
        "renegotiation-disabled-client-cert", "extended-master-secret-extension-with-client-cert"],
    "extensions that Envoy does not offer: heartbeats, external PSKs, record_size_limit, compressed certificates, early data": [
        "heartbeat", "tls13-psk_dhe_ke", "tls13-psk_ke", "record-size-limit", "tls13-certificate-compression",
        "tls13-client-certificate-compression", "tls13-post-handshake-auth", "ocsp-stapling"],
    "needs an answer of its own kind: as long as the request, or with a KeyUpdate before it": [
        "lengths", "tls13-lengths", "tls13-keyupdate-from-server"],
    "measures time: a machine that does nothing else, and tcpdump": ["lucky13", "tls13-minerva", "bleichenbacher-timing-marvin",
                                                                   "bleichenbacher-timing-pregenerate"],
    "hundreds of handshakes for what a random generator is to be trusted with": ["serverhello-random", "tls13-serverhello-random",
                                                                                 "ecdhe-rsa-key-share-random"],
    "wants a client that no TLS 1.3 server of today would meet": ["client-compatibility", "resumption-with-wrong-ciphers",
                                                                "unsupported-curve-fallback"],
    "wants the server's preferences to be others": ["tls13-large-number-of-extensions", "tls13-no-unknown-groups",
                                                    "tls13-unrecognised-groups"],
}


NO_RENEGOTIATION = "there is none: it is refused by an alert"
LARGE = "a ClientHello of more than 16 KiB is refused"
NO_DHE = "no finite-field Diffie-Hellman, no x448, no CCM, no secp521r1, and secp384r1 not by default"
OLD = "TLS 1.0 and 1.1 are not offered"
COMPRESSED = "OpenSSL takes points in compressed form too, and says so"
SHA1 = "SHA-1 is no longer for signatures (RFC 9155)"
RECORD_VERSION = "the record's version is not the connection's: neither OpenSSL nor BoringSSL takes it"
NO_TICKET = "no ticket for a client that names no way to use one (RFC 8446 section 4.2.9)"
ALERT = "refused, by another alert than RFC 8446 and 5246 would have it"
# script -> [(conversation, as a regular expression, why)]
BORINGSSL = {
    "alpn-negotiation": [("only http/1|16269 byte long array", "where no protocol is common Envoy goes on without one; an unheard-of one is no error"),
                         ("renegotiation", NO_RENEGOTIATION), ("resumption with alpn change", "a session goes on with the protocol it has")],
    "ccs": [("two bytes long CCS", ALERT)],
    "certificate-malformed": [("fuzz empty certificate", ALERT), ("no client cert", "the server wants one")],
    "client-hello-max-size": [("max client hello", LARGE)],
    "cve-2016-6309": [("Large", LARGE)],
    "downgrade-protection": [(r"Protocol \(3, [12]\)", OLD)],
    "ecdhe-padded-shared-secret": [("SSLv2 compatible", "without supported_groups there is no ECDHE"), (r"Protocol \(3, [012]\)", OLD),
                                   ("secp384r1|secp521r1|x448", NO_DHE)],
    "ecdhe-rsa-key-exchange": [("w/o extension", "without supported_groups there is no ECDHE")],
    "ecdsa-in-certificate-verify": [("sha1|sha224|sha512", ALERT)],
    "ecdsa-sig-flexibility": [("sha224", "there is no SHA-224")],
    "encrypt-then-mac": [("smoke test", "BoringSSL does not have it: CBC is there for old clients alone")],
    "extended-master-secret-extension": [("TLSv1.1", OLD), ("DHE", NO_DHE), ("renegotiat", NO_RENEGOTIATION)],
    "extensions": [(r"^\d{4,5} extensions", LARGE)],
    "invalid-rsa-key-exchange-messages": [("encrypted premaster|modulus", "closed at once instead of at the end: no oracle, either")],
    "invalid-server-name-extension-resumption": [("SNI", "a name that nobody has is no error to Envoy, and a malformed one gets another alert")],
    "invalid-server-name-extension": [("incorrect SNI|ANSI|BEL|UTF-8", "a name that nobody has is no error to Envoy: which chain serves it, chains say"),
                                      ("Empty hostname|NULL|multiple", ALERT)],
    "large-hello": [(r"(padding|ext #\d+,|padding ext) \d{5} bytes|\d{5} bytes|ciphers (even|odd)|multiple extensions", LARGE)],
    "large-number-of-extensions": [(r"^\d{4,5} extensions", LARGE)],
    "message-duplication": [("after Finished", ALERT)],
    "openssl-3712": [("weaved", NO_RENEGOTIATION)],
    "point-extension": [("Empty ec_point_formats", ALERT)],
    "record-layer-fragmentation": [("(16336|32768|65531)B extension", LARGE)],
    "renegotiation-disabled": [("renegotiation", "refused by a fatal alert instead of a warning")],
    "session-ticket-resumption": [("renegotiation", NO_RENEGOTIATION), ("with (empty|random) session_id", "a ticket is not renewed before its time")],
    "sig-algs": [("rsa_pss_pss", "the key is an ordinary RSA key")],
    "signature-algorithms": [(r"\d{4,5}", LARGE)],
    "tls13-0rtt-garbage": [("0-RTT|early_data", "what early data is not wanted is skipped up to 16 KiB, and not behind a HelloRetryRequest")],
    "tls13-ccs": [("after Finished", ALERT)],
    "tls13-certificate-verify": [("check sigalgs", "the signature algorithms are BoringSSL's, not OpenSSL's")],
    "tls13-connection-abort": [("After NewSessionTicket", NO_TICKET)],
    "tls13-crfg-curves": [("x448", NO_DHE), ("empty x25519", ALERT)],
    "tls13-ecdsa-in-certificate-verify": [("check sigalgs", "the signature algorithms are BoringSSL's, not OpenSSL's")],
    "tls13-ecdsa-support": [("brainpool|secp384r1|secp521r1", "the key is of P-256")],
    "tls13-ecdhe-curves": [("secp384r1|secp521r1|x448", NO_DHE), ("secp256r1|x25519", ALERT)],
    "tls13-empty-alert": [("empty alert", ALERT)],
    "tls13-finished": [("empty|padding|truncation", ALERT)],
    "tls13-finished-plaintext": [("Unencrypted", ALERT)],
    "tls13-keyupdate": [("", ALERT)],
    "tls13-legacy-version": [("version", "RFC 8446 section 4.2.1: where supported_versions is there legacy_version is not looked at")],
    "tls13-multiple-ccs-messages": [("sanity with one|before client finished", RECORD_VERSION), ("multiple", ALERT)],
    "tls13-record-layer-limits": [("too big|max size", ALERT)],
    "tls13-session-resumption": [("PSK_ONLY", "without a fresh key exchange no session is resumed")],
    "tls13-shuffled-extentions": [("HRR", "the order may change between the two hellos, to BoringSSL"), ("unassigned", LARGE)],
    "tls13-signature-algorithms": [(r"\d{4,5}", LARGE)],
    "tls13-symetric-ciphers": [("CCM", NO_DHE)],
    "tls13-unencrypted-alert": [("unencrypted Alert", ALERT)],
    "tls13-version-negotiation": [("to 1.[01]", OLD)],
    "tls13-zero-content-type": [("zero content type", ALERT)],
    "truncating-of-client-hello": [("(big|huge|max) pad", LARGE)],
    "x25519": [("x448|fallback to DHE", NO_DHE), ("default to P-256", "without supported_groups there is no ECDHE"), ("empty x25519", ALERT)],
}
OPENSSL = {
    **{script: BORINGSSL[script] for script in (
        "alpn-negotiation", "downgrade-protection", "ecdhe-padded-shared-secret", "ecdhe-rsa-key-exchange", "extended-master-secret-extension",
        "invalid-rsa-key-exchange-messages", "invalid-server-name-extension", "session-ticket-resumption", "sig-algs",
        "tls13-connection-abort", "tls13-crfg-curves", "tls13-ecdsa-support", "tls13-legacy-version", "tls13-multiple-ccs-messages",
        "tls13-session-resumption", "tls13-shuffled-extentions", "tls13-symetric-ciphers", "tls13-version-negotiation", "x25519")},
    "certificate-malformed": [(r"fuzz empty certificate .* cert \d+$", ALERT), ("no client cert", "the server wants one")],
    "certificate-verify-malformed-sig": [("sha1|SHA-1", SHA1)],
    "ecdsa-in-certificate-verify": [("make sha1.ecdsa signature in", SHA1), ("advertise it as sha1", ALERT)],
    "ecdsa-sig-flexibility": [("sha1", SHA1)],
    "invalid-client-hello": [("session ID len fuzz to 5 w/ext", ALERT)],
    "invalid-client-hello-w-record-overflow": [("session ID len fuzz to 5 w/ext", ALERT)],
    "invalid-compression-methods": [("", ALERT)],
    "invalid-server-name-extension-resumption": [("SNI", "a name that nobody has is no error, as for Envoy, and a malformed one gets another alert")],
    "openssl-3712": [("weaved", NO_RENEGOTIATION)],
    "point-extension": [("Uncompressed code point missing|compressed encoding|hybrid|uncompressed", COMPRESSED)],
    "rsa-sigs-on-certificate-verify": [("sha1", SHA1)],
    "signature-algorithms": [("SHA-1", SHA1)],
    "tls13-certificate-verify": [("check sigalgs", "the list is longer than the one the script has for OpenSSL")],
    "tls13-ecdhe-curves": [("secp384r1|secp521r1|x448", NO_DHE)],
    "tls13-ecdsa-in-certificate-verify": [("check sigalgs", "the list is longer than the one the script has for OpenSSL")],
    "tls13-finished": [("padding", "too long a message is an illegal_parameter to OpenSSL")],
    "tls13-record-layer-limits": [("max size of Finished msg", "OpenSSL counts no padding before the handshake is over; the record layer behind it does"),
                                  ("max size payload .* of Finished", ALERT)],
    "truncating-of-client-hello": [("(huge|max) pad", "a ClientHello of more than 128 KiB is refused")],
}
MISSES = {"envoy": BORINGSSL, "sluiced": OPENSSL}


@pytest.fixture(scope="module")
def fuzzer():
    where = os.environ.get("SLUICE_TLSFUZZER")
    if not where:
        pytest.skip("SLUICE_TLSFUZZER names no directory with tlsfuzzer")
    return pathlib.Path(where)


def certificate(directory, name, *kind):
    made = directory / f"{name}.crt", directory / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", *(kind or ["rsa:2048"]), "-nodes", "-days", "2", "-subj", f"/CN={name}", "-out", made[0], "-keyout",
                    made[1]], check=True, capture_output=True)
    return made


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def typed(kind, **fields):
    return {"@type": "type.googleapis.com/envoy.extensions." + kind, **fields}


def listener(port, own, client=None):
    """HTTP over TLS, as tlsfuzzer speaks it: GET / HTTP/1.0."""
    manager = typed("filters.network.http_connection_manager.v3.HttpConnectionManager", stat_prefix="tls",
                    http_protocol_options={"accept_http_10": True, "default_host_for_http_10": "localhost"},
                    route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
                        {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "hello"}}}]}]},
                    http_filters=[{"name": "router", "typed_config": typed("filters.http.router.v3.Router")}])
    common = {"tls_params": {"cipher_suites": CIPHERS}, "alpn_protocols": ["http/1.1"],
              "tls_certificates": [{"certificate_chain": {"filename": str(own[0])}, "private_key": {"filename": str(own[1])}}]}
    context = typed("transport_sockets.tls.v3.DownstreamTlsContext", common_tls_context=common)
    if client:
        common["validation_context"] = {"trusted_ca": {"filename": str(client)}}
        context["require_client_certificate"] = True
    return {"name": f"tls-{port}", "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
            "filter_chains": [{"transport_socket": {"name": "tls", "typed_config": context}, "filters": [{"name": "http", "typed_config": manager}]}]}


@pytest.fixture(scope="module", params=["envoy", "sluiced"])
def server(request, fuzzer, tmp_path_factory):
    """Its kind, its ports and the certificates of its clients."""
    program = paths.envoy() if request.param == "envoy" else paths.program("sluiced")
    if not program:
        pytest.skip(f"no {request.param}")
    directory = tmp_path_factory.mktemp("tls")
    p256 = ["ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    rsa, ecdsa = certificate(directory, "localhost"), certificate(directory, "localhost-ec", *p256)
    clients = {"rsa": certificate(directory, "client"), "ecdsa": certificate(directory, "client-ec", *p256)}
    trusted = directory / "clients.crt"
    trusted.write_text("".join(chain.read_text() for chain, _ in clients.values()))
    ports = {"rsa": free_port(), "ecdsa": free_port(), "mutual": free_port()}
    config = directory / "tls.yaml"
    config.write_text(yamltext.dump({"static_resources": {"listeners": [
        listener(ports["rsa"], rsa), listener(ports["ecdsa"], ecdsa), listener(ports["mutual"], rsa, trusted)]}}))
    extra = ["--disable-hot-restart"] if request.param == "envoy" else \
        ["--redirect", "none", "--state-dir", directory / "state", "--control-socket", directory / "control"]
    process = Process(request.param, [program, "-c", config, "--concurrency", "1", *extra], directory)
    try:
        wait_until(lambda: socket.create_connection(("127.0.0.1", ports["mutual"]), 2).close() is None, 20, "the listener", alive=process.check_running)
        yield request.param, ports, clients
    finally:
        process.stop()


def failures(fuzzer, script, port, *options):
    """The conversations of a script that did not go as it wants."""
    environment = {**os.environ, "PYTHONPATH": str(fuzzer), "PYTHONDONTWRITEBYTECODE": "1"}
    program = fuzzer / "scripts" / f"test-{script}.py"
    if os.environ.get("SLUICE_TLSFUZZER_ALL"):
        usage = subprocess.run([sys.executable, program, "--help"], env=environment, capture_output=True, text=True, check=False).stdout
        if re.search(r"^ -n num ", usage, re.M):
            options = (*options, "-n", "0")
    done = subprocess.run([sys.executable, program, "-h", "127.0.0.1", "-p", str(port), *map(str, options)],
                          env=environment, capture_output=True, text=True, timeout=3600, check=False)
    assert re.search(r"^TOTAL: \d+$", done.stdout, re.M), done.stdout[-2000:] + done.stderr[-2000:]
    listed = done.stdout.rpartition("FAILED:")[2] if "\nFAILED:" in done.stdout else ""
    found = [line.strip()[1:-1] for line in listed.splitlines() if line.startswith("\t")]
    assert bool(found) == bool(done.returncode), done.stdout[-2000:]
    return found


def judge(kind, script, failed):
    known = MISSES[kind].get(script, [])
    assert [name for name in failed if not any(re.search(pattern, name) for pattern, _ in known)] == []


@pytest.mark.slow
@pytest.mark.parametrize("key, script", [("rsa", s) for s in SCRIPTS] + [("ecdsa", s) for s in ECDSA])
def test_script(fuzzer, server, key, script):
    kind, ports, _ = server
    judge(kind, script, failures(fuzzer, script, ports[key]))


@pytest.mark.slow
@pytest.mark.parametrize("key, script", [("rsa", s) for s in MUTUAL] + [("ecdsa", s) for s in MUTUAL_ECDSA])
def test_script_with_a_client_certificate(fuzzer, server, key, script):
    kind, ports, clients = server
    judge(kind, script, failures(fuzzer, script, ports["mutual"], "-k", clients[key][1], "-c", clients[key][0]))


def test_every_script_is_accounted_for(fuzzer):
    there = {path.name[len("test-"):-len(".py")] for path in (fuzzer / "scripts").glob("test-*.py")}
    assert there == {*SCRIPTS, *ECDSA, *MUTUAL, *MUTUAL_ECDSA, *(name for names in LEFT_OUT.values() for name in names)}
