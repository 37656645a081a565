"""Whether an envelope may be put in a mailbox; the one call site of the gate `deliver`.

in: the mailbox's registration and what it holds, the envelope's capability and origin; out: a Decision.
Its reason is for counters here. Outside there is one answer for all of them, REFUSAL, so that nobody can tell an
unknown mailbox from a wrong capability, a scope or a full mailbox; each takes the same steps.
"""

import attrs

from volly_fed import limits
from volly_fed.codepoints import TrustLevel
from volly_fed.edge.registration import NOTHING, Registration
from volly_fed.names import DomainName
from volly_fed.relay.receipt import UNDELIVERABLE
from volly_fed.trust.gates import Decision, deliver
from volly_fed.trust.policy import Policy

REFUSAL = UNDELIVERABLE
"""What the sender is told, whatever the reason."""


@attrs.frozen(kw_only=True)
class Usage:
    """What a mailbox holds now."""

    envelopes: int
    bytes: int


EMPTY = Usage(envelopes=0, bytes=0)
DEFAULT_QUOTA = Usage(envelopes=limits.MAILBOX_ENVELOPES, bytes=limits.MAILBOX_BYTES)


def decide_admission(
    registration: Registration | None,
    capability: bytes,
    origin: DomainName,
    *,
    own: DomainName,
    level: Policy | TrustLevel,
    usage: Usage = EMPTY,
    quota: Usage = DEFAULT_QUOTA,
    size: int,
) -> Decision:
    """Whether an envelope of `size` bytes from a user of `origin` may be stored for a mailbox of `own`.

    `registration` is None for a mailbox that nobody claimed. `level` is the one frozen into the session it came by;
    `quota` is what a mailbox may hold at most.
    """
    scopes = (registration or NOTHING).scopes(capability)
    decision = deliver(level, origin, scopes or (), own=own)
    fits = usage.envelopes < quota.envelopes and usage.bytes + size <= quota.bytes
    if scopes is None:
        return Decision(False, "no such mailbox or capability", decision.level)
    if not fits:
        return Decision(False, "the mailbox is full", decision.level)
    return decision
