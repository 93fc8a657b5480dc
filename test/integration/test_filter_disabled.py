"""filter_disabled of listener filters, by the port to which the client wanted to go; istiod has it for ports whose server speaks first."""
import socket

import pytest

from config import bootstrap, chain, direct_response, listener, original_dst_filter, typed

pytestmark = pytest.mark.root

PORTS = {
    "one": {"destination_port_range": {"start": 3306, "end": 3307}},
    "either": {"or_match": {"rules": [{"destination_port_range": {"start": 3306, "end": 3308}}, {"destination_port_range": {"start": 9000, "end": 9001}}]}},
    "both": {"and_match": {"rules": [{"destination_port_range": {"start": 3000, "end": 4000}},
                                     {"not_match": {"destination_port_range": {"start": 3307, "end": 9001}}}]}},
    "any": {"any_match": True},
}
# By predicate: where the inspector does not look.
DISABLED = {"one": [3306], "either": [3306, 3307, 9000], "both": [3306], "any": [3306, 3307, 9000, 15001]}


def inspector(disabled):
    return {"name": "envoy.filters.listener.http_inspector", "filter_disabled": disabled,
            "typed_config": typed("envoy.extensions.filters.listener.http_inspector.v3.HttpInspector")}


def answer(app, host, port):
    with app.connect(host, port) as sock:
        sock.settimeout(5)
        sock.sendall(b"GET / HTTP/1.1\r\n")
        return sock.recv(4, socket.MSG_WAITALL).decode()  # Envoy resets what it has not read


@pytest.mark.parametrize("which", PORTS)
def test_looks_at_the_restored_destination(intercept, app, server, which):
    """The filter before, original_dst, has put the client's own destination in place of the listener's."""
    intercept.start(bootstrap([listener(15001, chain(direct_response("http"), name="http", application_protocols=["http/1.1"]),
                                        listener_filters=[original_dst_filter(), inspector(PORTS[which])], traffic_direction="OUTBOUND",
                                        default_filter_chain=chain(direct_response("none"), name="none"))], []))
    got = {port: answer(app, server.ipv4, port) for port in (3306, 3307, 9000, 15001)}
    assert got == {port: "none" if port in DISABLED[which] else "http" for port in got}


def test_without_one_the_port_is_the_listeners(run_proxy, app):
    port, other = app.free_port(), app.free_port()
    disabled = {"destination_port_range": {"start": port, "end": port + 1}}
    run_proxy(bootstrap([listener(p, chain(direct_response("http"), name="http", application_protocols=["http/1.1"]),
                                  listener_filters=[inspector(disabled)], default_filter_chain=chain(direct_response("none"), name="none"))
                         for p in (port, other)], []))
    assert (answer(app, "127.0.0.1", port), answer(app, "127.0.0.1", other)) == ("none", "http")
