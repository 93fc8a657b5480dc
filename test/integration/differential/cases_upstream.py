"""The router: retries, timeouts, what it says when an upstream fails, statistics."""
from differential import configs as c
from differential.case import Close, CloseAtOnce, Hang, Reset, case, get, post, response

BAD = response("503 Service Unavailable", body=b"bad")


def variant(name, *vhosts, clusters=None, **fields):
    def make(p):
        return c.served(p, c.hcm(p, *vhosts, **fields), clusters=clusters(p) if clusters else None)
    make.__name__ = name
    c.configuration(make)
    return name


def retrying(on, **fields):
    policy = {"retry_on": on, "num_retries": 2, "retry_back_off": {"base_interval": "0.001s", "max_interval": "0.002s"}, **fields}
    return c.vhost(c.route(retry_policy=policy), include_request_attempt_count=True, include_attempt_count_in_response=True)


# ---- retries ----
for on in ("5xx", "gateway-error", "reset", "connect-failure", "retriable-4xx", "refused-stream", "retriable-status-codes", "reset-before-request",
           "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes"):
    name = variant(f"retry_{on.replace(',', '_').replace('-', '_')}", retrying(on, **({"retriable_status_codes": [503, 418]} if "status" in on else {})))
    case(f"retry on {on}: 503 then well", get(), replies=(BAD, response()), config=name)
    case(f"retry on {on}: 503 to the end", get(), replies=BAD, config=name)
    case(f"retry on {on}: 500", get(), replies=(response("500 Oops"), response()), config=name)
    case(f"retry on {on}: 409", get(), replies=(response("409 Conflict"), response()), config=name)
    case(f"retry on {on}: 418", get(), replies=(response("418 Tea"), response()), config=name)
    case(f"retry on {on}: closed", get(), replies=(Close, response()), config=name)
    case(f"retry on {on}: reset", get(), replies=(Reset, response()), config=name)
    case(f"retry on {on}: a body is sent again", post(b"body"), replies=(BAD, response()), config=name)
    case(f"retry on {on}: grpc unavailable", post(b"", "/s/m", "content-type: application/grpc"), config=name, replies=(
        response("200 OK", "content-type: application/grpc", "grpc-status: 14", body=b""), response("200 OK", "grpc-status: 0", body=b"")))
PLAIN_RETRY = variant("retry_headers", c.vhost(c.route(), include_request_attempt_count=True))
for header in ("x-envoy-retry-on: 5xx", "x-envoy-retry-on: 5xx,nonsense", "x-envoy-retry-on: retriable-status-codes", "x-envoy-retry-grpc-on: unavailable"):
    case(f"retry asked by {header}", get("/", header, "x-envoy-retriable-status-codes: 503"), replies=(BAD, response()), config=PLAIN_RETRY)
case("retry asked, more of them", get("/", "x-envoy-retry-on: 5xx", "x-envoy-max-retries: 3"), replies=(BAD, BAD, BAD, response()), config=PLAIN_RETRY)
case("retry asked, none", get("/", "x-envoy-retry-on: 5xx", "x-envoy-max-retries: 0"), replies=(BAD, response()), config=PLAIN_RETRY)
case("retry by the answer's header", get(), replies=(response("200 OK", "x-again: 1"), response()),
     config=variant("retry_by_header", retrying("retriable-headers", retriable_headers=[{"name": "x-again", "present_match": True}])))
case("retry of these requests alone", get("/", "x-may: 1"), replies=(BAD, response()),
     config=variant("retry_by_request", retrying("5xx", retriable_request_headers=[{"name": "x-may", "present_match": True}])))
case("retry of these requests alone, not this", get(), replies=(BAD, response()), config="retry_by_request")
case("retry policy of the virtual host", get(), replies=(BAD, response()),
     config=variant("retry_vhost", c.vhost(c.route(), retry_policy={"retry_on": "5xx", "num_retries": 1})))
case("retry after the per-try timeout", get(), replies=(Hang, response()), config=variant("per_try", retrying("5xx", per_try_timeout="0.1s")))
case("per-try timeout without a retry", get(), replies=Hang, config=variant("per_try_only", c.vhost(c.route(retry_policy={
    "retry_on": "connect-failure", "num_retries": 1, "per_try_timeout": "0.1s"}))))

# ---- timeouts ----
TIMES = variant("timeouts", c.vhost(c.route(prefix="/fast", timeout="0.1s"), c.route(prefix="/none", timeout="0s"),
                                    c.route(prefix="/idle", timeout="0s", idle_timeout="0.1s"), c.route()))
case("route timeout", get("/fast"), replies=Hang, config=TIMES)
case("route idle timeout", get("/idle"), replies=Hang, config=TIMES)
case("no timeout: no header", get("/none"), config=TIMES)
case("timeout from the header", get("/", "x-envoy-upstream-rq-timeout-ms: 100"), replies=Hang, config=TIMES)
case("timeout from the header that is nonsense", get("/", "x-envoy-upstream-rq-timeout-ms: x"), config=TIMES)
case("timeout with another answer", get("/fast", "x-envoy-upstream-rq-timeout-alt-response: 1"), replies=Hang, config=TIMES)
case("per-try timeout from the header", get("/", "x-envoy-upstream-rq-per-try-timeout-ms: 100"), replies=Hang, config=TIMES)
case("grpc-timeout is not asked", post(b"", "/s/m", "content-type: application/grpc", "grpc-timeout: 100m"), config=TIMES)

# ---- upstreams that fail ----
case("upstream closes unread", get(), replies=CloseAtOnce, loose_stats=("upstream_rq_503", "upstream_rq_5xx"), after="none",
     config=variant("unread", c.vhost(c.route())))
case("upstream refuses", get(), config=variant("refused", clusters=lambda p: [c.up(p, "up", p.refused)]))
case("upstream refuses a post", post(b"body"), config="refused")
case("upstream closes without an answer", get(), replies=Close)
case("upstream resets without an answer", get(), replies=Reset)
case("upstream closes in the body", get(), replies=b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\nconnection: close\r\n\r\nabc", after="reuse",
     config=variant("short_body", c.vhost(c.route())), seconds=2.0)
case("grpc: upstream refuses", post(b"", "/s/m", "content-type: application/grpc"), config="refused")
case("no healthy upstream", get(), config=variant("nobody_there", clusters=lambda p: [
    {**c.up(p), "load_assignment": {"cluster_name": "up"}}]))
case("circuit breaker: no requests", get(), config=variant("breaker", clusters=lambda p: [
    c.up(p, circuit_breakers={"thresholds": [{"max_connections": 0, "max_pending_requests": 0}]})]))
case("upstream 503 is passed on", get(), replies=BAD)
case("upstream says overloaded", get(), replies=response("503 Service Unavailable", "x-envoy-overloaded: true"))
case("upstream service time replaced", get(), replies=response("200 OK", "x-envoy-upstream-service-time: 999"))
case("upstream canary", get(), replies=response("200 OK", "x-envoy-upstream-canary: true"))
case("x-envoy headers suppressed", get(), config=variant("suppress", c.vhost(c.route())))
for code in (100, 200, 201, 301, 304, 400, 404, 429, 500, 502, 504):
    if code >= 200:
        case(f"code {code} is counted", get(), replies=response(f"{code} Code", body=b"" if code == 304 else b"ok"))

# ---- virtual clusters, priorities ----
VCLUSTER = variant("vclusters", c.vhost(c.route(), virtual_clusters=[{"name": "gets", "headers": [{"name": ":method", "string_match": {"exact": "GET"}}]}]))
case("virtual cluster", get(), config=VCLUSTER)
case("virtual cluster, other", post(b"x"), config=VCLUSTER)
case("upstream host is rewritten", get(), config=variant("auto_host", c.vhost(c.route(auto_host_rewrite=True)), clusters=lambda p: [
    {**c.up(p), "load_assignment": {"cluster_name": "up", "endpoints": [{"lb_endpoints": [{"endpoint": {
        "hostname": "name.of.endpoint", "address": {"socket_address": {"address": p.upstream[0], "port_value": p.upstream[1]}}}}]}]}}]))
