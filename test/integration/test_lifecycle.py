"""Start, drain, end."""
import pathlib
import re
import signal

import pytest

from config import bootstrap, chain, cluster, file_log, listener, tcp_proxy
from conftest import require
from support import peers, proxies
from support.peers import Peer, ask, ending, receive_exactly
from support.process import run
from support.proxies import AccessLog
from support.wait import wait_until

pytestmark = pytest.mark.root


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_an_idle_proxy(run_proxy, app, number):
    port = app.free_port()
    proxy = run_proxy(bootstrap([listener(port, chain(tcp_proxy("up")))], [cluster("up")]))
    proxy.process.signal(number)
    assert proxy.process.wait() == 0
    with pytest.raises(ConnectionRefusedError):
        app.connect("127.0.0.1", port)


def test_access_log_is_whole_after_the_end(run_proxy, app, server, world):
    port = app.free_port()
    log = AccessLog(world.directory / f"life-{world.next_number()}.log")
    with Peer(server.listen(), peers.echo) as peer:
        proxy = run_proxy(bootstrap([listener(port, chain(tcp_proxy("up", access_log=[file_log(log.path, "%BYTES_SENT%")])))],
                                    [cluster("up", (server.ipv4, peer.port))]))
        for _ in range(50):
            assert ask(lambda: app.connect("127.0.0.1", port), b"abc") == b"abc"
        proxy.wait_stat("cluster.up.upstream_cx_active", 0)
        proxy.stop()
        assert log.lines() == ["3"] * 50


def start_for_drain(world, app, server, peer, *extra):
    port = app.free_port()
    proxy = proxies.start(world, "sluiced", bootstrap([listener(port, chain(tcp_proxy("up")))], [cluster("up", (server.ipv4, peer.port))]),
                          app.path, extra=extra)
    sock = app.connect("127.0.0.1", port)
    sock.sendall(b"a")
    assert receive_exactly(sock, 1) == b"a"
    return proxy, port, sock


@pytest.mark.both_backends
def test_sigterm_drains(world, app, server):
    """Unlike Envoy, which ends at once and tears what is open: no new connection, the open one goes on, the end comes with its end."""
    require("sluiced")
    with Peer(server.listen(), peers.echo) as peer:
        proxy, port, sock = start_for_drain(world, app, server, peer, "--shutdown-grace-s", 60)
        proxy.process.signal(signal.SIGTERM)

        def refused():
            try:
                app.connect("127.0.0.1", port).close()
                return False
            except ConnectionRefusedError:
                return True
        wait_until(refused, what="new connections refused")
        sock.sendall(b"still")
        assert receive_exactly(sock, 5) == b"still"
        status, _, body = proxy.admin.request("/ready")
        assert (status, body) == (503, "DRAINING\n")
        assert proxy.process.running()
        sock.close()
        assert proxy.process.wait() == 0


def test_drain_ends_after_its_time(world, app, server):
    require("sluiced")
    with Peer(server.listen(), peers.echo) as peer:
        proxy, _, sock = start_for_drain(world, app, server, peer, "--shutdown-grace-s", 1)
        proxy.process.signal(signal.SIGTERM)
        assert ending(sock, 10) in ("fin", "rst")
        assert proxy.process.wait() == 0


def test_second_sigterm_does_not_wait(world, app, server):
    require("sluiced")
    with Peer(server.listen(), peers.echo) as peer:
        proxy, _, sock = start_for_drain(world, app, server, peer, "--shutdown-grace-s", 60)
        proxy.process.signal(signal.SIGTERM)
        wait_until(lambda: proxy.admin.request("/ready")[0] == 503, what="draining")
        proxy.process.signal(signal.SIGTERM)
        assert proxy.process.wait() == 0
        sock.close()


@pytest.mark.both_backends
def test_workers_share_the_connections(world, app, server, kind):
    """--concurrency 2: both workers accept, and their counters add up."""
    port = app.free_port()
    with Peer(server.listen(), peers.echo) as peer:
        made = listener(port, chain(tcp_proxy("up")), address="127.0.0.1")
        proxy = proxies.start(world, kind, bootstrap([made], [cluster("up", (server.ipv4, peer.port))]), app.path,
                              extra=["--concurrency", "2"])
        try:
            socks = [app.connect("127.0.0.1", port) for _ in range(100)]
            for sock in socks:
                sock.sendall(b"x")
                assert receive_exactly(sock, 1) == b"x"
            stats = proxy.admin.stats()
            share = [stats[f"listener.127.0.0.1_{port}.worker_{n}.downstream_cx_total"] for n in (0, 1)]
            assert sum(share) == 100 == stats[f"listener.127.0.0.1_{port}.downstream_cx_total"] and min(share) > 10, share
            assert stats["server.concurrency"] == 2
            for sock in socks:
                sock.close()
        finally:
            proxy.stop()


@pytest.mark.both_backends
def test_no_descriptor_stays_open(run_proxy, app, server):
    """After a hundred connections of all sorts the proxy holds as many descriptors as after the first ten."""
    port = app.free_port()
    with Peer(server.listen(), peers.echo) as peer:
        proxy = run_proxy(bootstrap([listener(port, chain(tcp_proxy("up")))], [cluster("up", (server.ipv4, peer.port))]))

        def burst(number):
            for turn in range(number):
                sock = app.connect("127.0.0.1", port)
                if turn % 3:
                    sock.sendall(b"x")
                    receive_exactly(sock, 1)
                if turn % 2:
                    peers.reset(sock)
                else:
                    sock.close()
            proxy.wait_stat("cluster.up.upstream_cx_active", 0)
            proxy.wait_stat(f"listener.0.0.0.0_{port}.downstream_cx_active", 0)
        burst(10)
        before = proxy.process.open_fds()
        burst(100)
        wait_until(lambda: proxy.process.open_fds() <= before + 2, what=f"descriptors back to {before}")


def test_half_open_connections_cost_bounded_memory(run_proxy, app, server):
    """A thousand clients that connect and say nothing."""
    port = app.free_port()
    with Peer(server.listen(backlog=4096), peers.hold) as peer:
        proxy = run_proxy(bootstrap([listener(port, chain(tcp_proxy("up")))],
                                    [cluster("up", (server.ipv4, peer.port), circuit_breakers={"thresholds": [{"max_connections": 10000}]})]))
        before = proxy.process.rss_kib()
        socks = [app.connect("127.0.0.1", port) for _ in range(1000)]
        proxy.wait_stat("cluster.up.upstream_cx_active", 1000, 20)
        grown = proxy.process.rss_kib() - before
        for sock in socks:
            sock.close()
        peer.release.set()
        # Envoy needs about 10 KiB for an idle pair; what matters is that none costs a buffer of 64 KiB or a thread.
        assert grown < 32 * 1024, f"{grown} KiB for 1,000 idle connections"


@pytest.mark.parametrize("backend", ["io_uring", "epoll"])
def test_the_backend_is_the_one_asked_for(world, app, server, backend):
    require("sluiced")
    port = app.free_port()
    with Peer(server.listen(), peers.echo) as peer:
        config = bootstrap([listener(port, chain(tcp_proxy("up")))], [cluster("up", (server.ipv4, peer.port))])
        proxy = proxies.start(world, "sluiced", config, app.path, extra=["--io-backend", backend])
        try:
            assert f"1 workers on {backend}" in proxy.process.stderr()
            assert ask(lambda: app.connect("127.0.0.1", port), b"x") == b"x"
        finally:
            proxy.stop()


def test_without_spinning_waits_are_sleeps(world, app, server):
    """--spin-us 0: the worker gives its core away before each message."""
    require("sluiced")
    port, rounds = app.free_port(), 2000
    with Peer(server.listen(), peers.echo) as peer:
        config = bootstrap([listener(port, chain(tcp_proxy("up")))], [cluster("up", (server.ipv4, peer.port))])
        proxy = proxies.start(world, "sluiced", config, app.path, extra=["--spin-us", 0])
        try:
            def sleeps():
                tasks = pathlib.Path(f"/proc/{proxy.process.pid}/task")
                return sum(int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", (task / "status").read_text(), re.M).group(1))
                           for task in tasks.iterdir() if (task / "comm").read_text() == "wrk:0\n")
            with app.connect("127.0.0.1", port) as sock:
                before = sleeps()
                for _ in range(rounds):
                    sock.sendall(b"x")
                    assert receive_exactly(sock, 1) == b"x"
                # Not each of them: where the machine is busy, the answer is there before the worker has looked.
                assert sleeps() - before > rounds // 100
        finally:
            proxy.stop()


@pytest.mark.parametrize("value", ["-1", "10001", "often"])
def test_spin_us_that_makes_no_sense(world, value):
    require("sluiced")
    done = run(proxies.require("sluiced"), "-c", "/nowhere", "--spin-us", value, check=False)
    assert done.returncode != 0 and ("spin-us" in done.stderr or value in done.stderr)
