"""What a homeserver sees of itself from outside: its trust anchors, its own records, its resolvers; at start and daily.

in: the resolver, the files in the data folder; out: findings, each an event in the log with its next step.
Never: delays anything or changes anything: whoever finds nothing is served all the same.
Source: RFC 7671 §8.1 (keys to come), RFC 5011 §3 (roll-overs of anchors, which an operator follows here).
"""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import attrs
import dns.name
import trio
from dns.rdtypes.ANY.DNSKEY import DNSKEY

from volly_fed import limits
from volly_fed.crypto.signature import fingerprint
from volly_fed.daemon import material
from volly_fed.daemon.dns.probe import Examination
from volly_fed.daemon.dns.probe import Verdict as Fitness
from volly_fed.daemon.dns.resolver import Resolver
from volly_fed.daemon.upkeep.findings import Finding, Verdict
from volly_fed.discovery import dane
from volly_fed.discovery.anchors import Anchors, compare
from volly_fed.discovery.endpoint import Endpoint, Status, Target
from volly_fed.errors import DiscoveryError, LocalError
from volly_fed.names import DomainName, Fingerprint, fingerprint_text
from volly_fed.observe.log import Log

_PUBLISH = "publish what `volly-fed dns print` prints; `volly-fed dns check` looks at every server"
_ANCHORS = "compare [dns] anchors with data.iana.org/root-anchors/root-anchors.xml, or update volly-fed"
_RESOLVER = "name another resolver in [dns] resolvers"


async def check_anchors(resolver: Resolver, anchors: Anchors) -> list[Finding]:
    """Whether every zone of `anchors` still uses a key that they name, and which keys may come next. Raises nothing."""
    return [await _compare(resolver, anchors, zone) for zone in anchors]


async def _compare(resolver: Resolver, anchors: Anchors, zone: dns.name.Name) -> Finding:
    subject = f"the trust anchors of {zone}"
    answer = await resolver.lookup(zone.to_text(), "DNSKEY")
    keys = [rdata for rdata in answer.rdatas if isinstance(rdata, DNSKEY)]
    drift = compare(anchors, zone, keys)
    if keys and not drift.matched:
        reason = f"none of them names a key of the zone, whose tags are {_tags(drift.unknown)}"
        return Finding(subject=subject, verdict=Verdict.FAILED, reason=reason, note=_ANCHORS)
    if answer.status is Status.INDETERMINATE:
        return Finding(subject=subject, verdict=Verdict.UNKNOWN, reason=answer.reason, note=_RESOLVER)
    if not answer.found:
        return Finding(subject=subject, verdict=Verdict.FAILED, reason=answer.reason, note=_ANCHORS)
    if drift.unknown:
        reason = f"the zone has keys that none of them names (tags {_tags(drift.unknown)}): one may be used next"
        return Finding(subject=subject, verdict=Verdict.WARNING, reason=reason, note=_ANCHORS)
    return Finding(subject=subject, verdict=Verdict.OK)


@attrs.frozen(kw_only=True)
class _Own:
    """Our keys as the files have them now."""

    keys: material.Material
    next_identity: Fingerprint | None
    spare: material.TlsMaterial | None

    @classmethod
    def load(cls, data_dir: Path) -> "_Own":
        following = material.load_next_identity(data_dir)
        return cls(
            keys=material.load_material(data_dir),
            next_identity=None if following is None else fingerprint(following.public),
            spare=material.load_spare(data_dir),
        )


@attrs.frozen(kw_only=True)
class SelfCheck:
    """The checks of one homeserver."""

    domain: DomainName
    data_dir: Path
    in_use: Callable[[], material.Material]
    """The keys that new connections show."""
    resolver: Resolver
    anchors: Anchors
    """Those that answers are validated by; empty where others validate."""
    examine: Callable[[], Awaitable[Sequence[Examination]]]
    """The resolvers whose verdict is believed, each examined; nothing where none is."""
    watch_spare: Callable[[], Awaitable[object]]
    """Notes whether all servers show the spare key's record, so that an emergency need not wait; raises LocalError."""
    log: Log
    told: Callable[[Sequence[Finding]], None] = lambda _: None
    """Is told of each look."""

    async def run(self) -> None:
        """Look and tell, now and every day until cancelled; sooner again where nobody could be asked."""
        while True:
            findings = await self.look()
            self.told(findings)
            for found in findings:
                reason = "; note: ".join(filter(None, (found.reason, found.note)))
                self.log.self_checked(subject=found.subject, verdict=str(found.verdict), reason=reason)
            unknown = any(found.verdict is Verdict.UNKNOWN for found in findings)
            await trio.sleep(limits.SELF_CHECK_RETRY if unknown else limits.SELF_CHECK)

    async def look(self) -> list[Finding]:
        """What there is to say now. Raises nothing that DNS or a file can cause."""
        findings = await check_anchors(self.resolver, self.anchors)
        findings += [_fitness(examination) for examination in await self.examine()]
        try:
            await self.watch_spare()
            own = await trio.to_thread.run_sync(_Own.load, self.data_dir)
            findings += _in_use(self.in_use(), own.keys)
            return findings + _own_records(own, await self.resolver.discover(self.domain))
        except LocalError as error:
            return [*findings, Finding.of_error("the key files", error)]
        except DiscoveryError as error:
            found = Finding.of_error(f"the records of {self.domain}", error)
            return [*findings, attrs.evolve(found, note=found.note or _PUBLISH)]


def _in_use(used: material.Material, files: material.Material) -> list[Finding]:
    """Peers are shown what is in use, and records are made of what is in the files."""
    if (used.fingerprint, used.tls.key.spki_sha256) == (files.fingerprint, files.tls.key.spki_sha256):
        return []
    reason = "they were changed, and this homeserver still shows the former keys"
    return [Finding(subject="the key files", verdict=Verdict.FAILED, reason=reason, note="run `volly-fed reload`")]


def _own_records(own: _Own, endpoint: Endpoint) -> list[Finding]:
    return [
        _identity(own, endpoint),
        *(_tls_keys(own, target) for target in endpoint.targets),
        *(_rejected(target) for target in endpoint.rejected),
    ]


def _rejected(target: Target) -> Finding:
    subject = f"{target.host}:{target.port}"
    return Finding(subject=subject, verdict=Verdict.FAILED, reason=target.reason, note=_PUBLISH)


def _identity(own: _Own, endpoint: Endpoint) -> Finding:
    subject = f"the identity record of {endpoint.domain}"
    identity, published = own.keys.fingerprint, {endpoint.identity, endpoint.identity_next}
    if identity not in published:
        reason = f"it does not name our identity {fingerprint_text(identity)}: peers refuse us"
        return Finding(subject=subject, verdict=Verdict.FAILED, reason=reason, note=_PUBLISH)
    if (identity, own.next_identity) != (endpoint.identity, endpoint.identity_next):
        reason = "it names our identity, and is not the record for the keys we have now"
        return Finding(subject=subject, verdict=Verdict.WARNING, reason=reason, note=_PUBLISH)
    return Finding(subject=subject, verdict=Verdict.OK)


def _tls_keys(own: _Own, target: Target) -> Finding:
    subject = f"the TLSA records of {target.host}:{target.port}"
    if not _names(target, own.keys.tls):
        reason = "none of them names our TLS key: peers refuse us"
        return Finding(subject=subject, verdict=Verdict.FAILED, reason=reason, note=_PUBLISH)
    if own.spare is None or not _names(target, own.spare):
        reason = "none of them names a spare TLS key: if this one is lost, peers refuse us until caches are empty"
        return Finding(subject=subject, verdict=Verdict.WARNING, reason=reason, note=_PUBLISH)
    return Finding(subject=subject, verdict=Verdict.OK)


def _names(target: Target, tls: material.TlsMaterial) -> bool:
    return dane.match(target.tlsa, spki=tls.key.spki, certificate=tls.certificate)


def _fitness(examination: Examination) -> Finding:
    subject = f"resolver {examination.server}"
    if examination.vouches:
        return Finding(subject=subject, verdict=Verdict.OK, reason=examination.reason)
    verdict = Verdict.UNKNOWN if examination.verdict is Fitness.UNREACHABLE else Verdict.FAILED
    return Finding(subject=subject, verdict=verdict, reason=examination.reason, note=_RESOLVER)


def _tags(tags: Sequence[int]) -> str:
    return ", ".join(str(tag) for tag in tags)
