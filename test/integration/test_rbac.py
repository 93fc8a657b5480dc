"""The RBAC network filter, and what both RBAC filters leave for logs: each case on both proxies."""
import socket

import pytest

from config import bootstrap, chain, cluster, file_log, http_manager, listener, prefix, tcp_proxy, typed
from support import peers, proxies, yamltext
from support.peers import Peer, ending, receive_exactly
from support.proxies import AccessLog
from support.wait import never

pytestmark = pytest.mark.root
NAME = "envoy.filters.network.rbac"
LOG = {"flags": "%RESPONSE_FLAGS%", "details": "%CONNECTION_TERMINATION_DETAILS%", "received": "%BYTES_RECEIVED%", "sent": "%BYTES_SENT%",
       "upstream": "%UPSTREAM_CLUSTER%", "close": "%DOWNSTREAM_DETECTED_CLOSE_TYPE%", "metadata": f"%DYNAMIC_METADATA({NAME})%",
       "result": f"%DYNAMIC_METADATA({NAME}:shadow_engine_result)%", "hint": "%DYNAMIC_METADATA(envoy.common:access_log_hint)%"}
ANY = [{"any": True}]
LOOPBACK = {"direct_remote_ip": prefix("127.0.0.0/8")}
ELSEWHERE = {"remote_ip": prefix("192.0.2.0/24")}


def policy(principals=None, permissions=None):
    return {"permissions": permissions or ANY, "principals": principals or ANY}


def rules(action="ALLOW", **policies):
    return {"action": action, **({"policies": policies} if policies else {})}


def rbac(stat_prefix="tcp_rbac.", **fields):
    return {"name": NAME, "typed_config": typed("envoy.extensions.filters.network.rbac.v3.RBAC", stat_prefix=stat_prefix, **fields)}


class Lab:
    def __init__(self, proxy, app, port, log, peer):
        self.proxy, self.app, self.port, self.log, self.peer = proxy, app, port, log, peer

    def talk(self, *words):
        """How a connection that says these words ends: what came back, and "fin" or "rst"."""
        with self.app.connect("127.0.0.1", self.port) as sock:
            got = b""
            try:
                for word in words:
                    sock.sendall(word)
                    got += receive_exactly(sock, len(word))
                sock.shutdown(socket.SHUT_WR)
            except (AssertionError, ConnectionError, EOFError):
                pass
            return got, ending(sock)

    def record(self, number=1):
        return self.log.json(number)[number - 1]


@pytest.fixture
def lab(run_proxy, app, server, world, request):
    """lab(filters in front of tcp_proxy): an echo server behind it."""
    def start(*filters, talk=peers.echo):
        peer = Peer(server.listen(), talk)
        peer.__enter__()
        request.addfinalizer(lambda: peer.__exit__(None, None, None))
        port = app.free_port()
        log = AccessLog(world.directory / f"rbac-{world.next_number()}.log")
        made = listener(port, chain(*filters, tcp_proxy("up", access_log=[file_log(log.path, json=LOG)])))
        return Lab(run_proxy(bootstrap([made], [cluster("up", (server.ipv4, peer.port))])), app, port, log, peer)
    return start


def test_allowed(lab):
    w = lab(rbac(rules=rules(here=policy([LOOPBACK])), shadow_rules=rules("DENY", **{"dry run": policy()}), shadow_rules_stat_prefix="dry_"))
    assert w.talk(b"hello", b"again") == (b"helloagain", "fin")
    record = w.record()
    assert record["metadata"] == {"dry_shadow_effective_policy_id": "dry run", "dry_shadow_engine_result": "denied"}
    assert (record["flags"], record["details"], record["received"], record["result"], record["hint"]) == ("-", None, 10, None, None)
    stats = w.proxy.admin.stats()
    assert {k: v for k, v in stats.items() if "rbac" in k and not k.startswith("cluster")} == {
        "tcp_rbac.rbac.allowed": 1, "tcp_rbac.rbac.denied": 0, "tcp_rbac.rbac.dry_.shadow_allowed": 0, "tcp_rbac.rbac.dry_.shadow_denied": 1}


@pytest.mark.both_backends
def test_denied(lab):
    w = lab(rbac(stat_prefix="p", rules=rules("DENY", **{"not from here": policy([LOOPBACK])}), shadow_rules=rules(other=policy([ELSEWHERE]))))
    assert w.talk(b"hello") == (b"", "fin")
    record = w.record()
    assert record == {"flags": "-", "details": "rbac_access_denied_matched_policy[not_from_here]", "received": 5, "sent": 0, "upstream": "up",
                      "close": "Normal", "metadata": {"shadow_engine_result": "denied"}, "result": "denied", "hint": None}
    w.proxy.wait_stat("p.rbac.denied", 1)
    assert w.proxy.admin.stat("p.rbac.shadow_denied") == 1
    assert w.proxy.admin.stat("p.rbac.allowed") == 0


def test_no_policy_matches(lab):
    w = lab(rbac(rules=rules(other=policy([ELSEWHERE]))))
    assert w.talk(b"hello") == (b"", "fin")
    assert w.record()["details"] == "rbac_access_denied_matched_policy[none]"


def test_end_without_data_is_decided_too(lab):
    w = lab(rbac(rules=rules()))
    assert w.talk() == (b"", "fin")
    w.proxy.wait_stat("tcp_rbac.rbac.denied", 1)


def test_a_server_that_speaks_first_is_heard(lab):
    """The decision comes with the client's first byte; until then the upstream is connected."""
    w = lab(rbac(rules=rules()), talk=peers.greeting(b"220 hi\r\n"))
    with w.app.connect("127.0.0.1", w.port) as sock:
        assert receive_exactly(sock, 8) == b"220 hi\r\n"
        sock.sendall(b"x")
        assert ending(sock) == "fin"
    assert w.record()["sent"] == 8


@pytest.mark.parametrize("enforcement, counted", [("ONE_TIME_ON_FIRST_BYTE", 1), ("CONTINUOUS", 4)])  # and the end
def test_enforcement_type(lab, enforcement, counted):
    w = lab(rbac(rules=rules(all=policy()), shadow_rules=rules(), enforcement_type=enforcement), talk=peers.greeting(b"hi"))
    with w.app.connect("127.0.0.1", w.port) as sock:
        assert receive_exactly(sock, 2) == b"hi"  # what comes before tcp_proxy has its upstream sluiced shows to filters twice
        for word in (b"one", b"two", b"three"):
            sock.sendall(word)
            assert receive_exactly(sock, len(word)) == word
    w.proxy.wait_stat("tcp_rbac.rbac.allowed", counted)
    w.proxy.wait_stat("tcp_rbac.rbac.shadow_denied", counted)


@pytest.mark.both_backends
def test_delayed_denial(lab):
    """The connection stays, unread, for that long."""
    w = lab(rbac(rules=rules(), delay_deny="0.5s"))
    with w.app.connect("127.0.0.1", w.port) as sock:
        sock.sendall(b"x")
        w.proxy.wait_stat("tcp_rbac.rbac.denied", 1)
        sock.sendall(b"y")
        never(lambda: w.log.lines(), 0.2)
        assert ending(sock) in ("fin", "rst")  # "y" was never read
    assert w.record()["details"] == "rbac_access_denied_matched_policy[none]"
    assert w.proxy.admin.stat("tcp_rbac.rbac.denied") == 1


def test_client_that_leaves_while_the_denial_is_delayed(lab):
    w = lab(rbac(rules=rules(), delay_deny="0.4s"))
    with w.app.connect("127.0.0.1", w.port) as sock:
        sock.sendall(b"x")
        w.proxy.wait_stat("tcp_rbac.rbac.denied", 1)
        peers.reset(sock)
    w.record()
    w.proxy.wait_stat(f"listener.0.0.0.0_{w.port}.downstream_cx_active", 0)
    assert w.proxy.process.running()


def test_log_action(lab):
    w = lab(rbac(rules=rules("LOG", here=policy([LOOPBACK]))), rbac(stat_prefix="q", rules=rules(told=policy(None, [{"metadata": {
        "filter": "envoy.common", "path": [{"key": "access_log_hint"}], "value": {"bool_match": True}}}]))))
    assert w.talk(b"hello") == (b"hello", "fin")
    assert w.record()["hint"] is True
    assert w.proxy.admin.stat("q.rbac.allowed") == 1


@pytest.mark.parametrize("permission, allowed", [
    ({"destination_ip": prefix("127.0.0.0/8")}, True),
    ({"destination_ip": prefix("128.0.0.0/8")}, False),
    ({"destination_port_range": {"start": 1024, "end": 65536}}, True),
    ({"requested_server_name": {"exact": ""}}, True),
    ({"url_path": {"path": {"prefix": "/"}}}, False),
    ({"not_rule": {"url_path": {"path": {"prefix": "/"}}}}, True),
])
def test_permissions(lab, permission, allowed):
    w = lab(rbac(rules=rules(it=policy(None, [permission]))))
    assert w.talk(b"hello")[0] == (b"hello" if allowed else b"")


def test_in_front_of_http(run_proxy, app, world):
    """It decides before a request is read; what it left behind is the connection's, not the request's."""
    port = app.free_port()
    log = AccessLog(world.directory / f"rbac-{world.next_number()}.log")
    outer = AccessLog(world.directory / f"rbac-{world.next_number()}.log")
    manager = http_manager([{"match": {"prefix": "/"}, "direct_response": {"status": 200}}], access_log=[file_log(log.path, json=LOG)])
    made = listener(port, chain(rbac(rules=rules(here=policy([LOOPBACK])), shadow_rules=rules()), manager),
                    access_log=[file_log(outer.path, json=LOG)])
    run_proxy(bootstrap([made], []))
    with app.connect("127.0.0.1", port) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        assert peers.receive_all(sock).startswith(b"HTTP/1.1 200")
    assert log.json()[0]["metadata"] is None
    assert outer.json()[0]["metadata"] == {"shadow_engine_result": "denied"}


def test_log_filter_on_metadata(run_proxy, app, world):
    """LOG's hint is what an access log's metadata_filter is for."""
    def log(filter):
        made = AccessLog(world.directory / f"rbac-{world.next_number()}.log")
        return made, file_log(made.path, text="%REQ(x-user)%", filter={"metadata_filter": filter})
    port = app.free_port()
    hint = {"filter": "envoy.common", "path": [{"key": "access_log_hint"}], "value": {"bool_match": True}}
    hinted, first = log({"matcher": hint, "match_if_key_not_found": False})
    other, second = log({"matcher": {**hint, "path": [{"key": "nothing"}]}})
    bob = policy(None, [{"header": {"name": "x-user", "string_match": {"exact": "bob"}}}])
    http_rbac = {"name": "envoy.filters.http.rbac", "typed_config": typed("envoy.extensions.filters.http.rbac.v3.RBAC", rules=rules("LOG", bob=bob))}
    manager = http_manager([{"match": {"prefix": "/"}, "direct_response": {"status": 200}}], [http_rbac], access_log=[first, second])
    run_proxy(bootstrap([listener(port, chain(manager))], []))
    for user in ("eve", "bob", "eve"):
        with app.connect("127.0.0.1", port) as sock:
            sock.sendall(f"GET / HTTP/1.1\r\nhost: a\r\nx-user: {user}\r\nconnection: close\r\n\r\n".encode())
            assert peers.receive_all(sock).startswith(b"HTTP/1.1 200")
    assert other.wait(3) == ["eve", "bob", "eve"]
    assert hinted.wait(1) == ["bob"]


IDENTIFIER = {"condition": {"ident_expr": {"name": "a"}}}
FILTER_STATE = [{"filter_state": {"key": "a", "string_match": {"exact": "b"}}}]
ROUTE_METADATA = [{"sourced_metadata": {"metadata_source": "ROUTE", "metadata_matcher": {"filter": "a", "path": [{"key": "b"}], "value": {"present_match": True}}}}]
HEADER = [{"header": {"name": "x", "present_match": True}}]
# what sluiced says: the end of the path
REFUSED = {
    "condition": ({"rules": rules(it={**policy(), **IDENTIFIER})}, '.rules.policies["it"].condition'),
    "filter_state": ({"rules": rules(it=policy(FILTER_STATE))}, '.rules.policies["it"].principals[0].filter_state'),
    "route_metadata": ({"shadow_rules": rules(it=policy(ROUTE_METADATA))}, '.shadow_rules.policies["it"].principals[0].sourced_metadata.metadata_source'),
    "audit": ({"rules": {**rules(), "audit_logging_options": {"audit_condition": "ON_DENY"}}}, ".rules.audit_logging_options"),
    "matcher": ({"matcher": {"on_no_match": {"action": {"name": "a", "typed_config": typed("envoy.config.rbac.v3.Action", name="a")}}}}, ".matcher"),
    "no_principals": ({"rules": rules(it={"permissions": ANY})}, '.rules.policies["it"].principals'),
    "template": ({"rules": rules(it=policy(None, [{"uri_template": {"name": "t", "typed_config": typed(
        "envoy.extensions.path.match.uri_template.v3.UriTemplateMatchConfig", path_template="/**/*")}}]))},
                 '.rules.policies["it"].permissions[0].uri_template.typed_config.path_template'),
    "header": ({"rules": rules(it=policy(None, HEADER))}, '.rules.policies["it"].permissions[0].header'),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_enforced_is_refused(world, kind, name):
    fields, path = REFUSED[name]
    config = bootstrap([listener(8000, chain(rbac(**fields), tcp_proxy("up")))], [cluster("up", ("127.0.0.1", 9000))])
    done, _ = proxies.validate(world, kind, yamltext.dump(config))
    if kind == "sluiced":
        assert done.returncode != 0 and "filter_chains[0].filters[0].typed_config" + path in done.stderr, done.stderr
    elif name in ("no_principals", "template", "header"):
        assert done.returncode != 0
