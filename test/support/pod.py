"""Pods: network namespaces on a bridge that is itself in a namespace of its own ("the node"), each with a cgroup2 child.

Nothing here touches the host's own interfaces, routes or rules: veth pairs are made inside the namespaces.
"""
import contextlib
import ctypes
import json
import os
import pathlib
import shutil
import signal
import socket
import tempfile
import threading

from support import paths
from support.process import Process, run
from support.wait import patience, wait_until

PREFIX = "slt"  # names of what we make: slt<pid>-...
_libc = ctypes.CDLL("libc.so.6", use_errno=True)
_CLONE_NEWNET = 0x40000000


@contextlib.contextmanager
def inside(netns_path):
    """The calling thread works in another network namespace until the block ends."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(netns_path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.setns(there, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {netns_path}")
        try:
            yield
        finally:
            if _libc.setns(home, _CLONE_NEWNET):
                os.abort()  # to go on in the wrong namespace would touch somebody else's network
    finally:
        os.close(there)
        os.close(home)


class Netns:
    """A named network namespace with loopback up."""

    def __init__(self, name):
        self.name = name
        self.path = f"/run/netns/{name}"
        run("ip", "netns", "add", name)
        try:
            run("ip", "-n", name, "link", "set", "lo", "up")
        except BaseException:
            self.delete()
            raise

    def ip(self, *arguments, check=True):
        return run("ip", "-n", self.name, *arguments, check=check)

    def sysctl(self, key, value):
        """Sets a namespaced sysctl, e.g. ("net/ipv4/ip_local_port_range", "20000 60000")."""
        with inside(self.path):
            pathlib.Path("/proc/sys", key).write_text(str(value))

    def cookie(self):
        """The kernel's SO_NETNS_COOKIE: what our BPF maps are keyed by."""
        with inside(self.path), socket.socket() as probe:
            return int.from_bytes(probe.getsockopt(socket.SOL_SOCKET, 71, 8), "little")

    def delete(self):
        run("ip", "netns", "del", self.name, check=False)


class Pod(Netns):
    """A namespace with eth0 on the node's bridge (IPv4 and IPv6), a cgroup2 child, and an agent that makes its sockets."""

    def __init__(self, world, name, number):
        super().__init__(f"{world.id}-{name}")
        self.world, self.short = world, name
        self.ipv4, self.ipv6 = f"10.77.{number // 250}.{number % 250 + 2}", f"fd77::{number + 2:x}"
        self.cgroup = world.make_cgroup(name)
        self._lock = threading.Lock()
        self._agent = self._channel = None
        try:
            self.host_veth = f"v{number}"
            world.node.ip("link", "add", self.host_veth, "type", "veth", "peer", "name", "eth0", "netns", self.name)
            world.node.ip("link", "set", self.host_veth, "master", "br0", "up")
            self.ip("link", "set", "eth0", "up")
            self.ip("addr", "add", f"{self.ipv4}/16", "dev", "eth0")
            self.ip("-6", "addr", "add", f"{self.ipv6}/64", "dev", "eth0", "nodad")
            self.ip("route", "add", "default", "via", world.gateway4)
            self.ip("-6", "route", "add", "default", "via", world.gateway6)
        except BaseException:
            self.close()
            raise

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_STREAM, protocol=0):
        """A new socket of this pod (its namespace, its cgroup), usable in the test process."""
        with self._lock:
            if self._agent is None:
                self._start_agent()
            self._channel.send(json.dumps([int(family), int(kind), protocol]).encode())
            answer, fds, _, _ = socket.recv_fds(self._channel, 4096, 1)
        if not fds:
            raise OSError(f"{self.name}: no socket: {answer[1:].decode() or self._agent.describe()}")
        made = socket.socket(fileno=fds[0])
        made.settimeout(patience(10))
        return made

    def connect(self, address, port, timeout=5.0, family=None):
        """A connected TCP socket, as an app in this pod would have it."""
        if family is None:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
        sock = self.socket(family)
        sock.settimeout(patience(timeout))
        try:
            sock.connect((address, port))
        except BaseException:
            sock.close()
            raise
        return sock

    def listen(self, address="0.0.0.0", port=0, backlog=512):
        """A listening TCP socket in this pod; port 0 lets the kernel choose (getsockname tells)."""
        sock = self.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        sock.settimeout(None)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if ":" in address:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        sock.listen(backlog)
        return sock

    def free_port(self):
        """A TCP port nobody in this pod uses now, taken outside the ephemeral range so that no client gets it meanwhile."""
        return self.world.next_port()

    def start(self, name, command, **options):
        """A long-running program in this pod; the pod ends it when it is closed."""
        process = Process(f"{self.short}-{name}-{self.world.next_number()}", command, self.world.directory, netns=self.path,
                          cgroup=options.pop("cgroup", self.cgroup), **options)
        self.world.processes.append(process)
        return process

    def run(self, *command, check=True, timeout=60, stdin=None):
        """A short command in this pod (namespace and cgroup); returns the CompletedProcess."""
        from support.process import launcher
        return run(*launcher(self.path, self.cgroup), *command, check=check, timeout=timeout, stdin=stdin)

    def _start_agent(self):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._agent = self.start("agent", ["/usr/bin/python3", "-S", "-I", str(pathlib.Path(__file__).with_name("agent.py")),
                                               str(theirs.fileno())], pass_fds=[theirs.fileno()])
        ours.settimeout(patience(20))
        self._channel = ours

    def close(self):
        if self._channel is not None:
            self._channel.close()
            self._channel = None
        if self._agent is not None:
            self._agent.stop()
            self._agent = None
        self.delete()
        self.world.remove_cgroup(self.cgroup)


class World:
    """The node (a namespace with a bridge) and its pods. A context manager: everything made through it is gone afterwards."""

    gateway4, gateway6 = "10.77.255.254", "fd77::ffff"

    def __init__(self, prefix=PREFIX):
        sweep(prefix)
        self.id = f"{prefix}{os.getpid()}"
        self.pods, self.processes = [], []
        self._ports, self._numbers = iter(range(10000, 19999)), iter(range(1, 1000000))
        self._guard = threading.Lock()
        self.node = None
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix=f"{self.id}-"))
        root = paths.cgroup2()
        self.cgroup = root / self.id if root else None
        try:
            if self.cgroup:
                self.cgroup.mkdir(exist_ok=True)
            self.node = Netns(f"{self.id}-node")
            self.node.ip("link", "add", "br0", "type", "bridge")
            self.node.ip("link", "set", "br0", "up")
            self.node.ip("addr", "add", f"{self.gateway4}/16", "dev", "br0")
            self.node.ip("-6", "addr", "add", f"{self.gateway6}/64", "dev", "br0", "nodad")
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def next_port(self):
        with self._guard:
            return next(self._ports)

    def next_number(self):
        with self._guard:
            return next(self._numbers)

    def pod(self, name):
        made = Pod(self, name, self.next_number())
        self.pods.append(made)
        return made

    def node_process(self, name, command):
        """A long-running program on the node: the node's network namespace, no pod's cgroup."""
        process = Process(f"node-{name}-{self.next_number()}", command, self.directory, netns=self.node.path)
        self.processes.append(process)
        return process

    def make_cgroup(self, name):
        if self.cgroup is None:
            return None
        path = self.cgroup / name
        path.mkdir()
        return path

    def remove_cgroup(self, path):
        if path is None or not path.exists():
            return
        # Whoever is in it was started by us: an interrupt can come between a program's start and its entry in `processes`, even before
        # the program has moved itself in here. So it is killed (all of its children at once: Linux 5.14) until it can be removed.
        def removed():
            (path / "cgroup.kill").write_text("1")
            # A process that is ending is in nobody's list any more, and keeps its cgroup busy a little longer: cgroup.events tells.
            events = (path / "cgroup.events").read_text()
            assert "populated 0" in events, _members(path)
            for child in sorted(path.glob("**/"), key=lambda p: -len(p.parts)):
                child.rmdir()
            return not path.exists()

        wait_until(removed, 10, f"{path} removed")

    def close(self):
        """Ends every process, then removes pods, node, cgroups and files. Goes on after an error and raises the first at the end."""
        first = None
        steps = [*(p.stop for p in reversed(self.processes)), *(p.close for p in self.pods),
                 *([self.node.delete] if self.node else []), lambda: self.remove_cgroup(self.cgroup),
                 lambda: run("rm", "-rf", str(self.directory))]
        for step in steps:
            try:
                step()
            except Exception as error:  # the rest must be cleaned up all the same
                first = first or error
        self.pods, self.processes, self.node = [], [], None
        if first:
            raise first


def _members(cgroup):
    """Who is in a cgroup and its children, and where in the kernel each stands: for messages."""
    found = []
    for pid in {pid for procs in cgroup.glob("**/cgroup.procs") for pid in procs.read_text().split()}:
        try:
            state = next(line for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("State"))
            command = pathlib.Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
            found.append(f"pid {pid} ({command.strip()}) {state} in {pathlib.Path(f'/proc/{pid}/wchan').read_text()}")
        except OSError:
            pass  # gone meanwhile
    return "; ".join(found) or "processes that are ending"


def _alive(pid):
    return pathlib.Path(f"/proc/{pid}").exists()


def owned_names(prefix=PREFIX):
    """(kind, name, pid) of every namespace, cgroup, directory and bpffs folder that a run of ours made, dead or alive."""
    found = []
    places = [("netns", pathlib.Path("/run/netns")), ("directory", pathlib.Path(tempfile.gettempdir()))]
    places += [("cgroup", paths.cgroup2())] if paths.cgroup2() else []
    places += [("pins", paths.BPFFS)] if os.access(paths.BPFFS, os.R_OK) else []
    for kind, place in places:
        for entry in place.iterdir() if place.exists() else []:
            digits = entry.name[len(prefix):].split("-")[0]
            if entry.name.startswith(prefix) and digits.isdigit():
                found.append((kind, entry.name, int(digits)))
    return found


def sweep(prefix=PREFIX):
    """Removes what a run that was killed (SIGKILL, power) left behind; those of living runs stay."""
    for kind, name, pid in owned_names(prefix):
        if _alive(pid):
            continue
        if kind == "netns":
            run("ip", "netns", "del", name, check=False)
        elif kind == "pins":  # programs and maps go with their last pin
            shutil.rmtree(paths.BPFFS / name, ignore_errors=True)
        elif kind == "directory":
            shutil.rmtree(pathlib.Path(tempfile.gettempdir()) / name, ignore_errors=True)
        else:
            top = paths.cgroup2() / name
            for procs in top.glob("**/cgroup.procs"):
                for left in procs.read_text().split():
                    os.kill(int(left), signal.SIGKILL)
            for child in sorted(top.glob("**/"), key=lambda p: -len(p.parts)):
                with contextlib.suppress(OSError):
                    child.rmdir()
