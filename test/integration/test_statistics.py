"""Envoy's statistics: the same story played to both proxies, then names and values compared."""
import contextlib
import re

import pytest

from config import bootstrap, chain, cluster, http_manager, listener, tcp_proxy
from conftest import require
from support import peers, proxies
from support.peers import Peer, ask, call_ending, ending, receive_exactly, reset
from support.web import Web, answer, read_message

pytestmark = pytest.mark.root

# What a proxy without HTTP, subsets, EDS and zones has no use for; a statistic that is missing here is a difference.
NOT_OURS = re.compile(r"\.(lb_subsets|lb_zone|lb_local|lb_recalculate|assignment_|upstream_http3|upstream_internal_redirect|upstream_rq_|"
                      r"upstream_cx_http|upstream_cx_protocol|upstream_cx_pool|upstream_cx_preconnect|upstream_cx_connect_with_0_rtt|"
                      r"upstream_cx_close_notify|upstream_cx_max_requests|upstream_queue|retry_or_shadow|update_|version|max_host_weight|"
                      r"warming_state|original_dst_host_invalid|extension_config_missing|"
                      r"network_extension_config_missing|downstream_cx_overload|downstream_global_cx_overflow|early_data|route_delayed|"
                      r"circuit_breakers\.\w+\.(rq_|cx_pool_open|remaining_cx_pools)|circuit_breakers\.high|connections_accepted_per|"
                      r"downstream_cx_transport_socket|downstream_cx_drain_close)|^listener\.admin\.")
# Times: that there is one is all that can be compared.
TIMES = re.compile(r"_(ms|length_ms)$")


def play(world, app, server, kind):
    """One of everything: answers, a refusal, an empty cluster, an overflow, a RST, a chain nobody matches. Returns the statistics."""
    ports = {name: app.free_port() for name in ("good", "refused", "empty", "full", "nochain", "unknown")}
    with Peer(server.listen(), peers.echo) as echo, Peer(server.listen(), peers.reset_on_data) as rude:
        config = bootstrap([
            listener(ports["good"], chain(tcp_proxy("good", "good")), name="good"),
            listener(ports["refused"], chain(tcp_proxy("refused", "refused", max_connect_attempts=2)), name="refused"),
            listener(ports["empty"], chain(tcp_proxy("empty", "empty")), name="empty"),
            listener(ports["full"], chain(tcp_proxy("full", "full")), name="full", stat_prefix="crowded"),
            listener(ports["nochain"], chain(tcp_proxy("good", "never"), destination_port=1), name="nochain"),
            listener(ports["unknown"], chain(tcp_proxy("nowhere", "unknown")), name="unknown"),
        ], [
            cluster("good", (server.ipv4, echo.port)), cluster("refused", (server.ipv4, 1)), cluster("empty"),
            cluster("full", (server.ipv4, rude.port), circuit_breakers={"thresholds": [{"max_connections": 1, "track_remaining": True}]},
                    alt_stat_name="full.renamed"),
        ])
        proxy = proxies.start(world, kind, config, app.path)
        try:
            for _ in range(3):
                assert ask(lambda: app.connect("127.0.0.1", ports["good"]), b"0123456789") == b"0123456789"
            for name in ("refused", "empty", "nochain", "unknown"):
                call_ending(app, "127.0.0.1", ports[name])
            held = app.connect("127.0.0.1", ports["full"])
            rude.wait_connections(1)
            proxy.wait_stat("cluster.full.renamed.upstream_cx_active", 1)
            call_ending(app, "127.0.0.1", ports["full"])
            held.sendall(b"x")
            assert ending(held) == "rst"
            held.close()
            open_ = app.connect("127.0.0.1", ports["good"])
            open_.sendall(b"abc")
            assert receive_exactly(open_, 3) == b"abc"
            torn = app.connect("127.0.0.1", ports["good"])
            torn.sendall(b"abc")
            assert receive_exactly(torn, 3) == b"abc"
            reset(torn)
            proxy.wait_stat("cluster.full.renamed.upstream_cx_active", 0)
            proxy.wait_stat("cluster.good.upstream_cx_active", 1)
            proxy.wait_stat(f"listener.0.0.0.0_{ports['good']}.downstream_cx_active", 1)
            stats = proxy.admin.stats()
            text = proxy.admin.get("/stats/prometheus")
            open_.close()
        finally:
            proxy.stop()
    names = {str(port): name for name, port in ports.items()}
    known = re.compile("_(" + "|".join(names) + r")\b")
    return {known.sub(lambda m: "_" + names[m.group(1)], name): value for name, value in stats.items()}, text


def interesting(stats):
    return {k: v for k, v in stats.items() if re.match(r"(tcp|cluster|listener)\.", k) and not NOT_OURS.search(k)}


def test_statistics_are_the_same(world, app, server):
    require("envoy"), require("sluiced")
    want = interesting(play(world, app, server, "envoy")[0])
    got = interesting(play(world, app, server, "sluiced")[0])
    assert len(want) > 100, "the filter left too little to compare"
    different = {name: (value, got.get(name, "missing")) for name, value in want.items()
                 if (name not in got) or (not TIMES.search(name) and got[name] != value)}
    assert different == {}, "statistic: (Envoy's, sluiced's)"
    assert {name for name in got if name not in want} == set(), "names that Envoy does not have"


# The values that matter most, so that a case also fails where both would be wrong together or Envoy is not at hand.
EXPECTED = {
    "tcp.good.downstream_cx_total": 5, "tcp.good.downstream_cx_rx_bytes_total": 36, "tcp.good.downstream_cx_tx_bytes_total": 36,
    "cluster.good.upstream_cx_total": 5, "cluster.good.upstream_cx_active": 1, "cluster.good.upstream_cx_destroy": 4,
    "cluster.good.upstream_cx_rx_bytes_total": 36, "cluster.good.upstream_cx_tx_bytes_total": 36,
    "cluster.refused.upstream_cx_total": 2, "cluster.refused.upstream_cx_connect_fail": 2,
    "cluster.refused.upstream_cx_connect_attempts_exceeded": 1,
    "cluster.empty.upstream_cx_none_healthy": 1, "cluster.empty.upstream_cx_total": 0,
    "cluster.full.renamed.upstream_cx_overflow": 1, "cluster.full.renamed.upstream_cx_total": 1,
    "tcp.unknown.downstream_cx_no_route": 1, "listener.0.0.0.0_nochain.no_filter_chain_match": 1,
    "listener.0.0.0.0_good.downstream_cx_total": 5, "listener.0.0.0.0_good.downstream_cx_active": 1,
    "listener.0.0.0.0_good.downstream_cx_destroy": 4,
    # A stat_prefix takes the place of the address.
    "listener.crowded.downstream_cx_total": 2,
}


def test_values(world, app, server, kind):
    stats, text = play(world, app, server, kind)
    assert {name: stats.get(name) for name in EXPECTED} == EXPECTED
    assert 'envoy_cluster_upstream_cx_total{envoy_cluster_name="good"} 5' in text.splitlines()
    assert 'envoy_tcp_downstream_cx_total{envoy_tcp_prefix="good"} 5' in text.splitlines()
    assert "# TYPE envoy_cluster_upstream_cx_active gauge" in text.splitlines()
    assert "# TYPE envoy_cluster_upstream_cx_total counter" in text.splitlines()


def test_bytes_buffered(run_proxy, app, server):
    """What is said to be buffered of what was received is the last read, as long as the connection lives; of what was sent nothing is left."""
    request = b"GET / HTTP/1.1\r\nhost: a\r\nx-request-id: 1\r\n\r\n"
    reply = answer(200, b"x" * 300)
    port = app.free_port()
    with Web(server.listen(), lambda _: reply) as web:
        manager = http_manager([{"match": {"prefix": "/"}, "route": {"cluster": "peer"}}])
        proxy = run_proxy(bootstrap([listener(port, chain(manager))], [cluster("peer", (server.ipv4, web.port))]))
        with app.connect("127.0.0.1", port) as sock:
            for more in (b"", b"x-more: 1\r\n"):
                ask_for = request[:-2] + more + b"\r\n"
                sock.sendall(ask_for)
                assert read_message(sock)[2] == b"x" * 300
                proxy.wait_stat("http.web.downstream_cx_rx_bytes_buffered", len(ask_for))
                proxy.wait_stat("cluster.peer.upstream_cx_rx_bytes_buffered", len(reply))
                proxy.wait_stat("http.web.downstream_cx_tx_bytes_buffered", 0)
                proxy.wait_stat("cluster.peer.upstream_cx_tx_bytes_buffered", 0)
        proxy.wait_stat("http.web.downstream_cx_rx_bytes_buffered", 0)
    proxy.wait_stat("cluster.peer.upstream_cx_active", 0)
    proxy.wait_stat("cluster.peer.upstream_cx_rx_bytes_buffered", 0)


def test_which_transport_socket_hosts_have(run_proxy, app):
    """transport_socket_matches: a host counts once, when it comes, with the first match that fits it."""
    def host(port, **metadata):
        place = {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}}}
        return {**place, "metadata": {"filter_metadata": {"envoy.transport_socket_match": metadata}}} if metadata else place

    def match(name, **fields):
        raw = {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"}
        return {"name": name, "match": fields, "transport_socket": {"name": "raw", "typed_config": raw}}
    hosts = [host(1, kind="a"), host(2, kind="a", more="b"), host(3, kind="c"), host(4)]
    some = cluster("some", transport_socket_matches=[match("one", kind="a", more="b"), match("two.three", kind="a"), match("never", kind="x")])
    some["load_assignment"] = {"cluster_name": "some", "endpoints": [{"lb_endpoints": hosts}]}
    every = cluster("every", ("127.0.0.1", 1), ("127.0.0.1", 2), transport_socket_matches=[match("all")])
    port = app.free_port()
    proxy = run_proxy(bootstrap([listener(port, chain(tcp_proxy("some")))], [some, every, cluster("none"), cluster("plain", ("127.0.0.1", 1))]))
    # A connection counts nothing. Nobody listens there, and the reset may come as soon as it is made.
    with contextlib.suppress(ConnectionResetError), app.connect("127.0.0.1", port) as sock:
        assert ending(sock) in ("fin", "rst")
    counted = {k: v for k, v in proxy.admin.stats().items() if k.endswith("total_match_count")}
    assert counted == {f"cluster.{k}.total_match_count": v for k, v in {
        "some.one": 1, "some.two.three": 1, "some.never": 0, "some.default": 2, "every.all": 2, "every.default": 0, "none.default": 0,
        "plain.default": 1}.items()}
