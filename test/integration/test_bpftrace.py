"""The scripts of tools/bpftrace against a sluiced that carries connections."""
import re
import shutil
import signal

import pytest

from config import bootstrap, chain, cluster, from_file, listener, tcp_proxy
from support import paths, peers
from support.peers import Peer, ask, call_ending
from support.process import Process, run
from support.proxies import AccessLog
from support.wait import wait_until

pytestmark = pytest.mark.root
TRACE = paths.ROOT / "tools" / "bpftrace" / "trace"


@pytest.fixture
def way():
    """eBPF is the way by which these connections come (Interception)."""
    return "sluiced"


@pytest.fixture
def kind():
    return "sluiced"


@pytest.fixture(autouse=True)
def programs():
    for name in ("sluiced", "sluicectl"):
        if not paths.program(name):
            pytest.skip(f"{name} is not built")
    if not shutil.which("bpftrace"):
        pytest.skip("no bpftrace: tools/setup installs it")


@pytest.fixture
def trace(world):
    """trace(script): the running script, once it has attached."""
    started = []

    def start(script):
        process = Process(f"trace-{script}-{world.next_number()}", [TRACE, script, paths.program("sluiced"), "15001"], world.directory)
        started.append(process)
        sign = "what\n" if script == "connection-life" else "^C ends.\n"
        wait_until(lambda: sign in process.stdout(), 30, f"{script} attached", alive=process.check_running)
        return process
    yield start
    for process in started:
        process.kill()


def in_order(text, *patterns):
    """Each pattern is found behind the one before it."""
    at = 0
    for pattern in patterns:
        found = re.compile(pattern, re.M).search(text, at)
        assert found, f"{pattern!r} is not found behind {text[max(0, at - 80):at]!r} in:\n{text}"
        at = found.end()


@pytest.mark.ebpf
def test_life_of_an_intercepted_connection(world, app, server, intercept, trace):
    log = AccessLog(world.directory / f"trace-{world.next_number()}.log")
    with Peer(server.listen(), peers.echo) as peer:
        intercept.start(from_file("outbound.yaml", outbound_policy="PassthroughCluster", server=server.ipv4, one_port=1, v1_port=2,
                                  v2_port=3, log=log.path))
        process = trace("connection-life")
        assert ask(lambda: app.connect(server.ipv4, peer.port), b"hello") == b"hello"
        there = re.escape(f"{server.ipv4}:{peer.port}")
        # The trace sees every sluiced of this binary: ours is the connection that wanted to go there.
        mine = wait_until(lambda: re.search(r"(C\d+) +original destination " + there, process.stdout()), 10, "it in the trace")
        c = mine.group(1) + r" +"
        wait_until(lambda: re.search(c + "closed after ", process.stdout()), 10, "its end in the trace", alive=process.check_running)
        # The kernel tells of the client's socket when the proxy's FIN has arrived there, which may be a little later.
        wait_until(lambda: re.search(r" app +sk .*> CLOSE$", process.stdout(), re.M), 10, "the client's end", alive=process.check_running)
        process.signal(signal.SIGINT)
    text = process.stdout()
    # The kernel's events and the proxy's come from different CPUs: each side is in order by itself.
    in_order(text, c + r"accepted by wrk:\d+, listener virtualOutbound, from ", c + "original destination " + there, c + "listener virtualOutbound, filter chain",
             c + "cluster PassthroughCluster, attempt 1, host " + there, c + r"upstream connected after \d+ us",
             c + "first bytes from downstream: 5", c + "first bytes from upstream: 5", c + r"closed after \d+ us, received 5, sent 5")
    in_order(text, r" app +sk (\w+) .*:15001  CLOSE > SYN_SENT  by ", r" app +sk .* SYN_SENT > ESTABLISHED", r" app +sk .*> CLOSE$")
    in_order(text, r" upstream +sk .*CLOSE > SYN_SENT  by wrk:", r" upstream +sk .*SYN_SENT > ESTABLISHED")
    assert re.search(r" accepted +sk .*SYN_RECV > ESTABLISHED", text)


def test_failed_connects_and_closes_are_counted(app, server, run_proxy, trace):
    port = app.free_port()
    run_proxy(bootstrap([listener(port, chain(tcp_proxy(cluster="dead")))], [cluster("dead", (server.ipv4, 1))]))
    connects, closes = trace("upstream-connects"), trace("closes")
    for _ in range(3):
        assert call_ending(app, "127.0.0.1", port) == "rst"
    for process in (connects, closes):
        process.signal(signal.SIGINT)
        process.wait(20)
    assert "@failures[dead, connect failed]: 3" in connects.stdout()
    assert "@closes[dead, upstream_connect_failed, RST to the client]: 3" in closes.stdout()


def test_the_wrapper_says_what_is_wrong():
    listed = run(TRACE, "--list").stdout
    assert all(name in listed for name in ("connection-life", "upstream-connects", "closes"))
    bad = run(TRACE, "nope", check=False)
    assert bad.returncode == 1 and "--list" in bad.stderr
    bad = run(TRACE, "closes", "/nonexistent", check=False)
    assert bad.returncode == 1 and "is not a program" in bad.stderr
