"""Refusals on their way back: what the sender's homeserver tells the edge, and it the device.

in: refused envelopes by id; out: RECEIPT messages. Nothing is kept: who is gone does not learn it.
Never: tells apart what depends on a mailbox: unknown, wrong capability, out of scope and full are one answer.
"""

from collections.abc import Sequence
from typing import Final

from volly_fed import limits
from volly_fed.codepoints import ErrorCode
from volly_fed.wire.messages import Outcome, Receipt

UNDELIVERABLE: Final = (ErrorCode.UNDELIVERABLE, "this envelope cannot be delivered")  # [relay-13] [relay-24]
"""The one code and text for every refusal that depends on a mailbox."""
EXPIRED: Final = (ErrorCode.EXPIRED, "its expiry has passed")
TOO_LONG: Final = (ErrorCode.MALFORMED, "it wants to live longer than envelopes may")
DROPPED: Final = (ErrorCode.POLICY, "the operator of this server has dropped it from the queue")
DROPPED_LATE: Final = (ErrorCode.POLICY, "the operator of this server has dropped it; it may have arrived all the same")
"""It had been sent, and the peer has not answered for it."""
OVERLOADED: Final = (ErrorCode.OVERLOADED, "the queue is full; try again later")


def receipts(refused: Sequence[Outcome]) -> list[Receipt]:
    """RECEIPT messages for `refused`, each with as many as one message may hold."""
    size = limits.REFUSALS_PER_ACK
    return [Receipt(refused=tuple(refused[at : at + size])) for at in range(0, len(refused), size)]
