"""Everything about this installation that can be looked at: files, ports, clock, resolvers, anchors, records, routes.

in: the configuration and its resolver; out: Findings, causes before what follows from them.
Never: changes anything, calls fine what it could not look at, or shows nothing but green where nothing is set up.
"""

from volly_fed import limits
from volly_fed.config.model import HomeserverConfig
from volly_fed.daemon.dns.resolver import Resolver
from volly_fed.daemon.material import load_published
from volly_fed.daemon.upkeep import doctor_dns, doctor_local
from volly_fed.daemon.upkeep.findings import Finding, Verdict
from volly_fed.daemon.upkeep.reach import trouble
from volly_fed.daemon.upkeep.records_check import check as check_records
from volly_fed.daemon.upkeep.selfcheck import check_anchors
from volly_fed.discovery.endpoint import Target
from volly_fed.errors import DiscoveryError, LocalError


async def examine(config: HomeserverConfig, resolver: Resolver) -> list[Finding]:
    """What there is to say of the homeserver of `config`. Raises nothing that a file, the network or DNS can cause."""
    findings, running = await doctor_local.examine(config)
    findings += await doctor_dns.examine(config, resolver)
    findings += await check_anchors(resolver, resolver.anchors)
    try:
        published = load_published(config)
    except LocalError:
        return findings  # said above, file by file; without keys there is nothing to compare records with
    findings += await check_records(config, published, resolver)
    return findings + await _addresses(config, resolver, running=running)


async def _addresses(config: HomeserverConfig, resolver: Resolver, *, running: bool) -> list[Finding]:
    """Whether the published addresses lead to a port that somebody listens on."""
    try:
        endpoint = await resolver.discover(config.server.domain)
    except DiscoveryError:
        return []  # the check of the records says why
    if not running:
        subject = f"the published addresses of {config.server.domain}"
        reason = "not tried: no homeserver runs here"
        return [Finding(subject=subject, verdict=Verdict.INFO, reason=reason, note="start it with `volly-fed serve`")]
    return [await _reach(target, address) for target in endpoint.targets for address in target.addresses]


async def _reach(target: Target, address: str) -> Finding:
    subject = f"{target.host} at {address} port {target.port}"
    why = await trouble(address, target.port, limits.CONNECT)
    if not why:
        return Finding(subject=subject, verdict=Verdict.OK, reason="accepts connections")
    note = (
        "open the port in firewall and router; where a router does not let its own network in by the public "
        "address, run `volly-fed probe` from outside instead"
    )
    return Finding(subject=subject, verdict=Verdict.WARNING, reason=f"cannot be reached from here: {why}", note=note)
