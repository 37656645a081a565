"""Denial of existence by NSEC records.

in: NSEC RRsets that one zone signed, a name and type; out: a Denial, or Bogus with the reason.
Never: checks signatures; `chain` did. Source: RFC 4035 §5.4, RFC 6840 §4.1 to §4.4, RFC 4592.
"""

from collections.abc import Sequence
from typing import Final

import attrs
import dns.name
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.NSEC import NSEC

from volly_fed.discovery.denial import (
    Absence,
    Denial,
    check_wildcard,
    is_delegation,
    judge_match,
    types_in,
    wildcard_at,
)
from volly_fed.discovery.message import Question
from volly_fed.errors import Bogus

KIND: Final = "NSEC"


@attrs.frozen
class Span:
    """One NSEC record: `owner` exists, and no name between it and `next`."""

    owner: dns.name.Name
    next: dns.name.Name
    types: frozenset[int]

    @classmethod
    def of(cls, owner: dns.name.Name, rdata: NSEC) -> "Span":
        """The span that `rdata` at `owner` states."""
        return cls(owner, rdata.next, types_in(rdata))

    def covers(self, name: dns.name.Name) -> bool:
        """Whether `name`, which must be in the zone, is strictly between owner and next."""
        if name.is_subdomain(self.owner) and (is_delegation(self.types) or RdataType.DNAME in self.types):
            return False  # RFC 6840 §4.1: below a cut or a DNAME this record knows nothing
        if self.next <= self.owner:  # the last one: its next is the apex
            return bool(name > self.owner)
        return bool(self.owner < name < self.next)

    def encloser(self, name: dns.name.Name) -> dns.name.Name:
        """The longest ancestor of `name` that this span proves to exist, given that it covers `name`."""
        shared = max(name.fullcompare(self.owner)[2], name.fullcompare(self.next)[2])
        return name.split(shared)[1]


def judge(spans: Sequence[Span], question: Question) -> Denial:
    """What `spans` prove about `question`. Raises Bogus where they do not deny it."""
    name, rdtype = question.name, question.rdtype
    for span in spans:
        if span.owner == name:
            return judge_match(name, rdtype, span.types, KIND)
    cover = next((span for span in spans if span.covers(name)), None)
    if cover is None:
        raise Bogus(f"{question}: no NSEC record covers the name")
    if cover.next.is_subdomain(name):
        return Denial(absence=Absence.NODATA, reason=f"NSEC shows that {name} is an empty non-terminal")
    wildcard = wildcard_at(cover.encloser(name))
    for span in spans:
        if span.owner == wildcard:
            check_wildcard(name, rdtype, span.types, KIND)
            return Denial(absence=Absence.NODATA, reason=f"NSEC shows no such record at {wildcard}")
    if any(span.covers(wildcard) for span in spans):
        return Denial(absence=Absence.NXDOMAIN, reason=f"NSEC shows that {name} does not exist")
    raise Bogus(f"{question}: no NSEC record denies the wildcard {wildcard}")


def check_expansion(spans: Sequence[Span], name: dns.name.Name, labels: int) -> None:
    """Raises Bogus unless no name closer than the wildcard with `labels` labels exists (RFC 4035 §5.3.4)."""
    for span in spans:
        # the closest encloser must be the wildcard's parent, else another wildcard would have to answer
        if span.covers(name) and len(span.encloser(name)) - 1 == labels and not span.next.is_subdomain(name):
            return
    raise Bogus(f"{name}: an answer from a wildcard, without proof that the name itself does not exist")
