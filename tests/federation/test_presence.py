"""Presence from device to device: three domains that trust each other differently, scopes, keys in sealed envelopes."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio

from tests.daemon.test_device_presence import exchange, introduce, of
from tests.federation.harness import PATIENCE, A, B, C, Federation, federation
from volly_fed.client.inbox import InboxMessage
from volly_fed.client.sightings import Presence, Sighting
from volly_fed.daemon.device.presence import Announcing, HandingOut, Watching, take_key
from volly_fed.testnet.devices import Device
from volly_fed.testnet.sites import mixed_levels

pytestmark = pytest.mark.real
ONLINE, OFFLINE = Presence.ONLINE, Presence.OFFLINE


@attrs.define
class Sight:
    """What one device says of its contacts."""

    now: dict[bytes, Presence] = attrs.field(factory=dict)
    changed: trio.Event = attrs.field(factory=trio.Event)

    def __call__(self, sightings: list[Sighting]) -> None:
        self.now |= {sighting.identity: sighting.presence for sighting in sightings}
        self.changed.set()
        self.changed = trio.Event()

    async def wait(self, whom: Device, presence: Presence) -> None:
        with trio.move_on_after(PATIENCE):
            while self.now.get(whom.keys.fingerprint) is not presence:
                await self.changed.wait()
            return
        raise AssertionError(f"not {presence}, but {self.now.get(whom.keys.fingerprint)}")


def know_each_other(*devices: Device) -> None:
    """All are contacts, and have each other's presence keys."""
    introduce(*(device.home for device in devices))
    for device in devices:
        for other in devices:
            if other is not device:
                exchange(device.home, other.home)


async def watch(nursery: trio.Nursery, device: Device, *whom: Device) -> Sight:
    sight = Sight()
    contacts = of(device.home, *(other.home for other in whom))
    await nursery.start(Watching(device.keys.domain, contacts, device.way, sight).run)
    return sight


@asynccontextmanager
async def online(device: Device, *scopes: str) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        await nursery.start(Announcing(device.home, scopes or ("*",), device.way).run)
        yield
        nursery.cancel_scope.cancel()


def cast(net: Federation) -> tuple[Device, Device, Device, Device]:
    """Two of a.test, one each of b.test and c.test, who know each other."""
    devices = net.device(A, "alice"), net.device(A, "anna"), net.device(B, "bob"), net.device(C, "carol")
    know_each_other(*devices)
    return devices


async def test_levels_and_scopes_decide_who_sees_whom(tmp_path: Path) -> None:
    """a and b trust each other fully, a and c know each other's metadata, b and c want nothing of each other."""
    async with federation(tmp_path, servers=3, levels=mixed_levels([A, B, C])) as net, trio.open_nursery() as nursery:
        alice, anna, bob, carol = cast(net)
        annas = await watch(nursery, anna, alice, bob, carol)
        bobs = await watch(nursery, bob, alice, carol)
        carols = await watch(nursery, carol, alice, bob)
        for sight in (annas, bobs, carols):
            await sight.wait(alice, OFFLINE)
        async with online(alice), online(bob), online(carol):
            for sight in (annas, bobs, carols):
                await sight.wait(alice, ONLINE)
            await annas.wait(bob, ONLINE)
            await annas.wait(carol, ONLINE)
        for sight in (annas, bobs, carols):
            await sight.wait(alice, OFFLINE)
        async with online(alice, B):
            await bobs.wait(alice, ONLINE)
            assert annas.now[alice.keys.fingerprint] is carols.now[alice.keys.fingerprint] is OFFLINE
        async with online(alice, A, C):
            await annas.wait(alice, ONLINE)
            await carols.wait(alice, ONLINE)
            await bobs.wait(alice, OFFLINE)
        await bobs.wait(carol, Presence.UNKNOWN)  # level none: nothing is known, whoever is online
        await carols.wait(bob, Presence.UNKNOWN)
        nursery.cancel_scope.cancel()


async def test_presence_comes_back_after_an_edge_and_a_homeserver_were_killed(tmp_path: Path) -> None:
    async with federation(tmp_path) as net, trio.open_nursery() as nursery:
        alice, bob = net.device(A, "alice"), net.device(B, "bob")
        know_each_other(alice, bob)
        bobs = await watch(nursery, bob, alice)
        async with online(alice):
            await bobs.wait(alice, ONLINE)
            for domain in (A, B):
                await net.homeserver(domain).kill()
                await net.network.start_homeserver(domain)
                await net.edge(domain).kill()
                await net.network.start_edge(domain, net.site(domain).edges[0].name)
            await bobs.wait(alice, ONLINE)
        await bobs.wait(alice, OFFLINE)
        nursery.cancel_scope.cancel()


async def test_the_key_travels_sealed_from_one_domain_to_the_other(tmp_path: Path) -> None:
    async with federation(tmp_path) as net, trio.open_nursery() as nursery:
        alice, bob = net.device(A, "alice"), net.device(B, "bob")
        introduce(alice.home, bob.home)
        bob.home.change_presence(lambda book: book, os.urandom, time.time())
        came = trio.Event()

        def heard(message: InboxMessage, _at: float) -> None:
            if take_key(bob.home, message, time.time()):
                came.set()

        await nursery.start(partial(bob.listen, heard))
        bobs = await watch(nursery, bob, alice)
        nursery.start_soon(HandingOut(alice.home, alice.way).run)
        with trio.fail_after(PATIENCE):
            await came.wait()
        async with online(alice):
            await bobs.wait(alice, ONLINE)
        await bobs.wait(alice, OFFLINE)
        nursery.cancel_scope.cancel()
