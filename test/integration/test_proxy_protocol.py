"""proxy_protocol: the PROXY header of either version, in pieces, broken, absent; the addresses it restores, and what comes behind it."""
import contextlib
import socket
import struct

import pytest

from config import bootstrap, chain, direct_response, echo_filter, file_log, http_manager, listener, prefix, typed
from support import client_hello as ch
from support.peers import receive_exactly
from support.proxies import AccessLog
from support.wait import wait_until

pytestmark = pytest.mark.root

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
FOUR = socket.inet_aton("1.2.3.4") + socket.inet_aton("5.6.7.8") + struct.pack("!HH", 111, 222)
SIX = socket.inet_pton(socket.AF_INET6, "1:2:3::4") + socket.inet_pton(socket.AF_INET6, "5:6::7:8") + struct.pack("!HH", 111, 222)
LINE = b"PROXY TCP4 1.2.3.4 5.6.7.8 111 222\r\n"
LOGGED = {"remote": "%DOWNSTREAM_REMOTE_ADDRESS%", "local": "%DOWNSTREAM_LOCAL_ADDRESS%",
          "direct_remote": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%", "direct_local": "%DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT%"}


def proxy_protocol(**fields):
    return {"name": "envoy.filters.listener.proxy_protocol",
            "typed_config": typed("envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol", **fields)}


def inspectors():
    return [{"name": f"envoy.filters.listener.{name}", "typed_config": typed(f"envoy.extensions.filters.listener.{name}.v3.{kind}")}
            for name, kind in (("tls_inspector", "TlsInspector"), ("http_inspector", "HttpInspector"))]


def v2(body=FOUR, command=0x21, family=0x11):
    return SIGNATURE + bytes([command, family]) + ch.u16(body)


def tlv(kind, value):
    return bytes([kind]) + ch.u16(value)


class Headers:
    """A proxy whose listeners echo what comes behind the header; one log line a connection, and what is counted."""

    def __init__(self, start, app, world, options, filters=()):
        self.app, self.ports = app, [app.free_port() for _ in options]
        self.log = AccessLog(world.directory / f"headers-{world.next_number()}.log")
        made = [listener(port, chain(echo_filter()), listener_filters=[proxy_protocol(**fields), *filters],
                         access_log=[file_log(self.log.path, json=LOGGED)]) for port, fields in zip(self.ports, options)]
        self.proxy = start(bootstrap(made, []))
        self.before, self.lines = self.counters(), 0

    def counters(self):
        return {name: value for name, value in self.proxy.admin.stats().items() if "proxy_proto" in name and isinstance(value, int)}

    def ask(self, pieces, which=0, behind=b"hello"):
        """(addresses as "remote local", counters that moved): "own own" where they are the connection's, None where it was closed."""
        with self.app.connect("127.0.0.1", self.ports[which]) as sock:
            sock.settimeout(5)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            own = {"remote": "127.0.0.1:%d" % sock.getsockname()[1], "local": "127.0.0.1:%d" % self.ports[which]}
            got = b""
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                for piece in [*pieces, behind]:
                    sock.sendall(piece)
                got = receive_exactly(sock, len(behind))
        assert got in (b"", behind)
        line = self.log.json(self.lines + 1)[self.lines]
        self.lines += 1
        assert (line["direct_remote"], line["direct_local"]) == ("127.0.0.1", "127.0.0.1")
        now = self.counters()
        moved = {name.removeprefix("proxy_proto."): value - self.before.get(name, 0)
                 for name, value in now.items() if value != self.before.get(name, 0)}
        self.before = now
        if not got:
            assert {k: line[k] for k in own} == own
            return None, moved
        return " ".join("own" if line[k] == own[k] else line[k] for k in ("remote", "local")), moved


FOUND1, FOUND2 = {"versions.v1.found": 1}, {"versions.v2.found": 1}
BAD1, BAD2 = ({"downstream_cx_proxy_proto_error": 1, f"versions.v{n}.error": 1} for n in (1, 2))
NONE = {"downstream_cx_proxy_proto_error": 1, "not_found_disallowed": 1}
WHO = "1.2.3.4:111 5.6.7.8:222"

# (what, pieces, addresses, counters)
CASES = [
    ("v1", [LINE], WHO, FOUND1),
    ("v1 in pieces", [LINE[:3], LINE[3:20], LINE[20:-1], LINE[-1:]], WHO, FOUND1),
    ("v1, IPv6", [b"PROXY TCP6 1:2::3 4:5::6 111 222\r\n"], "[1:2::3]:111 [4:5::6]:222", FOUND1),
    ("v1, v4-mapped", [b"PROXY TCP6 ::ffff:1.2.3.4 ::ffff:5.6.7.8 111 222\r\n"], "[::ffff:1.2.3.4]:111 [::ffff:5.6.7.8]:222", FOUND1),
    ("v1, odd ports", [b"PROXY TCP4 1.2.3.4 5.6.7.8 0111 +222 \r\n"], WHO, FOUND1),
    ("v1, port 0", [b"PROXY TCP4 1.2.3.4 5.6.7.8 0 222\r\n"], "1.2.3.4:0 5.6.7.8:222", FOUND1),
    ("v1 UNKNOWN", [b"PROXY UNKNOWN\r\n"], "own own", FOUND1),
    ("v1 UNKNOWN with words", [b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n"], "own own", FOUND1),
    ("v1 of 108 bytes", [b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n"], "own own", FOUND1),
    ("v1 of 109 bytes", [b"PROXY UNKNOWN " + b"x" * 93 + b"\r\n"], None, BAD1),
    ("v1 without end", [b"PROXY UNKNOWN " + b"x" * 200], None, NONE),
    ("v1, no address", [b"PROXY TCP4 1.2.3 5.6.7.8 111 222\r\n"], None, BAD1),
    ("v1, a port too large", [b"PROXY TCP4 1.2.3.4 5.6.7.8 65536 222\r\n"], None, BAD1),
    ("v1, two blanks", [b"PROXY  TCP4 1.2.3.4 5.6.7.8 111 222\r\n"], None, BAD1),
    ("v1, a word too many", [b"PROXY TCP4 1.2.3.4 5.6.7.8 111 222 3\r\n"], None, BAD1),
    ("v1, another protocol", [b"PROXY TCP5 1.2.3.4 5.6.7.8 111 222\r\n"], None, BAD1),
    ("v1, IPv6 as TCP4", [b"PROXY TCP4 1:2::3 4:5::6 111 222\r\n"], None, BAD1),
    ("v1, multicast", [b"PROXY TCP4 224.0.0.1 5.6.7.8 111 222\r\n"], None, BAD1),
    ("v1, any address", [b"PROXY TCP6 :: 4:5::6 111 222\r\n"], None, BAD1),
    ("v1, lower case", [b"proxy TCP4 1.2.3.4 5.6.7.8 111 222\r\n"], None, NONE),
    ("HTTP", [b"GET / HTTP/1.1\r\n\r\n"], None, NONE),
    ("a short line", [b"GET /\r\n"], None, BAD1),
    ("v2", [v2()], WHO, FOUND2),
    ("v2 in pieces", [v2()[:5], v2()[5:14], v2()[14:20], v2()[20:]], WHO, FOUND2),
    ("v2, IPv6", [v2(SIX, family=0x21)], "[1:2:3::4]:111 [5:6::7:8]:222", FOUND2),
    ("v2, datagrams", [v2(family=0x12)], WHO, FOUND2),
    ("v2 LOCAL", [v2(b"", command=0x20, family=0)], "own own", FOUND2),
    ("v2 LOCAL with addresses", [v2(command=0x20)], "own own", FOUND2),
    ("v2 LOCAL with nonsense", [v2(bytes(300), command=0x20, family=0x31)], "own own", FOUND2),
    ("v2 with TLVs", [v2(FOUR + tlv(2, b"abc") + tlv(0xe0, b""))], WHO, FOUND2),
    ("v2 with a wrong checksum", [v2(FOUR + tlv(3, b"abcd"))], WHO, FOUND2),
    ("v2 of 64 KiB", [v2(FOUR + tlv(2, bytes(65535 - 12 - 3)))], WHO, FOUND2),
    ("v2 of 64 KiB in pieces", [v2(FOUR + tlv(2, bytes(60000)))[:300], v2(FOUR + tlv(2, bytes(60000)))[300:]], WHO, FOUND2),
    ("v2, a TLV cut short", [v2(FOUR + b"\2\0\5ab")], None, BAD2),
    ("v2 UNSPEC", [v2(b"", family=0)], None, BAD2),
    ("v2, a Unix socket", [v2(bytes(216), family=0x31)], None, BAD2),
    ("v2, another command", [v2(command=0x22)], None, BAD2),
    ("v2, another version", [v2(command=0x31)], None, BAD2),
    ("v2, too short for its family", [v2(bytes(11))], None, BAD2),
    ("v2, any address", [v2(bytes(12))], None, BAD2),
    ("nearly v2", [SIGNATURE[:11] + b"xxxxx"], None, NONE),
]


def test_what_is_a_header(run_proxy, app, world):
    """Addresses and counters of every case, one after the other."""
    headers = Headers(run_proxy, app, world, [{}])
    wrong = {}
    for what, pieces, addresses, moved in CASES:
        got = headers.ask(pieces)
        if got != (addresses, moved):
            wrong[what] = got
    assert wrong == {}


def test_settings(run_proxy, app, world):
    headers = Headers(run_proxy, app, world, [{"allow_requests_without_proxy_protocol": True, "stat_prefix": "free"},
                                              {"disallowed_versions": ["V1"], "stat_prefix": "two"},
                                              {"disallowed_versions": ["V2"], "allow_requests_without_proxy_protocol": True}])
    error = {"downstream_cx_proxy_proto_error": 1}
    without, bad = b"GET / HTTP/1.1\r\n\r\n", b"PROXY TCP9\r\n"
    assert headers.ask([], 0, without) == ("own own", {"free.not_found_allowed": 1})
    assert headers.ask([], 0, b"POST") == ("own own", {"free.not_found_allowed": 1})
    assert headers.ask([LINE], 0) == (WHO, {"free.versions.v1.found": 1})
    assert headers.ask([v2()], 0) == (WHO, {"free.versions.v2.found": 1})
    assert headers.ask([bad], 0) == (None, {**error, "free.versions.v1.error": 1})
    assert headers.ask([LINE], 1) == (None, {"two.versions.v1.found": 1, "two.versions.v1.disallowed": 1})
    assert headers.ask([bad], 1) == (None, {"two.versions.v1.found": 1, "two.versions.v1.disallowed": 1})
    assert headers.ask([v2()], 1) == (WHO, {"two.versions.v2.found": 1})
    assert headers.ask([without], 1) == (None, {**error, "two.not_found_disallowed": 1})
    # What is not allowed is none, where none is needed.
    assert headers.ask([], 2, v2()) == ("own own", {"not_found_allowed": 1})
    assert headers.ask([LINE], 2) == (WHO, {"versions.v1.found": 1})
    text = headers.proxy.admin.get("/stats/prometheus").splitlines()
    assert 'envoy_proxy_proto_found{envoy_proxy_protocol_prefix="two",envoy_proxy_protocol_version="2"} 1' in text
    assert 'envoy_proxy_proto_not_found_allowed{envoy_proxy_protocol_prefix="free"} 2' in text


def test_tlvs_in_dynamic_metadata(run_proxy, app, world):
    port, log = app.free_port(), AccessLog(world.directory / f"tlvs-{world.next_number()}.log")
    rules = [{"tlv_type": 2, "on_tlv_present": {"key": "authority"}},
             {"tlv_type": 0xea, "on_tlv_present": {"metadata_namespace": "cloud", "key": "vpc"}}]
    text = "%DYNAMIC_METADATA(envoy.filters.listener.proxy_protocol:authority)% %DYNAMIC_METADATA(cloud:vpc)%"
    run_proxy(bootstrap([listener(port, chain(direct_response("x")), listener_filters=[proxy_protocol(rules=rules)],
                                  access_log=[file_log(log.path, text=text)])], []))
    cases = [(b"", "- -"), (tlv(2, b"a.example") + tlv(0xea, b"vpc-1"), "a.example vpc-1"), (tlv(2, b"one") + tlv(2, b"two"), "one -"),
             (tlv(0xea, b"a\xffb"), "- a!b")]
    for number, (tlvs, logged) in enumerate(cases, 1):
        with app.connect("127.0.0.1", port) as sock:
            sock.settimeout(5)
            sock.sendall(v2(FOUR + tlvs))
            assert sock.recv(10) == b"x"
        assert log.wait(number)[number - 1] == logged


def test_a_client_that_leaves_before_its_header_is_through(run_proxy, app, world):
    headers = Headers(run_proxy, app, world, [{}])
    for start in (b"", LINE[:10], v2()[:20]):
        with app.connect("127.0.0.1", headers.ports[0]) as sock:
            sock.settimeout(5)
            sock.sendall(start)
            sock.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionResetError):
                assert sock.recv(10) == b""
    headers.proxy.wait_stat(f"listener.0.0.0.0_{headers.ports[0]}.downstream_listener_filter_remote_close", 3)
    assert headers.counters() == headers.before


def test_inspectors_behind_it_see_what_comes_behind_it(run_proxy, app):
    """In either order of arrival: header and first bytes in one segment, or one after the other."""
    port = app.free_port()
    made = listener(port, chain(direct_response("tls"), name="tls", transport_protocol="tls", server_names=["a.example"]),
                    chain(direct_response("http"), name="http", transport_protocol="raw_buffer", application_protocols=["http/1.1"]),
                    chain(direct_response("else"), name="else", transport_protocol="raw_buffer"),
                    listener_filters=[proxy_protocol(), *inspectors()])
    proxy = run_proxy(bootstrap([made], []))

    def answer(*pieces):
        with app.connect("127.0.0.1", port) as sock:
            sock.settimeout(5)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            got = b""
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                for piece in pieces:
                    sock.sendall(piece)
                while part := sock.recv(100):
                    got += part
            return got.decode()
    hello = ch.record(ch.hello(ch.server_name("a.example")))
    http = b"GET / HTTP/1.1\r\n\r\n"
    long = v2(FOUR + tlv(2, bytes(3000)))
    for header in (LINE, v2(), long):
        assert answer(header + hello) == "tls"
        assert answer(header, hello[:20], hello[20:]) == "tls"
        assert answer(header + http) == "http"
        assert answer(header + http[:3], http[3:]) == "http"
        assert answer(header + b"\0" * 50) == "else"
    proxy.wait_stat("tls_inspector.tls_found", 6)
    proxy.wait_stat("tls_inspector.tls_not_found", 9)
    proxy.wait_stat("http_inspector.http11_found", 6)
    assert proxy.admin.stat("proxy_proto.versions.v1.found") == 5
    assert proxy.admin.stat("proxy_proto.versions.v2.found") == 10


def test_inspectors_before_it_see_the_header(run_proxy, app):
    """They look, and leave what they saw; then the header goes."""
    port = app.free_port()
    made = listener(port, chain(echo_filter()), listener_filters=[*inspectors(), proxy_protocol()])
    proxy = run_proxy(bootstrap([made], []))
    with app.connect("127.0.0.1", port) as sock:
        sock.settimeout(5)
        sock.sendall(LINE + b"hello")
        assert receive_exactly(sock, 5) == b"hello"
    proxy.wait_stat("tls_inspector.tls_not_found", 1)
    proxy.wait_stat("proxy_proto.versions.v1.found", 1)


def test_filter_chains_match_the_restored_addresses(run_proxy, app):
    port = app.free_port()
    made = listener(port, chain(direct_response("source"), name="source", source_prefix_ranges=[prefix("1.2.0.0/16")]),
                    chain(direct_response("destination"), name="destination", destination_port=2222),
                    chain(direct_response("else"), name="else"), listener_filters=[proxy_protocol()])
    run_proxy(bootstrap([made], []))

    def answer(line):
        with app.connect("127.0.0.1", port) as sock:
            sock.settimeout(5)
            sock.sendall(line)
            return sock.recv(100).decode()
    assert answer(LINE) == "source"
    assert answer(b"PROXY TCP4 9.9.9.9 5.6.7.8 111 2222\r\n") == "destination"
    assert answer(b"PROXY TCP4 9.9.9.9 5.6.7.8 111 222\r\n") == "else"
    assert answer(b"PROXY UNKNOWN\r\n") == "else"


def test_hand_off_to_the_listener_of_the_restored_address(run_proxy, app):
    """use_original_dst takes an address from a PROXY header as it does one from the kernel."""
    front, back = app.free_port(), app.free_port()
    made = [listener(front, chain(direct_response("front")), listener_filters=[proxy_protocol()], use_original_dst=True),
            listener(back, chain(direct_response("back")), address="5.6.7.8", bind_to_port=False)]
    run_proxy(bootstrap(made, []))
    for target, answer in ((back, b"back"), (back + 1, b"front")):
        with app.connect("127.0.0.1", front) as sock:
            sock.settimeout(5)
            sock.sendall(b"PROXY TCP4 1.2.3.4 5.6.7.8 111 %d\r\n" % target)
            assert sock.recv(100) == answer


def test_a_header_by_curl(run_proxy, app, world):
    """Somebody else's: curl names the connection that it makes."""
    port, log = app.free_port(), AccessLog(world.directory / f"curl-{world.next_number()}.log")
    manager = http_manager([{"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "served"}}}])
    made = listener(port, chain(manager), listener_filters=[proxy_protocol()],
                    access_log=[file_log(log.path, text="%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% %DOWNSTREAM_LOCAL_ADDRESS%")])
    run_proxy(bootstrap([made], []))
    assert app.run("curl", "-sS", "--haproxy-protocol", f"http://127.0.0.1:{port}/").stdout == "served"
    assert log.wait(1)[0] == f"127.0.0.1 127.0.0.1:{port}"


HAPROXY = """
global
    stats socket {socket} mode 600
defaults
    mode tcp
    timeout connect 5s
    timeout client 10s
    timeout server 10s
listen one
    bind 127.0.0.1:{one}
    server next 127.0.0.1:{to} send-proxy
listen two
    bind 127.0.0.1:{two}
    server next 127.0.0.1:{to} send-proxy-v2 proxy-v2-options unique-id,crc32c
    unique-id-format %[src]
"""


def test_headers_by_haproxy(run_proxy, app, world):
    """Version 1, and version 2 with a unique ID and a checksum behind the addresses."""
    one, two, port = app.free_port(), app.free_port(), app.free_port()
    log = AccessLog(world.directory / f"haproxy-{world.next_number()}.log")
    made = listener(port, chain(echo_filter()), listener_filters=[proxy_protocol()],
                    access_log=[file_log(log.path, text="%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS%")])
    run_proxy(bootstrap([made], []))
    config = world.directory / f"haproxy-{world.next_number()}.cfg"
    config.write_text(HAPROXY.format(socket=config.with_suffix(".sock"), one=one, two=two, to=port))
    haproxy = app.start("haproxy", ["haproxy", "-db", "-f", config])
    try:
        for number, through in enumerate((one, two), 1):
            with wait_until(lambda at=through: app.connect("127.0.0.1", at), 10, "haproxy listens") as sock:
                sock.settimeout(5)
                sock.sendall(b"hello")
                assert receive_exactly(sock, 5) == b"hello"
                client = sock.getsockname()[1]
            assert log.wait(number)[number - 1] == f"127.0.0.1:{client} 127.0.0.1:{through}"
    finally:
        haproxy.stop()
