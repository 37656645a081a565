"""Attacks on numbers: how many users are online, from everything that is seen of an epoch but names and moments.

in: what a peer has seen, and a day of another world that the attacker has made itself to learn from: it knows the
program. out: correlations with the truth. Within a class they must be none.
"""

from collections.abc import Sequence

import numpy as np

from bench.presence_privacy.chance import Estimate, Floats, correlation, fit
from bench.presence_privacy.seen import AWAY_FROM, AWAY_TO, Epoch, Peer, connect, pump
from bench.presence_privacy.world import FIRST_EPOCH, Chance, World
from volly_fed.codepoints import FilterClass
from volly_fed.presence import Pace, Show, bounds
from volly_fed.presence.shown import Shown
from volly_fed.presence.tags import TAG_BYTES

_LONG = 1200.0
"""Seconds: visits this long are few users' and may be dummies that have had their time."""
_LARGEST = int(bounds.ROOM * bounds.CAPACITY[FilterClass.TAGS_4K])


def features(epoch: Epoch) -> list[float]:
    """Everything that could depend on how many there are."""
    risen = np.array([len(step.risen) for step in epoch.steps] or [0], dtype=float)
    fallen = np.array([step.fallen for step in epoch.steps] or [0], dtype=float)
    old = np.array([step.fallen_old for step in epoch.steps] or [0], dtype=float)
    sizes = np.array([step.size for step in epoch.steps] or [0], dtype=float)
    stays = np.array([went - came for came, went in epoch.visits] or [bounds.EPOCH], dtype=float)
    third = len(old) // 3
    return [
        float(epoch.first.ones),
        float((risen - fallen).sum()),
        float(np.cumsum(risen - fallen).mean()),
        float((risen + fallen).sum()),
        float(sizes.sum()),
        float(sizes.max()),
        float(len(epoch.visits)),
        float(np.median(stays)),
        float((stays > _LONG).sum()),
        epoch.lasting,
        float(old[-third:].sum()),
        float(np.percentile((risen + fallen), 99)),
    ]


def population(online: Floats, seen: Sequence[Epoch], other_online: Floats, other_seen: Sequence[Epoch]) -> Estimate:
    """What a fit to the other day makes of this one, against the truth."""
    rows, others = np.array([features(e) for e in seen]), np.array([features(e) for e in other_seen])
    return correlation(fit(others, other_online, rows), online)


def online_at_first(world: World) -> Floats:
    """When each epoch begins."""
    return np.array([len(online) for _, online, _ in world.by_epoch()], dtype=float)


def popcounts(number: int, chance: Chance) -> Estimate:
    """Filters of one class with any number of users that it may have: bits set against users."""
    users = chance.integers(0, _LARGEST + 1, number)
    ones = [int.from_bytes(Shown.draw(1, tags(n, chance), None, chance.bytes).bits).bit_count() for n in users.tolist()]
    return correlation(np.array(ones, dtype=float), users.astype(float))


def crowds(number: int, chance: Chance) -> tuple[Floats, list[Epoch]]:
    """Epochs with any number of users in the class, of whom none comes or goes: all that moves are dummies."""
    users, seen = chance.integers(0, _LARGEST + 1, number), []
    for offset, count in enumerate(users.tolist()):
        epoch = FIRST_EPOCH + offset
        now = float(epoch * bounds.EPOCH)
        show, peer = Show(pace=Pace.TICK, random=chance.bytes, now=now), Peer((np.empty(0, dtype=np.int64), []))
        connect(show, peer, now)
        show.begin(epoch, tags(count, chance), now)
        pump(show, peer, now + bounds.EPOCH)
        seen += peer.epochs
    return users.astype(float), seen


def after_absence(world: World, peer: Peer) -> Estimate:
    """How many came and went while the peer was away on purpose, from the first delta when it is back."""
    truth, told = [], []
    for number, _, changes in world.by_epoch():
        since, until = number * bounds.EPOCH + AWAY_FROM, number * bounds.EPOCH + AWAY_TO
        later = [step for epoch in peer.epochs if epoch.number == number for step in epoch.steps if step.when >= until]
        first = later[0] if later else None
        truth.append(sum(since <= when < until for when, _, _ in changes))
        told.append(len(first.risen) + first.fallen if first else 0)
    return correlation(np.array(told, dtype=float), np.array(truth, dtype=float))


def tags(number: int, chance: Chance) -> list[bytes]:
    """So many."""
    data = chance.bytes(TAG_BYTES * number)
    return [data[at : at + TAG_BYTES] for at in range(0, len(data), TAG_BYTES)]
