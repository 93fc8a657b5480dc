"""A DNS server for tests: answers A and AAAA from a dictionary that a test may change while it runs."""
import socket
import struct
import threading

A, AAAA = 1, 28
_NXDOMAIN, _NOERROR, _SERVFAIL = 3, 0, 2


class DnsServer:
    """records: name -> list of addresses (IPv4 and IPv6 mixed). queries: (name, type) in order of arrival."""

    def __init__(self, pod, address="127.0.0.1", port=None, ttl=1):
        self.records, self.queries, self.ttl, self.failing = {}, [], ttl, False
        self._socket = pod.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.settimeout(None)
        self._socket.bind((address, port or 0))
        self.address, self.port = self._socket.getsockname()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._thread.join(5)
        self._socket.close()

    def _serve(self):
        while True:
            try:
                query, client = self._socket.recvfrom(4096)
            except OSError:
                return
            if len(query) < 12:
                if not query:
                    return
                continue
            self._socket.sendto(self.answer(query), client)

    def answer(self, query):
        """The reply to one query, RFC 1035 section 4: header, the question again, one record an address."""
        ident, flags, _, _, _, _ = struct.unpack("!6H", query[:12])
        labels, at = [], 12
        while query[at]:
            labels.append(query[at + 1:at + 1 + query[at]].decode())
            at += 1 + query[at]
        kind, = struct.unpack("!H", query[at + 1:at + 3])
        question = query[12:at + 5]
        name = ".".join(labels).lower()
        self.queries.append((name, kind))
        code, body = _NOERROR, []
        if self.failing:
            code = _SERVFAIL
        elif name not in self.records:
            code = _NXDOMAIN
        else:
            family = {A: socket.AF_INET, AAAA: socket.AF_INET6}.get(kind)
            for address in self.records[name]:
                if family is not None and (":" in address) == (kind == AAAA):
                    data = socket.inet_pton(family, address)
                    body.append(struct.pack("!HHHIH", 0xC00C, kind, 1, self.ttl, len(data)) + data)
        header = struct.pack("!6H", ident, 0x8180 | (flags & 0x0100) | code, 1, len(body), 0, 0)
        return header + question + b"".join(body)
