"""Websockets in streams of an HTTP/2 connection (RFC 8441), by the libraries h2 and websockets: what its client and its server share."""
import asyncio

import h2.connection
import h2.config
import h2.events
import h2.settings
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, Protocol, Side


class Socket:
    """One websocket in one stream. `stream_ended`: END_STREAM has come; `reset`: the code of RST_STREAM, or None."""

    def __init__(self, connection, stream, side):
        self.connection, self.stream = connection, stream
        self.protocol = Protocol(side, state=OPEN, max_size=None)
        self.frames = asyncio.Queue()
        self.stream_ended, self.reset = False, None
        self.answered = asyncio.get_running_loop().create_future()  # the response's header fields: the client's side
        self.unsent = bytearray()
        self.end = self.ended = False
        self.drained = asyncio.Event()
        self.drained.set()

    # What the protocol wants sent goes as far as the windows let it.
    def flush(self):
        for data in self.protocol.data_to_send():
            if data:
                self.unsent += data
            else:
                self.end = True  # the protocol would close the TCP connection: here that is the end of the stream
        http = self.connection.http
        while self.unsent and self.reset is None:
            size = min(http.local_flow_control_window(self.stream), http.max_outbound_frame_size, len(self.unsent))
            if size <= 0:
                break
            http.send_data(self.stream, bytes(self.unsent[:size]))
            del self.unsent[:size]
        if self.end and not self.ended and not self.unsent and self.reset is None:
            self.ended = True
            http.end_stream(self.stream)
        (self.drained.clear if self.unsent else self.drained.set)()
        self.connection.write()

    def received(self, data):
        self.protocol.receive_data(data)
        for frame in self.protocol.events_received():
            self.frames.put_nowait(frame)
        self.flush()

    def over(self, reset=None):
        self.reset = reset
        self.stream_ended = reset is None
        if reset is None:
            self.protocol.receive_eof()
            self.flush()
        self.drained.set()
        self.frames.put_nowait(None)

    async def send(self, message):
        if isinstance(message, str):
            self.protocol.send_text(message.encode())
        else:
            self.protocol.send_binary(message)
        self.flush()
        await self.drained.wait()

    async def frame(self):
        """The next frame; None at the end of the stream."""
        return await asyncio.wait_for(self.frames.get(), 20)

    async def message(self):
        """The next message, whole: str or bytes; a Frame that closes; None at the end of the stream."""
        parts, opcode = [], None
        while (frame := await self.frame()) is not None:
            if frame.opcode in (Opcode.PING, Opcode.PONG):
                continue
            if frame.opcode is Opcode.CLOSE:
                return frame
            opcode = opcode or frame.opcode
            parts.append(bytes(frame.data))
            if frame.fin:
                return b"".join(parts).decode() if opcode is Opcode.TEXT else b"".join(parts)
        return None


class Connection(asyncio.Protocol):
    """An HTTP/2 connection whose streams are websockets. `accept(socket, headers)` is called for each that a client opens."""

    def __init__(self, side, accept=None):
        self.side, self.accept = side, accept
        self.http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=side is Side.CLIENT, header_encoding="utf-8"))
        self.sockets = {}
        self.incoming = bytearray()
        self.told_to_go = False
        self.settled = asyncio.get_running_loop().create_future()  # the other side's first settings
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport
        if self.side is Side.SERVER:
            self.http.local_settings.enable_connect_protocol = 1
        self.http.initiate_connection()
        self.write()

    def write(self):
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(self.http.data_to_send())

    def connection_lost(self, _):
        for socket in self.sockets.values():
            if not socket.stream_ended and socket.reset is None:
                socket.over(reset="connection lost")

    def data_received(self, data):
        for part in self.frames_of(data) if self.side is Side.CLIENT else [data]:
            for event in self.http.receive_data(part):
                self.handle(event)
        self.write()

    # To h2 a GOAWAY is the end, to RFC 9113 section 6.8 the streams that are open go on: each frame on its own, so that it can be told.
    def frames_of(self, data):
        self.incoming += data
        while len(self.incoming) >= 9 and len(self.incoming) >= (size := 9 + int.from_bytes(self.incoming[:3], "big")):
            part, self.incoming = bytes(self.incoming[:size]), self.incoming[size:]
            yield part

    def handle(self, event):
        stream = getattr(event, "stream_id", None)
        socket = self.sockets.get(stream)
        match event:
            case h2.events.RemoteSettingsChanged():
                if not self.settled.done():
                    self.settled.set_result(None)
                for each in list(self.sockets.values()):
                    each.flush()
            case h2.events.ConnectionTerminated() if event.error_code == 0:
                self.told_to_go = True
                self.http.state_machine.state = h2.connection.ConnectionState.CLIENT_OPEN
            case h2.events.RequestReceived():
                socket = self.sockets[stream] = Socket(self, stream, Side.SERVER)
                self.accept(socket, dict(event.headers))
            case h2.events.ResponseReceived():
                socket.answered.set_result(dict(event.headers))
            case h2.events.DataReceived():
                self.http.acknowledge_received_data(event.flow_controlled_length, stream)
                socket.received(event.data)
            case h2.events.WindowUpdated():
                for each in [socket] if socket else list(self.sockets.values()):
                    each.flush()
            case h2.events.StreamEnded() if socket:
                socket.over()
            case h2.events.StreamReset() if socket:
                socket.over(reset=int(event.error_code))

    async def open(self, authority, path, **headers):
        """A websocket of the client's: its Socket, whose `answered` tells the response's fields."""
        stream = self.http.get_next_available_stream_id()
        socket = self.sockets[stream] = Socket(self, stream, Side.CLIENT)
        fields = {":method": "CONNECT", ":protocol": "websocket", ":scheme": "http", ":path": path, ":authority": authority,
                  "sec-websocket-version": "13", **headers}
        self.http.send_headers(stream, list(fields.items()))
        self.write()
        return socket


def fragments(socket, parts):
    """Sends one text message in as many frames."""
    last = len(parts) - 1
    for i, part in enumerate(parts):
        frame = Frame(Opcode.TEXT if i == 0 else Opcode.CONT, part.encode(), fin=i == last)
        socket.unsent += frame.serialize(mask=socket.protocol.side is Side.CLIENT)
    socket.flush()
