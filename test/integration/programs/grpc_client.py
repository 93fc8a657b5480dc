"""A gRPC client on grpcio for the tests: plays one scenario against a target and prints what came of it as one line of JSON.

  grpc_client.py SCENARIO TARGET [JSON of the scenario's arguments]
"""
import asyncio
import json
import sys
import time

import grpc
from grpc import aio

OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
SECONDS = 60  # a scenario's own limit for what should take a moment


class Caller:
    """One connection. The names are those of the server's methods."""

    def __init__(self, target):
        self.channel = aio.insecure_channel(target, options=OPTIONS)
        for name in ("Echo", "Fail", "Flaky", "Deadline", "Seen", "Release", "Headers"):
            setattr(self, name.lower(), self.channel.unary_unary(f"/test.Peer/{name}"))
        self.produce, self.hold = (self.channel.unary_stream(f"/test.Peer/{name}") for name in ("Produce", "Hold"))
        self.collect = self.channel.stream_unary("/test.Peer/Collect")
        self.chat = self.channel.stream_stream("/test.Peer/Chat")
        self.missing = self.channel.unary_unary("/test.Peer/Missing")

    async def state(self):
        return json.loads(await self.seen(b"", timeout=SECONDS))

    async def wait_state(self, what):
        deadline = time.monotonic() + 20
        while True:
            state = await self.state()
            if what(state):
                return state
            assert time.monotonic() < deadline, state
            await asyncio.sleep(0.02)


def text(metadata):
    return {k: v if isinstance(v, str) else v.hex() for k, v in metadata or ()}


async def outcome(call):
    """(status code's name, message, trailing metadata) of a call that is expected to fail; OK when it does not."""
    try:
        await call
        return "OK", "", {}
    except aio.AioRpcError as error:
        return error.code().name, error.details(), text(error.trailing_metadata())


async def unary(c, size=10):
    call = c.echo(b"x" * size, timeout=SECONDS)
    reply = await call
    return {"same": reply == b"x" * size, "first": text(await call.initial_metadata()), "last": text(await call.trailing_metadata())}


async def streams(c, number=50, size=20000):
    """Client, server and bidirectional streams, one after the other and then at once."""
    async def messages():
        for i in range(number):
            yield bytes([i % 256]) * size
    async def produced():
        ask = json.dumps({"number": number, "size": size}).encode()
        got = [m async for m in c.produce(ask, timeout=SECONDS)]
        return [int.from_bytes(m[:4], "big") for m in got] == list(range(number)) and all(len(m) == size for m in got)
    async def chatted():
        call, same = c.chat(timeout=SECONDS), 0
        for i in range(number):
            await call.write(bytes([i % 256]) * size)
            same += await call.read() == bytes([i % 256]) * size
        await call.done_writing()
        return same == number and await call.read() is aio.EOF
    async def collected():
        return json.loads(await c.collect(messages(), timeout=SECONDS)) == {"number": number, "bytes": number * size}
    return [await collected(), await produced(), await chatted(), *await asyncio.gather(*(f() for f in (collected, produced, chatted) * 4))]


async def fail(c, codes=()):
    told = [await outcome(c.fail(json.dumps({"code": n, "message": f"über {n}%"}).encode(), timeout=SECONDS)) for n in codes]
    return [*told, await outcome(c.missing(b"", timeout=SECONDS))]


async def flaky(c, code=14, times=1, key="k", metadata=()):
    ask = json.dumps({"key": key, "code": code, "times": times}).encode()
    try:
        reply = await c.flaky(ask, timeout=SECONDS, metadata=[tuple(m) for m in metadata])
        result = ["OK", json.loads(reply)]
    except aio.AioRpcError as error:
        result = [error.code().name, error.details()]
    return [*result, (await c.state())["attempts"].get(key, 0)]


async def deadline(c, timeout=None, header=None, cancel=False):
    """A call that nobody answers. header: a grpc-timeout of our own making is what `timeout` is; without both, the proxy's limit."""
    started = time.monotonic()
    told = await outcome(c.deadline(b"", timeout=timeout))
    spent = time.monotonic() - started
    state = await c.wait_state(lambda s: s["cancelled"] == 1)
    return {"told": told, "spent": spent, "deadlines": state["deadlines"]}


async def cancel(c):
    """The client goes away from a stream that has begun; the server hears of it."""
    call = c.hold(b"x")
    first = await call.read()
    call.cancel()
    state = await c.wait_state(lambda s: s["cancelled"] == 1)
    return {"first": first.decode(), "holding": state["holding"], "after": (await c.echo(b"y", timeout=SECONDS)).decode()}


async def slow_reader(c, size=1 << 20, number=64):
    """One call's server reads nothing for now; another call on the same connection goes on. Then the first ends, whole."""
    sent = 0

    async def messages():
        nonlocal sent
        for _ in range(number):
            yield b"z" * size
            sent += 1
    call = c.collect(messages(), metadata=(("x-wait", "1"),))
    # Held up when what is sent stands still while a hundred other calls are answered.
    before = -1
    while before != sent:
        before = sent
        for _ in range(100):
            assert await c.echo(b"through", timeout=SECONDS) == b"through"
    held = sent
    await c.release(b"", timeout=SECONDS)
    return {"held": held, "got": json.loads(await call)}


async def slow_client(c, size=1 << 20, number=64):
    """The client does not read one call's answers; other calls on the same connection go on."""
    call = c.produce(json.dumps({"number": number, "size": size}).encode())
    assert len(await call.read()) == size
    for _ in range(300):
        assert await c.echo(b"through", timeout=SECONDS) == b"through"
    got = 1
    while (message := await call.read()) is not aio.EOF:
        got += len(message) == size
    return {"got": got}


async def crowd(c, target, connections=100, each=100):
    """All of them open at once, and then all answered."""
    callers = [Caller(target) for _ in range(connections)]
    calls = []

    async def open_one(caller, number):
        call = caller.hold(number.to_bytes(4, "big"))
        assert await call.read() == b"first"
        calls.append((call, number))
    for start in range(0, each, 10):
        await asyncio.gather(*(open_one(caller, i * each + j) for i, caller in enumerate(callers) for j in range(start, min(each, start + 10))))
    state = await c.state()
    await c.release(b"", timeout=SECONDS)

    async def end(call, number):
        return await call.read() == number.to_bytes(4, "big") and await call.read() is aio.EOF
    good = sum(await asyncio.gather(*(end(*made) for made in calls)))
    for caller in callers:
        await caller.channel.close()
    return {"held_max": state["held_max"], "answered": good}


async def load(c, target, connections=4, each=8):
    """Calls without a pause until standard input ends. Prints "going" when the first hundred are answered."""
    callers = [Caller(target) for _ in range(connections)]
    over, counts, errors = asyncio.Event(), {"ok": 0}, []

    async def worker(caller):
        while not over.is_set():
            try:
                assert await caller.echo(b"x" * 100, timeout=SECONDS) == b"x" * 100
                counts["ok"] += 1
                if counts["ok"] == 100:
                    print("going", flush=True)
            except aio.AioRpcError as error:
                errors.append(f"{error.code().name}: {error.details()}")
                if len(errors) > 20:
                    over.set()
    asyncio.get_running_loop().run_in_executor(None, sys.stdin.read).add_done_callback(lambda _: over.set())
    await asyncio.gather(*(worker(caller) for caller in callers for _ in range(each)))
    return {"ok": counts["ok"], "errors": errors}


async def linger(c, direct, number=20):
    """Streams that are open, and calls that nobody has answered, until standard input ends; then each gets its answer."""
    chats = [c.chat() for _ in range(number)]
    for chat in chats:
        await chat.write(b"one")
        assert await chat.read() == b"one"
    holds = [c.hold(b"two") for _ in range(number)]
    for hold in holds:
        assert await hold.read() == b"first"
    print("going", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    answered = 0
    await chats[0].write(b"still")
    assert await chats[0].read() == b"still"
    for chat in chats:
        await chat.write(b"two")
        answered += await chat.read() == b"two"
        await chat.done_writing()
        assert await chat.read() is aio.EOF
    await Caller(direct).release(b"", timeout=SECONDS)
    for hold in holds:
        answered += await hold.read() == b"two" and await hold.read() is aio.EOF
    return {"answered": answered}


async def headers(c, metadata=()):
    return json.loads(await c.headers(b"", timeout=SECONDS, metadata=[tuple(m) for m in metadata]))


SCENARIOS = {f.__name__: f for f in (unary, streams, fail, flaky, deadline, cancel, slow_reader, slow_client, crowd, load, linger, headers)}


async def main(scenario, target, arguments="{}"):
    more = {"target": target} if scenario in ("crowd", "load") else {}
    print(json.dumps(await SCENARIOS[scenario](Caller(target), **more, **json.loads(arguments))), flush=True)


asyncio.run(main(*sys.argv[1:]))
