"""A fake edge with its devices: claims their mailboxes, takes what is delivered, acknowledges it in the devices' name.

in: an edge's keys, the devices' keys; out: per run, when each envelope arrived and how long it was under way.
Acknowledgements are collected for ACK_PACE and leave as one message for each mailbox, as the protocol wants it.
A link that ends is dialled again at once: what is measured is the homeserver, not an edge's back-off.
"""

import time
from contextlib import suppress
from pathlib import Path

import trio

from bench.relay.arrivals import Arrivals
from bench.relay.gauge import Gauge
from bench.relay.link import EdgeKeys, Line
from volly_fed import limits
from volly_fed.client.mailbox import DeviceKeys, parse_device
from volly_fed.crypto.secret import Secret
from volly_fed.edge.claim import answer_challenge, frame_digest, make_acknowledge
from volly_fed.errors import RemoteError
from volly_fed.names import MailboxId
from volly_fed.wire.messages import Challenge, Claim, Claimed, Deliver, Message, NotClaimed

ACK_PACE = 0.005
_REDIAL = 0.02
_MAILBOX = slice(4, 36)
"""In an envelope, see relay.envelope."""


class Receiver(Arrivals):
    """See worker.Generator."""

    def __init__(self, config: str, devices: list[str], ticket_key: bytes, gauge: Gauge | None = None) -> None:
        self._keys = EdgeKeys.load(Path(config))
        self._devices = [parse_device(text) for text in devices]
        super().__init__(ticket_key)
        self._gauge = gauge or Gauge()
        self._held: dict[int, tuple[DeviceKeys, Secret]] = {}  # by request
        self._acknowledging: dict[bytes, tuple[Secret, list[tuple[bytes, bytes]]]] = {}  # by mailbox
        self._due = trio.Event()
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
            with suppress(RemoteError, OSError):
                await self._keys.call(self._use)
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
        held = self._acknowledging
        self._gauge.add(len(frames))
        for frame, identity in zip(frames, self.note(frames), strict=True):
            held[frame[_MAILBOX]][1].append((identity, frame_digest(frame)))
        self._due.set()

    async def _acknowledge(self, line: Line) -> None:
        while True:
            await self._due.wait()
            self._due = trio.Event()
            for mailbox, (key, received) in self._acknowledging.items():
                while received:
                    now, received[:] = received[: limits.ACK_IDS], received[limits.ACK_IDS :]
                    await line.say(make_acknowledge(key, MailboxId(mailbox), now))
            await trio.sleep(ACK_PACE)
