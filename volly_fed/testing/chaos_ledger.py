"""What a test of chaos knows of every envelope, and what must hold of all of them.

in: what submitters handed over and were answered, what devices were brought and their applications given, with times;
out: violations, each with the whole history of the envelopes that it is about.
Never: reads a clock or a socket: a history is judged the same way whether it happened or was made up.
The promises: given to the application once at most; once at least, if it was accepted and neither expired nor refused;
in the order of handing over, for each connection, class and recipient; as it was made.
Weakness: all is kept in memory, half a kilobyte for each envelope.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

import attrs

EXCUSES = frozenset({"EXPIRED", "OVERLOADED"})
"""The codes with which these envelopes may be refused: all are for mailboxes that exist and take them."""


@attrs.define(kw_only=True)
class Letter:
    """One envelope, from its making to its end."""

    id: bytes
    recipient: str
    urgency: int
    expiry: float
    digest: bytes
    """Of its body, as it was made."""
    connection: int = 0
    """The first that it was handed over on, and its place among all of that connection."""
    number: int = 0
    handed: int = 0
    accepted: bool = False
    refused: str = ""
    delivered: int = 0
    history: list[tuple[float, str]] = attrs.field(factory=list, repr=False)


@attrs.frozen
class Violation:
    """A promise that was broken, and how it came about."""

    rule: str
    text: str
    history: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join([f"{self.rule}: {self.text}", *(f"    {line}" for line in self.history)])


@attrs.define
class Ledger:
    """All letters of one run. Times are seconds since it began; `expiry` is in the same seconds."""

    skew: float = 0.0
    """How wrong servers' clocks may have been: by so much earlier they may take an envelope for expired."""
    letters: dict[bytes, Letter] = attrs.field(factory=dict, repr=False)
    found: list[Violation] = attrs.field(factory=list)
    """Violations that show at once."""
    _given: dict[str, list[Letter]] = attrs.field(factory=dict, repr=False)
    _numbers: Counter[int] = attrs.field(factory=Counter, repr=False)
    _waiting: set[bytes] = attrs.field(factory=set, repr=False)

    # --- what happened ---

    def hand_over(self, now: float, letter: Letter, connection: int) -> None:
        """`letter` goes to an edge on `connection`, for the first time or again."""
        if not letter.handed:
            self._numbers[connection] += 1
            letter.connection, letter.number = connection, self._numbers[connection]
            self.letters[letter.id] = letter
        letter.handed += 1
        letter.history.append((now, f"handed over on connection {connection}"))

    def accept(self, now: float, envelope_id: bytes) -> None:
        """Its submitter was told that it is on a disk."""
        letter = self._of(envelope_id, "accepted")
        if letter is not None:
            letter.accepted = True
            letter.history.append((now, "accepted"))
            if not letter.delivered and not letter.refused:
                self._waiting.add(envelope_id)

    def refuse(self, now: float, envelope_id: bytes, code: str, *, late: bool) -> None:
        """Its submitter was told that it is not, or, `late`, that the recipient's homeserver did not take it."""
        letter = self._of(envelope_id, f"refused: {code}")
        if letter is None:
            return
        letter.history.append((now, f"refused{' late' if late else ''}: {code}"))
        if late or not letter.accepted:
            letter.refused = code
            self._waiting.discard(envelope_id)
        if code not in EXCUSES:
            self._find("refused", f"{code}, though nothing forbids it", letter)
        elif code == "EXPIRED" and now < letter.expiry - self.skew:
            self._find("refused", "as expired, before its time", letter)

    def arrive(self, now: float, recipient: str, envelope_id: bytes, urgency: int, digest: bytes) -> None:
        """It was brought to a device, which may happen more than once."""
        letter = self._of(envelope_id, "brought to a device")
        if letter is None:
            return
        letter.history.append((now, f"brought to {recipient}"))
        for what, is_now, was in (
            ("mailbox", recipient, letter.recipient),
            ("class", urgency, letter.urgency),
            ("body", digest, letter.digest),
        ):
            if is_now != was:
                self._find("changed", f"its {what} is not what it was", letter)

    def give(self, now: float, recipient: str, envelope_id: bytes) -> None:
        """The application of `recipient` was given it."""
        letter = self._of(envelope_id, "given to an application")
        if letter is None:
            return
        letter.delivered += 1
        letter.history.append((now, f"given to the application of {recipient}"))
        self._waiting.discard(envelope_id)
        if letter.delivered > 1:
            self._find("twice", f"given to the application {letter.delivered} times", letter)
        else:
            self._given.setdefault(recipient, []).append(letter)

    def note(self, rule: str, text: str) -> None:
        """A violation that is not about envelopes."""
        self.found.append(Violation(rule, text))

    # --- what follows from it ---

    def waiting(self, now: float) -> list[Letter]:
        """Accepted, and neither given to the application nor refused nor, perhaps, expired by `now`."""
        letters = (self.letters[envelope_id] for envelope_id in self._waiting)
        return [letter for letter in letters if letter.expiry - self.skew > now]

    def counts(self) -> dict[str, int]:
        """For people and files."""
        letters = self.letters.values()
        return {
            "handed_over": len(letters),
            "accepted": sum(letter.accepted for letter in letters),
            "handed_over_again": sum(letter.handed > 1 for letter in letters),
            "delivered": sum(letter.delivered > 0 for letter in letters),
            "refused": sum(bool(letter.refused) for letter in letters),
            "expired": sum(letter.accepted and not letter.delivered and not letter.refused for letter in letters),
        }

    def violations(self, now: float) -> list[Violation]:
        """All that is wrong at `now`, when everything that can come has come."""
        lost = [_about("lost", "accepted, and never given to the application", (x,)) for x in self.waiting(now)]
        return [*self.found, *lost, *self._reordered()]

    def _reordered(self) -> Iterator[Violation]:
        """What was handed over more than once has no place of its own: which of the times counted, nobody knows."""
        for letters in self._given.values():
            last: dict[tuple[int, int], Letter] = {}
            for letter in letters:
                if letter.handed > 1:
                    continue
                before = last.get((letter.connection, letter.urgency))
                if before is not None and before.number > letter.number:
                    text = f"number {letter.number} of a connection came after number {before.number}"
                    yield _about("order", text, (letter, before))
                else:
                    last[letter.connection, letter.urgency] = letter

    def _of(self, envelope_id: bytes, what: str) -> Letter | None:
        letter = self.letters.get(envelope_id)
        if letter is None:
            self.note("invented", f"{envelope_id.hex()} was never handed over, and is {what}")
        return letter

    def _find(self, rule: str, text: str, letter: Letter) -> None:
        self.found.append(_about(rule, text, (letter,)))


def _about(rule: str, text: str, letters: Iterable[Letter]) -> Violation:
    lines = []
    for letter in letters:
        lines.append(
            f"{letter.id.hex()} for {letter.recipient}, class {letter.urgency}, number {letter.number}"
            f" of connection {letter.connection}, expiry {letter.expiry:.1f}"
        )
        lines += [f"  {at:8.2f} s  {what}" for at, what in letter.history]
    return Violation(rule, text, tuple(lines))
