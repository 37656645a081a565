"""What an edge took from its devices and the homeserver has not settled; and, for late refusals, who had submitted it.

in: encoded envelopes from a connection, settled keys from the session; out: keys to offer, outcomes per connection.
Bounded per connection and in all, in envelopes and bytes: what does not fit is refused as OVERLOADED, never dropped.
Never: tells the homeserver which connection submitted what.
"""

from collections.abc import Iterable
from typing import TypeAlias

import attrs

from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.relay.envelope import check_expiry, read_head
from volly_fed.wire.messages import Outcome

_TEXTS = {
    ErrorCode.EXPIRED: "the envelope has expired; note: check this device's clock",
    ErrorCode.MALFORMED: "the envelope wants to live too long",
}
_OVERLOADED = "too many envelopes are under way; submit it again later"


_Pending: TypeAlias = tuple[int, bytes, int]
"""(connection, envelope id, size): a plain tuple, for one is made for every envelope."""


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
    _submitters: dict[bytes, int] = attrs.field(factory=dict, repr=False)
    _submitters_before: dict[bytes, int] = attrs.field(factory=dict, repr=False)
    """Those of the time before; when `_submitters` has half of what may be remembered, it takes their place."""
    _early: dict[bytes, Outcome] = attrs.field(factory=dict, repr=False)
    """Refusals that have overtaken the acceptance: the recipient's homeserver may be faster than our disk."""
    _bytes: int = 0
    _last: int = 0

    def __len__(self) -> int:
        return len(self._pending)

    def take(self, connection: int, frames: list[bytes], now: float) -> tuple[list[tuple[int, bytes]], list[Outcome]]:
        """(key, envelope) for each that is to be offered to the homeserver, and what is refused at once.

        Raises BadMessage when one is not an envelope: then none is taken. `now` is the wall clock.
        """
        heads = [read_head(frame) for frame in frames]  # [edge-30]
        offered: list[tuple[int, bytes]] = []
        refused: list[Outcome] = []
        pending, key, size = self._pending, self._last, self._bytes
        count = self._counts.get(connection, 0)
        for (_, _, identity, expiry, *_), frame in zip(heads, frames, strict=True):
            code = check_expiry(expiry, now)
            if code is not ErrorCode.NONE:
                refused.append((identity, code, _TEXTS[code]))
            elif (
                count >= limits.DEVICE_QUEUE  # [edge-29]
                or len(pending) >= limits.EDGE_SUBMISSIONS
                or size + len(frame) > limits.EDGE_SUBMISSION_BYTES
            ):
                refused.append((identity, ErrorCode.OVERLOADED, _OVERLOADED))
            else:
                key += 1
                count += 1
                size += len(frame)
                pending[key] = (connection, identity, len(frame))
                offered.append((key, frame))
        self._last, self._bytes = key, size
        if count:
            self._counts[connection] = count
        return offered, refused

    def settle(self, keys: Iterable[int], refused: Iterable[tuple[int, ErrorCode, str]]) -> dict[int, Outcomes]:
        """What to tell each connection. `refused` is told apart whether or not its keys stand in `keys` too."""
        outcomes: dict[int, Outcomes] = {}
        for key, code, text in refused:
            found = self._remove(key)
            if found is not None:
                outcomes.setdefault(found[0], Outcomes()).refused.append((found[1], code, text))
        for key in keys:
            found = self._remove(key)
            if found is not None:
                of = outcomes.get(found[0]) or outcomes.setdefault(found[0], Outcomes())
                early = self._early.pop(found[1], None) if self._early else None
                if early is None:
                    of.accepted.append(found[1])
                else:
                    of.refused.append(early)
        for connection, of in outcomes.items():
            self._count_down(connection, len(of.accepted) + len(of.refused))
            self._remember(connection, of.accepted)
        return outcomes

    def submitters(self, outcomes: Iterable[Outcome]) -> dict[int, list[Outcome]]:
        """Late refusals by the connection that had submitted them; one that comes too early is told by `settle`."""
        found: dict[int, list[Outcome]] = {}
        for outcome in outcomes:
            connection = self._submitters.pop(outcome[0], None) or self._submitters_before.pop(outcome[0], None)
            if connection is not None:
                found.setdefault(connection, []).append(outcome)
            else:
                self._early[outcome[0]] = outcome
                if len(self._early) > limits.RECEIPT_MEMORY:
                    del self._early[next(iter(self._early))]
        return found

    def _remove(self, key: int) -> _Pending | None:
        found = self._pending.pop(key, None)
        if found is not None:
            self._bytes -= found[2]
        return found

    def _count_down(self, connection: int, count: int) -> None:
        left = self._counts[connection] - count
        if left:
            self._counts[connection] = left
        else:
            del self._counts[connection]

    def _remember(self, connection: int, ids: list[bytes]) -> None:
        self._submitters.update(dict.fromkeys(ids, connection))
        if len(self._submitters) >= limits.RECEIPT_MEMORY // 2:
            self._submitters_before, self._submitters = self._submitters, {}
