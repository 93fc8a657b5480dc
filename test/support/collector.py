"""A Zipkin collector: takes spans, and answers what a test says."""
import json
import threading

from support.peers import Peer


def read_chunked(sock, data):
    """A chunked body and what came after it."""
    def line():
        nonlocal data
        while b"\r\n" not in data:
            more = sock.recv(65536)
            if not more:
                raise ConnectionResetError
            data += more
        head, _, data = data.partition(b"\r\n")
        return head
    body = b""
    while size := int(line(), 16):
        while len(data) < size + 2:
            more = sock.recv(65536)
            if not more:
                raise ConnectionResetError
            data += more
        body, data = body + data[:size], data[size + 2:]
    line()
    return body, data


class Collector(Peer):
    """reports: (request line, {name: value} without host, spans) in the order of arrival; `status` answers them; None: nobody does;
    "hang up": neither, and the connection ends."""

    def __init__(self, sock, status=202):
        self.reports, self.status, self.lock = [], status, threading.Lock()
        super().__init__(sock, Collector.serve)

    @property
    def spans(self):
        return [span for *_, spans in list(self.reports) for span in spans]

    def serve(self, sock):
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                more = sock.recv(65536)
                if not more:
                    return
                data += more
            head, _, data = data.partition(b"\r\n\r\n")
            first, *lines = head.decode().split("\r\n")
            fields = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
            body, data = read_chunked(sock, data)
            with self.lock:
                self.reports.append((first, fields, json.loads(body)))
            if self.status == "hang up":
                return
            if self.status is None:
                self.release.wait(30)
                return
            sock.sendall(f"HTTP/1.1 {self.status} X\r\ncontent-length: 0\r\n\r\n".encode())
