"""A websocket client on the websockets library: plays one scenario against a URL and prints what came of it as one line of JSON.

  websocket_client.py SCENARIO URL
"""
import asyncio
import json
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus


async def talk(url):
    """Text, binary, empty, a message in fragments both ways, pings of both sides, a large message, a close with a code."""
    async with connect(url, max_size=None, ping_interval=None, compression=None) as socket:
        seen = {"status": socket.response.status_code, "server": socket.response.headers.get("server")}
        for name, message in {"text": "grüß dich", "binary": bytes(range(256)), "empty": "", "large": b"L" * (16 << 20)}.items():
            await socket.send(message)
            seen[name] = await socket.recv() == message
        await socket.send(f"part {i}, " for i in range(20))
        seen["fragments sent"] = await socket.recv() == "".join(f"part {i}, " for i in range(20))
        await socket.send("pieces 50 20000")
        seen["fragments received"] = [len(piece) async for piece in socket.recv_streaming()] == [20000] * 50 + [0]
        await asyncio.wait_for(await socket.ping(b"from the client"), 20)
        await socket.send("ping")
        seen["pinged"] = await socket.recv() == "ping"
        await socket.send("close")
        try:
            await socket.recv()
        except ConnectionClosed as error:
            seen["close"] = [error.rcvd.code, error.rcvd.reason]
    return seen


async def refused(url):
    try:
        async with connect(url, compression=None):
            return {"status": 101}
    except InvalidStatus as error:
        return {"status": error.response.status_code}


async def idle(url):
    """Says something, then nothing: until the other side ends it."""
    async with connect(url, ping_interval=None, compression=None) as socket:
        await socket.send("hello")
        assert await socket.recv() == "hello"
        try:
            await asyncio.wait_for(socket.recv(), 20)
        except ConnectionClosed as error:
            return {"close frame": error.rcvd is not None}


async def leave(url):
    """The client closes; the server's close comes back."""
    async with connect(url, ping_interval=None, compression=None) as socket:
        await socket.close(1000, "bye")
        return {"code": socket.close_code, "reason": socket.close_reason}


async def linger(url):
    """Goes on when standard input has ended."""
    async with connect(url, ping_interval=None, compression=None) as socket:
        await socket.send("hello")
        assert await socket.recv() == "hello"
        print("going", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        seen = []
        for word in ("still", "there"):
            await socket.send(word)
            seen.append(await socket.recv())
        return {"after": seen}


print(json.dumps(asyncio.run({f.__name__: f for f in (talk, refused, idle, leave, linger)}[sys.argv[1]](sys.argv[2]))), flush=True)
