"""The two ends of the path: a device that submits and remembers, and one that receives with a store of its own.

in: parcels to send, wires; out: answers and messages, told to the ledger.
The sending device is never struck: it is whom the promises are made to. What was not answered it submits again on its
next connection, and what was refused as OVERLOADED after a pause, under the same id.
"""

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

import apsw
import attrs
import trio

from volly_fed.client.inbox import InboxMessage
from volly_fed.client.mailbox import DeviceKeys
from volly_fed.client.seal import Content, seal
from volly_fed.client.submitter import RefusedLate, Settled
from volly_fed.codepoints import EnvelopeClass, ErrorCode
from volly_fed.daemon.device.device import Submitting
from volly_fed.daemon.device.link import GivenEdge, with_socket
from volly_fed.daemon.device.receiving import Receiving
from volly_fed.daemon.device.store import DeviceStore
from volly_fed.daemon.websocket import Socket
from volly_fed.errors import RemoteError
from volly_fed.relay.envelope import encode_envelope
from volly_fed.testing.power_chance import EPOCH
from volly_fed.testing.power_ledger import Ledger, Parcel
from volly_fed.testing.power_machine import Machine
from volly_fed.testing.power_servers import DOMAINS, Dial

_LANES: Final = 2
_RETRY: Final = 1.0


@attrs.frozen
class People:
    """Who talks to whom, with enough sealed envelopes for one run."""

    receiver: DeviceKeys
    parcels: tuple[Parcel, ...] = attrs.field(repr=False)

    @classmethod
    def make(cls, count: int) -> "People":
        """The same people, and the same envelopes but for what encapsulation draws."""
        random = Random(1)  # noqa: S311 - to repeat, not to be secret
        sender = DeviceKeys.generate(DOMAINS["A"], random.randbytes)
        receiver = DeviceKeys.generate(DOMAINS["B"], random.randbytes)
        parcels = []
        for _ in range(count):
            identity, data, urgency = random.randbytes(16), random.randbytes(8), random.choice(tuple(EnvelopeClass))
            envelope = seal(
                Content(sent_at=EPOCH, data=data),
                identity=sender.identity,
                to=receiver.card(),
                envelope_id=identity,
                expiry=EPOCH + 86400,
                urgency=urgency,
            )
            parcels.append(Parcel(identity, urgency, encode_envelope(envelope), data))
        return cls(receiver, tuple(parcels))


@attrs.define
class _Lane:
    """What one connection at a time has to submit, in order."""

    waiting: deque[Parcel] = attrs.field(factory=deque)
    under_way: dict[bytes, Parcel] = attrs.field(factory=dict)
    more: trio.Event = attrs.field(factory=trio.Event)

    def give(self, parcels: list[Parcel]) -> None:
        self.waiting.extend(parcels)
        self.more.set()

    def take(self, count: int) -> list[Parcel]:
        taken = [self.waiting.popleft() for _ in range(min(count, len(self.waiting)))]
        self.under_way.update((parcel.id, parcel) for parcel in taken)
        if not self.waiting:
            self.more = trio.Event()
        return taken

    def take_back(self) -> None:
        """The connection is gone."""
        self.waiting.extendleft(reversed(self.under_way.values()))
        self.under_way.clear()
        if self.waiting:
            self.more.set()


class Sender:
    """The sending device, with its lanes of submission."""

    def __init__(self, random: Random, dial: Dial, ledger: Ledger) -> None:
        self._random, self._dial, self._ledger = random, dial, ledger
        self._lanes = [_Lane() for _ in range(_LANES)]
        self._connections = 0
        self._overloaded: deque[tuple[float, _Lane, Parcel]] = deque()

    @property
    def unanswered(self) -> int:
        """How many are still to be submitted, or were and wait for their answer."""
        return len(self._overloaded) + sum(len(lane.waiting) + len(lane.under_way) for lane in self._lanes)

    def give(self, parcels: list[Parcel]) -> None:
        """Submit these."""
        cut = self._random.randint(0, len(parcels))
        for lane, part in zip(self._lanes, (parcels[:cut], parcels[cut:]), strict=True):
            lane.give(part)

    async def live(self, _: Machine) -> None:
        """Until cancelled."""
        async with trio.open_nursery() as nursery:
            for lane in self._lanes:
                nursery.start_soon(self._submit, lane)
            nursery.start_soon(self._submit_again)

    async def _submit(self, lane: _Lane) -> None:
        while True:
            await lane.more.wait()
            with suppress(RemoteError):
                await with_socket(GivenEdge(partial(self._dial, "S", "EA")), partial(self._talk, lane))
            await trio.sleep(self._random.uniform(0, _RETRY))

    async def _talk(self, lane: _Lane, socket: Socket, nursery: trio.Nursery) -> None:
        self._connections += 1
        number = self._connections
        submitting = Submitting(socket, DOMAINS["A"], partial(self._hear, lane))
        try:
            await nursery.start(submitting.run)
            while True:
                await lane.more.wait()
                batch = lane.take(self._random.randint(1, 4))
                self._ledger.submit(number, batch)
                await submitting.submit([(parcel.id, parcel.frame) for parcel in batch])
                await trio.sleep(self._random.uniform(0, 0.05))
        finally:
            lane.take_back()

    def _hear(self, lane: _Lane, event: Settled | RefusedLate) -> None:
        for identity, code, text in event.refused:
            parcel = lane.under_way.pop(identity, None)
            if code is ErrorCode.OVERLOADED and parcel is not None:
                self._ledger.overloaded = True
                self._overloaded.append((trio.current_time() + _RETRY, lane, parcel))
            else:
                self._ledger.refused[identity] = text
        if isinstance(event, Settled):
            for identity in event.accepted:
                del lane.under_way[identity]
                self._ledger.accepted.add(identity)

    async def _submit_again(self) -> None:
        while True:
            await trio.sleep(_RETRY)
            while self._overloaded and self._overloaded[0][0] <= trio.current_time():
                _, lane, parcel = self._overloaded.popleft()
                lane.give([parcel])


class _Messages(DeviceStore):
    """The device's store, which tells when it has noted that a message was taken."""

    def __init__(self, path: Path, machine: Machine, ledger: Ledger) -> None:
        self._ledger = ledger
        assert machine.disk is not None
        super().__init__(path, machine.disk.vfs)

    def _prepare(self, path: Path) -> None:
        self._database.execute("PRAGMA locking_mode = EXCLUSIVE")  # the disk that loses power has no shared memory
        super()._prepare(path)
        self._database.wal_autocheckpoint(24)
        self._ledger.look("R", self._database)

    def took(self, number: int) -> None:
        super().took(number)
        self._ledger.took()

    def close(self) -> None:
        with suppress(apsw.Error):
            super().close()


@attrs.frozen
class _Claimed(trio.TaskStatus[None]):
    """Told by a Receiving when the mailbox is claimed for the first time."""

    claimed: trio.Event

    def started(self, value: None = None) -> None:  # noqa: ARG002 - there is none
        self.claimed.set()


class Recipient:
    """The receiving device; `receiving` is the class that does the work."""

    def __init__(
        self, keys: DeviceKeys, folder: Path, dial: Dial, ledger: Ledger, receiving: type[Receiving] = Receiving
    ) -> None:
        self._keys, self._path, self._dial, self._ledger = keys, folder / "messages.db", dial, ledger
        self._receiving = receiving
        self.claimed = trio.Event()
        self.waiting: Callable[[], int] = lambda: 0
        """How many messages wait to be taken."""

    async def live(self, machine: Machine) -> None:
        """One life: receive, and try again as an application does that wants its messages."""
        store = _Messages(self._path, machine, self._ledger)
        self.waiting = lambda: len(store.waiting())
        try:
            async with trio.open_nursery() as nursery:
                machine.open(nursery, None)
                while True:
                    with suppress(RemoteError, trio.TooSlowError):
                        await self._receive(machine, store)
                    await trio.sleep(machine.random.uniform(0, _RETRY))
        finally:
            self.waiting = lambda: 0
            store.close()

    async def _receive(self, machine: Machine, store: _Messages) -> None:
        self._ledger.begin_life()

        async def deliver(message: InboxMessage) -> None:
            machine.reach("app", "a message about to be handed out")
            await trio.lowlevel.checkpoint()
            self._ledger.hand_out(message.id, message.content.data)
            machine.reach("app", "a message was handed out")

        way = GivenEdge(partial(self._dial, "R", "EB"))
        receiving = self._receiving(self._keys, store, way, deliver, clock=time.time)
        await receiving.run(task_status=_Claimed(self.claimed))
