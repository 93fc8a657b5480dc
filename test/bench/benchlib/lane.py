"""One proxy under one scenario: set-up, start, accounting, load."""
import http.client
import json
import os
import re
import socket
import subprocess
import time

from benchlib.common import (B_SINK, CGV2, CPUACCT, HERE, MARK, P_OUT, POD_IP, PROXY_GID, SVC_GW, SVC_IP, TICK, BenchError, read, say,
                             sh)

# How each proxy is started. {config} {concurrency} and the paths are filled in.
SLUICE_CMD = ["{sluiced}", "-c", "{config}", "--concurrency", "{concurrency}", "--redirect", "{redirect}", "--state-dir", "{state}",
              "--control-socket", "{state}.sock"]
# With eBPF: the programs are attached to the lane's own cgroup, so they see its client and nothing else on the machine.
SLUICE_EBPF_ARGS = ["--bpffs-root", "{pins}", "--cgroup", "{cgroup}"]
SLUICE_ENROL = ["{sluicectl}", "enrol", "bench", "--netns", "/run/netns/{pod_ns}", "--control-socket", "{state}.sock",
                "--bpffs-root", "{pins}", "--state-dir", "{state}"]
SLUICE_UNINSTALL = ["{sluicectl}", "uninstall", "--control-socket", "{state}.sock", "--bpffs-root", "{pins}", "--state-dir", "{state}"]
SLUICE_GID = {"ebpf": 0, "none": 0, "iptables": 1337}  # in which group it runs, by redirect method
SLUICE_DEFAULT_REDIRECT = "ebpf"  # of the lane 'sluice' in scenario tcp; 'sluice+iptables' names the other
ENVOY_CMD = ["{envoy}", "-c", "{config}", "--concurrency", "{concurrency}", "--disable-hot-restart", "--log-level", "error"]
HAPROXY_CMD = ["haproxy", "-db", "-f", "{config}"]
NGINX_CMD = ["nginx", "-e", "stderr", "-c", "{config}"]


class Lane:
    def __init__(self, bench, scen, label):
        self.bench, self.host, self.scen, self.label = bench, bench.host, scen, label
        base, _, tail = label.partition("+")
        self.proxy = base.split("-")[0]
        self.flavour = base[len(self.proxy) + 1:]  # haproxy-splice
        self.tail = tail  # redirect method in tcp, 'log' in accesslog
        self.redirect = "none"
        if scen.name == "tcp" and self.proxy != "direct":
            self.redirect = tail or (SLUICE_DEFAULT_REDIRECT if self.proxy == "sluice" else "iptables")
        self.dead = None
        self.skipped = []  # what this lane cannot do: said, and left out
        self.procs, self.backend, self.loads = [], None, 0
        n = len(bench.lanes_made)
        bench.lanes_made.append(label)
        self.tag = f"{self.host.id}-{n}"
        self.dir = f"{self.host.dir}/{scen.name}-{label}-{n}"
        os.makedirs(self.dir)
        os.chmod(self.dir, 0o777)
        self.log = f"{self.host.shm}/{scen.name}-{label}-{n}.log"
        self.pod = self.host.add_ns(f"{self.tag}-pod")
        # sluiced with eBPF is the node's proxy: it does not run in the pod, its sockets for the pod are in the pod.
        self.node = self.host.add_ns(f"{self.tag}-node") if self.redirect == "ebpf" else None
        self.enrolled = False
        self.svc = None
        self.cg_proxy = self.cg_load = None
        if self.host.cpuacct:
            self.cg_proxy = self.host.mkcg(f"{CPUACCT}/{self.host.id}/{n}p")
            self.cg_load = self.host.mkcg(f"{CPUACCT}/{self.host.id}/{n}l")
        self.cg2 = self.host.mkcg(f"{CGV2}/{self.tag}")
        self.cg2_client = self.host.mkcg(f"{self.cg2}/client")
        self.cg2_proxy = self.host.mkcg(f"{self.cg2}/proxy")

    # -- set-up --
    def wire_service(self):
        """pod <-veth-> svc; the service address lives on svc's loopback."""
        self.svc = self.host.add_ns(f"{self.tag}-svc")
        sh("ip", "-n", self.pod, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", self.svc)
        sh("ip", "-n", self.pod, "addr", "add", f"{POD_IP}/24", "dev", "eth0")
        sh("ip", "-n", self.svc, "addr", "add", f"{SVC_GW}/24", "dev", "eth0")
        sh("ip", "-n", self.svc, "addr", "add", f"{SVC_IP}/32", "dev", "lo")
        for n in (self.pod, self.svc):
            sh("ip", "-n", n, "link", "set", "eth0", "up")
        sh("ip", "-n", self.pod, "route", "add", f"{SVC_IP}/32", "via", SVC_GW)
        if self.redirect == "iptables":
            ipt = ["ip", "netns", "exec", self.pod, "iptables", "-w", "-t", "nat"]
            sh(*ipt, "-N", "PROXY_OUTPUT")
            sh(*ipt, "-A", "OUTPUT", "-p", "tcp", "-j", "PROXY_OUTPUT")
            sh(*ipt, "-A", "PROXY_OUTPUT", "-m", "owner", "--gid-owner", str(PROXY_GID), "-j", "RETURN")
            sh(*ipt, "-A", "PROXY_OUTPUT", "-m", "mark", "--mark", str(MARK), "-j", "RETURN")
            sh(*ipt, "-A", "PROXY_OUTPUT", "-d", "127.0.0.1/32", "-j", "RETURN")
            if self.proxy == "nginx":  # fixed targets: one listener for each service port
                sh(*ipt, "-A", "PROXY_OUTPUT", "-p", "tcp", "--dport", str(B_SINK), "-j", "REDIRECT", "--to-ports", str(P_OUT + 1))
            sh(*ipt, "-A", "PROXY_OUTPUT", "-p", "tcp", "-j", "REDIRECT", "--to-ports", str(P_OUT))
            with self.host.inside(self.pod):  # short, so that rounds do not fill the connection table
                try:
                    with open("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_time_wait", "w") as f:
                        f.write("1")
                except OSError as e:
                    say(f"note: conntrack timeout: {e}")

    def start_backend(self, *specs, ns=None):
        self.backend = self.host.spawn([self.bench.backend_bin, *specs], ns or self.pod, self.bench.opt.load_core,
                                       [self.cg_load], stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        time.sleep(0.1)
        if self.backend.poll() is not None:
            raise BenchError(f"backend: {self.backend.stderr.read().decode()}")

    def render(self, src, dst, **more):
        t = src if "\n" in src else read(f"{HERE}/configs/{src}")
        v = dict(DIR=self.dir, CERTS=self.bench.certs, SVC=SVC_IP, **more)
        t = re.sub(r"@([A-Z_]+)@", lambda m: v[m.group(1)] if m.group(1) in v else m.group(0), t)
        path = f"{self.dir}/{dst}"
        with open(path, "w") as f:
            f.write(t)
        os.chmod(path, 0o644)
        return path

    def command(self, config):
        o = self.bench.opt
        cmd, gid = {"envoy": ENVOY_CMD, "haproxy": HAPROXY_CMD, "nginx": NGINX_CMD, "sluice": SLUICE_CMD}[self.proxy], 0
        if self.proxy == "sluice":
            cmd = cmd + (SLUICE_EBPF_ARGS if self.redirect == "ebpf" else [])
            gid = SLUICE_GID[self.redirect]
        elif self.redirect == "iptables":
            gid = PROXY_GID
        # The second proxy of a lane (mesh) has a control socket of its own.
        state = {"state": f"{self.dir}/state-{len(self.procs)}"} if self.procs else {}
        return self.fill(cmd, config=config, envoy=self.bench.envoy, sluiced=o.sluiced, **state), gid

    def fill(self, cmd, **more):
        """A command with its {placeholders} replaced."""
        v = {"concurrency": "1", "pod_ns": self.pod, "cgroup": self.cg2, "pins": f"/sys/fs/bpf/{self.tag}", "state": f"{self.dir}/state",
             "sluicectl": self.bench.sluicectl, "redirect": "ebpf" if self.redirect == "ebpf" else "none", **more}
        return [c.format(**v) for c in cmd]

    def start_proxy(self, config):
        cmd, gid = self.command(config)
        groups = [self.cg_proxy, self.cg2_proxy if self.proxy == "sluice" else None]
        err = open(f"{self.dir}/stderr-{len(self.procs)}", "wb")
        out = open(self.log, "ab") if self.proxy == "haproxy" and self.tail == "log" else err
        p = self.host.spawn(cmd, self.node or self.pod, self.bench.opt.proxy_core, groups, gid,
                            stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        self.procs.append(p)
        if self.redirect == "ebpf":
            self.enrol()
        return p

    def enrol(self):
        """Puts the pod under interception, once sluiced listens on its control socket."""
        self.wait_ready(lambda: os.path.exists(f"{self.dir}/state.sock"))
        sh(*self.fill(SLUICE_ENROL))
        self.enrolled = True

    def stop_proxy(self):
        if self.enrolled:
            sh(*self.fill(SLUICE_UNINSTALL), check=False)
            self.enrolled = False
        for p in self.procs:
            self.host.stop(p)
        self.procs = []

    def check_alive(self):
        for p in self.procs:
            if p.poll() is not None:
                raise BenchError(f"{self.label}: the proxy ended (status {p.returncode}): {self.errors()}")

    def errors(self):
        out = ""
        for n in sorted(os.listdir(self.dir)):
            if n.startswith("stderr-"):
                out += read(f"{self.dir}/{n}")[-1500:]
        return out.strip()

    def close(self):
        self.stop_proxy()
        if self.backend:
            self.host.stop(self.backend)
        for n in (self.pod, self.node, self.svc):
            if n:
                self.host.drop_ns(n)
        for c in (self.cg_proxy, self.cg_load, self.cg2_client, self.cg2_proxy, self.cg2):
            if c:
                self.host.rmcg(c)
        if os.path.exists(self.log):
            os.unlink(self.log)

    def skip(self, why):
        if why not in self.skipped:
            self.skipped.append(why)
            say(f"  SKIPPED {self.label}: {why}")

    # -- talk to it --
    def connect(self, port, timeout=3):
        with self.host.inside(self.pod):
            s = socket.socket()
        s.settimeout(timeout)
        s.connect(("127.0.0.1", port))
        return s

    def get(self, port, path, host="bench.local", tls=None, timeout=3):
        s = self.connect(port, timeout)
        try:
            if tls:
                s = tls.wrap_socket(s, server_hostname="bench.local")
            c = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
            c.sock = s
            c.request("GET", path, headers={"Host": host})
            r = c.getresponse()
            body = r.read()
            return r.status, body, dict((k.lower(), v) for k, v in r.getheaders())
        finally:
            s.close()

    def wait_ready(self, fn, limit=20):
        end = time.monotonic() + limit
        while True:
            self.check_alive()
            try:
                if fn():
                    return
                why = "wrong answer"
            except (OSError, http.client.HTTPException) as e:
                why = repr(e)
            if time.monotonic() > end:
                raise BenchError(f"{self.label}: not ready after {limit} s ({why}): {self.errors()}")
            time.sleep(0.01)

    # -- accounting --
    def cpu(self, what):
        g = self.cg_proxy if what == "proxy" else self.cg_load
        if g:
            return int(read(f"{g}/cpuacct.usage", "0")) / 1e9
        ps = self.procs if what == "proxy" else ([self.backend] if self.backend else [])
        t = 0
        for p in ps:
            f = read(f"/proc/{p.pid}/stat").rsplit(")", 1)[-1].split()
            t += (int(f[11]) + int(f[12])) / TICK if f else 0
        return t

    def rss_kib(self):
        t = 0
        for p in self.procs:
            m = re.search(r"^Rss:\s+(\d+)", read(f"/proc/{p.pid}/smaps_rollup"), re.M)
            t += int(m.group(1)) if m else 0
        return t

    def sockets(self):
        """How many established TCP sockets the proxy's processes own."""
        n, inodes = 0, set()
        with self.host.inside(self.pod):  # also where the proxy itself runs elsewhere
            for f in ("tcp", "tcp6"):
                for line in read(f"/proc/thread-self/net/{f}").splitlines()[1:]:
                    w = line.split()
                    if w[3] == "01":
                        inodes.add(w[9])
        for p in self.procs:
            try:
                for fd in os.listdir(f"/proc/{p.pid}/fd"):
                    try:
                        m = re.match(r"socket:\[(\d+)\]", os.readlink(f"/proc/{p.pid}/fd/{fd}"))
                    except OSError:
                        continue
                    n += bool(m and m.group(1) in inodes)
            except OSError:
                pass
        return n

    def load(self, cmd, timeout=60):
        """Runs a generator; returns its output and what the machine spent meanwhile."""
        a = self.snap()
        p = self.host.spawn(cmd, self.pod, self.bench.opt.load_core,
                            [self.cg_load, self.cg2_client if self.redirect == "ebpf" else None],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            out, err = p.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            p.kill()
            p.communicate()
            raise BenchError(f"{self.label}: {os.path.basename(cmd[0])} ran past {timeout} s")
        finally:
            if p in self.host.procs:
                self.host.procs.remove(p)
        b = self.snap()
        self.check_alive()
        if p.returncode:
            raise BenchError(f"{self.label}: {os.path.basename(cmd[0])} {cmd[1]} failed: {err.strip()[-400:]} {out.strip()[-400:]}")
        d = {k: b[k] - a[k] for k in a}
        w = d["t"]
        # what others (and the kernel outside our processes) took of the two cores
        d["noise"] = max(0.0, (d["busy1"] - d["proxy"]) / w)
        d["load_noise"] = max(0.0, (d["busy0"] - d["load"]) / w)
        d["util"] = d["proxy"] / w
        d["load_util"] = d["load"] / w
        return out, d

    def snap(self):
        t = {"t": time.monotonic(), "proxy": self.cpu("proxy"), "load": self.cpu("load")}
        for k, core in (("busy0", self.bench.opt.load_core), ("busy1", self.bench.opt.proxy_core)):
            f = [int(x) for x in re.search(rf"^cpu{core} (.*)", read("/proc/stat"), re.M).group(1).split()]
            t[k] = (sum(f[:3]) + f[5] + f[6] + f[7]) / TICK
        return t

    def lg(self, *args, timeout=60):
        out, d = self.load([self.bench.lg_bin, *[str(a) for a in args]], timeout)
        return json.loads(out.strip().splitlines()[-1]), d

    def wrk(self, port, path, secs, conns=64, headers=()):
        out, d = self.load(["wrk", "-t1", f"-c{conns}", f"-d{secs}s", "--timeout", "5s", "--latency",
                            *[x for h in headers for x in ("-H", h)], f"http://127.0.0.1:{port}{path}"])
        if "Non-2xx" in out or "Socket errors" in out:
            raise BenchError(f"{self.label}: wrk saw errors: {out}")

        def us(q):
            m = re.search(rf"^\s+{q}%\s+([\d.]+)(us|ms|s)", out, re.M)
            return float(m.group(1)) * {"us": 1, "ms": 1e3, "s": 1e6}[m.group(2)]
        n = int(re.search(r"(\d+) requests in", out).group(1))
        return {"n": n, "per_s": float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1)), "p50_us": us(50), "p99_us": us(99)}, d
