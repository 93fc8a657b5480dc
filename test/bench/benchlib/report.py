"""Medians, ratios within a round, tables."""
import json
import statistics

from benchlib.common import SHORT, SLOW
from benchlib.metrics import unit
from benchlib.scenarios import SCENARIOS


def summarize(res):
    """metric -> label -> {median, min, max, ratio (median of the per-round ratios to envoy)}"""
    out = {}
    labels = list(res["rounds"])
    first = next((x for x in labels if x.startswith("envoy")), None)

    def ref_of(x):  # X+log against envoy+log; all else against envoy
        return "envoy+log" if x.endswith("+log") and x != "envoy+log" and "envoy+log" in labels else first
    names = []
    for x in labels:
        for r in res["rounds"][x]:
            for k in r:
                if k not in names:
                    names.append(k)
        for k in res["once"].get(x, {}):
            if k not in names:
                names.append(k)
    for k in names:
        row = {}

        def clean(*rs):
            t = k.split("_")[0]
            return all(r.get(t + "_slowdown", 1) <= SLOW and r.get(t + "_shortfall", 0) <= SHORT for r in rs)
        for x in labels:
            v = [r[k] for r in res["rounds"][x] if k in r and clean(r)]
            n = len(v)
            if n < 2 or k.endswith(("_slowdown", "_shortfall")):  # too few clean samples: all of them
                v = [r[k] for r in res["rounds"][x] if k in r]
            if not v and k in res["once"].get(x, {}):
                v = [res["once"][x][k]]
            if not v:
                continue
            row[x] = {"median": statistics.median(v), "min": min(v), "max": max(v), "clean": n}
            ref = ref_of(x)
            if ref and x != ref:
                both = [(a, b) for a, b in zip(res["rounds"][x], res["rounds"][ref]) if k in a and b.get(k)]
                pairs = [(a[k], b[k]) for a, b in both if clean(a, b)]
                row[x]["clean_pairs"] = len(pairs)
                if len(pairs) < 2:
                    pairs = [(a[k], b[k]) for a, b in both]
                if not pairs and res["once"].get(ref, {}).get(k) and k in res["once"].get(x, {}):
                    pairs = [(res["once"][x][k], res["once"][ref][k])]
                if pairs:
                    q = [a / b for a, b in pairs]
                    row[x].update(ratio=statistics.median(q), ratio_min=min(q), ratio_max=max(q))
        out[k] = row
    return out


def num(v):
    if v == 0:
        return "0"
    a = abs(v)
    return f"{v:.0f}" if a >= 1000 else f"{v:.1f}" if a >= 100 else f"{v:.2f}" if a >= 1 else f"{v:.3f}"


def table(name, res, full):
    labels = [x for x in res["rounds"] if x not in res["failed"]]
    rows = [["metric", "unit", ""] + labels]
    for k, row in res["summary"].items():
        u, d = unit(k)
        if not full and (k.endswith("_util") or k.endswith("noise") or k.endswith(("slowdown", "shortfall"))) and not k.endswith("proxy_util"):
            continue
        line = [k, u, {1: "+", -1: "-", 0: ""}[d]]
        for x in labels:
            c = row.get(x)
            if not c:
                line.append("")
                continue
            t = num(c["median"])
            if "ratio" in c and d:
                t += f" x{c['ratio']:.2f}"
                if c["ratio_max"] - c["ratio_min"] > 0.005:
                    t += f" [{c['ratio_min']:.2f}..{c['ratio_max']:.2f}]"
            line.append(t)
        rows.append(line)
    return rows


def render_text(name, res, full):
    rows = table(name, res, full)
    w = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    o = [f"\n{name}: {res['about']}", f"  ({res['note']}; {rounds(res)} rounds, {res['seconds']} s; {noise(res)})"]
    o += ["  " + "  ".join(c.ljust(w[i]) for i, c in enumerate(r)).rstrip() for r in rows]
    for x, why in res.get("skipped", {}).items():
        o.append(f"  SKIPPED {x}: {why}")
    for x, why in res["failed"].items():
        o.append(f"  FAILED {x}: {why}")
    return "\n".join(o)


def render_md(name, res, full):
    rows = table(name, res, full)
    o = [f"\n## {name}\n", f"{res['about']} {res['note'][:1].upper() + res['note'][1:]}. {res['seconds']} s; {noise(res)}.\n"]
    o.append("| " + " | ".join(rows[0]) + " |")
    o.append("|" + "---|" * len(rows[0]))
    o += ["| " + " | ".join(r) + " |" for r in rows[1:]]
    for x, why in res.get("skipped", {}).items():
        o.append(f"\nSKIPPED {x}: {why}")
    for x, why in res["failed"].items():
        o.append(f"\nFAILED {x}: {why}")
    return "\n".join(o)


def rounds(res):
    return max([len(v) for v in res["rounds"].values()] or [0])


def noise(res):
    o = []
    for what, end in (("proxy", lambda k: k.endswith("_noise") and not k.endswith("load_noise")), ("load", lambda k: k.endswith("load_noise"))):
        v = [m[k] for x in res["rounds"].values() for m in x for k in m if end(k)]
        if v:
            o.append(f"{what} core {statistics.median(v):.0%} (worst {max(v):.0%})")
    v = [m[k] for x in res["rounds"].values() for m in x for k in m if k.endswith("_slowdown")]
    t = f"clean samples: {sum(x <= SLOW for x in v)} of {len(v)}" if v else "no samples"
    return t + ("; taken by others: " + ", ".join(o) if o else "")


def save(out, opt):
    if opt.json:
        with open(opt.json, "w") as f:
            json.dump(out, f, indent=1)
    if opt.md:
        with open(opt.md, "w") as f:
            f.write(f"# Results, {out['when']}\n\n{out['cpu']}, {out['cpus']} cores, kernel {out['kernel']}, congestion control {out['congestion_control']}; "
                    + "; ".join(f"{k}: {v}" for k, v in out["versions"].items()) + ".\n"
                    f"Generator and origin on core {opt.load_core}, proxy on core {opt.proxy_core} (one worker). "
                    "Cells: median over the rounds, then xRATIO to envoy [lowest..highest round]; ratios are taken within a round. "
                    "'+': more is better, '-': less is better.\n"
                    + "\n".join(render_md(c.name, out["scenarios"][c.name], opt.full) for c in SCENARIOS if c.name in out["scenarios"]) + "\n")
