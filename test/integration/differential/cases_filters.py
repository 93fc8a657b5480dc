"""HTTP filters whose work shows on the wire: local rate limits by descriptors, responses slowed down; and what stands beside them."""
from differential import configs as c
from differential.case import case, get, response

ALWAYS = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}


def bucket(tokens):
    return {"max_tokens": tokens, "tokens_per_fill": 1, "fill_interval": "3600s"}


def limit(**fields):
    return c.http_filter("local_ratelimit", "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit", **{
        "stat_prefix": "diff_limit", "token_bucket": bucket(1000), "filter_enabled": ALWAYS, "filter_enforced": ALWAYS,
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03", **fields})


def entry(tokens, **entries):
    return {"entries": [{"key": k, "value": v} for k, v in entries.items()], "token_bucket": bucket(tokens)}


def limited(name, actions, descriptors, host=None, route=None, node=None, **fields):
    """`actions`: of the route's rate limits, a list for each."""
    def make(p):
        limits = [{"actions": a} for a in actions]
        hosts = c.vhost(c.route(**({"rate_limits": limits} if limits else {}), **(route or {})), **(host or {}))
        made = c.served(p, c.hcm(p, hosts, filters=[limit(descriptors=descriptors, **fields)]))
        return {**made, "node": node or {"id": "n", "cluster": "edge"}}
    make.__name__ = name
    c.configuration(make)
    return name


HEADER = {"request_headers": {"header_name": "x-user", "descriptor_key": "user"}}
# The limit that the answer names says which bucket was asked.
LIMITS = {
    "by_header": ([[HEADER]], [entry(7, user="bob")]),
    "by_header_and_path": ([[HEADER, {"request_headers": {"header_name": ":path", "descriptor_key": "path"}}]], [entry(7, user="bob", path="/p?q=1&r=")]),
    "by_header_if_any": ([[{"request_headers": {"header_name": "x-none", "descriptor_key": "none", "skip_if_absent": True}}, HEADER]], [
        entry(7, user="bob")]),
    "by_query": ([[{"query_parameters": {"query_parameter_name": "q", "descriptor_key": "q"}}]], [entry(7, q="1")]),
    "by_key": ([[{"generic_key": {"descriptor_value": "all"}}]], [entry(7, generic_key="all")]),
    "by_named_key": ([[{"generic_key": {"descriptor_value": "all", "descriptor_key": "k"}}]], [entry(7, k="all")]),
    "by_clusters": ([[{"source_cluster": {}}, {"destination_cluster": {}}]], [entry(7, source_cluster="edge", destination_cluster="up")]),
    "by_match": ([[{"header_value_match": {"descriptor_value": "v", "headers": [{"name": "x-user", "string_match": {"exact": "bob"}}]}}]], [
        entry(7, header_match="v")]),
    "by_no_match": ([[{"header_value_match": {"descriptor_value": "v", "expect_match": False, "headers": [{"name": "x-user", "present_match": True}]}}]],
                    [entry(7, header_match="v")]),
    "by_query_match": ([[{"query_parameter_value_match": {"descriptor_value": "v", "query_parameters": [{"name": "q", "string_match": {"exact": "1"}}]}}]],
                       [entry(7, query_match="v")]),
    "by_two": ([[HEADER], [{"generic_key": {"descriptor_value": "all"}}]], [entry(7, user="bob"), entry(8, generic_key="all")]),
}
for name, (actions, descriptors) in LIMITS.items():
    config = limited(f"limit_{name}", actions, descriptors)
    for path, user in (("/p?q=1&r=", "bob"), ("/p?q=2", "bob"), ("/p", "eve"), ("/p?q=1", None)):
        case(f"limit {name.replace('_', ' ')}: {user} {path}", get(path, *([f"x-user: {user}"] if user else [])), config=config,
             loose=("x-ratelimit-reset", "x-ratelimit-remaining"))
for who, host, route, fields in (
        ("host", {"rate_limits": [{"actions": [HEADER]}]}, {}, {}),
        ("host_not_asked", {"rate_limits": [{"actions": [HEADER]}]}, {"rate_limits": [{"actions": [{"remote_address": {}}]}]}, {}),
        ("host_included", {"rate_limits": [{"actions": [HEADER]}]}, {"rate_limits": [{"actions": [{"remote_address": {}}]}], "include_vh_rate_limits": True}, {}),
        ("host_by_filter", {"rate_limits": [{"actions": [HEADER]}]}, {"rate_limits": [{"actions": [{"remote_address": {}}]}]}, {"vh_rate_limits": "INCLUDE"}),
        ("host_ignored", {"rate_limits": [{"actions": [HEADER]}]}, {}, {"vh_rate_limits": "IGNORE"}),
        ("stage", {}, {"rate_limits": [{"stage": 2, "actions": [HEADER]}]}, {"stage": 2}),
        ("other_stage", {}, {"rate_limits": [{"stage": 2, "actions": [HEADER]}]}, {}),
        ("disabled", {}, {"rate_limits": [{"disable_key": "k", "actions": [HEADER]}]}, {}),
        ("own", {}, {"rate_limits": [{"actions": [{"remote_address": {}}]}]}, {"rate_limits": [{"actions": [HEADER]}]}),
        ("default_left_alone", {}, {"rate_limits": [{"actions": [HEADER]}]}, {"always_consume_default_token_bucket": False})):
    config = limited(f"limit_of_{who}", [], [entry(7, user="bob")], host=host, route=route, **fields)
    case(f"limit of {who.replace('_', ' ')}", get("/", "x-user: bob"), config=config, loose=("x-ratelimit-reset", "x-ratelimit-remaining"))

# ---- descriptors by what a filter before has found; requests that count for more than one ----
def engine(decision):
    return c.http_filter("rbac", "envoy.extensions.filters.http.rbac.v3.RBAC", shadow_rules={"action": "ALLOW", "policies": {
        "p": {"permissions": [{"any": True}], "principals": [{"header": {"name": "x-user", "string_match": {"exact": decision}}}]}}})


def found(key, **fields):
    return {"metadata": {"descriptor_key": "k", "metadata_key": {"key": "envoy.filters.http.rbac", "path": [{"key": key}]}, **fields}}


RESULT, NONE = "shadow_engine_result", "nothing"
GENERIC = {"generic_key": {"descriptor_value": "all"}}
OWN = {
    "metadata": ([{"actions": [found(RESULT)]}], {}),
    "metadata_of_route": ([], {"rate_limits": [{"actions": [found(RESULT)]}]}),
    "metadata_default": ([{"actions": [found(NONE, default_value="allowed")]}], {}),
    "metadata_unused_default": ([{"actions": [found(RESULT, default_value="denied")]}], {}),
    "metadata_missing": ([{"actions": [found(NONE), GENERIC]}], {}),
    "metadata_skipped": ([{"actions": [found(NONE, skip_if_absent=True), GENERIC]}], {}),
    "metadata_below_a_text": ([{"actions": [{"metadata": {"descriptor_key": "k", "default_value": "denied", "metadata_key": {
        "key": "envoy.filters.http.rbac", "path": [{"key": RESULT}, {"key": "x"}]}}}]}], {}),
    "three_hits": ([{"actions": [GENERIC], "hits_addend": {"number": 3}}], {}),
    "no_hits": ([{"actions": [GENERIC], "hits_addend": {"number": 0}}], {}),
    "more_hits_than_there_are": ([{"actions": [GENERIC], "hits_addend": {"number": 12}}], {}),
    "hits_of_two": ([{"actions": [GENERIC], "hits_addend": {"number": 3}}, {"actions": [found(RESULT)], "hits_addend": {"number": 2}}], {}),
    "hits_without_a_bucket": ([{"actions": [{"generic_key": {"descriptor_value": "other"}}], "hits_addend": {"number": 3}}], {}),
    "own_whatever_the_stage": ([{"actions": [GENERIC]}], {"stage": 2}),
}


def own_limits(name, limits, more):
    def make(p):
        fields = {**({"rate_limits": limits} if limits else {}), **{k: v for k, v in more.items() if k == "stage"}}
        route = c.route(**{k: v for k, v in more.items() if k == "rate_limits"})
        descriptors = [entry(7, k="allowed"), entry(8, k="denied"), entry(11, generic_key="all")]
        return c.served(p, c.hcm(p, c.vhost(route), filters=[engine("bob"), limit(descriptors=descriptors, **fields)]))
    make.__name__ = name
    c.configuration(make)
    return name


for name, (limits, more) in OWN.items():
    config = own_limits(f"limit_own_{name}", limits, more)
    for user in ("bob", "eve"):
        # One connection, its requests in a row: each says how much is left. Few are refused: Envoy takes many of those for a flood.
        number = 1 if user == "eve" or name in ("no_hits", "more_hits_than_there_are") else 3
        case(f"limit own {name.replace('_', ' ')}: {user}", get("/", f"x-user: {user}") * number, config=config, responses=number,
             loose=("x-ratelimit-reset",))

# ---- a response slowed down ----
FAULT = "envoy.extensions.filters.http.fault.v3.HTTPFault"


def slowed(name, **rate):
    def make(p):
        return c.served(p, c.hcm(p, filters=[c.http_filter("fault", FAULT, response_rate_limit={
            "percentage": {"numerator": 100, "denominator": "HUNDRED"}, **rate})]))
    make.__name__ = name
    c.configuration(make)
    return name


slowed("slow", fixed_limit={"limit_kbps": 4})
slowed("slow_by_header", header_limit={})
case("fault: slow response", get(), replies=response(body=b"x" * 2000), config="slow")
case("fault: slow response without a body", get(), replies=b"HTTP/1.1 204 No Content\r\n\r\n", config="slow")
case("fault: slow chunked response", get(), config="slow",
     replies=b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n400\r\n" + b"y" * 1024 + b"\r\n0\r\n\r\n")
for value in ("2", "0", "x", "-1"):
    case(f"fault: slow by header {value}", get("/", f"x-envoy-fault-throughput-response: {value}"), replies=response(body=b"x" * 600), config="slow_by_header")
case("fault: slow by header, never", get("/", "x-envoy-fault-throughput-response: 2", "x-envoy-fault-throughput-response-percentage: 0"),
     replies=response(body=b"x" * 600), config="slow_by_header")


# ---- redirects that take headers along ----
@c.configuration
def redirect_copying(p):
    follow = {"internal_redirect_policy": {"max_internal_redirects": 2, "response_headers_to_copy": ["x-token", "x-old"]}}
    only = {"match": {"prefix": "/only", "headers": [{"name": "x-token", "present_match": True}]}, "route": {"cluster": "up"}}
    return c.served(p, c.hcm(p, c.vhost(only, c.route(prefix="/from", **follow))))


def moved(to, *headers):
    return response("302 Found", f"location: {to}", *headers)


case("redirect with headers", get("/from", "x-old: 1", "x-token: 0"), replies=(moved("http://test.example/from/2", "x-token: a", "x-token: b"), response()),
     config="redirect_copying")
case("redirect to a route that a header opens", get("/from"), replies=(moved("http://test.example/only", "x-token: a"), response()), config="redirect_copying")
case("redirect to nowhere with headers", get("/from", "x-old: 1"), replies=(moved("http://test.example/none", "x-token: a"), response()),
     config="redirect_copying")
case("redirect to a relative place", get("/from"), replies=(moved("/from/2"), response()), config="redirect_copying")


# ---- and redirects that are not followed everywhere ----
def predicate(name, kind, **fields):
    return {"name": f"envoy.internal_redirect_predicates.{name}", "typed_config": c.c.typed(
        f"envoy.extensions.internal_redirect.{name}.v3.{kind}", **fields)}


@c.configuration
def redirect_predicates(p):
    def follow(prefix, *predicates, **fields):
        return c.route(prefix=prefix, internal_redirect_policy={"predicates": list(predicates), **fields})
    listed = predicate("allow_listed_routes", "AllowListedRoutesConfig", allowed_route_names=["good"])
    return c.served(p, c.hcm(p, c.vhost(c.route(prefix="/good", name="good"), c.route(prefix="/bad", name="bad"), follow("/listed", listed), follow(
        "/safe", predicate("safe_cross_scheme", "SafeCrossSchemeConfig"), allow_cross_scheme_redirect=True))))


for start, to in (("/listed", "http://test.example/good"), ("/listed", "http://test.example/bad"), ("/safe", "http://test.example/bad"),
                  ("/safe", "https://test.example/good")):
    case(f"redirect by predicates {start} {to}", get(start), replies=(moved(to), response()), config="redirect_predicates")


@c.configuration
def redirect_circle(p):
    tried = predicate("previous_routes", "PreviousRoutesConfig")
    return c.served(p, c.hcm(p, c.vhost(*(
        c.route(prefix=f"/{name}", name=name, internal_redirect_policy={"predicates": [tried], "max_internal_redirects": 10}) for name in ("a", "b", "c")),
        c.route(prefix="/", internal_redirect_policy={"predicates": [tried], "max_internal_redirects": 10}))))


for name, start, path in (("between two routes", "/a", "/b /a /b"), ("of three", "/a", "/b /c /a /b /c"), ("to itself", "/a", "/a /a"),
                          ("another way the second time", "/a", "/b /a /c /a /b"), ("among routes without a name", "/1", "/2 /3"),
                          ("that ends", "/a", "/b /a /c")):
    case(f"redirect in a circle {name}", get(start), replies=(*(moved(f"http://test.example{to}") for to in path.split()), response()), config="redirect_circle")


# ---- who the proxy is ----
@c.configuration
def user_agent(p):
    return {**c.served(p, c.hcm(p, add_user_agent=True)), "node": {"id": "me", "cluster": "edge"}}


case("user agent of the proxy", get(), config="user_agent")
case("user agent of the client", get("/", "user-agent: curl"), config="user_agent")


# ---- headers changed before anything else looks at them ----
@c.configuration
def early_mutation(p):
    early = {"name": "envoy.http.early_header_mutation.header_mutation", "typed_config": c.c.typed(
        "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation", mutations=[
            {"remove": "x-gone"}, {"append": {"header": {"key": "x-new", "value": "from %REQ(:METHOD)%"}}},
            {"append": {"header": {"key": "x-envoy-retry-on", "value": "5xx"}}},
            {"append": {"header": {"key": "x-request-id", "value": "mine"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}])}
    routes = [c.route(match={"prefix": "/", "headers": [{"name": "x-gone", "present_match": True}]}, prefix_rewrite="/wrong"),
              c.route(match={"prefix": "/", "headers": [{"name": "x-new", "present_match": True}]}, prefix_rewrite="/right/"), c.route()]
    return c.served(p, c.hcm(p, c.vhost(*routes), early_header_mutation_extensions=[early]))


case("early mutation", get("/", "x-gone: 1", "x-new: 0"), config="early_mutation")
case("early mutation of nothing", get("/"), config="early_mutation")
