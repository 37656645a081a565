"""What a process counts about itself: plain integers, made into metrics when somebody asks.

in: what happened, once per batch, commit, call or look-up; out: numbers by our own words (codes, classes, roles).
Never: is given a mailbox, a user or a domain, or costs an envelope more than its share of one addition.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import TypeAlias

import attrs

from volly_fed.codepoints import EnvelopeClass, ErrorCode

Label: TypeAlias = tuple[str, ...]
CLASSES: Mapping[int, str] = {int(urgency): urgency.name.lower() for urgency in EnvelopeClass}
UNKNOWN = "unknown"
"""The class of what could not be read, or was queued by an earlier process."""

QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Seconds: commits."""
SLOW = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0)
"""Seconds: proofs and look-ups, which have limits of 15 and 30 seconds."""
PATIENT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0, 3600.0, 86400.0)
"""Seconds: deliveries, which wait for peers that are away."""

_FOLLOWED = (ErrorCode.NONE.name, ErrorCode.IDENTITY_MISMATCH.name, ErrorCode.KEY_MISMATCH.name)


@attrs.define
class Histogram:
    """How often how long: `counts` has one more than `bounds`, for what is longer than all of them."""

    bounds: Sequence[float]
    counts: list[int] = attrs.field(init=False)
    total: float = attrs.field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def note(self, seconds: float, times: int = 1) -> None:
        """`times` things took that long."""
        self.counts[bisect_left(self.bounds, seconds)] += times
        self.total += seconds * times

    @property
    def count(self) -> int:
        """Of everything."""
        return sum(self.counts)


def _by_class() -> dict[str, Histogram]:
    return {name: Histogram(PATIENT) for name in CLASSES.values()}


def _none(*columns: Iterable[str], more: Iterable[Label] = ()) -> Counter[Label]:
    """Zeros for what is bound to come, or is alarming: between nothing at all and one, a scraper sees no step."""
    return Counter(dict.fromkeys([*product(*columns), *more], 0))


@attrs.define
class Tally:
    """Of one homeserver, from its start. Labels are tuples of our own words, so there are few of each."""

    accepted: Counter[Label] = attrs.field(factory=lambda: _none(("edge", "peer"), CLASSES.values()))
    """Envelopes that are durable here, by (origin: edge or peer; class)."""
    refused: Counter[Label] = attrs.field(factory=Counter)
    """Envelopes that were not taken, by (origin, or "by_peer" where a peer refused ours; class; code)."""
    delivered: Counter[Label] = attrs.field(
        factory=lambda: _none(("peer",), CLASSES.values(), more=[("device", UNKNOWN)])
    )
    """Envelopes that somebody else answers for now, by (to: peer or device; class)."""
    waited: dict[str, Histogram] = attrs.field(factory=_by_class)
    """From acceptance here to the peer's acknowledgement, by class."""
    expired: Counter[Label] = attrs.field(factory=lambda: Counter({("outbound",): 0, ("inbound",): 0}))
    """By (queue: outbound or inbound)."""
    handshakes: Counter[Label] = attrs.field(factory=lambda: _none(("peer",), ("dialler", "acceptor"), _FOLLOWED))
    """Links that came about (NONE) or did not, by (with: peer or edge; role; code)."""
    proofs: dict[str, Histogram] = attrs.field(factory=lambda: {"peer": Histogram(SLOW), "edge": Histogram(SLOW)})
    """From the TCP connection to the last proof, of links that came about."""
    discoveries: Counter[Label] = attrs.field(factory=Counter)
    """By (verdict)."""
    looked_up: Histogram = attrs.field(factory=lambda: Histogram(SLOW))
    """How long look-ups took, whatever came of them."""
    ended: Counter[Label] = attrs.field(factory=Counter)
    """Links to peers that ended, by (code)."""
    presence: Counter[Label] = attrs.field(factory=Counter)
    """Messages about presence, by (direction: in or out; kind)."""
    commits: Histogram = attrs.field(factory=lambda: Histogram(QUICK))
    """How long the store's transactions took, the sync to the disk included."""

    def accept(self, origin: str, urgencies: Sequence[int]) -> None:
        """These, by class, are durable."""
        _add(self.accepted, origin, urgencies)

    def refuse(self, origin: str, urgencies: Sequence[int], code: ErrorCode) -> None:
        """These were not taken; a class that is none counts as unknown."""
        for urgency in urgencies:
            self.refused[origin, CLASSES.get(urgency, UNKNOWN), code.name] += 1

    def discovered(self, verdict: str, seconds: float) -> None:
        """A look-up ended."""
        self.discoveries[(verdict,)] += 1
        self.looked_up.note(seconds)

    def linked(self, whom: str, role: str, seconds: float) -> None:
        """A peer or an edge has proved itself, so long after its connection."""
        self.handshakes[whom, role, ErrorCode.NONE.name] += 1
        self.proofs[whom].note(seconds)

    def deliver(self, urgency: int, seconds: float | None, times: int) -> None:
        """A peer has acknowledged `times` envelopes, so long after they were accepted, if that is known."""
        name = CLASSES.get(urgency, UNKNOWN)
        self.delivered["peer", name] += times
        if seconds is not None and name in self.waited:
            self.waited[name].note(seconds, times)


def _add(counter: Counter[Label], word: str, urgencies: Sequence[int]) -> None:
    left = len(urgencies)
    for urgency, name in CLASSES.items():  # nearly always the first that is asked for, or the second, is all of them
        if left and (found := urgencies.count(urgency)):
            counter[word, name] += found
            left -= found
