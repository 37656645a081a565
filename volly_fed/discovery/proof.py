"""What was verified on the way to an answer, kept so that it can be shown, stored and checked again later.

in: RRsets with the signature that held; out: zone-file lines with absolute names, from the anchor down.
Never: makes text before it is asked for: an answer costs references to RRsets that are in memory anyhow.
Source: RFC 1035 §5.1 and RFC 4034 §3.2 (presentation format), RFC 3597 §5 for what has no form of its own.
"""

from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Final, TypeAlias

import attrs
import dns.rdata

from volly_fed import limits
from volly_fed.discovery.rrset import RRset, Rrsig

CUT_SHORT: Final = "; cut short: more was verified than is kept"


@attrs.frozen(eq=False)
class Held:
    """An RRset and the signature over it that held. Equal only to itself: walks share what they share."""

    rrset: RRset
    rrsig: Rrsig

    @cached_property
    def weight(self) -> int:
        """Bytes of memory, estimated."""
        records = (*self.rrset.canonical, self.rrsig.unsigned, self.rrsig.signature)
        return sum(map(len, records)) + (len(self.rrset) + 1) * limits.DNS_RECORD_BYTES

    def lines(self) -> Iterator[str]:
        """The RRs, one a line, then the RRSIG."""
        owner = f"{self.rrset.name.to_text()} {self.rrset.ttl} IN"
        rdtype = self.rrset.rdtype.name
        for rdata in self.rrset:
            yield f"{owner} {rdtype} {rdata.to_text(relativize=False)}"
        yield f"{owner} RRSIG {self.rrsig.rdata.to_text(relativize=False)}"


Proof: TypeAlias = tuple[Held, ...]
"""From the anchor down: the anchored zone's DNSKEY, then DS and DNSKEY of each zone, then the answer's own RRsets."""


def weight_of(rdatas: Iterable[dns.rdata.Rdata]) -> int:
    """Bytes of memory that `rdatas` take, estimated."""
    return sum(len(rdata.to_digestable()) + limits.DNS_RECORD_BYTES for rdata in rdatas)


def weight_of_proof(proof: Proof) -> int:
    """The same for a proof, though it may share RRsets with others."""
    return sum(held.weight for held in proof)


def join(proofs: Iterable[Proof]) -> Proof:
    """One proof of all, what they share once."""
    return tuple(dict.fromkeys(held for proof in proofs for held in proof))


def proof_lines(proof: Proof) -> tuple[str, ...]:
    """The proof as text, no line twice: at most limits.DNS_PROOF_BYTES, each line with an end of its own counted.

    What does not fit is left out as a whole with everything after it, and a comment in its place says so.
    """
    lines: dict[str, None] = {}
    room = limits.DNS_PROOF_BYTES - len(CUT_SHORT) - 1
    for held in proof:
        new = [line for line in held.lines() if line not in lines]
        room -= sum(len(line) + 1 for line in new)  # escaped where it must be: every character is a byte
        if room < 0:
            return (*lines, CUT_SHORT)
        lines.update(dict.fromkeys(new))
    return tuple(lines)
