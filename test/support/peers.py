"""TCP peers with one behaviour each, running as threads of the test process on sockets of a pod."""
import contextlib
import socket
import struct
import threading

from support.wait import patience, wait_until


def reset(sock):
    """Closes so that the other side gets a RST: SO_LINGER on, zero seconds."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def receive_exactly(sock, size):
    """Bytes until `size` of them or the end of the stream."""
    parts, got = [], 0
    while got < size:
        part = sock.recv(min(1 << 20, size - got))
        if not part:
            break
        parts.append(part)
        got += len(part)
    return b"".join(parts)


def receive_all(sock):
    """Everything until the other side's FIN."""
    parts = []
    while part := sock.recv(1 << 20):
        parts.append(part)
    return b"".join(parts)


def ending(sock, seconds=5.0):
    """How the stream ends for us, reading on: "fin", "rst", or "open" when nothing happened within `seconds`."""
    sock.settimeout(patience(seconds))
    try:
        while sock.recv(1 << 16):
            pass
        return "fin"
    except ConnectionResetError:
        return "rst"
    except (TimeoutError, socket.timeout):
        return "open"


def call_ending(pod, address, port, seconds=5.0):
    """Connects and tells how that ends: "fin", "rst", "open", or "refused" when there was no connection at all.

    A RST that follows the handshake at once may be there before connect() returns, which then fails with ECONNRESET.
    """
    try:
        with pod.connect(address, port) as sock:
            return ending(sock, seconds)
    except ConnectionResetError:
        return "rst"
    except ConnectionRefusedError:
        return "refused"


def pattern(size, seed=0):
    """Bytes in which loss, repetition and reordering show."""
    block = b"".join(struct.pack("<I", (seed * 2654435761 + i * 40503) & 0xFFFFFFFF) for i in range(min(size, 1 << 16) // 4 + 1))
    return (block * (size // len(block) + 1))[:size]


class Peer:
    """A TCP server: calls handler(connection) on a thread per accepted connection.

    accepted: (peer address, local address) of every connection, in order; received: what handlers chose to keep. The connection is
    closed (FIN) when the handler returns, unless it has been closed already.
    """

    def __init__(self, listener, handler, name=""):
        self.listener, self.handler = listener, handler
        self.address, self.port = listener.getsockname()[:2]
        self.name = name or f"{self.address}:{self.port}"
        self.accepted, self.connections, self.received, self.errors = [], [], [], []
        self.release = threading.Event()  # handlers that hold wait for it
        self._lock, self._threads = threading.Lock(), []
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def count(self):
        return len(self.accepted)

    def _accept(self):
        while True:
            try:
                sock, remote = self.listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections.append(sock)
                self.accepted.append((remote, sock.getsockname()))
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock):
        try:
            self.handler(self, sock)
        except OSError as error:
            self.errors.append(error)
        finally:
            with contextlib.suppress(OSError):
                sock.close()

    def wait_connections(self, number=1, seconds=5.0):
        """The sockets accepted so far, once there are `number`."""
        wait_until(lambda: len(self.connections) >= number, seconds, f"{number} connections to {self.name}")
        return list(self.connections)

    def close(self):
        self.release.set()
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for sock in self.connections:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in [self._acceptor, *self._threads]:
            thread.join(5)


# ---- behaviours ----
def echo(_peer, sock):
    """Sends back what arrives; half-closes after the other side did."""
    sock.settimeout(patience(30))
    while data := sock.recv(1 << 16):
        sock.sendall(data)


def sink(peer, sock):
    """Reads to the end, keeps the bytes."""
    sock.settimeout(patience(30))
    peer.received.append(receive_all(sock))


def hold(peer, sock):
    """Neither reads nor closes until released."""
    peer.release.wait(30)


def fin_at_once(_peer, _sock):
    """Closes (the caller of the handler does)."""


def reset_on_data(_peer, sock):
    sock.settimeout(patience(30))
    sock.recv(1)
    reset(sock)


def greeting(text):
    """Speaks first, then echoes."""
    def handler(peer, sock):
        sock.sendall(text)
        echo(peer, sock)
    return handler


def tell(name):
    """Sends its name and closes: for counting where connections went."""
    def handler(_peer, sock):
        sock.sendall(name.encode())
    return handler


def half_close_first(reply):
    """Sends `reply` and its FIN at once, goes on reading to the other side's end."""
    def handler(peer, sock):
        sock.settimeout(patience(30))
        sock.sendall(reply)
        sock.shutdown(socket.SHUT_WR)
        peer.received.append(receive_all(sock))
    return handler


def slow_sink(peer, sock):
    """Reads nothing until released, then everything; a small receive buffer."""
    peer.release.wait(60)
    sock.settimeout(patience(30))
    peer.received.append(receive_all(sock))


def ask(connect, data=b"", seconds=5.0):
    """Connects by calling connect(), sends `data`, half-closes and returns everything that comes back."""
    with connect() as sock:
        sock.settimeout(patience(seconds))
        if data:
            sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        return receive_all(sock)


@contextlib.contextmanager
def blackhole(pod, address="0.0.0.0"):
    """A port whose connects neither succeed nor fail: the accept queue is full and nobody accepts. Yields the port."""
    listener = pod.listen(address, 0, backlog=0)
    port = listener.getsockname()[1]
    fillers = []
    try:
        for _ in range(4):
            sock = pod.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
            sock.setblocking(False)
            sock.connect_ex((pod.ipv6 if ":" in address else pod.ipv4, port))
            fillers.append(sock)
        yield port
    finally:
        for sock in fillers:
            sock.close()
        listener.close()
