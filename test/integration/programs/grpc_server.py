"""A gRPC server on grpcio for the tests: methods of /test.Peer/ on raw bytes. Prints its port; SIGTERM ends it.

  grpc_server.py ADDRESS [PORT]
"""
import asyncio
import json
import signal
import sys

import grpc
from grpc import aio

MESSAGE_MAX = 64 << 20


class Peer(grpc.GenericRpcHandler):
    """State is the server's own; Seen answers with it."""

    def __init__(self):
        self.seen = {"attempts": {}, "cancelled": 0, "holding": 0, "held_max": 0, "deadlines": [], "served": 0}
        self.go = asyncio.Event()  # what Hold and Collect wait for
        unary = {"Echo": self.echo, "Fail": self.fail, "Flaky": self.flaky, "Deadline": self.deadline, "Seen": self.tell,
                 "Release": self.release, "Headers": self.headers}
        self.handlers = {name: grpc.unary_unary_rpc_method_handler(f) for name, f in unary.items()}
        self.handlers["Produce"] = grpc.unary_stream_rpc_method_handler(self.produce)
        self.handlers["Hold"] = grpc.unary_stream_rpc_method_handler(self.hold)
        self.handlers["Collect"] = grpc.stream_unary_rpc_method_handler(self.collect)
        self.handlers["Chat"] = grpc.stream_stream_rpc_method_handler(self.chat)

    def service(self, details):
        service, _, name = details.method.rpartition("/")
        return self.handlers.get(name) if service == "/test.Peer" else None

    async def echo(self, request, context):
        self.seen["served"] += 1
        await context.send_initial_metadata((("x-first", "begin"),))
        context.set_trailing_metadata((("x-last", "end"), ("x-raw-bin", b"\x00\xff")))
        return request

    async def fail(self, request, context):
        """Trailers alone: {"code": number, "message": text}."""
        ask = json.loads(request)
        await context.abort(list(grpc.StatusCode)[ask["code"]], ask.get("message", ""))

    async def flaky(self, request, context):
        """Fails with a code until the given attempt: {"key": ..., "code": number, "times": how often}."""
        ask = json.loads(request)
        number = self.seen["attempts"][ask["key"]] = self.seen["attempts"].get(ask["key"], 0) + 1
        if number <= ask["times"]:
            await context.abort(list(grpc.StatusCode)[ask["code"]], "not yet")
        return json.dumps(dict(context.invocation_metadata()).get("x-envoy-attempt-count", "")).encode()

    async def deadline(self, request, context):
        """Waits for its deadline, or to be cancelled by who noticed before."""
        self.seen["deadlines"].append(context.time_remaining())
        try:
            await asyncio.sleep(30)
        except asyncio.CancelledError:
            self.seen["cancelled"] += 1
            raise
        return b""

    async def headers(self, request, context):
        return json.dumps({k: v for k, v in context.invocation_metadata() if isinstance(v, str)}).encode()

    async def tell(self, request, context):
        return json.dumps(self.seen).encode()

    async def release(self, request, context):
        self.go.set()  # who waits now; not who comes later
        self.go = asyncio.Event()
        return b""

    async def produce(self, request, context):
        """{"number": n, "size": bytes each}"""
        ask = json.loads(request)
        for i in range(ask["number"]):
            yield i.to_bytes(4, "big") + bytes([i % 256]) * (ask["size"] - 4)

    async def hold(self, request, context):
        """One message at once, another when released."""
        self.seen["holding"] += 1
        self.seen["held_max"] = max(self.seen["held_max"], self.seen["holding"])
        try:
            go = self.go
            yield b"first"
            await go.wait()
            yield request
        except asyncio.CancelledError:
            self.seen["cancelled"] += 1
            raise
        finally:
            self.seen["holding"] -= 1

    async def collect(self, requests, context):
        """Counts; with x-wait reads nothing before the release."""
        if "x-wait" in dict(context.invocation_metadata()):
            await self.go.wait()
        number = size = 0
        async for message in requests:
            number, size = number + 1, size + len(message)
        return json.dumps({"number": number, "bytes": size}).encode()

    async def chat(self, requests, context):
        async for message in requests:
            yield message


async def main(address, port="0"):
    server = aio.server(options=[("grpc.max_receive_message_length", MESSAGE_MAX), ("grpc.max_send_message_length", MESSAGE_MAX),
                                 ("grpc.so_reuseport", 0), ("grpc.http2.min_ping_interval_without_data_ms", 1)])
    server.add_generic_rpc_handlers([Peer()])
    bound = server.add_insecure_port(f"{address}:{port}")
    await server.start()
    over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, over.set)
    print(bound, flush=True)
    await over.wait()
    await server.stop(20)  # GOAWAY; calls in flight end first


asyncio.run(main(*sys.argv[1:]))
