"""Scenarios http1 and accesslog."""
import json

from benchlib.common import B_HTTP, P_HTTP
from benchlib.metrics import expect, put
from benchlib.scenarios.base import Scenario


class Http1(Scenario):
    """HTTP/1.1, wrk -c 64: keep-alive with 1 KiB and 64 KiB responses, 1 KiB with a connection for each; latency at a fixed rate."""
    name = "http1"
    rate = 4000
    folder = "http1"
    note = "wrk -t1 -c64; new: each request says Connection: close; fixed rate: 4000 requests/s over 64 connections, 1 KiB, latency from the intended start"

    def setup(self, lane):
        lane.start_backend(f"http:127.0.0.1:{B_HTTP}")
        lane.port = B_HTTP
        if lane.proxy == "direct":
            return
        lane.port = P_HTTP
        log = lane.tail == "log"
        if lane.proxy in ("envoy", "sluice"):
            cfg = lane.render("http1/envoy.yaml", "envoy.yaml", ACCESS_LOG=envoy_log(lane.log) if log else "")
        elif lane.proxy == "haproxy":
            cfg = lane.render("http1/haproxy.cfg", "haproxy.cfg", LOGTARGET="log stdout len 4096 format raw local0" if log else "",
                              LOGFORMAT=f"log global\n    log-format '{HAPROXY_LOG}'" if log else "")
        else:
            cfg = lane.render("http1/nginx.conf", "nginx.conf", LOGFORMAT=f"log_format j escape=json '{NGINX_LOG}';" if log else "",
                              ACCESSLOG=f"{lane.log} j buffer=64k flush=1s" if log else "off")
        lane.start_proxy(cfg)
        self.http_ready(lane, lane.port)

    def verify(self, lane):
        self.check_bodies(lane, lane.port, (0, 1024, 65536, 1 << 20))

    def closed(self, tag, path, secs, *headers):
        def f(lane):
            r, d = lane.wrk(lane.port, path, secs, headers=headers)
            res = {f"{tag}_rps": r["per_s"], f"{tag}_p50_us": r["p50_us"], f"{tag}_p99_us": r["p99_us"]}
            put(res, tag, lane, d, r["n"])
            return res
        return f

    def measures(self):
        t = int(self.secs(3))

        def fixed(lane):
            r, d = lane.lg("http", "--ports", lane.port, "-c", 64, "-d", self.secs(2), "--rate", self.rate, "--path", "/1024", "--len", 1024)
            res = {"fixed_p50_us": r["p50_us"], "fixed_p99_us": r["p99_us"], "fixed_shortfall": max(0, 1 - r["per_s"] / self.rate)}
            put(res, "fixed", lane, d, r["all"])
            return res
        return [("1 KiB", self.closed("k1", "/1024", t)), ("64 KiB", self.closed("k64", "/65536", t)),
                ("1 KiB, a connection each", self.closed("new", "/1024", t, "Connection: close")), (f"{self.rate}/s", fixed)]

    def finish(self, lane):
        return {"rss_mib": lane.rss_kib() / 1024} if lane.procs else {}


class AccessLog(Http1):
    """Scenario http1 (1 KiB) with a JSON access log to a file on tmpfs, against the same without."""
    name = "accesslog"
    proxies = ("envoy", "haproxy", "nginx", "sluice")
    note = "lanes X and X+log; haproxy logs to its standard output, which is the file; nginx buffers 64 KiB as Envoy does"

    def lanes(self, wanted):
        return [x for w in super().lanes(wanted) for x in (w, w + "+log")]

    def measures(self):
        f = self.closed("k1", "/1024", int(self.secs(3)))

        def one(lane):
            res = f(lane)
            lane.made = getattr(lane, "made", 0) + res["k1_rps"]
            return res
        return [("1 KiB", one)]

    def derive(self, acc):
        for x, m in acc.items():
            plain = acc.get(x.replace("+log", ""), {})
            if x.endswith("+log") and "k1_cpu_us" in m and "k1_cpu_us" in plain:
                m["log_slowdown"] = max(m["k1_slowdown"], plain["k1_slowdown"])
                m["log_cost_cpu_us"] = m["k1_cpu_us"] - plain["k1_cpu_us"]
                m["log_rps_loss_percent"] = 100 * (1 - m["k1_rps"] / plain["k1_rps"])

    def finish(self, lane):
        res = {"rss_mib": lane.rss_kib() / 1024}
        if lane.tail == "log":
            lane.stop_proxy()  # flushes
            with open(lane.log, "rb") as f:
                lines = f.read().splitlines()
            want = lane.made * int(self.secs(3))
            expect(len(lines) > want * 0.95, f"{lane.label}: about {want:.0f} requests, {len(lines)} log lines")
            some, good = lines[::max(1, len(lines) // 2000)], 0
            for x in some:
                d = json.loads(x)  # every line must be JSON; a few may tell of connections that wrk broke off
                good += str(d.get("response_code")) == "200" and d.get("path") == "/1024" and d.get("method") == "GET"
            expect(good > len(some) * 0.98, f"{lane.label}: {good} of {len(some)} log lines tell of a request that was made")
            res["log_bytes_per_line"] = sum(map(len, lines)) / len(lines)
        return res


LOG_FIELDS = [("start_time", "%START_TIME%"), ("method", "%REQ(:METHOD)%"), ("path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%"),
              ("protocol", "%PROTOCOL%"), ("response_code", "%RESPONSE_CODE%"), ("response_flags", "%RESPONSE_FLAGS%"),
              ("bytes_received", "%BYTES_RECEIVED%"), ("bytes_sent", "%BYTES_SENT%"), ("duration", "%DURATION%"),
              ("upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%"), ("x_forwarded_for", "%REQ(X-FORWARDED-FOR)%"),
              ("user_agent", "%REQ(USER-AGENT)%"), ("request_id", "%REQ(X-REQUEST-ID)%"), ("authority", "%REQ(:AUTHORITY)%"),
              ("upstream_host", "%UPSTREAM_HOST%"), ("upstream_cluster", "%UPSTREAM_CLUSTER%"),
              ("upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%"), ("downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%"),
              ("downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%"), ("route_name", "%ROUTE_NAME%")]
HAPROXY_LOG = ('{"start_time":"%t","method":"%HM","path":"%HP","protocol":"%HV","response_code":%ST,"response_flags":"%ts","bytes_received":%U,'
               '"bytes_sent":%B,"duration":%Ta,"upstream_service_time":%Tr,"user_agent":"%[capture.req.hdr(0)]","request_id":"%ID",'
               '"upstream_host":"%si:%sp","upstream_cluster":"%b","downstream_local_address":"%fi:%fp","downstream_remote_address":"%ci:%cp",'
               '"route_name":"%f"}')
NGINX_LOG = ('{"start_time":"$time_iso8601","method":"$request_method","path":"$request_uri","protocol":"$server_protocol",'
             '"response_code":$status,"bytes_received":$request_length,"bytes_sent":$body_bytes_sent,"duration":$request_time,'
             '"upstream_service_time":"$upstream_response_time","x_forwarded_for":"$http_x_forwarded_for","user_agent":"$http_user_agent",'
             '"request_id":"$request_id","authority":"$http_host","upstream_host":"$upstream_addr","upstream_cluster":"$proxy_host",'
             '"downstream_local_address":"$server_addr:$server_port","downstream_remote_address":"$remote_addr:$remote_port"}')


def envoy_log(path):
    pad = " " * 10
    o = ["access_log:", pad + "- name: envoy.access_loggers.file", pad + "  typed_config:",
         pad + '    "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog', pad + f'    path: "{path}"',
         pad + "    log_format:", pad + "      json_format:"]
    return "\n".join(o + [f'{pad}        {k}: "{v}"' for k, v in LOG_FIELDS])
