"""Behind tools/quickstart: two pods, stock programs in them, and what sluice does with their connections, step by step."""
import os
import pathlib
import re
import shutil
import signal
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1] / "test")]

import host  # noqa: E402
import mtls  # noqa: E402
import standalone  # noqa: E402
from screen import Screen  # noqa: E402
from support import leaks, paths  # noqa: E402
from support.packets import SYN, PacketCounter  # noqa: E402
from support.pod import World  # noqa: E402
from support.process import CommandFailed, run  # noqa: E402
from support.proxies import AccessLog, Missing, Node  # noqa: E402
from support.wait import Timeout, wait_until  # noqa: E402
from web import start_versions, start_web  # noqa: E402

REGISTRY_SERVICE = "10.96.0.80"  # nobody has this address; the configuration says where its endpoint is
HTTP_SERVICE = "10.96.0.81"  # nor this one: an HTTP service in two versions


class Tour:
    """The steps, in order. `pods`: shop (curl) and web (a stock web server), both enrolled."""

    def __init__(self, screen, world):
        self.screen, self.world = screen, world
        self.node = Node(world)
        self.log = AccessLog(world.directory / "access.log")
        self.shop = self.web = None
        self.rules = set()  # packet-filter rules seen at any moment

    # ---- helpers ----
    def configure(self, policy):
        text = (HERE / "mesh.yaml").read_text()
        return text.replace("{{policy}}", policy).replace("{{log}}", str(self.log.path)).replace("{{web}}", self.web.ipv4)

    def start(self, policy, why=""):
        path = self.world.directory / f"mesh-{policy}.yaml"
        path.write_text(self.configure(policy))
        self.screen.command("sluiced", "-c", path.name, "--redirect", "ebpf", where="node")
        self.node.start_file(path, 15000)

    def ctl(self, *arguments, limit=12, check=True):
        """Runs sluicectl and shows what it says."""
        self.screen.command("sluicectl", *arguments, where="node")
        done = self.node.ctl(*arguments, check=check)
        self.screen.output(done.stdout or done.stderr, limit)
        return done

    def curl(self, url, *options, pod=None):
        """curl in a pod: (exit status, output, its error text)."""
        pod = pod or self.shop
        self.screen.command("curl", url, where=pod.short)
        done = pod.run("curl", "-sS", "-m", "5", *options, url, check=False)
        return done.returncode, done.stdout, done.stderr.strip()

    def look_for_rules(self):
        for netns in (self.shop, self.web, self.world.node):
            self.rules |= {f"{netns.name}: {rule}" for rule in host.rules(netns.path)}

    def log_line(self, wanted, before):
        """The access-log line that matches, among those written since `before`; shown."""
        found = wait_until(lambda: [x for x in self.log.lines()[before:] if re.search(wanted, x)], 5, f"a line with {wanted} in the access log")
        self.screen.output(found[0])
        return found[0]

    # ---- steps ----
    def pods(self):
        self.screen.step("Two pods", "Network namespaces on a bridge, each with its own cgroup, as a container runtime makes them.")
        self.shop, self.web = self.world.pod("shop"), self.world.pod("web")
        server = start_web(self.web)
        start_versions(self.web)
        for pod, what in ((self.shop, "curl"), (self.web, server)):
            self.screen.say(f"{pod.short:5} {pod.ipv4}  {pod.ipv6}  netns {pod.name}  runs {what}")
        for port in (80, 8081, 8082):
            wait_until(lambda: self.shop.run("curl", "-sf", f"http://{self.web.ipv4}:{port}/", check=False).returncode == 0, 30, "the web servers")
        self.screen.check(True, "shop reaches web directly: no proxy yet")

    def enrol(self):
        self.screen.step("sluiced on the node, both pods enrolled", "From here on eBPF steers what the pods connect to, and what connects to "
                         "them, into sluiced. (Its pins, state and socket are this tour's own; those options are left out here.)")
        self.start("PassthroughCluster")
        for pod in (self.shop, self.web):
            self.screen.command("sluicectl", "enrol", pod.short, pod.path, where="node")
            self.node.ctl("enrol", pod.short, pod.path)
        self.ctl("workloads")
        self.look_for_rules()
        self.screen.check(not self.rules, "no iptables or nft rule in any of the namespaces")

    def app_view(self):
        self.screen.step("The application's view", "curl knows nothing of a proxy; remote_ip is what getpeername() told it.")
        before = len(self.log.lines())
        status, output, error = self.curl(f"http://{self.web.ipv4}/", "-w", "\\nasked for %{url}, connected to %{remote_ip}:%{remote_port}")
        self.screen.output(output or error)
        self.screen.check(status == 0 and "Welcome" in output, "the answer came")
        self.screen.check(f"connected to {self.web.ipv4}:80" in output, f"getpeername shows {self.web.ipv4}:80, the address it asked for")
        return before

    def kernel_view(self):
        self.screen.step("The redirect as the kernel holds it", "A slow download stays open; its original destination lives in the socket's own "
                         "storage.")
        slow = self.shop.start("slow", ["curl", "-s", "--limit-rate", "20k", "-o", "/dev/null", f"http://{self.web.ipv4}/big"])
        port = re.escape(f"{self.web.ipv4}:80")
        wait_until(lambda: re.search(port, self.node.ctl("redirects").stdout), 5, "the redirect")
        listed = self.ctl("redirects").stdout
        self.screen.check(re.search(port, listed) is not None, f"the kernel remembers {self.web.ipv4}:80")
        self.screen.command("ss", "-tn", "dport = :15001", where="shop")
        seen = self.shop.run("ss", "-tn", "dport = :15001").stdout
        self.screen.output(seen, 4)
        self.screen.check(":15001" in seen, "the socket itself is connected to sluiced, in the pod's own namespace")
        self.ctl("connections")
        slow.stop()

    def access_log(self, before):
        self.screen.step("The proxy's access log", "The same request: virtualOutbound took it with the original destination, and because web is "
                         "enrolled too, virtualInbound (15006) received it.")
        outbound = self.log_line(r"virtualOutbound-catchall-tcp", before)
        self.screen.check(f"wanted {self.web.ipv4}:80" in outbound and "PassthroughCluster" in outbound,
                          "outbound: original destination, PassthroughCluster")
        inbound = self.log_line(r"chain virtualInbound\b", before)
        self.screen.check(f"wanted {self.web.ipv4}:80" in inbound and self.shop.ipv4 in inbound,
                          "inbound: on any port, the local address is the original destination")

    def registry_only(self):
        self.screen.step("ALLOW_ANY against REGISTRY_ONLY", f"sluiced again, with BlackHoleCluster where PassthroughCluster was. {REGISTRY_SERVICE} is a "
                         "service of the registry, and nobody's address; web's own address is not in the registry.")
        self.node.stop_proxy()
        self.start("BlackHoleCluster")
        before = len(self.log.lines())
        status, output, error = self.curl(f"http://{self.web.ipv4}/")
        self.screen.output(error or output)
        self.screen.check(status != 0, "an address outside the registry is refused")
        self.log_line("BlackHoleCluster", before)
        status, output, error = self.curl(f"http://{REGISTRY_SERVICE}/")
        self.screen.check(status == 0 and "Welcome" in output, f"{REGISTRY_SERVICE}: the registry's service answers")
        self.log_line(re.escape(REGISTRY_SERVICE), before)
        self.look_for_rules()

    def http_route(self):
        self.screen.step("An HTTP route on intercepted traffic", f"{HTTP_SERVICE} is an HTTP service: /catalog/ goes to its versions by weight (60 to 40), its "
                         "path rewritten and a header added to the answer; one of the endpoints behind /fragile does not exist.")
        before = len(self.log.lines())
        status, output, error = self.curl(f"http://{HTTP_SERVICE}/catalog/index.html", "-i")
        self.screen.output(output or error)
        self.screen.check(status == 0 and "catalog, version" in output and "x-served-by: outbound|80|v" in output,
                          "routed by path, rewritten to /index.html, answered with the header added")
        self.log_line(r"GET /catalog/index.html as /index.html: 200", before)
        self.screen.command("for i in 1..100: curl", f"http://{HTTP_SERVICE}/catalog/", where="shop")
        done = self.shop.run("curl", "-sS", "-m", "20", *[f"http://{HTTP_SERVICE}/catalog/?{i}" for i in range(100)], check=False)
        counts = [done.stdout.count(f"version {n}") for n in (1, 2)]
        self.screen.output(f"version 1: {counts[0]}   version 2: {counts[1]}")
        self.screen.check(sum(counts) == 100 and 40 <= counts[0] <= 80, "100 requests on one connection, spread 60 to 40")
        before = len(self.log.lines())
        answers = [self.curl(f"http://{HTTP_SERVICE}/fragile", "-o", "/dev/null", "-w", "%{http_code} after %header{x-envoy-attempt-count} attempt(s)")
                   for _ in range(2)]
        for _, output, error in answers:
            self.screen.output(output or error)
        self.screen.check(all(output.startswith("200") for _, output, _ in answers) and any("after 2" in output for _, output, _ in answers),
                          "both requests are answered: one of them was saved by a retry on the other endpoint")
        self.log_line(r"GET /fragile .*200 .*attempts 2", before)

    def killed(self):
        self.screen.step("sluiced is killed", "The pods were enrolled with fail mode closed (the default): the kernel refuses, nothing leaves in "
                         "clear. Counted on the wire of shop.")
        with PacketCounter(self.shop.path) as wire:
            self.screen.command("kill", "-9", self.node.proxy.process.pid, where="node")
            self.node.proxy.process.kill()
            # The kernel lets go of io_uring's sockets a moment after the process is gone.
            wait_until(lambda: self.node.ctl("workloads").stdout.count("NO PROXY") == 4, 5, "the listening sockets gone")
            self.ctl("workloads")
            codes = []
            for _ in range(3):
                status, _, error = self.curl(f"http://{self.web.ipv4}/")
                codes.append(status)
            self.screen.output(error)
            self.screen.check(set(codes) == {7}, "connections are refused at once (curl's exit status 7)")
            sent = wire.count(outgoing=True, target=self.web.ipv4, flags=SYN)
            self.screen.check(sent == 0, f"{sent} packets left shop for {self.web.ipv4}")
        self.look_for_rules()

    def back(self):
        self.screen.step("sluiced comes back", "Programs, maps and enrolments stayed in the kernel; it takes them up.")
        self.start("PassthroughCluster")
        wait_until(lambda: self.shop.run("curl", "-sf", f"http://{self.web.ipv4}/", check=False).returncode == 0, 10, "an answer")
        before = len(self.log.lines())
        status, output, error = self.curl(f"http://{self.web.ipv4}/")
        self.screen.check(status == 0, "works again, nothing was enrolled anew")
        self.log_line(" PassthroughCluster", before)

    def life(self):
        """The traced life of one connection, by tools/bpftrace."""
        title, trace = "The life of one connection", paths.ROOT / "tools" / "bpftrace" / "trace"
        if not os.access(trace, os.X_OK) or not shutil.which("bpftrace"):
            return self.screen.skip(title, "tools/bpftrace or bpftrace itself is not here (tools/setup installs it)")
        self.screen.step(title, "Kernel tracepoints and the proxy's own probes on one time line; no kprobe.")
        self.screen.command("tools/bpftrace/trace", "connection-life", where="node")
        tracer = self.world.node_process("life", [trace, "connection-life", paths.program("sluiced"), "15001"])
        try:
            wait_until(lambda: tracer.stdout().strip(), 30, "the tracer's start", alive=tracer.check_running)
            for tries in (2, 1, 0):
                self.curl(f"http://{self.web.ipv4}/")
                # Each processor's events come in order, those of two processors need not: the proxy's own may be the last.
                try:
                    wait_until(lambda: tracer.stdout().count("> CLOSE") >= 3 and " sluice " in tracer.stdout(), 10,
                               "the end of the connection in the trace, and what the proxy did", alive=tracer.check_running)
                    break
                except Timeout:
                    if not tries:  # bpftrace speaks before the last of its probes is in place: that connection may have been too early
                        raise
        except (CommandFailed, Timeout) as error:
            self.screen.output(str(error) + tracer.stderr() + tracer.stdout(), 40)
            return self.screen.check(False, "the tracer showed the connection")
        finally:
            tracer.stop()
        self.screen.output(tracer.stdout(), 40)
        return self.screen.check(" sluice " in tracer.stdout(), "from connect() to close, with reasons")

    def uninstall(self):
        self.screen.step("Gone without a trace")
        self.look_for_rules()
        self.screen.command("kill", self.node.proxy.process.pid, where="node")
        self.node.stop_proxy()
        self.screen.command("sluicectl", "uninstall", where="node")
        done = self.node.ctl("uninstall", check=False)
        lines = (done.stdout + done.stderr).splitlines()
        self.screen.output("\n".join([*lines[:3], f"... {len(lines) - 4} more ...", *lines[-1:]]))
        self.screen.check(done.returncode == 0, "uninstalled: no program, map, link or pin is left")
        self.screen.check(not self.rules, "no iptables or nft rule existed at any moment" + "".join(f"; saw {r}" for r in sorted(self.rules)))

    def run(self):
        self.pods()
        self.enrol()
        before = self.app_view()
        self.kernel_view()
        self.access_log(before)
        self.registry_only()
        self.http_route()
        mtls.step(self)
        self.killed()
        self.back()
        self.life()
        self.uninstall()


def intercepted(screen):
    """The whole tour; removes everything also after ^C or an error."""
    watch = leaks.Watch()
    with World() as world:
        watch.pin_root = f"/sys/fs/bpf/{world.id}"
        tour = Tour(screen, world)
        try:
            tour.run()
        finally:
            # A second ^C must not stop the clean-up half way.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            watch.note(world)
            tour.node.close()
    left = watch.left()
    screen.check(not left, "nothing is left behind" + "".join(f"; {x}" for x in left))


def try_next(screen):
    where = str(paths.build_dir() / "bin").removeprefix(os.getcwd() + "/")
    screen.say("")
    screen.say("Try next:")
    screen.say(f"  {where}/sluicectl check                              what this host offers and lacks")
    screen.say(f"  {where}/sluiced -c YOUR-ENVOY.yaml --mode validate   does sluiced take a configuration of yours?")
    screen.say(f"  {where}/sluicectl enrol --help                       put a pod of your own under interception")


def main():
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    screen = Screen()
    lacking = host.missing()
    whole = not lacking and "--standalone" not in sys.argv
    try:
        if whole:
            intercepted(screen)
        else:
            reason = "; ".join(lacking) or "--standalone was given"
            screen.say("This host cannot do transparent interception as it is:" if lacking else "Without interception, as asked:")
            for line in lacking:
                screen.say(f"  - {line}")
            standalone.tour(screen)
            for title in ("Two pods, enrolled", "The application's view: getpeername", "The redirect as the kernel holds it", "Inbound through 15006",
                          "PassthroughCluster against BlackHoleCluster", "An HTTP route on intercepted traffic", "Mutual TLS between the pods",
                          "sluiced killed: nothing in clear", "The life of one connection"):
                screen.skip(title, reason)
    except KeyboardInterrupt:
        print("\ninterrupted; everything has been removed", flush=True)
        return 130
    except (CommandFailed, Missing, Timeout, OSError) as error:
        screen.output(str(error), 30)
        screen.check(False, "the tour could not go on (above)")
    status = screen.end()
    if not status:
        try_next(screen)
    return status


if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv):
        sys.exit(run(paths.ROOT / "tools" / "quickstart", "--help").stdout)
    sys.exit(main())
