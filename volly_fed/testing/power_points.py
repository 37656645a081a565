"""Where a run may be struck: every point that it passes has a place, and one strike at a time waits for its own.

in: places and what happens there, as they are passed; out: the strike, at the moment before what happens has happened.
Places are disks ("disk A"), commits ("commit A": done, and nobody knows), wires ("wire A-B": a message is about to be
sent, or was taken) and the application ("app R": a message is about to be handed out, or was).
"""

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import Final

import attrs

PLACES: Final = {
    "A": ("disk A", "commit A", "wire EA-A", "wire A-B"),
    "B": ("disk B", "commit B", "wire A-B", "wire B-EB"),
    "EA": ("wire S-EA", "wire EA-A"),
    "EB": ("wire B-EB", "wire EB-R"),
    "R": ("disk R", "app R", "wire EB-R"),
}
"""The places that lie at a machine."""
EVERYWHERE: Final = tuple(dict.fromkeys(place for places in PLACES.values() for place in places))
CRASHES: Final = (("A",), ("B",), ("EA",), ("EB",), ("R",), ("A", "B"))
WIRES: Final = ("S-EA", "EA-A", "A-B", "B-EB", "EB-R")
DISKS: Final = ("A", "B", "R")
_SPANS: Final = (1, 4, 12, 40)
_RESTS: Final = (0.0, 0.1, 3.0)


@attrs.frozen
class Strike:
    """What happens at the `nth` point of `place`: machines go off (`crash`), a wire is cut, or a disk is full."""

    place: str
    nth: int
    crash: tuple[str, ...] = ()
    cut: str = ""
    full: str = ""
    count: int = 0
    """How many writes of transactions the full disk fails."""
    rest: float = 0.0
    """Seconds at most before the next strike begins to wait."""

    def __str__(self) -> str:
        if self.cut:
            return f"cut {self.cut}"
        return f"full {self.full}" if self.full else f"crash {'+'.join(self.crash)}"


def draw_plan(random: Random, count: int, *, faults: bool) -> list[Strike]:
    """The strikes of one run; `faults`: full disks among them, often with something that comes on top of it."""
    plan: list[Strike] = []
    while len(plan) < count:
        if faults and random.random() < 0.4:
            plan += _draw_full(random)
        else:
            plan.append(_draw(random))
    return plan[:count]


def _draw(random: Random) -> Strike:
    nth, rest = random.randint(1, random.choice(_SPANS)), random.choice(_RESTS)
    if random.random() < 0.2:
        cut = random.choice(WIRES)
        place = f"wire {cut}" if random.random() < 0.5 else random.choice(EVERYWHERE)
        return Strike(place, nth, cut=cut, rest=rest)
    crash = random.choice(CRASHES)
    near = [place for name in crash for place in PLACES[name]]
    return Strike(random.choice(near if random.random() < 0.7 else EVERYWHERE), nth, crash=crash, rest=rest)


def _draw_full(random: Random) -> list[Strike]:
    """A full disk alone, or a wire that is cut, or a crash, while the refusals that it has caused are on their way."""
    full = random.choice(DISKS)
    strike = Strike(f"disk {full}", random.randint(1, random.choice(_SPANS)), full=full, count=random.randint(1, 4))
    if random.random() < 0.3:
        return [attrs.evolve(strike, rest=random.choice(_RESTS))]
    place, cut = random.choice([(place, place.removeprefix("wire ")) for place in PLACES[full] if "wire" in place])
    near = random.choice((place, f"commit {full}" if full != "R" else place))
    after = Strike(near, random.randint(1, 6), rest=random.choice(_RESTS))
    if random.random() < 0.6:
        return [strike, attrs.evolve(after, cut=cut)]
    return [strike, attrs.evolve(after, crash=(random.choice(cut.split("-")),))]


@attrs.define
class Points:
    """All points of one run."""

    act: Callable[[Strike], None]
    covered: Counter[tuple[str, str]] = attrs.field(factory=Counter, init=False)
    """(place and what happened there, strike) of those that struck."""
    passed: int = attrs.field(default=0, init=False)
    history: list[str] = attrs.field(factory=list, init=False)
    """The strikes, to be printed."""
    strike: Strike | None = attrs.field(default=None, init=False)
    """The one that waits."""
    _left: int = attrs.field(default=0, init=False)

    def arm(self, strike: Strike) -> None:
        """Let `strike` wait for its point, counted from here."""
        self.strike, self._left = strike, strike.nth

    def reach(self, place: str, what: str) -> None:
        """Something is about to happen, or has just happened, at `place`."""
        self.passed += 1
        if self.strike is not None and place == self.strike.place:
            self._left -= 1
            if not self._left:
                self.hit(f"{place}: {what}")

    def hit(self, where: str) -> None:
        """Let what waits happen now."""
        if self.strike is not None:
            strike, self.strike = self.strike, None
            self.covered[where, str(strike)] += 1
            self.history.append(f"{strike} at {where}")
            self.act(strike)
