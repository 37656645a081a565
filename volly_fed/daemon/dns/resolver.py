"""The daemon's resolver: validated look-ups, and discovery of a domain's service in two round trips.

in: names; out: Answers and Endpoints that DNSSEC proves, or a DiscoveryError that says why not and what to do.
Never: believes a resolver's AD bit unless [dns] validate says so, or leaves a question open longer than
limits.DISCOVERY. Caches to the TTL or the signatures' end, denials and failures too.
Source: RFC 4035, RFC 2308, RFC 9520, RFC 7673.
"""

import os
import ssl
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias

import attrs
import dns.message
import dns.name
import dns.resolver
import trio
from dns.rdatatype import RdataType

from volly_fed import limits
from volly_fed.config.model import Validation
from volly_fed.daemon.dns.cache import Backoff, Cache, CacheEntry, SingleFlight
from volly_fed.daemon.dns.discovery import Discovery, Wish, with_clock_note
from volly_fed.daemon.dns.entries import answer_entry, failure_entry, zone_entry
from volly_fed.daemon.dns.libunbound import Libunbound
from volly_fed.daemon.dns.probe import DEFAULT_NAMES, Examination, ProbeNames, is_authentic
from volly_fed.daemon.dns.run import JointJudge, Judge, Knowledge, OtherJudge, OwnJudge, Run
from volly_fed.daemon.dns.tls import tls_context
from volly_fed.daemon.dns.transport import Server, Transport
from volly_fed.daemon.dns.vouched import Vouching
from volly_fed.discovery import plan
from volly_fed.discovery.anchors import IANA_ROOT, Anchors, read_anchors
from volly_fed.discovery.budget import Budget
from volly_fed.discovery.dnssec import Answer, failed
from volly_fed.discovery.endpoint import Endpoint, Service, Status, Step
from volly_fed.discovery.message import Message, Question
from volly_fed.discovery.zones import ROOT, Zones
from volly_fed.errors import Bogus, ConfigError, DiscoveryError, Indeterminate
from volly_fed.machine import RandomSource
from volly_fed.names import DomainName

Trace: TypeAlias = Callable[[Step], None]
_Key: TypeAlias = tuple[DomainName, Service]
_VOUCHED = (Validation.RESOLVER_AD, Validation.BOTH)


def trust_anchors(text: str = IANA_ROOT, source: str = "trust anchors") -> Anchors:
    """Anchors from DS lines, those of the IANA root if left out. Raises ConfigError naming `source`."""
    return read_anchors(text, source)


def system_resolvers(path: Path = Path("/etc/resolv.conf")) -> list[Server]:
    """The resolvers that the system uses. Raises ConfigError where there are none."""
    try:
        resolver = dns.resolver.Resolver(filename=str(path), configure=True)
    except (dns.resolver.NoResolverConfiguration, OSError) as error:
        problem = f"{path}: no resolver found ({error})\nnote: set [dns] resolvers to addresses of DNS resolvers"
        raise ConfigError([problem]) from error
    return [Server(str(server), resolver.port) for server in resolver.nameservers]


@attrs.frozen(kw_only=True)
class _Failed:
    error: DiscoveryError
    steps: tuple[Step, ...]

    @property
    def weight(self) -> int:
        """Bytes of memory, estimated: owners of zones write into reasons."""
        return len(str(self.error)) + sum(len(step.reason) + limits.DNS_RECORD_BYTES for step in self.steps)


@attrs.frozen(kw_only=True)
class _Memory:
    """All that answers of the present resolvers have led to."""

    knowledge: Knowledge
    failures: Cache[_Key, _Failed] = attrs.field(factory=Cache)
    backoff: Backoff[_Key] = attrs.field(factory=Backoff)
    flights: SingleFlight[_Key, Endpoint | _Failed] = attrs.field(factory=SingleFlight)


class Resolver:
    """Validating stub resolver. `clock` gives seconds since 1970, as signatures count them."""

    def __init__(
        self,
        servers: Sequence[tuple[str, int] | Server],
        anchors: Anchors | None = None,
        *,
        validate: Validation = Validation.SELF,
        allow_private: bool = False,
        require_mldsa44: bool = False,
        probe_names: ProbeNames = DEFAULT_NAMES,
        tls_ca_file: Path | None = None,
        clock: Callable[[], float] = time.time,
        random: RandomSource = os.urandom,
    ) -> None:
        """`servers` are (address, port), over TLS with a name as third. `anchors` None: those of the IANA root.

        Raises ConfigError where `validate` cannot be had with these servers or options, LocalError without libunbound.
        """
        chosen = [Server(*server) for server in servers]
        _check_servers(validate, chosen)
        if require_mldsa44 and validate not in (Validation.SELF, Validation.BOTH):
            problem = "dns.require_mldsa44: only our own validator can require an algorithm"
            raise ConfigError([f'{problem}\nnote: set [dns] validate to "self" or "both"'])
        self._validate = validate
        self._allow_private = allow_private
        self._clock = clock
        self._random = random
        self._transport = Transport(chosen, _tls(tls_ca_file))
        known = trust_anchors() if anchors is None else anchors
        self._zones = Zones(known, require_mldsa44=require_mldsa44)
        self._vouching = Vouching(self._transport, probe_names, clock)
        self._libunbound = Libunbound(chosen, known, clock) if validate is Validation.LIBUNBOUND else None
        self._memory = _Memory(knowledge=Knowledge(clock=clock))

    @property
    def allow_private(self) -> bool:
        """Whether addresses that are not global may be used."""
        return self._allow_private

    @property
    def anchors(self) -> Anchors:
        """The trust anchors in use."""
        return self._zones.anchors

    @property
    def servers(self) -> tuple[Server, ...]:
        """The resolvers that are asked, in the order of the next question."""
        return self._transport.servers

    def now(self) -> float:
        """The clock that signatures are judged by: seconds since 1970."""
        return self._clock()

    async def require(self) -> None:
        """Make sure, before the first question, that the resolvers are fit for the chosen way to validate.

        Where they are trusted with it each is examined. Raises LocalError for one that is not fit.
        """
        if self._validate in _VOUCHED:
            await self._vouching.require()

    async def examine(self) -> list[Examination]:
        """What each resolver is good for, found out now. Raises nothing."""
        return await self._vouching.examined(age=0, patience=limits.DNS_PROBE)

    def use(self, servers: Sequence[tuple[str, int] | Server]) -> None:
        """Ask these resolvers from now on, and forget what came from the others. Raises ConfigError."""
        chosen = [Server(*server) for server in servers]
        _check_servers(self._validate, chosen)
        if self._libunbound is not None:
            self._libunbound.use(chosen)
        self._transport.use(chosen)
        self.forget()
        # what is under way still comes from the others: it ends up in a memory that nobody reads any more
        self._memory = _Memory(knowledge=Knowledge(clock=self._clock))

    def forget(self, domain: str | None = None) -> int:
        """Ask the network again for `domain` and everything below it, or for all. Says how many entries that were.

        Raises NoRecords for a `domain` that is no name.
        """
        top = ROOT if domain is None else plan.absolute(domain)
        if self._libunbound is not None:
            self._libunbound.forget()  # the library has no smaller broom

        def is_below(question: Question) -> bool:
            return question.name.is_subdomain(top)

        def is_discovery_below(key: _Key) -> bool:
            return plan.absolute(key[0]).is_subdomain(top)

        memory = self._memory
        memory.knowledge.backoff.drop(is_below)
        memory.backoff.drop(is_discovery_below)
        answers, failures = memory.knowledge.answers.drop(is_below), memory.failures.drop(is_discovery_below)
        return answers + failures + self._zones.forget(top)

    def entries(self) -> list[CacheEntry]:
        """All that is remembered and has not expired: answers, failed discoveries, zones; by name."""
        memory, now = self._memory, self._clock()
        found = [answer_entry(answer) for _, answer, _ in memory.knowledge.answers.current(now)]
        found += [failure_entry(*key, known.error, expires) for key, known, expires in memory.failures.current(now)]
        found += [zone_entry(zone, known) for zone, known in self._zones.current(now)]
        return sorted(found, key=lambda entry: (dns.name.from_text(entry.name), entry.type))

    async def lookup(self, name: str, rdtype: str) -> Answer:
        """The validated Answer for `name` (taken from the root) and the type written `rdtype`.

        Nothing that DNS says or does raises: it is in the Answer's status and reason. Takes limits.DISCOVERY at most.
        Raises NoRecords for a name that is none.
        """
        question = Question(plan.absolute(name), RdataType.make(rdtype))
        run = self._run(self._memory)
        with trio.move_on_after(limits.DISCOVERY):
            above = ROOT if question.name == ROOT else question.name.parent()
            await run.prefetch([question], [above])
            return (await run.look_up(question))[0]
        late = Indeterminate(f"{question}: no result within {limits.DISCOVERY} seconds")
        return failed(question, late, self._clock())

    async def unvalidated(self, question: Question) -> Message:
        """What a resolver answers, for diagnosis only: nothing in it is proved. Raises Indeterminate."""
        return (await self._transport.ask(question, Budget())).message

    async def discover(
        self, domain: DomainName, *, service: Service = Service.FEDERATION, trace: Trace | None = None
    ) -> Endpoint:
        """Where `domain`'s service is and which keys prove it. `trace` gets every step, also of a failure.

        Raises NoRecords (proved absent, opted out, or only addresses that are refused), Insecure, Bogus or
        Indeterminate. A target that cannot be used beside one that can is no error: it is in `rejected`.
        Several callers at once share one discovery. Takes limits.DISCOVERY at most.
        """
        key = (domain, service)
        memory = self._memory
        known = memory.failures.get(key, self._clock())
        outcome = known or await memory.flights.do(key, partial(self._bounded, memory, key))
        if trace is not None:
            for step in outcome.steps:
                trace(step)
        if isinstance(outcome, _Failed):
            raise type(outcome.error)(*outcome.error.args)  # a new one each time: it is raised in several tasks
        return outcome

    def _run(self, memory: _Memory) -> Run:
        return Run(memory.knowledge, self._judge())

    def _judge(self) -> Judge:
        budget = Budget()
        if self._libunbound is not None:
            return OtherJudge(partial(self._libunbound.ask, budget=budget), budget)
        vouched = OtherJudge(partial(self._vouching.ask, budget), budget)
        if self._validate is Validation.RESOLVER_AD:
            return vouched
        own = OwnJudge(self._transport, self._zones, self._clock())
        return own if self._validate is Validation.SELF else JointJudge([("own", own), ("the resolver", vouched)])

    async def _bounded(self, memory: _Memory, key: _Key) -> Endpoint | _Failed:
        domain, service = key
        wish = Wish(domain=domain, service=service, allow_private=self._allow_private, random=self._random)
        discovery = Discovery(self._run(memory), wish)
        error: DiscoveryError
        try:
            with trio.move_on_after(limits.DISCOVERY):
                endpoint = await discovery.run()
                memory.backoff.succeeded(key)
                return endpoint
            error = plan.failure(Status.INDETERMINATE, f"{domain}: no result within {limits.DISCOVERY} seconds")
        except DiscoveryError as caught:
            error = with_clock_note(caught.with_traceback(None))
        return self._remember(memory, key, _Failed(error=error, steps=tuple(discovery.steps)))

    def _remember(self, memory: _Memory, key: _Key, failure: _Failed) -> _Failed:
        now = self._clock()
        if isinstance(failure.error, Bogus | Indeterminate):
            expires = memory.backoff.failed(key, now)
        else:  # it is proved, and as long as the proof lasts finding it again costs no question
            expires = now + limits.DNS_FAILURE_TTL
        memory.failures.put(key, failure, now=now, expires=expires, weight=failure.weight)
        return failure


def _check_servers(validate: Validation, servers: Sequence[Server]) -> None:
    strangers = [server for server in servers if not is_authentic(server)]
    if validate in _VOUCHED and strangers:
        shown = ", ".join(map(str, strangers))
        problem = f'dns.resolvers: validate = "{validate}" would believe {shown}, which anybody on the way can forge'
        raise ConfigError([f"{problem}\nnote: use a resolver on a loopback address, or over TLS: ADDRESS#NAME"])


def _tls(ca_file: Path | None) -> ssl.SSLContext | None:
    if ca_file is None:
        return None
    try:
        return tls_context(str(ca_file))
    except OSError as error:
        problem = f"dns.tls_ca_file: {ca_file} cannot be used ({error})"
        raise ConfigError([f"{problem}\nnote: it must hold certificates in PEM form"]) from error
