"""What goes into the store and comes out of it.

in: nothing; out: plain row classes; cheap ones, since one is made per envelope.
"""

from collections.abc import Sequence
from typing import NamedTuple

import attrs

from volly_fed.codepoints import EnvelopeClass
from volly_fed.names import DomainName, Fingerprint, MailboxId
from volly_fed.relay.envelope import Head
from volly_fed.wire.messages import Refusal


class OutboundRow(NamedTuple):
    """An envelope for a peer: id (16 bytes), expiry (Unix seconds), class, frame (the envelope's bytes)."""

    id: bytes
    expiry: int
    urgency: int
    frame: bytes


class InboundRow(NamedTuple):
    """An envelope for a mailbox of ours."""

    mailbox: MailboxId
    id: bytes
    expiry: int
    urgency: int
    frame: bytes


class Position(NamedTuple):
    """Where a batch stands in a peer's stream, and what of it is refused: stored together with its envelopes."""

    peer: DomainName
    stream: bytes
    first: int
    last: int
    refusals: Sequence[Refusal] = ()


class StoredEnvelope(NamedTuple):
    """An envelope as stored; `row` grows with the order of storing and is what settling and paging go by."""

    row: int
    id: bytes
    expiry: int
    urgency: EnvelopeClass
    frame: bytes


def outbound_row(head: Head, frame: bytes) -> OutboundRow:
    """The row for the envelope whose bytes are `frame`."""
    return OutboundRow(head.id, head.expiry, head.urgency, frame)


def inbound_row(head: Head, frame: bytes) -> InboundRow:
    """The row for the envelope whose bytes are `frame`."""
    return InboundRow(head.mailbox, head.id, head.expiry, head.urgency, frame)


@attrs.define
class MailboxRecord:
    """A claimed mailbox: its registration (edge.registration), and how much it holds. The store keeps it current."""

    mailbox: MailboxId = attrs.field(repr=False)
    number: int
    registration: bytes = attrs.field(repr=False)
    claimed: int
    """When it was last claimed, Unix seconds."""
    envelopes: int
    bytes: int


@attrs.frozen(kw_only=True)
class PeerQueue:
    """What waits for one peer; `oldest` is when the oldest was queued (Unix seconds), None if nothing waits."""

    peer: DomainName
    envelopes: int
    bytes: int
    oldest: int | None


class Waiting(NamedTuple):
    """An envelope that waits for a peer, as an operator may see it. `queued` and `expiry`: Unix seconds."""

    row: int
    id: bytes
    urgency: EnvelopeClass
    size: int
    queued: int
    expiry: int


@attrs.frozen(kw_only=True)
class Backoff:
    """Attempts that failed in a row, and when to try next (Unix seconds)."""

    failures: int
    next_attempt: float


@attrs.frozen(kw_only=True)
class EvidenceRow:
    """What was proved about `domain` at `obtained_at` (Unix seconds): its identities, and the records and signatures.

    `proof` has the lines of a zone file, at most limits.DNS_PROOF_BYTES; empty where nothing was kept.
    """

    domain: DomainName
    obtained_at: float
    identity: Fingerprint
    identity_next: Fingerprint | None
    proof: str


@attrs.frozen(kw_only=True)
class Expired:
    """What a sweep deleted. `forgotten`: ids of the duplicate set; `mailboxes`: unclaimed for too long."""

    outbound_rows: list[int] = attrs.Factory(list)
    inbound: int = 0
    forgotten: int = 0
    mailboxes: int = 0

    @property
    def outbound(self) -> int:
        """How many envelopes for peers."""
        return len(self.outbound_rows)
