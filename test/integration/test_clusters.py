"""Clusters: where endpoints come from, and which of them is taken."""
import collections

import pytest

from config import bootstrap, chain, cluster, endpoints, listener, tcp_proxy, typed
from support import peers
from support.dns import DnsServer
from support.peers import Peer, ask, call_ending
from support.wait import wait_until

pytestmark = pytest.mark.root


@pytest.fixture
def trio(server):
    """Three servers on three addresses of the server pod, same port, each tells its name."""
    names = {"a": "10.77.50.1", "b": "10.77.50.2", "c": "10.77.50.3"}
    for address in names.values():
        server.ip("addr", "add", f"{address}/16", "dev", "eth0")
    port = server.free_port()
    made = {name: Peer(server.listen(address, port), peers.tell(name)) for name, address in names.items()}
    yield made, names, port
    for peer in made.values():
        peer.close()
    for address in names.values():
        server.ip("addr", "del", f"{address}/16", "dev", "eth0")


@pytest.fixture
def call(run_proxy, app):
    """call(cluster): (proxy, function that makes n connections and counts the answers)."""
    def start(up):
        port = app.free_port()
        proxy = run_proxy(bootstrap([listener(port, chain(tcp_proxy("up")))], [up]))

        def times(number):
            return collections.Counter(ask(lambda: app.connect("127.0.0.1", port)).decode() for _ in range(number))
        times.port = port
        return proxy, times
    return start


# ---- choosing ----
def test_round_robin_is_even(call, trio):
    _, names, port = trio
    _, times = call(cluster("up", *((a, port) for a in names.values()), lb_policy="ROUND_ROBIN"))
    assert times(30) == {"a": 10, "b": 10, "c": 10}


def test_round_robin_with_weights(call, trio):
    _, names, port = trio
    _, times = call(cluster("up", *((a, port, w) for a, w in zip(names.values(), (1, 2, 3))), lb_policy="ROUND_ROBIN"))
    counts = times(60)
    assert abs(counts["a"] - 10) <= 2 and abs(counts["b"] - 20) <= 2 and abs(counts["c"] - 30) <= 2


def test_random_reaches_all(call, trio):
    _, names, port = trio
    _, times = call(cluster("up", *((a, port) for a in names.values()), lb_policy="RANDOM"))
    counts = times(150)
    assert all(20 <= counts[name] <= 85 for name in names), counts
    assert counts != {"a": 50, "b": 50, "c": 50} or times(150) != {"a": 50, "b": 50, "c": 50}, "that is round robin"


def test_least_request_avoids_the_busy_one(run_proxy, app, server, trio):
    """One host holds connections; with many choices (drawn with replacement) all the next ones go to the other."""
    _, names, port = trio
    target = app.free_port()
    with Peer(server.listen(), peers.greeting(b"busy")) as busy:
        up = cluster("up", (server.ipv4, busy.port), (names["a"], port), lb_policy="LEAST_REQUEST",
                     least_request_lb_config={"choice_count": 40})
        run_proxy(bootstrap([listener(target, chain(tcp_proxy("up")))], [up]))
        held = []
        for _ in range(100):  # while both are idle either may be drawn
            sock = app.connect("127.0.0.1", target)
            if sock.recv(4) == b"busy":
                held.append(sock)
                break
            sock.close()
        assert held
        answers = [ask(lambda: app.connect("127.0.0.1", target)) for _ in range(20)]
        assert answers == [b"a"] * 20
        for sock in held:
            sock.close()


def test_least_request_with_weights_reaches_all(call, trio):
    _, names, port = trio
    _, times = call(cluster("up", *((a, port, w) for a, w in zip(names.values(), (1, 1, 4))), lb_policy="LEAST_REQUEST"))
    counts = times(120)
    assert counts["c"] > counts["a"] and counts["c"] > counts["b"] and min(counts["a"], counts["b"]) >= 5, counts


def test_endpoint_marked_unhealthy_is_not_used(call, trio):
    _, names, port = trio
    up = cluster("up", *((a, port) for a in names.values()))
    up["load_assignment"]["endpoints"][0]["lb_endpoints"][1]["health_status"] = "UNHEALTHY"
    up["common_lb_config"] = {"healthy_panic_threshold": {"value": 0}}
    proxy, times = call(up)
    assert set(times(20)) == {"a", "c"}
    assert proxy.admin.stat("cluster.up.membership_healthy") == 2
    assert proxy.admin.stat("cluster.up.membership_total") == 3


# ---- discovering ----
def dns_cluster(kind, dns, host, port, **fields):
    resolver = {"name": "envoy.network.dns_resolver.cares", "typed_config": typed(
        "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
        resolvers=[{"socket_address": {"address": dns.address, "port_value": dns.port}}],
        dns_resolver_options={"no_default_search_domain": True})}
    return cluster("up", (host, port), type=kind, dns_lookup_family="V4_ONLY", dns_refresh_rate="0.3s",
                   typed_dns_resolver_config=resolver, **fields)


@pytest.fixture
def dns(app):
    with DnsServer(app) as made:
        yield made


def test_strict_dns_uses_every_address(call, trio, dns):
    _, names, port = trio
    dns.records["svc.test"] = [names["a"], names["b"]]
    proxy, times = call(dns_cluster("STRICT_DNS", dns, "svc.test", port))
    assert times(20) == {"a": 10, "b": 10}
    assert proxy.admin.stat("cluster.up.membership_total") == 2


def test_strict_dns_follows_changes(call, trio, dns):
    _, names, port = trio
    dns.records["svc.test"] = [names["a"]]
    proxy, times = call(dns_cluster("STRICT_DNS", dns, "svc.test", port))
    assert times(3) == {"a": 3}
    dns.records["svc.test"] = [names["b"], names["c"]]
    proxy.wait_stat("cluster.up.membership_total", 2)
    assert set(times(10)) == {"b", "c"}
    assert proxy.admin.stat("cluster.up.membership_change") >= 2


def test_strict_dns_keeps_the_last_answer_when_the_server_fails(call, trio, dns):
    _, names, port = trio
    dns.records["svc.test"] = [names["a"]]
    proxy, times = call(dns_cluster("STRICT_DNS", dns, "svc.test", port))
    assert times(2) == {"a": 2}
    dns.failing = True
    wait_until(lambda: proxy.admin.stat("cluster.up.update_failure") >= 1, 15, "a failed update")
    assert times(2) == {"a": 2}


def test_strict_dns_of_two_names(call, trio, dns):
    _, names, port = trio
    dns.records.update({"one.test": [names["a"]], "two.test": [names["b"]]})
    up = dns_cluster("STRICT_DNS", dns, "one.test", port)
    up["load_assignment"] = endpoints("up", ("one.test", port), ("two.test", port))
    proxy, times = call(up)
    proxy.wait_stat("cluster.up.membership_total", 2)
    assert set(times(10)) == {"a", "b"}


def test_logical_dns_uses_the_first_address(call, trio, dns):
    _, names, port = trio
    dns.records["svc.test"] = [names["a"], names["b"]]
    proxy, times = call(dns_cluster("LOGICAL_DNS", dns, "svc.test", port))
    assert len(times(8)) == 1
    assert proxy.admin.stat("cluster.up.membership_total") == 1


def test_logical_dns_keeps_connections_when_the_answer_changes(run_proxy, app, server, trio, dns):
    _, names, port = trio
    with Peer(server.listen("0.0.0.0"), peers.echo) as peer:
        target = app.free_port()
        dns.records["svc.test"] = [server.ipv4]
        run_proxy(bootstrap([listener(target, chain(tcp_proxy("up")))], [dns_cluster("LOGICAL_DNS", dns, "svc.test", peer.port)]))
        with app.connect("127.0.0.1", target) as sock:
            sock.sendall(b"1")
            assert sock.recv(1) == b"1"
            dns.records["svc.test"] = [names["a"]]
            seen = len(dns.queries)
            wait_until(lambda: len(dns.queries) > seen + 2, 10, "two more DNS queries")
            sock.sendall(b"2")
            assert sock.recv(1) == b"2"


def test_name_that_does_not_exist(call, dns, app, kind):
    """The cluster starts empty, and connections are told so."""
    proxy, times = call(dns_cluster("STRICT_DNS", dns, "missing.test", 80))
    assert call_ending(app, "127.0.0.1", times.port) == ("fin" if kind == "envoy" else "rst")
    assert proxy.admin.stat("cluster.up.upstream_cx_none_healthy") == 1


def test_dns_ipv6(run_proxy, app, server, dns):
    with Peer(server.listen("::"), peers.echo) as peer:
        target = app.free_port()
        dns.records["svc.test"] = [server.ipv6]
        up = {**dns_cluster("STRICT_DNS", dns, "svc.test", peer.port), "dns_lookup_family": "V6_ONLY"}
        run_proxy(bootstrap([listener(target, chain(tcp_proxy("up")))], [up]))
        assert ask(lambda: app.connect("127.0.0.1", target), b"six") == b"six"
