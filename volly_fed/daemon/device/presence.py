"""Presence at a device: announcing oneself, watching contacts, handing out the key, for as long as it takes.

in: a device's folder, a way to its edges; out: connections that announce or watch, sightings, keys in envelopes.
Each of the three goes on connections of its own. The folder is looked at again every limits_presence.HOME_LOOK seconds:
other commands change it.
Never: hands out a key other than sealed, or goes on under a key that was replaced.
"""

import abc
import math
import os
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import NoReturn

import trio

from volly_fed import limits, limits_presence
from volly_fed.client.announcer import Announcer
from volly_fed.client.card import Card
from volly_fed.client.conversation import AskAlive, Dead, Quiet, Welcomed
from volly_fed.client.inbox import InboxMessage
from volly_fed.client.presence import PresenceBook
from volly_fed.client.seal import Content
from volly_fed.client.sightings import Sighting, Sightings
from volly_fed.client.talk import ANNOUNCING, WATCHING, Heard, Say, State, Talk
from volly_fed.codepoints import EnvelopeClass, ErrorCode
from volly_fed.crypto.secret import Secret
from volly_fed.daemon.backoff import pause
from volly_fed.daemon.device.device import send
from volly_fed.daemon.device.home import DeviceHome
from volly_fed.daemon.device.link import Choice, Way, wait_message, with_socket
from volly_fed.daemon.websocket import Socket
from volly_fed.errors import BadMessage, ChannelError, DiscoveryError, RemoteError
from volly_fed.machine import Transitions
from volly_fed.names import DomainName, Fingerprint
from volly_fed.wire.presence import Shown, Unwatch, Watch

Clock = Callable[[], float]
Contacts = Mapping[DomainName, Mapping[Fingerprint, Secret]]
OnSightings = Callable[[list[Sighting]], None]
_LIFETIME = limits.MAX_LIFETIME - 3600
"""Of a key in an envelope: nearly as long as there is, for a contact may be away for days."""


class _Talking(abc.ABC):
    """One connection after the other, as long as it takes; a subclass says what is said and heard on it."""

    TABLE: Transitions[State]

    def __init__(self, domain: DomainName, way: Way, clock: Clock) -> None:
        self._domain = domain
        self._way = way
        self._clock = clock
        self._choice = Choice()
        self._failures = 0
        self._started = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Until cancelled; started with the first connection. Until then, one that cannot be made is an error.

        Raises RemoteError WRONG_EPOCH whenever the edge says so: then our clock is wrong, and trying again is no use.
        """
        while True:
            stay_away, began = 0, trio.current_time()
            try:
                await with_socket(self._way, partial(self._converse, task_status), self._choice)
            except (RemoteError, DiscoveryError, trio.TooSlowError) as error:
                code = error.code if isinstance(error, RemoteError) else ErrorCode.NONE
                if not self._started or code is ErrorCode.WRONG_EPOCH:
                    raise
                if isinstance(error, RemoteError):
                    stay_away = min(error.retry_after, limits.DEVICE_RETRY_CAP)
            self._choice.leave()
            self._lost()
            if trio.current_time() - began > limits.DEVICE_BACKOFF_CAP:
                self._failures = 0  # a greeting alone is no success: the edge may not like what we say
            self._failures += 1
            await trio.sleep(max(pause(self._failures, limits.DEVICE_BACKOFF_CAP) * _jitter(), stay_away))

    async def _converse(self, task_status: trio.TaskStatus[None], socket: Socket, nursery: trio.Nursery) -> None:
        machine = Talk(self.TABLE, self._domain, trio.current_time())
        sending = trio.Lock()

        async def say(command: Say | AskAlive) -> None:
            data = machine.send(command)
            async with sending:
                await socket.send(data)

        while True:
            await wait_message(socket, machine)
            for event in machine.events():
                match event:
                    case Welcomed():
                        await self._begin(say)
                        nursery.start_soon(self._look, say)
                        if not self._started:
                            self._started = True
                            task_status.started()
                    case Heard(message):
                        assert isinstance(message, Shown | Unwatch)  # by the table
                        self._hear(message)
                    case Quiet():
                        await say(AskAlive())
                    case Dead():
                        raise ChannelError(event.text)

    async def _look(self, say: Callable[[Say], Awaitable[None]]) -> None:
        with suppress(ChannelError):  # the reader finds out, too
            while True:
                await trio.sleep(limits_presence.HOME_LOOK)
                await self._go_on(say)

    @abc.abstractmethod
    async def _begin(self, say: Callable[[Say], Awaitable[None]]) -> None:
        """The edge has greeted."""

    @abc.abstractmethod
    async def _go_on(self, say: Callable[[Say], Awaitable[None]]) -> None:
        """Time has passed."""

    def _hear(self, message: Shown | Unwatch) -> None:
        """The edge says something, which a table may rule out."""
        raise AssertionError(f"{type(message).__name__} is not in the table")

    def _lost(self) -> None:  # noqa: B027 - not all have to do anything
        """There is no connection any more."""


class Announcing(_Talking):
    """Keeps a device announced for `scopes`, under the presence key that its folder has."""

    TABLE = ANNOUNCING

    def __init__(self, home: DeviceHome, scopes: Sequence[str], way: Way, *, clock: Clock = time.time) -> None:
        super().__init__(home.keys.domain, way, clock)
        self._home = home
        self._scopes = tuple(scopes)
        self._announcer = Announcer(self._scopes, 0.0)

    async def _begin(self, say: Callable[[Say], Awaitable[None]]) -> None:
        self._announcer = Announcer(self._scopes, random.uniform(0, limits_presence.ANNOUNCE_SPREAD))  # noqa: S311 - spreads load
        await self._go_on(say)

    async def _go_on(self, say: Callable[[Say], Awaitable[None]]) -> None:
        book = await trio.to_thread.run_sync(_unchanged, self._home, self._clock())
        for announce in self._announcer.due(book.key, self._clock()):
            await say(Say(announce))


class Watching(_Talking):
    """Keeps an eye on contacts; `on_sightings` hears who has come, gone, or got out of sight."""

    TABLE = WATCHING

    def __init__(
        self,
        domain: DomainName,
        contacts: Callable[[], Contacts],
        way: Way,
        on_sightings: OnSightings,
        *,
        clock: Clock = time.time,
    ) -> None:
        """`contacts` is asked again and again, in a thread: by domain, contacts and their presence keys."""
        super().__init__(domain, way, clock)
        self._contacts = contacts
        self._on_sightings = on_sightings
        self._sightings = Sightings(domain)
        self._watched: set[DomainName] = set()
        self._asked: dict[DomainName, float] = {}
        self._again: dict[DomainName, float] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """See _Talking; what is known ends with time also while there is no connection."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._age)
            await super().run(task_status=task_status)
        raise AssertionError("runs until cancelled")

    async def _age(self) -> None:
        while True:
            await trio.sleep(limits_presence.HOME_LOOK)
            self._sightings.tick(self._clock())
            self._report()

    async def _begin(self, say: Callable[[Say], Awaitable[None]]) -> None:
        self._watched, self._asked, self._again = set(), {}, {}
        self._sightings.connected()
        await self._go_on(say)

    async def _go_on(self, say: Callable[[Say], Awaitable[None]]) -> None:
        self._sightings.look_for(await trio.to_thread.run_sync(self._contacts))
        wanted = set(self._sightings.domains)
        left, self._watched = self._watched - wanted, wanted
        for domain in sorted(left):
            self._asked.pop(domain, None)
            await say(Say(Unwatch(domain=domain)))
        now = trio.current_time()
        for domain in sorted(wanted):
            if domain not in self._asked or self._again.get(domain, math.inf) <= now:
                self._asked[domain] = now
                self._again.pop(domain, None)
                await say(Say(Watch(domain=domain)))
        self._report()

    def _hear(self, message: Shown | Unwatch) -> None:
        domain, now = message.domain, trio.current_time()
        if isinstance(message, Unwatch):
            self._sightings.refused(domain, f"{message.text} ({message.code.name})")
            self._again[domain] = now + limits_presence.WATCH_AGAIN
        elif not self._sightings.shown(domain, message.message, self._clock()):
            self._again.setdefault(domain, self._asked.get(domain, now) + limits_presence.WATCH_AGAIN)
        self._report()

    def _lost(self) -> None:
        self._sightings.lost(self._clock())

    def _report(self) -> None:
        events = self._sightings.events()
        if events:
            self._on_sightings(events)


class HandingOut:
    """Gives contacts our presence key, as long as somebody has not got the one of now. Best effort, again and again."""

    def __init__(self, home: DeviceHome, way: Way, *, clock: Clock = time.time) -> None:
        self._home = home
        self._way = way
        self._clock = clock
        self._not_before: dict[tuple[Fingerprint, int], float] = {}

    async def run(self) -> NoReturn:
        """Until cancelled."""
        while True:
            await self.hand_out()
            await trio.sleep(limits_presence.HOME_LOOK)

    async def hand_out(self) -> None:
        """One round: whoever is owed the key and was not tried lately."""
        while (found := await trio.to_thread.run_sync(self._next)) is not None:
            book, card = found
            if await self._give(book, card):
                await trio.to_thread.run_sync(self._note, card.identity, book.serial)

    def _next(self) -> tuple[PresenceBook, Card] | None:
        """Whose turn it is, and the keys as they are now.

        The keys are read before the contacts, and both anew for each: who is removed meanwhile gets no newer key.
        """
        book, now = _unchanged(self._home, self._clock()), self._clock()
        for card in book.owed(self._home.contacts(), now):
            if self._not_before.get((card.identity, book.serial), 0.0) <= now:
                self._not_before[card.identity, book.serial] = now + limits_presence.HAND_OVER_RETRY
                return book, card
        return None

    async def _give(self, book: PresenceBook, card: Card) -> bool:
        """Whether this contact's homeserver has the key, as far as we know."""
        keys, now = self._home.keys, self._clock()
        content = Content(sent_at=int(now), presence=book.handed(card.identity), reply=keys.card())
        known = book.person(card.identity).told  # then there is a mailbox, and no refusal to wait for
        try:
            sent = await send(
                keys,
                self._way,
                card,
                content,
                urgency=EnvelopeClass.BULK,
                lifetime=_LIFETIME,
                linger=0.0 if known else limits_presence.HAND_OVER_LINGER,
                clock=self._clock,
            )
        except (RemoteError, BadMessage, DiscoveryError, trio.TooSlowError):
            return False
        return sent.accepted

    def _note(self, identity: Fingerprint, serial: int) -> None:
        now = self._clock()
        self._home.change_presence(lambda book: book.with_told(identity, serial, now), os.urandom, now)


def take_key(home: DeviceHome, message: InboxMessage, now: float) -> bool:
    """Keep the presence key that `message` hands over, if it is from a contact; whether that was news. Blocks."""
    handed, sender = message.content.presence, message.sender
    if handed is None or home.contacts().sender(sender) is None:  # [presence-3]
        return False
    before = home.presence()
    after = home.change_presence(lambda book: book.received(sender, handed), os.urandom, now)
    return before is None or before.person(sender).key != after.person(sender).key


def _unchanged(home: DeviceHome, now: float) -> PresenceBook:
    """The keys as they are to be: made if need be, and replaced if somebody was removed."""
    return home.change_presence(lambda book: book, os.urandom, now)


def _jitter() -> float:
    return random.uniform(*limits.BACKOFF_JITTER)  # noqa: S311 - spreads load
