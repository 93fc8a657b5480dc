"""Scenarios tls and tlsbulk."""
import http.client
import ssl

from benchlib.common import B_ACKSINK, B_ECHO, B_SOURCE, P_DOWN, P_MUTUAL, P_RSA, P_TLS, P_TLS_ECHO, P_UP, pattern
from benchlib.metrics import expect, put
from benchlib.scenarios.base import Scenario

# tag -> (port, options of the generator)
HANDSHAKES = {"full": (P_TLS, []), "x25519": (P_TLS, ["--x25519"]), "rsa": (P_RSA, []),
              "mutual": (P_MUTUAL, ["--x25519", "--cert", "client.crt", "--key", "client.key"]), "resume": (P_TLS, ["--resume"]), "resume12": (P_TLS, [])}


class Tls(Scenario):
    """TLS 1.3 handshakes, AES-128-GCM: full (P-256 and RSA-2048 certificates, client certificates) and resumed; one request on each connection."""
    name = "tls"
    proxies = ("envoy", "haproxy", "nginx", "sluice")
    note = ("16 connections at a time: connect, handshake, GET (answered by the proxy itself), close; own generator (tools/lg/); "
            "x25519: P-256 certificate, X25519 exchange; mutual: the same, both sides with certificates; the others exchange on P-256; "
            "resume12: TLS 1.2, its client is OpenSSL")

    def setup(self, lane):
        ext = {"haproxy": "haproxy.cfg", "nginx": "nginx.conf"}.get(lane.proxy, "envoy.yaml")
        lane.start_proxy(lane.render(f"tls/{ext}", ext))
        self.ctx = ssl.create_default_context(cafile=f"{self.bench.certs}/ca.crt")
        lane.wait_ready(lambda: lane.get(P_TLS, "/", tls=self.ctx)[0] == 200)

    def verify(self, lane):
        self.ctx.set_alpn_protocols(["http/1.1"])
        kinds = {P_TLS: "server", P_RSA: "rsa"}
        for port, name in kinds.items():
            s = self.ctx.wrap_socket(lane.connect(port), server_hostname="bench.local")
            expect(s.version() == "TLSv1.3" and s.selected_alpn_protocol() == "http/1.1",
                   f"{lane.label}: {s.version()}, ALPN {s.selected_alpn_protocol()}")
            with open(f"{self.bench.certs}/{name}.crt") as f:
                expect(s.getpeercert(True) == ssl.PEM_cert_to_DER_cert(f.read()), f"{lane.label}: not the certificate {name} on port {port}")
            s.close()
        try:
            st = lane.get(P_MUTUAL, "/", tls=self.ctx)[0]
        except (OSError, http.client.HTTPException):
            st = None
        expect(st is None or (lane.proxy == "nginx" and st == 400), f"{lane.label}: served a client without certificate ({st})")
        st, body, _ = lane.get(P_TLS, "/", tls=self.ctx)
        expect(st == 200 and body == b"ok", f"{lane.label}: status {st}, body {body!r}")
        old = ssl.create_default_context(cafile=f"{self.bench.certs}/ca.crt")
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        expect(lane.get(P_TLS, "/", tls=old)[1] == b"ok", f"{lane.label}: no TLS 1.2")

    def measures(self):
        def hs(tag):
            port, args = HANDSHAKES[tag]

            def f(lane):
                r, d = lane.lg("tls12" if tag == "resume12" else "tls", "--ports", port, "-c", 16, "-d", self.secs(2.5), "--path", "/",
                               *[f"{self.bench.certs}/{x}" if x.startswith("client.") else x for x in args])
                a, b = ("resumed", "full") if tag.startswith("resume") else ("full", "resumed")
                expect(r[a] and not r[b], f"{lane.label}: {r['full']} full and {r['resumed']} resumed handshakes")
                res = {f"{tag}_per_s": r["per_s"], f"{tag}_p50_us": r["p50_us"], f"{tag}_p99_us": r["p99_us"]}
                put(res, tag, lane, d, r["all"])
                return res
            return f
        return [(tag, hs(tag)) for tag in HANDSHAKES]

    def finish(self, lane):
        return {"rss_mib": lane.rss_kib() / 1024}


class TlsBulk(Scenario):
    """Bulk through TLS termination: TLS 1.3 with AES-128-GCM from the client, plain TCP to the origin; downloads and uploads."""
    name = "tlsbulk"
    proxies = ("envoy", "haproxy", "nginx", "sluice")
    note = ("4 connections; a download counts what the client gets (it checks the tags of one record in 8), an upload what the origin "
            "confirms; as TCP proxies, with their own buffer sizes")

    def setup(self, lane):
        lane.start_backend(f"source:127.0.0.1:{B_SOURCE}", f"acksink:127.0.0.1:{B_ACKSINK}", f"echo:127.0.0.1:{B_ECHO}")
        ext = {"haproxy": "haproxy.cfg", "nginx": "nginx.conf"}.get(lane.proxy, "envoy.yaml")
        lane.start_proxy(lane.render(f"tlsbulk/{ext}", ext))
        self.ctx = ssl.create_default_context(cafile=f"{self.bench.certs}/ca.crt")

        def answers():
            with self.open(lane, P_TLS_ECHO) as s:
                s.sendall(b"x")
                return s.recv(1) == b"x"
        lane.wait_ready(answers)

    def open(self, lane, port):
        return self.ctx.wrap_socket(lane.connect(port), server_hostname="bench.local")

    def verify(self, lane):
        """8 MiB there and back, byte for byte; the source's first MiB; an answer for each MiB of an upload."""
        data = pattern(8 << 20)

        def read(s, n):
            got = bytearray()
            while len(got) < n:
                part = s.recv(n - len(got))
                expect(part, f"{lane.label}: ended after {len(got)} of {n} bytes")
                got += part
            return bytes(got)
        with self.open(lane, P_TLS_ECHO) as s:
            expect(s.version() == "TLSv1.3", f"{lane.label}: {s.version()}")
            # 64 KiB at a time: one of Python's TLS objects is not for two threads.
            for at in range(0, len(data), 65536):
                s.sendall(data[at:at + 65536])
                expect(read(s, 65536) == data[at:at + 65536], f"{lane.label}: echo differs at byte {at}")
        with self.open(lane, P_DOWN) as s:
            expect(read(s, 1 << 20) == data[:1 << 20], f"{lane.label}: download differs")
        with self.open(lane, P_UP) as s:
            s.sendall(data[:3 << 20])
            expect(read(s, 3) == b"kkk", f"{lane.label}: upload not confirmed")

    def measures(self):
        def bulk(tag, port, *args):
            def f(lane):
                r, d = lane.lg("tlsbulk", "--ports", port, "-c", 4, "-d", self.secs(2), *args)
                res = {f"{tag}_mib_s": r["mib_s"]}
                put(res, tag, lane, d, r["gib"], 1e3, "cpu_ms_per_gib")
                return res
            return f
        return [("downloads", bulk("down", P_DOWN)), ("uploads", bulk("up", P_UP, "--up"))]

    def finish(self, lane):
        return {"rss_mib": lane.rss_kib() / 1024}
