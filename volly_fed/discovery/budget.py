"""What one discovery may cost: questions, parsing, signature checks, hashes.

in: what is about to be spent; out: Indeterminate when it is too much.
Never: waits. Source: CVE-2023-50387 (KeyTrap), CVE-2023-50868 (NSEC3), RFC 9276 §3.2.
"""

import attrs

from volly_fed import limits
from volly_fed.errors import Indeterminate


@attrs.define(kw_only=True)
class Budget:
    """Counts down; one for each discovery or lookup."""

    queries: int = limits.DNS_QUERIES
    verifications: int = limits.DNS_VERIFICATIONS
    hashes: int = limits.DNS_NSEC3_HASHES
    parsing: int = limits.DNS_PARSING

    @property
    def is_overdrawn(self) -> bool:  # [discovery-22]
        """Whether something was refused: what could not be found out then may still be found out by others."""
        return min(self.queries, self.verifications, self.hashes, self.parsing) < 0

    def spend_query(self) -> None:
        """One question to a resolver. Raises Indeterminate when there are none left."""
        self.queries -= 1
        if self.queries < 0:
            raise Indeterminate(f"it needs more than {limits.DNS_QUERIES} questions")

    def spend_parsing(self, work: int) -> None:
        """One answer, in the unit of limits.DNS_PARSING. Raises Indeterminate when there is nothing left."""
        self.parsing -= work
        if self.parsing < 0:
            raise Indeterminate("its answers have more and longer records than one discovery may read")

    def spend_verification(self) -> None:
        """One check of one signature by one key. Raises Indeterminate when there are none left."""
        self.verifications -= 1
        if self.verifications < 0:
            raise Indeterminate(f"it needs more than {limits.DNS_VERIFICATIONS} signature checks")

    def spend_hashes(self, rounds: int) -> None:
        """`rounds` of SHA-1 for NSEC3. Raises Indeterminate when there are none left."""
        self.hashes -= rounds
        if self.hashes < 0:
            raise Indeterminate(f"it needs more than {limits.DNS_NSEC3_HASHES} NSEC3 hash rounds")
