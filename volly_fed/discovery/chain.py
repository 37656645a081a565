"""The chain of trust, from an anchor to the zone that signed an answer.

in: anchors, the time, responses; out: keys of zones that are proved, verified denials, or an error that says why not.
Never: does I/O. It is written as generators that yield a Question and are sent the response (or thrown Indeterminate);
whoever drives them asks the network. Errors: Insecure (proved unsigned), Bogus, Indeterminate.
Source: RFC 4035 §5, RFC 6840, RFC 4033 §5.
"""

from collections.abc import Generator, Sequence
from typing import Final, TypeAlias, TypeVar

import attrs
import dns.message
import dns.name
import dns.rrset
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DNSKEY import DNSKEY
from dns.rdtypes.ANY.DS import DS
from dns.rdtypes.ANY.NSEC import NSEC
from dns.rdtypes.ANY.NSEC3 import NSEC3
from dns.rdtypes.ANY.RRSIG import RRSIG

from volly_fed import limits
from volly_fed.discovery import denial_nsec, denial_nsec3
from volly_fed.discovery.anchors import Anchors
from volly_fed.discovery.budget import Budget
from volly_fed.discovery.denial import Denial
from volly_fed.discovery.message import Question, find, signatures
from volly_fed.discovery.signature import Verified, is_supported, matches_ds, verify_rrset
from volly_fed.errors import Bogus, Indeterminate, Insecure

T = TypeVar("T")
Asking: TypeAlias = Generator[Question, dns.message.Message, T]
"""A computation that needs answers to go on."""

ROOT: Final = dns.name.root


class NotACut(Exception):
    """A proof that no zone begins at this name."""


@attrs.frozen(kw_only=True)
class ZoneKeys:
    """The keys of a zone whose chain holds."""

    keys: tuple[DNSKEY, ...]
    expires: float


@attrs.frozen(kw_only=True)
class Unsigned:
    """A zone that is proved to be insecure."""

    reason: str
    expires: float


class Zones:
    """What is known of zones, shared by all walks of one resolver; at most limits.DNS_CACHE_ENTRIES of them."""

    def __init__(self, anchors: Anchors) -> None:
        self.anchors = anchors
        self._known: dict[dns.name.Name, ZoneKeys | Unsigned] = {}

    def get(self, zone: dns.name.Name, now: float) -> ZoneKeys | Unsigned | None:
        """What is known of `zone`, unless it has expired."""
        known = self._known.get(zone)
        return known if known is not None and known.expires > now else None

    def put(self, zone: dns.name.Name, known: ZoneKeys | Unsigned) -> None:
        """Remember; the oldest entry makes room."""
        self._known.pop(zone, None)
        self._known[zone] = known
        while len(self._known) > limits.DNS_CACHE_ENTRIES:
            del self._known[next(iter(self._known))]

    def anchor_above(self, name: dns.name.Name) -> dns.name.Name:
        """The closest anchored zone at or above `name`. Raises Indeterminate where there is none."""
        while name not in self.anchors:
            if name == ROOT:
                raise Indeterminate("no trust anchor covers the name")
            name = name.parent()
        return name

    def unknown_above(self, name: dns.name.Name, now: float) -> list[Question]:
        """What a walk to `name` will probably ask: DS and DNSKEY of every possible zone that is not known yet."""
        questions: list[Question] = []
        for _ in range(limits.DNS_PREFETCH_ZONES):
            if self.get(name, now) is not None:
                break
            questions.append(Question(name, RdataType.DNSKEY))
            if name in self.anchors or name == ROOT:
                break
            questions.append(Question(name, RdataType.DS))
            name = name.parent()
        return questions


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
            self.zones.put(zone, known)
        if isinstance(known, Unsigned):
            raise Insecure(known.reason)
        return known

    def _learn(self, zone: dns.name.Name) -> Asking[ZoneKeys | Unsigned]:
        if zone in self.zones.anchors:
            ds_set, ttl = self.zones.anchors[zone], limits.DNS_MAX_TTL
        elif zone == ROOT:
            raise Indeterminate("no trust anchor covers the name")
        else:
            found = yield from self._ds(zone)
            if isinstance(found, Unsigned):
                return found
            ds_set, ttl = found
        supported = [ds for ds in ds_set if is_supported(ds)][: limits.DNS_DS_PER_ZONE]
        if not supported:  # RFC 4035 §5.2: as if the zone were unsigned
            return self._unsigned(f"the DS records of {zone} name only algorithms that are not supported", ttl)
        return (yield from self._trusted_keys(zone, supported, ttl))

    def _trusted_keys(self, zone: dns.name.Name, ds_set: Sequence[DS], ttl: int) -> Asking[ZoneKeys]:
        message = yield Question(zone, RdataType.DNSKEY)
        rrset = find(message.answer, zone, RdataType.DNSKEY)
        if rrset is None:
            origin = "a trust anchor" if zone in self.zones.anchors else "a DS"
            raise Bogus(f"{zone} DNSKEY: {origin} says that the zone is signed, but the resolver shows no keys of it")
        keys = tuple(rdata for rdata in rrset if isinstance(rdata, DNSKEY))
        rrsigs = signatures(message.answer, rrset)
        error = Bogus(f"{zone} DNSKEY: no key matches the {'trust anchor' if zone in self.zones.anchors else 'DS'}")
        for ds in ds_set:
            for key in [key for key in keys if matches_ds(zone, key, ds)][: limits.DNS_KEYS_PER_TAG]:
                try:
                    verified = self._verify(rrset, rrsigs, zone, [key])
                except Bogus as failure:
                    error = failure
                else:
                    return ZoneKeys(keys=keys, expires=self.now + min(verified.ttl, ttl))
        raise error

    def _ds(self, zone: dns.name.Name) -> Asking[tuple[tuple[DS, ...], int] | Unsigned]:
        """The DS set and its TTL. Raises NotACut where the parent proves that no zone begins here."""
        question = Question(zone, RdataType.DS)
        message = yield question
        rrset = find(message.answer, zone, RdataType.DS)
        if rrset is None and find(message.answer, zone, RdataType.CNAME) is not None:
            # RFC 1034 §3.6.2: no NS records beside an alias. It is not verified: believing it never helps a forger,
            # who gains "no zone begins here", and with it Bogus where he wants Insecure
            raise NotACut(str(zone))
        if rrset is None:
            denial, ttl = yield from self.denial(message, question)
            if denial.delegation or not denial.secure:
                return self._unsigned(f"{zone} is an unsigned delegation ({denial.reason})", ttl)
            raise NotACut(str(zone))
        verified, _ = yield from self.verify_in(message, rrset)
        if verified.labels != len(zone) - 1:
            raise Bogus(f"{question}: it comes from a wildcard")
        return tuple(rdata for rdata in rrset if isinstance(rdata, DS)), verified.ttl

    def _unsigned(self, reason: str, ttl: int) -> Unsigned:
        return Unsigned(reason=reason, expires=self.now + min(ttl, limits.DNS_INSECURE_TTL))

    def verify_in(self, message: dns.message.Message, rrset: dns.rrset.RRset) -> Asking[tuple[Verified, ZoneKeys]]:
        """Evidence for an RRset of the answer section, with the keys of the zone that signed it.

        A DS must be signed above its owner. Raises Insecure, Bogus, Indeterminate.
        """
        limit = _deepest_signer(rrset.name, rrset.rdtype)
        rrsigs = self._from_above(signatures(message.answer, rrset), limit)
        if not rrsigs:
            yield from self.prove_insecure(limit)
            raise Bogus(f"{Question(rrset.name, rrset.rdtype)}: the signature is missing in a signed zone")
        zone = rrsigs[0].signer
        keys = yield from self.signer_keys(zone)
        return self._verify(rrset, rrsigs, zone, keys.keys), keys

    def _from_above(self, rrsigs: Sequence[RRSIG], limit: dns.name.Name) -> list[RRSIG]:
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

    def denial(self, message: dns.message.Message, question: Question) -> Asking[tuple[Denial, int]]:
        """What the authority section proves to be absent, and for how many seconds.

        Raises Insecure below an unsigned delegation, Bogus without proof, Indeterminate.
        """
        limit = _deepest_signer(*question)
        proof = yield from self._proof(message, limit)
        if proof is None:
            yield from self.prove_insecure(limit)
            raise Bogus(f"{question}: the answer is empty, and its signed proof is missing in a signed zone")
        return proof.judge(question), min(proof.ttl, _negative_ttl(message))

    def _proof(self, message: dns.message.Message, limit: dns.name.Name) -> Asking["_Proof | None"]:
        """The denial records that hold, all of one zone at or above `limit`."""
        proof: _Proof | None = None
        for rrset in _denial_records(message):
            rrsigs = self._from_above(signatures(message.authority, rrset), limit)
            if not rrsigs or (proof is not None and rrsigs[0].signer != proof.zone):
                continue
            zone = rrsigs[0].signer
            keys = yield from self.signer_keys(zone)
            verified = self._verify(rrset, rrsigs, zone, keys.keys)
            if verified.labels != len(rrset.name) - 1 - rrset.name.is_wild():
                continue  # RFC 4035 §5.4: a record that a wildcard made proves nothing about names
            if proof is None:
                proof = _Proof(zone=zone, budget=self.budget)
            proof.add(rrset, verified.ttl)
        return proof

    def check_expansion(self, message: dns.message.Message, name: dns.name.Name, labels: int) -> Asking[bool]:
        """Whether an answer that a wildcard made is secure (False: opt-out). Raises Bogus without proof."""
        proof = yield from self._proof(message, name)
        if proof is None:
            raise Bogus(f"{name}: an answer from a wildcard, without proof that the name itself does not exist")
        return proof.check_expansion(name, labels)

    def _verify(
        self, rrset: dns.rrset.RRset, rrsigs: Sequence[RRSIG], zone: dns.name.Name, keys: Sequence[DNSKEY]
    ) -> Verified:
        return verify_rrset(rrset, rrsigs, zone=zone, keys=keys, now=self.now, budget=self.budget)


@attrs.define(kw_only=True)
class _Proof:
    """Verified denial records of one zone; NSEC3 counts before NSEC where a response has both."""

    zone: dns.name.Name
    budget: Budget
    ttl: int = limits.DNS_MAX_NEGATIVE_TTL
    spans: list[denial_nsec.Span] = attrs.field(factory=list)
    hashed: list[tuple[dns.name.Name, NSEC3]] = attrs.field(factory=list)

    def add(self, rrset: dns.rrset.RRset, ttl: int) -> None:
        self.ttl = min(self.ttl, ttl)
        for rdata in rrset:
            if isinstance(rdata, NSEC3):
                self.hashed.append((rrset.name, rdata))
            elif isinstance(rdata, NSEC):
                self.spans.append(denial_nsec.Span.of(rrset.name, rdata))

    def judge(self, question: Question) -> Denial:
        if self.hashed:
            return denial_nsec3.judge(self._hashed_zone(), question)
        return denial_nsec.judge(self.spans, question)

    def check_expansion(self, name: dns.name.Name, labels: int) -> bool:
        if self.hashed:
            return denial_nsec3.check_expansion(self._hashed_zone(), name, labels)
        denial_nsec.check_expansion(self.spans, name, labels)
        return True

    def _hashed_zone(self) -> denial_nsec3.HashedZone:
        return denial_nsec3.HashedZone(self.hashed, zone=self.zone, budget=self.budget)


def _deepest_signer(name: dns.name.Name, rdtype: RdataType) -> dns.name.Name:
    """The deepest zone that may speak of these records: for DS the parent's side of the cut (RFC 4035 §3.1.4.1)."""
    return name.parent() if rdtype == RdataType.DS and name != ROOT else name


def _denial_records(message: dns.message.Message) -> list[dns.rrset.RRset]:
    found = [rrset for rrset in message.authority if rrset.rdtype in (RdataType.NSEC, RdataType.NSEC3)]
    return found[: limits.DNS_DENIAL_RECORDS]


def _negative_ttl(message: dns.message.Message) -> int:
    """RFC 2308 §5; the SOA is not verified, it can only shorten the time."""
    for rrset in message.authority:
        if rrset.rdtype == RdataType.SOA:
            return int(min(rrset.ttl, rrset[0].minimum))
    return limits.DNS_MAX_NEGATIVE_TTL
