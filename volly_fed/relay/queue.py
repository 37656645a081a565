"""Which part of a peer's queue is in memory, which only on the disk, and how much it may hold in all.

in: what was stored, read and offered; out: what to offer now, and from where to read on.
Never: holds envelopes itself, or lets the order of rows be changed by whether they came from memory or from the disk.
"""

from collections.abc import Sequence


def queue_room(
    envelopes: int,
    size: int,
    *,
    most_envelopes: int,
    most_bytes: int,
) -> int:
    """How many more envelopes a queue may take that holds `envelopes` of `size` bytes; 0: refuse (OVERLOADED).

    A batch may overshoot the bytes once.
    """
    return max(0, most_envelopes - envelopes) if size < most_bytes else 0


class Backlog:
    """One peer's rows of one class: those up to a certain one were given to the stream, the rest lies on the disk.

    At first all that a former process left counts as unread, so that a backlog leaves without new traffic.
    """

    def __init__(self) -> None:
        self._offered = 0  # the last row given to the stream
        self._stored = 0  # the last row handed to the disk
        self._unread = True  # the disk holds, or may hold, rows after `_offered`
        self._inherited = True  # it may hold rows that a former process has stored: nobody knows how far they go
        self._reading_to: int | None = None  # a read is under way; it will see rows up to here

    @property
    def to_read(self) -> bool:
        """Whether the disk holds, or may hold, more, and nobody is reading."""
        return self._unread and self._reading_to is None

    @property
    def reading(self) -> bool:
        """Whether a read is under way."""
        return self._reading_to is not None

    def stored(self, rows: Sequence[int], room: int) -> int:
        """New `rows` go to the disk, and the stream has `room`: how many of them, from the first, to offer now."""
        if rows:
            self._stored = max(self._stored, rows[-1])
        if self._unread or not rows:
            return 0
        count = min(len(rows), room)
        if count:
            self._offered = rows[count - 1]
        self._unread = count < len(rows)
        return count

    def next_read(self, room: int) -> int | None:
        """The row after which to read up to `room` rows and then call `read`; None: nothing to read, or reading."""
        if not self._unread or not room or self._reading_to is not None:
            return None
        self._reading_to = self._stored
        return self._offered

    def read(self, last_row: int | None) -> None:
        """The read has brought rows up to `last_row`, which are offered now; None: there were none.

        Rows handed to the disk after the read was begun are not thought to be seen by it.
        """
        seen, self._reading_to = self._reading_to or 0, None
        if last_row is None:
            self._inherited = False
            self._offered = max(self._offered, seen)
        else:
            self._offered = max(self._offered, last_row)
        self._unread = self._inherited or self._offered < self._stored

    def read_failed(self) -> None:
        """The read brought an error; it will be asked for again."""
        self._reading_to = None
