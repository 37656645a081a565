"""A device that sends, through its own domain's edge, on connections that claim nothing.

in: a device's keys, a way to an edge; out: what became of what was sent.
"""

import os
import time
from collections.abc import Callable, Sequence
from typing import Final

import attrs
import trio

from volly_fed import limits
from volly_fed.client.card import Card
from volly_fed.client.conversation import AskAlive, Dead, Quiet, Welcomed
from volly_fed.client.mailbox import DeviceKeys
from volly_fed.client.seal import Content, seal
from volly_fed.client.submitter import HandOver, RefusedLate, Settled, Submitter
from volly_fed.codepoints import EnvelopeClass, ErrorCode
from volly_fed.daemon.device.link import Way, wait_message, with_socket
from volly_fed.daemon.websocket import Socket
from volly_fed.errors import ChannelError
from volly_fed.names import DomainName
from volly_fed.relay.envelope import encode_envelope
from volly_fed.wire.messages import Outcome

Clock = Callable[[], float]
DEFAULT_LIFETIME: Final = 86400


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
            await wait_message(self._socket, self._machine)
            for event in self._machine.events():
                match event:
                    case Welcomed():
                        task_status.started()
                    case Settled() | RefusedLate():
                        self._on_outcome(event)
                    case Quiet():
                        await self._send(AskAlive())
                    case Dead():
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

    async def _send(self, command: HandOver | AskAlive) -> None:
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
    envelope_id = os.urandom(16)  # [client-8]
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
