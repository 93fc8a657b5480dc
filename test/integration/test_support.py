"""The test support itself: what the other cases take for granted."""
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile

import pytest

from support import paths, peers, pod, yamltext
from support.dns import DnsServer
from support.packets import SYN, PacketCounter
from support.peers import Peer, ask, ending, reset
from support.process import CommandFailed, Process
from support.proxies import iptables_redirect, nat_rules
from support.wait import Timeout, wait_until

pytestmark = pytest.mark.root

CHILD = """
import sys
sys.path.insert(0, {path!r})
from support.pod import World
with World() as world:
    a = world.pod("a")
    a.start("sleeper", ["tail", "-f", "/dev/null"])
    a.listen()
    print("up", flush=True)
    sys.stdin.read()
"""


def child():
    """A process with a world of its own, and its id."""
    text = CHILD.format(path=str(pathlib.Path(pod.__file__).parents[1]))
    text = "import signal\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(1))\n" + text
    made = subprocess.Popen([sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert made.stdout.readline() == "up\n"
    return made, f"{pod.PREFIX}{made.pid}"


def things(name):
    return [entry for entry in pod.owned_names() if entry[1].startswith(name)]


def test_pods_reach_each_other_over_both_families(app, server):
    for address, family in ((server.ipv4, "0.0.0.0"), (server.ipv6, "::")):
        with Peer(server.listen(family), peers.echo) as peer:
            assert ask(lambda: app.connect(address, peer.port), b"x") == b"x"
            assert peer.accepted[0][0][0] in (app.ipv4, app.ipv6)


def test_sockets_belong_to_the_pod(app):
    """The namespace and the cgroup of a socket that the test process uses are the pod's."""
    with app.socket() as sock:
        assert int.from_bytes(sock.getsockopt(socket.SOL_SOCKET, 71, 8), "little") == app.cookie()
    assert app.run("cat", "/proc/self/cgroup").stdout.splitlines()[-1].endswith(f"/{app.world.id}/{app.short}")


def test_a_cgroup_goes_also_while_programs_still_enter_it(world):
    """An interrupted start leaves programs that move themselves into the cgroup when it is already being removed."""
    path = world.make_cgroup("late")
    # Each child enters as a launched program does, and gives up when there is nothing to enter.
    late = "for i in $(seq 200); do sh -c 'echo $$ > \"$0/cgroup.procs\" && exec tail -f /dev/null' \"$0\" 2>/dev/null & done; wait"
    entering = subprocess.Popen(["sh", "-c", late, path], stdin=subprocess.DEVNULL)
    try:
        wait_until(lambda: (path / "cgroup.procs").read_text(), what="somebody inside")
        world.remove_cgroup(path)
        assert entering.wait(20) == 0
    finally:
        entering.kill()
        entering.wait()
    assert not path.exists()


def test_the_host_is_untouched(world):
    links = subprocess.run(["ip", "-o", "link"], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert world.id not in links and "br0" not in links


def test_peers_end_as_they_say(app, server):
    with Peer(server.listen(), peers.fin_at_once) as peer, app.connect(server.ipv4, peer.port) as sock:
        assert ending(sock) == "fin"
    with Peer(server.listen(), peers.reset_on_data) as peer, app.connect(server.ipv4, peer.port) as sock:
        sock.sendall(b"x")
        assert ending(sock) == "rst"
    with Peer(server.listen(), peers.hold) as peer, app.connect(server.ipv4, peer.port) as sock:
        assert ending(sock, 0.2) == "open"
    ended = []
    with Peer(server.listen(), lambda peer, sock: ended.append(ending(sock))) as peer:
        sock = app.connect(server.ipv4, peer.port)
        peer.wait_connections()
        reset(sock)
        wait_until(lambda: ended == ["rst"])


def test_blackhole_neither_accepts_nor_refuses(app, server):
    with peers.blackhole(server) as port, app.socket() as sock:
        sock.settimeout(0.3)
        with pytest.raises((TimeoutError, socket.timeout)):
            sock.connect((server.ipv4, port))


def test_packets_are_counted(app, server):
    with PacketCounter(app.path) as wire, Peer(server.listen(), peers.echo) as peer:
        assert ask(lambda: app.connect(server.ipv4, peer.port), b"12345") == b"12345"
        wait_until(lambda: wire.count(target=server.ipv4, target_port=peer.port, flags=SYN, outgoing=True) == 1)
        wait_until(lambda: wire.count(source_port=peer.port, payload=5, outgoing=False) == 1)
        assert wire.count(target_port=peer.port + 1) == 0


def test_redirect_rules_come_and_go(app):
    assert nat_rules(app) == []
    with iptables_redirect(app, 15001, 15006):
        assert any("15001" in rule for rule in nat_rules(app))
    assert nat_rules(app) == []


def test_dns_answers(app):
    with DnsServer(app) as dns:
        dns.records["a.test"] = ["10.0.0.1", "fd00::1"]
        for kind, address in ((1, b"\x0a\x00\x00\x01"), (28, socket.inet_pton(socket.AF_INET6, "fd00::1"))):
            with app.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.sendto(b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x04test\x00\x00" + bytes([kind]) + b"\x00\x01",
                            (dns.address, dns.port))
                answer = sock.recv(512)
                assert answer[:2] == b"\x12\x34" and answer[3] & 15 == 0 and answer[7] == 1 and answer.endswith(address)


def test_a_process_that_ends_early_is_loud(world):
    process = Process("early", ["sh", "-c", "echo the reason >&2; exit 3"], world.directory)
    with pytest.raises(CommandFailed, match="(?s)status 3.*the reason"):
        wait_until(lambda: False, 5, alive=process.check_running)


def test_waiting_says_what_for():
    with pytest.raises(Timeout, match=r"the moon.*last: AssertionError\(7\)"):
        wait_until(_seven, 0.05, "the moon")


def _seven():
    raise AssertionError(7)


def test_yaml_text():
    value = {"a": [{"b": 1, "c": ["x", {"d": "80"}]}, []], "e": {}, "f": "on", "g": "a: b", "h": True, "@type": "t/x"}
    assert yamltext.dump(value) == ('a:\n- b: 1\n  c:\n  - x\n  - d: "80"\n- []\ne: {}\nf: "on"\ng: "a: b"\nh: true\n"@type": t/x\n')


def test_sigterm_leaves_nothing():
    made, name = child()
    assert things(name)
    made.send_signal(signal.SIGTERM)
    made.wait(20)
    assert things(name) == []


def test_sigkill_is_swept_up_by_the_next_run():
    made, name = child()
    (paths.BPFFS / name / "v1").mkdir(parents=True)  # a bpffs folder, as sluiced makes them
    left = things(name)
    assert {kind for kind, *_ in left} == {"netns", "cgroup", "directory", "pins"}
    made.kill()
    made.wait(20)
    assert things(name) == left
    pod.sweep()
    wait_until(lambda: pod.sweep() or things(name) == [], what="the killed run's leftovers gone")
    alive = [p for p in os.listdir("/proc") if p.isdigit() and name in _read(f"/proc/{p}/cgroup")]
    assert not [p for p in alive if _read(f"/proc/{p}/stat").rpartition(")")[2].split()[0] != "Z"]
    assert not list(pathlib.Path(tempfile.gettempdir()).glob(f"{name}-*"))


def _read(path):
    try:
        return pathlib.Path(path).read_text()
    except OSError:
        return ") Z"
