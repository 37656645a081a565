"""Every step from a domain's SRV record to its proved identity, each with its verdict, for `volly-fed probe`.

in: a domain, a resolver, optionally our own name and keys; out: steps, as they happen.
Never: stops at the first target or address that fails, or calls fine what it did not check.
"""

from collections.abc import Callable
from functools import partial

import attrs
import trio

from volly_fed import limits
from volly_fed.channel import FEDERATION, Negotiated, check_tlsa
from volly_fed.codepoints import IDENTITY_ALGORITHM
from volly_fed.daemon.connection import Connection, Dialled, dial, secure
from volly_fed.daemon.dns.resolver import Resolver
from volly_fed.daemon.eyeballs import connect_any
from volly_fed.daemon.tls import TlsContext
from volly_fed.discovery.endpoint import Endpoint, Status, Step, Target
from volly_fed.errors import DiscoveryError, Indeterminate, VollyFedError
from volly_fed.handshake import Outcome, Party
from volly_fed.names import DomainName, fingerprint_text


@attrs.frozen(kw_only=True)
class ProbeStep:
    """One step: what was tried, its verdict (ok, failed, skipped, or a DNSSEC status), the reason, milliseconds."""

    what: str
    verdict: str
    reason: str = ""
    milliseconds: float = 0.0


OK, FAILED, SKIPPED = "ok", "failed", "skipped"
Report = Callable[[ProbeStep], None]


@attrs.frozen(kw_only=True)
class Caller:
    """Who probes: TLS settings always; a Party with a published identity where the peer's proof is wanted."""

    context: TlsContext
    party: Party | None


async def probe(domain: DomainName, resolver: Resolver, caller: Caller, report: Report) -> int:
    """Probe `domain`; the exit code of the command: 0 all fine, 1 not all checked, 2 failed, 3 could not tell."""
    try:
        endpoint = await resolver.discover(domain, trace=partial(_dns_step, report))
    except DiscoveryError as error:
        report(ProbeStep(what=f"discovery of {domain}", verdict=type(error).__name__.lower(), reason=str(error)))
        return 3 if isinstance(error, Indeterminate) else 2
    report(
        ProbeStep(
            what=f"discovery of {domain}",
            verdict=Status.SECURE.value,
            reason=f"identity {fingerprint_text(endpoint.identity)}",
        )
    )
    for target in endpoint.rejected:
        report(ProbeStep(what=f"target {target.host}", verdict=target.status.value, reason=target.reason))
    worst = 1 if endpoint.rejected else 0
    for target in endpoint.targets:
        for address in target.addresses:
            worst = max(worst, await _probe_address(endpoint, target, address, caller, report))
    return worst


def _dns_step(report: Report, step: Step) -> None:
    report(
        ProbeStep(
            what=f"{step.name} {step.rrtype}",
            verdict=step.status.value,
            reason=step.reason,
            milliseconds=step.milliseconds,
        )
    )


async def _probe_address(endpoint: Endpoint, target: Target, address: str, caller: Caller, report: Report) -> int:
    where = f"{target.host} [{address}]:{target.port}"
    began = trio.current_time()
    try:
        stream = await connect_any([address], target.port)
    except VollyFedError as error:
        report(ProbeStep(what=f"TCP to {where}", verdict=FAILED, reason=str(error), milliseconds=_since(began)))
        return 2
    report(ProbeStep(what=f"TCP to {where}", verdict=OK, milliseconds=_since(began)))
    walk = _Walk(target=target, report=report, began=trio.current_time())
    if caller.party is None:
        return await walk.channel_only(stream, caller.context)
    plan = Dialled(
        context=caller.context,
        party=caller.party,
        host=target.host,
        wanted=endpoint.domain,
        expected=frozenset(f for f in (endpoint.identity, endpoint.identity_next) if f is not None),
        check_key=walk.tls,
        confirm=walk.confirm,
        use=walk.proved,
    )
    return await walk.whole(stream, plan)


@attrs.define(kw_only=True)
class _Walk:
    """The steps on one connection; `reached` names the one that is under way, for what fails in it."""

    target: Target
    report: Report
    began: float
    reached: str = "TLS"

    def tls(self, negotiated: Negotiated) -> None:
        terms = f"{negotiated.version}, {negotiated.group}, {FEDERATION.signature}, {negotiated.cipher}"
        self.step(OK, terms)
        self.reached = "TLSA"
        check_tlsa(self.target.tlsa, negotiated)
        self.step(OK, f"SHA-256 {negotiated.peer_spki_sha256.hex()}")
        self.reached = "WebSocket and identity"

    async def confirm(self, outcome: Outcome) -> None:
        self.step(OK, f"{IDENTITY_ALGORITHM} proved, {fingerprint_text(outcome.fingerprint)}")

    async def proved(self, _connection: Connection) -> None:
        self.reached = "close"

    async def whole(self, stream: trio.abc.Stream, plan: Dialled) -> int:
        try:
            await dial(stream, plan)
        except VollyFedError as error:
            self.step(FAILED, str(error))
            return 2
        return 0

    async def channel_only(self, stream: trio.abc.Stream, context: TlsContext) -> int:

        try:
            _, negotiated = await secure(stream, context, self.target.host)
            self.tls(negotiated)
        except VollyFedError as error:
            self.step(FAILED, str(error))
            return 2
        finally:
            with trio.move_on_after(limits.CLOSE, shield=True):
                await stream.aclose()
        self.step(SKIPPED, "the peer proves its identity only to a domain; note: give --config of your own server")
        return 1

    def step(self, verdict: str, reason: str) -> None:
        self.report(ProbeStep(what=self.reached, verdict=verdict, reason=reason, milliseconds=_since(self.began)))
        self.began = trio.current_time()


def _since(began: float) -> float:
    return round((trio.current_time() - began) * 1000, 2)
