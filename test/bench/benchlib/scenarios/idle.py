"""Scenario idle."""
import re
import ssl
import subprocess
import time

from benchlib.common import B_HTTP, HERE, P_HTTP, P_TLS, BenchError, pattern, read
from benchlib.metrics import expect
from benchlib.scenarios.base import Scenario


class Idle(Scenario):
    """RSS for 1,000 idle keep-alive connections, plain and TLS; each has carried one request."""
    name = "idle"
    proxies = ("envoy", "haproxy", "nginx", "sluice")
    note = ("a fresh process each time; growth of RSS from after 200 warm-up connections to N idle ones, divided by N/1000; "
            "silent: connections that have done the TLS handshake and nothing else")

    def setup(self, lane):
        lane.start_backend(f"http:127.0.0.1:{B_HTTP}")
        ext = {"haproxy": "haproxy.cfg", "nginx": "nginx.conf"}.get(lane.proxy, "envoy.yaml")
        text = read(f"{HERE}/configs/idle/{ext}")
        lane.cfg, lane.tls = lane.render(text, ext), True
        try:
            self.fresh(lane)
        except BenchError as e:
            if lane.proxy != "sluice" or "transport_socket" not in str(e):
                raise
            lane.skip("the TLS half: this sluiced refuses transport sockets; its file is the same without the listener tls")
            lane.cfg, lane.tls = lane.render(re.sub(r"(?s)\n  # tls:begin.*?  # tls:end", "", text), ext), False
            self.fresh(lane)

    def fresh(self, lane):
        lane.stop_proxy()
        lane.start_proxy(lane.cfg)
        self.http_ready(lane, P_HTTP)

    def verify(self, lane):
        self.check_bodies(lane, P_HTTP, (1024,))
        if not lane.tls:
            return
        ctx = ssl.create_default_context(cafile=f"{self.bench.certs}/ca.crt")
        st, body, _ = lane.get(P_TLS, "/1024", tls=ctx)
        expect(st == 200 and body == pattern(1024), f"{lane.label}: https: status {st}")

    def measures(self):
        def one(tag, port, n, *flag):
            def f(lane):
                if flag and not lane.tls:
                    return None
                self.fresh(lane)
                def lg(k, stdin):
                    return self.bench.host.spawn([self.bench.lg_bin, "idle", "--ports", str(port), "-n", str(k), "--path", "/64", "--len",
                                                  "64", *flag], lane.pod, self.opt.load_core, [lane.cg_load], stdin=stdin,
                                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                w = lg(200, subprocess.DEVNULL)
                out, err = w.communicate(timeout=60)
                self.bench.host.procs.remove(w)
                expect(w.returncode == 0, f"{lane.label}: warm-up: {err}")
                time.sleep(0.3)
                base, a = lane.rss_kib(), lane.snap()
                p = lg(n, subprocess.PIPE)
                line = p.stdout.readline()
                expect(line, f"{lane.label}: {n} connections: {p.stderr.read() if not line else ''}")
                b = lane.snap()
                time.sleep(0.7)
                top, c = lane.rss_kib(), lane.snap()
                time.sleep(0.5)
                e = lane.snap()
                out, err = p.communicate("\n", timeout=60)
                self.bench.host.procs.remove(p)
                expect(p.returncode == 0, f"{lane.label}: idle connections did not survive: {out} {err}")
                lane.check_alive()
                return {f"{tag}_per_1000_kib": (top - base) / n * 1000, f"{tag}_base_mib": base / 1024, f"{tag}_top_mib": top / 1024,
                        f"{tag}_open_cpu_us": (b["proxy"] - a["proxy"]) / n * 1e6,
                        f"{tag}_idle_cpu_util": (e["proxy"] - c["proxy"]) / (e["t"] - c["t"])}
            return f
        n, few = self.opt.idle, self.opt.idle_silent
        return [(f"{n} HTTP/1", one("http", P_HTTP, n)), (f"{n} TLS", one("tls", P_TLS, n, "--tls")),
                (f"{few} TLS, silent", one("silent", P_TLS, few, "--tls", "--silent"))]
