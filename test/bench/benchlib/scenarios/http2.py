"""Scenario http2."""
import os
import re
import subprocess

from benchlib.common import B_H2, P_HTTP, pattern, read
from benchlib.metrics import expect, put
from benchlib.scenarios.base import Scenario


class Http2(Scenario):
    """HTTP/2 both sides, gRPC-like: POST, 64-byte message, 1 KiB message and trailers back; h2load -c 8 -m 32."""
    name = "http2"
    rate = 4000
    window = 0  # of the proxy, towards both sides, in bytes; 0: its own (HAProxy's is then 1 MiB)
    note = "h2load -t1 -c8 -m32; nginx: grpc_pass (one stream per upstream connection); fixed rate: 4000/s over 8 connections, own generator"

    def setup(self, lane):
        lane.start_backend(f"h2:127.0.0.1:{B_H2}:1024")
        lane.port = B_H2
        lane.body = f"{lane.dir}/body"
        with open(lane.body, "wb") as f:
            f.write(b"\0\0\0\0\x3b" + b"x" * 59)
        if lane.proxy == "direct":
            return
        lane.port = P_HTTP
        self.start(lane)
        lane.wait_ready(lambda: self.curl(lane)[0] == "200")

    def start(self, lane):
        ext = {"haproxy": "haproxy.cfg", "nginx": "nginx.conf"}.get(lane.proxy, "envoy.yaml")
        windows = f" initial_stream_window_size: {self.window}, initial_connection_window_size: {self.window} " if self.window else ""
        lane.start_proxy(lane.render(f"http2/{ext}", ext, WINDOWS=windows, WINDOW=str(self.window or 1 << 20)))
        lane.wait_ready(lambda: lane.connect(lane.port).close() or True)

    def curl(self, lane):
        r = self.bench.host.spawn(["curl", "-s", "-m", "3", "--http2-prior-knowledge", "-H", "content-type: application/grpc", "-H",
                                   "te: trailers", "--data-binary", f"@{lane.body}", "-D", f"{lane.dir}/head", "-o", f"{lane.dir}/got",
                                   "-w", "%{http_code} %{http_version}", f"http://127.0.0.1:{lane.port}/pkg.Svc/Method"],
                                  lane.pod, self.opt.load_core, stdout=subprocess.PIPE, text=True)
        out = r.communicate()[0].split()
        self.bench.host.procs.remove(r)
        got = b""
        if os.path.exists(f"{lane.dir}/got"):
            with open(f"{lane.dir}/got", "rb") as f:
                got = f.read()
        return (out + ["", ""])[0], (out + ["", ""])[1], read(f"{lane.dir}/head").lower(), got

    def verify(self, lane):
        st, ver, head, got = self.curl(lane)
        want = b"\0\0\0\x03\xfb" + pattern(1024)[5:]
        expect(st == "200" and ver == "2" and got == want, f"{lane.label}: status {st}, HTTP/{ver}, {len(got)} bytes")
        expect("content-type: application/grpc" in head, f"{lane.label}: content-type lost")
        expect("grpc-status: 0" in head, f"{lane.label}: trailer grpc-status lost")

    def h2load(self, lane, secs, conns=8, streams=32):
        out, d = lane.load(["h2load", "-t1", f"-c{conns}", f"-m{streams}", "-D", str(secs), "-H", "content-type: application/grpc", "-H", "te: trailers",
                            "-d", lane.body, f"http://127.0.0.1:{lane.port}/pkg.Svc/Method"])
        m = re.search(r"requests: (\d+) total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored", out)
        n, ok2 = int(m.group(2)), int(re.search(r"status codes: (\d+) 2xx", out).group(1))
        expect(n and int(m.group(4)) == 0 and int(m.group(5)) == 0 and ok2 >= n, f"{lane.label}: h2load: {m.group(0)}; {ok2} 2xx")
        data = int(re.search(r"\((\d+)\) data", out).group(1))
        expect(abs(data / n - 1024) < 2, f"{lane.label}: h2load got {data / n:.1f} bytes of data per response, not 1024")
        return {"n": n, "per_s": float(re.search(r"([\d.]+) req/s", out).group(1))}, d

    def measures(self):
        def full(lane):
            r, d = self.h2load(lane, int(self.secs(3)))
            res = {"h2_rps": r["per_s"]}
            put(res, "h2", lane, d, r["n"])
            return res

        def fixed(lane):
            r, d = lane.lg("h2", "--ports", lane.port, "-c", 8, "--streams", 32, "-d", self.secs(2), "--rate", self.rate, "--path",
                           "/pkg.Svc/Method", "--len", 1024)
            res = {"fixed_p50_us": r["p50_us"], "fixed_p99_us": r["p99_us"], "fixed_shortfall": max(0, 1 - r["per_s"] / self.rate)}
            put(res, "fixed", lane, d, r["all"])
            return res
        return [("max", full), (f"{self.rate}/s", fixed)]

    def finish(self, lane):
        return {"rss_mib": lane.rss_kib() / 1024} if lane.procs else {}


class GrpcStream(Http2):
    """HTTP/2 both sides, bidirectional gRPC streams: 64-byte messages to and fro, 500 on a stream, 8 connections with 32 streams each."""
    name = "grpcstream"
    note = "a message is sent when the one before it has come back; own generator, own origin; nginx: grpc_pass"

    def setup(self, lane):
        lane.start_backend(f"h2echo:127.0.0.1:{B_H2}")
        lane.port = B_H2
        if lane.proxy == "direct":
            return
        lane.port = P_HTTP
        self.start(lane)

    def streams(self, lane, secs, conns=8, streams=32, messages=500):
        return lane.lg("h2stream", "--ports", lane.port, "-c", conns, "--streams", streams, "-n", messages, "--size", 64, "-d", secs,
                       "--path", "/pkg.Svc/Method")

    def verify(self, lane):
        for secs in (0.2, 1, 4, 8):  # until whole streams have ended, however busy the machine: every message is compared with its echo
            r, _ = self.streams(lane, secs, 1, 4, 20)
            if r["all"] > 100:
                return
        expect(False, f"{lane.label}: {r['all']} messages came back")

    def measures(self):
        def full(lane):
            r, d = self.streams(lane, self.secs(3))
            res = {"stream_per_s": r["per_s"], "stream_p50_us": r["p50_us"], "stream_p99_us": r["p99_us"]}
            put(res, "stream", lane, d, r["all"])
            return res
        return [("messages", full)]


class GrpcBulk(Http2):
    """Messages of 1 MiB through windows of 64 KiB: what counts is how soon a window is given back."""
    name = "grpcbulk"
    proxies = ("envoy", "haproxy", "sluice")
    window = 65536
    note = "h2load with messages of 1 MiB, answers of 1 KiB: one stream, and 4 connections with 4 streams each; windows of the proxies 64 KiB"

    def setup(self, lane):
        super().setup(lane)
        with open(lane.body, "wb") as f:
            f.write((0).to_bytes(1, "big") + (1 << 20).to_bytes(4, "big") + bytes(1 << 20))

    def measures(self):
        def bulk(prefix, conns, streams):
            def measure(lane):
                r, d = self.h2load(lane, int(self.secs(2)), conns, streams)
                res = {f"{prefix}_mib_s": r["per_s"]}
                put(res, prefix, lane, d, r["n"] / 1024, 1e3, "cpu_ms_per_gib")
                return res
            return measure
        return [("one stream", bulk("one", 1, 1)), ("16 streams", bulk("many", 4, 4))]
