"""What a resolver is good for: three names of known state, each asked in the ways that tell resolvers apart.

in: a resolver and the names of a signed, a broken and an unsigned zone; out: an Examination.
Never: takes "it validates" for "it can be trusted": a forwarder between us and a validating resolver passes every test,
so the way counts too. Source: RFC 4035 §3.2, RFC 6840 §5.7 and §5.9.
"""

import enum
import ssl

import attrs
import dns.flags
import dns.message
import dns.rcode
import trio
from dns.rdatatype import RdataType

from volly_fed import limits
from volly_fed.config.model import Dns, Validation
from volly_fed.daemon.dns.transport import Server, Style, Transport, Unanswered
from volly_fed.discovery import plan
from volly_fed.discovery.budget import Budget
from volly_fed.discovery.message import Question
from volly_fed.errors import Indeterminate
from volly_fed.names import DomainName


class Verdict(enum.Enum):
    """What a resolver turned out to be."""

    VALIDATING = "validating"
    """It sets AD on the signed name, refuses the broken one, and leaves AD off the unsigned one."""
    NOT_VALIDATING = "not validating"
    """It gives out the broken name, or does not say whether it validates."""
    PERMISSIVE = "permissive"
    """It sets AD, but gives out the broken name all the same."""
    LYING = "lying"
    """It sets AD on what cannot be validated."""
    STRIPPING = "stripping"
    """It removes signatures: nobody behind it can validate."""
    UNREACHABLE = "unreachable"
    """It does not answer, or not about the names that it is examined with."""


@attrs.frozen(kw_only=True)
class ProbeNames:
    """The zones to ask for; their SOA records are asked, which every zone has."""

    secure: DomainName
    bogus: DomainName
    unsigned: DomainName


_DEFAULTS = Dns()
DEFAULT_NAMES = ProbeNames(
    secure=_DEFAULTS.probe_secure, bogus=_DEFAULTS.probe_bogus, unsigned=_DEFAULTS.probe_unsigned
)


@attrs.frozen(kw_only=True)
class Examination:
    """What was found out about one resolver."""

    server: Server
    verdict: Verdict
    usable_as: tuple[Validation, ...]
    """The values of [dns] validate that it will do for."""
    reason: str

    @property
    def vouches(self) -> bool:
        """Whether its AD flag may be believed."""
        return Validation.RESOLVER_AD in self.usable_as


@attrs.frozen
class _Seen:
    """One response; `error` says why there is none, then nothing else counts."""

    rcode: dns.rcode.Rcode = dns.rcode.SERVFAIL
    ad: bool = False
    signed: bool = False
    error: str = ""

    @property
    def good(self) -> bool:
        return not self.error and self.rcode == dns.rcode.NOERROR


def is_authentic(server: Server) -> bool:
    """Whether answers can only come from `server`: it is on this machine, or proves its name over TLS."""
    return server.is_loopback or bool(server.name)


async def examine(
    server: Server,
    names: ProbeNames,
    *,
    transport: Transport | None = None,
    tls: ssl.SSLContext | None = None,
    patience: float = limits.DNS_PROBE,
) -> Examination:
    """Ask `server` for all names in all ways, at once. Raises nothing; takes `patience` seconds at most.

    `tls` replaces the system's certificate store, `transport` the connections to use.
    """
    way = transport or Transport([server], tls)
    asked = {
        "secure": (names.secure, Style.VERDICT),
        "signed": (names.secure, Style.SIGNED),
        "bogus": (names.bogus, Style.VERDICT),
        "unchecked": (names.bogus, Style.UNCHECKED),
        "unsigned": (names.unsigned, Style.VERDICT),
    }
    seen: dict[str, _Seen] = {}

    async def ask(key: str, name: DomainName, style: Style) -> None:
        question = Question(plan.absolute(name), RdataType.SOA)
        seen[key] = _Seen(error=f"{question}: it does not answer within {patience:g} seconds")
        with trio.move_on_after(patience):
            seen[key] = await _see(way, server, question, style)

    async with trio.open_nursery() as nursery:
        for key, (name, style) in asked.items():
            nursery.start_soon(ask, key, name, style)
    verdict, reason = _verdict(names, **seen)
    if verdict is Verdict.VALIDATING and not is_authentic(server):
        reason += ", but anybody on the way to it can forge that"
    return Examination(server=server, verdict=verdict, usable_as=_uses(server, verdict, seen), reason=reason)


async def _see(transport: Transport, server: Server, question: Question, style: Style) -> _Seen:
    try:
        reply = await transport.ask(question, Budget(), style, [server])
    except Unanswered as error:
        return _Seen(error="" if error.refusal is not None else str(error))
    except Indeterminate as error:
        return _Seen(error=str(error))
    message = reply.message
    signed = any(rrset.rdtype == RdataType.RRSIG for rrset in message.answer)
    return _Seen(message.rcode, bool(message.flags & dns.flags.AD), signed)


def _verdict(
    names: ProbeNames, *, secure: _Seen, signed: _Seen, bogus: _Seen, unchecked: _Seen, unsigned: _Seen
) -> tuple[Verdict, str]:
    for option, name, seen in (
        ("probe_secure", names.secure, secure),
        ("probe_unsigned", names.unsigned, unsigned),
        ("probe_bogus", names.bogus, unchecked),
    ):
        if not seen.good:
            what = seen.error or f"it answers {dns.rcode.to_text(seen.rcode)} for {name}"
            return Verdict.UNREACHABLE, f"{what} ([dns] {option})"
    if unsigned.ad or bogus.ad:
        name = names.unsigned if unsigned.ad else names.bogus
        return Verdict.LYING, f"it sets AD for {name}, which nobody can validate"
    blocks = not bogus.error and bogus.rcode == dns.rcode.SERVFAIL
    if secure.ad and blocks:
        return Verdict.VALIDATING, f"it vouches for {names.secure} and refuses {names.bogus}"
    if not signed.signed:
        return Verdict.STRIPPING, f"it gives no signatures for {names.secure}, and does not validate"
    if secure.ad:
        return (
            Verdict.PERMISSIVE,
            f"it vouches for {names.secure}, but gives out {names.bogus}, whose signatures are wrong",
        )
    if blocks:
        return Verdict.NOT_VALIDATING, f"it refuses {names.bogus}, but does not say so by AD for {names.secure}"
    return Verdict.NOT_VALIDATING, f"it gives out {names.bogus}, whose signatures are wrong, and never sets AD"


def _uses(server: Server, verdict: Verdict, seen: dict[str, _Seen]) -> tuple[Validation, ...]:
    passes = seen["signed"].signed and seen["unchecked"].good
    vouches = verdict is Verdict.VALIDATING and is_authentic(server)
    uses = [Validation.SELF] if passes else []
    if passes and not server.name:  # libunbound cannot be relied on to check names
        uses.append(Validation.LIBUNBOUND)
    if vouches:
        uses.append(Validation.RESOLVER_AD)
    if vouches and passes:
        uses.append(Validation.BOTH)
    return tuple(uses)
