"""Scenario scale."""
import time

from benchlib.common import B_HTTP, P_HTTP, pattern
from benchlib.metrics import expect, put
from benchlib.scenarios.base import Scenario


def host_of(i):
    return f"svc-{i}.ns-{i % 50}.svc.cluster.local"


class Scale(Scenario):
    """5,000 clusters and 5,000 virtual hosts in one static file: start, RSS, requests over 10 of them; the same with 10."""
    name = "scale"
    proxies = ("envoy", "haproxy", "nginx", "sluice")
    note = "start = exec to the first right answer for the last virtual host; requests: 32 connections over 10 hosts spread over the file"

    def config(self, lane, n):
        if lane.proxy in ("envoy", "sluice"):
            o = [SCALE_ENVOY_HEAD]
            for i in range(n):
                o.append(f"            - name: vh-{i}\n              domains: [\"{host_of(i)}\"]\n              routes:\n"
                         f"              - match: {{ prefix: \"/\" }}\n                route: {{ cluster: cluster-{i}, timeout: 15s }}\n")
            o.append(SCALE_ENVOY_MID)
            for i in range(n):
                o.append(f"  - name: cluster-{i}\n    type: STATIC\n    connect_timeout: 1s\n    lb_policy: ROUND_ROBIN\n    load_assignment:\n"
                         f"      cluster_name: cluster-{i}\n      endpoints:\n      - lb_endpoints:\n        - endpoint:\n            address:\n"
                         f"              socket_address: {{ address: 127.0.0.1, port_value: {B_HTTP} }}\n")
            return lane.render("".join(o), f"envoy-{n}.yaml")
        if lane.proxy == "haproxy":
            m = lane.render("".join(f"{host_of(i)} b{i}\n" for i in range(n)), f"hosts-{n}.map")
            o = ["global\n    nbthread 1\n    maxconn 4000\ndefaults\n    mode http\n    timeout connect 1s\n    timeout client 1h\n"
                 "    timeout server 15s\n    http-reuse always\nfrontend http\n    bind 127.0.0.1:%d\n    option forwardfor\n"
                 "    unique-id-format %%[uuid()]\n    unique-id-header x-request-id\n"
                 "    use_backend %%[req.hdr(host),lower,map_str(%s)]\n" % (P_HTTP, m)]
            o += [f"backend b{i}\n    server a 127.0.0.1:{B_HTTP}\n" for i in range(n)]
            return lane.render("".join(o), f"haproxy-{n}.cfg")
        o = [SCALE_NGINX_HEAD]
        for i in range(n):
            o.append(f"upstream u{i} {{ server 127.0.0.1:{B_HTTP}; keepalive 64; keepalive_requests 100000000; }}\n"
                     f"server {{ listen 127.0.0.1:{P_HTTP}; server_name {host_of(i)}; location / {{ proxy_pass http://u{i}; }} }}\n")
        o.append("server { listen 127.0.0.1:%d default_server backlog=4096; return 404; }\n}\n" % P_HTTP)
        return lane.render("".join(o), f"nginx-{n}.conf")

    def setup(self, lane):
        lane.start_backend(f"http:127.0.0.1:{B_HTTP}")
        lane.cfgs, lane.hosts = {}, {}
        for n in (10, self.opt.scale):
            lane.cfgs[n] = self.config(lane, n)
            lane.hosts[n] = lane.render("".join(host_of(i) + "\n" for i in range(n // 10 - 1, n, n // 10)), f"hosts-{n}")
        self.boot(lane, 10)

    def boot(self, lane, n):
        lane.stop_proxy()
        a = lane.cpu("proxy")
        t = time.monotonic()
        lane.start_proxy(lane.cfgs[n])
        last = host_of(n - 1)
        lane.wait_ready(lambda: lane.get(P_HTTP, "/8", last)[1] == pattern(8), 60)
        t = time.monotonic() - t
        return t * 1e3, (lane.cpu("proxy") - a) * 1e3

    def verify(self, lane):
        self.check_bodies(lane, P_HTTP, (1024,), host_of(9))
        expect(lane.get(P_HTTP, "/8", "unknown.local")[0] in (404, 503), f"{lane.label}: an unknown host was served")

    def measures(self):
        def one(n, tag):
            def f(lane):
                ms, cpu = self.boot(lane, n)
                res = {f"{tag}_start_ms": ms, f"{tag}_start_cpu_ms": cpu, f"{tag}_rss_mib": lane.rss_kib() / 1024}
                if n > 10:
                    expect(lane.get(P_HTTP, "/8", "unknown.local")[0] in (404, 503), f"{lane.label}: an unknown host was served")
                r, d = lane.lg("http", "--ports", P_HTTP, "-c", 32, "-d", self.secs(1.5), "--path", "/1024", "--len", 1024, "--hosts", lane.hosts[n])
                res[f"{tag}_rps"] = r["per_s"]
                put(res, tag, lane, d, r["all"])
                return res
            return f
        return [("10 virtual hosts", one(10, "v10")), (f"{self.opt.scale} virtual hosts", one(self.opt.scale, f"v{self.opt.scale}"))]


SCALE_ENVOY_HEAD = f"""static_resources:
  listeners:
  - name: http
    address:
      socket_address: {{ address: 127.0.0.1, port_value: {P_HTTP} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ingress_http
          codec_type: AUTO
          route_config:
            name: local_route
            virtual_hosts:
"""
SCALE_ENVOY_MID = """          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
"""
SCALE_NGINX_HEAD = """worker_processes 1;
daemon off;
master_process off;
pid @DIR@/nginx.pid;
error_log stderr error;
worker_rlimit_nofile 20000;
events { worker_connections 10000; multi_accept on; }
http {
    access_log off;
    client_body_temp_path @DIR@/t1; proxy_temp_path @DIR@/t2; fastcgi_temp_path @DIR@/t3; uwsgi_temp_path @DIR@/t4; scgi_temp_path @DIR@/t5;
    server_names_hash_max_size 65536;
    server_names_hash_bucket_size 128;
    keepalive_requests 100000000;
    keepalive_timeout 1h;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    proxy_set_header X-Request-Id $request_id;
"""
