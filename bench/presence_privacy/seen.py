"""What a peer sees of a day: the real Show and the real View, and a peer that keeps everything and loses nothing.

in: a world, a pace; out: filters, steps, and which bits came and went together.
A bit that was not set when the epoch began falls only when everything that has set it since has gone: so two bits that
rose in one step and fall in one step are one tag, user or dummy, that came with the one and went with the other.
"""

from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from bench.presence_privacy.world import SCOPE, Chance, World
from volly_fed.crypto.secret import Secret
from volly_fed.presence import Pace, Show, View, bounds
from volly_fed.presence.delta import parse_delta
from volly_fed.presence.filter import Filter
from volly_fed.presence.placement import Placement, Positions, filter_bits, locate_all
from volly_fed.presence.state import Appeared, Changed
from volly_fed.presence.tags import presence_tag

AWAY_FROM, AWAY_TO = 300.0, 1500.0
"""Of an epoch: when the peer that goes away on purpose is away."""


@attrs.define(eq=False)
class Step:
    """One delta."""

    when: float
    size: int
    risen: Positions
    fallen: int
    fallen_old: int
    """Of `fallen`, those that have been set since the epoch began."""


@attrs.define(eq=False)
class Epoch:
    """One filter, from its snapshot on."""

    number: int
    began: float
    first: Filter
    steps: list[Step] = attrs.field(factory=list)
    visits: list[tuple[float, float]] = attrs.field(factory=list)
    """Came with one step, went with another."""
    lasting: float = 1.0
    """Of the bits that were set when it began: the share that never fell."""
    known: list[tuple[float, int, bool]] = attrs.field(factory=list)
    """When which contact came (or went), as the filter has it; who was there first comes with the beginning."""


class Peer:
    """The curious one."""

    def __init__(self, contacts: tuple[NDArray[np.int64], list[Secret]]) -> None:
        """`contacts`: their numbers and presence keys."""
        self.view = View()
        self.epochs: list[Epoch] = []
        self._bits: NDArray[np.bool_] = np.empty(0, dtype=np.bool_)
        self._first = self._bits
        self._since: NDArray[np.int64] = np.empty(0, dtype=np.int64)  # the step with which a bit rose; -1: the first
        self._contacts = contacts
        self._present = np.zeros(len(contacts[0]), dtype=np.bool_)
        self._places: Any = None

    def take(self, message: object, now: float) -> None:
        """One message."""
        self.view.receive(message, now)  # type: ignore[arg-type] # what Show sends is what View takes
        for event in self.view.events():
            if isinstance(event, Appeared):
                self._appeared(event, now)
            elif isinstance(event, Changed):
                self._changed(event, now)

    def _appeared(self, event: Appeared, now: float) -> None:
        assert self.view.filter is not None
        placement: Placement = self.view.filter.placement
        bits = np.unpackbits(np.frombuffer(event.bits, dtype=np.uint8), bitorder="little").astype(np.bool_)
        if self.epochs and self.epochs[-1].first.placement.key == placement.key:  # then it is the former, and changes
            self._flip(np.flatnonzero(bits != self._bits), len(event.bits), now)
            return
        self._bits = bits
        self._first = self._bits.copy()
        self._since = np.full(len(self._bits), -1)
        self.epochs.append(Epoch(event.epoch, now, Filter.from_bytes(placement, event.bits)))
        tags = [presence_tag(key, event.epoch, SCOPE) for key in self._contacts[1]]
        self._places = locate_all(placement.encrypt(tags), placement.width).reshape(bounds.SLICES, -1)
        self._present[:] = False
        self._look(now)

    def _changed(self, event: Changed, now: float) -> None:
        epoch = self.epochs[-1]
        self._flip(parse_delta(event.changes, filter_bits(epoch.first.placement.size)), len(event.changes), now)

    def _flip(self, places: Positions, size: int, now: float) -> None:
        epoch = self.epochs[-1]
        was = self._bits[places]
        risen, fallen = places[~was], places[was]
        self._bits[places] = ~was
        births = self._since[fallen]
        self._since[risen] = len(epoch.steps)
        if births.size and births.max() >= 0:
            numbers, counts = np.unique(births[births >= 0], return_counts=True)
            epoch.visits += [(epoch.steps[n].when, now) for n in numbers[counts > 1].tolist()]
        self._first[fallen] = False
        epoch.lasting = float(np.count_nonzero(self._first)) / epoch.first.ones
        epoch.steps.append(Step(now, size, risen, len(fallen), int(np.count_nonzero(births < 0))))
        self._look(now)

    def _look(self, now: float) -> None:
        """Who of the contacts is there."""
        present = self._bits[self._places].all(axis=0)
        for at in np.flatnonzero(present != self._present).tolist():
            self.epochs[-1].known.append((now, int(self._contacts[0][at]), bool(present[at])))
        self._present = present


def play(world: World, pace: Pace, chance: Chance, *, absent: bool = False) -> Peer:
    """The whole day. `absent`: the peer leaves in each epoch and comes back, as it likes."""
    show = Show(pace=pace, random=chance.bytes, now=world.begin)
    known = np.flatnonzero(world.contact)
    peer = Peer((known, [world.keys[user] for user in known]))
    connect(show, peer, world.begin)
    for number, online, changes in world.by_epoch():
        began, tags = float(number * bounds.EPOCH), world.tags(number)
        show.begin(number, [tags[user] for user in sorted(online)], began)
        now_online = set(online)
        pending: list[tuple[float, int, bool]] = list(changes)
        if absent:
            pending = sorted([*changes, (began + AWAY_FROM, -1, False), (began + AWAY_TO, -1, True)])
        for when, user, comes in pending:
            pump(show, peer, when)
            if show.wants_tags:
                show.begin(number, [tags[user] for user in sorted(now_online)], when)
            if user < 0 and comes:
                connect(show, peer, when)
            elif user < 0:
                show.lost()
                peer.view.lost()
            else:
                (show.join if comes else show.leave)(tags[user], when)
                (now_online.add if comes else now_online.discard)(user)
        pump(show, peer, began + bounds.EPOCH)
    return peer


def connect(show: Show, peer: Peer, now: float) -> None:
    """A link; the peer has the first word."""
    show.connected()
    show.receive(peer.view.connected(), now)


def pump(show: Show, peer: Peer, until: float) -> None:
    """All that leaves before `until`."""
    while show.may_send or (show.deadline is not None and show.deadline < until):
        now = show.deadline if show.deadline is not None else until
        message = show.next_message(now)
        if message is not None:
            peer.take(message, now)
