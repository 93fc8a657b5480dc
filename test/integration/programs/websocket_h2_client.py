"""A client of websockets over HTTP/2 (RFC 8441): plays one scenario and prints what came of it as one line of JSON.

  websocket_h2_client.py SCENARIO HOST:PORT
"""
import asyncio
import base64
import json
import os
import sys

from websocket_h2 import Connection, fragments
from websockets.frames import Close, Opcode
from websockets.protocol import Side


async def connect(target):
    host, port = target.split(":")
    _, made = await asyncio.get_running_loop().create_connection(lambda: Connection(Side.CLIENT), host, int(port))
    await asyncio.wait_for(made.settled, 20)
    return made


async def opened(connection, target, path="/chat"):
    # HTTP/2 has no use for a key, an HTTP/1 server behind the proxy has.
    key = base64.b64encode(os.urandom(16)).decode()
    socket = await connection.open(target, path, **{"sec-websocket-key": key})
    return socket, await asyncio.wait_for(socket.answered, 20)


async def closing(socket):
    """The code and reason of the other side's close; then the stream has ended."""
    close = None
    while (frame := await socket.frame()) is not None:
        if frame.opcode is Opcode.CLOSE:
            close = Close.parse(bytes(frame.data))
    return [close.code, close.reason] if close else None


async def talk(target):
    """Text, binary, empty, a message in fragments, pings of both sides, a message larger than the windows, a close with a code."""
    connection = await connect(target)
    seen = {"offered": connection.http.remote_settings.enable_connect_protocol}
    socket, answer = await opened(connection, target)
    seen |= {"status": answer[":status"], "hop fields": sorted({"upgrade", "connection", "transfer-encoding"} & answer.keys())}
    for name, message in {"text": "grüß dich", "binary": bytes(range(256)), "empty": "", "large": b"L" * (4 << 20)}.items():
        sending = asyncio.ensure_future(socket.send(message))
        seen[name] = await socket.message() == message
        await sending
    fragments(socket, [f"part {i}, " for i in range(20)])
    seen["fragments"] = await socket.message() == "".join(f"part {i}, " for i in range(20))
    socket.protocol.send_ping(b"from the client")
    socket.flush()
    pong = await socket.frame()
    seen["pong"] = pong.opcode is Opcode.PONG and bytes(pong.data) == b"from the client"
    await socket.send("ping")
    seen["pinged"] = (await socket.frame()).opcode is Opcode.PING and await socket.message() == "ping"
    await socket.send("close")
    seen["close"] = await closing(socket)
    seen["ended"] = socket.stream_ended or socket.reset
    return seen


async def many(target):
    """A hundred on one connection, each with messages of its own; then one that is reset, which the others do not notice."""
    connection = await connect(target)
    pairs = await asyncio.gather(*(opened(connection, target, f"/chat/{i}") for i in range(100)))
    assert all(answer[":status"] == "200" for _, answer in pairs)
    sockets = [socket for socket, _ in pairs]

    async def converse(i, socket):
        for n in range(10):
            await socket.send(f"{n} of {i}")
            if await socket.message() != f"{n} of {i}":
                return False
        return True
    first = await asyncio.gather(*(converse(i, s) for i, s in enumerate(sockets)))
    connection.http.reset_stream(sockets[0].stream, 8)
    connection.write()
    return [all(first), all(await asyncio.gather(*(converse(i, s) for i, s in enumerate(sockets[1:]))))]


async def leave(target):
    """The client closes; the server's close comes back, and the stream ends."""
    connection = await connect(target)
    socket, _ = await opened(connection, target)
    socket.protocol.send_close(1000, "bye")
    socket.flush()
    code, reason = await closing(socket)
    return {"code": code, "reason": reason}


async def refused(target):
    connection = await connect(target)
    _, answer = await opened(connection, target)
    return {"status": answer[":status"], "told to go": connection.told_to_go}


SCENARIOS = {f.__name__: f for f in (talk, many, leave, refused)}
print(json.dumps(asyncio.run(SCENARIOS[sys.argv[1]](sys.argv[2]))), flush=True)
