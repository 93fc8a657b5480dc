"""What an application in an enrolled pod sees and does not see, and what the kernel does when sluiced is away. sluiced only."""
import json
import pathlib
import re
import signal
import socket
import struct
import subprocess

import pytest

from config import bootstrap, chain, cluster, direct_response, file_log, listener, original_dst_filter, passthrough, tcp_proxy
from conftest import check_sanitizers, require
from support import peers
from support.packets import SYN, PacketCounter
from support.peers import Peer, ask, call_ending, receive_exactly
from support.proxies import AccessLog, Node, nat_rules
from support.wait import wait_until

pytestmark = [pytest.mark.root, pytest.mark.ebpf]
SO_ORIGINAL_DST, IP6T_SO_ORIGINAL_DST = 80, 80


def mesh(log, outbound="PassthroughCluster", inbound=False):
    """virtualOutbound on 15001, and virtualInbound on 15006 when asked for."""
    format_ = "%DOWNSTREAM_LOCAL_ADDRESS% %UPSTREAM_HOST% %UPSTREAM_CLUSTER% %RESPONSE_FLAGS%"
    listeners = [listener(15001, chain(tcp_proxy(outbound, "out", access_log=[file_log(log.path, "out " + format_)])),
                          name="virtualOutbound", use_original_dst=True, traffic_direction="OUTBOUND")]
    if inbound:
        listeners.append(listener(15006, chain(tcp_proxy("InboundPassthroughCluster", "in", access_log=[file_log(log.path, "in " + format_)])),
                                  name="virtualInbound", traffic_direction="INBOUND", listener_filters=[original_dst_filter()]))
    return bootstrap(listeners, [passthrough(), passthrough("InboundPassthroughCluster", upstream_bind_config={
        "source_address": {"address": "127.0.0.6", "port_value": 0}}), cluster("BlackHoleCluster")])


class Lab:
    def __init__(self, world, app):
        self.world, self.app = world, app
        self.log = AccessLog(world.directory / f"lab-{world.next_number()}.log")
        self.node = Node(world)
        self.config = None

    def start(self, *enrol, config=None, **options):
        self.config = config or mesh(self.log, **options)
        proxy = self.node.start(self.config)
        inbound = any(x["name"] == "virtualInbound" for x in self.config["static_resources"]["listeners"])
        self.node.enrol(self.app, *([] if inbound else ["--no-inbound"]), *enrol)
        return proxy

    def redirects(self):
        return json.loads(self.node.ctl("redirects", "-o", "json").stdout)


@pytest.fixture
def lab(world, app):
    require("sluiced"), require("sluicectl")
    made = Lab(world, app)
    yield made
    proxy = made.node.proxy
    made.node.close()
    if proxy:
        check_sanitizers(proxy)


# ---- what the application sees ----
@pytest.mark.both_backends
def test_getpeername_is_what_was_asked_for(lab, app, server):
    lab.start()
    with Peer(server.listen(), peers.echo) as peer, app.connect(server.ipv4, peer.port) as sock:
        sock.sendall(b"x")
        assert receive_exactly(sock, 1) == b"x"
        assert sock.getpeername() == (server.ipv4, peer.port)
        assert lab.log.lines() == []
    assert lab.log.wait()[0].startswith(f"out {server.ipv4}:{peer.port} ")


def test_getpeername_ipv6(lab, app, server):
    lab.start()
    with Peer(server.listen("::"), peers.echo) as peer, app.connect(server.ipv6, peer.port) as sock:
        sock.sendall(b"x")
        assert receive_exactly(sock, 1) == b"x"
        assert sock.getpeername()[:2] == (server.ipv6, peer.port)


@pytest.mark.both_backends
def test_v4_mapped(lab, app, server):
    """An IPv6 socket that calls an IPv4 address."""
    lab.start()
    with Peer(server.listen(), peers.echo) as peer, app.socket(socket.AF_INET6) as sock:
        sock.connect((f"::ffff:{server.ipv4}", peer.port))
        sock.sendall(b"x")
        assert receive_exactly(sock, 1) == b"x"
        assert sock.getpeername()[:2] == (f"::ffff:{server.ipv4}", peer.port)
        sock.close()
        assert lab.log.wait()[0].startswith(f"out {server.ipv4}:{peer.port} {server.ipv4}:{peer.port} ")


def test_so_original_dst_in_the_application(lab, app, server):
    """The application's own socket answers with the address it asked for, in both families."""
    lab.start()
    with Peer(server.listen(), peers.echo) as peer, app.connect(server.ipv4, peer.port) as sock:
        raw = sock.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
        assert struct.unpack("!2xH4s", raw[:8]) == (peer.port, socket.inet_aton(server.ipv4))


@pytest.mark.both_backends
def test_connected_at_once_and_refused_at_once(lab, app, server):
    """Nobody listens at the destination: the connect succeeds (sluiced took it), and the RST comes at once."""
    lab.start()
    assert call_ending(app, server.ipv4, 1, 2) == "rst"


def test_loopback_is_left_alone(lab, app):
    lab.start()
    with Peer(app.listen("127.0.0.1"), peers.echo) as peer:
        assert ask(lambda: app.connect("127.0.0.1", peer.port), b"x") == b"x"
        assert peer.accepted[0][0][0] == "127.0.0.1"
    assert lab.log.lines() == []


def test_pods_that_are_not_enrolled_are_left_alone(lab, caller, server):
    lab.start()
    with Peer(server.listen(), peers.echo) as peer:
        assert ask(lambda: caller.connect(server.ipv4, peer.port), b"x") == b"x"
    assert lab.log.lines() == []


def test_no_rule_in_the_pod(lab, app, server):
    lab.start(inbound=True)
    with Peer(server.listen(), peers.echo) as peer:
        assert ask(lambda: app.connect(server.ipv4, peer.port), b"x") == b"x"
    assert nat_rules(app) == []


def test_calling_the_proxy_by_its_port_is_no_loop(lab, app):
    proxy = lab.start()
    assert call_ending(app, "127.0.0.1", 15001, 3) in ("rst", "fin")
    assert proxy.admin.stat("cluster.PassthroughCluster.upstream_cx_active") == 0
    assert proxy.admin.stat("cluster.PassthroughCluster.upstream_cx_total") <= 1


@pytest.mark.both_backends
def test_every_connection_gets_its_own_destination(lab, app, server):
    """Eight hundred at once over eight servers; each greets with its name."""
    lab.start()
    servers = [Peer(server.listen(), peers.greeting(b"%d" % n)) for n in range(8)]
    try:
        socks = [(app.connect(server.ipv4, servers[n % 8].port), b"%d" % (n % 8)) for n in range(800)]
        for sock, name in socks:
            assert receive_exactly(sock, 1) == name
            sock.close()
    finally:
        for peer in servers:
            peer.close()


def test_reconnecting_the_same_socket(lab, app, server):
    """A socket that was refused at one address is used again for another, which is redirected (happy eyeballs does so)."""
    lab.start("--exclude-outbound-ports", "1")
    with Peer(server.listen(), peers.greeting(b"A")) as peer, app.socket() as sock:
        sock.settimeout(None)  # blocking: after a failed non-blocking connect the kernel answers the next one with ECONNABORTED
        with pytest.raises(ConnectionRefusedError):
            sock.connect((server.ipv4, 1))
        sock.connect((server.ipv4, peer.port))
        assert receive_exactly(sock, 1) == b"A"
        assert sock.getpeername() == (server.ipv4, peer.port)


def test_nonblocking_connect(lab, app, server):
    lab.start()
    with Peer(server.listen(), peers.greeting(b"A")) as peer, app.socket() as sock:
        sock.setblocking(False)
        sock.connect_ex((server.ipv4, peer.port))
        sock.settimeout(5)
        assert receive_exactly(sock, 1) == b"A"
        assert sock.getpeername() == (server.ipv4, peer.port)


def test_udp_is_left_alone(lab, app, server):
    lab.start()
    with server.socket(socket.AF_INET, socket.SOCK_DGRAM) as there, app.socket(socket.AF_INET, socket.SOCK_DGRAM) as here:
        there.bind(("0.0.0.0", 0))
        here.connect((server.ipv4, there.getsockname()[1]))
        here.send(b"datagram")
        assert there.recvfrom(100)[0] == b"datagram"


# ---- inbound ----
@pytest.mark.both_backends
def test_inbound_on_any_port(lab, app, caller):
    lab.start(inbound=True)
    with Peer(app.listen(), peers.echo) as peer:
        assert ask(lambda: caller.connect(app.ipv4, peer.port), b"x") == b"x"
        assert peer.accepted[0][0][0] == "127.0.0.6"
    assert lab.log.wait()[0].startswith(f"in {app.ipv4}:{peer.port} {app.ipv4}:{peer.port} InboundPassthroughCluster")


@pytest.mark.both_backends
def test_inbound_ipv6(lab, app, caller):
    config = mesh(lab.log, inbound=True)
    del config["static_resources"]["clusters"][1]["upstream_bind_config"]  # 127.0.0.6 has no IPv6 counterpart
    lab.start(config=config)
    with Peer(app.listen("::"), peers.echo) as peer:
        assert ask(lambda: caller.connect(app.ipv6, peer.port), b"x") == b"x"
    assert lab.log.wait()[0].startswith(f"in [{app.ipv6}]:{peer.port} ")


def test_connections_from_before_are_left_in_peace(lab, app, caller, server):
    """What was open before enrolment goes on, both ways."""
    with Peer(server.listen(), peers.echo) as there, Peer(app.listen(), peers.echo) as here:
        out, into = app.connect(server.ipv4, there.port), caller.connect(app.ipv4, here.port)
        for sock in (out, into):
            sock.sendall(b"1")
            assert receive_exactly(sock, 1) == b"1"
        lab.start(inbound=True)
        for sock in (out, into):
            sock.sendall(b"2")
            assert receive_exactly(sock, 1) == b"2"
            sock.close()
    assert lab.log.lines() == []


# ---- loops ----
def test_a_port_of_the_node_is_the_applications_in_a_pod(lab, app, caller):
    """A listener bound in the node's namespace has nothing to say about the same port of a pod."""
    with Peer(app.listen(), peers.echo) as peer:
        config = mesh(lab.log, inbound=True)
        config["static_resources"]["listeners"].append(listener(peer.port, chain(direct_response("the node's")), name="on-the-node"))
        proxy = lab.start(config=config)
        assert ask(lambda: caller.connect(app.ipv4, peer.port), b"x") == b"x"
        assert proxy.admin.stat("cluster.InboundPassthroughCluster.original_dst_host_invalid") == 0


def test_a_pod_that_calls_its_own_proxy(lab, app):
    """By the pod's own address: redirected, and the original destination is the proxy itself, in that very namespace."""
    proxy = lab.start()
    for address in (app.ipv4, app.ipv6):
        assert call_ending(app, address, 15001, 3) == "rst"
    assert proxy.admin.stat("cluster.PassthroughCluster.original_dst_host_invalid") == 2
    assert proxy.admin.stat("cluster.PassthroughCluster.upstream_cx_total") == 0


# ---- rules ----
def test_excluded_outbound_port(lab, app, server):
    with Peer(server.listen(), peers.echo) as peer, Peer(server.listen(), peers.echo) as other:
        lab.start("--exclude-outbound-ports", str(peer.port))
        assert ask(lambda: app.connect(server.ipv4, peer.port), b"x") == b"x"
        assert ask(lambda: app.connect(server.ipv4, other.port), b"x") == b"x"
        assert [line.split()[1] for line in lab.log.wait()] == [f"{server.ipv4}:{other.port}"]


def test_included_ports_only(lab, app, server):
    with Peer(server.listen(), peers.echo) as peer, Peer(server.listen(), peers.echo) as other:
        lab.start("--include-outbound-ports", str(peer.port))
        assert ask(lambda: app.connect(server.ipv4, other.port), b"x") == b"x"
        assert ask(lambda: app.connect(server.ipv4, peer.port), b"x") == b"x"
        assert [line.split()[1] for line in lab.log.wait()] == [f"{server.ipv4}:{peer.port}"]


def test_excluded_and_included_cidrs(lab, app, server, caller):
    """The longest prefix decides."""
    with Peer(server.listen(), peers.echo) as a, Peer(caller.listen(), peers.echo) as b:
        lab.start("--exclude-cidrs", "10.77.0.0/16,fd77::/64", "--include-cidrs", f"{caller.ipv4}/32")
        assert ask(lambda: app.connect(server.ipv4, a.port), b"x") == b"x"
        assert ask(lambda: app.connect(caller.ipv4, b.port), b"x") == b"x"
        assert [line.split()[1] for line in lab.log.wait()] == [f"{caller.ipv4}:{b.port}"]


def test_excluded_user(lab, app, server):
    """The user who calls connect() counts, so this takes a process of its own."""
    with Peer(server.listen(), peers.tell("hello")) as peer:
        lab.start("--exclude-uids", "4321")
        call = ["curl", "-s", "-m", "5", "--http0.9", f"http://{server.ipv4}:{peer.port}/"]
        assert app.run("setpriv", "--reuid", "4321", *call, check=False).stdout == "hello"
        assert lab.log.lines() == []
        assert app.run("setpriv", "--reuid", "4322", *call, check=False).stdout == "hello"
        assert [line.split()[1] for line in lab.log.wait()] == [f"{server.ipv4}:{peer.port}"]


def test_excluded_inbound_port(lab, app, caller):
    with Peer(app.listen(), peers.echo) as peer, Peer(app.listen(), peers.echo) as other:
        lab.start("--exclude-inbound-ports", str(peer.port), inbound=True)
        assert ask(lambda: caller.connect(app.ipv4, peer.port), b"x") == b"x"
        assert peer.accepted[0][0][0] == caller.ipv4, "nobody in between"
        assert ask(lambda: caller.connect(app.ipv4, other.port), b"x") == b"x"
        assert [line.split()[1] for line in lab.log.wait()] == [f"{app.ipv4}:{other.port}"]


def test_probes_reach_the_application(lab, app, caller, server):
    with Peer(app.listen(), peers.echo) as peer:
        lab.start("--probe-sources", f"{caller.ipv4}/32", inbound=True)
        assert ask(lambda: caller.connect(app.ipv4, peer.port), b"x") == b"x"
        assert peer.accepted[0][0][0] == caller.ipv4
        assert ask(lambda: server.connect(app.ipv4, peer.port), b"x") == b"x"
        assert peer.accepted[1][0][0] == "127.0.0.6"
        assert len(lab.log.wait()) == 1


def test_rules_change_by_enrolling_again(lab, app, server):
    with Peer(server.listen(), peers.echo) as peer:
        lab.start()
        assert ask(lambda: app.connect(server.ipv4, peer.port), b"x") == b"x"
        lab.log.wait(1)
        lab.node.enrol(app, "--no-inbound", "--exclude-outbound-ports", str(peer.port))
        assert ask(lambda: app.connect(server.ipv4, peer.port), b"x") == b"x"
        assert len(lab.log.lines()) == 1


def test_decisions_are_counted(lab, app, server):
    with Peer(server.listen(), peers.echo) as peer:
        lab.start("--exclude-outbound-ports", "4444")
        assert ask(lambda: app.connect(server.ipv4, peer.port), b"x") == b"x"
        with pytest.raises(ConnectionRefusedError):
            app.connect(server.ipv4, 4444)
        counters = json.loads(lab.node.ctl("counters", "--all", "-o", "json").stdout)
        assert counters["outbound.redirected.default"] == 1
        assert counters["outbound.passed.excluded_port"] == 1
        assert counters["outbound.passed.proxy"] >= 1, "sluiced's own connection"
        assert counters["bridge.entries"] == 0


# ---- when sluiced is away ----
def end(lab, number=signal.SIGKILL):
    """Ends sluiced and waits until the kernel has closed its listening sockets: io_uring lets go of them a moment after the process
    is gone, and a connection made in that moment is reset."""
    lab.node.proxy.process.signal(number)
    lab.node.proxy.process.wait()
    wait_until(lambda: not any(w["listening"][side] for w in json.loads(lab.node.ctl("workloads", "-o", "json").stdout)
                               for side in w["listening"]), what="the listening sockets gone")


@pytest.mark.both_backends
def test_killed_and_closed_nothing_leaves(lab, app, server):
    lab.start()
    with Peer(server.listen(), peers.echo) as peer:
        assert ask(lambda: app.connect(server.ipv4, peer.port), b"x") == b"x"
        with PacketCounter(app.path) as wire:
            end(lab)
            for _ in range(5):
                with pytest.raises(ConnectionRefusedError):
                    app.connect(server.ipv4, peer.port, timeout=2)
            assert wire.count(outgoing=True, target=server.ipv4, flags=SYN) == 0
        assert peer.count() == 1


def test_killed_and_open_goes_straight(lab, app, server):
    lab.start("--fail-mode", "open")
    with Peer(server.listen(), peers.echo) as peer:
        assert ask(lambda: app.connect(server.ipv4, peer.port), b"x") == b"x"
        lab.log.wait(1)
        end(lab)
        assert ask(lambda: app.connect(server.ipv4, peer.port), b"y") == b"y"
        assert len(lab.log.lines()) == 1


def test_killed_inbound_closed(lab, app, caller):
    lab.start(inbound=True)
    with Peer(app.listen(), peers.echo) as peer:
        end(lab)
        with pytest.raises(ConnectionRefusedError):
            caller.connect(app.ipv4, peer.port, timeout=2)
        assert ask(lambda: app.connect("127.0.0.1", peer.port), b"x") == b"x", "the pod's own loopback is not the proxy's business"


@pytest.mark.both_backends
def test_restart_takes_up_where_it_was(lab, app, server):
    lab.start()
    with Peer(server.listen(), peers.echo) as peer:
        for how in (signal.SIGKILL, signal.SIGTERM):
            end(lab, how)
            with pytest.raises(ConnectionRefusedError):
                app.connect(server.ipv4, peer.port, timeout=2)
            lab.node.start(lab.config)
            wait_until(lambda: ask(lambda: app.connect(server.ipv4, peer.port), b"x") == b"x", what="an answer after the restart")


def test_release(lab, app, server):
    lab.start()
    with Peer(server.listen(), peers.echo) as peer:
        lab.node.release(app)
        assert ask(lambda: app.connect(server.ipv4, peer.port), b"x") == b"x"
        assert lab.log.lines() == []
        assert json.loads(lab.node.ctl("workloads", "-o", "json").stdout) in ([], {"workloads": []})


# ---- looking inside ----
def test_redirects_show_live_connections(lab, app, server):
    lab.start()
    with Peer(server.listen(), peers.echo) as peer, app.connect(server.ipv4, peer.port) as sock:
        sock.sendall(b"x")
        receive_exactly(sock, 1)
        assert f"{server.ipv4}:{peer.port}" in lab.node.ctl("redirects").stdout
        assert f"{server.ipv4}:{peer.port}" in json.dumps(lab.redirects())
        assert app.name in lab.node.ctl("workloads").stdout
        joined = lab.node.ctl("connections").stdout
        assert f"{server.ipv4}:{peer.port}" in joined
    wait_until(lambda: f"{server.ipv4}:{peer.port}" not in json.dumps(lab.redirects()), what="the redirect gone with its socket")


def test_uninstall_leaves_nothing(lab, app, server):
    lab.start(inbound=True)
    with Peer(server.listen(), peers.echo) as peer:
        assert ask(lambda: app.connect(server.ipv4, peer.port), b"x") == b"x"
        lab.node.proxy.stop()
        done = lab.node.ctl("uninstall")
        assert done.returncode == 0
        assert not lab.node.pins.exists()
        assert ask(lambda: app.connect(server.ipv4, peer.port), b"x") == b"x"
    from support.process import run
    attached = run("bpftool", "-j", "cgroup", "show", str(lab.world.cgroup)).stdout.strip()
    assert attached in ("", "[]"), attached


def test_a_program_that_gets_in_front_is_noticed(lab, app, server):
    """Another load balancer attaches itself before our connect4 while sluiced runs: statistics, one line in the log, sluicectl."""
    helper = require("sluice_foreign_program")
    proxy = lab.start()
    assert [proxy.admin.stat(f"redirect.hooks.{x}") for x in ("attached", "first", "changed")] == [6, 1, 0]
    other = subprocess.Popen([helper, str(lab.world.cgroup)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        said = other.stdout.readline()
        if said == "unsupported\n":
            pytest.skip("this kernel cannot put a program in front of others")
        assert said == "ready\n", other.stderr.read()
        proxy.wait_stat("redirect.hooks.changed", 1, 15)
        assert proxy.admin.stat("redirect.hooks.first") == 0
        order = "2 of 2 on connect4 (in running order: other_lb, sluice_connect4)"
        assert order in lab.node.ctl("check", check=False).stdout
        assert f"warning: hooks: {order}" in lab.node.ctl("workloads").stdout
        said = [line for line in proxy.process.stderr().splitlines() if "another program runs before ours" in line]
        assert len(said) == 1 and order in said[0]
    finally:
        other.communicate("", timeout=20)
    proxy.wait_stat("redirect.hooks.changed", 2, 15)
    assert proxy.admin.stat("redirect.hooks.first") == 1
    assert "warning" not in lab.node.ctl("workloads").stdout
    with Peer(server.listen(), peers.echo) as peer:
        assert ask(lambda: app.connect(server.ipv4, peer.port), b"x") == b"x"


def test_check_says_what_this_host_offers(lab):
    done = lab.node.ctl("check", check=False)
    assert re.search(r"(?i)btf", done.stdout) and re.search(r"(?i)cgroup", done.stdout)
    items = {i["name"]: i for i in json.loads(lab.node.ctl("check", "-o", "json", check=False).stdout)["items"]}
    has = "tls" in pathlib.Path("/proc/sys/net/ipv4/tcp_available_ulp").read_text().split()
    assert items["kTLS"]["outcome"] == "ok" and items["kTLS"]["found"].startswith("the kernel has it" if has else "the kernel has none")


def test_enrolling_nonsense_is_refused(lab):
    lab.start()
    done = lab.node.ctl("enrol", "ghost", "/run/netns/there-is-no-such", check=False)
    assert done.returncode != 0 and "/run/netns/there-is-no-such" in done.stderr
    done = lab.node.ctl("release", "ghost", check=False)
    assert done.returncode != 0 and "ghost" in done.stderr


@pytest.mark.both_backends
def test_two_workloads_with_one_proxy(lab, app, caller, server):
    """Both pods' connections go through the one sluiced, each from its own address."""
    lab.start()
    lab.node.enrol(caller, "--no-inbound")
    with Peer(server.listen(), peers.echo) as peer:
        for pod in (app, caller):
            assert ask(lambda pod=pod: pod.connect(server.ipv4, peer.port), b"x") == b"x"
        assert [remote[0] for remote, _ in peer.accepted] == [app.ipv4, caller.ipv4]


def test_listener_of_the_registry(lab, app):
    """A bind_to_port: false listener answers for an address that nobody has."""
    config = mesh(lab.log, outbound="BlackHoleCluster")
    config["static_resources"]["listeners"].append(
        listener(7777, chain(direct_response("here")), address="10.96.7.7", bind_to_port=False, traffic_direction="OUTBOUND"))
    lab.start(config=config)
    assert ask(lambda: app.connect("10.96.7.7", 7777)) == b"here"
