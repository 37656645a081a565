"""What a session is told to do, and what it tells.

in: nothing; out: frozen command and event classes. Envelopes and keys are lists that belong to who receives them.
"""

from collections.abc import Hashable
from typing import Generic, TypeAlias, TypeVar

import attrs

from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.wire.messages import Message, Refusal

K = TypeVar("K", bound=Hashable)


@attrs.frozen(kw_only=True)
class Acknowledge:
    """Command: everything of `stream` up to `cursor` is durable here, known already, or refused as listed.

    Also the answer to StreamOpened, with the cursor that is stored for that stream (0: none) and what of the last
    window was refused: the sender may not have heard of it.
    """

    stream: bytes
    cursor: int
    refusals: tuple[Refusal, ...] = ()


@attrs.frozen
class Extra:
    """Command: send a message outside the stream; its class must be one of the session's `extra`."""

    message: Message


@attrs.frozen(kw_only=True)
class Drain:
    """Command: send no more batches, say so, and let what is under way be acknowledged (limits.DRAIN)."""

    code: ErrorCode = ErrorCode.NONE
    text: str = ""


@attrs.frozen
class Next:
    """Command: give the next message that should leave, the most urgent first; b"": nothing wants to leave."""


@attrs.frozen(kw_only=True)
class Grant:
    """Command: from now on the peer may have so much in flight, at most the limits; 0 in either: nothing for now.

    What was granted before on this link may still come.
    """

    window: int = limits.WINDOW_ENVELOPES
    window_bytes: int = limits.WINDOW_BYTES


Command: TypeAlias = Acknowledge | Extra | Drain | Grant | Next


@attrs.frozen
class StreamOpened:
    """The peer named its stream: answer with Acknowledge, the stored cursor and the stored refusals."""

    stream: bytes


@attrs.frozen(kw_only=True)
class Received:
    """New envelopes, `first` and following of `stream`: store them, with cursor `last`, then Acknowledge."""

    stream: bytes
    first: int
    envelopes: list[bytes] = attrs.field(repr=lambda envelopes: f"{len(envelopes)} envelopes")

    @property
    def last(self) -> int:
        """The sequence number of the last envelope: the cursor once all are settled."""
        return self.first + len(self.envelopes) - 1


@attrs.frozen(kw_only=True)
class Settled(Generic[K]):
    """The peer is done with these. `keys`: ours no longer, the refused ones among them.

    `refused`: which of `keys` it will not have, and why. `later`: (key, envelope) it wants offered again later.
    """

    keys: list[K]
    refused: list[tuple[K, ErrorCode, str]] = attrs.Factory(list)
    later: list[tuple[K, bytes]] = attrs.field(factory=list, repr=lambda later: f"{len(later)} envelopes")


@attrs.frozen
class Other:
    """A message outside the stream, of a class this session was told to expect."""

    message: Message


@attrs.frozen(kw_only=True)
class Closing:
    """The peer sends no more batches, for this reason; this side drains too, by itself. `retry_after`: its CLOSE's."""

    code: ErrorCode
    text: str
    retry_after: int = 0


@attrs.frozen(kw_only=True)
class Finished:
    """The link may be closed. `complete`: all that was under way was acknowledged, both ways."""

    complete: bool


@attrs.frozen
class Lost:
    """The other end has not answered a ping: `silence` seconds without a sign of it. Drop the link."""

    silence: float


Event: TypeAlias = StreamOpened | Received | Settled[K] | Other | Closing | Finished | Lost
