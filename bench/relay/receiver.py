"""A fake edge with its devices: claims their mailboxes, takes what is delivered, acknowledges it in the devices' name.

in: an edge's keys, the devices' keys; out: per run, when each envelope arrived and how long it was under way.
Acknowledgements are collected for ACK_PACE and leave as one message for each mailbox, as the protocol wants it.
A link that ends is dialled again at once: what is measured is the homeserver, not an edge's back-off.
"""

import time
from array import array
from pathlib import Path

import attrs
import trio

from bench.relay.envelopes import RUN_SHIFT, Tickets
from bench.relay.link import EdgeKeys, Line
from volly_fed import limits
from volly_fed.client.mailbox import DeviceKeys, parse_device
from volly_fed.crypto.secret import Secret
from volly_fed.edge.claim import answer_challenge, frame_digest, make_acknowledge
from volly_fed.errors import RemoteError
from volly_fed.names import MailboxId
from volly_fed.relay.envelope import ID_BYTES
from volly_fed.wire import codec
from volly_fed.wire.messages import Challenge, Claim, Claimed, Deliver, Message, NotClaimed

ACK_PACE = 0.005
_REDIAL = 0.02
_MAILBOX = slice(4, 36)
"""In an envelope, see relay.envelope."""


@attrs.define
class Run:
    """What has arrived of one run."""

    seen: set[int] = attrs.field(factory=set, repr=False)
    twice: int = 0
    arrived: "array[int]" = attrs.field(factory=lambda: array("q"), repr=False)
    """time.monotonic_ns of each."""
    took: "array[int]" = attrs.field(factory=lambda: array("q"), repr=False)
    """Nanoseconds since each was due, in the same order."""

    def note(self, numbers: "array[int]", due: "array[int]", now: int) -> None:
        """These have arrived at `now`."""
        before = len(self.seen)
        self.seen.update(numbers)
        self.twice += before + len(numbers) - len(self.seen)
        self.arrived.extend([now] * len(numbers))
        self.took.extend([now - at for at in due])


class Receiver:
    """See worker.Generator."""

    def __init__(self, config: str, devices: list[str], ticket_key: bytes) -> None:
        self._keys = EdgeKeys.load(Path(config))
        self._devices = [parse_device(text) for text in devices]
        self._tickets = Tickets(ticket_key)
        self._held: dict[int, tuple[DeviceKeys, Secret]] = {}  # by request
        self._acknowledging: dict[bytes, tuple[Secret, list[tuple[bytes, bytes]]]] = {}  # by mailbox
        self._due = trio.Event()
        self._runs: dict[int, Run] = {}
        self._id_at = 0
        self._requests = 0
        self._claimed = 0
        self._complete = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Keep a link with all mailboxes claimed; started when they are for the first time."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_link)
            await self._complete.wait()
            task_status.started()

    async def _keep_link(self) -> None:
        while True:
            try:
                await self._keys.call(self._use)
            except (RemoteError, OSError):
                pass
            await trio.sleep(_REDIAL)

    async def _use(self, line: Line) -> None:
        self._held, self._acknowledging = {}, {}
        self._claimed = 0
        for device in self._devices:
            self._requests += 1
            self._held[self._requests] = (device, Secret(b""))
            await line.say(Claim(request=self._requests, key=device.mailbox.public))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._acknowledge, line)
            async for message in line.messages():
                if isinstance(message, Deliver):
                    self._take(message.envelopes)
                else:
                    await self._claim(line, message)
            nursery.cancel_scope.cancel()

    # --- claiming --------------------------------------------------------------------------------------------------

    async def _claim(self, line: Line, message: Message) -> None:
        if isinstance(message, Challenge):
            device, _ = self._held[message.request]
            proof, key = answer_challenge(
                device.mailbox,
                message,
                device.registration,
                domain=device.domain,
                edge=self._keys.fingerprint,
                now=time.time(),
            )
            self._held[message.request] = (device, key)
            self._acknowledging[device.address.mailbox] = (key, [])
            await line.say(proof)
        elif isinstance(message, Claimed):
            self._claimed += 1
            if self._claimed == len(self._devices):
                self._complete.set()
        else:
            assert not isinstance(message, NotClaimed), message

    # --- delivery --------------------------------------------------------------------------------------------------

    def _take(self, frames: list[bytes]) -> None:
        now = time.monotonic_ns()
        at = self._id_at or _id_position(frames[0])
        ids = [frame[at : at + ID_BYTES] for frame in frames]
        held = self._acknowledging
        for frame, identity in zip(frames, ids, strict=True):
            held[frame[_MAILBOX]][1].append((identity, frame_digest(frame)))
        numbers, due = self._tickets.open(ids)
        if (run := numbers[0] >> RUN_SHIFT) == max(numbers) >> RUN_SHIFT == min(numbers) >> RUN_SHIFT:
            self._run(run).note(numbers, due, now)
        else:
            for number, when in zip(numbers, due, strict=True):
                self._run(number >> RUN_SHIFT).note(array("Q", [number]), array("Q", [when]), now)
        self._due.set()

    def _run(self, number: int) -> Run:
        return self._runs.setdefault(number, Run())

    async def _acknowledge(self, line: Line) -> None:
        while True:
            await self._due.wait()
            self._due = trio.Event()
            for mailbox, (key, received) in self._acknowledging.items():
                while received:
                    now, received[:] = received[: limits.ACK_IDS], received[limits.ACK_IDS :]
                    await line.say(make_acknowledge(key, MailboxId(mailbox), now))
            await trio.sleep(ACK_PACE)

    # --- calls -----------------------------------------------------------------------------------------------------

    async def count(self, run: int) -> int:
        """How many different envelopes of `run` have come so far."""
        return len(self._run(run).seen)

    async def wait(self, run: int, count: int, seconds: float) -> int:
        """Wait for `count` envelopes of `run`, so long at most; how many there are then."""
        with trio.move_on_after(seconds):
            while len(self._run(run).seen) < count:  # noqa: ASYNC110 - an event for each delivery would be work
                await trio.sleep(0.02)
        return len(self._run(run).seen)

    async def take(self, run: int) -> Run:
        """All that came of `run`, which is forgotten here."""
        return self._runs.pop(run, Run())


def _id_position(frame: bytes) -> int:
    _, mailbox, domain, *_ = codec.decode(frame)  # type: ignore[misc] # an envelope is an array
    return len(frame) - len(frame.partition(domain.encode())[2]) + 1
