"""Every level, in either direction, by every scope: who is seen, on real servers, and how soon if ticks are waited for.

Five domains have ten pairs, and two levels ten combinations: one federation has all sixteen pairs of "what I show you"
and "what you hear". That somebody is not seen is said of a filter in which somebody is who came later. One in 880 who
are away looks online by chance, so everybody here is twins: seen is who is seen twice.
"""

import os
import time
from collections.abc import Mapping
from functools import partial
from itertools import combinations, combinations_with_replacement
from pathlib import Path

import attrs
import pytest
import trio

from tests.federation.harness import PATIENCE, Federation, federation
from volly_fed.client.sightings import Presence, Sighting
from volly_fed.codepoints import TrustLevel
from volly_fed.crypto.secret import Secret
from volly_fed.daemon.device.presence import Announcing, Contacts, Watching
from volly_fed.names import DomainName, Fingerprint
from volly_fed.presence import bounds
from volly_fed.testnet.devices import Device
from volly_fed.testnet.sites import domain_name
from volly_fed.trust.gates import EVERYBODY

pytestmark = [pytest.mark.real, pytest.mark.slow]
FULL, SELECTIVE, METADATA, NONE = TrustLevel
DOMAINS = [domain_name(number) for number in range(5)]
MARGIN = 1.5
"""Seconds beyond a tick: a machine with two processors runs ten servers, and other tests."""
Levels = dict[DomainName, dict[DomainName, TrustLevel]]


def all_pairs() -> Levels:
    """How far each domain trusts each other one."""
    levels: Levels = {domain: {} for domain in DOMAINS}
    for (one, other), (level, back) in zip(
        combinations(DOMAINS, 2), combinations_with_replacement(TrustLevel, 2), strict=True
    ):
        levels[one][other], levels[other][one] = level, back
    return levels


def may_see(levels: Levels, watcher: DomainName, home: DomainName, scopes: tuple[str, ...]) -> bool:
    """What the documents say, not what the code does: docs/architecture.md, "Trust levels"."""
    if watcher == home:
        return EVERYBODY in scopes or home in scopes
    shown, heard = levels[home][watcher], levels[watcher][home]
    if NONE in (shown, heard):
        return False
    return watcher in scopes or (EVERYBODY in scopes and shown is not SELECTIVE)


@attrs.frozen(eq=False)
class Twins:
    """Two devices that do the same."""

    home: DomainName
    scopes: tuple[str, ...]
    devices: tuple[Device, Device]
    keys: dict[Fingerprint, Secret]
    """Their presence keys, as their contacts have them."""

    @classmethod
    def create(cls, net: Federation, home: DomainName, name: str, *scopes: str) -> "Twins":
        one, other = (net.device(home, f"{home}-{name}-{number}") for number in range(2))
        return cls(home, scopes, (one, other), {twin.keys.fingerprint: presence_key(twin) for twin in (one, other)})

    async def announce(self, *, task_status: trio.TaskStatus[None]) -> None:
        """Online until cancelled; started when the edge has been told so."""
        async with trio.open_nursery() as nursery:
            for device in self.devices:
                await nursery.start(Announcing(device.home, self.scopes, device.way).run)
            task_status.started()


def presence_key(device: Device) -> Secret:
    return device.home.change_presence(lambda book: book, os.urandom, time.time()).key


@attrs.define(eq=False)
class Eye:
    """What a device says of all twins."""

    domain: DomainName
    now: dict[Fingerprint, Sighting] = attrs.field(factory=dict)
    changed: trio.Event = attrs.field(factory=trio.Event)

    def __call__(self, sightings: list[Sighting]) -> None:
        self.now |= {sighting.identity: sighting for sighting in sightings}
        self.changed.set()
        self.changed = trio.Event()

    def sees(self, twins: Twins) -> Presence:
        seen = {self.now[identity].presence for identity in twins.keys if identity in self.now}
        if not seen or Presence.UNKNOWN in seen:
            return Presence.UNKNOWN
        return Presence.ONLINE if seen == {Presence.ONLINE} else Presence.OFFLINE

    async def wait(self, twins: Twins, presence: Presence) -> None:
        with trio.move_on_after(PATIENCE):
            while self.sees(twins) is not presence:
                await self.changed.wait()
            return
        raise AssertionError(f"{self.domain}: {twins.home} {twins.scopes} not {presence}, but {self.sees(twins)}")

    async def wait_refused(self, twins: Twins) -> None:
        """Until the homeserver has said that nothing of their domain is to be had."""
        with trio.move_on_after(PATIENCE):
            while not all("POLICY" in self.reason(identity) for identity in twins.keys):
                await self.changed.wait()
            return
        raise AssertionError(f"{self.domain} was not refused what {twins.home} shows")

    def reason(self, identity: Fingerprint) -> str:
        return self.now[identity].reason if identity in self.now else ""


def people_of(net: Federation, home: DomainName) -> dict[str, Twins]:
    """Every scope: everybody, our own domain, and each other domain, which for the rest of them is another domain.

    Everybody is seen somewhere, at home at least: so it is known when an announcement has arrived.
    """
    peers = [domain for domain in DOMAINS if domain != home]
    make = partial(Twins.create, net, home)
    return {
        "everybody": make("everybody", EVERYBODY),
        "own": make("own", home),
        "some": make("some", home, *peers[::2]),
        "others": make("others", home, *peers[1::2]),
        "control": make("control", EVERYBODY, *DOMAINS),
        "walking": make("walking", EVERYBODY, *DOMAINS),
    }


async def test_all_levels_both_ways_by_all_scopes_and_ticks_on_time(tmp_path: Path) -> None:
    levels = all_pairs()
    assert {(levels[one][other], levels[other][one]) for one in DOMAINS for other in levels[one]} == {
        (level, back) for level in TrustLevel for back in TrustLevel
    }
    async with federation(tmp_path, servers=5, levels=levels) as net, trio.open_nursery() as nursery:
        people = {home: people_of(net, home) for home in DOMAINS}
        contacts = {
            home: {i: key for twins in people[home].values() for i, key in twins.keys.items()} for home in DOMAINS
        }
        eyes = [await watch(net, nursery, domain, contacts) for domain in DOMAINS]
        tested = [
            twins for home in DOMAINS for name, twins in people[home].items() if name not in ("control", "walking")
        ]
        for twins in tested:
            await nursery.start(twins.announce)
        for twins in tested:
            for eye in eyes:
                if may_see(levels, eye.domain, twins.home, twins.scopes):
                    await eye.wait(twins, Presence.ONLINE)
        for home in DOMAINS:
            await nursery.start(people[home]["control"].announce)
        for eye in eyes:
            for home in DOMAINS:
                await last_word(eye, people[home]["control"], levels)
                seen = {
                    "control",
                    *(name for name in people[home] if eye.sees(people[home][name]) is Presence.ONLINE),
                }
                expected = {"control"} | {
                    name
                    for name, twins in people[home].items()
                    if name != "walking" and may_see(levels, eye.domain, home, twins.scopes)
                }
                assert seen == expected, (eye.domain, home, levels[home].get(eye.domain))
        for level in (SELECTIVE, METADATA):
            await ticks_are_on_time(level, levels, people, eyes)
        nursery.cancel_scope.cancel()


async def watch(
    net: Federation, nursery: trio.Nursery, domain: DomainName, contacts: Mapping[DomainName, dict[Fingerprint, Secret]]
) -> Eye:
    def everybody() -> Contacts:
        return contacts

    eye = Eye(domain)
    await nursery.start(Watching(domain, everybody, net.device(domain, f"{domain}-eye").way, eye).run)
    return eye


async def last_word(eye: Eye, control: Twins, levels: Levels) -> None:
    """Until `eye` has seen whoever came last, or knows that it will not."""
    if may_see(levels, eye.domain, control.home, control.scopes):
        await eye.wait(control, Presence.ONLINE)
    else:
        await eye.wait_refused(control)
        assert eye.sees(control) is Presence.UNKNOWN


async def ticks_are_on_time(
    level: TrustLevel, levels: Levels, people: dict[DomainName, dict[str, Twins]], eyes: list[Eye]
) -> None:
    """A peer on this level is told tick by tick."""
    eye, twins = next(
        (eye, people[home]["walking"])
        for eye in eyes
        for home in DOMAINS
        if home != eye.domain and levels[home][eye.domain] is level and levels[eye.domain][home] is not NONE
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(twins.announce)
        began = trio.current_time()
        await eye.wait(twins, Presence.ONLINE)
        assert trio.current_time() - began <= bounds.TICK + MARGIN
        began = trio.current_time()
        nursery.cancel_scope.cancel()
    await eye.wait(twins, Presence.OFFLINE)
    assert trio.current_time() - began <= bounds.TICK + MARGIN
