"""Sends a case's bytes on a connection and reads what comes back, as a tolerant HTTP/1 client."""
import socket

SENTINEL = b"GET /sentinel HTTP/1.1\r\nhost: sentinel.example\r\n\r\n"


class Reader:
    """Responses out of a socket; never raises on what a server may do."""

    def __init__(self, sock):
        self.sock, self.data, self.end = sock, b"", None  # end: None, "fin", "rst", "silent"

    def fill(self):
        if self.end:
            return False
        try:
            part = self.sock.recv(1 << 16)
        except ConnectionResetError:
            self.end = "rst"
            return False
        except (TimeoutError, socket.timeout):
            self.end = "silent"
            return False
        if not part:
            self.end = "fin"
        self.data += part
        return bool(part)

    def until(self, mark):
        while mark not in self.data:
            if not self.fill():
                return None
        head, _, self.data = self.data.partition(mark)
        return head

    def take(self, size):
        while len(self.data) < size and self.fill():
            pass
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def response(self, head_request=False):
        """{"status": line, "headers": [(name, value)], "body": bytes, ...} or None where the stream ended before one."""
        head = self.until(b"\r\n\r\n")
        if head is None:
            return None
        line, *fields = head.split(b"\r\n")
        headers = [tuple(x.strip() for x in f.partition(b":")[::2]) for f in fields]
        headers = [(k.lower().decode("latin-1"), v.decode("latin-1")) for k, v in headers]
        named = dict(headers)
        made = {"status": line.decode("latin-1"), "headers": headers, "body": b""}
        code = int(line.split()[1])
        if 100 <= code < 200 and code != 101:
            return made
        if head_request or code in (101, 204, 304):
            return made
        if "chunked" in named.get("transfer-encoding", ""):
            body = b""
            while True:
                size = self.until(b"\r\n")
                if size is None:
                    made["cut"] = True
                    break
                size = int(size.split(b";")[0], 16)
                if size == 0:
                    trailers = []
                    while (line := self.until(b"\r\n")):
                        trailers.append(line.decode("latin-1"))
                    if trailers:
                        made["trailers"] = sorted(trailers)
                    break
                body += self.take(size)
                self.take(2)
            made["body"] = body
        elif "content-length" in named:
            size = int(named["content-length"])
            made["body"] = self.take(size)
            if len(made["body"]) < size:
                made["cut"] = True
        else:
            while self.fill():
                pass
            made["body"], self.data = self.data, b""
            made["until_end"] = True
        return made


def run(sock, case):
    """(responses, how the connection is afterwards): "reusable", "fin", "rst" or "silent"."""
    sock.settimeout(case.seconds)
    reader = Reader(sock)
    try:
        for piece in case.send:
            sock.sendall(piece)
        if case.after == "fin":
            sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # the proxy has answered and closed already
    head_request = case.send[0].startswith(b"HEAD ")
    responses = []
    final = 0
    while final < case.responses:
        response = reader.response(head_request)
        if response is None:
            break
        responses.append(response)
        final += response["status"].split()[1] >= "200" or response["status"].split()[1] == "101"
    if case.after == "none":
        return responses, "not asked"
    if case.after == "reuse" and reader.end is None and final == case.responses:
        try:
            sock.sendall(SENTINEL)
        except OSError:
            pass
        if reader.response() is not None:
            return responses, "reusable"
        if not reader.data and reader.end in ("fin", "rst"):
            return responses, "closed"  # which of the two it is, is a race of the proxy's FIN with the request
    while reader.fill():
        pass
    if reader.data:
        responses.append({"left over": reader.data})
    return responses, reader.end
