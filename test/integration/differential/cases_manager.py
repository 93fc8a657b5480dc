"""The connection manager: headers it adds, changes and removes, paths it normalizes, local replies, limits and filters."""
import config as builders

from differential import configs as c
from differential.case import Hang, case, get, post, response


def variant(name, *vhosts, filters=(), clusters=None, **fields):
    """A configuration that differs from `plain` by some fields of the connection manager."""
    def make(p):
        return c.served(p, c.hcm(p, *vhosts, filters=filters, **fields), clusters=clusters(p) if clusters else None)
    make.__name__ = name
    c.configuration(make)
    return name


# ---- who the client is ----
REMOTE = variant("remote_address", use_remote_address=True)
HOPS = variant("trusted_hops", use_remote_address=True, xff_num_trusted_hops=1)
HOPS_FAR = variant("trusted_hops_far", xff_num_trusted_hops=1)
SKIP = variant("skip_xff", use_remote_address=True, skip_xff_append=True)
NOT_INTERNAL = variant("not_internal", use_remote_address=True,
                       internal_address_config={"cidr_ranges": [{"address_prefix": "192.0.2.0", "prefix_len": 24}]})
XFF_INTERNAL = variant("xff_internal", internal_address_config={"cidr_ranges": [{"address_prefix": "192.0.2.0", "prefix_len": 24}]})
VIA = variant("via", via="proxy-1", use_remote_address=True)
XFF = ("x-forwarded-for: 192.0.2.1, 203.0.113.7", "x-forwarded-for: 198.51.100.3", "x-forwarded-for: 10.1.1.1", "x-forwarded-for: nonsense",
       "x-forwarded-for: 2001:db8::1", "x-forwarded-for: 192.0.2.9", "x-forwarded-for: 10.0.0.1,10.0.0.2,10.0.0.3", "x-forwarded-for:")
for where in ("plain", REMOTE, HOPS, HOPS_FAR, SKIP, NOT_INTERNAL, XFF_INTERNAL, VIA):
    case(f"client, {where}, no xff", get(), config=where)
    for i, header in enumerate(XFF):
        case(f"client, {where}, xff {i}", get("/", header, "x-envoy-internal: true", "x-envoy-max-retries: 1"), config=where)
for where in ("plain", REMOTE, NOT_INTERNAL):
    case(f"headers of ours from outside, {where}",
         get("/", "x-envoy-expected-rq-timeout-ms: 5", "x-envoy-upstream-rq-timeout-ms: 5000", "x-envoy-retry-on: 5xx", "x-envoy-original-path: /o",
             "x-envoy-decorator-operation: op", "x-envoy-downstream-service-cluster: c", "x-envoy-external-address: 1.1.1.1",
             "x-envoy-force-trace: 1", "x-envoy-ip-tags: a", "x-envoy-attempt-count: 7"), config=where)
    for proto in ("http", "https", "HTTPS", "ftp", ""):
        case(f"x-forwarded-proto {proto or 'empty'}, {where}", get("/", f"x-forwarded-proto: {proto}"), config=where)
    case(f"x-forwarded-host and -port, {where}", get("/", "x-forwarded-host: h", "x-forwarded-port: 81"), config=where)
    case(f"x-forwarded-client-cert, {where}", get("/", "x-forwarded-client-cert: By=spiffe://a"), config=where)
    case(f"x-request-id given, {where}", get("/", "x-request-id: 00000000-0000-4000-8000-000000000000"), config=where)

# ---- request ids ----
case("request id kept", get("/", "x-request-id: mine"), loose=(), config=variant("preserve_id", use_remote_address=True,
                                                                                 preserve_external_request_id=True))
case("request id in the answer", get(), config=variant("id_in_response", always_set_request_id_in_response=True))
case("no request id", get(), config=variant("no_id", generate_request_id=False))
case("scheme overwritten", get(), config=variant("scheme", scheme_header_transformation={"scheme_to_overwrite": "https"}))

# ---- server, via, date ----
for mode in ("OVERWRITE", "APPEND_IF_ABSENT", "PASS_THROUGH"):
    name = variant(f"server_{mode.lower()}", server_name="me", server_header_transformation=mode)
    case(f"server {mode}", get(), config=name)
    case(f"server {mode}, the upstream has one", get(), replies=response("200 OK", "server: up"), config=name)
case("date of the upstream stays", get(), replies=response("200 OK", "date: Mon, 01 Jan 2024 00:00:00 GMT"), loose=())
case("via appended", get("/", "via: 1.1 other"), replies=response("200 OK", "via: 1.1 up"), config=VIA)

# ---- paths ----
PATHS = ("/a/./b", "/a/../b", "/../a", "/a//b", "//a", "/a%2Fb", "/a%2f..%2fb", "/a%5Cb", "/a\\b", "/%41", "/%7e", "/a%00b", "/a%zz", "/a;b=c/d",
         "/a?x=/../y", "/a/..", "/.", "/a/%2e%2e/b", "/%", "/a#b", "/%C3%A4")
NORMAL = variant("normalize", normalize_path=True)
MERGE = variant("merge", normalize_path=True, merge_slashes=True)
for where in ("plain", NORMAL, MERGE):
    for path in PATHS:
        case(f"path {path}, {where}", get(path), config=where)
for action in ("KEEP_UNCHANGED", "REJECT_REQUEST", "UNESCAPE_AND_REDIRECT", "UNESCAPE_AND_FORWARD"):
    name = variant(f"escaped_{action.lower()}", path_with_escaped_slashes_action=action, normalize_path=True)
    for path in ("/a%2Fb", "/a%5cb", "/plain", "/a%2f?x=%2f"):
        case(f"escaped slash {path}, {action}", get(path), config=name)

# ---- hosts ----
BY_HOST = [c.vhost(c.route(direct_response={"status": 200, "body": {"inline_string": "named"}}), name="named", domains=["a.example", "a.example:81"]),
           c.vhost(c.route(), name="rest")]
for name, fields in (("hosts_plain", {}), ("hosts_matching_port", {"strip_matching_host_port": True}), ("hosts_any_port", {"strip_any_host_port": True}),
                     ("hosts_trailing_dot", {"strip_trailing_host_dot": True}), ("hosts_ignore_port",
                                                                                {"route_fields": {"ignore_port_in_host_matching": True}})):
    variant(name, *BY_HOST, **fields)
    for host in ("a.example", "A.EXAMPLE", "a.example:80", "a.example:81", "a.example.", "a.example.:80", "b.example:8080", "[::1]:80"):
        case(f"host {host}, {name}", get("/", host=host), config=name)

# ---- local replies ----
REPLY = variant("local_reply", c.vhost(c.route(prefix="/deny", direct_response={"status": 403, "body": {"inline_string": "no"}}),
                                       c.route(prefix="/up")),
                local_reply_config={
                    "mappers": [{"filter": {"status_code_filter": {"comparison": {"op": "EQ", "value": {"default_value": 404, "runtime_key": "k"}}}},
                                 "status_code": 499, "body": {"inline_string": "mapped"},
                                 "headers_to_add": [{"header": {"key": "x-mapped", "value": "%RESPONSE_CODE%"}}]}],
                    "body_format": {"text_format_source": {"inline_string": "%RESPONSE_CODE% %LOCAL_REPLY_BODY% %REQ(:PATH)%"},
                                    "content_type": "text/html"}})
case("local reply mapped", get("/none"), config=REPLY)
case("local reply, the other format", get("/deny"), config=REPLY)
case("local reply to HEAD", get("/deny", method="HEAD"), config=REPLY)
case("an answer that is not local", get("/up"), replies=response("404 Not Found"), config=REPLY)
REPLY_JSON = variant("local_reply_json", c.vhost(name="none", domains=["nobody"]),
                     local_reply_config={"body_format": {"json_format": {"code": "%RESPONSE_CODE%", "path": "%REQ(:PATH)%"}}})
case("local reply in JSON", get("/none"), config=REPLY_JSON)
case("local reply to gRPC", post(b"", "/pkg.Service/Method", "content-type: application/grpc"), config=REPLY_JSON)
case("no route", get(), config=variant("no_route", c.vhost(c.route(prefix="/only"))))
case("no route for gRPC", post(b"", "/pkg.Service/Method", "content-type: application/grpc"), config="no_route")
case("no virtual host", get(host="x"), config=variant("no_vhost", c.vhost(c.route(), domains=["y"])))

# ---- timeouts ----
case("request timeout", (get("/", "content-length: 5", method="POST"), b"ab"), replies=Hang,
     config=variant("request_timeout", request_timeout="0.2s"))
case("header timeout", b"GET / HTTP/1.1\r\nhost: a\r\n", config=variant("headers_timeout", request_headers_timeout="0.2s"))
case("stream idle", get(), replies=Hang, config=variant("stream_idle", stream_idle_timeout="0.2s"))
case("max stream duration", get(), replies=Hang,
     config=variant("max_duration", common_http_protocol_options={"max_stream_duration": "0.2s"}))
case("connection idle", (b"",), responses=0, after="fin", config=variant("idle", common_http_protocol_options={"idle_timeout": "0.2s"}))
case("requests per connection", get("/1") + get("/2") + get("/3"), responses=2,
     config=variant("per_connection", common_http_protocol_options={"max_requests_per_connection": 2}))

# ---- filters ----
CORS = variant("cors", c.vhost(c.route(prefix="/cors", typed_per_filter_config={"envoy.filters.http.cors": builders.typed(
    "envoy.extensions.filters.http.cors.v3.CorsPolicy",
    allow_origin_string_match=[{"exact": "https://a.example"}, {"safe_regex": {"regex": ".*\\.b\\.example"}}],
    allow_methods="GET,PUT", allow_headers="x-a", expose_headers="x-b", max_age="100", allow_credentials=True)}), c.route()),
    filters=[c.http_filter("cors")])
for origin in ("https://a.example", "https://x.b.example", "https://evil.example"):
    case(f"cors from {origin}", get("/cors", f"origin: {origin}"), config=CORS)
    case(f"cors preflight from {origin}", get("/cors", f"origin: {origin}", "access-control-request-method: PUT", method="OPTIONS"), config=CORS)
case("cors not configured for the route", get("/", "origin: https://a.example"), config=CORS)
case("cors without origin", get("/cors"), config=CORS)

FAULT = variant("fault", filters=[c.http_filter("fault", "envoy.extensions.filters.http.fault.v3.HTTPFault",
                                                abort={"http_status": 503, "percentage": {"numerator": 100}}, headers=[{"name": "x-fault", "present_match": True}])])
case("fault: abort", get("/", "x-fault: 1"), config=FAULT)
case("fault: not matched", get(), config=FAULT)
FAULT_HEADER = variant("fault_header", filters=[c.http_filter("fault", "envoy.extensions.filters.http.fault.v3.HTTPFault", abort={"header_abort": {},
                                                              "percentage": {"numerator": 100}})])
case("fault by header", get("/", "x-envoy-fault-abort-request: 429"), config=FAULT_HEADER)
case("fault by header, out of range", get("/", "x-envoy-fault-abort-request: 42"), config=FAULT_HEADER)
case("fault grpc by header", get("/", "x-envoy-fault-abort-grpc-request: 5", "content-type: application/grpc"), config=FAULT_HEADER)
case("fault: delay", get(), config=variant("fault_delay", filters=[c.http_filter(
    "fault", "envoy.extensions.filters.http.fault.v3.HTTPFault", delay={"fixed_delay": "0.05s", "percentage": {"numerator": 100}})]))

MUTATE = variant("mutation", filters=[c.http_filter("header_mutation", mutations={
    "request_mutations": [{"remove": "x-gone"}, {"append": {"header": {"key": "x-new", "value": "%REQ(:PATH)%"}, "append_action": "APPEND_IF_EXISTS_OR_ADD"}},
                          {"append": {"header": {"key": "x-over", "value": "2"}, "append_action": "OVERWRITE_IF_EXISTS"}}],
    "response_mutations": [{"append": {"header": {"key": "x-answer", "value": "%RESPONSE_CODE%"}}}, {"remove": "x-secret"}]})])
case("header mutation", get("/p", "x-gone: 1", "x-new: 0", "x-over: 1"), replies=response("200 OK", "x-secret: 1"), config=MUTATE)

BUFFER = variant("buffer", c.vhost(c.route(prefix="/off", typed_per_filter_config={"envoy.filters.http.buffer": builders.typed(
    "envoy.extensions.filters.http.buffer.v3.BufferPerRoute", disabled=True)}), c.route()),
    filters=[c.http_filter("buffer", max_request_bytes=10)])
case("buffer: small", post(b"small"), config=BUFFER)
case("buffer: chunked gets a length", get("/", "transfer-encoding: chunked", method="POST") + b"3\r\nabc\r\n0\r\n\r\n", config=BUFFER)
case("buffer: too large", post(b"x" * 20), config=BUFFER)
case("buffer: off by route", post(b"x" * 20, "/off"), config=BUFFER)

HEALTH = variant("health", filters=[c.http_filter("health_check", pass_through_mode=False,
                                                  headers=[{"name": ":path", "string_match": {"exact": "/healthz"}}])])
case("health check answered here", get("/healthz"), config=HEALTH)
case("health check not matched", get("/other"), config=HEALTH)

LIMIT = variant("local_ratelimit", filters=[c.http_filter(
    "local_ratelimit", "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit", stat_prefix="diff_limit",
    token_bucket={"max_tokens": 1, "tokens_per_fill": 1, "fill_interval": "3600s"}, filter_enabled={"default_value": {"numerator": 100}},
    filter_enforced={"default_value": {"numerator": 100}},
    response_headers_to_add=[{"header": {"key": "x-limited", "value": "yes"}}])])
case("rate limit: two at once", get("/1") + get("/2"), responses=2, config=LIMIT)

GRPC = variant("grpc_stats", filters=[c.http_filter("grpc_stats", "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig", stats_for_all_methods=True)])
case("grpc counted", post(b"\0\0\0\0\3abc", "/pkg.Service/Method", "content-type: application/grpc", "te: trailers"), config=GRPC,
     replies=b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: 0\r\ncontent-length: 0\r\n\r\n")
case("grpc counted, failed", post(b"\0\0\0\0\3abc", "/pkg.Service/Method", "content-type: application/grpc", "te: trailers"), config=GRPC,
     replies=b"HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-status: 13\r\ngrpc-message: why\r\ncontent-length: 0\r\n\r\n")
