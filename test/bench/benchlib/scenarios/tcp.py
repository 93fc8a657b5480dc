"""Scenario tcp."""
import json
import subprocess
import time

from benchlib.common import B_ECHO, B_SINK, SVC_IP, say
from benchlib.metrics import expect, put
from benchlib.scenarios.base import Scenario


class Tcp(Scenario):
    """Transparent TCP passthrough: bulk, ping-pong, connections."""
    name = "tcp"
    proxies = ("envoy", "haproxy", "haproxy-splice", "nginx", "direct", "sluice")
    note = ("client in netns pod, service in netns svc (veth); iptables REDIRECT + SO_ORIGINAL_DST to the proxy, or sluice's own; "
            "nginx has fixed targets; cpu is per echo, per connection, per GiB")

    def setup(self, lane):
        lane.wire_service()
        lane.start_backend(f"echo:0.0.0.0:{B_ECHO}", f"sink:0.0.0.0:{B_SINK}", ns=lane.svc)
        if lane.proxy == "direct":
            return
        if lane.proxy in ("envoy", "sluice"):
            cfg = lane.render("tcp-passthrough/envoy.yaml", "envoy.yaml")
        elif lane.proxy == "haproxy":
            cfg = lane.render("tcp-passthrough/haproxy.cfg", "haproxy.cfg",
                              SPLICE="option splice-auto" if lane.flavour == "splice" else "")
        else:
            cfg = lane.render("tcp-passthrough/nginx.conf", "nginx.conf")
        lane.start_proxy(cfg)
        lane.wait_ready(lambda: self.through(lane, 0.05))

    def through(self, lane, hold):
        p = self.bench.host.spawn([self.bench.lg_bin, "vecho", "--addr", SVC_IP, "--ports", str(B_ECHO), "--hold", str(hold),
                                   "--len", "100000"], lane.pod, self.opt.load_core,
                                  [lane.cg_load, lane.cg2_client if lane.redirect == "ebpf" else None],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        lane.seen = 0
        first = p.stdout.readline()
        if first.startswith("held"):
            lane.seen = lane.sockets()
        out = p.communicate(timeout=20)[0]
        self.bench.host.procs.remove(p)
        if p.returncode == 0 and lane.seen < 2:
            lane.bypass = True
        else:
            lane.bypass = False
        return p.returncode == 0 and json.loads(out)["equal"] == 1 and (lane.seen >= 2 or time.monotonic() > lane.patience)

    def verify(self, lane):
        r, _ = lane.lg("vecho", "--addr", SVC_IP, "--ports", B_ECHO, "--len", 8 << 20)
        expect(r["equal"] and r["eof"], f"{lane.label}: echo of 8 MiB: {r}")
        if lane.proxy != "direct" and lane.bypass:
            why = f"{lane.label}: connections do not go through sockets of the proxy's process: no redirect in effect? (--allow-bypass)"
            expect(self.opt.allow_bypass, why)
            say(f"  NOTE {why}")

    def measures(self):
        t = self.secs(2)
        a = ["--addr", SVC_IP]

        def bulk(n):
            def f(lane):
                r, d = lane.lg("bulk", *a, "--ports", B_SINK, "-c", n, "-d", t)
                res = {f"bulk{n}_gbps": r["gbit_s"]}
                put(res, f"bulk{n}", lane, d, r["gib"], 1e3, "cpu_ms_per_gib")
                return res
            return f

        def pp(n):
            def f(lane):
                r, d = lane.lg("pingpong", *a, "--ports", B_ECHO, "-c", n, "-d", t, "--size", 64)
                res = {f"pp{n}_per_s": r["per_s"], f"pp{n}_p50_us": r["p50_us"], f"pp{n}_p99_us": r["p99_us"]}
                put(res, f"pp{n}", lane, d, r["all"])
                return res
            return f

        def cps(lane):
            r, d = lane.lg("cps", *a, "--ports", B_ECHO, "-c", 16, "-d", t, "--size", 64)
            res = {"conn_per_s": r["per_s"], "conn_p50_us": r["p50_us"], "conn_p99_us": r["p99_us"]}
            put(res, "conn", lane, d, r["all"])
            return res
        return [("bulk, 1 stream", bulk(1)), ("bulk, 8 streams", bulk(8)), ("ping-pong, 1 connection", pp(1)),
                ("connections", cps)]

    def finish(self, lane):
        return {"rss_mib": lane.rss_kib() / 1024} if lane.procs else {}
