"""The chain of trust, from an anchor to the zone that signed an answer.

in: anchors, the time, responses; out: keys of zones that are proved, verified denials, or an error that says why not.
Never: does I/O. It is written as generators that yield a Question and are sent the response (or thrown Indeterminate);
whoever drives them asks the network. Errors: Insecure (proved unsigned), Bogus, Indeterminate.
Source: RFC 4035 §5, RFC 6840, RFC 4033 §5.
"""

from collections.abc import Generator, Sequence
from typing import TypeAlias, TypeVar

import attrs
import dns.name
from dns.dnssectypes import Algorithm
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DS import DS

from volly_fed import limits
from volly_fed.discovery.budget import Budget
from volly_fed.discovery.denial import Denial
from volly_fed.discovery.denial_proof import DenialProof
from volly_fed.discovery.keys import KeySet
from volly_fed.discovery.message import Message, Question, find, signatures, signed_ttl
from volly_fed.discovery.proof import Held, Proof
from volly_fed.discovery.rrset import RRset, Rrsig
from volly_fed.discovery.signature import Verified, is_supported, matches_ds, verify_rrset
from volly_fed.discovery.wire_name import above
from volly_fed.discovery.zones import ROOT as ROOT
from volly_fed.discovery.zones import Unsigned, ZoneKeys
from volly_fed.discovery.zones import Zones as Zones
from volly_fed.errors import Bogus, Indeterminate, Insecure

T = TypeVar("T")
Asking: TypeAlias = Generator[Question, Message, T]
"""A computation that needs answers to go on."""


class NotACut(Exception):
    """A proof that no zone begins at this name."""


@attrs.frozen(kw_only=True)
class Evidence:
    """An RRset that a zone signed whose chain holds."""

    zone: dns.name.Name
    labels: int
    """As in `Verified`."""
    ttl: float
    """Seconds; no longer than the zone's keys hold."""
    proof: Proof = attrs.field(repr=False)
    """The RRset's own signature last, the chain before it."""
    secure: bool = True
    """False for a proof of absence that opt-out leaves open."""


@attrs.frozen(kw_only=True)
class _Delegation:
    """The DS set of a zone, or the anchors in its place."""

    ds_set: tuple[DS, ...]
    ttl: float
    proof: Proof = ()


@attrs.frozen(kw_only=True)
class Walk:
    """One walk, or several at the same moment and from the same budget."""

    zones: Zones
    now: float
    budget: Budget

    def zone_keys(self, zone: dns.name.Name) -> Asking[ZoneKeys]:
        """The keys of `zone`. Raises Insecure, Bogus, Indeterminate, and NotACut where no zone begins there."""
        known = self.zones.get(zone, self.now)
        if known is None:
            known = yield from self._learn(zone)
            self.zones.put(zone, known, now=self.now)
        if isinstance(known, Unsigned):
            raise Insecure(known.reason)
        return known

    def _learn(self, zone: dns.name.Name) -> Asking[ZoneKeys | Unsigned]:
        if zone in self.zones.anchors:
            found = _Delegation(ds_set=self.zones.anchors[zone], ttl=limits.DNS_MAX_TTL)  # [discovery-15]
        elif zone == ROOT:
            raise Indeterminate("no trust anchor covers the name")
        else:
            delegation = yield from self._ds(zone)
            if isinstance(delegation, Unsigned):
                return delegation
            found = delegation
        supported = [ds for ds in found.ds_set if is_supported(ds)]
        if not supported:  # RFC 4035 §5.2: as if the zone were unsigned
            return self._unsigned(f"the DS records of {zone} name only algorithms that are not supported", found.ttl)
        return (yield from self._trusted_keys(zone, supported, found))

    def _trusted_keys(self, zone: dns.name.Name, ds_set: Sequence[DS], found: _Delegation) -> Asking[ZoneKeys]:
        message = yield Question(zone, RdataType.DNSKEY)
        rrset = find(message.answer, zone, RdataType.DNSKEY)
        anchored = zone in self.zones.anchors
        if rrset is None:
            origin = "a trust anchor" if anchored else "a DS"
            raise Bogus(f"{zone} DNSKEY: {origin} says that the zone is signed, but the resolver shows no keys of it")
        required = self._required(ds_set)
        keys = KeySet(rrset.dnskeys, required)
        rrsigs = signatures(message.answer, rrset)
        error = Bogus(f"{zone} DNSKEY: no key matches the {'trust anchor' if anchored else 'DS'}")
        for ds in [ds for ds in ds_set if required in (None, ds.algorithm)][: limits.DNS_DS_PER_ZONE]:
            for key in keys.candidates(ds.algorithm, ds.key_tag):
                if not matches_ds(zone, key.dnskey, ds):
                    continue
                try:
                    verified = self._verify(rrset, rrsigs, zone, keys.only(key))
                except Bogus as failure:
                    error = failure
                else:
                    ttl = min(verified.ttl, signed_ttl(message.answer, rrset), found.ttl)
                    proof = (*found.proof, Held(rrset, verified.rrsig))
                    return ZoneKeys(keys=keys, expires=self.now + ttl, proof=proof)
        raise error

    def _required(self, ds_set: Sequence[DS]) -> Algorithm | None:
        """The algorithm that all of the zone's signatures must have, where the operator here asks for it."""
        named = any(ds.algorithm == Algorithm.MLDSA44 for ds in ds_set)
        return Algorithm.MLDSA44 if named and self.zones.require_mldsa44 else None

    def _ds(self, zone: dns.name.Name) -> Asking[_Delegation | Unsigned]:
        """The DS set. Raises NotACut where the parent proves that no zone begins here."""
        question = Question(zone, RdataType.DS)
        message = yield question
        rrset = find(message.answer, zone, RdataType.DS)
        if rrset is None and find(message.answer, zone, RdataType.CNAME) is not None:
            # RFC 1034 §3.6.2: no NS records beside an alias. It is not verified: believing it never helps a forger,
            # who gains "no zone begins here", and with it Bogus where he wants Insecure
            raise NotACut(str(zone))
        if rrset is None:
            denial, evidence = yield from self.denial(message, question)
            if denial.delegation or not denial.secure:  # [discovery-19]
                return self._unsigned(f"{zone} is an unsigned delegation ({denial.reason})", evidence.ttl)
            raise NotACut(str(zone))
        evidence = yield from self.verify_in(message, rrset)
        if evidence.labels != len(zone) - 1:
            raise Bogus(f"{question}: it comes from a wildcard")
        ds_set = tuple(rdata for rdata in rrset if isinstance(rdata, DS))
        return _Delegation(ds_set=ds_set, ttl=evidence.ttl, proof=evidence.proof)

    def _unsigned(self, reason: str, ttl: float) -> Unsigned:
        return Unsigned(reason=reason, expires=self.now + min(ttl, limits.DNS_INSECURE_TTL))

    def verify_in(self, message: Message, rrset: RRset) -> Asking[Evidence]:
        """Evidence for an RRset of the answer section, from the zone that signed it.

        A DS must be signed above its owner. Raises Insecure, Bogus, Indeterminate.
        """
        limit = _deepest_signer(rrset.name, rrset.rdtype)
        rrsigs = self._from_above(signatures(message.answer, rrset), limit)
        if not rrsigs:
            yield from self.prove_insecure(limit)
            raise Bogus(f"{Question(rrset.name, rrset.rdtype)}: the signature is missing in a signed zone")
        zone = rrsigs[0].signer
        keys = yield from self.signer_keys(zone)
        verified = self._verify(rrset, rrsigs, zone, keys.keys)
        return Evidence(
            zone=zone,
            labels=verified.labels,
            ttl=min(verified.ttl, signed_ttl(message.answer, rrset), keys.expires - self.now),
            proof=(*keys.proof, Held(rrset, verified.rrsig)),
        )

    def _from_above(self, rrsigs: Sequence[Rrsig], limit: dns.name.Name) -> list[Rrsig]:
        """Those whose signer is between `limit` and the anchor above it: others cannot be right."""
        anchor = self.zones.anchor_above(limit)
        return [rrsig for rrsig in rrsigs if limit.is_subdomain(rrsig.signer) and rrsig.signer.is_subdomain(anchor)]

    def signer_keys(self, zone: dns.name.Name) -> Asking[ZoneKeys]:
        """Like `zone_keys`, for the zone a signature names: that no zone begins there is Bogus then."""
        try:
            return (yield from self.zone_keys(zone))
        except NotACut:
            raise Bogus(f"{zone}: signatures name it as their zone, but no zone begins there") from None

    def prove_insecure(self, name: dns.name.Name) -> Asking[None]:
        """Walk down to `name`. Raises Insecure at the first unsigned delegation; returning means there is none."""
        anchor = self.zones.anchor_above(name)
        for depth in range(len(anchor), len(name) + 1):
            try:
                yield from self.zone_keys(name.split(depth)[1])
            except NotACut:
                continue

    def denial(self, message: Message, question: Question) -> Asking[tuple[Denial, Evidence]]:
        """What the authority section proves to be absent, and by what.

        Raises Insecure below an unsigned delegation, Bogus without proof, Indeterminate.
        """
        limit = _deepest_signer(question.name, question.rdtype)
        found = yield from self._denial_proof(message, limit)
        if found is None:
            yield from self.prove_insecure(limit)
            # [discovery-17]
            raise Bogus(f"{question}: the answer is empty, and its signed proof is missing in a signed zone")
        records, keys = found
        records.ttl = min(records.ttl, _negative_ttl(message))
        denial = records.judge(question)
        return denial, self._of(records, keys, labels=len(question.name) - 1, secure=denial.secure)

    def check_expansion(self, message: Message, name: dns.name.Name, made: Evidence) -> Asking[Evidence]:
        """Evidence that no name closer to `name` exists than the wildcard that `made` is the answer of.

        Only the zone that holds the wildcard can say that the name itself does not exist: one above it would say so
        of every name here. Raises Bogus without that proof.
        """
        found = yield from self._denial_proof(message, made.zone)
        if found is None or found[0].zone != made.zone:
            # [discovery-18]
            raise Bogus(f"{name}: an answer from a wildcard, without proof that the name itself does not exist")
        records, keys = found
        return self._of(records, keys, labels=made.labels, secure=records.check_expansion(name, made.labels))

    def _of(self, records: DenialProof, keys: ZoneKeys, *, labels: int, secure: bool) -> Evidence:
        proof = (*keys.proof, *records.held)
        return Evidence(zone=records.zone, labels=labels, ttl=records.ttl, proof=proof, secure=secure)

    def _denial_proof(self, message: Message, limit: dns.name.Name) -> Asking[tuple[DenialProof, ZoneKeys] | None]:
        """The denial records that hold, all of one zone: the deepest at or above `limit` that signed any."""
        signed = [
            (rrset, rrsigs)
            for rrset in _denial_records(message)
            if (rrsigs := self._from_above(signatures(message.authority, rrset), limit))
        ]
        if not signed:
            return None
        zone = max((rrsigs[0].signer for _, rrsigs in signed), key=len)
        keys = yield from self.signer_keys(zone)
        records = DenialProof(zone=zone, budget=self.budget)
        for rrset, rrsigs in signed:
            if rrsigs[0].signer != zone:
                continue
            verified = self._verify(rrset, rrsigs, zone, keys.keys)
            if verified.labels == len(rrset.name) - 1 - rrset.name.is_wild():
                # else RFC 4035 §5.4: a record that a wildcard made proves nothing about names
                ttl = min(verified.ttl, signed_ttl(message.authority, rrset), keys.expires - self.now)
                records.add(Held(rrset, verified.rrsig), ttl)
        return records, keys

    def _verify(self, rrset: RRset, rrsigs: Sequence[Rrsig], zone: dns.name.Name, keys: KeySet) -> Verified:
        return verify_rrset(rrset, rrsigs, zone=zone, keys=keys, now=self.now, budget=self.budget)


def _deepest_signer(name: dns.name.Name, rdtype: RdataType) -> dns.name.Name:
    """The deepest zone that may speak of these records: for DS the parent's side of the cut (RFC 4035 §3.1.4.1)."""
    return above(name) if rdtype == RdataType.DS and name != ROOT else name


def _denial_records(message: Message) -> list[RRset]:
    kinds = (RdataType.NSEC, RdataType.NSEC3)
    found = [rrset for rrset in message.authority if rrset.rdtype in kinds]
    return found[: limits.DNS_DENIAL_RECORDS]


def _negative_ttl(message: Message) -> int:
    """RFC 2308 §5; the SOA is not verified, it can only shorten the time."""
    for rrset in message.authority:
        if rrset.rdtype == RdataType.SOA:
            return int(min(rrset.ttl, rrset.first.minimum))
    return limits.DNS_MAX_NEGATIVE_TTL
