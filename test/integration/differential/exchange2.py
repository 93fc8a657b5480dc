"""An HTTP/2 client (prior knowledge) that sends what a case says, right or wrong, and records what comes back per stream."""
import socket

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions


class Stream:
    """One request of a case: headers as pairs, then pieces of data, then trailers; reset: RST_STREAM with this code instead of an end."""

    def __init__(self, headers, data=(), trailers=None, reset=None, end=True):
        self.headers, self.data, self.trailers, self.reset, self.end = headers, data, trailers, reset, end


def request(path="/", *more, method="GET", host="test.example", scheme="http"):
    return [(":method", method), (":scheme", scheme), (":authority", host), (":path", path), *more]


def _connection():
    config = h2.config.H2Configuration(client_side=True, validate_outbound_headers=False, normalize_outbound_headers=False,
                                       validate_inbound_headers=False, header_encoding="latin-1")
    made = h2.connection.H2Connection(config)
    made.initiate_connection()
    return made


def run(sock, case):
    """({stream number: what came back}, how the connection is afterwards)."""
    sock.settimeout(case.seconds)
    h2c = _connection()
    seen = {}
    numbers = {}
    ended, goaway = "open", None
    try:
        for number, stream in enumerate(case.streams, 1):
            identifier = 2 * number - 1
            numbers[identifier] = number
            seen[number] = {"headers": [], "body": b""}
            last = not stream.data and stream.trailers is None and stream.end and stream.reset is None
            h2c.send_headers(identifier, stream.headers, end_stream=last)
            for i, piece in enumerate(stream.data):
                h2c.send_data(identifier, piece, end_stream=stream.end and stream.trailers is None and stream.reset is None and
                              i == len(stream.data) - 1)
            if stream.trailers is not None:
                h2c.send_headers(identifier, stream.trailers, end_stream=True)
            if stream.reset is not None:
                h2c.reset_stream(identifier, stream.reset)
        sock.sendall(h2c.data_to_send())
        waiting = {i for i, s in enumerate(case.streams, 1) if s.reset is None}
        while waiting:
            data = sock.recv(1 << 16)
            if not data:
                ended = "closed"
                break
            for event in h2c.receive_data(data):
                number = numbers.get(getattr(event, "stream_id", None))
                if isinstance(event, h2.events.ResponseReceived):
                    seen[number]["headers"].append(event.headers)
                elif isinstance(event, h2.events.InformationalResponseReceived):
                    seen[number]["headers"].append(event.headers)
                elif isinstance(event, h2.events.DataReceived):
                    seen[number]["body"] += event.data
                    h2c.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.TrailersReceived):
                    seen[number]["trailers"] = sorted(event.headers)
                elif isinstance(event, h2.events.StreamEnded):
                    seen[number]["end"] = "ended"
                    waiting.discard(number)
                elif isinstance(event, h2.events.StreamReset):
                    seen[number]["end"] = f"reset {h2.errors.ErrorCodes(event.error_code).name}"
                    waiting.discard(number)
                elif isinstance(event, h2.events.ConnectionTerminated):
                    goaway = h2.errors.ErrorCodes(event.error_code).name
                    if event.error_code:
                        waiting.clear()
            sock.sendall(h2c.data_to_send())
    except (ConnectionResetError, BrokenPipeError):
        ended = "closed"
    except (TimeoutError, socket.timeout):
        ended = "silent"
    except h2.exceptions.ProtocolError as error:
        ended = f"not HTTP/2: {error}"
    return seen, ended if goaway is None else f"{ended if goaway == 'NO_ERROR' else 'goaway'} {goaway}"
