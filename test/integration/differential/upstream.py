"""The scripted HTTP/1 server behind both proxies. It records every request it can make out and answers by the case's script."""
import re
import socket
import threading

from support.peers import reset

from differential.case import OK, Close, CloseAtOnce, Hang, Reset


class Upstream:
    """Serves on `listener` until close(). One case at a time: begin(replies), then seen()."""

    def __init__(self, listener):
        self.listener = listener
        self.port = listener.getsockname()[1]
        self.lock = threading.Condition()
        self.requests, self.replies, self.epoch, self.sockets = [], (OK,), 0, set()
        threading.Thread(target=self._accept, daemon=True).start()

    def begin(self, replies):
        with self.lock:
            self.requests, self.replies = [], replies
            self.epoch += 1
            self.lock.notify_all()

    def hang_up(self):
        """Ends the connections that earlier cases have left open."""
        for sock in list(self.sockets):
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass  # it has ended by itself

    def seen(self):
        with self.lock:
            return list(self.requests)

    def close(self):
        self.begin((OK,))
        self.listener.close()
        for sock in list(self.sockets):
            sock.close()

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            self.sockets.add(sock)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock):
        try:
            if self.replies[0] is CloseAtOnce:
                return
            self._requests(sock)
        except OSError:
            pass
        finally:
            self.sockets.discard(sock)
            sock.close()

    def _requests(self, sock):
        sock.settimeout(30)
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                part = sock.recv(1 << 16)
                if not part:
                    return
                data += part
            head, _, data = data.partition(b"\r\n\r\n")
            line, *fields = head.decode("latin-1").split("\r\n")
            headers = [tuple(x.strip() for x in f.partition(":")[::2]) for f in fields]
            entry = {"line": line, "headers": headers, "body": b""}
            sentinel = " /sentinel " in line
            with self.lock:
                number, epoch = len(self.requests), self.epoch
                reply = OK if sentinel else self.replies[min(number, len(self.replies) - 1)]
                if not sentinel:
                    self.requests.append(entry)
            named = {k.lower(): v for k, v in headers}
            if reply is not Hang and reply is not Close and reply is not Reset and b" 100 " in reply[:13]:
                interim, _, reply = reply.partition(b"\r\n\r\n")
                sock.sendall(interim + b"\r\n\r\n")
            if "chunked" in named.get("transfer-encoding", ""):
                entry["body"], data = self._chunked(sock, data)
            elif re.fullmatch(r"\d+", named.get("content-length", "")):
                size = int(named["content-length"])
                while len(data) < size:
                    part = sock.recv(1 << 16)
                    if not part:
                        entry["body"] = data
                        entry["cut"] = True
                        return
                    data += part
                entry["body"], data = data[:size], data[size:]
            if reply is Close:
                return
            if reply is Reset:
                return reset(sock)
            if reply is Hang:
                with self.lock:
                    self.lock.wait_for(lambda: self.epoch != epoch, timeout=20)
                return
            sock.sendall(reply)
            if b" 101 " in reply[:13]:
                while part := sock.recv(1 << 16):
                    sock.sendall(part.upper())
                return
            if b"content-length" not in reply.lower() and b"chunked" not in reply.lower() and b" 204 " not in reply[:13] and \
                    b" 304 " not in reply[:13]:
                sock.shutdown(socket.SHUT_WR)  # a body that ends with the connection
                return

    @staticmethod
    def _chunked(sock, data):
        body = b""
        while True:
            while b"\r\n" not in data:
                part = sock.recv(1 << 16)
                if not part:
                    return body + b"<cut>", b""
                data += part
            size, _, data = data.partition(b"\r\n")
            size = int(size.split(b";")[0], 16)
            if size == 0:
                trailers = b""
                while True:
                    while b"\r\n" not in data:
                        part = sock.recv(1 << 16)
                        if not part:
                            return body + b"<cut>", b""
                        data += part
                    line, _, data = data.partition(b"\r\n")
                    if not line:
                        return body + (b"<trailers:" + trailers + b">" if trailers else b""), data
                    trailers += line + b";"
            while len(data) < size + 2:
                part = sock.recv(1 << 16)
                if not part:
                    return body + b"<cut>", b""
                data += part
            body, data = body + data[:size], data[size + 2:]
