"""Two handshake machines pushed against each other over a link in memory, with a hand on the line.

in: an Initiator, a Responder, what the acceptor's look-up would find; out: both outcomes, and all that was on the line.
`alter` sees every message with its number (0 HELLO, 1 HELLO, 2 AUTH, 3 AUTH) and returns what arrives in its place.
Never: swallows an error: what a machine raises is the caller's to see.
"""

from collections.abc import Callable
from typing import TypeVar

import attrs

from volly_fed.handshake import (
    Accept,
    Claimed,
    Established,
    Greeted,
    Initiator,
    Outcome,
    Prove,
    Proved,
    Responder,
    Start,
)
from volly_fed.handshake.outcome import Event
from volly_fed.names import Fingerprint

E = TypeVar("E", bound=Event)
Alter = Callable[[int, bytes], bytes]


def unchanged(_: int, data: bytes) -> bytes:
    """The honest line."""
    return data


@attrs.define
class MachinePair:
    """A dialler and an acceptor; `expected` is what discovery would say about the claimed name."""

    initiator: Initiator
    responder: Responder
    expected: frozenset[Fingerprint]
    alter: Alter = unchanged
    now: float = 0.0
    line: list[bytes] = attrs.field(factory=list)
    """What was sent, before `alter` saw it."""
    dialled: Outcome | None = None
    accepted: Outcome | None = None

    def run(self) -> "MachinePair":
        """Push until both ends are established. Raises what either machine raises."""
        self._to_responder(self.initiator.send(Start()))
        self._one(self.responder.events(), Claimed)
        self._to_initiator(self.responder.send(Accept(expected=self.expected)))
        self._one(self.initiator.events(), Greeted)
        self._to_responder(self.initiator.send(Prove()))
        self._one(self.responder.events(), Proved)
        proof = self.responder.send(Prove())
        self.accepted = self._one(self.responder.events(), Established).outcome
        self._to_initiator(proof)
        self.dialled = self._one(self.initiator.events(), Established).outcome
        return self

    def _arriving(self, data: bytes) -> bytes:
        self.line.append(data)
        return self.alter(len(self.line) - 1, data)

    def _to_responder(self, data: bytes) -> None:
        self.responder.receive(self._arriving(data), self.now)

    def _to_initiator(self, data: bytes) -> None:
        self.initiator.receive(self._arriving(data), self.now)

    @staticmethod
    def _one(events: list[Event], kind: type[E]) -> E:
        if len(events) != 1 or not isinstance(events[0], kind):
            raise AssertionError(f"one {kind.__name__} was to happen, and there is {events}")
        return events[0]
