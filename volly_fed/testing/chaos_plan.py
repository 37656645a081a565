"""What goes wrong in a test of chaos, and when: a timetable, made from a seed.

in: a seed, how many servers and edges, for how long; out: faults in the order of their beginning, each with an end.
Never: reads a clock or lets two faults work on the same thing at once; the same arguments give the same plan.
"""

import enum
from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import Final

import attrs


class Kind(enum.StrEnum):
    """What goes wrong. `strength` of a fault is what stands here in brackets."""

    SPLIT = "split"
    """Two servers hear nothing of each other."""
    ONE_WAY = "one-way split"
    """The second hears nothing of the first, however the link was dialled."""
    PARTITION = "partition"
    """Some servers hear nothing of the others."""
    CUT_EDGE = "cut-off edge"
    """An edge and its homeserver hear nothing of each other."""
    RESET = "reset"
    """Connections of some links are reset, at once."""
    HALF_OPEN = "half-open"
    """Connections of some links are closed towards one end; the other never hears of it. (below 0.5: the dialler's)"""
    SLOW = "slow link"
    """Latency, jitter, loss, and little room. (seconds one way)"""
    KILL = "kill"
    """SIGKILL, and a new process afterwards."""
    FREEZE = "freeze"
    """SIGSTOP, and SIGCONT afterwards."""
    CLOCK = "wrong clock"
    """The wall clock jumps, and jumps back. (seconds)"""
    DISK = "slow disk"
    """Every sync takes longer. (seconds)"""
    RESOLVER = "silent resolver"
    """A homeserver's name server answers nothing."""


_DECK: Final = (*Kind, Kind.KILL, Kind.KILL, Kind.SPLIT, Kind.RESET, Kind.SLOW)
"""Faults are dealt like cards, so that each kind comes in its turn; some are in the deck more than once."""
_LASTS: Final = {
    Kind.SPLIT: (3.0, 40.0),
    Kind.ONE_WAY: (3.0, 40.0),
    Kind.PARTITION: (3.0, 40.0),
    Kind.CUT_EDGE: (2.0, 20.0),
    Kind.RESET: (0.0, 0.0),
    Kind.HALF_OPEN: (0.0, 0.0),
    Kind.SLOW: (5.0, 30.0),
    Kind.KILL: (0.0, 8.0),
    Kind.FREEZE: (0.5, 12.0),
    Kind.CLOCK: (5.0, 40.0),
    Kind.DISK: (5.0, 20.0),
    Kind.RESOLVER: (5.0, 30.0),
}
_STRENGTH: Final = {Kind.HALF_OPEN: (0.0, 1.0), Kind.SLOW: (0.02, 0.4), Kind.DISK: (0.02, 0.3)}
CLOCK_WRONG: Final = 120.0
"""Seconds that a clock is wrong at most; two of them differ by less than limits.CLOCK_SKEW."""
_FEW: Final = 4
"""Cards that may be left when others are put below them."""


@attrs.frozen(kw_only=True)
class Fault:
    """From second `at`, for `lasts` seconds, `kind` happens to `subjects`: processes, or links ("who>whom")."""

    at: float
    lasts: float
    kind: Kind
    subjects: tuple[str, ...]
    strength: float = 0.0

    @property
    def until(self) -> float:
        """When it is over."""
        return self.at + self.lasts

    def __str__(self) -> str:
        strength = f" ({self.strength:+.2f})" if self.strength else ""
        return f"{self.at:6.1f} s for {self.lasts:4.1f} s: {self.kind}{strength}: {', '.join(self.subjects)}"


@attrs.frozen
class Parts:
    """The names of what can go wrong: homeservers by their domain, edges as NAME.DOMAIN, links as DIALLER>LISTENER."""

    edges: dict[str, tuple[str, ...]]
    """Per domain."""

    @property
    def domains(self) -> tuple[str, ...]:
        """All homeservers."""
        return tuple(self.edges)

    @property
    def processes(self) -> tuple[str, ...]:
        """Homeservers, then edges."""
        return (*self.edges, *(edge for edges in self.edges.values() for edge in edges))

    @property
    def edge_links(self) -> tuple[str, ...]:
        """One for each edge."""
        return tuple(f"{edge}>{domain}" for domain, edges in self.edges.items() for edge in edges)

    def between(self, some: Iterable[str], others: Sequence[str]) -> tuple[str, ...]:
        """The links between `some` servers and the `others`, whoever dials."""
        return tuple(link for a in some for b in others for link in (f"{a}>{b}", f"{b}>{a}"))


def make_plan(seed: int, parts: Parts, *, seconds: float, every: float = 3.0) -> tuple[Fault, ...]:
    """The faults of `seconds` seconds, about `every` seconds apart; all are over by then."""
    return tuple(_deal(Random(f"chaos {seed}"), parts, seconds, every))  # noqa: S311 - repeatable on purpose


def _deal(random: Random, parts: Parts, seconds: float, every: float) -> Iterator[Fault]:
    free: dict[str, float] = {}
    deck: list[Kind] = []
    at = random.expovariate(1 / every)
    while at < seconds:
        if len(deck) < _FEW:
            deck += random.sample(_DECK, len(_DECK))
        for kind in tuple(dict.fromkeys(deck)):  # the first that finds its subjects free; the others stay on top
            fault = _draw(random, parts, kind, at)
            if fault.until < seconds and all(free.get(thing, 0.0) < at for thing in _held(fault)):
                deck.remove(kind)
                free.update(dict.fromkeys(_held(fault), fault.until))
                yield fault
                break
        at += random.expovariate(1 / every)


def _held(fault: Fault) -> tuple[str, ...]:
    """What no other fault may have meanwhile. A process that is killed may have a wrong clock as well."""
    alone = fault.kind if fault.kind in (Kind.CLOCK, Kind.DISK, Kind.RESOLVER) else "it"
    return tuple(f"{alone} {subject}" for subject in fault.subjects)


def _draw(random: Random, parts: Parts, kind: Kind, at: float) -> Fault:
    low, high = _STRENGTH.get(kind, (0.0, 0.0))
    strength = random.uniform(low, high)
    if kind is Kind.CLOCK:
        strength = random.choice((-1, 1)) * random.uniform(CLOCK_WRONG / 4, CLOCK_WRONG)
    return Fault(
        at=round(at, 2),
        lasts=round(random.uniform(*_LASTS[kind]), 2) if random.random() < 0.8 else _LASTS[kind][0],
        kind=kind,
        subjects=_subjects(random, parts, kind),
        strength=round(strength, 3),
    )


def _subjects(random: Random, parts: Parts, kind: Kind) -> tuple[str, ...]:
    one, other = random.sample(parts.domains, 2)
    pair = parts.between([one], [other])
    match kind:
        case Kind.SPLIT | Kind.ONE_WAY:
            return pair
        case Kind.PARTITION:
            some = random.sample(parts.domains, random.randint(1, len(parts.domains) // 2))
            return parts.between(some, [domain for domain in parts.domains if domain not in some])
        case Kind.CUT_EDGE:
            return (random.choice(parts.edge_links),)
        case Kind.RESET | Kind.HALF_OPEN | Kind.SLOW:
            return pair if random.random() < 0.6 else (random.choice(parts.edge_links),)
        case Kind.KILL | Kind.FREEZE:
            return (one,) if random.random() < 0.5 else (random.choice(parts.processes),)
        case Kind.CLOCK | Kind.DISK | Kind.RESOLVER:
            return (one,)
