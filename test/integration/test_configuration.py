"""Bad input: nothing starts, and the message says what to change. Both proxies refuse; that the text helps is asked of sluiced."""
import json

import pytest

from config import bootstrap, chain, cluster, listener, tcp_proxy
from support import proxies, yamltext

pytestmark = pytest.mark.root

GOOD = """
static_resources:
  listeners:
  - name: web
    address:
      socket_address: { address: 127.0.0.1, port_value: 8000 }
    filter_chains:
    - filters:
      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: web
          cluster: up
  clusters:
  - name: up
    type: STATIC
    connect_timeout: 1s
    load_assignment:
      cluster_name: up
      endpoints:
      - lb_endpoints:
        - endpoint:
            address:
              socket_address: { address: 127.0.0.1, port_value: 9000 }
"""

# name -> (what to replace in GOOD, with what, words sluiced's message must have besides the file's name)
BROKEN = {
    "yaml-syntax": ("      socket_address: { address: 127.0.0.1, port_value: 8000 }", "      socket_address: { address: 127.0.0.1, port_value: 8000",
                    ["line"]),
    "unknown-field": ("    connect_timeout: 1s", "    conect_timeout: 1s", ["conect_timeout", "connect_timeout", ":17"]),
    "wrong-type": ("port_value: 8000", "port_value: eighty", ["static_resources.listeners[0].address.socket_address.port_value", "eighty"]),
    "bad-duration": ("connect_timeout: 1s", "connect_timeout: soon", ["static_resources.clusters[0].connect_timeout", "soon"]),
    "bad-enum": ("type: STATIC", "type: STATIK", ["static_resources.clusters[0].type", "STATIK"]),
    "port-too-big": ("port_value: 8000", "port_value: 80000", ["port_value", "65535"]),
    "empty-stat-prefix": ("stat_prefix: web", 'stat_prefix: ""', ["stat_prefix"]),
    "no-cluster": ("          cluster: up\n", "", ["cluster_specifier"]),
    "no-type": ('          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy\n', "", ["typed_config", "@type"]),
    "unknown-type": ("tcp_proxy.v3.TcpProxy", "tcp_proxy.v3.TcpProxxy", ["TcpProxxy"]),
    "unknown-filter": ("type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
                       "type.googleapis.com/envoy.extensions.filters.network.nothing.v3.Nothing", ["nothing"]),
    "no-address": ("    address:\n      socket_address: { address: 127.0.0.1, port_value: 8000 }\n", "", ["static_resources.listeners[0]", "address"]),
    "not-an-address": ("address: 127.0.0.1, port_value: 8000", "address: 127.0.0.400, port_value: 8000", ["127.0.0.400"]),
    "host-name-in-static-cluster": ("address: 127.0.0.1, port_value: 9000", "address: backend.example, port_value: 9000",
                                    ["backend.example", "STRICT_DNS"]),
    "two-clusters-of-one-name": ("  clusters:\n", "  clusters:\n  - name: up\n    type: STATIC\n    connect_timeout: 1s\n", ["up"]),
    "empty-cluster-name": ("  - name: up\n", '  - name: ""\n', ["static_resources.clusters[0].name"]),
    "negative-timeout": ("connect_timeout: 1s", "connect_timeout: -1s", ["static_resources.clusters[0].connect_timeout"]),
    "not-a-mapping": (GOOD, "- a\n- b\n", []),
    "empty-file": (GOOD, "", []),
}


def twist(name):
    old, new, words = BROKEN[name]
    assert GOOD.count(old) >= 1, name
    return GOOD.replace(old, new, 1), words


def test_the_good_one_is_good(world, kind):
    done, _ = proxies.validate(world, kind, GOOD)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file_is_refused(world, kind, name):
    text, words = twist(name)
    done, path = proxies.validate(world, kind, text)
    assert done.returncode != 0
    if kind == "sluiced":
        for word in [path.name, *words]:
            assert word in done.stderr, f"{word!r} is not in: {done.stderr}"


@pytest.mark.parametrize("name", ["unknown-field", "bad-enum", "yaml-syntax"])
def test_broken_file_starts_nothing(world, app, kind, name):
    """Not only --mode validate: an ordinary start ends at once, with nothing bound."""
    text, _ = twist(name)
    proxy = proxies.start(world, kind, text, app.path, wait=False)
    assert proxy.process.wait() not in (0, None)
    with pytest.raises(ConnectionRefusedError):
        app.connect("127.0.0.1", 8000)


def test_duplicate_chain_match(world, kind):
    config = bootstrap([listener(8000, chain(tcp_proxy("up"), name="first", destination_port=80),
                                 chain(tcp_proxy("up"), name="second", destination_port=80))], [cluster("up", ("127.0.0.1", 9000))])
    done, _ = proxies.validate(world, kind, yamltext.dump(config))
    assert done.returncode != 0
    if kind == "sluiced":
        assert "first" in done.stderr and "second" in done.stderr


def test_duplicate_listener_address(world, kind):
    config = bootstrap([listener(8000, chain(tcp_proxy("up")), name="one"), listener(8000, chain(tcp_proxy("up")), name="two")],
                       [cluster("up", ("127.0.0.1", 9000))])
    done, _ = proxies.validate(world, kind, yamltext.dump(config))
    assert done.returncode != 0
    if kind == "sluiced":
        assert "one" in done.stderr and "two" in done.stderr


def test_missing_file(world, kind):
    path = world.directory / "there-is-no-such.yaml"
    done = proxies.run(proxies.require(kind), "-c", path, "--mode", "validate", check=False)
    assert done.returncode != 0
    assert str(path) in done.stderr + done.stdout


def test_no_configuration_at_all(kind):
    done = proxies.run(proxies.require(kind), "--mode", "validate", check=False)
    assert done.returncode != 0
    if kind == "sluiced":
        assert "-c" in done.stderr and "--config-yaml" in done.stderr


def test_json_file(world, kind):
    config = bootstrap([listener(8000, chain(tcp_proxy("up")))], [cluster("up", ("127.0.0.1", 9000))])
    done, _ = proxies.validate(world, kind, json.dumps(config), ".json")
    assert done.returncode == 0, done.stderr


def test_broken_json_file(world, kind):
    done, path = proxies.validate(world, kind, '{"static_resources": {"listeners": [}}', ".json")
    assert done.returncode != 0
    if kind == "sluiced":
        assert path.name in done.stderr


def test_config_yaml_alone_and_on_top_of_a_file(world, app, kind):
    """--config-yaml is merged over -c: lists are appended, scalars replaced."""
    port = app.free_port()
    from config import direct_response
    extra = yamltext.dump(bootstrap([listener(port, chain(direct_response("from the command line")), address="127.0.0.1", name="cli")], []))
    proxy = proxies.start(world, kind, bootstrap([], [cluster("up", ("127.0.0.1", 9000))], node={"id": "file", "cluster": "c"}), app.path,
                          extra=["--config-yaml", extra + "node: { id: cli }\n"])
    try:
        with app.connect("127.0.0.1", port) as sock:
            assert sock.recv(100) == b"from the command line"
        assert proxy.admin.json("/server_info")["node"]["id"] == "cli"
        assert proxy.admin.json("/server_info")["node"]["cluster"] == "c"
        assert "up::observability_name::up" in proxy.admin.get("/clusters").splitlines()
    finally:
        proxy.stop()


def test_service_node_and_cluster(world, app, kind):
    """The command line wins over the file."""
    proxy = proxies.start(world, kind, bootstrap([], [], node={"id": "file", "cluster": "file"}), app.path,
                          extra=["--service-node", "n1", "--service-cluster", "c1"])
    try:
        node = proxy.admin.json("/server_info")["node"]
        assert (node["id"], node["cluster"]) == ("n1", "c1")
    finally:
        proxy.stop()


def test_port_in_use(world, app, kind):
    """Envoy goes on without the listener's socket only when told to; by default it ends."""
    taken = app.listen("127.0.0.1")
    port = taken.getsockname()[1]
    proxy = proxies.start(world, kind, bootstrap([listener(port, chain(tcp_proxy("up")), address="127.0.0.1", name="taken")], [cluster("up")]),
                          app.path, wait=False)
    try:
        assert proxy.process.wait() not in (0, None)
        assert f"127.0.0.1:{port}" in proxy.process.stderr()
    finally:
        taken.close()


def test_yaml_anchors(world, kind):
    """Files in the wild use them."""
    text = GOOD.replace("connect_timeout: 1s", "connect_timeout: &t 1s").replace("  - name: up\n    type", "  - name: up\n    type", 1) + (
        "  - name: other\n    type: STATIC\n    connect_timeout: *t\n")
    done, _ = proxies.validate(world, kind, text)
    assert done.returncode == 0, done.stderr


def test_deprecated_and_unsupported_is_said(world):
    """A field that Envoy has and sluiced does not honour is refused with its path, never ignored."""
    import conftest
    conftest.require("sluiced")
    text = GOOD.replace("          cluster: up\n", "          cluster: up\n          tunneling_config: { hostname: \"x:443\" }\n")
    done, path = proxies.validate(world, "sluiced", text)
    assert done.returncode != 0
    assert "tunneling_config" in done.stderr and path.name in done.stderr
