"""Denial of existence by NSEC3 records.

in: NSEC3 RRsets that one zone signed, a name and type; out: a Denial, or Bogus with the reason.
Never: checks signatures; `chain` did. Source: RFC 5155 §8 and §9.2, RFC 6840 §4.1 to §4.4, RFC 9276 §3.2.
"""

import base64
from collections.abc import Sequence
from typing import Final

import attrs
import dns.dnssec
import dns.name
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.NSEC3 import NSEC3

from volly_fed import limits
from volly_fed.discovery.budget import Budget
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

KIND: Final = "NSEC3"
_SHA1: Final = 1
_OPT_OUT: Final = 1


@attrs.frozen
class _Arc:
    """One NSEC3 record: a name with hash `owner` exists, and none with a hash between it and `next`."""

    owner: str
    next: str
    types: frozenset[int]
    opt_out: bool

    def covers(self, hashed: str) -> bool:
        if self.owner < self.next:
            return self.owner < hashed < self.next
        return hashed > self.owner or hashed < self.next


class HashedZone:
    """The NSEC3 records of one response. Raises Bogus where none can be used (RFC 5155 §8.1, §8.2)."""

    def __init__(self, records: Sequence[tuple[dns.name.Name, NSEC3]], *, zone: dns.name.Name, budget: Budget) -> None:
        usable = [
            (owner, rdata)
            for owner, rdata in records
            if rdata.algorithm == _SHA1 and rdata.flags in (0, _OPT_OUT) and len(owner) == len(zone) + 1
        ]
        if not usable:
            raise Bogus(f"{zone}: no NSEC3 record that can be used")
        first = usable[0][1]
        self._zone, self._budget = zone, budget
        self._salt, self._iterations = first.salt, first.iterations
        self._memo: dict[dns.name.Name, str] = {}
        self._arcs = {
            arc.owner: arc for arc in (_arc(owner, rdata) for owner, rdata in usable if _same_parameters(rdata, first))
        }

    @property
    def too_costly(self) -> bool:
        """More iterations than anybody should ask for: the zone counts as insecure (RFC 9276 §3.2)."""
        return bool(self._iterations > limits.DNS_NSEC3_ITERATIONS)

    def match(self, name: dns.name.Name) -> _Arc | None:
        """The record of `name` itself."""
        return self._arcs.get(self._hash(name))

    def cover(self, name: dns.name.Name) -> _Arc | None:
        """The record that denies `name`."""
        hashed = self._hash(name)
        return next((arc for arc in self._arcs.values() if arc.covers(hashed)), None)

    def encloser(self, name: dns.name.Name) -> dns.name.Name:
        """The closest encloser of `name` that is proved to exist (RFC 5155 §8.3). Raises Bogus."""
        candidate = name
        while candidate != self._zone:
            candidate = candidate.parent()
            arc = self.match(candidate)
            if arc is None:
                continue
            if is_delegation(arc.types) or RdataType.DNAME in arc.types:
                raise Bogus(f"{name}: the closest NSEC3 is that of a delegation or DNAME above it")
            return candidate
        raise Bogus(f"{name}: no NSEC3 record for any name above it")

    def _hash(self, name: dns.name.Name) -> str:
        if name not in self._memo:
            self._budget.spend_hashes(self._iterations + 1)
            self._memo[name] = dns.dnssec.nsec3_hash(name, self._salt, self._iterations, _SHA1).lower()
        return self._memo[name]


def _same_parameters(rdata: NSEC3, first: NSEC3) -> bool:
    return (rdata.salt, rdata.iterations) == (first.salt, first.iterations)


def _arc(owner: dns.name.Name, rdata: NSEC3) -> _Arc:
    return _Arc(
        owner.labels[0].decode("ascii", "replace").lower(),
        base64.b32hexencode(rdata.next).decode("ascii").lower(),
        types_in(rdata),
        bool(rdata.flags & _OPT_OUT),
    )


def judge(zone: HashedZone, question: Question) -> Denial:
    """What the records prove about `question`. Raises Bogus where they do not deny it, Indeterminate out of budget."""
    name, rdtype = question.name, question.rdtype
    if zone.too_costly:
        reason = f"its NSEC3 records ask for more than {limits.DNS_NSEC3_ITERATIONS} iterations"
        return Denial(absence=Absence.NODATA, reason=reason, secure=False)
    arc = zone.match(name)
    if arc is not None:
        return judge_match(name, rdtype, arc.types, KIND)
    encloser = zone.encloser(name)
    cover = zone.cover(name.split(len(encloser) + 1)[1])
    if cover is None:
        raise Bogus(f"{question}: no NSEC3 record covers the next closer name")
    if rdtype == RdataType.DS and cover.opt_out:  # RFC 5155 §8.6: a delegation may hide here
        return Denial(absence=Absence.NODATA, reason=f"NSEC3 opts {name} out", delegation=True, secure=False)
    return _judge_wildcard(zone, question, wildcard_at(encloser), secure=not cover.opt_out)


def _judge_wildcard(zone: HashedZone, question: Question, wildcard: dns.name.Name, *, secure: bool) -> Denial:
    arc = zone.match(wildcard)
    if arc is not None:
        check_wildcard(question.name, question.rdtype, arc.types, KIND)
        reason = f"NSEC3 shows no such record at {wildcard}"
        return Denial(absence=Absence.NODATA, reason=reason, secure=secure)
    if zone.cover(wildcard) is None:
        raise Bogus(f"{question}: no NSEC3 record denies the wildcard {wildcard}")
    reason = f"NSEC3 shows that {question.name} does not exist"
    return Denial(absence=Absence.NXDOMAIN, reason=reason, secure=secure)


def check_expansion(zone: HashedZone, name: dns.name.Name, labels: int) -> bool:
    """Whether the wildcard answer is secure, False under opt-out (RFC 5155 §8.8). Raises Bogus without proof."""
    if zone.too_costly:
        return False
    arc = zone.cover(name.split(labels + 2)[1])  # one label more than the wildcard's parent, and the root
    if arc is None:
        raise Bogus(f"{name}: an answer from a wildcard, without proof that the name itself does not exist")
    return not arc.opt_out
