"""h2spec (RFC 7540, 7541) against the codec alone and against sluiced. A case that fails must be in MISSES with its reason."""
import os
import re
import xml.etree.ElementTree as xml

import pytest

from support import paths
from support.process import Process, run
from support.wait import wait_until

# (package, case) -> why. There is none.
MISSES = {}
# How long h2spec waits for an answer. No case that passes waits it out, so it only has to be more than a busy machine ever needs.
SECONDS = 20

SLUICED = """
static_resources:
  listeners:
  - name: h2
    address: {socket_address: {address: 127.0.0.1, port_value: %d}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: h2spec
          codec_type: HTTP2
          http2_protocol_options: {max_concurrent_streams: 100}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: "/"}
                direct_response: {status: 200, body: {inline_string: "a body of some bytes, for flow control\\n"}}
          http_filters:
          - name: envoy.filters.http.buffer  # the answer waits for the body, which h2spec sends wrong
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.buffer.v3.Buffer, max_request_bytes: 65536}
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
"""


def free_port():
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def connectable(port):
    import socket
    with socket.create_connection(("127.0.0.1", port), timeout=2):
        return True


def start_codec(directory):
    read, write = os.pipe()
    process = Process("http2_server", [paths.program("http2_server"), free_port()], directory, stdin=read)
    os.close(read)
    port = wait_until(lambda: int(process.stdout() or 0), 10, "http2_server's port", alive=process.check_running)
    return process, port, write


def start_sluiced(directory):
    port = free_port()
    config = directory / "h2.yaml"
    config.write_text(SLUICED % port)
    process = Process("sluiced", [paths.program("sluiced"), "-c", config], directory)
    wait_until(lambda: connectable(port), 10, "sluiced's listener", alive=process.check_running)
    return process, port, None


@pytest.mark.slow
@pytest.mark.parametrize("subject", ["codec", "sluiced"])
def test_h2spec(subject, tmp_path):
    h2spec = paths.h2spec()
    if not h2spec:
        pytest.skip("no h2spec: tools/setup --test builds it")
    process, port, stdin = (start_codec if subject == "codec" else start_sluiced)(tmp_path)
    try:
        report = tmp_path / "h2spec.xml"
        done = run(h2spec, "--host", "127.0.0.1", "--port", port, "--timeout", SECONDS, "--junit-report", report, check=False,
                   timeout=80)
        process.check_running()
    finally:
        process.stop()
        if stdin is not None:
            os.close(stdin)
    # h2spec puts what it received into the report as it came, control bytes and all.
    text = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "?", report.read_text(errors="replace"))
    cases = list(xml.fromstring(text).iter("testcase"))
    assert len(cases) >= 140, done.stdout[-2000:]
    failed = {(c.get("package"), c.get("classname")) for c in cases if c.find("failure") is not None or c.find("error") is not None}
    assert not failed - MISSES.keys(), done.stdout[-6000:]
