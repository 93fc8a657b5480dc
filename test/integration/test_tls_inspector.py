"""tls_inspector: what counts as a ClientHello, whole and in pieces, what is read in it, and the filter chains that match on that."""
import contextlib
import random
import re
import socket
import ssl
import subprocess

import pytest

from config import bootstrap, chain, cluster, direct_response, file_log, listener, tcp_proxy, typed
from conftest import require
from support import client_hello as ch
from support import peers, proxies
from support.peers import Peer, receive_exactly
from support.proxies import AccessLog
from support.wait import wait_until

pytestmark = pytest.mark.root

LOGGED = {"sni": "%REQUESTED_SERVER_NAME%", "ja3": "%TLS_JA3_FINGERPRINT%", "ja4": "%TLS_JA4_FINGERPRINT%",
          "failure": "%DOWNSTREAM_TRANSPORT_FAILURE_REASON%"}
FAST_STATS = {"stats_flush_interval": "0.1s"}  # Envoy merges histograms that often


def inspector(**fields):
    return {"name": "envoy.filters.listener.tls_inspector",
            "typed_config": typed("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector", **fields)}


def http_inspector():
    return {"name": "envoy.filters.listener.http_inspector",
            "typed_config": typed("envoy.extensions.filters.listener.http_inspector.v3.HttpInspector")}


def answer(app, port, pieces, fin=False, seconds=5):
    """What the proxy says to these pieces of bytes, each in a segment of its own; "" when it closes without a word."""
    with app.connect("127.0.0.1", port) as sock:
        sock.settimeout(seconds)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        got = b""
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):
            for piece in pieces:
                sock.sendall(piece)
            if fin:
                sock.shutdown(socket.SHUT_WR)
            while part := sock.recv(100):
                got += part
        return got.decode()


class Inspected:
    """A proxy with a listener whose answer says "tls" or "raw", one log line a connection, and what it counts."""

    def __init__(self, start, app, world, listeners=({},)):
        self.app, self.ports = app, [app.free_port() for _ in listeners]
        self.log = AccessLog(world.directory / f"inspected-{world.next_number()}.log")
        made = [listener(port, chain(direct_response("tls"), name="tls", transport_protocol="tls"),
                         chain(direct_response("raw"), name="raw", transport_protocol="raw_buffer"),
                         listener_filters=[inspector(**options)], access_log=[file_log(self.log.path, json=LOGGED)])
                for port, options in zip(self.ports, listeners)]
        self.proxy = start(bootstrap(made, [], **FAST_STATS))
        self.before, self.lines = self.counters(), 0

    def counters(self):
        return {name.removeprefix("tls_inspector."): value for name, value in self.proxy.admin.stats().items()
                if name.startswith("tls_inspector.") and isinstance(value, int)}

    def ask(self, pieces, which=0, fin=False):
        """(answer, counters that moved, the log line's fields that are not empty)."""
        got = answer(self.app, self.ports[which], pieces, fin)
        line = self.log.json(self.lines + 1)[self.lines]
        self.lines += 1
        now = self.counters()
        moved = {name: value - self.before.get(name, 0) for name, value in now.items() if value != self.before.get(name, 0)}
        self.before = now
        return got, moved, {k: v for k, v in line.items() if v not in (None, "-")}

    def processed(self):
        """The histogram: how many values at most so large."""
        text = self.proxy.admin.get("/stats/prometheus")
        return {bound: int(n) for bound, n in re.findall(r'^envoy_tls_inspector_bytes_processed_bucket{le="(\S+)"} (\d+)', text, re.M)}


FOUND = {"tls_found": 1, "alpn_not_found": 1, "sni_not_found": 1}
NAMED = {"tls_found": 1, "alpn_found": 1, "sni_found": 1}
NOT = {"tls_not_found": 1}


def failed(number, reason):
    return {"failure": f"TLS_error|error:{number}:SSL_routines:OPENSSL_internal:{reason}:TLS_error_end"}


HELLO = ch.hello(ch.server_name("a.example") + ch.alpn("istio"))
HELLO_LOG = {"sni": "a.example", "ja3": "49cbdc1ae4567ba59ab722a6eed4184d", "ja4": "t12d0202io_c1929292aa6b_000000000000"}
PLAIN_LOG = {"ja3": "6ac28f635e78b6e59638f7a1e035f458", "ja4": "t12i020000_c1929292aa6b_000000000000"}

# (what, pieces, answer, counters, log fields)
CASES = [
    ("whole", [ch.record(HELLO)], "tls", NAMED, HELLO_LOG),
    ("two segments", [ch.record(HELLO)[:30], ch.record(HELLO)[30:]], "tls", NAMED, HELLO_LOG),
    ("a header in two segments", [ch.record(HELLO)[:3], ch.record(HELLO)[3:]], "tls", NAMED, HELLO_LOG),
    ("a record for each byte", [ch.records(HELLO, 1)], "tls", NAMED, HELLO_LOG),
    ("records over segments", [ch.records(HELLO, 9)[:100], ch.records(HELLO, 9)[100:]], "tls", NAMED, HELLO_LOG),
    ("empty records first", [ch.record(b"") * 3 + ch.record(HELLO)], "tls", NAMED, HELLO_LOG),
    ("a warning first", [ch.record(b"\1\x5a", kind=21) + ch.record(HELLO)], "tls", NAMED, HELLO_LOG),
    ("more behind it", [ch.record(ch.hello()) + b"garbage"], "tls", FOUND, PLAIN_LOG),
    ("no extensions, TLS 1.0", [ch.record(ch.hello(None, version=0x0301))], "tls", FOUND,
     {"ja3": "8dd34b6e2265fbc95a17799b0fa00209", "ja4": "t10i020000_c1929292aa6b_000000000000"}),
    ("upper case", [ch.record(ch.hello(ch.server_name("AbC.Example")))], "tls", {"tls_found": 1, "alpn_not_found": 1, "sni_found": 1},
     {"sni": "abc.example", "ja3": "349640b9e304f8ea23a8e0f71dde2248", "ja4": "t12d020100_c1929292aa6b_000000000000"}),
    ("GREASE", [ch.record(ch.hello(ch.signature_algorithms(0x0403, 0x0a0a, 0x0804) + ch.groups(0x2a2a, 29, 23)
                                   + ch.extension(ch.POINT_FORMATS, ch.u8(b"\0\1")) + ch.extension(0x3a3a, b"")
                                   + ch.versions(0x3a3a, 0x0304, 0x0303), ciphers=(0x4a4a, 0x1301, 0x00ff)))], "tls", FOUND,
     {"ja3": "ca473c72258d590799865c637b877bf4", "ja4": "t13i020400_ec078ce24869_633db0ba5e27"}),
    ("SSLv2's form", [ch.sslv2()], "tls", FOUND,
     {"ja3": "b02be259814e870a469a20ce9b2a7900", "ja4": "t10i010000_ba72b8082249_000000000000"}),
    ("SSLv2's form of SSL 3.0", [ch.sslv2(version=0x0300)], "", {"tls_not_found": 1, "sni_not_found": 1},
     {"ja3": "8b0135efb6582c68f0581fac9c79ccd5", "ja4": "t00i010000_ba72b8082249_000000000000",
      **failed("10000085", "CONNECTION_REJECTED")}),
    ("SSL 3.0", [ch.record(ch.hello(ch.server_name("A.b") + ch.alpn("h2"), version=0x0300))], "", {"tls_not_found": 1, "sni_found": 1},
     {"sni": "a.b", "ja3": "f0187187875a87ecbc034209b2031576", "ja4": "t00d0202h2_c1929292aa6b_000000000000",
      **failed("10000085", "CONNECTION_REJECTED")}),
    ("HTTP", [b"GET / HTTP/1.1\r\n\r\n"], "raw", NOT, failed("1000009c", "HTTP_REQUEST")),
    ("a proxy's HTTP", [b"CONNECT a:1 HTTP/1.1\r\n\r\n"], "raw", NOT, failed("1000009b", "HTTPS_PROXY_REQUEST")),
    ("garbage", [bytes(range(1, 40))], "raw", NOT, failed("100000f7", "WRONG_VERSION_NUMBER")),
    ("five bytes", [b"hel", b"lo"], "raw", NOT, failed("100000f7", "WRONG_VERSION_NUMBER")),
    ("a record too long", [b"\x16\x03\x01\x50\x00"], "raw", NOT, failed("10000092", "ENCRYPTED_LENGTH_TOO_LONG")),
    ("a message too long", [ch.record(b"\x01\x00\x50\x00" + bytes(100))], "raw", NOT, failed("10000096", "EXCESSIVE_MESSAGE_SIZE")),
    ("application data", [ch.record(b"x", kind=23)], "raw", NOT, failed("100000e1", "UNEXPECTED_RECORD")),
    ("another message", [ch.record(ch.hello(kind=2))], "raw", NOT, failed("100000df", "UNEXPECTED_MESSAGE")),
    ("more in the record", [ch.record(HELLO + b"x")], "raw", NOT, failed("100000ff", "EXCESS_HANDSHAKE_DATA")),
    ("an extension twice", [ch.record(ch.hello(ch.extension(99, b"") * 2))], "raw", NOT, failed("10000083", "CLIENTHELLO_PARSE_FAILED")),
    ("a name with a zero", [ch.record(ch.hello(ch.server_name(b"a\0b")))], "raw", NOT, failed("10000095", "ERROR_PARSING_EXTENSION")),
    ("two names", [ch.record(ch.hello(ch.extension(0, ch.u16(b"\0\0\1a\0\0\1b"))))], "raw", NOT,
     failed("10000095", "ERROR_PARSING_EXTENSION")),
    ("an encrypted hello cut short", [ch.record(ch.hello(ch.extension(0xfe0d, b"\0\0\1")))], "raw", NOT, failed("10000089", "DECODE_ERROR")),
    ("too many warnings", [ch.record(b"\1\x5a", kind=21) * 5], "raw", NOT, failed("100000dc", "TOO_MANY_WARNING_ALERTS")),
    ("too many empty records", [ch.record(b"") * 33], "raw", NOT, failed("100000db", "TOO_MANY_EMPTY_FRAGMENTS")),
    ("close_notify", [ch.record(b"\1\0", kind=21)], "", {}, {}),
    ("more than 16 KiB", [ch.records(ch.hello(ch.extension(ch.PADDING, bytes(16330))), 9000)], "", {"client_hello_too_large": 1}, {}),
    ("almost 16 KiB", [ch.records(ch.hello(ch.extension(ch.PADDING, bytes(16200))), 9000)], "tls", FOUND,
     {"ja3": "237beda6a84903e110a5e4ccf663dcf1", "ja4": "t12i020100_c1929292aa6b_4298e3b3ed58"}),
]


def test_what_is_a_client_hello(run_proxy, app, world):
    """Answer, counters and log line of every case, one after the other; then the bytes it took to decide."""
    seen = Inspected(run_proxy, app, world, [{"enable_ja3_fingerprinting": True, "enable_ja4_fingerprinting": True}])
    wrong = {}
    for what, pieces, said, moved, logged in CASES:
        got = seen.ask(pieces)
        if got != (said, moved, logged):
            wrong[what] = got
    assert wrong == {}
    # As Envoy counts: to the end of the last record that was looked at, or of its header, if that was enough.
    wait_until(lambda: seen.processed().get("+Inf") == len(CASES), 5, "the histogram is merged")
    found = seen.processed()
    assert {k: found[k] for k in ("1", "5", "10", "25", "500", "10000")} == \
        {"1": 0, "5": 5, "10": 7, "25": 7, "500": 30, "10000": 30}


def test_settings(run_proxy, app, world):
    small = {"max_client_hello_size": 1024, "initial_read_buffer_size": 256}
    strict = {"close_connection_on_client_hello_parsing_errors": True}
    seen = Inspected(run_proxy, app, world, [small, strict, {**small, **strict}, {"max_client_hello_size": 1024, **strict}])
    header = len(ch.record(ch.hello(ch.extension(ch.PADDING, b""))))
    whole = ch.record(ch.hello(ch.extension(ch.PADDING, bytes(1024 - header))))
    over = ch.record(ch.hello(ch.extension(ch.PADDING, bytes(1025 - header))))
    plain, not_plain = b"x" * 5000, failed("100000f7", "WRONG_VERSION_NUMBER")
    assert seen.ask([whole]) == ("tls", FOUND, {})
    assert seen.ask([over]) == ("", {"client_hello_too_large": 1}, {})
    assert seen.ask([plain]) == ("raw", NOT, not_plain)
    assert seen.ask([whole], 1) == ("tls", FOUND, {})
    assert seen.ask([plain], 1) == ("", NOT, not_plain)
    assert seen.ask([whole], 2) == ("tls", FOUND, {})
    assert seen.ask([over], 2) == ("", {"client_hello_too_large": 1}, {})
    assert seen.ask([plain], 2) == ("", NOT, not_plain)
    # All of the buffer was full of it: it counts as too large, though it is no hello at all.
    assert seen.ask([plain], 3) == ("", {"client_hello_too_large": 1}, not_plain)


@pytest.mark.parametrize("options, path", [({"max_client_hello_size": 16385}, "max_client_hello_size"),
                                           ({"max_client_hello_size": 255}, "max_client_hello_size"),
                                           ({"initial_read_buffer_size": 255}, "initial_read_buffer_size")])
def test_sizes_out_of_bounds_are_refused(world, kind, options, path):
    from support import yamltext
    config = bootstrap([listener(1, chain(direct_response("x")), listener_filters=[inspector(**options)])], [])
    result, _ = proxies.validate(world, kind, yamltext.dump(config))
    assert result.returncode != 0
    assert re.search(path.title().replace("_", "") if kind == "envoy" else path, result.stderr + result.stdout), result.stderr


def test_the_reason_in_dynamic_metadata(run_proxy, app, world):
    port, log = app.free_port(), AccessLog(world.directory / f"reasons-{world.next_number()}.log")
    text = "%DYNAMIC_METADATA(envoy.filters.listener.tls_inspector:failure_reason)%"
    run_proxy(bootstrap([listener(port, chain(direct_response("x")), listener_filters=[inspector(max_client_hello_size=256)],
                                  access_log=[file_log(log.path, text=text)])], []))
    cases = [(ch.record(HELLO), "-"), (b"hello", "ClientHelloNotDetected"), (ch.record(bytes(300)), "ClientHelloTooLarge"),
             (ch.record(ch.hello(version=0x0300)), "ClientHelloInvalidTlsVersion")]
    for number, (data, reason) in enumerate(cases, 1):
        answer(app, port, [data])
        assert log.wait(number)[number - 1] == reason


def test_a_client_that_leaves_before_it_has_said_all(run_proxy, app, world):
    seen = Inspected(run_proxy, app, world)
    name = f"listener.0.0.0.0_{seen.ports[0]}."
    assert seen.ask([], fin=True) == ("", {}, {})
    assert seen.ask([b"GE"], fin=True) == ("", {}, {})
    assert seen.ask([ch.record(HELLO)[:60]], fin=True) == ("", {}, {})
    seen.proxy.wait_stat(name + "downstream_listener_filter_remote_close", 3)
    with app.connect("127.0.0.1", seen.ports[0]) as sock:
        seen.proxy.wait_stat(name + "downstream_pre_cx_active", 1)
        peers.reset(sock)
    seen.proxy.wait_stat(name + "downstream_listener_filter_error", 1)
    seen.proxy.wait_stat(name + "downstream_pre_cx_active", 0)


# ---- filter chains ----
def hello(name=None, *protocols):
    return ch.of_openssl(name, protocols)


def test_chains_by_server_name(run_proxy, app):
    port = app.free_port()
    names = {"exact": ["a.example.com"], "wild": ["*.example.com"], "deep": ["*.b.example.com", "b.example.org"]}
    made = listener(port, *[chain(direct_response(n), name=n, server_names=v) for n, v in names.items()],
                    listener_filters=[inspector()], default_filter_chain=chain(direct_response("none"), name="none"))
    run_proxy(bootstrap([made], []))
    expected = {"a.example.com": "exact", "A.EXAMPLE.com": "exact", "x.example.com": "wild", "y.x.example.com": "wild",
                "x.b.example.com": "deep", "b.example.com": "wild", "b.example.org": "deep", "example.com": "none",
                "x.example.org": "none", None: "none"}
    assert {name: answer(app, port, [hello(name)]) for name in expected} == expected
    assert answer(app, port, [b"GET / HTTP/1.1\r\n\r\n"]) == "none"


def test_chains_by_application_protocol(run_proxy, app):
    port = app.free_port()
    protocols = {"mesh": ["istio-peer-exchange", "istio"], "h2": ["h2"], "h1": ["http/1.1", "http/1.0"]}
    tls = {"transport_protocol": "tls"}
    made = listener(port, *[chain(direct_response(n), name=n, application_protocols=v, **tls) for n, v in protocols.items()],
                    chain(direct_response("other"), name="other", **tls),
                    chain(direct_response("plain h1"), name="plain h1", application_protocols=["http/1.1"]),
                    listener_filters=[inspector(), http_inspector()], default_filter_chain=chain(direct_response("none"), name="none"))
    run_proxy(bootstrap([made], []))
    expected = {("istio-peer-exchange", "istio", "h2"): "mesh", ("istio",): "mesh", ("h2", "http/1.1"): "h2", ("http/1.1", "h2"): "h1",
                ("h3",): "other", (): "other", ("h3", "h2"): "h2"}
    assert {p: answer(app, port, [hello("a.example", *p)]) for p in expected} == expected
    # What is inside of TLS http_inspector does not look at; in the open it finds HTTP.
    assert answer(app, port, [b"GET / HTTP/1.1\r\n\r\n"]) == "plain h1"
    assert answer(app, port, [b"\0" * 100]) == "none"


@pytest.fixture(scope="module")
def certificate(world):
    """(certificate, key) of nobody in particular."""
    made = [world.directory / "inspected.crt", world.directory / "inspected.key"]
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                    "/CN=inspected", "-out", made[0], "-keyout", made[1]], check=True, capture_output=True)
    return made


def tls_server(pod, certificate):
    """A server that ends TLS itself, agrees on the first protocol that is asked for, and answers with what it read in upper case."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    context.set_alpn_protocols(["istio-peer-exchange", "istio", "h2", "http/1.1"])

    def serve(_peer, sock):
        sock.settimeout(10)
        with context.wrap_socket(sock, server_side=True) as inside:
            while data := inside.recv(1 << 16):
                inside.sendall(data.upper())
    return Peer(pod.listen(), serve)


def tls_ask(app, port, text, name=None, protocols=()):
    """(what the TLS server says, the protocol agreed upon)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(list(protocols))
    with app.connect("127.0.0.1", port) as sock, context.wrap_socket(sock, server_hostname=name) as inside:
        inside.sendall(text)
        return receive_exactly(inside, len(text)), inside.selected_alpn_protocol()


def test_tls_and_plain_chains_of_virtual_inbound(run_proxy, app, server, certificate):
    """As Istio's PERMISSIVE writes them: the mesh's TLS, other TLS and plain text at one port, each to where it is understood."""
    port = app.free_port()
    mesh = ["istio-peer-exchange", "istio"]
    with tls_server(server, certificate) as inside, tls_server(server, certificate) as outside, \
            Peer(server.listen(), peers.echo) as plain:
        made = listener(port, chain(tcp_proxy("mesh", "mesh"), name="mesh", transport_protocol="tls", application_protocols=mesh),
                        chain(tcp_proxy("tls", "tls"), name="tls", transport_protocol="tls"),
                        chain(tcp_proxy("plain", "plain"), name="plain", transport_protocol="raw_buffer"),
                        listener_filters=[inspector(), http_inspector()])
        clusters = [cluster(n, (server.ipv4, p.port)) for n, p in (("mesh", inside), ("tls", outside), ("plain", plain))]
        proxy = run_proxy(bootstrap([made], clusters))
        assert tls_ask(app, port, b"hello", "a.example", mesh) == (b"HELLO", "istio-peer-exchange")
        assert tls_ask(app, port, b"hello", "a.example", ["h2"]) == (b"HELLO", "h2")
        assert tls_ask(app, port, b"hello") == (b"HELLO", None)
        with app.connect("127.0.0.1", port) as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert receive_exactly(sock, 18) == b"GET / HTTP/1.1\r\n\r\n"
        assert [p.count() for p in (inside, outside, plain)] == [1, 2, 1]
        for name, value in {"tls_found": 3, "tls_not_found": 1, "alpn_found": 2, "alpn_not_found": 1, "sni_found": 2,
                            "sni_not_found": 1}.items():
            proxy.wait_stat(f"tls_inspector.{name}", value)
        proxy.wait_stat("http_inspector.http11_found", 1)


# ---- anything else: both, byte for byte ----
def mutated(rng, data):
    """The bytes with a few of them changed, cut out or put in, the front more often than the rest."""
    data = bytearray(data)
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(rng.choice([12, 60, len(data)]))
        change = rng.randrange(4)
        if change == 0:
            data[at:at + 1] = bytes([rng.randrange(256)])
        elif change == 1:
            del data[at:at + rng.randint(1, 4)]
        elif change == 2:
            data[at:at] = rng.randbytes(rng.randint(1, 4))
        else:
            data[at:at + 1] = bytes([data[min(at, len(data) - 1)] ^ 1 << rng.randrange(8)])
    return bytes(data)


@pytest.mark.slow
def test_mutations_are_judged_alike(world, app):
    """Hellos of all sorts with some bytes changed, each followed by enough zeros that nobody waits for more."""
    require("envoy"), require("sluiced")
    seed = random.SystemRandom().randrange(1 << 32)
    rng = random.Random(seed)
    kinds = [hello("a.example", "h2", "istio"), hello(), ch.sslv2(), ch.records(HELLO, 20),
             ch.record(ch.hello(ch.server_name("b.example") + ch.extension(0xfe0d, b"\0\0\1\0\1\5" + ch.u16(b"abc") + ch.u16(b"payload"))
                                + ch.alpn("h2") + ch.versions(0x0a0a, 0x0304)))]
    cases = [mutated(rng, rng.choice(kinds)) + bytes(17000) for _ in range(300)]
    judged = {}
    for kind in ("envoy", "sluiced"):
        seen = Inspected(lambda config, kind=kind: proxies.start(world, kind, config, app.path), app, world,
                         [{"enable_ja3_fingerprinting": True, "enable_ja4_fingerprinting": True}])
        try:
            judged[kind] = [seen.ask([case]) for case in cases]
        finally:
            seen.proxy.stop()
    for case, wants, got in zip(cases, judged["envoy"], judged["sluiced"]):
        assert got == wants, f"seed {seed}: {case.rstrip(bytes(1)).hex()}"
    answers = [said for said, _, _ in judged["envoy"]]
    assert {"tls", "raw"} <= set(answers), "the mutations leave nothing to tell apart"
