"""What a differential case may say."""
import dataclasses

CASES = []

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Close:
    """The upstream reads the request and closes the connection without an answer."""


class Reset:
    """The same, with a RST."""


class Hang:
    """The upstream reads the request and answers nothing until the case is over."""


class CloseAtOnce:
    """The upstream closes a connection as soon as it is accepted, unread."""


@dataclasses.dataclass
class Case:
    name: str
    send: tuple  # pieces of bytes, sent one after another
    config: str = "plain"
    # What the upstream says to the first request, to the second, ...; the last is repeated. Bytes, or one of the classes above.
    replies: tuple = (OK,)
    responses: int = 1  # how many responses are waited for
    # After them: "reuse" (is the connection still good for a request?), "fin" (the client has sent FIN behind its bytes), "none".
    after: str = "reuse"
    # Headers whose value is not compared, beside those that are times and random numbers anyway.
    loose: tuple = ()
    # Counters that are not compared in this case: names or endings.
    loose_stats: tuple = ()
    seconds: float = 5.0  # to wait for the responses
    streams: tuple = ()  # exchange2.Stream: the case speaks HTTP/2, and `send` is empty

    def __post_init__(self):
        if isinstance(self.send, bytes):
            self.send = (self.send,)
        if isinstance(self.replies, bytes) or isinstance(self.replies, type):
            self.replies = (self.replies,)


def case(name, send, **fields):
    assert name not in {c.name for c in CASES}, f"two cases are called {name!r}"
    CASES.append(Case(name, send, **fields))


def case2(name, *streams, **fields):
    """A case over HTTP/2."""
    case(name, b"", streams=streams, **fields)


def get(path="/", *headers, host="test.example", method="GET"):
    """A request without a body; headers as "name: value"."""
    lines = [f"{method} {path} HTTP/1.1", f"host: {host}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def post(body, path="/", *headers, host="test.example"):
    return get(path, f"content-length: {len(body)}", *headers, host=host, method="POST") + body


def response(status="200 OK", *headers, body=b"ok"):
    return "\r\n".join([f"HTTP/1.1 {status}", *headers, f"content-length: {len(body)}", "", ""]).encode("latin-1") + body
