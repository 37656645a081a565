"""Answers that somebody else has validated: what is in a message, and what its AD flag is worth.

in: responses of resolvers that the operator trusts; out: Answers as our own validator makes them, or why there is none.
Never: believes a resolver whose examination failed, or whose way is neither this machine nor authenticated TLS.
Source: RFC 4035 §3.2.3, RFC 6840 §5.7 and §5.8 (AD), RFC 2308 §5, RFC 8914 (EDE).
"""

from collections.abc import Callable, Sequence
from functools import partial

import dns.edns
import dns.flags
import dns.name
import dns.rcode
import dns.rdata
import trio
from dns.rdatatype import RdataType

from volly_fed import limits
from volly_fed.daemon.dns.cache import Cache, SingleFlight
from volly_fed.daemon.dns.probe import Examination, ProbeNames, examine
from volly_fed.daemon.dns.transport import Reply, Server, Style, Transport, Unanswered
from volly_fed.discovery.budget import Budget
from volly_fed.discovery.dnssec import Answer, Outcome, failed
from volly_fed.discovery.endpoint import Status
from volly_fed.discovery.message import Message, Question, find
from volly_fed.discovery.rrset import RRset
from volly_fed.errors import Bogus, Indeterminate, LocalError


class Vouching:
    """The resolvers' verdicts, as far as they are fit to give any."""

    def __init__(self, transport: Transport, names: ProbeNames, clock: Callable[[], float]) -> None:
        self._transport = transport
        self._names = names
        self._clock = clock
        self._examinations: Cache[Server, tuple[Examination, float]] = Cache()
        self._examining: SingleFlight[Server, Examination] = SingleFlight()

    async def require(self) -> None:
        """Examine every resolver now. Raises LocalError where one is not fit."""
        for examination in await self.examined(age=0, patience=limits.DNS_PROBE):
            if not examination.vouches:
                raise LocalError(
                    f"resolver {examination.server} cannot be trusted with validation: {examination.reason}\n"
                    'note: use another resolver, or [dns] validate = "self", which trusts none'
                )

    async def ask(self, budget: Budget, question: Question) -> Answer:
        """The Answer. Raises nothing: failures are in its status."""
        try:
            servers = await self._fit()
            reply = await self._transport.ask(question, budget, Style.VERDICT, servers)
            if not reply.message.flags & dns.flags.AD:
                await self._doubt(reply.server)
        except Unanswered as error:
            refused: Exception = error
            if error.refusal is not None:
                refused = await self._refused(question, budget, error.refusal)
            return failed(question, refused, self._clock())
        except Indeterminate as error:
            return failed(question, error, self._clock())
        secure = bool(reply.message.flags & dns.flags.AD)
        reason = "" if secure else f"resolver {reply.server} does not vouch for it: the zone is not signed"
        return vouched(question, reply.message, Status.SECURE if secure else Status.INSECURE, self._clock(), reason)

    async def _fit(self) -> list[Server]:
        examinations = await self.examined(age=limits.DNS_PROBE_AGE, patience=limits.DNS_PROBE_HURRY)
        fit = [examination.server for examination in examinations if examination.vouches]
        if not fit:
            reasons = "; ".join(f"resolver {unfit.server}: {unfit.reason}" for unfit in examinations)
            raise Indeterminate(f"no resolver can be trusted with validation ({reasons or 'none is configured'})")
        return fit

    async def _doubt(self, server: Server) -> None:
        """What it does not vouch for may be unsigned, or it may have stopped to validate: look."""
        examination = await self._examined(server, limits.DNS_PROBE_DOUBT, limits.DNS_PROBE_HURRY)
        if not examination.vouches:
            raise Indeterminate(f"resolver {server} can no longer be trusted with validation: {examination.reason}")

    async def examined(self, *, age: float, patience: float) -> list[Examination]:
        """What each resolver is good for, found out at most `age` seconds ago, or now, within `patience` seconds."""
        servers, found = self._transport.servers, dict[Server, Examination]()

        async def look(server: Server) -> None:
            found[server] = await self._examined(server, age, patience)

        async with trio.open_nursery() as nursery:
            for server in servers:
                nursery.start_soon(look, server)
        return [found[server] for server in servers]

    async def _examined(self, server: Server, age: float, patience: float) -> Examination:
        """What is known of `server`, if it is not older than `age`; else it is examined."""
        now = self._clock()
        known = self._examinations.get(server, now)
        if known is not None:
            examination, since = known
            if now - since < (age if examination.vouches else min(age, limits.DNS_PROBE_AGAIN)):
                return examination
        return await self._examining.do(server, partial(self._examine, server, patience))

    async def _examine(self, server: Server, patience: float) -> Examination:
        examination = await examine(server, self._names, transport=self._transport, patience=patience)
        now = self._clock()
        self._examinations.put(server, (examination, now), now=now, expires=now + limits.DNS_PROBE_AGE)
        return examination

    async def _refused(self, question: Question, budget: Budget, refusal: Reply) -> Exception:
        """SERVFAIL is a broken chain, or a broken server: without validation (CD) only the latter still fails."""
        why = explanation(refusal.message)
        words = f"resolver {refusal.server} refuses it{f' ({why})' if why else ''}"
        try:
            await self._transport.ask(question, budget, Style.UNCHECKED, [refusal.server])
        except Indeterminate as error:
            return Indeterminate(f"{error}{f' ({why})' if why else ''}")
        return Bogus(f"{question}: {words}, but answers without validation: the chain of trust is broken")


def explanation(message: Message) -> str:
    """The extended errors of a response in words (RFC 8914), "" where there are none; one short line in every case."""
    options = [option for option in message.options if isinstance(option, dns.edns.EDEOption)]
    words = ", ".join(
        f"{_ede_words(option.code)}: {option.text}" if option.text else _ede_words(option.code) for option in options
    )
    return "".join(c if c.isprintable() else " " for c in words[: limits.MAX_TEXT])


def _ede_words(code: int) -> str:
    try:
        return dns.edns.EDECode(code).name.replace("_", " ").lower()
    except ValueError:
        return f"extended error {int(code)}"


def vouched(question: Question, message: Message, status: Status, now: float, reason: str = "") -> Answer:
    """What `message` answers, with the verdict of whoever sent it."""
    name, used = question.name, []
    rrset = find(message.answer, name, question.rdtype)
    while rrset is None:
        alias = find(message.answer, name, RdataType.CNAME)
        if alias is None:
            break
        used.append(alias)
        if len(used) > limits.DNS_CNAME_HOPS:
            return failed(question, Indeterminate(f"{question}: its aliases lead in a circle, or too far"), now)
        name = alias.first.target
        rrset = find(message.answer, name, question.rdtype)
    outcome, rdatas = _outcome(message, rrset)
    ttls = [found.ttl for found in ([*used, rrset] if rrset is not None else used)]
    if rrset is None:
        ttls.append(_negative_ttl(message))
    if status is Status.INSECURE:
        ttls.append(limits.DNS_INSECURE_TTL)
    return Answer(
        question=question,
        status=status,
        outcome=outcome,
        rdatas=rdatas,
        canonical=name,
        expires=now + min(*ttls, limits.DNS_MAX_TTL),
        reason=reason or ("" if rrset is not None else f"{name} {_ABSENT[outcome]}"),
    )


_ABSENT = {Outcome.NODATA: "has no such record", Outcome.NXDOMAIN: "does not exist"}


def _outcome(message: Message, rrset: RRset | None) -> tuple[Outcome, tuple[dns.rdata.Rdata, ...]]:
    if rrset is not None:
        return Outcome.FOUND, tuple(rrset)
    return (Outcome.NXDOMAIN if message.rcode == dns.rcode.NXDOMAIN else Outcome.NODATA), ()


def _negative_ttl(message: Message) -> int:
    """RFC 2308 §5."""
    soas: Sequence[RRset] = [rrset for rrset in message.authority if rrset.rdtype == RdataType.SOA]
    return min([limits.DNS_MAX_NEGATIVE_TTL, *(int(min(soa.ttl, soa.first.minimum)) for soa in soas)])
