"""filter_chain_match: every criterion, Envoy's order of criteria, and that there is no way back to a less specific branch.

Each chain answers with its own name, so a probe sees which one it got; None means that no chain matched.
"""
import pytest

from config import bootstrap, chain, direct_response, listener, prefix
from support.peers import ending, receive_all

pytestmark = pytest.mark.root


def start(run_proxy, app, chains, default=None, address="0.0.0.0", port=None, **fields):
    port = port or app.free_port()
    made = [chain(direct_response(name), name=name, **match) for name, match in chains.items()]
    if default:
        fields["default_filter_chain"] = chain(direct_response(default), name=default)
    proxy = run_proxy(bootstrap([listener(port, *made, address=address, name="match", **fields)], []))
    return proxy, port


def probe(pod, address, port, source=None):
    """The name of the chain that answers, None when the connection just ends."""
    import socket
    with pod.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
        if source:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(source)
        sock.connect((address, port))
        return receive_all(sock).decode() or None


def test_destination_port(run_proxy, app):
    port = app.free_port()
    start(run_proxy, app, {"other": {"destination_port": port + 1}, "this": {"destination_port": port}, "any": {}}, port=port)
    assert probe(app, "127.0.0.1", port) == "this"


def test_destination_port_before_address(run_proxy, app):
    """The port decides first; in its branch no address fits, and the branch of any port is not tried again."""
    port = app.free_port()
    start(run_proxy, app, {"port": {"destination_port": port, "prefix_ranges": [prefix("192.0.2.0/24")]},
                           "address": {"prefix_ranges": [prefix("127.0.0.0/8")]}}, port=port)
    assert probe(app, "127.0.0.1", port) is None


def test_most_specific_destination_prefix(run_proxy, app):
    _, port = start(run_proxy, app, {
        "any": {}, "eight": {"prefix_ranges": [prefix("127.0.0.0/8")]}, "host": {"prefix_ranges": [prefix("127.0.0.2/32")]},
        "sixteen": {"prefix_ranges": [prefix("127.1.0.0/16"), prefix("127.2.0.0/16")]}})
    assert probe(app, "127.0.0.2", port) == "host"
    assert probe(app, "127.0.0.3", port) == "eight"
    assert probe(app, "127.1.9.9", port) == "sixteen"
    assert probe(app, "127.2.9.9", port) == "sixteen"
    assert probe(app, app.ipv4, port) == "any"


def test_no_way_back_from_the_most_specific_prefix(run_proxy, app):
    _, port = start(run_proxy, app, {"host": {"prefix_ranges": [prefix("127.0.0.2/32")], "source_ports": [31111]},
                                     "eight": {"prefix_ranges": [prefix("127.0.0.0/8")]}})
    assert probe(app, "127.0.0.2", port, ("127.0.0.1", 31111)) == "host"
    assert probe(app, "127.0.0.2", port, ("127.0.0.1", 31112)) is None
    assert probe(app, "127.0.0.3", port, ("127.0.0.1", 31113)) == "eight"


def test_ipv6_prefixes(run_proxy, app, caller):
    _, port = start(run_proxy, app, {"all": {"prefix_ranges": [prefix("::/0")]}, "net": {"prefix_ranges": [prefix("fd77::/64")]},
                                     "loop": {"prefix_ranges": [prefix("::1/128")]}}, address="::")
    assert probe(app, "::1", port) == "loop"
    assert probe(app, app.ipv6, port) == "net"
    assert probe(caller, app.ipv6, port) == "net"


def test_zero_length_prefix_is_any_address(run_proxy, app):
    _, port = start(run_proxy, app, {"zero": {"prefix_ranges": [prefix("0.0.0.0/0")]}, "host": {"prefix_ranges": [prefix("127.0.0.9/32")]}})
    assert probe(app, "127.0.0.1", port) == "zero"
    assert probe(app, "127.0.0.9", port) == "host"


def test_plain_tcp_has_no_server_name(run_proxy, app):
    _, port = start(run_proxy, app, {"sni": {"server_names": ["example.com"]}, "wild": {"server_names": ["*.example.com"]}, "plain": {}})
    assert probe(app, "127.0.0.1", port) == "plain"


def test_plain_tcp_without_a_chain_for_it(run_proxy, app):
    proxy, port = start(run_proxy, app, {"sni": {"server_names": ["example.com"]}})
    assert probe(app, "127.0.0.1", port) is None
    proxy.wait_stat("listener.0.0.0.0_%d.no_filter_chain_match" % port, 1)


def test_transport_protocol_raw_buffer(run_proxy, app):
    _, port = start(run_proxy, app, {"tls": {"transport_protocol": "tls"}, "raw": {"transport_protocol": "raw_buffer"}, "any": {}})
    assert probe(app, "127.0.0.1", port) == "raw"


def test_transport_protocol_tls_does_not_match_plain(run_proxy, app):
    _, port = start(run_proxy, app, {"tls": {"transport_protocol": "tls"}, "any": {}})
    assert probe(app, "127.0.0.1", port) == "any"


def test_application_protocols_absent(run_proxy, app):
    _, port = start(run_proxy, app, {"h1": {"application_protocols": ["http/1.1", "h2c"]}, "any": {}})
    assert probe(app, "127.0.0.1", port) == "any"


def test_direct_source_prefix(run_proxy, app, caller, server):
    _, port = start(run_proxy, app, {"caller": {"direct_source_prefix_ranges": [prefix(f"{caller.ipv4}/32")]},
                                     "pods": {"direct_source_prefix_ranges": [prefix("10.77.0.0/16")]}, "any": {}})
    assert probe(caller, app.ipv4, port) == "caller"
    assert probe(server, app.ipv4, port) == "pods"
    assert probe(app, "127.0.0.1", port) == "any"


def test_source_prefix(run_proxy, app, caller, server):
    _, port = start(run_proxy, app, {"caller": {"source_prefix_ranges": [prefix(f"{caller.ipv4}/32")]},
                                     "pods": {"source_prefix_ranges": [prefix("10.77.0.0/16")]}}, default="default")
    assert probe(caller, app.ipv4, port) == "caller"
    assert probe(server, app.ipv4, port) == "pods"
    assert probe(app, "127.0.0.1", port) == "default"


def test_source_type(run_proxy, app, caller):
    _, port = start(run_proxy, app, {"same": {"source_type": "SAME_IP_OR_LOOPBACK"}, "external": {"source_type": "EXTERNAL"}})
    assert probe(app, "127.0.0.1", port) == "same"
    assert probe(app, app.ipv4, port) == "same", "the same address on both ends counts as local"
    assert probe(caller, app.ipv4, port) == "external"


def test_source_type_before_source_address(run_proxy, app, caller):
    """A local connection takes the local branch, though a chain of any type knows its address better."""
    _, port = start(run_proxy, app, {"local": {"source_type": "SAME_IP_OR_LOOPBACK", "source_ports": [31121]},
                                     "address": {"source_prefix_ranges": [prefix("127.0.0.1/32")]}})
    assert probe(app, "127.0.0.1", port, ("127.0.0.1", 31121)) == "local"
    assert probe(app, "127.0.0.1", port, ("127.0.0.1", 31122)) is None


def test_direct_source_before_source_type(run_proxy, app, caller):
    _, port = start(run_proxy, app, {"direct": {"direct_source_prefix_ranges": [prefix("127.0.0.0/8")], "source_ports": [31131]},
                                     "local": {"source_type": "SAME_IP_OR_LOOPBACK"}})
    assert probe(app, "127.0.0.1", port, ("127.0.0.1", 31131)) == "direct"
    assert probe(app, "127.0.0.1", port, ("127.0.0.1", 31132)) is None
    assert probe(app, app.ipv4, port) == "local"


def test_source_ports(run_proxy, app):
    _, port = start(run_proxy, app, {"known": {"source_ports": [31141, 31142]}, "any": {}})
    assert probe(app, "127.0.0.1", port, ("127.0.0.1", 31141)) == "known"
    assert probe(app, "127.0.0.1", port, ("127.0.0.1", 31142)) == "known"
    assert probe(app, "127.0.0.1", port, ("127.0.0.1", 31143)) == "any"


def test_source_address_before_source_port(run_proxy, app):
    _, port = start(run_proxy, app, {"address": {"source_prefix_ranges": [prefix("127.0.0.7/32")], "source_ports": [31151]},
                                     "port": {"source_ports": [31152]}})
    assert probe(app, "127.0.0.1", port, ("127.0.0.7", 31151)) == "address"
    assert probe(app, "127.0.0.1", port, ("127.0.0.7", 31152)) is None
    assert probe(app, "127.0.0.1", port, ("127.0.0.8", 31152)) == "port"


def test_order_of_chains_does_not_matter(run_proxy, app):
    _, port = start(run_proxy, app, {"any": {}, "eight": {"prefix_ranges": [prefix("127.0.0.0/8")]}})
    assert probe(app, "127.0.0.1", port) == "eight"
    _, port = start(run_proxy, app, {"eight": {"prefix_ranges": [prefix("127.0.0.0/8")]}, "any": {}})
    assert probe(app, "127.0.0.1", port) == "eight"


def test_default_filter_chain(run_proxy, app):
    proxy, port = start(run_proxy, app, {"other": {"prefix_ranges": [prefix("192.0.2.0/24")]}}, default="default")
    assert probe(app, "127.0.0.1", port) == "default"
    assert proxy.admin.stat(f"listener.0.0.0.0_{port}.no_filter_chain_match") == 0


def test_no_match_without_default_ends_the_connection(run_proxy, app):
    proxy, port = start(run_proxy, app, {"other": {"prefix_ranges": [prefix("192.0.2.0/24")]}})
    with app.connect("127.0.0.1", port) as sock:
        assert ending(sock) == "fin"
    proxy.wait_stat(f"listener.0.0.0.0_{port}.no_filter_chain_match", 1)
