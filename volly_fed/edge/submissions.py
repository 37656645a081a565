"""What an edge took from its devices and the homeserver has not settled; and, for late refusals, who had submitted it.

in: encoded envelopes from a connection, settled keys from the session; out: keys to offer, outcomes per connection.
Bounded per connection and in all, in envelopes and bytes: what does not fit is refused as OVERLOADED, never dropped.
Never: tells the homeserver which connection submitted what.
"""

from collections import OrderedDict
from collections.abc import Iterable
from typing import NamedTuple

import attrs

from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.relay.envelope import check_lifetime, parse_envelope
from volly_fed.wire.messages import Outcome

_TEXTS = {
    ErrorCode.EXPIRED: "the envelope has expired; note: check this device's clock",
    ErrorCode.MALFORMED: "the envelope wants to live too long",
}
_OVERLOADED = "too many envelopes are under way; submit it again later"


class _Pending(NamedTuple):
    connection: int
    id: bytes
    size: int


@attrs.define
class Outcomes:
    """What became of some envelopes of one connection."""

    accepted: list[bytes] = attrs.field(factory=list)
    refused: list[Outcome] = attrs.field(factory=list)


@attrs.define
class Submissions:
    """One per edge node. Keys count up from 1 and are never used twice."""

    _pending: dict[int, _Pending] = attrs.field(factory=dict, repr=False)
    _counts: dict[int, int] = attrs.field(factory=dict, repr=False)
    _submitters: OrderedDict[bytes, int] = attrs.field(factory=OrderedDict, repr=False)
    _bytes: int = 0
    _last: int = 0

    def __len__(self) -> int:
        return len(self._pending)

    def take(self, connection: int, frames: list[bytes], now: float) -> tuple[list[tuple[int, bytes]], list[Outcome]]:
        """(key, envelope) for each that is to be offered to the homeserver, and what is refused at once.

        Raises BadMessage when one is not an envelope: then none is taken. `now` is the wall clock.
        """
        envelopes = [parse_envelope(frame) for frame in frames]
        offered: list[tuple[int, bytes]] = []
        refused: list[Outcome] = []
        for envelope, frame in zip(envelopes, frames, strict=True):
            code = check_lifetime(envelope, now)
            if code is not ErrorCode.NONE:
                refused.append((envelope.id, code, _TEXTS[code]))
            elif self._is_full(connection, len(frame)):
                refused.append((envelope.id, ErrorCode.OVERLOADED, _OVERLOADED))
            else:
                offered.append((self._add(connection, envelope.id, len(frame)), frame))
        return offered, refused

    def settle(self, keys: Iterable[int], refused: Iterable[tuple[int, ErrorCode, str]]) -> dict[int, Outcomes]:
        """What to tell each connection. `refused` is told apart whether or not its keys stand in `keys` too."""
        outcomes: dict[int, Outcomes] = {}
        for key, code, text in refused:
            pending = self._remove(key)
            if pending is not None:
                outcomes.setdefault(pending.connection, Outcomes()).refused.append((pending.id, code, text))
        for key in keys:
            pending = self._remove(key)
            if pending is not None:
                outcomes.setdefault(pending.connection, Outcomes()).accepted.append(pending.id)
                self._remember(pending)
        return outcomes

    def submitters(self, outcomes: Iterable[Outcome]) -> dict[int, list[Outcome]]:
        """Late refusals by the connection that had submitted them; what nobody remembers is left out."""
        found: dict[int, list[Outcome]] = {}
        for outcome in outcomes:
            connection = self._submitters.pop(outcome[0], None)
            if connection is not None:
                found.setdefault(connection, []).append(outcome)
        return found

    def _is_full(self, connection: int, size: int) -> bool:
        return (
            self._counts.get(connection, 0) >= limits.DEVICE_QUEUE
            or len(self._pending) >= limits.EDGE_SUBMISSIONS
            or self._bytes + size > limits.EDGE_SUBMISSION_BYTES
        )

    def _add(self, connection: int, envelope_id: bytes, size: int) -> int:
        self._last += 1
        self._pending[self._last] = _Pending(connection, envelope_id, size)
        self._counts[connection] = self._counts.get(connection, 0) + 1
        self._bytes += size
        return self._last

    def _remove(self, key: int) -> _Pending | None:
        pending = self._pending.pop(key, None)
        if pending is not None:
            self._bytes -= pending.size
            left = self._counts[pending.connection] - 1
            if left:
                self._counts[pending.connection] = left
            else:
                del self._counts[pending.connection]
        return pending

    def _remember(self, pending: _Pending) -> None:
        self._submitters[pending.id] = pending.connection
        if len(self._submitters) > limits.RECEIPT_MEMORY:
            self._submitters.popitem(last=False)
