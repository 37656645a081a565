"""Whether envelopes may be put in a mailbox; the one call site of the gate `deliver`.

in: the mailbox's registration, the envelopes' capability and origin; what it holds; out: a Decision, a Room.
Its reason is for counters here. Outside there is one answer for all of them, REFUSAL, so that nobody can tell an
unknown mailbox from a wrong capability, a scope or a full mailbox; each takes the same steps.
"""

import attrs

from volly_fed.codepoints import TrustLevel
from volly_fed.edge.registration import NOTHING, Registration
from volly_fed.names import DomainName
from volly_fed.relay.receipt import UNDELIVERABLE
from volly_fed.trust.gates import Decision, deliver
from volly_fed.trust.policy import Policy

REFUSAL = UNDELIVERABLE  # [trust-7]
"""What the sender is told, whatever the reason."""


@attrs.define
class Room:
    """What a mailbox may still take."""

    envelopes: int
    bytes: int

    def has(self, envelopes: int, size: int) -> bool:
        """Whether so many envelopes of `size` bytes in all fit."""
        return self.envelopes >= envelopes and self.bytes >= size

    def take(self, size: int) -> bool:
        """Whether an envelope of `size` bytes fits; then there is less room."""
        if self.envelopes <= 0 or self.bytes < size:
            return False
        self.envelopes -= 1
        self.bytes -= size
        return True


def decide_admission(
    registration: Registration | None,
    capability: bytes,
    origin: DomainName,
    *,
    own: DomainName,
    level: Policy | TrustLevel,
) -> Decision:
    """Whether envelopes with `capability` from users of `origin` may be stored for a mailbox of `own`, if they fit.

    `registration` is None for a mailbox that nobody claimed. `level` is the one frozen into the session they came by.
    """
    scopes = (registration or NOTHING).scopes(capability)
    decision = deliver(level, origin, scopes or (), own=own)  # [relay-14]
    if scopes is None:
        return Decision(False, "no such mailbox or capability", decision.level)
    return decision
