"""The admin interface: what tools and people that know Envoy rely on."""
import json
import re

import pytest

from config import bootstrap, chain, cluster, listener, passthrough, tcp_proxy
from support import peers
from support.peers import Peer, ask

pytestmark = pytest.mark.root


@pytest.fixture
def proxy(run_proxy, app, server):
    """A proxy that has carried one connection; .port is its listener's, .peer the server's."""
    with Peer(server.listen(), peers.echo) as peer:
        port = app.free_port()
        made = run_proxy(bootstrap([listener(port, chain(tcp_proxy("up")), name="web"),
                                    listener(9999, chain(tcp_proxy("up")), address="10.96.0.10", name="virtual", bind_to_port=False)],
                                   [cluster("up", (server.ipv4, peer.port)), passthrough()],
                                   node={"id": "sidecar~10.0.0.1~app.ns~ns.svc.cluster.local", "cluster": "app.ns"}))
        assert ask(lambda: app.connect("127.0.0.1", port), b"hello") == b"hello"
        made.wait_stat("cluster.up.upstream_cx_active", 0)
        made.port, made.peer = port, peer
        yield made


def test_ready(proxy):
    status, headers, body = proxy.admin.request("/ready")
    assert (status, body) == (200, "LIVE\n")
    assert headers["content-type"].startswith("text/plain")


def test_help_names_what_there_is(proxy):
    body = proxy.admin.get("/help")
    assert body.startswith("admin commands are:\n")
    for path in ("/clusters", "/config_dump", "/help", "/listeners", "/logging", "/quitquitquit", "/ready", "/server_info", "/stats",
                 "/stats/prometheus"):
        assert re.search(rf"^  {path}( \(POST\))?: \S", body, re.M), path


def test_unknown_path(proxy):
    status, _, body = proxy.admin.request("/nope")
    assert status == 404 and body.startswith("invalid path. admin commands are:\n")


def test_mutations_want_post(proxy):
    for path in ("/quitquitquit", "/logging"):
        status, _, body = proxy.admin.request(path)
        assert status == 405 and "POST" in body, path


def test_listeners(proxy):
    # A listener that is not bound is listed too.
    assert proxy.admin.get("/listeners").splitlines() == [f"web::0.0.0.0:{proxy.port}", "virtual::10.96.0.10:9999"]
    assert proxy.admin.json("/listeners?format=json") == {"listener_statuses": [
        {"name": "web", "local_address": {"socket_address": {"address": "0.0.0.0", "port_value": proxy.port}}},
        {"name": "virtual", "local_address": {"socket_address": {"address": "10.96.0.10", "port_value": 9999}}}]}


def test_clusters(proxy, server):
    lines = proxy.admin.get("/clusters").splitlines()
    host = f"up::{server.ipv4}:{proxy.peer.port}"
    for line in ("up::observability_name::up", "up::default_priority::max_connections::1024", "up::default_priority::max_retries::3",
                 "up::added_via_api::false", f"{host}::cx_active::0", f"{host}::cx_connect_fail::0", f"{host}::cx_total::1",
                 f"{host}::health_flags::healthy", f"{host}::weight::1", f"{host}::priority::0",
                 "PassthroughCluster::default_priority::max_connections::1024"):
        assert line in lines, line


def test_clusters_json(proxy, server):
    statuses = {c["name"]: c for c in proxy.admin.json("/clusters?format=json")["cluster_statuses"]}
    assert set(statuses) == {"up", "PassthroughCluster"}
    host = statuses["up"]["host_statuses"][0]
    assert host["address"] == {"socket_address": {"address": server.ipv4, "port_value": proxy.peer.port}}
    assert host["weight"] == 1 and host["health_status"] == {"eds_health_status": "HEALTHY"}
    stats = {s["name"]: s for s in host["stats"]}
    assert stats["cx_total"]["value"] == "1"  # a 64-bit number is a string in proto3 JSON, zero is left out
    assert stats["cx_active"] == {"type": "GAUGE", "name": "cx_active"}
    assert statuses["up"]["circuit_breakers"]["thresholds"][0]["max_connections"] == 1024


def test_config_dump(proxy):
    configs = {c["@type"].rsplit(".", 1)[1]: c for c in proxy.admin.json("/config_dump")["configs"]}
    assert {"BootstrapConfigDump", "ClustersConfigDump", "ListenersConfigDump"} <= set(configs)
    listeners = [x["listener"] for x in configs["ListenersConfigDump"]["static_listeners"]]
    assert [x["name"] for x in listeners] == ["web", "virtual"]
    assert listeners[0]["@type"] == "type.googleapis.com/envoy.config.listener.v3.Listener"
    assert listeners[1]["bind_to_port"] is False
    filter_ = listeners[0]["filter_chains"][0]["filters"][0]
    assert filter_["typed_config"]["@type"].endswith("tcp_proxy.v3.TcpProxy") and filter_["typed_config"]["cluster"] == "up"
    clusters = [x["cluster"] for x in configs["ClustersConfigDump"]["static_clusters"]]
    assert {x["name"] for x in clusters} == {"up", "PassthroughCluster"}
    assert configs["BootstrapConfigDump"]["bootstrap"]["node"]["cluster"] == "app.ns"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", configs["BootstrapConfigDump"]["last_updated"])


def test_config_dump_of_one_resource(proxy):
    dump = proxy.admin.json("/config_dump?resource=static_listeners")
    assert [c["listener"]["name"] for c in dump["configs"]] == ["web", "virtual"]


def test_server_info(proxy):
    info = proxy.admin.json("/server_info")
    assert info["state"] == "LIVE"
    assert re.fullmatch(r"[^/]+/\d+\.\d+\.\d+[^/]*/[^/]+/[^/]+/[^/]+", info["version"])
    assert re.fullmatch(r"\d+s", info["uptime_current_epoch"]) and re.fullmatch(r"\d+s", info["uptime_all_epochs"])
    assert info["node"]["id"] == "sidecar~10.0.0.1~app.ns~ns.svc.cluster.local"
    options = info["command_line_options"]
    assert options["concurrency"] == 1 and options["mode"] == "Serve" and options["log_level"] == "info"
    assert options["config_path"] == str(proxy.config_path)


def test_stats_text_is_sorted(proxy):
    names = [line.split(": ")[0] for line in proxy.admin.get("/stats?filter=^(cluster|tcp|listener)\\.&type=Counters").splitlines()]
    assert len(names) > 20 and names == sorted(names)


def test_stats_filter(proxy):
    lines = proxy.admin.get("/stats?filter=^tcp\\.tcp\\.downstream_cx_total$").splitlines()
    assert lines == ["tcp.tcp.downstream_cx_total: 1"]
    status, _, body = proxy.admin.request("/stats?filter=[")
    assert status == 400 and "regex" in body.lower()


def test_stats_usedonly(proxy):
    """Used is what has been written, even with zero: a gauge that went up and down again is there."""
    used = {line.split(": ")[0] for line in proxy.admin.get("/stats?usedonly&filter=^cluster\\.up\\.").splitlines()}
    assert "cluster.up.upstream_cx_total" in used and "cluster.up.upstream_cx_active" in used
    assert "cluster.up.upstream_cx_overflow" not in used and "cluster.up.upstream_cx_connect_fail" not in used


def test_stats_types(proxy):
    def of(kind):
        return {line.split(": ")[0] for line in proxy.admin.get(f"/stats?type={kind}").splitlines()}
    counters, gauges = of("Counters"), of("Gauges")
    assert "cluster.up.upstream_cx_total" in counters and "cluster.up.upstream_cx_total" not in gauges
    assert "cluster.up.upstream_cx_active" in gauges and "cluster.up.upstream_cx_active" not in counters
    assert "server.live" in gauges


def test_stats_json(proxy):
    stats = proxy.admin.json("/stats?format=json&filter=^tcp\\.tcp\\.downstream_cx_(total|rx_bytes_total)$")["stats"]
    assert sorted(stats, key=lambda s: s["name"]) == [{"name": "tcp.tcp.downstream_cx_rx_bytes_total", "value": 5},
                                                      {"name": "tcp.tcp.downstream_cx_total", "value": 1}]


def test_stats_bad_format(proxy):
    assert proxy.admin.request("/stats?format=nope")[0] == 400


def test_stats_prometheus(proxy):
    """Parses as the exposition format: a TYPE line before the samples of each name, every sample of a name together."""
    current, done, samples = None, set(), {}
    for line in proxy.admin.get("/stats/prometheus").splitlines():
        if not line:
            continue
        if line.startswith("# TYPE "):
            _, _, current, kind = line.split(" ")
            assert kind in ("counter", "gauge", "histogram", "summary")
            assert current not in done, f"{current} twice"
            done.add(current)
            continue
        found = re.fullmatch(r'([a-zA-Z_:][\w:]*)(\{[^{}]*\})? (\S+)', line)
        assert found, line
        assert re.sub(r"_(bucket|sum|count)$", "", found.group(1)) == current or found.group(1) == current, line
        float(found.group(3))
        samples[found.group(1) + (found.group(2) or "{}")] = found.group(3)
    assert samples['envoy_cluster_upstream_cx_total{envoy_cluster_name="up"}'] == "1"
    assert samples[f'envoy_listener_downstream_cx_total{{envoy_listener_address="0.0.0.0_{proxy.port}"}}'] == "1"
    assert samples['envoy_cluster_membership_total{envoy_cluster_name="up"}'] == "1"
    assert samples["envoy_server_live{}"] == "1"


def test_stats_histograms(proxy):
    """Connection times are there as histograms."""
    text = proxy.admin.get("/stats/prometheus?filter=cluster.up.upstream_cx")
    assert "# TYPE envoy_cluster_upstream_cx_connect_ms histogram" in text.splitlines()
    assert re.search(r'^envoy_cluster_upstream_cx_connect_ms_bucket\{envoy_cluster_name="up",le="\+Inf"\} \d+$', text, re.M)


def test_logging(proxy):
    listed = proxy.admin.post("/logging").splitlines()
    assert listed[0] == "active loggers:"
    levels = dict(line.strip().split(": ") for line in listed[1:] if line.strip())
    assert levels["main"] == "info" and {"config", "connection", "filter", "upstream"} <= set(levels)
    assert "  upstream: debug" in proxy.admin.post("/logging?upstream=debug").splitlines()
    after = proxy.admin.post("/logging?level=warning").splitlines()
    assert "  main: warning" in after and "  upstream: warning" in after
    assert "  main: trace" in proxy.admin.post("/logging?paths=main:trace,config:debug").splitlines()
    status, _, body = proxy.admin.request("/logging?level=nope", "POST")
    assert status == 400 and "levels:" in body


def test_quitquitquit(proxy):
    assert proxy.admin.post("/quitquitquit") == "OK\n"
    assert proxy.process.wait() == 0


def test_garbage_does_not_hurt(proxy):
    """Not HTTP, and too much of it: the connection is ended, the next one served."""
    for junk in (b"\x00\xff" * 500, b"GET / HTTP/1.1\r\n" + b"x: " + b"y" * 200000, b"GET /ready HTTP/9.9\r\n\r\n", b"\r\n\r\n"):
        with proxy.admin.connect() as sock:
            try:
                sock.sendall(junk)
                sock.shutdown(1)
                peers.ending(sock, 5)
            except OSError:
                pass
    assert proxy.admin.ready()


def test_several_requests_on_one_connection(proxy):
    with proxy.admin.connect() as sock:
        for _ in range(3):
            sock.sendall(b"GET /ready HTTP/1.1\r\nhost: x\r\n\r\n")
            got = b""
            while b"LIVE\n" not in got:
                got += sock.recv(4096)
            assert got.startswith(b"HTTP/1.1 200 OK\r\n")


def test_json_is_json_everywhere(proxy):
    for path in ("/server_info", "/config_dump", "/clusters?format=json", "/listeners?format=json", "/stats?format=json"):
        status, headers, body = proxy.admin.request(path)
        assert status == 200 and headers["content-type"].startswith("application/json"), path
        json.loads(body)
