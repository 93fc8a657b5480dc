"""The tour's step of mutual TLS: two pods with identities, and a third without."""
import pathlib
import re

from support.packets import PacketCounter
from support.process import run
from support.proxies import require
from support.wait import wait_until

HERE = pathlib.Path(__file__).resolve().parent
SERVICE, PORT = "10.96.0.82", 8088
DOMAIN = "spiffe://tour.local/ns/default/sa"
_PLAIN = """\
    - name: virtualInbound-plain
      filter_chain_match: { transport_protocol: raw_buffer }
      filters: *inbound
"""


def configure(tour, permissive):
    text = (HERE / "mtls.yaml").read_text().replace("{{plain}}\n", _PLAIN if permissive else "")
    path = tour.world.directory / f"mtls-{'permissive' if permissive else 'strict'}.yaml"
    path.write_text(text.replace("{{log}}", str(tour.log.path)).replace("{{web}}", tour.web.ipv4))
    return path


def start(tour, permissive):
    path = configure(tour, permissive)
    tour.node.stop_proxy()
    tour.screen.command("sluiced", "-c", path.name, "--redirect", "ebpf", where="node")
    tour.node.start_file(path, 15000)


def give_identities(tour):
    """A CA for development, a certificate for each pod, and the pods enrolled with them."""
    def authority(*arguments):
        tour.screen.command("sluicectl", "ca", *arguments, where="node")
        tour.screen.output(run(require("sluicectl"), "ca", *arguments).stdout, 6)

    ca = tour.world.directory / "ca"
    authority("init", ca, "--trust-domain", "tour.local")
    for pod in (tour.shop, tour.web):
        secrets = tour.world.directory / f"secrets-{pod.short}"
        authority("issue", ca, "--identity", f"{DOMAIN}/{pod.short}", "--out", secrets)
        tour.node.ctl("release", pod.short)
        tour.screen.command("sluicectl", "enrol", pod.short, pod.path, "--identity", f"{DOMAIN}/{pod.short}", "--secrets", secrets, where="node")
        tour.node.ctl("enrol", pod.short, pod.path, "--identity", f"{DOMAIN}/{pod.short}", "--secrets", secrets)
    tour.ctl("workloads")


def only_tls(wire):
    """Whether every connection to the application's port began with a handshake and carried nothing readable."""
    streams = wire.streams(PORT)
    readable = [s for s in streams.values() for half in s if b"HTTP/1.1" in half or b"x-forwarded" in half.lower()]
    return bool(streams) and not readable and all(s[0].startswith(b"\x16\x03") for s in streams.values() if s[0])


def step(tour):
    screen = tour.screen
    screen.step("Mutual TLS between the pods", f"Each pod gets a certificate of its own ({DOMAIN}/...), the applications go on speaking plain HTTP. "
                f"{SERVICE} is a service of the registry whose endpoint is in web; mode STRICT.")
    start(tour, permissive=False)
    give_identities(tour)
    guest = tour.world.pod("guest")
    tour.web.start("orders", ["/usr/bin/python3", HERE / "show_headers.py", str(PORT)])
    before = len(tour.log.lines())
    with PacketCounter(tour.web.path) as wire:
        wait_until(lambda: tour.shop.run("curl", "-sf", f"http://{SERVICE}/", check=False).returncode == 0, 20, "the application behind mutual TLS")
        status, output, error = tour.curl(f"http://{SERVICE}/cart")
        screen.output(output or error, 20)
        wait_until(lambda: only_tls(wire), 5, "the packets")
        tls = only_tls(wire)
    certificate = re.search(r"(?im)^x-forwarded-client-cert: (.*)$", output)
    screen.check(status == 0 and bool(certificate) and f"By={DOMAIN}/web;" in certificate[1] and f"URI={DOMAIN}/shop" in certificate[1],
                 "web's application is told who called: x-forwarded-client-cert names both")
    screen.check(tls, "on the wire of web: TLS handshakes and nothing readable")
    tour.log_line(rf"outbound GET /cart: 200 .*{DOMAIN}/web, we are {DOMAIN}/shop", before)
    tour.log_line(rf"inbound GET /cart: 200 .*{DOMAIN}/shop, we are {DOMAIN}/web", before)
    status, output, error = tour.curl(f"http://{tour.web.ipv4}:{PORT}/", pod=guest)
    screen.output(error or output, 4)
    screen.check(status != 0, "STRICT: guest, a pod without identity, is refused")
    screen.say("Again in mode PERMISSIVE: a second filter chain, for what is no TLS.")
    start(tour, permissive=True)
    wait_until(lambda: tour.shop.run("curl", "-sf", f"http://{SERVICE}/", check=False).returncode == 0, 20, "the application behind mutual TLS")
    status, output, error = tour.curl(f"http://{tour.web.ipv4}:{PORT}/", pod=guest)
    screen.output(output or error, 20)
    screen.check(status == 0 and "client-cert" not in output.lower(), "PERMISSIVE: guest is served, and nobody vouches for it")
    status, output, _ = tour.curl(f"http://{SERVICE}/")
    screen.check(status == 0 and f"URI={DOMAIN}/shop" in output, "and shop's calls are mutual TLS as before")
