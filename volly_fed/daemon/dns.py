"""The daemon's resolver: validated look-ups, and discovery of a domain's service in two round trips.

in: names; out: Answers and Endpoints that DNSSEC proves, or a DiscoveryError that says why not and what to do.
Never: believes a resolver's AD bit, or leaves a question open longer than limits.DISCOVERY. Caches to the TTL or the
signatures' end, denials and failures too. Source: RFC 4035, RFC 2308, RFC 9520, RFC 7673.
"""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import attrs
import dns.resolver
import trio
from dns.rdatatype import RdataType

from volly_fed import limits
from volly_fed.daemon.dns_discovery import Discovery, Wish
from volly_fed.daemon.dns_run import Cache, Knowledge, Run
from volly_fed.daemon.dns_transport import Server, Transport
from volly_fed.discovery import plan
from volly_fed.discovery.anchors import IANA_ROOT, Anchors, read_anchors
from volly_fed.discovery.chain import ROOT, Zones
from volly_fed.discovery.dnssec import Answer, failed
from volly_fed.discovery.endpoint import Endpoint, Service, Status, Step
from volly_fed.discovery.message import Question
from volly_fed.errors import ConfigError, DiscoveryError, Indeterminate
from volly_fed.machine import RandomSource
from volly_fed.names import DomainName

Trace: TypeAlias = Callable[[Step], None]
_Key: TypeAlias = tuple[DomainName, Service]


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
    return [(str(server), resolver.port) for server in resolver.nameservers]


@attrs.frozen(kw_only=True)
class _Failed:
    error: DiscoveryError
    steps: tuple[Step, ...]


@attrs.define
class _Flight:
    """A discovery that others wait for; `outcome` stays None where it was cancelled."""

    done: trio.Event = attrs.field(factory=trio.Event)
    outcome: Endpoint | _Failed | None = None


class Resolver:
    """Validating stub resolver. `clock` gives seconds since 1970, as signatures count them."""

    def __init__(
        self,
        servers: Sequence[Server],
        anchors: Anchors | None = None,
        *,
        allow_private: bool = False,
        clock: Callable[[], float] = time.time,
        random: RandomSource = os.urandom,
    ) -> None:
        self._transport = Transport(servers)
        self._anchors = trust_anchors() if anchors is None else anchors
        self._allow_private = allow_private
        self._clock = clock
        self._random = random
        self._flights: dict[_Key, _Flight] = {}
        self.forget()

    def forget(self) -> None:
        """Empty every cache: the next question goes to the network."""
        self._knowledge = Knowledge(transport=self._transport, zones=Zones(self._anchors), clock=self._clock)
        self._failures: Cache[_Key, _Failed] = Cache()

    async def lookup(self, name: str, rdtype: str) -> Answer:
        """The validated Answer for `name` (taken from the root) and the type written `rdtype`.

        Nothing that DNS says or does raises: it is in the Answer's status and reason. Takes limits.DISCOVERY at most.
        Raises NoRecords for a name that is none.
        """
        question = Question(plan.absolute(name), RdataType.make(rdtype))
        run = Run(self._knowledge)
        with trio.move_on_after(limits.DISCOVERY):
            above = ROOT if question.name == ROOT else question.name.parent()
            await run.prefetch([question], [above])
            return (await run.look_up(question))[0]
        late = Indeterminate(f"{question}: no result within {limits.DISCOVERY} seconds")
        return failed(question, late, self._clock())

    async def discover(
        self, domain: DomainName, *, service: Service = Service.FEDERATION, trace: Trace | None = None
    ) -> Endpoint:
        """Where `domain`'s service is and which keys prove it. `trace` gets every step, also of a failure.

        Raises NoRecords (proved absent, opted out, or only addresses that are refused), Insecure, Bogus or
        Indeterminate. A target that cannot be used beside one that can is no error: it is in `rejected`.
        Several callers at once share one discovery. Takes limits.DISCOVERY at most.
        """
        outcome = await self._outcome((domain, service))
        if trace is not None:
            for step in outcome.steps:
                trace(step)
        if isinstance(outcome, _Failed):
            raise type(outcome.error)(*outcome.error.args)  # a new one each time: it is raised in several tasks
        return outcome

    async def _outcome(self, key: _Key) -> Endpoint | _Failed:
        while True:
            known = self._failures.get(key, self._clock())
            if known is not None:
                return known
            flight = self._flights.get(key)
            if flight is None:
                return await self._lead(key)
            await flight.done.wait()
            if flight.outcome is not None:
                return flight.outcome

    async def _lead(self, key: _Key) -> Endpoint | _Failed:
        flight = self._flights[key] = _Flight()
        try:
            flight.outcome = await self._bounded(key)
        finally:
            del self._flights[key]
            flight.done.set()
        return flight.outcome

    async def _bounded(self, key: _Key) -> Endpoint | _Failed:
        domain, service = key
        wish = Wish(domain=domain, service=service, allow_private=self._allow_private, random=self._random)
        discovery = Discovery(self._knowledge, wish)
        error: DiscoveryError
        try:
            with trio.move_on_after(limits.DISCOVERY):
                return await discovery.run()
            error = plan.failure(Status.INDETERMINATE, f"{domain}: no result within {limits.DISCOVERY} seconds")
        except DiscoveryError as caught:
            error = caught.with_traceback(None)
        known = _Failed(error=error, steps=tuple(discovery.steps))
        self._failures.put(key, known, self._clock() + limits.DNS_FAILURE_TTL)
        return known
