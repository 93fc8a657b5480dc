"""The short table that the project's README shows, from a result file: ratios to Envoy, nothing left out."""
import json

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
# scenario, metric, what it is in words, which way is better
TCP = [
    ("tcp", "conn_per_s", "connections a second (connect, 64 bytes there and back, close)", "more"),
    ("tcp", "conn_cpu_us", "proxy CPU of one such connection", "less"),
    ("tcp", "pp1_per_s", "round trips a second (64 bytes, one connection)", "more"),
    ("tcp", "bulk1_gbps", "bulk throughput, one stream", "more"),
    ("tcp", "bulk8_gbps", "bulk throughput, eight streams", "more"),
    ("tcp", "rss_mib", "memory after the load", "less"),
]
HTTP = [
    ("http1", "k1_rps", "HTTP/1.1 requests a second, 1 KiB, keep-alive", "more"),
    ("http1", "k1_cpu_us", "proxy CPU of one such request", "less"),
    ("http1", "k64_rps", "the same with 64 KiB", "more"),
    ("http1", "new_rps", "the same with 1 KiB and a connection for each request", "more"),
    ("http1", "fixed_p50_us", "latency at 4,000 requests a second, median", "less"),
    ("http1", "rss_mib", "memory after the load", "less"),
    ("http2", "h2_rps", "HTTP/2 requests a second (gRPC, unary)", "more"),
    ("http2", "h2_cpu_us", "proxy CPU of one such request", "less"),
    ("grpcstream", "stream_per_s", "messages a second on gRPC streams, to and fro", "more"),
    ("accesslog", "log_cost_cpu_us", "proxy CPU that a JSON access log adds to a request", "less"),
    ("scale", "v5000_start_ms", "start with 5,000 clusters and virtual hosts", "less"),
    ("scale", "v5000_rss_mib", "memory then", "less"),
    ("scale", "v5000_rps", "requests a second then", "more"),
    ("mesh", "mesh_rps", "requests a second through two proxies with mTLS", "more"),
    ("tls", "full_per_s", "TLS 1.3 handshakes a second", "more"),
    ("idle", "http_per_1000_kib", "memory of 1,000 idle connections", "less"),
]


def rows_of(headlines, result):
    """A column a lane, a row a headline that the result holds, "failed" where a lane failed; nothing for no rows."""
    held = [h for h in headlines if h[1] in result["scenarios"].get(h[0], {}).get("summary", {})]
    lanes = []
    for name in dict.fromkeys(h[0] for h in held):
        lanes += [x for x in result["scenarios"][name]["rounds"] if x not in lanes and "+log" not in x]
    lanes.sort(key=lambda x: (not x.startswith("sluice"), x != "envoy", x == "direct"))
    rows = []
    for name, metric, words, better in held:
        scenario, cells = result["scenarios"][name], []
        summary = scenario["summary"][metric]
        for lane in lanes:
            # What a log costs is known of the lane with one alone.
            cell = summary.get(lane) or summary.get(f"{lane}+log")
            if lane in scenario["failed"]:
                cells.append("failed")
            elif lane == "envoy" and cell:
                cells.append("1")
            else:
                cells.append(f"{cell['ratio']:.2f}" if cell and "ratio" in cell else "")
        rows.append(f"| {words} ({better} is better) | " + " | ".join(cells) + " |")
    return ["", "| | " + " | ".join(lanes) + " |", "|---|" + "---|" * len(lanes), *rows] if rows else []


def table(result):
    """Markdown lines."""
    about = (f"Measured {result['when'][:10]} on {result['cpus']} cores of {result['cpu'].strip() or 'a virtual machine'}, kernel "
             f"{result['kernel'].split('-')[0]}, TCP congestion control {result['congestion_control']}; one worker each, the proxies of a scenario interleaved in one run, median of the ratios within a round; Envoy = 1. "
             "`direct` is no proxy at all.")
    tcp, http = rows_of(TCP, result), rows_of(HTTP, result)
    return [about, *(["", "TCP on intercepted traffic (Envoy and HAProxy behind iptables REDIRECT):", *tcp] if tcp else []),
            *(["", "HTTP, as a proxy that is called by its address:", *http] if http else [])]


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
