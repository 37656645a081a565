"""A whole filter in pieces: 2 MiB do not fit into one message, and envelopes shall pass between two pieces.

in: a filter's head and bytes, or pieces as they come in; out: the pieces, or the head and the bytes.
Never: holds more than one filter of the class that the first piece names, or makes room for what has not come.
"""

from volly_fed.codepoints import ErrorCode, FilterClass
from volly_fed.errors import BadMessage, RemoteError
from volly_fed.presence import bounds
from volly_fed.presence.placement import filter_bytes, parse_class
from volly_fed.wire.messages import PresenceSnapshot


def snapshot_pieces(*, epoch: int, key: bytes, size: FilterClass, sequence: int, bits: bytes) -> list[PresenceSnapshot]:
    """The messages that carry this filter, in the order in which they are to be sent."""
    return [
        PresenceSnapshot(
            epoch=epoch,
            key=key,
            size=int(size),
            sequence=sequence,
            offset=offset,
            bits=bits[offset : offset + bounds.SNAPSHOT_PIECE],
        )
        for offset in range(0, len(bits), bounds.SNAPSHOT_PIECE)
    ]


class Assembly:
    """One filter that comes in. Raises BadMessage BAD_FILTER when the first piece is not of a known class."""

    def __init__(self, first: PresenceSnapshot) -> None:
        self.size = parse_class(first.size)
        self.epoch, self.key, self.sequence = first.epoch, first.key, first.sequence
        self._bits = bytearray()
        self._total = filter_bytes(self.size)

    def add(self, piece: PresenceSnapshot) -> bytes | None:
        """Take the next piece, the first one too; all bytes when it was the last.

        Raises RemoteError OUT_OF_STEP unless it continues what has come, BadMessage BAD_FILTER unless it is as long as
        its place in the filter wants.
        """
        head = (piece.epoch, piece.key, piece.size, piece.sequence)
        if head != (self.epoch, self.key, self.size, self.sequence) or piece.offset != len(self._bits):  # [presence-36]
            raise RemoteError("this piece of a filter does not continue the former", code=ErrorCode.OUT_OF_STEP)
        if len(piece.bits) != min(bounds.SNAPSHOT_PIECE, self._total - len(self._bits)):  # [presence-37]
            raise BadMessage("a piece of a filter has another size than it must", code=ErrorCode.BAD_FILTER)
        self._bits += piece.bits
        return bytes(self._bits) if len(self._bits) == self._total else None
