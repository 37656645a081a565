"""Many channels at one server: memory of an idle one, and processor time of a whole handshake.

The server runs in a process of its own, its callers in others; every channel is what homeservers make: mutual
post-quantum TLS, WebSocket, proof of both identities. Run: python bench/channels.py
    --quick  fewer of everything     --json  figures as JSON     --channels N  how many at most (5000)
Measured twice: with one task that waits for the next message, and with what homeservers run on it, an idle link.
Memory is the slope of the server's private memory between two counts of channels, so that what is there once does not
count. Exit status 1 if a goal is missed.
"""

import argparse
import functools
import json
import os
import resource
import socket
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import trio

from volly_fed.channel import FEDERATION, Negotiated
from volly_fed.crypto.certificate import TlsKey
from volly_fed.crypto.secret import Secret
from volly_fed.crypto.signature import IdentityKey, fingerprint
from volly_fed.daemon.connection import Accepted, Connection, Dialled, accept, dial
from volly_fed.daemon.link import Link
from volly_fed.daemon.tls import TlsContext, TlsIdentity, make_context
from volly_fed.errors import ChannelError
from volly_fed.handshake import Claimed, Outcome, Party
from volly_fed.names import DomainName, Fingerprint, parse_domain
from volly_fed.session import Outbound, Session

MEMORY_GOAL = 100.0
"""kB of the server for each idle channel."""
HANDSHAKE_GOAL = 150.0
"""Handshakes for each second of one core of the server."""
CALLERS = 2
IN_FLIGHT = 4
"""Handshakes under way, of each caller process."""
HERE, THERE = parse_domain("server.bench.test"), parse_domain("caller.bench.test")


@attrs.frozen
class Site:
    """One end's keys."""

    name: DomainName
    identity: IdentityKey
    tls: TlsIdentity

    @classmethod
    def make(cls, name: DomainName) -> "Site":
        """Fresh keys for `name`."""
        key = TlsKey.generate()
        certificate = key.self_signed(name, datetime.now(UTC) - timedelta(days=1), timedelta(days=30))
        tls = TlsIdentity(certificate=certificate, key=Secret(key.pkcs8_der()))
        return cls(name, IdentityKey.generate(os.urandom), tls)

    @property
    def party(self) -> Party:
        """What it proves."""
        return Party(name=self.name, key=self.identity)

    @property
    def fingerprint(self) -> Fingerprint:
        """What others expect of it."""
        return fingerprint(self.identity.public)

    def context(self, *, server: bool) -> TlsContext:
        """Its TLS."""
        return make_context(FEDERATION, server=server, identity=self.tls)


class Nobody:
    """A link's owner to whom nothing happens: an idle link carries no envelopes."""

    async def opened(self, stream: bytes) -> tuple[int, tuple[()]]:  # noqa: ARG002 - as Handler has it
        """Every stream is new."""
        return 0, ()

    async def received(self, batch: object) -> Callable[[], Awaitable[tuple[()]]]:  # noqa: ARG002 - as Handler has it
        """Not called: nobody sends any."""
        raise AssertionError("an idle link carries no envelopes")

    async def settled(self, event: object) -> None:
        """Not called."""

    async def other(self, message: object) -> None:
        """Not called."""


async def idle(connection: Connection, ready: Callable[[], None]) -> None:
    """Wait for a message that never comes."""
    ready()
    try:
        await connection.socket.receive()
    except (trio.EndOfChannel, ChannelError):
        return


async def run_link(connection: Connection, ready: Callable[[], None]) -> None:
    """An idle link, until the other end is gone."""
    session: Session[int] = Session(Outbound(os.urandom), now=trio.current_time())
    ready()
    await Link(connection.socket, session, Nobody()).run()


Use = Callable[[Connection, Callable[[], None]], Awaitable[None]]


async def agree(_: Outcome) -> None:
    """The `establish` gate: everybody may."""


# --- the server ----------------------------------------------------------------------------------------------------


def private_kb() -> float:
    """Memory of this process that it shares with nobody."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith("Private_"))


def used() -> float:
    """Processor seconds of this process, all threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def serve(site: Site, caller: Fingerprint, user: Use, listening: socket.socket, control: socket.socket) -> None:
    """Accept callers; whenever the control connection asks, tell what is used."""
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(listening))
    count, changed = 0, trio.Event()

    async def admit(_: Claimed, __: Negotiated) -> frozenset[Fingerprint]:
        return frozenset({caller})

    async def use(connection: Connection) -> None:
        nonlocal count

        def ready() -> None:
            nonlocal count, changed
            count += 1
            changed.set()
            changed = trio.Event()

        await user(connection, ready)
        count -= 1

    plan = Accepted(context=site.context(server=True), party=site.party, admit=admit, confirm=agree, use=use)

    async def welcome(stream: trio.SocketStream) -> None:
        await accept(stream, plan, proved=lambda: None)

    async with trio.open_nursery() as nursery:
        await nursery.start(functools.partial(trio.serve_listeners, welcome, [listener]))
        asked = trio.SocketStream(trio.socket.from_stdlib_socket(control))
        while wanted := await asked.receive_some(100):
            while count < int(wanted):  # all proofs are over at the callers; the last link starts in a moment
                await changed.wait()
            await asked.send_all(json.dumps({"cpu": used(), "kb": private_kb()}).encode())
        nursery.cancel_scope.cancel()


# --- the callers ---------------------------------------------------------------------------------------------------


async def call(site: Site, server: Fingerprint, user: Use, port: int, control: socket.socket) -> None:
    """Open as many more idle channels as the control connection says, each time, and say when they are there."""
    context = site.context(server=False)
    limiter = trio.CapacityLimiter(IN_FLIGHT)

    async def one(task_status: trio.TaskStatus[None]) -> None:
        async def use(connection: Connection) -> None:
            await user(connection, task_status.started)

        plan = Dialled(
            context=context,
            party=site.party,
            host=str(HERE),
            wanted=HERE,
            expected=frozenset({server}),
            check_key=lambda _: None,
            confirm=agree,
            use=use,
        )
        await dial(await trio.open_tcp_stream("127.0.0.1", port), plan)

    async def open_one() -> None:
        async with limiter:
            await nursery.start(lambda *, task_status: one(task_status))

    async with trio.open_nursery() as nursery:
        asked = trio.SocketStream(trio.socket.from_stdlib_socket(control))
        while more := await asked.receive_some(100):
            async with trio.open_nursery() as batch:
                for _ in range(int(more)):
                    batch.start_soon(open_one)
            await asked.send_all(b"done")
        nursery.cancel_scope.cancel()


# --- the measurement -----------------------------------------------------------------------------------------------


def child(run: Callable[[socket.socket], Awaitable[None]], mine: list[socket.socket]) -> socket.socket:
    """A process that runs `run`; the other end of its control connection."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        for other in (ours, *mine):
            other.close()
        trio.run(run, theirs)
        os._exit(0)
    theirs.close()
    return ours


def ask(control: socket.socket, what: int) -> bytes:
    """The answer of a child."""
    control.sendall(str(what).encode())
    return control.recv(1000)


def measure(counts: list[int], user: Use) -> dict[str, float]:
    """Channels up to each of `counts` in turn; the figures."""
    server_site, caller_site = Site.make(HERE), Site.make(THERE)
    listening = socket.create_server(("127.0.0.1", 0), backlog=100)
    port = listening.getsockname()[1]
    server = child(lambda control: serve(server_site, caller_site.fingerprint, user, listening, control), [])
    listening.close()
    callers: list[socket.socket] = []
    for _ in range(CALLERS):
        callers.append(
            child(lambda control: call(caller_site, server_site.fingerprint, user, port, control), [server, *callers])
        )
    marks = []
    done = 0
    for count in counts:
        for control in callers:
            control.sendall(str((count - done) // CALLERS).encode())
        for control in callers:
            assert control.recv(100) == b"done", "a caller has failed"
        done = count
        marks.append(json.loads(ask(server, count)))
    for control in (*callers, server):
        control.close()
    for _ in range(CALLERS + 1):
        os.wait()
    first, last = marks[0], marks[-1]
    channels = counts[-1] - counts[0]
    return {
        "channels": counts[-1],
        "server_kb_per_channel": (last["kb"] - first["kb"]) / channels,
        "server_ms_per_handshake": (last["cpu"] - first["cpu"]) / channels * 1e3,
        "handshakes_per_core_second": channels / (last["cpu"] - first["cpu"]),
    }


def main() -> int:
    """Measure, print the goals beside the figures, 1 if one is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--channels", type=int, default=5000)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    most = 400 if options.quick else options.channels
    figures = measure([100, most], idle)
    figures["server_kb_per_link"] = measure([100, most], run_link)["server_kb_per_channel"]
    goals = {
        "server_kb_per_channel": (MEMORY_GOAL, figures["server_kb_per_channel"] <= MEMORY_GOAL),
        "handshakes_per_core_second": (HANDSHAKE_GOAL, figures["handshakes_per_core_second"] >= HANDSHAKE_GOAL),
    }
    if options.json:
        print(json.dumps({**figures, "goals": {name: goal for name, (goal, _) in goals.items()}}))
    else:
        for name, figure in figures.items():
            goal = f"goal {goals[name][0]:.0f}: {'reached' if goals[name][1] else 'missed'}" if name in goals else ""
            print(f"{name:28} {figure:10.1f}   {goal}")
    return 0 if all(reached for _, reached in goals.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
