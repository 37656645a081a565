"""A day in the life of a domain: users with habits, of which most come about, a little earlier or later.

in: a seed, how many users and epochs; out: who comes and goes when, and what the attacker knows of it beforehand.
"""

import hashlib
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from volly_fed.crypto.secret import Secret
from volly_fed.presence import bounds
from volly_fed.presence.tags import KEY_BYTES, presence_tag

Chance = np.random.Generator
FIRST_EPOCH = 20_709 * 48
"""One that begins a day, of 48."""
DAY = 86400.0
SCOPE = "*"
CONTACTS = 0.1
"""Of all users: whose presence keys the attacker has."""
DESK = 0.7
"""Of all users: online from morning to evening. All have shorter sessions besides."""
LONGER = 0.1
"""How much the length of what comes about varies, in proportion."""
COMES_ABOUT = 0.7
LATE = 120.0
"""Seconds, standard deviation: how punctual habits are. The attacker knows them."""
NIGHT = 6.0
"""Until then, in hours, there are few."""
PEAKS = ((8.5, 1.5), (12.5, 1.0), (17.5, 2.0), (20.5, 1.5), (13.0, 6.0))
"""Of the day's rhythm, in hours: around, give or take."""


@attrs.frozen(eq=False)
class World:
    """Times are unix time. Arrays are by user, or by habit."""

    names: list[str]
    keys: list[Secret] = attrs.field(repr=False)
    contact: NDArray[np.bool_]
    epochs: range
    habit_user: NDArray[np.int64]
    habit_start: NDArray[np.float64]
    habit_end: NDArray[np.float64]
    came: NDArray[np.bool_]
    """Which habits came about."""
    apart: NDArray[np.bool_]
    """Which habits' users are otherwise offline when they usually begin: if it comes about, somebody comes."""
    changes: list[tuple[float, int, bool]]
    """When, who, whether that user came (or went), in order."""
    online_first: frozenset[int]

    @property
    def begin(self) -> float:
        """When it begins."""
        return float(self.epochs[0] * bounds.EPOCH)

    @property
    def end(self) -> float:
        """When it ends."""
        return float(self.epochs[-1] + 1) * bounds.EPOCH

    def tags(self, epoch: int) -> list[bytes]:
        """Of all users."""
        return [presence_tag(key, epoch, SCOPE) for key in self.keys]

    def by_epoch(self) -> Iterator[tuple[int, set[int], list[tuple[float, int, bool]]]]:
        """Each epoch: who is online when it begins, and its changes."""
        online, at = set(self.online_first), 0
        for epoch in self.epochs:
            began = at
            while at < len(self.changes) and self.changes[at][0] < (epoch + 1) * bounds.EPOCH:
                at += 1
            yield epoch, set(online), self.changes[began:at]
            for _, user, comes in self.changes[began:at]:
                (online.add if comes else online.discard)(user)

    def sessions(self, *, contacts: bool) -> list[tuple[float, float]]:
        """Those that begin and end within one epoch, of contacts or of all others."""
        since: dict[int, float] = {}
        found = []
        for when, user, comes in self.changes:
            if comes:
                since[user] = when
                continue
            began = since.get(user, 0.0)
            if bool(self.contact[user]) == contacts and began // bounds.EPOCH == when // bounds.EPOCH:
                found.append((began, when))
        return found


def make_world(seed: int, users: int, epochs: range) -> World:
    """`epochs`: counted from midnight."""
    chance = np.random.default_rng([seed, 1])
    user, start, length = _habits(users, chance)
    came = chance.random(len(user)) < COMES_ABOUT
    begins = start + chance.normal(0, LATE, len(user))
    ends = begins + np.maximum(10.0, length * chance.normal(1, LONGER, len(user)))
    span = range(FIRST_EPOCH + epochs.start, FIRST_EPOCH + epochs.stop)
    midnight = float(FIRST_EPOCH * bounds.EPOCH)
    changes, first = _changes(user[came], midnight + begins[came], midnight + ends[came], span)
    return World(
        names=[f"user{hashlib.sha256(f'{seed}/{n}'.encode()).hexdigest()[:6]}" for n in range(users)],
        keys=[Secret(chance.bytes(KEY_BYTES)) for _ in range(users)],
        contact=chance.permutation(users) < CONTACTS * users,
        epochs=span,
        habit_user=user,
        habit_start=midnight + start,
        habit_end=midnight + start + length,
        came=came,
        apart=_apart(user, start, begins, ends, came),
        changes=changes,
        online_first=first,
    )


def _habits(users: int, chance: Chance) -> tuple[Any, Any, Any]:
    """Whose, the second of the day when it begins, how long."""
    number = 1 + chance.poisson(3, users)
    user = np.repeat(np.arange(users), number)
    peak = np.array(PEAKS)[chance.integers(0, len(PEAKS), len(user))]
    start = (chance.normal(peak[:, 0], peak[:, 1]) % 24) * 3600
    own = chance.lognormal(0, 0.5, users)[user]
    length = np.clip(own * chance.lognormal(np.log(1200), 1.0, len(user)), 30, 6 * 3600)
    desk = np.flatnonzero(chance.random(users) < DESK)
    at_desk = chance.normal(8.5, 1.0, len(desk)) * 3600
    hours = chance.normal(8.5, 1.0, len(desk)) * 3600
    return np.concatenate((user, desk)), np.concatenate((start, at_desk)), np.concatenate((length, hours))


def _apart(user: Any, start: Any, begins: Any, ends: Any, came: Any) -> NDArray[np.bool_]:
    apart = np.ones(len(user), dtype=np.bool_)
    for habit, (who, usual) in enumerate(zip(user.tolist(), start.tolist(), strict=True)):
        others = came & (user == who)
        others[habit] = False
        moment = begins[habit] if came[habit] else usual
        apart[habit] = not bool((others & (begins <= moment) & (ends >= moment)).any())
    return apart


def _changes(user: Any, begins: Any, ends: Any, span: range) -> tuple[list[tuple[float, int, bool]], frozenset[int]]:
    """Sessions of one user that meet are one."""
    first, last = float(span.start * bounds.EPOCH), float(span.stop * bounds.EPOCH)
    edges = sorted(
        [(float(b), 1, int(u)) for u, b in zip(user, begins, strict=True)]
        + [(float(e), -1, int(u)) for u, e in zip(user, ends, strict=True)]
    )
    depth: dict[int, int] = {}
    changes: list[tuple[float, int, bool]] = []
    online: set[int] = set()
    for when, step, who in edges:
        former = depth.get(who, 0)
        depth[who] = former + step
        if (former == 0) == (depth[who] == 0) or when >= last:
            continue
        if when < first:
            (online.add if step > 0 else online.discard)(who)
        else:
            changes.append((when, who, step > 0))
    return changes, frozenset(online)
