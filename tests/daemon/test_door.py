"""Attackers at the door, with real sockets from many addresses of 127/8; an honest caller gets in all the same."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial

import attrs
import pytest
import trio
import trio.testing

from tests.daemon.sites import A, LogTap
from tests.daemon.test_connection import Ends, context
from volly_fed import limits
from volly_fed.channel import FEDERATION, Negotiated
from volly_fed.daemon.admission import Admission, Stage
from volly_fed.daemon.call_rate import CallRate
from volly_fed.daemon.connection import Connection
from volly_fed.daemon.listener import Listener
from volly_fed.daemon.refusals import Refusals
from volly_fed.daemon.tls_stream import PqStream
from volly_fed.daemon.websocket import connect_websocket
from volly_fed.errors import ChannelError
from volly_fed.handshake import Claimed, Outcome
from volly_fed.names import Fingerprint
from volly_fed.observe.log import Log

HONEST = "127.0.0.200"
SOON = 2.0
"""Seconds; these machines are shared with other tests."""


@attrs.define
class Door:
    """A listener under attack, and what it says about that."""

    port: int
    listener: Listener
    ends: Ends
    log: LogTap
    nursery: trio.Nursery
    opened: list[trio.SocketStream] = attrs.field(factory=list)

    async def connect(self, source: str) -> trio.SocketStream:
        stream = await trio.open_tcp_stream("127.0.0.1", self.port, local_address=source)
        self.opened.append(stream)
        return stream

    async def say(self, source: str, data: bytes) -> None:
        """Call, say `data`, and go."""
        async with await self.connect(source) as stream:
            with suppress(trio.BrokenResourceError):
                await stream.send_all(data)

    async def is_closed(self, stream: trio.SocketStream) -> bool:
        """Whether the other end has closed it, now or within SOON."""
        with trio.move_on_after(SOON):
            try:
                return await stream.receive_some() == b""
            except trio.BrokenResourceError:
                return True
        return False

    async def honest(self) -> bool:
        """Whether an honest caller gets its link soon; it tries again as diallers do."""
        self.ends.connections.clear()
        with trio.move_on_after(SOON):
            while not self.ends.connections:
                await self.ends.dial(await self.connect(HONEST))
                if not self.ends.connections:
                    await trio.sleep(0.1)
            return True
        return False

    def inside(self) -> int:
        return len(self.listener.admission._inside)

    async def until_inside(self, count: int) -> None:
        while self.inside() != count:
            await trio.lowlevel.checkpoint()


@asynccontextmanager
async def door(admission: Admission | None = None, rate: CallRate | None = None) -> AsyncIterator[Door]:
    log, ends, refusals = LogTap(), Ends(), Refusals()
    listener = Listener(
        plan=lambda _: ends.accepted(),
        log=Log("debug", "json", log),
        admission=admission or Admission(),
        rate=rate or CallRate(),
        refusals=refusals,
    )
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(refusals.run)
        await nursery.start(listener.serve, listeners)
        place = Door(listeners[0].socket.getsockname()[1], listener, ends, log, nursery)
        try:
            yield place
        finally:
            nursery.cancel_scope.cancel()
            for stream in place.opened:
                stream.socket.close()


async def drip(stream: trio.SocketStream, pause: float) -> None:
    """The beginning of a TLS record, a byte at a time."""
    try:
        for byte in b"\x16\x03\x01\x40\x00" + bytes(1000):
            await stream.send_all(bytes([byte]))
            await trio.sleep(pause)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


async def test_slow_callers_from_many_addresses_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DOOR_PATIENCE", limits.DOOR)  # until all of them have come
    async with door() as place:
        for n in range(limits.MAX_HALF_OPEN):
            place.nursery.start_soon(drip, await place.connect(f"127.0.1.{n + 1}"), 0.1)
        await place.until_inside(limits.MAX_HALF_OPEN)
        assert not await place.honest()
        monkeypatch.setattr(limits, "DOOR_PATIENCE", 0)
        assert await place.honest()


async def test_slow_callers_that_have_shown_some_key_give_way_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "DOOR_PATIENCE", limits.DOOR)
    async with door(Admission(total=6, per_address=3)) as place:
        for n in range(6):
            await PqStream(await place.connect(f"127.0.1.{n % 2 + 1}"), context(A, server=False), "x").handshake()
        await place.until_inside(6)
        monkeypatch.setattr(limits, "DOOR_PATIENCE", 0)
        assert await place.honest()


async def test_a_slow_caller_is_gone_when_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte now and then defeats every limit on silence, but not the one on all of it."""
    monkeypatch.setattr(limits, "DOOR", 0.5)
    async with door() as place:
        stream = await place.connect("127.0.1.1")
        place.nursery.start_soon(drip, stream, 0.02)
        began = trio.current_time()
        assert await place.is_closed(stream)
        assert trio.current_time() - began < limits.TLS_HANDSHAKE / 2
        assert (await place.log.wait("claim_refused", code="DOOR"))["reason"] == "no proof within 0.5 s"


@pytest.mark.spec("handshake-39")
async def test_what_a_stranger_may_send_is_bounded() -> None:
    """A HELLO of the size of a whole message, which nobody would judge before all of it has come."""
    async with door() as place:
        stream = PqStream(await place.connect("127.0.1.1"), context(A, server=False), "x")
        await stream.handshake()
        socket = await connect_websocket(place.nursery, stream, FEDERATION, "x")
        with suppress(ChannelError):
            await socket.send(bytes(limits.MAX_MESSAGE))
        line = await place.log.wait("claim_refused")
        assert line["code"] == "CHANNEL"  # and not MALFORMED, which is what all of it would have been
        assert line["reason"].startswith(f"more than {limits.MAX_BEFORE_PROOF} bytes before a proof")


async def test_a_proved_caller_sends_as_much_as_it_likes() -> None:
    async with door() as place:

        async def much(connection: Connection) -> None:
            for _ in range(3):
                await connection.socket.send(bytes(limits.MAX_BEFORE_PROOF))
            sent.set()

        sent = trio.Event()
        await place.ends.dial(await place.connect(HONEST), use=much)
        assert sent.is_set()
        assert place.ends.errors == {}


async def test_what_a_stranger_has_shown_is_noticed_at_every_step() -> None:
    async with door() as place:
        seen: list[list[Stage]] = []

        def look() -> None:
            seen.append([stranger.stage for stranger in place.listener.admission._inside])

        async def admit(claimed: Claimed, negotiated: Negotiated) -> frozenset[Fingerprint]:
            look()
            return await place.ends.admit(claimed, negotiated)

        async def confirm(_: Outcome) -> None:
            look()

        async def use(_: Connection) -> None:
            look()

        plan = attrs.evolve(place.ends.accepted(), admit=admit, confirm=confirm, use=use)
        place.listener.plan = lambda _: plan
        assert not place.listener.rate.knows(HONEST)
        await place.ends.dial(await place.connect(HONEST))
        assert seen == [[Stage.SECURED], [Stage.CLAIMED], []]
        assert place.listener.rate.knows(HONEST)


async def test_a_proved_caller_takes_no_place_and_stays_as_long_as_it_likes(monkeypatch: pytest.MonkeyPatch) -> None:
    async with door(Admission(total=1)) as place:
        first, second = trio.Event(), trio.Event()

        async def stay(connection: Connection) -> None:
            first.set()
            with suppress(trio.EndOfChannel, ChannelError):
                await connection.socket.receive()
                await connection.socket.receive()
            second.set()

        monkeypatch.setattr(limits, "DOOR", 1.0)
        place.nursery.start_soon(partial(place.ends.dial, await place.connect(HONEST), use=stay))
        await first.wait()
        monkeypatch.setattr(limits, "DOOR", 15.0)
        assert await place.honest()
        with trio.move_on_after(1.2):
            await second.wait()
        assert not second.is_set()


async def test_an_address_that_calls_over_and_over_costs_an_accept() -> None:
    async with door(rate=CallRate(per_minute=10)) as place:
        first = [await place.connect("127.0.1.1") for _ in range(5)]
        for stream in first:
            await stream.aclose()
        hello = b"\x16\x03\x01\x00\xff" + bytes(255)
        for _ in range(30):
            await place.say("127.0.1.1", hello)
        late = await place.connect("127.0.1.1")
        assert await place.is_closed(late)
        await place.log.wait("claim_refused", code="RATE")
        assert len(place.log.all("claim_refused", code="RATE")) == 1  # the others are in the next sum
        assert await place.honest()


async def test_floods_of_client_hellos_from_many_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real ClientHellos, each of which costs us ML-KEM and an ML-DSA signature, and nothing after them."""
    monkeypatch.setattr(limits, "CONNECTIONS_PER_SECOND", 10)
    async with door() as place:
        hello = await client_hello()
        for n in range(120):
            await place.say(f"127.0.1.{n % 12 + 1}", hello)
        line = await place.log.wait("claim_refused", code="RATE")
        assert "in all" in line["reason"]
        assert await place.honest()


async def client_hello() -> bytes:
    """What a client of ours says first."""
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(PqStream(near, context(A, server=False), "fed.b.test").handshake)
        data = bytes(await far.receive_some())
        nursery.cancel_scope.cancel()
    return data
