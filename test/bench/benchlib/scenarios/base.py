"""What scenarios have in common."""
from benchlib.common import pattern
from benchlib.metrics import expect


# ---- scenarios ----
class Scenario:
    name = ""
    proxies = ("envoy", "haproxy", "nginx", "direct", "sluice")
    note = ""

    def __init__(self, bench):
        self.bench, self.opt = bench, bench.opt

    def lanes(self, wanted):
        o = []
        for w in wanted:
            w = w if self.name == "tcp" else w.split("+")[0]  # the redirect method matters in tcp only
            if w.split("+")[0] in self.proxies and w not in o:
                o.append(w)
        return o

    def setup(self, lane): ...
    def verify(self, lane): ...
    def measures(self): return []
    def finish(self, lane): return {}
    def derive(self, acc): ...

    def secs(self, base):
        return max(1, round(base * self.opt.time, 2))

    def http_ready(self, lane, port, path="/8"):
        lane.wait_ready(lambda: lane.get(port, path)[0] == 200)

    def check_bodies(self, lane, port, sizes, host="bench.local"):
        for n in sizes:
            st, body, h = lane.get(port, f"/{n}", host)
            expect(st == 200 and body == pattern(n), f"{lane.label}: GET /{n}: status {st}, {len(body)} bytes, "
                                                     f"{'right' if body == pattern(n) else 'wrong'} body")
            expect(h.get("content-type") == "text/plain", f"{lane.label}: content-type was {h.get('content-type')}")
        st, _, _ = lane.get(port, "/nothing", host)
        expect(st == 404, f"{lane.label}: GET /nothing: status {st}, the origin says 404")
