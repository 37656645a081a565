"""Devices of the test network: real ones, with folders and keys, in this process.

in: a folder, a domain, an edge's address; out: devices that send, receive, and carry bulk for measurements.
The bulk receiver acknowledges without opening: what is measured with it is the way from edge to edge.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

import attrs
import trio

from volly_fed.client.card import Card
from volly_fed.client.inbox import InboxMessage
from volly_fed.client.mailbox import DeviceKeys
from volly_fed.client.receiver import Item
from volly_fed.client.seal import Content
from volly_fed.client.submitter import RefusedLate, Settled
from volly_fed.daemon.device.device import Sent, Submitting, send
from volly_fed.daemon.device.home import DeviceHome
from volly_fed.daemon.device.link import PlainEdge, Way, with_socket
from volly_fed.daemon.device.receiving import RawReceiving, Receiving
from volly_fed.daemon.websocket import Socket
from volly_fed.names import DomainName
from volly_fed.testnet.sites import LOOPBACK, EdgeSite

Heard = Callable[[InboxMessage, float], None]
"""(message, the loop's time when the application got it)."""


@attrs.frozen(kw_only=True)
class Device:
    """One device: its folder, and the edge node it uses."""

    home: DeviceHome
    way: Way

    @classmethod
    def create(cls, folder: Path, domain: DomainName, edge: EdgeSite, name: str) -> "Device":
        """A new device of `domain` in `folder`."""
        home = DeviceHome.create(folder, domain, os.urandom, name=name)
        return cls(home=home, way=PlainEdge(LOOPBACK, edge.port))

    @property
    def keys(self) -> DeviceKeys:
        """Its keys."""
        return self.home.keys

    @property
    def card(self) -> Card:
        """The card it gives away."""
        return self.keys.card()

    async def send(self, to: Card, text: str) -> Sent:
        """Send `text` on a connection of its own."""
        content = Content(sent_at=int(time.time()), text=text, reply=self.card)
        return await send(self.keys, self.way, to, content)

    async def listen(self, heard: Heard, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Receive until cancelled; started when the mailbox is claimed."""

        async def deliver(message: InboxMessage) -> None:
            heard(message, trio.current_time())

        store = self.home.messages()
        try:
            await Receiving(self.keys, store, self.way, deliver).run(task_status=task_status)
        finally:
            store.close()

    async def submitting(
        self,
        on_outcome: Callable[[Settled | RefusedLate], None],
        *,
        task_status: trio.TaskStatus[Submitting],
    ) -> None:
        """Keep a submitting connection open until cancelled; started with it."""

        async def talk(socket: Socket, nursery: trio.Nursery) -> None:
            submitting = Submitting(socket, self.keys.domain, on_outcome)
            await nursery.start(submitting.run)
            task_status.started(submitting)
            await trio.sleep_forever()

        await with_socket(self.way, talk)


@attrs.define
class BulkReceiver:
    """Counts what arrives at a device, which acknowledges it unopened; `complete` once all of `expected` have come.

    Other ids do not count: what an earlier listener had taken and not acknowledged comes here once more.
    """

    device: Device
    expected: frozenset[bytes]
    received: dict[bytes, int] = attrs.field(factory=dict, init=False, repr=False)
    last_at: float = attrs.field(default=0.0, init=False)
    complete: trio.Event = attrs.field(factory=trio.Event, init=False)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Receive until cancelled; started when the mailbox is claimed."""
        await RawReceiving(self.device.keys, self.device.way, self._take).run(task_status=task_status)

    async def _take(self, items: list[Item]) -> None:
        for item in items:
            if item.envelope.id in self.expected:
                self.received[item.envelope.id] = self.received.get(item.envelope.id, 0) + 1
        self.last_at = trio.current_time()
        if len(self.received) == len(self.expected):
            self.complete.set()
