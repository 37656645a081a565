"""Who submitted what is under way to a peer, for as long as that can still be refused.

in: rows as they are queued, and those that are refused; out: which edge link to tell of a refusal. In memory, bounded,
best effort: a device that is gone, or an edge, or this process, costs the notice and nothing else.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import attrs

from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.wire.messages import Outcome


class _Batch(NamedTuple):
    rows: range
    link: int
    ids: Sequence[bytes]


@attrs.define
class Submitters:
    """The last limits.RECEIPT_MEMORY outbound rows, by batches, and the (edge link, envelope ids) they came by.

    Nothing is done when rows are settled, as nearly all are: a batch is forgotten when younger ones have come.
    """

    _batches: deque[_Batch] = attrs.field(factory=deque, repr=False, init=False)
    """In the order of their rows."""
    _count: int = attrs.field(default=0, init=False)

    def note(self, link: int, rows: range, ids: Sequence[bytes]) -> None:
        """`rows`, higher than all before, were submitted through edge `link`."""
        self._batches.append(_Batch(rows, link, ids))
        self._count += len(rows)
        while self._count > limits.RECEIPT_MEMORY:
            self._count -= len(self._batches.popleft().rows)

    def notices(self, refused: Iterable[tuple[int, ErrorCode, str]]) -> dict[int, list[Outcome]]:
        """What to tell which edge link about rows that were refused."""
        notices: dict[int, list[Outcome]] = {}
        for row, code, text in refused:
            at = bisect_right(self._batches, row, key=lambda batch: batch.rows.start) - 1
            if at >= 0 and row in self._batches[at].rows:
                batch = self._batches[at]
                notices.setdefault(batch.link, []).append((batch.ids[row - batch.rows.start], code, text))
        return notices
