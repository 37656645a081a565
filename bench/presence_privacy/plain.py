"""The same attacks where presence is an unkeyed pybloom_live filter of user names, a whole one with each tick.

They must succeed: what finds nothing here would prove nothing elsewhere.
"""

import attrs
import numpy as np
from bitarray import bitarray
from numpy.typing import NDArray
from pybloom_live import BloomFilter

from bench.presence_privacy.chance import Estimate, correlation, share
from bench.presence_privacy.world import World
from volly_fed.presence import bounds
from volly_fed.presence.placement import Positions

_RATE = 0.001


@attrs.frozen
class Plain:
    """What is learnt."""

    online: Estimate
    """Of those online: found."""
    false: Estimate
    """Of the others: taken for online."""
    joiners: Estimate
    """Of those who come: named with the tick that they come with."""
    linked: Estimate
    """Of those who come again in a later epoch: recognised, which is to be named both times."""
    population: Estimate
    """Estimated from popcount, against the truth."""


def attack(world: World) -> Plain:
    """The whole day, for users who are nobody's contacts."""
    hashes = BloomFilter(len(world.names), _RATE)
    width = hashes.bits_per_slice
    places = np.array([[n * width + p for n, p in enumerate(hashes.make_hashes(name))] for name in world.names])
    unknown = ~world.contact
    online, former = set(world.online_first), bitarray(hashes.num_bits)
    right = wrong = there = absent = came = named = again = linked = 0
    last: dict[int, tuple[int, bool]] = {}
    ones, truth = [], []
    at, now = 0, world.begin
    while at < len(world.changes):
        joined: set[int] = set()
        while at < len(world.changes) and world.changes[at][0] <= now:
            _, user, comes = world.changes[at]
            (online.add if comes else online.discard)(user)
            (joined.add if comes else joined.discard)(user)
            at += 1
        shown = _filter(world, online)
        found = _test(shown, places) & unknown
        fresh = found & ~_test(former, places)
        former = shown
        is_online = np.zeros(len(unknown), dtype=np.bool_)
        is_online[list(online)] = True
        right, there = right + int((found & is_online).sum()), there + int((unknown & is_online).sum())
        wrong, absent = wrong + int((found & ~is_online).sum()), absent + int((unknown & ~is_online).sum())
        for user in joined:
            if not unknown[user]:
                continue
            came, named = came + 1, named + bool(fresh[user])
            epoch = int(now // bounds.EPOCH)
            if user in last and last[user][0] != epoch:
                again, linked = again + 1, linked + (last[user][1] and bool(fresh[user]))
            last[user] = (epoch, bool(fresh[user]))
        ones.append(float(shown.count()))
        truth.append(float(len(online)))
        if at < len(world.changes):  # until something changes every tick's filter is the same
            now += max(1, int(np.ceil((world.changes[at][0] - now) / bounds.TICK))) * bounds.TICK
    filled = np.array(ones) / hashes.num_bits
    estimated = -np.log1p(-filled) * width
    return Plain(
        online=share(right, there),
        false=share(wrong, absent),
        joiners=share(named, came),
        linked=share(linked, again),
        population=correlation(estimated, np.array(truth)),
    )


def _filter(world: World, online: set[int]) -> bitarray:
    bloom = BloomFilter(len(world.names), _RATE)
    for user in online:
        bloom.add(world.names[user], skip_check=True)
    bits: bitarray = bloom.bitarray
    return bits


def _test(bits: bitarray, places: Positions) -> NDArray[np.bool_]:
    """Which names are in it."""
    unpacked = np.unpackbits(np.frombuffer(bits.tobytes(), dtype=np.uint8), bitorder="little")
    found: NDArray[np.bool_] = np.all(unpacked[places], axis=1)
    return found
