"""HTTP/1 by hand: a server that answers what a test says, a client of one request, and the reading of messages."""
import threading

from support.peers import Peer
from support.wait import patience


def read_message(sock, data=b""):
    """One request or response with a length: (start line, {name: value}, body, what came after it)."""
    while b"\r\n\r\n" not in data:
        more = sock.recv(65536)
        if not more:
            return None
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    fields = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
    want = int(fields.get("content-length", 0))
    while len(rest) < want:
        more = sock.recv(65536)
        if not more:
            return None
        rest += more
    return lines[0], fields, rest[:want], rest[want:]


def answer(status=200, body=b"", **fields):
    lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *(f"{k.replace('_', '-')}: {v}" for k, v in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Web(Peer):
    """An HTTP/1 server: replies(request number) gives the bytes to send, or None: hang up."""

    def __init__(self, sock, replies):
        self.requests, self.lock = [], threading.Lock()
        self.replies = replies
        super().__init__(sock, Web.serve)

    def serve(self, sock):
        rest = b""
        while True:
            got = read_message(sock, rest)
            if got is None:
                return
            *request, rest = got
            with self.lock:
                self.requests.append(request)
                number = len(self.requests)
            reply = self.replies(number)
            if reply is None:
                return
            if reply == b"hang":
                self.release.wait(30)
                return
            sock.sendall(reply)


def call(app, port, path="/", method="GET", body=b"", **fields):
    """(status, {name: value}, body) of one request on a connection of its own."""
    lines = [f"{method} {path} HTTP/1.1", "host: a", *(f"{k.replace('_', '-')}: {v}" for k, v in fields.items())]
    if body:
        lines.append(f"content-length: {len(body)}")
    with app.connect("127.0.0.1", port) as sock:
        sock.settimeout(patience(20))
        sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        start, got, content, _ = read_message(sock)
        return int(start.split()[1]), got, content
