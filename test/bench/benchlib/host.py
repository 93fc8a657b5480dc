"""Machine-wide state: namespaces, cgroups, processes, the compiled tools, certificates."""
import atexit
import ctypes
import glob
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from benchlib.common import CPUACCT, CPUCG, HERE, libc, read, say, set_slice, sh
from support import paths
from support.pod import inside


# ---- machine-wide state ----
class Host:
    """Namespaces, cgroups and processes that this run made, and their removal."""

    def __init__(self, opt):
        self.opt = opt
        self.id = f"slb{os.getpid()}"
        self.dir = tempfile.mkdtemp(prefix="sluice-bench-")
        os.chmod(self.dir, 0o755)
        self.shm = tempfile.mkdtemp(prefix="sluice-bench-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
        os.chmod(self.shm, 0o777)
        self.ns, self.cg, self.procs = [], [], []
        self.cpuacct = os.path.isdir(CPUACCT)
        if self.cpuacct:
            self.mkcg(f"{CPUACCT}/{self.id}")
        self.shares = None
        if opt.shares and os.path.isdir(CPUCG):
            self.shares = self.mkcg(f"{CPUCG}/{self.id}")
            with open(f"{self.shares}/cpu.shares", "w") as f:
                f.write(str(opt.shares))
        atexit.register(self.cleanup)
        for s in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(s, lambda *_: sys.exit(1))

    def mkcg(self, path):
        os.makedirs(path, exist_ok=True)
        self.cg.append(path)
        return path

    def rmcg(self, path):
        for _ in range(20):
            try:
                os.rmdir(path)
                break
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.05)
        if path in self.cg:
            self.cg.remove(path)

    def add_ns(self, name):
        sh("ip", "netns", "add", name)
        self.ns.append(name)
        sh("ip", "-n", name, "link", "set", "lo", "up")
        with self.inside(name):
            for k, v in (("net/ipv4/ip_local_port_range", "1024 65535"), ("net/ipv4/tcp_tw_reuse", "1"),
                         ("net/core/somaxconn", "8192"), ("net/ipv4/tcp_max_syn_backlog", "8192"),
                         ("net/ipv4/ip_local_reserved_ports", "7000-7100,9000-9010,10000-10500,15000-15010")):
                try:
                    with open(f"/proc/sys/{k}", "w") as f:
                        f.write(v)
                except OSError as e:
                    say(f"note: {k}: {e}")
        return name

    @staticmethod
    def inside(ns):
        """The calling thread works in the namespace until the block ends."""
        return inside(f"/run/netns/{ns}")

    def spawn(self, cmd, ns, core, groups=(), gid=0, env=None, **kw):
        """Starts cmd in the namespace ns, on one core, in the given cgroups, in the group gid."""
        files = [f"{g}/cgroup.procs" for g in groups if g] + ([f"{self.shares}/cgroup.procs"] if self.shares else [])

        def pre():
            for f in files:
                with open(f, "w") as h:
                    h.write("0")
            netns = os.open(f"/run/netns/{ns}", os.O_RDONLY)
            if libc.setns(netns, 0x40000000):
                raise OSError(ctypes.get_errno(), "setns")
            os.close(netns)
            os.sched_setaffinity(0, {core})
            if self.opt.slice_us:
                set_slice(self.opt.slice_us)
            if gid:
                os.setgroups([])
                os.setgid(gid)
            libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: nothing outlives the harness
        p = subprocess.Popen(cmd, preexec_fn=pre, env=dict(os.environ, **(env or {})), **kw)
        self.procs.append(p)
        return p

    def stop(self, p, wait=5):
        if p.poll() is None:
            p.terminate()
            try:
                p.wait(wait)
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
        if p in self.procs:
            self.procs.remove(p)

    def drop_ns(self, name):
        sh("ip", "netns", "del", name, check=False)
        if name in self.ns:
            self.ns.remove(name)

    def cleanup(self):
        for p in list(self.procs):
            self.stop(p, 2)
        for n in list(self.ns):
            self.drop_ns(n)
        for c in reversed(list(self.cg)):
            self.rmcg(c)
        shutil.rmtree(self.shm, ignore_errors=True)
        if self.opt.keep:
            say(f"kept: {self.dir}")
        else:
            shutil.rmtree(self.dir, ignore_errors=True)


def build_tools():
    """Compiles backend and lg into the cache, once per state of their sources; returns their paths."""
    sources = {"backend": [f"{HERE}/tools/backend.c"], "lg": sorted(glob.glob(f"{HERE}/tools/lg/*.[ch]"))}
    text = b"".join(open(s, "rb").read() for v in sources.values() for s in v)
    d = f"{paths.cache_dir()}/bench-tools-{hashlib.sha256(text).hexdigest()[:12]}"
    if not os.path.exists(f"{d}/ok"):
        os.makedirs(d, exist_ok=True)
        for name, files in sources.items():
            sh("gcc", "-O2", "-flto", "-o", f"{d}/{name}", *(f for f in files if f.endswith(".c")), *(["-lssl", "-lcrypto"] if name == "lg" else []))
        open(f"{d}/ok", "w").close()
    return f"{d}/backend", f"{d}/lg"


def make_certs(d):
    """A CA of one day with a server's and a client's certificate (P-256) and a server's with RSA-2048, for this run alone."""
    os.makedirs(d)

    def ossl(*a):
        sh("openssl", *a)
    for n in ("ca", "server", "client"):
        ossl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", f"{d}/{n}.key")
    ossl("genrsa", "-out", f"{d}/rsa.key", "2048")
    ossl("req", "-x509", "-new", "-key", f"{d}/ca.key", "-days", "1", "-subj", "/CN=bench ca", "-out", f"{d}/ca.crt")
    for n in ("server", "client", "rsa"):
        who = "client" if n == "client" else "server"
        with open(f"{d}/{n}.ext", "w") as f:
            f.write("basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n"
                    f"subjectAltName=DNS:bench.local,URI:spiffe://cluster.local/ns/default/sa/{who}\n")
        ossl("req", "-new", "-key", f"{d}/{n}.key", "-subj", f"/CN={n}", "-out", f"{d}/{n}.csr")
        ossl("x509", "-req", "-in", f"{d}/{n}.csr", "-CA", f"{d}/ca.crt", "-CAkey", f"{d}/ca.key", "-CAcreateserial",
             "-days", "1", "-extfile", f"{d}/{n}.ext", "-out", f"{d}/{n}.crt")
        with open(f"{d}/{n}.pem", "w") as f:
            f.write(read(f"{d}/{n}.crt") + read(f"{d}/{n}.key"))
    for n in os.listdir(d):
        os.chmod(f"{d}/{n}", 0o644)
