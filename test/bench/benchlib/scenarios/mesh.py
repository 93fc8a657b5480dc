"""Scenario mesh."""
import http.client
import ssl

from benchlib.common import B_HTTP, P_IN, P_OUT, P_OUT_H2, pattern
from benchlib.metrics import expect, put
from benchlib.scenarios.base import Scenario


class Mesh(Scenario):
    """client -> outbound sidecar -> mutual TLS 1.3 -> inbound sidecar -> application; two processes, both on the proxy's core."""
    name = "mesh"
    rate = 2000
    note = ("two proxy processes share the proxy core, CPU is of both; wrk -t1 -c64 for the maximum; fixed rate: 2000/s over 64 connections, "
            "added: less what direct takes in the same round; 1 KiB; h2: HTTP/2 between the proxies")

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
        ca = f"{self.bench.certs}/ca.crt"
        tls = ssl.create_default_context(cafile=ca)
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
        tls.set_alpn_protocols(["http/1.1"] if lane.proxy == "nginx" else ["h2"])
        with tls.wrap_socket(lane.connect(P_IN), server_hostname="bench.local") as s:
            alpn = s.selected_alpn_protocol()
            expect(s.version() == "TLSv1.3", f"{lane.label}: inbound speaks {s.version()}")
        if lane.proxy == "nginx":
            lane.skip("HTTP/2 between the proxies: nginx has no HTTP/2 towards servers")
            return
        expect(alpn == "h2", f"{lane.label}: inbound does not speak HTTP/2")
        self.check_bodies(lane, P_OUT_H2, (0, 1024, 65536))

    def measures(self):
        def full(tag, port):
            def f(lane):
                if port and lane.proxy in ("nginx", "direct"):
                    return None
                r, d = lane.wrk(port or lane.port, "/1024", int(self.secs(3)))
                res = {f"{tag}_rps": r["per_s"], f"{tag}_p50_us": r["p50_us"], f"{tag}_p99_us": r["p99_us"]}
                put(res, tag, lane, d, r["n"])
                return res
            return f

        def fixed(tag, port):
            def f(lane):
                if port and lane.proxy in ("nginx", "direct"):
                    return None
                r, d = lane.lg("http", "--ports", port or lane.port, "-c", 64, "-d", self.secs(3), "--rate", self.rate, "--path", "/1024",
                               "--len", 1024, "--host", "bench.local")
                res = {f"{tag}_p50_us": r["p50_us"], f"{tag}_p99_us": r["p99_us"], f"{tag}_shortfall": max(0, 1 - r["per_s"] / self.rate)}
                put(res, tag, lane, d, r["all"])
                return res
            return f
        return [("max", full("mesh", None)), (f"{self.rate}/s", fixed("fixed", None)), ("max, HTTP/2", full("meshh2", P_OUT_H2)),
                (f"{self.rate}/s, HTTP/2", fixed("fixedh2", P_OUT_H2))]

    def derive(self, acc):
        """Latency that the two proxies add at the fixed rate."""
        base = acc.get("direct", {})
        for lane, m in acc.items():
            for tag in ("fixed", "fixedh2"):
                for q in ("p50_us", "p99_us"):
                    if lane != "direct" and f"fixed_{q}" in base and f"{tag}_{q}" in m:
                        m[f"{tag}_added_{q}"] = m[f"{tag}_{q}"] - base[f"fixed_{q}"]

    def finish(self, lane):
        return {"rss_mib": lane.rss_kib() / 1024} if lane.procs else {}
