"""What istioctl reads of a sidecar, on Envoy and sluiced: /config_dump and /clusters of an Istio-like configuration, read by the Go API with
every Any resolved, as `istioctl proxy-config` does."""
import json

import pytest

from support.ca import CA
from support.control_plane import ads_source, api_source, assignment, cluster, dynamic, socket_address, url, xds_cluster
from support.wait import wait_until
from test_lds import HCM, ROUTER

pytestmark = pytest.mark.root

TLS = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3."
WEB, V1 = "outbound|80||web.default.svc.cluster.local", "outbound|80|v1|web.default.svc.cluster.local"
META = {"filter_metadata": {"istio": {"services": [{"host": "web.default.svc.cluster.local", "name": "web", "namespace": "default"}]}}}


def sds(name):
    source = {"api_config_source": api_source(cluster_name="sds-grpc", set_node_on_first_message_only=True), "initial_fetch_timeout": "0s",
              "resource_api_version": "V3"}
    return {"name": name, "sds_config": source}


def tls(kind, **fields):
    return {"name": "envoy.transport_sockets.tls", "typed_config": {"@type": TLS + kind, "common_tls_context": {
        "tls_certificate_sds_secret_configs": [sds("default")],
        "combined_validation_context": {"default_validation_context": {}, "validation_context_sds_secret_config": sds("ROOTCA")}}, **fields}}


def manager(**fields):
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": {
        "@type": HCM, "stat_prefix": "outbound_0.0.0.0_80", "http_filters": [ROUTER], **fields}}


def tcp(name, to):
    return {"name": name, "filters": [{"name": "envoy.filters.network.tcp_proxy", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": to, "cluster": to}}]}


def routes(name, *hosts):
    return {"name": name, "validate_clusters": False, "virtual_hosts": list(hosts)}


def host(name, domains, to):
    return {"name": name, "domains": domains, "routes": [{"name": "default", "match": {"prefix": "/"}, "route": {"cluster": to, "timeout": "0s"}}]}


def clusters():
    plain = {"name": "envoy.transport_sockets.raw_buffer",
             "typed_config": {"@type": "type.googleapis.com/envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer"}}
    ready = {"endpoint": {"address": socket_address("10.1.0.1", 8080)}, "health_status": "HEALTHY", "metadata": {"filter_metadata": {
        "envoy.transport_socket_match": {"tlsMode": "istio"}, "istio": {"workload": "web;default;web;;Kubernetes"}}}}
    return [
        cluster(WEB, eds=True, metadata=META, transport_socket_matches=[
            {"name": "tlsMode-istio", "match": {"tlsMode": "istio"}, "transport_socket": tls("UpstreamTlsContext", sni="outbound_.80_._.web")},
            {"name": "tlsMode-disabled", "match": {}, "transport_socket": plain}]),
        cluster(V1, eds=True, metadata=META, outlier_detection={"consecutive_5xx": 5}),
        assignment(WEB, ready, ("10.1.0.2", 8080)),
        assignment(V1, {"endpoint": {"address": socket_address("10.1.0.3", 8080)}, "health_status": "UNHEALTHY"}),
        cluster("inbound|8080||", ("127.0.0.1", 8080)),
        {"@type": url("cluster"), "name": "PassthroughCluster", "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED", "connect_timeout": "10s"},
        {"@type": url("cluster"), "name": "BlackHoleCluster", "type": "STATIC", "connect_timeout": "10s"}]


def listeners():
    def listener(name, address, port, direction, *chains, **fields):
        return {"@type": url("listener"), "name": name, "address": socket_address(address, port), "traffic_direction": direction,
                "filter_chains": list(chains), **fields}
    inspector = {"name": "envoy.filters.listener.tls_inspector",
                 "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"}}
    inbound = routes("inbound|8080||", host("inbound|http|8080", ["*"], "inbound|8080||"))
    return [
        listener("virtualOutbound", "0.0.0.0", 15001, "OUTBOUND",
                 {**tcp("virtualOutbound-blackhole", "BlackHoleCluster"), "filter_chain_match": {"destination_port": 15001}},
                 tcp("virtualOutbound-catchall-tcp", "PassthroughCluster"), use_original_dst=True),
        listener("virtualInbound", "0.0.0.0", 15006, "INBOUND",
                 {"name": "0.0.0.0_8080", "filters": [manager(route_config=inbound)],
                  "filter_chain_match": {"destination_port": 8080, "transport_protocol": "tls", "application_protocols": ["istio-http/1.1"]},
                  "transport_socket": tls("DownstreamTlsContext", require_client_certificate=True)},
                 {**tcp("plain", "inbound|8080||"), "filter_chain_match": {"transport_protocol": "raw_buffer"}}, listener_filters=[inspector]),
        listener("0.0.0.0_80", "0.0.0.0", 80, "OUTBOUND",
                 {"filters": [manager(rds={"config_source": ads_source(initial_fetch_timeout="0s"), "route_config_name": "80"})]},
                 bind_to_port=False, default_filter_chain=tcp("PassthroughFilterChain", "PassthroughCluster")),
        {"@type": url("route"), **routes("80", host("web.default.svc.cluster.local:80", ["web", "10.96.0.1"], WEB),
                                         host("allow_any", ["*"], "PassthroughCluster"))}]


def configs(proxy):
    return {c["@type"].rsplit(".", 1)[1]: c for c in json.loads(proxy.admin.get("/config_dump?include_eds"))["configs"]}


def test_what_istioctl_reads(control_plane, run_proxy, kind, tmp_path):
    plane, secrets = control_plane(), control_plane(listen=f"unix:{tmp_path}/sds.sock")
    ca = CA(tmp_path / "ca", "istio")
    pair = ca.issue("web", ["URI:spiffe://cluster.local/ns/default/sa/web"])
    secrets.set({"@type": url("secret"), "name": "default", "tls_certificate": {
        "certificate_chain": {"inline_string": pair.cert.read_text()}, "private_key": {"inline_string": pair.key.read_text()}}},
        {"@type": url("secret"), "name": "ROOTCA", "validation_context": {"trusted_ca": {"inline_string": ca.pem.read_text()}}})
    plane.set(*clusters(), *listeners())
    node = {"id": "sidecar~10.0.0.1~web-1.default~default.svc.cluster.local", "cluster": "web.default", "metadata": {"NAMESPACE": "default"}}
    proxy = run_proxy({**dynamic(), "node": node, "static_resources": {
        "clusters": [xds_cluster("127.0.0.1", 18000), xds_cluster(path=tmp_path / "sds.sock", name="sds-grpc")]}})
    wait_until(lambda: len(configs(proxy)["SecretsConfigDump"].get("dynamic_active_secrets", [])) == 2, 10, "both secrets")
    wait_until(lambda: all("active_state" in e for e in configs(proxy)["ListenersConfigDump"]["dynamic_listeners"]), 10, "the listeners")

    for path, message in (("/config_dump?include_eds", "ConfigDump"), ("/clusters?format=json", "Clusters")):
        shown = json.loads(proxy.admin.get(path))
        assert plane.encode({"@type": f"type.googleapis.com/envoy.admin.v3.{message}", **shown})

    found = configs(proxy)
    order = [k for k in found if k != "ScopedRoutesConfigDump"]  # Envoy shows an empty one
    assert order == [f"{k}ConfigDump" for k in ("Bootstrap", "Clusters", "Endpoints", "Listeners", "Routes", "Secrets")]
    built = found["BootstrapConfigDump"]["bootstrap"]["node"]  # "Envoy Version" of `proxy-config bootstrap`
    assert built["id"] == node["id"] and built["user_agent_name"] and built["user_agent_build_version"]["version"]["minor_number"] > 0

    def names(dump, entries, *path):
        out = set()
        for entry in found[dump + "ConfigDump"][entries]:
            for step in path:
                entry = entry[step]
            out.add(entry)
        return out
    assert names("Clusters", "static_clusters", "cluster", "name") == {"xds", "sds-grpc"}
    assert names("Clusters", "dynamic_active_clusters", "cluster", "name") == {
        WEB, V1, "inbound|8080||", "PassthroughCluster", "BlackHoleCluster"}
    assert names("Endpoints", "dynamic_endpoint_configs", "endpoint_config", "cluster_name") >= {WEB, V1}
    assert names("Listeners", "dynamic_listeners", "active_state", "listener", "name") == {"virtualOutbound", "virtualInbound", "0.0.0.0_80"}
    assert names("Routes", "dynamic_route_configs", "route_config", "name") == {"80"}
    assert names("Routes", "static_route_configs", "route_config", "name") == {"inbound|8080||"}
    assert names("Secrets", "dynamic_active_secrets", "name") == {"default", "ROOTCA"}
    (chain,) = [s["secret"]["tls_certificate"] for s in found["SecretsConfigDump"]["dynamic_active_secrets"] if s["name"] == "default"]
    assert chain["certificate_chain"]["inline_string"] == pair.cert.read_text() and chain["private_key"] == {"inline_string": "[redacted]"}
