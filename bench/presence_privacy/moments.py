"""Attacks on moments: when somebody comes or goes, and which of two it was, for an attacker who knows their habits.

in: what a peer has seen, and a day of another world to learn from; out: figures, for each pace.
Moments of contacts are taken out on both sides: of those it knows, nothing needs to be guessed.
"""

from bisect import bisect_left, bisect_right

import attrs
import numpy as np
from numpy.typing import NDArray

from bench.presence_privacy.chance import Estimate, Floats, block_correlation, fit, share
from bench.presence_privacy.seen import Peer
from bench.presence_privacy.world import DAY, LATE, LONGER, NIGHT, Chance, World
from volly_fed.presence import Pace, bounds

WINDOW = 300.0
_NEAR = bounds.TICK + 0.01
"""What is dated so exactly is found."""
_AROUND = 1800.0
_AGES = np.geomspace(bounds.TICK, bounds.EPOCH, 17)
_DOUBT = 0.1
"""Expected of nothing, in events: keeps a single one in the night from meaning everything."""


@attrs.frozen(eq=False)
class Evidence:
    """What may have been a user: visits with beginning and end, and moments; each with how sure that is."""

    visits: NDArray[np.float64]
    """By visit: came, went."""
    weights: Floats
    moments: Floats
    sure: Floats


def visits_of(peer: Peer) -> Floats:
    """All, in order."""
    found = [visit for epoch in peer.epochs for visit in epoch.visits]
    return np.array(found, dtype=float).reshape(-1, 2)


def matches(visits: Floats, sessions: list[tuple[float, float]]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which visits are somebody's session, which sessions are found."""
    seen, found = np.zeros(len(visits), dtype=np.bool_), np.zeros(len(sessions), dtype=np.bool_)
    order = np.argsort(visits[:, 0], kind="stable")
    starts = visits[order, 0]
    for number, (came, went) in enumerate(sessions):
        low, high = np.searchsorted(starts, (came, came + _NEAR))
        near = order[low:high]
        late = visits[near, 1] - went
        fitting = near[(late >= 0) & (late <= _NEAR)]
        seen[fitting] = True
        found[number] = len(fitting) > 0
    return seen, found


def learn(world: World, peer: Peer) -> Floats:
    """By age: how many of the visits that end at it were users'."""
    visits = visits_of(peer)
    real, _ = matches(visits, world.sessions(contacts=False) + world.sessions(contacts=True))
    ages = _age(visits)
    return np.bincount(ages[real], minlength=len(_AGES)) / (np.bincount(ages, minlength=len(_AGES)) + 1.0)


def weigh(peer: Peer, learnt: Floats) -> Floats:
    """Of each visit: the chance that it was a user's."""
    return learnt[_age(visits_of(peer))]


def evidence(peer: Peer, learnt: Floats, pace: Pace) -> Evidence:
    """Without contacts. Where changes leave at once every delta is a moment; else only visits give any."""
    visits, weights = visits_of(peer), weigh(peer, learnt)
    other = ~matches(visits, _known_sessions(peer))[0]
    visits, weights = visits[other], weights[other]
    if pace is Pace.TICK:
        moments, sure = visits.ravel(), np.repeat(weights, 2)
    else:
        known = {when for epoch in peer.epochs for when, _, _ in epoch.known}
        moments = np.array([s.when for epoch in peer.epochs for s in epoch.steps if s.when not in known], dtype=float)
        sure = np.ones(len(moments))
    order = np.argsort(moments, kind="stable")
    return Evidence(visits, weights, moments[order], sure[order])


def _known_sessions(peer: Peer) -> list[tuple[float, float]]:
    """Of contacts, as the filter has them."""
    found = []
    for epoch in peer.epochs:
        since: dict[int, float] = {}
        for when, user, comes in epoch.known:
            if comes:
                since[user] = when
            elif since.get(user, epoch.began) > epoch.began:
                found.append((since[user], when))
    return found


def found_visits(world: World, seen: Evidence, chance: Chance) -> Estimate:
    """Sessions within one epoch of users it does not know, dated on both ends, beyond what any dates would hit."""
    sessions = world.sessions(contacts=False)
    believed = seen.visits[seen.weights > 0.5]
    _, found = matches(believed, sessions)
    moved = believed + chance.uniform(10, 60, (len(believed), 1)) if len(believed) else believed
    _, by_chance = matches(moved, sessions)
    return share(int(found.sum()), len(sessions)).minus(float(by_chance.mean()) if len(sessions) else 0.0)


def counted(
    world: World, peer: Peer, seen: Evidence, other: World, other_peer: Peer, other_seen: Evidence, chance: Chance
) -> Estimate:
    """How many come and go in each five minutes: what a fit to the other day makes of this one."""
    asked, known = (_by_window(*day) for day in ((world, peer, seen), (other, other_peer, other_seen)))
    truth, learnt = (_changes(each) for each in (world, other))
    told = fit(known, learnt.ravel(), asked).reshape(truth.shape)
    return block_correlation(told, truth, chance)


def _windows(world: World) -> Floats:
    return np.arange(world.begin, world.end + 1, WINDOW)


def _changes(world: World) -> Floats:
    """Of users it does not know; a row for each epoch."""
    moments = [when for when, user, _ in world.changes if not world.contact[user]]
    found: Floats = np.histogram(moments, _windows(world))[0].reshape(len(world.epochs), -1).astype(float)
    return found


def _by_window(world: World, peer: Peer, seen: Evidence) -> Floats:
    """What could depend on it: moments, visits by their length as they begin and end, old bits, all bits."""
    edges, few = _windows(world), _AGES[::3]
    steps = [step for epoch in peer.epochs for step in epoch.steps]
    times = np.array([step.when for step in steps])
    old = np.array([step.fallen_old for step in steps])
    both = np.array([len(step.risen) + step.fallen for step in steps])
    stay = seen.visits[:, 1] - seen.visits[:, 0]
    parts = [np.histogram(seen.moments, edges, weights=seen.sure)[0][:, None]]
    parts += [np.histogram2d(seen.visits[:, end], stay, (edges, few))[0] for end in (0, 1)]
    parts += [np.histogram(times, edges, weights=bits)[0][:, None] for bits in (old, both)]
    found: Floats = np.concatenate(parts, axis=1).reshape(len(world.epochs), -1, 2 * len(few) + 1)
    found -= found.mean(axis=0)  # what an epoch's age does, everybody knows
    return found.reshape(len(edges) - 1, -1)


def who_came(world: World, seen: Evidence, chance: Chance, *, night: bool = False) -> Estimate:
    """Of two users with their habits one came as usual and one did not: which, more often right than a coin?

    `night`: of habits in the hours when few are there.
    """
    unknown = ~world.contact[world.habit_user] & world.apart
    if night:
        unknown &= world.habit_start % DAY < NIGHT * 3600
    inside = (world.habit_start > world.begin + _AROUND) & (world.habit_end < world.end - _AROUND)
    came = np.flatnonzero(unknown & inside & world.came)
    stayed_away = np.flatnonzero(unknown & inside & ~world.came)
    if not len(stayed_away):
        return share(0, 0)
    others = chance.choice(stayed_away, len(came))
    scores = {habit: _likely(world, habit, seen) for habit in {*came.tolist(), *others.tolist()}}
    coins = chance.integers(0, 2, len(came)).astype(bool)
    right = 0
    for one, other, coin in zip(came.tolist(), others.tolist(), coins.tolist(), strict=True):
        right += scores[one] > scores[other] or (scores[one] == scores[other] and coin)
    return share(int(right), len(came)).minus(0.5)


def _likely(world: World, habit: int, seen: Evidence) -> float:
    """Log odds: a visit that fits, or where it would not lie within one epoch, a moment that fits each end."""
    start, end = float(world.habit_start[habit]), float(world.habit_end[habit])
    late = float(np.hypot(LATE, LONGER * (end - start)))
    if start // bounds.EPOCH != end // bounds.EPOCH:
        return _excess(start, LATE, seen) + _excess(end, late, seen)
    came, stay = seen.visits[:, 0], seen.visits[:, 1] - seen.visits[:, 0]
    width = LONGER * (end - start) + bounds.TICK
    got = float((_kernel(came - start, LATE) * _kernel(stay - (end - start), width) * seen.weights).sum())
    near = (np.abs(came - start) < _AROUND) & (np.abs(np.log(stay / (end - start))) < 1)
    density = float(seen.weights[near].sum()) / (2 * _AROUND * (end - start) * 2 * np.sinh(1))
    return _odds(got, density * 2 * np.pi * LATE * width)


def _excess(at: float, width: float, seen: Evidence) -> float:
    low, high = bisect_left(seen.moments, at - _AROUND), bisect_right(seen.moments, at + _AROUND)
    near = seen.moments[low:high]
    got = float((_kernel(near - at, width) * seen.sure[low:high]).sum())
    usual = float(seen.sure[low:high].sum()) * width * np.sqrt(2 * np.pi) / (2 * _AROUND)
    return _odds(got, usual)


def _odds(got: float, usual: float) -> float:
    return float(np.log((got + _DOUBT) / (usual + _DOUBT)))


def _kernel(off: Floats, width: float) -> Floats:
    return np.exp(-0.5 * np.square(off / width))


def _age(visits: Floats) -> NDArray[np.int64]:
    return np.clip(np.searchsorted(_AGES, visits[:, 1] - visits[:, 0]), 0, len(_AGES) - 1)
