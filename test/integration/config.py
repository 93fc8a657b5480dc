"""Builders of Envoy v3 configuration, as dicts; test files say only what their case is about."""
import pathlib
import re

_T = "type.googleapis.com/"


def typed(kind, **fields):
    return {"@type": _T + kind, **fields}


def socket_address(address, port):
    return {"socket_address": {"address": address, "port_value": port}}


def file_log(path, text=None, json=None, filter=None):
    """A file access logger with a text format (a newline is added) or a JSON one."""
    config = {"path": str(path)}
    if text is not None:
        config["log_format"] = {"text_format_source": {"inline_string": text + "\n"}}
    if json is not None:
        config["log_format"] = {"json_format": json}
    made = {"name": "envoy.access_loggers.file", "typed_config": typed("envoy.extensions.access_loggers.file.v3.FileAccessLog", **config)}
    return made if filter is None else {**made, "filter": filter}


def tcp_proxy(cluster=None, stat_prefix="tcp", weighted=None, **fields):
    """The tcp_proxy filter, to a cluster or to weighted ones ({name: weight})."""
    target = {"cluster": cluster} if cluster else {}
    if weighted:
        target = {"weighted_clusters": {"clusters": [{"name": n, "weight": w} for n, w in weighted.items()]}}
    return {"name": "envoy.filters.network.tcp_proxy",
            "typed_config": typed("envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy", stat_prefix=stat_prefix, **target, **fields)}


def direct_response(text):
    return {"name": "envoy.filters.network.direct_response",
            "typed_config": typed("envoy.extensions.filters.network.direct_response.v3.Config", response={"inline_string": text})}


def echo_filter():
    return {"name": "envoy.filters.network.echo", "typed_config": typed("envoy.extensions.filters.network.echo.v3.Echo")}


def chain(*filters, name=None, **match):
    """A filter chain; keyword arguments are its filter_chain_match."""
    made = {"name": name} if name else {}
    if match:
        made["filter_chain_match"] = match
    return {**made, "filters": list(filters)}


def prefix(text):
    """CidrRange from "10.0.0.0/8"."""
    address, length = text.split("/")
    return {"address_prefix": address, "prefix_len": int(length)}


def original_dst_filter():
    return {"name": "envoy.filters.listener.original_dst",
            "typed_config": typed("envoy.extensions.filters.listener.original_dst.v3.OriginalDst")}


def listener(port, *chains, name=None, address="0.0.0.0", **fields):
    return {"name": name or f"{address}_{port}", "address": socket_address(address, port), **fields, "filter_chains": list(chains)}


def endpoints(cluster, *targets):
    """load_assignment from (address, port) or (address, port, weight)."""
    made = []
    for address, port, *weight in targets:
        endpoint = {"endpoint": {"address": socket_address(address, port)}}
        if weight:
            endpoint["load_balancing_weight"] = weight[0]
        made.append(endpoint)
    return {"cluster_name": cluster, "endpoints": [{"lb_endpoints": made}]}


def cluster(name, *targets, type="STATIC", **fields):
    made = {"name": name, "type": type, "connect_timeout": "2s", **fields}
    if targets:
        made["load_assignment"] = endpoints(name, *targets)
    return made


def passthrough(name="PassthroughCluster", **fields):
    return {"name": name, "type": "ORIGINAL_DST", "lb_policy": "CLUSTER_PROVIDED", "connect_timeout": "2s", **fields}


def blackhole():
    """A STATIC cluster without endpoints, as Istio writes it."""
    return {"name": "BlackHoleCluster", "type": "STATIC", "connect_timeout": "10s"}


def bootstrap(listeners, clusters, **fields):
    return {"static_resources": {"listeners": listeners, "clusters": clusters}, **fields}


def from_file(name, **values):
    """configs/<name> with its {{placeholders}} replaced ({{admin_port}} is left for the harness)."""
    text = (pathlib.Path(__file__).parent / "configs" / name).read_text()
    for key, value in values.items():
        text = text.replace("{{" + key + "}}", str(value))
    left = set(re.findall(r"\{\{(\w+)\}\}", text)) - {"admin_port"}
    assert not left, f"{name}: no value for {left}"
    return text


def http_manager(routes, filters=None, stat_prefix="web", domains=("*",), **fields):
    """The HTTP connection manager with one virtual host; `filters` come before the router."""
    router = {"name": "envoy.filters.http.router", "typed_config": typed("envoy.extensions.filters.http.router.v3.Router")}
    config = {"name": "routes", "virtual_hosts": [{"name": "all", "domains": list(domains), "routes": routes}]}
    return {"name": "envoy.filters.network.http_connection_manager",
            "typed_config": typed("envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                                  stat_prefix=stat_prefix, route_config=config, http_filters=[*(filters or []), router], **fields)}
