"""The demo's figures about presence: how long until a change is seen, and how many bytes a tick has.

in: devices of two domains; out: milliseconds, bytes.
What is measured is what a change costs: so few come, and so regularly, that no limit delays them, neither that of a
peer's filter (bounds.PROMPTS_PER_TICK) nor that of a connection (limits_presence.ANNOUNCE_BURST): users take turns.
Never: leaves out a change; one that is not seen is an error.
"""

import os
import time

import attrs
import trio

from volly_fed.client.conversation import Dead, Welcomed
from volly_fed.client.presence import announcement
from volly_fed.client.sightings import Presence, Sighting
from volly_fed.client.talk import ANNOUNCING, WATCHING, Heard, Say, Talk
from volly_fed.crypto.secret import Secret
from volly_fed.daemon.device.link import wait_message, with_socket
from volly_fed.daemon.device.presence import Watching
from volly_fed.daemon.websocket import Socket
from volly_fed.errors import LocalError
from volly_fed.names import DomainName, Fingerprint
from volly_fed.presence import bounds, epoch_of
from volly_fed.presence.tags import KEY_BYTES
from volly_fed.testnet.devices import Device
from volly_fed.trust.gates import EVERYBODY
from volly_fed.wire import parse_message
from volly_fed.wire.presence import PresenceDelta, Retract, Shown, Watch

USERS = 8
CHANGES = 12
"""Of each user: six times online and six times offline, at most three messages for both."""
PAUSE = 1.1 * bounds.TICK / bounds.PROMPTS_PER_TICK
SEEN_WITHIN = 10.0
_SPARE = 4
"""More users than are needed: one in 880 looks online by chance, and its coming could not be seen."""


async def changes_ms(coming: Device, watching: Device) -> list[float]:
    """Users of `coming`'s domain come and go, one after the other, and the device `watching` looks for them.

    From just before the message is handed to the WebSocket until the watching device says that it is so. Each user has
    a presence key of its own, which the watching device has, and a connection to the edge that `coming` uses.
    """
    keys = {Fingerprint(os.urandom(32)): Secret(os.urandom(KEY_BYTES)) for _ in range(USERS + _SPARE)}
    sight, samples = _Sight(), list[float]()
    home = coming.keys.domain
    async with trio.open_nursery() as nursery:
        watch = Watching(watching.keys.domain, lambda: {home: keys}, watching.way, sight)
        await nursery.start(watch.run)
        away = await sight.wait_away(len(keys))
        for identity in away[:USERS]:
            user = _User(home, identity, keys[identity], sight, samples)
            await with_socket(coming.way, user.come_and_go)
        nursery.cancel_scope.cancel()
    return samples


@attrs.define
class _Sight:
    """What the watching device says, and when it said so."""

    now: dict[Fingerprint, tuple[Presence, float]] = attrs.field(factory=dict)
    changed: trio.Event = attrs.field(factory=trio.Event)

    def __call__(self, sightings: list[Sighting]) -> None:
        at = trio.current_time()
        self.now |= {sighting.identity: (sighting.presence, at) for sighting in sightings}
        self.changed.set()
        self.changed = trio.Event()

    async def wait(self, identity: Fingerprint, presence: Presence) -> float:
        """When it was so."""
        with trio.move_on_after(SEEN_WITHIN):
            while self.now[identity][0] is not presence:
                await self.changed.wait()
            return self.now[identity][1]
        raise LocalError(f"a user who is {presence} was not seen to be so within {SEEN_WITHIN:.0f} s")

    async def wait_away(self, users: int) -> list[Fingerprint]:
        """Who is offline, once the domain's filter has come."""
        with trio.move_on_after(SEEN_WITHIN):
            while len(self.now) < users or Presence.UNKNOWN in {presence for presence, _ in self.now.values()}:
                await self.changed.wait()
            return [identity for identity, (presence, _) in self.now.items() if presence is Presence.OFFLINE]
        raise LocalError(f"a domain did not show who is online within {SEEN_WITHIN:.0f} s")


@attrs.frozen
class _User:
    """One user, and the connection on which it comes and goes."""

    domain: DomainName
    identity: Fingerprint
    key: Secret
    sight: _Sight
    samples: list[float]

    async def come_and_go(self, socket: Socket, _: trio.Nursery) -> None:
        talk = Talk(ANNOUNCING, self.domain, trio.current_time())
        await _greeted(socket, talk)
        for _number in range(CHANGES // 2):
            online = [talk.send(Say(announcement(self.key, epoch, [EVERYBODY]))) for epoch in _epochs()]
            await self._change(socket, online, Presence.ONLINE)
            await self._change(socket, [talk.send(Say(Retract()))], Presence.OFFLINE)

    async def _change(self, socket: Socket, messages: list[bytes], wanted: Presence) -> None:
        await trio.sleep(PAUSE)
        began = trio.current_time()
        for message in messages:
            await socket.send(message)
        self.samples.append((await self.sight.wait(self.identity, wanted) - began) * 1000)


async def tick_bytes(watching: Device, domain: DomainName, ticks: int) -> list[int]:
    """The size of what `domain` tells the device `watching` in each of so many ticks: whole messages, as encoded."""
    sizes: list[int] = []

    async def listen(socket: Socket, _: trio.Nursery) -> None:
        talk = Talk(WATCHING, watching.keys.domain, trio.current_time())
        await _greeted(socket, talk)
        await socket.send(talk.send(Say(Watch(domain=domain))))
        while len(sizes) < ticks:
            await wait_message(socket, talk)
            shown = [event.message for event in talk.events() if isinstance(event, Heard)]
            encoded = [message.message for message in shown if isinstance(message, Shown)]
            sizes.extend(len(data) for data in encoded if isinstance(parse_message(data), PresenceDelta))

    with trio.move_on_after(ticks * bounds.TICK + SEEN_WITHIN):
        await with_socket(watching.way, listen)
        return sizes
    raise LocalError(f"{domain} was silent for whole ticks")


async def _greeted(socket: Socket, talk: Talk) -> None:
    while not any(isinstance(event, Welcomed | Dead) for event in talk.events()):
        await wait_message(socket, talk)


def _epochs() -> list[int]:
    """Where one ends, a peer may still be shown the last one, or the next already."""
    now = time.time()
    return sorted({epoch_of(now - bounds.EPOCH_GRACE), epoch_of(now + bounds.EPOCH_GRACE)})
