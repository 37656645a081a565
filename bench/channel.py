"""What a channel costs: opening one (TCP + TLS + WebSocket), 1 KiB messages singly and 64 at a time, and many channels.

Two processes on loopback, so that sender and receiver are measured apart. Run: python bench/channel.py [--quick]
    --json            figures as JSON
    --against FOLDER  another version of the tree as well, in turns, and the ratio of the two
The last figure, an echo of single messages over CHANNELS channels, is what a hub with many quiet peers lives from.
"""

import argparse
import functools
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import trio

from volly_fed.channel import FEDERATION
from volly_fed.crypto.certificate import TlsKey
from volly_fed.daemon.tls import TlsContext, TlsIdentity, make_context
from volly_fed.daemon.tls_stream import PqStream
from volly_fed.daemon.websocket import Socket, accept_websocket, connect_websocket

KIB = 1024
BATCH = 64
CHANNELS = 200
ECHO_GOAL = 66.0
"""Microseconds per message received and sent: 15 000 of them a second on one core."""
ROUNDS = 3
Figures = dict[str, float]


async def serve(context: TlsContext, port: socket.socket) -> None:
    """Answer connections until one says b"stop"; what each wants, its first message says."""
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(port))

    async def welcome(transport: trio.SocketStream) -> None:
        async with trio.open_nursery() as nursery:
            stream = PqStream(transport, context)
            await stream.handshake()
            channel = await accept_websocket(nursery, stream, FEDERATION)
            if await _serve_one(channel):
                everybody.cancel_scope.cancel()
            await channel.aclose()

    async with trio.open_nursery() as everybody:
        await trio.serve_listeners(welcome, [listener], handler_nursery=everybody)


async def _serve_one(channel: Socket) -> bool:
    """Whether it said b"stop"."""
    wish = await channel.receive()
    start = time.process_time()
    try:
        while (message := await channel.receive()) != b"end":
            if wish == b"echo":
                await channel.send(message)
        await channel.send(json.dumps(time.process_time() - start).encode())
    except trio.EndOfChannel:
        pass
    return wish == b"stop"


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


async def ask(channel: Socket, wish: bytes) -> None:
    """Say what is wanted, and wait until it is over."""
    await channel.send(wish)
    await finish(channel)


async def finish(channel: Socket) -> float:
    """The processor time that the other end has used since it began."""
    await channel.send(b"end")
    return float(json.loads(await channel.receive()))


async def measure(channel: Socket, *, figures: Figures, per_message: int, count: int) -> None:
    """Send `count` messages of `per_message` envelopes; the cost of one envelope at both ends."""
    message = os.urandom(KIB * per_message)
    await channel.send(b"sink")
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(count):
        await channel.send(message)
    sent = time.process_time() - cpu
    received = await finish(channel)
    wall = time.perf_counter() - wall
    envelopes = count * per_message
    figures[f"send_x{per_message}_us"] = sent / envelopes * 1e6
    figures[f"receive_x{per_message}_us"] = received / envelopes * 1e6
    figures[f"kib_per_second_x{per_message}"] = envelopes / wall


async def measure_echo(context: TlsContext, port: int, figures: Figures, rounds: int) -> None:
    """Server CPU per message received and sent, while CHANNELS channels ask and wait at the same time."""
    message = os.urandom(KIB)
    opened = 0
    go = trio.Event()

    async def echo(channel: Socket) -> None:
        nonlocal opened
        await channel.send(b"echo")
        await channel.send(message)
        await channel.receive()
        opened += 1
        if opened == CHANNELS:
            go.set()
        await go.wait()
        for _ in range(rounds):
            await channel.send(message)
            await channel.receive()

    async def everybody(control: Socket) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(CHANNELS):
                nursery.start_soon(with_socket, context, port, echo)
            await go.wait()
            await control.send(b"sink")  # its clock starts here
        figures[f"echo_{CHANNELS}_channels_us"] = await finish(control) / (CHANNELS * rounds) * 1e6

    await with_socket(context, port, everybody)


async def measure_all(context: TlsContext, port: int, quick: bool, figures: Figures) -> None:
    """Every measurement, then tell the receiver to stop."""
    ready = functools.partial(ask, wish=b"sink")
    openings = [await with_socket(context, port, ready) for _ in range(20 if quick else 200)]
    figures["open_p50_ms"] = statistics.median(openings) * 1e3
    figures["open_p95_ms"] = statistics.quantiles(openings, n=20)[-1] * 1e3
    scale = 1 if quick else 5
    for per_message, count in ((1, 4000 * scale), (BATCH, 300 * scale)):
        use = functools.partial(measure, figures=figures, per_message=per_message, count=count)
        await with_socket(context, port, use)
    await measure_echo(context, port, figures, 20 * scale)
    await with_socket(context, port, functools.partial(ask, wish=b"stop"))


def figures_here(quick: bool) -> Figures:
    """Fork the receiver before either process runs trio, then measure."""
    identity = TlsIdentity.from_key(TlsKey.generate(), "bench.test", datetime.now(UTC))
    listening = socket.create_server(("127.0.0.1", 0), backlog=CHANNELS + 1)
    child = os.fork()
    if child == 0:
        trio.run(serve, make_context(FEDERATION, server=True, identity=identity), listening)
        os._exit(0)
    port = listening.getsockname()[1]
    listening.close()
    figures: Figures = {}
    trio.run(measure_all, make_context(FEDERATION, server=False, identity=identity), port, quick, figures)
    os.waitpid(child, 0)
    return figures


def figures_of(tree: Path, quick: bool) -> Figures:
    """The same for the version of volly_fed in `tree`, in a process of its own."""
    command = [sys.executable, __file__, "--json", *(["--quick"] if quick else [])]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(tree)}, check=True, capture_output=True)
    figures: Figures = json.loads(done.stdout)
    return figures


def compare(other: Path, quick: bool) -> dict[str, tuple[float, float]]:
    """Each figure of `other` and of this tree: the median of ROUNDS rounds, taken in turns."""
    trees = (other, Path(__file__).parent.parent)
    rounds = [[figures_of(tree, quick) for tree in trees] for _ in range(ROUNDS)]
    medians = [
        {name: statistics.median(pair[index][name] for pair in rounds) for name in rounds[0][index]} for index in (0, 1)
    ]
    return {name: (medians[0][name], medians[1][name]) for name in medians[1]}


def main() -> int:
    """Measure as the command line says; 1 if the goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--against", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    if options.against:
        both = compare(options.against, options.quick)
        for name, (before, after) in both.items():
            print(f"{name:28} before {before:12,.2f}   now {after:12,.2f}   now/before {after / before:.2f}")
        return 0
    figures = figures_here(options.quick)
    if options.json:
        print(json.dumps(figures))
        return 0
    for name, figure in figures.items():
        print(f"{name:28} {figure:12,.2f}")
    echo = figures[f"echo_{CHANNELS}_channels_us"]
    print(f"goal: an echo costs at most {ECHO_GOAL:.0f} us: {'reached' if echo <= ECHO_GOAL else 'missed'}")
    return 0 if echo <= ECHO_GOAL else 1


if __name__ == "__main__":
    sys.exit(main())
