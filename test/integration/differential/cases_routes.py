"""Routes: what matches, where it goes, what is rewritten on the way."""
from differential import configs as c
from differential.case import case, get, post, response


def here(text, match=None, prefix="/", **fields):
    """A route that answers by itself, so that the answer says which one it was."""
    return c.route(match=match or {"prefix": prefix}, name=text, direct_response={"status": 200, "body": {"inline_string": text}}, **fields)


def variant(name, *vhosts, clusters=None, **fields):
    def make(p):
        return c.served(p, c.hcm(p, *vhosts, **fields), clusters=clusters(p) if clusters else None)
    make.__name__ = name
    c.configuration(make)
    return name


# ---- virtual hosts ----
HOSTS = variant("vhosts", *[c.vhost(here(name), name=name, domains=domains) for name, domains in (
    ("exact", ["www.a.example"]), ("suffix", ["*.a.example"]), ("longer suffix", ["*-x.b.a.example"]), ("prefix", ["www.*"]),
    ("longer prefix", ["www.foo.*"]), ("any", ["*"]))])
for host in ("www.a.example", "WWW.A.Example", "x.a.example", "1-x.b.a.example", "y.b.a.example", "www.other", "www.foo.bar", ".a.example",
             "a.example", "nothing", "www.a.example:8080", "www."):
    case(f"domain of {host}", get(host=host), config=HOSTS)

# ---- matching ----
MATCH = variant("matching", c.vhost(
    here("exact", {"path": "/exact"}),
    here("exact, any case", {"path": "/ExactCase", "case_sensitive": False}),
    here("regex", {"safe_regex": {"regex": "/re/[0-9]+"}}),
    here("separated", {"path_separated_prefix": "/sep"}),
    here("header exact", {"prefix": "/h", "headers": [{"name": "x-h", "string_match": {"exact": "v"}}]}),
    here("header prefix", {"prefix": "/h", "headers": [{"name": "x-h", "string_match": {"prefix": "pre"}}]}),
    here("header suffix", {"prefix": "/h", "headers": [{"name": "x-h", "string_match": {"suffix": "suf"}}]}),
    here("header contains", {"prefix": "/h", "headers": [{"name": "x-h", "string_match": {"contains": "mid"}}]}),
    here("header ignoring case", {"prefix": "/h", "headers": [{"name": "x-h", "string_match": {"exact": "CASE", "ignore_case": True}}]}),
    here("header regex", {"prefix": "/h", "headers": [{"name": "x-h", "string_match": {"safe_regex": {"regex": "r.x"}}}]}),
    here("header range", {"prefix": "/h", "headers": [{"name": "x-h", "range_match": {"start": 10, "end": 20}}]}),
    here("header absent", {"prefix": "/h", "headers": [{"name": "x-h", "present_match": False}]}),
    here("header not", {"prefix": "/h/not", "headers": [{"name": "x-h", "string_match": {"exact": "no"}, "invert_match": True}]}),
    here("header missing as empty", {"prefix": "/e", "headers": [{"name": "x-e", "string_match": {"exact": ""},
                                                                  "treat_missing_header_as_empty": True}]}),
    here("method", {"prefix": "/m", "headers": [{"name": ":method", "string_match": {"exact": "PUT"}}]}),
    here("query exact", {"prefix": "/q", "query_parameters": [{"name": "a", "string_match": {"exact": "1"}}]}),
    here("query present", {"prefix": "/q", "query_parameters": [{"name": "b", "present_match": True}]}),
    here("query regex", {"prefix": "/q", "query_parameters": [{"name": "c", "string_match": {"safe_regex": {"regex": "[a-c]+"}}}]}),
    here("grpc", {"prefix": "/g", "grpc": {}}),
    here("never by runtime", {"prefix": "/r", "runtime_fraction": {"default_value": {"numerator": 0}}}),
    here("any case prefix", {"prefix": "/ANY", "case_sensitive": False}),
    here("prefix", {"prefix": "/p"}),
))
for path in ("/exact", "/exact?q", "/exact/", "/exactcase", "/re/12", "/re/12?x", "/re/1a", "/re/", "/sep", "/sep/a", "/sepa", "/sep?x", "/any/x", "/p",
             "/px", "/none", "/q?a=1", "/q?a=2", "/q?b", "/q?b=", "/q?c=abc", "/q?c=abd", "/q?x&a=1", "/q?a=1;b", "/q?%61=1", "/r", "/e", "/m"):
    case(f"match {path}", get(path), config=MATCH)
for value in ("v", "prefixed", "a-suf", "amidb", "case", "rax", "15", "20", "x15", "none of them", "v,w"):
    case(f"match header {value}", get("/h", f"x-h: {value}"), config=MATCH)
case("match without the header", get("/h"), config=MATCH)
case("match two headers of the name", get("/h", "x-h: a", "x-h: b"), config=MATCH)
case("match not", get("/h/not", "x-h: no"), config=MATCH)
case("match not, other value", get("/h/not", "x-h: other thing"), config=MATCH)
case("match method", get("/m", method="PUT"), config=MATCH)
case("match grpc", post(b"", "/g", "content-type: application/grpc"), config=MATCH)
case("match grpc+proto", post(b"", "/g", "content-type: application/grpc+proto"), config=MATCH)
case("match grpc-web is none", post(b"", "/g", "content-type: application/grpc-web"), config=MATCH)

# ---- rewrites ----
REWRITE = variant("rewrites", c.vhost(
    c.route(prefix="/prefix/", prefix_rewrite="/"),
    c.route(prefix="/short", prefix_rewrite="/a/longer/one"),
    c.route(match={"path": "/exact"}, prefix_rewrite="/replaced"),
    c.route(match={"path_separated_prefix": "/sep"}, prefix_rewrite="/other"),
    c.route(prefix="/regex", regex_rewrite={"pattern": {"regex": "^/regex/([a-z]+)/(.*)$"}, "substitution": "/\\2.\\1"}),
    c.route(prefix="/abc", regex_rewrite={"pattern": {"regex": "^/abc/(.*)$"}, "substitution": "/\\1.html"}),
    c.route(prefix="/everywhere", regex_rewrite={"pattern": {"regex": "e"}, "substitution": "E"}),
    c.route(prefix="/host/literal", host_rewrite_literal="rewritten.example"),
    c.route(prefix="/host/header", host_rewrite_header="x-host"),
    c.route(prefix="/host/regex", host_rewrite_path_regex={"pattern": {"regex": "^/host/regex/(.+)$"}, "substitution": "\\1.example"}),
    c.route(prefix="/host/append", host_rewrite_literal="rewritten.example", append_x_forwarded_host=True),
    c.route(),
))
for path in ("/prefix/x", "/prefix/", "/prefix/x?q=1", "/short", "/short/x", "/shorter", "/exact", "/exact?x=y", "/sep", "/sep/x", "/regex/ab/cd", "/regex/ab/cd?x",
             "/regex", "/abc/xyz", "/everywhere/here?e=e", "/host/literal", "/host/header", "/host/regex/me", "/host/regex/me?x=y", "/host/append", "/else"):
    case(f"rewrite {path}", get(path, "x-host: from.header"), config=REWRITE)
case("rewrite by a header that is missing", get("/host/header"), config=REWRITE)
case("x-forwarded-host appended to one", get("/host/append", "x-forwarded-host: first"), config=REWRITE)

# ---- templates ----
def template(text, **more):
    return {"path_match_policy": {"name": "envoy.path.match.uri_template.uri_template_matcher", "typed_config": c.c.typed(
        "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig", path_template=text)}, **more}


def to_template(text):
    return {"path_rewrite_policy": {"name": "envoy.path.rewrite.uri_template.uri_template_rewriter", "typed_config": c.c.typed(
        "envoy.extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig", path_template_rewrite=text)}}


TEMPLATES = variant("templates", c.vhost(
    here("no case", template("/CASE/{a}", case_sensitive=False)),
    here("literal", template("/lit/a.b")),
    here("with a header", template("/one/*", headers=[{"name": "x-h", "present_match": True}])),
    here("one", template("/one/*")),
    here("suffix", template("/files/{a=**}.mp4")),
    here("inside", template("/in/{a=x/*}/c")),
    c.route(match=template("/swap/{a}/{b}"), **to_template("/{b}/{a}")),
    c.route(match=template("/rest/{a=**}"), **to_template("/kept/{a}")),
    c.route(match=template("/twice/{a}"), **to_template("/{a}{a}/*=")),
    c.route(match=template("/plain/*"), **to_template("/none")),
    c.route(match=template("/regex/{a}"), regex_rewrite={"pattern": {"regex": "e"}, "substitution": "E"}),
    c.route(match=template("/to/{a}"), redirect={"regex_rewrite": {"pattern": {"regex": "^/to/(.*)$"}, "substitution": "/new/\\1"}}),
    c.route(match=template("/cut/{a}"), redirect={"path_redirect": "/new"}),
    c.route(match=template("/headers/{a}"), request_headers_to_add=[{"header": {"key": "x-path", "value": "%REQ(:PATH)%"}}], **to_template("/h/{a}")),
    here("rest"),
))
for path in ("/CASE/a", "/case/a", "/lit/a.b", "/lit/aXb", "/one/a", "/one/a?b/c", "/one/", "/one", "/one/a/", "/one/a;p=1", "/one/%61%2F", "/one/a=b",
             "/files/a.mp4", "/files/a/b.mp4?x=.mp3", "/files/.mp4", "/files/a.mp3", "/in/x/y/c", "/in/y/y/c", "/swap/a/b", "/swap/a/b?c=d&e", "/swap/a/b?c={a}",
             "/swap/a/b/", "/swap/%61/\xc3\xa9", "/swap/\\1/b", "/rest/", "/rest/a/b/c?d", "/rest//a", "/rest", "/twice/a", "/twice/a?b", "/plain/a", "/plain/a?b=c",
             "/regex/here?e", "/to/a", "/to/abcdef?g=h", "/cut/a?b", "/headers/a?b"):
    case(f"template {path!a}", get(path), config=TEMPLATES)
case("template with the header", get("/one/a", "x-h: 1"), config=TEMPLATES)
PARAMETERS = variant("templates_parameters", c.vhost(
    here("one", template("/one/*")), c.route(match=template("/swap/{a}/{b}"), **to_template("/{b}/{a}")), here("literal", template("/lit")), here("rest")),
    route_fields={"ignore_path_parameters_in_path_matching": True})
for path in ("/one/a;p=1", "/swap/a/b;p=1", "/swap/a;p=1/b?q", "/lit;p=1", "/lit;p=1?q"):
    case(f"template with parameters {path}", get(path), config=PARAMETERS)

# ---- redirects and direct responses ----
REDIRECT = variant("redirects", c.vhost(
    c.route(prefix="/https", redirect={"https_redirect": True}),
    c.route(prefix="/scheme", redirect={"scheme_redirect": "ftp"}),
    c.route(prefix="/host", redirect={"host_redirect": "other.example"}),
    c.route(prefix="/port", redirect={"port_redirect": 8443}),
    c.route(prefix="/path", redirect={"path_redirect": "/new"}),
    c.route(prefix="/pathq", redirect={"path_redirect": "/new?b=2"}),
    c.route(prefix="/prefix", redirect={"prefix_rewrite": "/other"}),
    c.route(prefix="/regex", redirect={"regex_rewrite": {"pattern": {"regex": "^/regex/(.*)$"}, "substitution": "/\\1"}}),
    c.route(prefix="/code", redirect={"path_redirect": "/x", "response_code": "PERMANENT_REDIRECT"}),
    c.route(prefix="/strip", redirect={"path_redirect": "/x", "strip_query": True}),
    c.route(prefix="/all", redirect={"https_redirect": True, "host_redirect": "h", "port_redirect": 444, "path_redirect": "/p",
                                     "response_code": "SEE_OTHER"},
            response_headers_to_add=[{"header": {"key": "x-r", "value": "1"}}]),
    c.route(prefix="/direct/empty", direct_response={"status": 204}),
    c.route(prefix="/direct/long", direct_response={"status": 200, "body": {"inline_string": "b" * 4000}}),
    c.route(prefix="/direct", direct_response={"status": 418, "body": {"inline_string": "short and stout"}},
            response_headers_to_add=[{"header": {"key": "content-type", "value": "text/tea"}}]),
), c.vhost(c.route(), name="secure", domains=["secure.example"], require_tls="ALL"))
for path in ("/https/a?b=c", "/scheme", "/host/x", "/port", "/path?q=1", "/pathq?q=1", "/prefix/a?b", "/prefixed", "/regex/a/b", "/regex/a?b=c", "/code", "/strip?x=y",
             "/all?q", "/direct", "/direct/empty", "/direct/long"):
    case(f"redirect {path}", get(path), config=REDIRECT)
    case(f"redirect {path}, port in the host", get(path, host="test.example:80"), config=REDIRECT)
case("redirect of a HEAD", get("/path", method="HEAD"), config=REDIRECT)
case("direct response to a post", post(b"abc", "/direct"), config=REDIRECT)
case("tls required", get("/x?y", host="secure.example"), config=REDIRECT)
case("tls required, forwarded", get("/x", "x-forwarded-proto: https", host="secure.example"), config=REDIRECT)

# ---- headers at each level ----
def add(key, value, action=None, **fields):
    made = {"header": {"key": key, "value": value}, **fields}
    return {**made, "append_action": action} if action else made


def levels(p, **route_fields):
    weighted = {"clusters": [{"name": "up", "weight": 100, "request_headers_to_add": [add("x-level", "cluster")],
                              "response_headers_to_add": [add("x-level", "cluster")], "request_headers_to_remove": ["x-remove-c"]}]}
    return c.served(p, c.hcm(p, c.vhost(
        c.route(weighted_clusters=weighted, request_headers_to_add=[
            add("x-level", "route"), add("x-once", "new", "ADD_IF_ABSENT"), add("x-over", "new", "OVERWRITE_IF_EXISTS_OR_ADD"),
            add("x-there", "new", "OVERWRITE_IF_EXISTS"), add("x-empty", "", keep_empty_value=True), add("x-none", ""),
            add("x-ops", "%REQ(:METHOD)% %PROTOCOL% %DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT% 100%% %REQ(x-missing)%"),
            add("x-port", "%DOWNSTREAM_LOCAL_PORT%")],
            response_headers_to_add=[add("x-level", "route"), add("x-code", "%RESPONSE_CODE%"), add("x-route", "%ROUTE_NAME%")],
            request_headers_to_remove=["x-remove-r"], response_headers_to_remove=["x-hide"], name="named"),
        request_headers_to_add=[add("x-level", "vhost")], response_headers_to_add=[add("x-level", "vhost")], request_headers_to_remove=["x-remove-v"]),
        route_fields={"request_headers_to_add": [add("x-level", "config")], "response_headers_to_add": [add("x-level", "config")],
                      "request_headers_to_remove": ["x-remove-g"], **route_fields}))


@c.configuration
def header_levels(p):
    return levels(p)


@c.configuration
def header_levels_specific(p):
    return levels(p, most_specific_header_mutations_wins=True)


for where in ("header_levels", "header_levels_specific"):
    case(f"{where}: all", get("/", "x-remove-g: 1", "x-remove-v: 1", "x-remove-r: 1", "x-remove-c: 1", "x-once: 1", "x-over: 1", "x-there: 1"), config=where,
         replies=response("201 Created", "x-hide: 1", "x-level: upstream"), loose=("x-port",))
    case(f"{where}: nothing there", get(), config=where, loose=("x-port",))

# ---- where it goes ----
def two(p):
    return [c.up(p), c.up(p, "second", p.second), c.up(p, "nobody", *[]) | {"load_assignment": {"cluster_name": "nobody"}}]


TARGET = variant("targets", c.vhost(
    c.route(prefix="/header", cluster_header="x-cluster"),
    c.route("missing", prefix="/missing404", cluster_not_found_response_code="NOT_FOUND"),
    c.route("missing", prefix="/missing"),
    c.route("nobody", prefix="/nobody"),
    c.route(prefix="/weights", weighted_clusters={"clusters": [{"name": "up", "weight": 100}, {"name": "second", "weight": 0}]}),
    c.route(prefix="/nonforwarding", non_forwarding_action={}),
    c.route(prefix="/decorated", decorator={"operation": "op"}),
    c.route(prefix="/stat", stat_prefix="routed"),
    c.route()), clusters=two, route_fields={"validate_clusters": False})
case("cluster by header", get("/header", "x-cluster: second"), config=TARGET)
case("cluster by header, unknown", get("/header", "x-cluster: zzz"), config=TARGET)
case("cluster by header, missing", get("/header"), config=TARGET)
for path in ("/missing", "/missing404", "/nobody", "/weights", "/nonforwarding", "/decorated", "/stat"):
    case(f"target {path}", get(path), config=TARGET)
case("decorated from a header", get("/decorated", "x-envoy-decorator-operation: theirs"), config=TARGET)
