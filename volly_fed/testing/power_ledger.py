"""What the path has promised, and what it has done: told by those who see it, judged at the end.

in: submissions, answers, frames on the wires, messages handed out; out: findings, as sentences that begin with a kind.
lost: accepted, and never handed out. twice: handed out again. strange: not as it was submitted. order: two of one
connection and class the wrong way round. ahead: a cursor beyond what is durable.
"""

from collections import defaultdict

import apsw
import attrs

from volly_fed.codepoints import EnvelopeClass
from volly_fed.wire import Message
from volly_fed.wire.messages import Batch, Deliver


@attrs.frozen
class Parcel:
    """One envelope: its id, class, encoded form, and what is sealed in it."""

    id: bytes
    urgency: EnvelopeClass
    frame: bytes = attrs.field(repr=False)
    data: bytes = attrs.field(repr=False)


@attrs.define
class Ledger:
    """One run's."""

    findings: list[str] = attrs.field(factory=list)
    parcels: dict[bytes, Parcel] = attrs.field(factory=dict, repr=False)
    """All that were submitted, by id."""
    accepted: set[bytes] = attrs.field(factory=set)
    refused: dict[bytes, str] = attrs.field(factory=dict)
    """What the sending device was told for good."""
    lanes: dict[tuple[int, EnvelopeClass], list[bytes]] = attrs.field(factory=lambda: defaultdict(list))
    """Per submitting connection and class the ids, as they were handed over."""
    out: dict[bytes, int] = attrs.field(factory=dict)
    """Per id handed out its place."""
    overloaded: bool = False
    """Some disk was full, so that envelopes were refused for a while."""
    repeated: int = 0
    """Handed out again after a crash between that and the note of it, as client.inbox says."""
    _taken: set[bytes] = attrs.field(factory=set)
    _last: bytes = b""
    _life: int = 0
    _begun: int = 0
    _frames: dict[bytes, bytes] = attrs.field(factory=dict)
    _carried: dict[tuple[bytes, int], bytes] = attrs.field(factory=dict)
    """(stream, sequence number) -> envelope, from A to B."""

    def complain(self, finding: str) -> None:
        """Something is wrong."""
        if finding not in self.findings:
            self.findings.append(finding)

    # --- the sending device ----------------------------------------------------------------------------------------

    def submit(self, connection: int, parcels: list[Parcel]) -> None:
        """These are being handed over."""
        for parcel in parcels:
            self.parcels[parcel.id] = parcel
            self._frames[parcel.frame] = parcel.id
            self.lanes[connection, parcel.urgency].append(parcel.id)

    # --- the wires -------------------------------------------------------------------------------------------------

    def note(self, label: str, message: Message) -> None:
        """Something is on a wire."""
        if label == "A>B" and isinstance(message, Batch):
            for sequence, frame in enumerate(message.envelopes, message.first):
                if self._carried.setdefault((message.stream, sequence), frame) != frame:
                    self.complain("ahead: two envelopes bear one sequence number")
        if label == "EB>R" and isinstance(message, Deliver) and not self._frames.keys() >= set(message.envelopes):
            self.complain("strange: an envelope was delivered that nobody submitted, or altered")

    # --- the receiving device --------------------------------------------------------------------------------------

    def begin_life(self) -> None:
        """The application has started again."""
        self._life += 1

    def hand_out(self, envelope_id: bytes, data: bytes) -> None:
        """The application has a message."""
        parcel = self.parcels.get(envelope_id)
        if parcel is None or parcel.data != data:
            self.complain("strange: a message nobody sent was handed out")
        if envelope_id in self.out:
            if envelope_id in self._taken or (envelope_id, self._life) == (self._last, self._begun):
                self.complain("twice: a message was handed out again")
            elif envelope_id != self._last:
                self.complain("twice: a message that was not the last one was handed out again")
            self.repeated += 1
        self.out.setdefault(envelope_id, len(self.out))
        self._last, self._begun = envelope_id, self._life

    def took(self) -> None:
        """And it is noted durably that it has."""
        self._taken.add(self._last)

    # --- judgement -------------------------------------------------------------------------------------------------

    def look(self, name: str, database: apsw.Connection) -> None:
        """A database as it was opened."""
        if database.pragma("integrity_check") != "ok":
            self.complain(f"corrupt: {name}")
        if name == "B" and not self.overloaded:
            seen = {bytes(identity) for (identity,) in database.execute("SELECT id FROM seen")}
            for stream, cursor in database.execute("SELECT id, cursor FROM stream"):
                for sequence in range(1, cursor + 1):
                    frame = self._carried.get((stream, sequence))
                    if frame is None or self._frames[frame] not in seen:
                        self.complain(f"ahead: a cursor of {name} covers what is not there")
                        return

    def judge(self) -> None:
        """Everything has come to rest. What was refused for a while comes later, so that its order is not judged."""
        lost = sorted(self.accepted - self.out.keys() - self.refused.keys())
        if lost:
            self.complain(f"lost: {len(lost)} accepted envelopes were never handed out: {_names(lost)}")
        if self.refused:
            self.complain(f"refused: {sorted(set(self.refused.values()))}")
        for (connection, urgency), ids in self.lanes.items() if not self.overloaded else ():
            places = [self.out[identity] for identity in ids if identity in self.out]
            if places != sorted(places):
                self.complain(f"order: of connection {connection}, class {urgency.name}: {places}")


def _names(ids: list[bytes]) -> str:
    return ", ".join(identity.hex()[:8] for identity in ids[:3])
