"""A device at work: sending through its own domain's edge, and receiving each message once.

in: a device's home, a way to an edge; out: what became of what was sent, and received messages.
Receiving and submitting use connections of their own.
Never: acknowledges what is not on disk, or gives the application a message twice (client.inbox has the exact promise).
"""

import os
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import attrs
import trio

from volly_fed import limits
from volly_fed.client import receiver as r
from volly_fed.client.card import Card
from volly_fed.client.inbox import InboxMessage, InboxStore, open_items
from volly_fed.client.mailbox import DeviceKeys
from volly_fed.client.receiver import Receiver
from volly_fed.client.seal import Content, seal
from volly_fed.client.submitter import HandOver, RefusedLate, Settled, Submitter
from volly_fed.codepoints import EnvelopeClass, ErrorCode
from volly_fed.daemon.device.link import Way, with_socket
from volly_fed.daemon.websocket import Socket
from volly_fed.errors import ChannelError, DiscoveryError, Refused, RemoteError
from volly_fed.names import DomainName
from volly_fed.relay.envelope import encode_envelope
from volly_fed.wire.messages import Outcome

Clock = Callable[[], float]
Deliver = Callable[[InboxMessage], Awaitable[None]]
Take = Callable[[list[r.Item]], Awaitable[None]]
_PASSING: Final = frozenset(
    {ErrorCode.BUSY, ErrorCode.OVERLOADED, ErrorCode.SHUTTING_DOWN, ErrorCode.TIMEOUT, ErrorCode.NONE}
)
"""Why a claim may fail today and hold tomorrow."""
DEFAULT_LIFETIME: Final = 86400


# --- sending -------------------------------------------------------------------------------------------------------


class Submitting:
    """A submitting connection: start `run` in a nursery, then `submit` as often as you like, several under way.

    `on_outcome` hears every Settled and RefusedLate, in order. Envelopes that were handed over when the connection
    broke are in `unanswered`.
    """

    def __init__(self, socket: Socket, domain: DomainName, on_outcome: Callable[[Settled | RefusedLate], None]) -> None:
        self._socket = socket
        self._machine = Submitter(domain, trio.current_time())
        self._on_outcome = on_outcome
        self._changed = trio.Event()
        self._sending = trio.Lock()

    @property
    def unanswered(self) -> list[tuple[bytes, bytes]]:
        """(id, envelope) of what was handed over and not answered."""
        return self._machine.unanswered

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the connection until it ends; started when the edge has greeted. Raises RemoteError."""
        while True:
            await _wait_message(self._socket, self._machine)
            for event in self._machine.events():
                match event:
                    case r.Welcomed():
                        task_status.started()
                    case Settled() | RefusedLate():
                        self._on_outcome(event)
                    case r.Quiet():
                        await self._send(r.AskAlive())
                    case r.Dead():
                        raise ChannelError(event.text)
            self._changed.set()
            self._changed = trio.Event()

    async def submit(self, items: Sequence[tuple[bytes, bytes]]) -> None:
        """Hand over (id, encoded envelope) in batches of limits.SUBMIT_ENVELOPES, waiting while too many are under way.

        Returns when the last was sent; what became of them comes by `on_outcome`. Raises ChannelError.
        """
        start = 0
        while start < len(items):
            count = min(limits.SUBMIT_ENVELOPES, self._machine.room)
            if count <= 0:
                await self._changed.wait()
                continue
            batch = _fitting(items[start : start + count])
            await self._send(HandOver(items=batch))
            start += len(batch)

    async def wait_settled(self) -> None:
        """Until nothing that was submitted is unanswered."""
        while self._machine.unanswered:
            await self._changed.wait()

    async def _send(self, command: HandOver | r.AskAlive) -> None:
        data = self._machine.send(command)
        async with self._sending:
            await self._socket.send(data)


def _fitting(items: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The first of `items` that make a batch of at most limits.BATCH_BYTES; one at least."""
    size = 0
    for count, (_, frame) in enumerate(items):
        size += len(frame)
        if size > limits.BATCH_BYTES and count:
            return list(items[:count])
    return list(items)


@attrs.frozen(kw_only=True)
class Sent:
    """What became of one message. `late` tells a refusal by the recipient's homeserver from one by ours."""

    id: bytes
    accepted: bool
    code: ErrorCode = ErrorCode.NONE
    text: str = ""
    late: bool = False


async def send(
    keys: DeviceKeys,
    way: Way,
    to: Card,
    content: Content,
    *,
    urgency: EnvelopeClass = EnvelopeClass.SIGNAL,
    lifetime: int = DEFAULT_LIFETIME,
    linger: float = 0.0,
    clock: Clock = time.time,
) -> Sent:
    """Seal `content` for `to` and submit it; accepted means that our homeserver has it on disk.

    A refusal by the recipient's homeserver comes later: `linger` is how many seconds to wait for one.
    Raises LocalError (too long), RemoteError or DiscoveryError (no edge), BadMessage (a card with an unusable key).
    """
    envelope_id = os.urandom(16)
    envelope = seal(
        content,
        identity=keys.identity,
        to=to,
        envelope_id=envelope_id,
        expiry=int(clock()) + lifetime,
        urgency=urgency,
    )
    return await with_socket(way, _SendOne(keys.domain, (envelope_id, encode_envelope(envelope)), linger))


@attrs.define
class _SendOne:
    """The talk of `send`."""

    domain: DomainName
    item: tuple[bytes, bytes]
    linger: float
    outcome: Sent | None = None
    refused_late: trio.Event = attrs.field(factory=trio.Event)

    async def __call__(self, socket: Socket, nursery: trio.Nursery) -> Sent:
        submitting = Submitting(socket, self.domain, self._hear)
        await nursery.start(submitting.run)
        await submitting.submit([self.item])
        with trio.fail_after(limits.SUBMIT_ANSWER):
            await submitting.wait_settled()
        assert self.outcome is not None  # by wait_settled
        if self.outcome.accepted:
            with trio.move_on_after(self.linger):
                await self.refused_late.wait()
        return self.outcome

    def _hear(self, event: Settled | RefusedLate) -> None:
        late = isinstance(event, RefusedLate)
        for outcome in event.refused:
            self._refuse(outcome, late=late)
        if isinstance(event, Settled) and self.item[0] in event.accepted:
            self.outcome = Sent(id=self.item[0], accepted=True)

    def _refuse(self, outcome: Outcome, *, late: bool) -> None:
        envelope_id, code, text = outcome
        if envelope_id == self.item[0]:
            self.outcome = Sent(id=envelope_id, accepted=False, code=code, text=text, late=late)
            self.refused_late.set()


# --- receiving -----------------------------------------------------------------------------------------------------


class RawReceiving:
    """Claims the mailbox, keeps it claimed, and hands envelopes to `take`, unopened, a delivery at a time.

    They are acknowledged when `take` returns. They may come twice: see Receiving for the other kind.
    """

    def __init__(self, keys: DeviceKeys, way: Way, take: Take, *, clock: Clock = time.time) -> None:
        self._keys = keys
        self._way = way
        self._take = take
        self._clock = clock
        self._failures = 0
        self._claimed_once = False
        self._task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Receive until cancelled; started when the mailbox is claimed for the first time.

        Until then an edge that cannot be reached is an error; later, connections that break are made again, with
        growing pauses. Raises Refused when the claim can never hold or another connection has taken it over, and
        what the application's part raises.
        """
        self._task_status = task_status
        await self._hand_over()
        while True:
            try:
                await with_socket(self._way, self._converse)
            except Refused:
                raise
            except (RemoteError, DiscoveryError, trio.TooSlowError):
                if not self._claimed_once:
                    raise
            await trio.sleep(self._pause())

    async def _converse(self, socket: Socket, _nursery: trio.Nursery) -> None:
        machine = Receiver(self._keys, trio.current_time())
        while True:
            await _wait_message(socket, machine)
            for event in machine.events():
                await self._follow(socket, machine, event)

    async def _follow(self, socket: Socket, machine: Receiver, event: r.Event) -> None:
        match event:
            case r.Welcomed():
                await socket.send(machine.send(r.StartClaim()))
            case r.Challenged():
                await socket.send(machine.send(r.Prove(self._clock())))
            case r.Holding():
                self._failures = 0
                if not self._claimed_once:
                    self._claimed_once = True
                    self._task_status.started()
            case r.Delivered():
                await self._take(event.items)
                data = machine.send(r.Confirm(claim=event.claim, items=event.items))
                if data:
                    await socket.send(data)
                await self._hand_over()
            case r.Lost():
                if event.code not in _PASSING:
                    raise Refused(f"the mailbox is not ours any more: {event.text}", code=event.code)
                await trio.sleep(self._pause(limits.CLAIM_RETRY))
                await socket.send(machine.send(r.StartClaim()))
            case r.Quiet():
                await socket.send(machine.send(r.AskAlive()))
            case r.Dead():
                raise ChannelError(event.text)

    async def _hand_over(self) -> None:
        """What is to be done at the start and after each delivery was acknowledged."""

    def _pause(self, least: float = limits.BACKOFF_FIRST) -> float:
        """Growing, and spread out: an edge that restarts must not meet all its devices at once."""
        self._failures += 1
        low, high = limits.BACKOFF_JITTER
        spread = low + (high - low) * int.from_bytes(os.urandom(2), "big") / 0xFFFF
        grown = least * limits.BACKOFF_GROWTH ** min(self._failures - 1, limits.DEVICE_BACKOFF_STEPS)
        return min(grown, limits.DEVICE_BACKOFF_CAP) * spread


class Receiving(RawReceiving):
    """Opens what comes, keeps it in `store`, and hands each message to `deliver`, once, oldest first.

    A message counts as taken when `deliver` returns. When it raises, the message stays, and the error ends `run`;
    so does StorageError, when messages cannot be kept.
    """

    def __init__(
        self, keys: DeviceKeys, store: InboxStore, way: Way, deliver: Deliver, *, clock: Clock = time.time
    ) -> None:
        super().__init__(keys, way, self._take_in, clock=clock)
        self._store = store
        self._deliver = deliver
        self._next: list[tuple[int, InboxMessage]] = []
        self.unopened = 0
        """Envelopes that did not open: damaged, or made by somebody who has the card and no manners."""

    async def _take_in(self, items: list[r.Item]) -> None:
        def open_and_store() -> tuple[int, list[tuple[int, InboxMessage]]]:
            messages, unopened = open_items(self._keys, items)
            self._store.take_in(messages, self._clock())
            return unopened, self._waiting()  # here too: one hop to a thread less before the application has it

        unopened, self._next = await trio.to_thread.run_sync(open_and_store)
        self.unopened += unopened

    async def _hand_over(self) -> None:
        waiting, self._next = self._next, []
        while waiting := waiting or await trio.to_thread.run_sync(self._waiting):
            for number, message in waiting:
                await self._deliver(message)
                # a crash between these two lines is the one case in which a message comes again (client.inbox)
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(self._store.took, number)
            waiting = []

    def _waiting(self) -> list[tuple[int, InboxMessage]]:
        return self._store.waiting(limits.SUBMIT_ENVELOPES)


async def _wait_message(socket: Socket, machine: Receiver | Submitter) -> None:
    """Until a message came or the machine's deadline passed; its events say what that means."""
    deadline = machine.deadline
    try:
        with trio.move_on_at(deadline if deadline is not None else float("inf")) as scope:
            data = await socket.receive()
    except trio.EndOfChannel:
        raise ChannelError("the edge closed the connection") from None
    if scope.cancelled_caught:
        machine.tick(trio.current_time())
    else:
        machine.receive(data, trio.current_time())
