"""The access log of a TCP connection: Envoy's operators, in text and JSON, file and standard output."""
import json
import re

import pytest

from config import bootstrap, chain, cluster, file_log, listener, tcp_proxy, typed
from support import peers
from support.peers import Peer, ask
from support.proxies import AccessLog

pytestmark = pytest.mark.root


@pytest.fixture
def logged(run_proxy, app, server, world):
    """logged(log fields) makes one connection (5 bytes each way) and returns (its log lines, client address, peer)."""
    def start(**log):
        port = app.free_port()
        path = AccessLog(world.directory / f"log-{world.next_number()}.log")
        with Peer(server.listen(), peers.echo) as peer:
            access = file_log(path.path, **log)
            proxy = run_proxy(bootstrap([listener(port, chain(tcp_proxy("up", access_log=[access]), name="only"))],
                                        [cluster("up", (server.ipv4, peer.port))]))
            with app.connect("127.0.0.1", port) as sock:
                client = sock.getsockname()
                sock.sendall(b"hello")
                assert peers.receive_exactly(sock, 5) == b"hello"
                # The proxy may still write its line when the client's connection is gone.
            lines = path.wait(1)
        return proxy, lines, client, port, peer
    return start


# operator -> what it must look like; {client_port} and the like are filled in
OPERATORS = {
    "%DOWNSTREAM_REMOTE_ADDRESS%": "127.0.0.1:{client_port}",
    "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%": "127.0.0.1",
    "%DOWNSTREAM_REMOTE_PORT%": "{client_port}",
    "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS%": "127.0.0.1:{client_port}",
    "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%": "127.0.0.1",
    "%DOWNSTREAM_DIRECT_REMOTE_PORT%": "{client_port}",
    "%DOWNSTREAM_LOCAL_ADDRESS%": "127.0.0.1:{port}",
    "%DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%": "127.0.0.1",
    "%DOWNSTREAM_LOCAL_PORT%": "{port}",
    "%UPSTREAM_HOST%": "{server}:{server_port}",
    "%UPSTREAM_REMOTE_ADDRESS%": "{server}:{server_port}",
    "%UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%": "{server}",
    "%UPSTREAM_REMOTE_PORT%": "{server_port}",
    "%UPSTREAM_LOCAL_ADDRESS%": "{app}:{upstream_port}",
    "%UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT%": "{app}",
    "%UPSTREAM_LOCAL_PORT%": "{upstream_port}",
    "%UPSTREAM_CLUSTER%": "up",
    "%UPSTREAM_CLUSTER_RAW%": "up",
    "%BYTES_RECEIVED%": "5",
    "%BYTES_SENT%": "5",
    "%UPSTREAM_WIRE_BYTES_SENT%": "5",
    "%UPSTREAM_WIRE_BYTES_RECEIVED%": "5",
    "%DOWNSTREAM_WIRE_BYTES_SENT%": "5",
    "%DOWNSTREAM_WIRE_BYTES_RECEIVED%": "5",
    "%RESPONSE_FLAGS%": "-",
    "%RESPONSE_FLAGS_LONG%": "-",
    "%RESPONSE_CODE%": "0",
    "%RESPONSE_CODE_DETAILS%": "-",
    "%CONNECTION_TERMINATION_DETAILS%": "-",
    "%UPSTREAM_TRANSPORT_FAILURE_REASON%": "-",
    "%UPSTREAM_REQUEST_ATTEMPT_COUNT%": "1",
    "%PROTOCOL%": "-",
    "%UPSTREAM_PROTOCOL%": "-",
    "%REQUESTED_SERVER_NAME%": "-",
    "%ROUTE_NAME%": "-",
    "%FILTER_CHAIN_NAME%": "only",
    "%DURATION%": r"\d+",
    "%START_TIME%": r"\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{{3}}Z",
    "%START_TIME(%s)%": r"\d{{10}}",
    "%START_TIME(%Y/%m/%d %H:%M:%S.%3f)%": r"\d{{4}}/\d\d/\d\d \d\d:\d\d:\d\d\.\d{{3}}",
    "%CONNECTION_ID%": r"\d+",
    "%UPSTREAM_CONNECTION_ID%": r"\d+",
    "%ACCESS_LOG_TYPE%": "TcpConnectionEnd",
    "%DOWNSTREAM_TLS_VERSION%": "-",
    "%DOWNSTREAM_PEER_URI_SAN%": "-",
    "%ENVIRONMENT(SLUICE_TEST_WORD):3%": "som",
    "%ENVIRONMENT(SLUICE_TEST_NOTHING)%": "-",
    "100%%": "100%",
}


@pytest.mark.parametrize("first", range(0, len(OPERATORS), 16))
def test_operators(logged, app, server, first, monkeypatch):
    """Sixteen operators at a time, one a field, separated by something no operator writes."""
    monkeypatch.setenv("SLUICE_TEST_WORD", "something")
    chosen = list(OPERATORS.items())[first:first + 16]
    _, lines, client, port, peer = logged(text=" | ".join(operator for operator, _ in chosen))
    values = dict(client_port=client[1], port=port, server=server.ipv4, server_port=peer.port, app=app.ipv4,
                  upstream_port=peer.accepted[0][0][1])
    fields = lines[0].split(" | ")
    assert len(fields) == len(chosen)
    wrong = {operator: got for (operator, want), got in zip(chosen, fields)
             if not re.fullmatch(want.format(**values), got)}
    assert wrong == {}


def test_json_keeps_types(logged):
    """A field that is one operator keeps the operator's type; what is absent is null; text around an operator makes a string."""
    _, lines, client, port, _ = logged(json={
        "bytes": "%BYTES_SENT%", "flags": "%RESPONSE_FLAGS%", "sni": "%REQUESTED_SERVER_NAME%", "port": "%DOWNSTREAM_LOCAL_PORT%",
        "text": "sent %BYTES_SENT% bytes", "mixed": "a%REQUESTED_SERVER_NAME%b", "plain": "word", "nested": {"chain": "%FILTER_CHAIN_NAME%"},
        "list": ["%BYTES_RECEIVED%", "x"], "number": 7, "code": "%RESPONSE_CODE%"})
    got = json.loads(lines[0])
    assert got["bytes"] == 5 and got["port"] == port and got["code"] == 0
    assert got["flags"] == "-"
    assert got["sni"] is None
    assert got["text"] == "sent 5 bytes"
    assert got["mixed"] == "a-b"
    assert got["plain"] == "word"
    assert got["nested"] == {"chain": "only"}
    assert got["list"] == [5, "x"]
    assert got["number"] == 7


def test_default_format(logged, server):
    """Without a format: Envoy's default line, whose HTTP fields are empty for TCP."""
    _, lines, _, _, peer = logged()
    assert re.fullmatch(r'\[\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\] "- - -" 0 - 5 5 \d+ - "-" "-" "-" "-" "' +
                        re.escape(f"{server.ipv4}:{peer.port}") + '"', lines[0]), lines[0]


def test_omit_empty_values(logged, world, run_proxy, app, server):
    port = app.free_port()
    path = AccessLog(world.directory / f"log-{world.next_number()}.log")
    made = file_log(path.path, json={"sni": "%REQUESTED_SERVER_NAME%", "bytes": "%BYTES_SENT%"})
    made["typed_config"]["log_format"]["omit_empty_values"] = True
    with Peer(server.listen(), peers.echo) as peer:
        run_proxy(bootstrap([listener(port, chain(tcp_proxy("up", access_log=[made])))], [cluster("up", (server.ipv4, peer.port))]))
        assert ask(lambda: app.connect("127.0.0.1", port), b"12345") == b"12345"
        assert path.json() == [{"bytes": 5}]


def test_standard_output(run_proxy, app, server):
    port = app.free_port()
    access = {"name": "envoy.access_loggers.stdout", "typed_config": typed(
        "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
        log_format={"text_format_source": {"inline_string": "OUT %BYTES_SENT%\n"}})}
    with Peer(server.listen(), peers.echo) as peer:
        proxy = run_proxy(bootstrap([listener(port, chain(tcp_proxy("up", access_log=[access])))], [cluster("up", (server.ipv4, peer.port))]))
        assert ask(lambda: app.connect("127.0.0.1", port), b"123") == b"123"
        assert AccessLog(proxy.process.stdout_path).wait() == ["OUT 3"]


def test_path_dev_stdout(run_proxy, app, server):
    """How most configurations in the wild say it."""
    port = app.free_port()
    with Peer(server.listen(), peers.echo) as peer:
        proxy = run_proxy(bootstrap([listener(port, chain(tcp_proxy("up", access_log=[file_log("/dev/stdout", "DEV %BYTES_SENT%")])))],
                                    [cluster("up", (server.ipv4, peer.port))]))
        assert ask(lambda: app.connect("127.0.0.1", port), b"123") == b"123"
        assert AccessLog(proxy.process.stdout_path).wait() == ["DEV 3"]


def test_two_logs_and_the_listener_log(run_proxy, app, server, world):
    """tcp_proxy's logs and the listener's log each get the connection."""
    port = app.free_port()
    one, two, outer = (AccessLog(world.directory / f"log-{world.next_number()}.log") for _ in range(3))
    with Peer(server.listen(), peers.echo) as peer:
        made = listener(port, chain(tcp_proxy("up", access_log=[file_log(one.path, "one %BYTES_SENT%"), file_log(two.path, "two")])),
                        access_log=[file_log(outer.path, "listener %BYTES_SENT% %RESPONSE_FLAGS%")])
        run_proxy(bootstrap([made], [cluster("up", (server.ipv4, peer.port))]))
        assert ask(lambda: app.connect("127.0.0.1", port), b"12") == b"12"
        assert one.wait() == ["one 2"] and two.wait() == ["two"]
        assert outer.wait() == ["listener 2 -"]


def test_listener_log_tells_of_connections_without_a_chain(run_proxy, app, world):
    port = app.free_port()
    outer = AccessLog(world.directory / f"log-{world.next_number()}.log")
    run_proxy(bootstrap([listener(port, chain(tcp_proxy("up"), destination_port=1),
                                  access_log=[file_log(outer.path, "%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%")])],
                        [cluster("up")]))
    peers.call_ending(app, "127.0.0.1", port)
    assert outer.wait() == ["NR filter_chain_not_found"]


def test_line_is_written_when_the_connection_ends(run_proxy, app, server, world):
    port = app.free_port()
    path = AccessLog(world.directory / f"log-{world.next_number()}.log")
    with Peer(server.listen(), peers.echo) as peer:
        run_proxy(bootstrap([listener(port, chain(tcp_proxy("up", access_log=[file_log(path.path, "%BYTES_SENT%")])))],
                            [cluster("up", (server.ipv4, peer.port))]))
        with app.connect("127.0.0.1", port) as sock:
            sock.sendall(b"1")
            assert sock.recv(1) == b"1"
            assert path.lines() == []
            sock.sendall(b"2")
            assert sock.recv(1) == b"2"
        assert path.wait() == ["2"]
