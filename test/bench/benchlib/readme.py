"""The short table that the project's README shows, from a result file: ratios to Envoy, nothing left out."""
import json

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
# scenario, metric, what it is in words, which way is better
HEADLINES = [
    ("tcp", "conn_per_s", "connections a second (connect, 64 bytes there and back, close)", "more"),
    ("tcp", "conn_cpu_us", "proxy CPU of one such connection", "less"),
    ("tcp", "pp1_per_s", "round trips a second (64 bytes, one connection)", "more"),
    ("tcp", "bulk1_gbps", "bulk throughput, one stream", "more"),
    ("tcp", "bulk8_gbps", "bulk throughput, eight streams", "more"),
    ("tcp", "rss_mib", "memory after the load", "less"),
    ("http1", "k1_rps", "HTTP/1.1 requests a second, 1 KiB", "more"),
    ("http2", "h2_rps", "HTTP/2 requests a second", "more"),
    ("mesh", "mesh_rps", "requests a second through two proxies with mTLS", "more"),
    ("tls", "full_per_s", "TLS 1.3 handshakes a second", "more"),
    ("idle", "http_per_1000_kib", "memory of 1,000 idle connections", "less"),
]


def table(result):
    """Markdown lines; a column a lane, a row a headline that the result holds, "failed" where a lane failed."""
    lanes = []
    for scenario in result["scenarios"].values():
        lanes += [x for x in scenario["rounds"] if x not in lanes and "+log" not in x]
    lanes.sort(key=lambda x: (not x.startswith("sluice"), x != "envoy", x == "direct"))
    rows = []
    for name, metric, words, better in HEADLINES:
        scenario = result["scenarios"].get(name)
        if not scenario or metric not in scenario["summary"]:
            continue
        cells = []
        for lane in lanes:
            cell = scenario["summary"][metric].get(lane)
            if lane in scenario["failed"]:
                cells.append("failed")
            elif lane == "envoy" and cell:
                cells.append("1")
            else:
                cells.append(f"{cell['ratio']:.2f}" if cell and "ratio" in cell else "")
        rows.append(f"| {words} ({better} is better) | " + " | ".join(cells) + " |")
    head = ["| | " + " | ".join(lanes) + " |", "|---|" + "---|" * len(lanes)]
    about = (f"Measured {result['when'][:10]} on {result['cpus']} cores of {result['cpu'].strip() or 'a virtual machine'}, kernel "
             f"{result['kernel'].split('-')[0]}, TCP congestion control {result['congestion_control']}; one worker each, interleaved in one run, median of the ratios within a round; Envoy = 1 "
             "(behind iptables REDIRECT). `direct` is no proxy at all.")
    return [about, "", *head, *rows]


def write(result_path, readme_path):
    """Replaces what stands between the two markers in the README."""
    with open(result_path) as file:
        lines = table(json.load(file))
    with open(readme_path) as file:
        text = file.read()
    if BEGIN not in text or END not in text:
        raise SystemExit(f"{readme_path}: no {BEGIN} ... {END}: put the two lines where the table should stand")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    with open(readme_path, "w") as file:
        file.write(before + BEGIN + "\n" + "\n".join(lines) + "\n" + END + after)
