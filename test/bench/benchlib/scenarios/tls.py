"""Scenario tls."""
import ssl

from benchlib.common import P_TLS
from benchlib.metrics import expect, put
from benchlib.scenarios.base import Scenario


class Tls(Scenario):
    """TLS 1.3 handshakes, ECDSA P-256, AES-128-GCM: full and resumed; one request on each connection."""
    name = "tls"
    proxies = ("envoy", "haproxy", "nginx", "sluice")
    note = "16 connections at a time: connect, handshake, GET (answered by the proxy itself), close; own generator (see tools/lg.c)"

    def setup(self, lane):
        ext = {"haproxy": "haproxy.cfg", "nginx": "nginx.conf"}.get(lane.proxy, "envoy.yaml")
        lane.start_proxy(lane.render(f"tls/{ext}", ext))
        self.ctx = ssl.create_default_context(cafile=f"{self.bench.certs}/ca.crt")
        lane.wait_ready(lambda: lane.get(P_TLS, "/", tls=self.ctx)[0] == 200)

    def verify(self, lane):
        self.ctx.set_alpn_protocols(["http/1.1"])
        s = self.ctx.wrap_socket(lane.connect(P_TLS), server_hostname="bench.local")
        expect(s.version() == "TLSv1.3" and s.selected_alpn_protocol() == "http/1.1",
               f"{lane.label}: {s.version()}, ALPN {s.selected_alpn_protocol()}")
        s.close()
        st, body, _ = lane.get(P_TLS, "/", tls=self.ctx)
        expect(st == 200 and body == b"ok", f"{lane.label}: status {st}, body {body!r}")
        old = ssl.create_default_context(cafile=f"{self.bench.certs}/ca.crt")
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        expect(lane.get(P_TLS, "/", tls=old)[1] == b"ok", f"{lane.label}: no TLS 1.2")

    def measures(self):
        def hs(resume):
            def f(lane):
                r, d = lane.lg("tls", "--ports", P_TLS, "-c", 16, "-d", self.secs(2.5), "--path", "/", *(["--resume"] if resume else []))
                a, b = ("resumed", "full") if resume else ("full", "resumed")
                expect(r[a] and not r[b], f"{lane.label}: {r['full']} full and {r['resumed']} resumed handshakes")
                tag = "resume" if resume else "full"
                res = {f"{tag}_per_s": r["per_s"], f"{tag}_p50_us": r["p50_us"], f"{tag}_p99_us": r["p99_us"]}
                put(res, tag, lane, d, r["all"])
                return res
            return f
        return [("full", hs(False)), ("resumed", hs(True))]

    def finish(self, lane):
        return {"rss_mib": lane.rss_kib() / 1024}
