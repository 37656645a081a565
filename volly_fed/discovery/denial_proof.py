"""The denial records of one answer, verified and of one zone, and what they prove.

in: NSEC and NSEC3 RRsets that `chain` has verified; out: a Denial, or Bogus with the reason.
Never: mixes the records of two zones: each zone can speak of its own names only. Source: RFC 4035 §5.4, RFC 5155 §8.
"""

import attrs
import dns.name
from dns.rdtypes.ANY.NSEC import NSEC
from dns.rdtypes.ANY.NSEC3 import NSEC3

from volly_fed import limits
from volly_fed.discovery import denial_nsec, denial_nsec3
from volly_fed.discovery.budget import Budget
from volly_fed.discovery.denial import Denial
from volly_fed.discovery.message import Question
from volly_fed.discovery.proof import Held


@attrs.define(kw_only=True)
class DenialProof:
    """Verified denial records of `zone`; NSEC3 counts before NSEC where a response has both."""

    zone: dns.name.Name
    budget: Budget
    ttl: float = limits.DNS_MAX_NEGATIVE_TTL
    """Seconds that the proof may be used for."""
    held: list[Held] = attrs.field(factory=list)
    spans: list[denial_nsec.Span] = attrs.field(factory=list)
    hashed: list[tuple[dns.name.Name, NSEC3]] = attrs.field(factory=list)

    def add(self, held: Held, ttl: float) -> None:
        """One more record, which may be used for `ttl` seconds."""
        self.ttl = min(self.ttl, ttl)
        self.held.append(held)
        for rdata in held.rrset:
            if isinstance(rdata, NSEC3):
                self.hashed.append((held.rrset.name, rdata))
            elif isinstance(rdata, NSEC):
                self.spans.append(denial_nsec.Span.of(held.rrset.name, rdata))

    def judge(self, question: Question) -> Denial:
        """What they prove about `question`. Raises Bogus where they do not deny it, Indeterminate out of budget."""
        if self.hashed:
            return denial_nsec3.judge(self._hashed_zone(), question)
        return denial_nsec.judge(self.spans, question)

    def check_expansion(self, name: dns.name.Name, labels: int) -> bool:
        """Whether the answer that a wildcard with `labels` labels gives for `name` is secure (False: opt-out).

        Raises Bogus where nothing shows that no closer name exists, Indeterminate out of budget.
        """
        if self.hashed:
            return denial_nsec3.check_expansion(self._hashed_zone(), name, labels)
        denial_nsec.check_expansion(self.spans, name, labels)
        return True

    def _hashed_zone(self) -> denial_nsec3.HashedZone:
        return denial_nsec3.HashedZone(self.hashed, zone=self.zone, budget=self.budget)
