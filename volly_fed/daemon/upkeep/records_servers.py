"""What a zone and its authoritative servers are like: delegation, algorithms, agreement, signatures, TTLs.

in: a Zone, validated Answers, and Views of its servers; out: Findings. Pure: asks nobody.
Never: takes servers that agree for servers that are right; `records_judge` says what is right.
Source: RFC 2182 (several servers), RFC 8624 §3.1 and RFC 9904 (algorithms), RFC 9276 (NSEC3), RFC 7671 §8.1 (TTLs).
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import dns.rdata
from dns.dnssectypes import Algorithm
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.DS import DS
from dns.rdtypes.ANY.NSEC3PARAM import NSEC3PARAM

from volly_fed import limits
from volly_fed.daemon.upkeep.authoritative import View, Zone, server_text, zone_text
from volly_fed.daemon.upkeep.findings import Finding, Verdict
from volly_fed.daemon.upkeep.records_judge import judge_absence, subject_of
from volly_fed.discovery.dnssec import Answer, Outcome
from volly_fed.discovery.endpoint import Status

_MODERN: Final = Algorithm.ECDSAP256SHA256  # and everything registered after it
_SHOWN: Final = 48  # characters of one record
_QUARTER: Final = 4
_DAY: Final = 86400


def judge_zone(zone: Zone, ds: Answer, nsec3: Answer, delegated: frozenset[str] | None = None) -> list[Finding]:
    """The zone itself: DS in the parent zone, algorithms, name servers, NSEC3 parameters.

    `delegated`: the servers that the zone above names, where that is known.
    """
    subject = f"zone {zone_text(zone)}"
    findings = [_delegation(subject, ds)]
    old = sorted({key.algorithm for key in zone.keys if key.algorithm < _MODERN})
    if old:
        names = ", ".join(f"{number} ({Algorithm(number).name})" for number in old)
        note = "consider 13 (ECDSAP256SHA256): its answers are smaller (RFC 9904)"
        findings.append(Finding(subject=subject, verdict=Verdict.INFO, reason=f"signed with {names}", note=note))
    findings += _servers(subject, zone) + _delegated(subject, zone, delegated)
    costly = [rdata.iterations for rdata in nsec3.rdatas if isinstance(rdata, NSEC3PARAM) and rdata.iterations]
    if costly:
        reason = f"NSEC3 with {max(costly)} iterations"
        note = f"set them to 0 (RFC 9276); above {limits.DNS_NSEC3_ITERATIONS} the zone counts as unsigned"
        findings.append(Finding(subject=subject, verdict=Verdict.INFO, reason=reason, note=note))
    return findings


def _delegation(subject: str, ds: Answer) -> Finding:
    if ds.found:
        tags = ", ".join(
            f"{rdata.key_tag} (algorithm {rdata.algorithm})" for rdata in ds.rdatas if isinstance(rdata, DS)
        )
        return Finding(subject=subject, verdict=Verdict.OK, reason=f"signed; the zone above has a DS of key {tags}")
    if ds.status is Status.BOGUS:
        return judge_absence(ds)
    reason = "signed, and proved by a trust anchor of its own: the zone above has no DS"
    note = "have the DS published there, or nobody without that anchor believes this zone"
    return Finding(subject=subject, verdict=Verdict.INFO, reason=reason, note=note)


def _servers(subject: str, zone: Zone) -> list[Finding]:
    names = {server.name for server in zone.servers}
    addresses = {server.address for server in zone.servers if server.address}
    if len(names) > 1 and len(addresses) > 1:
        return []
    what = "a single name server" if len(names) <= 1 else "several name servers, but only one address"
    note = "add a second one elsewhere (RFC 2182): while it is down, nobody finds this domain"
    return [Finding(subject=subject, verdict=Verdict.WARNING, reason=f"it has {what}", note=note)]


def _delegated(subject: str, zone: Zone, delegated: frozenset[str] | None) -> list[Finding]:
    """RFC 1034 §4.2.2: both sides of the cut name the same servers."""
    own = frozenset(server.name for server in zone.servers)
    if delegated is None or delegated == own:
        return []
    sides = {"only the zone above names": delegated - own, "only the zone itself names": own - delegated}
    reason = "; ".join(f"{side} {', '.join(sorted(names))}" for side, names in sides.items() if names)
    note = "correct the delegation at the registrar, or the NS records: servers left out here are not checked"
    return [Finding(subject=subject, verdict=Verdict.WARNING, reason=reason, note=note)]


def judge_views(answer: Answer, views: Sequence[View], now: float) -> list[Finding]:
    """Whether all servers have the records of `answer`, which the resolver gave, validly signed and for some time."""
    heard = [view for view in views if not view.error]
    findings = [_silence(view, others_answer=bool(heard)) for view in views if view.error]
    findings += _agreement(answer, heard)
    subject = subject_of(answer.question)
    for view in heard:
        if view.unproved:
            reason = f"{server_text(view)}: {view.unproved}"
            note = "sign the zone again there, or let that server fetch it again"
            findings.append(Finding(subject=subject, verdict=Verdict.FAILED, reason=reason, note=note))
    findings += _ending(subject, heard, now)
    if answer.question.rdtype != RdataType.DNSKEY:  # no step of ours waits for its TTL
        findings += _long_ttl(subject, heard)
    return findings


def _silence(view: View, *, others_answer: bool) -> Finding:
    """A server without an answer; where all are silent, and a resolver reached them, the way there is in doubt."""
    subject = f"server {server_text(view)}"
    if not view.reachable:
        return Finding(subject=subject, verdict=Verdict.INFO, reason=f"not checked: {view.error}")
    if not others_answer:
        note = "none of the zone's servers answers here: see whether a firewall keeps DNS (port 53) from leaving"
        return Finding(subject=subject, verdict=Verdict.UNKNOWN, reason=view.error, note=note)
    note = "repair it, or take it out of the NS records"
    return Finding(subject=subject, verdict=Verdict.WARNING, reason=view.error, note=note)


def _agreement(answer: Answer, heard: Sequence[View]) -> list[Finding]:
    subject, right = subject_of(answer.question), frozenset(answer.rdatas)
    groups: dict[frozenset[dns.rdata.Rdata], list[View]] = {}
    for view in heard:
        groups.setdefault(frozenset(view.rdatas), []).append(view)
    if len(groups) > 1:
        reason = "the servers do not agree: " + "; ".join(_group(rdatas, who) for rdatas, who in groups.items())
        note = "wait for the zone transfer, or see why the servers with the lower serial do not get it"
        return [Finding(subject=subject, verdict=Verdict.FAILED, reason=reason, note=note)]
    if not groups or (right in groups and not right):
        return []
    if right in groups:
        reason = f"the same at all {len(heard)} addresses of its servers"
        return [Finding(subject=subject, verdict=Verdict.OK, reason=reason)]
    reason = f"all its servers have {_texts(*groups)}, and the resolver still has {_texts(right)}"
    note = f"caches hold what they have for up to {_ttl(answer, heard)} seconds; check again then"
    return [Finding(subject=subject, verdict=Verdict.WARNING, reason=reason, note=note)]


def _ttl(answer: Answer, heard: Sequence[View]) -> int:
    known = [view.ttl for view in heard if view.ttl is not None]
    return limits.DNS_MAX_NEGATIVE_TTL if answer.outcome is not Outcome.FOUND else max(known, default=_DAY)


def _group(rdatas: frozenset[dns.rdata.Rdata], views: Sequence[View]) -> str:
    who = ", ".join(f"{server_text(view)} (serial {view.serial})" for view in views)
    return f"{who}: {_texts(rdatas)}"


def _texts(rdatas: frozenset[dns.rdata.Rdata]) -> str:
    texts = [rdata.to_text() for rdata in sorted(rdatas)]
    shown = [text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…" for text in texts]
    return " and ".join(shown) if shown else "no records"


def _ending(subject: str, heard: Sequence[View], now: float) -> list[Finding]:
    """The signature that ends first, if that is soon."""
    ends = [view for view in heard if view.signed_until is not None and not view.unproved]
    first = min(ends, key=lambda view: view.signed_until or 0, default=None)
    if first is None or first.signed_until is None or first.signature_inception is None:
        return []
    left, lifetime = first.signed_until - now, first.signed_until - first.signature_inception
    # who signs each answer as it goes out lets signatures live for a day or two: those are near their end always
    brief = lifetime < 2 * limits.DNS_SIGNATURE_NEAR
    if left >= (lifetime / _QUARTER if brief else limits.DNS_SIGNATURE_NEAR):
        return []
    end = datetime.fromtimestamp(first.signed_until, UTC).strftime("%Y-%m-%d %H:%M UTC")
    reason = f"its signature at {server_text(first)} ends soon: {end}"
    note = "see why the zone is not signed again"
    return [Finding(subject=subject, verdict=Verdict.WARNING, reason=reason, note=note)]


def _long_ttl(subject: str, heard: Sequence[View]) -> list[Finding]:
    longest = max((view.ttl for view in heard if view.ttl is not None), default=0)
    if longest <= limits.DNS_MAX_TTL:
        return []
    note = "an hour is enough: every change waits for twice the TTL"
    reason = f"its TTL is {longest} seconds, more than a day"
    return [Finding(subject=subject, verdict=Verdict.WARNING, reason=reason, note=note)]
