"""An edge node of the runner's own, with devices inside: how it submits and sees deliveries, whoever the homeserver is.

in: keys that are enrolled, the homeserver's address; out: a FakeEdge, which is honest unless it is told not to be.
Never: has a door for real devices. Handshake and session are the reference's; `say` gets past both.
"""

import itertools
import os
from collections import defaultdict
from collections.abc import Callable

import attrs
import trio

from interop.edge_call import EdgeCall
from interop.fake_device import FakeDevice
from volly_fed.codepoints import ErrorCode
from volly_fed.daemon.connection import Connection
from volly_fed.daemon.link import End, Link, Pending, Resumption
from volly_fed.errors import RemoteError
from volly_fed.relay.envelope import parse_envelope
from volly_fed.session import Outbound, Received, Session, Settled
from volly_fed.wire import Message, encode_message
from volly_fed.wire import messages as wire

Refused = tuple[ErrorCode, str]
"""A code, and the reason for people."""

BESIDE: frozenset[type[Message]] = frozenset(
    {
        *(wire.Claim, wire.Challenge, wire.Proof, wire.Claimed, wire.NotClaimed, wire.Release),
        *(wire.Deliver, wire.Acknowledge, wire.Receipt),
        *(wire.Announce, wire.Retract, wire.Watch, wire.Unwatch, wire.Shown),
    }
)
"""What passes on an edge link beside the stream."""


@attrs.define(eq=False)
class FakeEdge:
    """An edge link, and all that has come on it. `run` it; the other methods are for scenarios."""

    call: EdgeCall
    deliveries: dict[bytes, list[bytes]] = attrs.field(factory=lambda: defaultdict(list), init=False)
    """Mailbox -> envelopes, in the order in which they came."""
    receipts: dict[bytes, Refused] = attrs.field(factory=dict, init=False)
    """Envelope id -> why the peer's homeserver has refused it."""
    shown: list[wire.Shown | wire.Unwatch] = attrs.field(factory=list, init=False)
    """What was said of the domains that are watched."""
    end: End | None = attrs.field(default=None, init=False)
    """Why the link has ended; None while it is there."""
    _link: Link[int] = attrs.field(init=False)
    _connection: Connection = attrs.field(init=False)
    _outbound: Outbound[int] = attrs.field(init=False)
    _offered: dict[int, bytes] = attrs.field(factory=dict, init=False, repr=False)
    _settled: dict[int, Refused | None] = attrs.field(factory=dict, init=False)
    _answers: dict[int, list[Message]] = attrs.field(factory=lambda: defaultdict(list), init=False)
    _numbers: "itertools.count[int]" = attrs.field(factory=lambda: itertools.count(1), init=False)
    _change: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Call, and serve the link until it ends; started when both have proved themselves. Raises as `dial` does."""
        await self.call.dial(lambda connection: self._use(connection, task_status))

    async def _use(self, connection: Connection, task_status: trio.TaskStatus[None]) -> None:
        self._connection, self._outbound = connection, Outbound(os.urandom)
        session = Session(self._outbound, now=trio.current_time(), extra=BESIDE)
        self._link = Link(connection.socket, session, self)
        task_status.started()
        self.end = await self._link.run()
        self._tell()

    # --- what a scenario does --------------------------------------------------------------------------------------

    def number(self) -> int:
        """One that this edge has not used before: of requests, and of announcing connections."""
        return next(self._numbers)

    def send(self, message: Message) -> None:
        """Queue a message beside the stream."""
        if not self._link.send(message):
            raise RemoteError(f"the edge link takes no {type(message).__name__}: {self.end}")

    async def say(self, message: Message | bytes) -> None:
        """Send this now, whatever the session thinks of it. Let nothing else be under way."""
        await self._connection.socket.send(message if isinstance(message, bytes) else encode_message(message))

    async def submit(self, *frames: bytes) -> list[Refused | None]:
        """Submit envelopes, and wait until the homeserver has settled them: None where it answers for one."""
        keys = self.offer(*frames)
        await self.until(lambda: all(key in self._settled for key in keys))
        return [self._settled[key] for key in keys]

    def offer(self, *frames: bytes) -> list[int]:
        """Submit envelopes and do not wait."""
        keys = [next(self._numbers) for _ in frames]
        self._offered.update(zip(keys, frames, strict=True))
        self._outbound.offer(list(zip(keys, frames, strict=True)))
        self._link.wake()
        return keys

    async def receipt(self, frame: bytes) -> Refused:
        """What a RECEIPT says of an envelope that was accepted; waits for one."""
        name = parse_envelope(frame).id
        await self.until(lambda: name in self.receipts)
        return self.receipts[name]

    def unsettled(self) -> list[bytes]:
        """What was submitted and has no answer."""
        return [frame for key, frame in self._offered.items() if key not in self._settled]

    async def ask(self, message: wire.Claim | wire.Proof) -> Message:
        """Send it, and wait for what is answered under its number. Raises RemoteError when the link ends instead."""
        before = len(self._answers[message.request])
        self.send(message)
        return await self.answer(message.request, before)

    async def answer(self, request: int, before: int) -> Message:
        """The answer number `before`, from 0, under a number that was used for a claim."""
        await self.until(lambda: len(self._answers[request]) > before)
        return self._answers[request][before]

    async def device(self, *scopes: str) -> FakeDevice:
        """A new device behind this edge, which has claimed its mailbox and lets in users of `scopes`; none: all."""
        device = FakeDevice.new(self.call.domain, *(scopes or ("*",)))
        await device.claim(self)
        return device

    async def close(self) -> End:
        """End the link in order."""
        self._link.drain()
        return await self.ended()

    async def ended(self) -> End:
        """Wait until the link has ended, by whomever; why."""
        while self.end is None:
            await self._change.wait()
        return self.end

    async def until(self, check: Callable[[], bool]) -> None:
        """Wait for what comes on this link. Raises RemoteError when it ends instead."""
        while not check():
            if self.end is not None:
                raise RemoteError(f"the edge link has ended: {self.end.reason}", code=self.end.code)
            await self._change.wait()

    # --- what comes in: see link.Handler ---------------------------------------------------------------------------

    async def opened(self, stream: bytes) -> Resumption:  # noqa: ARG002 - the homeserver's stream stays empty
        """Its cursor is always 0."""
        return 0, ()

    async def received(self, batch: Received) -> Pending:  # noqa: ARG002 - whatever is in it
        """As every edge has it."""
        raise RemoteError("a homeserver sends no batches to an edge", code=ErrorCode.UNEXPECTED)

    async def settled(self, event: Settled[int]) -> None:
        """The homeserver answers for these, or does not."""
        refused: dict[int, Refused] = {key: (code, text) for key, code, text in event.refused}
        self._settled.update({key: refused.get(key) for key in event.keys})
        self._settled.update({key: (ErrorCode.OVERLOADED, "") for key, _ in event.later})
        self._tell()

    async def other(self, message: Message) -> None:
        """Keep it for whom it concerns."""
        match message:
            case wire.Deliver():
                for frame in message.envelopes:
                    self.deliveries[FakeDevice.mailbox_of(frame)].append(frame)
            case wire.Challenge() | wire.Claimed() | wire.NotClaimed():
                self._answers[message.request].append(message)
            case wire.Receipt():
                self.receipts.update({name: (code, text) for name, code, text in message.refused})
            case wire.Shown() | wire.Unwatch():
                self.shown.append(message)
        self._tell()

    def _tell(self) -> None:
        self._change.set()
        self._change = trio.Event()
