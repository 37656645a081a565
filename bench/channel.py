"""What a channel costs: opening one (TCP + TLS + WebSocket), and sending 1 KiB messages singly and 64 at a time.

Two processes on loopback, so that sender and receiver are measured apart. Run: python bench/channel.py [--quick]
"""

import argparse
import functools
import json
import os
import socket
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import trio

from volly_fed.channel import FEDERATION
from volly_fed.crypto.certificate import TlsKey
from volly_fed.daemon.tls import TlsContext, TlsIdentity, make_context
from volly_fed.daemon.tls_stream import PqStream
from volly_fed.daemon.websocket import Socket, accept_websocket, connect_websocket

KIB = 1024
BATCH = 64


async def serve(context: TlsContext, port: socket.socket) -> None:
    """Answer connections one after the other; each ends with b"end", answered by the CPU time it took."""
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(port))
    while True:
        transport = await listener.accept()
        async with trio.open_nursery() as nursery:
            stream = PqStream(transport, context)
            await stream.handshake()
            channel = await accept_websocket(nursery, stream, FEDERATION)
            start = time.process_time()
            while (message := await channel.receive()) not in (b"end", b"stop"):
                pass
            await channel.send(json.dumps(time.process_time() - start).encode())
            await channel.aclose()
        if message == b"stop":
            return


async def with_socket(context: TlsContext, port: int, use: Callable[[Socket], Awaitable[None]]) -> float:
    """Open a channel, use it, close it; the seconds that opening took."""
    async with trio.open_nursery() as nursery:
        start = time.perf_counter()
        stream = PqStream(await trio.open_tcp_stream("127.0.0.1", port), context, "bench.test")
        await stream.handshake()
        channel = await connect_websocket(nursery, stream, FEDERATION, "bench.test")
        took = time.perf_counter() - start
        await use(channel)
        await channel.aclose()
    return took


async def finish(channel: Socket, word: bytes = b"end") -> None:
    """End a connection without measuring anything."""
    await channel.send(word)
    await channel.receive()


async def measure(channel: Socket, *, name: str, message: bytes, per_message: int, count: int) -> None:
    """Send `count` messages of `per_message` envelopes and print the cost of one envelope at both ends."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(count):
        await channel.send(message)
    sent = time.process_time() - cpu
    await channel.send(b"end")
    received = float(json.loads(await channel.receive()))
    wall = time.perf_counter() - wall
    envelopes = count * per_message
    print(
        f"{name}: send {sent / envelopes * 1e6:.2f} us, receive {received / envelopes * 1e6:.2f} us CPU per KiB, "
        f"{envelopes / wall:,.0f} KiB/s"
    )


async def measure_all(context: TlsContext, port: int, quick: bool) -> None:
    """Every measurement, then tell the receiver to stop."""
    openings = [await with_socket(context, port, finish) for _ in range(20 if quick else 200)]
    quantiles = statistics.quantiles(openings, n=20)
    print(f"open (TCP+TLS+WS): p50 {statistics.median(openings) * 1e3:.2f} ms, p95 {quantiles[-1] * 1e3:.2f} ms")
    scale = 1 if quick else 10
    for per_message, count in ((1, 2000 * scale), (BATCH, 300 * scale)):
        message = os.urandom(KIB * per_message)
        name = f"{per_message} x {KIB} B"
        use = functools.partial(measure, name=name, message=message, per_message=per_message, count=count)
        await with_socket(context, port, use)
    await with_socket(context, port, functools.partial(finish, word=b"stop"))


def main(quick: bool) -> None:
    """Fork the receiver before either process runs trio, then measure."""
    identity = TlsIdentity.from_key(TlsKey.generate(), "bench.test", datetime.now(UTC))
    listening = socket.create_server(("127.0.0.1", 0))
    child = os.fork()
    if child == 0:
        trio.run(serve, make_context(FEDERATION, server=True, identity=identity), listening)
        os._exit(0)
    port = listening.getsockname()[1]
    listening.close()
    trio.run(measure_all, make_context(FEDERATION, server=False, identity=identity), port, quick)
    os.waitpid(child, 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    main(parser.parse_args().quick)
