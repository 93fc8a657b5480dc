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
    ("grpcbulk", "one_mib_s", "gRPC messages of 1 MiB through windows of 64 KiB, one stream", "more"),
    ("grpcbulk", "one_cpu_ms_per_gib", "proxy CPU of a GiB of them", "less"),
    ("accesslog", "log_cost_cpu_us", "proxy CPU that a JSON access log adds to a request", "less"),
    ("scale", "v5000_start_ms", "start with 5,000 clusters and virtual hosts", "less"),
    ("scale", "v5000_rss_mib", "memory then", "less"),
    ("scale", "v5000_rps", "requests a second then", "more"),
    ("idle", "http_per_1000_kib", "memory of 1,000 idle connections", "less"),
]
TLS = [
    ("mesh", "mesh_rps", "requests a second over the whole hop (two proxies, mTLS with HTTP/1.1 between them), 1 KiB", "more"),
    ("mesh", "mesh_cpu_us", "CPU of both proxies for one such request", "less"),
    ("mesh", "fixed_added_p50_us", "latency that the hop adds at 2,000 requests a second, median", "less"),
    ("mesh", "fixed_added_p99_us", "the same, 99th percentile", "less"),
    ("mesh", "meshh2_rps", "requests a second over the hop with HTTP/2 between the proxies", "more"),
    ("mesh", "meshh2_cpu_us", "CPU of both proxies for one such request", "less"),
    ("tls", "full_per_s", "full TLS 1.3 handshakes a second, P-256", "more"),
    ("tls", "x25519_per_s", "the same with X25519 as key exchange", "more"),
    ("tls", "rsa_per_s", "full TLS 1.3 handshakes a second, RSA-2048", "more"),
    ("tls", "mutual_per_s", "the same with certificates on both sides, P-256 and X25519", "more"),
    ("tls", "resume_per_s", "resumed TLS 1.3 handshakes a second", "more"),
    ("tls", "resume12_cpu_us", "proxy CPU of a resumed TLS 1.2 handshake", "less"),
    ("tlsbulk", "down_mib_s", "downloads through TLS termination, AES-128-GCM", "more"),
    ("tlsbulk", "down_cpu_ms_per_gib", "proxy CPU of a GiB downloaded", "less"),
    ("tlsbulk", "up_mib_s", "uploads through TLS termination", "more"),
    ("tlsbulk", "up_cpu_ms_per_gib", "proxy CPU of a GiB uploaded", "less"),
    ("idle", "tls_per_1000_kib", "memory of 1,000 idle TLS connections that have carried a request", "less"),
    ("idle", "silent_per_1000_kib", "memory of 1,000 idle TLS connections that have not", "less"),
]
PUSH = [
    ("push", "whole_start_ms", "time until it is live with all of it, what the control plane takes included, state of the world", "less"),
    ("push", "whole_start_cpu_ms", "proxy CPU until it is live with all of it, state of the world", "less"),
    ("push", "wholedelta_start_cpu_ms", "the same, delta", "less"),
    ("push", "whole_rss_mib", "memory then", "less"),
    ("push", "whole_full_cpu_ms", "proxy CPU of a push that changes every endpoint and route, state of the world", "less"),
    ("push", "whole_one_cpu_ms", "proxy CPU of a push that changes one endpoint, state of the world", "less"),
    ("push", "wholedelta_one_cpu_ms", "the same, delta", "less"),
    ("push", "whole_after_rss_mib", "memory after these pushes", "less"),
    ("push", "sotw_start_cpu_ms", "proxy CPU until it is live with the clusters alone, state of the world", "less"),
    ("push", "delta_start_cpu_ms", "the same, delta", "less"),
    ("push", "sotw_rss_mib", "memory then, state of the world", "less"),
    ("push", "sotw_full_cpu_ms", "proxy CPU of a push that changes every endpoint, state of the world", "less"),
    ("push", "delta_full_cpu_ms", "the same, delta", "less"),
    ("push", "routes_start_cpu_ms", "proxy CPU until it is live with the virtual hosts alone", "less"),
    ("push", "routes_full_cpu_ms", "proxy CPU of a push that changes every virtual host", "less"),
    ("push", "routes_one_cpu_ms", "proxy CPU of a push that changes one virtual host", "less"),
    ("push", "routes_after_rss_mib", "memory after pushes of virtual hosts alone", "less"),
]


def ratio_text(ratio):
    return f"{ratio:.2f}" if ratio >= 0.095 else f"{ratio:.1g}"


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
                cells.append(ratio_text(cell["ratio"]) if cell and "ratio" in cell else "")
        rows.append(f"| {words} ({better} is better) | " + " | ".join(cells) + " |")
    return ["", "| | " + " | ".join(lanes) + " |", "|---|" + "---|" * len(lanes), *rows] if rows else []


def table(result):
    """Markdown lines."""
    about = (f"Measured {result['when'][:10]} on {result['cpus']} cores of {result['cpu'].strip() or 'a virtual machine'}, kernel "
             f"{result['kernel'].split('-')[0]}, TCP congestion control {result['congestion_control']}; one worker each, the proxies of a scenario interleaved in one run, median of the ratios within a round; Envoy = 1. "
             "`direct` is no proxy at all.")
    tcp, http, tls, push = (rows_of(rows, result) for rows in (TCP, HTTP, TLS, PUSH))
    return [about, *(["", "TCP on intercepted traffic (Envoy and HAProxy behind iptables REDIRECT):", *tcp] if tcp else []),
            *(["", "HTTP, as a proxy that is called by its address:", *http] if http else []),
            *(["", "TLS:", *tls] if tls else []),
            *(["", "Configuration from a control plane (5,000 clusters of 10 endpoints; 5,000 virtual hosts of 4 routes):", *push] if push else [])]


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
