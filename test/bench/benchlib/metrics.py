"""Names, units and directions of what is measured."""
from benchlib.common import BenchError


# ---- metrics ----
# suffix of the name -> (unit, which way is better); the first match wins
UNITS = [("log_cost_cpu_us", "us", 0), ("_gbps", "Gbit/s", 1), ("_rps", "1/s", 1), ("_per_s", "1/s", 1), ("_mib_s", "MiB/s", 1), ("_us", "us", -1), ("_ms_per_gib", "ms/GiB", -1),
         ("_ms", "ms", -1), ("_mib", "MiB", -1), ("_kib", "KiB", -1), ("_util", "cores", 0), ("noise", "", 0), ("slowdown", "", 0), ("shortfall", "", 0)]


def unit(name):
    for s, u, d in UNITS:
        if name.endswith(s):
            return u, d
    return "", 0


def put(res, prefix, lane, d, ops, scale=1e6, what="cpu_us"):
    """CPU of the proxy, and of all (proxy, generator, origin), for one unit of work."""
    if lane.procs:
        res[f"{prefix}_{what}"] = d["proxy"] / ops * scale
        res[f"{prefix}_proxy_util"] = d["util"]
        res[f"{prefix}_noise"] = d["noise"]
    res[f"{prefix}_total_{what}"] = (d["proxy"] + d["load"]) / ops * scale
    res[f"{prefix}_load_util"] = d["load_util"]
    res[f"{prefix}_load_noise"] = d["load_noise"]


def expect(cond, msg):
    if not cond:
        raise BenchError("check failed: " + msg)
