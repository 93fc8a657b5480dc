"""A B A B over lanes and rounds."""
import http.client
import os
import re
import subprocess
import time

from benchlib.common import SHORT, SLOW, TICK, BenchError, read, say
from benchlib.host import Host, build_tools, make_certs
from benchlib.lane import Lane
from benchlib.report import summarize
from support import paths


# ---- the run ----
class Bench:
    def __init__(self, opt):
        self.opt = opt
        self.host = Host(opt)
        self.lanes_made = []
        self.backend_bin, self.lg_bin = build_tools()
        self.best_file = f"{os.path.dirname(self.lg_bin)}/best-{read('/proc/sys/kernel/random/boot_id').strip()}-{opt.proxy_core}"
        self.best = float(read(self.best_file) or 0)
        self.certs = f"{self.host.dir}/certs"
        make_certs(self.certs)
        self.envoy = opt.envoy or paths.envoy()
        self.sluicectl = os.path.join(os.path.dirname(opt.sluiced), "sluicectl") if opt.sluiced else None

    def probe(self):
        """How much slower than at its best the proxy's core runs now. On a virtual machine a neighbour on the same physical core
        halves it, for seconds at a time, and no counter in here shows it."""
        r = subprocess.run([self.lg_bin, "probe"], stdout=subprocess.PIPE, text=True,
                           preexec_fn=lambda: os.sched_setaffinity(0, {self.opt.proxy_core}))
        v = float(r.stdout)
        if not self.best or v < self.best:
            self.best = v
            with open(self.best_file, "w") as f:
                f.write(str(v))
        return v / self.best

    def calm(self):
        """Waits until both cores are nearly idle (this run's own proxies idle too) and the proxy's runs at full speed, at most
        --quiet seconds; returns the last slowdown seen."""
        def busy():
            t = 0
            for core in (self.opt.load_core, self.opt.proxy_core):
                f = [int(x) for x in re.search(rf"^cpu{core} (.*)", read("/proc/stat"), re.M).group(1).split()]
                t += sum(f[:3]) + f[5] + f[6] + f[7]
            return t / TICK
        end = time.monotonic() + self.opt.quiet
        slow = self.probe()
        while time.monotonic() < end:
            a = busy()
            time.sleep(0.1)
            if busy() - a <= 0.03 and slow <= SLOW:
                break
            slow = self.probe()
        return slow

    def run(self, cls):
        s = cls(self)
        t0 = time.monotonic()
        wanted = list(self.opt.proxies)
        for w in wanted:
            base = w.split("+")[0].split("-")[0]
            if base == "sluice" and not self.opt.sluiced:
                raise BenchError("sluiced is not built: tools/test builds it, or --sluiced PATH")
            if base == "envoy" and not self.envoy:
                raise BenchError("no Envoy binary: --envoy PATH")
        labels = s.lanes(wanted)
        res = {"rounds": {x: [] for x in labels}, "once": {}, "failed": {}, "skipped": {}, "note": s.note, "about": (cls.__doc__ or "").strip()}
        lanes = []
        say(f"== {s.name}: {res['about']}")

        def guard(lane, fn, *a):
            if lane.dead:
                return None
            try:
                return fn(*a)
            except (BenchError, OSError, http.client.HTTPException, ValueError, subprocess.SubprocessError) as e:
                lane.dead = str(e) or repr(e)
                res["failed"][lane.label] = lane.dead
                say(f"  FAILED {lane.label}: {lane.dead}")
                lane.stop_proxy()
                return None
        def sample(fn, lane):
            best = None
            for _ in range(1 + self.opt.redo):
                before = self.calm()
                m = fn(lane)
                if not m:
                    return None  # the lane has skipped it
                slow = max(before, self.probe())
                key = "load_noise" if not lane.procs else "_noise"
                n = max([m[k] for k in m if k.endswith(key) and (key == "load_noise" or "load_noise" not in k)] or [0])
                m[next(iter(m)).split("_")[0] + "_slowdown"] = slow
                bad = max(slow / SLOW, n / 0.2, max([m[k] for k in m if k.endswith("_shortfall")] or [0]) / SHORT)
                if best is None or bad < best[0]:
                    best = (bad, m)
                if bad <= 1:
                    break
            return best[1]

        try:
            for x in labels:
                lane = Lane(self, s, x)
                lane.patience = time.monotonic() + 3
                lanes.append(lane)
                guard(lane, s.setup, lane)
                guard(lane, s.verify, lane)
            say("  checked: " + ", ".join(x.label for x in lanes if not x.dead))
            if not self.opt.check:
                for r in range(self.opt.rounds):
                    order = lanes if r % 2 == 0 else lanes[::-1]
                    acc = {x.label: {} for x in lanes}
                    for what, fn in s.measures():
                        for lane in order:
                            m = guard(lane, sample, fn, lane)
                            if m:
                                acc[lane.label].update(m)
                    s.derive(acc)
                    for x in lanes:
                        res["rounds"][x.label].append(acc[x.label])
                    say(f"  round {r + 1}/{self.opt.rounds} done at {time.monotonic() - t0:.0f} s")
                for lane in lanes:
                    m = guard(lane, s.finish, lane)
                    if m:
                        res["once"][lane.label] = m
        finally:
            for lane in lanes:
                if lane.skipped:
                    res["skipped"][lane.label] = "; ".join(lane.skipped)
                lane.close()
        res["seconds"] = round(time.monotonic() - t0, 1)
        res["summary"] = summarize(res)
        return res
