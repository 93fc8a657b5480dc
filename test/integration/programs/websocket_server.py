"""A websocket server on the websockets library: echoes messages as they came. Prints its port; a message "close" is answered by a close.

  websocket_server.py ADDRESS
"""
import asyncio
import signal
import sys

from websockets.asyncio.server import serve


async def echo(socket):
    async for message in socket:
        if message == "close":
            await socket.close(4321, "as asked")
            return
        if message == "ping":
            await (await socket.ping(b"from the server"))
        if isinstance(message, str) and message.startswith("pieces "):
            _, number, size = message.split()
            await socket.send(b"p" * int(size) for _ in range(int(number)))
            continue
        await socket.send(message)


async def main(address):
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    async with serve(echo, address, 0, max_size=None, compression=None, ping_interval=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await over.wait()


asyncio.run(main(*sys.argv[1:]))
