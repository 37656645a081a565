"""What a device announces on one connection, and when: its tags for this epoch and the next, and for a new key anew.

in: the presence key, the scopes, the time; out: the announcements that are due.
The next epoch's tags go ahead of time, so that at its beginning the homeserver has everybody's; and not all devices'
at once. Never: announces under a key that was replaced for longer than it takes to be told of the new one.
"""

from collections.abc import Sequence

from volly_fed.client.presence import announcement
from volly_fed.crypto.secret import Secret
from volly_fed.presence import bounds, epoch_of
from volly_fed.wire.presence import Announce


class Announcer:
    """One connection. `spread`: seconds after an epoch's beginning until the next one's tags are announced."""

    def __init__(self, scopes: Sequence[str], spread: float) -> None:
        self._scopes = tuple(scopes)
        self._spread = spread
        self._key: Secret | None = None
        self._said: frozenset[int] = frozenset()

    def due(self, key: Secret, wall: float) -> list[Announce]:
        """What is to be announced now that has not been; it counts as announced. Ask every now and then."""
        if key != self._key:
            self._key, self._said = key, frozenset()
        epoch = epoch_of(wall)
        wanted = [epoch]
        if epoch not in self._said or wall >= epoch * bounds.EPOCH + self._spread:
            wanted.append(epoch + 1)  # [presence-45]
        new = [number for number in wanted if number not in self._said]
        self._said = frozenset(number for number in (*self._said, *new) if number >= epoch)
        return [announcement(key, number, self._scopes) for number in new]
