"""A device's mailbox, kept claimed: on whichever edge answers, for as long as it takes.

in: a device's keys, a way to its edges; out: received messages, each once; or envelopes, unopened.
Never: acknowledges what is not on disk, or gives the application a message twice (client.inbox has the exact promise).
"""

import os
import time
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from volly_fed import limits
from volly_fed.client import receiver as r
from volly_fed.client.conversation import AskAlive, Dead, Quiet, Welcomed
from volly_fed.client.inbox import InboxMessage, InboxStore, open_items
from volly_fed.client.mailbox import DeviceKeys
from volly_fed.client.receiver import Receiver
from volly_fed.codepoints import ErrorCode
from volly_fed.daemon.device.link import Choice, FoundEdge, OneOf, Way, wait_message, with_socket
from volly_fed.daemon.websocket import Socket
from volly_fed.errors import ChannelError, DiscoveryError, Refused, RemoteError

Clock = Callable[[], float]
Deliver = Callable[[InboxMessage], Awaitable[None]]
Take = Callable[[list[r.Item]], Awaitable[None]]
_PASSING: Final = frozenset(
    {ErrorCode.BUSY, ErrorCode.OVERLOADED, ErrorCode.SHUTTING_DOWN, ErrorCode.TIMEOUT, ErrorCode.NONE}
)
"""Why a claim may fail today and hold tomorrow."""


class _Elsewhere(RemoteError):
    """This edge cannot serve us now; another one might."""


class RawReceiving:
    """Claims the mailbox, keeps it claimed, and hands envelopes to `take`, unopened, a delivery at a time.

    They are acknowledged when `take` returns. They may come twice: see Receiving for the other kind.
    """

    def __init__(self, keys: DeviceKeys, way: Way, take: Take, *, clock: Clock = time.time) -> None:
        self._keys = keys
        self._way = way
        self._take = take
        self._clock = clock
        self._choice = Choice()
        self._failures = 0
        self._lost_here = 0
        self._claimed_once = False
        self._task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Receive until cancelled; started when the mailbox is claimed for the first time.

        Until then an edge that cannot be reached is an error; later, connections that break are made again, with
        growing pauses, and to another edge where there is one. Raises Refused when the claim can never hold or another
        connection has taken it over, and what the application's part raises.
        """
        self._task_status = task_status
        await self._hand_over()
        while True:
            stay_away = 0
            try:
                await with_socket(self._way, self._converse, self._choice)
            except Refused:
                raise
            except _Elsewhere:
                pass
            except (RemoteError, DiscoveryError, trio.TooSlowError) as error:
                if not self._claimed_once:
                    raise
                if isinstance(error, RemoteError) and not self._has_others:
                    stay_away = min(error.retry_after, limits.DEVICE_RETRY_CAP)
            self._choice.leave()
            self._failures += 1
            await trio.sleep(max(_pause(self._failures, limits.BACKOFF_FIRST, limits.DEVICE_BACKOFF_CAP), stay_away))

    @property
    def _has_others(self) -> bool:
        return isinstance(self._way, FoundEdge | OneOf)

    async def _converse(self, socket: Socket, _nursery: trio.Nursery) -> None:
        machine = Receiver(self._keys, trio.current_time())
        self._lost_here = 0
        while True:
            await wait_message(socket, machine)
            for event in machine.events():
                await self._follow(socket, machine, event)

    async def _follow(self, socket: Socket, machine: Receiver, event: r.Event) -> None:
        match event:
            case Welcomed():
                await socket.send(machine.send(r.StartClaim()))
            case r.Challenged():
                await socket.send(machine.send(r.Prove(self._clock())))
            case r.Holding():
                self._failures = self._lost_here = 0
                if not self._claimed_once:
                    self._claimed_once = True
                    self._task_status.started()
            case r.Delivered():
                await self._take(event.items)  # [edge-27]
                data = machine.send(r.Confirm(claim=event.claim, items=event.items))
                if data:
                    await socket.send(data)
                await self._hand_over()
            case r.Lost():
                if event.code not in _PASSING:  # [edge-21]
                    raise Refused(f"the mailbox is not ours any more: {event.text}", code=event.code)
                self._lost_here += 1
                if self._lost_here > 1 and self._has_others:
                    raise _Elsewhere(event.text, code=event.code)  # it may be this edge only that is cut off
                # a claim costs the edge nothing while it has no homeserver, and many seconds of silence cost a call
                await trio.sleep(_pause(self._lost_here, limits.CLAIM_RETRY, limits.CLAIM_RETRY_CAP))
                await socket.send(machine.send(r.StartClaim()))
            case Quiet():
                await socket.send(machine.send(AskAlive()))
            case Dead():
                raise ChannelError(event.text)

    async def _hand_over(self) -> None:
        """What is to be done at the start and after each delivery was acknowledged."""


def _pause(failures: int, least: float, most: float) -> float:
    """Growing, and spread out: an edge that restarts must not meet all its devices at once."""
    low, high = limits.BACKOFF_JITTER
    spread = low + (high - low) * int.from_bytes(os.urandom(2), "big") / 0xFFFF
    grown: float = least * limits.BACKOFF_GROWTH ** min(failures - 1, 64)
    return min(grown, most) * spread


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
            messages, unopened = open_items(self._keys, items, self._clock())
            self._store.take_in(messages, self._clock())  # [client-16]
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
