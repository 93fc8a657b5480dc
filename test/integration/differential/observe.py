"""What is compared, and how times and random numbers are taken out of it."""
import json
import re

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
# Values that are times or random numbers; their presence is compared.
LOOSE_HEADERS = {"date", "x-envoy-upstream-service-time", "x-request-id"}
# Counters that one run and another of the same Envoy do not agree in, or that count bytes with a time in them.
LOOSE_STATS = re.compile(r"(_bytes(_total)?|upstream_cx_(rx|tx)_bytes.*|\.membership_.*|\.update_.*|\.lb_(?!subsets_(selected|fallback)).*|default\.total_match_count|"
                         r"downstream_cx_delayed_close_timeout|downstream_cx_length_ms|\.assignment_.*|upstream_cx_.*|downstream_cx_destroy.*|"
                         r"upstream_rq_pending_total|downstream_rq_idle_timeout|"
                         # Which of its two HTTP/2 implementations Envoy uses for a connection.
                         r"http2\.nghttp2_downstream_connections)$")
COUNTED = re.compile(r"^(http\.diff\.|cluster\.|vhost\.|listener\..*\.http\.diff\.|http1\.|http2\.|http_local_rate_limiter|diff_)")


def header(name, value, loose=()):
    if name in LOOSE_HEADERS or name in loose:
        return f"{name}: *"
    if name == "x-envoy-expected-rq-timeout-ms" and value.isdigit():
        value = f"about {-(-int(value) // 100) * 100}"  # a retry has some milliseconds less
    return f"{name}: {_UUID.sub('<uuid>', value)}"


def responses(found, loose=()):
    """Fields in one order: proxies may add theirs where they like (RFC 9110 section 5.3), but not change those of one name."""
    made = []
    for one in found:
        one = dict(one)
        if "headers" in one:
            one["headers"] = sorted((header(k, v, loose) for k, v in one["headers"]), key=lambda h: h.partition(":")[0])
        made.append(one)
    return made


def streams(found, loose=()):
    return {number: {**one, "headers": [sorted((header(k, v, loose) for k, v in block), key=lambda h: h.partition(": ")[0])
                                        for block in one["headers"]]} for number, one in found.items()}


def requests(found, ports, loose=()):
    made = []
    for one in found:
        one = dict(one)
        one["headers"] = sorted((header(k.lower(), v, loose) for k, v in one["headers"]), key=lambda h: h.partition(":")[0])
        made.append(one)
    return made


def log_lines(lines):
    return sorted(_UUID.sub("<uuid>", json.dumps(json.loads(line), sort_keys=True)) for line in lines)


def counters(before, after, loose=()):
    moved = {}
    for name, value in after.items():
        if not COUNTED.match(name) or not isinstance(value, int) or LOOSE_STATS.search(name):
            continue
        if any(name == x or name.endswith(x) for x in loose):
            continue
        delta = value - before.get(name, 0)
        if delta:
            moved[name] = delta
    return moved
