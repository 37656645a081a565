"""A response's bytes to a message that answers one question, and the RRsets in it.

in: bytes from a resolver; out: a Message that has the right question and shape.
Never: trusts anything in it; that is for the validator. Raises only BadMessage. Source: RFC 1035 §4, RFC 5452 §9.1.
"""

from collections.abc import Iterable
from typing import Final

import dns.name
from dns.rdatatype import RdataType

from volly_fed import limits
from volly_fed.discovery.budget import Budget
from volly_fed.discovery.question import Question as Question
from volly_fed.discovery.question import has_ident as has_ident
from volly_fed.discovery.question import query_for as query_for
from volly_fed.discovery.reader import Message as Message
from volly_fed.discovery.reader import read
from volly_fed.discovery.rrset import RRset, Rrsig
from volly_fed.discovery.shape import check_shape
from volly_fed.discovery.wire_name import same
from volly_fed.errors import BadMessage

_HEADER: Final = 12


def parse_response(wire: bytes, question: Question, budget: Budget | None = None) -> Message:
    """The response to `question`, at most limits.DNS_MAX_MESSAGE bytes. Raises BadMessage.

    With a `budget` it is paid from that, and raises Indeterminate where it does not suffice.

    A TLSA record whose digest has the wrong length is no error: it stays in its RRset, as a generic rdata, so that
    the signature over the set can be checked and only that record is ignored (RFC 6698 §4.1).
    """
    if not _HEADER <= len(wire) <= limits.DNS_MAX_MESSAGE:
        raise BadMessage(f"an answer of {len(wire)} bytes is refused: {limits.DNS_MAX_MESSAGE} are the most")
    work = check_shape(wire)
    if budget is not None:
        budget.spend_parsing(work)
    return read(wire, question)


def find(section: Iterable[RRset], name: dns.name.Name, rdtype: RdataType) -> RRset | None:
    """The RRset of that name and type, or None."""
    for rrset in section:
        if rrset.rdtype == rdtype and same(rrset.name, name):
            return rrset
    return None


def signatures(section: Iterable[RRset], rrset: RRset) -> list[Rrsig]:
    """The signatures that claim to cover `rrset`; how many of them are tried, `verify_rrset` decides."""
    return [rrsig for held in _signature_sets(section, rrset) for rrsig in held.rrsigs]


def signed_ttl(section: Iterable[RRset], rrset: RRset) -> int:
    """The TTL of `rrset` as received, or that of its signatures if it is less (RFC 4035 §5.3.3)."""
    return min([rrset.ttl, *(held.ttl for held in _signature_sets(section, rrset))])


def _signature_sets(section: Iterable[RRset], rrset: RRset) -> list[RRset]:
    return [
        held
        for held in section
        if held.rdtype == RdataType.RRSIG and held.covers == rrset.rdtype and same(held.name, rrset.name)
    ]
