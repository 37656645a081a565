"""Whether this machine can find others at all: its clock, and each of its resolvers.

in: a Resolver; out: Findings.
Never: takes a resolver that says "validated" for one that validates; every verdict is from an examination.
Source: RFC 4035 §5.3.1 (validity periods), RFC 6840 §5.9, RFC 7766 §5 (TCP is not optional).
"""

import dns.name
from dns.rdatatype import RdataType
from dns.rdtypes.ANY.RRSIG import RRSIG

from volly_fed import limits
from volly_fed.config.model import HomeserverConfig, Validation
from volly_fed.daemon.dns.probe import Examination
from volly_fed.daemon.dns.probe import Verdict as Fitness
from volly_fed.daemon.dns.resolver import Resolver
from volly_fed.daemon.dns.transport import Server
from volly_fed.daemon.upkeep.findings import Finding, Verdict
from volly_fed.daemon.upkeep.reach import trouble
from volly_fed.discovery.message import Question
from volly_fed.discovery.signature import seconds_until
from volly_fed.errors import Indeterminate

_CLOCK = "the clock"
_TWO_WAYS = "UDP alone is not enough: long answers come over TCP; let TCP port 53 pass"


async def examine(config: HomeserverConfig, resolver: Resolver) -> list[Finding]:
    """Clock, then every resolver. Raises nothing."""
    findings = [await _clock(resolver)]
    for examination in await resolver.examine():
        findings.append(_fitness(config.dns.validate, examination))
        if not examination.server.name and examination.verdict is not Fitness.UNREACHABLE:
            findings.append(await _tcp(examination.server))
    return findings


async def _clock(resolver: Resolver) -> Finding:
    """Held against the validity of the signatures at the trust anchor: they are made anew all the time."""
    zone = next(iter(resolver.anchors), dns.name.root)
    try:
        message = await resolver.unvalidated(Question(zone, RdataType.SOA))
    except Indeterminate as error:
        return Finding.of_error(_CLOCK, error)
    now = resolver.now()
    rrsigs = [rdata for rrset in message.answer for rdata in rrset if isinstance(rdata, RRSIG)]
    if not rrsigs:
        reason = f"cannot be told: the resolver shows no signature of {zone}"
        return Finding(subject=_CLOCK, verdict=Verdict.UNKNOWN, reason=reason, note="see the resolvers below")
    early = min(seconds_until(rrsig.inception, now) for rrsig in rrsigs)
    late = -max(seconds_until(rrsig.expiration, now) for rrsig in rrsigs)
    if early > limits.DNS_CLOCK_SKEW:
        return _wrong_clock(f"is behind by {_span(early)} or more: signatures of {zone} begin later than it shows")
    if late > limits.DNS_CLOCK_SKEW:
        return _wrong_clock(f"is ahead by {_span(late)} or more: signatures of {zone} ended before what it shows")
    return Finding(subject=_CLOCK, verdict=Verdict.OK, reason=f"is inside the validity of the signatures of {zone}")


def _wrong_clock(reason: str) -> Finding:
    note = (
        "set it, and keep it right with chrony, ntpd or systemd-timesyncd; no signature can be checked until then "
        "(if it is right, the resolver serves old data)"
    )
    return Finding(subject=_CLOCK, verdict=Verdict.FAILED, reason=reason, note=note)


def _span(seconds: int) -> str:
    days, hours = divmod(seconds // 3600, 24)
    return f"{days} days" if days else f"{hours} hours" if hours else f"{seconds // 60} minutes"


def _fitness(validate: Validation, examination: Examination) -> Finding:
    subject, fitness = f"resolver {examination.server}", examination.verdict
    reason = f"{fitness.value}: {examination.reason}"
    if fitness is Fitness.UNREACHABLE:
        note = "name other resolvers in [dns] resolvers; if it works otherwise, the names in [dns] probe_* are wrong"
        return Finding(subject=subject, verdict=Verdict.UNKNOWN, reason=reason, note=note)
    if validate not in examination.usable_as:
        return Finding(subject=subject, verdict=Verdict.FAILED, reason=reason, note=_remedy(validate, examination))
    if fitness is Fitness.LYING:
        note = "this homeserver validates itself and is safe; other programs here that believe AD are not"
        return Finding(subject=subject, verdict=Verdict.WARNING, reason=reason, note=note)
    if fitness in (Fitness.NOT_VALIDATING, Fitness.PERMISSIVE):
        note = "this homeserver validates itself and needs no more"
        return Finding(subject=subject, verdict=Verdict.INFO, reason=reason, note=note)
    return Finding(subject=subject, verdict=Verdict.OK, reason=reason)


def _remedy(validate: Validation, examination: Examination) -> str:
    if Validation.SELF in examination.usable_as:
        return f'it is not fit for [dns] validate = "{validate}"; "self" works with it'
    return "name a resolver in [dns] resolvers that passes DNSSEC records on"


async def _tcp(server: Server) -> Finding:
    subject = f"resolver {server} over TCP"
    why = await trouble(server.host, server.port, limits.DNS_QUERY)
    if why:
        return Finding(subject=subject, verdict=Verdict.FAILED, reason=why, note=_TWO_WAYS)
    return Finding(subject=subject, verdict=Verdict.OK, reason="accepts connections")
