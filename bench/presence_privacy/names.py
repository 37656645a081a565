"""Attacks on names: who is in a filter, who has come with a delta, and who is the same as in another epoch.

in: a world, of which only names, habits and the keys of contacts are the attacker's, and what a peer has seen of it.
out: figures, each an advantage over guessing; the truth is used to count, and by nothing else.
"""

import hashlib
from bisect import bisect_left
from collections.abc import Iterator

import attrs
import numpy as np
from numpy.typing import NDArray

from bench.presence_privacy.chance import Estimate, share
from bench.presence_privacy.seen import Epoch, Peer, Step
from bench.presence_privacy.world import SCOPE, Chance, World
from volly_fed.crypto.secret import Secret
from volly_fed.presence import bounds
from volly_fed.presence.placement import Positions, locate_all
from volly_fed.presence.tags import TAG_BYTES, presence_tag

_SLACK = 0.01


def guesses(name: str, epoch: int) -> list[bytes]:
    """What somebody's tag would be if names were enough to make it: plainly, or through a key made of the name."""
    digest = hashlib.sha256(name.encode()).digest()
    padded = name.encode().ljust(len(digest), b"\0")
    return [digest[:TAG_BYTES], *(presence_tag(Secret(key), epoch, SCOPE) for key in (digest, padded))]


def guessed(world: World, users: NDArray[np.int64], epoch: Epoch) -> Positions:
    """Where all guesses would be: by user, guess, slice."""
    tags = [tag for user in users.tolist() for tag in guesses(world.names[user], epoch.number)]
    placement = epoch.first.placement
    places = locate_all(placement.encrypt(tags), placement.width)
    return places.reshape(bounds.SLICES, len(users), -1).transpose(1, 2, 0)


def dictionary(world: World, peer: Peer) -> tuple[Estimate, Estimate]:
    """All names against all filters: how often those online are hit, and others, beyond false positives."""
    users = np.flatnonzero(~world.contact)
    hits, tries, expected = np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.int64), np.zeros(2)
    for (_, online, _), epoch in zip(world.by_epoch(), peer.epochs, strict=True):
        data = np.frombuffer(epoch.first.to_bytes(), dtype=np.uint8)
        bits = np.unpackbits(data, bitorder="little")
        found: NDArray[np.bool_] = np.all(bits[guessed(world, users, epoch)], axis=2)
        false = bits.reshape(bounds.SLICES, -1).mean(axis=1).prod()
        there = np.isin(users, list(online))
        for kind, chosen in enumerate((there, ~there)):
            hits[kind] += int(found[chosen].sum())
            tries[kind] += found[chosen].size
            expected[kind] += found[chosen].size * false
    online_hits, others = (share(int(hits[n]), int(tries[n])).minus(expected[n] / tries[n]) for n in (0, 1))
    return online_hits, others


@attrs.frozen(eq=False)
class Joiner:
    """Somebody unknown comes, and this is the delta that says so."""

    user: int
    at: int
    epoch: Epoch
    step: Step


def joiners(world: World, peer: Peer) -> Iterator[Joiner]:
    """All of them, in order; what comes too late in an epoch for a delta is left out."""
    for (_, _, changes), epoch in zip(world.by_epoch(), peer.epochs, strict=True):
        times = [step.when for step in epoch.steps]
        for when, user, comes in changes:
            at = bisect_left(times, when)
            if comes and not world.contact[user] and at < len(times):
                yield Joiner(user, at, epoch, epoch.steps[at])


def named(world: World, peer: Peer, chance: Chance) -> Estimate:
    """Who of two has come, by the bits that rose: more often right than a coin?"""
    users = np.flatnonzero(~world.contact)
    row = {user: at for at, user in enumerate(users.tolist())}
    places: dict[int, Positions] = {}
    right = tries = 0
    for joiner in joiners(world, peer):
        if joiner.epoch.number not in places:
            places = {joiner.epoch.number: guessed(world, users, joiner.epoch)}
        other = int(chance.choice(users))
        if other == joiner.user:
            continue
        rose = [
            int(np.isin(places[joiner.epoch.number][row[user]], joiner.step.risen).sum(axis=1).max())
            for user in (joiner.user, other)
        ]
        right += _better(rose[0], rose[1], chance)
        tries += 1
    return share(right, tries).minus(0.5)


def linked(world: World, peer: Peer, weights: NDArray[np.float64] | None, chance: Chance) -> tuple[Estimate, Estimate]:
    """Of two who come in a later epoch, which one is the same as one who came before: by bits, by length of stay.

    `weights`: how sure it is that a visit was a user's, for each of peer.epochs[...].visits in order.
    """
    stays = _stays(peer, weights)
    last: dict[int, Joiner] = {}
    pool: list[Joiner] = []
    right, tries = [0, 0], 0
    for joiner in joiners(world, peer):
        if pool and pool[0].epoch is not joiner.epoch:
            pool = []
        former = last.get(joiner.user)
        others = [other for other in pool if other.user != joiner.user]
        if former is not None and former.epoch is not joiner.epoch and others:
            other = others[int(chance.integers(len(others)))]
            by_bits = [_alike(former, each) for each in (joiner, other)]
            by_stay = [_as_long(former, each, stays) for each in (joiner, other)]
            right[0] += _better(by_bits[0], by_bits[1], chance)
            right[1] += _better(by_stay[0], by_stay[1], chance)
            tries += 1
        last[joiner.user] = joiner
        pool.append(joiner)
    bits, stay = (share(number, tries).minus(0.5) for number in right)
    return bits, stay


def contacts(world: World, peer: Peer) -> tuple[Estimate, Estimate]:
    """Those whose keys it has: who of them is online when an epoch begins, and when they come and go."""
    there = right = moments = dated = 0
    for (_, online, changes), epoch in zip(world.by_epoch(), peer.epochs, strict=True):
        first = {user for when, user, comes in epoch.known if comes and when == epoch.known[0][0]}
        for user in np.flatnonzero(world.contact).tolist():
            there += 1
            right += (user in first) == (user in online)
        seen = [(when, user, comes) for when, user, comes in epoch.known if when > epoch.began]
        for when, user, comes in changes:
            if world.contact[user] and when < epoch.steps[-1].when:
                moments += 1
                late = [t - when for t, u, c in seen if u == user and c == comes and t >= when]
                dated += bool(late) and min(late) <= bounds.TICK + _SLACK
    return share(right, there), share(dated, moments)


def _better(one: float, other: float, chance: Chance) -> bool:
    return one > other or (one == other and bool(chance.integers(2)))


def _alike(one: Joiner, other: Joiner) -> float:
    """How many of the places that rise are the same, in proportion."""
    common = len(np.intersect1d(one.step.risen, other.step.risen, assume_unique=True))
    return common / max(1, min(len(one.step.risen), len(other.step.risen)))


def _stays(peer: Peer, weights: NDArray[np.float64] | None) -> dict[tuple[int, float], float]:
    """(epoch, when) -> how long the likeliest user who came with that step stayed."""
    visits = [(epoch.number, came, went) for epoch in peer.epochs for came, went in epoch.visits]
    sure = np.ones(len(visits)) if weights is None else weights
    found: dict[tuple[int, float], float] = {}
    for (number, came, went), weight in sorted(zip(visits, sure.tolist(), strict=True), key=lambda pair: pair[1]):
        if weight > 0:
            found[number, came] = went - came
    return found


def _as_long(one: Joiner, other: Joiner, stays: dict[tuple[int, float], float]) -> float:
    """The more alike the more; where nothing is seen of both, that both are seen or both are not says something too."""
    lengths = [stays.get((each.epoch.number, each.step.when)) for each in (one, other)]
    if lengths[0] is None or lengths[1] is None:
        return -2.0 if lengths[0] is lengths[1] else -4.0
    return -abs(float(np.log(lengths[0] / lengths[1])))
