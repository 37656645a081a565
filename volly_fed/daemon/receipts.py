"""Who submitted what is under way to a peer, for as long as that can still be refused.

in: rows as they are queued and settled; out: which edge link to tell of a refusal. In memory, bounded, best effort:
a device that is gone, or an edge, or this process, costs the notice and nothing else.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence

import attrs

from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.wire.messages import Outcome


@attrs.define
class Submitters:
    """Outbound rows and the (edge link, envelope id) they came by."""

    _rows: OrderedDict[int, tuple[int, bytes]] = attrs.field(factory=OrderedDict, repr=False, init=False)

    def note(self, link: int, rows: Sequence[int], ids: Sequence[bytes]) -> None:
        """`rows` were submitted through edge `link`."""
        for row, identity in zip(rows, ids, strict=True):
            self._rows[row] = (link, identity)
        while len(self._rows) > limits.RECEIPT_MEMORY:
            self._rows.popitem(last=False)

    def settle(self, rows: Iterable[int], refused: Iterable[tuple[int, ErrorCode, str]]) -> dict[int, list[Outcome]]:
        """Forget `rows`; what to tell which edge link about those that were refused."""
        notices: dict[int, list[Outcome]] = {}
        for row, code, text in refused:
            found = self._rows.get(row)
            if found is not None:
                notices.setdefault(found[0], []).append((found[1], code, text))
        for row in rows:
            self._rows.pop(row, None)
        return notices
