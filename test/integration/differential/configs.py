"""The configurations of the differential cases, as functions of the listener's port, the upstreams' addresses and the log's path."""
import config as c

CONFIGS = {}

LOG = {
    "method": "%REQ(:METHOD)%", "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%", "authority": "%REQ(:AUTHORITY)%", "protocol": "%PROTOCOL%",
    "code": "%RESPONSE_CODE%", "flags": "%RESPONSE_FLAGS%", "details": "%RESPONSE_CODE_DETAILS%", "received": "%BYTES_RECEIVED%",
    "sent": "%BYTES_SENT%", "upstream_cluster": "%UPSTREAM_CLUSTER%", "route": "%ROUTE_NAME%", "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "termination": "%CONNECTION_TERMINATION_DETAILS%", "user_agent": "%REQ(USER-AGENT)%", "resp_type": "%RESP(CONTENT-TYPE)%",
    "upstream_host": "%UPSTREAM_HOST%", "failure": "%UPSTREAM_TRANSPORT_FAILURE_REASON%", "grpc": "%GRPC_STATUS%",
}


def configuration(f):
    CONFIGS[f.__name__] = f
    return f


def http_filter(name, kind=None, **fields):
    return {"name": f"envoy.filters.http.{name}",
            "typed_config": c.typed(kind or f"envoy.extensions.filters.http.{name}.v3.{name.title().replace('_', '')}", **fields)}


def router(**fields):
    return http_filter("router", **fields)


def route(cluster="up", prefix="/", match=None, name=None, **fields):
    action = {k: fields.pop(k) for k in list(fields) if k in ("redirect", "direct_response", "non_forwarding_action")}
    outer = {k: fields.pop(k) for k in list(fields) if k.endswith(("_headers_to_add", "_headers_to_remove")) or
             k in ("typed_per_filter_config", "decorator", "per_request_buffer_limit_bytes", "stat_prefix", "metadata")}
    made = {"match": match or {"prefix": prefix}, **outer}
    if name:
        made["name"] = name
    if action:
        return {**made, **action}
    target = {} if any(k in fields for k in ("weighted_clusters", "cluster_header")) else {"cluster": cluster}
    return {**made, "route": {**target, **fields}}


def vhost(*routes, name="all", domains=("*",), **fields):
    return {"name": name, "domains": list(domains), "routes": list(routes), **fields}


def hcm(p, *vhosts, filters=(), route_fields=None, **fields):
    return {"name": "envoy.filters.network.http_connection_manager", "typed_config": c.typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        **{"stat_prefix": "diff", "route_config": {"name": "local", "virtual_hosts": list(vhosts) or [vhost(route())], **(route_fields or {})},
           "http_filters": [*filters, router()], "delayed_close_timeout": "0.1s", "access_log": [c.file_log(p.log, json=LOG)], **fields})}


def served(p, *filters, clusters=None, **listener):
    return c.bootstrap([c.listener(p.port, c.chain(*filters), name="diff", **listener)], clusters or [up(p)])


def up(p, name="up", *targets, **fields):
    return c.cluster(name, *(targets or [p.upstream]), **fields)


@configuration
def plain(p):
    return served(p, hcm(p))
