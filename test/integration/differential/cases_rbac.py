"""Role-based access control: what each kind of rule matches, actions, shadow rules, routes with rules of their own, statistics, metadata."""
from differential import configs as c
from differential.case import case, case2, get
from differential.exchange2 import Stream, request

RBAC = "envoy.extensions.filters.http.rbac.v3.RBAC"
PER_ROUTE = "envoy.extensions.filters.http.rbac.v3.RBACPerRoute"
NAME = "envoy.filters.http.rbac"
KEYS = ("enforced_engine_result", "enforced_effective_policy_id", "shadow_engine_result", "shadow_effective_policy_id")
LOG = {**c.LOG, **{key: f"%DYNAMIC_METADATA({NAME}:{key})%" for key in KEYS}, "all": f"%DYNAMIC_METADATA({NAME})%",
       "hint": "%DYNAMIC_METADATA(envoy.common:access_log_hint)%", "hint_text": "is %DYNAMIC_METADATA(envoy.common:access_log_hint)%",
       "cut": f"%DYNAMIC_METADATA({NAME}:enforced_engine_result):3%", "cut_text": f"<%DYNAMIC_METADATA({NAME}:enforced_engine_result):3%>",
       "cut_bool": "%DYNAMIC_METADATA(envoy.common:access_log_hint):2%", "hints": "%DYNAMIC_METADATA(envoy.common)%",
       "hints_text": "is %DYNAMIC_METADATA(envoy.common)%", "below_text": f"%DYNAMIC_METADATA({NAME}:enforced_engine_result:x)%",
       "cut_bool_text": "<%DYNAMIC_METADATA(envoy.common:access_log_hint):2%>", "cut_all": "%DYNAMIC_METADATA(envoy.common):2%",
       "none": "%DYNAMIC_METADATA(nobody:x)%", "by_metadata": f"%METADATA(DYNAMIC:{NAME}:enforced_engine_result)%"}
ANY = [{"any": True}]


def policy(permissions=None, principals=None):
    return {"permissions": permissions or ANY, "principals": principals or ANY}


def rules(action="ALLOW", **policies):
    return {"action": action, **({"policies": policies} if policies else {})}


def rbac(**fields):
    return c.http_filter("rbac", RBAC, **fields)


def own(**fields):
    return {"typed_per_filter_config": {NAME: c.c.typed(PER_ROUTE, **fields)}}


def routes_of(table):
    """A route for each name: below /NAME/ it has these RBAC fields of its own."""
    return [c.route(prefix=f"/{name}/", name=name, **own(rbac=fields)) for name, fields in table.items()]


# ---- what each kind of rule matches: name → (permissions, principals, requests below the route) ----
def exact(text, **fields):
    return {"exact": text, **fields}


def header(name, **fields):
    return {"header": {"name": name, **fields}}


def cidr(address, length=None):
    return {"address_prefix": address, **({} if length is None else {"prefix_len": length})}


def path(**match):
    return {"url_path": {"path": match}}


def template(text):
    return {"uri_template": {"name": "envoy.path.match.uri_template.uri_template_matcher", "typed_config": c.c.typed(
        "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig", path_template=text)}}


def many(kind, items, make):
    return {kind: {items: [make(i) for i in range(40)]}}


PLAIN = [("", ())]
USERS = [("", ["x-user: bob"]), ("", ["x-user: eve"]), ("", ["X-User: BOB"]), ("", ["x-user: eve", "x-user: bob"]), ("", [])]
FORWARDED = [("", ["x-forwarded-for: 10.1.2.3"]), ("", ["x-forwarded-for: 10.2.2.3"]), ("", ["x-forwarded-for: 2001:db8::7"]), ("", ["x-forwarded-for: nonsense"])]
PATHS = [("a/b", ()), ("a/b?c=d", ()), ("a", ()), ("A/B", ()), ("a/b/c", ()), ("a/b/", ()), ("x.txt", ()), ("a%2Fb", ())]
RULES = {
    "any": (None, None, PLAIN),
    "header_exact": ([header("x-user", string_match=exact("bob"))], None, USERS),
    "header_ignoring_case": ([header("X-User", string_match=exact("bob", ignore_case=True))], None, USERS),
    "header_not": ([header("x-user", string_match=exact("bob"), invert_match=True)], None, USERS),
    "header_missing_as_empty": ([header("x-user", string_match=exact(""), treat_missing_header_as_empty=True)], None, USERS),
    "header_present": ([header("x-user", present_match=True)], None, USERS),
    "header_absent": ([header("x-user", present_match=False)], None, USERS),
    "header_regex": ([header("x-user", string_match={"safe_regex": {"regex": "b.b"}})], None, USERS),
    "header_method": ([header(":method", string_match=exact("GET"))], None, USERS[:1]),
    "header_authority": ([header(":authority", string_match=exact("test.example"))], None, USERS[:1]),
    "headers_many": ([many("or_rules", "rules", lambda i: header("x-user", string_match=exact(f"u{i}")))], None, [
        ("", ["x-user: u7"]), ("", ["x-user: u40"]), ("", []), ("", ["x-user: u41", "x-user: u39"])]),
    "and": ([{"and_rules": {"rules": [header("x-user", string_match=exact("bob")), header("x-b", present_match=True)]}}], None, [
        ("", ["x-user: bob"]), ("", ["x-user: bob", "x-b: 1"]), ("", ["x-b: 1"])]),
    "or_of_and": ([{"or_rules": {"rules": [{"and_rules": {"rules": [header("x-user", string_match=exact("bob"))]}}, path(suffix="/a")]}}], None, [
        ("", ["x-user: bob"]), ("a", ["x-user: eve"]), ("b", ["x-user: eve"])]),
    "not": ([{"not_rule": header("x-user", string_match=exact("bob"))}], None, USERS),
    "path_exact": ([path(exact="/path_exact/a/b")], None, PATHS),
    "path_ignoring_case": ([path(exact="/path_ignoring_case/a/b", ignore_case=True)], None, PATHS),
    "path_prefix": ([path(prefix="/path_prefix/a/")], None, PATHS),
    "path_suffix": ([path(suffix="/b")], None, PATHS),
    "path_contains": ([path(contains="/a/")], None, PATHS),
    "path_regex": ([path(safe_regex={"regex": ".*/[ab]"})], None, PATHS),
    "path_principal": (None, [path(exact="/path_principal/a")], PATHS),
    "template_one": ([template("/template_one/*/b")], None, PATHS),
    "template_rest": ([template("/template_rest/**")], None, PATHS),
    "template_name": ([template("/template_name/{name}/b")], None, PATHS),
    "template_rest_inside": ([template("/template_rest_inside/{rest=a/**}")], None, PATHS),
    "template_suffix": ([template("/template_suffix/*.txt")], None, PATHS),
    "remote_ip": (None, [{"remote_ip": cidr("10.1.0.0", 16)}], FORWARDED),
    "remote_ip_of_no_length": (None, [{"remote_ip": cidr("10.1.0.0")}], FORWARDED),
    "remote_ip_6": (None, [{"remote_ip": cidr("2001:db8::", 32)}], FORWARDED),
    "remote_ip_all_6": (None, [{"remote_ip": cidr("::", 0)}], FORWARDED),
    "remote_ips": (None, [many("or_ids", "ids", lambda i: {"remote_ip": cidr(f"10.{i}.0.0", 15)})], FORWARDED),
    "remote_ips_not": (None, [{"not_id": many("or_ids", "ids", lambda i: {"remote_ip": cidr(f"10.{2 * i}.0.0", 16)})}], FORWARDED),
    "direct_remote_ip": (None, [{"direct_remote_ip": cidr("10.1.0.0", 16)}], FORWARDED),
    "direct_remote_ip_all": (None, [{"direct_remote_ip": cidr("0.0.0.0", 0)}], FORWARDED[:2]),
    "source_ip": (None, [{"source_ip": cidr("10.1.0.0", 16)}], FORWARDED),
    "source_ip_all": (None, [{"source_ip": cidr("0.0.0.0", 0)}], FORWARDED[:2]),
    "destination_ip": ([{"destination_ip": cidr("10.0.0.0", 8)}], None, PLAIN),
    "destination_ip_other": ([{"destination_ip": cidr("11.0.0.0", 8)}], None, PLAIN),
    "destination_port_other": ([{"destination_port": 80}], None, PLAIN),
    "destination_port_range": ([{"destination_port_range": {"start": 1024, "end": 65536}}], None, PLAIN),
    "destination_port_range_other": ([{"destination_port_range": {"start": 1, "end": 1024}}], None, PLAIN),
    "server_name": ([{"requested_server_name": exact("a")}], None, PLAIN),
    "server_name_none": ([{"requested_server_name": exact("")}], None, PLAIN),
    "server_name_any": ([{"requested_server_name": {"safe_regex": {"regex": ".*"}}}], None, PLAIN),
    "authenticated": (None, [{"authenticated": {}}], PLAIN),
    "authenticated_any": (None, [{"authenticated": {"principal_name": {"safe_regex": {"regex": ".*"}}}}], PLAIN),
    "authenticated_not": (None, [{"not_id": {"authenticated": {"principal_name": exact("a")}}}], PLAIN),
    "metadata_none": (None, [{"metadata": {"filter": "nobody", "path": [{"key": "a"}], "value": {"present_match": True}}}], PLAIN),
    "metadata_none_inverted": (None, [{"metadata": {"filter": "nobody", "path": [{"key": "a"}], "value": {"string_match": exact("b")}, "invert": True}}], PLAIN),
    "metadata_null": (None, [{"metadata": {"filter": "nobody", "path": [{"key": "a"}], "value": {"null_match": {}}}}], PLAIN),
}


@c.configuration
def rbac_matched(p):
    table = {name: {"rules": rules(it=policy(permissions, principals))} for name, (permissions, principals, _) in RULES.items()}
    table["destination_port"] = {"rules": rules(it=policy([{"destination_port": p.port}]))}
    return c.served(p, c.hcm(p, c.vhost(*routes_of(table)), filters=[rbac()], access_log=[c.c.file_log(p.log, json=LOG)]))


for name, (_, _, requests) in RULES.items():
    for number, (below, headers) in enumerate(requests):
        case(f"rbac {name} {number}", get(f"/{name}/{below}", *headers), config="rbac_matched")

case("rbac destination_port", get("/destination_port/"), config="rbac_matched")
case2("h2: rbac", *[Stream(request(path, ("x-user", "bob"))) for path in ("/header_exact/", "/header_not/", "/path_exact/a/b?c")], config="rbac_matched")

# ---- actions, shadow rules, statistics, metadata ----
BOB = policy([header("x-user", string_match=exact("bob"))])
EVE = policy([header("x-user", string_match=exact("eve"))])
ACTIONS = {
    "empty": {},
    "allow_nobody": {"rules": rules()},
    "deny_nobody": {"rules": rules("DENY")},
    "allow": {"rules": rules(bob=BOB, **{"and eve": EVE})},
    "deny": {"rules": rules("DENY", bob=BOB, **{"and\teve x": EVE})},
    "first_by_name": {"rules": rules("DENY", b=policy(), a=policy(), B=BOB)},
    "log": {"rules": rules("LOG", bob=BOB)},
    "log_in_shadow": {"shadow_rules": rules("LOG", bob=BOB)},
    "shadow": {"shadow_rules": rules("DENY", bob=BOB), "shadow_rules_stat_prefix": "ignored_"},
    "both": {"rules": rules(eve=EVE), "shadow_rules": rules("DENY", bob=BOB)},
    "per_rule": {"rules": rules(bob=BOB), "shadow_rules": rules("DENY", eve=EVE), "track_per_rule_stats": True},
    "prefixes": {"rules": rules(bob=BOB), "rules_stat_prefix": "mine_", "shadow_rules": rules("DENY", bob=BOB), "shadow_rules_stat_prefix": "dry."},
    "of_metadata": {"rules": rules(**{"by-metadata": policy(None, [{"metadata": {
        "filter": NAME, "path": [{"key": "first_shadow_engine_result"}], "value": {"or_match": {"value_matchers": [
            {"string_match": {"prefix": "den"}}, {"bool_match": True}]}}}}])})},
    "of_hint": {"rules": rules(hint=policy([{"sourced_metadata": {"metadata_matcher": {
        "filter": "envoy.common", "path": [{"key": "access_log_hint"}], "value": {"bool_match": True}}}}]))},
}
# A filter in front, which leaves metadata for the one that the routes configure.
FIRST = {**rbac(rules=rules("LOG", bob=BOB), shadow_rules=rules(bob=BOB), shadow_rules_stat_prefix="first_", rules_stat_prefix="front"), "name": "first"}


def acting(p, **fields):
    hosts = c.vhost(*routes_of(ACTIONS), c.route(prefix="/off/", **own()), c.route(prefix="/"),
                    response_headers_to_add=[{"header": {"key": "x-decided", "value": f"%DYNAMIC_METADATA({NAME}:enforced_engine_result)%"}},
                                             {"header": {"key": "x-old", "value": f'%DYNAMIC_METADATA(["{NAME}", "enforced_engine_result"])%'}}])
    return c.served(p, c.hcm(p, hosts, filters=[FIRST, rbac(**fields)], access_log=[c.c.file_log(p.log, json=LOG)]))


def rbac_acting(p):
    return acting(p, rules=rules("DENY", bob=BOB), shadow_rules=rules(bob=BOB, eve=EVE))


def rbac_prefixed(p):
    return acting(p, rules=rules("DENY", bob=BOB), shadow_rules=rules(bob=BOB, eve=EVE), rules_stat_prefix="up.", shadow_rules_stat_prefix="istio_dry_run_",
                  track_per_rule_stats=True)


for config in (rbac_acting, rbac_prefixed):
    c.configuration(config)
    for name in (*ACTIONS, "off", "other"):
        for user in ("bob", "eve", "dan"):
            case(f"{config.__name__} {name} {user}", get(f"/{name}/", f"x-user: {user}"), config=config.__name__)
case("rbac: gRPC is told by its status", get("/deny/", "x-user: bob", "content-type: application/grpc", "te: trailers", method="POST"), config="rbac_acting")
case("rbac: HEAD", get("/deny/", "x-user: bob", method="HEAD"), config="rbac_acting")
case("rbac: a body behind what is refused", get("/deny/", "x-user: bob", "content-length: 5", method="POST") + b"hello", config="rbac_acting")


# ---- as istiod has it: several filters of one name, here one for each action; a route's own rules are then those of both ----
@c.configuration
def rbac_twice(p):
    cors = {"typed_per_filter_config": {NAME: c.c.typed("envoy.extensions.filters.http.cors.v3.CorsPolicy", allow_methods="GET")}}
    hosts = c.vhost(c.route(prefix="/own/", **own(rbac={"rules": rules(eve=EVE)})), c.route(prefix="/another/", **cors), c.route())
    return c.served(p, c.hcm(p, hosts, filters=[rbac(rules=rules("DENY", **{"no bob": BOB})), rbac(rules=rules(eve=EVE), shadow_rules=rules())],
                             access_log=[c.c.file_log(p.log, json=LOG)]))


for path in ("/", "/own/", "/another/"):
    for user in ("bob", "eve", "dan"):
        case(f"rbac twice {path} {user}", get(path, f"x-user: {user}"), config="rbac_twice")
