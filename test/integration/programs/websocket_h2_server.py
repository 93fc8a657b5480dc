"""A server of websockets over HTTP/2 (RFC 8441): echoes messages as they came. Prints its port; a message "close" is answered by a close.

  websocket_h2_server.py ADDRESS
"""
import asyncio
import signal
import sys

from websocket_h2 import Connection
from websockets.frames import Frame
from websockets.protocol import Side
from websockets.utils import accept_key


async def echo(socket):
    while (message := await socket.message()) is not None:
        if isinstance(message, Frame):
            return
        if message == "close":
            socket.protocol.send_close(4321, "as asked")
            socket.flush()
            continue
        if message == "ping":
            socket.protocol.send_ping(b"from the server")
        await socket.send(message)


def accept(socket, headers):
    http = socket.connection.http
    if (headers.get(":method"), headers.get(":protocol")) != ("CONNECT", "websocket"):
        http.send_headers(socket.stream, [(":status", "400")], end_stream=True)
    else:
        # A client of HTTP/1 in front of the proxy wants its key answered.
        accept = [("sec-websocket-accept", accept_key(headers["sec-websocket-key"]))] if "sec-websocket-key" in headers else []
        http.send_headers(socket.stream, [(":status", "200"), *accept])
        tasks.add(asyncio.ensure_future(echo(socket)))
    socket.connection.write()


tasks = set()


async def main(address):
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, over.set)
    server = await loop.create_server(lambda: Connection(Side.SERVER, accept), address, 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await over.wait()


asyncio.run(main(*sys.argv[1:]))
