"""Options."""
import argparse
import json
import os
import platform
import re
import subprocess
import sys
import time

from benchlib import readme
from benchlib.common import read
from benchlib.report import render_text, save
from benchlib.run import Bench
from benchlib.scenarios import SCENARIOS
from support import paths


def main(doc):
    names = [c.name for c in SCENARIOS]
    ap = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter,
                                 epilog="scenarios:\n" + "\n".join(f"  {c.name:10s} {c.__doc__.strip()}" for c in SCENARIOS))
    ap.add_argument("--scenario", default="all", help="one, several with commas, or all: " + ", ".join(names) + " (or 1..10)")
    ap.add_argument("--proxies", default="envoy,haproxy,haproxy-splice,nginx,direct",
                    help="lanes, with commas: envoy, haproxy, haproxy-splice (tcp only), nginx, direct, sluice; in tcp also sluice+iptables")
    ap.add_argument("--sluiced", default=paths.program("sluiced"), help="path of the sluiced binary (sluicectl beside it); default: the build tree")
    ap.add_argument("--envoy", help="path of the Envoy binary")
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--time", type=float, default=1.0, help="factor on the length of each measure")
    ap.add_argument("--json", help="write everything, round by round")
    ap.add_argument("--md", help="write the tables as Markdown")
    ap.add_argument("--merge", action="store_true", help="keep the scenarios that the --json file already has and this run does not take")
    ap.add_argument("--check", action="store_true", help="only start everything and check the answers")
    ap.add_argument("--allow-bypass", action="store_true", help="tcp: do not insist that connections are seen in the proxy's process")
    ap.add_argument("--full", action="store_true", help="also print utilisation and noise rows")
    ap.add_argument("--keep", action="store_true", help="keep configs and logs")
    ap.add_argument("--idle", type=int, default=10000, help="connections in scenario idle")
    ap.add_argument("--idle-silent", type=int, default=2000, help="connections in scenario idle that carry no request")
    ap.add_argument("--scale", type=int, default=5000, help="virtual hosts and clusters in scenario scale, clusters in scenario push")
    ap.add_argument("--load-core", type=int, default=0)
    ap.add_argument("--proxy-core", type=int, default=1)
    ap.add_argument("--slice-us", type=int, default=0, help="scheduler slice of everything this run starts (0: leave)")
    ap.add_argument("--quiet", type=float, default=2, help="before each sample wait until others leave both cores alone and the proxy's core runs at full speed, at most this many seconds")
    ap.add_argument("--redo", type=int, default=0, help="take a sample again, at most so often, when it is not clean: core slowed from outside, or a fifth of it taken by others")
    ap.add_argument("--shares", type=int, default=8192, help="cpu.shares of the whole run against the rest of the machine (1024 is par, 0: leave)")
    ap.add_argument("--table", metavar="JSON", help="measure nothing: print the README's table from an earlier --json file")
    ap.add_argument("--readme", metavar="FILE", help="with --table: write it into FILE, between its bench markers")
    opt = ap.parse_args()
    if opt.table:
        return readme.write(opt.table, opt.readme) if opt.readme else print("\n".join(readme.table(json.loads(read(opt.table)))))
    if os.geteuid():
        sys.exit("run.py needs root: network namespaces, iptables, eBPF")
    opt.proxies = [x for x in opt.proxies.split(",") if x]
    if opt.sluiced:
        opt.sluiced = os.path.abspath(opt.sluiced)
    pick = names if opt.scenario == "all" else [] if opt.scenario == "none" else [names[int(x) - 1] if x.isdigit() else x for x in opt.scenario.split(",")]
    for x in pick:
        if x not in names:
            sys.exit(f"no scenario {x}: {', '.join(names)}")
    out = {"when": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "argv": sys.argv[1:], "kernel": platform.release(),
           "congestion_control": read("/proc/sys/net/ipv4/tcp_congestion_control").strip(),
           "cpus": os.cpu_count(), "load_before": os.getloadavg(), "versions": {}, "scenarios": {}}
    m = re.search(r"model name\s*:\s*(.*)", read("/proc/cpuinfo"))
    out["cpu"] = m.group(1) if m else ""
    os.sched_setaffinity(0, {opt.load_core})  # the harness itself stays off the proxy's core
    bench = Bench(opt)
    for n, c in (("envoy", [bench.envoy, "--version"]), ("haproxy", ["haproxy", "-v"]), ("nginx", ["nginx", "-v"]), ("sluice", [opt.sluiced, "--version"])):
        if c[0] and any(p.startswith(n) for p in opt.proxies):
            try:
                r = subprocess.run(c, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=10)
                out["versions"][n] = next((x.strip() for x in r.stdout.splitlines() if x.strip()), "")
            except (OSError, subprocess.SubprocessError) as e:
                out["versions"][n] = repr(e)
    if opt.merge and opt.json and os.path.exists(opt.json):
        old = json.loads(read(opt.json))
        out["scenarios"] = old["scenarios"]
        out["versions"] = {**old["versions"], **out["versions"]}
    bad = False
    for c in SCENARIOS:
        if c.name not in pick:
            continue
        r = bench.run(c)
        out["scenarios"][c.name] = r
        bad |= bool(r["failed"])
        print(render_text(c.name, r, opt.full), flush=True)
        save(out, opt)
    save(out, opt)
    return sys.exit(1 if bad else 0)
