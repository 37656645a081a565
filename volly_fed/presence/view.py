"""Viewing what one peer shows: its filter as it is now, checked before anybody looks at it.

in: the peer's messages, the wall clock; out: what to ask the peer for, and events for the devices that watch it.
Never: keeps two filters and a third one coming, changes a filter before the whole change is known to be good, or
believes a peer about sizes. After an error the filter is as it was; the caller closes the link, or asks anew (`again`).
"""

from typing import Any

from volly_fed.codepoints import ErrorCode
from volly_fed.crypto.secret import Secret
from volly_fed.errors import BadMessage, LocalProtocolError, RemoteError
from volly_fed.presence import bounds
from volly_fed.presence.delta import parse_delta
from volly_fed.presence.filter import Filter
from volly_fed.presence.placement import Placement, filter_bits, filter_bytes, parse_class
from volly_fed.presence.snapshot import Assembly, snapshot_pieces
from volly_fed.presence.state import VIEWING, Appeared, Changed, Gone, Viewing
from volly_fed.presence.tags import epoch_of, epochs_at
from volly_fed.wire import Message, codec
from volly_fed.wire.fields import bstr, uint
from volly_fed.wire.messages import (
    FILTER_KEY_BYTES,
    PresenceDelta,
    PresenceRequest,
    PresenceResume,
    PresenceSnapshot,
    PresenceWithdraw,
)

_VERSION = 1


class View:
    """One peer. `wall` is unix time, for epochs are."""

    def __init__(self) -> None:
        self.state = Viewing.AWAY
        self.filter: Filter | None = None
        """What the peer shows, or None."""
        self.epoch = 0
        """Of `filter`: a device tries the tags of this epoch."""
        self.sequence = 0
        self._filter_id = b""
        self._assembly: Assembly | None = None
        self._unwanted = False
        self._taken = (0, 0)  # (epoch of ours, snapshots taken in it)
        self._events: list[Appeared | Changed | Gone] = []

    # --- the link ---

    def connected(self) -> PresenceResume | PresenceRequest:
        """There is a link: what to say on it first of all."""
        message: PresenceResume | PresenceRequest
        if self.filter is None:
            message = PresenceRequest()
        else:
            message = PresenceResume(filter=self._filter_id, sequence=self.sequence)  # [presence-32]
        self.state = VIEWING.after(Viewing.AWAY, type(message), remote=False)
        return message

    def lost(self) -> None:
        """There is none any more; the filter is kept."""
        self.state = Viewing.AWAY
        self._assembly = None
        self._unwanted = False

    def again(self) -> PresenceRequest:
        """The message that asks for a filter, whatever was before. Raises LocalProtocolError without a link."""
        if self.state is Viewing.AWAY:
            raise LocalProtocolError("there is no link to ask on")
        self._unwanted = self._unwanted or self.state is Viewing.RECEIVING
        self.state = VIEWING.after(self.state, PresenceRequest, remote=False)
        self._assembly = None
        return PresenceRequest()

    def receive(self, message: Message, wall: float) -> None:
        """Take PresenceSnapshot, PresenceDelta or PresenceWithdraw; `events` has what came of it.

        Raises RemoteError: BAD_FILTER, WRONG_EPOCH, OUT_OF_STEP, BUSY (too many filters), UNEXPECTED, or MALFORMED.
        """
        if not isinstance(message, PresenceSnapshot | PresenceDelta | PresenceWithdraw):
            raise RemoteError(f"{type(message).__name__} does not belong here", code=ErrorCode.UNEXPECTED)
        if self._unwanted and isinstance(message, PresenceSnapshot):
            # [presence-40]
            if message.offset:  # the rest of the filter that was coming in when we asked for another
                return
            self._unwanted = False
        assembly, self._assembly = self._assembly, None
        state = VIEWING.after(self.state, type(message), remote=True)
        if isinstance(message, PresenceSnapshot):
            self.state = state
            self._piece(message, assembly, wall)
        elif isinstance(message, PresenceWithdraw):  # [presence-41]
            self._drop()
            self.state = state
        elif self.state is Viewing.FOLLOWING:  # else it is of a filter that is no longer wanted
            self._change(message)

    def events(self) -> list[Appeared | Changed | Gone]:
        """What has happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    # --- time ---

    @property
    def deadline(self) -> float | None:
        """When `tick` wants to be called at the latest, on the wall clock."""
        # [presence-42]
        return None if self.filter is None else (self.epoch + 1) * bounds.EPOCH + 2.0 * bounds.EPOCH_GRACE

    def tick(self, wall: float) -> None:
        """Forget a filter whose epoch is over and that nothing has replaced."""
        if self.deadline is not None and wall >= self.deadline:
            self._drop()
            self.state = VIEWING.after(self.state, Gone, remote=False)

    # --- for those who join in later, and for the disk ---

    def pieces(self) -> list[PresenceSnapshot]:
        """The filter as messages, for a device that begins to watch; none when there is no filter."""
        if self.filter is None:
            return []
        placement = self.filter.placement
        return snapshot_pieces(
            epoch=self.epoch,
            key=placement.key.reveal(),
            size=placement.size,
            sequence=self.sequence,
            bits=self.filter.to_bytes(),
        )

    def to_record(self) -> bytes | None:
        """What to keep so that the peer need not send its filter anew after a restart; None: nothing. Secret."""
        if self.filter is None:
            return None
        placement = self.filter.placement
        return codec.encode(
            {
                0: _VERSION,
                1: self.epoch,
                2: placement.key.reveal(),
                3: int(placement.size),
                4: self.sequence,
                5: self.filter.to_bytes(),
            }
        )

    @classmethod
    def from_record(cls, record: bytes) -> "View":
        """The view of `to_record`, without a link. Raises BadMessage for anything else."""
        fields: Any = codec.decode(record, limit=bounds.MAX_RECORD)
        if type(fields) is not dict or fields.get(0) != _VERSION:
            raise BadMessage("not the record of a view")
        key = bstr(size=FILTER_KEY_BYTES)(fields.get(2))
        placement = Placement(Secret(key), parse_class(fields.get(3)))
        bits = bstr(size=filter_bytes(placement.size))(fields.get(5))
        made = cls()
        made._hold(uint(fields.get(1)), uint(fields.get(4)), Filter.from_bytes(placement, bits))
        return made

    # --- inside ---

    def _piece(self, piece: PresenceSnapshot, assembly: Assembly | None, wall: float) -> None:
        if piece.offset == 0:
            self._refuse_head(piece, wall)
            assembly = Assembly(piece)
        if assembly is None:
            raise RemoteError("a piece of a filter that has not begun", code=ErrorCode.OUT_OF_STEP)
        bits = assembly.add(piece)
        if bits is None:
            self._assembly = assembly
            return
        placement = Placement(Secret(assembly.key), assembly.size)
        self._hold(assembly.epoch, assembly.sequence, Filter.from_bytes(placement, bits))
        self.state = VIEWING.after(self.state, Appeared, remote=False)
        self._events.append(
            Appeared(epoch=assembly.epoch, key=assembly.key, size=assembly.size, sequence=assembly.sequence, bits=bits)
        )

    def _refuse_head(self, piece: PresenceSnapshot, wall: float) -> None:
        oldest, newest = epochs_at(wall)
        if not max(oldest, self.epoch if self.filter else 0) <= piece.epoch <= newest:  # [presence-33]
            raise RemoteError("a filter of another epoch", code=ErrorCode.WRONG_EPOCH)
        # [presence-34]
        if self.filter and self.filter.placement.key == Secret(piece.key) and piece.sequence < self.sequence:
            raise RemoteError("a filter older than the one it shows", code=ErrorCode.OUT_OF_STEP)
        epoch = epoch_of(wall)
        taken = self._taken[1] if self._taken[0] == epoch else 0
        if taken >= bounds.SNAPSHOTS_PER_EPOCH:  # [presence-35]
            raise RemoteError("too many filters in one epoch", code=ErrorCode.BUSY)
        self._taken = (epoch, taken + 1)

    def _hold(self, epoch: int, sequence: int, filtered: Filter) -> None:
        self.filter, self.epoch, self.sequence = filtered, epoch, sequence
        self._filter_id = filtered.placement.filter_id

    def _change(self, message: PresenceDelta) -> None:
        # [presence-38]
        if self.filter is None or message.filter != self._filter_id or message.sequence != self.sequence + 1:
            raise RemoteError("a change that does not follow the last", code=ErrorCode.OUT_OF_STEP)
        self.filter.flip(parse_delta(message.changes, filter_bits(self.filter.placement.size)))
        self.sequence += 1
        self._events.append(Changed(sequence=self.sequence, changes=message.changes))

    def _drop(self) -> None:
        if self.filter is not None:
            self.filter = None
            self._events.append(Gone())
