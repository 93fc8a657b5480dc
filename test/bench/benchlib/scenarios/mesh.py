"""Scenario mesh."""
import http.client
import ssl

from benchlib.common import B_HTTP, P_IN, P_OUT, pattern
from benchlib.metrics import expect, put
from benchlib.scenarios.base import Scenario


class Mesh(Scenario):
    """client -> outbound sidecar -> mutual TLS -> inbound sidecar -> application; two processes, both on the proxy's core."""
    name = "mesh"
    rate = 2000
    note = "two proxy processes share the proxy core; wrk -t1 -c64 for the maximum; fixed rate: 2000/s over 64 connections; 1 KiB"

    def setup(self, lane):
        lane.start_backend(f"http:127.0.0.1:{B_HTTP}")
        lane.port = B_HTTP
        if lane.proxy == "direct":
            return
        lane.port = P_OUT
        p, ext = {"haproxy": ("haproxy", "cfg"), "nginx": ("nginx", "conf")}.get(lane.proxy, ("envoy", "yaml"))
        for side in ("inbound", "outbound"):
            lane.start_proxy(lane.render(f"mesh/{p}-{side}.{ext}", f"{side}.{ext}"))
        self.http_ready(lane, lane.port)

    def verify(self, lane):
        self.check_bodies(lane, lane.port, (0, 1024, 65536))
        if lane.proxy == "direct":
            return
        tls = ssl.create_default_context(cafile=f"{self.bench.certs}/ca.crt")
        try:
            st = lane.get(P_IN, "/8", tls=tls)[0]
        except (OSError, http.client.HTTPException):
            st = None
        expect(st is None or (lane.proxy == "nginx" and st == 400), f"{lane.label}: inbound served a client without certificate ({st})")
        tls.load_cert_chain(f"{self.bench.certs}/client.crt", f"{self.bench.certs}/client.key")
        st, body, _ = lane.get(P_IN, "/8", tls=tls)
        expect(st == 200 and body == pattern(8), f"{lane.label}: inbound refused the client certificate")
        try:
            st = lane.get(P_IN, "/8")[0]
        except (OSError, http.client.HTTPException):
            st = None
        expect(st is None or st == 400, f"{lane.label}: inbound served plaintext")

    def measures(self):
        def full(lane):
            r, d = lane.wrk(lane.port, "/1024", int(self.secs(3)))
            res = {"mesh_rps": r["per_s"], "mesh_p50_us": r["p50_us"], "mesh_p99_us": r["p99_us"]}
            put(res, "mesh", lane, d, r["n"])
            return res

        def fixed(lane):
            r, d = lane.lg("http", "--ports", lane.port, "-c", 64, "-d", self.secs(3), "--rate", self.rate, "--path", "/1024",
                           "--len", 1024, "--host", "bench.local")
            res = {"fixed_p50_us": r["p50_us"], "fixed_p99_us": r["p99_us"], "fixed_shortfall": max(0, 1 - r["per_s"] / self.rate)}
            put(res, "fixed", lane, d, r["all"])
            return res
        return [("max", full), (f"{self.rate}/s", fixed)]

    def finish(self, lane):
        return {"rss_mib": lane.rss_kib() / 1024} if lane.procs else {}
